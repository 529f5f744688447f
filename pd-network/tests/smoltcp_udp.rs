//! Sessions of datagrams on smoltcp's side of the network domain: frames made by hand on a link in memory that may lose,
//! double, reorder and damage them, in simulated time.

mod common;
mod link;

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use common::suite::{IDLE_MS, SESSIONS, SLOTS};
use common::udp::{self, UdpWorld};
use common::voter::Voter;
use common::{Memory, Rng};
use link::Port;
use pd_network::datagrams::WithDatagrams;
use pd_network::smoltcp_stack::SmoltcpStack;
use pd_network::{Limits, Network};
use proptest::prelude::*;
use resh_channel::config::{self, Appliance, OnMismatch, Protocol, Replica, Service, Transport};
use resh_channel::stats::NetworkStats;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, IpProtocol, IpRepr, Ipv4Packet, Ipv4Repr,
    Ipv6Packet, Ipv6Repr, UdpPacket, UdpRepr,
};

const STEPS_PER_MS: u64 = 20;
const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PORT: u16 = 53;
const HEADER_BYTES: usize = 14;
/// The packets of the link.
const MTU: usize = 1500;

fn name<const N: usize>(text: &str) -> heapless::String<N> {
    text.try_into().expect("a short name")
}

/// Services over these transports, all at the same port.
fn appliance(address: IpAddr, transports: &[Transport]) -> Appliance {
    let service = |transport: &Transport| Service {
        name: name(&format!("{transport:?}")),
        listen: SocketAddr::new(address, PORT),
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
        limits: config::Limits { sessions: SESSIONS, ..Default::default() },
        network: config::Network::Kernel,
        services: transports.iter().map(service).collect(),
        guests: Default::default(),
    }
}

fn settings(address: IpAddr) -> config::Smoltcp {
    let prefix_bits = if address.is_ipv4() { 24 } else { 64 };
    config::Smoltcp { tap: None, address, prefix_bits, gateway: None, mac: SERVER_MAC }
}

#[derive(Clone, Copy, Debug, Default)]
struct Faults {
    lose: usize,
    double: usize,
    reorder: usize,
    corrupt: usize,
}

struct Link<'m> {
    network: Network<'m, WithDatagrams<SmoltcpStack<Port>>>,
    voter: Voter<'m>,
    server: SocketAddr,
    clients: Vec<(SocketAddr, EthernetAddress)>,
    /// By client address: what came.
    received: HashMap<SocketAddr, VecDeque<Vec<u8>>>,
    faults: Faults,
    rng: Rng,
    steps: u64,
    now_ms: u64,
    network_awake: bool,
    voter_awake: bool,
}

/// A frame with a datagram.
fn frame(
    (source, source_mac): (SocketAddr, EthernetAddress),
    (destination, destination_mac): (SocketAddr, EthernetAddress),
    bytes: &[u8],
) -> Vec<u8> {
    let (from, to) = (source.ip().into(), destination.ip().into());
    let ip = IpRepr::new(from, to, IpProtocol::Udp, 8 + bytes.len(), 64);
    let mut frame = vec![0; HEADER_BYTES + ip.buffer_len()];
    let mut ethernet = EthernetFrame::new_unchecked(&mut frame);
    ethernet.set_src_addr(source_mac);
    ethernet.set_dst_addr(destination_mac);
    ethernet.set_ethertype(match ip {
        IpRepr::Ipv4(_) => EthernetProtocol::Ipv4,
        IpRepr::Ipv6(_) => EthernetProtocol::Ipv6,
    });
    let checksums = ChecksumCapabilities::default();
    let packet = ethernet.payload_mut();
    ip.emit(&mut packet[..], &checksums);
    UdpRepr { src_port: source.port(), dst_port: destination.port() }.emit(
        &mut UdpPacket::new_unchecked(&mut packet[ip.header_len()..]),
        &from,
        &to,
        bytes.len(),
        |payload| payload.copy_from_slice(bytes),
        &checksums,
    );
    frame
}

