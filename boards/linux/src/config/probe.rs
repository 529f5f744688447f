//! `probe`: a request that every healthy replica answers alike, from the short form that an operator writes.

use std::net::SocketAddr;

use resh_channel::config::{PROBE_BYTES_MAX, Probe, Protocol, Transport};

use super::address::{Wrong, wrong};

/// What a probe is sent to.
pub(super) struct Target<'t> {
    pub(super) protocol: &'t Protocol,
    pub(super) transport: Transport,
    pub(super) listen: SocketAddr,
}

/// The request that `text` stands for, as a client would send it.
pub(super) fn compile(text: &str, target: &Target<'_>) -> Result<Probe, Wrong> {
    let bytes = match target.protocol {
        Protocol::Raw => raw(text)?,
        Protocol::Http1(settings) => {
            if !settings.methods.contains(b"GET") {
                return wrong(
                    "the probe is a GET, which http1.methods leaves out",
                    "add \"GET\" to http1.methods, or remove this key",
                );
            }
            http1(text, target.listen)?
        }
        Protocol::Dns => dns(text, target.transport)?,
        Protocol::Resp => resp(text)?,
        Protocol::Pgwire => {
            return wrong(
                "there are no probes of PostgreSQL",
                "remove this key: whether a replica accepts connections is tried",
            );
        }
    };
    let len = bytes.len();
    Probe::from_slice(&bytes).or_else(|_| {
        wrong(
            format!("the request would have {len} bytes"),
            format!("use a shorter one: at most {PROBE_BYTES_MAX} bytes as a client sends it"),
        )
    })
}

/// As it stands, but for `\r`, `\n`, `\t`, `\\` and `\xNN`.
fn raw(text: &str) -> Result<Vec<u8>, Wrong> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        let (byte, taken) = match rest.as_bytes() {
            [b'\\', ..] => (b'\\', 1),
            [b'r', ..] => (b'\r', 1),
            [b'n', ..] => (b'\n', 1),
            [b't', ..] => (b'\t', 1),
            [b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
                (digit(*high) << 4 | digit(*low), 3)
            }
            _ => {
                return wrong(
                    format!("{:?} begins no escape", text.get(text.len() - rest.len() - 1..)),
                    r"write \r, \n, \t, \\ or \xNN, best between single quotes",
                );
            }
        };
        bytes.push(byte);
        rest = &rest[taken..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    if bytes.is_empty() {
        return wrong("the probe is empty", "write what to send, or remove this key");
    }
    Ok(bytes)
}

/// GET of a path, or of `http://host/path` where servers answer by host.
fn http1(text: &str, listen: SocketAddr) -> Result<Vec<u8>, Wrong> {
    let example = "write a path such as \"/index.html\", or \"http://shop.example/index.html\"";
    let (host, path) = match text.strip_prefix("http://") {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => ("", text),
    };
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if !path.starts_with('/') || !is_plain(text) {
        return wrong(format!("{text:?} is not a path"), example);
    }
    let host = if host.is_empty() { listen.to_string() } else { host.to_owned() };
    Ok(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").into_bytes())
}

/// A command of Redis, as an array of bulk strings: the words of `text`.
fn resp(text: &str) -> Result<Vec<u8>, Wrong> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    if words.is_empty() {
        return wrong("the probe is empty", "write a command such as \"PING\", or remove this key");
    }
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    Ok(bytes)
}

/// Types that a probe may ask for by name (RFC 1035 and later; IANA's registry). Any other as `TYPE<number>` (RFC 3597).
const TYPES: &[(&str, u16)] = &[
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("PTR", 12),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
    ("SRV", 33),
    ("DS", 43),
    ("DNSKEY", 48),
    ("CAA", 257),
];

