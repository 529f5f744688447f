//! The gateway: from the broadcast ring to the replica, and from there to the reply ring.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use resh_channel::config::Appliance;
use resh_channel::joining;
use resh_channel::memory::{Ordering, Words};
use resh_channel::message::{
    AdmitHead, Kind, MAX_PAYLOAD_BYTES, Message, Nonce, Reason, SessionId,
};
use resh_channel::ring::{CURSOR_WORDS, Consumer, Record, Violation, note};

use crate::memory::{self, Buffers, Memory};
use crate::protocols::{Form, Protocols};
use crate::queue::Queue;
use crate::replies::{Replies, Stop};
use crate::session::{End, Link, Session, Turn};
use crate::upstream::{Event, Opening, Upstream};
use crate::{Broken, SLOTS, canonical, probe, raw};

/// How often we look whether the voter lets us in, in milliseconds.
const JOIN_LOOK_MS: u64 = 5;
/// Records taken from the broadcast ring before sessions get their turn again.
const RECORDS_PER_ROUND: usize = 512;

/// The memory that a gateway shares with the voter.
#[derive(Clone, Copy)]
pub struct Rings<'m> {
    /// What the voter tells all gateways.
    pub broadcast_ring: &'m Words,
    /// How far this one has read it.
    pub broadcast_cursor: &'m Words,
    /// What this one tells the voter.
    pub reply_ring: &'m Words,
    /// How far the voter has read that.
    pub reply_cursor: &'m Words,
}

/// What is to be done after a round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// The voter waits for a signal.
    pub signal_voter: bool,
    /// There is more to do at once. If not, the gateway can sleep.
    pub again: bool,
    /// When the next round must be, at the latest.
    pub wake_at_ms: Option<u64>,
}

/// One replica's gateway.
pub struct Gateway<'m, U> {
    replica: usize,
    generation: u64,
    rings: Rings<'m>,
    connect_ms: u64,
    /// The services, and the canonicalisers that no session uses now.
    protocols: Protocols,
    /// Buffers that no session uses now.
    buffers: Vec<Buffers>,
    upstream: U,
    /// Not there before the voter is ready for this life of the domain.
    replies: Option<Replies<'m>>,
    /// Not there before the voter has let us in.
    broadcast: Option<Consumer<'m>>,
    sessions: Box<[Session]>,
    /// Sessions with something to do.
    ready: Queue,
    /// Sessions whose connection is being made, in the order of their deadlines.
    connecting: Queue,
    scratch: Box<[u8]>,
}

impl<'m, U: Upstream> Gateway<'m, U> {
    /// The gateway of `replica` in the domain's life number `generation`, for session indices below
    /// [`SLOTS`]. Allocates all it will ever need, and touches no ring before its first
    /// [`round`](Self::round).
    ///
    /// # Errors
    /// [`Broken::Regions`] if a region is too small.
    pub fn new(
        appliance: &Appliance,
        replica: usize,
        generation: u64,
        memory: Memory,
        rings: Rings<'m>,
        upstream: U,
    ) -> Result<Self, Broken> {
        let protocols = Protocols::new(&appliance.services, replica, memory);
        if rings.reply_cursor.len() < CURSOR_WORDS + joining::NOTES {
            return Err(Broken::Regions);
        }
        Ok(Self {
            replica,
            generation,
            rings,
            connect_ms: appliance.limits.connect_ms.into(),
            buffers: memory::pool(memory, protocols.is_canonical()),
            protocols,
            upstream,
            replies: None,
            broadcast: None,
            sessions: (0..SLOTS).map(|_| Session::vacant()).collect(),
            ready: Queue::new(SLOTS),
            connecting: Queue::new(SLOTS),
            scratch: vec![0; memory.buffer_bytes.max(MAX_PAYLOAD_BYTES)].into_boxed_slice(),
        })
    }

    /// Sessions that live.
    pub fn sessions(&self) -> usize {
        self.sessions.iter().filter(|session| session.live).count()
    }

    /// The transport.
    pub fn upstream(&mut self) -> &mut U {
        &mut self.upstream
    }

    /// Looks at all inputs once and does what there is to do.
    ///
    /// # Errors
    /// The voter broke the rules of the channel. As it is trusted, that ends the domain.
    pub fn round(&mut self, now_ms: u64) -> Result<Round, Broken> {
        let mut round = Round::default();
        self.upstream.begin(now_ms);
        self.read_events();
        if !self.join()? {
            round.signal_voter = self.publish();
            round.wake_at_ms = Some(now_ms.saturating_add(JOIN_LOOK_MS));
            return Ok(round);
        }
        let records = self.read_broadcast(&mut round)?;
        self.check_connecting(now_ms);
        let full = self.pump_ready(now_ms)?;
        let transport_at_ms = self.upstream.poll(now_ms);
        round.signal_voter |= self.publish();

        // Sleep only if nothing is left: the voter signals a sleeping reader and a waiting writer.
        let blocked = match &mut self.replies {
            Some(replies) if full => replies.arm().map_err(Broken::Replies)?,
            _ => self.ready.is_empty(),
        };
        round.again = !blocked || records == RECORDS_PER_ROUND || !self.arm();
        let connect_at_ms = self.connecting.first().map(|at| self.sessions[at].connect_by_ms);
        round.wake_at_ms = match (transport_at_ms, connect_at_ms) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Ok(round)
    }

