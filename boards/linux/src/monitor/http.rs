//! As much of HTTP/1.1 as the monitor needs (RFC 9112): one GET for each connection.

/// Longest request head in bytes. A longer one is answered with 431.
pub const HEAD_BYTES_MAX: usize = 4096;

/// What stands in the bytes received so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The head has not ended yet.
    Incomplete,
    /// A request for one of the resources.
    Get(Resource),
    /// Something else, to be answered with this error.
    Refused(Status),
}

/// What there is to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// `/`
    Page,
    /// `/page.js`
    Script,
    /// `/page.css`
    Style,
    /// `/status.json`
    Status,
    /// `/metrics`
    Metrics,
    /// `/healthz`
    Health,
}

impl Resource {
    /// `path` may carry a query, which is ignored.
    fn named(path: &[u8]) -> Option<Self> {
        let end = path.iter().position(|&byte| byte == b'?').unwrap_or(path.len());
        Some(match &path[..end] {
            b"/" => Self::Page,
            b"/page.js" => Self::Script,
            b"/page.css" => Self::Style,
            b"/status.json" => Self::Status,
            b"/metrics" => Self::Metrics,
            b"/healthz" => Self::Health,
            _ => return None,
        })
    }

    /// Its media type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Page => "text/html; charset=utf-8",
            Self::Script => "text/javascript; charset=utf-8",
            Self::Style => "text/css; charset=utf-8",
            Self::Status => "application/json",
            Self::Metrics => "text/plain; version=0.0.4; charset=utf-8",
            Self::Health => "text/plain; charset=utf-8",
        }
    }
}

/// Status codes of the answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 200
    Ok,
    /// 400
    BadRequest,
    /// 404
    NotFound,
    /// 405
    MethodNotAllowed,
    /// 431
    HeadTooLarge,
    /// 500
    Internal,
    /// 503
    Unavailable,
    /// 505
    Version,
}

impl Status {
    /// Code and reason phrase.
    #[must_use]
    pub fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::BadRequest => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
            Self::Internal => "500 Internal Server Error",
            Self::Unavailable => "503 Service Unavailable",
            Self::Version => "505 HTTP Version Not Supported",
        }
    }
}

/// Looks at the bytes received so far. Only the request line says anything to the monitor; the fields
/// after it are skipped. Never panics, whatever the bytes are.
#[must_use]
pub fn parse(received: &[u8]) -> Parsed {
    let head = &received[..received.len().min(HEAD_BYTES_MAX)];
    if !head.windows(4).any(|end| end == b"\r\n\r\n") {
        // Nothing that begins like this will ever be a request: say so now.
        let line = head.split(|&byte| byte == b'\n').next().unwrap_or_default();
        return if line.iter().any(|&byte| byte == 0 || byte > 0x7e) {
            Parsed::Refused(Status::BadRequest)
        } else if received.len() >= HEAD_BYTES_MAX {
            Parsed::Refused(Status::HeadTooLarge)
        } else {
            Parsed::Incomplete
        };
    }
    let end = head.windows(2).position(|end| end == b"\r\n").unwrap_or(0);
    request_line(&head[..end])
}

fn request_line(line: &[u8]) -> Parsed {
    let mut words = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Parsed::Refused(Status::BadRequest);
    };
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let is_visible = target.iter().all(|byte| (0x21..=0x7e).contains(byte));
    if method.is_empty() || !method.iter().all(is_token) || target.is_empty() || !is_visible {
        return Parsed::Refused(Status::BadRequest);
    }
    match version {
        b"HTTP/1.1" | b"HTTP/1.0" => {}
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Parsed::Refused(Status::Version);
        }
        _ => return Parsed::Refused(Status::BadRequest),
    }
    if method != b"GET" {
        return Parsed::Refused(Status::MethodNotAllowed);
    }
    Resource::named(target).map_or(Parsed::Refused(Status::NotFound), Parsed::Get)
}

