//! The state machine of the domain: between a stack, two rings and the window.

use alloc::collections::VecDeque;
use core::fmt::{self, Write};

use resh_channel::memory::{Bytes, WORD_BYTES, Words, words_for};
use resh_channel::message::{Kind, MAX_PAYLOAD_BYTES, Message, Reason, SessionId};
use resh_channel::ring::{Consumer, Producer, Violation};
use resh_channel::stats::NetworkStats;

use crate::session::{Phase, Table};
use crate::stack::{Conn, Event, Received, Sent, Stack};
use resh_channel::window::{SLOT_BYTES, WINDOW_BYTES, slots};

/// How long a client may leave its own stream open after the reply ended and it has all of it, in
/// milliseconds. Then it is reset.
pub const LINGER_MS: u64 = 5_000;
/// Request bytes taken from one session before it is the next one's turn.
const TURN_BYTES: usize = 2 * MAX_PAYLOAD_BYTES;
/// Connections accepted before the sessions there are get a turn.
const TURN_ACCEPTS: usize = 64;
/// Reply bytes taken by the client that are worth waking the voter for. Fewer are told when it is
/// next woken: they are a small part of the window, so nobody waits for them.
const TAKEN_BYTES: u64 = 16 * 1024;
/// Bytes of a client's address as text, at most.
const PEER_BYTES_MAX: usize = 64;

/// Why the domain cannot go on: the voter, which it trusts, broke the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Of a ring.
    Ring(Violation),
    /// Of the session's life.
    Record(Message),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ring(violation) => write!(f, "the voter's ring: {violation}"),
            Self::Record(message) => {
                write!(f, "the voter sent a record that cannot be: {message:?}")
            }
        }
    }
}

impl core::error::Error for Error {}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        Self::Ring(violation)
    }
}

impl From<(usize, Violation)> for Error {
    fn from((_, violation): (usize, Violation)) -> Self {
        Self::Ring(violation)
    }
}

/// What came of a [`Network::turn`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// The voter sleeps and there is something for it.
    pub notify: bool,
    /// There is more to do at once.
    pub busy: bool,
}

/// What bounds the sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time. A client beyond them is refused.
    pub sessions: u16,
    /// How long a session may be without traffic, in milliseconds.
    pub idle_ms: u64,
}

/// The network domain.
pub struct Network<'m, S> {
    stack: S,
    to_voter: Producer<'m>,
    from_voter: Consumer<'m>,
    window: &'m Words,
    limits: Limits,
    sessions: Table,
    /// Sessions with something to do, each once.
    ready: VecDeque<Conn>,
    /// Sessions with something to tell the voter and no room for it, each once.
    parked: VecDeque<Conn>,
    /// There was no room in the ring to the voter.
    starved: bool,
    /// Something was written that the voter should soon see.
    urgent: bool,
    open: u16,
    sweep_ms: u64,
    stats: NetworkStats,
}

impl<'m, S: Stack> Network<'m, S> {
    /// A domain without sessions. There are as many session ids as `window` has slots.
    pub fn new(
        stack: S,
        to_voter: Producer<'m>,
        from_voter: Consumer<'m>,
        window: &'m Words,
        limits: Limits,
    ) -> Self {
        let sessions = Table::new(slots(window.len() * WORD_BYTES) as u16);
        Self {
            stack,
            to_voter,
            from_voter,
            window,
            limits,
            ready: VecDeque::with_capacity(sessions.len()),
            parked: VecDeque::with_capacity(sessions.len()),
            sessions,
            starved: false,
            urgent: false,
            open: 0,
            sweep_ms: 0,
            stats: NetworkStats::default(),
        }
    }

    /// Counters since the start.
    pub fn stats(&self) -> &NetworkStats {
        &self.stats
    }

    /// The stack.
    pub fn stack(&mut self) -> &mut S {
        &mut self.stack
    }

