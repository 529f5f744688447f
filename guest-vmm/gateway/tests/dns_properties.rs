//! Properties of the `dns` canonicaliser over random messages.
//!
//! `RESH_CASES` sets the number of cases, `RESH_SEED` the first seed; a failure prints its own.

mod dns_support;

use dns_support::*;
use gateway::canonicaliser::End;

const ZONE: &str = "example.com";
const LABELS: [&str; 9] =
    ["a", "b", "www", "mail", "x", "deep", "ns1", "ns2", "longer-label-than-others"];
const TYPES: [u16; 11] = [A, NS, CNAME, SOA, MX, TXT, AAAA, SRV, DNAME, DS, 65_280];

fn random_name(rng: &mut Rng, within: &str) -> String {
    let labels: Vec<&str> = (0..1 + rng.below(2)).map(|_| rng.pick(&LABELS)).collect();
    format!("{}.{within}", labels.join("."))
}

fn random_data(rng: &mut Rng, rtype: u16) -> Vec<Part> {
    let some = |rng: &mut Rng, len: usize| {
        Part::Bytes((0..len).map(|_| rng.below(3) as u8).collect::<Vec<u8>>())
    };
    let target = Part::Name(random_name(rng, ZONE));
    match rtype {
        A => vec![some(rng, 4)],
        AAAA => vec![some(rng, 16)],
        NS | CNAME | DNAME => vec![target],
        SOA => soa(ZONE, rng.below(1000) as u32).to_vec(),
        MX => vec![some(rng, 2), target],
        SRV => vec![some(rng, 6), target],
        TXT => {
            let len = rng.below(60);
            vec![Part::Bytes([&[len as u8][..], &vec![b'x'; len]].concat())]
        }
        DS => vec![Part::Bytes(vec![1, 2, 13, 2, rng.below(4) as u8, 5])],
        NSEC => vec![target, Part::Bytes(vec![0, 1, 64])],
        _ => {
            let len = rng.below(30);
            vec![some(rng, len)]
        }
    }
}

/// A set of records of one owner, type and time to live, without signatures or with one.
fn random_set(rng: &mut Rng, owner: &str, rtype: u16, signed: bool) -> Vec<Record> {
    let count = if matches!(rtype, CNAME | SOA | DNAME | NSEC) { 1 } else { 1 + rng.below(5) };
    // A start of authority lives longer than what it says of negative answers.
    let least = if rtype == SOA { 1000 } else { 1 };
    let ttl = least + rng.below(5000) as u32;
    let mut set: Vec<Record> = Vec::new();
    for _ in 0..count {
        let data = random_data(rng, rtype);
        if set.iter().all(|record| record.data != data) {
            set.push(record(owner, rtype, ttl, &data));
        }
    }
    if signed {
        set.push(record(owner, RRSIG, ttl, &rrsig(rtype, ZONE, rng.below(9) as u8)));
    }
    set
}

/// What all correct servers say to a question, in the three sections, before each adds its own.
fn random_reply(rng: &mut Rng, signed: bool) -> Reply {
    let question = random_name(rng, ZONE);
    let qtype = rng.pick(&[A, A, AAAA, MX, TXT, SRV, NS, CNAME, 65_280]);
    let mut reply = Reply { question: question.clone(), qtype, ..Reply::default() };
    reply.flags = RESPONSE | AA;
    let kind = rng.below(6);
    let mut owner = question.clone();
    // Aliases first, unless it is a referral.
    while kind != 5 && qtype != CNAME && rng.one_in(3) {
        let target = random_name(rng, ZONE);
        if reply.sections[0].iter().any(|r| r.owner == target) || owner == target {
            break;
        }
        reply.sections[0].push(record(&owner, CNAME, 1 + rng.below(99) as u32, &to(&target)));
        owner = target;
    }
    let proof = |rng: &mut Rng| {
        let owner = format!("z{}.{ZONE}", rng.below(3));
        random_set(rng, &owner, NSEC, true)
    };
    match kind {
        0..3 => {
            let set = random_set(rng, &owner, qtype, signed);
            reply.sections[0].extend(set);
        }
        3 | 4 => {
            reply.flags |= if kind == 4 { 3 } else { 0 };
            reply.sections[1] = random_set(rng, ZONE, SOA, signed);
            if signed {
                let proof = proof(rng);
                reply.sections[1].extend(proof);
            }
        }
        _ => {
            reply.flags &= !AA;
            let cut = question.split_once('.').map_or(ZONE, |(_, rest)| rest).to_owned();
            let cut = if cut == ZONE { question } else { cut };
            for n in 0..1 + rng.below(3) {
                let server = format!("ns{n}.{cut}");
                reply.sections[1].push(record(&cut, NS, 300, &to(&server)));
                let glue = random_set(rng, &server, A, false);
                reply.sections[2].extend(glue);
            }
            if signed {
                let set = random_set(rng, &cut, DS, true);
                reply.sections[1].extend(set);
            }
        }
    }
    reply
}

