//! Sessions of datagrams on a stack that is a script: in simulated time, with the domain awake only when it was woken.

mod common;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use common::suite::{IDLE_MS, SESSIONS, SLOTS};
use common::udp::{self, OF_CLIENT, UdpWorld};
use common::voter::{Service, Voter};
use common::{Memory, Rng};
use pd_network::datagrams::WithDatagrams;
use pd_network::stack::{Accepted, Conn, Datagrams, Envelope, Event, Received, Sent, Stack};
use pd_network::{Limits, Network};
use proptest::prelude::*;
use resh_channel::config::{self, Appliance, OnMismatch, Protocol, Replica, Transport};
use resh_channel::memory::{Bytes, Words};
use resh_channel::message::DATAGRAM_BYTES_MAX;
use resh_channel::stats::NetworkStats;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 1));
const PORT: u16 = 53;

/// The network: what is on its way to the stack, and what came from it.
#[derive(Default)]
struct Net {
    incoming: VecDeque<(Envelope, Vec<u8>)>,
    outgoing: Vec<(Envelope, Vec<u8>)>,
    /// TCP clients that wait.
    waiting: usize,
}

struct Script(Rc<RefCell<Net>>);

impl Datagrams for Script {
    fn take(&mut self, into: &mut [u8]) -> Option<(Envelope, usize)> {
        let (envelope, bytes) = self.0.borrow_mut().incoming.pop_front()?;
        let len = bytes.len().min(into.len());
        into[..len].copy_from_slice(&bytes[..len]);
        Some((envelope, bytes.len()))
    }

    fn put(&mut self, to: &Envelope, bytes: Bytes<'_>) -> bool {
        let mut copy = vec![0; bytes.len()];
        bytes.copy_to(&mut copy);
        self.0.borrow_mut().outgoing.push((*to, copy));
        true
    }
}

/// TCP clients only connect: nothing comes from them.
impl Stack for Script {
    fn poll(&mut self, _: u64) {}

    fn flush(&mut self, _: u64) {}

    fn deadline_ms(&self) -> Option<u64> {
        None
    }

    fn next_event(&mut self) -> Option<Event> {
        None
    }

    fn accept(&mut self, _: Conn) -> Option<Accepted> {
        let mut net = self.0.borrow_mut();
        net.waiting = net.waiting.checked_sub(1)?;
        let peer = SocketAddr::new([10, 9, 1, 1].into(), 1_000 + net.waiting as u16);
        Some(Accepted { service: 0, peer, transport: Transport::Tcp })
    }

    fn refuse(&mut self) -> bool {
        let mut net = self.0.borrow_mut();
        let waits = net.waiting > 0;
        net.waiting = net.waiting.saturating_sub(1);
        waits
    }

    fn receive(&mut self, _: Conn, _: &Words, _: usize) -> Received {
        Received::Nothing
    }

    fn send(&mut self, _: Conn, bytes: Bytes<'_>) -> Sent {
        Sent::Bytes(bytes.len())
    }

    fn finish(&mut self, _: Conn) {}

    fn close(&mut self, _: Conn, _: bool) {}

    fn is_gone(&mut self, _: Conn) -> bool {
        false
    }

    fn unacknowledged(&mut self, _: Conn) -> usize {
        0
    }
}

fn name<const N: usize>(text: &str) -> heapless::String<N> {
    text.try_into().expect("a short name")
}

/// One service over each of these transports.
fn appliance(transports: &[Transport], sessions: u16) -> Appliance {
    let service = |(at, transport): (usize, &Transport)| config::Service {
        name: name(&format!("service-{at}")),
        listen: SocketAddr::new(LOCAL, PORT),
        protocol: Protocol::Raw,
        transport: *transport,
        order: Default::default(),
        state: Default::default(),
        probe: Default::default(),
        on_mismatch: OnMismatch::StopSession,
        replicas: [Replica { name: name("a"), address: ([127, 0, 0, 1], 1).into() }]
            .into_iter()
            .collect(),
    };
    Appliance {
        name: name("test"),
        metrics: None,
        recovery: Default::default(),
        seed: [7; 32],
        limits: config::Limits { sessions, ..Default::default() },
        network: config::Network::Kernel,
        services: transports.iter().enumerate().map(service).collect(),
        guests: Default::default(),
    }
}

