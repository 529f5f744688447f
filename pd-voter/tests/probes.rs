//! The whole voter over rings: who is ready, and when.

mod common;

use common::*;
use resh_channel::config::{Appliance, OnMismatch, Protocol, Service, Transport};
use resh_channel::message::{CONNECTED, Kind, Message, SessionId};
use resh_channel::stats::{Condemnation, ReplicaState};
use resh_channel::supervision::{ASIDE, TAKE_PART};
use resh_channel::window::VOTER_SLOTS;

const ASKED: &[u8] = b"are you well?";
const SLOTS: usize = 2;

/// One service of `http1` with a probe, so that its end is awaited.
fn probed(replicas: usize, on_mismatch: OnMismatch) -> Appliance {
    let mut appliance = appliance(replicas, on_mismatch);
    appliance.services[0].protocol = Protocol::Http1(Default::default());
    appliance.services[0].probe = ASKED.try_into().unwrap();
    appliance
}

/// What a gateway hears of the probe that is under way: its session, after checks of what it is asked.
fn asked(world: &mut World<'_>, gateway: usize, fins: bool) -> SessionId {
    let heard = world.gateways[gateway].hear();
    let at = heard.iter().rposition(|(message, _)| message.kind == Kind::Open).expect("a probe");
    let (open, nonce) = &heard[at];
    assert!(usize::from(open.session.index) >= SLOTS, "a slot of the voter's own");
    assert_eq!((nonce.len(), open.to >> gateway & 1), (16, 1));
    let (data, bytes) = &heard[at + 1];
    assert_eq!((data.kind, data.session, &bytes[..]), (Kind::Data, open.session, ASKED));
    if fins {
        assert_eq!((heard[at + 2].0.kind, heard[at + 2].0.offset), (Kind::Fin, ASKED.len() as u64));
    } else {
        assert_eq!(heard.len(), at + 2);
    }
    open.session
}

fn answer(world: &mut World<'_>, gateway: usize, session: SessionId, reply: &[u8]) {
    world.gateways[gateway].data(session, 0, reply);
    world.gateways[gateway].fin(session, reply.len() as u64);
    world.run();
}

/// Goes to the next probe, and answers it.
fn answers(world: &mut World<'_>, replies: [&[u8]; 3]) {
    world.pass(1_000);
    let session = [0, 1, 2].map(|gateway| asked(world, gateway, true))[0];
    for (gateway, reply) in replies.into_iter().enumerate() {
        answer(world, gateway, session, reply);
    }
}

fn states(world: &World<'_>) -> [ReplicaState; 3] {
    [0, 1, 2].map(|at| world.state(at))
}

use ReplicaState::{Aside, CatchingUp, Condemned, Voting};

#[test]
fn replicas_are_ready_once_a_quorum_has_answered_alike_and_the_network_hears_nothing() {
    let memory = Memory::new();
    let mut window = window(SLOTS);
    let mut world = World::new(&memory, &mut window, &probed(3, OnMismatch::StopSession));
    world.start(3);
    assert_eq!(states(&world), [CatchingUp; 3]);
    // Nobody counts yet.
    world.open(id(0, 0));
    world.run();
    assert_eq!(kinds(&world.hear()), [Kind::Reset, Kind::Closed]);
    let session = [0, 1, 2].map(|gateway| asked(&mut world, gateway, true))[0];
    answer(&mut world, 0, session, b"well");
    assert_eq!(states(&world), [CatchingUp; 3]);
    answer(&mut world, 1, session, b"well");
    answer(&mut world, 2, session, b"ill");
    world.run();
    assert_eq!(states(&world), [Voting, Voting, CatchingUp]);
    assert!(world.hear().is_empty(), "it is no session of the network's");
    let stats = world.voter.stats();
    assert_eq!((stats.disputes_total, stats.sessions_open, stats.services[0].sessions), (0, 0, 0));
    // The third is not counted on before it answers like the others.
    world.open(id(1, 0));
    world.run();
    let heard = world.gateways[0].hear();
    let open = heard.last().unwrap().0;
    assert_eq!((open.kind, open.session, open.to), (Kind::Open, id(1, 0), 0b011));
    world.pass(49);
    assert!(world.gateways[2].hear().iter().all(|(m, _)| m.kind != Kind::Data), "too soon");
    world.pass(1);
    let session = [0, 1, 2].map(|gateway| asked(&mut world, gateway, true))[0];
    for gateway in [2, 0, 1] {
        answer(&mut world, gateway, session, b"quite well");
    }
    assert_eq!(states(&world), [Voting; 3]);
    assert_eq!(world.voter.stats().replicas[2].recovered, 0, "it never was out");
    // Nobody is probed for nothing.
    world.pass(10_000);
    assert!(world.gateways[0].hear().iter().all(|(message, _)| message.kind == Kind::Admit));
}

