//! Bytes as they are, and what holds for every protocol: order, pace, credit, ends.

use crate::support::server::Ends;
use crate::support::voter::Voter;
use crate::support::{CONNECT_MS, ELSEWHERE, Memory, RAW, REPLICA, Random, id, standing};
use resh_channel::message::{Kind, Message, Reason};

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
