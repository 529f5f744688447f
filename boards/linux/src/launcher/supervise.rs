//! The supervisor: starts the domains, starts a replica's domain anew when it ends or is condemned,
//! and ends everything when a domain of the wormhole ends or a signal says so.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Child, ExitCode};

use resh_channel::memory::{Ordering, Words};
use resh_channel::stats::ReplicaState;
use sel4_microkit::{Channel, ChannelSet, Handler, linux};

use super::listeners::Listeners;
use super::spawn::{Parts, spawn};
use super::{Checked, Options, ready};
use crate::system::System;

/// The supervisor's domain.
pub(super) const SUPERVISOR: &str = "supervisor";
/// Its channel to the voter.
const VOTER: Channel = Channel::new(0);
/// Wait before the first restart of a domain, doubled with each further one.
const FIRST_BACK_OFF_MS: u64 = 100;
/// Longest wait before a restart.
const MAX_BACK_OFF_MS: u64 = 5_000;
/// A domain that ran as long as this starts with the shortest wait again.
const HEALTHY_MS: u64 = 30_000;
/// How long the replicas may take until the appliance is called ready without them.
const READY_MS: u64 = 5_000;
/// How long after the last look the voter's verdicts are looked at, at the latest.
const LOOK_MS: u64 = 500;
/// Exit status when a domain of the wormhole ended (`EX_SOFTWARE` of sysexits.h).
const WORMHOLE_DIED: u8 = 70;

/// How the appliance ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// A signal asked for it.
    Signal,
    /// A domain that cannot be replaced ended.
    WormholeDied(String),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Signal => f.write_str("stopped"),
            Self::WormholeDied(how) => f.write_str(how),
        }
    }
}

/// A domain's process, and how it is to be started again.
struct Process {
    domain: usize,
    program: String,
    /// Number of the replica it serves; its generation is in the `supervision` region.
    replica: Option<usize>,
    child: Option<Child>,
    started_ms: u64,
    restart_at_ms: Option<u64>,
    back_off_ms: u64,
}

impl Process {
    /// Whether the appliance goes on without it.
    fn is_replaceable(&self, system: &System) -> bool {
        self.replica.is_some() || system.domains[self.domain].name == "resh_monitor"
    }
}

/// The supervisor of one appliance.
pub(super) struct Supervisor<'a> {
    checked: &'a Checked,
    parts: &'a Parts<'a>,
    listeners: &'a Listeners,
    options: &'a Options,
    processes: Vec<Process>,
    generations: &'static Words,
    voter_stats: &'static Words,
    signals: OwnedFd,
    started_ms: u64,
    is_ready: bool,
}

impl<'a> Supervisor<'a> {
    /// Starts all domains.
    pub(super) fn start(
        checked: &'a Checked,
        parts: &'a Parts<'a>,
        listeners: &'a Listeners,
        options: &'a Options,
    ) -> Result<Self, String> {
        let text = |error: io::Error| error.to_string();
        let signals = signal_descriptor().map_err(text)?;
        linux::watch_input(signals.as_raw_fd(), 0).map_err(text)?;
        let region = |symbol| sel4_microkit::region(symbol).map_err(|error| error.to_string());
        let mut supervisor = Self {
            checked,
            parts,
            listeners,
            options,
            processes: Vec::new(),
            generations: region("supervision")?,
            voter_stats: region("voter_stats")?,
            signals,
            started_ms: sel4_microkit::now_ms(),
            is_ready: false,
        };
        let system = &checked.system;
        let own = system.domains.iter().position(|domain| domain.name == SUPERVISOR);
        for (index, domain) in system.domains.iter().enumerate() {
            let replica = domain.child_id.filter(|_| domain.parent == own).map(usize::from);
            let unused = replica.is_some_and(|replica| {
                replica >= ready::replicas_needed(&checked.config.appliance)
            });
            if Some(index) == own || unused {
                continue;
            }
            let program = supervisor.program(index);
            supervisor.processes.push(Process {
                domain: index,
                program,
                replica,
                child: None,
                started_ms: 0,
                restart_at_ms: None,
                back_off_ms: FIRST_BACK_OFF_MS,
            });
        }
        for number in 0..supervisor.processes.len() {
            supervisor.start_process(number).map_err(text)?;
        }
        Ok(supervisor)
    }

    /// The program of a domain: what the system description names, without `.elf`, or a replacement.
    fn program(&self, domain: usize) -> String {
        let domain = &self.checked.system.domains[domain];
        let replaced = self.options.replace.iter().find(|(name, _)| *name == domain.name);
        match replaced {
            Some((_, program)) => program.clone(),
            None => domain.program.trim_end_matches(".elf").to_owned(),
        }
    }

    fn start_process(&mut self, number: usize) -> io::Result<()> {
        let process = &mut self.processes[number];
        let domain = &self.checked.system.domains[process.domain];
        let mut grants = self.parts.grants(process.domain);
        if domain.name == "resh_monitor" {
            grants.descriptors = self.listeners.descriptors();
        }
        if let Some(replica) = process.replica {
            // The voter learns of the new life before the newcomer can say hello.
            self.generations[replica].fetch_add(1, Ordering::Release);
            VOTER.notify();
        }
        process.child = Some(spawn(&grants, &process.program)?);
        process.started_ms = sel4_microkit::now_ms();
        process.restart_at_ms = None;
        Ok(())
    }