#[test]
fn probes_come_with_growing_distance() {
    let memory = Memory::new();
    let mut window = window(SLOTS);
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.gateways.iter_mut().for_each(|gateway| gateway.connects = false);
    world.start(3);
    let begin_ms = world.now_ms;
    let mut times = Vec::new();
    let mut last = 0;
    for _ in 0..4_000 {
        world.pass(1);
        world.answer_probes();
        let broadcast = world.gateways[0].broadcast.as_ref().unwrap().tail();
        if broadcast != last {
            times.push(world.now_ms - begin_ms);
        }
        last = broadcast;
    }
    let waits: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.ends_with(&[1_000, 1_000]), "{waits:?}");
    assert!(waits.is_sorted() && times.len() < 10, "{waits:?}");
    // The servers come up: that is found out within a second.
    world.gateways.iter_mut().for_each(|gateway| gateway.connects = true);
    world.pass(1_000);
    world.answer_probes();
    assert_eq!(states(&world), [Voting; 3]);
}

#[test]
fn without_a_quorum_nobody_passes_and_nobody_fails() {
    let memory = Memory::new();
    let mut window = window(SLOTS);
    let mut world = World::new(&memory, &mut window, &probed(3, OnMismatch::StopSession));
    world.start(3);
    let session = [0, 1, 2].map(|gateway| asked(&mut world, gateway, true))[0];
    for (gateway, reply) in [b"1", b"2", b"3"].into_iter().enumerate() {
        answer(&mut world, gateway, session, reply);
    }
    assert_eq!(states(&world), [CatchingUp; 3]);
    // One answers, and nobody else for `reply_ms`.
    world.pass(50);
    let session = asked(&mut world, 0, true);
    answer(&mut world, 0, session, b"1");
    world.pass(499);
    assert!(world.gateways[0].hear().is_empty());
    world.pass(101);
    let next = asked(&mut world, 0, true);
    assert_ne!(next, session);
    // Nobody answers for `connect_ms` and `reply_ms`.
    world.pass(2_499);
    assert!(world.gateways[0].hear().is_empty());
    world.pass(500);
    asked(&mut world, 0, true);
    assert_eq!(states(&world), [CatchingUp; 3]);
    let stats = world.voter.stats();
    assert_eq!((stats.services[0].no_quorum, stats.disputes_total), (0, 0));
}

#[test]
fn servers_of_raw_bytes_need_not_end_the_stream() {
    for transport in [Transport::Tcp, Transport::Udp] {
        let memory = Memory::new();
        let mut window = window(SLOTS);
        let mut appliance = probed(3, OnMismatch::StopSession);
        appliance.services[0].protocol = Protocol::Raw;
        appliance.services[0].transport = transport;
        let ends = transport == Transport::Udp;
        let mut world = World::new(&memory, &mut window, &appliance);
        world.start(3);
        let session = [0, 1, 2].map(|gateway| asked(&mut world, gateway, ends))[0];
        for gateway in 0..3 {
            world.gateways[gateway].data(session, 0, b"220 ready");
            if ends {
                world.gateways[gateway].fin(session, 9);
            }
            world.run();
        }
        assert_eq!(states(&world), [Voting; 3]);
        // One of them is late, and that is found out in time.
        world.restart(1);
        world.let_in(&[1]);
        let session = [0, 1, 2].map(|gateway| asked(&mut world, gateway, ends))[0];
        for gateway in [0, 2] {
            world.gateways[gateway].data(session, 0, b"220 ready");
            world.run();
        }
        if !ends {
            world.pass(100);
            assert_eq!(states(&world), [Voting, CatchingUp, Voting]);
            assert_eq!(world.gateways[0].hear().last().unwrap().0.kind, Kind::Reset);
        }
    }
}

