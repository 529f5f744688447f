//! The whole voter over rings: how a replica comes into sessions that were opened without it.

mod common;

use common::*;
use resh_channel::config::OnMismatch;
use resh_channel::message::{Kind, Message, Nonce, SessionId};
use resh_channel::stats::{Condemnation, DisputeKind, ReplicaState};
use resh_channel::window::{REPLY_CREDIT_BYTES, REQUEST_CREDIT_BYTES};

const REQUEST: &[u8] = b"request";
const REPLY: &[u8] = b"a reply";
const LEN: u64 = 7;

/// The client asks for the `n`th time, from 0 on.
fn ask(world: &mut World<'_>, session: SessionId, n: u64) {
    world.say(Message::new(Kind::Data, session).at(n * LEN), REQUEST);
    world.run();
}

/// Gateways answer the `n`th request, and rest.
fn answer(world: &mut World<'_>, session: SessionId, n: u64, gateways: &[usize]) {
    for gateway in gateways {
        world.gateways[*gateway].data(session, n * LEN, REPLY);
        rest(world, *gateway, session, (n + 1) * LEN);
    }
    world.run();
}

fn rest(world: &mut World<'_>, gateway: usize, session: SessionId, offset: u64) {
    world.gateways[gateway].say(Message::new(Kind::Rest, session).at(offset), &[]);
}

/// Restarts a gateway and lets it in.
fn recover(world: &mut World<'_>, gateway: usize) {
    world.restart(gateway);
    world.let_in(&[gateway]);
    assert_eq!(world.state(gateway), ReplicaState::Voting);
}

/// What a gateway was told to begin: session, position in both streams, credit, and the nonce.
fn admitted(world: &mut World<'_>, gateway: usize) -> Option<(SessionId, u64, u64, u64, Nonce)> {
    let heard = world.gateways[gateway].hear();
    let is_its = |message: &Message| message.kind == Kind::Admit && message.to >> gateway & 1 == 1;
    let (message, head) = heard.iter().find(|(message, _)| is_its(message))?;
    let number = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap());
    let nonce = head[..16].try_into().unwrap();
    Some((message.session, message.offset, number(16), number(24), nonce))
}

#[test]
fn a_recovered_replica_takes_part_again_where_a_quorum_rests() {
    let memory = Memory::new();
    let mut window = window(2);
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(3);
    let session = id(0, 0);
    world.open(session);
    ask(&mut world, session, 0);
    let nonce: Nonce = world.gateways[0].hear()[0].1[..].try_into().unwrap();
    recover(&mut world, 2);
    assert_eq!(admitted(&mut world, 2), None, "in the middle of a request");
    answer(&mut world, session, 0, &[0]);
    assert_eq!(admitted(&mut world, 2), None, "one that rests is no quorum");
    answer(&mut world, session, 0, &[1]);
    let credit = REPLY_CREDIT_BYTES as u64;
    assert_eq!(admitted(&mut world, 2), Some((session, LEN, LEN, credit, nonce)));
    assert_eq!(world.voter.stats().replicas[2].sessions, 2);
    // From here on it has a voice: with it, one of the others is a quorum.
    ask(&mut world, session, 1);
    assert_eq!(world.gateways[2].hear().last().unwrap().1, REQUEST);
    answer(&mut world, session, 1, &[2, 1]);
    assert_eq!(world.released(session, LEN, 2 * LEN), REPLY);
    let heard = world.hear();
    assert_eq!(
        (heard.last().unwrap().kind, heard.last().unwrap().offset),
        (Kind::Release, 2 * LEN)
    );
    // And it is held to it.
    world.gateways[0].data(session, LEN, b"a lie");
    world.run();
    assert_eq!(world.voter.stats().replicas[0].divergences, 1);
    ask(&mut world, session, 2);
    answer(&mut world, session, 2, &[2, 1]);
    assert_eq!(world.hear().last().unwrap().offset, 3 * LEN);
    assert_eq!(world.voter.stats().disputes_total, 1);
}

