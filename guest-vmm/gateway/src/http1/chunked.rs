//! The chunked transfer coding (RFC 9112, section 7.1), decoded without a buffer.
//!
//! Syntax and data alternate: while [`Decoder::data_left`] is not zero the next bytes of input are
//! data and belong to the caller, who reports what it took; all other bytes are syntax.

/// What may stand in a coded body beyond the data itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extras {
    /// Chunk extensions are an error (requests). Trailers are dropped either way.
    Refused,
    /// Chunk extensions are dropped (responses).
    Dropped,
}

/// The input is no chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Size { digits: u8 },
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    Done,
}

/// Most bytes of extensions and trailers in one body.
const MAX_EXTRAS: u32 = 8 * 1024;
/// Most hexadecimal digits of a chunk size; leading zeros count.
const MAX_DIGITS: u8 = 15;

#[derive(Clone, Copy)]
pub(super) struct Decoder {
    state: State,
    left: u64,
    extras: Extras,
    extra_bytes: u32,
}

impl Decoder {
    pub(super) const fn new(extras: Extras) -> Self {
        Self { state: State::Size { digits: 0 }, left: 0, extras, extra_bytes: 0 }
    }

    /// Data bytes that come next in the input.
    pub(super) fn data_left(&self) -> u64 {
        if self.state == State::Data { self.left } else { 0 }
    }

    /// The caller has taken `n` of the data bytes.
    pub(super) fn took(&mut self, n: u64) {
        if self.state == State::Data {
            self.left = self.left.saturating_sub(n);
            if self.left == 0 {
                self.state = State::DataCr;
            }
        }
    }

    /// Whether the last byte of the body, trailers included, was seen.
    pub(super) fn done(&self) -> bool {
        self.state == State::Done
    }

    /// Reads syntax up to the next data, the end of the body or the end of `bytes`, and says how
    /// many bytes that were.
    pub(super) fn syntax(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        for (at, &byte) in bytes.iter().enumerate() {
            if matches!(self.state, State::Data | State::Done) {
                return Ok(at);
            }
            self.state = self.next(byte)?;
        }
        Ok(bytes.len())
    }

    fn next(&mut self, byte: u8) -> Result<State, Malformed> {
        Ok(match (self.state, byte) {
            (State::Size { digits }, _) if byte.is_ascii_hexdigit() && digits < MAX_DIGITS => {
                let digit = (byte as char).to_digit(16).unwrap_or(0);
                self.left = self.left << 4 | u64::from(digit);
                State::Size { digits: digits + 1 }
            }
            (State::Size { digits: 1.. }, b'\r') => State::SizeLf,
            (State::Size { digits: 1.. }, b';' | b' ' | b'\t')
                if self.extras == Extras::Dropped =>
            {
                State::Extension
            }
            (State::Extension, b'\r') => State::SizeLf,
            (State::Extension, _) => {
                self.extra(byte)?;
                State::Extension
            }
            (State::SizeLf, b'\n') if self.left == 0 => State::TrailerStart,
            (State::SizeLf, b'\n') => State::Data,
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { digits: 0 },
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::TrailerStart, b' ' | b'\t' | b':') => return Err(Malformed),
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::TrailerStart | State::Trailer, _) => {
                self.extra(byte)?;
                State::Trailer
            }
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::EndLf, b'\n') => State::Done,
            _ => return Err(Malformed),
        })
    }

    /// Counts a byte that will be dropped; controls are an error even there.
    fn extra(&mut self, byte: u8) -> Result<(), Malformed> {
        self.extra_bytes += 1;
        if byte < b' ' && byte != b'\t' || byte == 0x7f || self.extra_bytes > MAX_EXTRAS {
            return Err(Malformed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    fn decode(bytes: &[u8], piece: usize, extras: Extras) -> Result<(Vec<u8>, usize), Malformed> {
        let (mut decoder, mut data, mut at) = (Decoder::new(extras), Vec::new(), 0);
        while at < bytes.len() && !decoder.done() {
            let window = &bytes[at..bytes.len().min(at + piece)];
            let n = decoder.data_left().min(window.len() as u64) as usize;
            data.extend_from_slice(&window[..n]);
            decoder.took(n as u64);
            at += n + decoder.syntax(&window[n..])?;
        }
        if decoder.done() { Ok((data, at)) } else { Err(Malformed) }
    }

    #[test]
    fn any_pieces_give_the_same_body() {
        let coded = b"5\r\nhello\r\n00A\r\n, chunked \r\n1\r\n!\r\n0\r\nA: b\r\nC: d\r\n\r\nnext";
        for piece in 1..=coded.len() {
            let (data, used) = decode(coded, piece, Extras::Refused).unwrap();
            assert_eq!(data, b"hello, chunked !");
            assert_eq!(&coded[used..], b"next");
        }
    }

    #[test]
    fn extensions() {
        let coded = b"2;a=\"b\"\r\nok\r\n0;x\r\n\r\n";
        assert!(decode(coded, 3, Extras::Refused).is_err());
        assert_eq!(decode(coded, 3, Extras::Dropped).unwrap().0, b"ok");
    }

    #[test]
    fn malformed_bodies() {
        for coded in [
            "\r\n",
            "g\r\n",
            "-1\r\n",
            "+1\r\n",
            " 1\r\n",
            "0x1\r\na\r\n0\r\n\r\n",
            "1\na\n0\n\n",
            "1\r\nab\r\n0\r\n\r\n",
            "1\r\na\n0\r\n\r\n",
            "1\r\na0\r\n\r\n",
            "0\r\n\n",
            "0\r\n\r\r",
            "1000000000000000\r\n",
            "0000000000000000\r\n\r\n",
            "1 \r\na\r\n0\r\n\r\n",
            "0\r\n a: b\r\n\r\n",
            "0\r\na\0b\r\n\r\n",
            "0\r\na\rb\r\n\r\n",
        ] {
            assert!(decode(coded.as_bytes(), 2, Extras::Refused).is_err(), "{coded:?}");
        }
    }

    #[test]
    fn extras_are_bounded() {
        let mut coded = Vec::from(&b"0\r\nA:"[..]);
        coded.resize(coded.len() + MAX_EXTRAS as usize, b'x');
        coded.extend_from_slice(b"\r\n\r\n");
        assert!(decode(&coded, 100, Extras::Dropped).is_err());
    }
}
