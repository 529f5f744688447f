//! One request head: read strictly, once, and written anew in the one form that all replicas get.

use super::Profile;
use super::buffer::Buffer;
use super::condition::{Conditions, Range, Tags, date_of};
use super::cookie;
use super::date;
use super::error::{Persistence, Refusal};
use super::fields::{self, MAX_FIELDS, RequestRule};
use super::host::Host;
use super::method::Method;
use super::target::{self, Rules};
use super::tokens::{Place, Tokens};

/// Longest method name looked for.
const MAX_METHOD_BYTES: usize = 32;

/// What must be remembered of a request until it is answered.
#[derive(Clone, Copy)]
pub(super) struct Exchange {
    pub(super) method: Method,
    pub(super) http10: bool,
    pub(super) keep_alive: bool,
    pub(super) clock_s: u32,
    pub(super) place: Place,
    pub(super) host: Host,
    pub(super) conditions: Conditions,
    pub(super) range: Option<Range>,
}

impl Exchange {
    pub(super) fn persistence(&self) -> Persistence {
        match (self.keep_alive, self.http10) {
            (false, _) => Persistence::Close,
            (true, true) => Persistence::KeepAlive,
            (true, false) => Persistence::Default,
        }
    }
}

/// How the request's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    None,
    Length(u64),
    Chunked,
}

pub(super) struct Accepted {
    pub(super) exchange: Exchange,
    pub(super) body: Body,
    /// The client waits for `100 Continue`.
    pub(super) expects: bool,
    /// `OPTIONS` that the gateway answers by itself; nothing is forwarded.
    pub(super) own: bool,
}

/// Looks for the head's end in a growing buffer, byte by byte, so that what is found first does
/// not depend on how the bytes arrived.
#[derive(Clone, Copy, Default)]
pub(super) struct Scan {
    /// Bytes that were looked at.
    at: usize,
    /// Where the current line begins.
    line: usize,
    request_line_read: bool,
}

impl Scan {
    /// Reads on from where it stopped. `Ok(Some(n))`: the head is the first `n` bytes. An error comes
    /// with the position of the byte that made it one.
    pub(super) fn read(
        &mut self,
        data: &[u8],
        profile: &Profile,
    ) -> Result<Option<usize>, (usize, Refusal)> {
        while let Some(&byte) = data.get(self.at) {
            let at = self.at;
            self.check(data, at, byte, profile).map_err(|refusal| (at, refusal))?;
            self.at += 1;
            if byte == b'\n' {
                if self.line + 2 == self.at && self.request_line_read {
                    return Ok(Some(self.at));
                }
                self.line = self.at;
                self.request_line_read = true;
            }
        }
        Ok(None)
    }

    fn check(&self, data: &[u8], at: usize, byte: u8, profile: &Profile) -> Result<(), Refusal> {
        let after_cr = at > 0 && data[at - 1] == b'\r';
        match byte {
            b'\n' if !after_cr => return Err(Refusal::bad("line feed without carriage return")),
            b'\n' if !self.request_line_read => check_line(&data[..at - 1])?,
            b'\n' => {}
            _ if after_cr => return Err(Refusal::bad("carriage return without line feed")),
            b'\r' => {}
            b' ' | b'\t' if at == self.line && self.request_line_read => {
                return Err(Refusal::bad("folded header field"));
            }
            b'\t' if self.request_line_read => {}
            0..b' ' | 0x7f => return Err(Refusal::bad("control character in the head")),
            _ => {}
        }
        if !self.request_line_read {
            if at == MAX_METHOD_BYTES && !data[..at].contains(&b' ') {
                return Err(Refusal::new(501, "method too long"));
            }
            if at >= profile.max_target_bytes + MAX_METHOD_BYTES + 16 {
                return Err(Refusal::new(414, "target too long"));
            }
        }
        if at >= profile.max_head_bytes {
            return Err(Refusal::new(431, "head too long"));
        }
        Ok(())
    }
}

