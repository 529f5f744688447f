//! What the tests of `dns` share: random numbers that can be repeated, messages put together in many ways, and
//! one session with a server at its end.
#![allow(dead_code)] // each test file uses its part

use gateway::canonicaliser::{Canonicaliser, ConnectionWish, Context, End};
use gateway::dns::Dns;
use resh_channel::config::Transport;

/// SplitMix64: the same seed gives the same run.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Rng(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is not 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

/// Runs `case` for many seeds: `RESH_CASES` of them, or `default`. `RESH_SEED` is the first.
pub(crate) fn for_each_seed(default: u64, case: impl Fn(&mut Rng)) {
    let from_env = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let first: u64 = from_env("RESH_SEED").unwrap_or(1);
    for seed in first..first + from_env("RESH_CASES").unwrap_or(default) {
        let run = || case(&mut Rng::new(seed));
        if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
            eprintln!("failing seed: run with RESH_CASES=1 RESH_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// A name on the wire.
pub(crate) fn name(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

/// A part of a record's data.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    Name(String),
    Bytes(Vec<u8>),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) owner: String,
    pub(crate) rtype: u16,
    pub(crate) ttl: u32,
    pub(crate) data: Vec<Part>,
}

pub(crate) fn record(owner: &str, rtype: u16, ttl: u32, data: &[Part]) -> Record {
    Record { owner: owner.to_owned(), rtype, ttl, data: data.to_vec() }
}

/// Shorthands for the data of common types.
pub(crate) fn to(name: &str) -> [Part; 1] {
    [Part::Name(name.to_owned())]
}

pub(crate) fn bytes(bytes: &[u8]) -> [Part; 1] {
    [Part::Bytes(bytes.to_vec())]
}

pub(crate) fn soa(zone: &str, minimum: u32) -> [Part; 3] {
    let mut numbers = [0, 0, 0, 1, 0, 0, 14, 16, 0, 0, 3, 132, 0, 9, 58, 128].to_vec();
    numbers.extend(minimum.to_be_bytes());
    [Part::Name(format!("ns1.{zone}")), Part::Name(format!("admin.{zone}")), Part::Bytes(numbers)]
}

pub(crate) fn rrsig(covers: u16, signer: &str, signature: u8) -> [Part; 3] {
    let mut head = covers.to_be_bytes().to_vec();
    head.extend([13, 2, 0, 0, 14, 16, 0x70, 0, 0, 0, 0x60, 0, 0, 0, 1, 2]);
    [Part::Bytes(head), Part::Name(signer.to_owned()), Part::Bytes(vec![signature; 64])]
}

pub(crate) const A: u16 = 1;
pub(crate) const NS: u16 = 2;
pub(crate) const CNAME: u16 = 5;
pub(crate) const SOA: u16 = 6;
pub(crate) const MX: u16 = 15;
pub(crate) const TXT: u16 = 16;
pub(crate) const AAAA: u16 = 28;
pub(crate) const SRV: u16 = 33;
pub(crate) const DNAME: u16 = 39;
pub(crate) const DS: u16 = 43;
pub(crate) const RRSIG: u16 = 46;
pub(crate) const NSEC: u16 = 47;

pub(crate) const RESPONSE: u16 = 1 << 15;
pub(crate) const AA: u16 = 1 << 10;
pub(crate) const TC: u16 = 1 << 9;
pub(crate) const RD: u16 = 1 << 8;
pub(crate) const RA: u16 = 1 << 7;
pub(crate) const AD: u16 = 1 << 5;
pub(crate) const CD: u16 = 1 << 4;
pub(crate) const DO: u32 = 1 << 15;

/// An `OPT` record.
#[derive(Clone, Debug)]
pub(crate) struct Opt {
    pub(crate) udp_bytes: u16,
    pub(crate) ttl: u32,
    pub(crate) options: Vec<u8>,
}

pub(crate) fn opt(udp_bytes: u16, ttl: u32) -> Option<Opt> {
    Some(Opt { udp_bytes, ttl, options: Vec::new() })
}

/// A message, and in what style it is written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    pub(crate) id: u16,
    pub(crate) flags: u16,
    pub(crate) question: String,
    pub(crate) qtype: u16,
    /// Answer, authority, additional.
    pub(crate) sections: [Vec<Record>; 3],
    pub(crate) opt: Option<Opt>,
    pub(crate) compressed: bool,
}

impl Reply {
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = Writer { bytes: Vec::new(), known: Vec::new(), compressed: self.compressed };
        let additional = self.sections[2].len() + usize::from(self.opt.is_some());
        let counts = [1, self.sections[0].len(), self.sections[1].len(), additional];
        for number in [self.id, self.flags].into_iter().chain(counts.map(|count| count as u16)) {
            out.bytes.extend(number.to_be_bytes());
        }
        out.name(&self.question);
        out.bytes.extend([self.qtype.to_be_bytes(), [0, 1]].concat());
        for record in self.sections.iter().flatten() {
            out.record(record);
        }
        if let Some(opt) = &self.opt {
            put_opt(&mut out.bytes, opt);
        }
        out.bytes
    }
}

