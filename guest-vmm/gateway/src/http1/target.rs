//! Request targets (RFC 9112, section 3.2), brought to one form.
//!
//! The form is such that servers with different rules for slashes, dots and escapes all see the
//! same simple path: no empty or dot segment, nothing unreserved escaped, everything else that is no
//! path or query character escaped, upper-case hexadecimal digits.

use super::error::Refusal;

/// Splits an absolute-form target of the `http` scheme into authority and the rest; `None` if
/// it is not of that form.
pub(super) fn absolute_form(target: &[u8]) -> Option<(&[u8], &[u8])> {
    let scheme = target.get(..7)?;
    if !scheme.eq_ignore_ascii_case(b"http://") {
        return None;
    }
    let rest = &target[7..];
    let end = rest.iter().position(|&b| b == b'/' || b == b'?').unwrap_or(rest.len());
    Some(rest.split_at(end))
}

/// The part of a [`Profile`](super::Profile) that is about targets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) max_path_bytes: usize,
    pub(super) max_segment_bytes: usize,
    pub(super) lenient_query: bool,
}

/// Writes the canonical form of an origin-form target into `out` and returns its length.
pub(super) fn normalise(target: &[u8], rules: Rules, out: &mut [u8]) -> Result<usize, Refusal> {
    let (path, query) = match target.iter().position(|&b| b == b'?') {
        Some(at) => (&target[..at], Some(&target[at + 1..])),
        None => (target, None),
    };
    if path.first().is_some_and(|&b| b != b'/') {
        return Err(Refusal::bad("target form"));
    }
    let mut out = Out { bytes: out, len: 0 };
    put_path(path, rules, &mut out)?;
    if let Some(query) = query.filter(|query| !query.is_empty()) {
        out.push(b'?')?;
        put_query(query, rules, &mut out)?;
    }
    Ok(out.len)
}

struct Out<'a> {
    bytes: &'a mut [u8],
    len: usize,
}

impl Out<'_> {
    fn push(&mut self, byte: u8) -> Result<(), Refusal> {
        *self.bytes.get_mut(self.len).ok_or(Refusal::new(414, "target too long"))? = byte;
        self.len += 1;
        Ok(())
    }

    fn push_escaped(&mut self, byte: u8) -> Result<(), Refusal> {
        const HEX: &[u8; 16] = b"0123456789ABCDEF";
        self.push(b'%')?;
        self.push(HEX[usize::from(byte >> 4)])?;
        self.push(HEX[usize::from(byte & 15)])
    }
}

fn put_path(path: &[u8], rules: Rules, out: &mut Out<'_>) -> Result<(), Refusal> {
    out.push(b'/')?;
    let mut segment = out.len; // where the current segment begins
    let mut at = 1;
    while at < path.len() {
        let byte = path[at];
        at += 1;
        match byte {
            b'/' => {
                let kept = close_segment(out, segment, rules)?;
                if kept && out.len > segment {
                    out.push(b'/')?;
                }
                segment = out.len;
            }
            b'%' => {
                let value = escape(path, &mut at)?;
                match value {
                    0..0x20 | 0x7f => return Err(Refusal::bad("escaped control character")),
                    b'/' | b'\\' => return Err(Refusal::bad("escaped slash")),
                    _ if !is_utf8_byte(value) => return Err(Refusal::bad("escape is no UTF-8")),
                    _ if is_unreserved(value) => out.push(value)?,
                    _ => out.push_escaped(value)?,
                }
            }
            _ => put_raw(byte, b"/:@", out)?,
        }
    }
    close_segment(out, segment, rules)?;
    if out.len > rules.max_path_bytes {
        return Err(Refusal::new(414, "path too long"));
    }
    Ok(())
}

/// Resolves the segment that begins at `segment` when it is a dot segment (RFC 3986, section
/// 5.2.4). Whether the segment stays.
fn close_segment(out: &mut Out<'_>, segment: usize, rules: Rules) -> Result<bool, Refusal> {
    match &out.bytes[segment..out.len] {
        b"." => {
            out.len = segment;
            Ok(false)
        }
        b".." => {
            if segment <= 1 {
                return Err(Refusal::bad("path leaves the root"));
            }
            let parent = out.bytes[..segment - 1].iter().rposition(|&b| b == b'/').unwrap_or(0);
            out.len = parent + 1;
            Ok(false)
        }
        name => {
            let escapes = name.iter().filter(|&&b| b == b'%').count();
            if name.len() - 2 * escapes > rules.max_segment_bytes {
                return Err(Refusal::new(414, "path segment too long"));
            }
            Ok(true)
        }
    }
}

fn put_query(query: &[u8], rules: Rules, out: &mut Out<'_>) -> Result<(), Refusal> {
    let mut at = 0;
    while at < query.len() {
        let byte = query[at];
        at += 1;
        if byte != b'%' {
            // A second question mark is data, but not to lighttpd.
            if byte == b'?' {
                out.push_escaped(byte)?
            } else {
                put_raw(byte, b"/:@", out)?
            }
            continue;
        }
        let value = escape(query, &mut at)?;
        match value {
            0..0x20 | 0x7f if !rules.lenient_query => {
                return Err(Refusal::bad("escaped control character"));
            }
            _ if !rules.lenient_query && !is_utf8_byte(value) => {
                return Err(Refusal::bad("escape is no UTF-8"));
            }
            // These mean the same in a query, escaped or not, and lighttpd unescapes them.
            _ if is_unreserved(value) || b"!$'()*,/:@".contains(&value) => out.push(value)?,
            _ => out.push_escaped(value)?,
        }
    }
    Ok(())
}

