//! The restart commands of a replica: what starts its servers anew before its next life begins.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::config::Restart;

/// Tells a restart command the service whose server it is to start anew.
const SERVICE_VARIABLE: &str = "RESH_SERVICE";
/// Tells it the name of the replica.
const REPLICA_VARIABLE: &str = "RESH_REPLICA";

/// A restart command, and for whom.
pub(super) struct Wanted<'c> {
    pub(super) service: &'c str,
    pub(super) replica: &'c str,
    pub(super) restart: &'c Restart,
}

/// The restart commands of one replica, while they run. Dropped, they and what they left in their process groups end.
pub(super) struct Restarts {
    running: Vec<Running>,
    until_ms: u64,
}

struct Running {
    what: String,
    child: Child,
}

impl Restarts {
    /// Starts the commands, all at once, each in a process group of its own. Their output goes to our standard error.
    ///
    /// # Errors
    /// The first that cannot be started, for the operator; the others are ended.
    pub(super) fn start<'c>(
        wanted: impl IntoIterator<Item = Wanted<'c>>,
        now_ms: u64,
        limit_ms: u64,
    ) -> Result<Self, String> {
        let mut restarts = Self { running: Vec::new(), until_ms: now_ms.saturating_add(limit_ms) };
        for Wanted { service, replica, restart } in wanted {
            let what = format!("the restart command {} of `{service}`", restart.program.display());
            let started = spawn(service, replica, restart);
            let child = started.map_err(|error| format!("{what} cannot be started: {error}"))?;
            restarts.running.push(Running { what, child });
        }
        Ok(restarts)
    }

    /// When they have taken too long.
    pub(super) fn until_ms(&self) -> u64 {
        self.until_ms
    }

    /// Whether they have come to their end: all well, or the first that failed, for the operator.
    pub(super) fn poll(&mut self, now_ms: u64) -> Option<Result<(), String>> {
        let mut failed = None;
        self.running.retain_mut(|Running { what, child }| match child.try_wait() {
            Ok(None) => true,
            Ok(Some(status)) if status.success() => false,
            Ok(Some(status)) => {
                failed = Some(format!("{what} failed: {}", shown(status)));
                false
            }
            Err(error) => {
                failed = Some(format!("{what} cannot be waited for: {error}"));
                false
            }
        });
        match failed {
            Some(why) => Some(Err(why)),
            None if self.running.is_empty() => Some(Ok(())),
            None if now_ms >= self.until_ms => {
                let late: Vec<_> = self.running.iter().map(|running| &*running.what).collect();
                Some(Err(format!("{} took too long", late.join(", "))))
            }
            None => None,
        }
    }
}

impl Drop for Restarts {
    fn drop(&mut self) {
        for Running { child, .. } in &mut self.running {
            end_group(child);
        }
    }
}

fn shown(status: ExitStatus) -> String {
    status.code().map_or_else(|| status.to_string(), |code| format!("exit status {code}"))
}

fn spawn(service: &str, replica: &str, restart: &Restart) -> io::Result<Child> {
    let mut command = Command::new(&restart.program);
    command.args(&restart.arguments).env(SERVICE_VARIABLE, service).env(REPLICA_VARIABLE, replica);
    let log = || io::stderr().as_fd().try_clone_to_owned().map(Stdio::from);
    command.stdin(Stdio::null()).stdout(log()?).stderr(log()?).process_group(0);
    // SAFETY: between fork and exec there is one system call, without pointers.
    unsafe {
        command.pre_exec(|| {
            // It ends with us, and what it starts does not.
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    command.spawn()
}

/// Ends the process and all in its group.
fn end_group(child: &mut Child) {
    if let Ok(group) = libc::pid_t::try_from(child.id()) {
        // SAFETY: no pointer is passed. The group exists as long as its leader was not waited for, and that is done below.
        unsafe { libc::kill(-group, libc::SIGKILL) };
    }
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::{Duration, Instant};

    use super::*;

    fn start(script: &str, limit_ms: u64) -> Result<Restarts, String> {
        let arguments = vec!["-c".to_owned(), script.to_owned()];
        let restart = Restart { program: PathBuf::from("sh"), arguments };
        let wanted = Wanted { service: "web", replica: "oak", restart: &restart };
        Restarts::start([wanted], 0, limit_ms)
    }

    fn end(restarts: &mut Restarts) -> Result<(), String> {
        let limit = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(end) = restarts.poll(0) {
                return end;
            }
            assert!(Instant::now() < limit, "it never ends");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn a_command_is_told_for_whom_it_runs_and_its_exit_status_counts() {
        let script = "test \"$RESH_SERVICE $RESH_REPLICA\" = 'web oak'";
        assert_eq!(end(&mut start(script, 1).unwrap()), Ok(()));
        let error = end(&mut start("exit 7", 1).unwrap()).unwrap_err();
        assert_eq!(error, "the restart command sh of `web` failed: exit status 7");
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let restart = Restart { program: PathBuf::from("/nonexistent"), arguments: Vec::new() };
        let wanted = Wanted { service: "web", replica: "oak", restart: &restart };
        let error = Restarts::start([wanted], 0, 1).err().unwrap();
        assert!(error.contains("/nonexistent of `web` cannot be started"), "{error}");
    }

    #[test]
    fn who_takes_too_long_ends_with_all_it_started_in_its_group() {
        let file = std::env::temp_dir().join(format!("resh-restart-{}", std::process::id()));
        let script = format!("sleep 100 & echo $! >{}; wait", file.display());
        let mut restarts = start(&script, 50).unwrap();
        let limit = Instant::now() + Duration::from_secs(10);
        let pid = loop {
            match std::fs::read_to_string(&file)
                .ok()
                .and_then(|text| text.trim().parse::<u32>().ok())
            {
                Some(pid) => break pid,
                None => assert!(Instant::now() < limit, "it never starts"),
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        assert_eq!(restarts.poll(49), None);
        let error = restarts.poll(restarts.until_ms()).unwrap().unwrap_err();
        assert!(error.ends_with("took too long"), "{error}");
        drop(restarts);
        // The sleeper is nobody's child now: it is gone, or waits for init to look.
        let gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
            stat.map_or(true, |stat| stat.contains(") Z "))
        };
        while !gone() {
            assert!(Instant::now() < limit, "it outlives its group");
            std::thread::sleep(Duration::from_millis(2));
        }
        std::fs::remove_file(&file).unwrap();
    }
}
