//! The monitor's connections: non-blocking, bounded in number, memory and time.
//!
//! After [`Server::new`] nothing is allocated, and the only system calls are `accept4`, `recvfrom`,
//! `sendto`, `close` and `epoll_ctl` (the runtime adds `epoll_wait` and the clock).

use std::io;
use std::net::TcpListener;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send};
use sel4_microkit::linux;

use super::http::{self, HEAD_BYTES_MAX, Parsed, Resource, Status};

/// Connections over the Unix socket, for `resh status`. Nobody from outside can take them.
pub const LOCAL_CONNECTIONS: usize = 8;
/// Connections over TCP.
pub const REMOTE_CONNECTIONS: usize = 24;
/// How long a connection may take from its start to its end, in milliseconds.
pub const CONNECTION_MS: u64 = 10_000;
/// Longest response, head included, in bytes.
pub const RESPONSE_BYTES_MAX: usize = 64 << 10;

const LOCAL_LISTENER: u32 = u32::MAX;
const REMOTE_LISTENER: u32 = u32::MAX - 1;

/// What the resources contain.
pub trait Content {
    /// Writes the body of `resource` into `body`, which is empty, without exceeding its capacity, and
    /// returns the status code to send with it.
    fn body(&mut self, resource: Resource, body: &mut Vec<u8>) -> Status;
}

struct Connection {
    socket: OwnedFd,
    opened_ms: u64,
    /// Bytes of the response that were sent.
    sent: usize,
}

#[derive(Default)]
struct Slot {
    connection: Option<Connection>,
    received: Vec<u8>,
    response: Vec<u8>,
}

/// The server.
pub struct Server {
    local: Option<UnixListener>,
    remote: Option<TcpListener>,
    /// The first [`LOCAL_CONNECTIONS`] are for `local`.
    slots: Vec<Slot>,
    body: Vec<u8>,
}

impl Server {
    /// A server for connections that come in over `local` and `remote`. Registers both with the
    /// runtime.
    ///
    /// # Errors
    /// If a listener cannot be made non-blocking or registered.
    pub fn new(local: Option<UnixListener>, remote: Option<TcpListener>) -> io::Result<Self> {
        if let Some(local) = &local {
            local.set_nonblocking(true)?;
            linux::watch_input(local.as_raw_fd(), LOCAL_LISTENER)?;
        }
        if let Some(remote) = &remote {
            remote.set_nonblocking(true)?;
            linux::watch_input(remote.as_raw_fd(), REMOTE_LISTENER)?;
        }
        let slot = || Slot {
            connection: None,
            received: Vec::with_capacity(HEAD_BYTES_MAX),
            response: Vec::with_capacity(RESPONSE_BYTES_MAX),
        };
        let count = LOCAL_CONNECTIONS + if remote.is_some() { REMOTE_CONNECTIONS } else { 0 };
        let slots = (0..count).map(|_| slot()).collect();
        Ok(Self { local, remote, slots, body: Vec::with_capacity(RESPONSE_BYTES_MAX) })
    }

    /// Does all there is to do at `now_ms`, and says when to come again at the latest.
    pub fn poll(&mut self, content: &mut impl Content, now_ms: u64) -> Option<u64> {
        while let Some(ready) = linux::take_ready() {
            self.advance(ready.token as usize, content);
        }
        self.accept_all(content, now_ms);
        let mut next: Option<u64> = None;
        for slot in &mut self.slots {
            let Some(connection) = &slot.connection else { continue };
            let ends_ms = connection.opened_ms + CONNECTION_MS;
            if ends_ms <= now_ms {
                slot.connection = None;
            } else {
                next = Some(next.map_or(ends_ms, |next| next.min(ends_ms)));
            }
        }
        next
    }