#[test]
fn readiness_is_kept_for_each_service() {
    let memory = Memory::new();
    let mut window = window(SLOTS);
    let mut both = appliance(3, OnMismatch::StopSession);
    let mut second: Service = probed(3, OnMismatch::StopSession).services[0].clone();
    second.name = "other".try_into().unwrap();
    second.listen.set_port(8081);
    both.services.push(second).unwrap();
    let mut world = World::new(&memory, &mut window, &both);
    world.start(3);
    // The first service only asks whether they accept connections.
    assert_eq!(states(&world), [CatchingUp; 3]);
    let session = id(0, 0);
    world.open(session);
    world.say(Message::new(Kind::Open, id(1, 0)).arg(1), b"192.0.2.1:7");
    world.run();
    let heard = world.hear();
    assert_eq!(kinds(&heard), [Kind::Reset, Kind::Closed]);
    assert_eq!(heard[0].session, id(1, 0));
    // The first goes on while the second is probed.
    world.gateways[0].data(session, 0, b"x");
    world.gateways[1].data(session, 0, b"x");
    world.run();
    assert_eq!(kinds(&world.hear()), [Kind::Release]);
    let probe = world.gateways[0].hear().into_iter().rfind(|(m, _)| m.kind == Kind::Data);
    let probe = probe.unwrap().0.session;
    for gateway in 0..3 {
        answer(&mut world, gateway, probe, b"well");
    }
    assert_eq!(states(&world), [Voting; 3]);
}

#[test]
fn who_is_probed_along_and_fails_must_pass_the_next() {
    let memory = Memory::new();
    let mut window = window(SLOTS);
    let mut world = World::new(&memory, &mut window, &probed(3, OnMismatch::StopSession));
    world.start(3);
    answers(&mut world, [b"well"; 3]);
    assert_eq!(states(&world), [Voting; 3]);
    // Replica 2 begins anew; with its first probe replica 0 differs.
    world.restart(2);
    world.let_in(&[2]);
    answers(&mut world, [b"ill", b"well", b"well"]);
    assert_eq!(states(&world), [Voting; 3], "once is no proof");
    // It passes, and then it would take two again.
    answers(&mut world, [b"well"; 3]);
    world.restart(2);
    world.let_in(&[2]);
    answers(&mut world, [b"ill", b"well", b"well"]);
    assert_eq!(states(&world), [Voting; 3]);
    answers(&mut world, [b"ill", b"well", b"well"]);
    assert_eq!(states(&world), [Condemned, Voting, Voting]);
    assert_eq!(world.voter.stats().replicas[0].reason, Some(Condemnation::Probe));
    // Now they are a pair: whatever they answer, nobody is condemned for it.
    world.restart(0);
    world.let_in(&[0]);
    for _ in 0..5 {
        answers(&mut world, [b"1", b"2", b"3"]);
    }
    assert_eq!(states(&world), [CatchingUp, Voting, Voting]);
}

#[test]
fn a_replica_that_never_votes_while_others_do_begins_anew() {
    let memory = Memory::new();
    let mut window = window(SLOTS);
    let mut appliance = appliance(3, OnMismatch::StopSession);
    appliance.recovery.boot_ms = 3_000;
    appliance.recovery.back_off_max_ms = 1_000;
    let mut world = World::new(&memory, &mut window, &appliance);
    world.gateways.iter_mut().for_each(|gateway| gateway.connects = false);
    world.start(3);
    for _ in 0..100 {
        world.pass(100);
        world.answer_probes();
    }
    // Nobody serves: then it is nobody's fault.
    assert_eq!(states(&world), [CatchingUp; 3]);
    world.gateways[0].connects = true;
    world.gateways[1].connects = true;
    for _ in 0..12 {
        world.pass(100);
        world.answer_probes();
    }
    for replica in [2, 0] {
        world.pass(1_000);
        assert_eq!(world.state(replica), [Voting, Voting, Condemned][replica]);
    }
    let late = Some(Condemnation::BootTimeOut);
    assert_eq!(world.voter.stats().replicas[2].reason, late);
    // One that does not even say hello: the supervisor may have to wait before it starts it.
    world.restart(2);
    world.run();
    world.pass(3_999);
    assert_eq!(world.state(2), ReplicaState::Absent);
    world.pass(1);
    assert_eq!(world.state(2), Condemned);
    let stats = &world.voter.stats().replicas[2];
    assert_eq!((stats.condemned, stats.reason, stats.generation), (2, late, 2));
    // In time, it votes.
    world.gateways[2].connects = true;
    world.restart(2);
    world.run();
    world.pass(2_999);
    world.let_in(&[2]);
    assert_eq!(states(&world), [Voting; 3]);
    world.pass(20_000);
    assert_eq!(states(&world), [Voting; 3]);
}