    /// Does what there is to do, a bounded amount.
    ///
    /// # Errors
    /// The voter broke a rule: there is no going on.
    pub fn turn(&mut self, now_ms: u64) -> Result<Turn, Error> {
        self.from_voter.disarm();
        self.stack.poll(now_ms);
        self.events();
        let mut notify = self.hear()?;
        self.unpark()?;
        let more_clients = self.accept(now_ms)?;
        // What clients sent with their connection.
        self.events();
        for _ in 0..self.ready.len() {
            let Some(conn) = self.ready.pop_front() else { break };
            self.sessions[conn].is_ready = false;
            self.serve(conn, now_ms)?;
        }
        self.sweep(now_ms);
        self.stack.flush(now_ms);
        let asleep = self.to_voter.publish() != 0;
        notify |= asleep && core::mem::take(&mut self.urgent);
        Ok(Turn { notify, busy: more_clients || !self.ready.is_empty() })
    }

    /// Before waiting: true if there is nothing to do until a signal of the voter, an event of the stack
    /// or the [deadline](Self::deadline_ms).
    ///
    /// # Errors
    /// As for [`turn`](Self::turn).
    pub fn sleep(&mut self) -> Result<bool, Error> {
        if !self.ready.is_empty() || (self.starved && !self.to_voter.arm(MAX_PAYLOAD_BYTES)?) {
            return Ok(false);
        }
        Ok(self.from_voter.arm())
    }

    /// When the next [`turn`](Self::turn) is due even if nothing happens.
    pub fn deadline_ms(&self) -> Option<u64> {
        let sweep_ms = (self.open > 0).then_some(self.sweep_ms);
        [self.stack.deadline_ms(), sweep_ms].into_iter().flatten().min()
    }

    fn events(&mut self) {
        while let Some(event) = self.stack.next_event() {
            self.event(event);
        }
    }

    /// Takes what happened to a connection down.
    fn event(&mut self, event: Event) {
        let session = &mut self.sessions[event.conn];
        if session.phase != Phase::Open {
            return;
        }
        session.readable |= event.readable && !session.ended;
        session.writable |= event.writable;
        if session.can_receive() || session.can_send() {
            self.make_ready(event.conn);
        } else if event.hung_up && self.stack.is_gone(event.conn) {
            self.gone(event.conn);
        }
    }

    fn make_ready(&mut self, conn: Conn) {
        if !core::mem::replace(&mut self.sessions[conn].is_ready, true) {
            self.ready.push_back(conn);
        }
    }

    /// The ring to the voter is full: `conn` goes on when there is room.
    fn park(&mut self, conn: Conn) {
        self.starved = true;
        if !core::mem::replace(&mut self.sessions[conn].is_parked, true) {
            self.parked.push_back(conn);
        }
    }

    fn unpark(&mut self) -> Result<(), Error> {
        if self.starved && self.to_voter.reserve(MAX_PAYLOAD_BYTES)?.is_some() {
            self.starved = false;
            self.to_voter.disarm();
            while let Some(conn) = self.parked.pop_front() {
                self.sessions[conn].is_parked = false;
                self.make_ready(conn);
            }
        }
        Ok(())
    }

    /// Takes all records of the voter. True if it waits for the room they took.
    fn hear(&mut self) -> Result<bool, Error> {
        while let Some(record) = self.from_voter.peek()? {
            self.record(&record.message)?;
            self.from_voter.advance(&record);
        }
        Ok(self.from_voter.release())
    }

    fn record(&mut self, message: &Message) -> Result<(), Error> {
        if !self.sessions.is_current(message.session) {
            return Ok(());
        }
        let conn = message.session.index;
        let session = &mut self.sessions[conn];
        let is_open = session.phase == Phase::Open;
        let possible = match message.kind {
            Kind::Release => !is_open || session.release(message.offset),
            Kind::Fin if is_open => {
                let possible = session.release(message.offset);
                possible && session.fin.replace(message.offset).is_none_or(|f| f == message.offset)
            }
            Kind::Credit => {
                session.credit = session.credit.max(message.offset);
                true
            }
            Kind::Reset => {
                if is_open {
                    // The voter knows: it needs to hear no more.
                    session.owes_fin = false;
                    session.taken = session.sent;
                    self.stats.resets += 1;
                    self.end(conn, true);
                }
                return Ok(());
            }
            Kind::Closed => {
                self.closed(conn);
                return Ok(());
            }
            Kind::Fin => true,
            _ => false,
        };
        if !possible {
            return Err(Error::Record(*message));
        }
        if session.can_send() || session.can_receive() {
            self.make_ready(conn);
        }
        Ok(())
    }

