//! Replicas of different make that all serve the same small site correctly: they differ in everything
//! in which correct servers may differ.

use super::Rng;
use super::network::{Replica, Wire};

pub(crate) const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
/// What every replica is told to be under in its redirects.
pub(crate) const PORT: u16 = 9001;

/// A request as a replica must get it.
#[derive(Debug)]
struct Request {
    method: String,
    target: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

/// What the site has to say; how it is said is the dialect's.
struct Answer {
    status: u16,
    kind: Option<&'static str>,
    body: Vec<u8>,
    location: Option<&'static str>,
    modified: bool,
    /// The application states no length.
    dynamic: bool,
}

fn answer(request: &Request) -> Answer {
    let plain = |body: Vec<u8>| Answer {
        status: 200,
        kind: Some("text/plain"),
        body,
        location: None,
        modified: false,
        dynamic: false,
    };
    let path = request.target.split('?').next().unwrap_or("");
    let (name, n) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    let n: usize = n.parse().unwrap_or(0);
    let bytes = || (0..n.min(400_000)).map(|i| b'a' + (i * 7 % 23) as u8).collect::<Vec<u8>>();
    match (name, request.method.as_str()) {
        (_, "OPTIONS") => Answer { kind: None, ..plain(Vec::new()) },
        ("echo", "POST" | "PUT") => Answer { dynamic: true, ..plain(request.body.clone()) },
        ("count", "POST" | "PUT") => plain(request.body.len().to_string().into_bytes()),
        (_, "POST") => Answer { status: 405, kind: Some("text/html"), ..plain(b"<h1>no".to_vec()) },
        (_, "PUT" | "DELETE") => Answer { status: 501, kind: None, ..plain(b"never".to_vec()) },
        ("file", _) => Answer { modified: true, ..plain(bytes()) },
        ("dynamic", _) => Answer { dynamic: true, kind: Some("a/b"), ..plain(bytes()) },
        ("events", _) => {
            let events: Vec<u8> =
                (0..n.min(500)).flat_map(|i| format!("data: {i}\n\n").into_bytes()).collect();
            Answer { dynamic: true, kind: Some("text/event-stream"), ..plain(events) }
        }
        ("untyped", _) => Answer { kind: None, ..plain(bytes()) },
        ("empty", _) => Answer { status: 204, kind: None, ..plain(Vec::new()) },
        ("moved", _) => Answer {
            status: 301,
            kind: Some("text/html"),
            location: Some("/there/"),
            ..plain(b"<h1>moved".to_vec())
        },
        ("json", _) => Answer {
            status: 422,
            kind: Some("application/json"),
            ..plain(b"{\"error\": 1}".to_vec())
        },
        _ => Answer { status: 404, kind: Some("text/html"), ..plain(b"<h1>none".to_vec()) },
    }
}

/// One make of server.
pub(crate) struct Dialect {
    rng: Rng,
    inbox: Vec<u8>,
    served: usize,
    closing: bool,
    /// Responses after which it closes.
    keep_alive: usize,
    http10: bool,
    ranges: bool,
    conditions: bool,
    states_lengths: bool,
    /// Requests that it has answered, as it got them.
    pub(crate) requests: Vec<String>,
}

impl Dialect {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let http10 = rng.one_in(4);
        Dialect {
            inbox: Vec::new(),
            served: 0,
            closing: false,
            keep_alive: if http10 { 1 } else { 1 + rng.below(5) },
            http10,
            ranges: rng.one_in(2),
            conditions: rng.one_in(2),
            states_lengths: rng.one_in(2),
            requests: Vec::new(),
            rng,
        }
    }

