//! The gateway between a scripted voter and a scripted server: what goes in at one end comes out at the
//! other, whatever the pieces, the order and the pace.

mod pump_support;

use pump_support::server::{Ends, Servers};
use pump_support::voter::Voter;
use pump_support::{CONNECT_MS, ELSEWHERE, HTTP, Memory, RAW, REPLICA, Random};
use resh_channel::message::{CONNECTED, Kind, Message, Reason, SessionId};

fn id(index: u16, generation: u16) -> SessionId {
    SessionId { index, generation }
}

/// What is to happen in one session.
struct Plan {
    request: Vec<u8>,
    reply: Vec<u8>,
    ends: Ends,
    opened: bool,
    /// Bytes of `reply` that have arrived.
    arrived: usize,
}

impl Plan {
    fn new(random: &mut Random) -> Self {
        let (request, reply) = (random.length(200_000) - 1, random.length(200_000) - 1);
        Self {
            request: random.bytes(request),
            reply: random.bytes(reply),
            ends: if random.one_in(4) { Ends::Reset } else { Ends::Fin },
            opened: false,
            arrived: 0,
        }
    }
}

/// One step of one session. With `all`, as far as it can go.
fn step(voter: &mut Voter<'_>, random: &mut Random, index: u16, plan: &mut Plan, all: bool) {
    let session = usize::from(index);
    let what = random.below(8);
    if !plan.opened {
        plan.opened = voter.open(id(index, 3), RAW);
        return;
    }
    let known = &voter.sessions[&index];
    if (all || what == 0) && !known.fin_sent {
        let rest = &plan.request[known.sent as usize..];
        let most = rest.len().min(known.request_credit()).min(32 * 1024);
        let len = if all { most } else { most.min(random.length(32 * 1024)) };
        let bytes = rest[..len].to_vec();
        if rest.is_empty() {
            voter.request_fin(index);
        } else if len > 0 {
            voter.request(index, &bytes);
        }
    }
    if all || what == 1 {
        voter.servers().settle(session, true);
    }
    if all || what == 2 {
        let room = if all { 1 << 20 } else { random.length(50_000) };
        voter.servers().make_room(session, room);
    }
    let open =
        voter.servers().of(session).is_some_and(|server| server.open && server.end.is_none());
    if (all || what == 3) && open {
        let rest = &plan.reply[plan.arrived..];
        let len = if all { rest.len() } else { rest.len().min(random.length(50_000)) };
        plan.arrived += len;
        let ends = len == rest.len() && (all || random.one_in(2));
        voter.servers().arrive(session, &rest[..len], ends.then_some(plan.ends));
    }
    if all || what == 4 {
        let bytes = if all { 1 << 20 } else { random.length(50_000) };
        voter.allow(index, bytes as u64);
    }
    if what == 5 {
        voter.servers().disturb(session);
    }
    if what == 6 {
        let most = random.length(100_000);
        voter.servers().most = most;
    }
    if all || what == 7 {
        voter.hear_some(if all { 100 } else { 3 });
    }
}

fn check(voter: &mut Voter<'_>, index: u16, plan: &Plan, seed: u64) {
    let known = &voter.sessions[&index];
    let what = format!("seed {seed}, session {index}, ends with {:?}", plan.ends);
    assert_eq!(known.replied.len(), plan.reply.len(), "{what}: reply bytes");
    assert!(known.replied == plan.reply, "{what}: reply");
    let reset = plan.ends == Ends::Reset;
    assert_eq!(known.fin, !reset, "{what}");
    assert_eq!(known.reset, reset.then_some(Reason::Peer as u8), "{what}");
    let server = voter.servers().all.iter().find(|server| server.session == usize::from(index));
    let server = server.expect("a connection");
    assert!(plan.request.starts_with(&server.got), "{what}: request");
    if !reset {
        assert_eq!(server.got.len(), plan.request.len(), "{what}: request bytes");
        assert!(server.got_fin, "{what}");
    }
    assert_eq!(server.closed, Some(reset), "{what}");
}

#[test]
fn raw_bytes_arrive_in_order_and_in_full() {
    for seed in 0..500 {
        let memory = Memory::new();
        let mut voter = Voter::joined(memory.rings());
        let random = &mut Random(seed);
        let mut plans: Vec<Plan> = (0..4).map(|_| Plan::new(random)).collect();
        for _ in 0..random.below(600) {
            let index = random.below(plans.len());
            step(&mut voter, random, index as u16, &mut plans[index], false);
            if !random.one_in(4) {
                voter.run();
            }
        }
        voter.servers().most = usize::MAX;
        for _ in 0..200 {
            for (index, plan) in plans.iter_mut().enumerate() {
                step(&mut voter, random, index as u16, plan, true);
                voter.run();
            }
        }
        voter.hear();
        for (index, plan) in plans.iter().enumerate() {
            check(&mut voter, index as u16, plan, seed);
        }
        assert_eq!(voter.gateway.sessions(), 0, "seed {seed}: sessions left");
    }
}

