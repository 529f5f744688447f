//! `resh replica`: takes a replica of a running appliance out, lets it in again, or has it begin anew.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::launcher::Wish;
use crate::runtime_dir;

/// How long the supervisor may take. It answers within the time that it gives a replica to stand aside.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name of the appliance, which may be left out if there is but one; the wish; and the replica, by number or name.
    pub words: Vec<String>,
    /// `--runtime-dir`: where the appliance's socket is, if not at the usual place.
    pub runtime_dir: Option<PathBuf>,
}

/// The whole command. Exit code 0 if it was done, else 1.
pub fn run(options: &Options) -> ExitCode {
    match send(options) {
        Ok(done) => {
            println!("{done}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("resh replica: {why}");
            ExitCode::FAILURE
        }
    }
}

fn send(options: &Options) -> Result<String, String> {
    let (appliance, wish, replica) = match &options.words[..] {
        [wish, replica] => (None, wish, replica),
        [appliance, wish, replica] => (Some(&**appliance), wish, replica),
        _ => return Err("write [APPLIANCE] exclude|include|rejuvenate REPLICA".to_owned()),
    };
    wish.parse::<Wish>()?;
    let dir = runtime_dir::resolve(options.runtime_dir.as_deref()).map_err(|e| e.to_string())?;
    let socket = runtime_dir::find(&dir, appliance, runtime_dir::CONTROL)?;
    runtime_dir::ask(&socket, &[wish, replica], TIMEOUT)
}
