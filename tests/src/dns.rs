//! `dns`, over UDP and TCP: BIND 9, Knot DNS and NSD with the same zone.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use resh_tests::appliance::{Appliance, Config, Service, Status};
use resh_tests::dns_servers::{self, BIG_RECORDS, HOSTS, NameServer, ZONE};
use resh_tests::harness::{CaseResult, Context, During, Halt};
use resh_tests::net::{self, End};
use resh_tests::rng::Rng;
use resh_tests::{ensure, process};

const PATIENCE: Duration = Duration::from_secs(10);
const QUERIES: usize = 10_000;
const CLIENTS: usize = 16;

/// Longest reply over UDP.
const UDP_BYTES_MAX: usize = 1232;
const TRUNCATED: u8 = 2;

struct Names {
    appliance: Appliance,
    servers: Vec<NameServer>,
}

/// How a case wants its servers.
type Start = fn(&Path, &Path, &[&str]) -> CaseResult<NameServer>;

const SERVERS: [Start; 3] = [dns_servers::bind9, dns_servers::knot, dns_servers::nsd];

impl Names {
    fn open(context: &Context) -> CaseResult<Self> {
        let zone = write_zone(&context.dir, "zones", dns_servers::zone_text())?;
        Self::of(context, [&zone; 3])
    }

    /// Each server has the zone in a directory of its own; one service over UDP, one over TCP, on the same port.
    fn of(context: &Context, zones: [&PathBuf; 3]) -> CaseResult<Self> {
        let start = |(start, zone): (&Start, &PathBuf)| start(&context.dir, zone, &[ZONE]);
        let servers = SERVERS.iter().zip(zones).map(start).collect::<CaseResult<Vec<_>>>()?;
        let replicas = || servers.iter().map(|server| (server.name, server.address));
        let probe = format!("probe = \"www.{ZONE} A\"\n");
        let mut udp = Service::new("names", "dns", replicas())?;
        udp.more = format!("transport = \"udp\"\n{probe}");
        let mut tcp = Service { name: "names-tcp".to_owned(), ..udp.clone() };
        tcp.more = format!("transport = \"tcp\"\n{probe}");
        let config = Config { preamble: String::new(), services: vec![udp, tcp] };
        Ok(Names { appliance: Appliance::run(&context.dir, &config)?, servers })
    }

    /// All replicas vote and agreed all the time.
    fn nobody_differed(&self) -> CaseResult<Status> {
        let status = self.appliance.settled()?;
        ensure!(status.all_voting(), "a replica lost its vote: {:#}", status.0);
        ensure!(status.total("divergences") == 0, "servers differed: {:#}", status.0);
        Ok(status)
    }

    fn dig(&self, words: &[&str]) -> CaseResult<String> {
        let address = self.appliance.address;
        let mut command = Command::new(process::need_program("dig", "bind9-dnsutils")?);
        command.arg(format!("@{}", address.ip())).args(["-p", &address.port().to_string()]);
        process::output(command.args(["+tries=1", "+time=10"]).args(words))
    }
}

fn write_zone(dir: &Path, name: &str, text: String) -> CaseResult<PathBuf> {
    let dir = dir.join(name);
    fs::create_dir_all(&dir)?;
    fs::write(dir.join(ZONE), text)?;
    Ok(dir)
}

