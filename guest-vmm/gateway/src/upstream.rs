//! The TCP client side of a gateway, which the board provides: kernel sockets on Linux, smoltcp on
//! seL4.
//!
//! A connection is named by the index of the session it belongs to; a session has at most one at a
//! time. Events are hints of the edge-triggered kind: after [`Event::Ready`] the gateway reads or
//! writes until it is told [`Received::WouldBlock`] or [`Sent::WouldBlock`], and then waits for the
//! next one. An event too many does no harm. That a connection is gone is learnt from reading it.

use resh_channel::memory::{Bytes, Words};

/// No connection can be made: no address, no socket, or the peer refused at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// How far [`Upstream::open`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// The connection stands already. No event follows.
    Open,
    /// [`Event::Opened`] or [`Event::Refused`] follows, or nothing, ever.
    Pending,
}

/// What happened to the connection of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It stands, and can be read and written.
    Opened(usize),
    /// It could not be made.
    Refused(usize),
    /// There may be something new to read, or room to write.
    Ready {
        /// Whose.
        session: usize,
        /// Bytes, the stream's end or the connection's end may be there.
        readable: bool,
        /// There may be room.
        writable: bool,
    },
}

/// What became of bytes to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// So many of them were taken, at least one.
    Some(usize),
    /// None; an event will tell when to try again.
    WouldBlock,
    /// The connection is gone for writing. What it sent before can still be read.
    Gone,
}

/// What there was to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many bytes, at least one.
    Some(usize),
    /// Nothing; an event will tell when to try again.
    WouldBlock,
    /// The peer ended its stream, and everything before was received.
    Fin,
    /// The connection was reset, and everything before was received.
    Gone,
}

/// Connections from a gateway to its replica.
///
/// To a service over UDP a connection is a port of our own for each session, and stands at once. Each send is one
/// datagram, taken whole or not at all, and [`Sent::Gone`] if it is too long to be sent ever. Each receive is one that
/// came from the server; one that is empty, or that there is no room for, counts as lost. [`Received::Gone`]: the
/// server's host says that nobody listens. There is no [`Received::Fin`], and [`finish`](Upstream::finish) does nothing.
pub trait Upstream {
    /// A round of the gateway begins: events are wanted of what has arrived by now. A transport
    /// whose kernel knows the time has nothing to do.
    fn begin(&mut self, now_ms: u64) {
        let _ = now_ms;
    }

    /// Begins to connect `session` to this replica's server of `service`. The session has no
    /// connection.
    ///
    /// # Errors
    /// [`Refused`] if that is known to fail already.
    fn open(&mut self, session: usize, service: usize) -> Result<Opening, Refused>;

    /// Hands over what happened since the last wait, one by one.
    fn next_event(&mut self) -> Option<Event>;

    /// Sends bytes that lie in shared memory, without copying them more often than it must.
    fn send(&mut self, session: usize, bytes: Bytes<'_>) -> Sent;

    /// Sends bytes of our own.
    fn send_private(&mut self, session: usize, bytes: &[u8]) -> Sent;

    /// Receives straight into shared memory, at most `limit_bytes` and what fits.
    fn recv(&mut self, session: usize, into: &Words, limit_bytes: usize) -> Received;

    /// Receives into memory of our own.
    fn recv_private(&mut self, session: usize, into: &mut [u8]) -> Received;

    /// Ends our stream. The peer's can still be received.
    fn finish(&mut self, session: usize);

    /// The session has no connection any more. Gracefully: what was sent still arrives, followed by
    /// the stream's end, if the peer lets it in a time that the board sets. `abort`: by a reset, now.
    fn close(&mut self, session: usize, abort: bool);

    /// Does what time demands, and returns when it next will, as `now_ms`.
    fn poll(&mut self, now_ms: u64) -> Option<u64>;
}
