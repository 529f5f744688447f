//! `resh fault`: makes a replica of a running demo misbehave.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::kind::Fault;
use crate::runtime_dir;

/// How long the demo may take to obey.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// Index or name of the replica.
    pub replica: String,
    /// `corrupt`, `hang`, `slow`, `kill` or `clear`.
    pub fault: String,
    /// `--runtime-dir`: where the demo's socket is, if not at the usual place.
    pub runtime_dir: Option<PathBuf>,
    /// Name of the demo; may be left out if there is but one.
    pub name: Option<String>,
}

/// The whole command. Exit code 0 if the demo obeyed, else 1.
pub fn run(options: &Options) -> ExitCode {
    match send(options) {
        Ok(done) => {
            println!("{done}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("resh fault: {why}");
            ExitCode::FAILURE
        }
    }
}

fn send(options: &Options) -> Result<String, String> {
    let fault: Fault = options.fault.parse()?;
    let dir = runtime_dir::resolve(options.runtime_dir.as_deref()).map_err(|e| e.to_string())?;
    let socket = runtime_dir::find(&dir, options.name.as_deref(), runtime_dir::FAULTS)
        .map_err(|why| format!("{why}; faults are for the built-in replicas of `resh demo`"))?;
    runtime_dir::ask(&socket, &[&options.replica, fault.name()], TIMEOUT)
}
