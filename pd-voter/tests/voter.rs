//! The whole voter over rings: sessions, rule by rule.

mod common;

use common::*;
use resh_channel::config::OnMismatch;
use resh_channel::message::{Kind, Message, Reason};
use resh_channel::ring::DATA_WORD;
use resh_channel::stats::{DisputeKind, ReplicaState};

#[test]
fn a_request_is_multicast_and_the_reply_released_at_quorum() {
    let memory = Memory::new();
    let mut window = window(4);
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(3);
    let session = id(2, 7);
    world.open(session);
    world.say(Message::new(Kind::Data, session), b"request");
    world.run();
    for gateway in &mut world.gateways {
        let heard = gateway.hear();
        assert_eq!(heard.len(), 2);
        assert_eq!((heard[0].0.kind, heard[0].0.to), (Kind::Open, 0b111));
        assert_eq!(heard[0].1.len(), 16, "a nonce");
        assert_eq!((heard[1].0.kind, heard[1].0.clock_s), (Kind::Data, CLOCK_S));
        assert_eq!(heard[1].1, b"request");
    }
    world.gateways[1].data(session, 0, b"reply");
    world.run();
    assert!(world.hear().is_empty(), "one voice is no quorum");
    world.gateways[2].data(session, 0, b"rep");
    world.run();
    let heard = world.hear();
    assert_eq!((heard.len(), heard[0].kind, heard[0].offset), (1, Kind::Release, 3));
    assert_eq!(world.released(session, 0, 3), b"rep");
    world.gateways[0].data(session, 0, b"reply");
    world.gateways[0].fin(session, 5);
    world.gateways[1].fin(session, 5);
    world.run();
    let heard = world.hear();
    assert_eq!(kinds(&heard), [Kind::Release, Kind::Fin]);
    assert_eq!(world.released(session, 0, 5), b"reply");
    world.say(Message::new(Kind::Taken, session).at(5), &[]);
    world.say(Message::new(Kind::Fin, session).at(7), &[]);
    world.run();
    assert!(world.hear().is_empty(), "the third may still answer");
    assert_eq!(world.voter.stats().sessions_open, 0);
    world.gateways[2].data(session, 3, b"ly");
    world.gateways[2].fin(session, 5);
    world.run();
    assert_eq!(kinds(&world.hear()), [Kind::Closed]);
    assert_eq!(world.voter.sessions_in_use(), 0);
    let stats = world.voter.stats();
    assert_eq!(stats.disputes_total, 0);
    assert_eq!(stats.services[0].reply_bytes, 5);
    assert_eq!(stats.services[0].request_bytes, 7);
    assert!(stats.replicas.iter().all(|replica| replica.state == ReplicaState::Voting));
}

#[test]
fn a_liar_is_outvoted_whoever_is_first() {
    for liar in 0..3 {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let memory = Memory::new();
            let mut window = window(1);
            let mut world =
                World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
            world.start(3);
            let session = id(0, 0);
            world.open(session);
            world.run();
            for gateway in order {
                let reply: &[u8] =
                    if gateway == liar { b"same, but a lie" } else { b"same, and true" };
                world.gateways[gateway].data(session, 0, reply);
                world.run();
            }
            let heard = world.hear();
            assert_eq!(heard.last().unwrap().offset, 14);
            assert_eq!(world.released(session, 0, 14), b"same, and true");
            let stats = world.voter.stats();
            assert_eq!(stats.disputes_total, 1);
            let dispute = &stats.disputes[0];
            assert_eq!((dispute.replica, dispute.kind), (liar as u8, DisputeKind::Bytes));
            assert_eq!(dispute.offset, 6);
            assert_eq!(dispute.expected, b"and true"[..]);
            assert_eq!(dispute.found, b"but a lie"[..]);
            assert_eq!(stats.replicas[liar].divergences, 1);
        }
    }
}

#[test]
fn a_pair_that_differs_stops_the_service_for_good() {
    let memory = Memory::new();
    let mut window = window(4);
    let mut world = World::new(&memory, &mut window, &appliance(2, OnMismatch::StopService));
    world.start(2);
    let (one, other) = (id(0, 0), id(1, 0));
    world.open(one);
    world.open(other);
    world.run();
    world.gateways[0].data(one, 0, b"yes");
    world.gateways[1].data(one, 0, b"yet");
    world.run();
    let heard = world.hear();
    assert_eq!(kinds(&heard), [Kind::Reset, Kind::Closed, Kind::Reset, Kind::Closed]);
    assert!(heard.iter().step_by(2).all(|message| message.arg == Reason::Stopped as u8));
    assert_eq!(world.voter.stats().services[0].stopped_by, Some(1));
    world.open(id(0, 1));
    world.run();
    let heard = world.hear();
    assert_eq!(kinds(&heard), [Kind::Reset, Kind::Closed]);
    assert_eq!(heard[0].arg, Reason::Stopped as u8);
    assert_eq!(world.voter.stats().services[0].refused, 1);
    assert_eq!(world.voter.sessions_in_use(), 0);
}

