//! The `http1` canonicaliser: HTTP/1.0 and 1.1 (RFC 9110, RFC 9112) between one client's byte
//! stream and one replica, such that all gateways whose replicas answer correctly give the client
//! the same bytes.
//!
//! It is a strict intermediary. What is ambiguous in a request is refused before the replica sees
//! it; the rest is written anew in one form. So is every response. `docs/http1.md` is the profile.
//!
//! [`Http1`] serves one client session. It does no I/O, knows no time but the one that comes with the
//! client's bytes, and allocates in [`Http1::new`] only. Its output to the client depends on the client's
//! bytes and their clocks and on the bytes of the replica, and not on when or in what pieces
//! either arrive.

mod buffer;
mod canonicaliser;
mod chunked;
mod client;
mod clock;
mod condition;
mod cookie;
mod date;
mod error;
mod fields;
mod framer;
mod host;
mod media_type;
mod method;
mod reply;
mod request;
mod response;
mod server;
mod target;
mod tokens;
mod upload;
mod upstream;

use alloc::boxed::Box;
use alloc::vec;

use crate::canonicaliser::{ConnectionWish, End};
use buffer::Buffer;
use client::Phase;
use clock::Clocks;
pub use framer::Framer;
pub use method::{Method, MethodSet};
use reply::{CHUNK_BYTES, Reply};
use request::{Exchange, Scan};
use response::Plan;
pub use tokens::{SharedTokens, TOKENS_MAX, Tokens, VALUE_BYTES_MAX};
use upstream::Upstream;

/// Room for whatever the gateway says by itself, and for what a canonical head may be longer
/// than the original.
const SLACK_BYTES: usize = 1024;

/// What a service accepts, and the sizes of the buffers. All gateways of a service must use
/// the same, but for `replica_port`.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// Methods that are forwarded. `OPTIONS` is answered by the gateway if it is not among them.
    pub methods: MethodSet,
    /// Longest request head as received; longer ones draw 431.
    pub max_head_bytes: usize,
    /// Longest request head as forwarded; longer ones draw 431. Lighttpd takes 8192.
    pub max_forwarded_head_bytes: usize,
    /// Most fields of a request (at most 128); more draw 431.
    pub max_fields: usize,
    /// Longest target, canonical; longer ones draw 414. Apache takes request lines of 8190.
    pub max_target_bytes: usize,
    /// Longest request body; longer ones draw 413, or a reset if chunked.
    pub max_body_bytes: u64,
    /// Longest response head of a replica; a longer one costs the replica its voice.
    pub max_reply_head_bytes: usize,
    /// Bodies up to this length are collected: request bodies before they are forwarded, response
    /// bodies whose length the replica did not state. A multiple of 16 KiB.
    pub aggregate_bytes: usize,
    /// Size of the buffer in each direction through which long bodies pass.
    pub buffer_bytes: usize,
    /// Longest path; longer ones draw 414. Linux has file names of up to 4096 bytes, with those of the
    /// directories above.
    pub max_path_bytes: usize,
    /// Longest segment of a path; longer ones draw 414. 255 is what file systems take.
    pub max_segment_bytes: usize,
    /// Escaped control characters, and bytes that no UTF-8 text has, may stand in a query.
    /// Lighttpd, for one, refuses them.
    pub lenient_query: bool,
    /// The replica's port, which it may put into redirects; 0 if unknown.
    pub replica_port: u16,
}

impl Profile {
    /// What `Default` gives.
    pub const DEFAULT: Profile = Profile {
        methods: MethodSet::DEFAULT,
        max_head_bytes: 16 * 1024,
        max_forwarded_head_bytes: 8000,
        max_fields: 64,
        max_target_bytes: 7 * 1024,
        max_body_bytes: 1 << 30,
        max_reply_head_bytes: 16 * 1024,
        aggregate_bytes: 64 * 1024,
        buffer_bytes: 64 * 1024,
        max_path_bytes: 3 * 1024,
        max_segment_bytes: 255,
        lenient_query: false,
        replica_port: 0,
    };
}

impl Default for Profile {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// One client session. The caller moves bytes in and out as there is room; any call may change what
/// all the others return.
pub struct Http1 {
    profile: Profile,
    // The client's stream.
    input: Buffer,
    received: u64,
    clocks: Clocks,
    fin: bool,
    scan: Scan,
    phase: Phase,
    scratch: Box<[u8]>,
    to_client: Buffer,
    end: Option<End>,
    // The request that is being answered.
    exchange: Option<Exchange>,
    replied: bool,
    streamed: bool,
    /// The nonce that came with the client's last bytes.
    nonce: [u8; 16],
    /// Where the client's stream began for us. `None`: requests have nonces of their own.
    begins_at: Option<u64>,
    /// Values that stand for those of the replica.
    tokens: Option<SharedTokens>,
    // The replica's stream.
    to_server: Buffer,
    sent: usize,
    upstream: Upstream,
    reply: Reply,
    plan: Option<Plan>,
    head: Buffer,
    gather: Buffer,
    event_scan: usize,
}

impl Http1 {
    /// Allocates the buffers of a session, about
    /// `max_head_bytes + max_reply_head_bytes + 2 * buffer_bytes + aggregate_bytes`.
    pub fn new(profile: Profile) -> Self {
        let reply_room = profile.max_reply_head_bytes + CHUNK_BYTES + SLACK_BYTES;
        let held = profile.max_forwarded_head_bytes + profile.aggregate_bytes;
        let request_room = held + upload::FRAMING_BYTES + SLACK_BYTES;
        Self {
            profile,
            input: Buffer::new(profile.max_head_bytes + SLACK_BYTES),
            received: 0,
            clocks: Clocks::new(),
            fin: false,
            scan: Scan::default(),
            phase: Phase::Head,
            scratch: vec![0; profile.max_target_bytes].into_boxed_slice(),
            to_client: Buffer::new(profile.buffer_bytes.max(reply_room)),
            end: None,
            exchange: None,
            replied: false,
            streamed: false,
            nonce: [0; 16],
            begins_at: Some(0),
            tokens: None,
            to_server: Buffer::new(profile.buffer_bytes.max(request_room)),
            sent: 0,
            upstream: Upstream::default(),
            reply: Reply::Idle,
            plan: None,
            head: Buffer::new(profile.max_reply_head_bytes),
            gather: Buffer::new(profile.aggregate_bytes.max(CHUNK_BYTES)),
            event_scan: 0,
        }
    }

