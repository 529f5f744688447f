//! The whole voter over its rings, with a service in total order: clients, gateways that execute, deaths, lies,
//! recoveries and exports. Virtual time.

mod common;
mod order_model;
#[path = "common/random.rs"]
mod random;

use std::collections::BTreeMap;

use common::*;
use order_model::Store;
use order_model::gateway::{Fault, TotalGateway};
use pd_voter::order::limits::SHARE_BYTES;
use random::{Random, for_each_seed};
use resh_channel::config::{Appliance, OnMismatch, Order, State};
use resh_channel::message::{
    Kind, MAX_PAYLOAD_BYTES, Message, OrderedHead, Reason, Request, SessionId,
};
use resh_channel::stats::ReplicaState;
use resh_channel::window::{REQUEST_CREDIT_BYTES, SLOT_BYTES, VOTER_SLOTS};

const SLOTS: usize = 6;

fn total(replicas: usize, state: State) -> Appliance {
    let mut appliance = appliance(replicas, OnMismatch::StopSession);
    appliance.services[0].order = Order::Total;
    appliance.services[0].state = state;
    appliance.limits.sessions = SLOTS as u16;
    appliance
}

struct Client {
    id: SessionId,
    /// All that it sends.
    plan: Vec<u8>,
    sent: usize,
    credit: u64,
    released: u64,
    heard: Vec<u8>,
    fin_sent: bool,
    fin: bool,
    reset: Option<Reason>,
    left: bool,
    closed: bool,
}

struct Sim<'m> {
    world: World<'m>,
    random: Random,
    gateways: [TotalGateway; 3],
    clients: Vec<Client>,
    generations: [u16; SLOTS],
    /// All that was ordered, by number.
    order: BTreeMap<u64, (SessionId, Vec<u8>)>,
    replicas: usize,
    served: usize,
    resets: Vec<Reason>,
    faults: u64,
}

impl<'m> Sim<'m> {
    fn new(world: World<'m>, replicas: usize, seed: u64) -> Self {
        let mut sim = Self {
            world,
            random: Random::new(seed),
            gateways: Default::default(),
            clients: Vec::new(),
            generations: [0; SLOTS],
            order: BTreeMap::new(),
            replicas,
            served: 0,
            resets: Vec::new(),
            faults: 0,
        };
        (0..replicas).for_each(|replica| sim.world.restart(replica));
        sim.rounds(2_000, |sim| sim.voting() == replicas);
        sim
    }

    fn voting(&self) -> usize {
        (0..self.replicas).filter(|at| self.world.state(*at) == ReplicaState::Voting).count()
    }

    /// Whether all vote, in all sessions: then one can be lost without anybody noticing.
    fn is_whole(&self) -> bool {
        let all = |client: &Client| self.gateways.iter().all(|g| g.takes_part(client.id));
        let healthy = self.gateways.iter().all(|gateway| gateway.fault == Fault::None);
        self.voting() == self.replicas && healthy && self.clients.iter().all(all)
    }

    /// Ends a replica's domain, and begins the next life with nothing in its store.
    fn restart(&mut self, replica: usize) {
        self.gateways[replica] = TotalGateway::default();
        self.world.restart(replica);
    }

    /// At most so many rounds, until `done`.
    fn rounds(&mut self, most: usize, done: impl Fn(&Self) -> bool) {
        for _ in 0..most {
            if done(self) {
                return;
            }
            self.round();
        }
        let stats = self.world.voter.stats();
        panic!("not done: {stats:#?}");
    }

    fn round(&mut self) {
        self.world.now_ms += self.random.below(3) as u64;
        if self.world.wakes() {
            self.world.run();
        }
        for at in 0..self.replicas {
            if !self.random.once_in(4) {
                self.gateway(at);
            }
            // The supervisor.
            if self.world.state(at) == ReplicaState::Condemned && self.random.once_in(20) {
                self.restart(at);
            }
        }
        self.network();
        for at in 0..self.clients.len() {
            self.client(at);
        }
        self.clients.retain(|client| !client.closed);
    }

    fn gateway(&mut self, at: usize) {
        if !self.world.gateways[at].is_in() {
            self.world.gateways[at].join();
            return;
        }
        let condemned = self.world.state(at) == ReplicaState::Condemned;
        for (message, payload) in self.world.gateways[at].hear_some(64).unwrap_or_default() {
            if message.kind == Kind::Ordered && !Request(message.arg).is(Request::REPLAY) {
                let request = payload[size_of::<OrderedHead>()..].to_vec();
                let entry = (message.session, request);
                let known = self.order.entry(message.offset).or_insert_with(|| entry.clone());
                assert_eq!(*known, entry, "all hear the same");
            }
            self.gateways[at].hear(message, &payload, at);
        }
        if condemned {
            return;
        }
        let cut = self.random.pick(&[1, 100, MAX_PAYLOAD_BYTES]);
        for _ in 0..self.random.below(6) {
            self.gateways[at].act(cut);
        }
        while let Some((message, payload)) = self.gateways[at].outbox.front() {
            if !self.world.gateways[at].try_say(*message, payload) {
                break;
            }
            self.gateways[at].outbox.pop_front();
        }
    }

