//! What becomes of a session: the consequences of whatever happened to it, and its end.

use resh_channel::config::{OnMismatch, REPLICAS_MAX};
use resh_channel::message::Reason;
use resh_channel::stats::DisputeKind;

use super::Voter;
use crate::disputes;
use crate::limits::{DRAIN_MS, DRAINING_SHARE};
use crate::session::{End, Phase, Session};
use crate::slot::Slot;
use crate::vote::{Finding, Findings};

impl Voter<'_> {
    /// Draws the consequences of whatever happened to a session.
    pub(super) fn settle(&mut self, index: usize) {
        let mut findings = Findings::new();
        let session = &mut self.sessions[index];
        let mut slot = Slot::new(self.window, index);
        let end = session.update(self.now_ms, self.times, self.slow, &mut slot, &mut findings);
        let drained = session.phase == Phase::Draining && session.is_drained();
        if self.is_export(index) {
            return self.settle_export(index, end);
        }
        if self.sessions[index].is_own() {
            return self.settle_probe(index, end);
        }
        self.record(index, findings);
        let end = end.or_else(|| self.look(index));
        match end {
            None if drained => self.finish(index),
            None => {
                self.consider_admission(index);
                self.schedule(index);
            }
            Some(End::Complete) => self.complete(index),
            Some(End::Aborted) => self.close(index, Some(Reason::Peer)),
            Some(End::NoQuorum) => self.mismatch(index),
        }
    }

    /// Queues what is due for a session.
    pub(super) fn schedule(&mut self, index: usize) {
        let session = &self.sessions[index];
        let due_ms = session.deadline_ms(self.times, self.slow);
        let due_ms = [due_ms, self.look_ms(index)].into_iter().flatten().min();
        self.timers.set(index, due_ms);
        if session.to_network != 0 {
            self.due_to_network.push(index);
        }
        if session.to_gateways != 0 {
            self.due_to_gateways.push(index);
        }
    }

    /// Adds findings to the dispute record. Returns the number of the last dispute.
    pub(super) fn record(&mut self, index: usize, findings: Findings) {
        let Session { service, id, client: Some(client), .. } = self.sessions[index] else {
            return;
        };
        for finding in findings {
            let Finding { replica, outvoted, kind, .. } = finding;
            let late = kind == DisputeKind::Laggard;
            if late {
                self.slow |= 1 << replica;
            }
            disputes::record(&mut self.stats, finding, service, id, self.clock_s);
            self.stats_changed = true;
            self.stats_urgent = true;
            if outvoted {
                self.hold_against(replica, service, client, late);
            }
            if outvoted && kind == DisputeKind::Reset {
                self.fear_for_state(replica, service);
            }
        }
    }

    /// All was said and delivered; others may still answer.
    fn complete(&mut self, index: usize) {
        self.count_out(index);
        self.sessions[index].drain(self.now_ms, DRAIN_MS);
        if self.sessions[index].is_drained() {
            return self.finish(index);
        }
        self.draining.push(index);
        self.schedule(index);
        if self.draining.len() > (self.client_slots() / DRAINING_SHARE).max(1)
            && let Some(oldest) = self.draining.front()
        {
            self.finish(oldest);
        }
    }

    /// A draining session has waited enough, or must make room for another.
    pub(super) fn finish(&mut self, index: usize) {
        let mut findings = Findings::new();
        let session = &self.sessions[index];
        // Whoever had to make room early is no laggard for that.
        let patience_ms = self.times.lag_budget_ms.min(DRAIN_MS);
        let late = session.drained_for_ms(self.now_ms) >= patience_ms;
        for replica in (0..REPLICAS_MAX).filter(|at| session.vote.has_voice(*at)) {
            if !session.vote.is_awaited(replica) {
                self.slow &= !(1 << replica);
                continue;
            }
            let finding = Finding {
                replica,
                kind: DisputeKind::Laggard,
                outvoted: true,
                offset: session.vote.position(replica),
                expected: Default::default(),
                found: Default::default(),
            };
            if late {
                // There are no more replicas than room.
                let _ = findings.push(finding);
            }
        }
        self.record(index, findings);
        self.close(index, None);
    }

    /// The session is over for all.
    pub(super) fn close(&mut self, index: usize, reset: Option<Reason>) {
        if self.sessions[index].phase == Phase::Open && !self.sessions[index].is_own() {
            self.count_out(index);
        }
        self.draining.remove(index);
        self.stats_changed = true;
        self.sessions[index].close(reset);
        self.close_ordered(index);
        self.schedule(index);
    }

    /// No quorum can be had.
    fn mismatch(&mut self, index: usize) {
        let number = usize::from(self.sessions[index].service);
        if let Some(stats) = self.stats.services.get_mut(number) {
            stats.no_quorum += 1;
        }
        let Some(service) = self.services.get_mut(number) else { return };
        service.agreed = false;
        if service.on_mismatch == OnMismatch::StopSession {
            return self.close(index, Some(Reason::NoQuorum));
        }
        self.stop(number);
    }

    /// A service stops: for all its clients, until the appliance is started again.
    pub(super) fn stop(&mut self, number: usize) {
        let Some(service) = self.services.get_mut(number) else { return };
        service.stopped = true;
        if let Some(stats) = self.stats.services.get_mut(number) {
            stats.stopped_by = stats.stopped_by.or(Some(self.stats.disputes_total));
        }
        for index in 0..self.sessions.len() {
            let session = &self.sessions[index];
            let is_its = !session.is_own() && usize::from(session.service) == number;
            if is_its && session.phase == Phase::Open {
                self.close(index, Some(Reason::Stopped));
            }
        }
    }

    /// A session is no longer open towards its client.
    fn count_out(&mut self, index: usize) {
        let number = usize::from(self.sessions[index].service);
        if let Some(stats) = self.stats.services.get_mut(number) {
            stats.open = stats.open.saturating_sub(1);
        }
        self.stats.sessions_open = self.stats.sessions_open.saturating_sub(1);
        self.stats_changed = true;
    }
}
