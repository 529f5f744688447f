//! The replica's side: connections, and the bytes of one response after the other.

use super::chunked::{Decoder, Extras};
use super::client::Phase;
use super::reply::{Reply, Sink};
use super::response::{self, Action, Framing};
use super::upload::Mode;
use super::upstream::Link;
use super::{End, Http1};

/// Most bytes of an unwanted body that are read to keep a connection.
const MAX_DROP_BYTES: u64 = 256 * 1024;

/// What is left of a body.
#[derive(Clone, Copy)]
pub(super) enum Source {
    Length(u64),
    Chunked(Decoder),
    Close,
}

impl Source {
    /// `None`: there is no body.
    pub(super) fn new(framing: Framing) -> Option<Source> {
        match framing {
            Framing::None | Framing::Length(0) => None,
            Framing::Length(length) => Some(Source::Length(length)),
            Framing::Chunked => Some(Source::Chunked(Decoder::new(Extras::Dropped))),
            Framing::Close => Some(Source::Close),
        }
    }
}

impl Http1 {
    /// Whether the request can be sent again: it waits in full, and may be done twice.
    pub(super) fn replayable(&self) -> bool {
        let idempotent = self.exchange.is_some_and(|exchange| exchange.method.is_idempotent());
        idempotent && !self.streamed
    }

    /// Gives a request that may go out a connection.
    pub(super) fn step_upstream(&mut self) -> bool {
        if self.exchange.is_none() || self.replied || self.upstream.bound {
            return false;
        }
        match &self.phase {
            Phase::Waiting => {}
            Phase::Body(upload) if upload.mode() == Mode::Stream => self.streamed = true,
            _ => return false,
        }
        match self.upstream.link {
            Link::None => self.upstream.link = Link::Opening,
            // The replica may just be closing a connection that it has served before. What cannot
            // be sent twice needs a fresh one.
            Link::Open if self.upstream.used && !self.replayable() => self.upstream.close(),
            Link::Open => {
                self.upstream.bind();
                self.sent = 0;
                self.head.clear();
                self.reply = Reply::Head;
            }
            Link::Opening | Link::Closing => return false,
        }
        true
    }

    /// The connection is gone, in order or not.
    pub(super) fn server_gone(&mut self, in_order: bool) {
        let upstream = &mut self.upstream;
        let link = core::mem::replace(&mut upstream.link, Link::None);
        match (link, self.reply) {
            (Link::Opening, _) => self.finish(End::Reset),
            (Link::Open, Reply::Head) => {
                if upstream.used && !upstream.heard && self.replayable() {
                    // It was closed for idleness before the request came: the next is fresh.
                    self.upstream.bound = false;
                    self.reply = Reply::Idle;
                } else {
                    self.finish(End::Reset);
                }
            }
            (Link::Open, _) if upstream.bound => upstream.gone = Some(in_order),
            _ => {}
        }
        self.run();
    }

    pub(super) fn take_server(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        loop {
            self.run();
            let rest = &bytes[taken..];
            let n = if rest.is_empty() { 0 } else { self.take_reply(rest) };
            if n == 0 {
                return taken;
            }
            taken += n;
        }
    }

    fn take_reply(&mut self, bytes: &[u8]) -> usize {
        if !self.upstream.serves() {
            // Nobody asked: the connection is of no more use.
            self.upstream.close();
            return bytes.len();
        }
        self.upstream.heard = true;
        match self.reply {
            Reply::Idle | Reply::Ready => 0,
            Reply::Head => self.take_head(bytes),
            Reply::Body(source, sink) => self.take_body(source, sink, bytes),
            Reply::Flush(_) => {
                // More than the response: it stands, the connection does not.
                if let Some(plan) = &mut self.plan {
                    plan.reusable = false;
                }
                bytes.len()
            }
        }
    }

    fn take_head(&mut self, bytes: &[u8]) -> usize {
        let (old, n) = (self.head.len(), self.head.fill(bytes));
        let Some(len) = head_end(self.head.data(), old) else {
            if self.head.room() == 0 {
                self.finish(End::Reset);
            }
            return n;
        };
        self.head.truncate(len);
        match self
            .exchange
            .map(|exchange| response::plan(self.head.data(), &exchange, &self.profile))
        {
            Some(Ok(plan)) if plan.action == Action::Interim => self.head.clear(),
            Some(Ok(plan)) if plan.stale && self.upstream.used && self.replayable() => {
                self.reply = Reply::Idle;
                self.upstream.close();
            }
            Some(Ok(plan)) => {
                self.plan = Some(plan);
                self.reply = Reply::Ready;
            }
            _ => self.finish(End::Reset),
        }
        len - old
    }

