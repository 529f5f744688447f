//! The `resp` canonicaliser: Redis 7.0 (RESP2) between one client's byte stream and one replica, such that all
//! gateways whose replicas hold the same data give the client the same bytes.
//!
//! What a server may answer as it likes is brought to one form, and what only one server can know is answered
//! here or refused. `docs/resp.md` is the profile, `commands.rs` the table of commands.

mod answers;
mod arguments;
mod commands;
mod export;
mod framer;
mod gather;
mod out;
mod replies;
mod request;
mod rewrite;
mod scan;
mod tokens;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;

use resh_channel::config::{Order, Service, State};

use crate::canonicaliser::{Canonicaliser, ConnectionWish, Context, End};
use crate::memory::Memory;
use answers::{ABORTED, Answer};
use export::Exporter;
pub use export::{ELEMENTS_BYTES, KEYS_BYTES, SharedExporter};
pub use framer::{REQUEST_BYTES, RespFramer};
use out::Out;
use replies::{NoAnswer, ROOM, Replies, Shape, Stop};
use scan::{Scan, Scanner};
use tokens::Token;

/// Requests of a session whose replies have not been written, at most. The client's next ones wait.
const PENDING_MAX: usize = 256;
/// Commands of a session's transactions that have not been executed, at most.
const QUEUED_MAX: usize = 4096;
/// Room for what a request may be longer than it came.
const SLACK_BYTES: usize = 256;

/// Sizes, in bytes. All gateways of a service must use the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Longest request.
    pub request_bytes: usize,
    /// Most that waits for the client.
    pub reply_bytes: usize,
    /// Longest array that is sorted, its strings added up; it has a sixteenth as many elements, at most.
    pub sort_bytes: usize,
}

impl Profile {
    /// For a service of this order.
    pub fn of(order: Order, memory: Memory) -> Self {
        Self {
            request_bytes: match order {
                Order::Session => memory.buffer_bytes.max(REQUEST_BYTES),
                Order::Total => REQUEST_BYTES,
            },
            reply_bytes: memory.buffer_bytes.max(REQUEST_BYTES + ROOM),
            sort_bytes: 4 * memory.buffer_bytes,
        }
    }
}

/// What is to be written to the client next.
#[derive(Clone, Copy, Debug)]
enum Pending {
    /// This.
    Answer { answer: Answer, clock_ms: u64 },
    /// The replica's next reply.
    Reply { shape: Shape, clock_ms: u64 },
    /// The replica's replies to so many commands of a transaction.
    Exec { count: usize, clock_ms: u64 },
    /// That a transaction of so many commands failed, once the replica has dropped it.
    Aborted { count: usize },
    /// Nothing: a transaction of so many commands is gone.
    Forget { count: usize },
    /// Nothing: the session ends.
    Close,
}

/// Between `MULTI` and `EXEC`.
#[derive(Clone, Copy, Debug, Default)]
struct Transaction {
    /// Commands that the replica was sent.
    count: usize,
    /// One of them was refused.
    failed: bool,
}

/// The connection to the replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    None,
    Wanted,
    Open,
}

/// One client session.
pub struct Resp {
    memory: Memory,
    // The client's stream.
    scanner: Scanner,
    request: Box<[u8]>,
    len: usize,
    fin: bool,
    closing: bool,
    to_client: Out,
    end: Option<End>,
    // What was asked of the replica, and what its connection will then be in.
    pending: VecDeque<Pending>,
    queued: VecDeque<Shape>,
    transaction: Option<Transaction>,
    watching: bool,
    database: i64,
    /// Whether what a replica keeps of a connection must be such that a dump and requests can make it anew.
    exported: bool,
    // The replica's stream.
    link: Link,
    to_server: Out,
    replies: Replies,
    /// Replies of a transaction that are still to come.
    executing: Option<usize>,
    // Writing out the state of the service.
    exporters: Option<SharedExporter>,
    exporter: Option<Box<Exporter>>,
}

