//! Where requests end, for total order.
//!
//! It looks for no more than it must: where a request ends that [`Http1`](super::Http1) accepts. What that would
//! refuse may be found whole, or ended early as the last one, with the byte at fault or at the end of the
//! head; either way the refusal is the answer.

use resh_channel::config::{Protocol, Service};
use resh_channel::message::{ORDERED_BYTES_MAX, Request};

use super::chunked::{Decoder, Extras};
use super::method::Method;
use crate::canonicaliser::{Framer as Interface, Framing};

/// Longest text of interest: a method, the name of a field, or a transfer coding.
const TEXT_BYTES: usize = 20;

/// A short text that is compared when it is complete.
#[derive(Clone, Copy, Default)]
struct Text {
    bytes: [u8; TEXT_BYTES],
    /// Its length, which may be more than there is room for.
    len: usize,
}

impl Text {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
        }
        self.len = self.len.saturating_add(1);
    }

    /// All of it, if it is short.
    fn get(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }

    /// Without blanks at its ends.
    fn is(&self, other: &[u8]) -> bool {
        super::fields::trim(self.get()).eq_ignore_ascii_case(other)
    }
}

/// A length in decimal, with blanks around it.
#[derive(Clone, Copy, Default)]
enum Length {
    #[default]
    Before,
    Digits(u64),
    After(u64),
    Wrong,
}

impl Length {
    fn push(&mut self, byte: u8) {
        *self = match (*self, byte) {
            (Self::Before, b' ' | b'\t') => Self::Before,
            (Self::Before, b'0'..=b'9') => Self::Digits(u64::from(byte - b'0')),
            (Self::Digits(n), b'0'..=b'9') => {
                Self::Digits(n.saturating_mul(10).saturating_add(u64::from(byte - b'0')))
            }
            (Self::Digits(n) | Self::After(n), b' ' | b'\t') => Self::After(n),
            _ => Self::Wrong,
        }
    }
}

/// What the current line of a head is.
#[derive(Clone, Copy)]
enum Line {
    /// The method of the request line.
    Method,
    /// The rest of that.
    Request,
    /// The name of a field.
    Name(Text),
    /// The value of `Content-Length`.
    ContentLength(Length),
    /// The value of `Transfer-Encoding`.
    TransferEncoding(Text),
    /// Another value.
    Value,
}

/// How the body is delimited, as far as the head was read.
#[derive(Clone, Copy)]
enum Body {
    None,
    Length(u64),
    Chunked,
    /// In a way that is refused.
    Wrong,
}

#[derive(Clone, Copy)]
enum State {
    /// Empty lines may come before a request. `cr`: one has begun.
    Start { cr: bool },
    /// In a line of the head. `cr`: its end has begun.
    Head { line: Line, cr: bool },
    /// In a body of which so many bytes are left.
    Length(u64),
    /// In a chunked body.
    Chunked(Decoder),
}

/// What a byte came to.
enum Step {
    On(State),
    Complete,
    Wrong,
}

/// Finds the ends of the requests of one stream.
#[derive(Clone)]
pub struct Framer {
    state: State,
    /// Bytes of the request so far.
    len: usize,
    method: Text,
    body: Body,
    /// Reads change what the service knows: they may give out a private cookie.
    reads_change: bool,
}

impl Framer {
    /// At the start of a stream.
    pub fn new() -> Self {
        Self {
            state: State::Start { cr: false },
            len: 0,
            method: Text::default(),
            body: Body::None,
            reads_change: false,
        }
    }

    /// At the start of another request.
    fn begin(&mut self) {
        *self = Self { reads_change: self.reads_change, ..Self::new() };
    }

    /// Goes on by some of `bytes`, which are not empty, at least one. Returns how many, and what they came to.
    fn step(&mut self, bytes: &[u8]) -> (usize, Step) {
        // Data, which nobody looks at.
        let data = match &mut self.state {
            State::Length(left) => *left,
            State::Chunked(decoder) => decoder.data_left(),
            _ => 0,
        };
        if data > 0 {
            let room = ORDERED_BYTES_MAX.saturating_sub(self.len).max(1);
            let n = bytes.len().min(room).min(usize::try_from(data).unwrap_or(usize::MAX));
            let step = match &mut self.state {
                State::Length(left) if *left == n as u64 => Step::Complete,
                State::Length(left) => Step::On(State::Length(*left - n as u64)),
                State::Chunked(decoder) => {
                    decoder.took(n as u64);
                    Step::On(State::Chunked(*decoder))
                }
                other => Step::On(*other),
            };
            return (n, step);
        }
        (1, self.byte(bytes[0]))
    }