    /// Bytes of a body: framing off, data to the sink.
    fn take_body(&mut self, mut source: Source, mut sink: Sink, bytes: &[u8]) -> usize {
        let (mut at, mut done) = (0, false);
        while at < bytes.len() && !done {
            let rest = &bytes[at..];
            let left = match &mut source {
                Source::Chunked(decoder) if decoder.data_left() == 0 => {
                    let Ok(n) = decoder.syntax(rest) else {
                        self.break_body(sink);
                        return bytes.len();
                    };
                    at += n;
                    done = decoder.done();
                    continue;
                }
                Source::Chunked(decoder) => decoder.data_left(),
                Source::Length(left) => *left,
                Source::Close => u64::MAX,
            };
            let n = self.put_body(&mut sink, &rest[..left.min(rest.len() as u64) as usize]);
            if n == 0 {
                break;
            }
            at += n;
            match &mut source {
                Source::Length(left) => {
                    *left -= n as u64;
                    done = *left == 0;
                }
                Source::Chunked(decoder) => decoder.took(n as u64),
                Source::Close => {}
            }
        }
        if self.end.is_some() {
            return bytes.len();
        }
        self.reply = Reply::Body(source, sink);
        if done {
            self.end_body(sink);
        } else if matches!(sink, Sink::Pass { left: 0, .. }) {
            self.begin_drop(Some(source));
        } else if matches!(sink, Sink::Drop { left: 0 }) {
            self.break_body(sink);
        }
        at
    }

    /// The body goes wrong, or on too long to be dropped.
    fn break_body(&mut self, sink: Sink) {
        if matches!(sink, Sink::Drop { .. }) {
            self.upstream.close();
            self.end_reply();
        } else {
            self.finish(End::Reset);
        }
    }

    /// What is left of the body is not wanted. If it is short, reading it keeps the connection.
    pub(super) fn begin_drop(&mut self, source: Option<Source>) {
        match source {
            Some(Source::Length(1..=MAX_DROP_BYTES) | Source::Chunked(_))
                if self.upstream.gone.is_none() =>
            {
                let sink = Sink::Drop { left: MAX_DROP_BYTES + 1 };
                self.reply = source.map_or(Reply::Idle, |source| Reply::Body(source, sink));
            }
            Some(Source::Length(0)) | None => self.end_reply(),
            Some(_) => {
                self.upstream.close();
                self.end_reply();
            }
        }
    }

    /// The connection went away during a body: in order that may be its end.
    pub(super) fn step_gone(&mut self) -> bool {
        match (self.upstream.gone, self.reply) {
            (Some(true), Reply::Body(Source::Close, sink)) => self.end_body(sink),
            (Some(_), Reply::Body(_, sink)) => self.break_body(sink),
            _ => return false,
        }
        true
    }

    /// The response is complete and its last byte is on the way to the client.
    pub(super) fn end_reply(&mut self) {
        let reusable = self.plan.is_some_and(|plan| plan.reusable)
            && matches!(self.phase, Phase::Waiting)
            && self.to_server.len() == if self.replayable() { self.sent } else { 0 };
        if reusable && self.upstream.serves() {
            self.upstream.unbind();
        } else {
            self.upstream.close();
        }
        if let Phase::Body(upload) = &mut self.phase {
            upload.discard();
            self.to_server.clear();
        }
        self.plan = None;
        self.reply = Reply::Idle;
        self.replied = true;
    }
}

/// Length of a head that ends in a blank line, of which the first `old` bytes have been searched.
/// Lines of a response may end in LF alone (RFC 9112, section 2.2).
fn head_end(data: &[u8], old: usize) -> Option<usize> {
    (old..data.len())
        .find(|&at| {
            data[at] == b'\n' && {
                let before = &data[..at];
                before.ends_with(b"\n") || before.ends_with(b"\n\r")
            }
        })
        .map(|at| at + 1)
}
