//! `resh demo`: an appliance in front of built-in HTTP servers of different make, to see it work and to
//! break it. `resh fault` breaks one of them.

mod events;
mod fault;
mod keeper;
mod kind;
mod replica;
mod reply;
mod request;
mod site;
#[cfg(test)]
mod tests;
mod threads;

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use crate::runtime_dir;

pub use fault::{Options as FaultOptions, run as fault};
pub use kind::{Fault, Kind};

/// First argument of the keeper's process.
const KEEPER_COMMAND: &str = "__demo-keeper";
/// First argument of a replica's process.
const REPLICA_COMMAND: &str = "__demo-replica";
/// First argument of a replica's restart command.
const RESTART_COMMAND: &str = "__demo-restart";

/// Where a demo listens if nothing else is said.
pub const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// How many replicas it has if nothing else is said.
pub const DEFAULT_REPLICAS: usize = 3;
/// Where the page and the metrics are, if nobody else is there.
const METRICS_PORT: u16 = 9464;
/// How long the keeper may take to start a replica anew.
const RESTART_LIMIT: Duration = Duration::from_secs(5);
/// How long the keeper may take to end.
const END: Duration = Duration::from_secs(2);

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// `--listen`: where clients connect to.
    pub listen: SocketAddr,
    /// `--replicas`: 1 to 3.
    pub replicas: usize,
    /// `--runtime-dir`: where sockets go, if not to the usual place.
    pub runtime_dir: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { listen: DEFAULT_LISTEN, replicas: DEFAULT_REPLICAS, runtime_dir: None }
    }
}

/// If `arguments`, without the program's name, are those of a demo's own process, does its work.
#[must_use]
pub fn internal_command(arguments: &[String]) -> Option<ExitCode> {
    match arguments {
        [command, socket, replicas] if command == KEEPER_COMMAND => {
            Some(keeper::main(socket, replicas))
        }
        [command, kind, address] if command == REPLICA_COMMAND => {
            Some(replica::main(kind, address))
        }
        [command, socket, kind] if command == RESTART_COMMAND => Some(restart(socket, kind)),
        _ => None,
    }
}

