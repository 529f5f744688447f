//! The client's side: one request after the other, from the first byte of the head to the last of
//! the body.

use super::error::{self, Refusal};
use super::request::{self, Scan};
use super::tokens::Place;
use super::upload::{Mode, Upload};
use super::{End, Http1, SLACK_BYTES};

/// Where in the client's stream we are.
#[derive(Clone, Copy)]
pub(super) enum Phase {
    /// Before or within a request head.
    Head,
    /// Within a request body.
    Body(Upload),
    /// Behind a request that is not answered yet.
    Waiting,
    /// Nothing more is read.
    Done,
}

impl Http1 {
    pub(super) fn take_client(&mut self, bytes: &[u8], clock_s: u32) -> usize {
        let mut taken = 0;
        loop {
            self.run();
            let rest = &bytes[taken..];
            if rest.is_empty() {
                return taken;
            }
            if self.end.is_some() {
                return bytes.len();
            }
            if !self.clocks.has_room(clock_s) {
                return taken;
            }
            let n = self.take_some(rest);
            if n == 0 {
                return taken;
            }
            taken += n;
            self.received += n as u64;
            self.clocks.note(self.received, clock_s);
        }
    }

    /// A body goes straight on when nothing waits before it.
    fn take_some(&mut self, bytes: &[u8]) -> usize {
        match &mut self.phase {
            Phase::Body(upload) if self.input.is_empty() => {
                let result = upload.feed(bytes, &mut self.to_server);
                result.unwrap_or_else(|refusal| {
                    // The byte at fault lies within these.
                    self.fail_body(refusal);
                    bytes.len()
                })
            }
            _ => self.input.fill(bytes),
        }
    }

    /// Goes on with what waits in the input. Whether anything changed.
    pub(super) fn step_client(&mut self) -> bool {
        match self.phase {
            Phase::Head => self.step_head(),
            Phase::Body(_) => self.step_body(),
            Phase::Waiting | Phase::Done => false,
        }
    }

    fn step_head(&mut self) -> bool {
        if self.to_client.room() < SLACK_BYTES {
            return false;
        }
        // Empty lines before a request (RFC 9112, section 2.2).
        while self.input.data().starts_with(b"\r\n") {
            self.input.consume(2);
        }
        let start = self.received - self.input.len() as u64;
        self.clocks.forget(start);
        if self.input.is_empty() {
            if self.fin {
                self.finish(End::Fin);
            }
            return self.fin;
        }
        if self.input.data() == b"\r" && !self.fin {
            return false;
        }
        match self.scan.read(self.input.data(), &self.profile) {
            Ok(Some(head)) => {
                self.begin(head, self.clocks.at(start + head as u64 - 1));
                true
            }
            Ok(None) if self.fin => {
                self.refuse(Refusal::bad("request cut short"), self.clocks.at(self.received));
                true
            }
            Ok(None) => {
                self.clocks.forget(self.received);
                false
            }
            Err((at, refusal)) => {
                self.refuse(refusal, self.clocks.at(start + at as u64));
                true
            }
        }
    }

    /// A whole head of `len` bytes waits in the input.
    fn begin(&mut self, len: usize, clock_s: u32) {
        self.to_server.clear();
        self.sent = 0;
        let head = &self.input.data()[..len];
        let start = self.received - self.input.len() as u64;
        let offset = self.begins_at.map_or(0, |begins_at| begins_at + start);
        let accepted = request::accept(
            head,
            clock_s,
            Place { nonce: self.nonce, offset },
            &self.profile,
            &mut self.scratch,
            self.tokens.as_ref().map(|tokens| tokens.borrow_mut()).as_deref_mut(),
            &mut self.to_server,
        );
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(refusal) => return self.refuse(refusal, clock_s),
        };
        self.input.consume(len);
        self.scan = Scan::default();
        let exchange = accepted.exchange;
        self.exchange = Some(exchange);
        self.streamed = false;
        if accepted.own {
            self.put_options();
            self.phase = Phase::Waiting;
            self.replied = true;
            return;
        }
        if accepted.expects {
            self.to_client.put(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let (max_held, max_total) = (self.profile.aggregate_bytes, self.profile.max_body_bytes);
        self.phase = match Upload::begin(accepted.body, max_held, max_total, &mut self.to_server) {
            Some(upload) => Phase::Body(upload),
            None => Phase::Waiting,
        };
    }

    fn step_body(&mut self) -> bool {
        let Phase::Body(upload) = &mut self.phase else {
            return false;
        };
        let before = self.input.len();
        match upload.feed(self.input.data(), &mut self.to_server) {
            Ok(n) => self.input.consume(n),
            Err(refusal) => {
                self.fail_body(refusal);
                return true;
            }
        }
        if upload.done() {
            self.phase = Phase::Waiting;
            return true;
        }
        self.clocks.forget(self.received - self.input.len() as u64);
        if self.input.is_empty() && self.fin {
            self.fail_body(Refusal::bad("body cut short"));
            return true;
        }
        self.input.len() != before
    }

    /// The body cannot be completed. As long as it was held back the replica has seen nothing, and
    /// the client gets a reason. After that other replicas may have begun to answer.
    fn fail_body(&mut self, refusal: Refusal) {
        let held = matches!(&self.phase, Phase::Body(upload) if upload.mode() == Mode::Hold);
        match self.exchange {
            Some(exchange) if held => self.refuse(refusal, exchange.clock_s),
            _ => self.finish(End::Reset),
        }
    }

    /// Answers in the replica's place, and ends the session.
    fn refuse(&mut self, refusal: Refusal, clock_s: u32) {
        let head_only = match self.exchange {
            Some(exchange) => exchange.method == super::Method::Head,
            None => self.input.data().starts_with(b"HEAD "),
        };
        error::put_refusal(
            &mut self.to_client,
            refusal,
            self.profile.methods,
            clock_s,
            error::Persistence::Close,
            head_only,
        );
        self.finish(End::Fin);
    }
}
