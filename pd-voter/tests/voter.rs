//! The whole voter over rings, rule by rule.

mod common;

use common::*;
use resh_channel::config::OnMismatch;
use resh_channel::message::{Kind, Message, Reason};
use resh_channel::stats::{Condemnation, DisputeKind, ReplicaState};
use resh_channel::window::SLOT_BYTES;

#[test]
fn a_request_is_multicast_and_the_reply_released_at_quorum() {
    let memory = Memory::new();
    let mut window = vec![0; 4 * SLOT_BYTES];
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(3);
    let session = id(2, 7);
    world.open(session);
    world.say(Message::new(Kind::Data, session), b"request");
    world.run();
    for gateway in &mut world.gateways {
        let heard = gateway.hear();
        assert_eq!(heard.len(), 2);
        assert_eq!((heard[0].0.kind, heard[0].0.offset), (Kind::Open, 0b111));
        assert_eq!(heard[0].1, b"client");
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
            let mut window = vec![0; SLOT_BYTES];
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
    let mut window = vec![0; 4 * SLOT_BYTES];
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
fn a_gap_condemns_the_domain_and_a_new_life_votes_again() {
    let memory = Memory::new();
    let mut window = vec![0; 4 * SLOT_BYTES];
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
    for _ in 0..4 {
        world.run();
        world.gateways[1].join();
    }
    world.run();
    assert_eq!(world.voter.stats().replicas[1].state, ReplicaState::Voting);
    world.open(id(1, 0));
    world.run();
    let heard = world.gateways[1].hear();
    assert_eq!((heard.len(), heard[0].0.offset), (1, 0b111));
}
