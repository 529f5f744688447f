//! `Cookie` and `Set-Cookie` (RFC 6265) with [private](super::tokens) values.

use super::buffer::Buffer;
use super::date;
use super::fields;
use super::tokens::{Place, Tokens, text};

/// The name and value of `name=value`, without blanks and the quotes around the value.
fn pair(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = text.iter().position(|&byte| byte == b'=')?;
    Some((fields::trim(&text[..equals]), fields::trim(&text[equals + 1..])))
}

/// A cookie as the client sends it.
enum Sent<'c> {
    /// Nobody's.
    Unknown,
    /// To be passed on as it is.
    Plain,
    /// The private value of this name.
    Own(&'c [u8], &'c [u8]),
}

fn sent<'c>(part: &'c [u8], tokens: &'c mut Tokens) -> Sent<'c> {
    let private = pair(part).and_then(|(name, value)| Some((name, value, tokens.private(name)?)));
    match private {
        None if part.is_empty() => Sent::Unknown,
        None => Sent::Plain,
        Some((name, value, cookie)) => match tokens.value(cookie, value) {
            Some(own) => Sent::Own(name, own),
            None => Sent::Unknown,
        },
    }
}

fn parts(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b';').map(fields::trim)
}

/// Whether a `Cookie` field says anything to the replica.
pub(super) fn is_left(value: &[u8], tokens: &mut Tokens) -> bool {
    parts(value).any(|part| !matches!(sent(part, tokens), Sent::Unknown))
}

/// Writes what a `Cookie` field says to the replica: private values in the place of their surrogates.
pub(super) fn put_request(out: &mut Buffer, value: &[u8], tokens: &mut Tokens) {
    let mut separator: &[u8] = b"";
    for part in parts(value) {
        match sent(part, tokens) {
            Sent::Unknown => continue,
            Sent::Plain => {
                out.put(separator);
                out.put(part);
            }
            Sent::Own(name, own) => {
                out.put(separator);
                out.put(name);
                out.put(b"=");
                out.put(own);
            }
        }
        separator = b"; ";
    }
}

/// Writes the value of a `Set-Cookie` field, number `at` of its response, to the client. A private value
/// becomes its surrogate, unless it is empty, and `Expires` beside it, which is read off a private clock,
/// becomes `Max-Age` in whole minutes.
pub(super) fn put_response(
    out: &mut Buffer,
    value: &[u8],
    at: u32,
    place: &Place,
    clock_s: u32,
    tokens: &mut Tokens,
) {
    let mut parts = value.split(|&byte| byte == b';');
    let first = parts.next().unwrap_or_default();
    let surrogate = pair(first).and_then(|(name, value)| {
        let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        let cookie = tokens.private(name).filter(|_| !quoted.unwrap_or(value).is_empty())?;
        Some((name, tokens.surrogate(cookie, value, place.surrogate(at))?))
    });
    let Some((name, surrogate)) = surrogate else { return out.put(value) };
    out.put(name);
    out.put(b"=");
    out.put(&text(surrogate));
    let named = |part: &[u8], name| pair(part).is_some_and(|(found, _)| fields::is(found, name));
    let ages = parts.clone().any(|part| named(part, "max-age"));
    for part in parts.map(fields::trim) {
        let expires = pair(part).filter(|_| named(part, "expires"));
        match expires.map(|(_, value)| date::parse(value, clock_s.into())) {
            Some(_) if ages => {}
            Some(Some(at_s)) => {
                out.put(b"; Max-Age=");
                out.put_decimal((at_s.saturating_sub(clock_s.into()) + 30) / 60 * 60);
            }
            _ => {
                out.put(b"; ");
                out.put(part);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::String;

    use super::*;

    const PLACE: Place = Place { nonce: [3; 16], offset: 0 };

    fn tokens() -> Tokens {
        Tokens::new(&[b"sid"])
    }

    fn set(tokens: &mut Tokens, value: &str) -> String {
        let mut out = Buffer::new(4096);
        // 1994-11-06 08:49:37
        put_response(&mut out, value.as_bytes(), 0, &PLACE, 784_111_777, tokens);
        String::from_utf8(out.data().to_vec()).unwrap()
    }

    fn sent(tokens: &mut Tokens, value: &str) -> Option<String> {
        let mut out = Buffer::new(4096);
        put_request(&mut out, value.as_bytes(), tokens);
        is_left(value.as_bytes(), tokens).then(|| String::from_utf8(out.data().to_vec()).unwrap())
    }

    #[test]
    fn replicas_with_values_of_their_own_say_the_same() {
        let (mut one, mut other) = (tokens(), tokens());
        let seen = set(&mut one, "sid=abc; Path=/; HttpOnly");
        assert_eq!(seen, set(&mut other, "sid=\"xyz.123\"; Path=/; HttpOnly"));
        let surrogate = seen.strip_prefix("sid=").unwrap().strip_suffix("; Path=/; HttpOnly");
        let back = std::format!("a=1; sid={};b=2", surrogate.unwrap());
        assert_eq!(sent(&mut one, &back).unwrap(), "a=1; sid=abc; b=2");
        assert_eq!(sent(&mut other, &back).unwrap(), "a=1; sid=\"xyz.123\"; b=2");
    }

    #[test]
    fn what_is_not_private_stays() {
        let mut tokens = tokens();
        for value in ["theme=dark; Path=/", "sid=; Max-Age=0", "sid=\"\"", "sid", ""] {
            assert_eq!(set(&mut tokens, value), value);
        }
        assert_eq!(sent(&mut tokens, "theme=dark; x").unwrap(), "theme=dark; x");
        // The client made these up.
        assert_eq!(sent(&mut tokens, "sid=abc; sid=0123"), None);
        assert_eq!(sent(&mut tokens, "sid=abc; theme=dark").unwrap(), "theme=dark");
    }

    #[test]
    fn private_clocks_do_not_show() {
        let mut tokens = tokens();
        let age = |tokens: &mut Tokens, value: &str| {
            let text = set(tokens, value);
            text.split_once("; ").map(|(_, rest)| String::from(rest)).unwrap()
        };
        for second in ["36", "37", "38"] {
            let value = std::format!("sid=1; Expires=Sun, 06 Nov 1994 09:49:{second} GMT; Secure");
            assert_eq!(age(&mut tokens, &value), "Max-Age=3600; Secure");
        }
        let both = "sid=1; Max-Age=9; expires=Sun, 06 Nov 1994 09:49:37 GMT";
        assert_eq!(age(&mut tokens, both), "Max-Age=9");
        let gone = "sid=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
        assert_eq!(age(&mut tokens, gone), "Max-Age=0");
        assert_eq!(age(&mut tokens, "sid=1; Expires=soon"), "Expires=soon");
    }
}
