//! The whole voter over rings: the lives of replicas' domains, and what condemns them.

mod common;

use common::*;
use resh_channel::config::OnMismatch;
use resh_channel::message::{Kind, Message, Reason};
use resh_channel::stats::{Condemnation, DisputeKind, ReplicaState};

#[test]
fn a_gap_condemns_the_domain_and_a_new_life_votes_again() {
    let memory = Memory::new();
    let mut window = window(4);
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(3);
    let session = id(0, 0);
    world.open(session);
    world.run();
    world.gateways[1].data(session, 1, b"gap");
    assert!(world.run().supervisor);
    let replica = &world.voter.stats().replicas[1];
    assert_eq!(replica.state, ReplicaState::Condemned);
    assert_eq!(replica.reason, Some(Condemnation::WrongOffset));
    world.restart(1);
    world.let_in(&[1]);
    assert_eq!(world.voter.stats().replicas[1].state, ReplicaState::Voting);
    world.open(id(1, 0));
    world.run();
    let heard = world.gateways[1].hear();
    let heard = heard.iter().map(|(message, _)| (message.kind, message.session, message.to));
    // Nothing was said in the first session, so it begins there, too.
    let expected = [(Kind::Admit, session, 0b010), (Kind::Open, id(1, 0), 0b111)];
    assert_eq!(heard.collect::<Vec<_>>(), expected);
}

#[test]
fn too_few_replicas_are_refused_until_they_are_back() {
    let memory = Memory::new();
    let mut window = window(2);
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(1);
    world.open(id(0, 0));
    world.run();
    let heard = world.hear();
    assert_eq!(kinds(&heard), [Kind::Reset, Kind::Closed]);
    assert_eq!(heard[0].arg, Reason::NoQuorum as u8);
    assert!(world.gateways[0].hear().is_empty());
    world.restart(2);
    world.let_in(&[2]);
    world.open(id(0, 1));
    world.run();
    assert!(world.hear().is_empty());
    assert_eq!(world.gateways[2].hear()[0].0.to, 0b101);
}

#[test]
fn a_domain_that_dies_is_out_at_once() {
    let memory = Memory::new();
    let mut window = window(2);
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(3);
    let session = id(0, 0);
    world.open(session);
    world.run();
    // It leads, and dies.
    world.gateways[0].data(session, 0, b"half a rep");
    world.run();
    world.restart(0);
    world.run();
    let replica = &world.voter.stats().replicas[0];
    assert_eq!((replica.state, replica.reason), (ReplicaState::Absent, Some(Condemnation::Died)));
    assert_eq!(world.voter.stats().disputes_total, 0);
    for gateway in [1, 2] {
        world.gateways[gateway].data(session, 0, b"another reply");
    }
    world.run();
    assert_eq!(world.hear().last().unwrap().offset, 13);
    assert_eq!(world.released(session, 0, 13), b"another reply");
    // The next one dies too: that is no quorum.
    world.restart(1);
    world.run();
    assert_eq!(world.hear()[0].kind, Kind::Reset);
    assert_eq!(world.voter.stats().disputes[0].kind, DisputeKind::Silence);
}

#[test]
fn a_domain_that_does_not_read_is_condemned_and_the_others_go_on() {
    let memory = Memory::new();
    let mut window = window(2);
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(3);
    let session = id(0, 0);
    world.open(session);
    world.run();
    let began_ms = world.now_ms;
    let mut at = 0;
    while at < 1 << 20 {
        let sent = world.try_say(Message::new(Kind::Data, session).at(at), &[7; 4096]);
        at += if sent { 4096 } else { 0 };
        world.run();
        for gateway in &mut world.gateways[..2] {
            gateway.hear();
            gateway.say(Message::new(Kind::Taken, session).at(at), &[]);
        }
        world.run();
        world.hear();
        world.pass(if sent { 0 } else { 1 });
        assert!(world.now_ms < began_ms + 300, "stuck at {at}");
    }
    let replica = &world.voter.stats().replicas[2];
    let silent = Some(Condemnation::Silent);
    // A laggard of this session first, and then one that holds up everybody.
    assert!(replica.state == ReplicaState::Voting || replica.reason == silent);
    for generation in 1..40u16 {
        let session = id(1, generation);
        world.open(session);
        for at in (0..49_152).step_by(4096) {
            while !world.try_say(Message::new(Kind::Data, session).at(at), &[7; 4096]) {
                world.pass(1);
                world.run();
            }
            for gateway in &mut world.gateways[..2] {
                gateway.hear();
            }
            world.run();
        }
        world.say(Message::new(Kind::Reset, session), &[]);
        world.run();
        world.hear();
    }
    assert!(world.now_ms < began_ms + 1_000);
    let stats = world.voter.stats();
    assert_eq!(stats.replicas[2].state, ReplicaState::Condemned);
    assert_eq!(stats.replicas[2].reason, silent);
    assert_eq!(stats.replicas[0].state, ReplicaState::Voting);
}

#[test]
fn a_domain_is_let_in_whatever_the_last_one_left() {
    use resh_channel::memory::Ordering;
    for left in [3, 1 << 40, u64::MAX, 8_000] {
        let memory = Memory::new();
        let mut window = window(1);
        let mut world = World::new(&memory, &mut window, &appliance(1, OnMismatch::StopSession));
        world.start(1);
        for word in memory.reply_rings[0].iter().skip(512) {
            word.store(u64::MAX, Ordering::Relaxed);
        }
        memory.reply_rings[0][0].store(left, Ordering::Release);
        world.run();
        memory.broadcast_cursors[0][0].store(left, Ordering::Release);
        world.restart(0);
        world.let_in(&[0]);
        let replica = &world.voter.stats().replicas[0];
        assert_eq!((replica.state, replica.generation), (ReplicaState::Voting, 2), "{left}");
        world.open(id(0, 0));
        world.run();
        assert_eq!(world.gateways[0].hear().len(), 1);
    }
}