/// A session with a connection that stands.
fn standing(voter: &mut Voter<'_>, id: SessionId) {
    assert!(voter.open(id, RAW));
    voter.run();
    voter.servers().settle(id.index.into(), true);
    voter.run();
}

#[test]
fn a_server_that_takes_nothing_holds_back_its_own_session_only() {
    let memory = Memory::new();
    let mut voter = Voter::joined(memory.rings());
    standing(&mut voter, id(0, 0));
    standing(&mut voter, id(1, 0));
    // All the credit there is, and the session's own buffer takes it.
    while voter.sessions[&0].request_credit() > 0 {
        let len = voter.sessions[&0].request_credit().min(1000);
        assert!(voter.request(0, &vec![1; len]));
        voter.run();
        voter.hear();
    }
    assert_eq!(voter.sessions[&0].taken, 0);
    voter.servers().make_room(1, usize::MAX);
    for _ in 0..1000 {
        assert!(voter.request(1, &[2; 1000]), "the broadcast ring is held back");
        voter.run();
        voter.hear();
    }
    assert_eq!(voter.servers().of(1).unwrap().got.len(), 1_000_000);
    // When it takes something, the rest follows.
    voter.servers().make_room(0, usize::MAX);
    voter.run();
    voter.hear();
    assert_eq!(voter.servers().of(0).unwrap().got, vec![1; 65_536]);
    assert_eq!(voter.sessions[&0].taken, 65_536);
}

#[test]
fn a_voter_that_waits_for_room_is_signalled() {
    let memory = Memory::new();
    let mut voter = Voter::joined(memory.rings());
    standing(&mut voter, id(0, 0));
    while voter.say(&Message::new(Kind::Credit, id(0, 0)), &[0; 5000]) {}
    assert!(voter.wait_for_room());
    voter.hear();
    voter.run();
    assert!(voter.is_signalled());
}

#[test]
fn replies_stop_at_the_credit() {
    let memory = Memory::new();
    let mut voter = Voter::joined(memory.rings());
    standing(&mut voter, id(0, 0));
    let reply = Random(1).bytes(100_001);
    voter.servers().arrive(0, &reply, Some(Ends::Fin));
    voter.run();
    voter.hear();
    voter.run();
    voter.hear();
    assert_eq!(voter.sessions[&0].replied.len(), 65_536);
    for (bytes, total) in [(1, 65_537), (7, 65_544), (100_000, 100_001)] {
        assert!(voter.allow(0, bytes));
        voter.run();
        voter.hear();
        voter.run();
        voter.hear();
        assert_eq!(voter.sessions[&0].replied.len(), total);
    }
    assert!(voter.sessions[&0].fin && voter.sessions[&0].replied == reply);
}

#[test]
fn a_connection_that_is_refused_or_too_slow_is_a_reset() {
    let memory = Memory::new();
    let mut voter = Voter::joined(memory.rings());
    voter.servers().at_once = Some(false);
    assert!(voter.open(id(0, 0), RAW));
    voter.run();
    voter.servers().at_once = None;
    assert!(voter.open(id(1, 0), RAW));
    voter.run();
    voter.servers().settle(1, false);
    voter.now_ms = 10;
    assert!(voter.open(id(2, 0), RAW));
    voter.run();
    voter.hear();
    let reset = |voter: &Voter<'_>, index| voter.sessions[&index].reset;
    let refused = Some(Reason::Refused as u8);
    assert_eq!([0, 1, 2].map(|index| reset(&voter, index)), [refused, refused, None]);
    voter.now_ms += u64::from(CONNECT_MS) - 1;
    voter.run();
    voter.hear();
    assert_eq!(reset(&voter, 2), None);
    voter.now_ms += 1;
    voter.run();
    voter.hear();
    assert_eq!(reset(&voter, 2), refused);
    assert_eq!(voter.gateway.sessions(), 0);
    assert_eq!(voter.servers().all.last().unwrap().closed, Some(true));
}