/// The datagram of a frame, with all its sums right, and whom it is for.
fn datagram(frame: &[u8]) -> Option<(SocketAddr, EthernetAddress, SocketAddr, Vec<u8>)> {
    assert!(frame.len() <= HEADER_BYTES + MTU);
    let ethernet = EthernetFrame::new_checked(frame).unwrap();
    assert_eq!(ethernet.src_addr().0, SERVER_MAC);
    let checksums = ChecksumCapabilities::default();
    let (ip, payload): (IpRepr, _) = match ethernet.ethertype() {
        EthernetProtocol::Ipv4 => {
            let packet = Ipv4Packet::new_checked(ethernet.payload()).unwrap();
            (Ipv4Repr::parse(&packet, &checksums).unwrap().into(), packet.payload())
        }
        EthernetProtocol::Ipv6 => {
            let packet = Ipv6Packet::new_checked(ethernet.payload()).unwrap();
            (Ipv6Repr::parse(&packet).unwrap().into(), packet.payload())
        }
        _ => return None,
    };
    if ip.next_header() != IpProtocol::Udp {
        return None;
    }
    let udp = UdpPacket::new_checked(payload).unwrap();
    assert!(udp.checksum() != 0 && udp.verify_checksum(&ip.src_addr(), &ip.dst_addr()));
    let to = SocketAddr::new(ip.dst_addr().into(), udp.dst_port());
    let from = SocketAddr::new(ip.src_addr().into(), udp.src_port());
    Some((to, ethernet.dst_addr(), from, udp.payload().to_vec()))
}

impl<'m> Link<'m> {
    fn new(memory: &'m Memory, seed: u64, address: &str) -> Self {
        Self::with(memory, seed, address, &[Transport::Udp])
    }

    fn with(memory: &'m Memory, seed: u64, address: &str, transports: &[Transport]) -> Self {
        let ends = memory.ends(Rng::new(seed));
        let address: IpAddr = address.parse().unwrap();
        let appliance = appliance(address, transports);
        let stack = SmoltcpStack::new(Port::default(), &settings(address), &appliance, seed);
        let stack = WithDatagrams::new(stack.expect("it fits"), &appliance, SLOTS);
        let limits = Limits { sessions: SESSIONS, idle_ms: IDLE_MS };
        let network = Network::new(stack, ends.to_voter, ends.from_voter, ends.window, limits);
        Self {
            network,
            voter: ends.voter,
            server: SocketAddr::new(address, PORT),
            clients: Vec::new(),
            received: HashMap::new(),
            faults: Faults::default(),
            rng: Rng::new(seed ^ 0xf00d),
            steps: 0,
            now_ms: 0,
            network_awake: true,
            voter_awake: true,
        }
    }

    fn put(&mut self, mut frame: Vec<u8>) {
        let Faults { lose, double, reorder, corrupt } = self.faults;
        let rng = &mut self.rng;
        let mut hits = |n: usize| n != 0 && rng.one_in(n);
        if hits(lose) {
            return;
        }
        if hits(corrupt) {
            let at = frame.len() - 1;
            frame[at] ^= 0x10;
        }
        let incoming = &mut self.network.stack().stack().device().incoming;
        for _ in 0..if hits(double) { 2 } else { 1 } {
            if hits(reorder) {
                incoming.push_front(frame.clone());
            } else {
                incoming.push_back(frame.clone());
            }
        }
    }

    fn server(&self) -> (SocketAddr, EthernetAddress) {
        (self.server, EthernetAddress(SERVER_MAC))
    }

    fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            self.step();
        }
    }
}

