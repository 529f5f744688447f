//! Random sessions with random fates, of which every request must be executed once and in order.

use std::collections::VecDeque;

use super::{Server, bodies, get, put, request};
use crate::support::voter::Voter;
use crate::support::{Memory, REPLICA, Random, TOTAL, cases, id};
use resh_channel::message::{Kind, Message, Request, SessionId};

/// A client's session, as the script has it.
#[derive(Default)]
struct Client {
    id: SessionId,
    /// Requests that are to come.
    requests: VecDeque<Vec<u8>>,
    /// Bytes that were sent to the gateway and are not ordered.
    pending: VecDeque<Vec<u8>>,
    /// Position up to which requests were ordered.
    position: u64,
    /// The number of the last request ordered.
    last: u64,
    /// The gateway has a voice.
    voiced: bool,
    /// What the client is to be told while that is so.
    told: Vec<String>,
    fin: bool,
    over: bool,
}

/// Random sessions with random fates.
struct World<'m> {
    voter: Voter<'m>,
    server: Server,
    clients: Vec<Client>,
    ordered: Vec<String>,
    made: usize,
}

impl World<'_> {
    fn begin(&mut self, random: &mut Random, at: usize) {
        let before = &self.clients[at];
        let answered = self.voter.answered.last().map_or(0, |(number, ..)| *number);
        if !before.over || before.last > answered {
            return;
        }
        let session = id(at as u16, before.id.generation + 1);
        let voiced = !random.one_in(3);
        if voiced && !self.voter.open(session, TOTAL) {
            return;
        }
        let requests = (0..random.length(12))
            .map(|_| {
                self.made += 1;
                let path = format!("{}-{}", self.made, "p".repeat(random.length(200)));
                if random.one_in(3) { get(&path) } else { put(&path) }
            })
            .collect();
        self.clients[at] = Client { id: session, requests, voiced, ..Client::default() };
    }

    /// The client says more.
    fn send(&mut self, random: &mut Random, at: usize) {
        let client = &mut self.clients[at];
        if client.over || client.fin {
            return;
        }
        let Some(request) = client.requests.front().cloned() else {
            if client.voiced && self.voter.request_fin(at as u16) {
                client.fin = true;
            }
            client.over |= !client.voiced && client.pending.is_empty();
            return;
        };
        if client.voiced {
            if self.voter.sessions[&(at as u16)].request_credit() < request.len() {
                return;
            }
            let (one, other) = request.split_at(random.below(request.len()));
            let mut sent = one.is_empty() || self.voter.request(at as u16, one);
            if random.one_in(2) {
                self.voter.run();
            }
            // Whatever it takes.
            while sent && !self.voter.request(at as u16, other) {
                self.voter.run();
                self.voter.hear();
                sent = true;
            }
            if !sent {
                return;
            }
        }
        client.requests.pop_front();
        client.pending.push_back(request);
    }

    /// The next request of a client is ordered, if it was framed.
    fn order(&mut self, at: usize) {
        let answered = self.voter.answered.len();
        let client = &mut self.clients[at];
        if self.ordered.len() > answered + 40 {
            return;
        }
        let Some(bytes) = client.pending.front() else { return };
        let end = client.position + bytes.len() as u64;
        let mut flags = 0;
        if client.voiced {
            let framed = &self.voter.sessions[&(at as u16)].framed;
            let Some((_, said)) = framed.iter().find(|(position, _)| *position == end) else {
                assert!(framed.iter().all(|(position, _)| *position < end), "framed beyond");
                return;
            };
            flags = *said;
            assert_eq!(flags, if bytes.starts_with(b"GET") { Request::READ_ONLY } else { 0 });
        }
        let number = self.ordered.len() as u64 + 1;
        if !self.voter.order(client.id, number, flags, bytes) {
            return;
        }
        let (path, _) = request(bytes).unwrap();
        if client.voiced {
            client.told.push(format!("{} {path}", self.ordered.len()));
        }
        self.ordered.push(path);
        client.pending.pop_front();
        (client.position, client.last) = (end, number);
    }

    /// The gateway loses its voice, or the session ends, or the gateway is given a voice.
    fn change(&mut self, random: &mut Random, at: usize) {
        let answered = self.voter.answered.last().map_or(0, |(number, ..)| *number);
        let client = &mut self.clients[at];
        if client.over {
            return;
        }
        let evict = Message::new(Kind::Evict, client.id).arg(REPLICA as u8);
        let reset = Message::new(Kind::Reset, client.id);
        match random.below(6) {
            0 if client.voiced && self.voter.say(&evict, &[]) => {
                self.lose(at);
            }
            1 if self.voter.say(&reset, &[]) => {
                self.lose(at);
                self.clients[at].over = true;
            }
            2.. if !client.voiced && client.pending.is_empty() && client.last <= answered => {
                let from = (client.position, random.below(1000) as u64);
                if self.voter.admit(client.id, TOTAL, from) {
                    client.voiced = true;
                    client.told.clear();
                }
            }
            _ => {}
        }
    }

    /// What the client is told from now on is none of the gateway's business.
    fn lose(&mut self, at: usize) {
        if std::mem::take(&mut self.clients[at].voiced) {
            self.check(at, false);
        }
        let client = &mut self.clients[at];
        if std::mem::take(&mut client.fin) {
            client.over = true;
        }
    }

    fn check(&mut self, at: usize, complete: bool) {
        let told = &self.clients[at].told;
        let heard = bodies(&self.voter.sessions[&(at as u16)].replied);
        assert!(told.starts_with(&heard), "{heard:?}, not {told:?}");
        assert!(!complete || heard.len() == told.len(), "{heard:?}, not {told:?}");
    }

    fn step(&mut self, random: &mut Random) {
        let at = random.below(self.clients.len());
        match random.below(16) {
            0 => self.begin(random, at),
            1..5 => self.send(random, at),
            5..9 => self.order(at),
            9 if random.one_in(4) => self.change(random, at),
            10..13 => self.server.answer(&mut self.voter, random),
            13 if self.clients[at].voiced => {
                self.voter.allow(at as u16, random.length(5000) as u64);
            }
            14 => self.voter.hear_some(random.length(10)),
            _ => {}
        }
        if !random.one_in(3) {
            self.voter.run();
        }
        self.end(at);
    }

    /// A session of which everything was said is over.
    fn end(&mut self, at: usize) {
        let client = &self.clients[at];
        if client.voiced && client.fin && client.pending.is_empty() {
            let known = &self.voter.sessions[&(at as u16)];
            if known.fin {
                self.check(at, true);
                self.clients[at].over = true;
                self.clients[at].voiced = false;
            }
        }
    }
}