/// A byte that is not escaped: kept where RFC 3986 allows it, escaped where browsers leave it bare,
/// refused otherwise.
fn put_raw(byte: u8, also: &[u8], out: &mut Out<'_>) -> Result<(), Refusal> {
    if is_unreserved(byte) || b"!$&'()*+,;=".contains(&byte) || also.contains(&byte) {
        out.push(byte)
    } else if b"\"<>^`{|}[]".contains(&byte) {
        out.push_escaped(byte)
    } else {
        Err(Refusal::bad("character not allowed in the target"))
    }
}

/// Reads the two digits after a `%` and moves `at` behind them.
fn escape(text: &[u8], at: &mut usize) -> Result<u8, Refusal> {
    let digit = |at: usize| text.get(at).and_then(|&b| (b as char).to_digit(16));
    let (Some(high), Some(low)) = (digit(*at), digit(*at + 1)) else {
        return Err(Refusal::bad("bad escape in the target"));
    };
    *at += 2;
    Ok((high << 4 | low) as u8)
}

/// Writes `text` with nothing unreserved escaped and with upper-case digits in the escapes.
pub(super) fn put_escapes(to: &mut super::buffer::Buffer, text: &[u8]) {
    let mut at = 0;
    while at < text.len() {
        let byte = text[at];
        at += 1;
        let escaped = if byte == b'%' { escape(text, &mut at).ok() } else { None };
        match escaped {
            Some(value) if is_unreserved(value) => to.put(&[value]),
            Some(value) => {
                let mut escape = [0; 3];
                let mut out = Out { bytes: &mut escape, len: 0 };
                if out.push_escaped(value).is_ok() {
                    to.put(&escape);
                }
            }
            None => to.put(&[byte]),
        }
    }
}

/// Whether the byte occurs in UTF-8 at all.
fn is_utf8_byte(byte: u8) -> bool {
    !matches!(byte, 0xc0 | 0xc1 | 0xf5..)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::{String, ToString};

    fn normal(target: &str) -> Result<String, u16> {
        let mut out = [0; 64];
        normalise(
            target.as_bytes(),
            Rules { max_path_bytes: 60, max_segment_bytes: 20, lenient_query: false },
            &mut out,
        )
        .map(|n| std::str::from_utf8(&out[..n]).unwrap().to_string())
        .map_err(|refusal| refusal.status)
    }

    #[test]
    fn one_form() {
        for (target, form) in [
            ("/", "/"),
            ("", "/"),
            ("?a", "/?a"),
            ("/?", "/"),
            ("/a/b.html", "/a/b.html"),
            ("//a///b//", "/a/b/"),
            ("/a/./b/.", "/a/b/"),
            ("/a/b/../c", "/a/c"),
            ("/a/b/..", "/a/"),
            ("/a/..", "/"),
            ("/a/../", "/"),
            ("/a/%2e%2E/b", "/b"),
            ("/...", "/..."),
            ("/a/.b", "/a/.b"),
            ("/%7euser/%41%2d", "/~user/A-"),
            ("/%c3%a9?%c3%a9", "/%C3%A9?%C3%A9"),
            ("/a|b{c}", "/a%7Cb%7Bc%7D"),
            ("/a?b|c", "/a?b%7Cc"),
            ("/a?../..//x", "/a?../..//x"),
            ("/a?x=1&y=%2F", "/a?x=1&y=/"),
            ("/a?b?%26%2b%3D%3b", "/a?b%3F%26%2B%3D%3B"),
            ("/a;b=c,d:@!$&'()*+", "/a;b=c,d:@!$&'()*+"),
            ("/a//../b", "/b"),
            ("/%3f%23%25", "/%3F%23%25"),
        ] {
            assert_eq!(normal(target), Ok(form.to_string()), "{target}");
            assert_eq!(normal(form), Ok(form.to_string()), "{form} is its own form");
        }
    }

    #[test]
    fn refused() {
        for target in [
            "a",
            "*",
            "/..",
            "/../x",
            "/a/../../x",
            "/%2e%2e/x",
            "/%00",
            "/a%2fb",
            "/a%5Cb",
            "/a\\b",
            "/%",
            "/%4",
            "/%4g",
            "/a#b",
            "/\u{e9}",
            "/a?%0a",
            "/a?%",
            "/a?\u{e9}",
            "/\t",
            "/%1f",
            "/%7F",
        ] {
            assert_eq!(normal(target), Err(400), "{target}");
        }
        assert_eq!(normal(&"/x".repeat(40)), Err(414));
    }

    #[test]
    fn absolute() {
        assert_eq!(absolute_form(b"HTTP://a:1/b?c"), Some((&b"a:1"[..], &b"/b?c"[..])));
        assert_eq!(absolute_form(b"http://a?c"), Some((&b"a"[..], &b"?c"[..])));
        assert_eq!(absolute_form(b"https://a/"), None);
        assert_eq!(absolute_form(b"/http://a/"), None);
    }
}
