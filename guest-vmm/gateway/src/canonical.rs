//! A session whose bytes pass through a canonicaliser: both streams are brought to one form on their way, and
//! the canonicaliser says when it wants a connection to the replica.

use resh_channel::memory::{Bytes, copy_in};
use resh_channel::message::Reason;

use crate::canonicaliser::{self, Canonicaliser, ConnectionWish};
use crate::executor::Executor;
use crate::replies::{Replies, Stop};
use crate::session::{End, Link, Session, Turn};
use crate::upstream::{Received, Sent, Upstream};

/// Request bytes have come: as much as the canonicaliser takes goes on, the rest waits.
pub(crate) fn data(session: &mut Session, bytes: Bytes<'_>, clock_s: u32, scratch: &mut [u8]) {
    let context = session.context(clock_s);
    let result = match &mut session.canonicaliser {
        Some(canonicaliser) if session.upload.is_empty() => {
            let len = bytes.copy_to(scratch);
            let taken = canonicaliser.client_data(&scratch[..len], context);
            session.consumed += taken as u64;
            session.upload.push_private(&scratch[taken..len], clock_s)
        }
        _ => session.upload.push(bytes, clock_s),
    };
    if result.is_err() {
        session.end_with(End::Reset(Reason::Limit));
    }
}

/// The connection could not be made.
pub(crate) fn refused(session: &mut Session) {
    if let Some(canonicaliser) = &mut session.canonicaliser {
        canonicaliser.server_reset();
    }
}

/// The connection stands.
pub(crate) fn opened(session: &mut Session) {
    if let Some(canonicaliser) = &mut session.canonicaliser {
        canonicaliser.server_opened();
    }
}

/// What a session needs to get on.
struct Turning<'t, 'm, U> {
    session: &'t mut Session,
    canonicaliser: &'t mut dyn Canonicaliser,
    /// What executes the session's requests, if they are in total order.
    executor: Option<&'t mut Executor>,
    upstream: &'t mut U,
    replies: &'t mut Replies<'m>,
    /// Something happened, so more may.
    moved: bool,
}

/// Does what can be done now, in each direction about as much as fits into `scratch`.
pub(crate) fn pump<U: Upstream>(
    session: &mut Session,
    executor: Option<&mut Executor>,
    upstream: &mut U,
    replies: &mut Replies<'_>,
    scratch: &mut [u8],
) -> Result<Turn, Stop> {
    let Some(mut canonicaliser) = session.canonicaliser.take() else { return Ok(Turn::Over) };
    let mut turning = Turning {
        session: &mut *session,
        canonicaliser: &mut *canonicaliser,
        executor,
        upstream,
        replies,
        moved: false,
    };
    let result = turning.turn(scratch);
    session.canonicaliser = Some(canonicaliser);
    result
}

impl<U: Upstream> Turning<'_, '_, U> {
    fn turn(&mut self, scratch: &mut [u8]) -> Result<Turn, Stop> {
        self.feed();
        self.connect();
        self.send();
        self.receive(scratch);
        self.reply()?;
        self.connect();
        self.end();
        if let Some(executor) = &mut self.executor {
            executor.settle(self.session.slot, self.canonicaliser, self.replies)?;
        } else {
            self.rest()?;
        }
        if self.session.voice {
            self.session.tell_taken(self.replies)?;
            self.session.tell_end(self.replies)?;
        }
        Ok(match self.session.end {
            Some(End::Reset(_)) => Turn::Over,
            Some(End::Fin) if self.session.finished => Turn::Over,
            _ if self.moved => Turn::Again,
            _ => Turn::Idle,
        })
    }

    /// How the canonical stream ends, if it does.
    fn end(&mut self) {
        let slot = self.session.slot;
        let failed = self.executor.as_ref().is_some_and(|executor| executor.has_failed(slot));
        let end = match self.canonicaliser.end() {
            _ if failed => End::Reset(Reason::Protocol),
            Some(canonicaliser::End::Fin) => End::Fin,
            Some(canonicaliser::End::Reset) => End::Reset(Reason::Protocol),
            None => return,
        };
        if self.session.speaks() {
            self.session.end_with(end);
        }
    }

