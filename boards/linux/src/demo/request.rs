//! Reads HTTP requests (RFC 9112) as far as a demo server needs: bodies by length or chunked.

use super::site::BODY_BYTES_MAX;

/// Longest head in bytes.
const HEAD_BYTES_MAX: usize = 128 << 10;

/// A request that has arrived whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Method.
    pub(super) method: String,
    /// Target.
    pub(super) path: String,
    /// Body.
    pub(super) body: Vec<u8>,
    /// The client speaks HTTP/1.0: it knows no chunks.
    pub(super) is_old: bool,
    /// The connection is to be closed after the answer.
    pub(super) close: bool,
}

/// Status code to answer with before the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bad(pub(super) u16);

/// Collects the bytes of a connection.
#[derive(Debug, Default)]
pub(super) struct Reader {
    received: Vec<u8>,
    /// The head that was read, while its body is on the way.
    head: Option<Head>,
    /// Decoded part of a chunked body.
    body: Vec<u8>,
}

#[derive(Debug)]
struct Head {
    request: Request,
    framing: Framing,
}

#[derive(Clone, Copy, Debug)]
enum Framing {
    Length(usize),
    Chunked,
    Trailer,
}

impl Reader {
    /// Takes bytes of the connection.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
    }

    /// The next request that is there as a whole.
    ///
    /// # Errors
    /// The request is malformed or too long.
    pub(super) fn next(&mut self) -> Result<Option<Request>, Bad> {
        let mut head = match self.head.take() {
            Some(head) => head,
            None => match self.read_head()? {
                Some(head) => head,
                None => return Ok(None),
            },
        };
        let is_whole = match head.framing {
            Framing::Length(len) if self.received.len() >= len => {
                head.request.body = self.received.drain(..len).collect();
                true
            }
            Framing::Length(_) => false,
            Framing::Chunked | Framing::Trailer => {
                let is_whole = self.read_chunks(&mut head.framing)?;
                if is_whole {
                    head.request.body = std::mem::take(&mut self.body);
                }
                is_whole
            }
        };
        if is_whole {
            return Ok(Some(head.request));
        }
        self.head = Some(head);
        Ok(None)
    }

    fn read_head(&mut self) -> Result<Option<Head>, Bad> {
        let end = self.received.windows(4).position(|window| window == b"\r\n\r\n");
        let Some(end) = end.filter(|&end| end < HEAD_BYTES_MAX) else {
            return if self.received.len() >= HEAD_BYTES_MAX { Err(Bad(431)) } else { Ok(None) };
        };
        let head = self.received.drain(..end + 4).collect();
        let text = String::from_utf8(head).map_err(|_| Bad(400))?;
        parse_head(&text).map(Some)
    }

    /// Moves whole chunks to the body. True after the last of them.
    fn read_chunks(&mut self, framing: &mut Framing) -> Result<bool, Bad> {
        let mut at = 0;
        let done = loop {
            let rest = &self.received[at..];
            let Some(line_end) = rest.windows(2).position(|window| window == b"\r\n") else {
                break false;
            };
            if matches!(framing, Framing::Trailer) {
                at += line_end + 2;
                if line_end == 0 {
                    break true;
                }
                continue;
            }
            let line = str::from_utf8(&rest[..line_end]).map_err(|_| Bad(400))?;
            let digits = line.split(';').next().unwrap_or_default().trim_end();
            let len = u64::from_str_radix(digits, 16).map_err(|_| Bad(400))?;
            if self.body.len() as u64 + len > BODY_BYTES_MAX {
                return Err(Bad(413));
            }
            if len == 0 {
                *framing = Framing::Trailer;
                at += line_end + 2;
                continue;
            }
            let start = line_end + 2;
            let end = start + len as usize;
            match rest.get(end..end + 2) {
                None => break false,
                Some(b"\r\n") => self.body.extend_from_slice(&rest[start..end]),
                Some(_) => return Err(Bad(400)),
            }
            at += end + 2;
        };
        self.received.drain(..at);
        Ok(done)
    }
}

fn parse_head(text: &str) -> Result<Head, Bad> {
    let mut lines = text.trim_end_matches("\r\n").split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(path), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Bad(400));
    };
    let is_old = match version {
        "HTTP/1.1" => false,
        "HTTP/1.0" => true,
        _ => return Err(Bad(505)),
    };
    let (mut framing, mut close) = (Framing::Length(0), is_old);
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(Bad(400))?;
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => {
                let len: u64 = value.parse().map_err(|_| Bad(400))?;
                if len > BODY_BYTES_MAX {
                    return Err(Bad(413));
                }
                framing = Framing::Length(len as usize);
            }
            "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => {
                framing = Framing::Chunked;
            }
            "transfer-encoding" => return Err(Bad(501)),
            "connection" if value.eq_ignore_ascii_case("close") => close = true,
            "connection" if value.eq_ignore_ascii_case("keep-alive") => close = false,
            _ => {}
        }
    }
    let (method, path) = (method.to_owned(), path.to_owned());
    Ok(Head { request: Request { method, path, body: Vec::new(), is_old, close }, framing })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAIR: &[u8] = b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
        3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n\
        POST /echo HTTP/1.1\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

    fn check(reader: &mut Reader, seen: &mut Vec<Request>) {
        while let Some(request) = reader.next().unwrap() {
            seen.push(request);
        }
    }

    #[test]
    fn requests_in_pieces_of_any_size_are_the_same() {
        for size in 1..PAIR.len() {
            let (mut reader, mut seen) = (Reader::default(), Vec::new());
            for piece in PAIR.chunks(size) {
                reader.push(piece);
                check(&mut reader, &mut seen);
            }
            assert_eq!(seen.len(), 2, "{size}");
            assert_eq!((seen[0].body.as_slice(), seen[0].close), (&b"abc0123456789"[..], false));
            assert_eq!((seen[1].body.as_slice(), seen[1].close), (&b"ok"[..], true));
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for (text, status) in [
            ("GET /\r\n\r\n", 400),
            ("GET / HTTP/3\r\n\r\n", 505),
            ("GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc", 400),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFF\r\n", 413),
        ] {
            let mut reader = Reader::default();
            reader.push(text.as_bytes());
            assert_eq!(reader.next(), Err(Bad(status)), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(pieces in proptest::collection::vec(any::<Vec<u8>>(), 0..8)) {
            let mut reader = Reader::default();
            for piece in pieces {
                reader.push(&piece);
                while let Ok(Some(_)) = reader.next() {}
            }
        }
    }
}