/// Writes a whole response into `out`, which is emptied first. `out` never grows: a body that does not
/// fit into its capacity gives a 500 instead.
pub fn respond(out: &mut Vec<u8>, status: Status, content_type: &str, body: &[u8]) {
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                  base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let mut digits = [0; 20];
    let head: [&[u8]; 10] = [
        b"HTTP/1.1 ",
        status.line().as_bytes(),
        b"\r\nContent-Type: ",
        content_type.as_bytes(),
        b"\r\nContent-Length: ",
        decimal(body.len(), &mut digits),
        if status == Status::MethodNotAllowed { b"\r\nAllow: GET" } else { b"" },
        b"\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\
          \r\nCross-Origin-Resource-Policy: same-origin\r\nReferrer-Policy: no-referrer\
          \r\nContent-Security-Policy: ",
        policy.as_bytes(),
        b"\r\nConnection: close\r\n\r\n",
    ];
    out.clear();
    let len = head.iter().map(|part| part.len()).sum::<usize>() + body.len();
    if len > out.capacity() {
        if status != Status::Internal {
            respond(out, Status::Internal, content_type, b"");
        }
        return;
    }
    head.into_iter().for_each(|part| out.extend_from_slice(part));
    out.extend_from_slice(body);
}

fn decimal(mut number: usize, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        // A decimal digit fits.
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn get(line: &str) -> Parsed {
        parse(format!("{line}\r\nHost: x\r\n\r\n").as_bytes())
    }

    #[test]
    fn every_resource_has_its_path() {
        for (path, resource) in [
            ("/", Resource::Page),
            ("/page.js", Resource::Script),
            ("/page.css", Resource::Style),
            ("/status.json", Resource::Status),
            ("/metrics?x=y", Resource::Metrics),
            ("/healthz", Resource::Health),
        ] {
            assert_eq!(get(&format!("GET {path} HTTP/1.1")), Parsed::Get(resource));
        }
    }

    #[test]
    fn what_is_no_such_request_is_refused() {
        for (line, status) in [
            ("GET /nowhere HTTP/1.1", Status::NotFound),
            ("GET /../etc/passwd HTTP/1.1", Status::NotFound),
            ("GET http://x/metrics HTTP/1.1", Status::NotFound),
            ("POST / HTTP/1.1", Status::MethodNotAllowed),
            ("HEAD / HTTP/1.1", Status::MethodNotAllowed),
            ("GET / HTTP/2.0", Status::Version),
            ("GET /", Status::BadRequest),
            ("GET  / HTTP/1.1", Status::BadRequest),
            ("GET / HTTP/1.1 ", Status::BadRequest),
            ("G(T / HTTP/1.1", Status::BadRequest),
            ("GET / ICY/1.1", Status::BadRequest),
            ("", Status::BadRequest),
        ] {
            assert_eq!(get(line), Parsed::Refused(status), "{line}");
        }
    }

    #[test]
    fn a_head_may_arrive_in_pieces_and_has_a_limit() {
        let whole = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
        for cut in 0..whole.len() {
            assert_eq!(parse(&whole[..cut]), Parsed::Incomplete, "{cut}");
        }
        assert_eq!(parse(&[b'a'; HEAD_BYTES_MAX]), Parsed::Refused(Status::HeadTooLarge));
        assert_eq!(parse(b"\x16\x03\x01"), Parsed::Incomplete);
        assert_eq!(parse(b"\x16\x03\x01\x00"), Parsed::Refused(Status::BadRequest), "TLS");
    }

    #[test]
    fn a_response_that_does_not_fit_becomes_an_error_and_does_not_grow() {
        let mut out = Vec::with_capacity(600);
        let capacity = out.capacity();
        respond(&mut out, Status::Ok, "text/plain", &[b'x'; 600]);
        assert!(out.starts_with(b"HTTP/1.1 500 "));
        assert_eq!(out.capacity(), capacity);
        respond(&mut out, Status::Ok, "text/plain", b"yes");
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("\r\nContent-Length: 3\r\n") && text.ends_with("\r\n\r\nyes"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed(bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
            let parsed = parse(&bytes);
            prop_assert!(parsed != Parsed::Incomplete || bytes.len() < HEAD_BYTES_MAX);
        }

        #[test]
        fn near_requests_are_parsed(text in "(GET|POST|get) ?/?[a-z./]{0,12} ?HTTP/[0-9.]{1,3}\r?\n\r?\n?") {
            let _ = parse(text.as_bytes());
        }

        #[test]
        fn numbers_are_printed(number: usize) {
            let mut digits = [0; 20];
            let expected = number.to_string();
            prop_assert_eq!(decimal(number, &mut digits), expected.as_bytes());
        }
    }
}
