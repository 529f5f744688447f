//! The records that domains exchange: a fixed header and a payload.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::memory::WORD_BYTES;

/// Words of a header in a ring.
pub const HEADER_WORDS: usize = size_of::<Header>() / WORD_BYTES;

/// Most payload bytes in one record.
pub const MAX_PAYLOAD_BYTES: usize = 32 * 1024;

/// Longest datagram of a service over UDP, in bytes: what an IPv4 packet has room for (RFC 768, RFC 791). It
/// takes several records, and fits into the credit with which a session begins.
pub const DATAGRAM_BYTES_MAX: usize = 65_507;

/// Largest position in a stream that a record may speak of, in bytes: no stream comes so far, and what
/// is added to a position that a peer sent does not overflow.
pub const MAX_OFFSET: u64 = 1 << 62;

/// What a record says. Which domain sends which kind, see `docs/architecture.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A session begins. `arg` is the service. From the network the payload is the client's address; to
    /// the gateways it is a [`Nonce`].
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
    /// A request ends at `offset` of the request stream. `arg` is a [`Request`]. Only with total order.
    Framed = 11,
    /// Request number `offset` of the total order is executed, and its whole reply has been sent.
    Answered = 12,
    /// Every request up to `offset` of the request stream is answered in full, and the session is in the
    /// state of a new one: another replica may begin here.
    Rest = 13,
    /// Request number `offset` of the total order. `arg` is a [`Request`], the payload an [`OrderedHead`] and the
    /// request's bytes.
    Ordered = 14,
    /// A replica is to take part from `offset` of the request stream on. `arg` is the service, the payload an
    /// [`AdmitHead`].
    Admit = 15,
    /// A session without a client: whether the replica's server of service `arg` accepts a connection. A
    /// gateway answers with [`CONNECTED`] and `Fin`, or with `Reset`.
    Probe = 16,
}

/// What a gateway answers to [`Kind::Probe`] if its replica's server accepted a connection.
pub const CONNECTED: &[u8] = b"connected";

impl Kind {
    /// The kind of that number.
    pub fn from_u8(value: u8) -> Option<Self> {
        use Kind::*;
        [
            Open, Data, Fin, Reset, Taken, Credit, Release, Closed, Evict, Hello, Framed, Answered,
            Rest, Ordered, Admit, Probe,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == value)
    }
}

/// A number that nobody can foresee, the same for all replicas.
pub type Nonce = [u8; 16];

/// What a gateway says of a request in total order, and the voter passes on: flags in `arg`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request(pub u8);

impl Request {
    /// It changes no state of the service: who catches up need not execute it.
    pub const READ_ONLY: u8 = 1;
    /// It changes the state of its connection, on which later requests of the session depend.
    pub const STICKY: u8 = 2;
    /// As `STICKY`, but only until the next request of the session that has not this flag, which makes an end of
    /// it: a transaction that is being put together.
    pub const TRANSIENT: u8 = 32;
    /// Nothing after it can be understood: the session takes no more requests.
    pub const LAST: u8 = 4;
    /// From the voter: not a client's request, but the order to write out the state of the service as
    /// it is now, as a reply stream of requests that make it anew, each after its length as `u32`, little endian.
    pub const EXPORT: u8 = 8;
    /// From the voter: the reply is not awaited, because the replica catches up.
    pub const REPLAY: u8 = 16;

    /// Whether all of `flags` are set.
    #[must_use]
    pub fn is(self, flags: u8) -> bool {
        self.0 & flags == flags
    }
}

/// What precedes the bytes of a request in [`Kind::Ordered`].
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct OrderedHead {
    /// The request's own.
    pub nonce: Nonce,
    /// The request clock in milliseconds since 1970-01-01 UTC.
    pub clock_ms: U64,
    /// Service, for who does not know the session.
    pub service: u8,
    /// Zero.
    pub spare: [u8; 7],
}

/// Longest request in total order, in bytes.
pub const ORDERED_BYTES_MAX: usize = MAX_PAYLOAD_BYTES - size_of::<OrderedHead>();

/// Payload of [`Kind::Admit`].
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct AdmitHead {
    /// The session's nonce, as in its `Open`.
    pub nonce: Nonce,
    /// Position in the reply stream at which the replica begins, in bytes.
    pub reply_offset: U64,
    /// Position in the reply stream up to which it may send, in bytes.
    pub reply_credit: U64,
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
    to: u8,
    spare: u8,
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
    /// Replicas that it concerns, a bit mask: of `Open`, `Probe`, `Ordered` and `Admit` to the gateways.
    pub to: u8,
    /// Request clock: seconds since 1970-01-01 UTC, the same for all replicas. 0 where there is none.
    pub clock_s: u32,
    /// Position in the stream, in bytes from its start, at most [`MAX_OFFSET`].
    pub offset: u64,
}

impl Message {
    /// A message without argument, clock or offset.
    pub fn new(kind: Kind, session: SessionId) -> Self {
        Self { kind, arg: 0, session, to: 0, clock_s: 0, offset: 0 }
    }

    /// The same with an offset.
    pub fn at(self, offset: u64) -> Self {
        Self { offset, ..self }
    }

    /// The same with an argument.
    pub fn arg(self, arg: u8) -> Self {
        Self { arg, ..self }
    }

    /// The same for some replicas, a bit mask.
    pub fn to(self, to: u8) -> Self {
        Self { to, ..self }
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
            to: self.to,
            spare: 0,
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
            to: header.to,
            clock_s: header.clock_s.get(),
            offset: header.offset.get(),
        };
        Some((message, len))
    }
}
