//! The `dns` canonicaliser, rule by rule.

mod dns_support;

use dns_support::*;
use gateway::canonicaliser::{Canonicaliser, ConnectionWish, End};

const FORMERR: u16 = 1;
const SERVFAIL: u16 = 2;
const NOTIMP: u16 = 4;
const REFUSED: u16 = 5;

fn answer(question: &str, qtype: u16, records: &[Record]) -> Reply {
    Reply {
        flags: RESPONSE | AA,
        question: question.to_owned(),
        qtype,
        sections: [records.to_vec(), vec![], vec![]],
        opt: opt(1232, 0),
        ..Reply::default()
    }
}

/// The reply that the gateway gives by itself.
#[track_caller]
fn refusal(query: &[u8]) -> Vec<u8> {
    let said = over_udp(&mut udp(), query, |_| panic!("the server was asked"));
    assert_eq!(said.end, Some(End::Fin));
    said.bytes
}

#[test]
fn a_query_goes_out_in_one_form() {
    let mut dns = udp();
    let mut asked = opt(4096, DO);
    // A cookie, a client's subnet and padding.
    asked.as_mut().unwrap().options =
        [&[0, 10, 0, 8][..], &[1; 8], &[0, 8, 0, 4, 0, 1, 0, 0], &[0, 12, 0, 1, 0]].concat();
    dns.client_data(&query(77, RD | CD | AD | 1 << 6, "wWw.Example.COM", A, asked), CONTEXT);
    assert_eq!(dns.connection(), ConnectionWish::Open);
    assert!(dns.to_server().is_empty(), "before there is a connection");
    dns.server_opened();
    let sent = dns.to_server();
    let id = u16::from_be_bytes([sent[0], sent[1]]);
    assert_ne!(id, 77);
    assert_eq!(sent, query(id, RD | CD | AD, "www.example.com", A, opt(1232, DO)));
}

