//! The supervisor: starts the domains, ends the lives of replicas and begins their next ones, and ends everything when a
//! domain of the wormhole ends or a signal says so.
//!
//! [`Lives`] decides about replicas. A life's end: its gateway's process is killed. A later life's beginning: the restart
//! commands of the replica run, and when all have succeeded a gateway is started.

use std::io;
use std::process::ExitCode;

use resh_channel::config::REPLICAS_MAX;
use resh_channel::memory::{Ordering, Words};
use resh_channel::stats::{ReplicaState, VoterStats};
use resh_channel::supervision::{DOING, Doing};
use resh_status::render;
use sel4_microkit::{Channel, ChannelSet, Handler, linux, now_ms};
use supervisor::{Actions, Lives, State};

use super::control::Control;
use super::listeners::Listeners;
use super::process::{Process, Role};
use super::ready::{self, name};
use super::restart::{Restarts, Wanted};
use super::signals::Signals;
use super::spawn::Parts;
use super::wishes::Pending;
use super::{Checked, Options};

/// The supervisor's domain.
pub(super) const SUPERVISOR: &str = "supervisor";
/// Its channel to the voter.
const VOTER: Channel = Channel::new(0);
/// How long the replicas may take until the appliance is called ready without them, in milliseconds.
const READY_MS: u64 = 5_000;
/// How long after the last look the voter's verdicts are looked at, at the latest, in milliseconds.
const LOOK_MS: u64 = 500;
/// The same until the appliance is ready, and after a signal of the voter, which may publish a little later.
const LOOK_AGAIN_MS: u64 = 20;
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

/// The supervisor of one appliance.
pub(super) struct Supervisor<'a> {
    pub(super) checked: &'a Checked,
    parts: &'a Parts<'a>,
    listeners: &'a Listeners,
    options: &'a Options,
    pub(super) control: Control,
    pub(super) lives: Lives,
    pub(super) pending: Vec<Pending>,
    processes: Vec<Process>,
    /// The restart commands that run, by replica.
    restarts: [Option<Restarts>; REPLICAS_MAX],
    /// How often each replica came to vote again, as far as was told.
    recovered: [u64; REPLICAS_MAX],
    supervision: &'static Words,
    voter_stats: &'static Words,
    network_stats: &'static Words,
    signals: Signals,
    started_ms: u64,
    is_ready: bool,
    look_again_at_ms: Option<u64>,
}

/// The replicas in a bit mask.
fn replicas(mask: u8) -> impl Iterator<Item = usize> {
    (0..REPLICAS_MAX).filter(move |replica| mask & 1 << replica != 0)
}