    /// Goes on with being let in, as [`joining`] says. True if that is done.
    fn join(&mut self) -> Result<bool, Broken> {
        let Rings { broadcast_ring, broadcast_cursor, reply_ring, reply_cursor } = self.rings;
        let noted = |number| note(reply_cursor, number).load(Ordering::Acquire) == self.generation;
        let hello = Message::new(Kind::Hello, SessionId::default()).at(self.generation);
        if self.replies.is_none() && noted(joining::READY) {
            let replies = self.replies.insert(Replies::new(reply_ring, reply_cursor)?);
            replies.say(&hello)?;
        }
        if let Some(replies) = &mut self.replies
            && self.broadcast.is_none()
            && noted(joining::GENERATION)
        {
            let start = note(reply_cursor, joining::START).load(Ordering::Relaxed);
            let consumer = Consumer::new(broadcast_ring, broadcast_cursor, start);
            self.broadcast = Some(consumer.map_err(|_| Broken::Regions)?);
            replies.say(&hello)?;
        }
        Ok(self.broadcast.is_some())
    }

    /// Shows the voter what was written. True if it needs a signal.
    fn publish(&mut self) -> bool {
        self.replies.as_mut().is_some_and(Replies::publish)
    }

    /// Asks the voter for a signal. True if there is nothing to read now.
    fn arm(&mut self) -> bool {
        self.broadcast.as_mut().is_none_or(Consumer::arm)
    }

    /// Takes records from the broadcast ring, and returns how many.
    fn read_broadcast(&mut self, round: &mut Round) -> Result<usize, Broken> {
        let mut records = 0;
        while records < RECORDS_PER_ROUND {
            let Some(broadcast) = &mut self.broadcast else { break };
            let Some(record) = broadcast.peek().map_err(Broken::Broadcast)? else { break };
            self.handle(&record)?;
            if let Some(broadcast) = &mut self.broadcast {
                broadcast.advance(&record);
            }
            records += 1;
        }
        if let Some(broadcast) = &mut self.broadcast {
            round.signal_voter |= broadcast.release();
        }
        Ok(records)
    }

    fn handle(&mut self, record: &Record<'_>) -> Result<(), Broken> {
        let message = &record.message;
        let index = usize::from(message.session.index);
        if index >= self.sessions.len() {
            return Err(Broken::Broadcast(Violation::Header));
        }
        let for_us = message.to & (1 << self.replica) != 0;
        match message.kind {
            Kind::Open | Kind::Probe => {
                self.drop_session(index);
                if for_us {
                    let mut nonce = Nonce::default();
                    record.payload.copy_to(&mut nonce);
                    self.begin(message, nonce);
                }
            }
            Kind::Admit if for_us => {
                let mut head = [0; size_of::<AdmitHead>()];
                record.payload.copy_to(&mut head);
                let head: AdmitHead = zerocopy::transmute!(head);
                self.drop_session(index);
                if self.begin(message, head.nonce) {
                    self.sessions[index].skip(message.offset, &head);
                }
            }
            Kind::Admit => {}
            _ => self.handle_for_session(index, record)?,
        }
        Ok(())
    }

    fn handle_for_session(&mut self, index: usize, record: &Record<'_>) -> Result<(), Broken> {
        let message = &record.message;
        let session = &mut self.sessions[index];
        if !session.live || session.id != message.session {
            return Ok(());
        }
        match message.kind {
            Kind::Data => {
                if message.offset != session.received || session.client_fin {
                    return Err(Broken::Broadcast(Violation::Header));
                }
                session.received += record.payload.len() as u64;
                if session.canonicaliser.is_some() {
                    canonical::data(session, record.payload, message.clock_s, &mut self.scratch);
                } else {
                    raw::data(session, record.payload, &mut self.upstream);
                }
                self.ready.push(index);
            }
            Kind::Fin => {
                session.client_fin = true;
                self.ready.push(index);
            }
            Kind::Credit => {
                session.credit = session.credit.max(message.offset);
                self.ready.push(index);
            }
            Kind::Reset => self.drop_session(index),
            Kind::Evict if usize::from(message.arg) == self.replica => self.drop_session(index),
            Kind::Evict => {}
            // Nothing else comes from the voter.
            _ => return Err(Broken::Broadcast(Violation::Header)),
        }
        Ok(())
    }

