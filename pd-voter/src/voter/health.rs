//! The lives of the replicas' domains: what happens to them, and what is to be done about it.

use resh_channel::config::REPLICAS_MAX;
use resh_channel::memory::Ordering;
use resh_channel::message::{Kind, Message};
use resh_channel::stats::{Condemnation, DisputeKind};
use resh_channel::supervision::{ASIDE, DIRECTIVE, GENERATION};

use super::Voter;
use crate::life::{Duty, Event, State};
use crate::limits::{ASIDE_LOOK_MS, BOOT_LOOK_MS, HELLO_LOOK_MS, JOIN_MS};
use crate::replica::Replica;
use crate::session::Session;
use crate::slot::Slot;
use crate::vote::Findings;

impl Voter<'_> {
    /// Does what is to be done about `event`. False if it is none of the replica's present state. `reason` goes
    /// to the statistics.
    pub(super) fn happens(
        &mut self,
        replica: usize,
        event: Event,
        reason: Option<Condemnation>,
    ) -> bool {
        let was_in = self.replicas[replica].life.state().is_in();
        let duty = self.replicas[replica].life.on(event, self.now_ms);
        let Some(duty) = duty else { return false };
        self.attend(replica, duty, was_in, reason);
        true
    }

    fn attend(&mut self, replica: usize, duty: Duty, was_in: bool, reason: Option<Condemnation>) {
        self.state_changed(replica);
        match duty {
            Duty::Renew => {
                if was_in {
                    self.leave(replica, reason);
                }
                self.replicas[replica].expect();
                self.slow &= !(1 << replica);
                self.signals.gateways |= 1 << replica;
            }
            Duty::LetIn => self.welcome(replica),
            Duty::Probe => {
                self.request_probes(replica);
                self.skip_probes(replica);
            }
            Duty::Count => {
                if let Some(outage_ms) = self.replicas[replica].life.take_outage_ms(self.now_ms) {
                    self.stats.replicas[replica].recovered += 1;
                    self.stats.replicas[replica].recovery_ms = outage_ms;
                }
                self.weigh_all();
            }
            Duty::Forget => self.absolve(replica),
            Duty::Leave => self.leave(replica, reason),
        }
    }

    /// Who serves nothing is ready for all of it.
    fn skip_probes(&mut self, replica: usize) {
        if self.services.iter().all(|service| service.replicas & (1 << replica) == 0) {
            self.happens(replica, Event::Ready, None);
        }
    }

    /// Looks for new lives of the replicas' domains, and for first hellos.
    pub(super) fn watch_supervision(&mut self) {
        for replica in 0..REPLICAS_MAX {
            let generation = self.supervision[GENERATION + replica].load(Ordering::Acquire);
            let was_in = self.replicas[replica].life.state().is_in();
            if let Some(duty) = self.replicas[replica].life.begin(generation, self.now_ms) {
                self.accused[replica] = None;
                self.attend(replica, duty, was_in, Some(Condemnation::Died));
            }
            let boots = self.replicas[replica].life.state() == State::Booting;
            if boots && self.replicas[replica].heard_hello() {
                self.happens(replica, Event::Hello, None);
            }
        }
    }

    /// When to look again for a first hello.
    pub(super) fn hello_ms(&self) -> Option<u64> {
        let waits =
            |replica: &Replica<'_>| replica.life.state() == State::Booting && replica.needs_look;
        self.replicas.iter().any(waits).then_some(self.now_ms + HELLO_LOOK_MS)
    }

    /// The first hello: the domain may read the broadcast ring from here on.
    fn welcome(&mut self, replica: usize) {
        let cursor = self.replicas[replica].channel.broadcast_cursor;
        match self.broadcast.add_reader(replica, cursor) {
            Ok(start) => {
                self.broadcast.pause_reader(replica, true);
                self.replicas[replica].welcome(start, self.now_ms);
            }
            // The region is too small: it can never be in.
            Err(_) => self.condemn(replica, Condemnation::RingPosition),
        }
        self.signals.gateways |= 1 << replica;
    }

    /// The second hello: it reads, and is probed from now on.
    pub(super) fn hear_joining(
        &mut self,
        replica: usize,
        message: &Message,
    ) -> Result<(), Condemnation> {
        let generation = self.replicas[replica].life.generation();
        if message.kind != Kind::Hello || message.offset != generation {
            return Err(Condemnation::UnexpectedRecord);
        }
        self.broadcast.pause_reader(replica, false);
        self.happens(replica, Event::LetIn, None);
        Ok(())
    }

    /// Looks who is to stand aside, and lets him if nobody needs him.
    pub(super) fn watch_directives(&mut self) {
        if self.aside_checked_ms == Some(self.now_ms) {
            return;
        }
        self.aside_checked_ms = None;
        for replica in 0..REPLICAS_MAX {
            let directive = self.supervision[DIRECTIVE + replica].load(Ordering::Acquire);
            if directive != ASIDE || !self.replicas[replica].life.state().takes_part() {
                continue;
            }
            self.aside_checked_ms = Some(self.now_ms);
            let spares = |session: &Session| {
                session.is_own() || !session.includes(replica) || session.vote.can_spare(replica)
            };
            if self.is_spared(replica) && self.sessions.iter().all(spares) {
                self.happens(replica, Event::StoodAside, None);
            }
        }
    }

    /// When to look again whether somebody may stand aside.
    pub(super) fn aside_ms(&self) -> Option<u64> {
        Some(self.aside_checked_ms? + ASIDE_LOOK_MS)
    }

    /// Looks for replicas that do not come to vote while others do.
    pub(super) fn watch_boots(&mut self) {
        for replica in 0..REPLICAS_MAX {
            let due_ms = self.replicas[replica].life.boot_due_ms(&self.recovery);
            if due_ms.is_some_and(|at_ms| at_ms <= self.now_ms) && self.is_missed(replica) {
                self.condemn(replica, Condemnation::BootTimeOut);
            }
        }
    }

    /// When to look again for those.
    pub(super) fn boot_ms(&self) -> Option<u64> {
        let due = |replica: &Replica<'_>| {
            let due_ms = replica.life.boot_due_ms(&self.recovery)?;
            Some(if due_ms > self.now_ms { due_ms } else { self.now_ms + BOOT_LOOK_MS })
        };
        self.replicas.iter().filter_map(due).min()
    }

    /// Whether others serve what `replica` is not ready for.
    fn is_missed(&self, replica: usize) -> bool {
        let bit = 1 << replica;
        self.services.iter().any(|service| {
            let lacks = service.replicas & bit != 0
                && service.ready & bit == 0
                && !self.waits_for_state(replica);
            lacks && (service.ready != 0 || service.replicas == bit)
        })
    }

    /// Whether something waits for room in the broadcast ring.
    pub(super) fn is_broadcast_full(&self) -> bool {
        self.lacking.is_some()
            || self.ordering.lacking.is_some()
            || !self.due_to_gateways.is_empty()
    }

    /// Looks for domains that do not read what is multicast.
    pub(super) fn watch_broadcast(&mut self) {
        let passed_ms = self.now_ms - self.stall_checked_ms;
        if passed_ms == 0 {
            return;
        }
        self.stall_checked_ms = self.now_ms;
        let (head, half_words) = (self.broadcast.head(), self.broadcast.capacity_bytes() / 8 / 2);
        let positions: [u64; REPLICAS_MAX] =
            core::array::from_fn(|at| head - self.broadcast.backlog(at));
        let is_in = |at: &usize| self.replicas[*at].life.state().is_in();
        let foremost = (0..REPLICAS_MAX).filter(is_in).map(|at| positions[at]).max();
        let full = self.is_broadcast_full();
        let mut late_joiners = 0;
        for (at, replica) in self.replicas.iter_mut().enumerate() {
            if !replica.life.state().is_in() {
                continue;
            }
            let behind = foremost.unwrap_or(head) - positions[at] >= half_words;
            let stalls = if full {
                let budget_ms = self.times.lag_budget_ms;
                replica.is_stalling(positions[at], head, behind, passed_ms, budget_ms, self.now_ms)
            } else {
                replica.forgive(passed_ms, self.now_ms);
                false
            };
            let late = replica.life.state() == State::Joining
                && self.now_ms - replica.life.joined_ms() > JOIN_MS
                && head - positions[at] > half_words;
            late_joiners |= u8::from(late) << at;
            if stalls {
                self.accused[at].get_or_insert(Condemnation::Silent);
            }
        }
        for replica in (0..REPLICAS_MAX).filter(|at| late_joiners & (1 << at) != 0) {
            self.happens(replica, Event::JoinTimeOut, Some(Condemnation::Silent));
        }
        self.judge();
    }

    /// Condemns those that were accused.
    pub(super) fn judge(&mut self) {
        for replica in 0..REPLICAS_MAX {
            if let Some(reason) = self.accused[replica].take() {
                self.condemn(replica, reason);
            }
        }
    }

    /// Nothing that this domain writes is read any more, until the supervisor starts it anew.
    pub(super) fn condemn(&mut self, replica: usize, reason: Condemnation) {
        let event = Event::of(reason);
        // Since it was accused, others may have gone that were a quorum with it.
        if event != Event::Convicted || self.is_spared(replica) {
            self.happens(replica, event, Some(reason));
        }
    }

    /// Takes `replica` out of all sessions.
    fn leave(&mut self, replica: usize, reason: Option<Condemnation>) {
        let bit = 1 << replica;
        self.replicas[replica].stop_reading();
        self.broadcast.drop_reader(replica);
        self.evidence[replica].clear();
        for service in &mut self.services {
            service.ready &= !bit;
        }
        self.leave_orders(replica);
        let stats = &mut self.stats.replicas[replica];
        stats.reason = reason.or(stats.reason);
        for index in 0..self.sessions.len() {
            let session = &mut self.sessions[index];
            let included = session.includes(replica);
            session.forget(replica);
            if included {
                let mut findings = Findings::new();
                let mut slot = Slot::new(self.window, index);
                session.vote.remove(replica, DisputeKind::Silence, &mut slot, &mut findings);
                self.record(index, findings);
                self.settle(index);
            }
        }
    }

    fn state_changed(&mut self, replica: usize) {
        let life = &self.replicas[replica].life;
        let stats = &mut self.stats.replicas[replica];
        stats.condemned += u64::from(life.state() == State::Condemned);
        stats.state = life.state().shown();
        stats.generation = life.generation() as u32;
        self.stats_changed = true;
        self.stats_urgent = true;
        self.signals.supervisor = true;
    }
}
