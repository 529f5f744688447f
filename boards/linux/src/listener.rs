//! The TCP and UDP of the host's kernel, as the network domain uses it.
//!
//! Listening sockets are made in [`Listener::bind`], before the domain's system calls are confined.
//! After that: `recvmsg` and `sendmsg` on those of UDP (`datagrams.rs`), and for TCP `accept4`, `read`, `sendto`, `shutdown`, `close`, `setsockopt`, `getsockopt`, `epoll_ctl`.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use pd_network::stack::{Accepted, Conn, Datagrams, Envelope, Event, Received, Sent, Stack};
use resh_channel::config::{Appliance, SERVICES_MAX, Transport};
use resh_channel::memory::{Bytes, WORD_BYTES, Words};
use sel4_microkit::linux;

use crate::datagrams::Socket;
use crate::sockets::{check, from_raw, set_option, to_raw};

/// Connections that the kernel completes before we accept them, for each service.
const BACKLOG: libc::c_int = 1024;
/// Tokens of listening sockets: this and the service's index. Below are connection numbers.
const LISTENING: u32 = 1 << 16;
/// Unsent bytes of one connection that the kernel buffers, beyond which it takes no more.
const NOT_SENT_BYTES: libc::c_int = 128 * 1024;
/// Descriptors that the domain needs beside one for each client.
const SPARE_DESCRIPTORS: libc::rlim_t = 64;

/// Why a service cannot be listened for.
#[derive(Debug)]
pub struct BindError {
    /// Its name.
    pub service: String,
    /// Its address.
    pub address: SocketAddr,
    /// What would carry it.
    pub transport: Transport,
    /// What failed.
    pub error: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, address, transport, error } = self;
        write!(f, "service `{service}` cannot listen at {address}: ")?;
        match error.raw_os_error() {
            Some(libc::EADDRINUSE) => {
                let kind = if *transport == Transport::Udp { 'u' } else { 't' };
                write!(f, "another program listens there (`ss -l{kind}np` shows which)")
            }
            Some(libc::EACCES) if address.port() < 1024 => write!(
                f,
                "ports below 1024 need root, or `sysctl net.ipv4.ip_unprivileged_port_start={}`",
                address.port()
            ),
            Some(libc::EADDRNOTAVAIL) => {
                write!(f, "no network interface of this host has that address")
            }
            Some(libc::EAFNOSUPPORT) => {
                write!(f, "this host has no {}", if address.is_ipv6() { "IPv6" } else { "IPv4" })
            }
            _ => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// The socket of a service.
enum Listening {
    Tcp(OwnedFd),
    Udp(Socket),
}

impl AsRawFd for Listening {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Tcp(socket) => socket.as_raw_fd(),
            Self::Udp(socket) => socket.as_raw_fd(),
        }
    }
}

/// The services' listening sockets and the clients' connections.
pub struct Listener {
    listening: Vec<Listening>,
    /// Services with clients that may be waiting, a bit each.
    waiting: u32,
    /// Those over UDP.
    udp: u32,
    /// The service whose turn it is.
    next: usize,
    /// By connection number.
    connections: Vec<Option<OwnedFd>>,
    /// By connection number: the client has ended its stream, and there may be bytes before that.
    ended: Vec<bool>,
}

fn listen(address: SocketAddr, transport: Transport) -> io::Result<Listening> {
    match transport {
        Transport::Tcp => listen_tcp(address).map(Listening::Tcp),
        Transport::Udp => Socket::bind(address).map(Listening::Udp),
    }
}

fn listen_tcp(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET };
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: no pointer is passed.
    let fd = check(unsafe { libc::socket(family, kind, 0) })?;
    // SAFETY: the descriptor is new and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    if address.is_ipv6() {
        // `[::]` answers for the IPv4 addresses too, whatever the host's default is.
        set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0)?;
    }
    // Accepted connections inherit these.
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, NOT_SENT_BYTES)?;
    let (storage, len) = to_raw(address);
    // SAFETY: the kernel reads `len` bytes of `storage`.
    check(unsafe { libc::bind(fd, (&raw const storage).cast(), len) })?;
    // SAFETY: no pointer is passed.
    check(unsafe { libc::listen(fd, BACKLOG) })?;
    Ok(socket)
}

/// Allows this process a descriptor for each of `sessions` clients, as far as the hard limit goes.
fn raise_descriptor_limit(sessions: u16) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes `limit`.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    let needed = libc::rlim_t::from(sessions) + SPARE_DESCRIPTORS;
    if limit.rlim_max < needed {
        return Err(io::Error::other(format!(
            "{sessions} sessions need {needed} file descriptors, and only {} are allowed (`ulimit -Hn`)",
            limit.rlim_max
        )));
    }
    if limit.rlim_cur < needed {
        limit.rlim_cur = needed;
        // SAFETY: the kernel reads `limit`.
        check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })?;
    }
    Ok(())
}

