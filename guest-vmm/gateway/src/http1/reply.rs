//! The response on its way to the client.

use super::error::{self, Refusal};
use super::response::{self, Action, Length, Plan};
use super::server::Source;
use super::{End, Http1, SLACK_BYTES};

/// Size of the chunks in which a long body of unknown length is sent to the client.
pub(super) const CHUNK_BYTES: usize = 16 * 1024;

/// How far the response is.
#[derive(Clone, Copy)]
pub(super) enum Reply {
    /// None is expected.
    Idle,
    /// The head is not complete.
    Head,
    /// The head waits for room to the client.
    Ready,
    /// Within the body.
    Body(Source, Sink),
    /// The body is complete; the rest of it waits for room to the client.
    Flush(Sink),
}

/// Where the body goes.
#[derive(Clone, Copy)]
pub(super) enum Sink {
    /// On to the client: `left` bytes after `skip`.
    Pass { skip: u64, left: u64 },
    /// Collected; no head was sent yet.
    Gather,
    /// On in chunks of [`CHUNK_BYTES`].
    Chunks,
    /// On in chunks of one event each.
    Events,
    /// On as it is.
    Raw,
    /// Away; past `left` bytes it is not worth it.
    Drop { left: u64 },
}

impl Http1 {
    /// Sends what can be sent. Whether anything changed.
    pub(super) fn step_reply(&mut self) -> bool {
        match self.reply {
            Reply::Ready => self.start(),
            Reply::Body(_, sink @ (Sink::Chunks | Sink::Events | Sink::Raw)) => {
                self.drain(sink, false)
            }
            Reply::Flush(Sink::Gather) => self.send_gathered(),
            Reply::Flush(sink) => self.drain(sink, true),
            _ => self.step_gone(),
        }
    }

    /// The head is complete.
    fn start(&mut self) -> bool {
        let Some(plan) = self.plan else {
            return false;
        };
        let source = Source::new(plan.framing);
        let (length, sink) = match plan.action {
            Action::Interim => return false,
            Action::Gather => {
                self.gather.clear();
                self.begin_body(source, Sink::Gather);
                return true;
            }
            Action::Head => (response::stated_length(self.head.data()), None),
            Action::Canned => (Length::Unstated, None),
            Action::Options => {
                if self.to_client.room() < SLACK_BYTES {
                    return false;
                }
                self.put_options();
                self.begin_drop(source);
                return true;
            }
            Action::Pass { skip, left } => (Length::Known(left), Some(Sink::Pass { skip, left })),
            Action::Events => {
                self.gather.clear();
                self.event_scan = 0;
                (Length::Chunked, Some(Sink::Events))
            }
        };
        let (length, sink) = match (self.unbounded(length), sink) {
            (Length::Unstated, Some(Sink::Events)) => (Length::Unstated, Some(Sink::Raw)),
            other => other,
        };
        if !self.send_head(&plan, length) {
            return self.end.is_some();
        }
        match sink {
            Some(sink) => self.begin_body(source, sink),
            None => self.begin_drop(source),
        }
        true
    }

    /// Answers `OPTIONS` in the replica's place.
    pub(super) fn put_options(&mut self) {
        if let Some(exchange) = self.exchange {
            error::put_refusal(
                &mut self.to_client,
                Refusal::new(200, ""),
                self.profile.methods,
                exchange.clock_s,
                exchange.persistence(),
                false,
            );
        }
    }

    fn begin_body(&mut self, source: Option<Source>, sink: Sink) {
        match source {
            Some(source) => self.reply = Reply::Body(source, sink),
            None => self.end_body(sink),
        }
    }

    pub(super) fn end_body(&mut self, sink: Sink) {
        match sink {
            Sink::Pass { .. } | Sink::Drop { .. } => self.end_reply(),
            _ => self.reply = Reply::Flush(sink),
        }
    }

    /// HTTP/1.0 knows no chunks: there the end of the connection delimits the body.
    fn unbounded(&mut self, length: Length) -> Length {
        match &mut self.exchange {
            Some(exchange) if exchange.http10 && length == Length::Chunked => {
                exchange.keep_alive = false;
                Length::Unstated
            }
            _ => length,
        }
    }

