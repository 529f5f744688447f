//! A strict reader of HTTP/1.1 responses, written for these tests and from the RFCs alone.

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) complete: bool,
}

impl Response {
    /// The value of the only field with this name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut all = self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let first = all.next();
        assert!(all.next().is_none(), "{name} twice");
        first.map(|(_, value)| value.as_str())
    }
}

/// Reads all responses of a connection. `heads` says for each final response whether it answers `HEAD`;
/// without an entry either is tried. `reset`: the connection was aborted, so the last may be cut short.
pub(crate) fn read(
    stream: &[u8],
    heads: &[Option<bool>],
    reset: bool,
) -> Result<Vec<Response>, String> {
    if stream.is_empty() {
        return Ok(Vec::new());
    }
    let (first, more) = heads.split_first().unwrap_or((&None, &[]));
    let attempt = |head_only: bool| -> Result<Vec<Response>, String> {
        let (response, used) = one(stream, head_only, reset)?;
        let more = if response.status < 200 { heads } else { more };
        let closes = response.field("connection") == Some("close");
        let rest = &stream[used..];
        if closes && !rest.is_empty() && response.status >= 200 {
            return Err("bytes after the last response".into());
        }
        let mut all = vec![response];
        all.extend(read(rest, more, reset)?);
        Ok(all)
    };
    match first {
        Some(head_only) => attempt(*head_only),
        None => attempt(false).or_else(|error| attempt(true).map_err(|_| error)),
    }
}

fn one(stream: &[u8], head_only: bool, reset: bool) -> Result<(Response, usize), String> {
    let Some(end) = stream.windows(4).position(|w| w == b"\r\n\r\n") else {
        return Err("no end of head".into());
    };
    let head = std::str::from_utf8(&stream[..end + 2])
        .map(str::to_owned)
        .unwrap_or_else(|_| stream[..end + 2].iter().map(|&b| b as char).collect());
    let mut lines = head.split_terminator("\r\n");
    let line = lines.next().unwrap_or_default();
    let status: u16 = line
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3).filter(|_| rest.as_bytes().get(3) == Some(&b' ')))
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| format!("status line {line:?}"))?;
    let mut fields = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(": ").ok_or_else(|| format!("field {line:?}"))?;
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        let clean = !value.is_empty()
            && value.trim_matches([' ', '\t']) == value
            && !value.chars().any(|c| c.is_ascii_control() && c != '\t');
        if name.is_empty() || !name.chars().all(token) || !clean {
            return Err(format!("field {line:?}"));
        }
        fields.push((name.to_owned(), value.to_owned()));
    }
    let mut response = Response { status, fields, body: Vec::new(), complete: true };
    if status < 200 {
        return if response.fields.is_empty() && status == 100 {
            Ok((response, end + 4))
        } else {
            Err(format!("interim response {status}"))
        };
    }
    check_fields(&response)?;
    let rest = &stream[end + 4..];
    let used = body(&mut response, rest, head_only, reset)?;
    Ok((response, end + 4 + used))
}

fn check_fields(response: &Response) -> Result<(), String> {
    let date = response.field("date").ok_or("no Date")?;
    if date.len() != 29 || !date.ends_with(" GMT") {
        return Err(format!("Date {date:?}"));
    }
    for name in ["server", "accept-ranges", "keep-alive", "via", "age", "x-powered-by"] {
        if response.field(name).is_some() {
            return Err(format!("{name} got through"));
        }
    }
    if let Some(connection) = response.field("connection")
        && connection != "close"
        && connection != "keep-alive"
    {
        return Err(format!("Connection {connection:?}"));
    }
    if response.status == 405 && response.field("allow").is_none() {
        return Err("405 without Allow".into());
    }
    if response.status == 206 && response.field("content-range").is_none() {
        return Err("206 without Content-Range".into());
    }
    Ok(())
}

fn body(
    response: &mut Response,
    rest: &[u8],
    head_only: bool,
    reset: bool,
) -> Result<usize, String> {
    let length = response.field("content-length").map(str::to_owned);
    let coding = response.field("transfer-encoding").map(str::to_owned);
    if length.is_some() && coding.is_some() {
        return Err("both lengths".into());
    }
    if matches!(response.status, 204 | 304) && (length.is_some() || coding.is_some()) {
        return Err("a length where there can be no body".into());
    }
    if head_only || matches!(response.status, 204 | 304) {
        return Ok(0);
    }
    match (length, coding) {
        (Some(length), _) => {
            let n: usize = length.parse().map_err(|_| format!("Content-Length {length:?}"))?;
            if n.to_string() != length {
                return Err(format!("Content-Length {length:?}"));
            }
            let have = rest.len().min(n);
            response.body = rest[..have].to_vec();
            response.complete = have == n;
            if have < n && !reset {
                return Err(format!("{have} bytes of {n}"));
            }
            Ok(have)
        }
        (None, Some(coding)) if coding == "chunked" => chunks(response, rest, reset),
        (None, Some(coding)) => Err(format!("Transfer-Encoding {coding:?}")),
        (None, None) if response.field("connection") == Some("close") => {
            response.body = rest.to_vec();
            response.complete = !reset;
            Ok(rest.len())
        }
        (None, None) => Err("a body without end".into()),
    }
}

fn chunks(response: &mut Response, rest: &[u8], reset: bool) -> Result<usize, String> {
    let mut at = 0;
    loop {
        let Some(line) = rest[at..].windows(2).position(|w| w == b"\r\n") else {
            response.complete = false;
            return if reset { Ok(rest.len()) } else { Err("chunks cut short".into()) };
        };
        let digits = std::str::from_utf8(&rest[at..at + line]).map_err(|e| e.to_string())?;
        let n = usize::from_str_radix(digits, 16).map_err(|_| format!("chunk {digits:?}"))?;
        at += line + 2;
        if rest.len() < at + n + 2 {
            response.complete = false;
            return if reset { Ok(rest.len()) } else { Err("chunk cut short".into()) };
        }
        response.body.extend_from_slice(&rest[at..at + n]);
        at += n;
        if &rest[at..at + 2] != b"\r\n" {
            return Err("chunk without end".into());
        }
        at += 2;
        if n == 0 {
            return Ok(at);
        }
    }
}
