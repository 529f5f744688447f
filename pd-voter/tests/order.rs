//! The order of requests against a simple model: random clients, pieces, speeds, liars, deaths, recoveries, exports and
//! logs that overflow.

mod common;
mod order_model;
#[path = "common/random.rs"]
mod random;

use std::collections::BTreeMap;

use common::{CLOCK_S, appliance, id};
use order_model::{Executor, Heard, Store, end_of_request, flags};
use pd_voter::order::feed::Stage;
use pd_voter::order::limits::{LOG_BYTES_MIN, SHARE_BYTES};
use pd_voter::order::service::Order;
use pd_voter::order::{Look, Orders, Stamp};
use random::{Random, for_each_seed};
use resh_channel::config::{OnMismatch, Order as Kinds, State};
use resh_channel::memory::{AtomicU64, Bytes, copy_in};
use resh_channel::message::{Kind, OrderedHead, Request, SessionId};
use resh_channel::order::{BEHIND_REQUESTS, FRAMED_REQUESTS, QUEUE_BYTES};
use resh_channel::stats::{Condemnation, LogState};
use resh_channel::window::VOTER_SLOTS;

const REPLICAS: usize = 3;
const SESSIONS: usize = 6;
const REPLY_MS: u64 = 500;
const LAG_MS: u64 = 100;

/// A client, and what the gateways have framed of it.
struct Client {
    id: SessionId,
    sent: Vec<u8>,
    ordered: usize,
    requests: u64,
    /// By replica: requests framed, and where the last ends.
    framed: [(u64, usize); REPLICAS],
    members: u8,
}

struct World<'m> {
    orders: Orders<'m>,
    replicas: [Executor; REPLICAS],
    clients: BTreeMap<usize, Client>,
    closing: Vec<usize>,
    generations: Vec<u16>,
    /// What all must have executed, in this order, without the exports.
    model: Store,
    ordered: u64,
    now_ms: u64,
    random: Random,
    state: State,
    /// A dump that is read from a quorum: what is left of it.
    dump: Option<Vec<u8>>,
    exports: u64,
    recoveries: u64,
    condemned: u64,
}

fn region(logs: usize) -> Vec<u8> {
    vec![0; (SESSIONS + VOTER_SLOTS) * SHARE_BYTES + logs]
}

impl<'m> World<'m> {
    fn new(region: &'m mut [u8], state: State, seed: u64) -> Self {
        let mut appliance = appliance(REPLICAS, OnMismatch::StopSession);
        appliance.services[0].order = Kinds::Total;
        appliance.services[0].state = state;
        appliance.limits.sessions = SESSIONS as u16;
        let slots = SESSIONS + VOTER_SLOTS;
        let mut world = Self {
            orders: Orders::new(region, &appliance, slots).expect("there is room"),
            replicas: Default::default(),
            clients: BTreeMap::new(),
            closing: Vec::new(),
            generations: vec![0; slots],
            model: Store::default(),
            ordered: 0,
            now_ms: 1_000,
            random: Random::new(seed),
            state,
            dump: None,
            exports: 0,
            recoveries: 0,
            condemned: 0,
        };
        for replica in 0..REPLICAS {
            world.start(replica);
        }
        world
    }

