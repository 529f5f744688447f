//! The TCP/IP stack smoltcp, on a network interface of the domain's own.
//!
//! A frame is looked at before smoltcp takes it: a segment that opens a connection to a service gets a
//! listening socket made for it, so that no pool of them is needed, and its addresses lead to its
//! shard (see [`seats`]).

mod flow;
mod ports;
mod seats;
mod setup;

pub use self::setup::SetupError;
/// For implementations of [`Frames`]: the version in use.
pub use smoltcp;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::IpAddr;

use resh_channel::config::Transport;
use resh_channel::memory::{Bytes, Words, copy_in};
use smoltcp::iface::{Interface, PollResult};
use smoltcp::phy::{Device, RxToken};
use smoltcp::socket::tcp::{CongestionControl, RecvError, State};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::IpListenEndpoint;

use self::flow::{About, Flow, about};
use self::ports::Ports;
use self::seats::{SHARDS, Seat, Seats, Use};
use crate::stack::{Accepted, Conn, Event, Received, Sent, Stack};

/// Frames taken in one poll.
const POLL_FRAMES: usize = 128;
/// Rounds in which each socket of a shard may send a segment, in one flush.
const FLUSH_ROUNDS: usize = 64;
/// How long a handshake may take, in milliseconds.
const HANDSHAKE_MS: u64 = 10_000;
/// How long a connection that was given up may take to end, in milliseconds.
const CLOSING_MS: u64 = 60_000;
/// How often these are looked at, in milliseconds.
const SWEEP_MS: u64 = 1_000;

/// How long an acknowledgement waits for a reply to go with.
const ACK_DELAY: Duration = Duration::from_millis(10);
/// Bytes received at once that are rather part of a long stream than a request: the client may not send
/// more until they are acknowledged.
const STREAM_BYTES: usize = 2 * 1460;

/// A network interface that shows a frame before it hands it over.
pub trait Frames: Device {
    /// The frame that [`Device::receive`] would hand over now.
    fn peek(&mut self) -> Option<&[u8]>;
}

/// smoltcp on the interface `D`.
pub struct SmoltcpStack<D> {
    device: D,
    interface: Interface,
    seats: Seats,
    ports: Ports,
    /// By service number: where it listens, if it does over TCP.
    services: Vec<Option<IpListenEndpoint>>,
    address: IpAddr,
    seed: u64,
    /// Seats by connection number.
    conns: Vec<Option<Seat>>,
    /// Seats whose connections wait to be accepted; some may be gone.
    arrived: VecDeque<Seat>,
    /// Seats to take out once their last segment left.
    over: VecDeque<Seat>,
    /// Shards in which there may be something to send, a bit each.
    dirty: u64,
    /// When each shard is due.
    due_ms: [u64; SHARDS],
    /// There may be more frames.
    more: bool,
    now_ms: u64,
    sweep_ms: u64,
}

/// The bit of a shard. There are as many as bits.
const fn bit(shard: usize) -> u64 {
    const { assert!(SHARDS == u64::BITS as usize) };
    1 << shard
}

fn instant(now_ms: u64) -> Instant {
    Instant::from_millis(i64::try_from(now_ms).unwrap_or(i64::MAX))
}

impl<D: Frames> SmoltcpStack<D> {
    /// The interface's device.
    pub fn device(&mut self) -> &mut D {
        &mut self.device
    }

    /// Sockets that are in use, for whatever.
    pub fn sockets_in_use(&self) -> usize {
        self.seats.in_use()
    }

