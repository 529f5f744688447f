//! The network domain on smoltcp, with smoltcp clients on the other end of a link in memory that may lose,
//! double and reorder frames, in simulated time.

mod common;
mod link;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use common::suite::{self, IDLE_MS, SESSIONS, SLOTS, Seen, World};
use common::voter::Voter;
use common::{Memory, Rng};
use link::Port;
use pd_network::smoltcp_stack::{SetupError, SmoltcpStack};
use pd_network::{Limits, Network};
use proptest::prelude::*;
use resh_channel::config::{self, Appliance, OnMismatch, Protocol, Replica, Service};
use resh_channel::stats::NetworkStats;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{self, RecvError, State};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpCidr};

/// Steps in a millisecond: what happens at once takes some.
const STEPS_PER_MS: u64 = 20;

/// What the link does to frames: once in so many, 0 for never.
#[derive(Clone, Copy, Debug, Default)]
struct Faults {
    lose: usize,
    double: usize,
    reorder: usize,
    corrupt: usize,
}

struct Client {
    handle: SocketHandle,
    address: SocketAddr,
    /// Its stream is to be ended once it is connected.
    finishes: bool,
}

struct Link<'m> {
    network: Network<'m, SmoltcpStack<Port>>,
    voter: Voter<'m>,
    server: IpAddr,
    port: Port,
    interface: Interface,
    sockets: SocketSet<'static>,
    clients: Vec<Client>,
    faults: Faults,
    /// While nothing happens, go to when something will.
    skips: bool,
    quiet: u64,
    rng: Rng,
    steps: u64,
    now_ms: u64,
    network_awake: bool,
    voter_awake: bool,
}

fn name<const N: usize>(text: &str) -> heapless::String<N> {
    text.try_into().expect("a short name")
}

fn appliance(listen: SocketAddr) -> Appliance {
    let replica = Replica { name: name("a"), address: ([127, 0, 0, 1], 1).into() };
    let service = Service {
        name: name("service"),
        listen,
        protocol: Protocol::Raw,
        transport: core::default::Default::default(),
        order: core::default::Default::default(),
        state: core::default::Default::default(),
        probe: core::default::Default::default(),
        on_mismatch: OnMismatch::StopSession,
        replicas: [replica].into_iter().collect(),
    };
    Appliance {
        name: name("test"),
        metrics: None,
        recovery: core::default::Default::default(),
        seed: core::default::Default::default(),
        limits: config::Limits { sessions: SESSIONS, ..config::Limits::default() },
        network: config::Network::Kernel,
        services: [service].into_iter().collect(),
        guests: [].into_iter().collect(),
    }
}

fn settings(address: IpAddr) -> config::Smoltcp {
    config::Smoltcp {
        tap: None,
        address,
        prefix_bits: if address.is_ipv4() { 24 } else { 64 },
        gateway: None,
        mac: [2, 0, 0, 0, 0, 1],
    }
}

const V4: [&str; 2] = ["10.9.0.1", "10.9.0.2"];
const V6: [&str; 2] = ["fd00::1", "fd00::2"];

impl<'m> Link<'m> {
    fn new(memory: &'m Memory, seed: u64, addresses: [&str; 2], idle_ms: u64) -> Self {
        let ends = memory.ends(Rng::new(seed));
        let [server, client] = addresses.map(|text| text.parse::<IpAddr>().unwrap());
        let appliance = appliance(SocketAddr::new(server, 80));
        let stack = SmoltcpStack::new(Port::default(), &settings(server), &appliance, seed);
        let stack = stack.expect("the configuration fits");
        let limits = Limits { sessions: SESSIONS, idle_ms };
        let network = Network::new(stack, ends.to_voter, ends.from_voter, ends.window, limits);
        let mut port = Port::default();
        let mut config = Config::new(EthernetAddress([2, 0, 0, 0, 0, 2]).into());
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut port, Instant::from_millis(0));
        interface.update_ip_addrs(|addresses| {
            let bits = settings(client).prefix_bits;
            addresses.push(IpCidr::new(client.into(), bits)).unwrap();
        });
        Self {
            network,
            voter: ends.voter,
            server,
            port,
            interface,
            sockets: SocketSet::new(Vec::new()),
            clients: Vec::new(),
            faults: Faults::default(),
            skips: false,
            quiet: 0,
            rng: Rng::new(seed ^ 0xf00d),
            steps: 0,
            now_ms: 0,
            network_awake: true,
            voter_awake: true,
        }
    }

    /// A client at a port of its own choice.
    fn connect_from(&mut self, port: u16) -> usize {
        let buffer = || tcp::SocketBuffer::new(vec![0; 64 * 1024]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        socket
            .connect(self.interface.context(), (self.server, 80), port)
            .expect("the port is free");
        let address = SocketAddr::new(self.interface.ip_addrs()[0].address().into(), port);
        let handle = self.sockets.add(socket);
        self.clients.push(Client { handle, address, finishes: false });
        self.clients.len() - 1
    }

    fn socket(&mut self, client: usize) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.clients[client].handle)
    }

    /// Carries frames over, with what the link does to them.
    fn carry(&mut self) {
        let Faults { lose, double, reorder, corrupt } = self.faults;
        let rng = &mut self.rng;
        let mut hits = |n: usize| n != 0 && rng.one_in(n);
        let mut way = |from: &mut Vec<Vec<u8>>, to: &mut VecDeque<Vec<u8>>| {
            for mut frame in from.drain(..) {
                if hits(lose) {
                    continue;
                }
                if hits(corrupt) {
                    let at = frame.len() - 1;
                    frame[at] ^= 0x10;
                }
                if hits(double) {
                    to.push_back(frame.clone());
                }
                if hits(reorder) {
                    to.push_front(frame);
                } else {
                    to.push_back(frame);
                }
            }
        };
        let device = self.network.stack().device();
        way(&mut device.outgoing, &mut self.port.incoming);
        way(&mut self.port.outgoing, &mut device.incoming);
    }
}

