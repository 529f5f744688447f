//! The sockets, spread over shards.
//!
//! smoltcp looks at every socket of a set for each frame and each time it sends. So there are many
//! small sets, a *shard* each: a connection is in the one that its addresses lead to, and only shards in
//! which something happened are looked at. A socket is a *seat*, which is idle or in one shard. All
//! seats, and the room for them in each shard, are made at the start.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::Waker;

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::{Socket, tcp};

use crate::stack::Conn;

/// Number of shards.
pub(super) const SHARDS: usize = 64;
/// Sockets in one shard, at most.
pub(super) const SHARD_SEATS: usize = 64;
/// Sockets in TIME-WAIT in one shard, at most. The oldest gives way.
const SHARD_TIME_WAITS: usize = 4;
/// Bytes of each of a socket's two buffers.
const BUFFER_BYTES: usize = 64 * 1024;

/// Number of a seat.
pub(super) type Seat = u16;

/// What a seat is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Nothing.
    Idle,
    /// A handshake.
    Opening,
    /// A connection that waits to be accepted.
    Waiting,
    /// A connection that was accepted.
    Open(Conn),
    /// A connection that was given up, until TCP is through with it.
    Closing,
    /// The same, in TIME-WAIT.
    TimeWait,
}

/// A place in a shard.
#[derive(Clone, Copy, Debug)]
struct Place {
    shard: usize,
    handle: SocketHandle,
}

struct State {
    usage: Use,
    place: Option<Place>,
    service: u8,
    client: SocketAddr,
    /// When the handshake began, or the connection was given up.
    since_ms: u64,
}

/// Bits of the seats in which something happened.
struct Woken(Vec<AtomicU64>);

/// One of these bits, which smoltcp sets.
struct Bit {
    woken: Arc<Woken>,
    seat: Seat,
}

impl Bit {
    fn set(&self) {
        let seat = usize::from(self.seat);
        self.woken.0[seat / 64].fetch_or(1 << (seat % 64), Ordering::Relaxed);
    }
}

impl Wake for Bit {
    fn wake(self: Arc<Self>) {
        self.set();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.set();
    }
}

struct Shard {
    sockets: SocketSet<'static>,
    seats: Vec<Seat>,
    time_wait: VecDeque<Seat>,
}

/// All seats.
pub(super) struct Seats {
    shards: Vec<Shard>,
    states: Vec<State>,
    idle: Vec<(Seat, tcp::Socket<'static>)>,
    wakers: Vec<Waker>,
    woken: Arc<Woken>,
    /// Word of `woken` looked at next.
    next: usize,
    /// Handshakes under way, oldest first.
    opening: VecDeque<Seat>,
}

impl Seats {
    pub(super) fn new(count: Seat) -> Self {
        let words = usize::from(count).div_ceil(64);
        let woken = Arc::new(Woken((0..words).map(|_| AtomicU64::new(0)).collect()));
        let waker = |seat| Waker::from(Arc::new(Bit { woken: woken.clone(), seat }));
        // In one piece, so that those of sockets never used are never touched. It lives as long as the
        // domain.
        let memory = alloc::vec![0; usize::from(count) * 2 * BUFFER_BYTES].leak();
        let sockets = memory.chunks_exact_mut(2 * BUFFER_BYTES).map(|buffers| {
            let (receive, send) = buffers.split_at_mut(BUFFER_BYTES);
            tcp::Socket::new(tcp::SocketBuffer::new(receive), tcp::SocketBuffer::new(send))
        });
        let mut idle: Vec<_> = (0..count).zip(sockets).collect();
        idle.reverse();
        let shard = || Shard {
            sockets: SocketSet::new(Vec::with_capacity(SHARD_SEATS)),
            seats: Vec::with_capacity(SHARD_SEATS),
            time_wait: VecDeque::with_capacity(SHARD_TIME_WAITS + 1),
        };
        let nobody = SocketAddr::from(([0; 4], 0));
        let state =
            || State { usage: Use::Idle, place: None, service: 0, client: nobody, since_ms: 0 };
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            states: (0..count).map(|_| state()).collect(),
            idle,
            wakers: (0..count).map(waker).collect(),
            woken,
            next: 0,
            opening: VecDeque::with_capacity(usize::from(count)),
        }
    }