    /// Writes the head if there is room.
    fn send_head(&mut self, plan: &Plan, length: Length) -> bool {
        let Some(exchange) = self.exchange else {
            return false;
        };
        if self.to_client.room() < self.head.len() + SLACK_BYTES {
            return false;
        }
        let head = self.head.data();
        let result = response::put_head(
            &mut self.to_client,
            head,
            plan,
            &exchange,
            length,
            &self.profile,
            self.tokens.as_ref().map(|tokens| tokens.borrow_mut()).as_deref_mut(),
        );
        if result.is_err() || self.to_client.overflowed() {
            self.finish(End::Reset);
            return false;
        }
        true
    }

    /// Hands data to the sink and says how much of it that took.
    pub(super) fn put_body(&mut self, sink: &mut Sink, data: &[u8]) -> usize {
        let length = data.len() as u64;
        match sink {
            Sink::Pass { skip: skip @ 1.., .. } => {
                let n = length.min(*skip);
                *skip -= n;
                n as usize
            }
            Sink::Pass { left, .. } => {
                let n = self.to_client.push(&data[..length.min(*left) as usize]);
                *left -= n as u64;
                n
            }
            Sink::Gather => match (self.gather.push(data), self.plan) {
                (0, Some(plan)) => {
                    // Too long to be collected.
                    let length = self.unbounded(Length::Chunked);
                    if self.send_head(&plan, length) {
                        let chunked = length == Length::Chunked;
                        *sink = if chunked { Sink::Chunks } else { Sink::Raw };
                        return self.put_body(sink, data);
                    }
                    0
                }
                (n, _) => n,
            },
            Sink::Chunks | Sink::Events | Sink::Raw => {
                let n = self.gather.push(data);
                if n == 0 && self.drain(*sink, false) { self.gather.push(data) } else { n }
            }
            Sink::Drop { left } => {
                let n = length.min(*left);
                *left -= n;
                n as usize
            }
        }
    }

    /// A collected body is complete, and its length known.
    fn send_gathered(&mut self) -> bool {
        let (Some(mut plan), Some(exchange)) = (self.plan, self.exchange) else {
            return false;
        };
        response::cut(&mut plan, &exchange, self.gather.len() as u64);
        if let Action::Pass { skip, left } = plan.action {
            // A part of it: both lie within the buffer.
            if self.to_client.room() < self.head.len() + SLACK_BYTES {
                return false;
            }
            self.gather.consume(skip as usize);
            self.gather.truncate(left as usize);
        }
        let canned = plan.action == Action::Canned;
        let length =
            if canned { Length::Unstated } else { Length::Known(self.gather.len() as u64) };
        if !self.send_head(&plan, length) {
            return self.end.is_some();
        }
        if canned {
            self.end_reply();
        } else {
            self.reply = Reply::Flush(Sink::Raw);
        }
        true
    }

    /// Moves collected bytes on; `ended`: no more will come. Whether anything changed.
    fn drain(&mut self, sink: Sink, ended: bool) -> bool {
        if let Sink::Raw = sink {
            let n = self.to_client.push(self.gather.data());
            self.gather.consume(n);
            if ended && self.gather.is_empty() {
                self.end_reply();
                return true;
            }
            return n > 0 || !ended && self.step_gone();
        }
        if self.to_client.room() < CHUNK_BYTES + SLACK_BYTES {
            return false;
        }
        let first = &self.gather.data()[..self.gather.len().min(CHUNK_BYTES)];
        let event = match sink {
            Sink::Events => event_end(first, self.event_scan),
            _ => None,
        };
        self.event_scan = 0;
        let n = match event {
            Some(n) => n,
            None if first.len() == CHUNK_BYTES => CHUNK_BYTES,
            None if !ended => {
                self.event_scan = first.len();
                return self.step_gone();
            }
            None => first.len(),
        };
        self.to_client.put_chunk(&first[..n]);
        self.gather.consume(n);
        if ended && self.gather.is_empty() {
            self.to_client.put(b"0\r\n\r\n");
            self.end_reply();
        }
        true
    }
}

/// Length of the first event (up to its blank line), of whose text `old` bytes have been searched.
fn event_end(text: &[u8], old: usize) -> Option<usize> {
    (old..text.len())
        .find(|&at| {
            let before = &text[..at];
            text[at] == b'\n' && (before.ends_with(b"\n") || before.ends_with(b"\n\r"))
        })
        .map(|at| at + 1)
}
