//! How each kind of server renders the same answer: what HTTP leaves open, each does its own way.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use super::kind::Kind;
use super::site::{Answer, Body};

/// Every so many bytes of a body one is wrong if the replica is corrupt, beginning with the first.
const CORRUPT_EVERY: u64 = 61;

/// Longest body that a server treats as made up on the fly, so that its length is not known beforehand.
const GENERATED_BYTES_MAX: u64 = 64 << 10;

/// How the end of a body is found (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// Its length is stated.
    Length,
    /// It comes in chunks.
    Chunked,
    /// It ends with the connection.
    Close,
}

impl Framing {
    fn of(kind: Kind, body: &Body, len: u64, form: Form) -> Self {
        if form.head_only || len > GENERATED_BYTES_MAX {
            return Self::Length;
        }
        match (kind, body) {
            (Kind::Chunks, _) if !form.is_old => Self::Chunked,
            (Kind::Events, Body::Echo(_) | Body::Error) => Self::Close,
            _ => Self::Length,
        }
    }
}

/// A reply on its way out.
pub(super) struct Reply {
    head: Vec<u8>,
    body: Body,
    error: String,
    len: u64,
    /// Body bytes that were handed out.
    at: u64,
    chunked: bool,
    corrupt_by: Option<u8>,
    /// The connection is to be closed after it.
    pub(super) close: bool,
}

/// What a reply is made for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    /// The body is left out (HEAD).
    pub(super) head_only: bool,
    /// The client speaks HTTP/1.0.
    pub(super) is_old: bool,
    /// The connection is closed afterwards.
    pub(super) close: bool,
    /// Wrong bytes go out.
    pub(super) corrupt: bool,
}

impl Reply {
    /// Renders `answer` as a server of this kind does.
    #[must_use]
    pub(super) fn new(kind: Kind, answer: Answer, mut form: Form) -> Self {
        let error = error_page(kind, answer.status);
        let mut len = answer.body.len(&error);
        if form.corrupt {
            // An empty body can be wrong only by having a byte.
            len = len.max(1);
        }
        let framing = Framing::of(kind, &answer.body, len, form);
        form.close |= framing == Framing::Close;
        let head = head(kind, &answer, len, framing, form.close);
        Self {
            head,
            body: answer.body,
            error,
            len: if form.head_only { 0 } else { len },
            at: 0,
            chunked: framing == Framing::Chunked,
            corrupt_by: form.corrupt.then_some(1 << kind as u8),
            close: form.close,
        }
    }

    /// Appends the next part to `out`, with at most `limit` bytes of the body. False if that was the
    /// last.
    pub(super) fn next_part(&mut self, out: &mut Vec<u8>, limit: u64) -> bool {
        out.append(&mut self.head);
        let end = self.len.min(self.at + limit);
        if self.chunked && end > self.at {
            // Writing to a vector cannot fail.
            let _ = write!(out, "{:x}\r\n", end - self.at);
        }
        out.extend((self.at..end).map(|at| self.byte(at)));
        if self.chunked {
            let is_last = end == self.len;
            out.extend_from_slice(if end > self.at { b"\r\n" } else { b"" });
            out.extend_from_slice(if is_last { b"0\r\n\r\n" } else { b"" });
        }
        self.at = end;
        end < self.len
    }

    fn byte(&self, at: u64) -> u8 {
        let right =
            if at < self.body.len(&self.error) { self.body.byte(at, &self.error) } else { 0 };
        match self.corrupt_by {
            Some(mask) if at.is_multiple_of(CORRUPT_EVERY) => right ^ mask,
            _ => right,
        }
    }
}

fn head(kind: Kind, answer: &Answer, len: u64, framing: Framing, close: bool) -> Vec<u8> {
    let (status, content_type) = (answer.status, answer.content_type);
    let mut head = Vec::with_capacity(512);
    let mut line = |text: std::fmt::Arguments<'_>| {
        // Writing to a vector cannot fail.
        let _ = head.write_fmt(text).and_then(|()| head.write_all(b"\r\n"));
    };
    match kind {
        Kind::Threads => {
            line(format_args!("HTTP/1.1 {status} {}", reason(status)));
            line(format_args!("Date: {}", http_date(now_s())));
            line(format_args!("Server: Threads/1.0"));
            line(format_args!("Content-Type: {content_type}"));
            line(format_args!("Content-Length: {len}"));
            line(format_args!("ETag: \"{status:x}-{len:x}\""));
            line(format_args!("Connection: {}", if close { "close" } else { "Keep-Alive" }));
            if let Some(allow) = answer.allow {
                line(format_args!("Allow: {allow}"));
            }
        }
        Kind::Chunks => {
            line(format_args!("HTTP/1.1 {status} {}", reason(status)));
            line(format_args!("server: chunks"));
            match framing {
                Framing::Chunked => line(format_args!("transfer-encoding: chunked")),
                _ => line(format_args!("content-length: {len}")),
            }
            line(format_args!("etag: W/\"{len}\""));
            if let Some(allow) = answer.allow {
                line(format_args!("allow: {allow}"));
            }
            line(format_args!("content-type: {content_type}"));
            line(format_args!("date: {}", http_date(now_s())));
            if close {
                line(format_args!("connection: close"));
            }
        }
        Kind::Events => {
            let version = if framing == Framing::Close { "1.0" } else { "1.1" };
            line(format_args!("HTTP/{version} {status} So be it"));
            if framing == Framing::Length {
                line(format_args!("CONTENT-LENGTH: {len}"));
            }
            if let Some(allow) = answer.allow {
                line(format_args!("ALLOW: {allow}"));
            }
            line(format_args!("CONTENT-TYPE: {content_type}"));
            line(format_args!("SERVER: Events (one loop)"));
            if close {
                line(format_args!("CONNECTION: close"));
            }
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        505 => "HTTP Version Not Supported",
        _ => "Bad Request",
    }
}