#[test]
fn a_session_ends_when_the_voter_says_so() {
    let memory = Memory::new();
    let mut voter = Voter::joined(memory.rings());
    for index in 0..3 {
        standing(&mut voter, id(index, 5));
    }
    let evict = |index, replica: usize| Message::new(Kind::Evict, id(index, 5)).arg(replica as u8);
    assert!(voter.say(&evict(0, REPLICA), &[]));
    assert!(voter.say(&evict(1, REPLICA + 1), &[]));
    assert!(voter.say(&Message::new(Kind::Reset, id(2, 5)), &[]));
    // Records for what is gone, or was never there, mean nothing.
    assert!(voter.say(&Message::new(Kind::Data, id(0, 5)), b"x"));
    assert!(voter.say(&Message::new(Kind::Reset, id(1, 4)), &[]));
    assert!(voter.say(&Message::new(Kind::Data, id(6, 0)), b"x"));
    voter.run();
    voter.hear();
    let closed = |voter: &mut Voter<'_>| -> Vec<_> {
        voter.servers().all.iter().map(|server| server.closed).collect()
    };
    assert_eq!(closed(&mut voter), [Some(true), None, Some(true)]);
    assert!(voter.sessions.values().all(|known| known.reset.is_none() && !known.fin));
    // The same index serves the next session, even if the last one was not ended.
    standing(&mut voter, id(0, 6));
    standing(&mut voter, id(1, 6));
    assert_eq!(closed(&mut voter), [Some(true), Some(true), Some(true), None, None]);
    voter.servers().arrive(1, b"hello", Some(Ends::Fin));
    voter.run();
    voter.hear();
    assert_eq!(voter.sessions[&1].replied, b"hello");
    assert_eq!(voter.gateway.sessions(), 2);
}

#[test]
fn a_probe_is_answered_when_the_server_accepts() {
    let memory = Memory::new();
    let mut voter = Voter::joined(memory.rings());
    for (index, service) in [(1272, RAW), (1273, HTTP), (1274, HTTP), (1275, RAW)] {
        assert!(voter.probe(id(index, 2), service));
    }
    assert!(voter.probe(id(1276, 2), ELSEWHERE));
    voter.run();
    voter.hear();
    assert!(voter.sessions.values().all(|known| !known.fin && known.reset.is_none()));
    voter.servers().settle(1272, true);
    voter.servers().settle(1273, true);
    voter.servers().settle(1274, false);
    voter.run();
    voter.now_ms += u64::from(CONNECT_MS);
    voter.run();
    voter.hear();
    for index in [1272, 1273] {
        let known = &voter.sessions[&index];
        assert_eq!((&known.replied[..], known.fin), (CONNECTED, true));
    }
    for index in [1274, 1275] {
        let known = &voter.sessions[&index];
        assert_eq!((known.replied.len(), known.reset), (0, Some(Reason::Refused as u8)));
    }
    let known = &voter.sessions[&1276];
    assert!(!known.fin && known.reset.is_none(), "an answer for another replica");
    assert_eq!((voter.gateway.sessions(), voter.servers().of_session.len()), (0, 0));
}

#[test]
fn sessions_without_this_replica_are_none_of_its_business() {
    let memory = Memory::new();
    let mut voter = Voter::joined(memory.rings());
    assert!(voter.open(id(0, 0), ELSEWHERE));
    let others = 0b111 & !(1 << REPLICA);
    assert!(voter.say(&Message::new(Kind::Open, id(1, 0)).arg(RAW).to(others), &[]));
    assert!(voter.say(&Message::new(Kind::Data, id(1, 0)), b"x"));
    voter.run();
    voter.hear();
    assert_eq!(voter.gateway.sessions(), 0);
    assert!(voter.servers().all.is_empty());
}

#[test]
fn what_a_server_said_before_it_went_away_counts() {
    let memory = Memory::new();
    let mut voter = Voter::joined(memory.rings());
    standing(&mut voter, id(0, 0));
    let reply = Random(2).bytes(70_000);
    voter.servers().arrive(0, &reply, Some(Ends::Fin));
    voter.servers().of(0).unwrap().deaf = true;
    assert!(voter.request(0, &[0; 20_000]));
    assert!(voter.allow(0, 100_000));
    for _ in 0..10 {
        voter.run();
        voter.hear();
    }
    let known = &voter.sessions[&0];
    assert!(known.replied == reply);
    assert_eq!((known.fin, known.reset), (false, Some(Reason::Peer as u8)));
}

#[test]
fn a_voter_that_breaks_the_rules_ends_the_domain() {
    for bad in [
        Message::new(Kind::Data, id(0, 0)).at(1),
        Message::new(Kind::Release, id(0, 0)),
        Message::new(Kind::Credit, id(60_000, 0)),
    ] {
        let memory = Memory::new();
        let mut voter = Voter::joined(memory.rings());
        standing(&mut voter, id(0, 0));
        assert!(voter.say(&bad, b"x"));
        assert!(voter.gateway.round(0).is_err(), "{bad:?}");
    }
}