#[test]
fn a_full_ring_delays_a_probe() {
    let memory = Memory::new();
    let mut window = window(SLOTS);
    let mut world = World::new(&memory, &mut window, &appliance(2, OnMismatch::StopSession));
    world.start(2);
    world.open(id(0, 0));
    let mut at = 0;
    while world.try_say(Message::new(Kind::Data, id(0, 0)).at(at), &[7; 8192]) && at < 57_344 {
        at += 8192;
        world.run();
    }
    // Replica 1 is let in anew, where the ring has no room for a probe.
    world.restart(1);
    world.run();
    world.gateways[1].join();
    world.run();
    world.gateways[1].join();
    world.run();
    assert_eq!(world.state(1), CatchingUp);
    world.pass(30);
    world.answer_probes();
    world.pass(30);
    world.answer_probes();
    assert_eq!(world.state(1), Voting);
}

#[test]
fn a_replica_stands_aside_when_nobody_needs_it() {
    let memory = Memory::new();
    let mut window = window(SLOTS);
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(3);
    let session = id(0, 0);
    world.open(session);
    world.say(Message::new(Kind::Data, session), b"?");
    world.run();
    // It leads, and a quorum will do without it.
    world.gateways[2].data(session, 0, b"half");
    world.run();
    world.direct(2, ASIDE);
    world.run();
    assert_eq!(states(&world), [Voting, Voting, Aside]);
    assert_eq!(world.voter.stats().replicas[2].reason, None);
    for gateway in 0..2 {
        world.gateways[gateway].data(session, 0, b"half");
        world.run();
    }
    assert_eq!(kinds(&world.hear()), [Kind::Release]);
    assert_eq!(world.voter.stats().disputes_total, 0);
    // The next one is needed.
    world.direct(1, ASIDE);
    world.pass(1_000);
    assert_eq!(states(&world), [Voting, Voting, Aside]);
    world.direct(1, TAKE_PART);
    // Aside is left by the next generation, and only by that.
    world.direct(2, TAKE_PART);
    world.pass(1_000);
    assert_eq!(world.state(2), Aside);
    world.restart(2);
    world.let_in(&[2]);
    assert_eq!(states(&world), [Voting; 3]);
    let stats = &world.voter.stats().replicas[2];
    assert_eq!((stats.recovered, stats.recovery_ms, stats.condemned), (1, 2_000, 0));
}

#[test]
fn who_is_needed_in_a_session_stays_until_it_is_not() {
    let memory = Memory::new();
    let mut window = window(SLOTS);
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(3);
    let session = id(0, 0);
    world.open(session);
    world.say(Message::new(Kind::Data, session), b"?");
    world.run();
    for (gateway, reply) in [b"yes", b"yes", b"no!"].into_iter().enumerate() {
        world.gateways[gateway].data(session, 0, reply);
        world.run();
    }
    assert_eq!(world.voter.stats().replicas[2].divergences, 1);
    world.direct(0, ASIDE);
    world.run();
    world.pass(300);
    assert_eq!(states(&world), [Voting; 3], "the session would end");
    world.say(Message::new(Kind::Reset, session), &[]);
    world.run();
    world.pass(100);
    assert_eq!(states(&world), [Aside, Voting, Voting]);
}

#[test]
fn who_starts_while_it_is_to_stand_aside_joins_and_does() {
    let memory = Memory::new();
    let mut window = window(SLOTS);
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.gateways[2].connects = false;
    world.direct(2, ASIDE);
    world.start(3);
    world.pass(100);
    assert_eq!(states(&world), [Voting, Voting, Aside]);
}

#[test]
fn the_voters_slots_are_not_the_networks() {
    use pd_voter::voter::{NetworkFault, SetupError, Voter};
    let memory = Memory::new();
    let mut small = vec![0; VOTER_SLOTS * resh_channel::window::SLOT_BYTES];
    let appliance = appliance(3, OnMismatch::StopSession);
    let refused = Voter::new(memory.parts(&mut small), &appliance).err();
    assert_eq!(refused, Some(SetupError::Window));
    let mut window = window(SLOTS);
    let mut world = World::new(&memory, &mut window, &appliance);
    world.start(3);
    world.open(id(SLOTS as u16, 0));
    assert_eq!(world.voter.step(world.now_ms, CLOCK_S), Err(NetworkFault::Open));
    assert_eq!(CONNECTED, b"connected");
}
