//! The network domain on a stack that is a script: every chunking, partial send and order of events, in
//! simulated time, with the domain awake only when it was woken.

mod common;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use common::suite::{self, IDLE_MS, SESSIONS, SLOTS, Seen, World};
use common::voter::{Service, Voter};
use common::{Memory, Rng};
use pd_network::stack::{Accepted, Conn, Event, Received, Sent, Stack};
use pd_network::{Error, Limits, Network};
use proptest::prelude::*;
use resh_channel::config::Transport;
use resh_channel::memory::{Bytes, Words, copy_in};
use resh_channel::message::{Kind, Message, SessionId};
use resh_channel::stats::NetworkStats;
use resh_channel::window::WINDOW_BYTES;

/// Bytes under way in each direction of a connection, at most.
const PIPE_BYTES: usize = 100_000;

/// One connection, between client and stack.
#[derive(Default)]
struct Wire {
    conn: Option<Conn>,
    up: VecDeque<u8>,
    up_ended: bool,
    down: VecDeque<u8>,
    down_ended: bool,
    client_reset: bool,
    reset_told: bool,
    server_reset: bool,
    /// The stack owes an event once there is something to receive, or room to send.
    wants_input: bool,
    wants_room: bool,
}

struct Net {
    wires: Vec<Wire>,
    waiting: VecDeque<usize>,
    by_conn: Vec<Option<usize>>,
    events: VecDeque<Event>,
    rng: Rng,
}

impl Net {
    fn wire(&mut self, conn: Conn) -> &mut Wire {
        let at = self.by_conn[usize::from(conn)].expect("a connection that is open");
        &mut self.wires[at]
    }

    /// Makes the events that are due.
    fn watch(&mut self) {
        for wire in &mut self.wires {
            let Some(conn) = wire.conn else { continue };
            let hung_up = wire.client_reset;
            let readable = wire.wants_input && (!wire.up.is_empty() || wire.up_ended || hung_up);
            let writable = wire.wants_room && (wire.down.len() < PIPE_BYTES || hung_up);
            let gone = hung_up && !wire.reset_told;
            if readable || writable || gone {
                wire.wants_input &= !readable;
                wire.wants_room &= !writable;
                wire.reset_told = hung_up;
                self.events.push_back(Event { conn, readable, writable, hung_up });
            }
        }
    }
}

struct Script(Rc<RefCell<Net>>);

impl Stack for Script {
    fn poll(&mut self, _: u64) {
        self.0.borrow_mut().watch();
    }

    fn flush(&mut self, _: u64) {}

    fn deadline_ms(&self) -> Option<u64> {
        None
    }

    fn next_event(&mut self) -> Option<Event> {
        let mut net = self.0.borrow_mut();
        if net.rng.one_in(20) {
            // An event that means nothing, perhaps for nobody.
            let conn = net.rng.below(SLOTS) as Conn;
            return Some(Event { conn, readable: true, writable: true, hung_up: false });
        }
        net.events.pop_front()
    }

    fn accept(&mut self, conn: Conn) -> Option<Accepted> {
        let mut net = self.0.borrow_mut();
        let at = net.waiting.pop_front()?;
        assert!(net.by_conn[usize::from(conn)].replace(at).is_none(), "number {conn} is in use");
        let wire = &mut net.wires[at];
        wire.conn = Some(conn);
        wire.wants_input = true;
        Some(Accepted { service: 0, peer: address(at), transport: Transport::Tcp })
    }

    fn refuse(&mut self) -> bool {
        let mut net = self.0.borrow_mut();
        let Some(at) = net.waiting.pop_front() else { return false };
        net.wires[at].server_reset = true;
        true
    }