    /// Runs until the appliance ends, then ends every domain.
    pub(super) fn run(self) -> Result<ExitCode, String> {
        match linux::run(self) {
            Ok(never) => match never {},
            Err(Ended::Signal) => Ok(ExitCode::SUCCESS),
            Err(Ended::WormholeDied(how)) => {
                eprintln!("resh: {how}");
                Ok(ExitCode::from(WORMHOLE_DIED))
            }
        }
    }

    fn reap(&mut self) -> Result<(), Ended> {
        let now_ms = sel4_microkit::now_ms();
        for process in &mut self.processes {
            let Some(child) = &mut process.child else { continue };
            let Ok(Some(status)) = child.try_wait() else { continue };
            process.child = None;
            let name = &self.checked.system.domains[process.domain].name;
            let how = format!("domain `{name}` ended: {status}");
            if !process.is_replaceable(&self.checked.system) {
                return Err(Ended::WormholeDied(how));
            }
            if now_ms - process.started_ms >= HEALTHY_MS {
                process.back_off_ms = FIRST_BACK_OFF_MS;
            }
            process.restart_at_ms = Some(now_ms + process.back_off_ms);
            eprintln!("resh: {how}; starting it again in {} ms", process.back_off_ms);
            process.back_off_ms = (process.back_off_ms * 2).min(MAX_BACK_OFF_MS);
        }
        Ok(())
    }

    fn restart_due(&mut self) -> Result<(), Ended> {
        let now_ms = sel4_microkit::now_ms();
        for number in 0..self.processes.len() {
            if self.processes[number].restart_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
                self.start_process(number)
                    .map_err(|error| Ended::WormholeDied(format!("cannot start: {error}")))?;
            }
        }
        Ok(())
    }

    /// Ends the domains that the voter condemned; their end starts them anew.
    fn execute_verdicts(&mut self) {
        let Some(stats) = ready::voter_stats(self.voter_stats) else { return };
        for process in &mut self.processes {
            let Some(replica) = process.replica else { continue };
            let generation = self.generations[replica].load(Ordering::Relaxed);
            let condemned = stats.replicas.get(replica).is_some_and(|seen| {
                seen.state == ReplicaState::Condemned && u64::from(seen.generation) == generation
            });
            if let Some(child) = process.child.as_mut().filter(|_| condemned) {
                // Already dead is as good.
                let _ = child.kill();
            }
        }
        let all_vote = ready::all_vote(&self.checked.config.appliance, &stats);
        let late = sel4_microkit::now_ms() - self.started_ms > READY_MS;
        if !self.is_ready && (all_vote || late) {
            self.is_ready = true;
            self.say_ready(all_vote);
        }
    }

    fn say_ready(&self, all_vote: bool) {
        let appliance = &self.checked.config.appliance;
        for service in &appliance.services {
            println!("ready: service `{}` on {}", service.name, service.listen);
        }
        if !all_vote {
            println!("not all replica domains vote yet; see `resh status {}`", appliance.name);
        }
        if let Some(greeting) = &self.options.greeting {
            println!("{greeting}");
        }
    }

    fn next_deadline_ms(&self) -> u64 {
        let now_ms = sel4_microkit::now_ms();
        let look_ms = now_ms + if self.is_ready { LOOK_MS } else { 20 };
        self.processes.iter().filter_map(|process| process.restart_at_ms).fold(look_ms, u64::min)
    }

    fn signalled(&self) -> bool {
        let mut info = std::mem::MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let mut asked_to_stop = false;
        loop {
            let len = size_of::<libc::signalfd_siginfo>();
            // SAFETY: `info` is valid for writes of `len` bytes.
            let got =
                unsafe { libc::read(self.signals.as_raw_fd(), info.as_mut_ptr().cast(), len) };
            if got != len as isize {
                return asked_to_stop;
            }
            // SAFETY: the kernel wrote the whole structure.
            let signal = unsafe { info.assume_init() }.ssi_signo as libc::c_int;
            asked_to_stop |= signal != libc::SIGCHLD;
        }
    }
}

impl Handler for Supervisor<'_> {
    type Error = Ended;

    fn notified(&mut self, _: ChannelSet) -> Result<(), Ended> {
        while linux::take_ready().is_some() {}
        if self.signalled() {
            return Err(Ended::Signal);
        }
        self.execute_verdicts();
        self.reap()?;
        self.restart_due()?;
        sel4_microkit::set_deadline(Some(self.next_deadline_ms()));
        Ok(())
    }
}

impl Drop for Supervisor<'_> {
    fn drop(&mut self) {
        for process in &mut self.processes {
            if let Some(child) = &mut process.child {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// Blocks the signals that are handled here and returns a descriptor that reports them.
fn signal_descriptor() -> io::Result<OwnedFd> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `set` is initialised by sigemptyset before any other use.
    let fd = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGCHLD] {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
        libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
