//! The connections to the guest's servers.
//!
//! smoltcp looks at every socket of a set for each frame and each time it sends. So each socket has a set
//! of its own, and the port in a frame leads to the one to look at. A socket and what goes with it is a
//! *seat*. All seats, one for each session and some more, are made at the start.

mod transport;

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use gateway::SLOTS;
use gateway::queue::Queue;
use gateway::upstream::{Event, Received, Sent};
use resh_channel::config::Transport;
use smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{RecvError, Socket, SocketBuffer, State};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{HardwareAddress, IpCidr, IpEndpoint};

use super::ports::Ports;
use super::probe::Probe;
use super::udp::Udp;
use super::wire::{Arrived, Wire};
use super::{Frames, Settings};

/// Seats beyond one for each session, where closed connections can rest.
pub const SPARE: usize = 64;
/// Bytes a guest may send before we take them, for each connection.
pub const RECEIVE_BYTES: usize = 32 * 1024;
/// Bytes sent that a guest has not acknowledged, for each connection.
pub const SEND_BYTES: usize = 16 * 1024;
/// How long a closed connection rests at most, in milliseconds.
pub const LINGER_MS: u64 = 1_000;
/// Frames taken in one round.
const ROUND_FRAMES: usize = 256;
/// Segments that one connection may send in one flush: all it has.
const FLUSH_SEGMENTS: usize = 64;
/// How long an acknowledgement waits for something to go with.
const ACK_DELAY: Duration = Duration::from_millis(20);

/// Number of a seat.
pub(super) type Seat = u16;
const NONE: Seat = Seat::MAX;

/// What a seat is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Nothing.
    Free,
    /// A session's connection is being made.
    Connecting(u16),
    /// A session's connection stands.
    Open(u16),
    /// A closed connection, until TCP is through with it.
    Resting,
    /// Finding out whether a server accepts connections.
    Probing,
}

struct Place {
    /// One socket.
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    usage: Use,
    port: u16,
    /// The session was told that there is no room to write.
    blocked: bool,
    /// When smoltcp wants to look at it.
    due_ms: u64,
    rests_until_ms: u64,
}

impl Place {
    fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }
}

/// All connections to a guest, and what stands for one over UDP.
pub struct Tcp<F> {
    pub(super) wire: Wire<F>,
    udp: Udp,
    interface: Interface,
    /// For segments to ports that no seat has.
    nobody: SocketSet<'static>,
    pub(super) settings: Settings,
    seats: Box<[Place]>,
    free: Vec<Seat>,
    ports: Ports,
    /// By session: the seat of its connection.
    of_session: Box<[Seat]>,
    /// Closed connections in the order of their ends.
    resting: Queue,
    /// Seats in which something happened.
    woken: Queue,
    /// Seats that may have something to send.
    dirty: Queue,
    /// No seat is due before.
    due_ms: u64,
    /// There may be more frames.
    more: bool,
    pub(super) now_ms: u64,
    pub(super) probe: Probe,
}

fn instant(now_ms: u64) -> Instant {
    Instant::from_millis(i64::try_from(now_ms).unwrap_or(i64::MAX))
}

impl<F: Frames> Tcp<F> {
    /// Connections over `frames`. Allocates all that will ever be needed.
    pub fn new(frames: F, settings: Settings) -> Self {
        let mut wire = Wire::new(frames, &settings);
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = settings.seed;
        let mut interface = Interface::new(config, &mut wire, instant(0));
        interface.update_ip_addrs(|addresses| {
            // There is room for one at least.
            let _ = addresses.push(IpCidr::new(settings.ours().into(), 31));
        });
        let place = || {
            let buffer = |bytes| SocketBuffer::new(vec![0; bytes]);
            let mut socket = Socket::new(buffer(RECEIVE_BYTES), buffer(SEND_BYTES));
            socket.set_nagle_enabled(false);
            socket.set_ack_delay(Some(ACK_DELAY));
            let mut sockets = SocketSet::new(Vec::with_capacity(1));
            let handle = sockets.add(socket);
            let (due_ms, rests_until_ms) = (u64::MAX, 0);
            Place {
                sockets,
                handle,
                usage: Use::Free,
                port: 0,
                blocked: false,
                due_ms,
                rests_until_ms,
            }
        };
        let any_udp = settings.ports.iter().flatten().any(|(over, _)| *over == Transport::Udp);
        let udp_sessions = if any_udp { settings.sessions } else { 0 };
        let count = (settings.sessions + SPARE).min(usize::from(NONE));
        let queue = || Queue::new(count);
        Self {
            wire,
            udp: Udp::new(udp_sessions, settings.seed),
            interface,
            nobody: SocketSet::new(Vec::new()),
            seats: (0..count).map(|_| place()).collect(),
            free: (0..count as Seat).rev().collect(),
            ports: Ports::new(settings.seed),
            of_session: vec![NONE; SLOTS].into_boxed_slice(),
            resting: queue(),
            woken: queue(),
            dirty: queue(),
            due_ms: u64::MAX,
            more: false,
            now_ms: 0,
            probe: Probe::default(),
            settings,
        }
    }

