//! What goes out: messages that are due, signals, and statistics.

use resh_channel::config::REPLICAS_MAX;
use resh_channel::message::{Kind, Message};
use resh_channel::stats::OrderStats;

use super::{NetworkFault, Voter};
use crate::limits::{STATS_MS, STATS_URGENT_MS};
use crate::session::{Phase, Session, to_gateways, to_network};

/// The message to the gateways that a flag stands for.
fn gateway_message(flag: u8, session: &Session) -> Message {
    match flag {
        to_gateways::CREDIT => Message::new(Kind::Credit, session.id).at(session.vote.credit()),
        to_gateways::RESET => Message::new(Kind::Reset, session.id).arg(session.reason as u8),
        evict => Message::new(Kind::Evict, session.id).arg(evict.trailing_zeros() as u8),
    }
}

/// The message to the network that a flag stands for.
fn network_message(flag: u8, session: &Session) -> Message {
    let released = session.vote.released();
    match flag {
        to_network::CREDIT => Message::new(Kind::Credit, session.id).at(session.upload.credit()),
        to_network::RELEASE => Message::new(Kind::Release, session.id).at(released),
        to_network::FIN => Message::new(Kind::Fin, session.id).at(released),
        to_network::RESET => Message::new(Kind::Reset, session.id).arg(session.reason as u8),
        _ => Message::new(Kind::Closed, session.id),
    }
}

/// The lowest flag that is set.
fn lowest(flags: u8) -> Option<u8> {
    (flags != 0).then(|| flags & flags.wrapping_neg())
}

impl Voter<'_> {
    /// Multicasts what is due, as far as there is room.
    pub(super) fn flush_gateways(&mut self) {
        while let Some(index) = self.due_to_gateways.front() {
            while let Some(flag) = lowest(self.sessions[index].to_gateways) {
                let said = match flag {
                    to_gateways::ADMIT => self.admit(index),
                    _ => self.say_to_gateways(&gateway_message(flag, &self.sessions[index]), &[]),
                };
                if !said {
                    return;
                }
                self.sessions[index].to_gateways &= !flag;
            }
            self.due_to_gateways.pop();
            if self.sessions[index].phase == Phase::Closing {
                self.due_to_network.push(index);
            }
        }
    }

    /// Tells the network what is due, as far as there is room.
    pub(super) fn flush_network(&mut self) -> Result<(), NetworkFault> {
        while let Some(index) = self.due_to_network.front() {
            while let Some(flag) = lowest(self.sessions[index].to_network) {
                // The index is free only when no gateway is to hear of it any more, or has anything of it
                // to do. Both bring it back to this queue.
                let closed = flag == to_network::CLOSED;
                if closed && (self.sessions[index].to_gateways != 0 || !self.is_settled(index)) {
                    break;
                }
                let session = &mut self.sessions[index];
                if !session.is_own() {
                    let message = network_message(flag, session);
                    let pushed = self.to_network.push(&message, &[]);
                    if !pushed.map_err(|(_, violation)| NetworkFault::Ring(violation))? {
                        return Ok(());
                    }
                }
                session.to_network &= !flag;
                if flag == to_network::CLOSED {
                    session.phase = Phase::Free;
                }
            }
            self.due_to_network.pop();
        }
        Ok(())
    }

    /// Lets the others see all of it.
    pub(super) fn publish(&mut self) {
        self.signals.network |= self.to_network.publish() != 0;
        self.signals.gateways |= self.broadcast.publish() as u8 & ((1 << REPLICAS_MAX) - 1);
        if self.stats_due_ms().is_some_and(|due_ms| due_ms <= self.now_ms) {
            self.publish_stats();
        }
    }

    /// When statistics are to be published.
    pub(super) fn stats_due_ms(&self) -> Option<u64> {
        let interval_ms = if self.stats_urgent { STATS_URGENT_MS } else { STATS_MS };
        let due_ms = self.published_ms.map_or(self.now_ms, |at_ms| at_ms + interval_ms);
        self.stats_changed.then_some(due_ms)
    }

    fn publish_stats(&mut self) {
        for (service, stats) in self.services.iter().zip(&mut self.stats.services) {
            let ready = service.ready.count_ones() as usize;
            stats.has_quorum = !service.stopped && service.agreed && ready >= service.quorum;
        }
        self.order_stats();
        self.stats.sessions_draining = self.draining.len() as u32;
        // A region too small for them costs the statistics, and nothing else.
        let _ = self.publisher.publish(&self.stats, &mut self.scratch);
        self.published_ms = Some(self.now_ms);
        self.stats_changed = false;
        self.stats_urgent = false;
    }

    /// What the operator sees of the orders.
    fn order_stats(&mut self) {
        for (at, replica) in self.stats.replicas.iter_mut().enumerate() {
            let orders = (0..self.services.len()).filter_map(|n| self.ordering.orders.service(n));
            let add = |sum: (u64, u64), one: (u64, u64)| (sum.0 + one.0, sum.1 + one.1);
            replica.progress = orders.map(|order| order.progress(at)).fold((0, 0), add);
        }
        for (number, stats) in self.stats.services.iter_mut().enumerate() {
            stats.order = self.ordering.orders.service(number).map(|order| {
                let (used, there) = order.log_bytes();
                OrderStats {
                    requests: order.last(),
                    log: order.log_state(),
                    log_bytes: (used as u64, there as u64),
                    exports: order.exports(),
                }
            });
        }
    }
}
