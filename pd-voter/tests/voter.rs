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

#[test]
fn three_different_answers_are_nobodys_guilt() {
    let memory = Memory::new();
    let mut window = vec![0; SLOT_BYTES];
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
fn a_silent_half_of_a_pair_stops_the_service() {
    for stops in [OnMismatch::StopService, OnMismatch::StopSession] {
        let memory = Memory::new();
        let mut window = vec![0; SLOT_BYTES];
        let mut world = World::new(&memory, &mut window, &appliance(2, stops));
        world.start(2);
        let session = id(0, 0);
        world.open(session);
        world.run();
        world.pass(10_000);
        assert!(world.hear().is_empty(), "nobody has answered yet, so nobody is silent");
        world.gateways[0].data(session, 0, b"hello");
        world.run();
        world.pass(499);
        assert!(world.hear().is_empty());
        world.pass(1);
        let heard = world.hear();
        assert_eq!(kinds(&heard), [Kind::Reset, Kind::Closed]);
        let stops = stops == OnMismatch::StopService;
        let reason = if stops { Reason::Stopped } else { Reason::NoQuorum };
        assert_eq!(heard[0].arg, reason as u8);
        let stats = world.voter.stats();
        assert_eq!(stats.services[0].stopped_by, stops.then_some(1));
        assert_eq!(stats.disputes[0].kind, DisputeKind::Silence);
        assert_eq!(
            (stats.disputes[0].replica, &stats.disputes[0].expected[..]),
            (1, &b"hello"[..])
        );
    }
}

#[test]
fn half_of_a_pair_that_resets_is_waited_for_and_no_longer() {
    let memory = Memory::new();
    let mut window = vec![0; 2 * SLOT_BYTES];
    let mut world = World::new(&memory, &mut window, &appliance(2, OnMismatch::StopService));
    world.start(2);
    let (both, one) = (id(0, 0), id(1, 0));
    world.open(both);
    world.open(one);
    world.run();
    world.gateways[0].reset(both);
    world.run();
    world.pass(400);
    world.gateways[1].reset(both);
    world.run();
    let heard = world.hear();
    assert_eq!(kinds(&heard), [Kind::Reset, Kind::Closed]);
    assert_eq!(heard[0].arg, Reason::Peer as u8);
    assert_eq!(world.voter.stats().disputes_total, 0);
    world.gateways[1].reset(one);
    world.run();
    world.pass(500);
    assert_eq!(world.hear()[0].arg, Reason::Stopped as u8);
    let dispute = &world.voter.stats().disputes[0];
    assert_eq!((dispute.replica, dispute.kind), (1, DisputeKind::Reset));
}

#[test]
fn one_of_three_that_is_gone_does_not_end_idle_sessions() {
    let memory = Memory::new();
    let mut window = vec![0; SLOT_BYTES];
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(3);
    let session = id(0, 0);
    world.open(session);
    world.run();
    world.gateways[2].reset(session);
    world.run();
    world.pass(60_000);
    assert!(world.hear().is_empty());
    world.gateways[0].data(session, 0, b"late");
    world.gateways[1].data(session, 0, b"late");
    world.run();
    assert_eq!(kinds(&world.hear()), [Kind::Release]);
    let dispute = &world.voter.stats().disputes[0];
    assert_eq!((dispute.replica, dispute.kind), (2, DisputeKind::Reset));
    assert_eq!(world.voter.stats().replicas[2].resets, 1);
}

/// Sends `total` reply bytes from two replicas, while the third stands still.
fn download(world: &mut World<'_>, session: resh_channel::message::SessionId, total: u64) {
    let mut sent = 0;
    let mut waited_ms = 0;
    let mut credit = resh_channel::window::REPLY_CREDIT_BYTES as u64;
    while sent < total {
        for (message, _) in world.gateways[0].hear() {
            if message.kind == Kind::Credit && message.session == session {
                credit = message.offset;
            }
        }
        world.gateways[1].hear();
        let len = (credit - sent).min(total - sent).min(8_192);
        if len == 0 {
            assert!(waited_ms < 1_000, "stuck at {sent}");
            waited_ms += 1;
            world.pass(1);
            continue;
        }
        for gateway in &mut world.gateways[..2] {
            gateway.data(session, sent, &vec![1; len as usize]);
        }
        sent += len;
        world.run();
        world.hear();
        world.say(Message::new(Kind::Taken, session).at(sent), &[]);
        world.run();
    }
}

#[test]
fn a_laggard_is_evicted_after_its_budget_and_has_none_until_it_is_in_time() {
    let memory = Memory::new();
    let mut window = vec![0; 4 * SLOT_BYTES];
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(3);
    let began_ms = world.now_ms;
    let session = id(0, 0);
    world.open(session);
    world.run();
    download(&mut world, session, 1 << 20);
    // The budget is 100 ms.
    assert!((100..=102).contains(&(world.now_ms - began_ms)), "{}", world.now_ms - began_ms);
    let stats = world.voter.stats();
    assert_eq!(stats.disputes[0].kind, DisputeKind::Laggard);
    assert_eq!((stats.replicas[2].evictions, stats.replicas[2].divergences), (1, 0));
    let evicted = |(message, _): &Heard| message.kind == Kind::Evict && message.arg == 2;
    assert!(world.gateways[2].hear().iter().any(evicted));
    // What it sends now is of no interest, and no offence.
    world.gateways[2].data(session, 0, b"late");
    world.run();
    let began_ms = world.now_ms;
    world.open(id(1, 0));
    world.run();
    download(&mut world, id(1, 0), 1 << 20);
    assert!(world.now_ms - began_ms <= 1, "it has no budget");
    // It ends one in time.
    let short = id(2, 0);
    world.open(short);
    world.run();
    for gateway in &mut world.gateways {
        gateway.fin(short, 0);
    }
    world.say(Message::new(Kind::Fin, short), &[]);
    world.run();
    let began_ms = world.now_ms;
    world.open(id(3, 0));
    world.run();
    download(&mut world, id(3, 0), 1 << 20);
    assert!(world.now_ms - began_ms >= 100, "it has a budget again");
    assert_eq!(world.voter.stats().replicas[2].state, ReplicaState::Voting);
}

#[test]
fn a_laggard_in_the_upload_is_evicted() {
    let memory = Memory::new();
    let mut window = vec![0; SLOT_BYTES];
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(3);
    let session = id(0, 0);
    world.open(session);
    for at in 0..8 {
        world.say(Message::new(Kind::Data, session).at(at * 8192), &[7; 8192]);
        world.run();
        for gateway in &mut world.gateways {
            gateway.hear();
        }
    }
    for gateway in [0, 1] {
        let taken = Message::new(Kind::Taken, session).at(65_536);
        world.gateways[gateway].say(taken, &[]);
    }
    world.run();
    world.pass(99);
    assert!(world.hear().is_empty());
    world.pass(1);
    let heard = world.hear();
    assert_eq!((kinds(&heard), heard[0].offset), (vec![Kind::Credit], 131_072));
    assert_eq!(world.voter.stats().disputes[0].kind, DisputeKind::Laggard);
}

#[test]
fn late_bytes_are_compared_and_late_replicas_dropped_after_a_second() {
    for lies in [false, true] {
        let memory = Memory::new();
        let mut window = vec![0; 8 * SLOT_BYTES];
        let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
        world.start(3);
        let session = id(0, 0);
        world.open(session);
        world.run();
        for gateway in &mut world.gateways[..2] {
            gateway.data(session, 0, b"reply");
            gateway.fin(session, 5);
        }
        world.say(Message::new(Kind::Fin, session), &[]);
        world.run();
        world.say(Message::new(Kind::Taken, session).at(5), &[]);
        world.run();
        assert_eq!(kinds(&world.hear()), [Kind::Release, Kind::Fin]);
        world.pass(900);
        if lies {
            world.gateways[2].data(session, 0, b"rest");
            world.run();
        } else {
            assert!(world.hear().is_empty());
            world.pass(100);
        }
        assert_eq!(kinds(&world.hear()), [Kind::Closed]);
        let stats = world.voter.stats();
        let kind = if lies { DisputeKind::Bytes } else { DisputeKind::Laggard };
        assert_eq!((stats.disputes_total, stats.disputes[0].kind), (1, kind));
        assert_eq!(stats.disputes[0].replica, 2);
        // It may still know the session.
        let heard = world.gateways[2].hear();
        assert_eq!(heard.last().unwrap().0.kind, Kind::Reset);
    }
}

#[test]
fn too_few_replicas_are_refused_until_they_are_back() {
    let memory = Memory::new();
    let mut window = vec![0; 2 * SLOT_BYTES];
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(1);
    world.open(id(0, 0));
    world.run();
    let heard = world.hear();
    assert_eq!(kinds(&heard), [Kind::Reset, Kind::Closed]);
    assert_eq!(heard[0].arg, Reason::NoQuorum as u8);
    assert!(world.gateways[0].hear().is_empty());
    world.restart(2);
    for _ in 0..3 {
        world.run();
        world.gateways[2].join();
    }
    world.run();
    world.open(id(0, 1));
    world.run();
    assert!(world.hear().is_empty());
    assert_eq!(world.gateways[2].hear()[0].0.offset, 0b101);
}

#[test]
fn a_domain_that_dies_is_out_at_once() {
    let memory = Memory::new();
    let mut window = vec![0; 2 * SLOT_BYTES];
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
    let mut window = vec![0; 2 * SLOT_BYTES];
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
fn a_voter_that_cannot_tell_the_network_forgets_nothing() {
    let memory = Memory::new();
    let slots = 900;
    let mut window = vec![0; slots * SLOT_BYTES];
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
        assert!(world.wakes() || ended == slots, "the voter waits for room, and was not woken");
        world.run();
    }
    assert_eq!(ended, slots);
    assert!(released.iter().all(|offset| *offset == 8));
}

#[test]
fn a_domain_is_let_in_whatever_the_last_one_left() {
    use resh_channel::memory::Ordering;
    for left in [3, 1 << 40, u64::MAX, 8_000] {
        let memory = Memory::new();
        let mut window = vec![0; SLOT_BYTES];
        let mut world = World::new(&memory, &mut window, &appliance(1, OnMismatch::StopSession));
        world.start(1);
        for word in memory.reply_rings[0].iter().skip(512) {
            word.store(u64::MAX, Ordering::Relaxed);
        }
        memory.reply_rings[0][0].store(left, Ordering::Release);
        world.run();
        memory.broadcast_cursors[0][0].store(left, Ordering::Release);
        world.restart(0);
        for _ in 0..3 {
            world.run();
            world.gateways[0].join();
        }
        world.run();
        let replica = &world.voter.stats().replicas[0];
        assert_eq!((replica.state, replica.generation), (ReplicaState::Voting, 2), "{left}");
        world.open(id(0, 0));
        world.run();
        assert_eq!(world.gateways[0].hear().len(), 1);
    }
}

#[test]
fn statistics_are_published_and_soon_after_a_dispute() {
    let memory = Memory::new();
    let mut window = vec![0; SLOT_BYTES];
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
fn a_pair_without_one_of_its_domains_stops_only_if_somebody_was_served() {
    for open in [false, true] {
        let memory = Memory::new();
        let mut window = vec![0; 2 * SLOT_BYTES];
        let mut world = World::new(&memory, &mut window, &appliance(2, OnMismatch::StopService));
        world.start(2);
        if open {
            world.open(id(0, 0));
            world.run();
        }
        world.restart(1);
        for _ in 0..3 {
            world.run();
            world.gateways[1].join();
        }
        world.run();
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
        let mut window = vec![0; SLOT_BYTES];
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
        let mut window = vec![0; SLOT_BYTES];
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
    let mut window = vec![0; SLOT_BYTES];
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

/// Lets all three replicas send and the client take, but `laggard` only up to `its`.
struct Download {
    sent: u64,
    its: u64,
}

impl Download {
    fn go_on(&mut self, world: &mut World<'_>, session: resh_channel::message::SessionId) {
        // As far as the window lets the two others go.
        for _ in 0..64 {
            world.run();
            let credit = world.gateways[0].hear().into_iter().filter_map(|(message, _)| {
                (message.kind == Kind::Credit).then_some(message.offset)
            });
            let credit = credit.last().unwrap_or(self.sent + 8192).min(self.sent + 8192);
            for gateway in &mut world.gateways[..2] {
                gateway.hear();
                gateway.data(session, self.sent, &vec![1; (credit - self.sent) as usize]);
            }
            self.sent = credit;
            world.run();
            world.hear();
            world.say(Message::new(Kind::Taken, session).at(self.sent), &[]);
            if self.sent >= self.its + 128 * 1024 {
                break;
            }
        }
        world.run();
    }

    fn catch_up(&mut self, world: &mut World<'_>, session: resh_channel::message::SessionId) {
        while self.its < self.sent {
            let len = (self.sent - self.its).min(8192);
            world.gateways[2].data(session, self.its, &vec![1; len as usize]);
            world.gateways[2].hear();
            self.its += len;
            world.run();
        }
    }
}

#[test]
fn waiting_adds_up_and_is_forgotten_slowly() {
    for (rest_ms, evicted) in [(0, true), (160, true), (480, false)] {
        let memory = Memory::new();
        let mut window = vec![0; SLOT_BYTES];
        let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
        world.start(3);
        let session = id(0, 0);
        world.open(session);
        let mut download = Download { sent: 0, its: 0 };
        for _ in 0..2 {
            download.go_on(&mut world, session);
            assert_eq!(world.voter.stats().disputes_total, 0);
            world.pass(70);
            if world.voter.stats().disputes_total > 0 {
                break;
            }
            download.catch_up(&mut world, session);
            world.pass(rest_ms);
        }
        // The budget is 100 ms, of which 1 ms in 8 grows back.
        assert_eq!(world.voter.stats().disputes_total, u64::from(evicted), "{rest_ms}");
    }
}

#[test]
fn a_pair_that_makes_progress_is_not_silent() {
    let memory = Memory::new();
    let mut window = vec![0; SLOT_BYTES];
    let mut world = World::new(&memory, &mut window, &appliance(2, OnMismatch::StopService));
    world.start(2);
    let session = id(0, 0);
    world.open(session);
    world.run();
    for at in 0..5 {
        // One is always ahead, and the other follows within `reply_ms`.
        world.gateways[0].data(session, 2 * at, b"xx");
        world.run();
        world.pass(300);
        world.gateways[1].data(session, 2 * at, b"x");
        world.run();
        world.pass(300);
        world.gateways[1].data(session, 2 * at + 1, b"x");
        world.run();
    }
    assert_eq!(world.voter.stats().disputes_total, 0);
    assert_eq!(world.voter.stats().services[0].reply_bytes, 10);
}

#[test]
fn a_client_may_go_on_after_the_reply_has_ended() {
    let memory = Memory::new();
    let mut window = vec![0; SLOT_BYTES];
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
fn a_replica_without_a_voice_is_fed_while_it_has_room() {
    let memory = Memory::new();
    let mut window = vec![0; SLOT_BYTES];
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(3);
    let session = id(0, 0);
    world.open(session);
    world.run();
    for (gateway, reply) in [b"a", b"a", b"b"].into_iter().enumerate() {
        world.gateways[gateway].data(session, 0, reply);
    }
    world.run();
    assert_eq!(world.voter.stats().replicas[2].divergences, 1);
    let mut fed = 0;
    for at in 0..16 {
        world.say(Message::new(Kind::Data, session).at(at * 8192), &[7; 8192]);
        world.run();
        for gateway in &mut world.gateways[..2] {
            gateway.hear();
            gateway.say(Message::new(Kind::Taken, session).at((at + 1) * 8192), &[]);
        }
        world.run();
        world.hear();
        for (message, payload) in world.gateways[2].hear() {
            if message.kind == Kind::Evict {
                assert_eq!((message.arg, world.voter.stats().replicas[2].evictions), (2, 0));
                return;
            }
            fed += payload.len();
            assert!(fed <= 65_536 + b"client".len(), "it has no room for that");
        }
    }
    panic!("it was never told");
}

#[test]
fn an_index_is_free_only_when_the_gateways_were_told() {
    let memory = Memory::new();
    let mut window = vec![0; 2 * SLOT_BYTES];
    let mut appliance = appliance(1, OnMismatch::StopSession);
    appliance.limits.lag_budget_ms = 10_000;
    let mut world = World::new(&memory, &mut window, &appliance);
    world.start(1);
    let (session, other) = (id(0, 0), id(1, 0));
    world.open(session);
    world.open(other);
    world.run();
    for at in 0..7 {
        world.say(Message::new(Kind::Data, session).at(at * 8192), &[7; 8192]);
        world.run();
    }
    // Fill what is left of the ring, down to the last record.
    let mut at = 0;
    for len in [8192, 1024, 8, 0] {
        while world.voter.arm() && at + len < 65_536 {
            world.say(Message::new(Kind::Data, other).at(at), &vec![7; len as usize]);
            at += len;
            world.voter.step(world.now_ms, CLOCK_S).unwrap();
            if len == 0 && world.voter.deadline_ms() == Some(world.now_ms + 10) {
                break;
            }
        }
    }
    world.hear();
    world.say(Message::new(Kind::Reset, session), &[]);
    for _ in 0..10 {
        world.voter.step(world.now_ms, CLOCK_S).unwrap();
        assert!(!kinds(&world.hear()).contains(&Kind::Closed), "the gateway knows it still");
    }
    let mut reset = false;
    let mut closed = false;
    for _ in 0..10 {
        world.run();
        closed |= kinds(&world.hear()).contains(&Kind::Closed);
        let heard = world.gateways[0].hear();
        reset |= heard.iter().any(|(m, _)| m.kind == Kind::Reset && m.session == session);
    }
    assert!(reset && closed);
}

#[test]
fn a_network_that_waits_for_room_is_woken() {
    let memory = Memory::new();
    let mut window = vec![0; SLOT_BYTES];
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