    /// Between requests another replica may begin to take part.
    fn rest(&mut self) -> Result<(), Stop> {
        let session = &mut *self.session;
        let goes_on = session.end.is_none() && !session.client_fin;
        let done = session.upload.is_empty() && self.canonicaliser.to_client().is_empty();
        if goes_on && done && self.canonicaliser.at_rest() {
            session.tell_rest(self.replies)?;
        }
        Ok(())
    }

    fn index(&self) -> usize {
        self.session.slot
    }

    /// What waits of the client's stream, and its end, or of the request that is to be executed.
    fn feed(&mut self) {
        if let Some(executor) = &mut self.executor {
            self.moved |= executor.feed(self.session.slot, self.canonicaliser);
            return;
        }
        let session = &mut *self.session;
        while let Some((piece, clock_s)) = session.upload.front() {
            let context = session.context(clock_s);
            let taken = self.canonicaliser.client_data(piece, context);
            if taken == 0 {
                return;
            }
            session.upload.consume(taken);
            session.consume(taken);
            self.moved = true;
        }
        if session.client_fin && !session.finished {
            self.canonicaliser.client_fin();
            session.finished = true;
            self.moved = true;
        }
    }

    /// Sees to the connection that is wished for.
    fn connect(&mut self) {
        match (self.canonicaliser.connection(), self.session.link) {
            (ConnectionWish::Open, Link::None) => {
                self.session.link = Link::Wanted;
                self.moved = true;
            }
            (ConnectionWish::Close, _) => {
                self.close(false);
                self.canonicaliser.server_reset();
            }
            _ => {}
        }
    }

    fn close(&mut self, abort: bool) {
        if matches!(self.session.link, Link::Connecting | Link::Open) {
            self.upstream.close(self.index(), abort);
        }
        self.session.link = Link::None;
        self.session.unlink();
        self.session.download.clear();
        self.moved = true;
    }

    fn send(&mut self) {
        while self.session.link == Link::Open && self.session.writable && !self.session.deaf {
            let bytes = self.canonicaliser.to_server();
            if bytes.is_empty() {
                return;
            }
            match self.upstream.send_private(self.index(), bytes) {
                Sent::Some(n) => {
                    self.canonicaliser.sent_to_server(n);
                    self.moved = true;
                }
                Sent::WouldBlock => self.session.writable = false,
                // What the replica answered before still counts.
                Sent::Gone => (self.session.deaf, self.session.readable) = (true, true),
            }
        }
    }

    fn receive(&mut self, scratch: &mut [u8]) {
        if self.session.link != Link::Open {
            return;
        }
        let waiting = &mut self.session.download;
        if !waiting.is_empty() {
            let taken = self.canonicaliser.server_data(waiting.front());
            waiting.consume(taken);
            self.moved |= taken > 0;
        }
        if !waiting.is_empty() || !self.session.readable {
            return;
        }
        match self.upstream.recv_private(self.index(), scratch) {
            Received::Some(n) => {
                let taken = self.canonicaliser.server_data(&scratch[..n]);
                // It was empty, and is as large as the scratch memory.
                let _ = self.session.download.push_private(&scratch[taken..n]);
                self.moved = true;
            }
            Received::WouldBlock => self.session.readable = false,
            // A reset that a send has met looks like a stream's end to the receiver.
            Received::Fin if !self.session.deaf => {
                self.close(false);
                self.canonicaliser.server_fin();
            }
            Received::Fin | Received::Gone => {
                self.close(true);
                self.canonicaliser.server_reset();
            }
        }
    }

    /// The canonical stream, as far as credit and room go. If nobody wants to hear it, nowhere.
    fn reply(&mut self) -> Result<(), Stop> {
        loop {
            let bytes = self.canonicaliser.to_client();
            if !self.session.speaks() && !bytes.is_empty() {
                let len = bytes.len();
                self.canonicaliser.sent_to_client(len);
                self.moved = true;
                continue;
            }
            let len = self.session.credit_left().min(bytes.len() as u64);
            if len == 0 {
                return Ok(());
            }
            let room = self.replies.reserve(len)?;
            let len = copy_in(room, &bytes[..len as usize]);
            self.replies.commit(self.session.id, self.session.sent, len);
            self.session.sent += len as u64;
            self.canonicaliser.sent_to_client(len);
            self.moved = true;
        }
    }
}
