//! The TCP client side of a gateway: sockets of the host's kernel.
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

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use gateway::SLOTS;
use gateway::queue::Queue;
use gateway::upstream::{Event, Opening, Received, Refused, Sent, Upstream};
use resh_channel::config::{Appliance, SERVICES_MAX};
use resh_channel::memory::{Bytes, WORD_BYTES, Words};
use sel4_microkit::linux;

/// Sockets beyond one for each session, where closed connections can rest.
const SPARE: usize = 256;
/// How long a closed connection rests at least if there are sockets enough, in milliseconds.
const LINGER_MS: u64 = 1_000;
/// Ends of rest are brought together to multiples of this, in milliseconds.
const LINGER_STEP_MS: u64 = 250;
/// No socket.
const NONE: u16 = u16::MAX;

/// An address the kernel finds at a place that does not change.
#[derive(Clone, Copy)]
struct Target {
    /// Address family: index into the pools.
    pool: usize,
    pointer: usize,
    len: libc::socklen_t,
}

/// Room for one address in the page of targets, in bytes.
const TARGET_BYTES: usize = 32;
const PAGE_BYTES: usize = 4096;
const _: () = assert!((SERVICES_MAX + 1) * TARGET_BYTES <= PAGE_BYTES);
const _: () = assert!(size_of::<libc::sockaddr_in6>() <= TARGET_BYTES);

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
    pool: usize,
    target: Option<Target>,
    state: Use,
    rests_until_ms: u64,
    /// The peer has ended its stream, and there may be bytes before that.
    ended: bool,
    /// Nothing can be read before the next event.
    drained: bool,
}

/// The sockets of one address family.
struct Pool {
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
    pools: [Pool; 2],
    /// By session index: the socket of its connection.
    of_session: Vec<u16>,
    now_ms: u64,
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The bytes of the kernel's form of an address.
fn encode(address: Option<SocketAddr>) -> ([u8; TARGET_BYTES], usize) {
    let mut bytes = [0; TARGET_BYTES];
    let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
    let len = match address {
        // `sa_family` alone counts.
        None => {
            put(0, &(libc::AF_UNSPEC as libc::sa_family_t).to_ne_bytes());
            size_of::<libc::sockaddr>()
        }
        // Layouts: ip(7) and ipv6(7).
        Some(SocketAddr::V4(v4)) => {
            put(0, &(libc::AF_INET as libc::sa_family_t).to_ne_bytes());
            put(2, &v4.port().to_be_bytes());
            put(4, &v4.ip().octets());
            size_of::<libc::sockaddr_in>()
        }
        Some(SocketAddr::V6(v6)) => {
            put(0, &(libc::AF_INET6 as libc::sa_family_t).to_ne_bytes());
            put(2, &v6.port().to_be_bytes());
            put(8, &v6.ip().octets());
            put(24, &v6.scope_id().to_ne_bytes());
            size_of::<libc::sockaddr_in6>()
        }
    };
    (bytes, len)
}

/// Writes the addresses to a page of their own and makes it read-only for good.
fn place_targets(addresses: &[Option<SocketAddr>]) -> io::Result<Vec<Target>> {
    // SAFETY: new memory, at a place of the kernel's choice.
    let page = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            PAGE_BYTES,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if page == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let mut targets = Vec::with_capacity(addresses.len());
    for (at, address) in addresses.iter().enumerate() {
        let (bytes, len) = encode(*address);
        // SAFETY: the page is ours alone, and `at` is at most SERVICES_MAX, for which it has room.
        let place = unsafe { page.cast::<u8>().add(at * TARGET_BYTES) };
        // SAFETY: as above.
        unsafe { place.copy_from_nonoverlapping(bytes.as_ptr(), TARGET_BYTES) };
        targets.push(Target {
            pool: usize::from(matches!(address, Some(SocketAddr::V6(_)))),
            pointer: place as usize,
            len: len as libc::socklen_t,
        });
    }
    // SAFETY: the page is ours, and no reference to it exists.
    check(unsafe { libc::mprotect(page, PAGE_BYTES, libc::PROT_READ) })?;
    Ok(targets)
}

fn make_socket(pool: usize) -> io::Result<OwnedFd> {
    let family = [libc::AF_INET, libc::AF_INET6][pool];
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: no pointer is passed.
    let fd = check(unsafe { libc::socket(family, kind, 0) })?;
    // SAFETY: the descriptor is new and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
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
        let addresses: Vec<Option<SocketAddr>> = appliance
            .services
            .iter()
            .map(|service| service.replicas.get(replica).map(|replica| replica.address))
            .collect();
        Self::with_targets(&addresses)
    }