/// A query for a name and a type of class IN (RFC 1035 section 4.1), with recursion desired.
fn dns(text: &str, transport: Transport) -> Result<Vec<u8>, Wrong> {
    let example = "write a name and a type, such as \"www.example. A\"";
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let [name, of_type] = words[..] else {
        return wrong(format!("{text:?} is not a name and a type"), example);
    };
    let known = TYPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(of_type));
    let number = of_type.strip_prefix("TYPE").and_then(|number| number.parse().ok());
    let Some(number) = known.map(|(_, number)| *number).or(number) else {
        let names: Vec<_> = TYPES.iter().map(|(name, _)| *name).collect();
        let hint = format!("use {}, or TYPE and its number", names.join(", "));
        return wrong(format!("there is no type {of_type:?}"), hint);
    };
    let mut query = vec![b'R', b'E', 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.trim_end_matches('.').split('.').filter(|_| name != ".") {
        match u8::try_from(label.len()) {
            Ok(len @ 1..=63) => query.push(len),
            _ => return wrong(format!("{name:?} is not a name of DNS"), example),
        }
        query.extend_from_slice(label.as_bytes());
    }
    query.push(0);
    query.extend_from_slice(&number.to_be_bytes());
    query.extend_from_slice(&[0, 1]);
    if transport == Transport::Tcp {
        let len = u16::try_from(query.len()).unwrap_or(u16::MAX);
        query.splice(0..0, len.to_be_bytes());
    }
    Ok(query)
}

#[cfg(test)]
mod tests {
    use resh_channel::config::{Http1, Methods};

    use super::*;

    fn compiled(protocol: Protocol, transport: Transport, text: &str) -> Result<Vec<u8>, String> {
        let listen = ([127, 0, 0, 1], 8080).into();
        compile(text, &Target { protocol: &protocol, transport, listen })
            .map(|probe| probe.to_vec())
            .map_err(|wrong| format!("{}; {}", wrong.problem, wrong.hint))
    }

    fn over_tcp(protocol: Protocol, text: &str) -> Result<Vec<u8>, String> {
        compiled(protocol, Transport::Tcp, text)
    }

    #[test]
    fn a_path_becomes_a_get() {
        let http1 = Protocol::Http1(Http1::default());
        assert_eq!(
            over_tcp(http1, "/a?b=c").unwrap(),
            b"GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(
            over_tcp(http1, "http://shop.example/").unwrap(),
            b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n"
        );
        for bad in ["", "index.html", "/a b", "/\r\nX: y", "http://host", "/a#b", "/\u{e9}"] {
            assert!(over_tcp(http1, bad).unwrap_err().contains("is not a path"), "{bad:?}");
        }
        let long = format!("/{}", "x".repeat(256));
        assert!(over_tcp(http1, &long).unwrap_err().contains("at most 256 bytes"));
        let mut methods = Methods::NONE;
        methods.insert("POST");
        let no_get = Protocol::Http1(Http1 { methods, ..Http1::default() });
        assert!(over_tcp(no_get, "/").unwrap_err().contains("leaves out"));
    }

    #[test]
    fn words_become_a_command() {
        let ping = over_tcp(Protocol::Resp, "PING").unwrap();
        assert_eq!(ping, b"*1\r\n$4\r\nPING\r\n");
        let get = over_tcp(Protocol::Resp, " GET  key ").unwrap();
        assert_eq!(get, b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n");
        assert!(over_tcp(Protocol::Resp, " ").is_err());
    }

    #[test]
    fn a_name_and_a_type_become_a_query() {
        let query = compiled(Protocol::Dns, Transport::Udp, "www.example. aaaa").unwrap();
        assert_eq!(query[2..12], [1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(query[12..], *b"\x03www\x07example\x00\x00\x1c\x00\x01");
        let framed = over_tcp(Protocol::Dns, "www.example AAAA").unwrap();
        assert_eq!(framed[..2], (query.len() as u16).to_be_bytes());
        assert_eq!(framed[2..], query);
        assert_eq!(over_tcp(Protocol::Dns, ". TYPE6"), over_tcp(Protocol::Dns, ". SOA"));
        let long = format!("{}.example A", "x".repeat(64));
        for bad in ["www.example", "a..b A", &long, "a A B", ""] {
            assert!(over_tcp(Protocol::Dns, bad).is_err(), "{bad:?}");
        }
        assert!(over_tcp(Protocol::Dns, "a B").unwrap_err().contains("AAAA, SRV"));
    }

    #[test]
    fn raw_bytes_are_sent_as_they_stand() {
        assert_eq!(over_tcp(Protocol::Raw, r"a\x00\xfFb\r\n\t\\").unwrap(), b"a\0\xffb\r\n\t\\");
        assert_eq!(over_tcp(Protocol::Raw, "\u{e9}\r\n").unwrap(), "\u{e9}\r\n".as_bytes());
        for bad in ["", r"\", r"\x1", r"\xg0", r"\q", r"\é"] {
            assert!(over_tcp(Protocol::Raw, bad).is_err(), "{bad:?}");
        }
        assert!(over_tcp(Protocol::Pgwire, "SELECT 1").is_err());
    }
}