/// Checks the form of a request line and its version, before the fields are there.
fn check_line(line: &[u8]) -> Result<(), Refusal> {
    let mut words = line.split(|&b| b == b' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let (Some(method), Some(target), Some(version), None) = (method, target, version, words.next())
    else {
        return Err(Refusal::bad("request line"));
    };
    if !fields::is_token(method) || target.is_empty() {
        return Err(Refusal::bad("request line"));
    }
    match version {
        b"HTTP/1.0" | b"HTTP/1.1" => Ok(()),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            Err(Refusal::new(505, "version"))
        }
        _ => Err(Refusal::bad("request line")),
    }
}

/// Reads the whole head and writes its canonical form, without framing fields and final blank
/// line, into `out`. `scratch` takes the canonical target, and `tokens` are the replica's private cookies.
pub(super) fn accept(
    head: &[u8],
    clock_s: u32,
    place: Place,
    profile: &Profile,
    scratch: &mut [u8],
    tokens: Option<&mut Tokens>,
    out: &mut Buffer,
) -> Result<Accepted, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let limit = profile.max_fields.min(MAX_FIELDS);
    let mut request = httparse::Request::new(&mut headers[..limit]);
    match request.parse(head) {
        Ok(httparse::Status::Complete(n)) if n == head.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::new(431, "too many fields")),
        _ => return Err(Refusal::bad("head")),
    }
    let (Some(name), Some(path), Some(minor)) = (request.method, request.path, request.version)
    else {
        return Err(Refusal::bad("head"));
    };
    let fields: &[httparse::Header<'_>] = request.headers;
    let http10 = minor == 0;

    let method = Method::parse(name).ok_or(Refusal::new(501, "method"))?;
    if !profile.methods.contains(method) && method != Method::Options {
        return Err(Refusal::new(405, "method"));
    }
    let host = read_host(fields, http10)?;
    let asterisk = path == "*" && method == Method::Options;
    let target = if asterisk { 0 } else { read_target(path.as_bytes(), &host, profile, scratch)? };
    let target = scratch.get(..target).unwrap_or(b"*");
    let keep_alive = read_connection(fields, http10)?;
    let body = read_body(fields, method, http10, profile)?;
    let expects = read_expect(fields)? && !http10 && !matches!(body, Body::None | Body::Length(0));
    check_singles(fields)?;
    let conditions = read_conditions(fields, method, clock_s)?;
    let range = read_range(fields, method);
    let exchange = Exchange { method, http10, keep_alive, clock_s, place, host, conditions, range };

    let own = asterisk || method == Method::Options && !profile.methods.contains(method);
    if own {
        return Ok(Accepted { exchange, body, expects, own });
    }
    put_head(out, &exchange, target, fields, tokens);
    if out.overflowed() || out.len() > profile.max_forwarded_head_bytes {
        return Err(Refusal::new(431, "head too long"));
    }
    Ok(Accepted { exchange, body, expects, own })
}