pub(crate) fn put_opt(out: &mut Vec<u8>, opt: &Opt) {
    out.extend([0, 0, 41]);
    out.extend(opt.udp_bytes.to_be_bytes());
    out.extend(opt.ttl.to_be_bytes());
    out.extend((opt.options.len() as u16).to_be_bytes());
    out.extend(&opt.options);
}

struct Writer {
    bytes: Vec<u8>,
    /// Names that a pointer may point to.
    known: Vec<(String, usize)>,
    compressed: bool,
}

impl Writer {
    fn name(&mut self, text: &str) {
        let mut rest = text.trim_end_matches('.');
        while !rest.is_empty() {
            let known = self.known.iter().find(|(name, _)| name == rest);
            if let Some(&(_, at)) = known.filter(|_| self.compressed) {
                self.bytes.extend((0xc000 | at as u16).to_be_bytes());
                return;
            }
            if self.bytes.len() < 0x3fff {
                self.known.push((rest.to_owned(), self.bytes.len()));
            }
            let (label, more) = rest.split_once('.').unwrap_or((rest, ""));
            self.bytes.push(label.len() as u8);
            self.bytes.extend(label.as_bytes());
            rest = more;
        }
        self.bytes.push(0);
    }

    fn record(&mut self, record: &Record) {
        self.name(&record.owner);
        self.bytes.extend(record.rtype.to_be_bytes());
        self.bytes.extend([0, 1]);
        self.bytes.extend(record.ttl.to_be_bytes());
        let at = self.bytes.len();
        self.bytes.extend([0, 0]);
        let compressed = self.compressed;
        self.compressed &= matches!(record.rtype, NS | CNAME | SOA | MX);
        for part in &record.data {
            match part {
                Part::Name(name) => self.name(name),
                Part::Bytes(bytes) => self.bytes.extend(bytes),
            }
        }
        self.compressed = compressed;
        let len = (self.bytes.len() - at - 2) as u16;
        self.bytes[at..at + 2].copy_from_slice(&len.to_be_bytes());
    }
}

/// A query as a client writes it.
pub(crate) fn query(id: u16, flags: u16, name_text: &str, qtype: u16, opt: Option<Opt>) -> Vec<u8> {
    let question = name_text.to_owned();
    Reply { id, flags, question, qtype, opt, ..Reply::default() }.write()
}

/// What a session said to its client.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Said {
    pub(crate) bytes: Vec<u8>,
    pub(crate) end: Option<End>,
}

pub(crate) const CONTEXT: Context = Context { clock_ms: 1_800_000_000_000, nonce: [7; 16] };

pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

/// The messages of a stream; the last one may be cut off.
pub(crate) fn unframed(mut stream: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while let [a, b, rest @ ..] = stream {
        let len = usize::from(u16::from_be_bytes([*a, *b])).min(rest.len());
        messages.push(rest[..len].to_vec());
        stream = &rest[len..];
    }
    messages
}

/// One datagram goes in; `server` answers each that goes out with any number of datagrams.
pub(crate) fn over_udp(
    dns: &mut Dns,
    datagram: &[u8],
    mut server: impl FnMut(&[u8]) -> Vec<Vec<u8>>,
) -> Said {
    assert_eq!(dns.client_data(datagram, CONTEXT), datagram.len());
    dns.client_fin();
    if dns.connection() == ConnectionWish::Open {
        dns.server_opened();
        let asked = dns.to_server().to_vec();
        dns.sent_to_server(asked.len());
        for answer in server(&asked) {
            assert_eq!(dns.server_data(&answer), answer.len());
        }
    }
    said(dns)
}

fn said(dns: &mut Dns) -> Said {
    let bytes = dns.to_client().to_vec();
    dns.sent_to_client(bytes.len());
    if dns.connection() == ConnectionWish::Close {
        dns.server_reset();
    }
    Said { bytes, end: dns.end() }
}