impl<'m> World<'m> for Link<'m> {
    fn connect(&mut self, _: usize) -> usize {
        self.connect_from(40_000 + self.clients.len() as u16)
    }

    fn address(&mut self, client: usize) -> SocketAddr {
        self.clients[client].address
    }

    fn send(&mut self, client: usize, bytes: &[u8]) -> usize {
        let socket = self.socket(client);
        if socket.can_send() { socket.send_slice(bytes).unwrap() } else { 0 }
    }

    fn receive(&mut self, client: usize, into: &mut Vec<u8>, limit: usize) -> Seen {
        let mut buffer = vec![0; limit.min(64 * 1024)];
        let socket = self.socket(client);
        match socket.recv_slice(&mut buffer) {
            Ok(len) => {
                into.extend_from_slice(&buffer[..len]);
                Seen::Open
            }
            Err(RecvError::Finished) => Seen::End,
            Err(RecvError::InvalidState) if socket.state() == State::Closed => Seen::Reset,
            Err(RecvError::InvalidState) => Seen::Open,
        }
    }

    fn finish(&mut self, client: usize) {
        self.clients[client].finishes = true;
    }

    fn reset(&mut self, client: usize) {
        self.socket(client).abort();
    }

    fn step(&mut self) {
        self.steps += 1;
        self.now_ms += u64::from(self.steps.is_multiple_of(STEPS_PER_MS));
        self.quiet += 1;
        if self.skips && self.quiet > 2 * STEPS_PER_MS {
            let now = Instant::from_millis(self.now_ms as i64);
            let theirs =
                self.interface.poll_at(now, &self.sockets).map(|at| at.total_millis() as u64);
            let due_ms = [theirs, self.network.deadline_ms()].into_iter().flatten().min();
            self.now_ms = self.now_ms.max(due_ms.unwrap_or(0));
            self.quiet = 0;
        }
        for client in &mut self.clients {
            let socket: &mut tcp::Socket<'_> = self.sockets.get_mut(client.handle);
            if client.finishes && socket.state() != State::SynSent {
                client.finishes = false;
                socket.close();
            }
        }
        self.network_awake |= self.voter.step(self.voter_awake);
        self.voter_awake = self.voter_awake && !self.voter.sleep();
        let now = Instant::from_millis(self.now_ms as i64);
        self.interface.poll(now, &mut self.port, &mut self.sockets);
        self.carry();
        let frames = !self.network.stack().device().incoming.is_empty();
        let due = self.network.deadline_ms().is_some_and(|at_ms| at_ms <= self.now_ms);
        if self.network_awake || frames || due {
            self.quiet = if frames { 0 } else { self.quiet };
            let turn = self.network.turn(self.now_ms).expect("the voter keeps the rules");
            self.voter_awake |= turn.notify;
            self.network_awake = turn.busy || !self.network.sleep().unwrap();
        }
        self.carry();
    }

    fn pass(&mut self, time_ms: u64) {
        for _ in 0..time_ms * STEPS_PER_MS {
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

/// Runs `test` over IPv4 and over IPv6. Afterwards no socket may be in use, but for those in TIME-WAIT.
fn link(test: impl Fn(&mut Link<'_>)) {
    for (seed, addresses) in [(1, V4), (2, V6), (3, V4)] {
        println!("seed {seed}, {addresses:?}");
        let memory = Memory::new(SLOTS);
        let mut link = Link::new(&memory, seed, addresses, IDLE_MS);
        test(&mut link);
        link.pass(15_000);
        assert_eq!(link.network.stack().sockets_in_use(), 0);
    }
}

#[test]
fn downloads() {
    link(|w| {
        suite::download(w, 0);
        suite::download(w, 1);
        suite::download(w, 1 << 20);
    });
}

suite::cases!(link);

#[test]
fn wrong_address() {
    let appliance = appliance("10.9.0.7:80".parse().unwrap());
    let interface = "10.9.0.1".parse().unwrap();
    let error = SmoltcpStack::new(Port::default(), &settings(interface), &appliance, 1).err();
    let service = name("service");
    let listen = "10.9.0.7:80".parse().unwrap();
    assert_eq!(error, Some(SetupError::Address { service, listen, interface }));
}

/// Connections to a port of no service are refused at once.
#[test]
fn closed_port() {
    link(|w| {
        let client = w.connect(0);
        let handle = w.clients[client].handle;
        let server = w.server;
        let socket: &mut tcp::Socket<'_> = w.sockets.get_mut(handle);
        socket.abort();
        w.pass(2);
        let socket: &mut tcp::Socket<'_> = w.sockets.get_mut(handle);
        socket.connect(w.interface.context(), (server, 81), 50_000).unwrap();
        w.pass(2);
        assert_eq!(w.receive(client, &mut Vec::new(), 1), Seen::Reset);
    });
}

/// Handshakes that never end hold back nobody, and their sockets come back.
#[test]
fn handshake_flood() {
    link(|w| {
        // The neighbours know each other.
        suite::echo(w, &mut Rng::new(4), 4, 10);
        let before = w.clients.len();
        let mut most = 0;
        for port in 1_000..3_000 {
            w.connect_from(port);
            w.step();
            // Gone without a word: the SYN is under way, and what it is answered finds nobody.
            w.port.incoming.clear();
            let handle = w.clients.pop().expect("just made").handle;
            w.sockets.remove(handle);
            most = most.max(w.network.stack().sockets_in_use());
        }
        assert_eq!(w.clients.len(), before);
        assert!(most > 64, "{most}: the test shows nothing");
        suite::echo(w, &mut Rng::new(4), 4, 10_000);
    });
}

/// A connection may be silent for as long as the configuration says.
#[test]
fn long_silence() {
    let memory = Memory::new(SLOTS);
    let mut world = Link::new(&memory, 5, V4, 1_000_000);
    let w = &mut world;
    w.voter().services = vec![common::voter::Service::Echo];
    let client = w.connect(0);
    for round in 0..3 {
        w.pass(100);
        assert_eq!(w.send(client, b"x"), 1, "round {round}");
        w.pass(100);
        assert_eq!(w.receive(client, &mut Vec::new(), 1), Seen::Open);
        w.pass(200_000);
    }
    w.finish(client);
    w.pass(1_000);
    assert_eq!(w.receive(client, &mut Vec::new(), 1), Seen::End);
    assert_eq!((w.stats().open, w.stats().resets), (0, 0));
}

/// The same client port again, while its last connection is in TIME-WAIT here.
#[test]
fn port_again() {
    link(|w| {
        w.voter().services = vec![common::voter::Service::Source(10)];
        for round in 0..5 {
            let client = w.connect(0);
            let mut bytes = Vec::new();
            while w.receive(client, &mut bytes, 100) == Seen::Open {
                w.step();
            }
            assert_eq!(bytes.len(), 10, "round {round}");
            w.finish(client);
            w.pass(20);
            let handle = w.clients.pop().expect("just made").handle;
            w.sockets.remove(handle);
        }
    });
}

/// The seed is part of the test: every run is the same.
fn config(cases: u32) -> ProptestConfig {
    let rng_seed = proptest::test_runner::RngSeed::Fixed(0x7c90_0d1e);
    ProptestConfig { rng_seed, failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

fn faults() -> impl Strategy<Value = Faults> {
    let often = || prop_oneof![Just(0), 5..100usize];
    (often(), often(), often(), often()).prop_map(|(lose, double, reorder, corrupt)| Faults {
        lose,
        double,
        reorder,
        corrupt,
    })
}

proptest! {
    #![proptest_config(config(40))]

    /// Whatever the link does, the bytes are right.
    #[test]
    fn echo(seed: u64, len in 0..200_000u64, faults in faults(), v6: bool) {
        let memory = Memory::new(SLOTS);
        let mut world = Link::new(&memory, seed, if v6 { V6 } else { V4 }, 600_000);
        world.faults = faults;
        world.skips = true;
        suite::echo(&mut world, &mut Rng::new(seed), seed >> 32, len);
    }

    #[test]
    fn churn(seed: u64, release in 1_000..100_000usize, v6: bool) {
        let memory = Memory::new(SLOTS);
        let mut world = Link::new(&memory, seed, if v6 { V6 } else { V4 }, 600_000);
        world.voter.release_bytes = release;
        suite::churn(&mut world, &mut Rng::new(seed), 60);
        world.pass(15_000);
        assert_eq!(world.network.stack().sockets_in_use(), 0);
    }
}
