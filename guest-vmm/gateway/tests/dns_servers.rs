//! BIND 9, Knot DNS and NSD, near their default configuration, must give the client the same bytes through `dns`,
//! whatever the client asks. Unbound is asked too: it has the same zones, but is a resolver.
//!
//! `RESH_CASES` sets the number of random queries, `RESH_SEED` the first seed.

mod dns_support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use dns_support::*;
use resh_tests::dns_servers::{self, NameServer, SIGNED_ZONE, ZONE};
use resh_tests::harness::{CaseResult, Halt};

/// How long a server may take for one answer; this machine may be busy.
const PATIENCE: Duration = Duration::from_secs(20);

const NAMES: &[&str] = &[
    "",
    "@",
    "ns1",
    "NS2",
    "mail",
    "mail2",
    "www",
    "wwW",
    "alias",
    "alias2",
    "alias3",
    "dangling",
    "outside",
    "to-wild",
    "to-sub",
    "loop-a",
    "a.wild",
    "b.a.wild",
    "wild",
    "*.wild",
    "below.wild",
    "x.below.wild",
    "x.alias-wild",
    "deep.empty.between",
    "empty.between",
    "between",
    "x.between",
    "sub",
    "a.sub",
    "ns1.sub",
    "ns2.sub",
    "b.a.sub",
    "glueless",
    "x.glueless",
    "sibling",
    "x.sibling",
    "ns.sibling",
    "secure",
    "x.secure",
    "ns.secure",
    "moved",
    "host.moved",
    "nothing.moved",
    "sub-tree",
    "host.sub-tree",
    "_sip._tcp",
    "_tcp",
    "naptr",
    "svc",
    "alias-svc",
    "loc",
    "sshfp",
    "tlsa",
    "ptr",
    "rp",
    "info",
    "mixed.case.name",
    "hinfo",
    "unknown",
    "short",
    "long",
    "host0",
    "host999",
    "host1000",
    "txt4",
    "txt5",
    "txt10",
    "txt12",
    "big",
    "many",
    "many-mx",
    "wide",
    "x.wide",
    "ns5.wide",
    "nothing",
    "nothing.here",
    "\u{1}",
    "a b",
];
const TYPES: &[u16] = &[
    1, 2, 5, 6, 12, 13, 15, 16, 17, 28, 29, 33, 35, 39, 43, 44, 46, 47, 48, 50, 51, 52, 59, 60, 64,
    65, 99, 257, 3, 24, 25, 30, 41, 100, 127, 128, 249, 250, 251, 252, 253, 254, 255, 0, 256,
    32768, 65280, 65535,
];

struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn start(place: &Place) -> CaseResult<(Vec<NameServer>, Vec<&'static str>)> {
    let zones_dir = place.0.join("zones");
    let zones = dns_servers::write_zones(&zones_dir)?;
    let servers = vec![
        dns_servers::bind9(&place.0, &zones_dir, &zones)?,
        dns_servers::knot(&place.0, &zones_dir, &zones)?,
        dns_servers::nsd(&place.0, &zones_dir, &zones)?,
        dns_servers::unbound(&place.0, &zones_dir, &zones)?,
    ];
    Ok((servers, zones))
}

/// The datagram that the client gets with this server behind the gateway; empty if it gets none.
fn ask_udp(server: SocketAddr, query: &[u8]) -> Vec<u8> {
    let said = over_udp(&mut udp(), query, |sent| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send(sent).unwrap();
        let mut buffer = [0; 65_535];
        let len = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{query:?}: {error}"));
        vec![buffer[..len].to_vec()]
    });
    said.bytes
}

/// The message that the client gets over TCP.
fn ask_tcp(server: SocketAddr, query: &[u8]) -> Vec<u8> {
    let stream = framed(query);
    let said = over_tcp(&mut Rng::new(1), &mut tcp(), &stream, false, |sent| {
        let mut connection = TcpStream::connect(server).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        connection.write_all(&framed(sent)).unwrap();
        let mut length = [0; 2];
        connection.read_exact(&mut length).unwrap();
        let mut message = vec![0; u16::from_be_bytes(length).into()];
        connection.read_exact(&mut message).unwrap();
        message
    });
    unframed(&said.bytes).first().cloned().unwrap_or_default()
}

struct Case {
    text: String,
    query: Vec<u8>,
    tcp: bool,
}