    fn accept_all(&mut self, content: &mut impl Content, now_ms: u64) {
        while let Some(socket) = self.local.as_ref().and_then(|local| accept(local.as_fd())) {
            self.admit(0..LOCAL_CONNECTIONS, socket, content, now_ms);
        }
        while let Some(socket) = self.remote.as_ref().and_then(|remote| accept(remote.as_fd())) {
            self.admit(LOCAL_CONNECTIONS..self.slots.len(), socket, content, now_ms);
        }
    }

    /// Gives `socket` a slot of the range: a free one, or that of the oldest connection.
    fn admit(
        &mut self,
        range: std::ops::Range<usize>,
        socket: OwnedFd,
        content: &mut impl Content,
        now_ms: u64,
    ) {
        let age = |&at: &usize| self.slots[at].connection.as_ref().map(|c| c.opened_ms);
        let Some(at) = range.min_by_key(age) else { return };
        let slot = &mut self.slots[at];
        slot.received.clear();
        slot.response.clear();
        slot.connection = None;
        // A slot's index is a small number.
        if linux::watch(socket.as_raw_fd(), at as u32).is_ok() {
            slot.connection = Some(Connection { socket, opened_ms: now_ms, sent: 0 });
            self.advance(at, content);
        }
    }

    fn advance(&mut self, at: usize, content: &mut impl Content) {
        let Self { slots, body, .. } = self;
        if let Some(slot) = slots.get_mut(at)
            && slot.advance(content, body).is_break()
        {
            slot.connection = None;
        }
    }
}

fn accept(listener: BorrowedFd<'_>) -> Option<OwnedFd> {
    loop {
        match accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok(socket) => return Some(socket),
            Err(Errno::INTR | Errno::CONNABORTED) => {}
            Err(_) => return None,
        }
    }
}

impl Slot {
    /// Reads, answers and sends as far as it goes. Breaks when the connection is to be closed.
    fn advance(&mut self, content: &mut impl Content, body: &mut Vec<u8>) -> ControlFlow<()> {
        if self.response.is_empty() {
            let ended = self.receive()?;
            match http::parse(&self.received) {
                Parsed::Incomplete if ended => return ControlFlow::Break(()),
                Parsed::Incomplete => return ControlFlow::Continue(()),
                Parsed::Refused(status) => {
                    let text = status.line().as_bytes();
                    http::respond(&mut self.response, status, "text/plain; charset=utf-8", text);
                }
                Parsed::Get(resource) => {
                    body.clear();
                    let status = content.body(resource, body);
                    http::respond(&mut self.response, status, resource.content_type(), body);
                }
            }
        }
        self.send()
    }

    /// Reads what has come, as far as it belongs to the head. True if the client ended its stream.
    fn receive(&mut self) -> ControlFlow<(), bool> {
        let Some(connection) = &self.connection else { return ControlFlow::Break(()) };
        loop {
            let mut piece = [0; 1024];
            let received = match recv(&connection.socket, &mut piece, RecvFlags::empty()) {
                Ok((_, 0)) => return ControlFlow::Continue(true),
                Ok((_, received)) => received,
                Err(Errno::AGAIN) => return ControlFlow::Continue(false),
                Err(Errno::INTR) => continue,
                Err(_) => return ControlFlow::Break(()),
            };
            let room = HEAD_BYTES_MAX - self.received.len();
            self.received.extend_from_slice(&piece[..received.min(room)]);
            if received >= room {
                return ControlFlow::Continue(false);
            }
        }
    }

    /// Sends what the client takes. Breaks when all is sent.
    fn send(&mut self) -> ControlFlow<()> {
        let Some(connection) = &mut self.connection else { return ControlFlow::Break(()) };
        while connection.sent < self.response.len() {
            let rest = &self.response[connection.sent..];
            match send(&connection.socket, rest, SendFlags::NOSIGNAL) {
                Ok(sent) => connection.sent += sent,
                Err(Errno::AGAIN) => return ControlFlow::Continue(()),
                Err(Errno::INTR) => {}
                Err(_) => return ControlFlow::Break(()),
            }
        }
        ControlFlow::Break(())
    }
}
