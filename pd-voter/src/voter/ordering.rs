//! The pump of total order: what is said of requests goes to [`Orders`], and what it orders and feeds to the gateways.

mod exports;

use resh_channel::config::REPLICAS_MAX;
use resh_channel::memory::Bytes;
use resh_channel::message::{Message, Reason, SessionId};
use resh_channel::ring::Producer;
use resh_channel::stats::{Condemnation, LogState};

use super::Voter;
use super::intake::{Turn, push};
use crate::limits::STALL_CHECK_MS;
use crate::order::feed::Stage;
use crate::order::limits::CLIENT_HOLD_MS;
use crate::order::{Look, Orders, Outgoing, Stamp};
use crate::queue::Queue;
use crate::session::{End, Phase, to_gateways};

/// What the pump of total order needs besides [`Orders`].
pub(super) struct Ordering<'m> {
    /// The orders themselves.
    pub(super) orders: Orders<'m>,
    /// Payload bytes for which the broadcast ring has no room.
    pub(super) lacking: Option<usize>,
    /// Sessions that are over, and whose index is not free before all is answered.
    unsettled: Queue,
    /// Somebody answered, or left, since they were looked at.
    answered: bool,
    /// The export under way: its service, and how far its reply stream was read.
    export: Option<(usize, u64)>,
    clock: Clock,
    /// Which service has its turn first, and which replica.
    first: (usize, usize),
    /// How far each replica that catches up had come when we last looked, over all services.
    progress: [u64; REPLICAS_MAX],
}

/// Makes a clock of milliseconds, which never goes back, from one of seconds.
#[derive(Default)]
struct Clock {
    second: u32,
    since_ms: u64,
    last_ms: u64,
}

impl Clock {
    fn read(&mut self, clock_s: u32, now_ms: u64) -> u64 {
        if clock_s != self.second {
            (self.second, self.since_ms) = (clock_s, now_ms);
        }
        let ms = u64::from(clock_s) * 1000 + (now_ms - self.since_ms).min(999);
        self.last_ms = self.last_ms.max(ms);
        self.last_ms
    }
}

impl<'m> Ordering<'m> {
    pub(super) fn new(orders: Orders<'m>, slots: usize) -> Self {
        Self {
            orders,
            lacking: None,
            unsettled: Queue::new(slots),
            answered: false,
            export: None,
            clock: Clock::default(),
            first: (0, 0),
            progress: [0; REPLICAS_MAX],
        }
    }
}