impl Resp {
    /// One with buffers for sessions of services of either order. Without an exporter it cannot export.
    pub fn new(memory: Memory, exporters: Option<SharedExporter>) -> Self {
        let profile = Profile::of(Order::Session, memory);
        Self {
            memory,
            scanner: Scanner::new(profile.request_bytes),
            request: vec![0; profile.request_bytes].into_boxed_slice(),
            len: 0,
            fin: false,
            closing: false,
            to_client: Out::new(profile.reply_bytes),
            end: None,
            pending: VecDeque::with_capacity(PENDING_MAX + 2),
            queued: VecDeque::with_capacity(QUEUED_MAX + 1),
            transaction: None,
            watching: false,
            database: 0,
            exported: false,
            link: Link::None,
            to_server: Out::new(2 * (profile.request_bytes + SLACK_BYTES)),
            replies: Replies::new(profile.sort_bytes),
            executing: None,
            exporters,
            exporter: None,
        }
    }

    /// Whether there is room for what the next request may lead to.
    fn has_room(&self) -> bool {
        self.pending.len() < PENDING_MAX
            && self.to_server.room() >= self.request.len() + SLACK_BYTES
    }

    fn has_end(&self) -> bool {
        self.end.is_some()
    }

    /// Ends the session.
    fn finish(&mut self, end: End) {
        self.end = Some(end);
        self.pending.clear();
        self.queued.clear();
        self.to_server.clear();
        self.replies.clear();
        self.executing = None;
        self.stop_exporting();
    }

    /// Whether the replica's connection is in the state of a new one, once all requests are answered.
    fn is_plain(&self) -> bool {
        self.database == 0 && self.transaction.is_none() && !self.watching
    }

    /// Writes what can be written, with more bytes of the replica or without. True if all is written.
    fn run(&mut self, bytes: &mut &[u8]) -> bool {
        if self.link == Link::None && !self.to_server.is_empty() {
            self.link = Link::Wanted;
        }
        while let Some(pending) = self.pending.front() {
            match self.write(*pending, bytes) {
                Ok(Stop::Done) => {
                    self.pending.pop_front();
                }
                Ok(Stop::Starved | Stop::Full) => return false,
                Err(NoAnswer) => self.finish(End::Reset),
            }
        }
        if let Some(exporter) = &mut self.exporter {
            let read = exporter.read(&mut self.replies, bytes, &mut self.to_client);
            exporter.ask(&mut self.to_server);
            match read {
                Ok(Stop::Done) => self.finish(End::Fin),
                Ok(Stop::Starved | Stop::Full) => return false,
                Err(NoAnswer) => self.finish(End::Reset),
            }
        }
        if self.to_client.overflowed() || self.to_server.overflowed() {
            self.finish(End::Reset);
        }
        if self.fin && self.end.is_none() {
            self.finish(End::Fin);
        }
        true
    }

    fn write(&mut self, pending: Pending, bytes: &mut &[u8]) -> Result<Stop, NoAnswer> {
        if self.to_client.room() < ROOM {
            return Ok(Stop::Full);
        }
        match pending {
            Pending::Answer { answer, clock_ms } => answer.write(clock_ms, &mut self.to_client),
            Pending::Reply { shape, clock_ms } => {
                return self.replies.value(shape, clock_ms, bytes, &mut self.to_client);
            }
            Pending::Exec { count, clock_ms } => return self.execute(count, clock_ms, bytes),
            Pending::Aborted { count } => {
                let Some(token) = self.replies.tokens.next(bytes, 1)? else {
                    return Ok(Stop::Starved);
                };
                if token != Token::Status(b"OK") {
                    return Err(NoAnswer);
                }
                ABORTED.write(0, &mut self.to_client);
                self.forget(count);
            }
            Pending::Forget { count } => self.forget(count),
            Pending::Close => self.finish(End::Fin),
        }
        Ok(Stop::Done)
    }

    /// The commands of the oldest transaction will not be executed, or have been.
    fn forget(&mut self, count: usize) {
        self.queued.drain(..count.min(self.queued.len()));
    }

    /// The replies to a transaction: as if each had come alone.
    fn execute(
        &mut self,
        count: usize,
        clock_ms: u64,
        bytes: &mut &[u8],
    ) -> Result<Stop, NoAnswer> {
        if self.executing.is_none() {
            match self.replies.tokens.next(bytes, 1)? {
                None => return Ok(Stop::Starved),
                Some(Token::Array(all)) if all == count => self.to_client.put_array(count),
                Some(token @ (Token::NilArray | Token::Error(_))) => {
                    match token {
                        Token::Error(text) => replies::error(text, &mut self.to_client)?,
                        _ => self.to_client.put(b"*-1\r\n"),
                    }
                    self.forget(count);
                    return Ok(Stop::Done);
                }
                Some(_) => return Err(NoAnswer),
            }
            self.executing = Some(count);
        }
        while let Some(left @ 1..) = self.executing {
            let shape = *self.queued.front().ok_or(NoAnswer)?;
            match self.replies.value(shape, clock_ms, bytes, &mut self.to_client)? {
                Stop::Done => self.queued.pop_front(),
                stop => return Ok(stop),
            };
            self.executing = Some(left - 1);
        }
        self.executing = None;
        Ok(Stop::Done)
    }

