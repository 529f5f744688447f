//! The state machine of the domain: between a stack, two rings and the window.

mod sweep;
mod traffic;
mod voter;

use alloc::collections::VecDeque;
use core::fmt::{self, Write};

use resh_channel::config::Transport;
use resh_channel::memory::{WORD_BYTES, Words};
use resh_channel::message::{Kind, MAX_PAYLOAD_BYTES, Message, Reason};
use resh_channel::ring::{Consumer, Producer, Violation};
use resh_channel::stats::NetworkStats;

use crate::session::{Phase, Table};
use crate::stack::{Conn, Event, Stack};
use resh_channel::window::client_slots;

/// Connections accepted before the sessions there are get a turn.
const TURN_ACCEPTS: usize = 64;
/// Bytes of a client's address as text, at most.
const PEER_BYTES_MAX: usize = 64;

pub use self::sweep::{DATAGRAM_MS, LINGER_MS};

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
    /// A domain without sessions. There are as many session ids as `window` has slots for clients.
    pub fn new(
        stack: S,
        to_voter: Producer<'m>,
        from_voter: Consumer<'m>,
        window: &'m Words,
        limits: Limits,
    ) -> Self {
        let sessions = Table::new(client_slots(window.len() * WORD_BYTES) as u16);
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
        self.stats.datagrams = self.stack.datagrams();
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
            debug_assert!(!self.ready.contains(&conn), "in the queue twice");
            self.ready.push_back(conn);
        }
    }

    /// The ring to the voter is full: `conn` goes on when there is room.
    fn park(&mut self, conn: Conn) {
        self.starved = true;
        if !core::mem::replace(&mut self.sessions[conn].is_parked, true) {
            debug_assert!(!self.parked.contains(&conn), "in the queue twice");
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
            let Some(id) = self.sessions.open(now_ms) else { return Ok(false) };
            let mut peer = heapless::String::<PEER_BYTES_MAX>::new();
            // The longest address, an IPv6 one with scope and port, has 58 bytes.
            let _ = write!(peer, "{}", accepted.peer);
            let message = Message::new(Kind::Open, id).arg(accepted.service);
            self.to_voter.push(&message, peer.as_bytes())?;
            self.urgent = true;
            self.open += 1;
            self.stats.accepted += 1;
            self.stats.open += 1;
            if accepted.transport == Transport::Udp {
                let session = &mut self.sessions[conn];
                (session.is_datagram, session.readable) = (true, true);
                // The stack holds it only until then.
                self.serve(conn, now_ms)?;
            }
        }
        Ok(true)
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
        self.stats.resets += u64::from(abort && !session.is_datagram);
        session.phase = Phase::Ended;
        if session.closed {
            self.sessions.free(conn);
        } else {
            self.make_ready(conn);
        }
    }
}