    /// The guest's end of the link.
    pub fn frames(&mut self) -> &mut F {
        self.wire.frames()
    }

    /// Connections that stand, are being made, or rest.
    pub fn connections(&self) -> usize {
        self.seats.len() - self.free.len() + self.udp.len()
    }

    /// The guest starts anew: it knows nothing of any connection.
    pub fn guest_restarted(&mut self) {
        self.probe = Probe::default();
        self.udp.guest_restarted();
        for seat in 0..self.seats.len() {
            match self.seats[seat].usage {
                Use::Free => {}
                Use::Resting | Use::Probing => self.cut(seat as Seat),
                Use::Connecting(_) | Use::Open(_) => {
                    self.seats[seat].socket().abort();
                    self.woken.push(seat);
                }
            }
        }
    }

    fn place(&mut self, session: usize) -> Option<(Seat, &mut Place)> {
        let seat = *self.of_session.get(session)?;
        Some((seat, self.seats.get_mut(usize::from(seat))?))
    }

    /// A free seat on the way to the guest's server of `service`. Its connection is being made for
    /// `usage`.
    fn connect(&mut self, service: usize, usage: Use) -> Option<Seat> {
        let remote = IpEndpoint::new(
            self.settings.guest.into(),
            self.settings.port(service, Transport::Tcp)?,
        );
        if self.free.is_empty() {
            let oldest = self.resting.first()?;
            self.cut(oldest as Seat);
        }
        let seat = self.free.pop()?;
        let at = usize::from(seat);
        let place = &mut self.seats[at];
        place.usage = usage;
        place.blocked = false;
        place.port = self.ports.take(seat).unwrap_or_default();
        let socket = place.sockets.get_mut::<Socket<'_>>(place.handle);
        let connecting = socket.connect(self.interface.context(), remote, place.port);
        if connecting.is_err() {
            self.release(seat);
            return None;
        }
        self.dirty.push(at);
        Some(seat)
    }

    /// Nobody needs the seat any more. Its connection is over.
    fn release(&mut self, seat: Seat) {
        let at = usize::from(seat);
        let place = &mut self.seats[at];
        place.usage = Use::Free;
        place.due_ms = u64::MAX;
        self.ports.release(place.port);
        self.resting.remove(at);
        self.woken.remove(at);
        self.dirty.remove(at);
        self.free.push(seat);
    }

    /// Ends the connection of a seat at once, by a reset if that still means something.
    fn cut(&mut self, seat: Seat) {
        self.seats[usize::from(seat)].socket().abort();
        self.flush(seat);
        if self.seats[usize::from(seat)].usage != Use::Free {
            self.release(seat);
        }
    }

    /// Sends the last of the connection of a seat.
    fn rest(&mut self, seat: Seat) {
        let at = usize::from(seat);
        let place = &mut self.seats[at];
        place.usage = Use::Resting;
        place.rests_until_ms = self.now_ms.saturating_add(LINGER_MS);
        place.socket().close();
        self.resting.push(at);
        self.dirty.push(at);
    }

    /// Lets a seat send what it has. False if there is no room for all.
    fn flush(&mut self, seat: Seat) -> bool {
        let now = instant(self.now_ms);
        let place = &mut self.seats[usize::from(seat)];
        for _ in 0..FLUSH_SEGMENTS {
            if !self.wire.can_send() {
                return false;
            }
            let sent = self.interface.poll_egress(now, &mut self.wire, &mut place.sockets);
            if sent == PollResult::None {
                break;
            }
        }
        let state = place.socket().state();
        if place.usage == Use::Resting && matches!(state, State::Closed | State::TimeWait) {
            self.release(seat);
            return true;
        }
        let due = self.interface.poll_at(now, &place.sockets);
        // Not again at once: all that could be sent was.
        place.due_ms = due.map_or(u64::MAX, |at| (at.total_millis() as u64).max(self.now_ms + 1));
        self.due_ms = self.due_ms.min(place.due_ms);
        true
    }

