//! Header fields: what becomes of each by its name, lists, and the one order and spelling.

use super::buffer::Buffer;

/// Upper limit of [`Profile::max_fields`](super::Profile::max_fields).
pub(super) const MAX_FIELDS: usize = 128;

/// What becomes of a request field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RequestRule {
    /// Read by the gateway; written anew if at all.
    Own,
    /// Not forwarded.
    Drop,
    /// Forwarded; a second one is refused.
    Single,
    /// Forwarded; several are joined by `"; "`.
    Cookie,
    /// Forwarded; several are joined by `", "`.
    List,
}

pub(super) fn request_rule(name: &[u8]) -> RequestRule {
    const OWN: &[&str] = &[
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "expect",
        "range",
        "if-match",
        "if-none-match",
        "if-modified-since",
        "if-unmodified-since",
        "if-range",
        "content-range",
    ];
    // Hop by hop, or steering what servers may answer differently, or (`Proxy`) taken for an
    // environment variable by CGI programs.
    const DROP: &[&str] = &[
        "accept-encoding",
        "te",
        "trailer",
        "upgrade",
        "http2-settings",
        "keep-alive",
        "date",
        "proxy-connection",
        "proxy-authorization",
        "proxy",
        "max-forwards",
    ];
    const SINGLE: &[&str] = &[
        "content-type",
        "user-agent",
        "referer",
        "authorization",
        "from",
        "origin",
        "content-location",
        "access-control-request-method",
    ];
    if is_any(name, OWN) {
        RequestRule::Own
    } else if is_any(name, DROP) || !name.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'-') {
        // Servers drop, keep or refuse names with `_` and other punctuation.
        RequestRule::Drop
    } else if is_any(name, SINGLE) {
        RequestRule::Single
    } else if is(name, "cookie") {
        RequestRule::Cookie
    } else {
        RequestRule::List
    }
}

/// What becomes of a response field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ResponseRule {
    /// Not forwarded: it describes the server, its connection or its private validators.
    Drop,
    /// Each line of it is forwarded as it is.
    Lines,
    /// Several are joined, and the list gets the one spacing.
    List,
    /// Several are joined by `", "`.
    Joined,
}

pub(super) fn response_rule(name: &[u8]) -> ResponseRule {
    const DROP: &[&str] = &[
        "accept-ranges",
        "age",
        "allow",
        "alt-svc",
        "connection",
        "content-length",
        "content-md5",
        "content-range",
        "content-type",
        "date",
        "etag",
        "expires",
        "keep-alive",
        "location",
        "mime-version",
        "proxy-connection",
        "server",
        "server-timing",
        "status",
        "tcn",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "vary",
        "via",
        "warning",
        "x-accel-buffering",
        "x-cache",
        "x-powered-by",
        "x-runtime",
    ];
    const LINES: &[&str] = &["set-cookie", "www-authenticate", "proxy-authenticate", "link"];
    const LIST: &[&str] = &[
        "access-control-allow-headers",
        "access-control-allow-methods",
        "access-control-expose-headers",
        "cache-control",
        "content-encoding",
        "content-language",
        "pragma",
    ];
    if is_any(name, DROP) {
        ResponseRule::Drop
    } else if is_any(name, LINES) {
        ResponseRule::Lines
    } else if is_any(name, LIST) {
        ResponseRule::List
    } else {
        ResponseRule::Joined
    }
}

/// Compares a field name, which knows no case.
pub(super) fn is(name: &[u8], other: &str) -> bool {
    name.eq_ignore_ascii_case(other.as_bytes())
}

fn is_any(name: &[u8], names: &[&str]) -> bool {
    names.iter().any(|other| is(name, other))
}

/// `text` without spaces and tabs at either end.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// The members of a comma-separated list that are not empty, trimmed (RFC 9110, section 5.6.1).
/// Commas inside quoted strings do not separate.
pub(super) fn members(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    list.split(move |&byte| {
        if escaped {
            escaped = false;
        } else if quoted && byte == b'\\' {
            escaped = true;
        } else if byte == b'"' {
            quoted = !quoted;
        }
        byte == b',' && !quoted
    })
    .map(trim)
    .filter(|member| !member.is_empty())
}

/// Whether `text` is a token (RFC 9110, section 5.6.2).
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty()
        && text.iter().all(|&b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Decimal digits and nothing else, up to 18 of them.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    digits.iter().try_fold(0, |n, &d| d.is_ascii_digit().then(|| n * 10 + u64::from(d - b'0')))
}

/// Whether one of the fields called `connection` in `fields` names `token`.
pub(super) fn connection_names(fields: &[httparse::Header<'_>], token: &[u8]) -> bool {
    all(fields, "connection").any(|value| members(value).any(|m| m.eq_ignore_ascii_case(token)))
}

/// The values of all fields called `name`, trimmed.
pub(super) fn all<'h>(
    fields: &'h [httparse::Header<'_>],
    name: &'h str,
) -> impl Iterator<Item = &'h [u8]> + Clone {
    fields.iter().filter(move |f| is(f.name.as_bytes(), name)).map(|f| trim(f.value))
}

/// The value of the only field called `name`; `Err` when there are several.
pub(super) fn only<'h>(
    fields: &'h [httparse::Header<'_>],
    name: &'h str,
) -> Result<Option<&'h [u8]>, ()> {
    let mut values = all(fields, name);
    let first = values.next();
    if values.next().is_some() { Err(()) } else { Ok(first) }
}

/// Positions of `fields` in the order of their lower-case names; equal names keep their order.
pub(super) fn sorted<'o>(
    fields: &[httparse::Header<'_>],
    order: &'o mut [u8; MAX_FIELDS],
) -> &'o [u8] {
    let lower = |at: u8| {
        let name = fields.get(usize::from(at)).map_or("", |f| f.name);
        name.bytes().map(|b| b.to_ascii_lowercase())
    };
    let count = fields.len().min(MAX_FIELDS);
    for at in 0..count {
        order[at] = at as u8;
        let mut to = at;
        while to > 0 && lower(order[to - 1]).gt(lower(order[to])) {
            order.swap(to - 1, to);
            to -= 1;
        }
    }
    &order[..count]
}

/// Writes `name`, each word of it with a capital, and the colon.
pub(super) fn put_name(to: &mut Buffer, name: &[u8]) {
    let mut start = true;
    for &byte in name {
        to.put(&[if start { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() }]);
        start = byte == b'-';
    }
    to.put(b": ");
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    #[test]
    fn lists() {
        let list = b" a , ,b;q=\"x,\\\"y\" ,\tc,";
        assert_eq!(members(list).collect::<Vec<_>>(), [&b"a"[..], b"b;q=\"x,\\\"y\"", b"c"]);
        assert_eq!(trim(b" \t "), b"");
    }

    #[test]
    fn order_is_stable_and_blind_to_case() {
        let field = |name, value| httparse::Header { name, value };
        let fields = [
            field("b", b"1"),
            field("C", b"2"),
            field("B", b"3"),
            field("a", b"4"),
            field("b-", b"5"),
        ];
        let mut order = [0; MAX_FIELDS];
        let values: Vec<u8> = sorted(&fields, &mut order)
            .iter()
            .map(|&at| fields[usize::from(at)].value[0])
            .collect();
        assert_eq!(values, b"41352");
    }

    #[test]
    fn names_get_one_spelling() {
        let mut buffer = Buffer::new(64);
        put_name(&mut buffer, b"x-FORWARDED-for");
        assert_eq!(buffer.data(), b"X-Forwarded-For: ");
    }
}