    fn order(&mut self) -> &mut Order<'m> {
        self.orders.service_mut(0).expect("it has one")
    }

    fn stage(&self, replica: usize) -> Stage {
        self.orders.service(0).expect("it has one").stage(replica)
    }

    fn synced(&self) -> u8 {
        self.orders.service(0).expect("it has one").synced()
    }

    fn start(&mut self, replica: usize) {
        self.replicas[replica].begin();
        let now_ms = self.now_ms;
        self.order().enter(replica, now_ms);
    }

    fn kill(&mut self, replica: usize) {
        self.replicas[replica].up = false;
        let now_ms = self.now_ms;
        self.orders.leave(replica, now_ms);
        for client in self.clients.values_mut() {
            client.members &= !(1 << replica);
        }
        self.reap();
    }

    /// Sessions without a quorum end.
    fn reap(&mut self) {
        let lost = |client: &&Client| client.members.count_ones() < 2;
        let lost: Vec<usize> =
            self.clients.values().filter(lost).map(|client| client.id.index.into()).collect();
        lost.into_iter().for_each(|index| self.close(index));
    }

    fn condemn(&mut self, replica: usize, reason: Condemnation) {
        assert!(self.replicas[replica].lies, "{replica} is honest: {reason:?}");
        self.condemned += 1;
        self.kill(replica);
    }

    fn open(&mut self) {
        let free =
            |index: &usize| !self.clients.contains_key(index) && !self.closing.contains(index);
        let Some(index) = (0..SESSIONS).find(free) else { return };
        let members = self.synced();
        if members.count_ones() < 2 {
            return;
        }
        self.generations[index] += 1;
        let id = id(index as u16, self.generations[index]);
        assert!(self.orders.open(id, 0), "there is a share for each");
        let client = Client {
            id,
            sent: Vec::new(),
            ordered: 0,
            requests: 0,
            framed: [(0, 0); REPLICAS],
            members,
        };
        self.clients.insert(index, client);
    }

    fn close(&mut self, index: usize) {
        let Some(client) = self.clients.remove(&index) else { return };
        let told = self.orders.close(index);
        self.model.end(client.id);
        for (at, replica) in self.replicas.iter_mut().enumerate() {
            if told & (1 << at) != 0 {
                let evict = resh_channel::message::Message::new(Kind::Evict, client.id);
                replica.hear(evict, &[]);
            }
        }
        self.closing.push(index);
    }

    /// A client sends a piece.
    fn send(&mut self, index: usize) {
        let random = &mut self.random;
        let long = random.once_in(10);
        let mut piece = Vec::new();
        for _ in 0..=random.below(4) {
            match random.below(6) {
                0 => piece.extend_from_slice(&[b'D', b'0' + random.below(3) as u8, b'\n']),
                1 => piece.extend_from_slice(b"Gkey\n"),
                _ => {
                    let len = if long { random.below(4000) } else { random.below(30) };
                    let key = b'a' + random.below(6) as u8;
                    piece.extend_from_slice(&[b'S', key, b'=']);
                    piece.extend((0..len).map(|at| b'A' + (at % 26) as u8));
                    piece.push(b'\n');
                }
            }
        }
        let client = self.clients.get_mut(&index).expect("it lives");
        // What was cut off last time comes first; now and then the last piece is cut.
        let room = SHARE_BYTES - (client.sent.len() - client.ordered);
        if piece.len() > room {
            return;
        }
        let mut from = 0;
        while from < piece.len() {
            let len = (1 + random.below(piece.len())).min(piece.len() - from);
            let bytes = &piece[from..from + len];
            let words: Vec<AtomicU64> = (0..len.div_ceil(8)).map(|_| AtomicU64::new(0)).collect();
            copy_in(&words, bytes);
            client.sent.extend_from_slice(bytes);
            self.orders.data(index, Bytes::new(&words, len));
            from += len;
        }
    }

    /// The framer of a replica looks at some session.
    fn frame(&mut self, index: usize, replica: usize) {
        let Some(client) = self.clients.get_mut(&index) else { return };
        if client.members & (1 << replica) == 0 {
            return;
        }
        let (count, end) = client.framed[replica];
        if count >= client.requests + FRAMED_REQUESTS {
            return;
        }
        let Some(len) = end_of_request(&client.sent[end..]) else { return };
        let mut flags = flags(&client.sent[end..end + len]);
        let mut said = end + len;
        client.framed[replica] = (count + 1, end + len);
        if self.replicas[replica].lies && self.random.once_in(3) {
            match self.random.below(3) {
                0 => flags ^= Request::READ_ONLY,
                1 => said = end + 1 + self.random.below(len),
                _ => said = client.sent.len(),
            }
            // A liar that goes on from there frames nonsense.
            client.framed[replica].1 = said;
        }
        if let Err(reason) = self.orders.framed(index, replica, said as u64, flags) {
            return self.condemn(replica, reason);
        }
        self.look(index);
    }

    fn look(&mut self, index: usize) {
        let Some(client) = self.clients.get(&index) else { return };
        let look = self.orders.look(index, client.members, 2, self.now_ms);
        if look == Look::Split {
            self.close(index);
        }
    }

    fn stamp(&self) -> Stamp {
        let clock_ms = u64::from(CLOCK_S) * 1000 + self.now_ms;
        Stamp { nonce: [7; 16], clock_ms, now_ms: self.now_ms }
    }

    fn multicast(&mut self, heard: &Heard) {
        let (message, payload) = heard;
        for (at, replica) in self.replicas.iter_mut().enumerate() {
            if message.to & (1 << at) != 0 && replica.up {
                replica.hear(*message, payload);
                assert!(replica.waiting.len() <= 2 * BEHIND_REQUESTS as usize);
                assert!(replica.waiting_bytes <= QUEUE_BYTES, "{}", replica.waiting_bytes);
            }
        }
    }

    /// Orders one request, if one can be.
    fn pump_live(&mut self) -> bool {
        let now_ms = self.now_ms;
        if self.orders.next_live(0, now_ms).is_none() {
            return false;
        }
        let stamp = self.stamp();
        let (out, index) = self.orders.take_live(0, stamp).expect("it is there");
        let (heard, liars) = ((out.message, out.payload.to_vec()), out.liars);
        let request = &heard.1[size_of::<OrderedHead>()..];
        let client = self.clients.get_mut(&index).expect("only of those that live");
        // Neither lost nor doubled: they come in the order in which they were sent.
        assert_eq!(heard.0.session, client.id);
        assert_eq!(&client.sent[client.ordered..client.ordered + request.len()], request);
        assert_eq!(end_of_request(request), Some(request.len()));
        assert_eq!(heard.0.arg, flags(request));
        client.ordered += request.len();
        client.requests += 1;
        self.ordered += 1;
        assert!(heard.0.offset >= self.ordered);
        self.model.execute(heard.0.session, request);
        self.multicast(&heard);
        for replica in (0..REPLICAS).filter(|at| liars & (1 << at) != 0) {
            self.condemn(replica, Condemnation::Framing);
        }
        self.look(index);
        true
    }

    fn pump_feed(&mut self) -> bool {
        let now_ms = self.now_ms;
        let first = self.random.below(REPLICAS);
        let Some(feed) = self.order().next_feed(first, now_ms) else { return false };
        let out = self.orders.take_feed(0, feed, now_ms).expect("it is there");
        let mut heard = (out.message, out.payload.to_vec());
        if heard.0.kind == Kind::Ordered {
            assert!(Request(heard.0.arg).is(Request::REPLAY));
        }
        heard.0.to = 1 << feed.replica;
        self.multicast(&heard);
        true
    }

    fn pump_export(&mut self) {
        let now_ms = self.now_ms;
        if self.order().wants_export(now_ms) {
            let lost: Vec<usize> =
                (0..SESSIONS).filter(|index| self.orders.is_lost(*index)).collect();
            lost.into_iter().for_each(|index| self.close(index));
            let index = SESSIONS;
            self.generations[index] += 1;
            let id = id(index as u16, self.generations[index]);
            assert!(self.orders.open(id, 0));
            let stamp = self.stamp();
            let out = self.orders.take_export(0, id, stamp).expect("there is a share");
            let heard = (out.message, out.payload.to_vec());
            self.multicast(&heard);
            self.exports += 1;
        }
        let Some(session) = self.order().export() else { return };
        if self.order().awaits_dump() {
            let is_of = |dump: &&(SessionId, Vec<u8>)| dump.0 == session;
            let dumps: Vec<Vec<u8>> = self
                .replicas
                .iter()
                .filter_map(|replica| replica.dump.as_ref().filter(is_of))
                .map(|dump| dump.1.clone())
                .collect();
            let agreed = dumps.iter().find(|dump| dumps.iter().filter(|d| d == dump).count() >= 2);
            if let (None, Some(agreed)) = (&self.dump, agreed) {
                self.dump = Some(agreed.clone());
            }
            let Some(dump) = &mut self.dump else { return };
            let len = self.random.below(dump.len() + 1);
            let rest = dump.split_off(len);
            let piece = core::mem::replace(dump, rest);
            let ended = dump.is_empty();
            self.order().export_data(&piece, now_ms);
            if ended {
                self.dump = None;
                self.order().export_ended(now_ms);
            }
        }
    }

    /// Lets the clock judge.
    fn watch(&mut self) {
        let now_ms = self.now_ms;
        self.order().work(now_ms, REPLY_MS);
        if self.order().export().is_none() {
            self.dump = None;
        }
        let verdict = self.order().watch(now_ms, LAG_MS, REPLY_MS);
        assert!(!verdict.stuck, "a quorum lives");
        for replica in (0..REPLICAS).filter(|at| verdict.behind & (1 << at) != 0) {
            self.recoveries += 1;
            self.kill(replica);
        }
        let orders = &mut self.orders;
        self.closing.retain(|index| {
            let settled = orders.is_settled(*index);
            if settled {
                orders.free(*index);
            }
            !settled
        });
        let (used, there) = self.order().log_bytes();
        assert!(used <= there);
    }

    fn execute(&mut self, replica: usize) -> bool {
        let now_ms = self.now_ms;
        if !self.replicas[replica].up {
            return false;
        }
        let Some(answers) = self.replicas[replica].execute() else { return false };
        if let Some(number) = answers {
            let said = self.order().answered(replica, number, now_ms);
            said.expect("it answers what it was sent");
        }
        true
    }

    fn admit(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(&index) else { return };
        let absent = self.orders.may_be_admitted(index) & !client.members;
        if absent != 0 && self.orders.is_at_rest(index, client.members, 2) {
            assert_eq!(client.sent.len(), client.ordered);
            self.orders.admit(index, absent);
            for replica in (0..REPLICAS).filter(|at| absent & (1 << at) != 0) {
                client.framed[replica] = (client.requests, client.ordered);
            }
            client.members |= absent;
        }
    }

    /// Until nobody has anything to do.
    fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 200_000, "it does not come to rest");
            let mut busy = false;
            for index in 0..SESSIONS {
                for replica in 0..REPLICAS {
                    let before = self.clients.get(&index).map(|client| client.framed[replica].0);
                    self.frame(index, replica);
                    let after = self.clients.get(&index).map(|client| client.framed[replica].0);
                    busy |= before != after;
                }
            }
            for _ in 0..16 {
                busy |= self.pump_live();
                busy |= self.pump_feed();
            }
            self.pump_export();
            for replica in 0..REPLICAS {
                for _ in 0..16 {
                    busy |= self.execute(replica);
                }
            }
            self.now_ms += 1;
            self.watch();
            busy |= self.order().export().is_some();
            let catching_up = |at| matches!(self.stage(at), Stage::Feeding(_) | Stage::Level);
            busy |= (0..REPLICAS).any(catching_up);
            // What was held back for a while.
            let waits = !self.order().ready.is_empty();
            if !busy && !waits {
                return;
            }
        }
    }

    /// All that are in the order have the state of the model, and clients got all.
    fn check(&mut self) {
        for (index, client) in &self.clients {
            let complete =
                client.sent.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            assert_eq!(client.ordered, complete, "session {index}");
        }
        for (at, replica) in self.replicas.iter().enumerate() {
            if self.stage(at) == Stage::Synced {
                assert_eq!(replica.store.keys, self.model.keys, "replica {at}");
                for client in self.clients.values() {
                    let id = (client.id.index, client.id.generation);
                    let database = |store: &Store| store.databases.get(&id).copied();
                    assert_eq!(database(&replica.store), database(&self.model), "replica {at}");
                }
                // Nothing is left of sessions that are over.
                for (index, generation) in replica.store.databases.keys() {
                    let client = self.clients.get(&usize::from(*index));
                    let lives = client.is_some_and(|client| client.id.generation == *generation);
                    assert!(lives, "replica {at}, session {index}");
                }
            }
        }
    }

    fn step(&mut self, faults: bool) {
        match self.random.below(16) {
            0 => self.open(),
            1 if self.random.once_in(6) => {
                let index = self.random.below(SESSIONS);
                self.close(index);
            }
            2..=4 => {
                let index = self.random.below(SESSIONS);
                if self.clients.contains_key(&index) {
                    self.admit(index);
                    self.send(index);
                }
            }
            5..=7 => {
                let (index, replica) = (self.random.below(SESSIONS), self.random.below(REPLICAS));
                for _ in 0..=self.random.below(8) {
                    self.frame(index, replica);
                }
            }
            8 | 9 => {
                self.pump_live();
            }
            10 => {
                for _ in 0..=self.random.below(20) {
                    self.pump_feed();
                }
            }
            11 => self.pump_export(),
            12 => {
                self.now_ms += self.random.below(4) as u64;
                self.watch();
            }
            13 if faults && self.random.once_in(300) => {
                let replica = self.random.below(REPLICAS);
                // One at a time: the rest is a quorum.
                let others = self.synced() & !(1 << replica);
                if others.count_ones() >= 2 {
                    match self.random.below(2) {
                        0 => self.kill(replica),
                        _ => self.replicas[replica].lies = true,
                    }
                }
            }
            14 if self.random.once_in(20) => {
                if let Some(replica) = (0..REPLICAS).find(|at| !self.replicas[*at].up) {
                    self.start(replica);
                    self.recoveries += 1;
                }
            }
            _ => {
                for replica in 0..REPLICAS {
                    for _ in 0..self.random.below(4) {
                        self.execute(replica);
                    }
                }
            }
        }
    }

    /// The end: all live, all honest, all settled.
    fn finish(&mut self) {
        for replica in 0..REPLICAS {
            if self.replicas[replica].lies {
                // It may have lied about something that nobody has noticed yet.
                self.kill(replica);
            }
        }
        self.settle();
        self.check();
        for replica in 0..REPLICAS {
            if !self.replicas[replica].up {
                self.start(replica);
            }
        }
        self.settle();
        self.now_ms += 60_000;
        self.watch();
        self.settle();
        self.check();
    }
}

