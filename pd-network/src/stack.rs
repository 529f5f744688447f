//! What the domain wants of a network stack: the server's side of it, without waiting.
//!
//! TCP is a [`Stack`], UDP are [`Datagrams`]. [`WithDatagrams`](crate::datagrams::WithDatagrams) makes sessions of
//! the latter, so that the domain sees connections only.

use core::net::{IpAddr, SocketAddr};

use resh_channel::config::Transport;
use resh_channel::memory::{Bytes, Words};
use resh_channel::stats::DatagramStats;

/// Number of a connection. The domain chooses it: it is the index of the session.
pub type Conn = u16;

/// Something that may have happened to a connection. It is a hint: there may be less to it, and an
/// event that is too old does no harm. An event must follow whenever [`Received::Nothing`] or a send
/// that took less than all stops to be the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which connection.
    pub conn: Conn,
    /// There may be something to receive, or the end of it.
    pub readable: bool,
    /// There may be room to send.
    pub writable: bool,
    /// The connection may be gone: ask [`Stack::is_gone`] unless a receive or send will tell.
    pub hung_up: bool,
}

/// A new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Index of the service it is for.
    pub service: u8,
    /// The client.
    pub peer: SocketAddr,
    /// What carries it. Over UDP there is one datagram to receive, at once, and then the end; the reply is sent
    /// by one call of [`Stack::send`], which takes all of it.
    pub transport: Transport,
}

/// What [`Stack::receive`] got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// That many bytes, at least one. If there are no `more`, the next event will say when.
    Bytes {
        /// How many.
        len: usize,
        /// There may be more, or the end, already.
        more: bool,
    },
    /// Nothing now.
    Nothing,
    /// The client ended its stream.
    End,
    /// The connection is gone.
    Gone,
}

/// What [`Stack::send`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Took that many bytes, possibly none.
    Bytes(usize),
    /// The connection is gone.
    Gone,
}

/// Where a datagram came from, and where its reply goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Index of the service it is for.
    pub service: u8,
    /// The client.
    pub peer: SocketAddr,
    /// The address it was sent to, from which the reply must come.
    pub local: IpAddr,
    /// The hardware (MAC) address it came from, if the stack sees that.
    pub hardware: [u8; 6],
}

/// The server's side of UDP, without waiting. An event must make the domain look, by whatever way, after
/// [`take`](Self::take) stops to return `None`.
pub trait Datagrams {
    /// Takes the next datagram that came to a service, to the start of `into`, and returns its length. If that is
    /// more than there is room, the rest is lost.
    fn take(&mut self, into: &mut [u8]) -> Option<(Envelope, usize)>;

    /// Sends a reply. False if it cannot be sent, now or ever: it is lost.
    fn put(&mut self, to: &Envelope, bytes: Bytes<'_>) -> bool;

    /// How many datagrams were lost since the last call because they were not taken in time, if the stack knows.
    fn overrun(&mut self) -> u64 {
        0
    }
}

/// The server's side of connections, without waiting.
///
/// Between [`accept`](Self::accept) and [`close`](Self::close) a connection's number is in use.
pub trait Stack {
    /// Takes in what came from the network. `now_ms` never goes backwards.
    fn poll(&mut self, now_ms: u64);

    /// Sends what is due. Called after a batch of the calls below.
    fn flush(&mut self, now_ms: u64);

    /// When [`poll`](Self::poll) is to be called even if nothing happens.
    fn deadline_ms(&self) -> Option<u64>;

    /// The next thing that happened.
    fn next_event(&mut self) -> Option<Event>;

    /// Takes the next waiting client as connection `conn`. A connection is first taken to be writable
    /// and not readable.
    fn accept(&mut self, conn: Conn) -> Option<Accepted>;

    /// Turns the next waiting client away. False if there is none.
    fn refuse(&mut self) -> bool;

    /// Receives at most `limit` bytes, which fit `into`, to its start. The rest of the last word may
    /// be overwritten.
    fn receive(&mut self, conn: Conn, into: &Words, limit: usize) -> Received;

    /// Sends as many of `bytes` as can be taken now.
    fn send(&mut self, conn: Conn, bytes: Bytes<'_>) -> Sent;

    /// Ends our stream, after all that was sent.
    fn finish(&mut self, conn: Conn);

    /// Gives the connection up: what was sent is still delivered and our stream then ended, or, with
    /// `abort`, the client sees a reset at once.
    fn close(&mut self, conn: Conn, abort: bool);

    /// Whether the connection is gone, though there may be bytes left to receive.
    fn is_gone(&mut self, conn: Conn) -> bool;

    /// Bytes sent that the client has not acknowledged: 0 if there are none, otherwise about how many.
    fn unacknowledged(&mut self, conn: Conn) -> usize;

    /// Counts of datagrams, where there are any.
    fn datagrams(&self) -> DatagramStats {
        DatagramStats::default()
    }
}