    fn respond(&mut self, request: &Request, out: &mut Vec<u8>) {
        self.served += 1;
        let last = self.served >= self.keep_alive;
        let head_only = request.method == "HEAD";
        let mut answer = answer(request);
        let mut fields: Vec<(&str, String)> = Vec::new();
        if !self.http10 && self.rng.one_in(4) {
            out.extend_from_slice(b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n");
        }
        if answer.status >= 300 && answer.kind == Some("text/html") {
            answer.body = format!("<html>{}</html>", "x".repeat(self.rng.below(500))).into_bytes();
        }
        if answer.modified {
            fields.push(("Last-Modified", MODIFIED.into()));
            fields.push(("ETag", format!("\"{:x}\"", self.rng.next())));
            if self.conditions && request.field("if-modified-since") == Some(MODIFIED) {
                answer.status = 304;
                answer.body.clear();
            }
        }
        if let (true, 200, Some(range)) = (self.ranges, answer.status, request.field("range")) {
            self.cut(&mut answer, range, &mut fields);
        }
        if let Some(location) = answer.location {
            let host = request.field("host").unwrap_or("");
            let name = host.split(':').next().unwrap_or("");
            let form = self.rng.pick(&["", "host", "port"]);
            fields.push((
                "Location",
                match form {
                    "host" => format!("http://{host}{location}"),
                    "port" if !host.starts_with('[') => format!("http://{name}:{PORT}{location}"),
                    _ => location.to_owned(),
                },
            ));
        }
        if let Some(kind) = answer.kind {
            let kind = if self.rng.one_in(2) { kind.to_uppercase() } else { kind.to_owned() };
            fields.push(("content-type", kind));
        } else if answer.status == 200 && self.rng.one_in(2) {
            fields.push(("Content-Type", "application/octet-stream".into()));
        }
        fields.push(("Server", format!("make/{}", self.rng.below(9))));
        fields.push(("DATE", "Thu, 01 Jan 1970 00:00:00 GMT".into()));
        fields.push(("Cache-Control", "private , no-store".into()));
        fields.push(("Set-Cookie", "a=1".into()));
        fields.push(("Vary", self.rng.pick(&["Accept-Encoding, Cookie", "cookie"]).into()));
        if self.rng.one_in(2) {
            fields.push(("Accept-Ranges", "bytes".into()));
        }
        if last && (self.rng.one_in(2) || self.http10) {
            fields.push(("Connection", "close".into()));
        }
        if request.method == "OPTIONS" {
            answer.status = [200, 204, 404, 405][self.rng.below(4)];
            fields.push(("Allow", self.rng.pick(&["GET", "OPTIONS,GET,HEAD", "DELETE"]).into()));
        }
        let body = std::mem::take(&mut answer.body);
        let framed = self.frame(&answer, head_only, last, body, &mut fields);
        // Fields in any order but for two of the same name.
        for i in (1..fields.len()).rev() {
            fields.swap(i, self.rng.below(i + 1));
        }
        let version = if self.http10 { "1.0" } else { "1.1" };
        let reason = self.rng.pick(&["", "Fine", "Not so fine"]);
        out.extend_from_slice(format!("HTTP/{version} {} {reason}\r\n", answer.status).as_bytes());
        for (name, value) in fields {
            let space = self.rng.pick(&["", " ", "\t "]);
            out.extend_from_slice(format!("{name}:{space}{value}{space}\r\n").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&framed);
        self.closing = last;
    }

    fn cut(&mut self, answer: &mut Answer, range: &str, fields: &mut Vec<(&str, String)>) {
        let length = answer.body.len();
        let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let (first, last) = match (first, last) {
            ("", n) => (length.saturating_sub(n.parse().unwrap()), length.wrapping_sub(1)),
            (first, "") => (first.parse().unwrap(), length.wrapping_sub(1)),
            (first, last) => (first.parse().unwrap(), last.parse().unwrap()),
        };
        // A body without stated length is cut by nobody.
        if answer.dynamic {
            return;
        }
        if length == 0 || first >= length {
            answer.status = 416;
            answer.kind = Some("text/html");
            fields.retain(|(name, _)| *name != "Last-Modified");
            fields.push(("Content-Range", format!("bytes */{length}")));
            return;
        }
        let last = last.min(length - 1);
        answer.status = 206;
        answer.body = answer.body[first..=last].to_vec();
        fields.push(("Content-Range", format!("bytes {first}-{last}/{length}")));
    }

    fn frame(
        &mut self,
        answer: &Answer,
        head_only: bool,
        last: bool,
        body: Vec<u8>,
        fields: &mut Vec<(&str, String)>,
    ) -> Vec<u8> {
        if matches!(answer.status, 204 | 304) {
            return Vec::new();
        }
        // Events go out one by one, unless a server knows when they end.
        let stream = answer.kind == Some("text/event-stream");
        let length = !answer.dynamic || self.states_lengths && !stream;
        if length {
            fields.push(("Content-Length", body.len().to_string()));
            return if head_only { Vec::new() } else { body };
        }
        if self.http10 || last && self.rng.one_in(2) {
            return if head_only { Vec::new() } else { body };
        }
        fields.push(("Transfer-Encoding", "chunked".into()));
        let mut framed = Vec::new();
        let mut rest = &body[..];
        while !rest.is_empty() {
            let n = 1 + self.rng.below(rest.len().min(20_000));
            let extension = self.rng.pick(&["", ";x=y"]);
            framed.extend_from_slice(format!("{n:X}{extension}\r\n").as_bytes());
            framed.extend_from_slice(&rest[..n]);
            framed.extend_from_slice(b"\r\n");
            rest = &rest[n..];
        }
        framed.extend_from_slice(
            self.rng.pick(&["0\r\n\r\n", "00\r\nX-Trailer: 1\r\n\r\n"]).as_bytes(),
        );
        if head_only { Vec::new() } else { framed }
    }
}

impl Replica for Dialect {
    fn connect(&mut self) -> bool {
        self.inbox.clear();
        self.served = 0;
        self.closing = false;
        true
    }

    fn receive(&mut self, bytes: &[u8], out: &mut Wire) {
        assert!(!self.closing || out.close.is_none());
        self.inbox.extend_from_slice(bytes);
        while let Some((request, used)) = read(&self.inbox) {
            self.inbox.drain(..used);
            self.requests.push(format!("{} {}", request.method, request.target));
            self.respond(&request, &mut out.bytes);
            if self.closing {
                out.close = Some(true);
                self.inbox.clear();
            }
        }
    }

    fn idle(&mut self, out: &mut Wire) {
        // Impatient: it closes what has been served once and waits.
        if self.served > 0 && self.inbox.is_empty() && out.bytes.is_empty() && self.rng.one_in(20) {
            if self.rng.one_in(2) && out.close.is_none() {
                out.bytes.extend_from_slice(b"HTTP/1.1 408 Late\r\nConnection: close\r\n\r\n");
            }
            out.close = Some(true);
        }
    }
}

/// Reads one request, and checks that it has the canonical form.
fn read(bytes: &[u8]) -> Option<(Request, usize)> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head: String = bytes[..end].iter().map(|&b| b as char).collect();
    assert!(end + 4 <= 8192, "a head that not all servers take");
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    let [method, target, "HTTP/1.1"] = words[..] else { panic!("request line {line:?}") };
    let path = target.split('?').next().unwrap();
    assert!(path.starts_with('/') && !path.contains("//"), "{target}");
    assert!(path.split('/').all(|s| s != "." && s != ".."), "{target}");
    assert!(target.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}#[]".contains(&b)));
    let mut fields = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("field {line:?}"));
        assert!(!value.is_empty() && value.trim() == value, "{line:?}");
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{line:?}");
        assert!(!fields.iter().any(|(n, _): &(String, String)| n.eq_ignore_ascii_case(name)));
        fields.push((name.to_owned(), value.to_owned()));
    }
    assert_eq!(fields[0].0, "Host");
    let mut request =
        Request { method: method.into(), target: target.into(), fields, body: Vec::new() };
    assert_eq!(request.field("connection"), Some("keep-alive"));
    for name in ["accept-encoding", "te", "upgrade", "expect", "keep-alive", "if-none-match"] {
        assert!(request.field(name).is_none() || request.field(name) == Some("*"), "{name}");
    }
    let rest = &bytes[end + 4..];
    match (request.field("content-length"), request.field("transfer-encoding")) {
        (Some(length), None) => {
            let n: usize = length.parse().unwrap();
            request.body = rest.get(..n)?.to_vec();
            Some((request, end + 4 + n))
        }
        (None, Some("chunked")) => {
            let mut at = 0;
            loop {
                let line = rest[at..].windows(2).position(|w| w == b"\r\n")?;
                let n = std::str::from_utf8(&rest[at..at + line]).unwrap();
                let n = usize::from_str_radix(n, 16).unwrap();
                at += line + 2;
                let chunk = rest.get(at..at + n + 2)?;
                assert_eq!(&chunk[n..], b"\r\n");
                at += n + 2;
                if n == 0 {
                    return Some((request, end + 4 + at));
                }
                request.body.extend_from_slice(&chunk[..n]);
            }
        }
        (None, None) => Some((request, end + 4)),
        other => panic!("{other:?}"),
    }
}