impl<'m> UdpWorld<'m> for Link<'m> {
    fn client(&mut self, host: usize) -> usize {
        let number = self.clients.len() as u16;
        // Those of IPv6 are in networks of their own, behind a router.
        let ip: IpAddr = match self.server.is_ipv4() {
            true => [10, 9, 0, 10 + host as u8].into(),
            false => [0xfd00, 0, 0, 1 + host as u16, 0, 0, 0, number].into(),
        };
        let mac = EthernetAddress([2, 0, 0, 0, 1, host as u8]);
        self.clients.push((SocketAddr::new(ip, 1_000 + number), mac));
        self.clients.len() - 1
    }

    fn address(&mut self, client: usize) -> SocketAddr {
        self.clients[client].0
    }

    fn send(&mut self, client: usize, bytes: &[u8]) {
        self.put(frame(self.clients[client], self.server(), bytes));
    }

    fn receive(&mut self, client: usize) -> Option<Vec<u8>> {
        self.received.get_mut(&self.clients[client].0)?.pop_front()
    }

    fn most_bytes(&self) -> usize {
        MTU - 8 - if self.server.is_ipv4() { 20 } else { 40 }
    }

    fn step(&mut self) {
        self.steps += 1;
        self.now_ms += u64::from(self.steps.is_multiple_of(STEPS_PER_MS));
        self.network_awake |= self.voter.step(self.voter_awake);
        self.voter_awake = self.voter_awake && !self.voter.sleep();
        let frames = !self.network.stack().stack().device().incoming.is_empty();
        let due = self.network.deadline_ms().is_some_and(|at_ms| at_ms <= self.now_ms);
        if self.network_awake || frames || due {
            let turn = self.network.turn(self.now_ms).expect("the voter keeps the rules");
            self.voter_awake |= turn.notify;
            self.network_awake = turn.busy || !self.network.sleep().unwrap();
        }
        let outgoing = std::mem::take(&mut self.network.stack().stack().device().outgoing);
        for (to, mac, from, bytes) in outgoing.iter().filter_map(|frame| datagram(frame)) {
            assert_eq!(from, self.server);
            // Back to where the request came from, without asking.
            assert!(self.clients.contains(&(to, mac)), "{to} at {mac}");
            self.received.entry(to).or_default().push_back(bytes);
        }
    }

    fn pass(&mut self, time_ms: u64) {
        self.run((time_ms * STEPS_PER_MS) as usize);
    }

    fn voter(&mut self) -> &mut Voter<'m> {
        &mut self.voter
    }

    fn stats(&mut self) -> NetworkStats {
        self.network.stats().clone()
    }
}

