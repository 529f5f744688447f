//! The gateway: from the broadcast ring to the replica, and from there to the reply ring.

mod intake;
mod links;
mod table;

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use resh_channel::config::{Appliance, Order, Transport};
use resh_channel::joining;
use resh_channel::memory::{Ordering, Words};
use resh_channel::message::{DATAGRAM_BYTES_MAX, Kind, MAX_PAYLOAD_BYTES, Message, SessionId};
use resh_channel::ring::{CURSOR_WORDS, Consumer, Violation, note};

use crate::executor::Executor;
use crate::memory::{self, Buffers, Memory};
use crate::protocols::Protocols;
use crate::queue::Queue;
use crate::replies::{Replies, Stop};
use crate::session::{End, Link, Session, Turn};
use crate::upstream::Upstream;
use crate::{Broken, SLOTS, canonical, datagram, framing, probe, raw};
use table::Voices;

/// How often we look whether the voter lets us in, in milliseconds.
const JOIN_LOOK_MS: u64 = 5;
/// Turns of sessions before new records and events are looked at again, at least, if there is so much to do.
const TURNS: usize = 16;
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
    /// What executes requests in total order, by service number. `None` if the service is in none.
    executors: Vec<Option<Executor>>,
    sessions: Box<[Session]>,
    voices: Voices,
    /// Sessions with something to do.
    ready: Queue,
    /// Sessions whose connection is being made, in the order of their deadlines.
    connecting: Queue,
    /// Sessions that try something again, in the order of their times.
    later: Queue,
    /// Sessions that the voter does not hear of, the one that had something to do last as the last.
    idle: Queue,
    scratch: Box<[u8]>,
    now_ms: u64,
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
        let total = |service: &usize| {
            protocols.service(*service).is_some_and(|service| service.order == Order::Total)
        };
        let executor = |service| Some(service).filter(total).map(Executor::new);
        let executors = (0..appliance.services.len()).map(executor).collect();
        let udp = appliance.services.iter().any(|service| service.transport == Transport::Udp);
        let datagram_bytes = if udp { DATAGRAM_BYTES_MAX } else { 0 };
        let scratch_bytes = memory.buffer_bytes.max(MAX_PAYLOAD_BYTES).max(datagram_bytes);
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
            executors,
            sessions: (0..SLOTS).map(Session::vacant).collect(),
            voices: Voices::new(SLOTS),
            ready: Queue::new(SLOTS),
            connecting: Queue::new(SLOTS),
            later: Queue::new(SLOTS),
            idle: Queue::new(SLOTS),
            scratch: vec![0; scratch_bytes].into_boxed_slice(),
            now_ms: 0,
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
        self.now_ms = now_ms;
        self.upstream.begin(now_ms);
        self.read_events();
        if !self.join()? {
            round.signal_voter = self.publish();
            round.wake_at_ms = Some(now_ms.saturating_add(JOIN_LOOK_MS));
            return Ok(round);
        }
        let records = self.read_broadcast(&mut round)?;
        self.check_times();
        for service in 0..self.executors.len() {
            self.advance(service);
        }
        let full = self.pump_ready()?;
        let transport_at_ms = self.upstream.poll(now_ms);
        round.signal_voter |= self.publish();

        // Sleep only if nothing is left: the voter signals a sleeping reader and a waiting writer.
        let blocked = match &mut self.replies {
            Some(replies) if full => replies.arm().map_err(Broken::Replies)?,
            _ => self.ready.is_empty(),
        };
        round.again = !blocked || records == RECORDS_PER_ROUND || !self.arm();
        round.wake_at_ms = earliest(transport_at_ms, self.next_time_ms());
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

    /// Gives each session that has something to do one turn, or, if they are few, more than one. True if the reply ring is full.
    fn pump_ready(&mut self) -> Result<bool, Broken> {
        for _ in 0..self.ready.len().max(TURNS) {
            let Some(slot) = self.ready.first() else { break };
            if self.sessions[slot].link == Link::Wanted {
                self.connect(slot);
            }
            match self.pump(slot) {
                Ok(turn) => {
                    self.ready.remove(slot);
                    self.turned(slot, turn)?;
                }
                // It stays the first, so that room goes to whoever waits longest.
                Err(Stop::Full) => return Ok(true),
                Err(stop) => return Err(stop.into()),
            }
        }
        Ok(false)
    }

    /// Lets a session do what can be done.
    fn pump(&mut self, slot: usize) -> Result<Turn, Stop> {
        let Some(replies) = &mut self.replies else { return Ok(Turn::Idle) };
        let session = &mut self.sessions[slot];
        let upstream = &mut self.upstream;
        if session.probe {
            return probe::pump(session, upstream, replies);
        }
        if session.datagrams {
            return datagram::pump(session, upstream, replies, &mut self.scratch, self.now_ms);
        }
        if session.canonicaliser.is_none() {
            return raw::pump(session, upstream, replies);
        }
        let executor = match self.executors.get_mut(session.service) {
            Some(Some(executor)) => Some(executor),
            _ => None,
        };
        if session.ordered && session.voice {
            framing::pump(session, replies)?;
        }
        canonical::pump(session, executor, upstream, replies, &mut self.scratch)
    }

    /// A session has had its turn.
    fn turned(&mut self, slot: usize, turn: Turn) -> Result<(), Broken> {
        let session = &mut self.sessions[slot];
        if session.link != Link::Connecting {
            self.connecting.remove(slot);
        }
        self.later.remove(slot);
        if session.again_at_ms.is_some() {
            self.later.push(slot);
        }
        let (id, service) = (session.id, session.service);
        match turn {
            Turn::Idle => {}
            Turn::Again => self.ready.push(slot),
            Turn::Over => {
                let fin = session.end == Some(End::Fin);
                self.take_voice(slot);
                // After a reset others may go on, and what is ordered then is executed in vain.
                if fin {
                    self.end_conversation(id)?;
                }
                self.advance(service);
                return Ok(());
            }
        }
        if session.fins()
            && let Some(Some(executor)) = self.executors.get_mut(service)
        {
            executor.fin(id).map_err(|_| Broken::Broadcast(Violation::Header))?;
            (session.finished, session.held) = (true, true);
        }
        self.advance(service);
        Ok(())
    }
}

/// The earlier of two times.
fn earliest(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
