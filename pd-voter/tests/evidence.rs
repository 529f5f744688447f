//! The whole voter over rings: what it takes to condemn a replica, and what is not enough.

mod common;

use common::*;
use resh_channel::config::{Appliance, OnMismatch, Protocol};
use resh_channel::message::{Kind, Message};
use resh_channel::stats::{Condemnation, DisputeKind, ReplicaState};

/// How replica 2 loses its voice.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Bytes,
    EarlyFin,
    LateData,
    Reset,
    Mute,
}

const FAULTS: [Fault; 5] =
    [Fault::Bytes, Fault::EarlyFin, Fault::LateData, Fault::Reset, Fault::Mute];

/// A session from its open to its end, for the client at that address.
fn serve(world: &mut World<'_>, n: u16, client: &str, fault: Option<Fault>) {
    let session = id(0, n);
    world.open_from(session, client);
    world.run();
    for gateway in 0..2 {
        world.gateways[gateway].data(session, 0, b"reply");
        world.gateways[gateway].fin(session, 5);
    }
    world.run();
    let third = &mut world.gateways[2];
    match fault {
        None => {
            third.data(session, 0, b"reply");
            third.fin(session, 5);
        }
        Some(Fault::Bytes) => third.data(session, 0, b"rePly"),
        Some(Fault::EarlyFin) => third.fin(session, 0),
        Some(Fault::LateData) => third.data(session, 0, b"reply!"),
        Some(Fault::Reset) => third.reset(session),
        Some(Fault::Mute) => {}
    }
    world.run();
    world.say(Message::new(Kind::Taken, session).at(5), &[]);
    world.say(Message::new(Kind::Fin, session), &[]);
    world.run();
    world.pass(1_000);
    for gateway in &mut world.gateways {
        gateway.answer_probes();
    }
    world.run();
    let heard = world.hear();
    assert_eq!(heard.last().map(|message| message.kind), Some(Kind::Closed), "{fault:?}");
    assert!(heard.iter().all(|message| message.kind != Kind::Reset), "no client notices");
}

fn client(n: u8) -> String {
    format!("192.0.2.{n}:5000")
}

fn reason(world: &World<'_>) -> Option<Condemnation> {
    world.voter.stats().replicas[2].reason
}

#[test]
fn whoever_fails_several_clients_is_condemned_and_recovered() {
    for fault in FAULTS {
        let memory = Memory::new();
        let mut window = window(1);
        let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
        world.start(3);
        for n in 0..2 {
            serve(&mut world, n, &client(n as u8), Some(fault));
            assert_eq!(world.state(2), ReplicaState::Voting, "{fault:?}");
        }
        // Meanwhile nobody is harmed.
        serve(&mut world, 2, &client(9), None);
        serve(&mut world, 3, &client(0), Some(fault));
        assert_eq!(reason(&world), Some(Condemnation::Diverged), "{fault:?}");
        assert_eq!(world.state(2), ReplicaState::Condemned);
        let out_ms = world.now_ms;
        world.pass(400);
        world.restart(2);
        world.let_in(&[2]);
        assert_eq!(world.state(2), ReplicaState::Voting);
        let stats = &world.voter.stats().replicas[2];
        assert_eq!((stats.recovered, stats.condemned, stats.generation), (1, 1, 2));
        assert!((world.now_ms - out_ms..=1_400).contains(&stats.recovery_ms));
        // Its new life begins with nothing against it.
        for n in 4..6 {
            serve(&mut world, n, &client(n as u8), Some(fault));
        }
        assert_eq!(world.state(2), ReplicaState::Voting);
    }
}