fn read_host(fields: &[httparse::Header<'_>], http10: bool) -> Result<Host, Refusal> {
    match fields::only(fields, "host") {
        Ok(Some(value)) => Host::parse(value).ok_or(Refusal::bad("Host")),
        Ok(None) if http10 => Ok(Host::LOCALHOST),
        Ok(None) => Err(Refusal::bad("no Host")),
        Err(()) => Err(Refusal::bad("several Host")),
    }
}

fn read_target(
    path: &[u8],
    host: &Host,
    profile: &Profile,
    scratch: &mut [u8],
) -> Result<usize, Refusal> {
    let path = match target::absolute_form(path) {
        Some((authority, rest)) => {
            let same = Host::parse(authority).is_some_and(|a| a.authority() == host.authority());
            if !same {
                return Err(Refusal::bad("target and Host differ"));
            }
            rest
        }
        None if path.first() == Some(&b'/') => path,
        None => return Err(Refusal::bad("target form")),
    };
    target::normalise(
        path,
        Rules {
            max_path_bytes: profile.max_path_bytes,
            max_segment_bytes: profile.max_segment_bytes,
            lenient_query: profile.lenient_query,
        },
        scratch,
    )
}

/// Whether the connection stays open after the answer.
fn read_connection(fields: &[httparse::Header<'_>], http10: bool) -> Result<bool, Refusal> {
    // Naming these hop by hop would take them from one server and not from another.
    const KEPT: &[&[u8]] = &[b"host", b"content-length", b"transfer-encoding", b"connection"];
    for value in fields::all(fields, "connection") {
        for option in fields::members(value) {
            let kept = KEPT.iter().any(|name| option.eq_ignore_ascii_case(name));
            if !fields::is_token(option) || kept {
                return Err(Refusal::bad("Connection"));
            }
        }
    }
    let close = fields::connection_names(fields, b"close");
    Ok(!close && (!http10 || fields::connection_names(fields, b"keep-alive")))
}

/// RFC 9112, section 6, where anything that two readers could take differently is refused.
fn read_body(
    fields: &[httparse::Header<'_>],
    method: Method,
    http10: bool,
    profile: &Profile,
) -> Result<Body, Refusal> {
    let length = fields::only(fields, "content-length")
        .map_err(|()| Refusal::bad("several Content-Length"))?;
    let coding = fields::only(fields, "transfer-encoding")
        .map_err(|()| Refusal::bad("several Transfer-Encoding"))?;
    let body = match (length, coding) {
        (Some(_), Some(_)) => return Err(Refusal::bad("Content-Length and Transfer-Encoding")),
        (None, Some(_)) if http10 => return Err(Refusal::bad("Transfer-Encoding in HTTP/1.0")),
        (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => Body::Chunked,
        (None, Some(coding)) => {
            let last = fields::members(coding).last().unwrap_or(b"");
            return Err(if last.eq_ignore_ascii_case(b"chunked") {
                Refusal::new(501, "transfer coding")
            } else {
                Refusal::bad("transfer coding")
            });
        }
        (Some(value), None) => {
            let plain = value == b"0" || value.first() != Some(&b'0');
            match fields::decimal(value) {
                Some(n) if plain && n <= profile.max_body_bytes => Body::Length(n),
                Some(_) if plain => return Err(Refusal::new(413, "body too long")),
                None if plain && !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                    return Err(Refusal::new(413, "body too long"));
                }
                _ => return Err(Refusal::bad("Content-Length")),
            }
        }
        (None, None) if method.has_body() => Body::Length(0),
        (None, None) => Body::None,
    };
    match body {
        Body::Length(0) if !method.has_body() => Ok(Body::None),
        Body::Length(_) | Body::Chunked if !method.has_body() => {
            Err(Refusal::bad("body not allowed with this method"))
        }
        body => Ok(body),
    }
}

fn read_expect(fields: &[httparse::Header<'_>]) -> Result<bool, Refusal> {
    match fields::only(fields, "expect") {
        Ok(None) => Ok(false),
        Ok(Some(value)) if value.eq_ignore_ascii_case(b"100-continue") => Ok(true),
        _ => Err(Refusal::new(417, "Expect")),
    }
}

fn check_singles(fields: &[httparse::Header<'_>]) -> Result<(), Refusal> {
    for field in fields {
        let own = fields::request_rule(field.name.as_bytes()) == RequestRule::Single;
        if own && fields::only(fields, field.name).is_err() {
            return Err(Refusal::bad("field given twice"));
        }
    }
    match fields::only(fields, "content-range") {
        Ok(None) => Ok(()),
        _ => Err(Refusal::bad("Content-Range in a request")),
    }
}

fn read_conditions(
    fields: &[httparse::Header<'_>],
    method: Method,
    clock_s: u32,
) -> Result<Conditions, Refusal> {
    let twice = |()| Refusal::bad("condition given twice");
    let tags = |name: &'static str| Tags::parse(fields::all(fields, name));
    let date = |name: &'static str| {
        fields::only(fields, name).map(|value| date_of(value, clock_s)).map_err(twice)
    };
    let conditions = Conditions {
        matches: tags("if-match"),
        none_match: tags("if-none-match"),
        modified_since: date("if-modified-since")?.filter(|_| method.is_read()),
        unmodified_since: date("if-unmodified-since")?,
    };
    if !method.is_read() && matches!(conditions.matches, Tags::Some(_)) {
        return Err(Refusal::new(412, "no entity tags here"));
    }
    Ok(conditions)
}

/// A range to ask for: `GET` only, and not under `If-Range`, whose validator cannot be ours.
fn read_range(fields: &[httparse::Header<'_>], method: Method) -> Option<Range> {
    if method != Method::Get || fields::all(fields, "if-range").next().is_some() {
        return None;
    }
    fields::only(fields, "range").ok().flatten().and_then(Range::parse)
}

fn put_head(
    out: &mut Buffer,
    exchange: &Exchange,
    target: &[u8],
    fields: &[httparse::Header<'_>],
    mut tokens: Option<&mut Tokens>,
) {
    out.put(exchange.method.name().as_bytes());
    out.put(b" ");
    out.put(target);
    out.put(b" HTTP/1.1\r\nHost: ");
    out.put(exchange.host.authority());
    out.put(b"\r\n");
    let mut order = [0; MAX_FIELDS];
    let mut last: &[u8] = b"";
    let mut open = false; // a line without its end
    for &at in fields::sorted(fields, &mut order) {
        let field = fields[usize::from(at)];
        let (name, value) = (field.name.as_bytes(), fields::trim(field.value));
        let rule = fields::request_rule(name);
        let forward = !matches!(rule, RequestRule::Own | RequestRule::Drop)
            && !value.is_empty()
            && !fields::connection_names(fields, name);
        let mut tokens = tokens.as_deref_mut().filter(|_| rule == RequestRule::Cookie);
        let is_left = tokens.as_deref_mut().is_none_or(|tokens| cookie::is_left(value, tokens));
        if !forward || !is_left {
            continue;
        }
        if open && name.eq_ignore_ascii_case(last) {
            out.put(if rule == RequestRule::Cookie { b"; " } else { b", " });
        } else {
            out.put(if open { b"\r\n" } else { b"" });
            fields::put_name(out, name);
        }
        match &mut tokens {
            Some(tokens) => cookie::put_request(out, value, tokens),
            None => out.put(value),
        }
        (last, open) = (name, true);
    }
    out.put(if open { b"\r\n" } else { b"" });
    put_conditions(out, exchange);
    out.put(b"Connection: keep-alive\r\n");
}

/// Conditions on changes are for the servers to decide; of those on reads they see just the one
/// that can save them a body.
fn put_conditions(out: &mut Buffer, exchange: &Exchange) {
    let conditions = exchange.conditions;
    let mut put_date = |name: &[u8], seconds: Option<u64>| {
        if let Some(seconds) = seconds {
            out.put(name);
            out.put(&date::format(seconds));
            out.put(b"\r\n");
        }
    };
    if exchange.method.is_read() {
        put_date(b"If-Modified-Since: ", conditions.only_modified_since());
        // Under a condition the gateway cuts the range by itself: not all servers ask in the same
        // order whether the condition holds and whether the range exists.
        match exchange.range.filter(|_| conditions == Conditions::default()) {
            Some(Range::From { first, last }) => {
                out.put(b"Range: bytes=");
                out.put_decimal(first);
                out.put(b"-");
                if let Some(last) = last {
                    out.put_decimal(last);
                }
                out.put(b"\r\n");
            }
            Some(Range::Suffix(n)) => {
                out.put(b"Range: bytes=-");
                out.put_decimal(n);
                out.put(b"\r\n");
            }
            None => {}
        }
        return;
    }
    put_date(b"If-Unmodified-Since: ", conditions.unmodified_since);
    if conditions.matches == Tags::Any {
        out.put(b"If-Match: *\r\n");
    }
    if conditions.none_match == Tags::Any {
        out.put(b"If-None-Match: *\r\n");
    }
}
