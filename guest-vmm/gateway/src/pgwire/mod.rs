//! The `pgwire` canonicaliser: PostgreSQL's protocol 3.0 between one client's byte stream and one replica, such that
//! all gateways whose replicas hold the same data give the client the same bytes.
//!
//! Rows without an order are sorted, what a server says of itself is left out, and what each server would
//! do in its own way is refused. `docs/pgwire.md` is the profile, `reading.rs` the judge of statements.

mod answers;
mod framer;
mod lexer;
mod messages;
mod moment;
mod prepare;
mod profile;
mod reading;
mod replies;
mod rows;
mod startup;
mod words;

use alloc::boxed::Box;
use alloc::vec;

use crate::canonicaliser::{Canonicaliser, ConnectionWish, Context, End};
use crate::memory::Memory;
use answers::{NoAnswer, Out};
pub use framer::{PgwireFramer, REQUEST_BYTES};
use messages::{Fault, Request, Scan, Scanner};
use prepare::Item;
use profile::Checker;
use replies::{ROOM, Replies, Stop};
use startup::SLACK_BYTES;

/// Longest message of a replica that is no row, in bytes: more than an error about the longest request.
const MESSAGE_BYTES: usize = 2 * REQUEST_BYTES;

/// A request that every server refuses to parse: sent in place of one that is refused here, so that a
/// transaction fails as with any other error.
const NONSENSE: &[u8] = b"refused here\0";

/// The connection to the replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    None,
    Wanted,
    Open,
}

/// One client session.
pub struct Pgwire {
    // The client's stream.
    scanner: Scanner,
    request: Box<[u8]>,
    len: usize,
    checker: Checker,
    closing: bool,
    to_client: Out,
    end: Option<End>,
    // The replica's stream.
    link: Link,
    to_server: Out,
    replies: Replies,
    /// A request is being executed.
    busy: bool,
    nonce: [u8; 16],
}

impl Pgwire {
    /// One with buffers for results of four times what `memory` moves at once, if they must be sorted.
    pub fn new(memory: Memory) -> Self {
        Self {
            scanner: Scanner::new(REQUEST_BYTES),
            request: vec![0; REQUEST_BYTES].into_boxed_slice(),
            len: 0,
            checker: Checker::new(),
            closing: false,
            to_client: Out::new(MESSAGE_BYTES + 2 * ROOM),
            end: None,
            link: Link::None,
            to_server: Out::new(REQUEST_BYTES + SLACK_BYTES),
            replies: Replies::new(MESSAGE_BYTES, 4 * memory.buffer_bytes),
            busy: false,
            nonce: [0; 16],
        }
    }

    /// Ends the session.
    fn finish(&mut self, end: End) {
        self.end = Some(end);
        self.busy = false;
        self.to_server.clear();
        self.replies.clear();
    }

    /// Ends the session with an error.
    fn fail(&mut self, code: &str, text: &str) {
        self.to_client.error("FATAL", code, text);
        self.finish(End::Fin);
    }

    /// Writes what can be written, with more bytes of the replica or without.
    fn run(&mut self, bytes: &mut &[u8]) {
        if self.link == Link::Open && self.end.is_none() {
            match self.replies.run(bytes, &self.nonce, &mut self.to_client) {
                Ok(Stop::Starved | Stop::Full) => {}
                Ok(Stop::Done) if self.busy => self.busy = false,
                // It answers what it was not asked.
                Ok(Stop::Done) => self.finish(End::Reset),
                Ok(Stop::Over) => self.finish(End::Fin),
                Err(NoAnswer) => self.finish(End::Reset),
            }
        }
        if self.to_client.overflowed() || self.to_server.overflowed() {
            self.finish(End::Reset);
        }
        if self.closing && !self.busy && self.end.is_none() {
            self.finish(End::Fin);
        }
    }

    /// A request is complete.
    fn dispatch(&mut self, kind: Request) {
        let request = core::mem::take(&mut self.request);
        let bytes = request.get(..self.len).unwrap_or(&[]);
        match kind {
            Request::Encryption => self.to_client.put(b"N"),
            Request::Terminate => self.closing = true,
            Request::Start => {
                match startup::start(bytes.get(8..).unwrap_or(&[]), &mut self.to_server) {
                    Ok(()) => {
                        self.replies.start();
                        (self.link, self.busy) = (Link::Wanted, true);
                    }
                    Err((code, text)) => self.fail(code, text),
                }
            }
            Request::Query | Request::Extended => self.ask(kind, bytes),
        }
        (self.request, self.len) = (request, 0);
    }

