//! Reads a server's stream, piece by piece, into the tokens of the protocol. Strictly: whatever has two
//! spellings is malformed in all but one.

/// Longest line of a reply, in bytes: a status, an error, a number.
pub(super) const LINE_BYTES: usize = 1024;
/// Longest string and array.
const COUNT_MAX: i64 = 1 << 40;

/// A piece of a reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A status.
    Status(&'a [u8]),
    /// An error.
    Error(&'a [u8]),
    /// A whole number.
    Integer(i64),
    /// No string.
    Nil,
    /// No array.
    NilArray,
    /// So many replies follow.
    Array(usize),
    /// A string of so many bytes follows.
    Bulk(usize),
    /// The next of its bytes, at least one.
    Bytes(&'a [u8]),
    /// The string's end.
    End,
}

/// This is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Line,
    Bulk(usize),
    BulkCr,
    BulkLf,
}

/// The reader.
pub(super) struct Tokens {
    at: At,
    line: [u8; LINE_BYTES],
    len: usize,
}

impl Tokens {
    pub(super) fn new() -> Self {
        Self { at: At::Line, line: [0; LINE_BYTES], len: 0 }
    }

    /// Forgets what came.
    pub(super) fn clear(&mut self) {
        (self.at, self.len) = (At::Line, 0);
    }

    /// The next token of `bytes`, which is moved behind it. [`Token::Bytes`] has at most `most` bytes, at
    /// least 1. `None`: all bytes are taken and there is no token yet.
    pub(super) fn next<'t, 'b: 't>(
        &'t mut self,
        bytes: &mut &'b [u8],
        most: usize,
    ) -> Result<Option<Token<'t>>, Malformed> {
        match self.at {
            At::Line => self.line(bytes),
            At::Bulk(left) => {
                let len = left.min(most).min(bytes.len());
                if len == 0 {
                    return Ok(None);
                }
                let (piece, rest) = bytes.split_at(len);
                *bytes = rest;
                self.at = if left == len { At::BulkCr } else { At::Bulk(left - len) };
                Ok(Some(Token::Bytes(piece)))
            }
            At::BulkCr | At::BulkLf => {
                while let Some((byte, rest)) = bytes.split_first() {
                    *bytes = rest;
                    match (self.at, byte) {
                        (At::BulkCr, b'\r') => self.at = At::BulkLf,
                        (At::BulkLf, b'\n') => {
                            self.at = At::Line;
                            return Ok(Some(Token::End));
                        }
                        _ => return Err(Malformed),
                    }
                }
                Ok(None)
            }
        }
    }

    fn line<'t>(&'t mut self, bytes: &mut &[u8]) -> Result<Option<Token<'t>>, Malformed> {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (piece, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
        *bytes = rest;
        let room = self.line.get_mut(self.len..self.len + piece.len()).ok_or(Malformed)?;
        room.copy_from_slice(piece);
        self.len += piece.len();
        if end.is_none() {
            return Ok(None);
        }
        let len = core::mem::take(&mut self.len);
        let line = self.line[..len].strip_suffix(b"\r\n").ok_or(Malformed)?;
        let (sign, text) = line.split_first().ok_or(Malformed)?;
        if text.contains(&b'\r') {
            return Err(Malformed);
        }
        let number = || super::out::number(text).ok_or(Malformed);
        Ok(Some(match sign {
            b'+' => Token::Status(text),
            b'-' => Token::Error(text),
            b':' => Token::Integer(number()?),
            b'$' => match number()? {
                -1 => Token::Nil,
                len @ 0..=COUNT_MAX => {
                    let len = usize::try_from(len).map_err(|_| Malformed)?;
                    self.at = if len == 0 { At::BulkCr } else { At::Bulk(len) };
                    Token::Bulk(len)
                }
                _ => return Err(Malformed),
            },
            b'*' => match number()? {
                -1 => Token::NilArray,
                count @ 0..=COUNT_MAX => {
                    Token::Array(usize::try_from(count).map_err(|_| Malformed)?)
                }
                _ => return Err(Malformed),
            },
            _ => return Err(Malformed),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::string::String;
    use std::vec::Vec;

    fn read(stream: &[u8], piece: usize) -> Result<Vec<String>, Malformed> {
        let (mut tokens, mut found) = (Tokens::new(), Vec::new());
        let mut string: Option<Vec<u8>> = None;
        for mut bytes in stream.chunks(piece) {
            while let Some(token) = tokens.next(&mut bytes, 3)? {
                match token {
                    Token::Bulk(_) => string = Some(Vec::new()),
                    Token::Bytes(bytes) => string.as_mut().unwrap().extend_from_slice(bytes),
                    Token::End => found.push(String::from_utf8(string.take().unwrap()).unwrap()),
                    other => found.push(format!("{other:?}")),
                }
            }
        }
        Ok(found)
    }

    #[test]
    fn any_pieces_give_the_same_tokens() {
        let stream = b"+OK\r\n:-5\r\n*2\r\n$5\r\nab\r\nc\r\n$0\r\n\r\n*-1\r\n$-1\r\n-E\r\n";
        let whole = read(stream, stream.len()).unwrap();
        assert_eq!(whole[1..5], ["Integer(-5)", "Array(2)", "ab\r\nc", ""]);
        for piece in 1..stream.len() {
            assert_eq!(read(stream, piece).unwrap(), whole);
        }
    }

    #[test]
    fn what_has_two_spellings_is_malformed() {
        for stream in [
            &b"+OK\n"[..],
            b"\r\n",
            b":\r\n",
            b":01\r\n",
            b":+1\r\n",
            b"$-2\r\n",
            b"$1\r\nab\r\n",
            b"*-0\r\n",
            b"+a\rb\r\n",
            b"%1\r\n",
            b"_\r\n",
            b"$1\r\na\n\n",
            b"$99999999999999999\r\n",
        ] {
            assert_eq!(read(stream, 100), Err(Malformed), "{stream:?}");
        }
        assert_eq!(read(&[b'+'; LINE_BYTES + 1], 100), Err(Malformed));
    }
}
