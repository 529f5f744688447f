//! An HTTP client on a smoltcp of its own: fetches pages one after another on one connection, and tells how
//! many came whole and what they hash to.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::net::SocketAddr;
use core::ops::{ControlFlow, Range};

use pd_network::smoltcp_stack::smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use pd_network::smoltcp_stack::smoltcp::phy::Device;
use pd_network::smoltcp_stack::smoltcp::socket::tcp;
use pd_network::smoltcp_stack::smoltcp::time::{Duration, Instant};
use pd_network::smoltcp_stack::smoltcp::wire::{EthernetAddress, IpCidr};
use sha2::{Digest, Sha256};

/// Bytes of each of the socket's buffers.
const BUFFER_BYTES: usize = 64 * 1024;
/// Longest head of a response, in bytes.
const HEAD_BYTES_MAX: usize = 4096;
/// Most fields in it.
const FIELDS_MAX: usize = 32;
/// Time between two tries while the service does not answer, in milliseconds.
const RETRY_MS: u64 = 500;
/// How long an answer may take, in milliseconds.
const PATIENCE_MS: u64 = 10_000;
/// First of the ports it connects from.
const PORTS: Range<u16> = 49_152..65_535;

/// What to fetch, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// The path.
    pub path: &'static str,
    /// How many requests in a row.
    pub requests: u32,
}

/// How a [`Fetch`] went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All of it is done.
    Done {
        /// What was fetched.
        fetch: Fetch,
        /// Answers with status 200 that came whole, and with the same bytes as the first.
        right: u32,
        /// Bytes of the first body.
        bytes: u64,
        /// How long it took, in milliseconds.
        took_ms: u64,
        /// SHA-256 of the first body.
        sha256: [u8; 32],
    },
    /// There is nothing left to fetch.
    Finished,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done { fetch: Fetch { path, requests }, right, bytes, took_ms, sha256 } => {
                write!(f, "GET {path}: {right} of {requests} right in {took_ms} ms, ")?;
                write!(f, "{bytes} bytes, sha256 ")?;
                sha256.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Self::Finished => write!(f, "finished"),
        }
    }
}

/// What came of a response so far.
struct Response {
    head: Vec<u8>,
    /// Status, once the head is whole.
    status: Option<u16>,
    /// Bytes of the body that are still to come.
    left: u64,
    bytes: u64,
    hash: Sha256,
}

impl Response {
    fn new() -> Self {
        let (head, hash) = (Vec::with_capacity(HEAD_BYTES_MAX), Sha256::new());
        Self { head, status: None, left: 0, bytes: 0, hash }
    }

    fn clear(&mut self) {
        self.head.clear();
        (self.status, self.left, self.bytes) = (None, 0, 0);
        self.hash.reset();
    }

    fn is_whole(&self) -> bool {
        self.status.is_some() && self.left == 0
    }

    /// Takes bytes, at most to the end of the response, and returns how many. An error if they cannot be of
    /// a response.
    fn take(&mut self, bytes: &[u8]) -> Result<usize, ()> {
        let mut taken = 0;
        while self.status.is_none() && taken < bytes.len() {
            if self.head.len() == HEAD_BYTES_MAX {
                return Err(());
            }
            self.head.push(bytes[taken]);
            taken += 1;
            if self.head.ends_with(b"\r\n\r\n") {
                let (status, length) = head(&self.head).ok_or(())?;
                (self.status, self.left) = (Some(status), length);
            }
        }
        let rest = &bytes[taken..];
        let body = &rest[..rest.len().min(usize::try_from(self.left).unwrap_or(usize::MAX))];
        self.hash.update(body);
        self.left -= body.len() as u64;
        self.bytes += body.len() as u64;
        Ok(taken + body.len())
    }
}

/// Status and length of the body of a response.
fn head(bytes: &[u8]) -> Option<(u16, u64)> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let whole = response.parse(bytes).ok()?.is_complete();
    let length = response.headers.iter().find(|h| h.name.eq_ignore_ascii_case("content-length"))?;
    let length = core::str::from_utf8(length.value).ok()?.trim().parse().ok()?;
    whole.then_some((response.code?, length))
}

/// What the client is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// To connect, not before then.
    Idle {
        until_ms: u64,
    },
    /// Connects, and then sends a request.
    Asking {
        until_ms: u64,
    },
    /// Waits for the answer.
    Waiting {
        until_ms: u64,
    },
    Finished,
}

/// The client.
pub struct Client<D> {
    device: D,
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    server: SocketAddr,
    port: u16,
    state: State,
    response: Response,
    plan: &'static [Fetch],
    /// Which of the plan, when that began, how many of it were answered, and how many rightly.
    at: usize,
    began_ms: u64,
    answered: u32,
    right: u32,
    first: Option<(u64, [u8; 32])>,
}

