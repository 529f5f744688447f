//! Total order in the whole voter, rule by rule.

mod common;
mod order_model;

use common::*;
use order_model::gateway::{Fault, TotalGateway};
use pd_voter::order::limits::{CLIENT_HOLD_MS, LOG_BYTES_MIN, SHARE_BYTES};
use pd_voter::voter::{SetupError, Voter};
use resh_channel::config::{Appliance, OnMismatch, Order, Protocol, State};
use resh_channel::message::{Kind, MAX_PAYLOAD_BYTES, Message, Reason, SessionId};
use resh_channel::stats::{Condemnation, LogState, OrderStats, ReplicaState};
use resh_channel::window::{REPLY_CREDIT_BYTES, SLOT_BYTES, VOTER_SLOTS};

const SLOTS: usize = 8;
const REPLY_MS: u64 = 500;

fn total(replicas: usize, state: State) -> Appliance {
    let mut appliance = appliance(replicas, OnMismatch::StopSession);
    appliance.services[0].order = Order::Total;
    appliance.services[0].protocol = Protocol::Resp;
    appliance.services[0].state = state;
    appliance.limits.sessions = SLOTS as u16;
    appliance
}

fn order_region(logs: usize) -> Vec<u8> {
    vec![0; (SLOTS + VOTER_SLOTS) * SHARE_BYTES + logs]
}

/// A voter, gateways that execute, and clients that do what the test says.
struct Rig<'m> {
    world: World<'m>,
    gateways: [TotalGateway; 3],
    /// What the network was told.
    told: Vec<Message>,
}

impl<'m> Rig<'m> {
    fn new(world: World<'m>, replicas: usize) -> Self {
        let mut rig = Self { world, gateways: Default::default(), told: Vec::new() };
        (0..replicas).for_each(|replica| rig.restart(replica));
        rig.go(20);
        for replica in 0..replicas {
            assert_eq!(rig.world.state(replica), ReplicaState::Voting);
        }
        rig
    }

    fn restart(&mut self, replica: usize) {
        self.gateways[replica] = TotalGateway::default();
        self.world.restart(replica);
    }

    /// So many turns of everybody, a millisecond each.
    fn go(&mut self, turns: usize) {
        for _ in 0..turns {
            self.world.now_ms += 1;
            self.world.run();
            for at in 0..3 {
                self.gateway(at);
            }
            self.world.run();
            self.told.extend(self.world.hear());
        }
    }

    fn gateway(&mut self, at: usize) {
        self.gateway_acts(at, 64);
    }

    fn gateway_acts(&mut self, at: usize, times: usize) {
        let gateway = &mut self.world.gateways[at];
        if !gateway.is_in() {
            if gateway.generation > 0 {
                gateway.join();
            }
            return;
        }
        for (message, payload) in gateway.hear_some(usize::MAX).unwrap_or_default() {
            self.gateways[at].hear(message, &payload, at);
        }
        for _ in 0..times {
            self.gateways[at].act(MAX_PAYLOAD_BYTES);
            while let Some((message, payload)) = self.gateways[at].outbox.pop_front() {
                if !self.world.gateways[at].try_say(message, &payload) {
                    self.gateways[at].outbox.push_front((message, payload));
                    return;
                }
            }
        }
    }

    fn open(&mut self, index: u16) -> SessionId {
        let id = id(index, 1);
        self.world.open(id);
        id
    }

    fn send(&mut self, id: SessionId, offset: usize, bytes: &[u8]) {
        self.world.say(Message::new(Kind::Data, id).at(offset as u64), bytes);
    }

    /// What was released to a client.
    fn heard(&self, id: SessionId) -> Vec<u8> {
        let released = self
            .told
            .iter()
            .rev()
            .find(|message| message.kind == Kind::Release && message.session == id);
        self.world.released(id, 0, released.map_or(0, |message| message.offset))
    }

    fn reset(&self, id: SessionId) -> Option<Reason> {
        let is_its = |message: &&Message| message.kind == Kind::Reset && message.session == id;
        self.told.iter().find(is_its).and_then(|message| Reason::from_u8(message.arg))
    }

    fn closed(&self, id: SessionId) -> bool {
        self.told.iter().any(|message| message.kind == Kind::Closed && message.session == id)
    }

    fn order(&mut self) -> OrderStats {
        self.world.pass(100);
        self.world.voter.stats().services[0].order.expect("it has one")
    }

    fn taken(&mut self, id: SessionId) {
        let heard = self.heard(id).len() as u64;
        self.world.say(Message::new(Kind::Taken, id).at(heard), &[]);
    }
}