    /// The sockets of a shard.
    pub(super) fn set(&mut self, shard: usize) -> &mut SocketSet<'static> {
        &mut self.shards[shard].sockets
    }

    pub(super) fn usage(&self, seat: Seat) -> Use {
        self.states[usize::from(seat)].usage
    }

    pub(super) fn service(&self, seat: Seat) -> u8 {
        self.states[usize::from(seat)].service
    }

    pub(super) fn client(&self, seat: Seat) -> SocketAddr {
        self.states[usize::from(seat)].client
    }

    pub(super) fn shard_of(&self, seat: Seat) -> Option<usize> {
        self.states[usize::from(seat)].place.map(|place| place.shard)
    }

    pub(super) fn set_usage(&mut self, seat: Seat, usage: Use) {
        self.states[usize::from(seat)].usage = usage;
    }

    /// Number of seats.
    pub(super) fn len(&self) -> Seat {
        self.states.len() as Seat
    }

    pub(super) fn began(&mut self, seat: Seat, now_ms: u64) {
        self.states[usize::from(seat)].since_ms = now_ms;
    }

    pub(super) fn since_ms(&self, seat: Seat) -> u64 {
        self.states[usize::from(seat)].since_ms
    }

    /// The socket of a seat that is in a shard.
    pub(super) fn socket(&mut self, seat: Seat) -> Option<&mut tcp::Socket<'static>> {
        let place = self.states[usize::from(seat)].place?;
        Some(self.shards[place.shard].sockets.get_mut(place.handle))
    }

    /// The seat in `shard` with a connection of `client` to `service`.
    pub(super) fn find(&self, shard: usize, client: SocketAddr, service: u8) -> Option<Seat> {
        self.shards[shard].seats.iter().copied().find(|&seat| {
            let state = &self.states[usize::from(seat)];
            state.client == client && state.service == service
        })
    }

    /// Puts a socket into `shard` for a client that is about to connect. If all are in use, one in
    /// TIME-WAIT gives way, or the oldest handshake.
    pub(super) fn place(
        &mut self,
        shard: usize,
        client: SocketAddr,
        service: u8,
        now_ms: u64,
    ) -> Option<Seat> {
        let full = self.shards[shard].seats.len() >= SHARD_SEATS;
        if full || self.idle.is_empty() {
            let oldest = |shard: &Shard| shard.time_wait.front().copied();
            let spare = oldest(&self.shards[shard])
                .or_else(|| if full { None } else { self.shards.iter().find_map(oldest) })
                .or_else(|| self.oldest_handshake(full.then_some(shard)))?;
            self.recycle(spare);
        }
        let (seat, socket) = self.idle.pop()?;
        let handle = self.shards[shard].sockets.add(socket);
        self.shards[shard].seats.push(seat);
        self.opening.push_back(seat);
        self.states[usize::from(seat)] = State {
            usage: Use::Opening,
            place: Some(Place { shard, handle }),
            service,
            client,
            since_ms: now_ms,
        };
        Some(seat)
    }

    /// The oldest handshake, of `shard` if one is given.
    fn oldest_handshake(&self, shard: Option<usize>) -> Option<Seat> {
        let mut all = self.opening.iter().copied();
        all.find(|seat| shard.is_none() || self.shard_of(*seat) == shard)
    }

    /// A handshake is over, one way or the other.
    pub(super) fn opened(&mut self, seat: Seat) {
        // Nearly always it is one of the first.
        if let Some(at) = self.opening.iter().position(|other| *other == seat) {
            self.opening.remove(at);
        }
    }

    /// Takes a socket out of its shard, whatever it is doing.
    pub(super) fn recycle(&mut self, seat: Seat) {
        let state = &mut self.states[usize::from(seat)];
        let Some(place) = state.place.take() else { return };
        if state.usage == Use::Opening {
            self.opened(seat);
        }
        self.set_usage(seat, Use::Idle);
        let shard = &mut self.shards[place.shard];
        shard.seats.retain(|other| *other != seat);
        shard.time_wait.retain(|other| *other != seat);
        let Socket::Tcp(mut socket) = shard.sockets.remove(place.handle);
        socket.abort();
        self.idle.push((seat, socket));
    }

    /// The connection of a seat given up is in TIME-WAIT.
    pub(super) fn time_wait(&mut self, seat: Seat) {
        let Some(shard) = self.shard_of(seat) else { return };
        self.set_usage(seat, Use::TimeWait);
        let waiting = &mut self.shards[shard].time_wait;
        waiting.push_back(seat);
        if waiting.len() > SHARD_TIME_WAITS
            && let Some(oldest) = waiting.front().copied()
        {
            self.recycle(oldest);
        }
    }

    /// Asks to be told when something happens to the seat's socket.
    pub(super) fn watch(&mut self, seat: Seat) {
        let Some(place) = self.states[usize::from(seat)].place else { return };
        let socket: &mut tcp::Socket<'_> = self.shards[place.shard].sockets.get_mut(place.handle);
        let waker = &self.wakers[usize::from(seat)];
        socket.register_recv_waker(waker);
        socket.register_send_waker(waker);
    }

    /// Something is to be looked at.
    pub(super) fn wake(&mut self, seat: Seat) {
        let seat = usize::from(seat);
        self.woken.0[seat / 64].fetch_or(1 << (seat % 64), Ordering::Relaxed);
    }

    /// The next seat in which something happened.
    pub(super) fn next_woken(&mut self) -> Option<Seat> {
        for _ in 0..self.woken.0.len() {
            let word = &self.woken.0[self.next];
            let bits = word.load(Ordering::Relaxed);
            if bits != 0 {
                word.store(bits & (bits - 1), Ordering::Relaxed);
                return Some((self.next * 64) as Seat + bits.trailing_zeros() as Seat);
            }
            self.next = (self.next + 1) % self.woken.0.len();
        }
        None
    }

    /// Whether something happened that was not looked at yet.
    pub(super) fn any_woken(&self) -> bool {
        self.woken.0.iter().any(|word| word.load(Ordering::Relaxed) != 0)
    }

    /// Sockets in use.
    pub(super) fn in_use(&self) -> usize {
        self.states.len() - self.idle.len()
    }
}
