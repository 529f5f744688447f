//! The whole voter over rings: time, and those who take too much of it.

mod common;

use common::*;
use resh_channel::config::OnMismatch;
use resh_channel::message::{Kind, Message, Reason, SessionId};
use resh_channel::stats::{DisputeKind, ReplicaState};
use resh_channel::window::REPLY_CREDIT_BYTES;

#[test]
fn a_silent_half_of_a_pair_stops_the_service() {
    for stops in [OnMismatch::StopService, OnMismatch::StopSession] {
        let memory = Memory::new();
        let mut window = window(1);
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
    let mut window = window(2);
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
    let mut window = window(1);
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
fn download(world: &mut World<'_>, session: SessionId, total: u64) {
    let mut sent = 0;
    let mut waited_ms = 0;
    let mut credit = REPLY_CREDIT_BYTES as u64;
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
    let mut window = window(4);
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
    let mut window = window(1);
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
        let mut window = window(8);
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

/// Lets all three replicas send and the client take, but `laggard` only up to `its`.
struct Download {
    sent: u64,
    its: u64,
}

impl Download {
    fn go_on(&mut self, world: &mut World<'_>, session: SessionId) {
        // As far as the window lets the two others go.
        for _ in 0..64 {
            world.run();
            let credit = world.gateways[0].hear().into_iter().filter_map(|(message, _)| {
                (message.kind == Kind::Credit).then_some(message.offset)
            });
            let credit = credit.max().unwrap_or(self.sent + 8192).min(self.sent + 8192);
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

    fn catch_up(&mut self, world: &mut World<'_>, session: SessionId) {
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
        let mut window = window(1);
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
    let mut window = window(1);
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
fn a_replica_without_a_voice_is_fed_while_it_has_room() {
    let memory = Memory::new();
    let mut window = window(1);
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
            assert!(
                fed <= 65_536 + size_of::<resh_channel::message::Nonce>(),
                "it has no room for that"
            );
        }
    }
    panic!("it was never told");
}

#[test]
fn too_many_draining_sessions_make_room_oldest_first() {
    let memory = Memory::new();
    // A fifth of ten.
    let mut window = window(10);
    let mut world = World::new(&memory, &mut window, &appliance(3, OnMismatch::StopSession));
    world.start(3);
    for index in 0..4 {
        let session = id(index, 0);
        world.open(session);
        world.run();
        for gateway in &mut world.gateways[..2] {
            gateway.fin(session, 0);
        }
        world.say(Message::new(Kind::Fin, session), &[]);
        world.run();
        let closed: Vec<_> = world
            .hear()
            .into_iter()
            .filter(|message| message.kind == Kind::Closed)
            .map(|message| message.session.index)
            .collect();
        let expected = if index < 2 { vec![] } else { vec![index - 2] };
        assert_eq!(closed, expected);
    }
    assert_eq!(world.voter.sessions_in_use(), 2);
    world.gateways[2].fin(id(3, 0), 0);
    world.run();
    assert_eq!(world.voter.sessions_in_use(), 1);
    // To make room early is not to be late.
    assert_eq!(world.voter.stats().disputes_total, 0);
}

/// Whoever let all the time for draining pass was late, however long the budget, and the statistics tell.
#[test]
fn silence_until_the_end_of_draining_is_late_with_any_budget() {
    let memory = Memory::new();
    let mut window = window(2);
    let mut appliance = appliance(3, OnMismatch::StopSession);
    appliance.limits.lag_budget_ms = 5_000;
    let mut world = World::new(&memory, &mut window, &appliance);
    world.start(3);
    let session = id(0, 0);
    world.open(session);
    world.run();
    for gateway in &mut world.gateways[..2] {
        gateway.fin(session, 0);
    }
    world.say(Message::new(Kind::Fin, session), &[]);
    world.run();
    world.pass(500);
    assert_eq!(world.voter.stats().sessions_draining, 1);
    world.pass(1_000);
    assert_eq!((world.voter.sessions_in_use(), world.voter.stats().disputes_total), (0, 1));
    let dispute = world.voter.stats().disputes.last().expect("one dispute");
    assert_eq!((dispute.replica, dispute.kind), (2, DisputeKind::Laggard));
    assert_eq!(world.voter.stats().sessions_draining, 0);
}
