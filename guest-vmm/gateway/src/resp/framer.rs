//! Finds the requests in a session's stream, for total order.

use resh_channel::message::{ORDERED_BYTES_MAX, Request};

use super::commands::{self, Action};
use super::scan::{Heading, Scan, Scanner};
use crate::canonicaliser::{Framer, Framing};

/// Longest request in total order, in bytes.
pub const REQUEST_BYTES: usize = ORDERED_BYTES_MAX;

/// The framer of `resp`.
pub struct RespFramer {
    scanner: Scanner,
    /// Between `MULTI` and what ends it.
    transaction: bool,
}

impl RespFramer {
    /// At the start of a stream.
    pub fn new() -> Self {
        Self { scanner: Scanner::new(REQUEST_BYTES), transaction: false }
    }

    fn flags(&mut self, heading: Heading) -> u8 {
        if heading.argc == 0 {
            return Request::READ_ONLY;
        }
        let command = commands::find(heading.name.bytes());
        let action =
            command.filter(|command| command.takes(heading.argc)).map(|known| known.action);
        match action {
            Some(Action::Quit) => Request::READ_ONLY | Request::LAST,
            Some(Action::Exec | Action::Discard | Action::Reset) => {
                self.transaction = false;
                0
            }
            // An error in a transaction is remembered, too.
            _ if self.transaction => Request::TRANSIENT,
            Some(Action::Multi) => {
                self.transaction = true;
                Request::TRANSIENT
            }
            Some(Action::Select) => Request::STICKY,
            Some(_) if command.is_some_and(|command| !command.reads) => 0,
            _ => Request::READ_ONLY,
        }
    }
}

impl Default for RespFramer {
    fn default() -> Self {
        Self::new()
    }
}

impl Framer for RespFramer {
    fn push(&mut self, bytes: &[u8]) -> Framing {
        match self.scanner.push(bytes) {
            Scan::More => Framing::More,
            Scan::Done(len) => {
                let heading = *self.scanner.heading();
                Framing::Request { len, flags: self.flags(heading) }
            }
            Scan::Bad(len, _) => {
                Framing::Request { len, flags: Request::READ_ONLY | Request::LAST }
            }
        }
    }

    fn reset(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn flags() {
        const R: u8 = Request::READ_ONLY;
        const S: u8 = Request::STICKY;
        const T: u8 = Request::TRANSIENT;
        let stream: &[(&[u8], u8)] = &[
            (b"GET a\r\n", R),
            (b"SET a b\r\n", 0),
            (b"SET a\r\n", R),
            (b"NONSENSE\r\n", R),
            (b"\r\n", R),
            (b"SPOP a\r\n", R),
            (b"SELECT 3\r\n", S),
            (b"WATCH a\r\n", 0),
            (b"MULTI\r\n", T),
            (b"GET a\r\n", T),
            (b"SET a\r\n", T),
            (b"EXEC now\r\n", T),
            (b"EXEC\r\n", 0),
            (b"GET a\r\n", R),
            (b"*1\r\n$4\r\nquit\r\n", R | Request::LAST),
            (b"*x", R | Request::LAST),
        ];
        let bytes: Vec<u8> = stream.iter().flat_map(|(bytes, _)| *bytes).copied().collect();
        let (mut framer, mut rest) = (RespFramer::new(), &bytes[..]);
        for (request, flags) in stream {
            let framing = Framing::Request { len: request.len(), flags: *flags };
            assert_eq!(framer.push(rest), framing, "{}", request.escape_ascii());
            rest = &rest[request.len()..];
        }
    }
}