/// The replicas of a demo, and the configuration of an appliance in front of them. They end when this
/// is dropped, and when the process that holds it ends.
pub struct Demo {
    /// Name of the appliance.
    pub name: String,
    /// `resh.toml`.
    pub config_text: String,
    /// Where that was written.
    pub config_path: PathBuf,
    /// Names and addresses of the replicas.
    pub replicas: Vec<(&'static str, SocketAddr)>,
    /// Where the monitor's page is, if anywhere.
    pub metrics: Option<SocketAddr>,
    listen: SocketAddr,
    keeper: Child,
    /// The keeper ends when this is closed.
    lifeline: Option<ChildStdin>,
}

impl Demo {
    /// Starts the replicas and waits until they listen.
    ///
    /// # Errors
    /// The number of replicas is not 1 to 3, the runtime directory cannot be used, a demo of this name
    /// runs already, or a process cannot be started.
    pub fn start(options: &Options) -> io::Result<Self> {
        if !(1..=Kind::ALL.len()).contains(&options.replicas) {
            let why =
                format!("a demo has 1 to {} replicas, not {}", Kind::ALL.len(), options.replicas);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let dir = runtime_dir::resolve(options.runtime_dir.as_deref())?;
        let name = match options.listen.port() {
            8080 => "demo".to_owned(),
            port => format!("demo-{port}"),
        };
        let socket = runtime_dir::socket_path(&dir, &name, runtime_dir::FAULTS)?;
        let mut keeper = Command::new(std::env::current_exe()?)
            .arg(KEEPER_COMMAND)
            .arg(&socket)
            .arg(options.replicas.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C is for the demo, which ends its replicas last.
            .process_group(0)
            .spawn()?;
        let lifeline = keeper.stdin.take();
        let mut line = String::new();
        if let Some(stdout) = keeper.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let mut demo = Self {
            config_path: dir.join(format!("{name}.toml")),
            name,
            config_text: String::new(),
            replicas: Vec::new(),
            metrics: free_metrics_address(),
            listen: options.listen,
            keeper,
            lifeline,
        };
        let addresses = line.strip_prefix("ready ").unwrap_or_default().split_whitespace();
        for (kind, address) in Kind::ALL.into_iter().zip(addresses) {
            let address = address.parse().map_err(io::Error::other)?;
            demo.replicas.push((kind.name(), address));
        }
        if demo.replicas.len() != options.replicas {
            return Err(io::Error::other("the demo's replicas did not start"));
        }
        let program = std::env::current_exe()?;
        let restart = [&program.to_string_lossy(), RESTART_COMMAND, &socket.to_string_lossy()];
        let config_text =
            config_text(&demo.name, options.listen, demo.metrics, &demo.replicas, &restart);
        std::fs::write(&demo.config_path, &config_text)?;
        demo.config_text = config_text;
        Ok(demo)
    }

    /// What to try, for the terminal.
    #[must_use]
    pub fn guide(&self) -> String {
        let (listen, name) = (self.listen, &self.name);
        let first = self.replicas[0].0;
        let names = self.replicas.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let one = match self.replicas.len() {
            1 => "one replica: nobody to disagree with it, wrong bytes come through",
            2 => "two replicas: the service stops, and says why",
            _ => "three replicas: nobody notices, and it is started anew",
        };
        let mut text = format!(
            "RESH demo: replicas {names} answer as one at http://{listen}/\n\n\
             try, in another terminal (`resh` is {program}):\n\
             \x20 curl http://{listen}/\n\
             \x20 curl -s http://{listen}/bytes/1000000 | sha256sum\n\
             \x20 resh status {name}\n\
             \x20 resh fault {first} corrupt     # with {one}\n\
             \x20 resh fault {first} clear       # also: hang, slow, kill\n\
             \x20 resh replica {name} exclude {first}    # and: include, rejuvenate\n",
            program = program(),
        );
        if let Some(metrics) = self.metrics {
            let _ = writeln!(text, "  http://{metrics}/ shows the same in a browser");
        }
        text.push_str("\nCtrl-C ends it.");
        text
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let until = Instant::now() + END;
        while matches!(self.keeper.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        // It has ended, or does not hear.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
        if !self.config_text.is_empty() {
            let _ = std::fs::remove_file(&self.config_path);
        }
    }
}

/// `resh.toml` of a demo. The restart command of a replica is `restart` and its name.
fn config_text(
    name: &str,
    listen: SocketAddr,
    metrics: Option<SocketAddr>,
    replicas: &[(&str, SocketAddr)],
    restart: &[&str],
) -> String {
    let mut text = format!("# Written by `resh demo`.\nname = \"{name}\"\n");
    if let Some(metrics) = metrics {
        text += &format!("metrics = \"{metrics}\"\n");
    }
    text += "\n[limits]\nreply_ms = 2000\n";
    text += "\n[recovery]\nboot_ms = 10000\nback_off_max_ms = 5000\n";
    text += "\n[[service]]\nname = \"web\"\nprotocol = \"http1\"\nprobe = \"/\"\n";
    text += &format!("listen = \"{listen}\"\n");
    for (name, address) in replicas {
        text += &format!("\n[[service.replica]]\nname = \"{name}\"\naddress = \"{address}\"\n");
        // The quotes and escapes of `Debug` are those of TOML.
        text += &format!("restart = {:?}\n", [restart, &[name]].concat());
    }
    text
}

/// Has the keeper end the process of a replica, and start another one.
fn restart(socket: &str, kind: &str) -> ExitCode {
    match runtime_dir::ask(Path::new(socket), &[kind, keeper::RESTART], RESTART_LIMIT) {
        Ok(_) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("resh demo: {why}");
            ExitCode::FAILURE
        }
    }
}

fn free_metrics_address() -> Option<SocketAddr> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, METRICS_PORT));
    TcpListener::bind(address).is_ok().then_some(address)
}

fn program() -> String {
    std::env::current_exe()
        .map_or_else(|_| "this program".to_owned(), |path| path.display().to_string())
}
