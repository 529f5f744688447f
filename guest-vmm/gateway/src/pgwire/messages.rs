//! Finds the messages, and the requests, in the client's stream (PostgreSQL manual, 55.7). A request is a message of
//! the start, a `Query`, or all messages up to a `Sync`.

/// Most that a message's length may be at the start of a session, in bytes (`MAX_STARTUP_PACKET_LENGTH`).
const START_BYTES_MAX: usize = 10_000;
/// Messages of one request, at most.
pub(super) const MESSAGES_MAX: usize = 1024;

/// Codes of the messages at the start.
const PROTOCOL: u32 = 3 << 16;
const CANCEL: u32 = 80_877_102;
const TLS: u32 = 80_877_103;
const GSS: u32 = 80_877_104;

/// Why a stream cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A length or a kind that is none, or none here.
    Protocol,
    /// Another version of the protocol.
    Version,
    /// A request longer than the limit.
    TooLong,
    /// `Flush`, `FunctionCall` or `COPY`.
    Unsupported,
    /// The wish to cancel another session's request, which ends the connection by itself.
    Cancel,
}

/// Which request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Whether the stream can be encrypted.
    Encryption,
    Start,
    Query,
    /// Messages of the extended protocol, up to a `Sync`.
    Extended,
    Terminate,
}

/// What became of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scan {
    /// All of them belong to a request that goes on.
    More,
    /// A request ends after so many.
    Done(usize, Request),
    /// After so many, at least one, nothing can be understood.
    Bad(usize, Fault),
}

/// Looks at messages as they come.
pub(super) trait Look {
    /// A message of this kind begins.
    fn begin(&mut self, kind: u8);
    /// Bytes of it, behind its length.
    fn body(&mut self, bytes: &[u8]);
}

impl Look for () {
    fn begin(&mut self, _: u8) {}
    fn body(&mut self, _: &[u8]) {}
}

/// Reads a client's stream.
pub(super) struct Scanner {
    most: usize,
    started: bool,
    head: [u8; 8],
    have: usize,
    /// Bytes that are left of the message whose head was read.
    left: usize,
    /// Bytes and messages of the request so far.
    total: usize,
    messages: usize,
}

impl Scanner {
    /// For requests of at most `most` bytes.
    pub(super) fn new(most: usize) -> Self {
        Self { most, started: false, head: [0; 8], have: 0, left: 0, total: 0, messages: 0 }
    }

    pub(super) fn reset(&mut self) {
        *self = Self::new(self.most);
    }

    /// Whether nothing of the next request has come.
    pub(super) fn is_between(&self) -> bool {
        self.total == 0
    }

    /// Whether the session has begun.
    pub(super) fn has_started(&self) -> bool {
        self.started
    }

    /// The next bytes.
    pub(super) fn push(&mut self, bytes: &[u8], look: &mut impl Look) -> Scan {
        let mut at = 0;
        while at < bytes.len() {
            if self.left > 0 {
                let len = self.left.min(bytes.len() - at);
                look.body(&bytes[at..at + len]);
                (self.left, self.total, at) = (self.left - len, self.total + len, at + len);
            } else {
                self.head[self.have] = bytes[at];
                (self.have, self.total, at) = (self.have + 1, self.total + 1, at + 1);
                if self.have == self.head_bytes()
                    && let Err(fault) = self.begin(look)
                {
                    return Scan::Bad(at, fault);
                }
            }
            if self.have == self.head_bytes()
                && self.left == 0
                && let Some(request) = self.end()
            {
                return Scan::Done(at, request);
            }
        }
        Scan::More
    }

    fn head_bytes(&self) -> usize {
        if self.started { 5 } else { 8 }
    }

    fn word(&self, at: usize) -> u32 {
        self.head[at..].first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
    }

    /// A head was read.
    fn begin(&mut self, look: &mut impl Look) -> Result<(), Fault> {
        if !self.started {
            return self.begin_start(look);
        }
        let kind = self.head[0];
        match kind {
            b'Q' | b'X' if self.messages > 0 => return Err(Fault::Protocol),
            b'Q' | b'X' | b'P' | b'B' | b'D' | b'E' | b'C' | b'S' => {}
            b'H' | b'F' | b'd' | b'c' | b'f' => return Err(Fault::Unsupported),
            _ => return Err(Fault::Protocol),
        }
        let len = self.word(1) as usize;
        self.left = len.checked_sub(4).ok_or(Fault::Protocol)?;
        if matches!(kind, b'X' | b'S') && self.left > 0 {
            return Err(Fault::Protocol);
        }
        self.messages += 1;
        if self.total + self.left > self.most || self.messages > MESSAGES_MAX {
            return Err(Fault::TooLong);
        }
        look.begin(kind);
        Ok(())
    }

    fn begin_start(&mut self, look: &mut impl Look) -> Result<(), Fault> {
        let (len, code) = (self.word(0) as usize, self.word(4));
        match code {
            CANCEL if len == 16 => return Err(Fault::Cancel),
            TLS | GSS if len == 8 => {}
            PROTOCOL if (9..=START_BYTES_MAX).contains(&len) => self.left = len - 8,
            _ if code >> 16 == 3 || code >> 16 == 2 => return Err(Fault::Version),
            _ => return Err(Fault::Protocol),
        }
        look.begin(0);
        Ok(())
    }

