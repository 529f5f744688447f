//! Finds the end of each request in the client's stream: an array of bulk strings, or a line of words.
//!
//! Source: the Redis serialization protocol, RESP2 (redis.io, "Protocol specification"). It is read strictly: a
//! number has one spelling, every line ends with CR LF but that of an inline request, which may end with LF.

/// Longest name of a command, or of the word that follows it, that is of interest, in bytes.
const WORD_BYTES: usize = 24;
/// Shortest bulk string: `$0`, CR LF, CR LF.
const ARGUMENT_BYTES_MIN: usize = 6;

/// The start of a word, in lower case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Word {
    bytes: [u8; WORD_BYTES],
    len: u8,
    longer: bool,
}

impl Word {
    fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let Some(place) = self.bytes.get_mut(usize::from(self.len)) else {
                self.longer = true;
                return;
            };
            *place = byte.to_ascii_lowercase();
            self.len += 1;
        }
    }

    /// Its bytes, the first of them if it is longer than [`is_whole`](Self::is_whole) allows.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }

    /// Whether these are all its bytes.
    pub(super) fn is_whole(&self) -> bool {
        !self.longer
    }
}

/// What is known of a request before one looks at its arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heading {
    /// Arguments, the name of the command included. 0: an empty request, which draws no reply.
    pub(super) argc: usize,
    /// The name of the command.
    pub(super) name: Word,
    /// The word after it.
    pub(super) second: Word,
}

/// Why a stream cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The number of arguments is none.
    Count,
    /// The length of an argument is none, or its end is not where it should be.
    Length,
    /// Something else than an argument.
    NoBulk,
    /// An inline request with quotes or control characters: what they mean is not the same for all.
    Inline,
    /// A request of another protocol, sent here by somebody who was tricked.
    Foreign,
    /// A request longer than the limit.
    TooLong,
}

/// What became of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scan {
    /// All of them belong to a request that goes on.
    More,
    /// A request ends after so many.
    Done(usize),
    /// After so many it is clear that the rest cannot be read.
    Bad(usize, Fault),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// A request begins.
    Start,
    /// In the number after `*`.
    Count,
    /// `$` comes next.
    Bulk,
    /// In the number after `$`.
    Length,
    /// In an argument: so many bytes are to come.
    Argument(usize),
    /// The CR behind an argument.
    ArgumentCr,
    /// The LF behind an argument.
    ArgumentLf,
    /// In a line of words; whether in a word.
    Line { word: bool },
    /// Behind the CR of a line.
    LineLf,
    /// Nothing more is read.
    Bad(Fault),
}

/// A number in decimal that ends with CR LF.
#[derive(Clone, Copy, Debug, Default)]
struct Number {
    value: usize,
    digits: u8,
    cr: bool,
}

impl Number {
    /// Takes a byte. `Some(Ok)` when the number is complete.
    fn push(&mut self, byte: u8) -> Option<Result<usize, ()>> {
        match byte {
            b'0'..=b'9' if !self.cr && self.digits < 9 && !(self.digits > 0 && self.value == 0) => {
                self.value = self.value * 10 + usize::from(byte - b'0');
                self.digits += 1;
                None
            }
            b'\r' if !self.cr && self.digits > 0 => {
                self.cr = true;
                None
            }
            b'\n' if self.cr => Some(Ok(self.value)),
            _ => Some(Err(())),
        }
    }
}

/// Reads a stream of requests and keeps none of it but the start of two words.
#[derive(Clone, Debug)]
pub(super) struct Scanner {
    most: usize,
    at: At,
    len: usize,
    left: usize,
    number: Number,
    heading: Heading,
}

