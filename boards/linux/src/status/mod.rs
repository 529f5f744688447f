//! `resh status`: asks the monitor of a running appliance and shows what it says.

mod client;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use resh_status::model::{Health, Status};
use resh_status::render;

use crate::runtime_dir;

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `--json`: print what the monitor sent.
    pub json: bool,
    /// `--watch`: once a second, until the appliance is gone.
    pub watch: bool,
    /// `--runtime-dir`: where the appliance's socket is, if not at the usual place.
    pub runtime_dir: Option<PathBuf>,
    /// Which appliance; may be left out if there is but one.
    pub name: Option<String>,
}

/// Exit code: no such appliance, or it does not answer.
pub const FAILED: u8 = 1;
/// Exit code: a replica is out, or there was a dispute in the last minute, or the appliance is starting.
pub const DEGRADED: u8 = 2;
/// Exit code: a service is stopped or has no quorum.
pub const STOPPED: u8 = 3;

/// The exit code that tells of `health`.
#[must_use]
pub fn exit_code(health: Health) -> u8 {
    match health {
        Health::Healthy => 0,
        Health::Degraded | Health::Starting => DEGRADED,
        Health::Stopped => STOPPED,
    }
}

/// The whole command.
pub fn run(options: &Options) -> ExitCode {
    match show(options) {
        Ok(health) => ExitCode::from(exit_code(health)),
        Err(why) => {
            eprintln!("resh status: {why}");
            ExitCode::from(FAILED)
        }
    }
}

fn text(status: &Status) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = render::write(&mut out, status);
    out
}

fn show(options: &Options) -> Result<Health, String> {
    let dir = runtime_dir::resolve(options.runtime_dir.as_deref()).map_err(|e| e.to_string())?;
    let socket = runtime_dir::find(&dir, options.name.as_deref(), runtime_dir::STATUS)?;
    let mut out = io::stdout();
    loop {
        let json = client::get(&socket, "/status.json")?;
        let status: Status = serde_json::from_str(&json)
            .map_err(|error| format!("the appliance is of another version: {error}"))?;
        let text = if options.json { format!("{json}\n") } else { text(&status) };
        // On a terminal each picture takes the place of the one before: ECMA-48 CUP and ED.
        let clear = options.watch && !options.json && out.is_terminal();
        let written = write!(out, "{}{text}", if clear { "\x1b[H\x1b[2J" } else { "" });
        match written.and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(status.health),
            written => written.map_err(|error| error.to_string())?,
        }
        if !options.watch {
            return Ok(status.health);
        }
        thread::sleep(Duration::from_secs(1));
    }
}