    /// A message was read to its end: the request that ends with it, if one does.
    fn end(&mut self) -> Option<Request> {
        self.have = 0;
        let request = match self.head[0] {
            _ if !self.started => match self.word(4) {
                PROTOCOL => Request::Start,
                _ => Request::Encryption,
            },
            b'Q' => Request::Query,
            b'S' => Request::Extended,
            b'X' => Request::Terminate,
            _ => return None,
        };
        self.started |= request == Request::Start;
        (self.total, self.messages) = (0, 0);
        Some(request)
    }
}

/// The messages of a whole request of the extended protocol: kind and body.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    core::iter::from_fn(move || {
        let (head, rest) = bytes.split_first_chunk::<5>()?;
        let [kind, len @ ..] = *head;
        let len = (u32::from_be_bytes(len) as usize).checked_sub(4)?;
        let body = rest.get(..len)?;
        bytes = &rest[len..];
        Some((kind, body))
    })
}

/// Reads the fields of a message, in their order.
#[derive(Clone, Copy)]
pub(super) struct Fields<'m>(pub(super) &'m [u8]);

impl<'m> Fields<'m> {
    pub(super) fn take(&mut self, len: usize) -> Option<&'m [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(super) fn short(&mut self) -> Option<u16> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*bytes))
    }

    pub(super) fn long(&mut self) -> Option<u32> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*bytes))
    }

    /// A string, without the NUL that ends it.
    pub(super) fn string(&mut self) -> Option<&'m [u8]> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let (string, rest) = self.0.split_at(end);
        self.0 = &rest[1..];
        Some(string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = std::vec![kind];
        bytes.extend((body.len() as u32 + 4).to_be_bytes());
        bytes.extend(body);
        bytes
    }

    fn start(code: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = (body.len() as u32 + 8).to_be_bytes().to_vec();
        bytes.extend(code.to_be_bytes());
        bytes.extend(body);
        bytes
    }

    fn scanned(stream: &[u8], piece: usize) -> Vec<(usize, Option<Request>, Option<Fault>)> {
        let (mut scanner, mut all, mut read) = (Scanner::new(100), Vec::new(), 0);
        while read < stream.len() {
            let end = (read + piece).min(stream.len());
            match scanner.push(&stream[read..end], &mut ()) {
                Scan::More => read = end,
                Scan::Done(len, request) => {
                    read += len;
                    all.push((read, Some(request), None));
                }
                Scan::Bad(len, fault) => {
                    all.push((read + len, None, Some(fault)));
                    break;
                }
            }
        }
        all
    }

    #[test]
    fn requests_end_where_they_end() {
        let parts = [
            (start(TLS, b""), Request::Encryption),
            (start(PROTOCOL, b"user\0a\0\0"), Request::Start),
            (message(b'Q', b"SELECT 1\0"), Request::Query),
            (message(b'S', b""), Request::Extended),
            (
                [message(b'P', b"\0a\0\0\0"), message(b'E', b""), message(b'S', b"")].concat(),
                Request::Extended,
            ),
            (message(b'X', b""), Request::Terminate),
        ];
        let stream: Vec<u8> = parts.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        for piece in [1, 2, 3, 7, 1000] {
            let mut end = 0;
            let wanted: Vec<_> = parts
                .iter()
                .map(|(bytes, request)| {
                    end += bytes.len();
                    (end, Some(*request), None)
                })
                .collect();
            assert_eq!(scanned(&stream, piece), wanted);
        }
    }

    #[test]
    fn what_is_no_request() {
        let begun = start(PROTOCOL, b"\0");
        for (bytes, fault) in [
            (b"GET / HTTP/1.1".to_vec(), Fault::Protocol),
            (start(CANCEL, &[0; 8]), Fault::Cancel),
            (start(PROTOCOL + 2, b"\0"), Fault::Version),
            (start(PROTOCOL, &[0; START_BYTES_MAX]), Fault::Version),
            ([begun.clone(), message(b'H', b"")].concat(), Fault::Unsupported),
            ([begun.clone(), message(b'p', b"x")].concat(), Fault::Protocol),
            ([begun.clone(), b"Q\0\0\0\x03".to_vec()].concat(), Fault::Protocol),
            ([begun.clone(), b"Q\0\0\0\xff".to_vec()].concat(), Fault::TooLong),
            ([begun.clone(), b"Q\xff\xff\xff\xff".to_vec()].concat(), Fault::TooLong),
            ([begun.clone(), message(b'P', b""), message(b'Q', b"\0")].concat(), Fault::Protocol),
        ] {
            for piece in [1, 1000] {
                let last = scanned(&bytes, piece).pop();
                assert_eq!(last.and_then(|(_, _, fault)| fault), Some(fault), "{bytes:?}");
            }
        }
    }
}
