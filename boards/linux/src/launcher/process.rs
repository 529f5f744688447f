//! The process of a domain, and the monitor's waits before it is started again.

use std::io;
use std::process::{Child, ExitStatus};

use sel4_microkit::linux::Grants;

use super::spawn::spawn;

/// Wait before the first restart of the monitor, doubled with each further one, in milliseconds.
const FIRST_BACK_OFF_MS: u64 = 100;
/// Longest wait before a restart, in milliseconds.
const MAX_BACK_OFF_MS: u64 = 5_000;
/// A monitor that ran as long as this starts with the shortest wait again, in milliseconds.
const HEALTHY_MS: u64 = 30_000;

/// What becomes of the appliance when a domain's process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Part of the wormhole: nothing goes on without it.
    Wormhole,
    /// The monitor: nobody in the data path misses it.
    Monitor,
    /// It serves this replica.
    Gateway(usize),
}

/// A domain's process.
pub(super) struct Process {
    /// Index of the domain in the system description.
    pub(super) domain: usize,
    pub(super) role: Role,
    program: String,
    child: Option<Child>,
    started_ms: u64,
    restart_at_ms: Option<u64>,
    back_off_ms: u64,
}

impl Process {
    pub(super) fn new(domain: usize, role: Role, program: String) -> Self {
        Self {
            domain,
            role,
            program,
            child: None,
            started_ms: 0,
            restart_at_ms: None,
            back_off_ms: FIRST_BACK_OFF_MS,
        }
    }

    pub(super) fn start(&mut self, grants: &Grants, now_ms: u64) -> io::Result<()> {
        self.child = Some(spawn(grants, &self.program)?);
        self.started_ms = now_ms;
        self.restart_at_ms = None;
        Ok(())
    }

    /// Ends it, if it runs.
    pub(super) fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Already dead is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// How it ended, if it did since the last look.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        Some(status)
    }

    /// Plans the next start, and returns the wait before it, in milliseconds.
    pub(super) fn back_off(&mut self, now_ms: u64) -> u64 {
        if now_ms - self.started_ms >= HEALTHY_MS {
            self.back_off_ms = FIRST_BACK_OFF_MS;
        }
        let wait_ms = self.back_off_ms;
        self.restart_at_ms = Some(now_ms + wait_ms);
        self.back_off_ms = (wait_ms * 2).min(MAX_BACK_OFF_MS);
        wait_ms
    }

    /// When it is to be started again, if that was planned.
    pub(super) fn restart_at_ms(&self) -> Option<u64> {
        self.restart_at_ms
    }
}