    /// The voter is through with the session. We may still be sending the end of the reply.
    fn closed(&mut self, conn: Conn) {
        let session = &mut self.sessions[conn];
        session.closed = true;
        session.owes_fin = false;
        session.owes_reset = None;
        if session.phase == Phase::Ended {
            self.sessions.free(conn);
        } else if session.fin.is_none() {
            self.stats.resets += 1;
            self.end(conn, true);
        }
    }

    /// Takes waiting clients. True if there may be more.
    fn accept(&mut self, now_ms: u64) -> Result<bool, Error> {
        for _ in 0..TURN_ACCEPTS {
            let free = self.sessions.next_free().filter(|_| self.open < self.limits.sessions);
            let Some(conn) = free else {
                if !self.stack.refuse() {
                    return Ok(false);
                }
                self.stats.refused += 1;
                continue;
            };
            if self.to_voter.reserve(PEER_BYTES_MAX)?.is_none() {
                self.starved = true;
                return Ok(false);
            }
            let Some(accepted) = self.stack.accept(conn) else { return Ok(false) };
            let Some(session) = self.sessions.open(now_ms) else { return Ok(false) };
            let mut peer = heapless::String::<PEER_BYTES_MAX>::new();
            // The longest address, an IPv6 one with scope and port, has 58 bytes.
            let _ = write!(peer, "{}", accepted.peer);
            let message = Message::new(Kind::Open, session).arg(accepted.service);
            self.to_voter.push(&message, peer.as_bytes())?;
            self.urgent = true;
            self.open += 1;
            self.stats.accepted += 1;
            self.stats.open += 1;
        }
        Ok(true)
    }

    /// Does what there is to do for one session, and makes it wait for its next turn if there is more.
    fn serve(&mut self, conn: Conn, now_ms: u64) -> Result<(), Error> {
        if self.sessions[conn].can_send() {
            self.send(conn, now_ms);
        }
        if self.sessions[conn].can_receive() {
            self.receive(conn, now_ms)?;
        }
        self.tell(conn)?;
        let session = &self.sessions[conn];
        if session.can_send() || (session.can_receive() && !session.is_parked) {
            self.make_ready(conn);
        }
        Ok(())
    }

    /// Sends what was released, and ends our stream where the reply ends.
    fn send(&mut self, conn: Conn, now_ms: u64) {
        let session = &mut self.sessions[conn];
        let slot = usize::from(conn) * (SLOT_BYTES / WORD_BYTES);
        let window = &self.window[slot..slot + WINDOW_BYTES / WORD_BYTES];
        while session.sent < session.released && session.writable {
            let at = (session.sent % WINDOW_BYTES as u64) as usize;
            let rest = (session.released - session.sent) as usize;
            // Two pieces where the window wraps.
            let piece = Bytes::new(window, WINDOW_BYTES).skip(at).take(rest);
            match self.stack.send(conn, piece) {
                Sent::Bytes(len) => {
                    session.writable = len == piece.len();
                    session.sent += len as u64;
                    session.active_ms = now_ms;
                    self.stats.sent_bytes += len as u64;
                }
                Sent::Gone => return self.gone(conn),
            }
        }
        if session.fin == Some(session.sent) && !session.finished {
            session.finished = true;
            session.active_ms = now_ms;
            if session.ended {
                self.end(conn, false);
            } else {
                self.stack.finish(conn);
            }
        }
    }

