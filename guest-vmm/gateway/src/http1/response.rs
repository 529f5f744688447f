//! One response head of the replica: what it means for the message to the client, and that
//! message's head.

use super::Profile;
use super::buffer::Buffer;
use super::condition::{Tag, Tags, Verdict, date_of};
use super::cookie;
use super::error;
use super::fields::{self, MAX_FIELDS, ResponseRule};
use super::host::Host;
use super::media_type;
use super::method::Method;
use super::request::Exchange;
use super::target;
use super::tokens::Tokens;

/// How the replica delimits the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    None,
    Length(u64),
    Chunked,
    Close,
}

/// What the client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Nothing: a 1xx response.
    Interim,
    /// The head alone.
    Head,
    /// The gateway's own text for this status.
    Canned,
    /// The gateway's own answer to `OPTIONS`.
    Options,
    /// Bytes `skip..skip + left` of a body of known length.
    Pass { skip: u64, left: u64 },
    /// A body of unknown length: collected, then sent with its length, or in chunks if too long.
    Gather,
    /// A body of unknown length whose events are sent one by one.
    Events,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) status: u16,
    pub(super) framing: Framing,
    pub(super) action: Action,
    /// The replica's connection can serve another request.
    pub(super) reusable: bool,
    /// The replica says that an idle connection timed out.
    pub(super) stale: bool,
    /// First and last position and full length of what is sent of the representation.
    pub(super) part: Option<(u64, u64, u64)>,
}

/// The replica's bytes are no valid response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The `Content-Length` or its substitute in the head to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    Known(u64),
    Chunked,
    /// Not stated: no body, or one that the end of the connection delimits.
    Unstated,
}

type Headers<'h> = [httparse::Header<'h>; MAX_FIELDS];

/// Status, minor version and fields of a complete head.
fn parse<'b, 'h>(
    head: &'b [u8],
    headers: &'h mut Headers<'b>,
) -> Result<(u16, u8, &'h [httparse::Header<'b>]), Malformed> {
    let mut response = httparse::Response::new(headers);
    match response.parse(head) {
        Ok(httparse::Status::Complete(n)) if n == head.len() => {}
        _ => return Err(Malformed),
    }
    match (response.code, response.version) {
        (Some(status @ 100..=599), Some(minor)) => Ok((status, minor, response.headers)),
        _ => Err(Malformed),
    }
}

/// Reads a complete response head.
pub(super) fn plan(head: &[u8], exchange: &Exchange, profile: &Profile) -> Result<Plan, Malformed> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let (status, minor, fields) = parse(head, &mut headers)?;
    let mut plan = Plan {
        status: canonical_status(status, exchange.method),
        framing: Framing::None,
        action: Action::Head,
        reusable: false,
        stale: false,
        part: None,
    };
    if status == 101 {
        return Err(Malformed);
    }
    if status < 200 {
        plan.action = Action::Interim;
        return Ok(plan);
    }
    let bodiless = exchange.method == Method::Head || matches!(status, 204 | 304);
    let stated = framing(fields, minor)?;
    plan.framing = if bodiless { Framing::None } else { stated };
    let close = fields::connection_names(fields, b"close");
    let keep = minor == 1 || fields::connection_names(fields, b"keep-alive");
    plan.reusable = keep && !close && plan.framing != Framing::Close;
    plan.stale = status == 408 && close;
    decide(&mut plan, fields, exchange, profile)?;
    Ok(plan)
}

/// Servers refuse a method with either of these.
fn canonical_status(status: u16, method: Method) -> u16 {
    if status == 501 && !method.is_read() { 405 } else { status }
}