#[test]
fn it_is_admitted_before_the_next_request_and_to_idle_sessions_at_once() {
    let memory = Memory::new();
    let mut window = window(4);
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(3);
    let (idle, silent, busy, ended) = (id(0, 0), id(1, 0), id(2, 0), id(3, 0));
    for session in [idle, silent, busy, ended] {
        world.open(session);
    }
    for session in [idle, busy, ended] {
        ask(&mut world, session, 0);
        answer(&mut world, session, 0, &[0, 1, 2]);
    }
    ask(&mut world, busy, 1);
    world.say(Message::new(Kind::Fin, ended).at(LEN), &[]);
    recover(&mut world, 1);
    let heard = world.gateways[1].hear();
    let begun: Vec<_> = heard.iter().map(|(message, _)| (message.kind, message.session)).collect();
    assert_eq!(begun, [(Kind::Admit, idle), (Kind::Admit, silent)]);
    answer(&mut world, busy, 1, &[0, 2]);
    ask(&mut world, busy, 2);
    let heard = world.gateways[1].hear();
    let heard: Vec<_> = heard.iter().map(|(message, _)| (message.kind, message.offset)).collect();
    assert_eq!(heard, [(Kind::Admit, 2 * LEN), (Kind::Data, 2 * LEN)]);
}

#[test]
fn who_lost_its_voice_comes_back_with_its_next_life_only() {
    let memory = Memory::new();
    let mut window = window(2);
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(3);
    let session = id(0, 0);
    world.open(session);
    ask(&mut world, session, 0);
    world.gateways[2].data(session, 0, b"a lie!!");
    answer(&mut world, session, 0, &[0, 1]);
    rest(&mut world, 2, session, LEN);
    ask(&mut world, session, 1);
    assert_eq!(admitted(&mut world, 2), None);
    answer(&mut world, session, 1, &[0, 1]);
    recover(&mut world, 2);
    let (.., request, reply, _, _) = admitted(&mut world, 2).expect("with its next life");
    assert_eq!((request, reply), (2 * LEN, 2 * LEN));
}

#[test]
fn who_was_evicted_comes_back_with_its_next_life_only() {
    let memory = Memory::new();
    let mut window = window(2);
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(3);
    let session = id(0, 0);
    world.open(session);
    // It does not consume what the client sends.
    let len = REQUEST_CREDIT_BYTES as u64;
    for at in (0..len).step_by(8192) {
        world.say(Message::new(Kind::Data, session).at(at), &[7; 8192]);
        world.run();
        world.gateways.iter_mut().for_each(|gateway| drop(gateway.hear()));
    }
    for gateway in [0, 1] {
        rest(&mut world, gateway, session, len);
    }
    world.run();
    world.pass(100);
    assert_eq!(world.voter.stats().disputes[0].kind, DisputeKind::Laggard);
    assert_eq!(world.gateways[2].hear().last().unwrap().0.kind, Kind::Evict);
    world.pass(1_000);
    assert!(world.gateways[2].hear().is_empty(), "though all is at rest");
    recover(&mut world, 2);
    assert_eq!(admitted(&mut world, 2).map(|it| (it.1, it.2)), Some((len, 0)));
    // It has all its room.
    world.hear();
    for at in (len..2 * len).step_by(8192) {
        world.say(Message::new(Kind::Data, session).at(at), &[7; 8192]);
        world.run();
        world.gateways.iter_mut().for_each(|gateway| drop(gateway.hear()));
    }
    assert!(world.hear().is_empty());
    assert_eq!(world.voter.stats().disputes_total, 1);
}

#[test]
fn two_that_come_back_together_are_admitted_together() {
    let memory = Memory::new();
    let mut window = window(2);
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(3);
    let session = id(0, 0);
    world.open(session);
    world.run();
    // Replica 1 goes, comes back into the idle session, and only then goes replica 0.
    recover(&mut world, 1);
    recover(&mut world, 0);
    ask(&mut world, session, 0);
    answer(&mut world, session, 0, &[0, 1]);
    assert_eq!(kinds(&world.hear()), [Kind::Release], "nobody of the first two is left");
    recover(&mut world, 2);
    assert!(admitted(&mut world, 2).is_some());
    assert_eq!(world.voter.stats().disputes_total, 0);
}