impl Listener {
    /// Listens for every service of `appliance`. The process must have been started as a domain.
    ///
    /// # Errors
    /// The first service that cannot be had, and why.
    pub fn bind(appliance: &Appliance) -> Result<Self, BindError> {
        let mut listening = Vec::with_capacity(SERVICES_MAX);
        let mut udp = 0;
        for (index, service) in appliance.services.iter().enumerate() {
            let socket = raise_descriptor_limit(appliance.limits.sessions)
                .and_then(|()| listen(service.listen, service.transport))
                .and_then(|socket| {
                    linux::watch_input(socket.as_raw_fd(), LISTENING + index as u32)?;
                    Ok(socket)
                })
                .map_err(|error| BindError {
                    service: service.name.as_str().to_owned(),
                    address: service.listen,
                    transport: service.transport,
                    error,
                })?;
            udp |= u32::from(service.transport == Transport::Udp) << index;
            listening.push(socket);
        }
        let mut connections = Vec::new();
        connections.resize_with(usize::from(Conn::MAX) + 1, || None);
        let ended = vec![false; connections.len()];
        Ok(Self { listening, waiting: 0, udp, next: 0, connections, ended })
    }

    /// The descriptors on which datagrams are received and sent.
    pub fn datagram_descriptors(&self) -> Vec<RawFd> {
        let udp = self.listening.iter().filter(|socket| matches!(socket, Listening::Udp(_)));
        udp.map(AsRawFd::as_raw_fd).collect()
    }

    /// The service whose turn it is, of those of `kind` where clients may be waiting.
    fn next_waiting(&mut self, kind: u32) -> Option<usize> {
        let waiting = self.waiting & kind;
        for _ in 0..self.listening.len() {
            let service = self.next % self.listening.len();
            self.next = service + 1;
            if waiting & (1 << service) != 0 {
                return Some(service);
            }
        }
        None
    }

    fn fd(&self, conn: Conn) -> RawFd {
        self.connections[usize::from(conn)].as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// Accepts from the services in turn.
    fn accept_next(&mut self) -> Option<(usize, OwnedFd, SocketAddr)> {
        while let Some(service) = self.next_waiting(!self.udp) {
            // SAFETY: all bytes zero is a value of this C struct of integers.
            let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
            let mut len = size_of_val(&storage) as libc::socklen_t;
            let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
            let listening = self.listening[service].as_raw_fd();
            // SAFETY: the kernel writes at most `len` bytes to `storage`.
            let accepted = check(unsafe {
                libc::accept4(listening, (&raw mut storage).cast(), &mut len, flags)
            });
            match accepted {
                Ok(fd) => {
                    // SAFETY: the descriptor is new and nobody else's.
                    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
                    return Some((service, socket, from_raw(&storage)));
                }
                Err(error) => match error.raw_os_error() {
                    // The client is gone already, or it was its network that failed: the next one.
                    Some(
                        libc::ECONNABORTED
                        | libc::EINTR
                        | libc::EPROTO
                        | libc::ENETDOWN
                        | libc::ENETUNREACH
                        | libc::EHOSTDOWN
                        | libc::EHOSTUNREACH
                        | libc::ENOPROTOOPT
                        | libc::ENONET,
                    ) => {}
                    Some(libc::EAGAIN) => self.waiting &= !(1 << service),
                    // The host is short of memory or descriptors: try again at the next turn.
                    _ => return None,
                },
            }
        }
        None
    }
}

/// Makes `close` send a reset and forget what was not delivered.
fn reset_on_close(socket: &OwnedFd) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: the kernel reads `linger`. A failure leaves an orderly close, which is safe too.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of_val(&linger) as libc::socklen_t,
        )
    };
}

