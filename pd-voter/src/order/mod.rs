//! Total order: the requests of all sessions of a service, in one order that is the same for all replicas, and the log
//! from which a replica that begins anew gets the state of the others. `docs/order.md` has the rules.
//!
//! From the inside out: [`framing`] votes on where a session's requests end, and [`staging`] keeps their bytes until
//! then; [`sequence`] numbers them and knows who has answered what; [`log`] keeps them, [`export`] makes it short again
//! and [`feed`] says where a newcomer stands; [`service`] is all of that for one service, and [`Orders`] for
//! all. No rings and no time: the voter's pump moves the records.

pub mod export;
pub mod feed;
pub mod framing;
pub mod limits;
pub mod line;
pub mod log;
pub mod sequence;
pub mod service;
pub mod staging;

use alloc::boxed::Box;
use alloc::vec;

use resh_channel::config::{Appliance, Order as Kinds, REPLICAS_MAX, SERVICES_MAX, State};
use resh_channel::memory::Bytes;
use resh_channel::message::{
    Kind, MAX_PAYLOAD_BYTES, Message, Nonce, OrderedHead, Request, SessionId,
};
use resh_channel::stats::Condemnation;
use resh_channel::window::VOTER_SLOTS;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, IntoBytes};

use self::framing::{Cut, Decision};
use self::limits::{LOG_BYTES_MIN, SHARE_BYTES};
use self::line::Line;
use self::log::What;
use self::service::{Feed, Gate, Order};
use self::staging::Staging;

/// The region `order` has no room for the shares of all sessions, or for the logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSmall;

/// Bytes before a request's own.
const HEAD: usize = size_of::<OrderedHead>();
/// No share.
const NONE: u16 = u16::MAX;

/// When a request is ordered, and what is random in it.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// The request's own.
    pub nonce: Nonce,
    /// The request clock in milliseconds since 1970-01-01 UTC.
    pub clock_ms: u64,
    /// Monotonic time in milliseconds.
    pub now_ms: u64,
}

/// What a look at a session's next request showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It waits for its turn, or there is none.
    Fine,
    /// Somebody waits since then for others to agree where it ends, in milliseconds.
    Pending(u64),
    /// There is no quorum on where it ends.
    Split,
}

/// A record to be multicast, which counts as sent.
pub struct Outgoing<'o> {
    /// Its header.
    pub message: Message,
    /// Its payload.
    pub payload: &'o [u8],
    /// Replicas that said the request ends elsewhere, a bit mask.
    pub liars: u8,
}

/// The orders of all services, and the request streams of their sessions.
pub struct Orders<'m> {
    staging: Staging<'m>,
    /// By share.
    lines: Box<[Line]>,
    /// By session index: its share.
    share_of: Box<[u16]>,
    services: heapless::Vec<Option<Order<'m>>, SERVICES_MAX>,
    /// The request that is being sent.
    payload: Box<[u8]>,
}

impl<'m> Orders<'m> {
    /// The orders of the services of `appliance` that have one, for session indices below `slots`. All memory they
    /// will ever use is allocated here; `region` is divided into a share of [`SHARE_BYTES`] for each session there can be
    /// at once, and the logs.
    ///
    /// # Errors
    /// The region is too small for that.
    pub fn new(
        region: &'m mut [u8],
        appliance: &Appliance,
        slots: usize,
    ) -> Result<Self, TooSmall> {
        let is_total = |order: Kinds| order == Kinds::Total;
        let total = appliance.services.iter().filter(|service| is_total(service.order));
        let logs = total.clone().filter(|service| service.state != State::None).count();
        let clients = usize::from(appliance.limits.sessions).min(slots);
        let shares = if total.count() == 0 { 0 } else { clients + VOTER_SLOTS };
        let (shared, mut rest) =
            region.split_at_mut_checked(shares * SHARE_BYTES).ok_or(TooSmall)?;
        let log_bytes = rest.len().checked_div(logs).unwrap_or(0) / 8 * 8;
        if logs > 0 && log_bytes < LOG_BYTES_MIN {
            return Err(TooSmall);
        }
        let mut services = heapless::Vec::new();
        for service in &appliance.services {
            let order = is_total(service.order).then(|| {
                let bytes = if service.state == State::None { 0 } else { log_bytes };
                let (log, others) = core::mem::take(&mut rest).split_at_mut(bytes);
                rest = others;
                Order::new(service.quorum(), service.state, log, slots)
            });
            // There is room for as many as an appliance has.
            let _ = services.push(order);
        }
        let staging = Staging::new(shared);
        Ok(Self {
            lines: vec![Line::new(SessionId::default(), 0); shares].into(),
            staging,
            share_of: vec![NONE; slots].into(),
            services,
            payload: vec![0; if shares == 0 { 0 } else { MAX_PAYLOAD_BYTES }].into(),
        })
    }

