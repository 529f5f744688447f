//! The sessions and where each stands.

use alloc::vec::Vec;

use resh_channel::message::{Reason, SessionId};

use crate::stack::Conn;
use resh_channel::window::{REQUEST_CREDIT_BYTES, WINDOW_BYTES};

/// What a session's index is used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing.
    #[default]
    Free,
    /// A connection.
    Open,
    /// The connection is closed, the voter has not yet freed the id.
    Ended,
}

/// One session. Offsets count bytes from the start of its stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Session {
    pub(crate) phase: Phase,
    /// Which use of the index this is.
    pub(crate) generation: u16,
    /// It is a datagram and its reply: that leaves in one piece.
    pub(crate) is_datagram: bool,
    /// The voter said `Closed`: it wants to hear no more.
    pub(crate) closed: bool,
    /// In the queue of sessions with something to do.
    pub(crate) is_ready: bool,
    /// In the queue of sessions that wait for room in the ring.
    pub(crate) is_parked: bool,

    /// Request bytes passed to the voter.
    pub(crate) received: u64,
    /// Request bytes that may be passed.
    pub(crate) credit: u64,
    /// There may be something to receive.
    pub(crate) readable: bool,
    /// The client ended its stream.
    pub(crate) ended: bool,
    /// The voter is still to be told so.
    pub(crate) owes_fin: bool,
    /// The voter is still to be told that we gave the session up, and why.
    pub(crate) owes_reset: Option<Reason>,

    /// Reply bytes that may leave.
    pub(crate) released: u64,
    /// Reply bytes the stack has taken.
    pub(crate) sent: u64,
    /// Reply bytes the voter knows were taken.
    pub(crate) taken: u64,
    /// Reply bytes of which the voter was woken to be told.
    pub(crate) signalled: u64,
    /// Where the reply stream ends.
    pub(crate) fin: Option<u64>,
    /// There may be room to send.
    pub(crate) writable: bool,
    /// Our stream is ended.
    pub(crate) finished: bool,

    /// When bytes last went either way.
    pub(crate) active_ms: u64,
    /// Reply bytes that the client had acknowledged when we last looked.
    pub(crate) acknowledged: u64,
}

impl Session {
    /// Whether something can be received and passed on.
    pub(crate) fn can_receive(&self) -> bool {
        self.phase == Phase::Open && self.readable && self.received < self.credit
    }

    /// Whether something can be sent, or our stream ended.
    pub(crate) fn can_send(&self) -> bool {
        let whole = !self.is_datagram || self.fin == Some(self.released);
        let rest = self.sent < self.released && self.writable && whole;
        let end = self.fin == Some(self.sent) && !self.finished;
        self.phase == Phase::Open && (rest || end)
    }

    /// The voter releases reply bytes up to `offset`. False if that cannot be.
    pub(crate) fn release(&mut self, offset: u64) -> bool {
        let within = offset >= self.released
            && offset - self.taken <= WINDOW_BYTES as u64
            && self.fin.is_none_or(|fin| offset <= fin);
        if within {
            self.released = offset;
        }
        within
    }
}

/// All sessions, and which indices are free.
pub(crate) struct Table {
    sessions: Vec<Session>,
    /// The one freed last is used next: its window is the one most likely still in the cache.
    free: Vec<u16>,
}

impl Table {
    pub(crate) fn new(len: u16) -> Self {
        let mut sessions = Vec::new();
        sessions.resize_with(usize::from(len), Session::default);
        Self { sessions, free: (0..len).rev().collect() }
    }

    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// The index that [`open`](Self::open) will use.
    pub(crate) fn next_free(&self) -> Option<Conn> {
        self.free.last().copied()
    }

    /// Begins a session at the next free index.
    pub(crate) fn open(&mut self, now_ms: u64) -> Option<SessionId> {
        let index = self.free.pop()?;
        let session = &mut self.sessions[usize::from(index)];
        let generation = session.generation.wrapping_add(1);
        *session = Session {
            phase: Phase::Open,
            generation,
            // It may still be in a queue from its life before.
            is_ready: session.is_ready,
            is_parked: session.is_parked,
            credit: REQUEST_CREDIT_BYTES as u64,
            writable: true,
            active_ms: now_ms,
            ..Session::default()
        };
        Some(SessionId { index, generation })
    }

    /// Frees an index that is in use.
    pub(crate) fn free(&mut self, index: Conn) {
        self[index].phase = Phase::Free;
        self.free.push(index);
    }

    /// Whether `id` is the present use of an index that is in use.
    pub(crate) fn is_current(&self, id: SessionId) -> bool {
        self.sessions.get(usize::from(id.index)).is_some_and(|session| {
            session.phase != Phase::Free && session.generation == id.generation && !session.closed
        })
    }
}

impl core::ops::Index<Conn> for Table {
    type Output = Session;

    fn index(&self, index: Conn) -> &Session {
        &self.sessions[usize::from(index)]
    }
}

impl core::ops::IndexMut<Conn> for Table {
    fn index_mut(&mut self, index: Conn) -> &mut Session {
        &mut self.sessions[usize::from(index)]
    }
}
