//! The whole voter over rings, in random schedules: many sessions, slow and lying and hostile replicas,
//! clients that reset, rings that are full. Virtual time.

mod common;
#[path = "common/random.rs"]
mod random;

use std::cell::Cell;

use common::*;
use random::{Random, for_each_seed};
use resh_channel::config::OnMismatch;
use resh_channel::memory::Ordering;
use resh_channel::message::{Kind, MAX_PAYLOAD_BYTES, Message, Reason, SessionId};
use resh_channel::ring::DATA_WORD;
use resh_channel::stats::ReplicaState;
use resh_channel::supervision::{ASIDE, TAKE_PART};
use resh_channel::window::{REPLY_CREDIT_BYTES, REQUEST_CREDIT_BYTES};

const SLOTS: usize = 6;

/// Turns after which a client leaves.
const PATIENCE: [usize; 3] = [usize::MAX, usize::MAX, 200];

/// Byte `at` of the reply in a session, as an honest replica gives it.
fn reply_byte(id: SessionId, at: u64) -> u8 {
    (at.wrapping_mul(31) ^ (at >> 8) ^ u64::from(id.index) << 3 ^ u64::from(id.generation)) as u8
}

/// What a session is like. All replicas know, and the client.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// How long the reply is. In an exchange: to each request.
    reply: u64,
    /// In an exchange, a request's length; it is answered when it is complete, and then everybody rests.
    request: Option<u64>,
}

fn plan(id: SessionId, seed: u64) -> Plan {
    let mut random = Random::new(seed ^ u64::from(id.index) << 20 ^ u64::from(id.generation));
    let exchange = random.once_in(2);
    let most = random.pick(&[1, 100, 5_000, 5_000, 300_000]);
    let reply = random.below(if exchange { 1 + most / 10 } else { most }) as u64;
    Plan { reply, request: exchange.then(|| 1 + random.below(3_000) as u64) }
}

impl Plan {
    /// Reply bytes there are for `consumed` request bytes.
    fn due(&self, consumed: u64) -> u64 {
        self.request.map_or(self.reply, |request| consumed / request * self.reply)
    }
}

/// What a replica is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Honest,
    /// Acts once in a while.
    Slow,
    /// Never answers.
    Mute,
    /// Errs: in bytes, lengths, resets.
    Wrong,
    /// Its domain does anything to the memory it may write.
    Hostile,
    /// Its domain reads nothing that is multicast.
    Deaf,
    /// Honest, but its domain dies now and then.
    Mortal,
}

impl Manner {
    /// Whether what it says is right.
    fn is_right(self) -> bool {
        matches!(self, Self::Honest | Self::Mortal)
    }
}

/// One session as a replica's domain sees it.
struct Serving {
    id: SessionId,
    plan: Plan,
    sent: u64,
    /// In an exchange, so far.
    len: u64,
    credit: u64,
    client_fin: bool,
    /// What it said last that it rests at.
    rested: u64,
    consumed: u64,
    told: u64,
    ended: bool,
    resets: bool,
    flip: Option<u64>,
}

/// A client.
struct Client {
    id: SessionId,
    /// Bytes it is going to send.
    request: u64,
    sent: u64,
    credit: u64,
    fin_early: bool,
    fin_sent: bool,
    taken: u64,
    released: u64,
    fin: bool,
    reset: Option<Reason>,
    left: bool,
    patience: usize,
}

struct Sim<'m> {
    world: World<'m>,
    random: Random,
    seed: u64,
    replicas: usize,
    manners: [Manner; 3],
    served: [Vec<Serving>; 3],
    clients: Vec<Client>,
    generations: [u16; SLOTS],
    completed: usize,
    awake: bool,
    /// Whether replicas are correct enough that every session must succeed.
    tolerable: bool,
    /// Whether the supervisor rejuvenates replicas.
    rejuvenates: bool,
    /// Who is being rejuvenated.
    aside: Option<usize>,
    /// Times a replica was admitted in the middle of a session.
    admitted: usize,
    /// Times one died or was rejuvenated.
    ends: usize,
}