/// A whole client stream goes in, in random pieces in both directions; `server` answers each message that goes
/// out. Once in a while the server closes some time after an answer, if `closes`.
pub(crate) fn over_tcp(
    rng: &mut Rng,
    dns: &mut Dns,
    stream: &[u8],
    closes: bool,
    mut server: impl FnMut(&[u8]) -> Vec<u8>,
) -> Said {
    let mut said = Said { bytes: Vec::new(), end: None };
    let (mut at, mut to_server, mut from_server) = (0, Vec::new(), Vec::new());
    let (mut connected, mut finished, mut served) = (false, false, false);
    for _ in 0..200_000 {
        let most = if rng.one_in(2) { 3 } else { 3000 };
        let piece = 1 + rng.below(most);
        match rng.below(5) {
            0 if at < stream.len() => {
                let end = stream.len().min(at + piece);
                at += dns.client_data(&stream[at..end], CONTEXT);
            }
            0 if !finished => {
                dns.client_fin();
                finished = true;
            }
            1 => {
                let len = dns.to_client().len().min(piece);
                said.bytes.extend(&dns.to_client()[..len]);
                dns.sent_to_client(len);
            }
            2 => match dns.connection() {
                ConnectionWish::Open if !connected => {
                    dns.server_opened();
                    (connected, served) = (true, false);
                }
                ConnectionWish::Open if closes && served && rng.one_in(5) => {
                    (connected, from_server, to_server) = (false, Vec::new(), Vec::new());
                    dns.server_fin();
                }
                ConnectionWish::Close => {
                    (connected, from_server, to_server) = (false, Vec::new(), Vec::new());
                    dns.server_reset();
                }
                _ => {}
            },
            3 => {
                let len = dns.to_server().len().min(piece);
                to_server.extend(&dns.to_server()[..len]);
                dns.sent_to_server(len);
                if let Some(message) = whole(&to_server) {
                    from_server.extend(framed(&server(&message)));
                    to_server.clear();
                }
            }
            _ => {
                let len = from_server.len().min(piece);
                let taken = dns.server_data(&from_server[..len]);
                from_server.drain(..taken);
                served |= taken > 0 && from_server.is_empty();
            }
        }
        if dns.end().is_some() {
            said.end = dns.end();
            return said;
        }
    }
    panic!("the session stands still: {at} of {} taken, {} said", stream.len(), said.bytes.len());
}

fn whole(stream: &[u8]) -> Option<Vec<u8>> {
    let len = usize::from(u16::from_be_bytes(stream.get(..2)?.try_into().ok()?));
    stream.get(2..2 + len).map(<[u8]>::to_vec)
}

pub(crate) fn udp() -> Dns {
    Dns::new(Transport::Udp)
}

pub(crate) fn tcp() -> Dns {
    Dns::new(Transport::Tcp)
}

/// The reply over UDP to a query, from a server that answers as `reply` says; number and question are
/// filled in.
pub(crate) fn canonical(query: &[u8], reply: &Reply) -> Said {
    over_udp(&mut udp(), query, |asked| {
        let mut bytes = reply.write();
        bytes[..2].copy_from_slice(&asked[..2]);
        vec![bytes]
    })
}

/// Header fields of a message: id, flags, counts.
pub(crate) fn head(message: &[u8]) -> [u16; 6] {
    std::array::from_fn(|n| u16::from_be_bytes([message[2 * n], message[2 * n + 1]]))
}

/// The same message without compression, as another implementation reads it. What that one does not understand is
/// an error.
pub(crate) fn expanded(message: &[u8]) -> Result<Vec<u8>, domain::base::wire::ParseError> {
    use domain::base::Message;
    use domain::rdata::AllRecordData;

    let message =
        Message::from_octets(message).map_err(|_| domain::base::wire::ParseError::ShortInput)?;
    let mut out = message.as_slice()[..12].to_vec();
    for question in message.question() {
        let _ = question?.compose(&mut out);
    }
    let (_, answer, authority, additional) = message.sections()?;
    for section in [answer, authority, additional] {
        for record in section {
            if let Some(record) = record?.into_record::<AllRecordData<_, _>>()? {
                let _ = record.compose(&mut out);
            }
        }
    }
    Ok(out)
}

/// As [`expanded`], of a message that must be understood.
#[track_caller]
pub(crate) fn expand(message: &[u8]) -> Vec<u8> {
    expanded(message).expect("another implementation does not understand it")
}