    fn receive(&mut self, conn: Conn, into: &Words, limit: usize) -> Received {
        assert!(limit > 0 && limit <= into.len() * 8);
        let mut net = self.0.borrow_mut();
        let mut rng = net.rng.clone();
        let wire = net.wire(conn);
        let ready = wire.up.len();
        let received = if wire.client_reset {
            Received::Gone
        } else if ready == 0 && wire.up_ended {
            Received::End
        } else if ready == 0 || rng.one_in(10) {
            wire.wants_input = true;
            Received::Nothing
        } else {
            let most = limit.min(ready);
            let len = if rng.one_in(2) { most } else { 1 + rng.below(most) };
            let bytes: Vec<u8> = wire.up.drain(..len).collect();
            copy_in(into, &bytes);
            let more = rng.one_in(2);
            wire.wants_input |= !more;
            Received::Bytes { len, more }
        };
        net.rng = rng;
        received
    }

    fn send(&mut self, conn: Conn, bytes: Bytes<'_>) -> Sent {
        assert!(!bytes.is_empty());
        let mut net = self.0.borrow_mut();
        let mut rng = net.rng.clone();
        let wire = net.wire(conn);
        assert!(!wire.down_ended, "send after the end");
        let most = bytes.len().min(PIPE_BYTES - wire.down.len());
        let len = if rng.one_in(2) { most } else { rng.below(most + 1) };
        let sent = if wire.client_reset {
            Sent::Gone
        } else {
            let mut copy = vec![0; len];
            bytes.copy_to(&mut copy);
            wire.down.extend(copy);
            wire.wants_room |= len < bytes.len();
            Sent::Bytes(len)
        };
        net.rng = rng;
        sent
    }

    fn finish(&mut self, conn: Conn) {
        let mut net = self.0.borrow_mut();
        let wire = net.wire(conn);
        assert!(!wire.down_ended, "ended twice");
        wire.down_ended = true;
    }

    fn close(&mut self, conn: Conn, abort: bool) {
        let mut net = self.0.borrow_mut();
        let wire = net.wire(conn);
        wire.down_ended = true;
        wire.server_reset = abort;
        wire.conn = None;
        net.by_conn[usize::from(conn)] = None;
        net.events.retain(|event| event.conn != conn);
    }

    fn is_gone(&mut self, conn: Conn) -> bool {
        self.0.borrow_mut().wire(conn).client_reset
    }

    fn unacknowledged(&mut self, conn: Conn) -> usize {
        self.0.borrow_mut().wire(conn).down.len()
    }
}

fn address(at: usize) -> SocketAddr {
    let ip = Ipv4Addr::new(10, 1, (at >> 8) as u8, at as u8);
    SocketAddr::new(ip.into(), 40_000)
}

struct Simulation<'m> {
    net: Rc<RefCell<Net>>,
    network: Network<'m, Script>,
    voter: Voter<'m>,
    now_ms: u64,
    steps: u64,
    network_awake: bool,
    voter_awake: bool,
}

impl<'m> Simulation<'m> {
    fn new(memory: &'m Memory, seed: u64) -> Self {
        let ends = memory.ends(Rng::new(seed));
        let net = Net {
            wires: Vec::new(),
            waiting: VecDeque::new(),
            by_conn: vec![None; SLOTS],
            events: VecDeque::new(),
            rng: Rng::new(seed ^ 0xff),
        };
        let net = Rc::new(RefCell::new(net));
        let limits = Limits { sessions: SESSIONS, idle_ms: IDLE_MS };
        let script = Script(net.clone());
        let network = Network::new(script, ends.to_voter, ends.from_voter, ends.window, limits);
        Self {
            net,
            network,
            voter: ends.voter,
            now_ms: 0,
            steps: 0,
            network_awake: true,
            voter_awake: true,
        }
    }
}