impl Sim<'_> {
    /// Lets a client come, go on, or go.
    fn clients(&mut self, more: bool) {
        let free = (0..SLOTS as u16).find(|at| self.clients.iter().all(|c| c.id.index != *at));
        if let Some(index) = free.filter(|_| more && self.random.once_in(3)) {
            let generation = self.generations[usize::from(index)];
            self.generations[usize::from(index)] = generation.wrapping_add(1);
            let id = id(index, generation);
            let address = format!("192.0.2.{}:1024", self.random.below(4));
            if !self.world.try_say(Message::new(Kind::Open, id), address.as_bytes()) {
                return;
            }
            let request = self.random.pick(&[0, 10, 1_000, 200_000]);
            let exchange = plan(id, self.seed).request;
            // The first one stays to its end.
            let patience =
                if generation == 0 && index == 0 { &[usize::MAX][..] } else { &PATIENCE };
            self.clients.push(Client {
                id,
                request: exchange.map_or(request, |len| len * self.random.below(20) as u64),
                sent: 0,
                credit: REQUEST_CREDIT_BYTES as u64,
                fin_early: self.random.once_in(2),
                fin_sent: false,
                taken: 0,
                released: 0,
                fin: false,
                reset: None,
                left: false,
                patience: self.random.pick(patience),
            });
        }
        for at in 0..self.clients.len() {
            if !self.random.once_in(3) {
                self.client(at);
            }
        }
    }

    fn client(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if client.reset.is_some() || client.left {
            return;
        }
        client.patience = client.patience.saturating_sub(1);
        if client.patience == 0 {
            let gone = Message::new(Kind::Reset, client.id).arg(Reason::Peer as u8);
            client.left = self.world.try_say(gone, &[]);
            return;
        }
        let plan = plan(client.id, self.seed);
        // In an exchange, the next request only after the reply.
        let answered = plan.request.is_none_or(|len| {
            !client.sent.is_multiple_of(len) || client.taken == plan.due(client.sent)
        });
        let most = plan.request.map_or(u64::MAX, |len| len - client.sent % len);
        let room = (client.credit - client.sent).min(client.request - client.sent).min(most);
        let room = if answered { room } else { 0 };
        if room > 0 {
            let len = (1 + self.random.below(room as usize)).min(MAX_PAYLOAD_BYTES);
            let data = Message::new(Kind::Data, client.id).at(client.sent);
            if self.world.try_say(data, &vec![7; len]) {
                client.sent += len as u64;
            }
        }
        if client.taken < client.released {
            let take = 1 + self.random.below((client.released - client.taken) as usize) as u64;
            let bytes = self.world.released(client.id, client.taken, client.taken + take);
            if self.tolerable {
                for (byte, at) in bytes.into_iter().zip(client.taken..) {
                    assert_eq!(byte, reply_byte(client.id, at), "byte {at} of {:?}", client.id);
                }
            }
            let taken = Message::new(Kind::Taken, client.id).at(client.taken + take);
            if self.world.try_say(taken, &[]) {
                client.taken += take;
            }
        }
        let all_sent = client.sent == client.request;
        let answered = plan.request.is_some() && client.taken == plan.due(client.sent);
        let all_taken = answered || (client.fin && client.taken == client.released);
        if all_sent && !client.fin_sent && (client.fin_early || all_taken) {
            let fin = Message::new(Kind::Fin, client.id).at(client.sent);
            client.fin_sent = self.world.try_say(fin, &[]);
        }
    }

    /// What the voter tells the network.
    fn network(&mut self) {
        for message in self.world.hear() {
            let at = self.clients.iter().position(|client| client.id == message.session);
            let client = &mut self.clients[at.expect("the voter speaks of sessions that are")];
            match message.kind {
                Kind::Release => {
                    assert!(message.offset > client.released && !client.fin);
                    assert!(client.reset.is_none(), "nothing leaves after a reset");
                    client.released = message.offset;
                }
                Kind::Credit => client.credit = message.offset,
                Kind::Fin => {
                    assert_eq!(message.offset, client.released);
                    client.fin = true;
                }
                Kind::Reset => {
                    client.reset = Reason::from_u8(message.arg);
                    let disputes = &self.world.voter.stats().disputes;
                    assert!(
                        !self.tolerable,
                        "seed {}: {message:?} {disputes:#?} {:?}",
                        self.seed, self.manners
                    );
                }
                Kind::Closed => {
                    let client = self.clients.swap_remove(at.unwrap());
                    if client.reset.is_none() && !client.left {
                        assert!(client.fin && client.taken == client.released);
                        if self.tolerable {
                            let due = plan(client.id, self.seed).due(client.sent);
                            assert_eq!(client.taken, due);
                        }
                        self.completed += 1;
                    }
                }
                other => panic!("{other:?} to the network"),
            }
        }
    }

    /// What a replica's domain does in its turn.
    fn gateway(&mut self, at: usize) {
        let manner = self.manners[at];
        let acts = match manner {
            Manner::Slow => self.random.once_in(60),
            Manner::Deaf => !self.world.gateways[at].is_in(),
            _ => !self.random.once_in(3),
        };
        // Who stands aside is not waited for, so what it reads may be overwritten.
        if !acts || self.world.state(at) == ReplicaState::Aside {
            return;
        }
        if manner == Manner::Hostile && !self.random.once_in(4) {
            self.scribble(at);
        }
        if !self.world.gateways[at].is_in() {
            self.world.gateways[at].join();
            return;
        }
        let heard = match manner {
            Manner::Honest | Manner::Mortal => {
                let heard = self.world.gateways[at].hear_some(usize::MAX);
                let replica = &self.world.voter.stats().replicas[at];
                heard.unwrap_or_else(|| panic!("lost the ring: {replica:?}, {:?}", self.manners))
            }
            // Whose domain was condemned, reads what is not meant for it.
            _ => self.world.gateways[at].hear_some(3).unwrap_or_default(),
        };
        for (message, payload) in heard {
            self.gateway_hears(at, message, &payload);
        }
        for number in 0..self.served[at].len() {
            if !self.random.once_in(3) {
                self.serve(at, number);
            }
        }
        self.served[at].retain(|serving| !serving.resets || !serving.ended);
    }

    fn gateway_hears(&mut self, at: usize, message: Message, payload: &[u8]) {
        let len = payload.len() as u64;
        let id = message.session;
        let begins = message.to >> at & 1 == 1;
        if message.kind == Kind::Open || (message.kind == Kind::Admit && begins) {
            self.served[at].retain(|serving| serving.id.index != id.index);
            if !begins {
                return;
            }
            // Nobody counts on who has not given an answer in this life.
            assert!(self.world.gateways[at].answered, "seed {}: {at} catches up", self.seed);
            let plan = plan(id, self.seed);
            let mut serving = Serving {
                id,
                plan,
                sent: 0,
                len: plan.due(0),
                credit: REPLY_CREDIT_BYTES as u64,
                client_fin: false,
                rested: 0,
                consumed: 0,
                told: 0,
                ended: false,
                resets: false,
                flip: None,
            };
            if message.kind == Kind::Admit {
                let number =
                    |at: usize| u64::from_le_bytes(payload[at..at + 8].try_into().unwrap());
                (serving.sent, serving.credit) = (number(16), number(24));
                serving.rested = message.offset;
                (serving.consumed, serving.told) = (message.offset, message.offset);
                serving.len = plan.due(message.offset);
                self.admitted += 1;
            }
            if self.manners[at] == Manner::Wrong {
                match self.random.below(5) {
                    0 => serving.flip = Some(self.random.below(serving.len as usize + 1) as u64),
                    1 => serving.len = self.random.below(serving.len as usize + 1) as u64,
                    2 => serving.len += 1 + self.random.below(100) as u64,
                    3 => {
                        serving.resets = true;
                        serving.len = self.random.below(serving.len as usize + 1) as u64;
                    }
                    _ => {}
                }
            }
            self.served[at].push(serving);
            return;
        }
        let number = self.served[at].iter().position(|serving| serving.id == id);
        let Some(number) = number else { return };
        let serving = &mut self.served[at][number];
        match message.kind {
            Kind::Data => {
                serving.consumed += len;
                serving.len = serving.len.max(serving.plan.due(serving.consumed));
                if self.manners[at].is_right() {
                    assert_eq!(message.offset + len, serving.consumed);
                    assert!(serving.consumed <= serving.told + REQUEST_CREDIT_BYTES as u64);
                }
            }
            Kind::Fin => serving.client_fin = true,
            Kind::Credit => serving.credit = message.offset,
            Kind::Evict if usize::from(message.arg) != at => {}
            Kind::Admit => {}
            _ => {
                self.served[at].swap_remove(number);
            }
        }
    }

    /// A replica goes on with a session.
    fn serve(&mut self, at: usize, number: usize) {
        let serving = &mut self.served[at][number];
        let gateway = &mut self.world.gateways[at];
        if serving.consumed > serving.told {
            let taken = Message::new(Kind::Taken, serving.id).at(serving.consumed);
            if gateway.try_say(taken, &[]) {
                serving.told = serving.consumed;
            }
        }
        if self.manners[at] == Manner::Mute || serving.ended {
            return;
        }
        let room = serving.credit.min(serving.len).saturating_sub(serving.sent) as usize;
        let rests = serving.plan.request.is_some_and(|len| serving.consumed.is_multiple_of(len))
            && serving.sent == serving.plan.due(serving.consumed);
        if rests && serving.consumed > serving.rested && !self.random.once_in(4) {
            let rest = Message::new(Kind::Rest, serving.id).at(serving.consumed);
            if gateway.try_say(rest, &[]) {
                serving.rested = serving.consumed;
                serving.told = serving.told.max(serving.consumed);
            }
        } else if room > 0 {
            let len = (1 + self.random.below(room)).min(MAX_PAYLOAD_BYTES) as u64;
            let mut bytes: Vec<u8> =
                (serving.sent..serving.sent + len).map(|o| reply_byte(serving.id, o)).collect();
            if let Some(flip) =
                serving.flip.filter(|f| (serving.sent..serving.sent + len).contains(f))
            {
                bytes[(flip - serving.sent) as usize] ^= 4;
            }
            let data = Message::new(Kind::Data, serving.id).at(serving.sent);
            if gateway.try_say(data, &bytes) {
                serving.sent += len;
            }
        } else if serving.sent == serving.len
            && (serving.plan.request.is_none() || serving.client_fin || serving.resets)
        {
            let end = if serving.resets { Kind::Reset } else { Kind::Fin };
            serving.ended = gateway.try_say(Message::new(end, serving.id).at(serving.sent), &[]);
        }
    }

    /// Random words into memory that this domain may write.
    fn scribble(&mut self, at: usize) {
        let memory = self.world.memory;
        let word = match self.random.below(4) {
            0 => self.random.next(),
            1 => self.random.below(200) as u64,
            2 => u64::MAX - self.random.below(3) as u64,
            // Something like a header.
            _ => {
                let (kind, arg) = (self.random.below(12) as u64, self.random.below(4) as u64);
                self.random.below(70_000) as u64 | kind << 32 | arg << 40
            }
        };
        let (region, place) = match self.random.below(5) {
            0 => (&memory.broadcast_cursors[at], self.random.pick(&[0, 8, 9, 16])),
            1 => (&memory.reply_rings[at], self.random.pick(&[0, 8])),
            2 => {
                let head = memory.reply_rings[at][0].load(Ordering::Relaxed);
                let near = head.wrapping_add(self.random.below(64) as u64);
                memory.reply_rings[at][0].store(near, Ordering::Release);
                return;
            }
            _ => {
                let words = memory.reply_rings[at].len() - DATA_WORD;
                let head = memory.reply_rings[at][0].load(Ordering::Relaxed) as usize;
                let near = head.wrapping_add(self.random.below(30)).wrapping_sub(10) % words;
                let far = self.random.below(words);
                (&memory.reply_rings[at], DATA_WORD + self.random.pick(&[near, near, far]))
            }
        };
        region[place].store(word, Ordering::Release);
    }

    /// The supervisor starts condemned domains anew, and sometimes one that is not.
    fn supervise(&mut self, more: bool) {
        for at in 0..self.replicas {
            let condemned = self.world.voter.stats().replicas[at].state == ReplicaState::Condemned;
            let faulty = !self.manners[at].is_right();
            let reason = self.world.voter.stats().replicas[at].reason;
            assert!(faulty || !condemned, "seed {}: honest {at}: {reason:?}", self.seed);
            if faulty && self.random.once_in(if condemned { 20 } else { 2_000 }) {
                self.restart(at);
            }
            let dies = self.manners[at] == Manner::Mortal && more && self.random.once_in(30);
            if dies && (!self.tolerable || self.is_full()) {
                self.restart(at);
            }
        }
        match self.aside {
            None if more && self.rejuvenates && self.random.once_in(30) => {
                let at = self.random.below(self.replicas);
                self.world.direct(at, ASIDE);
                self.aside = Some(at);
            }
            Some(at) if self.world.state(at) == ReplicaState::Aside || self.random.once_in(300) => {
                self.world.direct(at, TAKE_PART);
                if self.world.state(at) == ReplicaState::Aside {
                    self.restart(at);
                }
                self.aside = None;
            }
            _ => {}
        }
    }

    fn restart(&mut self, at: usize) {
        self.world.restart(at);
        self.served[at].clear();
        self.ends += 1;
    }

    /// Whether all replicas take part in all sessions.
    fn is_full(&self) -> bool {
        let votes = |at: usize| {
            let seen = self.world.voter.stats().replicas[at].generation;
            self.world.state(at) == ReplicaState::Voting
                && u64::from(seen) == self.world.gateways[at].generation
        };
        let serves = |id: SessionId| {
            (0..self.replicas).all(|at| self.served[at].iter().any(|serving| serving.id == id))
        };
        self.aside.is_none()
            && (0..self.replicas).all(votes)
            && self.clients.iter().all(|client| serves(client.id))
    }

    fn turn(&mut self, more: bool) {
        self.clients(more);
        for at in 0..self.replicas {
            self.gateway(at);
        }
        self.supervise(more);
        // The voter runs only if somebody wakes it, and one step at a time.
        self.awake |= self.world.wakes();
        if self.awake {
            let signals = self.world.voter.step(self.world.now_ms, CLOCK_S);
            let more = signals.expect("the network keeps the rules").more;
            self.awake = more || !self.world.voter.arm();
        }
        self.network();
        if self.random.once_in(3) {
            self.world.now_ms += 1;
        }
    }
}