    /// From the next session on, goes by `profile`, which needs no larger buffers than the one it was made
    /// with. To be called between sessions.
    pub fn serve(&mut self, profile: Profile) {
        self.profile = profile;
    }

    /// Makes ready for a new session. The connection of the last one is the caller's to close.
    pub fn reset(&mut self) {
        for buffer in [
            &mut self.input,
            &mut self.to_client,
            &mut self.to_server,
            &mut self.head,
            &mut self.gather,
        ] {
            buffer.clear();
        }
        self.received = 0;
        self.clocks = Clocks::new();
        self.fin = false;
        self.scan = Scan::default();
        self.phase = Phase::Head;
        self.end = None;
        self.exchange = None;
        self.replied = false;
        self.streamed = false;
        self.nonce = [0; 16];
        self.begins_at = Some(0);
        self.tokens = None;
        self.sent = 0;
        self.upstream = Upstream::default();
        self.reply = Reply::Idle;
        self.plan = None;
        self.event_scan = 0;
    }

    /// Bytes of the client, from a record with this request clock (seconds since 1970). Returns how many
    /// were taken; the rest is to be offered again, with the same clock, after any other call that made
    /// room.
    pub fn client_data(&mut self, bytes: &[u8], clock_s: u32) -> usize {
        self.take_client(bytes, clock_s)
    }

    /// The client sends no more; all its bytes were taken.
    pub fn client_fin(&mut self) {
        self.fin = true;
        self.run();
    }

    /// The connection that was wished for is up.
    pub fn server_opened(&mut self) {
        self.upstream.opened();
        self.run();
    }

    /// Bytes of the replica. Returns how many were taken; the rest is to be offered again after
    /// [`sent_to_client`](Self::sent_to_client).
    pub fn server_data(&mut self, bytes: &[u8]) -> usize {
        self.take_server(bytes)
    }

    /// The replica has closed the connection in order, and all its bytes were taken. The connection is
    /// gone both ways: the caller closes its own side too.
    pub fn server_fin(&mut self) {
        self.server_gone(true);
    }

    /// The connection is gone: reset by the replica, refused, or closed as wished.
    pub fn server_reset(&mut self) {
        self.server_gone(false);
    }

    /// What connection is wanted now.
    pub fn connection(&self) -> ConnectionWish {
        self.upstream.wish()
    }

    /// Bytes that wait to be sent to the replica. None while there is no connection.
    pub fn to_server(&self) -> &[u8] {
        if self.upstream.serves() {
            self.to_server.data().get(self.sent..).unwrap_or(&[])
        } else {
            &[]
        }
    }

    /// The first `n` bytes of [`to_server`](Self::to_server) were sent.
    pub fn sent_to_server(&mut self, n: usize) {
        if self.replayable() {
            self.sent = (self.sent + n).min(self.to_server.len());
        } else {
            self.to_server.consume(n);
        }
        self.run();
    }

    /// Canonical bytes that wait to be sent to the client.
    pub fn to_client(&self) -> &[u8] {
        self.to_client.data()
    }

    /// The first `n` bytes of [`to_client`](Self::to_client) were sent.
    pub fn sent_to_client(&mut self, n: usize) {
        self.to_client.consume(n);
        self.run();
    }

    /// How the canonical stream ends, once all of it was sent. What the client still sends is
    /// taken and ignored.
    pub fn end(&self) -> Option<End> {
        self.end.filter(|_| self.to_client.is_empty())
    }

    /// Goes on until nothing moves without more bytes or more room.
    fn run(&mut self) {
        while self.step_client() || self.step_upstream() || self.step_reply() || self.settle() {}
    }

    /// A request that was read and answered in full makes place for the next.
    fn settle(&mut self) -> bool {
        if !self.replied || !matches!(self.phase, Phase::Waiting) {
            return false;
        }
        let keep_alive = self.exchange.is_some_and(|exchange| exchange.keep_alive);
        self.exchange = None;
        self.replied = false;
        if keep_alive {
            self.phase = Phase::Head;
        } else {
            self.finish(End::Fin);
        }
        true
    }

    /// Ends the session: nothing is added to the canonical stream.
    fn finish(&mut self, end: End) {
        self.end = Some(end);
        self.phase = Phase::Done;
        self.reply = Reply::Idle;
        self.exchange = None;
        self.replied = false;
        self.input.clear();
        self.to_server.clear();
        self.sent = 0;
        self.upstream.close();
    }
}
