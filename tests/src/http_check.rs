//! A strict judge of HTTP/1.1 responses (RFC 9110, RFC 9112), independent of the code under test.
//!
//! It says no to everything that a "MUST" forbids and that can be seen from the outside.

mod date;
mod rules;

use std::fmt;

/// What broke the rules, and which rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

type Checked<T> = Result<T, Violation>;

fn violated<T>(what: impl Into<String>) -> Checked<T> {
    Err(Violation(what.into()))
}

/// What one has to know of a request to judge its response.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The method, as it was sent.
    pub method: &'a str,
    /// Whether the request was HTTP/1.1; if not, HTTP/1.0.
    pub version_1_1: bool,
}

/// How the end of a body was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There can be no body (HEAD, 1xx, 204, 304).
    None,
    /// By `Content-Length`.
    Length,
    /// By chunks.
    Chunked,
    /// By the end of the connection.
    Close,
}

/// A response that keeps the rules.
#[derive(Clone, Debug)]
pub struct Response {
    /// Minor version: 0 or 1.
    pub minor: u8,
    /// Status code.
    pub status: u16,
    /// Field names in lower case, and values without white space around.
    pub fields: Vec<(String, String)>,
    /// The content, chunks joined.
    pub body: Vec<u8>,
    /// How its end was found.
    pub framing: Framing,
    /// Status codes of the interim (1xx) responses before it.
    pub interim: Vec<u16>,
    /// Whether the server said that it closes the connection.
    pub closes: bool,
}