/// RFC 9112, section 6.3, strictly.
fn framing(fields: &[httparse::Header<'_>], minor: u8) -> Result<Framing, Malformed> {
    let length = fields::only(fields, "content-length").map_err(|()| Malformed)?;
    let coding = fields::only(fields, "transfer-encoding").map_err(|()| Malformed)?;
    match (length, coding) {
        (None, None) => Ok(Framing::Close),
        (Some(length), None) => fields::decimal(length).map(Framing::Length).ok_or(Malformed),
        (None, Some(coding)) if minor == 1 && coding.eq_ignore_ascii_case(b"chunked") => {
            Ok(Framing::Chunked)
        }
        _ => Err(Malformed),
    }
}

fn decide(
    plan: &mut Plan,
    fields: &[httparse::Header<'_>],
    exchange: &Exchange,
    profile: &Profile,
) -> Result<(), Malformed> {
    let conditions = exchange.conditions;
    if exchange.method.is_read() && matches!(plan.status, 200 | 206) {
        let modified = fields::only(fields, "last-modified").unwrap_or(None);
        let tag = tag(plan, fields, exchange.clock_s);
        match conditions.verdict(date_of(modified, exchange.clock_s), tag) {
            Verdict::Proceed => {}
            Verdict::NotModified => plan.status = 304,
            Verdict::Failed => plan.status = 412,
        }
        if matches!(plan.status, 304 | 412) {
            plan.action = Action::Canned;
            return Ok(());
        }
    }
    match plan.status {
        // Neither is an answer to a request that did not ask for it.
        304 if conditions.only_modified_since().is_none() => return Err(Malformed),
        206 if exchange.range.is_none() => return Err(Malformed),
        206 if fields::only(fields, "content-range").is_ok_and(|range| range.is_none()) => {
            return Err(Malformed);
        }
        304 => {
            plan.action = Action::Canned;
            return Ok(());
        }
        _ => {}
    }
    let kind = fields::all(fields, "content-type").next().map_or(&b""[..], media_type::essence);
    let page = kind.is_empty() || fields::is(kind, "text/html");
    let empty = matches!(plan.framing, Framing::None | Framing::Length(0));
    if exchange.method == Method::Options && (page || empty) && !says_options(fields) {
        plan.action = Action::Options;
        return Ok(());
    }
    if !exchange.method.is_read() && plan.status == 200 && is_plain_file(fields) {
        // It ignored the method, where others refuse it.
        plan.status = 405;
        plan.action = Action::Canned;
        return Ok(());
    }
    if plan.status >= 300 && page {
        plan.action = Action::Canned;
        return Ok(());
    }
    plan.action = match plan.framing {
        Framing::None => Action::Head,
        // Of a long body that a program makes, one server knows the length and another does not.
        Framing::Length(length) if length > profile.aggregate_bytes as u64 && !is_file(fields) => {
            Action::Gather
        }
        Framing::Length(length) => Action::Pass { skip: 0, left: length },
        _ if kind.eq_ignore_ascii_case(b"text/event-stream") => Action::Events,
        _ => Action::Gather,
    };
    if let Action::Pass { left, .. } = plan.action {
        cut(plan, exchange, left);
    }
    Ok(())
}

/// Cuts a whole representation of `length` bytes to the range that was asked for, as some servers
/// do by themselves and others do not.
pub(super) fn cut(plan: &mut Plan, exchange: &Exchange, length: u64) {
    let (Some(range), 200) = (exchange.range, plan.status) else {
        return;
    };
    match range.resolve(length) {
        Some((first, last)) => {
            plan.status = 206;
            plan.part = Some((first, last, length));
            plan.action = Action::Pass { skip: first, left: last - first + 1 };
        }
        None => {
            plan.status = 416;
            plan.action = Action::Canned;
        }
    }
}

/// Writes the head to the client; with [`Action::Canned`] the whole message. `head` is what
/// [`plan`] was made from.
pub(super) fn put_head(
    to: &mut Buffer,
    head: &[u8],
    plan: &Plan,
    exchange: &Exchange,
    length: Length,
    profile: &Profile,
    tokens: Option<&mut Tokens>,
) -> Result<(), Malformed> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let (_, _, fields) = parse(head, &mut headers)?;
    let canned = plan.action == Action::Canned;
    error::put_start(to, plan.status, exchange.clock_s, exchange.persistence());
    put_fields(to, plan, fields, exchange, tokens);
    put_special(to, plan, fields, exchange, profile);
    if canned && plan.status != 304 {
        error::put_end(to, plan.status, "", exchange.method == Method::Head);
        return Ok(());
    }
    let kinds = fields::all(fields, "content-type").next();
    if !matches!(plan.status, 204 | 304) {
        to.put(b"Content-Type: ");
        media_type::put(to, kinds);
        to.put(b"\r\n");
    }
    match length {
        Length::Known(n) if !matches!(plan.status, 204 | 304) => {
            to.put(b"Content-Length: ");
            to.put_decimal(n);
            to.put(b"\r\n");
        }
        Length::Chunked => to.put(b"Transfer-Encoding: chunked\r\n"),
        _ => {}
    }
    to.put(b"\r\n");
    Ok(())
}

/// Whether the response to `OPTIONS` comes from a program that knows what it is asked. A server of files
/// lists the methods it was built with, or refuses.
fn says_options(fields: &[httparse::Header<'_>]) -> bool {
    let telling = ["access-control-allow-origin", "access-control-allow-methods", "dav"];
    telling.iter().any(|name| fields::all(fields, name).next().is_some())
}

/// Whether this looks like a file: all servers know its length before they send it.
fn is_file(fields: &[httparse::Header<'_>]) -> bool {
    fields::all(fields, "last-modified").next().is_some()
}

/// Whether this is a file as a server of files sends it. Programs that set one of these when they answer a
/// change do not set both.
fn is_plain_file(fields: &[httparse::Header<'_>]) -> bool {
    let marks = ["last-modified", "etag"];
    marks.iter().all(|name| fields::all(fields, name).next().is_some())
}

/// The tag of the representation, if it is a file.
fn tag(plan: &Plan, fields: &[httparse::Header<'_>], clock_s: u32) -> Option<Tag> {
    let modified_s = date_of(fields::only(fields, "last-modified").ok()?, clock_s)?;
    let stated = |name| fields::only(fields, name).ok().flatten();
    let length = match plan.status {
        // `bytes 0-1/10`
        206 if plan.part.is_none() => {
            stated("content-range")?.rsplit(|&byte| byte == b'/').next().and_then(fields::decimal)
        }
        _ => stated("content-length").and_then(fields::decimal),
    };
    // Apache does not state 0.
    Some(Tag { length: length.filter(|length| *length > 0)?, modified_s })
}

/// The length that goes with the answer to `HEAD`: that of a file, as servers may know others or not.
/// Apache does not state 0.
pub(super) fn stated_length(head: &[u8]) -> Length {
    let mut headers = [httparse::EMPTY_HEADER; MAX_FIELDS];
    match parse(head, &mut headers) {
        Ok((_, minor, fields)) if is_file(fields) => match framing(fields, minor) {
            Ok(Framing::Length(n @ 1..)) => Length::Known(n),
            _ => Length::Unstated,
        },
        _ => Length::Unstated,
    }
}

/// The fields that are forwarded, in the order of their names.
fn put_fields(
    to: &mut Buffer,
    plan: &Plan,
    fields: &[httparse::Header<'_>],
    exchange: &Exchange,
    mut tokens: Option<&mut Tokens>,
) {
    let mut cookies = 0;
    let mut order = [0; MAX_FIELDS];
    let mut last: &[u8] = b"";
    let mut open = false; // a line without its end
    for &at in fields::sorted(fields, &mut order) {
        let field = fields[usize::from(at)];
        let (name, value) = (field.name.as_bytes(), fields::trim(field.value));
        let rule = fields::response_rule(name);
        let forward = rule != ResponseRule::Drop
            && !value.is_empty()
            && survives(name, plan)
            && !fields::connection_names(fields, name);
        if !forward {
            continue;
        }
        if open && rule != ResponseRule::Lines && name.eq_ignore_ascii_case(last) {
            to.put(b", ");
        } else {
            to.put(if open { b"\r\n" } else { b"" });
            fields::put_name(to, name);
        }
        match &mut tokens {
            _ if rule == ResponseRule::List => put_list(to, value),
            Some(tokens) if fields::is(name, "set-cookie") => {
                let Exchange { place, clock_s, .. } = exchange;
                cookie::put_response(to, value, cookies, place, *clock_s, tokens);
                cookies += 1;
            }
            _ => to.put(value),
        }
        (last, open) = (name, true);
    }
    to.put(if open { b"\r\n" } else { b"" });
}

/// Whether a field still holds for the message that goes out.
fn survives(name: &[u8], plan: &Plan) -> bool {
    if plan.action != Action::Canned {
        return true;
    }
    if plan.status == 304 {
        return ["cache-control", "content-location", "set-cookie"]
            .iter()
            .any(|kept| fields::is(name, kept));
    }
    let about_body = [
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-location",
        "last-modified",
    ];
    !about_body.iter().any(|dropped| fields::is(name, dropped))
}

fn put_list(to: &mut Buffer, list: &[u8]) {
    for (at, member) in fields::members(list).enumerate() {
        to.put(if at == 0 { b"" } else { b", " });
        to.put(member);
    }
}

/// Fields with rules of their own, in this order.
fn put_special(
    to: &mut Buffer,
    plan: &Plan,
    fields: &[httparse::Header<'_>],
    exchange: &Exchange,
    profile: &Profile,
) {
    let canned = plan.action == Action::Canned;
    if plan.status == 405 {
        // Some servers name no methods, and those that do name what they were built with.
        to.put(b"Allow: GET, HEAD\r\n");
    } else if let (false, Some(allow)) = (canned, fields::all(fields, "allow").next()) {
        to.put(b"Allow: ");
        put_list(to, allow);
        to.put(b"\r\n");
    }
    if let Some(location) = fields::all(fields, "location").next() {
        to.put(b"Location: ");
        put_location(to, location, exchange, profile);
        to.put(b"\r\n");
    }
    if !canned || plan.status == 304 {
        put_vary(to, fields);
        let aged = fields::all(fields, "cache-control")
            .flat_map(fields::members)
            .any(|m| m.len() > 8 && m[..8].eq_ignore_ascii_case(b"max-age="));
        // `max-age` overrides it (RFC 9111, section 5.3) and is not read off a private clock.
        if let (false, Some(expires)) = (aged, fields::all(fields, "expires").next()) {
            to.put(b"Expires: ");
            to.put(expires);
            to.put(b"\r\n");
        }
    }
    // A server that says 304 by itself says no length.
    let known = match plan.status {
        200 | 206 => exchange.method.is_read(),
        304 => exchange.conditions.none_match != Tags::Absent,
        _ => false,
    };
    if let Some(tag) = tag(plan, fields, exchange.clock_s).filter(|_| known) {
        to.put(b"ETag: ");
        tag.put(to);
        to.put(b"\r\n");
    }
    if let Some((first, last, length)) = plan.part {
        to.put(b"Content-Range: bytes ");
        to.put_decimal(first);
        to.put(b"-");
        to.put_decimal(last);
        to.put(b"/");
        to.put_decimal(length);
        to.put(b"\r\n");
    }
    if let (206, None) = (plan.status, plan.part)
        && let Some(range) = fields::all(fields, "content-range").next()
    {
        to.put(b"Content-Range: ");
        to.put(range);
        to.put(b"\r\n");
    }
}

/// `Vary` without what the gateway has fixed for all.
fn put_vary(to: &mut Buffer, fields: &[httparse::Header<'_>]) {
    let mut first = true;
    for member in fields::all(fields, "vary").flat_map(fields::members) {
        if fields::is(member, "accept-encoding") {
            continue;
        }
        to.put(if first { b"Vary: " } else { b", " });
        for byte in member {
            to.put(&[byte.to_ascii_lowercase()]);
        }
        first = false;
    }
    to.put(if first { b"" } else { b"\r\n" });
}

/// A location on the host that was asked, or on the replica itself, is sent without the host.
fn put_location(to: &mut Buffer, value: &[u8], exchange: &Exchange, profile: &Profile) {
    let host = exchange.host;
    let own = target::absolute_form(value).and_then(|(authority, rest)| {
        let other = Host::parse(authority)?;
        let port = other.port() == host.port() || other.port() == profile.replica_port;
        // `//x` would be another host.
        (other.name() == host.name() && port && !rest.starts_with(b"//")).then_some(rest)
    });
    let value = match own {
        Some(rest) => {
            to.put(if rest.first() == Some(&b'/') { b"" } else { b"/" });
            rest
        }
        None => value,
    };
    target::put_escapes(to, value);
}