#[test]
fn three_different_answers_are_nobodys_guilt() {
    let memory = Memory::new();
    let mut window = window(1);
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(3);
    let session = id(0, 0);
    world.open(session);
    world.run();
    for (gateway, reply) in [b"a1", b"a2", b"a3"].into_iter().enumerate() {
        world.gateways[gateway].data(session, 0, reply);
        world.run();
    }
    let heard = world.hear();
    assert_eq!(kinds(&heard), [Kind::Release, Kind::Reset, Kind::Closed]);
    assert_eq!(heard[1].arg, Reason::NoQuorum as u8);
    let stats = world.voter.stats();
    let record = |d: &resh_channel::stats::Dispute| (d.replica, d.kind, d.offset, d.found[0]);
    assert_eq!(
        stats.disputes.iter().map(record).collect::<Vec<_>>(),
        [
            (0, DisputeKind::NoQuorum, 1, b'1'),
            (1, DisputeKind::NoQuorum, 1, b'2'),
            (2, DisputeKind::NoQuorum, 1, b'3')
        ]
    );
    assert!(stats.replicas.iter().all(|replica| replica.divergences == 0));
    assert!(stats.replicas.iter().all(|replica| replica.state == ReplicaState::Voting));
    assert_eq!((stats.services[0].no_quorum, stats.services[0].stopped_by), (1, None));
    // All gateways are told to drop it.
    for gateway in &mut world.gateways {
        assert_eq!(gateway.hear().last().unwrap().0.kind, Kind::Reset);
    }
}

#[test]
fn a_voter_that_cannot_tell_the_network_forgets_nothing() {
    let memory = Memory::new();
    let slots = 900;
    let mut window = window(slots);
    let mut world = World::new(&memory, &mut window, &appliance(1, OnMismatch::StopSession));
    world.start(1);
    // Far more messages than the ring holds: the network does not read.
    for index in 0..slots as u16 {
        world.open(id(index, 0));
        world.run();
        world.gateways[0].hear();
        for at in 0..8 {
            world.gateways[0].data(id(index, 0), at, b"x");
            world.run();
        }
        world.gateways[0].fin(id(index, 0), 8);
        world.run();
    }
    let mut released = vec![0; slots];
    let mut ended = 0;
    world.signalled = false;
    loop {
        let heard = world.hear();
        if heard.is_empty() {
            break;
        }
        for message in heard {
            match message.kind {
                Kind::Release => released[usize::from(message.session.index)] = message.offset,
                Kind::Fin => ended += 1,
                kind => panic!("{kind:?}"),
            }
        }
        let woken = core::mem::take(&mut world.signalled);
        assert!(woken || ended == slots, "the voter waits for room, and was not woken");
        world.run();
    }
    assert_eq!(ended, slots);
    assert!(released.iter().all(|offset| *offset == 8));
}

#[test]
fn statistics_are_published_and_soon_after_a_dispute() {
    let memory = Memory::new();
    let mut window = window(1);
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(3);
    world.pass(100);
    let mut scratch = vec![0; 16 * 1024];
    let mut read = || {
        resh_channel::snapshot::read::<resh_channel::stats::VoterStats>(&memory.stats, &mut scratch)
            .unwrap()
    };
    let stats = read();
    assert!(stats.services[0].has_quorum);
    assert!(stats.replicas.iter().all(|replica| replica.state == ReplicaState::Voting));
    let session = id(0, 0);
    world.open(session);
    world.run();
    world.pass(100);
    assert_eq!(read().sessions_open, 1);
    for (gateway, reply) in [b"1", b"2", b"3"].into_iter().enumerate() {
        world.gateways[gateway].data(session, 0, reply);
    }
    world.run();
    world.pass(10);
    let stats = read();
    assert_eq!((stats.disputes_total, stats.sessions_open), (3, 0));
    assert!(!stats.services[0].has_quorum);
    // Nothing happens, so nothing is due, but for a look at a deadline that was cleared.
    world.pass(500);
    assert_eq!(world.voter.deadline_ms(), None);
}