/// Runs `test` over IPv4 and over IPv6.
fn link(test: impl Fn(&mut Link<'_>)) {
    for (seed, address) in [(1, "10.9.0.1"), (2, "fd00::1"), (3, "10.9.0.1")] {
        println!("seed {seed}, {address}");
        let memory = Memory::new(SLOTS);
        test(&mut Link::new(&memory, seed, address));
    }
}

udp::cases!(link);

/// What is no datagram to the service makes no session.
#[test]
fn other_frames() {
    link(|w| {
        let client = w.client(0);
        let (from, to) = (w.clients[client], w.server());
        let good = frame(from, to, b"question");
        let v4 = to.0.is_ipv4();
        let changed = |at: usize, value: u8| {
            let mut frame = good.clone();
            frame[at] ^= value;
            frame
        };
        let port = SocketAddr::new(to.0.ip(), PORT + 1);
        let everybody = EthernetAddress::BROADCAST;
        let mut frames = vec![
            // A damaged payload, a damaged port.
            changed(good.len() - 1, 1),
            changed(if v4 { 35 } else { 55 }, 1),
            // Cut short.
            good[..good.len() - 1].to_vec(),
            good[..20].to_vec(),
            // Another port, another station, all stations; from many.
            frame(from, (port, to.1), b"question"),
            frame(from, (to.0, EthernetAddress([2, 0, 0, 0, 0, 9])), b"question"),
            frame(from, (to.0, everybody), b"question"),
            frame((from.0, everybody), to, b"question"),
        ];
        let many: &[IpAddr] = if v4 {
            &[[10, 9, 0, 255].into(), [255, 255, 255, 255].into(), [224, 0, 0, 1].into()]
        } else {
            &[[0xff02, 0, 0, 0, 0, 0, 0, 1].into()]
        };
        for ip in many {
            let address = SocketAddr::new(*ip, PORT);
            frames.push(frame(from, (address, to.1), b"question"));
            frames.push(frame((address, from.1), to, b"question"));
        }
        if v4 {
            // Fragments: the first of some, and one that is not the first.
            for (at, value) in [(20, 0x20), (21, 1)] {
                let mut fragment = changed(at, value);
                Ipv4Packet::new_unchecked(&mut fragment[HEADER_BYTES..]).fill_checksum();
                frames.push(fragment);
            }
            // A damaged header.
            frames.push(changed(22, 1));
        } else {
            let mut bare = good.clone();
            bare[60..62].fill(0);
            frames.push(bare);
        }
        for frame in frames {
            w.put(frame);
            w.run(100);
        }
        assert_eq!((w.voter.opened, w.stats().datagrams.received), (0, 0));
        if v4 {
            // Without a sum, which is allowed.
            let mut bare = good.clone();
            bare[40..42].fill(0);
            w.put(bare);
        } else {
            w.put(good.clone());
        }
        w.run(1_000);
        assert_eq!(w.receive(client), Some(b"question".to_vec()));
    });
}

/// Whoever pretends to be somebody who is not there holds up nobody: no reply waits for another one.
#[test]
fn replies_to_nobody() {
    link(|w| {
        let there = w.client(0);
        for host in 1..100 {
            let ghost = w.client(host);
            w.send(ghost, b"boo");
            w.run(20);
            w.send(there, &[host as u8]);
            w.run(200);
            assert_eq!(w.receive(there), Some(vec![host as u8]));
        }
        assert_eq!(w.stats().datagrams.lost, 0);
    });
}

/// A service over TCP has the same port.
#[test]
fn same_port() {
    use common::voter::Service::{Echo, Refuse};
    let memory = Memory::new(SLOTS);
    let transports = [Transport::Tcp, Transport::Udp];
    let mut w = Link::with(&memory, 1, "10.9.0.1", &transports);
    w.voter.services = vec![Refuse, Echo];
    let client = w.client(0);
    w.send(client, b"question");
    w.run(1_000);
    assert_eq!(w.receive(client), Some(b"question".to_vec()));
}

/// A burst that is more than is kept: some are answered, the others lost, and then all is as before.
#[test]
fn bursts() {
    link(|w| {
        w.voter.appetite = 0;
        let clients: Vec<usize> = (0..40).map(|host| w.client(host)).collect();
        for round in 0..100u32 {
            for &client in &clients {
                w.send(client, &[&round.to_le_bytes()[..], &[7; 1_000]].concat());
            }
        }
        w.run(1_000);
        w.voter.appetite = usize::MAX;
        w.pass(100);
        let stats = w.stats().datagrams;
        assert_eq!((stats.received, stats.sent), (4_000, SESSIONS.into()));
        assert_eq!(stats.dropped, stats.received - stats.sent);
        for client in clients {
            while w.receive(client).is_some() {}
            w.send(client, b"again");
            w.run(200);
            assert_eq!(w.receive(client), Some(b"again".to_vec()));
        }
    });
}

/// The seed is part of the test: every run is the same.
fn config() -> ProptestConfig {
    let rng_seed = proptest::test_runner::RngSeed::Fixed(0xda7a_5017);
    ProptestConfig { rng_seed, failure_persistence: None, ..ProptestConfig::with_cases(40) }
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
    #![proptest_config(config())]

    /// Whatever the link does, a reply is whole, and of a question of its client.
    #[test]
    fn churn(seed: u64, faults in faults(), v6: bool) {
        let memory = Memory::new(SLOTS);
        let mut world = Link::new(&memory, seed, if v6 { "fd00::1" } else { "10.9.0.1" });
        world.faults = faults;
        udp::churn(&mut world, &mut Rng::new(seed), 300);
    }

    /// No frame does any harm.
    #[test]
    fn any_frame(seed: u64, flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), cut: prop::sample::Index, v6: bool) {
        let memory = Memory::new(SLOTS);
        let mut w = Link::new(&memory, seed, if v6 { "fd00::1" } else { "10.9.0.1" });
        let client = w.client(0);
        let mut frame = frame(w.clients[client], w.server(), b"question");
        for (at, value) in flips {
            let at = at.index(frame.len());
            frame[at] = value;
        }
        frame.truncate(frame.len() - cut.index(frame.len()) / 2 * usize::from(seed % 2 == 0));
        // What it would be answered may go anywhere.
        w.voter.release_bytes = 0;
        w.put(frame);
        w.run(100);
        w.voter.services = vec![common::voter::Service::Refuse];
        w.run(2_000);
    }
}