#[test]
fn the_number_towards_the_server_is_of_the_session() {
    let ids: Vec<[u8; 2]> = (0..2u8)
        .map(|n| {
            let mut dns = udp();
            let nonce = std::array::from_fn(|at| at as u8 * 3 + n);
            let context = gateway::canonicaliser::Context { clock_ms: 0, nonce };
            dns.client_data(&query(1, 0, "a", A, None), context);
            dns.server_opened();
            [dns.to_server()[0], dns.to_server()[1]]
        })
        .collect();
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn case_and_number_are_the_clients() {
    let reply = answer("www.example.com", A, &[record("www.example.com", A, 60, &bytes(&[1; 4]))]);
    let said = canonical(&query(77, RD, "wWw.Example.COM", A, None), &reply);
    let mut wanted = Reply { id: 77, flags: RESPONSE | AA | RD, ..reply };
    wanted.question = "wWw.Example.COM".to_owned();
    wanted.opt = None;
    wanted.sections[0][0].owner.clone_from(&wanted.question);
    wanted.compressed = true;
    assert_eq!(said.bytes, wanted.write());
    assert_eq!(said.end, Some(End::Fin));
}

#[test]
fn what_is_ambiguous_is_refused() {
    let good = || query(5, RD, "www.example.com", A, None);
    let code = |bytes: &[u8]| head(&refusal(bytes))[1] & 0xf;
    for operation in 1..16 {
        assert_eq!(code(&query(5, operation << 11, "a", A, None)), NOTIMP);
    }
    assert_eq!(code(&query(5, TC, "a", A, None)), FORMERR);
    // Counts: no question, two, answers, authorities, two in the last section, one that is not there.
    for (at, count) in [(5, 0), (5, 2), (7, 1), (9, 1), (11, 2), (11, 1)] {
        let mut bytes = good();
        bytes[at] = count;
        assert_eq!(code(&bytes), FORMERR, "{at} {count}");
    }
    let mut two = query(5, 0, "a", A, opt(1232, 0));
    two[11] = 2;
    put_opt(&mut two, &opt(1232, 0).unwrap());
    assert_eq!(code(&two), FORMERR);
    assert_eq!(code(&[good(), vec![0]].concat()), FORMERR, "something behind its end");
    for len in 12..good().len() {
        assert_eq!(code(&good()[..len]), FORMERR, "cut off at {len}");
    }
    // A question that points: into the header, where there is a zero.
    let mut pointing = good()[..12].to_vec();
    pointing.extend([3, b'w', b'w', b'w', 0xc0, 6, 0, 1, 0, 1]);
    assert_eq!(code(&pointing), FORMERR);
    // A TSIG record in place of an OPT.
    let mut signed = query(5, 0, "a", A, opt(1232, 0));
    let at = signed.len() - 9;
    signed[at] = 250;
    assert_eq!(code(&signed), FORMERR);
    let mut wrong = opt(1232, 0).unwrap();
    wrong.options = vec![0, 10, 0, 8, 1];
    assert_eq!(code(&query(5, 0, "a", A, Some(wrong))), FORMERR, "half an option");
    let mut other_class = good();
    for class in [0, 3, 4, 254, 255] {
        *other_class.last_mut().unwrap() = class;
        assert_eq!(code(&other_class), REFUSED, "class {class}");
        assert_eq!(refusal(&other_class)[12..], other_class[12..], "the question, with its class");
    }
    for (qtype, wanted) in
        [(251, REFUSED), (252, REFUSED), (255, NOTIMP), (249, NOTIMP), (41, NOTIMP), (0, NOTIMP)]
    {
        assert_eq!(code(&query(5, 0, "example.com", qtype, None)), wanted, "type {qtype}");
    }
    for qtype in [24, 25, 30, 46, 47, 50] {
        assert_eq!(code(&query(5, 0, "example.com", qtype, None)), NOTIMP, "type {qtype}");
    }
}

#[test]
fn a_refusal_says_what_it_refuses() {
    let asked = query(5, RD | CD, "Example.com", 255, opt(4096, DO));
    let reply = query(5, RESPONSE | RD | CD | NOTIMP, "Example.com", 255, opt(1232, DO));
    assert_eq!(refusal(&asked), reply);
    // Version 1 of EDNS: BADVERS is 16, of which the upper bits are in OPT.
    let reply = query(5, RESPONSE, "a", A, opt(1232, 1 << 24));
    assert_eq!(refusal(&query(5, 0, "a", A, opt(4096, 1 << 16))), reply);
    // What was not understood is not repeated.
    let mut malformed = query(5, RD, "a", A, None);
    malformed[7] = 1;
    assert_eq!(refusal(&malformed), [0, 5, 0x81, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn what_is_no_query_is_not_answered() {
    for bytes in [&[][..], &[1; 11], &query(5, RESPONSE, "a", A, None)] {
        let said = over_udp(&mut udp(), bytes, |_| panic!("the server was asked"));
        assert_eq!(said, Said { bytes: vec![], end: Some(End::Reset) }, "{bytes:?}");
    }
}

#[test]
fn only_the_answer_counts() {
    let right = answer("a.example", A, &[record("a.example", A, 60, &bytes(&[1; 4]))]);
    let said = over_udp(&mut udp(), &query(5, 0, "a.example", A, None), |asked| {
        let id = u16::from_be_bytes([asked[0], asked[1]]);
        let lie = record("a.example", A, 60, &bytes(&[6; 4]));
        let with = |change: &dyn Fn(&mut Reply)| {
            let mut reply = Reply { id, ..right.clone() };
            reply.sections[0] = vec![lie.clone()];
            change(&mut reply);
            reply.write()
        };
        vec![
            with(&|reply| reply.id ^= 1),
            with(&|reply| reply.flags ^= RESPONSE),
            with(&|reply| reply.flags |= 4 << 11),
            with(&|reply| reply.question = "b.example".to_owned()),
            with(&|reply| reply.qtype = AAAA),
            vec![],
            Reply { id, ..right.clone() }.write(),
            with(&|_| ()),
        ]
    });
    assert_eq!(&said.bytes[said.bytes.len() - 4..], [1; 4]);
    assert_eq!(head(&said.bytes)[3], 1);
}

#[test]
fn errors_are_answers() {
    let asked = query(5, RD, "a.example", A, opt(1232, 0));
    for code in [FORMERR, SERVFAIL, NOTIMP, REFUSED, 6, 9, 10] {
        let mut reply = answer("a.example", A, &[]);
        reply.flags = RESPONSE | RA | AA | code;
        reply.sections[1] = vec![record("example", SOA, 9, &soa("example", 9))];
        let wanted = query(5, RESPONSE | RD | code, "a.example", A, opt(1232, 0));
        assert_eq!(canonical(&asked, &reply).bytes, wanted, "{code}");
    }
    // Without the question.
    let said = over_udp(&mut udp(), &asked, |asked| {
        vec![[&asked[..2], &[0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0]].concat()]
    });
    assert_eq!(head(&said.bytes)[1], RESPONSE | RD | FORMERR);
    // Something malformed, and a code that a client cannot be told.
    let mut reply = answer("a.example", A, &[record("a.example", MX, 1, &bytes(&[0]))]);
    assert_eq!(head(&canonical(&asked, &reply).bytes)[1], RESPONSE | RD | SERVFAIL);
    reply = answer("a.example", A, &[]);
    reply.opt = opt(1232, 1 << 24 | 7);
    assert_eq!(head(&canonical(&asked, &reply).bytes)[1], RESPONSE | RD | SERVFAIL);
}

#[test]
fn aliases_stand_in_the_order_in_which_they_are_followed() {
    let chain = [
        record("C.example", A, 5, &bytes(&[2; 4])),
        record("b.example", CNAME, 9, &to("c.Example")),
        record("c.example", A, 7, &bytes(&[1; 4])),
        record("unrelated.example", A, 7, &bytes(&[9; 4])),
        record("A.example", CNAME, 9, &to("B.example")),
    ];
    let said = canonical(&query(5, 0, "a.example", A, None), &answer("a.example", A, &chain));
    let wanted = [
        record("a.example", CNAME, 9, &to("b.example")),
        record("b.example", CNAME, 9, &to("c.example")),
        record("c.example", A, 5, &bytes(&[1; 4])),
        record("c.example", A, 5, &bytes(&[2; 4])),
    ];
    let mut wanted = answer("a.example", A, &wanted);
    (wanted.id, wanted.opt) = (5, None);
    // Pointers go to the question only, so what is not compressed at all says the same.
    assert_eq!(expand(&said.bytes), wanted.write());
}

#[test]
fn aliases_in_a_circle_are_an_error() {
    let circle = [
        record("a.example", CNAME, 9, &to("b.example")),
        record("b.example", CNAME, 9, &to("a.example")),
    ];
    let said = canonical(&query(5, 0, "a.example", A, None), &answer("a.example", A, &circle));
    assert_eq!(said.bytes, query(5, RESPONSE | SERVFAIL, "a.example", A, None));
}

#[test]
fn what_is_made_of_a_dname_lives_as_long_as_it() {
    let made = [
        record("x.old.example", CNAME, 0, &to("x.new.example")),
        record("old.example", DNAME, 300, &to("new.example")),
        record("x.new.example", A, 60, &bytes(&[1; 4])),
    ];
    let said =
        canonical(&query(5, 0, "x.old.example", A, None), &answer("x.old.example", A, &made));
    let mut wanted = made.to_vec();
    wanted.swap(0, 1);
    wanted[1].ttl = 300;
    let mut wanted = answer("x.old.example", A, &wanted);
    (wanted.id, wanted.opt) = (5, None);
    assert_eq!(expand(&said.bytes), wanted.write());
}

#[test]
fn a_negative_answer_lives_as_long_as_the_zone_says() {
    for (ttl, minimum, code) in [(3600, 60, 3), (30, 60, 0)] {
        let mut reply = answer("no.example", A, &[]);
        reply.flags |= code;
        reply.sections[1] = vec![
            record("example", NS, 60, &to("ns1.example")),
            record("EXAMPLE", SOA, ttl, &soa("Example", minimum)),
        ];
        reply.sections[2] = vec![record("ns1.example", A, 60, &bytes(&[1; 4]))];
        let said = canonical(&query(5, 0, "no.example", A, None), &reply);
        let mut wanted = answer("no.example", A, &[]);
        (wanted.id, wanted.opt) = (5, None);
        wanted.flags |= code;
        wanted.sections[1] =
            vec![record("example", SOA, ttl.min(minimum), &soa("example", minimum))];
        assert_eq!(expand(&said.bytes), wanted.write());
    }
}

#[test]
fn a_referral_has_the_addresses_below_it() {
    let mut reply = answer("x.sub.example", A, &[]);
    reply.flags = RESPONSE;
    let ns = |server: &str| record("sub.example", NS, 60, &to(server));
    reply.sections[1] = vec![
        record("example", NS, 60, &to("ns1.example")),
        ns("ns9.other"),
        ns("ns2.sub.example"),
        ns("ns1.sub.example"),
        ns("ns.example"),
        record("sub.example", DS, 60, &bytes(&[1, 2, 13, 2, 5, 5])),
    ];
    let address = |owner: &str, n| record(owner, A, 60, &bytes(&[n; 4]));
    reply.sections[2] = vec![
        address("ns.example", 3),
        address("ns2.sub.example", 2),
        record("ns1.sub.example", AAAA, 60, &bytes(&[1; 16])),
        address("ns1.sub.example", 1),
        address("evil.sub.example", 6),
    ];
    let said = canonical(&query(5, RD, "x.sub.example", A, None), &reply);
    let mut wanted = Reply { id: 5, flags: RESPONSE | RD, opt: None, ..reply.clone() };
    wanted.sections[1] =
        vec![ns("ns.example"), ns("ns1.sub.example"), ns("ns2.sub.example"), ns("ns9.other")];
    // By their bytes on the wire, lengths included.
    wanted.sections[1].sort_by_key(|record| match &record.data[0] {
        Part::Name(text) => name(text),
        Part::Bytes(bytes) => bytes.clone(),
    });
    wanted.sections[2] = vec![
        reply.sections[2][3].clone(),
        reply.sections[2][2].clone(),
        reply.sections[2][1].clone(),
    ];
    assert_eq!(expand(&said.bytes), wanted.write());
}

#[test]
fn signatures_and_proofs_come_when_asked_for() {
    let mut reply = answer("w.example", A, &[]);
    reply.sections[0] = vec![
        record("w.example", RRSIG, 60, &rrsig(A, "Example", 2)),
        record("w.example", A, 60, &bytes(&[1; 4])),
        record("w.example", RRSIG, 60, &rrsig(AAAA, "example", 3)),
    ];
    reply.sections[1] = vec![
        record("example", NS, 60, &to("ns1.example")),
        record("a.example", RRSIG, 60, &rrsig(NSEC, "example", 4)),
        record("a.example", NSEC, 60, &[to("z.example").as_slice(), &bytes(&[0, 1, 64])].concat()),
    ];
    let plain = canonical(&query(5, 0, "w.example", A, opt(1232, 0)), &reply);
    assert_eq!(head(&plain.bytes)[3..], [1, 0, 1]);
    let said = canonical(&query(5, 0, "w.example", A, opt(1232, DO)), &reply);
    let mut wanted = Reply { id: 5, opt: opt(1232, DO), ..reply };
    wanted.sections[0].swap(0, 1);
    wanted.sections[0][1].data[1] = Part::Name("example".to_owned());
    wanted.sections[0].truncate(2);
    wanted.sections[1].remove(0);
    wanted.sections[1].swap(0, 1);
    assert_eq!(expand(&said.bytes), wanted.write());
}

#[test]
fn a_resolvers_answer_does_not_count_down() {
    let mut reply = answer("a.example", A, &[record("a.example", A, 299, &bytes(&[1; 4]))]);
    reply.flags = RESPONSE | RA | AD;
    let asked = |flags| query(5, flags, "a.example", A, None);
    let said = canonical(&asked(RD | AD), &reply);
    assert_eq!(head(&said.bytes)[1], RESPONSE | RD | RA | AD);
    reply.sections[0][0].ttl = 17;
    assert_eq!(canonical(&asked(RD | AD), &reply), said);
    let at = said.bytes.len() - 10;
    assert_eq!(&said.bytes[at..at + 4], [0, 0, 0, 10]);
    assert_eq!(head(&canonical(&asked(RD), &reply).bytes)[1], RESPONSE | RD | RA);
}

#[test]
fn what_is_too_long_for_the_client_comes_by_tcp() {
    let texts: Vec<Record> = (0..12)
        .map(|n| record("t.example", TXT, 60, &bytes(&[&[63][..], &[n; 63]].concat())))
        .collect();
    let reply = |count: usize| answer("t.example", TXT, &texts[..count]);
    let ask = |opt| query(5, 0, "t.example", TXT, opt);
    // 12 + 15, and 12 + 64 for each.
    assert_eq!(canonical(&ask(None), &reply(6)).bytes.len(), 27 + 6 * 76);
    let truncated = query(5, RESPONSE | TC, "t.example", TXT, None);
    let cut_off = query(5, RESPONSE | TC, "t.example", TXT, opt(1232, 0));
    assert_eq!(canonical(&ask(None), &reply(7)).bytes, truncated);
    assert_eq!(canonical(&ask(opt(100, 0)), &reply(6)).bytes.len(), 27 + 6 * 76 + 11);
    assert_eq!(canonical(&ask(opt(570, 0)), &reply(7)).bytes.len(), 27 + 7 * 76 + 11);
    assert_eq!(canonical(&ask(opt(569, 0)), &reply(7)).bytes, cut_off);
    assert_eq!(head(&canonical(&ask(opt(4096, 0)), &reply(12)).bytes)[3], 12);
    // The server's own.
    let mut cut = reply(1);
    cut.flags |= TC;
    assert_eq!(canonical(&ask(None), &cut).bytes, truncated);
    // Over TCP it comes whole.
    let stream = framed(&ask(None));
    let said = over_tcp(&mut Rng::new(1), &mut tcp(), &stream, false, |asked| {
        Reply { id: u16::from_be_bytes([asked[0], asked[1]]), ..reply(12) }.write()
    });
    assert_eq!(head(&said.bytes[2..])[3], 12);
}

#[test]
fn the_longest_message_comes_over_tcp() {
    let texts: Vec<Record> = (0..255)
        .map(|n| record("t.example", TXT, 60, &bytes(&[&[240][..], &[n; 240]].concat())))
        .collect();
    let stream = framed(&query(5, 0, "t.example", TXT, None));
    let respond = |texts: &[Record]| {
        over_tcp(&mut Rng::new(1), &mut tcp(), &stream, false, |asked| {
            let id = u16::from_be_bytes([asked[0], asked[1]]);
            Reply { id, compressed: true, ..answer("t.example", TXT, texts) }.write()
        })
    };
    let said = respond(&texts);
    assert_eq!(said.bytes.len(), 2 + 27 + 255 * (12 + 241));
    assert_eq!(head(&said.bytes[2..])[3], 255);
    // Without compression some replies of 65,535 bytes are longer than that.
    let texts: Vec<Record> = (0..2500u16).map(|n| record("t.example", SRV, 60, &srv(n))).collect();
    let said = respond(&texts);
    assert_eq!(head(&said.bytes[2..])[1], RESPONSE | AA);
    let owners: Vec<Record> = (0..2500u16)
        .map(|n| record(&format!("{}.example", "x".repeat(60)), MX, 60, &mx(n)))
        .collect();
    let said = over_tcp(
        &mut Rng::new(1),
        &mut tcp(),
        &framed(&query(5, 0, "a.example", MX, None)),
        false,
        |asked| {
            let id = u16::from_be_bytes([asked[0], asked[1]]);
            let mut records = owners.clone();
            records.push(record("a.example", CNAME, 60, &to(&owners[0].owner)));
            Reply { id, compressed: true, ..answer("a.example", MX, &records) }.write()
        },
    );
    assert_eq!(said.bytes[2..], query(5, RESPONSE | SERVFAIL, "a.example", MX, None));
}

fn srv(n: u16) -> Vec<Part> {
    let head = [&n.to_be_bytes()[..], &[0, 1, 0, 80]].concat();
    vec![Part::Bytes(head), Part::Name("b".to_owned())]
}

fn mx(n: u16) -> Vec<Part> {
    vec![Part::Bytes(n.to_be_bytes().to_vec()), Part::Name("mail.example".to_owned())]
}

#[test]
fn several_queries_on_one_connection_are_answered_in_their_order() {
    let asked = ["a", "b", "c"].map(|label| query(label.as_bytes()[0].into(), 0, label, A, None));
    let mut long = query(9, 0, "x", A, opt(1232, 0));
    long.resize(5000, 0);
    let any = query(8, 0, "x", 255, None);
    let [a, b, c] = &asked;
    let stream: Vec<u8> = [a, &any, b, &long, c].into_iter().flat_map(|m| framed(m)).collect();
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let mut dns = tcp();
        let said = over_tcp(&mut rng, &mut dns, &stream, true, |asked| {
            let id = u16::from_be_bytes([asked[0], asked[1]]);
            let label = char::from(asked[13]).to_string();
            let address = bytes(&[asked[13]; 4]);
            Reply { id, ..answer(&label, A, &[record(&label, A, 60, &address)]) }.write()
        });
        let messages = unframed(&said.bytes);
        let ids: Vec<u16> = messages.iter().map(|message| head(message)[0]).collect();
        assert_eq!(ids, [97, 8, 98, 9, 99], "seed {seed}");
        assert_eq!(head(&messages[3])[1], RESPONSE | FORMERR);
        assert_eq!(messages[4].last(), Some(&b'c'));
        assert_eq!(said.end, Some(End::Fin));
    }
}

#[test]
fn a_stream_without_sense_ends() {
    let good = framed(&query(5, 0, "a", 255, None));
    for wrong in [&[0, 0][..], &[0, 5, 1, 2, 3, 4, 5], &framed(&query(5, RESPONSE, "a", A, None))] {
        let stream = [&good[..], wrong, &good].concat();
        let said = over_tcp(&mut Rng::new(3), &mut tcp(), &stream, false, |_| {
            panic!("the server was asked")
        });
        assert_eq!(unframed(&said.bytes).len(), 1);
        assert_eq!(said.end, Some(End::Fin));
    }
}

#[test]
fn a_server_that_fails_costs_the_session_but_not_when_it_was_idle() {
    let stream = framed(&query(5, 0, "a", A, None));
    let reply = |dns: &mut gateway::dns::Dns| {
        let sent = dns.to_server().to_vec();
        dns.sent_to_server(sent.len());
        let id = u16::from_be_bytes([sent[2], sent[3]]);
        let reply = Reply { id, ..answer("a", A, &[record("a", A, 60, &bytes(&[1; 4]))]) };
        dns.server_data(&framed(&reply.write()));
        let len = dns.to_client().len();
        dns.sent_to_client(len);
    };
    let mut dns = tcp();
    dns.client_data(&stream, CONTEXT);
    dns.server_opened();
    assert!(!dns.at_rest() && !dns.is_answered());
    reply(&mut dns);
    assert!(dns.at_rest() && dns.is_answered());
    // It closes while the next question is on its way.
    dns.client_data(&stream, CONTEXT);
    dns.sent_to_server(9);
    dns.server_fin();
    assert_eq!((dns.connection(), dns.end()), (ConnectionWish::Open, None));
    dns.server_opened();
    reply(&mut dns);
    // It closes in between.
    dns.server_fin();
    assert_eq!((dns.connection(), dns.end()), (ConnectionWish::None, None));
    // It closes on the question twice.
    dns.client_data(&stream, CONTEXT);
    dns.server_opened();
    dns.server_fin();
    assert_eq!(dns.end(), Some(End::Reset));
    // So is one over UDP that says that nobody is there.
    let mut dns = udp();
    dns.client_data(&stream[2..], CONTEXT);
    dns.server_opened();
    dns.server_reset();
    assert_eq!((dns.connection(), dns.end()), (ConnectionWish::None, Some(End::Reset)));
}

#[test]
fn a_used_canonicaliser_is_as_good_as_new() {
    let reply = answer("a", A, &[record("a", A, 60, &bytes(&[1; 4]))]);
    let asked = query(5, 0, "a", A, None);
    let mut dns = udp();
    let run = |dns: &mut gateway::dns::Dns| {
        over_udp(dns, &asked, |query| {
            vec![Reply { id: u16::from_be_bytes([query[0], query[1]]), ..reply.clone() }.write()]
        })
    };
    let first = run(&mut dns);
    dns.reset();
    assert_eq!(run(&mut dns), first);
    let mut half = tcp();
    half.client_data(&framed(&asked)[..9], CONTEXT);
    assert!(!half.at_rest() && half.is_answered());
    half.reset();
    assert!(half.at_rest());
    half.client_data(&framed(&asked), CONTEXT);
    assert_eq!(half.connection(), ConnectionWish::Open);
}