#[test]
fn one_client_condemns_nobody_however_often_it_asks() {
    for fault in FAULTS {
        for address in ["192.0.2.1:80", "[2001:db8::1]:80", "nobody knows"] {
            let memory = Memory::new();
            let mut window = window(1);
            let mut world =
                World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
            world.start(3);
            for n in 0..30 {
                // Other ports, and other addresses of its network, are no other clients.
                let address = address.replace("80", &format!("80{n}"));
                let address = address.replace("::1]", &format!("::{n}:1]"));
                serve(&mut world, n, &address, Some(fault));
            }
            assert_eq!((world.state(2), reason(&world)), (ReplicaState::Voting, None));
            // It is another client's word that makes the difference.
            for n in 30..33 {
                serve(&mut world, n, "198.51.100.1:80", Some(fault));
            }
            assert_eq!(world.state(2), ReplicaState::Condemned, "{fault:?}");
        }
    }
}

#[test]
fn evidence_expires() {
    let memory = Memory::new();
    let mut window = window(1);
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(3);
    for n in 0..10 {
        serve(&mut world, n, &client(n as u8), Some(Fault::Bytes));
        world.pass(30_000);
    }
    assert_eq!(world.state(2), ReplicaState::Voting);
    for n in 10..12 {
        serve(&mut world, n, &client(n as u8), Some(Fault::Bytes));
    }
    assert_eq!(world.state(2), ReplicaState::Condemned);
}

#[test]
fn what_nobody_can_decide_is_nobodys_guilt() {
    let memory = Memory::new();
    let mut window = window(1);
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(3);
    for n in 0..20 {
        let session = id(0, n);
        world.open_from(session, &client(n as u8));
        world.run();
        for (gateway, reply) in [b"1", b"2", b"3"].into_iter().enumerate() {
            world.gateways[gateway].data(session, 0, reply);
        }
        world.run();
    }
    assert!(world.voter.stats().replicas.iter().all(|r| r.state == ReplicaState::Voting));
}

#[test]
fn nobody_of_a_pair_is_condemned_for_differing() {
    for replicas in [2, 3] {
        let memory = Memory::new();
        let mut window = window(1);
        let mut world =
            World::new(&memory, &mut window, &appliance(replicas, OnMismatch::StopSession));
        world.start(replicas);
        if replicas == 3 {
            // The third is out.
            world.restart(2);
            world.run();
        }
        for n in 0..20 {
            let session = id(0, n);
            world.open_from(session, &client(n as u8));
            world.run();
            world.gateways[0].data(session, 0, b"yes");
            world.gateways[1].data(session, 0, b"yet");
            world.run();
            assert_eq!(world.voter.stats().disputes.last().unwrap().kind, DisputeKind::Bytes);
        }
        for replica in 0..2 {
            assert_eq!(world.state(replica), ReplicaState::Voting);
            assert_eq!(world.voter.stats().replicas[replica].reason, None);
        }
        assert_eq!(world.voter.stats().services[0].no_quorum, 20);
    }
}

#[test]
fn who_is_needed_for_a_quorum_is_condemned_when_it_is_not() {
    let memory = Memory::new();
    let mut window = window(8);
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(3);
    // Four sessions are open; then one replica goes. In each the liar shows itself against the one that is
    // left, and one that went after it had agreed.
    for n in 0..4 {
        world.open_from(id(n, 0), &client(n as u8));
    }
    world.run();
    for n in 0..4 {
        world.gateways[0].data(id(n, 0), 0, b"reply");
        world.gateways[1].data(id(n, 0), 0, b"reply");
    }
    world.run();
    world.restart(0);
    world.run();
    for n in 0..4 {
        world.gateways[2].data(id(n, 0), 0, b"a lie");
    }
    world.run();
    assert_eq!(world.state(2), ReplicaState::Voting, "without it nobody would be served");
    world.let_in(&[0]);
    assert_eq!(world.state(0), ReplicaState::Voting);
    world.pass(100);
    world.answer_probes();
    assert_eq!(
        (world.state(2), reason(&world)),
        (ReplicaState::Condemned, Some(Condemnation::Diverged))
    );
}