#[test]
fn a_client_may_go_on_after_the_reply_has_ended() {
    let memory = Memory::new();
    let mut window = window(1);
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(3);
    let session = id(0, 0);
    world.open(session);
    world.run();
    for gateway in &mut world.gateways {
        gateway.fin(session, 0);
    }
    world.run();
    assert_eq!(kinds(&world.hear()), [Kind::Fin]);
    world.say(Message::new(Kind::Data, session), b"more");
    world.run();
    for gateway in &mut world.gateways {
        assert_eq!(gateway.hear().last().unwrap().1, b"more");
    }
    assert!(world.hear().is_empty());
    world.say(Message::new(Kind::Fin, session).at(4), &[]);
    world.run();
    assert_eq!(kinds(&world.hear()), [Kind::Closed]);
    // Both ways have ended for everybody: nobody needs to be told.
    for gateway in &mut world.gateways {
        assert_eq!(gateway.hear().last().unwrap().0.kind, Kind::Fin);
    }
}

#[test]
fn an_index_is_free_only_when_the_gateways_were_told() {
    let memory = Memory::new();
    let mut window = window(2);
    let mut world = World::new(&memory, &mut window, &appliance(1, OnMismatch::StopSession));
    world.start(1);
    let (session, other) = (id(0, 0), id(1, 0));
    world.open(session);
    world.open(other);
    world.run();
    // Fill the broadcast ring to the last word: what is opened takes 5 words, and data 3 and its own. The
    // ring began with a probe of 3 words, so those are left at its start.
    let words = RING_WORDS - DATA_WORD - 3 - 10;
    for at in 0..words / 1027 {
        let (session, at) = if at < 7 { (session, at) } else { (other, at - 7) };
        world.say(Message::new(Kind::Data, session).at(at as u64 * 8192), &[7; 8192]);
        world.run();
    }
    let rest = vec![7; (words % 1027 - 3) * 8];
    let at = (words / 1027).saturating_sub(7) as u64 * 8192;
    world.say(Message::new(Kind::Data, other).at(at), &rest);
    world.say(Message::new(Kind::Fin, other).at(at + rest.len() as u64), &[]);
    world.run();
    world.say(Message::new(Kind::Reset, session), &[]);
    world.run();
    assert!(world.hear().is_empty(), "the gateway knows the session still");
    let heard = world.gateways[0].hear();
    assert!(heard.iter().all(|(message, _)| message.kind != Kind::Reset));
    world.run();
    let heard = world.gateways[0].hear();
    assert_eq!((heard.len(), heard[0].0.kind), (1, Kind::Reset));
    assert_eq!(kinds(&world.hear()), [Kind::Closed]);
}

#[test]
fn a_network_that_waits_for_room_is_woken() {
    let memory = Memory::new();
    let mut window = window(1);
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(3);
    let session = id(0, 0);
    world.open(session);
    let mut at = 0;
    while world.try_say(Message::new(Kind::Data, session).at(at), &[7; 4096]) {
        at += 4096;
    }
    assert_eq!(world.to_voter.arm(4096), Ok(true));
    assert!(world.run().network);
    assert!(world.try_say(Message::new(Kind::Data, session).at(at), &[7; 4096]));
}

#[test]
fn whoever_writes_to_a_sleeping_voter_wakes_it() {
    let memory = Memory::new();
    let mut window = window(2);
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(3);
    let session = id(0, 0);
    world.run();
    world.signalled = false;
    world.open(session);
    assert!(core::mem::take(&mut world.signalled), "the network");
    world.run();
    for gateway in 0..3 {
        world.gateways[gateway].signalled = false;
        world.gateways[gateway].data(session, 0, b"x");
        assert!(world.gateways[gateway].signalled, "gateway {gateway}");
        world.run();
    }
    // And whoever makes room for a voter that waits for it.
    let mut at = 0;
    while world.try_say(Message::new(Kind::Data, session).at(at), &[7; 8192]) && at < 57_344 {
        at += 8192;
        world.run();
        for gateway in &mut world.gateways[1..] {
            gateway.hear();
        }
    }
    world.open(id(1, 0));
    world.say(Message::new(Kind::Data, id(1, 0)), &[7; 8192]);
    world.run();
    world.gateways[0].signalled = false;
    world.gateways[0].hear();
    assert!(world.gateways[0].signalled, "the reader that was last");
    world.run();
    assert_eq!(world.gateways[0].hear().last().unwrap().0.session, id(1, 0));
}