#[test]
fn a_rest_is_where_it_was_said() {
    let memory = Memory::new();
    let mut window = window(2);
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(3);
    let session = id(0, 0);
    world.open(session);
    ask(&mut world, session, 0);
    recover(&mut world, 2);
    // They rest, and say more: then they do not rest any more.
    for gateway in [0, 1] {
        rest(&mut world, gateway, session, LEN);
        world.gateways[gateway].data(session, 0, REPLY);
    }
    world.run();
    assert_eq!(admitted(&mut world, 2), None);
    // They rest elsewhere.
    rest(&mut world, 0, session, LEN);
    world.run();
    assert_eq!(admitted(&mut world, 2), None);
    // One of them is ahead with bytes that nobody has confirmed.
    ask(&mut world, session, 1);
    world.gateways[0].data(session, LEN, b"early");
    for gateway in [0, 1] {
        rest(&mut world, gateway, session, 2 * LEN);
    }
    world.run();
    assert_eq!(admitted(&mut world, 2), None);
    world.gateways[1].data(session, LEN, b"early");
    for gateway in [0, 1] {
        rest(&mut world, gateway, session, 2 * LEN);
    }
    world.run();
    assert_eq!(admitted(&mut world, 2).map(|it| (it.1, it.2)), Some((2 * LEN, LEN + 5)));
}

#[test]
fn a_rest_that_cannot_be_condemns() {
    let cases: [(&[u64], Option<Condemnation>); 5] = [
        (&[LEN], None),
        (&[3, LEN, LEN], None),
        (&[LEN + 1], Some(Condemnation::WrongOffset)),
        (&[LEN, 3], Some(Condemnation::WrongOffset)),
        (&[u64::MAX >> 2], Some(Condemnation::WrongOffset)),
    ];
    for (offsets, reason) in cases {
        let memory = Memory::new();
        let mut window = window(1);
        let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
        world.start(3);
        let session = id(0, 0);
        world.open(session);
        ask(&mut world, session, 0);
        for offset in offsets {
            rest(&mut world, 0, session, *offset);
        }
        world.run();
        assert_eq!(world.voter.stats().replicas[0].reason, reason, "{offsets:?}");
    }
    let memory = Memory::new();
    let mut window = window(1);
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(3);
    world.open(id(0, 0));
    world.run();
    world.gateways[0].fin(id(0, 0), 0);
    rest(&mut world, 0, id(0, 0), 0);
    world.run();
    let unexpected = Some(Condemnation::UnexpectedRecord);
    assert_eq!(world.voter.stats().replicas[0].reason, unexpected);
}

#[test]
fn a_pair_left_of_three_is_three_again() {
    let memory = Memory::new();
    let mut window = window(1);
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(3);
    let session = id(0, 0);
    world.open(session);
    // Each of them goes and comes back in turn, ten times, in one session that is never reset.
    for turn in 0..30 {
        let out = turn as usize % 3;
        let others = [(out + 1) % 3, (out + 2) % 3];
        ask(&mut world, session, 2 * turn);
        world.restart(out);
        answer(&mut world, session, 2 * turn, &others);
        world.let_in(&[out]);
        assert!(admitted(&mut world, out).is_some(), "turn {turn}");
        ask(&mut world, session, 2 * turn + 1);
        answer(&mut world, session, 2 * turn + 1, &[out, others[0], others[1]]);
        let taken = Message::new(Kind::Taken, session).at((2 * turn + 2) * LEN);
        world.say(taken, &[]);
        world.run();
        assert!(world.hear().iter().all(|m| matches!(m.kind, Kind::Release | Kind::Credit)));
    }
    let stats = world.voter.stats();
    assert_eq!((stats.disputes_total, stats.services[0].reply_bytes), (0, 60 * LEN));
    assert!(stats.replicas.iter().all(|replica| replica.recovered == 10));
}