    /// Passes received bytes on, as far as the session's credit and its share of the turn go.
    fn receive(&mut self, conn: Conn, now_ms: u64) -> Result<(), Error> {
        let mut budget = TURN_BYTES;
        while self.sessions[conn].can_receive() && budget > 0 {
            let session = &mut self.sessions[conn];
            let limit = budget.min(MAX_PAYLOAD_BYTES);
            let limit = (session.credit - session.received).min(limit as u64) as usize;
            let Some(room) = self.to_voter.reserve(limit)? else {
                self.park(conn);
                return Ok(());
            };
            match self.stack.receive(conn, &room[..words_for(limit)], limit) {
                Received::Bytes { len, more } => {
                    let id = SessionId { index: conn, generation: session.generation };
                    let message = Message::new(Kind::Data, id).at(session.received);
                    self.to_voter.commit(&message, len);
                    self.urgent = true;
                    session.received += len as u64;
                    session.readable = more;
                    session.active_ms = now_ms;
                    self.stats.received_bytes += len as u64;
                    budget = budget.saturating_sub(len);
                }
                Received::Nothing => session.readable = false,
                Received::End => {
                    session.readable = false;
                    session.ended = true;
                    session.owes_fin = !session.closed;
                    session.active_ms = now_ms;
                    if session.finished {
                        self.end(conn, false);
                    }
                }
                Received::Gone => self.gone(conn),
            }
        }
        Ok(())
    }

    /// Tells the voter what the session owes it.
    fn tell(&mut self, conn: Conn) -> Result<(), Error> {
        let session = &mut self.sessions[conn];
        if session.phase == Phase::Free || session.closed {
            return Ok(());
        }
        let id = SessionId { index: conn, generation: session.generation };
        let untold = session.sent - session.taken;
        let all_sent = session.sent == session.released;
        if let Some(reason) = session.owes_reset {
            let message = Message::new(Kind::Reset, id).arg(reason as u8);
            if !self.to_voter.push(&message, &[])? {
                self.park(conn);
                return Ok(());
            }
            session.owes_reset = None;
            session.owes_fin = false;
            session.taken = session.sent;
            self.urgent = true;
            return Ok(());
        }
        if untold >= TAKEN_BYTES || (untold > 0 && all_sent) {
            let message = Message::new(Kind::Taken, id).at(session.sent);
            if !self.to_voter.push(&message, &[])? {
                self.park(conn);
                return Ok(());
            }
            session.taken = session.sent;
            if session.sent - session.signalled >= TAKEN_BYTES {
                session.signalled = session.sent;
                self.urgent = true;
            }
        }
        if session.owes_fin {
            let message = Message::new(Kind::Fin, id).at(session.received);
            if !self.to_voter.push(&message, &[])? {
                self.park(conn);
                return Ok(());
            }
            session.owes_fin = false;
            self.urgent = true;
        }
        Ok(())
    }

    /// The client reset its connection, or it was lost.
    fn gone(&mut self, conn: Conn) {
        self.sessions[conn].owes_reset = Some(Reason::Peer);
        self.end(conn, false);
    }

    /// Closes the connection. The id stays in use until the voter frees it.
    fn end(&mut self, conn: Conn, abort: bool) {
        self.stack.close(conn, abort);
        self.open -= 1;
        self.stats.open -= 1;
        let session = &mut self.sessions[conn];
        session.phase = Phase::Ended;
        if session.closed {
            self.sessions.free(conn);
        } else {
            self.make_ready(conn);
        }
    }

    /// Resets sessions in which nothing happened for too long, some time after that.
    fn sweep(&mut self, now_ms: u64) {
        if self.open == 0 || now_ms < self.sweep_ms {
            return;
        }
        self.sweep_ms = now_ms + (self.limits.idle_ms / 4).clamp(10, 1_000);
        for conn in 0..self.sessions.len() as Conn {
            let session = &mut self.sessions[conn];
            let quiet_ms = now_ms.saturating_sub(session.active_ms);
            let finished = session.finished;
            if session.phase != Phase::Open || !(finished || quiet_ms >= self.limits.idle_ms) {
                continue;
            }
            // What the stack took may still be on its way to a slow client.
            let waiting = self.stack.unacknowledged(conn) as u64;
            let acknowledged = session.sent.saturating_sub(waiting);
            let progress = acknowledged > session.acknowledged && (finished || waiting > 0);
            session.acknowledged = acknowledged;
            let limit_ms = match finished && waiting == 0 {
                true => LINGER_MS.min(self.limits.idle_ms),
                false => self.limits.idle_ms,
            };
            if progress {
                session.active_ms = now_ms;
            } else if quiet_ms >= limit_ms {
                session.owes_reset = (!session.closed).then_some(Reason::TimeOut);
                self.stats.resets += 1;
                self.end(conn, true);
            }
        }
    }
}
