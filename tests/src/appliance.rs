//! The appliance under test: the command `resh`, run as an operator runs it.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::ensure;
use crate::harness::{CaseResult, Halt, project_root};
use crate::process::{self, Process};
use crate::{net, smoltcp};

const START_LIMIT: Duration = Duration::from_secs(20);

/// Where the command is: the environment variable `RESH_BIN`, or beside this program, or in `target/release`.
///
/// # Errors
/// [`Halt::Skip`] if it is not built.
pub fn resh() -> CaseResult<PathBuf> {
    let beside = std::env::current_exe().ok().map(|path| path.with_file_name("resh"));
    built("RESH_BIN", beside, "target/release/resh", "cargo build --release")
}

/// The command built with the hostile domains and probes that the shipped one does not have: the environment
/// variable `RESH_FAULTS_BIN`, or where `cargo xtask test linux` puts it.
///
/// # Errors
/// [`Halt::Skip`] if it is not built.
pub fn resh_with_faults() -> CaseResult<PathBuf> {
    built("RESH_FAULTS_BIN", None, "target/resh-with-faults", "cargo xtask test linux")
}

fn built(variable: &str, beside: Option<PathBuf>, path: &str, how: &str) -> CaseResult<PathBuf> {
    std::env::var_os(variable)
        .map(PathBuf::from)
        .into_iter()
        .chain(beside)
        .chain([project_root().join(path)])
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| Halt::Skip(format!("{path} is not built ({how})")))
}

/// What a `resh.toml` says.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Lines before the first service, such as `[limits]` and what belongs to it.
    pub preamble: String,
    /// The services.
    pub services: Vec<Service>,
}

/// One service of a `resh.toml`.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Where clients connect to.
    pub listen: SocketAddr,
    /// `raw` or `http1`.
    pub protocol: &'static str,
    /// Further lines of this service, such as `on_mismatch = "stop-session"`.
    pub more: String,
    /// Names and addresses of its replicas.
    pub replicas: Vec<(String, SocketAddr)>,
    /// The restart command of each replica, but for its last word, the name of the replica. None if empty.
    pub restart: Vec<String>,
}

impl Service {
    /// A service on a free port, of the stack that this test runs over ([`smoltcp`]).
    ///
    /// # Errors
    /// If no port is free.
    pub fn new<'a>(
        name: &str,
        protocol: &'static str,
        replicas: impl IntoIterator<Item = (&'a str, SocketAddr)>,
    ) -> CaseResult<Self> {
        let replicas =
            replicas.into_iter().map(|(name, address)| (name.to_owned(), address)).collect();
        Ok(Service {
            name: name.to_owned(),
            listen: match smoltcp::is_asked_for() {
                true => smoltcp::address_of_appliance(),
                false => net::free_address()?,
            },
            protocol,
            more: String::new(),
            replicas,
            restart: Vec::new(),
        })
    }
}

impl Config {
    /// One service and nothing else.
    pub fn of(service: Service) -> Self {
        Config { preamble: String::new(), services: vec![service] }
    }

    /// The text of `resh.toml`.
    pub fn to_toml(&self) -> String {
        let network = if smoltcp::is_asked_for() { smoltcp::NETWORK_TOML } else { "" };
        let mut text = format!("name = \"test\"\n{network}\n{}\n", self.preamble);
        for service in &self.services {
            let Service { name, listen, protocol, more, replicas, restart } = service;
            let _ = write!(
                text,
                "\n[[service]]\nname = \"{name}\"\nlisten = \"{listen}\"\nprotocol = \"{protocol}\"\n{more}\n"
            );
            for (name, address) in replicas {
                let _ = write!(
                    text,
                    "[[service.replica]]\nname = \"{name}\"\naddress = \"{address}\"\n"
                );
                if !restart.is_empty() {
                    let words = [&restart[..], std::slice::from_ref(name)].concat();
                    let _ = writeln!(text, "restart = {words:?}");
                }
            }
        }
        text
    }
}

/// A running appliance; dropped, it stops.
pub struct Appliance {
    /// Where its first service listens.
    pub address: SocketAddr,
    /// The command; the domains are processes below it.
    pub process: Process,
    /// Its `--runtime-dir`.
    pub runtime_dir: PathBuf,
    program: PathBuf,
}