#[test]
fn every_request_is_executed_once_and_in_order() {
    let mut total = 0;
    for seed in 0..cases(150) {
        let memory = Memory::new();
        let random = &mut Random(seed);
        let over = || Client { over: true, ..Client::default() };
        let mut world = World {
            voter: Voter::joined(memory.rings()),
            server: Server::default(),
            clients: (0..5).map(|at| Client { id: id(at, 0), ..over() }).collect(),
            ordered: Vec::new(),
            made: 0,
        };
        for _ in 0..random.length(4000) {
            world.step(random);
        }
        // All that has begun comes to its end.
        for round in 0..20_000 {
            let at = round % world.clients.len();
            world.send(random, at);
            world.voter.run();
            world.voter.hear();
            world.order(at);
            world.voter.run();
            world.server.answer(&mut world.voter, random);
            world.voter.run();
            world.voter.hear();
            if world.clients[at].voiced {
                world.voter.allow(at as u16, 5000);
            }
            world.end(at);
            if world.clients.iter().all(|client| client.over)
                && world.voter.answered.len() == world.ordered.len()
            {
                break;
            }
        }
        let numbers: Vec<u64> = world.voter.answered.iter().map(|(number, ..)| *number).collect();
        let expected: Vec<u64> = (1..=world.ordered.len() as u64).collect();
        assert_eq!(numbers, expected, "seed {seed}");
        assert!(world.voter.answered.iter().all(|(.., service)| *service == TOTAL));
        let executed: Vec<String> = world.server.executed.clone();
        let ordered: Vec<String> = world.ordered.clone();
        assert_eq!(executed, ordered, "seed {seed}");
        assert!(
            world.clients.iter().all(|client| client.over),
            "seed {seed}: a session never ends"
        );
        total += ordered.len();
    }
    assert!(total > 5_000, "{total} requests");
}