    /// A session begins, or one without a client. False if this replica cannot serve it.
    fn begin(&mut self, message: &Message, nonce: Nonce) -> bool {
        let service = usize::from(message.arg);
        let probe = message.kind == Kind::Probe;
        // There are as many buffers as sessions, and canonicalisers.
        if self.buffers.is_empty() || self.protocols.service(service).is_none() {
            return false;
        }
        let form = if probe { Some(Form::Raw) } else { self.protocols.take(service) };
        let canonicaliser = match form {
            Some(Form::Raw) => None,
            Some(Form::Canonical(canonicaliser)) => Some(canonicaliser),
            None => return false,
        };
        let Some(buffers) = self.buffers.pop() else { return false };
        let index = usize::from(message.session.index);
        let session = &mut self.sessions[index];
        session.begin(message.session, service, nonce, buffers, canonicaliser);
        session.probe = probe;
        self.ready.push(index);
        true
    }

    /// Ends a session at once, if there is one: its connection is aborted.
    fn drop_session(&mut self, index: usize) {
        let session = &mut self.sessions[index];
        if matches!(session.link, Link::Connecting | Link::Open) {
            self.upstream.close(index, true);
        }
        session.link = Link::None;
        if core::mem::take(&mut session.live) {
            self.buffers.push(session.take_buffers());
        }
        if let Some(canonicaliser) = session.canonicaliser.take() {
            self.protocols.give_back(session.service, canonicaliser);
        }
        self.connecting.remove(index);
        self.ready.remove(index);
    }

    fn read_events(&mut self) {
        while let Some(event) = self.upstream.next_event() {
            match event {
                Event::Opened(index) => self.opened(index),
                Event::Refused(index) => self.refused(index),
                Event::Ready { session: index, readable, writable } => {
                    let Some(session) = self.sessions.get_mut(index) else { continue };
                    session.readable |= readable;
                    session.writable |= writable;
                    if session.live {
                        self.ready.push(index);
                    }
                }
            }
        }
    }

    fn opened(&mut self, index: usize) {
        let Some(session) = self.sessions.get_mut(index) else { return };
        if session.live && session.link == Link::Connecting {
            session.linked();
            canonical::opened(session);
            self.connecting.remove(index);
            self.ready.push(index);
        }
    }

    fn refused(&mut self, index: usize) {
        let Some(session) = self.sessions.get_mut(index) else { return };
        if session.live && session.link == Link::Connecting {
            session.link = Link::None;
            self.connecting.remove(index);
            if session.canonicaliser.is_some() {
                canonical::refused(session);
            } else {
                session.end_with(End::Reset(Reason::Refused));
            }
            self.ready.push(index);
        }
    }

    fn check_connecting(&mut self, now_ms: u64) {
        while let Some(index) = self.connecting.first() {
            if self.sessions[index].connect_by_ms > now_ms {
                break;
            }
            self.upstream.close(index, true);
            self.refused(index);
        }
    }

    fn connect(&mut self, index: usize, now_ms: u64) {
        let session = &mut self.sessions[index];
        session.unlink();
        session.link = Link::Connecting;
        match self.upstream.open(index, session.service) {
            Ok(Opening::Open) => self.opened(index),
            Ok(Opening::Pending) => {
                session.connect_by_ms = now_ms.saturating_add(self.connect_ms);
                self.connecting.push(index);
            }
            Err(_) => self.refused(index),
        }
    }

    /// Gives each session that has something to do one turn. True if the reply ring is full.
    fn pump_ready(&mut self, now_ms: u64) -> Result<bool, Broken> {
        for _ in 0..self.ready.len() {
            let Some(index) = self.ready.first() else { break };
            if self.sessions[index].link == Link::Wanted {
                self.connect(index, now_ms);
            }
            let Some(replies) = &mut self.replies else { break };
            let session = &mut self.sessions[index];
            let turn = if session.probe {
                probe::pump(session, &mut self.upstream, replies)
            } else if session.canonicaliser.is_some() {
                canonical::pump(session, &mut self.upstream, replies, &mut self.scratch)
            } else {
                raw::pump(session, &mut self.upstream, replies)
            };
            if session.link != Link::Connecting {
                self.connecting.remove(index);
            }
            match turn {
                Ok(turn) => {
                    self.ready.remove(index);
                    match turn {
                        Turn::Idle => {}
                        Turn::Again => self.ready.push(index),
                        Turn::Over => self.drop_session(index),
                    }
                }
                // It stays the first, so that room goes to whoever waits longest.
                Err(Stop::Full) => return Ok(true),
                Err(stop) => return Err(stop.into()),
            }
        }
        Ok(false)
    }
}