impl Appliance {
    /// `resh run` with this configuration.
    ///
    /// # Errors
    /// [`Halt::Skip`] if `resh` is not built, [`Halt::Fail`] if it does not get ready.
    pub fn run(dir: &Path, config: &Config) -> CaseResult<Self> {
        Self::run_program(&resh()?, dir, config, &[])
    }

    /// As [`Appliance::run`], with another program and more arguments.
    ///
    /// # Errors
    /// As [`Appliance::run`].
    pub fn run_program(
        program: &Path,
        dir: &Path,
        config: &Config,
        arguments: &[&str],
    ) -> CaseResult<Self> {
        let file = dir.join("resh.toml");
        fs::write(&file, config.to_toml())?;
        let mut command = Command::new(program);
        command.arg("run").arg(&file).args(arguments);
        Self::start(program, command, dir, config.services[0].listen)
    }

    /// `resh demo` with so many replicas.
    ///
    /// # Errors
    /// As [`Appliance::run`].
    pub fn demo(dir: &Path, replicas: usize) -> CaseResult<Self> {
        let program = resh()?;
        let address = net::free_address()?;
        let mut command = Command::new(&program);
        command.args(["demo", "--listen", &address.to_string()]);
        command.args(["--replicas", &replicas.to_string()]);
        Self::start(&program, command, dir, address)
    }

    fn start(
        program: &Path,
        mut command: Command,
        dir: &Path,
        address: SocketAddr,
    ) -> CaseResult<Self> {
        let runtime_dir = dir.join("run");
        command.arg("--runtime-dir").arg(&runtime_dir);
        let process = Process::spawn(&mut command, "resh", dir)?;
        let mut appliance =
            Appliance { address, process, runtime_dir, program: program.to_path_buf() };
        let (program, runtime_dir) = (appliance.program.clone(), appliance.runtime_dir.clone());
        appliance.process.wait_ready(START_LIMIT, || {
            status(&program, &runtime_dir).is_ok_and(|status| status.all_voting())
        })?;
        let says_so = process::wait_until(START_LIMIT, || {
            appliance.process.log().contains("ready: service").then_some(())
        });
        ensure!(says_so.is_some(), "it never says that it is ready:\n{}", appliance.process.log());
        Ok(appliance)
    }

    /// What `resh status --json` says.
    ///
    /// # Errors
    /// If the command fails or does not print JSON.
    pub fn status(&self) -> CaseResult<Status> {
        status(&self.program, &self.runtime_dir)
    }

    /// What `resh status` says to a human.
    ///
    /// # Errors
    /// If the command fails.
    pub fn status_text(&self) -> CaseResult<String> {
        let mut command = Command::new(&self.program);
        command.arg("status").arg("--runtime-dir").arg(&self.runtime_dir);
        let output = command.stdin(Stdio::null()).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// `resh fault`.
    ///
    /// # Errors
    /// If the command fails.
    pub fn fault(&self, replica: &str, fault: &str) -> CaseResult {
        let mut command = Command::new(&self.program);
        command.args(["fault", replica, fault, "--runtime-dir"]).arg(&self.runtime_dir);
        process::output(&mut command).map(|_| ())
    }

    /// `resh replica`: what it did, or why it did not.
    ///
    /// # Errors
    /// If the command cannot be executed.
    pub fn replica(&self, wish: &str, replica: &str) -> CaseResult<Result<String, String>> {
        let mut command = Command::new(&self.program);
        command.args(["replica", wish, replica, "--runtime-dir"]).arg(&self.runtime_dir);
        let output = command.stdin(Stdio::null()).output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        Ok(match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stderr)),
        })
    }

    /// The status once no session is left, so that every replica has had its say.
    ///
    /// # Errors
    /// If sessions do not end.
    pub fn settled(&self) -> CaseResult<Status> {
        Watched::settled(self)
    }

    /// Waits until `wanted` holds of the status.
    ///
    /// # Errors
    /// If it does not within `limit`; the text has the last status.
    pub fn wait_status(
        &self,
        limit: Duration,
        what: &str,
        wanted: impl FnMut(&Status) -> bool,
    ) -> CaseResult<Status> {
        Watched::wait_status(self, limit, what, wanted)
    }
}