fn run(state: State, log_bytes: usize, steps: usize, seed: u64) -> (u64, u64, u64, LogState) {
    let mut region = region(log_bytes);
    let mut world = World::new(&mut region, state, seed);
    assert_eq!(world.synced(), 0b111);
    for _ in 0..steps {
        world.step(true);
    }
    world.finish();
    let log = world.order().log_state();
    if log != LogState::Lost {
        assert_eq!(world.synced(), 0b111, "{:?}", world.state);
    }
    (world.exports, world.recoveries, world.condemned, log)
}

#[test]
fn without_state_all_live_replicas_execute_the_same() {
    // A newcomer has another store: only the order counts here.
    for_each_seed(40, |seed| {
        let mut region = region(0);
        let mut world = World::new(&mut region, State::None, seed);
        for _ in 0..4_000 {
            world.step(false);
        }
        world.settle();
        world.check();
        assert!(world.ordered > 100, "{}", world.ordered);
        let first = &world.replicas[0].executed;
        assert!(world.replicas.iter().all(|replica| replica.executed == *first));
    });
}

#[test]
fn a_replica_that_comes_back_empty_is_replayed() {
    let mut recoveries = 0;
    let mut condemned = 0;
    for_each_seed(40, |seed| {
        let (_, again, caught, log) = run(State::Replay, 8 << 20, 8_000, seed);
        assert_eq!(log, LogState::Whole);
        let _ = (again, caught);
    });
    // Controls, with seeds of their own: the faults do happen.
    for seed in 1..=20 {
        let (_, again, caught, _) = run(State::Replay, 8 << 20, 8_000, seed);
        recoveries += again;
        condemned += caught;
    }
    assert!(recoveries > 10 && condemned > 3, "{recoveries} {condemned}");
}

#[test]
fn a_log_that_overflows_ends_recovery_and_nothing_else() {
    let mut lost = 0;
    for seed in 1..=10 {
        let (_, _, _, log) = run(State::Replay, LOG_BYTES_MIN, 12_000, seed);
        lost += u32::from(log == LogState::Lost);
    }
    assert!(lost > 5, "{lost}");
}

#[test]
fn exports_make_the_log_short_again_whoever_lies() {
    let mut exports = 0;
    for_each_seed(30, |seed| {
        run(State::Export, 2 * LOG_BYTES_MIN, 12_000, seed);
    });
    for seed in 1..=10 {
        let (count, _, _, log) = run(State::Export, 2 * LOG_BYTES_MIN, 12_000, seed);
        assert_eq!(log, LogState::Whole);
        exports += count;
    }
    assert!(exports > 10, "{exports}");
}