fn random_case(rng: &mut Rng, zones: &[&str]) -> Case {
    let zone = rng.pick(zones);
    let zone = if rng.one_in(40) { "elsewhere.example" } else { zone };
    let label = rng.pick(NAMES);
    let name = match label {
        "@" | "" => zone.to_owned(),
        label => format!("{label}.{zone}"),
    };
    let name = if rng.one_in(4) { name.to_uppercase() } else { name };
    let qtype = if rng.one_in(2) { rng.pick(&[1, 28, 15, 16, 5, 2, 6]) } else { rng.pick(TYPES) };
    let flags = rng.pick(&[0, RD, RD | AD, RD | CD, AD | CD]);
    let edns = match rng.below(6) {
        0 => None,
        1 => opt(512, 0),
        2 => opt(1232, 0),
        3 => opt(4096, DO),
        4 => opt(1232, DO),
        _ => opt(rng.below(65_536) as u32 as u16, rng.pick(&[0, DO, 1 << 16, 1 << 30, 1])),
    };
    let mut edns = edns;
    if let Some(opt) = edns.as_mut().filter(|_| rng.one_in(3)) {
        opt.options = rng
            .pick(&[
                &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8][..],
                &[0, 10, 0, 1, 1],
                &[0, 8, 0, 7, 0, 1, 24, 0, 10, 0, 0],
                &[0, 3, 0, 0],
                &[0, 12, 0, 3, 0, 0, 0],
                &[0, 9, 0, 0],
                &[0, 11, 0, 2, 0, 1],
                &[0xff, 0xf0, 0, 0, 0, 10, 0, 0],
            ])
            .to_vec();
    }
    let mut bytes = query(rng.next() as u16, flags, &name, qtype, edns.clone());
    let mut text = format!("{name} {qtype} flags {flags:x} {edns:?}");
    if rng.one_in(8) {
        for _ in 0..1 + rng.below(3) {
            let at = rng.below(bytes.len().max(1));
            match rng.below(4) {
                _ if bytes.is_empty() => break,
                0 => bytes[at] = rng.next() as u8,
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, rng.next() as u8),
                _ => bytes.truncate(at + 1),
            }
        }
        text = format!("changed: {text}: {bytes:x?}");
    }
    Case { text, query: bytes, tcp: rng.one_in(4) }
}

/// NSD 4.6 leaves out a part of the proof that there is no name to which a DNAME leads: it is outvoted.
fn is_known(text: &str) -> bool {
    text.to_lowercase().contains("nothing.moved.signed.example")
}

fn is_alias(text: &str) -> bool {
    let text = text.to_lowercase();
    ["alias", "to-", "moved", "outside"].iter().any(|word| text.contains(word))
}

#[test]
fn correct_servers_lead_to_the_same_bytes() {
    let name = format!("resh-dns-{}", std::process::id());
    let place = Place(std::env::temp_dir().join(name));
    let (servers, zones) = match start(&place) {
        Ok(started) => started,
        Err(Halt::Skip(why)) => {
            return println!("correct_servers_lead_to_the_same_bytes: not run: {why}");
        }
        Err(Halt::Fail(why)) => panic!("{why}"),
    };
    assert!(zones.contains(&ZONE));
    let (mut splits, mut codes, mut resolver) = (Vec::new(), BTreeMap::new(), [0, 0]);
    let from_env = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let (cases, seed) =
        (from_env("RESH_CASES").unwrap_or(3000), from_env("RESH_SEED").unwrap_or(1));
    for number in 0..cases {
        let case = random_case(&mut Rng::new(seed << 32 | number), &zones);
        let ask = if case.tcp { ask_tcp } else { ask_udp };
        let said: Vec<Vec<u8>> =
            servers.iter().map(|server| ask(server.address, &case.query)).collect();
        let what = |bytes: &[u8]| match bytes {
            [] => "nothing".to_owned(),
            bytes => {
                let [_, flags, _, answers, authorities, additional] = head(bytes);
                format!("{flags:04x} {answers} {authorities} {additional}, {} bytes", bytes.len())
            }
        };
        let code = said[0].get(3).map_or(99, |flags| flags & 15);
        *codes.entry(code).or_insert(0) += 1;
        // The fourth is no server for whole zones: of an alias it says no more than what it is an alias of, and it
        // fails on what is not its own. It is to agree on what there is.
        let there_is = said[0].len() > 12 && head(&said[0])[3] > 0 && head(&said[0])[4] == 0;
        let there_is = there_is && !is_alias(&case.text);
        let compared = if there_is { 1..4 } else { 1..3 };
        resolver[usize::from(said[3] == said[0])] += 1;
        if compared.clone().any(|n| said[n] != said[0]) && !is_known(&case.text) {
            let each = servers.iter().zip(&said).take(compared.end);
            let each =
                each.map(|(server, bytes)| format!("\n    {}: {}", server.name, what(bytes)));
            splits.push(format!("{} tcp: {}{}", case.text, case.tcp, each.collect::<String>()));
        }
        if !said[0].is_empty() {
            expanded(&said[0])
                .unwrap_or_else(|error| panic!("{}: {error}: {:x?}", case.text, said[0]));
        }
    }
    println!("{cases} queries, response codes {codes:?}");
    println!("the resolver: {} replies as of the others, {} not", resolver[1], resolver[0]);
    for split in &splits {
        println!("{split}");
    }
    assert!(splits.is_empty(), "servers differ");
    assert!(!zones.contains(&SIGNED_ZONE) || codes.len() > 4, "{codes:?}");
}