struct Simulation<'m> {
    net: Rc<RefCell<Net>>,
    network: Network<'m, WithDatagrams<Script>>,
    voter: Voter<'m>,
    clients: Vec<SocketAddr>,
    now_ms: u64,
    steps: u64,
    network_awake: bool,
    voter_awake: bool,
    /// Once in so many a datagram is lost, doubled, or overtakes another; 0 for never.
    weather: [usize; 3],
    rng: Rng,
}

impl<'m> Simulation<'m> {
    fn new(memory: &'m Memory, seed: u64) -> Self {
        Self::with(memory, seed, &[Transport::Udp], SESSIONS)
    }

    fn with(memory: &'m Memory, seed: u64, transports: &[Transport], sessions: u16) -> Self {
        let ends = memory.ends(Rng::new(seed));
        let net = Rc::new(RefCell::new(Net::default()));
        let appliance = appliance(transports, sessions);
        let stack = WithDatagrams::new(Script(net.clone()), &appliance, SLOTS);
        let limits = Limits { sessions, idle_ms: IDLE_MS };
        let network = Network::new(stack, ends.to_voter, ends.from_voter, ends.window, limits);
        let mut voter = ends.voter;
        voter.services = vec![Service::Echo; transports.len()];
        Self {
            net,
            network,
            voter,
            clients: Vec::new(),
            now_ms: 0,
            steps: 0,
            network_awake: true,
            voter_awake: true,
            weather: [0; 3],
            rng: Rng::new(seed ^ 0xbad),
        }
    }

    /// A datagram from anywhere.
    fn send_from(&mut self, peer: SocketAddr, service: u8, bytes: &[u8]) {
        let local = if peer.is_ipv4() { LOCAL } else { Ipv6Addr::LOCALHOST.into() };
        let envelope = Envelope { service, peer, local, hardware: [2; 6] };
        let [lose, double, overtake] = self.weather;
        let rng = &mut self.rng;
        let mut hits = |n: usize| n != 0 && rng.one_in(n);
        if hits(lose) {
            return;
        }
        let mut net = self.net.borrow_mut();
        for _ in 0..if hits(double) { 2 } else { 1 } {
            if hits(overtake) {
                net.incoming.push_front((envelope, bytes.to_vec()));
            } else {
                net.incoming.push_back((envelope, bytes.to_vec()));
            }
        }
        self.network_awake = true;
    }
}