impl Voter<'_> {
    fn is_ordered(&self, number: usize) -> bool {
        self.ordering.orders.service(number).is_some()
    }

    /// A session of a client begins. False if its service has an order and no memory for one more.
    pub(super) fn open_ordered(&mut self, id: SessionId, service: u8) -> bool {
        !self.is_ordered(service.into()) || self.ordering.orders.open(id, service)
    }

    /// Bytes of a client were multicast.
    pub(super) fn stage(&mut self, index: usize, bytes: Bytes<'_>) {
        self.ordering.orders.data(index, bytes);
        self.hold_credit(index);
    }

    /// What is staged is bounded by the credit.
    fn hold_credit(&mut self, index: usize) {
        if let Some(ordered) = self.ordering.orders.ordered(index) {
            self.sessions[index].upload.hold(ordered);
        }
    }

    /// `replica` says where a request of session `index` ends.
    pub(super) fn hear_framed(
        &mut self,
        replica: usize,
        index: usize,
        message: &Message,
    ) -> Result<(), Condemnation> {
        self.ordering.orders.framed(index, replica, message.offset, message.arg)
    }

    /// `replica` says that it has executed a request.
    pub(super) fn hear_answered(
        &mut self,
        replica: usize,
        message: &Message,
    ) -> Result<(), Condemnation> {
        let (number, index) = (usize::from(message.arg), usize::from(message.session.index));
        let order = self.ordering.orders.service_mut(number);
        let order = order.ok_or(Condemnation::UnexpectedRecord)?;
        order.answered(replica, message.offset, self.now_ms)?;
        self.ordering.answered = true;
        self.welcome_synced(number);
        if self.sessions.get(index).is_some_and(|session| session.id == message.session) {
            self.settle(index);
        }
        Ok(())
    }

    /// The server of `replica` is up: it takes part in service `number` at once, or once it has the state of the others.
    pub(super) fn enter(&mut self, number: usize, replica: usize) {
        match self.ordering.orders.service_mut(number) {
            Some(order) => {
                order.enter(replica, self.now_ms);
                self.welcome_synced(number);
            }
            None => self.make_ready(number, replica),
        }
    }

    /// Replicas that are on their way into the order of service `number`, or in it, a bit mask.
    pub(super) fn entered(&self, number: usize) -> u8 {
        let order = self.ordering.orders.service(number);
        order.map_or(0, |order| self.replicas_that(|at| order.stage(at) != Stage::Out))
    }

    fn welcome_synced(&mut self, number: usize) {
        let Some(order) = self.ordering.orders.service(number) else { return };
        let new = order.synced() & !self.services[number].ready;
        for replica in (0..REPLICAS_MAX).filter(|at| new & (1 << at) != 0) {
            self.make_ready(number, replica);
        }
    }

    /// `replica` is out of all orders.
    pub(super) fn leave_orders(&mut self, replica: usize) {
        self.ordering.orders.leave(replica, self.now_ms);
        self.ordering.answered = true;
    }

    /// Looks whether the next request of a session can be ordered, and if not, whether it ever can.
    pub(super) fn look(&mut self, index: usize) -> Option<End> {
        let session = &self.sessions[index];
        if session.phase != Phase::Open {
            return None;
        }
        let voices = self.replicas_that(|at| session.vote.is_live(at)) & session.present();
        let quorum = session.quorum();
        match self.ordering.orders.look(index, voices, quorum, self.now_ms) {
            Look::Fine => None,
            Look::Pending(since_ms) => {
                (self.now_ms >= since_ms + self.times.reply_ms).then_some(End::NoQuorum)
            }
            Look::Split => Some(End::NoQuorum),
        }
    }

    /// When to look again whether replicas agree on the end of a request.
    pub(super) fn look_ms(&self, index: usize) -> Option<u64> {
        let line = self.ordering.orders.line(index)?;
        Some(line.pending_ms.filter(|_| !line.ended)? + self.times.reply_ms)
    }

    /// Whether a session is where another replica could begin.
    pub(super) fn rests(&self, index: usize) -> bool {
        let session = &self.sessions[index];
        let orders = &self.ordering.orders;
        if orders.line(index).is_none() {
            return session.is_at_rest();
        }
        let voices = self.replicas_that(|at| session.vote.is_live(at)) & session.present();
        session.phase == Phase::Open
            && session.vote.is_settled()
            && !session.upload.fin()
            && orders.is_at_rest(index, voices, session.quorum())
    }

    /// Who could be admitted to it as far as its requests are concerned, a bit mask.
    pub(super) fn admissible(&self, index: usize) -> u8 {
        let orders = &self.ordering.orders;
        if orders.line(index).is_some() { orders.may_be_admitted(index) } else { u8::MAX }
    }

    /// A session is over: who was sent requests of it and takes no part learns that, too.
    pub(super) fn close_ordered(&mut self, index: usize) {
        let session = &mut self.sessions[index];
        let strangers = self.ordering.orders.close(index) & !session.present();
        session.to_gateways |= strangers * to_gateways::EVICT;
    }

    /// Whether its index can be used again.
    pub(super) fn is_settled(&mut self, index: usize) -> bool {
        let settled = self.ordering.orders.is_settled(index);
        match settled {
            true => self.ordering.orders.free(index),
            false => self.ordering.unsettled.push(index),
        }
        settled
    }

    fn settle_closed(&mut self) {
        if !core::mem::take(&mut self.ordering.answered) {
            return;
        }
        for _ in 0..self.ordering.unsettled.len() {
            let Some(index) = self.ordering.unsettled.pop() else { return };
            match self.ordering.orders.is_settled(index) {
                true => self.due_to_network.push(index),
                false => self.ordering.unsettled.push(index),
            }
        }
    }

    /// A session has sent more, or its client has taken more.
    pub(super) fn moved(&mut self, index: usize) {
        let number = usize::from(self.sessions[index].service);
        if let Some(order) = self.ordering.orders.service_mut(number)
            && order.awaited().is_some_and(|awaited| awaited.index == index)
        {
            order.moved(self.now_ms);
        }
    }

    /// Judges by the clock who holds back an order, and goes on with exports.
    pub(super) fn watch_orders(&mut self) {
        for number in 0..self.services.len() {
            let Some(order) = self.ordering.orders.service_mut(number) else { continue };
            let (now_ms, reply_ms) = (self.now_ms, self.times.reply_ms);
            let verdict = order.watch(now_ms, self.times.lag_budget_ms, reply_ms);
            self.signals.more |= order.work(now_ms, reply_ms);
            for replica in (0..REPLICAS_MAX).filter(|at| verdict.behind & (1 << at) != 0) {
                self.accused[replica].get_or_insert(Condemnation::Behind);
            }
            self.welcome_synced(number);
            self.watch_client(number);
            if verdict.stuck {
                self.stop(number);
            }
            self.abandon_export(number);
        }
        self.note_progress();
        self.settle_closed();
    }

    /// A client that does not take its reply holds back all others.
    fn watch_client(&mut self, number: usize) {
        if let Some((index, due_ms)) = self.held_by_client(number)
            && due_ms <= self.now_ms
        {
            self.close(index, Some(Reason::TimeOut));
        }
    }

    /// The session for whose client the order waits, and until when.
    fn held_by_client(&self, number: usize) -> Option<(usize, u64)> {
        let awaited = self.ordering.orders.service(number)?.awaited()?;
        let session = self.sessions.get(awaited.index)?;
        let waits = session.phase == Phase::Open && session.vote.waits_for_client();
        let due_ms =
            (awaited.moved_ms + CLIENT_HOLD_MS).min(awaited.since_ms + self.times.reply_ms / 2);
        (waits && !session.is_own()).then_some((awaited.index, due_ms))
    }

    /// Whether `replica` must wait for an export, or cannot be recovered at all: to begin anew would not help.
    pub(super) fn waits_for_state(&self, replica: usize) -> bool {
        (0..self.services.len()).filter_map(|number| self.ordering.orders.service(number)).any(
            |order| match order.stage(replica) {
                Stage::Waiting => order.log_state() != LogState::Whole,
                stage => stage == Stage::Lost,
            },
        )
    }

    /// A replica whose feed gets on may take longer.
    fn note_progress(&mut self) {
        for replica in 0..REPLICAS_MAX {
            let orders = (0..self.services.len()).filter_map(|n| self.ordering.orders.service(n));
            let sum = orders.map(|order| order.progress(replica).0).sum();
            if sum > self.ordering.progress[replica] {
                self.replicas[replica].life.progressed(self.now_ms);
            }
            self.ordering.progress[replica] = sum;
        }
    }

    /// When to look at the orders again.
    pub(super) fn order_ms(&self) -> Option<u64> {
        let due = |number: usize| {
            let order = self.ordering.orders.service(number)?;
            let clock_ms = order.deadline_ms(self.now_ms, self.times.reply_ms);
            let client_ms = self.held_by_client(number).map(|(_, due_ms)| due_ms);
            [clock_ms, client_ms].into_iter().flatten().min()
        };
        // What is past and was judged is looked at again soon, and not at once.
        let due = (0..self.services.len()).filter_map(due).min()?;
        Some(if due > self.now_ms { due } else { self.now_ms + STALL_CHECK_MS })
    }

    /// Orders and feeds what can be, in bounded turns. True if there is more.
    pub(super) fn pump_orders(&mut self) -> bool {
        self.ordering.lacking = None;
        let mut turn = Turn::new();
        let mut moved = true;
        while moved && !turn.is_over() && self.due_to_gateways.is_empty() {
            moved = false;
            let count = self.services.len();
            self.ordering.first.0 = (self.ordering.first.0 + 1) % count.max(1);
            for at in 0..count {
                let number = (self.ordering.first.0 + at) % count;
                let Some(payload) = self.order_one(number, &mut turn) else { return false };
                let Some(fed) = self.feed_one(number, &mut turn) else { return false };
                moved |= payload || fed;
                self.begin_export(number);
            }
        }
        turn.is_over()
    }

    /// Whether the broadcast ring has room for so many payload bytes. If not, that is noted.
    fn has_room(&mut self, bytes: usize) -> bool {
        let room = |ring: &mut Producer<'_>| ring.reserve(bytes).map(|room| room.is_some());
        let has_room = push(&mut self.broadcast, &mut self.accused, room);
        if !has_room {
            self.ordering.lacking = Some(bytes);
        }
        has_room
    }

    /// Orders one request of service `number`, if one waits and may go. `None`: the ring is full.
    fn order_one(&mut self, number: usize, turn: &mut Turn) -> Option<bool> {
        let Some(bytes) = self.ordering.orders.next_live(number, self.now_ms) else {
            return Some(false);
        };
        if turn.is_over() || !self.due_to_gateways.is_empty() {
            return Some(false);
        }
        if !self.has_room(bytes) {
            return None;
        }
        turn.spend(bytes);
        let stamp = self.stamp();
        let Some((out, index)) = self.ordering.orders.take_live(number, stamp) else {
            return Some(true);
        };
        let liars = out.liars & self.sessions[index].present();
        say(&mut self.broadcast, &mut self.accused, &out);
        for replica in (0..REPLICAS_MAX).filter(|at| liars & (1 << at) != 0) {
            self.accused[replica].get_or_insert(Condemnation::Framing);
        }
        self.hold_credit(index);
        self.settle(index);
        Some(true)
    }

    /// Feeds one entry of the log of service `number` to a replica, if one waits and may go. `None`: the ring is full.
    fn feed_one(&mut self, number: usize, turn: &mut Turn) -> Option<bool> {
        self.ordering.first.1 = (self.ordering.first.1 + 1) % REPLICAS_MAX;
        let (first, now_ms) = (self.ordering.first.1, self.now_ms);
        let Some(order) = self.ordering.orders.service_mut(number) else { return Some(false) };
        let feed = order.next_feed(first, now_ms);
        self.welcome_synced(number);
        let Some(feed) = feed.filter(|_| !turn.is_over()) else { return Some(false) };
        if !self.has_room(feed.len) {
            return None;
        }
        turn.spend(feed.len);
        if let Some(out) = self.ordering.orders.take_feed(number, feed, now_ms) {
            say(&mut self.broadcast, &mut self.accused, &out);
        }
        Some(true)
    }

    fn stamp(&mut self) -> Stamp {
        Stamp {
            nonce: self.nonces.next(self.clock_s, self.now_ms),
            clock_ms: self.ordering.clock.read(self.clock_s, self.now_ms),
            now_ms: self.now_ms,
        }
    }
}

/// Writes a record for which there is room.
fn say(ring: &mut Producer<'_>, accused: &mut [Option<Condemnation>], out: &Outgoing<'_>) {
    push(ring, accused, |ring| ring.push(&out.message, out.payload));
}