    /// Makes a socket listen for the connection that `flow` opens, if it opens one to a service.
    fn prepare(&mut self, shard: usize, flow: &Flow) -> Option<Seat> {
        if flow.local.ip() != self.address {
            return None;
        }
        let port = flow.local.port();
        let service =
            self.services.iter().position(|at| at.is_some_and(|at| at.port == port))? as u8;
        if let Some(seat) = self.seats.find(shard, flow.client, service) {
            // The same client port again: over with the connection before, or the segment is its.
            if self.seats.usage(seat) != Use::TimeWait {
                return None;
            }
            self.seats.recycle(seat);
        }
        let seat = self.seats.place(shard, flow.client, service, self.now_ms)?;
        let endpoint = self.services[usize::from(service)]?;
        let socket = self.seats.socket(seat)?;
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);
        // Afresh: what it learned of another client's network is of no use.
        socket.set_congestion_control(CongestionControl::Reno);
        if socket.listen(endpoint).is_err() {
            self.seats.recycle(seat);
            return None;
        }
        Some(seat)
    }

    /// Takes one frame in. False if there is none.
    fn take_frame(&mut self, now: Instant) -> bool {
        let Some(frame) = self.device.peek() else { return false };
        let (shard, prepared) = match about(frame) {
            About::Tcp(flow) => {
                let shard = flow.shard(self.seed, SHARDS);
                self.dirty |= bit(shard);
                (shard, if flow.opens { self.prepare(shard, &flow) } else { None })
            }
            About::Udp(local) if self.ports.serves(local) => {
                if let Some((received, _)) = self.device.receive(now) {
                    received.consume(|frame| self.ports.take_in(frame));
                }
                return true;
            }
            About::Udp(_) | About::Other => {
                // It may be the answer to who has an address, for which any socket may wait.
                self.dirty = u64::MAX;
                (0, None)
            }
        };
        let sockets = self.seats.set(shard);
        self.interface.poll_ingress_single(now, &mut self.device, sockets);
        if let Some(seat) = prepared {
            let unused = self.seats.socket(seat).is_none_or(|socket| socket.is_listening());
            if unused {
                self.seats.recycle(seat);
            } else {
                self.seats.watch(seat);
            }
        }
        true
    }

    /// Looks at a seat in which something happened; an event if it is a connection's.
    fn look(&mut self, seat: Seat) -> Option<Event> {
        let usage = self.seats.usage(seat);
        let socket = self.seats.socket(seat)?;
        let state = socket.state();
        match usage {
            Use::Idle => return None,
            Use::Opening => match state {
                State::SynReceived => {}
                State::Established | State::CloseWait => {
                    self.seats.opened(seat);
                    self.seats.set_usage(seat, Use::Waiting);
                    self.arrived.push_back(seat);
                }
                // Reset: it listens again, or is closed.
                _ => {
                    self.seats.recycle(seat);
                    return None;
                }
            },
            Use::Waiting => {}
            Use::Open(conn) => {
                let event = Event {
                    conn,
                    readable: socket.can_recv() || !socket.may_recv(),
                    writable: socket.can_send(),
                    hung_up: state == State::Closed,
                };
                self.seats.watch(seat);
                return Some(event);
            }
            Use::Closing => match state {
                State::Closed => {
                    if self.over.len() < self.over.capacity() {
                        self.over.push_back(seat);
                    }
                    return None;
                }
                State::TimeWait => self.seats.time_wait(seat),
                _ => {}
            },
            Use::TimeWait => {
                if state == State::Closed {
                    self.seats.recycle(seat);
                }
            }
        }
        self.seats.watch(seat);
        None
    }

    /// The next connection that waits, and is not gone meanwhile.
    fn next_arrived(&mut self) -> Option<Seat> {
        while let Some(seat) = self.arrived.pop_front() {
            let state = self.seats.socket(seat).map(|socket| socket.state());
            if self.seats.usage(seat) != Use::Waiting {
                continue;
            }
            if state != Some(State::Closed) {
                return Some(seat);
            }
            self.seats.recycle(seat);
        }
        None
    }

    fn touch(&mut self, seat: Seat) {
        if let Some(shard) = self.seats.shard_of(seat) {
            self.dirty |= bit(shard);
        }
    }

    /// Gives the connection of a seat up.
    fn give_up(&mut self, seat: Seat, abort: bool) {
        self.touch(seat);
        self.seats.set_usage(seat, Use::Closing);
        self.seats.began(seat, self.now_ms);
        if let Some(socket) = self.seats.socket(seat) {
            if abort {
                socket.abort();
            } else {
                socket.close();
            }
        }
        // It may be over already, which nothing would tell.
        self.seats.wake(seat);
    }

    /// Takes out the sockets of clients that went away in a handshake, or while we end a connection.
    fn sweep(&mut self) {
        for seat in 0..self.seats.len() {
            let limit_ms = match self.seats.usage(seat) {
                Use::Opening => HANDSHAKE_MS,
                Use::Closing => CLOSING_MS,
                _ => continue,
            };
            if self.now_ms.saturating_sub(self.seats.since_ms(seat)) >= limit_ms {
                self.seats.recycle(seat);
            }
        }
    }

    fn seat(&self, conn: Conn) -> Option<Seat> {
        self.conns[usize::from(conn)]
    }
}

impl<D: Frames> Stack for SmoltcpStack<D> {
    fn poll(&mut self, now_ms: u64) {
        let now = instant(now_ms);
        self.now_ms = now_ms;
        if now_ms >= self.sweep_ms {
            self.sweep_ms = now_ms + SWEEP_MS;
            self.sweep();
        }
        for (shard, due_ms) in self.due_ms.iter().enumerate() {
            if *due_ms <= now_ms {
                self.dirty |= bit(shard);
            }
        }
        self.interface.poll_maintenance(now);
        self.more = true;
        for _ in 0..POLL_FRAMES {
            if !self.take_frame(now) {
                self.more = false;
                break;
            }
        }
    }

