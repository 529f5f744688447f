//! `Content-Type` (RFC 9110, section 8.3) in one spelling.

use super::buffer::Buffer;
use super::fields::{self, is_token, trim};

/// Names that servers use for the same type, and the one that stands for all.
const SAME: &[(&str, &str)] = &[
    ("application/font-woff", "font/woff"),
    ("application/font-woff2", "font/woff2"),
    ("application/javascript", "text/javascript"),
    ("application/x-font-ttf", "font/ttf"),
    ("application/x-font-woff", "font/woff"),
    ("application/x-gzip", "application/gzip"),
    ("application/x-javascript", "text/javascript"),
    ("application/x-zip-compressed", "application/zip"),
    ("audio/x-wav", "audio/wav"),
    ("image/vnd.microsoft.icon", "image/x-icon"),
    ("image/x-ms-bmp", "image/bmp"),
    ("text/xml", "application/xml"),
];

/// What stands for no type at all.
const UNKNOWN: &[u8] = b"application/octet-stream";
const MAX_PARAMETERS: usize = 8;

/// Writes the canonical form of `value` (`None`: the field is absent). What is no media type is
/// written as it is.
pub(super) fn put(to: &mut Buffer, value: Option<&[u8]>) {
    let value = trim(value.unwrap_or(b""));
    if value.is_empty() {
        return to.put(UNKNOWN);
    }
    let essence = essence(value);
    let mut list: [(&[u8], &[u8]); MAX_PARAMETERS] = [(b"", b""); MAX_PARAMETERS];
    let Some(mut count) = parameters(value, &mut list) else {
        return to.put(value);
    };
    match SAME.iter().find(|(name, _)| essence.eq_ignore_ascii_case(name.as_bytes())) {
        Some((_, name)) => to.put(name.as_bytes()),
        None => put_lower(to, essence),
    }
    let labelled = list[..count].iter().any(|(name, _)| fields::is(name, "charset"));
    if let (true, Some(free)) = (implies_utf8(essence) && !labelled, list.get_mut(count)) {
        *free = (b"charset", b"utf-8");
        count += 1;
    }
    // Insertion sort by name: there are a few at most.
    for at in 1..count {
        let mut at = at;
        while at > 0 && lower(list[at - 1].0).gt(lower(list[at].0)) {
            list.swap(at - 1, at);
            at -= 1;
        }
    }
    for (name, value) in &list[..count] {
        to.put(b"; ");
        put_lower(to, name);
        to.put(b"=");
        let plain = match value {
            [b'"', inner @ .., b'"'] if is_token(inner) => inner,
            _ => value,
        };
        if name.eq_ignore_ascii_case(b"charset") { put_lower(to, plain) } else { to.put(plain) }
    }
}

/// Type and subtype, as written.
pub(super) fn essence(value: &[u8]) -> &[u8] {
    let end = value.iter().position(|&b| b == b';').unwrap_or(value.len());
    trim(&value[..end])
}

/// Text that some servers label as UTF-8 and others leave unlabelled. HTML, XML and scripts, which say
/// by themselves what they are, are not among it.
fn implies_utf8(essence: &[u8]) -> bool {
    ["text/css", "text/csv", "text/markdown", "text/plain"].iter().any(|t| fields::is(essence, t))
        || essence.get(..7).is_some_and(|start| fields::is(start, "text/x-"))
}

/// Splits off the parameters; `None` if `value` is no media type or has too many.
fn parameters<'v>(
    value: &'v [u8],
    list: &mut [(&'v [u8], &'v [u8]); MAX_PARAMETERS],
) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    let mut parts = value.split(move |&byte| {
        if escaped {
            escaped = false;
        } else if quoted && byte == b'\\' {
            escaped = true;
        } else if byte == b'"' {
            quoted = !quoted;
        }
        byte == b';' && !quoted
    });
    let mut names = trim(parts.next()?).splitn(2, |&b| b == b'/');
    if !names.next().is_some_and(is_token) || !names.next().is_some_and(is_token) {
        return None;
    }
    let mut count = 0;
    for part in parts.map(trim).filter(|part| !part.is_empty()) {
        let equals = part.iter().position(|&b| b == b'=')?;
        let (name, value) = (&part[..equals], &part[equals + 1..]);
        let quoted = matches!(value, [b'"', .., b'"']);
        if !is_token(name) || !(quoted || is_token(value)) {
            return None;
        }
        *list.get_mut(count)? = (name, value);
        count += 1;
    }
    Some(count)
}

fn lower(text: &[u8]) -> impl Iterator<Item = u8> {
    text.iter().map(u8::to_ascii_lowercase)
}

fn put_lower(to: &mut Buffer, text: &[u8]) {
    for byte in lower(text) {
        to.put(&[byte]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form() {
        for (value, form) in [
            ("", "application/octet-stream"),
            ("Text/HTML", "text/html"),
            ("text/html;charset=UTF-8", "text/html; charset=utf-8"),
            ("text/html ; Charset=\"UTF-8\"", "text/html; charset=utf-8"),
            ("application/javascript", "text/javascript"),
            ("application/x-javascript; charset=utf-8", "text/javascript; charset=utf-8"),
            ("text/plain", "text/plain; charset=utf-8"),
            ("text/css;charset=latin1", "text/css; charset=latin1"),
            ("text/x-python; a=b", "text/x-python; a=b; charset=utf-8"),
            ("multipart/form-data; boundary=AbC", "multipart/form-data; boundary=AbC"),
            ("a/b; z=1; charset=X; b=\"1;2\"", "a/b; b=\"1;2\"; charset=x; z=1"),
            ("nonsense", "nonsense"),
            ("a/b; c", "a/b; c"),
            ("a/b;;", "a/b"),
        ] {
            let mut buffer = Buffer::new(64);
            put(&mut buffer, Some(value.as_bytes()));
            assert_eq!(core::str::from_utf8(buffer.data()).unwrap(), form, "{value}");
        }
        let mut buffer = Buffer::new(64);
        put(&mut buffer, None);
        assert_eq!(buffer.data(), b"application/octet-stream");
    }
}