/// Runs a test with a fresh rig.
fn with_rig(appliance: &Appliance, logs: usize, test: impl FnOnce(Rig<'_>)) {
    let memory = Memory::with_rings(4 * RING_WORDS);
    let mut window = vec![0; SLOT_BYTES * (SLOTS + VOTER_SLOTS)];
    let mut order = order_region(logs);
    let world = World::with_order(&memory, &mut window, &mut order, appliance);
    test(Rig::new(world, appliance.services[0].replicas.len()));
}

#[test]
fn pieces_of_several_clients_are_executed_as_whole_requests() {
    with_rig(&total(3, State::Replay), 1 << 20, |mut rig| {
        let (a, b) = (rig.open(0), rig.open(1));
        rig.send(a, 0, b"Sk=");
        rig.go(5);
        rig.send(b, 0, b"Sk=two\nGk");
        rig.go(5);
        assert!(rig.heard(a).is_empty());
        assert_eq!(rig.heard(b), b"+\n");
        rig.send(a, 3, b"one\n");
        rig.go(5);
        rig.send(b, 9, b"\n");
        rig.go(5);
        assert_eq!((rig.heard(a).len(), rig.heard(b).len()), (6, 12));
        let order = rig.order();
        assert_eq!((order.requests, order.log, order.exports), (3, LogState::Whole, 0));
        assert!(rig.gateways.iter().all(|gateway| gateway.executed == 3));
    });
}

#[test]
fn without_an_answer_of_a_quorum_the_service_stops() {
    with_rig(&total(3, State::Replay), 1 << 20, |mut rig| {
        rig.gateways[0].fault = Fault::Mute;
        rig.gateways[1].fault = Fault::Mute;
        let (a, b) = (rig.open(0), rig.open(1));
        rig.go(1);
        // Framers work, executors do not.
        for at in [0, 1] {
            rig.gateways[at].fault = Fault::None;
        }
        rig.send(a, 0, b"Sk=v\n");
        rig.world.run();
        for at in 0..3 {
            let heard = rig.world.gateways[at].hear();
            let id =
                heard.iter().find(|(message, _)| message.kind == Kind::Data).unwrap().0.session;
            let framed = Message::new(Kind::Framed, id).at(5);
            rig.world.gateways[at].say(framed, &[]);
        }
        rig.world.run();
        rig.world.pass(REPLY_MS - 1);
        rig.told.extend(rig.world.hear());
        assert_eq!(rig.reset(a), None);
        rig.world.pass(20);
        rig.told.extend(rig.world.hear());
        assert_eq!((rig.reset(a), rig.reset(b)), (Some(Reason::Stopped), Some(Reason::Stopped)));
        rig.open(2);
        rig.world.run();
        rig.told.extend(rig.world.hear());
        assert_eq!(rig.reset(id(2, 1)), Some(Reason::Stopped));
    });
}

#[test]
fn a_client_that_does_not_take_its_reply_holds_up_others_for_a_while_only() {
    let mut appliance = total(3, State::Replay);
    appliance.limits.reply_ms = 4_000;
    with_rig(&appliance, 4 << 20, |mut rig| {
        let (a, b) = (rig.open(0), rig.open(1));
        let long = [b"Sk=", &[b'x'; 20_000][..], b"\n"].concat();
        rig.send(b, 0, &long);
        rig.go(5);
        rig.taken(b);
        rig.send(a, 0, &b"Gk\n".repeat(6));
        rig.go(5);
        assert_eq!(rig.heard(a).len(), REPLY_CREDIT_BYTES);
        rig.send(b, long.len(), b"Gk\n");
        rig.go(CLIENT_HOLD_MS as usize / 4);
        // It takes a little, and begins anew.
        rig.world.say(Message::new(Kind::Taken, a).at(1), &[]);
        let before = rig.heard(b).len();
        rig.go(CLIENT_HOLD_MS as usize / 4);
        assert_eq!((rig.reset(a), rig.heard(b).len()), (None, before));
        rig.go(CLIENT_HOLD_MS as usize);
        assert_eq!(rig.reset(a), Some(Reason::TimeOut));
        assert!(rig.heard(b).len() > before + 20_000);
        assert_eq!(rig.reset(b), None);
        assert!(rig.closed(a));
    });
}

#[test]
fn what_was_ordered_is_executed_after_its_client_left_and_before_its_index_is_free() {
    with_rig(&total(3, State::Replay), 1 << 20, |mut rig| {
        let a = rig.open(0);
        rig.go(2);
        rig.send(a, 0, b"D1\nSk=v\nSk=w");
        rig.world.run();
        (0..3).for_each(|at| rig.gateway(at));
        rig.world.run();
        // Ordered, and on its way; one replica takes its time.
        rig.world.say(Message::new(Kind::Reset, a).arg(Reason::Peer as u8), &[]);
        for _ in 0..5 {
            rig.world.run();
            (0..2).for_each(|at| rig.gateway(at));
        }
        rig.told.extend(rig.world.hear());
        assert_eq!((rig.gateways[0].executed, rig.gateways[2].executed), (2, 0));
        assert!(!rig.closed(a));
        rig.go(5);
        assert!(rig.closed(a));
        let stores: Vec<_> = rig.gateways.iter().map(|gateway| &gateway.store).collect();
        assert!(stores.iter().all(|store| store.keys.len() == 1 && store.databases.is_empty()));
    });
}

#[test]
fn who_fell_far_behind_is_condemned_after_a_while_and_not_at_once() {
    with_rig(&total(3, State::None), 0, |mut rig| {
        rig.gateways[2].fault = Fault::Mute;
        let a = rig.open(0);
        rig.go(1);
        rig.send(a, 0, b"Gk\n");
        rig.go(REPLY_MS as usize - 10);
        assert_eq!(rig.heard(a), b"=\n");
        assert_eq!(rig.world.state(2), ReplicaState::Voting);
        rig.go(20);
        assert_eq!(rig.world.state(2), ReplicaState::Condemned);
        assert_eq!(rig.world.voter.stats().replicas[2].reason, Some(Condemnation::Behind));
        rig.send(a, 3, b"Gk\n");
        rig.go(5);
        assert_eq!(rig.heard(a), b"=\n=\n");
        // The next one is needed: nobody is condemned, and nobody gets anything.
        rig.gateways[1].fault = Fault::Mute;
        rig.send(a, 6, b"Gk\n");
        rig.go(2 * REPLY_MS as usize);
        assert_eq!(rig.world.state(1), ReplicaState::Voting);
        assert!(rig.reset(a).is_some());
    });
}

/// Two replicas are fast; the third executes one request in so many milliseconds. How far they came in four seconds.
fn with_a_slow_one(every_ms: usize) -> (u64, ReplicaState) {
    let mut come = (0, ReplicaState::Absent);
    with_rig(&total(3, State::None), 0, |mut rig| {
        let clients = [rig.open(0), rig.open(1)];
        rig.go(1);
        let mut sent = 0;
        for turn in 0..4_000 {
            // Two each millisecond, as far as the credit allows.
            if turn % 32 == 0 {
                let credit = rig.gateways[0].consumed(clients[0]) as usize;
                if sent < credit + 32 * 3 {
                    clients.iter().for_each(|client| rig.send(*client, sent, &b"Gk\n".repeat(32)));
                    sent += 32 * 3;
                }
            }
            rig.world.now_ms += 1;
            rig.world.run();
            (0..2).for_each(|at| rig.gateway(at));
            if turn % every_ms == 0 {
                rig.gateway_acts(2, 1);
            } else {
                rig.gateway_acts(2, 0);
            }
            rig.world.run();
            rig.told.extend(rig.world.hear());
            clients.iter().for_each(|client| rig.taken(*client));
        }
        let executed = rig.gateways[0].executed;
        come = (executed, rig.world.state(2));
    });
    come
}

#[test]
fn the_order_waits_for_a_slower_replica_but_not_for_a_slow_one() {
    let (executed, state) = with_a_slow_one(1);
    assert_eq!(state, ReplicaState::Voting);
    assert!((4_500..5_500).contains(&executed), "{executed}");
    let (executed, state) = with_a_slow_one(20);
    assert_eq!(state, ReplicaState::Condemned);
    assert!(executed > 7_000, "{executed}");
}

#[test]
fn a_full_log_is_said_and_the_service_goes_on() {
    with_rig(&total(3, State::Replay), LOG_BYTES_MIN, |mut rig| {
        let a = rig.open(0);
        let long = [b"Sk=", &[b'x'; 20_000][..], b"\n"].concat();
        for at in 0..LOG_BYTES_MIN / 20_000 + 1 {
            rig.send(a, at * long.len(), &long);
            rig.go(5);
            rig.taken(a);
        }
        let order = rig.order();
        assert_eq!(order.log, LogState::Lost);
        assert_eq!(order.requests, (LOG_BYTES_MIN / 20_000) as u64 + 1);
        rig.restart(2);
        rig.go(100);
        rig.world.pass(200_000);
        rig.go(5);
        // It is not begun anew again and again, for that would not help.
        assert_eq!(rig.world.state(2), ReplicaState::CatchingUp);
        let before = rig.heard(a).len();
        rig.send(a, order.requests as usize * long.len(), b"Gx\n");
        rig.go(5);
        assert_eq!(rig.heard(a).len(), before + 2);
    });
}

#[test]
fn a_falsified_dump_is_outvoted() {
    with_rig(&total(3, State::Export), LOG_BYTES_MIN, |mut rig| {
        let a = rig.open(0);
        let mut sent = 0;
        rig.send(a, sent, b"D1\n");
        sent += 3;
        rig.go(5);
        for _ in 0..20 {
            let set = [b"Sk=", &[b'x'; 5_000][..], b"\n"].concat();
            rig.send(a, sent, &set);
            sent += set.len();
            rig.go(5);
            rig.taken(a);
        }
        assert!(rig.order().exports > 0);
        rig.gateways[0].fault = Fault::Falsifies;
        let before = rig.order().exports;
        for _ in 0..20 {
            let set = [b"Sk=", &[b'y'; 5_000][..], b"\n"].concat();
            rig.send(a, sent, &set);
            sent += set.len();
            rig.go(5);
            rig.taken(a);
        }
        assert!(rig.order().exports > before);
        assert_eq!(rig.world.voter.stats().replicas[0].divergences, 1);
        assert_eq!(rig.world.voter.stats().replicas[0].reason, Some(Condemnation::Diverged));
        rig.restart(0);
        rig.go(50);
        rig.restart(2);
        rig.go(50);
        assert_eq!(rig.world.state(2), ReplicaState::Voting);
        assert_eq!(rig.gateways[2].store, rig.gateways[1].store);
        assert!(rig.gateways[2].replayed < 40);
        // The session that lived through all that is still in its database, on the newcomer too.
        rig.send(a, sent, b"Sq=1\n");
        rig.go(5);
        assert!(rig.gateways[2].has_voice(a));
        assert!(rig.gateways[2].store.keys.contains_key(&(b'1', b"q".to_vec())));
    });
}

#[test]
fn a_pair_that_frames_differently_has_no_quorum() {
    with_rig(&total(2, State::Replay), 1 << 20, |mut rig| {
        rig.gateways[1].fault = Fault::Misframes;
        let a = rig.open(0);
        rig.send(a, 0, b"Gk\n");
        rig.go(10);
        assert_eq!(rig.reset(a), Some(Reason::NoQuorum));
        assert_eq!(rig.world.state(1), ReplicaState::Voting);
        assert_eq!(rig.order().requests, 0);
    });
}

#[test]
fn of_three_the_one_that_frames_differently_is_condemned() {
    with_rig(&total(3, State::Replay), 1 << 20, |mut rig| {
        rig.gateways[1].fault = Fault::Misframes;
        let a = rig.open(0);
        rig.send(a, 0, b"Gk\n");
        rig.go(10);
        assert_eq!(rig.heard(a), b"=\n");
        assert_eq!(rig.world.voter.stats().replicas[1].reason, Some(Condemnation::Framing));
    });
}

#[test]
fn who_drops_a_connection_has_lost_its_state() {
    for (state, reason) in [(State::Replay, Some(Condemnation::Diverged)), (State::None, None)] {
        with_rig(&total(3, state), 1 << 20, |mut rig| {
            let a = rig.open(0);
            rig.send(a, 0, b"Gk\n");
            rig.go(10);
            assert_eq!(rig.heard(a), b"=\n");
            rig.world.gateways[1]
                .say(Message::new(Kind::Reset, a).arg(Reason::Peer as u8).at(2), &[]);
            rig.world.run();
            assert_eq!(rig.world.voter.stats().replicas[1].reason, None, "nobody went on yet");
            rig.send(a, 3, b"Gk\n");
            for _ in 0..10 {
                rig.gateway(0);
                rig.gateway(2);
                rig.world.run();
                rig.told.extend(rig.world.hear());
            }
            assert_eq!(rig.heard(a), b"=\n=\n");
            assert_eq!(rig.world.voter.stats().replicas[1].reason, reason, "{state:?}");
        });
    }
}

#[test]
fn memory_is_bounded() {
    let appliance = total(3, State::Replay);
    let memory = Memory::new();
    let mut window = vec![0; SLOT_BYTES * (SLOTS + VOTER_SLOTS)];
    for (logs, fits) in [(LOG_BYTES_MIN, true), (LOG_BYTES_MIN - 8, false)] {
        let mut region = order_region(logs);
        let parts = pd_voter::voter::Parts { order: &mut region, ..memory.parts(&mut window) };
        let made = Voter::new(parts, &appliance);
        assert_eq!(made.err(), (!fits).then_some(SetupError::Order));
    }
    // Sessions beyond those configured find no share.
    let mut few = total(3, State::None);
    few.limits.sessions = 1;
    with_rig(&few, 0, |mut rig| {
        for index in 0..SLOTS as u16 {
            rig.open(index);
        }
        rig.go(5);
        let refused = (0..SLOTS as u16).filter(|at| rig.reset(id(*at, 1)) == Some(Reason::Limit));
        assert_eq!(refused.count(), SLOTS - 1 - VOTER_SLOTS);
    });
}
