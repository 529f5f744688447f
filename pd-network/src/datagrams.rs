//! Sessions of datagrams: a request and its reply, on any stack that has UDP.
//!
//! A datagram is taken only when a session is to begin with it, and passed on at once, so that one buffer serves all.
//! Only its hash is kept, until its session ends: an identical one is recognised by that. `docs/udp.md` has the
//! rules.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
#[expect(deprecated, reason = "what replaces it is not in `core`, and has no key")]
use core::hash::SipHasher;
use core::hash::{Hash, Hasher};
use core::net::IpAddr;

use resh_channel::config::{Appliance, Transport};
use resh_channel::memory::{Bytes, Words, copy_in};
use resh_channel::message::DATAGRAM_BYTES_MAX;
use resh_channel::stats::DatagramStats;

use crate::stack::{Accepted, Conn, Datagrams, Envelope, Event, Received, Sent, Stack};

/// Datagrams of one client in flight, at most; and never more than half of the sessions. A client is an IPv4 address,
/// or an IPv6 network of 64 bits.
pub const CLIENT_DATAGRAMS: usize = 128;
/// Datagrams dropped in a row before somebody else gets a turn.
const TURN_DROPS: usize = 64;
/// What no hash is.
const NOTHING: u64 = 0;

/// A stack whose datagrams are connections, too.
pub struct WithDatagrams<S> {
    stack: S,
    flights: Flights,
    /// The datagram that is being passed on.
    buffer: Box<[u8]>,
    pending: Option<Pending>,
    /// Nobody looked for more datagrams the last time.
    looked_away: bool,
    /// Datagrams have the next turn, before TCP.
    datagrams_first: bool,
    stats: DatagramStats,
}

/// The datagram in the buffer.
struct Pending {
    conn: Conn,
    len: usize,
    passed: usize,
}

/// The sessions of datagrams.
struct Flights {
    key: (u64, u64),
    /// At once, at most.
    most: usize,
    /// Of one client.
    most_of_client: usize,
    /// Where services over UDP listen.
    ports: Vec<u16>,
    /// By connection number.
    envelopes: Box<[Option<Envelope>]>,
    /// By connection number: hash of the datagram and who sent it, or [`NOTHING`].
    requests: Box<[u64]>,
    /// By connection number: hash of the client's address, or [`NOTHING`].
    clients: Box<[u64]>,
    /// By connection number: the reply went to the stack.
    answered: Box<[bool]>,
    in_flight: usize,
}

/// Why a datagram is dropped.
enum Drop {
    /// Nothing can be made of it, or there is no room.
    Unfit,
    /// It is in flight.
    Duplicate,
}

impl Flights {
    fn new(appliance: &Appliance, slots: usize) -> Self {
        let over = |transport| appliance.services.iter().filter(move |s| s.transport == transport);
        let sessions = usize::from(appliance.limits.sessions);
        // Whoever sends datagrams may give any address as their own, and have all sessions there are: some are kept
        // for TCP.
        let most = match over(Transport::Tcp).next() {
            Some(_) => sessions * 3 / 4,
            None => sessions,
        };
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&appliance.seed[at..at + 8]);
            u64::from_le_bytes(word)
        };
        Self {
            key: (word(0), word(8)),
            most: most.max(1),
            most_of_client: CLIENT_DATAGRAMS.min(sessions / 2).max(1),
            ports: over(Transport::Udp).map(|service| service.listen.port()).collect(),
            envelopes: vec![None; slots].into_boxed_slice(),
            requests: vec![NOTHING; slots].into_boxed_slice(),
            clients: vec![NOTHING; slots].into_boxed_slice(),
            answered: vec![false; slots].into_boxed_slice(),
            in_flight: 0,
        }
    }

    /// A number that nobody can foresee who does not know the key.
    fn hash(&self, what: impl Hash) -> u64 {
        #[expect(deprecated, reason = "as above")]
        let mut hasher = SipHasher::new_with_keys(self.key.0, self.key.1);
        what.hash(&mut hasher);
        hasher.finish().max(NOTHING + 1)
    }

    fn client(&self, ip: IpAddr) -> u64 {
        match ip {
            IpAddr::V4(v4) => self.hash((4u8, v4.to_bits())),
            IpAddr::V6(v6) => self.hash((6u8, (v6.to_bits() >> 64) as u64)),
        }
    }

    /// Begins a session of `conn`, unless the datagram is to be dropped.
    fn begin(&mut self, conn: Conn, envelope: Envelope, bytes: &[u8]) -> Result<(), Drop> {
        let Envelope { service, peer, local, hardware: _ } = envelope;
        // A reply to ourselves would be a request, and so on for ever.
        let ours = peer.ip() == local && self.ports.contains(&peer.port());
        let fits = (1..=DATAGRAM_BYTES_MAX).contains(&bytes.len());
        let at = usize::from(conn);
        if !fits || ours || peer.port() == 0 || at >= self.envelopes.len() {
            return Err(Drop::Unfit);
        }
        let request = self.hash((service, peer, local, bytes));
        if self.requests.contains(&request) {
            return Err(Drop::Duplicate);
        }
        let client = self.client(peer.ip());
        let of_client = self.clients.iter().filter(|other| **other == client).count();
        if self.in_flight >= self.most || of_client >= self.most_of_client {
            return Err(Drop::Unfit);
        }
        self.envelopes[at] = Some(envelope);
        (self.requests[at], self.clients[at], self.answered[at]) = (request, client, false);
        self.in_flight += 1;
        Ok(())
    }

    fn envelope(&self, conn: Conn) -> Option<Envelope> {
        self.envelopes.get(usize::from(conn)).copied().flatten()
    }

    /// Ends the session of `conn`, if there is one. Whether it was answered.
    fn end(&mut self, conn: Conn) -> Option<bool> {
        let at = usize::from(conn);
        self.envelopes.get_mut(at)?.take()?;
        (self.requests[at], self.clients[at]) = (NOTHING, NOTHING);
        self.in_flight -= 1;
        Some(self.answered[at])
    }
}