/// Each server words its errors in its own way.
fn error_page(kind: Kind, status: u16) -> String {
    let reason = reason(status);
    match kind {
        Kind::Threads => format!("<html><body><h1>{status} {reason}</h1></body></html>\n"),
        Kind::Chunks => format!("<!doctype html><title>{reason}</title><p>Error {status}\n"),
        Kind::Events => format!("<p>The server regrets: {status}, {reason}.<hr>events\n"),
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The preferred form of a date (RFC 9110 section 5.6.7).
fn http_date(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let days = seconds / 86_400;
    let (year, month, day) = resh_status::civil_date(days);
    format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        DAYS[(days % 7) as usize],
        MONTHS[(month as usize - 1) % 12],
        seconds % 86_400 / 3600,
        seconds % 3600 / 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::site;

    const PLAIN: Form = Form { head_only: false, is_old: false, close: false, corrupt: false };

    /// Head and body as sent, and the body without its framing.
    fn render(kind: Kind, path: &str, form: Form, limit: u64) -> (String, Vec<u8>) {
        let answer = site::answer("GET", path, Vec::new());
        let mut reply = Reply::new(kind, answer, form);
        let mut out = Vec::new();
        while reply.next_part(&mut out, limit) {}
        let end = out.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let head = String::from_utf8(out.drain(..end).collect()).unwrap();
        let body = if head.contains("chunked") { unchunk(&out) } else { out };
        (head, body)
    }

    fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        while !bytes.is_empty() {
            let end = bytes.windows(2).position(|window| window == b"\r\n").unwrap();
            let len = usize::from_str_radix(str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
            body.extend_from_slice(&bytes[end + 2..end + 2 + len]);
            assert_eq!(&bytes[end + 2 + len..end + 4 + len], b"\r\n");
            bytes = &bytes[end + 4 + len..];
        }
        body
    }

    #[test]
    fn lengths_are_known_in_some_replies_only() {
        let echo = |kind, len, head_only| {
            let answer = site::answer("POST", "/echo", vec![b'x'; len]);
            let reply = Reply::new(kind, answer, Form { head_only, ..PLAIN });
            (String::from_utf8(reply.head).unwrap().to_lowercase(), reply.close)
        };
        assert!(echo(Kind::Threads, 9, false).0.contains("content-length: 9\r\n"));
        assert!(echo(Kind::Chunks, 9, false).0.contains("transfer-encoding: chunked\r\n"));
        let (head, close) = echo(Kind::Events, 9, false);
        assert!(head.starts_with("http/1.0 200 ") && !head.contains("content-length") && close);
        for kind in Kind::ALL {
            let (head, close) = echo(kind, 100_000, false);
            assert!(head.contains("content-length: 100000\r\n") && !close, "{head}");
            assert!(echo(kind, 9, true).0.contains("content-length: 9\r\n"));
        }
    }

    #[test]
    fn heads_differ_and_bodies_do_not() {
        for path in ["/", "/hello.txt", "/bytes/0", "/bytes/1", "/bytes/1000"] {
            let all = Kind::ALL.map(|kind| render(kind, path, PLAIN, 100));
            assert!(all[0].0 != all[1].0 && all[1].0 != all[2].0 && all[0].0 != all[2].0);
            assert!(all[0].1 == all[1].1 && all[1].1 == all[2].1, "{path}");
        }
    }

    #[test]
    fn corrupt_bodies_of_any_length_differ_from_the_right_one_and_each_other() {
        for path in ["/", "/bytes/0", "/bytes/1", "/bytes/60", "/bytes/100000", "/nowhere"] {
            let form = Form { corrupt: true, ..PLAIN };
            let wrong = Kind::ALL.map(|kind| render(kind, path, form, 1000).1);
            assert!(wrong[0] != wrong[1] && wrong[1] != wrong[2] && wrong[0] != wrong[2]);
            for kind in Kind::ALL {
                let right = render(kind, path, PLAIN, 1000).1;
                let wrong = &wrong[kind as usize];
                assert_ne!(*wrong, right, "{path}");
                assert_eq!(wrong.len(), right.len().max(1));
            }
        }
    }

    #[test]
    fn a_head_alone_and_an_old_client() {
        for kind in Kind::ALL {
            let (head, body) = render(kind, "/", Form { head_only: true, ..PLAIN }, 1000);
            assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"));
            assert!(body.is_empty());
            let (head, body) = render(kind, "/", Form { is_old: true, close: true, ..PLAIN }, 1000);
            assert!(!head.to_lowercase().contains("chunked"));
            assert!(body.starts_with(b"<!doctype html>"));
        }
    }

    #[test]
    fn dates() {
        // The example of RFC 9110 section 5.6.7.
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
    }
}
