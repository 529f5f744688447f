//! The replica's server, and the network to it: what arrives, and when, is the script's to say. Events
//! are given only at edges, as the contract of `Upstream` has it.

use std::collections::{HashMap, VecDeque};

use super::{DNS_UDP, RAW_UDP};
use gateway::upstream::{Event, Opening, Received, Refused, Sent, Upstream};
use resh_channel::memory::{Bytes, Words, copy_in};

/// How a server's stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    Fin,
    Reset,
}

/// A connection, from the first to the last.
#[derive(Default)]
pub(crate) struct Connection {
    pub(crate) session: usize,
    pub(crate) open: bool,
    /// What the server has received.
    pub(crate) got: Vec<u8>,
    /// And the end of it.
    pub(crate) got_fin: bool,
    /// Bytes it still takes now.
    pub(crate) room: usize,
    /// What has arrived of its answer and was not read.
    pub(crate) arrived: VecDeque<u8>,
    /// The end that arrives after it.
    pub(crate) end: Option<Ends>,
    /// Datagrams that the server has received, if it is over UDP.
    pub(crate) got_datagrams: Vec<Vec<u8>>,
    /// Those that have arrived of its answers and were not read.
    pub(crate) datagrams: VecDeque<Vec<u8>>,
    /// It is over UDP.
    pub(crate) udp: bool,
    /// It takes nothing more.
    pub(crate) deaf: bool,
    /// How it was closed, if it was: `true` for an abort.
    pub(crate) closed: Option<bool>,
    wants_read: bool,
    wants_write: bool,
}

/// All connections there ever were.
#[derive(Default)]
pub(crate) struct Servers {
    pub(crate) all: Vec<Connection>,
    pub(crate) of_session: HashMap<usize, usize>,
    pub(crate) events: VecDeque<Event>,
    /// The next connections stand at once, or are refused at once.
    pub(crate) at_once: Option<bool>,
    /// Most bytes that one call moves.
    pub(crate) most: usize,
    /// Events that were handed over mean that the gateway must be run.
    pub(crate) signalled: bool,
}

impl Servers {
    pub(crate) fn new() -> Self {
        Self { most: usize::MAX, ..Self::default() }
    }

    /// The connection of a session, if it has one.
    pub(crate) fn of(&mut self, session: usize) -> Option<&mut Connection> {
        let at = self.of_session.get(&session)?;
        self.all.get_mut(*at)
    }

    fn event(&mut self, event: Event) {
        self.events.push_back(event);
        self.signalled = true;
    }

    /// A connection that is being made comes to stand, or not.
    pub(crate) fn settle(&mut self, session: usize, stands: bool) {
        let Some(connection) = self.of(session).filter(|connection| !connection.open) else {
            return;
        };
        connection.open = stands;
        if stands {
            self.event(Event::Opened(session));
        } else {
            self.of_session.remove(&session);
            self.event(Event::Refused(session));
        }
    }

    /// More of the answer, or its end, arrives.
    pub(crate) fn arrive(&mut self, session: usize, bytes: &[u8], end: Option<Ends>) {
        let Some(connection) = self.of(session) else { return };
        assert!(connection.end.is_none(), "the script goes on after the end");
        connection.arrived.extend(bytes);
        connection.end = end;
        if std::mem::take(&mut connection.wants_read) {
            self.event(Event::Ready { session, readable: true, writable: false });
        }
    }

    /// A datagram arrives.
    pub(crate) fn arrive_datagram(&mut self, session: usize, bytes: &[u8]) {
        let Some(connection) = self.of(session) else { return };
        connection.datagrams.push_back(bytes.to_vec());
        if std::mem::take(&mut connection.wants_read) {
            self.event(Event::Ready { session, readable: true, writable: false });
        }
    }

    /// The server takes `bytes` more.
    pub(crate) fn make_room(&mut self, session: usize, bytes: usize) {
        let Some(connection) = self.of(session) else { return };
        connection.room += bytes;
        if bytes > 0 && std::mem::take(&mut connection.wants_write) {
            self.event(Event::Ready { session, readable: false, writable: true });
        }
    }

    /// An event that means nothing.
    pub(crate) fn disturb(&mut self, session: usize) {
        self.event(Event::Ready { session, readable: true, writable: true });
    }

    fn take(&mut self, session: usize, bytes: &[u8]) -> Sent {
        let most = self.most;
        let connection = self.of(session).expect("a session without connection sends");
        assert!(connection.open && !connection.got_fin, "sends when it cannot");
        if connection.deaf {
            return Sent::Gone;
        }
        if connection.udp {
            connection.got_datagrams.push(bytes.to_vec());
            return Sent::Some(bytes.len());
        }
        let n = bytes.len().min(connection.room).min(most);
        if n == 0 {
            connection.wants_write = true;
            return Sent::WouldBlock;
        }
        connection.room -= n;
        connection.got.extend(&bytes[..n]);
        Sent::Some(n)
    }

    fn give(&mut self, session: usize, limit: usize) -> Result<Vec<u8>, Received> {
        let most = self.most;
        let connection = self.of(session).expect("a session without connection receives");
        assert!(connection.open && limit > 0, "receives when it cannot");
        if let Some(datagram) = connection.datagrams.pop_front() {
            assert!(limit >= datagram.len(), "a datagram is cut");
            return Ok(datagram);
        }
        let n = connection.arrived.len().min(limit).min(most);
        match connection.end {
            _ if n > 0 => Ok(connection.arrived.drain(..n).collect()),
            Some(Ends::Fin) => Err(Received::Fin),
            Some(Ends::Reset) => Err(Received::Gone),
            None => {
                connection.wants_read = true;
                Err(Received::WouldBlock)
            }
        }
    }
}

impl Upstream for Servers {
    fn open(&mut self, session: usize, service: usize) -> Result<Opening, Refused> {
        assert!(!self.of_session.contains_key(&session), "a session connects twice");
        if self.at_once == Some(false) {
            return Err(Refused);
        }
        let udp = [RAW_UDP, DNS_UDP].contains(&(service as u8));
        let open = udp || self.at_once == Some(true);
        self.of_session.insert(session, self.all.len());
        self.all.push(Connection { session, open, udp, ..Connection::default() });
        Ok(if open { Opening::Open } else { Opening::Pending })
    }

    fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn send(&mut self, session: usize, bytes: Bytes<'_>) -> Sent {
        let mut copy = vec![0; bytes.len()];
        bytes.copy_to(&mut copy);
        self.take(session, &copy)
    }

    fn send_private(&mut self, session: usize, bytes: &[u8]) -> Sent {
        self.take(session, bytes)
    }

    fn recv(&mut self, session: usize, into: &Words, limit_bytes: usize) -> Received {
        match self.give(session, limit_bytes.min(into.len() * 8)) {
            Ok(bytes) => Received::Some(copy_in(into, &bytes)),
            Err(other) => other,
        }
    }

    fn recv_private(&mut self, session: usize, into: &mut [u8]) -> Received {
        match self.give(session, into.len()) {
            Ok(bytes) => {
                into[..bytes.len()].copy_from_slice(&bytes);
                Received::Some(bytes.len())
            }
            Err(other) => other,
        }
    }

    fn finish(&mut self, session: usize) {
        let connection = self.of(session).expect("a session without connection ends its stream");
        assert!(!connection.got_fin, "ends its stream twice");
        connection.got_fin = true;
    }

    fn close(&mut self, session: usize, abort: bool) {
        let at = self.of_session.remove(&session).expect("closes what it does not have");
        self.all[at].closed = Some(abort);
    }

    fn poll(&mut self, _: u64) -> Option<u64> {
        None
    }
}