impl<S: Stack + Datagrams> WithDatagrams<S> {
    /// `stack` with sessions of datagrams for the services of `appliance` over UDP, with connection numbers below
    /// `slots`.
    pub fn new(stack: S, appliance: &Appliance, slots: usize) -> Self {
        let flights = Flights::new(appliance, slots);
        // One more than the longest there may be tells that one is longer.
        let bytes = if flights.ports.is_empty() { 0 } else { DATAGRAM_BYTES_MAX + 1 };
        Self {
            stack,
            flights,
            buffer: vec![0; bytes].into_boxed_slice(),
            pending: None,
            looked_away: false,
            datagrams_first: false,
            stats: DatagramStats::default(),
        }
    }

    /// The stack beneath.
    pub fn stack(&mut self) -> &mut S {
        &mut self.stack
    }

    /// Takes the next datagram into the buffer, if that is free.
    fn take(&mut self) -> Option<(Envelope, usize)> {
        self.looked_away = self.pending.is_some();
        if self.looked_away || self.buffer.is_empty() {
            return None;
        }
        let (envelope, len) = self.stack.take(&mut self.buffer)?;
        self.stats.received += 1;
        Some((envelope, len.min(self.buffer.len())))
    }

    fn accept_datagram(&mut self, conn: Conn) -> Option<Accepted> {
        for _ in 0..TURN_DROPS {
            let (envelope, len) = self.take()?;
            match self.flights.begin(conn, envelope, &self.buffer[..len]) {
                Ok(()) => {
                    self.pending = Some(Pending { conn, len, passed: 0 });
                    let Envelope { service, peer, .. } = envelope;
                    return Some(Accepted { service, peer, transport: Transport::Udp });
                }
                Err(Drop::Duplicate) => self.stats.duplicates += 1,
                Err(Drop::Unfit) => self.stats.dropped += 1,
            }
        }
        self.looked_away = true;
        None
    }
}

impl<S: Stack + Datagrams> Stack for WithDatagrams<S> {
    fn poll(&mut self, now_ms: u64) {
        self.stack.poll(now_ms);
    }

    fn flush(&mut self, now_ms: u64) {
        self.stack.flush(now_ms);
        let lost = self.stack.overrun();
        self.stats.received += lost;
        self.stats.dropped += lost;
    }

    fn deadline_ms(&self) -> Option<u64> {
        if self.looked_away && self.pending.is_none() {
            return Some(0);
        }
        self.stack.deadline_ms()
    }

    fn next_event(&mut self) -> Option<Event> {
        self.stack.next_event()
    }

    fn accept(&mut self, conn: Conn) -> Option<Accepted> {
        self.datagrams_first = !self.datagrams_first;
        if self.datagrams_first {
            self.accept_datagram(conn).or_else(|| self.stack.accept(conn))
        } else {
            self.stack.accept(conn).or_else(|| self.accept_datagram(conn))
        }
    }

    fn refuse(&mut self) -> bool {
        if self.stack.refuse() {
            return true;
        }
        let dropped = self.take().is_some();
        self.stats.dropped += u64::from(dropped);
        dropped
    }

    fn receive(&mut self, conn: Conn, into: &Words, limit: usize) -> Received {
        let Some(_) = self.flights.envelope(conn) else {
            return self.stack.receive(conn, into, limit);
        };
        let Some(pending) = self.pending.as_mut().filter(|pending| pending.conn == conn) else {
            return Received::End;
        };
        let rest = &self.buffer[pending.passed..pending.len];
        let len = copy_in(into, &rest[..rest.len().min(limit)]);
        pending.passed += len;
        if len == 0 {
            self.pending = None;
            return Received::End;
        }
        Received::Bytes { len, more: true }
    }

    fn send(&mut self, conn: Conn, bytes: Bytes<'_>) -> Sent {
        let Some(envelope) = self.flights.envelope(conn) else {
            return self.stack.send(conn, bytes);
        };
        if bytes.len() <= DATAGRAM_BYTES_MAX && self.stack.put(&envelope, bytes) {
            self.stats.sent += 1;
        } else {
            self.stats.lost += 1;
        }
        self.flights.answered[usize::from(conn)] = true;
        Sent::Bytes(bytes.len())
    }

    fn finish(&mut self, conn: Conn) {
        if self.flights.envelope(conn).is_none() {
            self.stack.finish(conn);
        }
    }

    fn close(&mut self, conn: Conn, abort: bool) {
        let Some(answered) = self.flights.end(conn) else {
            return self.stack.close(conn, abort);
        };
        self.stats.unanswered += u64::from(!answered);
        self.pending.take_if(|pending| pending.conn == conn);
    }

    fn is_gone(&mut self, conn: Conn) -> bool {
        self.flights.envelope(conn).is_none() && self.stack.is_gone(conn)
    }

    fn unacknowledged(&mut self, conn: Conn) -> usize {
        match self.flights.envelope(conn) {
            Some(_) => 0,
            None => self.stack.unacknowledged(conn),
        }
    }

    fn datagrams(&self) -> DatagramStats {
        self.stats
    }
}
