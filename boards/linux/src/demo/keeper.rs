//! The keeper of a demo: the parent of its replicas' processes. It takes faults from a Unix socket.
//!
//! It is a process of its own, so that the launcher's children are domains only. It ends, and the
//! replicas with it, when its standard input does: when the demo ends, in whatever way.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use super::kind::{Fault, Kind};

/// What the supervisor's restart command says: its process is to be another one.
pub(super) const RESTART: &str = "restart";
/// How long whoever sends a fault may take to say which.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest command in bytes.
const COMMAND_BYTES_MAX: u64 = 256;

/// The command `resh __demo-keeper <socket> <replicas>`. Says `ready` and the replicas' addresses on
/// standard output, in one line.
pub(super) fn main(socket: &str, replicas: &str) -> ExitCode {
    let path = Path::new(socket);
    let run = || -> io::Result<()> {
        let count = replicas.parse().map_err(io::Error::other)?;
        let listener = crate::runtime_dir::listen(path)?;
        let mut keeper = Keeper::start(count)?;
        println!("ready {}", keeper.addresses());
        let result = keeper.serve(&listener);
        let _ = std::fs::remove_file(path);
        result
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Keeper {
    replicas: Vec<Replica>,
}

struct Replica {
    kind: Kind,
    address: SocketAddr,
    process: Option<Process>,
}

/// A replica's process. It ends with its standard input.
struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Keeper {
    fn start(count: usize) -> io::Result<Self> {
        let start = |kind| {
            let (process, address) = Process::start(kind, ([127, 0, 0, 1], 0).into())?;
            Ok(Replica { kind, address, process: Some(process) })
        };
        let kinds = Kind::ALL.into_iter().take(count);
        Ok(Self { replicas: kinds.map(start).collect::<io::Result<_>>()? })
    }

    fn addresses(&self) -> String {
        let addresses = self.replicas.iter().map(|replica| replica.address.to_string());
        addresses.collect::<Vec<_>>().join(" ")
    }

    /// Takes faults until standard input ends.
    fn serve(&mut self, listener: &UnixListener) -> io::Result<()> {
        loop {
            let stdin = io::stdin();
            let mut watched =
                [PollFd::new(&stdin, PollFlags::IN), PollFd::new(listener, PollFlags::IN)];
            match poll(&mut watched, None) {
                Err(rustix::io::Errno::INTR) => continue,
                result => result?,
            };
            let [input, connection] = watched.map(|watched| !watched.revents().is_empty());
            if input && stdin.lock().read(&mut [0; 64])? == 0 {
                return Ok(());
            }
            if connection && let Ok((stream, _)) = listener.accept() {
                // Whoever asked is gone, or too slow: the next one.
                let _ = self.obey(stream);
            }
        }
    }

    fn obey(&mut self, mut stream: UnixStream) -> io::Result<()> {
        stream.set_read_timeout(Some(COMMAND_TIMEOUT))?;
        stream.set_write_timeout(Some(COMMAND_TIMEOUT))?;
        let mut line = String::new();
        BufReader::new((&stream).take(COMMAND_BYTES_MAX)).read_line(&mut line)?;
        match self.apply(&line) {
            Ok(done) => writeln!(stream, "ok {done}"),
            Err(why) => writeln!(stream, "error {why}"),
        }
    }

    /// Obeys `<replica> <fault>`, or `<replica> restart`: the replica by its index or name.
    fn apply(&mut self, line: &str) -> Result<String, String> {
        let (who, what) =
            line.trim_end().split_once(' ').ok_or("which replica, and which fault?")?;
        let fault = if what == RESTART { None } else { Some(what.parse::<Fault>()?) };
        let names = self.replicas.iter().map(|replica| replica.kind.name());
        let names = names.collect::<Vec<_>>().join(", ");
        let by_index = who.parse().ok().filter(|&index: &usize| index < self.replicas.len());
        let index = by_index
            .or_else(|| self.replicas.iter().position(|replica| replica.kind.name() == who))
            .ok_or_else(|| format!("no replica `{who}` in this demo; there is: {names}"))?;
        let replica = &mut self.replicas[index];
        match fault {
            Some(fault) => replica.apply(fault)?,
            None => replica.restart()?,
        }
        Ok(format!("replica {} ({index}): {what}", replica.kind.name()))
    }
}

impl Replica {
    /// Ends its process, whatever is wrong with it, and starts another one.
    fn restart(&mut self) -> Result<(), String> {
        self.process = None;
        self.apply(Fault::Clear)
    }

    fn apply(&mut self, fault: Fault) -> Result<(), String> {
        let name = self.kind.name();
        let is_gone = |process: &mut Process| !matches!(process.child.try_wait(), Ok(None));
        if self.process.as_mut().is_some_and(is_gone) {
            self.process = None;
        }
        match (fault, &mut self.process) {
            (Fault::Kill, process) => {
                *process = None;
                Ok(())
            }
            (Fault::Clear, process @ None) => {
                let started = Process::start(self.kind, self.address);
                let (started, _) =
                    started.map_err(|error| format!("cannot start replica {name}: {error}"))?;
                *process = Some(started);
                Ok(())
            }
            (_, None) => {
                Err(format!("replica {name} is killed; `resh fault {name} clear` starts it again"))
            }
            (fault, Some(process)) => {
                process.set(fault).map_err(|error| format!("replica {name}: {error}"))
            }
        }
    }
}

impl Process {
    fn start(kind: Kind, address: SocketAddr) -> io::Result<(Self, SocketAddr)> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([super::REPLICA_COMMAND, kind.name(), &address.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("a child without its pipes"));
        };
        let mut process = Self { child, stdin, stdout: BufReader::new(stdout) };
        let line = process.read_line()?;
        let address = line.strip_prefix("listening ").and_then(|address| address.parse().ok());
        let address = address.ok_or_else(|| io::Error::other("the replica did not start"))?;
        Ok((process, address))
    }

    fn read_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    fn set(&mut self, fault: Fault) -> io::Result<()> {
        writeln!(self.stdin, "{fault}")?;
        match self.read_line()?.as_str() {
            "ok" => Ok(()),
            other => Err(io::Error::other(format!("unexpected answer `{other}`"))),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
