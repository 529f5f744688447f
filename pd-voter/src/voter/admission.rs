//! How a replica comes into sessions that were opened without it: where a quorum of theirs is at rest.

use resh_channel::message::{AdmitHead, Kind, Message};
use zerocopy::IntoBytes;

use super::Voter;
use crate::session::to_gateways;

impl Voter<'_> {
    /// A replica has become ready for service `number`: it is admitted to the sessions that are at rest.
    pub(super) fn admit_to_all(&mut self, number: usize) {
        for index in 0..self.client_slots() {
            if usize::from(self.sessions[index].service) == number {
                self.consider_admission(index);
                if self.sessions[index].to_gateways & to_gateways::ADMIT != 0 {
                    self.due_to_gateways.push(index);
                }
            }
        }
    }

    /// Notes that replicas are to be admitted, if there are any and the session is at rest.
    pub(super) fn consider_admission(&mut self, index: usize) {
        if self.newcomers(index) != 0 && self.rests(index) {
            self.sessions[index].to_gateways |= to_gateways::ADMIT;
        }
    }

    /// Admits them, if the session is still at rest. False if the broadcast ring is full.
    pub(super) fn admit(&mut self, index: usize) -> bool {
        let newcomers = self.newcomers(index);
        let session = &self.sessions[index];
        if newcomers == 0 || !self.rests(index) {
            return true;
        }
        let at = session.position();
        let head = AdmitHead {
            nonce: session.nonce,
            reply_offset: at.reply.into(),
            reply_credit: session.vote.credit().into(),
        };
        let message = Message::new(Kind::Admit, session.id).arg(session.service);
        let message = message.at(at.request).to(newcomers).clock(self.clock_s);
        if !self.say_to_gateways(&message, head.as_bytes()) {
            return false;
        }
        self.sessions[index].admit(newcomers);
        self.ordering.orders.admit(index, newcomers);
        self.count_in(newcomers);
        true
    }

    /// Replicas that are ready and do not take part, a bit mask.
    fn newcomers(&self, index: usize) -> u8 {
        let session = &self.sessions[index];
        let service = self.services.get(usize::from(session.service));
        let ready = service.filter(|_| !session.is_own()).map_or(0, |service| service.ready);
        match session.absent(ready) {
            0 => 0,
            absent => absent & self.admissible(index),
        }
    }

    /// Counts the session for those who take part from now on.
    pub(super) fn count_in(&mut self, replicas: u8) {
        for (at, stats) in self.stats.replicas.iter_mut().enumerate() {
            stats.sessions += u64::from(replicas >> at & 1);
        }
    }
}