fn random_case(rng: &mut Rng, name: &mut String) {
    *name = name
        .chars()
        .map(|c| if rng.one_in(2) { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
        .collect();
}

/// The same reply as another server writes it.
fn dialect(rng: &mut Rng, reply: &Reply) -> Reply {
    let mut other = reply.clone();
    other.compressed = rng.one_in(2);
    other.flags |= rng.pick(&[0, RA, CD, AD, RA | CD]);
    other.opt = rng.pick(&[opt(512, 0), opt(4096, DO), None]);
    if let Some(opt) = other.opt.as_mut().filter(|_| rng.one_in(2)) {
        opt.options = vec![0, 3, 0, 2, b'h', b'i'];
    }
    let negative = reply.sections[1].iter().any(|r| r.rtype == SOA);
    let referral = reply.sections[1].iter().any(|r| r.rtype == NS);
    if !referral {
        // Servers of the zone, and their addresses, of which some are signed.
        for n in 0..rng.below(3) {
            other.sections[1].push(record(ZONE, NS, 99, &to(&format!("ns{n}.{ZONE}"))));
            other.sections[2].push(record(&format!("ns{n}.{ZONE}"), A, 99, &bytes(&[9; 4])));
        }
    }
    if negative && rng.one_in(2) {
        // Servers that leave the shortening of it to others.
        for record in other.sections[1].iter_mut().filter(|r| r.rtype == SOA) {
            record.ttl = record.ttl.max(5000);
        }
    }
    if !reply.sections[0].is_empty() && rng.one_in(3) {
        other.sections[0].push(record(&format!("else.{ZONE}"), A, 1, &bytes(&[8; 4])));
    }
    other.sections[2].push(record(&format!("extra.{ZONE}"), A, 5, &bytes(&[7; 4])));
    for section in &mut other.sections {
        if !section.is_empty() && rng.one_in(3) {
            let twice = rng.pick(section);
            section.push(twice);
        }
        rng.shuffle(section);
    }
    random_case(rng, &mut other.question);
    for record in other.sections.iter_mut().flatten() {
        random_case(rng, &mut record.owner);
        for part in &mut record.data {
            if let Part::Name(name) = part {
                random_case(rng, name);
            }
        }
    }
    other
}

/// As a server sends it over UDP: what may be missing goes first, and if that is not enough all does.
fn fitted(wordy: Reply, reply: &Reply) -> Reply {
    let fits = |reply: &Reply| reply.write().len() <= 1232;
    let terse = Reply { sections: reply.sections.clone(), opt: None, ..wordy.clone() };
    let truncated =
        Reply { flags: wordy.flags | TC, sections: Default::default(), ..terse.clone() };
    [wordy, terse].into_iter().find(fits).unwrap_or(truncated)
}

/// A client's query for what `reply` answers.
fn asking(rng: &mut Rng, reply: &Reply, signed: bool) -> Vec<u8> {
    let mut name = reply.question.clone();
    random_case(rng, &mut name);
    let opt = opt(if rng.one_in(4) { 512 } else { 4096 }, if signed { DO } else { 0 });
    let opt = if signed || rng.one_in(2) { opt } else { None };
    query(rng.next() as u16, rng.pick(&[0, RD, RD | AD, RD | CD]), &name, reply.qtype, opt)
}

/// However a server writes its reply, the client gets the same bytes, over UDP and over TCP; they are short enough,
/// and given to another canonicaliser as a server's reply they stay as they are.
#[test]
fn all_dialects_lead_to_the_same_bytes() {
    for_each_seed(10_000, |rng| {
        let signed = rng.one_in(2);
        let reply = random_reply(rng, signed);
        let asked = asking(rng, &reply, signed);
        let first = canonical(&asked, &fitted(reply.clone(), &reply));
        assert_eq!(first.end, Some(End::Fin));
        assert!(first.bytes.len() <= 1232);
        let [id, flags, ..] = head(&first.bytes);
        assert_eq!(id, head(&asked)[0]);
        assert_eq!(flags & (RD | CD), head(&asked)[1] & (RD | CD));
        for _ in 0..3 {
            let other = dialect(rng, &reply);
            let other = fitted(other, &reply);
            let second = canonical(&asked, &other);
            assert_eq!(first, second, "{reply:#?}\n{other:#?}");
        }
        let again =
            over_udp(&mut udp(), &asked, |sent| vec![[&sent[..2], &first.bytes[2..]].concat()]);
        assert_eq!(again, first, "{reply:#?}");
        if flags & TC == 0 {
            let other = dialect(rng, &reply);
            let said = over_tcp(rng, &mut tcp(), &framed(&asked), false, |sent| {
                Reply { id: head(sent)[0], ..other.clone() }.write()
            });
            assert_eq!(unframed(&said.bytes), [first.bytes], "{reply:#?}\n{other:#?}");
        }
    });
}

/// What correct servers say arrives, all of it: seen by another implementation.
#[test]
fn nothing_that_was_asked_for_is_lost() {
    for_each_seed(5_000, |rng| {
        let signed = rng.one_in(2);
        let reply = random_reply(rng, signed);
        let mut asked = asking(rng, &reply, signed);
        asked = query(
            head(&asked)[0],
            RD,
            &reply.question,
            reply.qtype,
            opt(4096, if signed { DO } else { 0 }),
        );
        let said = over_tcp(rng, &mut tcp(), &framed(&asked), false, |sent| {
            Reply { id: head(sent)[0], ..reply.clone() }.write()
        });
        let message = unframed(&said.bytes).remove(0);
        let counts = head(&message);
        let sections = &reply.sections;
        assert_eq!(counts[3] as usize, sections[0].len(), "{reply:#?}");
        assert_eq!(counts[4] as usize, sections[1].len(), "{reply:#?}");
        assert_eq!(counts[5] as usize, sections[2].len() + 1, "{reply:#?}");
        // The same records, whatever their order: their bytes add up to the same.
        let plain = Reply { id: head(&asked)[0], flags: 0, opt: opt(1232, 0), ..reply.clone() };
        let sum = |bytes: &[u8]| bytes[12..].iter().map(|&byte| u64::from(byte)).sum::<u64>();
        if reply.sections[1].iter().all(|record| record.rtype != SOA) && !signed {
            assert_eq!(sum(&expand(&message)), sum(&plain.write()), "{reply:#?}");
        }
    });
}

/// Changes a message in a few places.
fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..rng.below(5) {
        let at = rng.below(bytes.len().max(1));
        match rng.below(6) {
            _ if bytes.is_empty() => bytes.push(rng.next() as u8),
            0 => bytes[at] = rng.next() as u8,
            1 => bytes[at] = rng.pick(&[0, 0xc0, 0xc1, 63, 64, 255, 41, 46]),
            2 => drop(bytes.remove(at)),
            3 => bytes.insert(at, rng.next() as u8),
            4 => bytes.truncate(at),
            _ => {
                let end = (at + rng.below(40)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let to = rng.below(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
        }
    }
}

fn random_bytes(rng: &mut Rng) -> Vec<u8> {
    (0..rng.below(200)).map(|_| rng.next() as u8).collect()
}

/// Whatever a client or a server sends: one answer at most, that can be read, is no longer than the client allows,
/// and has the number of the query.
#[test]
fn nothing_breaks_it() {
    for_each_seed(100_000, |rng| {
        let signed = rng.one_in(2);
        let reply = random_reply(rng, signed);
        let mut asked =
            if rng.one_in(20) { random_bytes(rng) } else { asking(rng, &reply, signed) };
        if rng.one_in(2) {
            mutate(rng, &mut asked);
        }
        let other = dialect(rng, &reply).write();
        let answers: Vec<Vec<u8>> = (0..1 + rng.below(3))
            .map(|_| {
                let mut answer = if rng.one_in(50) { random_bytes(rng) } else { other.clone() };
                mutate(rng, &mut answer);
                answer
            })
            .collect();
        let said = over_udp(&mut udp(), &asked, |sent| {
            assert_eq!(head(sent)[2..], [1, 0, 0, 1]);
            let numbered = |answer: &Vec<u8>| match answer.get(2..) {
                Some(rest) => [&sent[..2], rest].concat(),
                None => answer.clone(),
            };
            answers.iter().map(numbered).collect()
        });
        if said.bytes.is_empty() {
            return;
        }
        assert!(said.bytes.len() <= 1232);
        assert_eq!(said.bytes[..2], asked[..2]);
        assert!(head(&said.bytes)[1] & RESPONSE != 0);
    });
}

/// Streams of anything, in pieces of any size, end or go on, and the same pieces of another size lead to the same.
#[test]
fn the_size_of_pieces_does_not_matter() {
    for_each_seed(5_000, |rng| {
        let mut stream = Vec::new();
        for _ in 0..rng.below(6) {
            let reply = random_reply(rng, false);
            let mut asked = asking(rng, &reply, false);
            if rng.one_in(3) {
                mutate(rng, &mut asked);
            }
            if rng.one_in(20) {
                asked.resize(4000 + rng.below(200), 0);
            }
            stream.extend(framed(&asked));
        }
        if rng.one_in(3) {
            mutate(rng, &mut stream);
        }
        let style = rng.next();
        let mut run = |closes| {
            over_tcp(rng, &mut tcp(), &stream, closes, |sent| {
                let question = &sent[12..sent.len() - 11];
                let sum = question
                    .iter()
                    .fold(style, |sum, &byte| sum.wrapping_mul(31) ^ u64::from(byte));
                let head = [sent[0], sent[1], 0x84, 0, 0, 1, 0, 1, 0, 0, 0, 0];
                let [.., a, b, _, _] = question else { panic!("no question") };
                let answer = [0xc0, 12, *a, *b, 0, 1, 0, 0, 0, 60, 0, 4];
                [&head[..], question, &answer, &sum.to_be_bytes()[..4]].concat()
            })
        };
        let first = run(false);
        assert_eq!(run(false), first);
        assert_eq!(run(true), first, "with a server that closes");
    });
}

/// All types with names in their data, written with pointers and without.
#[test]
fn all_types_are_read() {
    for_each_seed(2_000, |rng| {
        let rtype = rng.pick(&TYPES);
        let question = random_name(rng, ZONE);
        let set = random_set(rng, &question, rtype, false);
        let reply = Reply {
            flags: RESPONSE | AA,
            question: question.clone(),
            qtype: rtype,
            sections: [set, vec![], vec![]],
            ..Reply::default()
        };
        let asked = query(1, 0, &question, rtype, opt(1232, 0));
        let said = canonical(&asked, &reply);
        assert_eq!(canonical(&asked, &Reply { compressed: true, ..reply.clone() }), said);
        assert_eq!(usize::from(head(&said.bytes)[3]), reply.sections[0].len(), "{reply:#?}");
        assert!(expanded(&said.bytes).is_ok(), "{reply:#?}");
    });
}
