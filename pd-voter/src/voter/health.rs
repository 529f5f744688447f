//! Which replicas' domains are in: their lives, their joining, and what condemns them.

use resh_channel::config::REPLICAS_MAX;
use resh_channel::memory::Ordering;
use resh_channel::message::{Kind, Message};
use resh_channel::stats::{Condemnation, DisputeKind, ReplicaState};

use super::Voter;
use crate::limits::{JOIN_MS, PROBE_MS};
use crate::replica::Replica;
use crate::slot::Slot;
use crate::vote::Findings;

impl Voter<'_> {
    /// Looks for new lives of the replicas' domains, and for first hellos.
    pub(super) fn watch_supervision(&mut self) {
        for replica in 0..REPLICAS_MAX {
            let generation = self.supervision[replica].load(Ordering::Acquire);
            if generation != self.replicas[replica].generation {
                if self.replicas[replica].is_in() {
                    self.leave(replica, ReplicaState::Absent, Condemnation::Died);
                }
                self.replicas[replica].begin(generation);
                self.slow &= !(1 << replica);
                self.accused[replica] = None;
                self.state_changed(replica);
                self.signals.gateways |= 1 << replica;
            }
            let absent = self.replicas[replica].state == ReplicaState::Absent && generation != 0;
            if absent && self.replicas[replica].heard_hello() {
                self.welcome(replica);
            }
        }
    }

    /// When to look again for a first hello.
    pub(super) fn probe_ms(&self) -> Option<u64> {
        let waits = |replica: &Replica<'_>| {
            replica.state == ReplicaState::Absent && replica.generation != 0 && replica.needs_probe
        };
        self.replicas.iter().any(waits).then_some(self.now_ms + PROBE_MS)
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
            Err(_) => self.replicas[replica].leave(ReplicaState::Condemned),
        }
        self.state_changed(replica);
        self.signals.gateways |= 1 << replica;
    }

    /// The second hello: it reads, and votes from now on.
    pub(super) fn hear_joining(
        &mut self,
        replica: usize,
        message: &Message,
    ) -> Result<(), Condemnation> {
        if message.kind != Kind::Hello || message.offset != self.replicas[replica].generation {
            return Err(Condemnation::UnexpectedRecord);
        }
        self.replicas[replica].state = ReplicaState::Voting;
        self.broadcast.pause_reader(replica, false);
        self.state_changed(replica);
        Ok(())
    }

    /// Whether something waits for room in the broadcast ring.
    pub(super) fn is_broadcast_full(&self) -> bool {
        self.lacking.is_some() || !self.due_to_gateways.is_empty()
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
        let is_in = |at: &usize| self.replicas[*at].is_in();
        let foremost = (0..REPLICAS_MAX).filter(is_in).map(|at| positions[at]).max();
        let full = self.is_broadcast_full();
        for (at, replica) in self.replicas.iter_mut().enumerate() {
            if !replica.is_in() {
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
            let late = replica.state == ReplicaState::Joining
                && self.now_ms - replica.joined_ms > JOIN_MS
                && head - positions[at] > half_words;
            if stalls || late {
                self.accused[at].get_or_insert(Condemnation::Silent);
            }
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
        if self.replicas[replica].is_in() {
            self.leave(replica, ReplicaState::Condemned, reason);
            self.stats.replicas[replica].condemned += 1;
            self.state_changed(replica);
        }
    }

    fn leave(&mut self, replica: usize, state: ReplicaState, reason: Condemnation) {
        self.replicas[replica].leave(state);
        self.broadcast.drop_reader(replica);
        self.stats.replicas[replica].reason = Some(reason);
        for index in 0..self.sessions.len() {
            let session = &mut self.sessions[index];
            if session.includes(replica) {
                session.gone |= 1 << replica;
                let mut findings = Findings::new();
                let mut slot = Slot::new(self.window, index);
                session.vote.remove(replica, DisputeKind::Silence, &mut slot, &mut findings);
                self.record(index, findings);
                self.settle(index);
            }
        }
    }

    fn state_changed(&mut self, replica: usize) {
        let domain = &self.replicas[replica];
        let stats = &mut self.stats.replicas[replica];
        stats.state = domain.state;
        stats.generation = domain.generation as u32;
        self.stats_changed = true;
        self.stats_urgent = true;
        self.signals.supervisor = true;
    }
}
