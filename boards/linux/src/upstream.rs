//! The client side of a gateway: sockets of the host's kernel.
//!
//! A confined domain can make no socket. So all there will ever be are made in [`Sockets::new`], and
//! used again and again: connecting a TCP socket to the address family `AF_UNSPEC` takes it back to
//! where it was before its first connection (connect(2)). The addresses to connect to lie in one page
//! that is read-only from then on, so that a filter on `connect` can go by the pointer
//! ([`Sockets::connect_targets`]). After the start these system calls are made: `connect`, `recvfrom`,
//! `sendto`, `shutdown`.
//!
//! A connection that was closed gracefully rests for [`LINGER_MS`], in which the kernel delivers what
//! was sent and the peer ends its stream; then, or when no other socket is left, it is cut.
//!
//! A UDP socket is connected, too: what comes from elsewhere never reaches us. Each connect gives it another random
//! port (`ip_local_port_range`, ip(7)), and what is left of the one before is thrown away. It rests, too, so that its
//! port is nobody else's while late answers to it may come.

mod datagram;
mod targets;

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use gateway::SLOTS;
use gateway::queue::Queue;
use gateway::upstream::{Event, Opening, Received, Refused, Sent, Upstream};
use resh_channel::config::{Appliance, SERVICES_MAX};
use resh_channel::memory::{Bytes, WORD_BYTES, Words};
use sel4_microkit::linux;

pub use self::targets::Address;
use self::targets::{Pool, Target, place_targets};
use crate::sockets::check;

/// Sockets beyond one for each session, where closed connections can rest.
const SPARE: usize = 256;
/// How long a closed connection rests at least if there are sockets enough, in milliseconds.
const LINGER_MS: u64 = 1_000;
/// Ends of rest are brought together to multiples of this, in milliseconds.
const LINGER_STEP_MS: u64 = 250;
/// No socket.
const NONE: u16 = u16::MAX;

/// What a socket is used for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Nothing.
    Free,
    /// A session's connection is being made.
    Connecting(u16),
    /// A session's connection stands.
    Open(u16),
    /// A closed connection rests.
    Resting,
}

struct Socket {
    fd: OwnedFd,
    pool: Pool,
    target: Option<Target>,
    state: Use,
    rests_until_ms: u64,
    /// The peer has ended its stream, and there may be bytes before that.
    ended: bool,
    /// Nothing can be read before the next event.
    drained: bool,
}

/// The sockets of one pool that no session has.
struct Spares {
    free: Vec<u16>,
    resting: Queue,
}

/// All sockets of a gateway.
pub struct Sockets {
    /// By service number. `None` if this replica has no part in it.
    targets: Vec<Option<Target>>,
    /// What takes a connection from a socket.
    nowhere: Target,
    sockets: Vec<Socket>,
    /// By [`Pool::index`].
    spares: [Spares; Pool::ALL.len()],
    /// By session index: the socket of its connection.
    of_session: Vec<u16>,
    now_ms: u64,
}

fn make_socket(pool: Pool) -> io::Result<OwnedFd> {
    let family = if pool.is_v6 { libc::AF_INET6 } else { libc::AF_INET };
    let kind = if pool.is_udp { libc::SOCK_DGRAM } else { libc::SOCK_STREAM };
    let kind = kind | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: no pointer is passed.
    let fd = check(unsafe { libc::socket(family, kind, 0) })?;
    // SAFETY: the descriptor is new and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    if pool.is_udp {
        return Ok(socket);
    }
    let on: libc::c_int = 1;
    let len = size_of_val(&on) as libc::socklen_t;
    let (level, name) = (libc::IPPROTO_TCP, libc::TCP_NODELAY);
    // SAFETY: the kernel reads `len` bytes of `on`.
    check(unsafe { libc::setsockopt(fd, level, name, (&raw const on).cast(), len) })?;
    Ok(socket)
}

/// How far a connection is.
enum Progress {
    Open,
    Pending,
    Failed,
}