impl Response {
    /// The value of a field that occurs once.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Judges all that a server sent on one connection, `ended` saying whether the server closed it:
/// one response for each of `asked`, in order, and not a byte more. Fewer are right only if the last
/// of them announced that the connection closes.
///
/// # Errors
/// The first violation.
pub fn judge(bytes: &[u8], asked: &[Asked<'_>], ended: bool) -> Checked<Vec<Response>> {
    let mut responses: Vec<Response> = Vec::new();
    let mut rest = bytes;
    for (number, &asked) in asked.iter().enumerate() {
        if rest.is_empty() && responses.last().is_some_and(|last| last.closes) {
            break;
        }
        let (response, used) = read_response(rest, asked, ended)
            .map_err(|Violation(what)| Violation(format!("response {number}: {what}")))?;
        rest = &rest[used..];
        let closes = response.closes;
        responses.push(response);
        if closes {
            break;
        }
    }
    if !rest.is_empty() {
        let shown = String::from_utf8_lossy(&rest[..rest.len().min(80)]).into_owned();
        return violated(format!("{} bytes after the last response: {shown:?}", rest.len()));
    }
    if responses.last().is_some_and(|last| last.closes) && !ended {
        return violated("announced to close the connection and did not (RFC 9112 9.6)");
    }
    Ok(responses)
}

/// Whether a client that asked all of `asked` has its answers and need not read on: every response is
/// whole, and none says that the connection closes.
pub fn is_complete(mut bytes: &[u8], asked: &[Asked<'_>]) -> bool {
    asked.iter().all(|&asked| match read_response(bytes, asked, false) {
        Ok((response, used)) => {
            bytes = &bytes[used..];
            !response.closes
        }
        Err(_) => false,
    })
}

/// Reads the interim responses and the final one; returns how many bytes they take.
fn read_response(bytes: &[u8], asked: Asked<'_>, ended: bool) -> Checked<(Response, usize)> {
    let mut at = 0;
    let mut interim = Vec::new();
    loop {
        let (minor, status, fields, length) = read_head(&bytes[at..])?;
        at += length;
        if (100..200).contains(&status) {
            if !asked.version_1_1 {
                return violated("1xx to an HTTP/1.0 client (RFC 9110 15.2)");
            }
            if fields.iter().any(|(n, _)| n == "content-length" || n == "transfer-encoding") {
                return violated("1xx with framing fields (RFC 9110 8.6, RFC 9112 6.1)");
            }
            if status == 101 {
                return violated("101 without being asked to upgrade by this judge's requests");
            }
            interim.push(status);
            continue;
        }
        let mut response = Response {
            minor,
            status,
            fields,
            body: Vec::new(),
            framing: Framing::None,
            interim,
            closes: false,
        };
        response.closes = closes(&response, asked);
        at += read_body(&bytes[at..], asked, ended, &mut response)?;
        rules::check(&response, asked)?;
        return Ok((response, at));
    }
}

fn closes(response: &Response, asked: Asked<'_>) -> bool {
    let options: Vec<String> = response
        .values("connection")
        .flat_map(|value| value.split(','))
        .map(|option| option.trim().to_ascii_lowercase())
        .collect();
    let says = |what: &str| options.iter().any(|option| option == what);
    let persistent = response.minor == 1 && asked.version_1_1;
    says("close") || !(persistent || says("keep-alive"))
}

type Head = (u8, u16, Vec<(String, String)>, usize);

/// Reads a status line and the fields up to the empty line.
fn read_head(bytes: &[u8]) -> Checked<Head> {
    let mut at = 0;
    let line = read_line(bytes, &mut at)?;
    let (minor, status) = status_line(line)?;
    let fields = read_fields(bytes, &mut at)?;
    Ok((minor, status, fields, at))
}

/// `status-line = HTTP-version SP status-code SP [ reason-phrase ]` (RFC 9112 4).
fn status_line(line: &[u8]) -> Checked<(u8, u16)> {
    let shown = || String::from_utf8_lossy(line).into_owned();
    let (version, rest) = line.split_at_checked(9).unwrap_or((line, &[]));
    let minor = match version {
        b"HTTP/1.1 " => 1,
        b"HTTP/1.0 " => 0,
        _ => return violated(format!("status line {:?} (RFC 9112 4)", shown())),
    };
    let digits = rest.get(..3).filter(|digits| digits.iter().all(u8::is_ascii_digit));
    let (Some(digits), Some(b' ')) = (digits, rest.get(3)) else {
        return violated(format!("status line {:?} (RFC 9112 4)", shown()));
    };
    if !rest[4..].iter().all(|&byte| is_field_byte(byte)) {
        return violated("control characters in the reason phrase (RFC 9112 4)");
    }
    let status = digits.iter().fold(0, |n, &digit| n * 10 + u16::from(digit - b'0'));
    if !(100..600).contains(&status) {
        return violated(format!("status {status} (RFC 9110 15)"));
    }
    Ok((minor, status))
}

/// Field lines up to the empty line (RFC 9112 5); used for trailers too.
fn read_fields(bytes: &[u8], at: &mut usize) -> Checked<Vec<(String, String)>> {
    let mut fields = Vec::new();
    loop {
        let line = read_line(bytes, at)?;
        if line.is_empty() {
            return Ok(fields);
        }
        let shown = String::from_utf8_lossy(line).into_owned();
        if matches!(line[0], b' ' | b'\t') {
            return violated(format!("obs-fold {shown:?} (RFC 9112 5.2)"));
        }
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            return violated(format!("field line without colon {shown:?} (RFC 9112 5)"));
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.is_empty() || !name.iter().all(|&byte| is_token_byte(byte)) {
            return violated(format!("field name in {shown:?} (RFC 9110 5.1)"));
        }
        if !value.iter().all(|&byte| is_field_byte(byte)) {
            return violated(format!("field value in {shown:?} (RFC 9110 5.5)"));
        }
        fields.push((
            String::from_utf8_lossy(name).to_ascii_lowercase(),
            String::from_utf8_lossy(value).trim_matches([' ', '\t']).to_owned(),
        ));
    }
}

/// A line that ends in CR LF, without them. No CR or LF may stand alone (RFC 9112 2.2).
fn read_line<'a>(bytes: &'a [u8], at: &mut usize) -> Checked<&'a [u8]> {
    let rest = &bytes[*at..];
    let Some(end) = rest.iter().position(|&byte| byte == b'\r' || byte == b'\n') else {
        return violated("ended within a line");
    };
    match rest.get(end..end + 2) {
        Some(b"\r\n") => {
            *at += end + 2;
            Ok(&rest[..end])
        }
        Some(_) => violated("a CR or LF alone (RFC 9112 2.2)"),
        None => violated("ended within a line"),
    }
}

/// Finds the body as RFC 9112 6.3 says; returns how many bytes it takes on the wire.
fn read_body(
    bytes: &[u8],
    asked: Asked<'_>,
    ended: bool,
    response: &mut Response,
) -> Checked<usize> {
    let codings: Vec<String> =
        response.values("transfer-encoding").map(str::to_ascii_lowercase).collect();
    let lengths: Vec<String> = response.values("content-length").map(str::to_owned).collect();
    if !codings.is_empty() && !lengths.is_empty() {
        return violated("both Content-Length and Transfer-Encoding (RFC 9112 6.2)");
    }
    if response.status == 204 && !(codings.is_empty() && lengths.is_empty()) {
        return violated("204 with framing fields (RFC 9110 8.6, RFC 9112 6.1)");
    }
    let may_be_coded = asked.version_1_1 && response.minor == 1;
    if !codings.is_empty() && !may_be_coded {
        return violated("Transfer-Encoding to or in HTTP/1.0 (RFC 9112 6.1)");
    }
    let length = content_length(&lengths)?;
    if asked.method == "HEAD" || matches!(response.status, 204 | 304) {
        return Ok(0);
    }
    if !codings.is_empty() {
        if codings != ["chunked"] {
            return violated(format!("Transfer-Encoding {codings:?} was not asked for"));
        }
        response.framing = Framing::Chunked;
        return read_chunks(bytes, &mut response.body);
    }
    if let Some(length) = length {
        response.framing = Framing::Length;
        let Some(body) = bytes.get(..length) else {
            return violated(format!("{} of {length} bytes of the body came", bytes.len()));
        };
        response.body = body.to_vec();
        return Ok(length);
    }
    response.framing = Framing::Close;
    response.closes = true;
    if !ended {
        return violated("no framing, and the connection stays open (RFC 9112 6.3)");
    }
    response.body = bytes.to_vec();
    Ok(bytes.len())
}

fn content_length(values: &[String]) -> Checked<Option<usize>> {
    match values {
        [] => Ok(None),
        [one] if !one.is_empty() && one.bytes().all(|byte| byte.is_ascii_digit()) => {
            one.parse().map(Some).map_err(|_| Violation(format!("Content-Length {one}")))
        }
        other => violated(format!("Content-Length {other:?} (RFC 9110 8.6)")),
    }
}

/// The chunked transfer coding (RFC 9112 7.1).
fn read_chunks(bytes: &[u8], body: &mut Vec<u8>) -> Checked<usize> {
    let mut at = 0;
    loop {
        let line = read_line(bytes, &mut at)?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let extension = &line[digits..];
        let size = std::str::from_utf8(&line[..digits]).ok();
        let size = size.and_then(|digits| usize::from_str_radix(digits, 16).ok());
        let Some(size) = size.filter(|_| extension.is_empty() || extension[0] == b';') else {
            return violated(format!("chunk size {:?}", String::from_utf8_lossy(line)));
        };
        if size == 0 {
            let trailers = read_fields(bytes, &mut at)?;
            let framing = ["content-length", "transfer-encoding", "host", "trailer"];
            if let Some((name, _)) = trailers.iter().find(|(n, _)| framing.contains(&n.as_str())) {
                return violated(format!("{name} in a trailer (RFC 9110 6.5.1)"));
            }
            return Ok(at);
        }
        let Some(data) = bytes.get(at..at + size) else {
            return violated("ended within a chunk");
        };
        body.extend_from_slice(data);
        at += size;
        if !read_line(bytes, &mut at)?.is_empty() {
            return violated("no CR LF after a chunk (RFC 9112 7.1)");
        }
    }
}

/// `tchar` (RFC 9110 5.6.2).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What may stand in a field value or reason phrase: HTAB, SP, VCHAR, obs-text (RFC 9110 5.5).
fn is_field_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests;