/// A query for a name of the zone.
fn query(id: u16, label: &str, rtype: u16) -> Vec<u8> {
    let mut bytes = [&id.to_be_bytes()[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in label.split('.').chain(ZONE.split('.')).filter(|label| !label.is_empty()) {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(&[rtype.to_be_bytes(), [0, 1]].concat());
    bytes
}

/// What is to come back to a query for the address of `host<number>`, byte for byte.
fn host_reply(query: &[u8], number: usize) -> Vec<u8> {
    let address = [10, (number >> 16) as u8, (number >> 8) as u8, number as u8];
    let head = [&query[..2], &[0x85, 0, 0, 1, 0, 1, 0, 0, 0, 0]].concat();
    let record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0x0e, 0x10, 0, 4];
    [&head, &query[12..], &record, &address].concat()
}

fn client(address: SocketAddr) -> CaseResult<UdpSocket> {
    let any: SocketAddr =
        if address.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Sends a datagram and waits for one; `None` if none comes in time.
fn ask(socket: &UdpSocket, query: &[u8]) -> CaseResult<Option<Vec<u8>>> {
    socket.send(query)?;
    let mut buffer = [0; 4096];
    match socket.recv(&mut buffer) {
        Ok(len) => Ok(Some(buffer[..len].to_vec())),
        Err(error) if net::is_timeout(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// `count` queries for addresses of hosts, each on a socket with others after it, all answered right.
fn ask_for_hosts(address: SocketAddr, seed: u64, count: usize) -> CaseResult {
    let socket = client(address)?;
    let mut rng = Rng::new(seed);
    for _ in 0..count {
        let number = rng.below(HOSTS);
        let query = query(rng.next_u64() as u16, &format!("host{number}"), 1);
        let reply = ask(&socket, &query)?;
        let reply = reply.ok_or_else(|| Halt::Fail(format!("no answer for host{number}")))?;
        let right = host_reply(&query, number);
        ensure!(reply == right, "host{number}: {reply:x?} and not {right:x?}");
    }
    Ok(())
}

/// The same by several clients at once.
fn clients_ask(address: SocketAddr, seed: u64, count: usize) -> CaseResult {
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let seed = seed * CLIENTS as u64 + number as u64;
                scope.spawn(move || ask_for_hosts(address, seed, count / CLIENTS))
            })
            .collect();
        clients.into_iter().try_for_each(|client| match client.join() {
            Ok(result) => result,
            Err(_) => Err("a client panicked".to_owned().into()),
        })
    })
}

pub(crate) fn ten_thousand_queries(context: &Context) -> CaseResult {
    let names = Names::open(context)?;
    let started = std::time::Instant::now();
    clients_ask(names.appliance.address, context.seed, QUERIES)?;
    let seconds = started.elapsed().as_secs_f64();
    println!("note: {QUERIES} queries answered right, {:.0} a second", QUERIES as f64 / seconds);
    names.nobody_differed().map(drop)
}

pub(crate) fn dnsperf(context: &Context) -> CaseResult {
    let program = process::need_program("dnsperf", "dnsperf")?;
    let names = Names::open(context)?;
    let mut rng = Rng::new(context.seed);
    let kinds =
        [("www", "A"), ("www", "AAAA"), ("", "MX"), ("", "TXT"), ("x.wild", "A"), ("alias2", "A")];
    let line = |at: usize| match at % 3 {
        0 => {
            let (label, rtype) = rng.pick(&kinds);
            format!("{label}.{ZONE} {rtype}\n").trim_start_matches('.').to_owned()
        }
        _ => format!("host{}.{ZONE} A\n", rng.below(HOSTS)),
    };
    let queries = context.dir.join("queries");
    fs::write(&queries, (0..QUERIES).map(line).collect::<String>())?;
    let address = names.appliance.address;
    for mode in ["udp", "tcp"] {
        let mut command = Command::new(&program);
        command.args(["-s", &address.ip().to_string(), "-p", &address.port().to_string()]);
        command.args(["-m", mode, "-n", "1", "-c", "8", "-q", "32", "-d"]).arg(&queries);
        let said = process::output(&mut command)?;
        let field = |name: &str| {
            let line = said.lines().find(|line| line.trim_start().starts_with(name));
            line.and_then(|line| line.split_once(':'))
                .map_or("", |(_, rest)| rest.trim())
                .to_owned()
        };
        let completed = field("Queries completed");
        ensure!(completed.starts_with(&format!("{QUERIES} ")), "{mode}: {said}");
        ensure!(
            field("Response codes") == format!("NOERROR {QUERIES} (100.00%)"),
            "{mode}: {said}"
        );
        println!("note: {mode}: {} queries/s", field("Queries per second"));
    }
    names.nobody_differed().map(drop)
}

pub(crate) fn dig(context: &Context) -> CaseResult {
    let names = Names::open(context)?;
    let dialogue: &[(&[&str], &str)] = &[
        (&["host7", "A", "+short"], "10.0.0.7\n"),
        (&["HOST7", "A", "+short"], "10.0.0.7\n"),
        (&["www", "A", "+short"], "192.0.2.80\n192.0.2.81\n192.0.2.82\n"),
        (&["www", "AAAA", "+short"], "2001:db8::80\n"),
        (&["alias2", "AAAA", "+short"], "alias.shop.example.\nwww.shop.example.\n2001:db8::80\n"),
        (
            &["", "MX", "+short"],
            "10 mail.shop.example.\n20 mail2.shop.example.\n30 mail.elsewhere.example.\n",
        ),
        (&["any.thing.wild", "MX", "+short"], "5 mail.shop.example.\n"),
        (
            &["_sip._tcp", "SRV", "+short"],
            "10 40 5060 ns1.shop.example.\n10 60 5060 mail.shop.example.\n",
        ),
        (
            &["host.moved", "A", "+short", "+tcp"],
            "sub-tree.shop.example.\nhost.sub-tree.shop.example.\n192.0.2.7\n",
        ),
        (&["nothing", "A", "+short"], ""),
    ];
    for (words, wanted) in dialogue {
        let name = format!("{}.{ZONE}", words[0]).trim_start_matches('.').to_owned();
        let said = names.dig(&[&[name.as_str()], &words[1..]].concat())?;
        ensure!(said == *wanted, "{words:?}: {said:?} and not {wanted:?}");
    }
    let full = |words: &[&str]| names.dig(&[&["+nostats", "+nocmd"], words].concat());
    // Too long for a datagram: dig comes again by TCP, by itself.
    let big = full(&["big.shop.example", "TXT"])?;
    ensure!(big.contains("Truncated, retrying in TCP mode"), "{big}");
    let records = big.matches("IN\tTXT\t\"").count();
    ensure!(records == BIG_RECORDS, "{records} records of {BIG_RECORDS}:\n{big}");
    let wide = full(&["x.wide.shop.example", "A"])?;
    ensure!(wide.contains("AUTHORITY: 24, ADDITIONAL: 49"), "no glue: {wide}");
    for (words, status) in [
        (&["nothing.shop.example", "A"][..], "NXDOMAIN"),
        (&["www.shop.example", "LOC"], "NOERROR"),
        (&["www.elsewhere.example", "A"], "REFUSED"),
        (&["shop.example", "ANY"], "NOTIMP"),
        (&["shop.example", "AXFR"], "Transfer failed"),
        (&["version.bind", "CH", "TXT"], "REFUSED"),
        (&["www.shop.example", "A", "+edns=1", "+noednsneg"], "BADVERS"),
        (&["www.shop.example", "A", "+opcode=NOTIFY"], "NOTIMP"),
        (
            &["www.shop.example", "A", "+dnssec", "+subnet=192.0.2.0/24", "+nsid", "+padding=64"],
            "NOERROR",
        ),
    ] {
        let said = full(words)?;
        ensure!(said.contains(status), "{words:?}: {said}");
    }
    names.nobody_differed().map(drop)
}

/// One server has other addresses than the rest: no reply shows them, and the record shows who it was.
pub(crate) fn a_false_record(context: &Context) -> CaseResult {
    const ASKED: usize = 30 * CLIENTS;
    let true_zone = write_zone(&context.dir, "zones", dns_servers::zone_text())?;
    for liar in 0..SERVERS.len() {
        let dir = context.dir.join(format!("liar-{liar}"));
        let context = Context { dir, seed: context.seed, write: context.write };
        let false_text = dns_servers::zone_text().replace(" A 10.", " A 66.");
        let false_zone = write_zone(&context.dir, "false", false_text)?;
        let mut zones = [&true_zone; 3];
        zones[liar] = &false_zone;
        let names = Names::of(&context, zones)?;
        clients_ask(names.appliance.address, context.seed, ASKED)?;
        let liar = names.servers[liar].name;
        let status = names.appliance.settled()?;
        for server in &names.servers {
            let divergences = status.counter(server.name, "divergences");
            // Some of what it says may come after its session has ended.
            let right = match server.name == liar {
                true => divergences as usize > ASKED * 9 / 10,
                false => divergences == 0,
            };
            ensure!(right, "{} differed {divergences} times: {:#}", server.name, status.0);
        }
        println!(
            "note: {liar} outvoted in {} of {ASKED} sessions",
            status.counter(liar, "divergences")
        );
    }
    Ok(())
}

/// Whatever a client sends, it gets one answer or none, and no server loses its vote for it.
pub(crate) fn nobody_is_framed(context: &Context) -> CaseResult {
    const ODD: usize = 800;
    let names = Names::open(context)?;
    let address = names.appliance.address;
    let mut rng = Rng::new(context.seed);
    let mut answered = 0;
    for number in 0..ODD {
        let odd = odd_query(&mut rng);
        // One in ten comes over TCP, with an ordinary one after it.
        if number % 10 == 0 {
            ask_oddly_over_tcp(address, &odd)?;
            continue;
        }
        let socket = client(address)?;
        socket.send(&odd)?;
        // The answer to this comes after that to the one before, or there is none.
        let host = number % HOSTS;
        let ordinary = query(number as u16, &format!("host{host}"), 1);
        let right = host_reply(&ordinary, host);
        let mut buffer = [0; 4096];
        socket.send(&ordinary)?;
        let (mut odd_answers, mut done) = (0, false);
        while !done || odd_answers == 0 {
            let limit = if done { Duration::from_millis(20) } else { PATIENCE };
            socket.set_read_timeout(Some(limit))?;
            match socket.recv(&mut buffer) {
                Ok(len) if buffer[..len] == right => done = true,
                Ok(len) => {
                    odd_answers += 1;
                    ensure!(len <= UDP_BYTES_MAX, "{odd:x?}: {len} bytes");
                    ensure!(
                        len >= 12 && buffer[..2] == odd[..2],
                        "{odd:x?}: {:x?}",
                        &buffer[..len]
                    );
                    ensure!(buffer[2] & 0x80 != 0 && odd[2] & 0x80 == 0, "{odd:x?}: answered");
                }
                Err(error) if done && net::is_timeout(&error) => break,
                Err(error) => {
                    return Err(error).during(format!("an ordinary query after {odd:x?}"));
                }
            }
        }
        answered += odd_answers;
    }
    println!("note: {ODD} odd queries, {answered} answered over UDP");
    ensure!(answered > ODD / 4, "only {answered} of {ODD} odd queries were answered");
    clients_ask(address, context.seed, 480)?;
    names.nobody_differed().map(drop)
}

fn ask_oddly_over_tcp(address: SocketAddr, odd: &[u8]) -> CaseResult {
    let framed = |message: &[u8]| [&(message.len() as u16).to_be_bytes()[..], message].concat();
    let ordinary = query(5, "host5", 1);
    let right = framed(&host_reply(&ordinary, 5));
    let mut stream = net::connect(address, PATIENCE)?;
    stream.write_all(&[framed(odd), framed(&ordinary)].concat())?;
    let (said, end) = net::read_until(&mut stream, PATIENCE, |said| said.ends_with(&right));
    // What is no query at all ends the stream.
    let ended = said.is_empty() && end == End::Closed;
    ensure!(said.ends_with(&right) || ended, "{odd:x?} over TCP: {end:?} after {said:x?}");
    Ok(())
}

/// A query that servers are known to read differently, or a damaged good one.
fn odd_query(rng: &mut Rng) -> Vec<u8> {
    const LABELS: &[&str] = &[
        "www",
        "",
        "alias3",
        "dangling",
        "to-sub",
        "a.sub",
        "glueless",
        "host.moved",
        "a.b.wild",
        "between",
        "big",
        "wide",
        "sibling",
        "txt12",
        "many",
        "nothing",
    ];
    const TYPES: &[u16] = &[
        1, 2, 5, 6, 15, 16, 28, 39, 43, 46, 47, 50, 65, 249, 250, 251, 252, 253, 255, 0, 41, 65535,
    ];
    let mut bytes = query(rng.next_u64() as u16, rng.pick::<&str>(LABELS), *rng.pick(TYPES));
    match rng.below(8) {
        // Flags and operations.
        0 | 1 => bytes[2 + rng.below(2)] = rng.next_u64() as u8 & 0x7f,
        // Counts.
        2 => bytes[4 + rng.below(8)] = rng.below(3) as u8,
        // Classes.
        3 => *bytes.last_mut().unwrap_or(&mut 0) = *rng.pick(&[0, 3, 4, 254, 255]),
        // EDNS: versions, flags, sizes, options.
        4 | 5 => {
            bytes[11] = 1;
            let size = rng.next_u64() as u16;
            let version = *rng.pick(&[0, 0, 0, 1, 255]);
            let flags = *rng.pick(&[0, 0x80, 0x40, 0xff]);
            let options: &[u8] = rng.pick::<&[u8]>(&[
                &[],
                &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8],
                &[0, 10, 0, 3, 1, 2, 3],
                &[0, 8, 0, 7, 0, 1, 24, 0, 10, 0, 0],
                &[0, 8, 0, 4, 0, 9, 200, 0],
                &[0, 11, 0, 0],
                &[0, 9, 0, 4, 0, 0],
                &[0xff, 0xff, 0, 0],
            ]);
            bytes.extend_from_slice(&[0, 0, 41]);
            bytes.extend_from_slice(&size.to_be_bytes());
            bytes.extend_from_slice(&[0, version, flags, 0]);
            bytes.extend_from_slice(&(options.len() as u16).to_be_bytes());
            bytes.extend_from_slice(options);
        }
        // Any byte.
        6 => {
            for _ in 0..1 + rng.below(3) {
                let at = rng.below(bytes.len());
                bytes[at] = rng.next_u64() as u8;
            }
        }
        // Too short or too long.
        _ if rng.below(2) == 0 => bytes.truncate(3 + rng.below(bytes.len() - 3)),
        _ => {
            let length = 1 + rng.below(40);
            bytes.extend(rng.bytes(length));
        }
    }
    bytes
}

/// Big answers: a truncated one without records over UDP, the whole over TCP.
pub(crate) fn big_answers(context: &Context) -> CaseResult {
    let names = Names::open(context)?;
    let address = names.appliance.address;
    let socket = client(address)?;
    for number in 0..20 {
        let asked = query(number, "big", 16);
        let truncated = ask(&socket, &asked)?.unwrap_or_default();
        let wanted = [&asked[..2], &[0x81 | TRUNCATED, 0], &asked[4..]].concat();
        ensure!(truncated == wanted, "{truncated:x?} and not {wanted:x?}");
        let mut stream = net::connect(address, PATIENCE)?;
        stream.write_all(&[&(asked.len() as u16).to_be_bytes()[..], &asked].concat())?;
        let whole = |said: &[u8]| {
            let length = said.get(..2).map(|length| u16::from_be_bytes([length[0], length[1]]));
            length.is_some_and(|length| said.len() == 2 + usize::from(length))
        };
        let (said, _) = net::read_until(&mut stream, PATIENCE, whole);
        let long = BIG_RECORDS * (12 + 5 + 241 + 241);
        ensure!(said.len() > long && whole(&said), "{} bytes over TCP", said.len());
        ensure!(usize::from(said[9]) == BIG_RECORDS, "{} records", said[9]);
    }
    names.nobody_differed().map(drop)
}