    /// Takes in what the guest sent.
    fn take_in(&mut self) {
        let now = instant(self.now_ms);
        self.more = true;
        for _ in 0..ROUND_FRAMES {
            let Some(arrived) = self.wire.take() else {
                self.more = false;
                break;
            };
            let port = match arrived {
                Arrived::Segment { port } => port,
                Arrived::Datagram { port, server } => {
                    self.udp.arrived(port, server, self.wire.datagram());
                    continue;
                }
                Arrived::Unreachable { port, server } => {
                    self.udp.unreachable(port, server);
                    continue;
                }
                Arrived::Other => continue,
            };
            let seat = self.ports.seat(port);
            let sockets = match seat {
                Some(seat) => &mut self.seats[usize::from(seat)].sockets,
                None => &mut self.nobody,
            };
            self.interface.poll_ingress_single(now, &mut self.wire, sockets);
            if let Some(seat) = seat {
                self.woken.push(seat.into());
                self.dirty.push(seat.into());
            }
        }
    }

    /// Looks at a seat in which something happened; an event if that concerns its session.
    fn look(&mut self, seat: Seat) -> Option<Event> {
        let place = &mut self.seats[usize::from(seat)];
        let socket = place.sockets.get_mut::<Socket<'_>>(place.handle);
        match place.usage {
            Use::Connecting(session) => match socket.state() {
                State::SynSent | State::SynReceived => None,
                State::Closed => {
                    self.of_session[usize::from(session)] = NONE;
                    self.cut(seat);
                    Some(Event::Refused(session.into()))
                }
                _ => {
                    place.usage = Use::Open(session);
                    Some(Event::Opened(session.into()))
                }
            },
            Use::Open(session) => {
                let readable = socket.can_recv() || !socket.may_recv();
                let writable = place.blocked && (socket.can_send() || !socket.may_send());
                place.blocked &= !writable;
                let event = Event::Ready { session: session.into(), readable, writable };
                (readable || writable).then_some(event)
            }
            Use::Free | Use::Resting | Use::Probing => None,
        }
    }

    /// Begins a connection that no session has.
    pub(super) fn begin_probe(&mut self, service: usize) -> Option<Seat> {
        self.connect(service, Use::Probing)
    }

    /// Whether such a connection stands; `None` while it is being made.
    pub(super) fn probed(&mut self, seat: Seat) -> Option<bool> {
        match self.seats[usize::from(seat)].socket().state() {
            State::SynSent | State::SynReceived => None,
            State::Closed => Some(false),
            _ => Some(true),
        }
    }

    /// Ends it.
    pub(super) fn end_probe(&mut self, seat: Seat, stands: bool) {
        if stands { self.rest(seat) } else { self.cut(seat) }
    }

    /// Takes bytes that the guest sent by `take`, which says how many it took.
    fn receive(&mut self, session: usize, take: impl FnOnce(&mut [u8]) -> usize) -> Received {
        let Some((seat, place)) = self.place(session) else { return Received::Gone };
        let taken = place.socket().recv(|bytes| {
            let len = take(bytes);
            (len, len)
        });
        match taken {
            Ok(0) => Received::WouldBlock,
            Ok(len) => {
                // The guest may be told that there is room again.
                self.dirty.push(seat.into());
                Received::Some(len)
            }
            Err(RecvError::Finished) => Received::Fin,
            Err(RecvError::InvalidState) => Received::Gone,
        }
    }

    /// Sends bytes that `fill` writes to the room that there is, until it writes none.
    fn transmit(
        &mut self,
        session: usize,
        mut fill: impl FnMut(usize, &mut [u8]) -> usize,
    ) -> Sent {
        let Some((seat, place)) = self.place(session) else { return Sent::Gone };
        let mut sent = 0;
        // Two pieces where the socket's buffer wraps.
        for _ in 0..2 {
            let written = place.socket().send(|room| {
                let len = fill(sent, room);
                (len, len)
            });
            match written {
                Ok(0) => break,
                Ok(len) => sent += len,
                Err(_) => return Sent::Gone,
            }
        }
        if sent == 0 {
            place.blocked = true;
            return Sent::WouldBlock;
        }
        self.dirty.push(seat.into());
        Sent::Some(sent)
    }
}