    fn plan(&mut self) -> Vec<u8> {
        let mut plan = Vec::new();
        let long = self.random.once_in(4);
        for _ in 0..self.random.below(40) {
            let key = b'a' + self.random.below(5) as u8;
            match self.random.below(6) {
                0 => plan.extend_from_slice(&[b'D', b'0' + self.random.below(3) as u8, b'\n']),
                1 | 2 => plan.extend_from_slice(&[b'G', key, b'\n']),
                _ => {
                    let len = self.random.below(if long { 20_000 } else { 40 });
                    plan.extend_from_slice(&[b'S', key, b'=']);
                    plan.extend((0..len).map(|at| b'A' + (at % 26) as u8));
                    plan.push(b'\n');
                }
            }
        }
        plan
    }

    fn open(&mut self) {
        let free = |at: &u16| self.clients.iter().all(|client| client.id.index != *at);
        let Some(index) = (0..SLOTS as u16).find(free) else { return };
        let generation = &mut self.generations[usize::from(index)];
        *generation += 1;
        let id = id(index, *generation);
        let address = format!("192.0.2.{}:1024", self.random.below(4));
        if !self.world.try_say(Message::new(Kind::Open, id), address.as_bytes()) {
            return;
        }
        let plan = self.plan();
        self.clients.push(Client {
            id,
            plan,
            sent: 0,
            credit: REQUEST_CREDIT_BYTES as u64,
            released: 0,
            heard: Vec::new(),
            fin_sent: false,
            fin: false,
            reset: None,
            left: false,
            closed: false,
        });
    }

    fn client(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if client.reset.is_some() || client.left || self.random.once_in(3) {
            return;
        }
        if self.random.once_in(600) {
            let gone = Message::new(Kind::Reset, client.id).arg(Reason::Peer as u8);
            client.left = self.world.try_say(gone, &[]);
            return;
        }
        let room = (client.credit - client.sent as u64) as usize;
        let room = room.min(client.plan.len() - client.sent).min(MAX_PAYLOAD_BYTES);
        if room > 0 {
            let len = 1 + self.random.below(room);
            let data = Message::new(Kind::Data, client.id).at(client.sent as u64);
            if self.world.try_say(data, &client.plan[client.sent..client.sent + len]) {
                client.sent += len;
            }
        } else if client.sent == client.plan.len() && !client.fin_sent {
            let fin = Message::new(Kind::Fin, client.id).at(client.sent as u64);
            client.fin_sent = self.random.once_in(4) && self.world.try_say(fin, &[]);
        }
        let had = client.heard.len() as u64;
        if had < client.released {
            let take = 1 + self.random.below((client.released - had) as usize) as u64;
            let bytes = self.world.released(client.id, had, had + take);
            if self.world.try_say(Message::new(Kind::Taken, client.id).at(had + take), &[]) {
                client.heard.extend(bytes);
            }
        }
    }

    fn network(&mut self) {
        for message in self.world.hear() {
            let client = self.clients.iter_mut().find(|client| client.id == message.session);
            let client = client.expect("the voter speaks of sessions that are");
            match message.kind {
                Kind::Release => client.released = message.offset,
                Kind::Credit => client.credit = message.offset,
                Kind::Fin => client.fin = true,
                Kind::Reset => client.reset = Reason::from_u8(message.arg),
                Kind::Closed => {
                    client.closed = true;
                    self.resets.extend(client.reset);
                    if client.reset.is_none() && !client.left {
                        assert!(client.fin && client.heard.len() as u64 == client.released);
                        self.served += 1;
                        let (id, heard) = (client.id, client.heard.clone());
                        let plan = client.plan.clone();
                        self.check(id, &plan, &heard);
                    }
                }
                other => panic!("{other:?} to the network"),
            }
        }
    }

    /// A client was told what one that executes all in order would have told it.
    fn check(&self, id: SessionId, plan: &[u8], heard: &[u8]) {
        let mut store = Store::default();
        let (mut expected, mut executed) = (Vec::new(), Vec::new());
        for (number, (session, request)) in &self.order {
            let _ = number;
            if *session == id {
                expected.extend(store.reply(*session, request));
                executed.extend_from_slice(request);
            }
            if !request.is_empty() {
                store.execute(*session, request);
            }
        }
        assert_eq!(executed, plan, "each request once, and in its place");
        assert_eq!(heard, expected);
    }

