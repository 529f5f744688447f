//! A request body on its way to the replica.
//!
//! A body that fits is held back until it is complete: what is wrong with it is then known before
//! the replica has seen anything, a slow client cannot run into a server's time-out, and the
//! chunked coding becomes a length. A longer one is passed on as it comes.

use super::buffer::{Buffer, decimal};
use super::chunked::{Decoder, Extras};
use super::error::Refusal;
use super::request::Body;

/// Room between the head and a held chunked body, for the framing that is known at its end.
const GAP_BYTES: usize = 48;
/// Room that a chunk leaves for its own framing and that of the end of the body.
const CHUNK_EXTRA_BYTES: usize = 32;
/// Smallest room into which a piece of a chunked body is written.
const MIN_CHUNK_BYTES: usize = 1024;

/// Bytes that the buffer to the server needs beyond the longest head and the longest held body.
pub(super) const FRAMING_BYTES: usize = GAP_BYTES + CHUNK_EXTRA_BYTES;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    /// The replica has seen nothing of the request.
    Hold,
    /// The replica gets the body as it comes.
    Stream,
    /// The replica has answered already.
    Discard,
}

#[derive(Clone, Copy)]
enum Source {
    Length(u64),
    Chunked(Decoder),
}

#[derive(Clone, Copy)]
pub(super) struct Upload {
    source: Source,
    mode: Mode,
    head: usize,
    total: u64,
    max_held: u64,
    max_total: u64,
}

impl Upload {
    /// Begins a body; the head without framing stands in `to`. `None`: there is no body, and the
    /// request is complete.
    pub(super) fn begin(
        body: Body,
        max_held: usize,
        max_total: u64,
        to: &mut Buffer,
    ) -> Option<Self> {
        let (max_held, head) = (max_held as u64, to.len());
        let source = match body {
            Body::None => {
                to.put(b"\r\n");
                return None;
            }
            Body::Length(length) => {
                put_length(to, length);
                if length == 0 {
                    return None;
                }
                Source::Length(length)
            }
            Body::Chunked => {
                to.put_gap(GAP_BYTES);
                Source::Chunked(Decoder::new(Extras::Refused))
            }
        };
        let mode = match body {
            Body::Length(length) if length > max_held => Mode::Stream,
            _ => Mode::Hold,
        };
        Some(Self { source, mode, head, total: 0, max_held, max_total })
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    pub(super) fn discard(&mut self) {
        self.mode = Mode::Discard;
    }

    pub(super) fn done(&self) -> bool {
        match self.source {
            Source::Length(left) => left == 0,
            Source::Chunked(decoder) => decoder.done(),
        }
    }

    /// Takes what it can of `bytes` and says how much that was. When it is [`done`](Self::done) the
    /// rest belongs to the next request.
    pub(super) fn feed(&mut self, bytes: &[u8], to: &mut Buffer) -> Result<usize, Refusal> {
        let mut at = 0;
        while at < bytes.len() && !self.done() {
            let rest = &bytes[at..];
            let left = match &mut self.source {
                Source::Length(left) => *left,
                Source::Chunked(decoder) if decoder.data_left() == 0 => {
                    at += decoder.syntax(rest).map_err(|_| Refusal::bad("chunked body"))?;
                    if decoder.done() {
                        self.finish(to);
                    }
                    continue;
                }
                Source::Chunked(decoder) => decoder.data_left(),
            };
            let n = self.put(&rest[..left.min(rest.len() as u64) as usize], to)?;
            if n == 0 {
                break;
            }
            at += n;
            match &mut self.source {
                Source::Length(left) => *left -= n as u64,
                Source::Chunked(decoder) => decoder.took(n as u64),
            }
        }
        Ok(at)
    }

    fn put(&mut self, data: &[u8], to: &mut Buffer) -> Result<usize, Refusal> {
        let chunked = matches!(self.source, Source::Chunked(_));
        if chunked && self.mode == Mode::Hold && self.total == self.max_held {
            self.stream(to);
        }
        let n = match (self.mode, chunked) {
            (Mode::Discard, _) => data.len(),
            (Mode::Hold, true) => {
                to.fill(&data[..data.len().min((self.max_held - self.total) as usize)])
            }
            (Mode::Hold, false) => to.fill(data),
            (Mode::Stream, false) => to.push(data),
            (Mode::Stream, true) if to.room() < MIN_CHUNK_BYTES => 0,
            (Mode::Stream, true) => {
                let n = data.len().min(to.room() - CHUNK_EXTRA_BYTES);
                to.put_chunk(&data[..n]);
                n
            }
        };
        self.total += n as u64;
        if chunked && self.total > self.max_total {
            return Err(Refusal::new(413, "body too long"));
        }
        Ok(n)
    }

    /// A held chunked body grows too long: what is there becomes the first chunk.
    fn stream(&mut self, to: &mut Buffer) {
        let mut text = ShortText::default();
        text.put(b"Transfer-Encoding: chunked\r\n\r\n");
        let mut digits = [0; 16];
        let mut at = digits.len();
        let mut left = self.total;
        while left > 0 {
            at -= 1;
            digits[at] = b"0123456789abcdef"[(left & 15) as usize];
            left >>= 4;
        }
        if self.total > 0 {
            text.put(&digits[at..]);
            text.put(b"\r\n");
        }
        to.close_gap(self.head, GAP_BYTES, text.bytes());
        if self.total > 0 {
            to.put(b"\r\n");
        }
        self.mode = Mode::Stream;
    }

    /// The last byte of a chunked body was seen.
    fn finish(&mut self, to: &mut Buffer) {
        match self.mode {
            Mode::Hold => {
                let mut text = ShortText::default();
                let mut digits = [0; 20];
                text.put(b"Content-Length: ");
                text.put(decimal(self.total, &mut digits));
                text.put(b"\r\n\r\n");
                to.close_gap(self.head, GAP_BYTES, text.bytes());
            }
            Mode::Stream => to.put(b"0\r\n\r\n"),
            Mode::Discard => {}
        }
    }
}

fn put_length(to: &mut Buffer, length: u64) {
    to.put(b"Content-Length: ");
    to.put_decimal(length);
    to.put(b"\r\n\r\n");
}

/// A few bytes of text on the stack.
struct ShortText {
    bytes: [u8; GAP_BYTES],
    len: usize,
}

impl Default for ShortText {
    fn default() -> Self {
        Self { bytes: [0; GAP_BYTES], len: 0 }
    }
}

impl ShortText {
    fn put(&mut self, text: &[u8]) {
        if let Some(to) = self.bytes.get_mut(self.len..self.len + text.len()) {
            to.copy_from_slice(text);
            self.len += text.len();
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