impl<'m> World<'m> for Simulation<'m> {
    fn connect(&mut self, _: usize) -> usize {
        let mut net = self.net.borrow_mut();
        let at = net.wires.len();
        net.wires.push(Wire::default());
        net.waiting.push_back(at);
        at
    }

    fn address(&mut self, client: usize) -> SocketAddr {
        address(client)
    }

    fn send(&mut self, client: usize, bytes: &[u8]) -> usize {
        let mut net = self.net.borrow_mut();
        let wire = &mut net.wires[client];
        if wire.server_reset {
            return 0;
        }
        let len = bytes.len().min(PIPE_BYTES - wire.up.len());
        wire.up.extend(&bytes[..len]);
        len
    }

    fn receive(&mut self, client: usize, into: &mut Vec<u8>, limit: usize) -> Seen {
        let mut net = self.net.borrow_mut();
        let wire = &mut net.wires[client];
        if wire.server_reset {
            return Seen::Reset;
        }
        let len = limit.min(wire.down.len());
        into.extend(wire.down.drain(..len));
        if wire.down.is_empty() && wire.down_ended { Seen::End } else { Seen::Open }
    }

    fn finish(&mut self, client: usize) {
        self.net.borrow_mut().wires[client].up_ended = true;
    }

    fn reset(&mut self, client: usize) {
        self.net.borrow_mut().wires[client].client_reset = true;
    }

    fn step(&mut self) {
        self.steps += 1;
        self.now_ms += u64::from(self.steps.is_multiple_of(2_000));
        self.network_awake |= self.voter.step(self.voter_awake);
        self.voter_awake = self.voter_awake && !self.voter.sleep();
        let mut net = self.net.borrow_mut();
        net.watch();
        let something = !net.events.is_empty() || !net.waiting.is_empty();
        drop(net);
        let due = self.network.deadline_ms().is_some_and(|at_ms| at_ms <= self.now_ms);
        if self.network_awake || something || due {
            let turn = self.network.turn(self.now_ms).expect("the voter keeps the rules");
            self.voter_awake |= turn.notify;
            self.network_awake = turn.busy || !self.network.sleep().unwrap();
        }
    }

    fn pass(&mut self, time_ms: u64) {
        for _ in 0..time_ms {
            self.now_ms += 1;
            self.step();
        }
    }

    fn voter(&mut self) -> &mut Voter<'m> {
        &mut self.voter
    }

    fn stats(&mut self) -> NetworkStats {
        self.network.stats().clone()
    }
}