/// What a run showed, besides what is asserted of all.
struct Shown {
    admitted: usize,
    ends: usize,
}

fn run(seed: u64, replicas: usize, manners: [Manner; 3], turns: usize, rejuvenates: bool) -> Shown {
    let memory = Memory::new();
    let mut window = window(SLOTS);
    let mut appliance = appliance(replicas, OnMismatch::StopSession);
    // Long enough that only what stands still is silent.
    appliance.limits.reply_ms = 20_000;
    // Nobody is evicted before an error of another shows, except for being slow.
    let slow = manners.contains(&Manner::Slow) || manners.contains(&Manner::Mute);
    appliance.limits.lag_budget_ms = if slow { 100 } else { 2_000 };
    let faults = manners[..replicas].iter().filter(|m| !m.is_right()).count();
    // One that dies or stands aside, when all are there, is as much as one that errs.
    let ends = rejuvenates || manners[..replicas].contains(&Manner::Mortal);
    let mut sim = Sim {
        world: World::new(&memory, &mut window, &appliance),
        random: Random::new(seed),
        seed,
        replicas,
        manners,
        served: [const { Vec::new() }; 3],
        clients: Vec::new(),
        generations: [0; SLOTS],
        completed: 0,
        awake: true,
        tolerable: faults + usize::from(ends) <= replicas - (replicas / 2 + 1),
        rejuvenates,
        aside: None,
        admitted: 0,
        ends: 0,
    };
    sim.world.start(replicas);
    for _ in 0..turns {
        sim.turn(true);
    }
    // No more clients: all sessions must come to their end.
    let mut left = 300_000;
    while !sim.clients.is_empty() || sim.world.voter.sessions_in_use() > 0 {
        sim.turn(false);
        // Nobody can hold them up for ever.
        left -= 1;
        assert!(left > 0, "seed {seed}: sessions remain: {manners:?}");
        if left % 1000 == 0 {
            sim.world.now_ms += 100;
        }
        // Where nobody answers at all, the network's idle time ends the session.
        if left == 150_000 && !sim.tolerable {
            sim.clients.iter_mut().for_each(|client| client.patience = 1);
        }
    }
    assert!(sim.completed > 0 || !sim.tolerable || turns < 300, "seed {seed}: nothing was served");
    // Who behaves comes to vote.
    sim.aside = None;
    (0..3).for_each(|at| sim.world.direct(at, TAKE_PART));
    let lags = |sim: &Sim<'_>| {
        let aside = |at: usize| sim.world.state(at) == ReplicaState::Aside;
        let votes = |at: usize| sim.world.state(at) == ReplicaState::Voting;
        let right = |at: &usize| sim.manners[*at].is_right();
        (0..replicas).filter(right).find(|at| !votes(*at) && !aside(*at))
    };
    let mut left = 20_000;
    while sim.tolerable && lags(&sim).is_some() {
        sim.turn(false);
        left -= 1;
        assert!(left > 0, "seed {seed}: {:?} does not come to vote", lags(&sim));
    }
    let stats = sim.world.voter.stats();
    assert_eq!((stats.sessions_open, stats.services[0].open), (0, 0));
    for (at, manner) in manners.iter().enumerate().take(replicas) {
        if manner.is_right() && sim.tolerable {
            assert_eq!(stats.replicas[at].divergences, 0, "seed {seed}: honest {at} was framed");
            assert_eq!(stats.replicas[at].condemned, 0);
        }
    }
    Shown { admitted: sim.admitted, ends: sim.ends }
}