impl<'m> UdpWorld<'m> for Simulation<'m> {
    fn client(&mut self, host: usize) -> usize {
        let port = 1_000 + self.clients.len() as u16;
        self.clients.push(SocketAddr::new([10, 1, 0, host as u8].into(), port));
        self.clients.len() - 1
    }

    fn address(&mut self, client: usize) -> SocketAddr {
        self.clients[client]
    }

    fn send(&mut self, client: usize, bytes: &[u8]) {
        self.send_from(self.clients[client], 0, bytes);
    }

    fn receive(&mut self, client: usize) -> Option<Vec<u8>> {
        let peer = self.clients[client];
        let mut net = self.net.borrow_mut();
        let at = net.outgoing.iter().position(|(envelope, _)| envelope.peer == peer)?;
        let (envelope, bytes) = net.outgoing.remove(at);
        assert_eq!((envelope.service, envelope.local, envelope.hardware), (0, LOCAL, [2; 6]));
        Some(bytes)
    }

    fn most_bytes(&self) -> usize {
        DATAGRAM_BYTES_MAX
    }

    fn step(&mut self) {
        self.steps += 1;
        self.now_ms += u64::from(self.steps.is_multiple_of(2_000));
        self.network_awake |= self.voter.step(self.voter_awake);
        self.voter_awake = self.voter_awake && !self.voter.sleep();
        let due = self.network.deadline_ms().is_some_and(|at_ms| at_ms <= self.now_ms);
        if self.network_awake || due {
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
    for seed in 0..10 {
        println!("seed {seed}");
        let memory = Memory::new(SLOTS);
        test(&mut Simulation::new(&memory, seed));
    }
}

udp::cases!(simulate);

fn run(w: &mut Simulation<'_>, steps: usize) {
    for _ in 0..steps {
        w.step();
    }
}

/// Longer than any datagram over IPv4: over IPv6 there can be some.
#[test]
fn too_long() {
    simulate(|w| {
        let peer = "[2001:db8::1]:1000".parse().unwrap();
        w.send_from(peer, 0, &vec![1; DATAGRAM_BYTES_MAX + 1]);
        w.send_from(peer, 0, &vec![1; 65_527]);
        run(w, 100);
        assert_eq!((w.stats().datagrams.dropped, w.voter.opened), (2, 0));
        w.send_from(peer, 0, &vec![1; DATAGRAM_BYTES_MAX]);
        run(w, 1_000);
        assert_eq!(w.net.borrow_mut().outgoing.pop().unwrap().1.len(), DATAGRAM_BYTES_MAX);
    });
}

/// Two services that answered each other would never stop.
#[test]
fn no_datagram_of_our_own() {
    simulate(|w| {
        w.send_from(SocketAddr::new(LOCAL, PORT), 0, b"x");
        // No reply can go there.
        w.send_from("10.1.0.1:0".parse().unwrap(), 0, b"x");
        run(w, 100);
        assert_eq!((w.stats().datagrams.dropped, w.voter.opened), (2, 0));
        w.send_from(SocketAddr::new(LOCAL, PORT + 1), 0, b"x");
        run(w, 1_000);
        assert_eq!(w.stats().datagrams.sent, 1);
    });
}

/// A client is all of an IPv6 network of 64 bits: it can have any address in there.
#[test]
fn a_network_is_one_client() {
    simulate(|w| {
        w.voter.release_bytes = 0;
        for host in 0..100u32 {
            let ip = Ipv6Addr::from_bits(0x2001_0db8_u128 << 96 | u128::from(host) << 7);
            w.send_from(SocketAddr::new(ip.into(), 1_000), 0, &host.to_le_bytes());
        }
        run(w, 1_000);
        assert_eq!(w.stats().open as usize, OF_CLIENT);
        let ip = Ipv6Addr::from_bits(0x2001_0db8_0000_0001_u128 << 64);
        w.send_from(SocketAddr::new(ip.into(), 1_000), 0, b"x");
        run(w, 1_000);
        assert_eq!(w.stats().open as usize, OF_CLIENT + 1);
    });
}

/// Datagrams of made-up addresses do not take the sessions that are kept for TCP, and each gets its turn.
#[test]
fn some_sessions_are_for_tcp() {
    let memory = Memory::new(SLOTS);
    let mut w = Simulation::with(&memory, 1, &[Transport::Tcp, Transport::Udp], SESSIONS);
    w.voter.release_bytes = 0;
    for host in 0..200u8 {
        w.send_from(SocketAddr::new([10, 1, 0, host].into(), 1_000), 1, b"x");
    }
    run(&mut w, 1_000);
    let kept = u32::from(SESSIONS) / 4;
    assert_eq!(w.stats().open, u32::from(SESSIONS) - kept);
    w.net.borrow_mut().waiting = kept as usize + 1;
    w.network_awake = true;
    run(&mut w, 1_000);
    let stats = w.stats();
    assert_eq!((stats.open, stats.refused), (SESSIONS.into(), 1));
}

/// A reply is of the service and from the address that was asked.
#[test]
fn replies_go_back() {
    let memory = Memory::new(SLOTS);
    let mut w = Simulation::with(&memory, 1, &[Transport::Udp, Transport::Udp], SESSIONS);
    let peers: [SocketAddr; 2] =
        ["10.1.0.1:7".parse().unwrap(), "[2001:db8::1]:7".parse().unwrap()];
    for (peer, service) in [(peers[0], 0), (peers[1], 0), (peers[0], 1), (peers[1], 1)] {
        w.send_from(peer, service, b"x");
        run(&mut w, 1_000);
        let (envelope, bytes) = w.net.borrow_mut().outgoing.pop().expect("a reply");
        let local = if peer.is_ipv4() { LOCAL } else { Ipv6Addr::LOCALHOST.into() };
        assert_eq!(envelope, Envelope { service, peer, local, hardware: [2; 6] });
        assert_eq!(bytes, b"x");
    }
}

/// The seed is part of the test: every run is the same.
fn config() -> ProptestConfig {
    let rng_seed = proptest::test_runner::RngSeed::Fixed(0xda7a_6a35);
    ProptestConfig { rng_seed, failure_persistence: None, ..ProptestConfig::with_cases(60) }
}

proptest! {
    #![proptest_config(config())]

    /// Whatever the network and the voter do, a reply is whole, and of a question of its client.
    #[test]
    fn churn(seed: u64, appetite in 1..50usize, lose in 0..10usize, double in 0..10usize, overtake in 0..5usize) {
        let memory = Memory::new(SLOTS);
        let mut world = Simulation::new(&memory, seed);
        world.voter.appetite = appetite;
        // Not all are lost.
        world.weather = [if lose == 1 { 2 } else { lose }, double, overtake];
        udp::churn(&mut world, &mut Rng::new(seed), 300);
    }
}