    /// Sockets for connections to these addresses, by service number.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_targets(addresses: &[Option<SocketAddr>]) -> io::Result<Self> {
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

        let each = SLOTS + SPARE;
        let mut sockets = Vec::with_capacity(2 * each);
        let mut pools =
            [0, 1].map(|_| Pool { free: Vec::with_capacity(each), resting: Queue::new(2 * each) });
        for (pool, Pool { free, .. }) in pools.iter_mut().enumerate() {
            if !targets.iter().flatten().any(|target| target.pool == pool) {
                continue;
            }
            for _ in 0..each {
                let fd = make_socket(pool).map_err(|error| {
                    let text = format!("a gateway needs {each} sockets (`ulimit -n`): {error}");
                    io::Error::new(error.kind(), text)
                })?;
                linux::watch(fd.as_raw_fd(), sockets.len() as u32)?;
                free.push(sockets.len() as u16);
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
        Ok(Self { targets, nowhere, sockets, pools, of_session: vec![NONE; SLOTS], now_ms: 0 })
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
        let pool = &mut self.pools[socket.pool];
        pool.resting.remove(usize::from(at));
        pool.free.push(at);
    }

    /// Reads by `recv`, which takes at most `limit` bytes, unless there is known to be nothing.
    fn receive(
        &mut self,
        session: usize,
        limit: usize,
        recv: impl FnOnce(RawFd) -> isize,
    ) -> Received {
        let at = self.of_session.get(session).copied().unwrap_or(NONE);
        let Some(socket) = self.sockets.get_mut(usize::from(at)) else { return Received::Gone };
        if socket.drained {
            return Received::WouldBlock;
        }
        match recv(socket.fd.as_raw_fd()) {
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
    fn take(&mut self, pool: usize) -> Option<u16> {
        if self.pools[pool].free.is_empty() {
            let oldest = self.pools[pool].resting.first()?;
            self.disconnect(oldest as u16);
        }
        self.pools[pool].free.pop()
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
        self.receive(session, limit, |fd| {
            // SAFETY: `limit` bytes from `place` lie within `into`, which is made of atomics and so may be
            // written through a shared reference; nobody else writes it, it is our ring's free part.
            unsafe { libc::recv(fd, place, limit, 0) }
        })
    }

    fn recv_private(&mut self, session: usize, into: &mut [u8]) -> Received {
        self.receive(session, into.len(), |fd| {
            // SAFETY: the kernel writes `into`.
            unsafe { libc::recv(fd, into.as_mut_ptr().cast(), into.len(), 0) }
        })
    }

    fn finish(&mut self, session: usize) {
        // SAFETY: no pointer is passed. If it fails the connection is gone, and reading will say so.
        unsafe { libc::shutdown(self.fd(session), libc::SHUT_WR) };
    }

    fn close(&mut self, session: usize, abort: bool) {
        let Some(entry) = self.of_session.get_mut(session) else { return };
        let at = std::mem::replace(entry, NONE);
        let Some(socket) = self.sockets.get_mut(usize::from(at)) else { return };
        if abort || !matches!(socket.state, Use::Open(_)) {
            self.disconnect(at);
            return;
        }
        // SAFETY: no pointer is passed. If it fails the connection is gone already.
        unsafe { libc::shutdown(socket.fd.as_raw_fd(), libc::SHUT_WR) };
        socket.state = Use::Resting;
        socket.rests_until_ms = (self.now_ms + LINGER_MS).next_multiple_of(LINGER_STEP_MS);
        self.pools[socket.pool].resting.push(usize::from(at));
    }

    fn poll(&mut self, now_ms: u64) -> Option<u64> {
        self.now_ms = now_ms;
        let mut next = None;
        for pool in 0..self.pools.len() {
            while let Some(at) = self.pools[pool].resting.first() {
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