    /// A byte that is not data.
    fn byte(&mut self, byte: u8) -> Step {
        match &mut self.state {
            State::Start { cr: false } if byte == b'\r' => Step::On(State::Start { cr: true }),
            State::Start { cr: true } if byte == b'\n' => Step::On(State::Start { cr: false }),
            State::Start { cr: true } => Step::Wrong,
            State::Start { cr: false } => self.in_line(Line::Method, byte),
            State::Head { cr: true, line } if byte == b'\n' => {
                let line = *line;
                self.end_line(line)
            }
            State::Head { cr: true, .. } => Step::Wrong,
            State::Head { line, .. } if byte == b'\r' => {
                Step::On(State::Head { line: *line, cr: true })
            }
            State::Head { line, .. } => {
                let line = *line;
                self.in_line(line, byte)
            }
            State::Length(_) => Step::Wrong,
            State::Chunked(decoder) => match decoder.syntax(&[byte]) {
                Ok(_) if decoder.done() => Step::Complete,
                Ok(_) => Step::On(State::Chunked(*decoder)),
                Err(_) => Step::Wrong,
            },
        }
    }

    /// A byte of a line, which is not its end.
    fn in_line(&mut self, line: Line, byte: u8) -> Step {
        let field = !matches!(line, Line::Method | Line::Request);
        if byte == 0x7f || byte < b' ' && !(byte == b'\t' && field) {
            return Step::Wrong;
        }
        let line = match line {
            Line::Method if byte == b' ' => Line::Request,
            Line::Method => {
                self.method.push(byte);
                Line::Method
            }
            // A folded line.
            Line::Name(name) if name.len == 0 && matches!(byte, b' ' | b'\t') => {
                return Step::Wrong;
            }
            Line::Name(name) if byte == b':' => value_of(&name),
            Line::Name(mut name) => {
                name.push(byte);
                Line::Name(name)
            }
            Line::ContentLength(mut length) => {
                length.push(byte);
                Line::ContentLength(length)
            }
            Line::TransferEncoding(mut coding) => {
                // Blanks before it may be many.
                if coding.len > 0 || !matches!(byte, b' ' | b'\t') {
                    coding.push(byte);
                }
                Line::TransferEncoding(coding)
            }
            Line::Request | Line::Value => line,
        };
        Step::On(State::Head { line, cr: false })
    }

    fn end_line(&mut self, line: Line) -> Step {
        let delimited = match line {
            Line::Name(name) if name.len == 0 => return self.end_head(),
            Line::ContentLength(Length::Digits(n) | Length::After(n)) => Some(Body::Length(n)),
            Line::TransferEncoding(coding) if coding.is(b"chunked") => Some(Body::Chunked),
            Line::ContentLength(_) | Line::TransferEncoding(_) => Some(Body::Wrong),
            _ => None,
        };
        if let Some(delimited) = delimited {
            let first = matches!(self.body, Body::None);
            self.body = if first { delimited } else { Body::Wrong };
        }
        Step::On(State::Head { line: Line::Name(Text::default()), cr: false })
    }

    /// The head ends with the byte to come.
    fn end_head(&mut self) -> Step {
        let room = ORDERED_BYTES_MAX.saturating_sub(self.len + 1) as u64;
        match self.body {
            Body::None | Body::Length(0) => Step::Complete,
            Body::Length(n) if n <= room => Step::On(State::Length(n)),
            Body::Length(_) | Body::Wrong => Step::Wrong,
            Body::Chunked => Step::On(State::Chunked(Decoder::new(Extras::Refused))),
        }
    }

    fn flags(&self) -> u8 {
        let method = core::str::from_utf8(self.method.get()).ok().and_then(Method::parse);
        match method {
            Some(Method::Get | Method::Head | Method::Options) if !self.reads_change => {
                Request::READ_ONLY
            }
            _ => 0,
        }
    }
}

fn value_of(name: &Text) -> Line {
    match name.get() {
        name if name.eq_ignore_ascii_case(b"content-length") => {
            Line::ContentLength(Length::default())
        }
        name if name.eq_ignore_ascii_case(b"transfer-encoding") => {
            Line::TransferEncoding(Text::default())
        }
        _ => Line::Value,
    }
}

impl Default for Framer {
    fn default() -> Self {
        Self::new()
    }
}

impl Interface for Framer {
    fn push(&mut self, bytes: &[u8]) -> Framing {
        let mut at = 0;
        while at < bytes.len() {
            let (n, step) = self.step(&bytes[at..]);
            at += n;
            self.len += n;
            let flags = match step {
                Step::On(state) if self.len < ORDERED_BYTES_MAX => {
                    self.state = state;
                    continue;
                }
                Step::Complete => self.flags(),
                Step::On(_) | Step::Wrong => Request::LAST,
            };
            self.begin();
            return Framing::Request { len: at, flags };
        }
        Framing::More
    }

    fn serve(&mut self, service: &Service) {
        self.reads_change = matches!(
            service.protocol,
            Protocol::Http1(settings) if settings.private_cookies.names().next().is_some()
        );
    }

    fn reset(&mut self) {
        self.begin();
    }
}