    /// Until everybody has everything.
    fn finish(&mut self) {
        for gateway in &mut self.gateways {
            if gateway.fault == Fault::Mute {
                gateway.fault = Fault::None;
            }
        }
        let replicas = self.replicas;
        self.rounds(60_000, |sim| sim.clients.is_empty() && sim.voting() == replicas);
        self.rounds(5_000, |sim| sim.gateways[..replicas].iter().all(|g| g.waiting() == 0));
        for _ in 0..20 {
            self.round();
        }
        self.world.pass(200);
        let mut store = Store::default();
        for (at, (number, (session, request))) in self.order.iter().enumerate() {
            assert_eq!(*number, at as u64 + 1, "no number is left out");
            if !request.is_empty() {
                store.execute(*session, request);
            }
        }
        for at in 0..replicas {
            assert_eq!(self.gateways[at].store.keys, store.keys, "replica {at}");
        }
        assert_eq!(self.world.voter.sessions_in_use(), 0);
    }
}

/// What came of a run.
#[derive(Default)]
struct Outcome {
    faults: u64,
    condemned: u64,
    recovered: u64,
    exports: u64,
}

impl std::ops::AddAssign for Outcome {
    fn add_assign(&mut self, other: Self) {
        self.faults += other.faults;
        self.condemned += other.condemned;
        self.recovered += other.recovered;
        self.exports += other.exports;
    }
}

fn run(state: State, logs: usize, rounds: usize, faults: &[Fault], seed: u64) -> Outcome {
    let memory = Memory::new();
    let mut window = vec![0; SLOT_BYTES * (SLOTS + VOTER_SLOTS)];
    let mut order = vec![0; (SLOTS + VOTER_SLOTS) * SHARE_BYTES + logs];
    let appliance = total(3, state);
    let world = World::with_order(&memory, &mut window, &mut order, &appliance);
    let mut sim = Sim::new(world, 3, seed);
    for _ in 0..rounds {
        sim.round();
        if sim.random.once_in(8) {
            sim.open();
        }
        if sim.is_whole() && !faults.is_empty() && sim.random.once_in(60) {
            let (at, fault) = (sim.random.below(3), sim.random.pick(faults));
            sim.faults += 1;
            match fault {
                Fault::None => sim.restart(at),
                fault => sim.gateways[at].fault = fault,
            }
        }
    }
    for gateway in &mut sim.gateways {
        // Who errs seldom is not found out any more.
        if matches!(gateway.fault, Fault::Wrong | Fault::Misframes) {
            gateway.fault = Fault::None;
        }
    }
    sim.finish();
    let stats = sim.world.voter.stats();
    assert!(sim.resets.is_empty(), "{:?} {stats:#?}", sim.resets);
    assert!(sim.served > 10, "{}", sim.served);
    let order = stats.services[0].order.expect("it has one");
    assert_eq!(order.requests, sim.order.len() as u64);
    Outcome {
        faults: sim.faults,
        condemned: stats.replicas.iter().map(|replica| replica.condemned).sum(),
        recovered: stats.replicas.iter().map(|replica| replica.recovered).sum(),
        exports: order.exports,
    }
}

/// Runs with random seeds, and the sum over the first few, as a control that what is to happen does.
fn runs(state: State, logs: usize, rounds: usize, faults: &[Fault]) -> Outcome {
    for_each_seed(2, |seed| {
        run(state, logs, rounds, faults, 1_000 + seed);
    });
    let mut sum = Outcome::default();
    for seed in 1..=3 {
        sum += run(state, logs, rounds, faults, seed);
    }
    sum
}

#[test]
fn all_execute_the_same() {
    let Outcome { faults, condemned, .. } = runs(State::Replay, 4 << 20, 600, &[]);
    assert_eq!((faults, condemned), (0, 0));
}

#[test]
fn who_dies_is_replayed_and_nobody_notices() {
    let sum = runs(State::Replay, 32 << 20, 1_500, &[Fault::None]);
    assert!(sum.faults > 5 && sum.recovered == sum.faults, "{} {}", sum.faults, sum.recovered);
}

#[test]
fn who_hangs_or_errs_is_found_and_recovered() {
    let faults = [Fault::Mute, Fault::Wrong, Fault::Misframes];
    let sum = runs(State::Replay, 32 << 20, 1_500, &faults);
    assert!(sum.condemned > 2 && sum.recovered >= sum.condemned, "{}", sum.condemned);
}

#[test]
fn exports_go_on_beside_all_that() {
    let faults = [Fault::None, Fault::Mute, Fault::Misframes, Fault::Falsifies];
    let sum = runs(State::Export, 2 << 20, 2_000, &faults);
    assert!(sum.exports > 5 && sum.recovered > 2, "{} {}", sum.exports, sum.recovered);
}