fn simulate(test: impl Fn(&mut Simulation<'_>)) {
    for seed in 0..20 {
        println!("seed {seed}");
        let memory = Memory::new(SLOTS);
        test(&mut Simulation::new(&memory, seed));
    }
}

#[test]
fn downloads() {
    simulate(|w| suite::download(w, 1 << 20));
    simulate(|w| suite::download(w, 0));
    simulate(|w| suite::download(w, 1));
}

suite::cases!(simulate);

/// A session with the service `Source(100)`, of which nothing is released yet.
fn quiet_session(w: &mut Simulation<'_>) -> SessionId {
    w.voter.services = vec![Service::Source(100)];
    w.voter.release_bytes = 0;
    let client = w.connect(0);
    let session = loop {
        w.step();
        if let Some(index) = w.voter.find(address(client)) {
            break w.voter.session(index).id;
        }
    };
    for _ in 0..100 {
        w.step();
    }
    session
}

/// What comes of a record that the voter, which is trusted, must never send.
fn broken_voter(record: impl Fn(SessionId) -> Message) -> Result<(), Error> {
    let memory = Memory::new(SLOTS);
    let mut w = Simulation::new(&memory, 1);
    let id = quiet_session(&mut w);
    w.voter.push(record(id));
    w.voter.step(true);
    w.network.turn(w.now_ms).map(drop)
}

#[test]
fn impossible_records_stop_the_domain() {
    let window = WINDOW_BYTES as u64;
    let records: [fn(SessionId) -> Message; 6] = [
        |id| Message::new(Kind::Release, id).at(WINDOW_BYTES as u64 + 1),
        |id| Message::new(Kind::Fin, id).at(WINDOW_BYTES as u64 + 1),
        |id| Message::new(Kind::Data, id),
        |id| Message::new(Kind::Open, id),
        |id| Message::new(Kind::Taken, id),
        |id| Message::new(Kind::Hello, id),
    ];
    for record in records {
        let result = broken_voter(record);
        assert!(matches!(result, Err(Error::Record(_))), "{result:?}");
    }
    assert_eq!(broken_voter(|id| Message::new(Kind::Release, id).at(window)), Ok(()));
}

#[test]
fn a_release_never_goes_back() {
    let memory = Memory::new(SLOTS);
    let mut w = Simulation::new(&memory, 1);
    let id = quiet_session(&mut w);
    for (offset, possible) in [(10, true), (10, true), (9, false)] {
        w.voter.push(Message::new(Kind::Release, id).at(offset));
        w.voter.step(false);
        assert_eq!(w.network.turn(w.now_ms).is_ok(), possible, "{offset}");
    }
}

/// An id that is freed while its client is still connected: that is reset, and the id can be used again.
#[test]
fn closed_without_an_end_resets_the_client() {
    let memory = Memory::new(SLOTS);
    let mut w = Simulation::new(&memory, 1);
    let id = quiet_session(&mut w);
    w.voter.push(Message::new(Kind::Closed, id));
    w.voter.session_mut(id.index).closed = true;
    w.voter.step(true);
    w.network.turn(w.now_ms).unwrap();
    assert_eq!(w.receive(0, &mut Vec::new(), 1), Seen::Reset);
    assert_eq!((w.stats().open, w.stats().resets), (0, 1));
    w.voter.release_bytes = usize::MAX;
    suite::echo(&mut w, &mut Rng::new(1), 1, 1_000);
}

#[test]
fn a_voter_that_waits_for_room_is_told() {
    let memory = Memory::new(SLOTS);
    let mut w = Simulation::new(&memory, 1);
    let id = quiet_session(&mut w);
    assert!(!w.network.turn(w.now_ms).unwrap().notify);
    w.voter.fill_with(Message::new(Kind::Credit, id));
    assert!(w.network.turn(w.now_ms).unwrap().notify);
}

/// Records for ids that are not, or no more, in use mean nothing.
#[test]
fn stale_records_are_ignored() {
    let stale = |id: SessionId| SessionId { generation: id.generation.wrapping_sub(1), ..id };
    let unused = |id: SessionId| SessionId { index: id.index + 1, ..id };
    let beyond = |id: SessionId| SessionId { index: u16::MAX, ..id };
    for other in [stale, unused, beyond] {
        for kind in [Kind::Release, Kind::Fin, Kind::Reset, Kind::Closed, Kind::Credit, Kind::Data]
        {
            let memory = Memory::new(SLOTS);
            let mut w = Simulation::new(&memory, 1);
            let id = quiet_session(&mut w);
            w.voter.push(Message::new(kind, other(id)).at(1 << 40));
            w.voter.step(true);
            assert_eq!(w.network.turn(w.now_ms).map(drop), Ok(()));
            assert_eq!(w.stats().open, 1);
            w.voter.release_bytes = usize::MAX;
            w.finish(0);
            suite::echo(&mut w, &mut Rng::new(1), 1, 1_000);
        }
    }
}

/// The seed is part of the test: every run is the same.
fn config() -> ProptestConfig {
    let rng_seed = proptest::test_runner::RngSeed::Fixed(0x5e55_1015);
    ProptestConfig { rng_seed, failure_persistence: None, ..ProptestConfig::with_cases(100) }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn echo(seed: u64, len in 0..500_000u64, release in 1..100_000usize, appetite in 1..50usize) {
        let memory = Memory::new(SLOTS);
        let mut world = Simulation::new(&memory, seed);
        world.voter.release_bytes = release;
        world.voter.appetite = appetite;
        suite::echo(&mut world, &mut Rng::new(seed), seed >> 32, len);
    }

    #[test]
    fn churn(seed: u64, release in 1_000..100_000usize, appetite in 1..50usize) {
        let memory = Memory::new(SLOTS);
        let mut world = Simulation::new(&memory, seed);
        world.voter.release_bytes = release;
        world.voter.appetite = appetite;
        suite::churn(&mut world, &mut Rng::new(seed), 60);
    }
}