#[test]
fn a_pair_without_one_of_its_domains_stops_only_if_somebody_was_served() {
    for open in [false, true] {
        let memory = Memory::new();
        let mut window = window(2);
        let mut world = World::new(&memory, &mut window, &appliance(2, OnMismatch::StopService));
        world.start(2);
        if open {
            world.open(id(0, 0));
            world.run();
        }
        world.restart(1);
        world.let_in(&[1]);
        world.hear();
        world.open(id(1, 0));
        world.run();
        let stopped = world.hear().first().map(|message| message.arg);
        assert_eq!(stopped, open.then_some(Reason::Stopped as u8));
        assert_eq!(world.voter.stats().services[0].stopped_by, open.then_some(1));
    }
}

#[test]
fn rules_of_the_channel() {
    let broken: [(Message, Condemnation); 8] = [
        (Message::new(Kind::Data, id(0, 0)).at(1), Condemnation::WrongOffset),
        (Message::new(Kind::Fin, id(0, 0)).at(1), Condemnation::WrongOffset),
        (Message::new(Kind::Taken, id(0, 0)).at(1), Condemnation::WrongOffset),
        (Message::new(Kind::Data, id(9, 0)), Condemnation::UnexpectedRecord),
        (Message::new(Kind::Open, id(0, 0)), Condemnation::UnexpectedRecord),
        (Message::new(Kind::Evict, id(0, 0)), Condemnation::UnexpectedRecord),
        (Message::new(Kind::Release, id(0, 0)), Condemnation::UnexpectedRecord),
        (Message::new(Kind::Hello, id(0, 0)).at(1), Condemnation::UnexpectedRecord),
    ];
    for (message, reason) in broken {
        let memory = Memory::new();
        let mut window = window(1);
        let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
        world.start(3);
        world.open(id(0, 0));
        world.run();
        world.gateways[0].say(message, b"x");
        world.run();
        let replica = &world.voter.stats().replicas[0];
        let expected = (ReplicaState::Condemned, Some(reason));
        assert_eq!((replica.state, replica.reason), expected, "{message:?}");
    }
    // Records that come too late are no offence.
    for (message, _) in &broken[..3] {
        let memory = Memory::new();
        let mut window = window(1);
        let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
        world.start(3);
        world.open(id(0, 1));
        world.run();
        world.gateways[0].say(*message, b"x");
        world.run();
        assert_eq!(world.voter.stats().replicas[0].state, ReplicaState::Voting);
    }
}

#[test]
fn credit_is_kept_to_the_byte() {
    let memory = Memory::new();
    let mut window = window(1);
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(3);
    let session = id(0, 0);
    world.open(session);
    world.run();
    for at in 0..8 {
        for gateway in &mut world.gateways {
            gateway.data(session, at * 8192, &[1; 8192]);
        }
        world.run();
    }
    assert!(world.voter.stats().replicas.iter().all(|r| r.state == ReplicaState::Voting));
    world.gateways[1].data(session, 65_536, b"x");
    world.run();
    let replica = &world.voter.stats().replicas[1];
    assert_eq!(replica.reason, Some(Condemnation::CreditExceeded));
    // After its end a stream has no more.
    world.gateways[0].fin(session, 65_536);
    world.gateways[0].reset(session);
    world.run();
    assert_eq!(world.voter.stats().replicas[0].state, ReplicaState::Voting);
    world.gateways[0].fin(session, 65_536);
    world.run();
    assert_eq!(world.voter.stats().replicas[0].reason, Some(Condemnation::UnexpectedRecord));
}

#[test]
fn what_the_last_life_left_is_no_hello() {
    let forged: [&[(Kind, u64)]; 3] =
        [&[(Kind::Hello, 1)], &[(Kind::Hello, 2), (Kind::Hello, 2)], &[(Kind::Fin, 2)]];
    for left in forged {
        let memory = Memory::new();
        let mut window = window(1);
        let mut world = World::new(&memory, &mut window, &appliance(1, OnMismatch::StopSession));
        world.start(1);
        for (kind, offset) in left {
            world.gateways[0].say(Message::new(*kind, id(0, 0)).at(*offset), &[]);
        }
        world.restart(0);
        world.run();
        world.pass(50);
        let state = world.voter.stats().replicas[0].state;
        assert_eq!(state, ReplicaState::Absent, "{left:?}");
        for _ in 0..3 {
            world.gateways[0].join();
            // The hello alone does not wake the voter if what lies there kept it from arming.
            world.pass(20);
        }
        world.answer_probes();
        assert_eq!(world.voter.stats().replicas[0].state, ReplicaState::Voting, "{left:?}");
    }
}

#[test]
fn a_new_life_has_no_part_in_old_sessions() {
    let memory = Memory::new();
    let mut window = window(1);
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(3);
    let session = id(0, 0);
    world.open(session);
    world.say(Message::new(Kind::Data, session), b"?");
    world.run();
    world.gateways[0].data(session, 0, b"one");
    world.run();
    world.restart(0);
    world.let_in(&[0]);
    world.gateways[0].data(session, 0, b"two");
    world.gateways[1].data(session, 0, b"two");
    world.run();
    assert!(world.hear().is_empty(), "that is one voice");
    assert_eq!(world.voter.stats().replicas[0].state, ReplicaState::Voting);
}
