//! The records that domains exchange: a fixed header and a payload.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::memory::WORD_BYTES;

/// Words of a header in a ring.
pub const HEADER_WORDS: usize = size_of::<Header>() / WORD_BYTES;

/// Most payload bytes in one record.
pub const MAX_PAYLOAD_BYTES: usize = 32 * 1024;

/// Largest position in a stream that a record may speak of, in bytes: no stream comes so far, and what
/// is added to a position that a peer sent does not overflow.
pub const MAX_OFFSET: u64 = 1 << 62;

/// What a record says. Which domain sends which kind, see `docs/architecture.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A session begins. `arg` is the service, the payload the client's address.
    Open = 1,
    /// Bytes of the stream, the first one at `offset`.
    Data = 2,
    /// The stream ends at `offset`.
    Fin = 3,
    /// The session is aborted. `arg` is a [`Reason`].
    Reset = 4,
    /// The receiver of a stream has consumed it up to `offset`.
    Taken = 5,
    /// The sender of a stream may send up to `offset`.
    Credit = 6,
    /// Reply bytes up to `offset` are agreed and may leave.
    Release = 7,
    /// The session id is free.
    Closed = 8,
    /// Replica `arg` is to drop the session.
    Evict = 9,
    /// A replica's domain is up, `generation` tells which life it is.
    Hello = 10,
}

impl Kind {
    /// The kind of that number.
    pub fn from_u8(value: u8) -> Option<Self> {
        use Kind::*;
        [Open, Data, Fin, Reset, Taken, Credit, Release, Closed, Evict, Hello]
            .into_iter()
            .find(|kind| *kind as u8 == value)
    }
}

/// Why a session was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// The client, or the replica, reset its connection.
    Peer = 1,
    /// The replica did not accept a connection.
    Refused = 2,
    /// No quorum can be had any more.
    NoQuorum = 3,
    /// The service is stopped.
    Stopped = 4,
    /// Nothing happened for too long.
    TimeOut = 5,
    /// A limit was reached.
    Limit = 6,
    /// The replica broke the rules of its protocol.
    Protocol = 7,
}

impl Reason {
    /// The reason of that number.
    pub fn from_u8(value: u8) -> Option<Self> {
        use Reason::*;
        [Peer, Refused, NoQuorum, Stopped, TimeOut, Limit, Protocol]
            .into_iter()
            .find(|reason| *reason as u8 == value)
    }
}

/// One client connection: an index, and which use of that index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SessionId {
    /// Position in the session tables of all domains.
    pub index: u16,
    /// Counts the uses of the index, wrapping.
    pub generation: u16,
}

/// Header of a record, as it lies in a ring. Little endian.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Header {
    len: U32,
    kind: u8,
    arg: u8,
    generation: U16,
    index: U16,
    spare: U16,
    clock_s: U32,
    offset: U64,
}

/// A record's header, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it says.
    pub kind: Kind,
    /// Service, replica or reason, depending on the kind.
    pub arg: u8,
    /// Which session.
    pub session: SessionId,
    /// Request clock: seconds since 1970-01-01 UTC, the same for all replicas. 0 where there is none.
    pub clock_s: u32,
    /// Position in the stream, in bytes from its start, at most [`MAX_OFFSET`].
    pub offset: u64,
}

impl Message {
    /// A message without argument, clock or offset.
    pub fn new(kind: Kind, session: SessionId) -> Self {
        Self { kind, arg: 0, session, clock_s: 0, offset: 0 }
    }

    /// The same with an offset.
    pub fn at(self, offset: u64) -> Self {
        Self { offset, ..self }
    }

    /// The same with an argument.
    pub fn arg(self, arg: u8) -> Self {
        Self { arg, ..self }
    }

    /// The same with the request clock.
    pub fn clock(self, clock_s: u32) -> Self {
        Self { clock_s, ..self }
    }

    /// The words of the header of a record with `len` payload bytes.
    pub(crate) fn encode(&self, len: usize) -> [u64; HEADER_WORDS] {
        let header = Header {
            len: U32::new(len as u32),
            kind: self.kind as u8,
            arg: self.arg,
            generation: U16::new(self.session.generation),
            index: U16::new(self.session.index),
            spare: U16::new(0),
            clock_s: U32::new(self.clock_s),
            offset: U64::new(self.offset),
        };
        let mut words = [0; HEADER_WORDS];
        words.as_mut_bytes().copy_from_slice(header.as_bytes());
        words
    }

    /// The message and its payload length. `None` if the kind is unknown, or the length or the offset
    /// impossible.
    pub(crate) fn decode(words: [u64; HEADER_WORDS]) -> Option<(Self, usize)> {
        let header = Header::read_from_bytes(words.as_bytes()).ok()?;
        let len = header.len.get() as usize;
        if len > MAX_PAYLOAD_BYTES || header.offset.get() > MAX_OFFSET {
            return None;
        }
        let message = Self {
            kind: Kind::from_u8(header.kind)?,
            arg: header.arg,
            session: SessionId { index: header.index.get(), generation: header.generation.get() },
            clock_s: header.clock_s.get(),
            offset: header.offset.get(),
        };
        Some((message, len))
    }
}