    /// The order of service number `service`, if it has one.
    pub fn service(&self, service: usize) -> Option<&Order<'m>> {
        self.services.get(service)?.as_ref()
    }

    /// The same.
    pub fn service_mut(&mut self, service: usize) -> Option<&mut Order<'m>> {
        self.services.get_mut(service)?.as_mut()
    }

    fn share(&self, index: usize) -> Option<u16> {
        self.share_of.get(index).copied().filter(|share| *share != NONE)
    }

    /// The request stream of session index `index`, if its service has an order.
    pub fn line(&self, index: usize) -> Option<&Line> {
        self.lines.get(usize::from(self.share(index)?))
    }

    fn line_mut(&mut self, index: usize) -> Option<&mut Line> {
        let share = self.share(index)?;
        self.lines.get_mut(usize::from(share))
    }

    /// Whether there is a share for one more session of service number `service`, if it has an order.
    pub fn has_room_for(&self, service: usize) -> bool {
        self.service(service).is_none() || self.staging.has_free()
    }

    /// A session of a service that has an order begins. False if there is no share for it.
    pub fn open(&mut self, id: SessionId, service: u8) -> bool {
        let index = usize::from(id.index);
        self.free(index);
        let Some(share) = self.staging.take() else { return false };
        self.lines[usize::from(share)] = Line::new(id, service);
        self.share_of[index] = share;
        true
    }

    /// The next bytes of its request stream, within its credit.
    pub fn data(&mut self, index: usize, bytes: Bytes<'_>) {
        let Some(share) = self.share(index) else { return };
        let line = &mut self.lines[usize::from(share)];
        if !line.last && !line.ended {
            self.staging.write(share, line.staged, bytes);
        }
        line.staged += bytes.len() as u64;
    }

    /// `replica`, which takes part in it, says that its next request ends at `end` and has `flags`.
    ///
    /// # Errors
    /// A rule that no gateway breaks, whatever its replica does.
    pub fn framed(
        &mut self,
        index: usize,
        replica: usize,
        end: u64,
        flags: u8,
    ) -> Result<(), Condemnation> {
        let Some(line) = self.line_mut(index) else { return Err(Condemnation::UnexpectedRecord) };
        line.framing.say(replica, end, flags, line.staged)
    }

    /// `replicas`, a bit mask, take part in it from here on.
    pub fn admit(&mut self, index: usize, replicas: u8) {
        if let Some(line) = self.line_mut(index) {
            line.admit(replicas);
        }
    }

    /// Looks whether `quorum` of `voices`, a bit mask, agree on the session's next request.
    pub fn look(&mut self, index: usize, voices: u8, quorum: usize, now_ms: u64) -> Look {
        let Some(line) = self.line_mut(index) else { return Look::Fine };
        if line.ended || line.last || line.agreed.is_some() {
            return Look::Fine;
        }
        let said = line.framing.decide(voices, 1) != Decision::Wait;
        match line.framing.decide(voices, quorum) {
            Decision::Split => return Look::Split,
            Decision::Wait if said => {
                return Look::Pending(*line.pending_ms.get_or_insert(now_ms));
            }
            Decision::Wait => line.pending_ms = None,
            Decision::Agreed(cut) => {
                (line.pending_ms, line.agreed) = (None, Some(cut));
                let service = usize::from(line.service);
                if let Some(order) = self.service_mut(service) {
                    order.ready.push(index);
                }
            }
        }
        Look::Fine
    }

    /// Whether nothing of it is left to be ordered, and `quorum` of `voices`, a bit mask, have answered its last
    /// request: another replica could begin here.
    pub fn is_at_rest(&self, index: usize, voices: u8, quorum: usize) -> bool {
        let Some(line) = self.line(index) else { return false };
        let done = self.done(line) & voices;
        !line.last
            && !line.ended
            && line.staged == line.framing.end()
            && done.count_ones() as usize >= quorum
    }

    /// Replicas that have the state of the service and all that this session did to it, a bit mask.
    pub fn may_be_admitted(&self, index: usize) -> u8 {
        let Some(line) = self.line(index) else { return 0 };
        let synced = self.service(usize::from(line.service)).map_or(0, Order::synced);
        self.done(line) & synced
    }

    /// Replicas that have nothing of `line` still to do, a bit mask.
    fn done(&self, line: &Line) -> u8 {
        let Some(order) = self.service(usize::from(line.service)) else { return 0 };
        let done = |at: &usize| order.is_done(*at, line.number);
        (0..REPLICAS_MAX).filter(done).fold(0, |mask, at| mask | 1 << at)
    }

    /// Position up to which its request bytes are ordered, if its service has an order.
    pub fn ordered(&self, index: usize) -> Option<u64> {
        self.line(index).map(Line::ordered)
    }

    /// The session is over: what is left of it is thrown away. Returns the replicas that were sent requests of it, or may
    /// have been, a bit mask.
    pub fn close(&mut self, index: usize) -> u8 {
        let Some(line) = self.line_mut(index) else { return 0 };
        let (service, id) = (usize::from(line.service), line.id);
        let first = !core::mem::replace(&mut line.ended, true);
        let (number, logged) = (line.number, line.logged && first);
        line.agreed = None;
        let Some(order) = self.service_mut(service) else { return 0 };
        order.ready.remove(index);
        if logged {
            order.end(id);
        }
        if number == 0 { 0 } else { order.live() }
    }

    /// Whether every replica in the order has answered all that was ordered for it, so that its index can be used again.
    pub fn is_settled(&self, index: usize) -> bool {
        self.line(index).is_none_or(|line| self.done(line).count_ones() as usize == REPLICAS_MAX)
    }

    /// Its index is free.
    pub fn free(&mut self, index: usize) {
        if let Some(share) = self.share(index) {
            self.close(index);
            self.share_of[index] = NONE;
            self.staging.give_back(share);
        }
    }

    /// Payload bytes of the request of `service` that is to be ordered now, if one is.
    pub fn next_live(&mut self, service: usize, now_ms: u64) -> Option<usize> {
        let order = self.service(service)?;
        let index = order.ready.front().filter(|_| order.gate(now_ms) == Gate::Open)?;
        let cut = self.line(index).and_then(|line| line.agreed);
        if cut.is_none() {
            // It is over.
            self.service_mut(service)?.ready.pop();
        }
        Some(HEAD + usize::from(cut?.len))
    }

    /// Orders it. Returns the record, and its session index: look at that again.
    pub fn take_live(&mut self, service: usize, stamp: Stamp) -> Option<(Outgoing<'_>, usize)> {
        let order = self.services.get_mut(service)?.as_mut()?;
        let index = order.ready.pop()?;
        let share = self.share_of.get(index).copied().filter(|share| *share != NONE)?;
        let line = self.lines.get_mut(usize::from(share))?;
        let Cut { len, flags } = line.agreed.take()?;
        let head = head(service, stamp);
        let payload = &mut self.payload[..HEAD + usize::from(len)];
        payload[..HEAD].copy_from_slice(head.as_bytes());
        self.staging.read(share, line.framing.end(), &mut payload[HEAD..]);
        let liars = line.framing.order(Cut { len, flags });
        line.number = order.order(line.id, flags, payload, stamp.now_ms);
        line.logged |= order.logs(flags);
        line.sticky |= Request(flags).is(Request::STICKY);
        let number = line.number;
        let is_transient = Request(flags).is(Request::TRANSIENT);
        line.transient = is_transient.then(|| line.transient.unwrap_or(number));
        line.last |= Request(flags).is(Request::LAST);
        let message = ordered(line.id, flags, order.live(), line.number, stamp.clock_ms);
        Some((Outgoing { message, payload, liars }, index))
    }

    /// Orders an export of `service` on session `id`, which [began](Self::open) for it.
    pub fn take_export(
        &mut self,
        service: usize,
        id: SessionId,
        stamp: Stamp,
    ) -> Option<Outgoing<'_>> {
        let share = self.share(usize::from(id.index))?;
        let order = self.services.get_mut(service)?.as_mut()?;
        let head = head(service, stamp);
        let payload = &mut self.payload[..HEAD];
        payload.copy_from_slice(head.as_bytes());
        let (share_of, lines) = (&self.share_of, &self.lines);
        let living = share_of
            .iter()
            .filter_map(|share| lines.get(usize::from(*share)))
            .filter(|line| usize::from(line.service) == service && !line.ended)
            .map(|line| (line.id, line.transient));
        let number = order.begin_export(id, head, payload, living, stamp.now_ms);
        let line = self.lines.get_mut(usize::from(share))?;
        line.number = number;
        line.last = true;
        let message = ordered(id, Request::EXPORT, order.live(), number, stamp.clock_ms);
        Some(Outgoing { message, payload, liars: 0 })
    }

    /// Whether the session has requests on which later ones depend, and which are lost with the log of its service: it
    /// cannot outlive the export that begins.
    pub fn is_lost(&self, index: usize) -> bool {
        self.line(index).is_some_and(|line| {
            let order = self.service(usize::from(line.service));
            let has_state = line.sticky || line.transient.is_some();
            has_state && !line.ended && order.is_some_and(Order::has_lost_log)
        })
    }

    /// The record for `feed`, which counts as sent.
    pub fn take_feed(&mut self, service: usize, feed: Feed, now_ms: u64) -> Option<Outgoing<'_>> {
        let order = self.services.get_mut(service)?.as_mut()?;
        order.fed(&feed, now_ms);
        let (session, to) = (feed.entry.session, 1 << feed.replica);
        let payload = order.payload(&feed);
        let message = match feed.entry.what {
            What::End => Message::new(Kind::Evict, session).arg(feed.replica as u8),
            What::Request => {
                let clock_ms = OrderedHead::read_from_prefix(payload)
                    .map_or(0, |(head, _)| head.clock_ms.get());
                let flags = feed.entry.flags | Request::REPLAY;
                ordered(session, flags, to, feed.entry.number, clock_ms)
            }
        };
        Some(Outgoing { message, payload, liars: 0 })
    }

    /// `replica`'s domain has left: it is out of all orders.
    pub fn leave(&mut self, replica: usize, now_ms: u64) {
        for line in &mut self.lines {
            line.framing.forget(replica);
        }
        for order in self.services.iter_mut().flatten() {
            order.leave(replica, now_ms);
        }
    }
}

fn head(service: usize, stamp: Stamp) -> OrderedHead {
    OrderedHead {
        nonce: stamp.nonce,
        clock_ms: U64::new(stamp.clock_ms),
        service: service as u8,
        spare: [0; 7],
    }
}

fn ordered(session: SessionId, flags: u8, to: u8, number: u64, clock_ms: u64) -> Message {
    let clock_s = (clock_ms / 1000) as u32;
    Message::new(Kind::Ordered, session).arg(flags).to(to).at(number).clock(clock_s)
}
