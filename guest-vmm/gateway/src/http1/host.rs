//! Authorities: the host and port that a request or a redirect names (RFC 9110, section 4.2).

use super::buffer::decimal;

/// Longest host name with port, in bytes.
pub(super) const HOST_BYTES: usize = 255;

/// A validated authority: lower-case host, and the port when it is not 80.
#[derive(Clone, Copy)]
pub(super) struct Host {
    bytes: [u8; HOST_BYTES],
    name: u8,
    len: u8,
}

impl Host {
    /// What an HTTP/1.0 request without `Host` is taken to mean.
    pub(super) const LOCALHOST: Host = {
        let mut bytes = [0; HOST_BYTES];
        let name = b"localhost";
        let mut at = 0;
        while at < name.len() {
            bytes[at] = name[at];
            at += 1;
        }
        Host { bytes, name: 9, len: 9 }
    };

    /// Reads `uri-host [":" port]` of RFC 9110, section 4.2, without user information.
    pub(super) fn parse(text: &[u8]) -> Option<Host> {
        if text.is_empty() || text.len() > HOST_BYTES {
            return None;
        }
        let split = match text.iter().rposition(|&b| b == b']') {
            Some(bracket) => bracket + 1,
            None => text.iter().position(|&b| b == b':').unwrap_or(text.len()),
        };
        let (name, port) = text.split_at(split);
        let valid = if name.first() == Some(&b'[') { is_ipv6(name) } else { is_name(name) };
        if !valid {
            return None;
        }
        let port = match port {
            [] => 80,
            [b':', digits @ ..] => parse_port(digits)?,
            _ => return None,
        };
        let mut host = Host { bytes: [0; HOST_BYTES], name: split as u8, len: split as u8 };
        host.bytes[..split].copy_from_slice(name);
        host.bytes[..split].make_ascii_lowercase();
        if port != 80 {
            // The digits as given may have leading zeros; write the number.
            let mut digits = [0; 20];
            let digits = decimal(u64::from(port), &mut digits);
            let end = split + 1 + digits.len();
            host.bytes.get_mut(split + 1..end)?.copy_from_slice(digits);
            host.bytes[split] = b':';
            host.len = end as u8;
        }
        Some(host)
    }

    /// Host and port as they go into `Host:`.
    pub(super) fn authority(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The host without its port.
    pub(super) fn name(&self) -> &[u8] {
        &self.bytes[..usize::from(self.name)]
    }

    /// The port.
    pub(super) fn port(&self) -> u16 {
        self.authority().get(usize::from(self.name) + 1..).and_then(parse_port).unwrap_or(80)
    }
}

fn parse_port(digits: &[u8]) -> Option<u16> {
    if digits.is_empty() || digits.len() > 5 {
        return None;
    }
    let port = digits
        .iter()
        .try_fold(0u32, |n, &d| d.is_ascii_digit().then(|| n * 10 + u32::from(d - b'0')))?;
    u16::try_from(port).ok().filter(|&port| port != 0)
}

/// A host name of labels, or an IPv4 address: what every server's strict mode accepts. A last label
/// that begins with a digit must belong to four numbers.
fn is_name(name: &[u8]) -> bool {
    let labels = || name.split(|&b| b == b'.');
    let sound = labels().all(|label| {
        !label.is_empty()
            && label.len() <= 63
            && label.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'-')
            && label.first() != Some(&b'-')
            && label.last() != Some(&b'-')
    });
    let numeric =
        sound && labels().next_back().is_some_and(|last| last[..1].iter().all(u8::is_ascii_digit));
    sound && (!numeric || is_ipv4(name))
}

fn is_ipv4(name: &[u8]) -> bool {
    let mut count = 0;
    name.split(|&b| b == b'.').all(|part| {
        count += 1;
        let plain = part.len() == 1 || part.first() != Some(&b'0');
        plain
            && part.len() <= 3
            && part
                .iter()
                .try_fold(0u16, |n, &d| d.is_ascii_digit().then(|| n * 10 + u16::from(d - b'0')))
                .is_some_and(|n| n < 256)
    }) && count == 4
}

fn is_ipv6(name: &[u8]) -> bool {
    match name {
        [b'[', inner @ .., b']'] => core::str::from_utf8(inner)
            .is_ok_and(|text| text.parse::<core::net::Ipv6Addr>().is_ok()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (text, form, port) in [
            ("Example.COM", "example.com", 80),
            ("a:80", "a", 80),
            ("a:8080", "a:8080", 8080),
            ("a:00090", "a:90", 90),
            ("127.0.0.1:9", "127.0.0.1:9", 9),
            ("[::1]:81", "[::1]:81", 81),
            ("[::1]", "[::1]", 80),
            ("x-y.z9", "x-y.z9", 80),
        ] {
            let host = Host::parse(text.as_bytes()).unwrap();
            assert_eq!((host.authority(), host.port()), (form.as_bytes(), port), "{text}");
        }
        for text in [
            "",
            ":80",
            "a:",
            "a:0",
            "a:65536",
            "a:b",
            "a:+1",
            "a b",
            "a/b",
            "a@b",
            "a..b",
            ".a",
            "a.",
            "-a",
            "a-",
            "a_b",
            "1.2.3",
            "1.2.3.4.5",
            "256.1.1.1",
            "01.2.3.4",
            "a.1",
            "[::1",
            "[::g]",
            "[::1%25e]",
            "[::1]x",
            "::1",
            "a,b",
            "\u{e9}",
        ] {
            assert!(Host::parse(text.as_bytes()).is_none(), "{text}");
        }
    }
}