/// Answers each request that is complete with its path, in the manner of one make of server.
fn answer(servers: &mut Servers, random: &mut Random, answered: &mut usize, make: usize) {
    let open: Vec<usize> = servers.of_session.keys().copied().collect();
    for session in open {
        let at = servers.of_session[&session];
        let connection = &mut servers.all[at];
        let Some(end) = connection.got.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head: Vec<u8> = connection.got.drain(..end + 4).collect();
        let head = String::from_utf8(head).unwrap();
        let path = head.split(' ').nth(1).unwrap();
        let body = path.repeat(1 + path.len() % 50);
        let len = body.len();
        let reply = match make {
            0 => format!(
                "HTTP/1.1 200 OK\r\nServer: one\r\nDate: Mon, 01 Jan 2001 00:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: {len}\r\n\r\n{body}"
            ),
            _ => format!(
                "HTTP/1.1 200 Fine\r\ncontent-type: text/plain\r\ncontent-length: {len}\r\nserver: Other/2\r\n\r\n{body}"
            ),
        };
        *answered += 1;
        let mut rest = reply.as_bytes();
        while !rest.is_empty() {
            let len = rest.len().min(random.length(3000));
            servers.arrive(session, &rest[..len], None);
            rest = &rest[len..];
        }
    }
}

/// What the client gets of a server of that make, if these records come from it.
fn canonical_replies(records: &[(Vec<u8>, u32)], make: usize, seed: u64) -> (Vec<u8>, bool) {
    let memory = Memory::new();
    let mut voter = Voter::joined(memory.rings());
    let random = &mut Random(seed);
    let mut answered = 0;
    assert!(voter.open(id(0, 0), HTTP));
    let mut next = 0;
    for round in 0..20_000 {
        if voter.sessions[&0].fin {
            break;
        }
        let late = round > 10_000;
        // Now and then the server sleeps until the client cannot say more.
        let credit = voter.sessions[&0].request_credit();
        let more = records.get(next).is_some_and(|(bytes, _)| bytes.len() <= credit);
        let asleep = seed.is_multiple_of(2) && more && !late;
        if (late || random.one_in(3)) && next < records.len() {
            let (bytes, clock_s) = &records[next];
            voter.clock_s = *clock_s;
            if bytes.len() <= voter.sessions[&0].request_credit() && voter.request(0, bytes) {
                next += 1;
            }
        } else if next == records.len() && !voter.sessions[&0].fin_sent {
            voter.request_fin(0);
        }
        if !asleep && (late || random.one_in(3)) {
            voter.servers().settle(0, true);
            voter.servers().make_room(0, random.length(2000));
        }
        if !asleep && (late || random.one_in(3)) {
            answer(voter.servers(), random, &mut answered, make);
        }
        if late || random.one_in(3) {
            voter.servers().most = random.length(5000);
            voter.hear_some(5);
            voter.allow(0, random.length(3000) as u64);
        }
        voter.run();
    }
    assert_eq!(voter.sessions[&0].reset, None);
    let known = &voter.sessions[&0];
    (known.replied.clone(), known.fin)
}

#[test]
fn two_makes_of_server_give_the_client_the_same_bytes() {
    for seed in 0..30 {
        let random = &mut Random(seed);
        // Some more than the canonicaliser takes at once.
        let requests = 1 + random.below(60);
        let mut stream = Vec::new();
        for number in 0..requests {
            let filler = "/path".repeat(20 + random.length(300));
            stream
                .extend(format!("GET /{number}{filler} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes());
        }
        let mut records = Vec::new();
        let mut clock_s = 1_700_000_000;
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let len = rest.len().min(random.length(3000));
            clock_s += u32::from(random.one_in(3));
            records.push((rest[..len].to_vec(), clock_s));
            rest = &rest[len..];
        }
        let (one, one_fin) = canonical_replies(&records, 0, seed + 1000);
        let (other, other_fin) = canonical_replies(&records, 1, seed + 2000);
        let text = String::from_utf8_lossy(&one).into_owned();
        assert_eq!(text.matches("HTTP/1.1 200").count(), requests, "seed {seed}: {text}");
        // The clock of its record is that of a request, also when it had to wait.
        assert_eq!(text.matches(" 2023 ").count(), requests, "seed {seed}: {text}");
        assert!(one == other, "seed {seed}:\n{text}\n{}", String::from_utf8_lossy(&other));
        assert!(one_fin && other_fin, "seed {seed}: no end");
    }
}