/// Whether the call is to be made again at the next event. Otherwise the connection is gone.
fn would_block() -> bool {
    matches!(
        io::Error::last_os_error().kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

impl Stack for Listener {
    fn poll(&mut self, _: u64) {}

    fn flush(&mut self, _: u64) {}

    fn deadline_ms(&self) -> Option<u64> {
        None
    }

    fn next_event(&mut self) -> Option<Event> {
        while let Some(ready) = linux::take_ready() {
            if let Some(service) = ready.token.checked_sub(LISTENING) {
                self.waiting |= 1 << service;
            } else {
                if let Some(ended) = self.ended.get_mut(ready.token as usize) {
                    *ended |= ready.ended;
                }
                return Some(Event {
                    conn: ready.token as Conn,
                    readable: ready.readable,
                    writable: ready.writable,
                    hung_up: ready.hung_up,
                });
            }
        }
        None
    }

    fn accept(&mut self, conn: Conn) -> Option<Accepted> {
        loop {
            let (service, socket, peer) = self.accept_next()?;
            // Cannot be watched (the kernel is short of memory): the client sees it closed.
            if linux::watch(socket.as_raw_fd(), u32::from(conn)).is_ok() {
                self.connections[usize::from(conn)] = Some(socket);
                self.ended[usize::from(conn)] = false;
                return Some(Accepted { service: service as u8, peer, transport: Transport::Tcp });
            }
        }
    }

    fn refuse(&mut self) -> bool {
        let Some((_, socket, _)) = self.accept_next() else { return false };
        reset_on_close(&socket);
        true
    }

    fn receive(&mut self, conn: Conn, into: &Words, limit: usize) -> Received {
        let limit = limit.min(into.len() * WORD_BYTES);
        let place = into.as_ptr().cast_mut().cast::<libc::c_void>();
        // SAFETY: `limit` bytes from `place` lie within `into`, which is made of atomics and so may be
        // written through a shared reference; nobody else writes it, it is our ring's free part.
        let len = unsafe { libc::read(self.fd(conn), place, limit) };
        match len {
            // An end of the stream that came with these bytes is no new event.
            1.. => {
                let len = len as usize;
                Received::Bytes { len, more: len == limit || self.ended[usize::from(conn)] }
            }
            0 => Received::End,
            _ if would_block() => Received::Nothing,
            _ => Received::Gone,
        }
    }

    fn send(&mut self, conn: Conn, bytes: Bytes<'_>) -> Sent {
        let (words, start) = bytes.raw();
        // SAFETY: by the invariant of `Bytes`, `start` and the `len` bytes from there lie within
        // `words`. The kernel reads them; that another domain may write them meanwhile concerns only
        // what is sent.
        let len = unsafe {
            let place = words.as_ptr().cast::<u8>().add(start);
            libc::send(self.fd(conn), place.cast(), bytes.len(), libc::MSG_NOSIGNAL)
        };
        match len {
            0.. => Sent::Bytes(len as usize),
            _ if would_block() => Sent::Bytes(0),
            _ => Sent::Gone,
        }
    }

    fn finish(&mut self, conn: Conn) {
        // SAFETY: no pointer is passed. If it fails the connection is gone, and an event will say so.
        unsafe { libc::shutdown(self.fd(conn), libc::SHUT_WR) };
    }

    fn close(&mut self, conn: Conn, abort: bool) {
        if let Some(socket) = self.connections[usize::from(conn)].take()
            && abort
        {
            reset_on_close(&socket);
        }
    }

    fn is_gone(&mut self, conn: Conn) -> bool {
        let mut error: libc::c_int = 0;
        let mut len = size_of_val(&error) as libc::socklen_t;
        // SAFETY: the kernel writes at most `len` bytes to `error`.
        let result = unsafe {
            libc::getsockopt(
                self.fd(conn),
                libc::SOL_SOCKET,
                libc::SO_ERROR,
                (&raw mut error).cast(),
                &mut len,
            )
        };
        result < 0 || error != 0
    }

    fn unacknowledged(&mut self, conn: Conn) -> usize {
        // SAFETY: all bytes zero is a value of this C struct of integers.
        let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
        let mut len = size_of_val(&info) as libc::socklen_t;
        // SAFETY: the kernel writes at most `len` bytes to `info`.
        let result = unsafe {
            libc::getsockopt(
                self.fd(conn),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                (&raw mut info).cast(),
                &mut len,
            )
        };
        if result < 0 {
            return 0;
        }
        info.tcpi_notsent_bytes as usize + info.tcpi_unacked as usize * info.tcpi_snd_mss as usize
    }
}

impl Datagrams for Listener {
    fn take(&mut self, into: &mut [u8]) -> Option<(Envelope, usize)> {
        while let Some(service) = self.next_waiting(self.udp) {
            let Listening::Udp(socket) = &self.listening[service] else { continue };
            match socket.receive(service as u8, into) {
                Some(datagram) => return Some(datagram),
                None => self.waiting &= !(1 << service),
            }
        }
        None
    }

    fn put(&mut self, to: &Envelope, bytes: Bytes<'_>) -> bool {
        match self.listening.get(usize::from(to.service)) {
            Some(Listening::Udp(socket)) => socket.send(to, bytes),
            _ => false,
        }
    }
}