impl Scanner {
    /// For requests of at most `most` bytes.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            at: At::Start,
            len: 0,
            left: 0,
            number: Number::default(),
            heading: Heading::default(),
        }
    }

    /// Whether nothing of a next request has come.
    pub(super) fn is_between(&self) -> bool {
        self.at == At::Start
    }

    /// Back to the start of a stream.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.most);
    }

    /// The last request that was done.
    pub(super) fn heading(&self) -> &Heading {
        &self.heading
    }

    /// Reads on, to the end of a request at most.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Scan {
        let mut read = 0;
        while let Some(rest) = bytes.get(read..).filter(|rest| !rest.is_empty()) {
            let (count, step) = self.step(rest);
            read += count;
            self.len += count;
            match step {
                Step::On | Step::Done if self.len > self.most => {
                    return self.fail(read, Fault::TooLong);
                }
                Step::On => {}
                Step::Done => {
                    self.at = At::Start;
                    return Scan::Done(read);
                }
                Step::Bad(fault) => return self.fail(read, fault),
            }
        }
        Scan::More
    }

    fn fail(&mut self, read: usize, fault: Fault) -> Scan {
        self.at = At::Bad(fault);
        Scan::Bad(read, fault)
    }

    /// Reads one byte, or of an argument as many as there are.
    fn step(&mut self, rest: &[u8]) -> (usize, Step) {
        let byte = rest[0];
        let step = match self.at {
            At::Start => self.start(byte),
            At::Count => match self.number.push(byte) {
                None => Step::On,
                Some(Ok(0)) => Step::Done,
                Some(Ok(count)) => self.count(count),
                Some(Err(())) => Step::Bad(Fault::Count),
            },
            At::Bulk if byte == b'$' => {
                (self.at, self.number) = (At::Length, Number::default());
                Step::On
            }
            At::Bulk => Step::Bad(Fault::NoBulk),
            At::Length => match self.number.push(byte) {
                None => Step::On,
                Some(Ok(len)) => self.length(len),
                Some(Err(())) => Step::Bad(Fault::Length),
            },
            At::Argument(left) => {
                let count = left.min(rest.len());
                self.word(&rest[..count]);
                self.at = if left == count { At::ArgumentCr } else { At::Argument(left - count) };
                return (count, Step::On);
            }
            At::ArgumentCr if byte == b'\r' => {
                self.at = At::ArgumentLf;
                Step::On
            }
            At::ArgumentLf if byte == b'\n' && self.left == 0 => Step::Done,
            At::ArgumentLf if byte == b'\n' => {
                self.at = At::Bulk;
                Step::On
            }
            At::ArgumentCr | At::ArgumentLf => Step::Bad(Fault::Length),
            At::Line { word } => self.line(byte, word),
            At::LineLf if byte == b'\n' => self.line_end(),
            At::LineLf => Step::Bad(Fault::Inline),
            At::Bad(fault) => Step::Bad(fault),
        };
        (1, step)
    }

    fn start(&mut self, byte: u8) -> Step {
        (self.len, self.heading) = (0, Heading::default());
        if byte == b'*' {
            (self.at, self.number) = (At::Count, Number::default());
            return Step::On;
        }
        self.line(byte, false)
    }

    fn count(&mut self, count: usize) -> Step {
        (self.left, self.heading.argc) = (count, count);
        self.at = At::Bulk;
        self.unless_too_long(count.saturating_mul(ARGUMENT_BYTES_MIN))
    }

    fn length(&mut self, len: usize) -> Step {
        self.left -= 1;
        self.at = if len == 0 { At::ArgumentCr } else { At::Argument(len) };
        self.unless_too_long((len + 2).saturating_add(self.left * ARGUMENT_BYTES_MIN))
    }

    /// A request that is bound to be too long is refused when that is known, and not when it has come.
    fn unless_too_long(&self, more: usize) -> Step {
        // The byte under way is not counted yet.
        if (self.len + 1).saturating_add(more) > self.most {
            return Step::Bad(Fault::TooLong);
        }
        Step::On
    }

    /// Keeps the start of the first two arguments.
    fn word(&mut self, bytes: &[u8]) {
        match self.heading.argc - self.left {
            1 => self.heading.name.push(bytes),
            2 => self.heading.second.push(bytes),
            _ => {}
        }
    }

    fn line(&mut self, byte: u8, word: bool) -> Step {
        match byte {
            b'\n' => return self.line_end(),
            b'\r' => self.at = At::LineLf,
            b' ' | b'\t' => self.at = At::Line { word: false },
            b'"' | b'\'' | 0..0x20 | 0x7f => return Step::Bad(Fault::Inline),
            _ => {
                self.heading.argc += usize::from(!word);
                self.at = At::Line { word: true };
                match self.heading.argc {
                    1 => self.heading.name.push(&[byte]),
                    2 => self.heading.second.push(&[byte]),
                    _ => {}
                }
            }
        }
        Step::On
    }

    fn line_end(&self) -> Step {
        match self.heading.name.bytes() {
            b"post" | b"host:" => Step::Bad(Fault::Foreign),
            _ => Step::Done,
        }
    }
}

enum Step {
    On,
    Done,
    Bad(Fault),
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn arrays_and_lines_in_any_pieces() {
        let stream = b"*2\r\n$3\r\nGET\r\n$0\r\n\r\nPING  hello\r\n\r\n*0\r\n*1\r\n$4\r\nQuit\r\n";
        let wanted =
            [(19, 2, &b"get"[..]), (13, 2, b"ping"), (2, 0, b""), (4, 0, b""), (14, 1, b"quit")];
        for piece in 1..stream.len() {
            let mut scanner = Scanner::new(100);
            let (mut found, mut len) = (Vec::new(), 0);
            for mut bytes in stream.chunks(piece) {
                while !bytes.is_empty() {
                    match scanner.push(bytes) {
                        Scan::More => {
                            len += bytes.len();
                            break;
                        }
                        Scan::Done(n) => {
                            let heading = *scanner.heading();
                            found.push((len + n, heading.argc, heading.name.bytes().to_vec()));
                            (len, bytes) = (0, &bytes[n..]);
                        }
                        Scan::Bad(..) => panic!("bad at {len}"),
                    }
                }
            }
            let found: Vec<_> = found.iter().map(|(n, argc, w)| (*n, *argc, &w[..])).collect();
            assert_eq!(found, wanted);
        }
    }

    #[test]
    fn what_is_ambiguous_is_refused() {
        let cases: &[(&[u8], usize, Fault)] = &[
            (b"*01\r\n", 3, Fault::Count),
            (b"*-1\r\n", 2, Fault::Count),
            (b"*\r\n", 2, Fault::Count),
            (b"*1\n", 3, Fault::Count),
            (b"*1\r\n+", 5, Fault::NoBulk),
            (b"*1\r\n$-1\r\n", 6, Fault::Length),
            (b"*1\r\n$1\r\nab", 10, Fault::Length),
            (b"*1\r\n$60\r\n", 9, Fault::TooLong),
            (b"*20\r\n", 5, Fault::TooLong),
            (b"*9999999999\r\n", 11, Fault::Count),
            (b"SET a \"b\"\r\n", 7, Fault::Inline),
            (b"a\rb", 3, Fault::Inline),
            (b"POST / HTTP/1.1\r\n", 17, Fault::Foreign),
        ];
        for (bytes, len, fault) in cases {
            assert_eq!(Scanner::new(60).push(bytes), Scan::Bad(*len, *fault), "{bytes:?}");
        }
        assert_eq!(Scanner::new(8).push(b"PING PING"), Scan::Bad(9, Fault::TooLong));
    }
}
