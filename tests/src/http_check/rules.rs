//! What the fields of a response must be like (RFC 9110), once its framing is known to be right.

use super::{Asked, Checked, Response, date, is_token_byte, violated};

/// Fields that may occur once only.
const SINGLETONS: &[&str] = &[
    "age",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expires",
    "last-modified",
    "location",
    "retry-after",
    "server",
];

pub(super) fn check(response: &Response, asked: Asked<'_>) -> Checked<()> {
    singletons(response)?;
    dates(response)?;
    etag(response)?;
    required_by_status(response)?;
    lists_of_tokens(response)?;
    media_type(response)?;
    if response.status == 206 && asked.method == "GET" {
        partial(response)?;
    } else if response.status != 416 && response.field("content-range").is_some() {
        return violated(format!("Content-Range with {} (RFC 9110 14.4)", response.status));
    }
    Ok(())
}

fn singletons(response: &Response) -> Checked<()> {
    match SINGLETONS.iter().find(|name| response.values(name).count() > 1) {
        Some(name) => violated(format!("{name} more than once (RFC 9110 5.3)")),
        None => Ok(()),
    }
}

fn dates(response: &Response) -> Checked<()> {
    let moment = |name: &str| match response.field(name).map(|text| (text, date::parse(text))) {
        Some((text, None)) => violated(format!("{name}: {text:?} (RFC 9110 5.6.7)")),
        Some((_, moment)) => Ok(moment),
        None => Ok(None),
    };
    let sent = moment("date")?;
    if sent.is_none() && response.status < 500 {
        return violated("no Date (RFC 9110 6.6.1)");
    }
    let modified = moment("last-modified")?;
    if let (Some(sent), Some(modified)) = (sent, modified)
        && modified > sent
    {
        return violated("Last-Modified later than Date (RFC 9110 8.8.2.1)");
    }
    Ok(())
}

/// `entity-tag = [ "W/" ] DQUOTE *etagc DQUOTE` (RFC 9110 8.8.3).
fn etag(response: &Response) -> Checked<()> {
    let Some(tag) = response.field("etag") else { return Ok(()) };
    let opaque = tag.strip_prefix("W/").unwrap_or(tag);
    let inside = opaque.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match inside {
        Some(inside) if inside.bytes().all(|byte| byte > b' ' && byte != b'"' && byte != 0x7f) => {
            Ok(())
        }
        _ => violated(format!("ETag {tag} (RFC 9110 8.8.3)")),
    }
}

fn required_by_status(response: &Response) -> Checked<()> {
    let needed = match response.status {
        401 => "www-authenticate",
        405 => "allow",
        407 => "proxy-authenticate",
        426 => "upgrade",
        _ => return Ok(()),
    };
    match response.field(needed) {
        Some(_) => Ok(()),
        None => violated(format!("{} without {needed} (RFC 9110 15.5)", response.status)),
    }
}

fn lists_of_tokens(response: &Response) -> Checked<()> {
    for name in ["allow", "connection", "vary", "accept-ranges", "transfer-encoding"] {
        for value in response.values(name) {
            let wrong = |item: &str| !item.bytes().all(is_token_byte);
            if let Some(item) = value.split(',').map(str::trim).find(|item| wrong(item)) {
                return violated(format!("{item:?} in {name} is no token (RFC 9110 5.6.2)"));
            }
        }
    }
    Ok(())
}

/// `media-type = type "/" subtype parameters` (RFC 9110 8.3.1).
fn media_type(response: &Response) -> Checked<()> {
    let Some(value) = response.field("content-type") else { return Ok(()) };
    let essence = value.split(';').next().unwrap_or_default().trim();
    let token = |text: &str| !text.is_empty() && text.bytes().all(is_token_byte);
    match essence.split_once('/') {
        Some((kind, subtype)) if token(kind) && token(subtype) => Ok(()),
        _ => violated(format!("Content-Type {value:?} (RFC 9110 8.3.1)")),
    }
}

/// A single part says its range in the head; several say it in each part (RFC 9110 15.3.7).
fn partial(response: &Response) -> Checked<()> {
    let boundary = response.field("content-type").and_then(|value| {
        let rest = value.strip_prefix("multipart/byteranges")?;
        Some(rest.split_once("boundary=")?.1.trim_matches('"').to_owned())
    });
    let range = response.field("content-range");
    match (boundary, range) {
        (Some(_), Some(_)) => violated("Content-Range beside multipart/byteranges"),
        (None, None) => violated("206 without Content-Range (RFC 9110 15.3.7.1)"),
        (None, Some(range)) => range_of_length(range, response.body.len()),
        (Some(boundary), None) => multipart(&response.body, &boundary),
    }
}

/// `bytes first-last/complete`, in order, and as long as the content.
fn range_of_length(range: &str, length: usize) -> Checked<()> {
    let parsed = range.strip_prefix("bytes ").and_then(|rest| {
        let (span, complete) = rest.split_once('/')?;
        let (first, last) = span.split_once('-')?;
        let complete = if complete == "*" { usize::MAX } else { complete.parse().ok()? };
        Some((first.parse::<usize>().ok()?, last.parse::<usize>().ok()?, complete))
    });
    match parsed {
        Some((first, last, complete))
            if first <= last && last < complete && last - first + 1 == length =>
        {
            Ok(())
        }
        _ => violated(format!("Content-Range {range:?} with {length} bytes (RFC 9110 14.4)")),
    }
}

/// The parts of a multipart body, each with its own range (RFC 9110 14.6, RFC 2046 5.1.1).
fn multipart(body: &[u8], boundary: &str) -> Checked<()> {
    let delimiter = format!("\r\n--{boundary}");
    // The first delimiter may stand at the very beginning.
    let mut text = b"\r\n".to_vec();
    text.extend_from_slice(body);
    let pieces = split(&text, delimiter.as_bytes());
    let Some((last, parts)) = pieces.split_last() else { return violated("empty multipart") };
    if !last.starts_with(b"--") {
        return violated("multipart without closing delimiter (RFC 2046 5.1.1)");
    }
    if parts.len() < 2 {
        return violated("multipart without parts");
    }
    for part in &parts[1..] {
        let Some(part) = part.strip_prefix(b"\r\n") else {
            return violated("no CR LF after a multipart delimiter");
        };
        let mut at = 0;
        let fields = super::read_fields(part, &mut at)?;
        let Some((_, range)) = fields.iter().find(|(name, _)| name == "content-range") else {
            return violated("a part without Content-Range (RFC 9110 15.3.7.2)");
        };
        range_of_length(range, part.len() - at)?;
    }
    Ok(())
}

fn split<'a>(mut text: &'a [u8], delimiter: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    while let Some(at) = text.windows(delimiter.len()).position(|window| window == delimiter) {
        pieces.push(&text[..at]);
        text = &text[at + delimiter.len()..];
    }
    pieces.push(text);
    pieces
}