#[test]
fn of_two_that_are_guilty_at_once_one_stays_until_the_other_is_back() {
    let memory = Memory::new();
    let mut window = window(8);
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(3);
    for n in 0..6 {
        world.open_from(id(n, 0), &client(n as u8));
    }
    world.run();
    for n in 0..6 {
        let liar = if n < 3 { 2 } else { 1 };
        for gateway in 0..3 {
            let reply = if gateway == liar { b"a lie" } else { b"reply" };
            world.gateways[gateway].data(id(n, 0), 0, reply);
        }
    }
    world.run();
    let states = |world: &World<'_>| [1, 2].map(|at| world.state(at));
    assert_eq!(states(&world), [ReplicaState::Condemned, ReplicaState::Voting]);
    world.restart(1);
    world.let_in(&[1]);
    assert_eq!(states(&world), [ReplicaState::Voting, ReplicaState::Condemned]);
}

/// A service with a probe, whose answers come from the test.
fn probed() -> Appliance {
    let mut appliance = appliance(3, OnMismatch::StopSession);
    appliance.services[0].protocol = Protocol::Http1(Default::default());
    appliance.services[0].probe = [b'?'].into();
    appliance
}

/// Answers the probe that is under way; the third replica so, or not at all.
fn answer_probe(world: &mut World<'_>, third: Option<&[u8]>) {
    world.run();
    let heard = world.gateways[0].hear();
    let is_probe = |message: &Message| message.kind == Kind::Open && message.session.index >= 1;
    let probe = heard.iter().rfind(|(message, _)| is_probe(message)).expect("a probe").0.session;
    for (gateway, reply) in [Some(&b"well"[..]), Some(b"well"), third].into_iter().enumerate() {
        let Some(reply) = reply else { continue };
        world.gateways[gateway].data(probe, 0, reply);
        world.gateways[gateway].fin(probe, reply.len() as u64);
    }
    world.run();
}

#[test]
fn a_suspect_is_cleared_or_condemned_by_its_probe() {
    let memory = Memory::new();
    let mut window = window(1);
    let mut world = World::new(&memory, &mut window, &probed());
    world.start(3);
    answer_probe(&mut world, Some(b"well"));
    assert_eq!(world.state(2), ReplicaState::Voting);
    let mut n = 0;
    let mut lose = |world: &mut World<'_>, sessions: u16, client: &str, fault| {
        for _ in 0..sessions {
            serve(world, n, client, Some(fault));
            n += 1;
        }
    };
    lose(&mut world, 2, &client(1), Fault::Bytes);
    assert!(world.gateways[0].hear().iter().all(|(m, _)| m.session.index == 0), "no probe yet");
    lose(&mut world, 1, &client(1), Fault::Bytes);
    answer_probe(&mut world, Some(b"well"));
    // Cleared: what was before counts no more, whoever says so now.
    lose(&mut world, 2, &client(2), Fault::Bytes);
    assert_eq!(world.state(2), ReplicaState::Voting);
    lose(&mut world, 1, &client(2), Fault::Bytes);
    assert_eq!(world.state(2), ReplicaState::Voting);
    answer_probe(&mut world, Some(b"ill!"));
    assert_eq!(
        (world.state(2), reason(&world)),
        (ReplicaState::Condemned, Some(Condemnation::Probe))
    );
}

#[test]
fn who_is_late_is_condemned_if_it_is_late_for_probes_too() {
    for recovers in [false, true] {
        let memory = Memory::new();
        let mut window = window(1);
        let mut world = World::new(&memory, &mut window, &probed());
        world.start(3);
        answer_probe(&mut world, Some(b"well"));
        for n in 0..3 {
            // From different clients: that can be brought about by keeping it busy.
            serve(&mut world, n, &client(n as u8), Some(Fault::Mute));
        }
        assert_eq!(world.state(2), ReplicaState::Voting);
        for _ in 0..2 {
            answer_probe(&mut world, None);
            world.pass(100);
            assert_eq!(world.state(2), ReplicaState::Voting, "now and then everybody is late");
            world.pass(500);
        }
        answer_probe(&mut world, recovers.then_some(b"well"));
        world.pass(100);
        let state = if recovers { ReplicaState::Voting } else { ReplicaState::Condemned };
        assert_eq!(world.state(2), state);
    }
}