/// An appliance, wherever it runs.
pub trait Watched {
    /// Where its first service listens.
    fn address(&self) -> SocketAddr;

    /// What it says of itself.
    ///
    /// # Errors
    /// If it says nothing.
    fn status(&self) -> CaseResult<Status>;

    /// Time between two looks at the status.
    fn pause(&self) -> Duration {
        Duration::ZERO
    }

    /// The status once no session is left, so that every replica has had its say.
    ///
    /// # Errors
    /// If sessions do not end.
    fn settled(&self) -> CaseResult<Status> {
        self.wait_status(Duration::from_secs(30), "without sessions", |status| {
            status.0["sessions_open"] == 0 && status.0["sessions_draining"] == 0
        })
    }

    /// Waits until `wanted` holds of the status.
    ///
    /// # Errors
    /// If it does not within `limit`; the text has the last status.
    fn wait_status(
        &self,
        limit: Duration,
        what: &str,
        mut wanted: impl FnMut(&Status) -> bool,
    ) -> CaseResult<Status> {
        let mut last = None;
        let found = process::wait_until(limit, || {
            let status = self.status().ok()?;
            let holds = wanted(&status);
            last = Some(status);
            if !holds {
                std::thread::sleep(self.pause());
            }
            holds.then(|| last.take()).flatten()
        });
        found.ok_or_else(|| match last {
            Some(last) => Halt::Fail(format!("never {what}; the last status: {:#}", last.0)),
            None => Halt::Fail(format!("never {what}; no status")),
        })
    }
}

impl Watched for Appliance {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn status(&self) -> CaseResult<Status> {
        Appliance::status(self)
    }
}

fn status(program: &Path, runtime_dir: &Path) -> CaseResult<Status> {
    let mut command = Command::new(program);
    command.args(["status", "--json", "--runtime-dir"]).arg(runtime_dir);
    // The exit status tells of the appliance's health; only 1 means that there is no answer.
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.code() == Some(1) {
        return Err(Halt::Fail(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    Ok(Status(serde_json::from_slice(&output.stdout)?))
}

/// What `resh status --json` says (`docs/operating.md`).
#[derive(Clone, Debug)]
pub struct Status(pub Value);

impl Status {
    /// The first service.
    pub fn service(&self) -> &Value {
        &self.0["services"][0]
    }

    /// State of the first service: `serving`, `starting`, `no_quorum` or `stopped`.
    pub fn service_state(&self) -> &str {
        self.service()["state"].as_str().unwrap_or_default()
    }

    /// Names of the replicas of the first service, by index.
    pub fn replica_names(&self) -> Vec<&str> {
        let replicas = self.service()["replicas"].as_array();
        replicas.into_iter().flatten().filter_map(|replica| replica["name"].as_str()).collect()
    }

    /// The domain of a replica of the first service; `null` if there is none of that name.
    pub fn domain(&self, replica: &str) -> &Value {
        match self.replica_names().iter().position(|name| *name == replica) {
            Some(index) => &self.0["replicas"][index],
            None => &Value::Null,
        }
    }

    /// One of the counters of a replica's domain.
    pub fn counter(&self, replica: &str, counter: &str) -> u64 {
        self.domain(replica)[counter].as_u64().unwrap_or(0)
    }

    /// The same counter, summed over all replicas of the first service.
    pub fn total(&self, counter: &str) -> u64 {
        self.replica_names().iter().map(|name| self.counter(name, counter)).sum()
    }

    /// Whether there are replicas and all of them vote.
    pub fn all_voting(&self) -> bool {
        let names = self.replica_names();
        !names.is_empty() && names.iter().all(|name| self.domain(name)["state"] == "voting")
    }

    /// The recorded disputes, oldest first.
    pub fn disputes(&self) -> &[Value] {
        self.0["disputes"].as_array().map_or(&[], Vec::as_slice)
    }

    /// Disputes ever.
    pub fn disputes_total(&self) -> u64 {
        self.0["disputes_total"].as_u64().unwrap_or(0)
    }

    /// The recorded disputes after the first `count` there ever were.
    pub fn disputes_after(&self, count: u64) -> impl Iterator<Item = &Value> {
        self.disputes().iter().filter(move |dispute| dispute["number"].as_u64() > Some(count))
    }
}