fn manners(random: &mut Random, faulty: Manner) -> [Manner; 3] {
    let mut manners = [Manner::Honest; 3];
    manners[random.below(3)] = faulty;
    manners
}

fn triple_with(faulty: Manner, cases: u64) {
    for_each_seed(cases, |seed| {
        let manners = manners(&mut Random::new(!seed), faulty);
        run(seed, 3, manners, 400, false);
    });
}

#[test]
fn honest_replicas_serve_everybody() {
    for_each_seed(30, |seed| {
        run(seed, 1 + (seed % 3) as usize, [Manner::Honest; 3], 400, false);
    });
}

#[test]
fn a_slow_replica_costs_nobody_anything() {
    triple_with(Manner::Slow, 20);
}

#[test]
fn a_mute_replica_costs_nobody_anything() {
    triple_with(Manner::Mute, 20);
}

#[test]
fn a_wrong_replica_costs_nobody_anything() {
    triple_with(Manner::Wrong, 40);
}

#[test]
fn a_deaf_domain_costs_nobody_anything() {
    triple_with(Manner::Deaf, 20);
}

#[test]
fn a_hostile_domain_costs_nobody_anything() {
    triple_with(Manner::Hostile, 100);
}

#[test]
fn whatever_replicas_do_no_session_remains() {
    for_each_seed(60, |seed| {
        let mut random = Random::new(!seed);
        use Manner::*;
        let manners = core::array::from_fn(|_| {
            random.pick(&[Honest, Slow, Mute, Wrong, Hostile, Deaf, Mortal])
        });
        run(seed, 1 + random.below(3), manners, 200, random.once_in(2));
    });
}

#[test]
fn replicas_that_die_and_come_back_cost_nobody_anything() {
    let (admitted, ends) = (Cell::new(0), Cell::new(0));
    for_each_seed(20, |seed| {
        let shown = run(seed, 3, [Manner::Mortal; 3], 1_000, false);
        admitted.set(admitted.get() + shown.admitted);
        ends.set(ends.get() + shown.ends);
    });
    assert!(ends.get() > 20 && admitted.get() > 20, "{} {}", ends.get(), admitted.get());
}

#[test]
fn rejuvenation_costs_nobody_anything() {
    let (admitted, ends) = (Cell::new(0), Cell::new(0));
    for_each_seed(20, |seed| {
        let shown = run(seed, 3, [Manner::Honest; 3], 1_000, true);
        admitted.set(admitted.get() + shown.admitted);
        ends.set(ends.get() + shown.ends);
    });
    assert!(ends.get() > 20 && admitted.get() > 20, "{} {}", ends.get(), admitted.get());
}