    fn server_gone(&mut self) {
        let refused = self.link == Link::Wanted;
        let waits = self.exporter.is_some()
            || self.pending.iter().any(|pending| {
                !matches!(pending, Pending::Answer { .. } | Pending::Forget { .. } | Pending::Close)
            });
        self.link = Link::None;
        if !self.has_end() && (refused || waits || !self.is_plain()) {
            self.finish(End::Reset);
        }
    }
}

impl Canonicaliser for Resp {
    fn serve(&mut self, service: &Service, _replica: usize) {
        self.scanner = Scanner::new(Profile::of(service.order, self.memory).request_bytes);
        self.exported = service.state == State::Export;
    }

    fn client_data(&mut self, bytes: &[u8], context: Context) -> usize {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            if self.closing || self.has_end() {
                taken = bytes.len();
                break;
            }
            if !self.has_room() {
                break;
            }
            let scan = self.scanner.push(rest);
            let (Scan::Done(len) | Scan::Bad(len, _)) = scan else {
                self.keep(rest);
                taken = bytes.len();
                break;
            };
            taken += len;
            match scan {
                Scan::Bad(_, fault) => self.last(Answer::Fault(fault), context.clock_ms),
                // What came in one piece needs no copy.
                _ if self.len == 0 => self.dispatch(&rest[..len], context.clock_ms),
                _ => {
                    self.keep(&rest[..len]);
                    let request = core::mem::take(&mut self.request);
                    self.dispatch(request.get(..self.len).unwrap_or(&[]), context.clock_ms);
                    (self.request, self.len) = (request, 0);
                }
            }
        }
        self.run(&mut &[][..]);
        taken
    }

    fn client_fin(&mut self) {
        self.fin = true;
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
            _ if self.has_end() => ConnectionWish::Close,
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
        if let Some(exporter) = &mut self.exporter {
            exporter.ask(&mut self.to_server);
        }
    }

    fn server_data(&mut self, bytes: &[u8]) -> usize {
        if self.has_end() {
            return bytes.len();
        }
        let mut rest = bytes;
        if self.run(&mut rest) && !rest.is_empty() && !self.has_end() {
            // Nobody has asked for this.
            self.finish(End::Reset);
        }
        if self.has_end() { bytes.len() } else { bytes.len() - rest.len() }
    }

    fn server_fin(&mut self) {
        self.server_gone();
    }

    fn server_reset(&mut self) {
        self.server_gone();
    }

    fn at_rest(&self) -> bool {
        self.is_answered() && !self.has_end() && !self.fin && !self.closing && self.is_plain()
    }

    fn is_answered(&self) -> bool {
        let read = self.scanner.is_between() || self.closing || self.has_end();
        let written = self.pending.is_empty() && self.exporter.is_none();
        read && written && self.to_client.is_empty()
    }

    fn export(&mut self) -> bool {
        if !self.at_rest() {
            return false;
        }
        let Some(mut exporter) = self.exporters.as_ref().and_then(SharedExporter::take) else {
            return false;
        };
        exporter.ask(&mut self.to_server);
        self.exporter = Some(exporter);
        self.closing = true;
        self.run(&mut &[][..]);
        true
    }

    fn reset(&mut self) {
        self.scanner.reset();
        self.len = 0;
        (self.fin, self.closing, self.end) = (false, false, None);
        self.to_client.clear();
        self.pending.clear();
        self.queued.clear();
        (self.transaction, self.watching, self.database) = (None, false, 0);
        self.link = Link::None;
        self.to_server.clear();
        self.replies.clear();
        self.executing = None;
        self.stop_exporting();
    }
}

impl Resp {
    fn stop_exporting(&mut self) {
        if let (Some(exporter), Some(exporters)) = (self.exporter.take(), &self.exporters) {
            exporters.give_back(exporter);
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
