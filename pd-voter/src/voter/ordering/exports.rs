//! The sessions in which replicas write out the state of a service.

use resh_channel::message::{Kind, Message, OrderedHead, Reason, SessionId};
use resh_channel::stats::Condemnation;
use resh_channel::window::pieces;

use super::say;
use crate::disputes;
use crate::limits::DRAIN_MS;
use crate::order::service::Order;
use crate::session::{End, Phase, Session};
use crate::vote::Findings;
use crate::voter::Voter;

impl Voter<'_> {
    /// The index of the session in which replicas write out their state.
    fn export_index(&self) -> usize {
        self.sessions.len() - 1
    }

    /// Whether `index` is that of an export.
    pub(in crate::voter) fn is_export(&self, index: usize) -> bool {
        self.ordering.export.is_some() && index == self.export_index()
    }

    /// Orders an export of service `number`, if one is wanted and can be.
    pub(super) fn begin_export(&mut self, number: usize) {
        let index = self.export_index();
        let wants =
            self.ordering.orders.service(number).is_some_and(|o| o.wants_export(self.now_ms));
        let free = self.ordering.export.is_none() && self.sessions[index].phase == Phase::Free;
        if !wants || !free {
            return;
        }
        for other in 0..self.client_slots() {
            if usize::from(self.sessions[other].service) == number
                && self.ordering.orders.is_lost(other)
            {
                self.close(other, Some(Reason::Limit));
            }
        }
        // Both records, wherever they come to lie.
        let both = 2 * (size_of::<OrderedHead>() + 64);
        if !self.due_to_gateways.is_empty() || !self.has_room(both) {
            return;
        }
        let Some(order) = self.ordering.orders.service(number) else { return };
        let (members, quorum) = (order.synced(), order.quorum);
        let generation = self.sessions[index].id.generation.wrapping_add(1);
        let id = SessionId { index: index as u16, generation };
        if !self.ordering.orders.open(id, number as u8) {
            return;
        }
        let stamp = self.stamp();
        let mut session = Session::open(id, number as u8, members, quorum);
        session.client = None;
        session.nonce = stamp.nonce;
        let open = Message::new(Kind::Open, id).arg(number as u8).to(members).clock(self.clock_s);
        self.say_to_gateways(&open, &stamp.nonce);
        if let Some(out) = self.ordering.orders.take_export(number, id, stamp) {
            say(&mut self.broadcast, &mut self.accused, &out);
        }
        self.sessions[index] = session;
        self.ordering.export = Some((number, 0));
        self.schedule(index);
    }

    /// Draws the consequences of whatever happened to the session of an export. `end` is how it ended, if it did.
    pub(in crate::voter) fn settle_export(&mut self, index: usize, end: Option<End>) {
        let Some((number, read)) = self.ordering.export else { return };
        let session = &self.sessions[index];
        if session.phase != Phase::Open {
            // Only who is late with the dump is still compared.
            return if session.is_drained() {
                self.end_export(index)
            } else {
                self.schedule(index)
            };
        }
        let released = session.vote.released();
        let (ended, failed) =
            (session.vote.ended(), matches!(end, Some(End::Aborted | End::NoQuorum)));
        let Some(order) = self.ordering.orders.service_mut(number) else { return };
        for piece in pieces(index, read, (released - read) as usize) {
            order.export_data(&self.window[piece], self.now_ms);
        }
        if released > read {
            order.moved(self.now_ms);
        }
        self.ordering.export = Some((number, released));
        if failed {
            order.export_failed(self.now_ms);
        } else if ended {
            order.export_ended(self.now_ms);
            self.sessions[index].drain(self.now_ms, DRAIN_MS);
        }
        self.schedule(index);
        self.abandon_export(number);
    }

    /// What the vote on a dump brought to light. Who is outvoted has another state than the others.
    pub(in crate::voter) fn record_export(&mut self, index: usize, findings: Findings) {
        let Session { service, id, .. } = self.sessions[index];
        for finding in findings {
            let (replica, outvoted) = (finding.replica, finding.outvoted);
            disputes::record(&mut self.stats, finding, service, id, self.clock_s);
            self.stats_changed = true;
            self.stats_urgent = true;
            if outvoted {
                self.accused[replica].get_or_insert(Condemnation::Diverged);
            }
        }
    }

    /// The session of an export that came to nothing, or of which all was heard, is closed.
    pub(super) fn abandon_export(&mut self, number: usize) {
        let runs = self.ordering.orders.service(number).is_some_and(Order::awaits_dump);
        let index = self.export_index();
        let waits = self.sessions[index].phase == Phase::Open && runs
            || self.sessions[index].phase == Phase::Draining && !self.sessions[index].is_drained();
        if self.ordering.export.is_some_and(|(service, _)| service == number) && !waits {
            self.end_export(index);
        }
    }

    /// The session of an export is over.
    pub(in crate::voter) fn end_export(&mut self, index: usize) {
        self.ordering.export = None;
        self.close(index, None);
    }
}