impl<D: Device> Client<D> {
    /// A client with the address `own` on `device`, which fetches `plan` from `server`, beginning as soon as
    /// that answers.
    pub fn new(
        mut device: D,
        own: IpCidr,
        mac: [u8; 6],
        server: SocketAddr,
        plan: &'static [Fetch],
    ) -> Self {
        let config = Config::new(EthernetAddress(mac).into());
        let mut interface = Interface::new(config, &mut device, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            // There is room for more than one.
            let _ = addresses.push(own);
        });
        let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER_BYTES]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        Self {
            device,
            interface,
            sockets,
            handle,
            server,
            port: PORTS.start,
            state: State::Idle { until_ms: 0 },
            response: Response::new(),
            plan,
            at: 0,
            began_ms: 0,
            answered: 0,
            right: 0,
            first: None,
        }
    }

    /// When [`poll`](Self::poll) is due even if no frame comes.
    pub fn deadline_ms(&mut self, now_ms: u64) -> Option<u64> {
        let now = Instant::from_millis(now_ms as i64);
        let stack = self.interface.poll_delay(now, &self.sockets);
        let stack_ms = stack.map(|delay: Duration| now_ms + delay.total_millis());
        let own_ms = match self.state {
            State::Idle { until_ms } | State::Asking { until_ms } | State::Waiting { until_ms } => {
                Some(until_ms)
            }
            State::Finished => None,
        };
        [stack_ms, own_ms].into_iter().flatten().min()
    }

    /// Goes on as far as possible. Returns what came to an end; then it is to be called again.
    pub fn poll(&mut self, now_ms: u64) -> Option<Progress> {
        let now = Instant::from_millis(now_ms as i64);
        self.interface.poll(now, &mut self.device, &mut self.sockets);
        let progress = loop {
            if let ControlFlow::Break(progress) = self.step(now_ms) {
                break progress;
            }
        };
        self.interface.poll(now, &mut self.device, &mut self.sockets);
        progress
    }

    /// One step. It breaks where there is nothing to do now, or something to tell.
    fn step(&mut self, now_ms: u64) -> ControlFlow<Option<Progress>> {
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(self.handle);
        let Some(&fetch) = self.plan.get(self.at) else {
            let news = core::mem::replace(&mut self.state, State::Finished) != State::Finished;
            socket.close();
            return ControlFlow::Break(news.then_some(Progress::Finished));
        };
        match self.state {
            State::Idle { until_ms } if until_ms <= now_ms => {
                self.port = if self.port + 1 < PORTS.end { self.port + 1 } else { PORTS.start };
                // Cannot fail: the socket is closed and the addresses are right. If it did, it tries again.
                let _ = socket.connect(self.interface.context(), self.server, self.port);
                self.state = State::Asking { until_ms: now_ms + PATIENCE_MS };
            }
            State::Asking { .. } if socket.may_send() => {
                let mut request = heapless::String::<256>::new();
                // Paths are short, and the buffer is empty: the request before was answered.
                let (path, host) = (fetch.path, self.server);
                let _ = write!(request, "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
                let _ = socket.send_slice(request.as_bytes());
                self.response.clear();
                self.state = State::Waiting { until_ms: now_ms + PATIENCE_MS };
            }
            State::Asking { until_ms } if until_ms <= now_ms || !socket.is_active() => {
                return self.fail(now_ms);
            }
            State::Waiting { .. } if socket.can_recv() => {
                let response = &mut self.response;
                let taken = socket.recv(|bytes| match response.take(bytes) {
                    Ok(taken) => (taken, Ok(())),
                    Err(()) => (bytes.len(), Err(())),
                });
                if !matches!(taken, Ok(Ok(()))) {
                    return self.fail(now_ms);
                }
                if self.response.is_whole() {
                    return self.answer(fetch, now_ms);
                }
            }
            State::Waiting { until_ms } if until_ms <= now_ms || !socket.may_recv() => {
                return self.fail(now_ms);
            }
            _ => return ControlFlow::Break(None),
        }
        ControlFlow::Continue(())
    }

    /// A response came whole.
    fn answer(&mut self, fetch: Fetch, now_ms: u64) -> ControlFlow<Option<Progress>> {
        let (bytes, sha256) = (self.response.bytes, self.response.hash.finalize_reset().into());
        if self.response.status != Some(200) {
            // The service does not serve yet.
            return self.fail(now_ms);
        }
        let (first_bytes, first) = *self.first.get_or_insert((bytes, sha256));
        self.right += u32::from((bytes, sha256) == (first_bytes, first));
        self.state = State::Asking { until_ms: now_ms + PATIENCE_MS };
        self.count(fetch, now_ms)
    }

    /// One more was answered, or not.
    fn count(&mut self, fetch: Fetch, now_ms: u64) -> ControlFlow<Option<Progress>> {
        self.answered += 1;
        if self.answered < fetch.requests {
            return ControlFlow::Continue(());
        }
        let (bytes, sha256) = self.first.take().unwrap_or_default();
        let right = core::mem::take(&mut self.right);
        self.at += 1;
        self.answered = 0;
        let took_ms = now_ms - core::mem::replace(&mut self.began_ms, now_ms);
        ControlFlow::Break(Some(Progress::Done { fetch, right, bytes, took_ms, sha256 }))
    }

    /// No response, or a wrong one: the connection is given up. That counts, but for the very first, which
    /// only tells that the service does not answer yet.
    fn fail(&mut self, now_ms: u64) -> ControlFlow<Option<Progress>> {
        self.sockets.get_mut::<tcp::Socket<'_>>(self.handle).abort();
        self.state = State::Idle { until_ms: now_ms + RETRY_MS };
        match self.plan.get(self.at) {
            Some(&fetch) if self.at > 0 || self.answered > 0 => self.count(fetch, now_ms),
            _ => ControlFlow::Break(None),
        }
    }
}