/// Begins to connect, or looks how far it came: the same call.
fn connect(fd: RawFd, target: Target) -> Progress {
    // SAFETY: `target` is an address of that length in a page that stays.
    let result = unsafe { libc::connect(fd, target.pointer as *const libc::sockaddr, target.len) };
    match check(result) {
        Ok(_) => Progress::Open,
        Err(error) => match error.raw_os_error() {
            Some(libc::EISCONN) => Progress::Open,
            Some(libc::EINPROGRESS | libc::EALREADY | libc::EINTR) => Progress::Pending,
            _ => Progress::Failed,
        },
    }
}

/// Whether the call is to be made again at the next event. Otherwise the connection is gone.
fn would_block() -> bool {
    matches!(
        io::Error::last_os_error().kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

impl Sockets {
    /// Makes the sockets for the replica that this domain, `gateway_<replica>`, serves. The process must
    /// have been started as a domain.
    ///
    /// # Errors
    /// What the kernel says, most likely that so many descriptors are not allowed.
    pub fn new(appliance: &Appliance) -> io::Result<Self> {
        let replica = gateway::domain::replica().map_err(io::Error::other)?;
        let addresses: Vec<Option<Address>> = appliance
            .services
            .iter()
            .map(|service| {
                service.replicas.get(replica).map(|replica| (service.transport, replica.address))
            })
            .collect();
        Self::with_targets(&addresses)
    }

    /// Sockets for connections to these addresses, by service number.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_targets(addresses: &[Option<Address>]) -> io::Result<Self> {
        if addresses.len() > SERVICES_MAX {
            return Err(io::Error::other("more services than there may be"));
        }
        let mut places = vec![None];
        places.extend(addresses.iter().copied());
        let placed = place_targets(&places)?;
        let (nowhere, placed) = (placed[0], &placed[1..]);
        let targets: Vec<_> = addresses
            .iter()
            .zip(placed)
            .map(|(address, target)| address.is_some().then_some(*target))
            .collect();

        let used = Pool::ALL.map(|pool| targets.iter().flatten().any(|target| target.pool == pool));
        let most = used.iter().filter(|used| **used).count() * (SLOTS + SPARE);
        let mut sockets = Vec::with_capacity(most);
        let mut spares = used.map(|used| Spares {
            free: Vec::with_capacity(if used { SLOTS + SPARE } else { 0 }),
            resting: Queue::new(most),
        });
        for (pool, used) in Pool::ALL.into_iter().zip(used) {
            let each = if used { SLOTS + SPARE } else { 0 };
            for _ in 0..each {
                let fd = make_socket(pool).map_err(|error| {
                    let text = format!("a gateway needs {each} sockets (`ulimit -n`): {error}");
                    io::Error::new(error.kind(), text)
                })?;
                let token = sockets.len() as u32;
                if pool.is_udp {
                    // That there is room again, which is after each datagram sent, is of no interest.
                    linux::watch_input(fd.as_raw_fd(), token)?;
                } else {
                    linux::watch(fd.as_raw_fd(), token)?;
                }
                spares[pool.index()].free.push(sockets.len() as u16);
                let state = Use::Free;
                sockets.push(Socket {
                    fd,
                    pool,
                    target: None,
                    state,
                    rests_until_ms: 0,
                    ended: false,
                    drained: false,
                });
            }
        }
        Ok(Self { targets, nowhere, sockets, spares, of_session: vec![NONE; SLOTS], now_ms: 0 })
    }

    /// The pairs of pointer and length with which `connect` will be called.
    pub fn connect_targets(&self) -> Vec<(usize, u32)> {
        let all = self.targets.iter().flatten().chain([&self.nowhere]);
        all.map(|target| (target.pointer, target.len)).collect()
    }

    fn fd(&self, session: usize) -> RawFd {
        let socket = self.of_session.get(session).and_then(|at| self.sockets.get(usize::from(*at)));
        socket.map_or(-1, |socket| socket.fd.as_raw_fd())
    }

    /// Takes a socket's connection from it, by a reset if it still stands.
    fn disconnect(&mut self, at: u16) {
        let socket = &mut self.sockets[usize::from(at)];
        connect(socket.fd.as_raw_fd(), self.nowhere);
        socket.state = Use::Free;
        let spares = &mut self.spares[socket.pool.index()];
        spares.resting.remove(usize::from(at));
        spares.free.push(at);
    }

    /// Reads by `recv`, which takes at most `limit` bytes and flags, unless there is known to be nothing.
    fn receive(
        &mut self,
        session: usize,
        limit: usize,
        recv: impl Fn(RawFd, libc::c_int) -> isize,
    ) -> Received {
        let at = self.of_session.get(session).copied().unwrap_or(NONE);
        let Some(socket) = self.sockets.get_mut(usize::from(at)) else { return Received::Gone };
        if socket.drained {
            return Received::WouldBlock;
        }
        if socket.pool.is_udp {
            return datagram::receive(limit, || recv(socket.fd.as_raw_fd(), libc::MSG_TRUNC));
        }
        match recv(socket.fd.as_raw_fd(), 0) {
            0 => Received::Fin,
            len if len > 0 => {
                socket.drained = (len as usize) < limit && !socket.ended;
                Received::Some(len as usize)
            }
            _ if would_block() => Received::WouldBlock,
            _ => Received::Gone,
        }
    }

    /// A socket without connection.
    fn take(&mut self, pool: Pool) -> Option<u16> {
        let pool = pool.index();
        if self.spares[pool].free.is_empty() {
            let oldest = self.spares[pool].resting.first()?;
            self.disconnect(oldest as u16);
        }
        self.spares[pool].free.pop()
    }
}

impl Upstream for Sockets {
    fn open(&mut self, session: usize, service: usize) -> Result<Opening, Refused> {
        let target = self.targets.get(service).copied().flatten().ok_or(Refused)?;
        if self.of_session.get(session) != Some(&NONE) {
            return Err(Refused);
        }
        let at = self.take(target.pool).ok_or(Refused)?;
        let socket = &mut self.sockets[usize::from(at)];
        (socket.target, socket.ended, socket.drained) = (Some(target), false, false);
        let mut progress = connect(socket.fd.as_raw_fd(), target);
        if let Progress::Pending = progress {
            // On the same host it stands by now, only the first call did not wait for it.
            progress = connect(socket.fd.as_raw_fd(), target);
        }
        if target.pool.is_udp {
            // Nothing was sent yet: what is there is of the session before.
            datagram::empty(socket.fd.as_raw_fd());
        }
        let (state, opening) = match progress {
            Progress::Open => (Use::Open(session as u16), Opening::Open),
            Progress::Pending => (Use::Connecting(session as u16), Opening::Pending),
            Progress::Failed => {
                self.disconnect(at);
                return Err(Refused);
            }
        };
        socket.state = state;
        self.of_session[session] = at;
        Ok(opening)
    }

    fn next_event(&mut self) -> Option<Event> {
        while let Some(ready) = linux::take_ready() {
            let Some(socket) = self.sockets.get_mut(ready.token as usize) else { continue };
            socket.ended |= ready.ended;
            socket.drained &= !ready.readable;
            match (socket.state, socket.target) {
                (Use::Open(session), _) => {
                    return Some(Event::Ready {
                        session: session.into(),
                        readable: ready.readable,
                        writable: ready.writable,
                    });
                }
                // The event may be of the socket's last connection: look.
                (Use::Connecting(session), Some(target)) => {
                    match connect(socket.fd.as_raw_fd(), target) {
                        Progress::Open => {
                            socket.state = Use::Open(session);
                            return Some(Event::Opened(session.into()));
                        }
                        Progress::Pending => {}
                        Progress::Failed => {
                            self.of_session[usize::from(session)] = NONE;
                            self.disconnect(ready.token as u16);
                            return Some(Event::Refused(session.into()));
                        }
                    }
                }
                _ => {}
            }
        }
        None
    }

    fn send(&mut self, session: usize, bytes: Bytes<'_>) -> Sent {
        let (words, start) = bytes.raw();
        // SAFETY: by the invariant of `Bytes`, `start` and the `len` bytes from there lie within
        // `words`. The kernel reads them; that another domain may write them meanwhile concerns only
        // what is sent.
        let len = unsafe {
            let place = words.as_ptr().cast::<u8>().add(start);
            libc::send(self.fd(session), place.cast(), bytes.len(), libc::MSG_NOSIGNAL)
        };
        sent(len)
    }

    fn send_private(&mut self, session: usize, bytes: &[u8]) -> Sent {
        let place = bytes.as_ptr().cast();
        // SAFETY: the kernel reads `bytes`.
        sent(unsafe { libc::send(self.fd(session), place, bytes.len(), libc::MSG_NOSIGNAL) })
    }

    fn recv(&mut self, session: usize, into: &Words, limit_bytes: usize) -> Received {
        let limit = limit_bytes.min(into.len() * WORD_BYTES);
        let place = into.as_ptr().cast_mut().cast();
        self.receive(session, limit, |fd, flags| {
            // SAFETY: `limit` bytes from `place` lie within `into`, which is made of atomics and so may be
            // written through a shared reference; nobody else writes it, it is our ring's free part.
            unsafe { libc::recv(fd, place, limit, flags) }
        })
    }

    fn recv_private(&mut self, session: usize, into: &mut [u8]) -> Received {
        let (place, len) = (into.as_mut_ptr(), into.len());
        self.receive(session, len, |fd, flags| {
            // SAFETY: the kernel writes `into`.
            unsafe { libc::recv(fd, place.cast(), len, flags) }
        })
    }

    fn finish(&mut self, session: usize) {
        let at = self.of_session.get(session).copied().unwrap_or(NONE);
        let Some(socket) = self.sockets.get(usize::from(at)) else { return };
        // Datagrams have no end, and a socket that was shut down would stay so.
        if !socket.pool.is_udp {
            // SAFETY: no pointer is passed. If it fails the connection is gone, and reading will say so.
            unsafe { libc::shutdown(socket.fd.as_raw_fd(), libc::SHUT_WR) };
        }
    }

    fn close(&mut self, session: usize, abort: bool) {
        let Some(entry) = self.of_session.get_mut(session) else { return };
        let at = std::mem::replace(entry, NONE);
        let Some(socket) = self.sockets.get_mut(usize::from(at)) else { return };
        if !socket.pool.is_udp {
            if abort || !matches!(socket.state, Use::Open(_)) {
                self.disconnect(at);
                return;
            }
            // SAFETY: no pointer is passed. If it fails the connection is gone already.
            unsafe { libc::shutdown(socket.fd.as_raw_fd(), libc::SHUT_WR) };
        }
        socket.state = Use::Resting;
        socket.rests_until_ms = (self.now_ms + LINGER_MS).next_multiple_of(LINGER_STEP_MS);
        self.spares[socket.pool.index()].resting.push(usize::from(at));
    }

    fn poll(&mut self, now_ms: u64) -> Option<u64> {
        self.now_ms = now_ms;
        let mut next = None;
        for pool in 0..self.spares.len() {
            while let Some(at) = self.spares[pool].resting.first() {
                let until_ms = self.sockets[at].rests_until_ms;
                if until_ms > now_ms {
                    next = Some(next.map_or(until_ms, |next: u64| next.min(until_ms)));
                    break;
                }
                self.disconnect(at as u16);
            }
        }
        next
    }
}

fn sent(len: isize) -> Sent {
    match len {
        1.. => Sent::Some(len as usize),
        0 => Sent::WouldBlock,
        _ if would_block() => Sent::WouldBlock,
        _ => Sent::Gone,
    }
}
