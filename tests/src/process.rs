//! Processes that a test starts, looks at and ends; always by pid, never by name.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::harness::{CaseResult, Halt};

/// How long a process may take to end after SIGTERM before it gets SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

/// A process in the foreground, its output in a file. It ends when this value is dropped.
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; standard output and error go to `dir/name.log`.
    ///
    /// # Errors
    /// If the program cannot be executed.
    pub fn spawn(command: &mut Command, name: &str, dir: &Path) -> io::Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let file = File::create(&log)?;
        let child =
            command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn().map_err(
                |error| io::Error::new(error.kind(), format!("starting {name}: {error}")),
            )?;
        Ok(Process { child, name: name.to_owned(), log })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it ends by itself; `None` if it has not after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Option<std::process::ExitStatus> {
        wait_until(limit, || self.child.try_wait().ok().flatten())
    }

    /// Waits until `ready` holds.
    ///
    /// # Errors
    /// If the process ends first, or `limit` passes; the text has what it wrote.
    pub fn wait_ready(&mut self, limit: Duration, mut ready: impl FnMut() -> bool) -> CaseResult {
        let deadline = Instant::now() + limit;
        while !ready() {
            if !self.is_running() {
                return Err(Halt::Fail(format!("{} ended:\n{}", self.name, self.log())));
            }
            if Instant::now() >= deadline {
                return Err(Halt::Fail(format!(
                    "{} is not ready after {} s:\n{}",
                    self.name,
                    limit.as_secs(),
                    self.log()
                )));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Sends a signal to it.
    pub fn signal(&self, signal: Signal) {
        signal_pid(self.pid(), signal);
    }

    /// Asks it to end (SIGTERM), and makes it and all it started end (SIGKILL) if it does not.
    /// Returns whether it ended by itself.
    pub fn stop(&mut self) -> bool {
        if !self.is_running() {
            return true;
        }
        let descendants = tree(self.pid());
        self.signal(Signal::TERM);
        if self.wait(GRACE).is_some() {
            return true;
        }
        for pid in descendants {
            signal_pid(pid, Signal::KILL);
        }
        let _ = self.child.wait();
        false
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Calls `probe` until it returns something, for at most `limit`.
pub fn wait_until<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = probe() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Sends a signal to one process, which may have ended already.
pub fn signal_pid(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid as i32) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Lets processes whose parent has ended become children of this one.
pub fn adopt_orphans() {
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}

/// Ends all children of this process and all they started.
pub fn end_orphans() {
    let own = std::process::id();
    for pid in tree(own).into_iter().filter(|&pid| pid != own) {
        signal_pid(pid, Signal::KILL);
    }
    let options = rustix::process::WaitOptions::empty();
    while let Ok(Some(_)) = rustix::process::wait(options) {}
}

/// `pid` and all processes below it.
pub fn tree(pid: u32) -> Vec<u32> {
    let mut parents: Vec<(u32, u32)> = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(child) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        // The name of the program, in parentheses, may itself contain spaces.
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        if let Some(parent) = after_name.split(' ').nth(1).and_then(|text| text.parse().ok()) {
            parents.push((child, parent));
        }
    }
    let mut found = vec![pid];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(parents.iter().filter(|&&(_, p)| p == parent).map(|&(child, _)| child));
        next += 1;
    }
    found
}

/// The living processes of a process group.
pub fn group(group: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let mut fields = after_name.split(' ');
        let state = fields.next();
        // Dead processes may wait long until somebody asks how they ended.
        !matches!(state, None | Some("" | "Z" | "X"))
            && fields.nth(1).and_then(|text| text.parse().ok()) == Some(group)
    })
    .collect()
}

/// CPU time in nanoseconds that the living threads of `pid` and of all below it have used
/// (`/proc/PID/task/*/schedstat`).
pub fn tree_cpu_ns(pid: u32) -> u64 {
    let mut total = 0;
    for pid in tree(pid) {
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            total += text.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    total
}

/// Memory in KiB that `pid` and all below it use, shared pages divided among their users (PSS).
pub fn tree_memory_kib(pid: u32) -> u64 {
    tree(pid)
        .into_iter()
        .map(|pid| {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            text.lines()
                .find_map(|line| line.strip_prefix("Pss:"))
                .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok())
                .unwrap_or(0)
        })
        .sum()
}

/// How many file descriptors `pid` and all below it have open.
pub fn tree_descriptors(pid: u32) -> usize {
    tree(pid)
        .into_iter()
        .map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |entries| entries.count()))
        .sum()
}

/// The path of a program, looked for in `PATH`, the system's administration directories, and where Debian puts
/// PostgreSQL's.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/usr/lib/postgresql/15/bin"])
        .map(|dir| Path::new(dir).join(name))
        .find(|candidate| candidate.is_file())
}

/// The path of a program, or a skip that says which package has it.
///
/// # Errors
/// [`Halt::Skip`] if the program is not installed.
pub fn need_program(name: &str, package: &str) -> CaseResult<PathBuf> {
    find_program(name)
        .ok_or_else(|| Halt::Skip(format!("{name} is not installed (Debian package {package})")))
}

/// Runs a program to its end and returns what it wrote to standard output.
///
/// # Errors
/// If it cannot be executed or ends with a status other than 0; the text has what it wrote.
pub fn output(command: &mut Command) -> CaseResult<String> {
    let output = command.stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    Err(Halt::Fail(format!(
        "{command:?} ended with {}:\n{text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    )))
}

/// A Python that can import `module`: Debian's own, or the one in `PATH`.
pub fn python_with(module: &str) -> Option<PathBuf> {
    let candidates = [Some(PathBuf::from("/usr/bin/python3")), find_program("python3")];
    candidates.into_iter().flatten().find(|python| {
        output(Command::new(python).arg("-c").arg(format!("import {module}"))).is_ok()
    })
}