impl<'a> Supervisor<'a> {
    /// Starts all domains.
    pub(super) fn start(
        checked: &'a Checked,
        parts: &'a Parts<'a>,
        listeners: &'a Listeners,
        control: Control,
        options: &'a Options,
    ) -> Result<Self, String> {
        let text = |error: io::Error| error.to_string();
        let signals = Signals::block().map_err(text)?;
        signals.watch().map_err(text)?;
        control.watch().map_err(text)?;
        let region = |symbol| sel4_microkit::region(symbol).map_err(|error| error.to_string());
        let appliance = &checked.config.appliance;
        let services = appliance.services.iter().map(|service| service.replicas.len());
        let mut supervisor = Self {
            checked,
            parts,
            listeners,
            options,
            control,
            lives: Lives::begin(services, &appliance.recovery, now_ms()),
            pending: Vec::new(),
            processes: Vec::new(),
            restarts: [const { None }; REPLICAS_MAX],
            recovered: [0; REPLICAS_MAX],
            supervision: region("supervision")?,
            voter_stats: region("voter_stats")?,
            network_stats: region("network_stats")?,
            signals,
            started_ms: now_ms(),
            is_ready: false,
            look_again_at_ms: None,
        };
        // The voter learns of the lives before anybody can say hello.
        supervisor.announce();
        let system = &checked.system;
        let own = system.domains.iter().position(|domain| domain.name == SUPERVISOR);
        for (index, domain) in system.domains.iter().enumerate() {
            let role = match domain.child_id.filter(|_| domain.parent == own) {
                Some(replica) => Role::Gateway(replica.into()),
                None if domain.name == "resh_monitor" => Role::Monitor,
                None => Role::Wormhole,
            };
            let unused = |replica| supervisor.lives.state(replica) == State::Unused;
            if Some(index) == own || matches!(role, Role::Gateway(replica) if unused(replica)) {
                continue;
            }
            let program = supervisor.program(index);
            supervisor.processes.push(Process::new(index, role, program));
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
        let mut grants = self.parts.grants(process.domain);
        if process.role == Role::Monitor {
            grants.descriptors = self.listeners.descriptors();
        }
        process.start(&grants, now_ms())
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

    /// Says something about a replica, for the log.
    fn log(&self, replica: usize, what: impl std::fmt::Display) {
        eprintln!("resh: {}: {what}", name(&self.checked.config.appliance, replica));
    }

    /// Does what is to be done about replicas.
    pub(super) fn act(&mut self, actions: Actions) -> Result<(), Ended> {
        for replica in replicas(actions.stop) {
            self.restarts[replica] = None;
            let gateways = self.processes.iter_mut();
            gateways.filter(|p| p.role == Role::Gateway(replica)).for_each(Process::end);
        }
        if actions.announce {
            self.announce();
        }
        for replica in replicas(actions.start) {
            self.log(replica, format_args!("life {} begins", self.lives.generation(replica)));
            match self.begin_restarts(replica) {
                Ok(None) => self.start_gateway(replica)?,
                Ok(restarts) => {
                    self.restarts[replica] = restarts;
                    self.announce();
                }
                Err(why) => self.fail(replica, &why)?,
            }
        }
        Ok(())
    }

    /// Writes what the voter, the gateways and the monitor are to know.
    fn announce(&self) {
        let mut words = self.lives.words();
        for (replica, _) in self.restarts.iter().enumerate().filter(|(_, one)| one.is_some()) {
            words[DOING + replica] = Doing::Restarts as u64;
        }
        // Last the generations: who sees a new life sees what is asked of it.
        for (word, value) in self.supervision.iter().zip(words).rev() {
            word.store(value, Ordering::Release);
        }
        VOTER.notify();
    }

    /// Starts the restart commands of `replica`, if it has any.
    fn begin_restarts(&self, replica: usize) -> Result<Option<Restarts>, String> {
        let config = &self.checked.config;
        let services = config.appliance.services.iter().zip(&config.restarts);
        let wanted: Vec<_> = services
            .filter_map(|(service, restarts)| {
                let restart = restarts.get(replica)?.as_ref()?;
                let replica = &service.replicas.get(replica)?.name;
                Some(Wanted { service: &service.name, replica, restart })
            })
            .collect();
        if wanted.is_empty() {
            return Ok(None);
        }
        let limit_ms = config.appliance.recovery.boot_ms;
        Restarts::start(wanted, now_ms(), limit_ms.into()).map(Some)
    }

    fn start_gateway(&mut self, replica: usize) -> Result<(), Ended> {
        let role = Role::Gateway(replica);
        let Some(number) = self.processes.iter().position(|process| process.role == role) else {
            return Ok(());
        };
        self.start_process(number)
            .map_err(|error| Ended::WormholeDied(format!("cannot start: {error}")))
    }

    /// The life of `replica` cannot go on.
    fn fail(&mut self, replica: usize, why: &str) -> Result<(), Ended> {
        let actions = self.lives.died(replica, now_ms());
        self.act(actions)?;
        self.log_end(replica, why);
        Ok(())
    }

    fn log_end(&self, replica: usize, why: &str) {
        let next = self.lives.generation(replica);
        match self.lives.state(replica) {
            State::BackingOff { since_ms, until_ms } => {
                let wait_ms = until_ms - since_ms;
                self.log(replica, format_args!("{why}; life {next} begins in {wait_ms} ms"));
            }
            _ => self.log(replica, why),
        }
    }

    /// Goes on with lives whose restart commands have ended.
    fn watch_restarts(&mut self) -> Result<(), Ended> {
        for replica in 0..REPLICAS_MAX {
            let Some(restarts) = &mut self.restarts[replica] else { continue };
            let Some(end) = restarts.poll(now_ms()) else { continue };
            self.restarts[replica] = None;
            match end {
                Ok(()) => {
                    self.announce();
                    self.start_gateway(replica)?;
                }
                Err(why) => self.fail(replica, &why)?,
            }
        }
        Ok(())
    }

    /// Looks for processes that have ended, and starts the monitor again.
    fn watch_processes(&mut self) -> Result<(), Ended> {
        for number in 0..self.processes.len() {
            let process = &mut self.processes[number];
            let name = &self.checked.system.domains[process.domain].name;
            if let Some(status) = process.ended() {
                let how = format!("domain `{name}` ended: {status}");
                match process.role {
                    Role::Wormhole => return Err(Ended::WormholeDied(how)),
                    Role::Gateway(replica) => self.fail(replica, &how)?,
                    Role::Monitor => {
                        let wait_ms = process.back_off(now_ms());
                        eprintln!("resh: {how}; starting it again in {wait_ms} ms");
                    }
                }
            }
            let due = self.processes[number].restart_at_ms();
            if due.is_some_and(|at_ms| at_ms <= now_ms()) {
                self.start_process(number)
                    .map_err(|error| Ended::WormholeDied(format!("cannot start: {error}")))?;
            }
        }
        Ok(())
    }

    /// Executes the voter's verdicts, and what is due.
    fn look(&mut self) -> Result<(), Ended> {
        let Some(stats) = ready::voter_stats(self.voter_stats) else {
            let actions = self.lives.pass(now_ms());
            return self.act(actions);
        };
        let actions = self.lives.observe(&stats, now_ms());
        for replica in replicas(actions.stop) {
            match stats.replicas.get(replica) {
                Some(seen) if seen.state == ReplicaState::Condemned => {
                    let why = seen.reason.map_or("no reason given", render::reason);
                    self.log_end(replica, &format!("condemned: {why}"));
                }
                _ => self.log(replica, "it stands aside"),
            }
        }
        self.act(actions)?;
        self.tell_recoveries(&stats);
        let all_vote = ready::all_vote(&self.checked.config.appliance, &stats);
        let late = now_ms() - self.started_ms > READY_MS;
        if !self.is_ready && (all_vote || late) && ready::network_runs(self.network_stats) {
            self.is_ready = true;
            self.say_ready(all_vote);
        }
        Ok(())
    }

    fn tell_recoveries(&mut self, stats: &VoterStats) {
        for (replica, seen) in stats.replicas.iter().enumerate().take(REPLICAS_MAX) {
            if std::mem::replace(&mut self.recovered[replica], seen.recovered) != seen.recovered {
                let (s, ms) = (seen.recovery_ms / 1000, seen.recovery_ms % 1000);
                self.log(replica, format_args!("votes again after {s}.{ms:03} s"));
            }
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
        let look_ms = now_ms() + if self.is_ready { LOOK_MS } else { LOOK_AGAIN_MS };
        let restarts = self.restarts.iter().flatten().map(Restarts::until_ms);
        [self.lives.next_ms(), self.control.next_ms(), self.look_again_at_ms]
            .into_iter()
            .flatten()
            .chain(restarts)
            .chain(self.processes.iter().filter_map(Process::restart_at_ms))
            .fold(look_ms, u64::min)
    }
}

impl Handler for Supervisor<'_> {
    type Error = Ended;

    fn notified(&mut self, channels: ChannelSet) -> Result<(), Ended> {
        while linux::take_ready().is_some() {}
        if self.signals.ask_to_stop() {
            return Err(Ended::Signal);
        }
        let now_ms = now_ms();
        self.look_again_at_ms = match channels.contains(VOTER) {
            true => Some(now_ms + LOOK_AGAIN_MS),
            false => self.look_again_at_ms.filter(|at_ms| *at_ms > now_ms),
        };
        self.look()?;
        self.watch_processes()?;
        self.watch_restarts()?;
        self.attend_operators()?;
        sel4_microkit::set_deadline(Some(self.next_deadline_ms()));
        Ok(())
    }
}

impl Drop for Supervisor<'_> {
    fn drop(&mut self) {
        self.processes.iter_mut().for_each(Process::end);
    }
}