    fn ask(&mut self, kind: Request, bytes: &[u8]) {
        if self.link != Link::Open {
            return self.finish(End::Reset);
        }
        self.replies.ask();
        let Replies { prepared, items, .. } = &mut self.replies;
        let checked = match kind {
            Request::Query => {
                prepared.query(bytes.get(5..).unwrap_or(&[]), &mut self.checker, items)
            }
            _ => prepared.extended(bytes, &mut self.checker, items),
        };
        match checked {
            Ok(()) => self.to_server.put(bytes),
            Err(refusal) => {
                items.clear();
                items.extend([Item::Refused(refusal), Item::Ready]);
                self.to_server.message(b'Q', NONSENSE);
            }
        }
        self.busy = true;
    }

    /// Nothing that the client sends can be understood any more.
    fn last(&mut self, fault: Fault) {
        match fault {
            Fault::Protocol => self.fail("08P01", "invalid frontend message"),
            Fault::Version => self.fail("0A000", "unsupported frontend protocol: use 3.0"),
            Fault::TooLong => self.fail("54000", "refused here: a request that is too long"),
            Fault::Unsupported => {
                self.fail("0A000", "refused here: Flush, FunctionCall and COPY");
            }
            Fault::Cancel => self.finish(End::Fin),
        }
    }

    fn server_gone(&mut self) {
        let needed = self.link != Link::None && self.end.is_none();
        self.link = Link::None;
        if needed {
            self.finish(End::Reset);
        }
    }

    /// Keeps bytes of a request that has not come whole.
    fn keep(&mut self, bytes: &[u8]) {
        if let Some(room) = self.request.get_mut(self.len..self.len + bytes.len()) {
            room.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }
}

impl Canonicaliser for Pgwire {
    fn client_data(&mut self, bytes: &[u8], context: Context) -> usize {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            if self.closing || self.end.is_some() {
                return bytes.len();
            }
            // One request after another.
            if self.busy || !self.to_server.is_empty() || self.to_client.room() < ROOM {
                return taken;
            }
            self.nonce = context.nonce;
            match self.scanner.push(rest, &mut ()) {
                Scan::More => {
                    self.keep(rest);
                    return bytes.len();
                }
                Scan::Done(len, request) => {
                    self.keep(&rest[..len]);
                    taken += len;
                    self.dispatch(request);
                }
                Scan::Bad(len, fault) => {
                    taken += len;
                    self.last(fault);
                }
            }
            self.run(&mut &[][..]);
        }
        taken
    }

    fn client_fin(&mut self) {
        self.closing = true;
        self.run(&mut &[][..]);
    }

    fn to_client(&self) -> &[u8] {
        self.to_client.front()
    }

    fn sent_to_client(&mut self, len: usize) {
        self.to_client.consume(len);
        self.run(&mut &[][..]);
    }

    fn end(&self) -> Option<End> {
        self.end.filter(|_| self.to_client.is_empty())
    }

    fn connection(&self) -> ConnectionWish {
        match self.link {
            Link::None => ConnectionWish::None,
            _ if self.end.is_some() => ConnectionWish::Close,
            Link::Wanted | Link::Open => ConnectionWish::Open,
        }
    }

    fn server_opened(&mut self) {
        self.link = Link::Open;
    }

    fn to_server(&self) -> &[u8] {
        if self.link == Link::Open { self.to_server.front() } else { &[] }
    }

    fn sent_to_server(&mut self, len: usize) {
        self.to_server.consume(len);
    }

    fn server_data(&mut self, bytes: &[u8]) -> usize {
        if self.end.is_some() {
            return bytes.len();
        }
        let mut rest = bytes;
        self.run(&mut rest);
        if self.end.is_some() {
            return bytes.len();
        }
        bytes.len() - rest.len()
    }

    fn server_fin(&mut self) {
        self.server_gone();
    }

    fn server_reset(&mut self) {
        self.server_gone();
    }

    fn at_rest(&self) -> bool {
        self.is_answered()
            && self.link == Link::None
            && self.end.is_none()
            && !self.scanner.has_started()
    }

    fn is_answered(&self) -> bool {
        let read = self.scanner.is_between() || self.closing || self.end.is_some();
        read && !self.busy && self.to_client.is_empty()
    }

    fn reset(&mut self) {
        self.scanner.reset();
        (self.len, self.closing, self.end) = (0, false, None);
        self.to_client.clear();
        self.link = Link::None;
        self.to_server.clear();
        self.replies.clear();
        self.busy = false;
    }
}
