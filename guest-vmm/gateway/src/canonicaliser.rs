//! What brings the two streams of a session to one form, whatever the protocol.

use resh_channel::config::Service;
use resh_channel::message::Nonce;

use crate::http1::SharedTokens;

/// What the session wants of the connection to its replica, now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionWish {
    /// There is none and none is needed.
    None,
    /// One is needed, or the one there is is to be kept. If there is none: connect, then call
    /// [`Canonicaliser::server_opened`], or [`Canonicaliser::server_reset`] if that failed.
    Open,
    /// The one there is, or the attempt, is to be closed. Do so and confirm with
    /// [`Canonicaliser::server_reset`] (or [`Canonicaliser::server_fin`]); only then is another one asked for.
    Close,
}

/// How the canonical stream to the client ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Orderly.
    Fin,
    /// The message under way cannot be completed.
    Reset,
}

/// What a request, or the client's bytes, come with: the same for all replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// The request clock, in milliseconds since 1970-01-01 UTC. With `order = "session"` whole seconds.
    pub clock_ms: u64,
    /// A number that nobody can foresee. With `order = "session"` it is the session's, otherwise the request's.
    pub nonce: Nonce,
}

/// One client session of one protocol. The caller moves bytes in and out as there is room; any call may
/// change what all the others return. No I/O, no clock; allocates in its constructor only. What it says to the
/// client depends on the client's bytes, their [`Context`]s and the replica's bytes, and not on when or in what pieces
/// either arrive.
///
/// Over UDP each call of [`client_data`](Self::client_data) and [`server_data`](Self::server_data) is one
/// datagram, and so is all that [`to_server`](Self::to_server) and [`to_client`](Self::to_client) return at once.
pub trait Canonicaliser {
    /// The sessions to come are those of `service`, which replica number `replica` serves. Called between
    /// sessions only. It needs no larger buffers than any of the services it was made for.
    fn serve(&mut self, service: &Service, replica: usize) {
        let _ = (service, replica);
    }

    /// The session to come shares `tokens` with the others of its service.
    fn remember_in(&mut self, tokens: &SharedTokens) {
        let _ = tokens;
    }

    /// The session to come is taken over from others: its stream begins at `offset` for this one. Called between
    /// [`serve`](Self::serve) and the first byte.
    fn begin_at(&mut self, offset: u64) {
        let _ = offset;
    }

    /// Takes bytes of the client, and returns how many. The rest is offered again.
    fn client_data(&mut self, bytes: &[u8], context: Context) -> usize;
    /// The client has ended its stream.
    fn client_fin(&mut self);
    /// Bytes for the client.
    fn to_client(&self) -> &[u8];
    /// So many of them went out.
    fn sent_to_client(&mut self, len: usize);
    /// How the stream to the client ends after those, if it does.
    fn end(&self) -> Option<End>;

    /// What is wanted of the connection to the replica.
    fn connection(&self) -> ConnectionWish;
    /// The connection stands.
    fn server_opened(&mut self);
    /// Bytes for the replica.
    fn to_server(&self) -> &[u8];
    /// So many of them went out.
    fn sent_to_server(&mut self, len: usize);
    /// Takes bytes of the replica, and returns how many. The rest is offered again.
    fn server_data(&mut self, bytes: &[u8]) -> usize;
    /// The replica has ended its stream.
    fn server_fin(&mut self);
    /// There is no connection to the replica (any more).
    fn server_reset(&mut self);

    /// Whether every request is answered in full, nothing of a next one has come, and the connection to the
    /// replica is in the state of a new one: a fresh canonicaliser could go on from here.
    fn at_rest(&self) -> bool;

    /// Whether every request so far is answered in full. Unlike [`at_rest`](Self::at_rest) the connection
    /// may have a state.
    fn is_answered(&self) -> bool;

    /// With nothing else under way: writes the state of the whole service to the client, as
    /// [`Request::EXPORT`](resh_channel::message::Request::EXPORT) says, and ends the stream. False if it
    /// cannot.
    fn export(&mut self) -> bool {
        false
    }

    /// Back to the state of a new one, for the next session.
    fn reset(&mut self);
}

/// What a [`Framer`] made of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// All of them belong to a request that is not complete yet.
    More,
    /// A request is complete with so many of them, at least one.
    Request {
        /// How many.
        len: usize,
        /// [`Request`](resh_channel::message::Request) flags: `READ_ONLY`, `STICKY`, `LAST`.
        flags: u8,
    },
}

/// Finds the end of each request in a session's request stream, for total order. It looks at bytes as they come
/// and keeps none: no allocation, work proportional to the bytes. What it cannot understand, and a request
/// longer than [`ORDERED_BYTES_MAX`](resh_channel::message::ORDERED_BYTES_MAX), it ends where it sees that, with
/// `LAST`; the canonicaliser then answers with an error of its own and ends the session.
pub trait Framer {
    /// The streams to come are those of sessions of `service`. Called between streams only.
    fn serve(&mut self, service: &Service) {
        let _ = service;
    }
    /// Looks at the next bytes of the stream, at least one.
    fn push(&mut self, bytes: &[u8]) -> Framing;
    /// Back to the start of a stream.
    fn reset(&mut self);
}