    fn flush(&mut self, now_ms: u64) {
        let now = instant(now_ms);
        while self.dirty != 0 {
            let shard = self.dirty.trailing_zeros() as usize;
            self.dirty &= self.dirty - 1;
            let sockets = self.seats.set(shard);
            for _ in 0..FLUSH_ROUNDS {
                let sent = self.interface.poll_egress(now, &mut self.device, sockets);
                if sent == PollResult::None {
                    break;
                }
            }
            let due = self.interface.poll_at(now, sockets);
            // Not again at once: what could not be sent now waits for the device, or a neighbour.
            self.due_ms[shard] =
                due.map_or(u64::MAX, |at| (at.total_millis() as u64).max(now_ms + 1));
        }
        while let Some(seat) = self.over.pop_front() {
            if self.seats.usage(seat) == Use::Closing {
                self.seats.recycle(seat);
            }
        }
    }

    fn deadline_ms(&self) -> Option<u64> {
        if self.more || self.seats.any_woken() {
            return Some(0);
        }
        let sweep_ms = if self.seats.in_use() > 0 { self.sweep_ms } else { u64::MAX };
        let due_ms = self.due_ms.iter().copied().fold(sweep_ms, u64::min);
        (due_ms != u64::MAX).then_some(due_ms)
    }

    fn next_event(&mut self) -> Option<Event> {
        while let Some(seat) = self.seats.next_woken() {
            if let Some(event) = self.look(seat) {
                return Some(event);
            }
        }
        None
    }

    fn accept(&mut self, conn: Conn) -> Option<Accepted> {
        let seat = self.next_arrived()?;
        self.seats.set_usage(seat, Use::Open(conn));
        self.conns[usize::from(conn)] = Some(seat);
        // What came before now made no event.
        self.seats.wake(seat);
        let (service, peer) = (self.seats.service(seat), self.seats.client(seat));
        Some(Accepted { service, peer, transport: Transport::Tcp })
    }

    fn refuse(&mut self) -> bool {
        let Some(seat) = self.next_arrived() else { return false };
        self.give_up(seat, true);
        true
    }

    fn receive(&mut self, conn: Conn, into: &Words, limit: usize) -> Received {
        let Some(seat) = self.seat(conn) else { return Received::Gone };
        let Some(socket) = self.seats.socket(seat) else { return Received::Gone };
        let copied = socket.recv(|bytes| {
            let len = copy_in(into, &bytes[..bytes.len().min(limit)]);
            (len, len)
        });
        let received = match copied {
            Ok(0) => return Received::Nothing,
            Ok(len) => {
                if len >= STREAM_BYTES {
                    socket.set_ack_delay(None);
                }
                Received::Bytes { len, more: socket.can_recv() || !socket.may_recv() }
            }
            Err(RecvError::Finished) => Received::End,
            Err(RecvError::InvalidState) => Received::Gone,
        };
        self.touch(seat);
        received
    }

    fn send(&mut self, conn: Conn, bytes: Bytes<'_>) -> Sent {
        let Some(seat) = self.seat(conn) else { return Sent::Gone };
        let Some(socket) = self.seats.socket(seat) else { return Sent::Gone };
        let mut sent = 0;
        // Two pieces where the socket's buffer wraps.
        while sent < bytes.len() {
            let rest = bytes.skip(sent);
            match socket.send(|room| {
                let len = rest.copy_to(room);
                (len, len)
            }) {
                Ok(0) => break,
                Ok(len) => sent += len,
                Err(_) => return Sent::Gone,
            }
        }
        // It answers: what comes next is likely to be answered too.
        socket.set_ack_delay(Some(ACK_DELAY));
        self.touch(seat);
        Sent::Bytes(sent)
    }

    fn finish(&mut self, conn: Conn) {
        let Some(seat) = self.seat(conn) else { return };
        if let Some(socket) = self.seats.socket(seat) {
            socket.close();
        }
        self.touch(seat);
    }

    fn close(&mut self, conn: Conn, abort: bool) {
        if let Some(seat) = self.conns[usize::from(conn)].take() {
            self.give_up(seat, abort);
        }
    }

    fn is_gone(&mut self, conn: Conn) -> bool {
        let socket = self.seat(conn).and_then(|seat| self.seats.socket(seat));
        socket.is_none_or(|socket| socket.state() == State::Closed)
    }

    fn unacknowledged(&mut self, conn: Conn) -> usize {
        let socket = self.seat(conn).and_then(|seat| self.seats.socket(seat));
        socket.map_or(0, |socket| {
            let end = matches!(socket.state(), State::FinWait1 | State::Closing | State::LastAck);
            socket.send_queue() + usize::from(end)
        })
    }
}
