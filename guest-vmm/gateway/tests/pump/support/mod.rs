//! A voter and a replica's server to put a gateway between, both scripted.

pub(crate) mod server;
pub(crate) mod voter;

use std::sync::atomic::AtomicU64;

use gateway::Rings;
use resh_channel::config::{Appliance, Http1, Limits, Network, OnMismatch, Protocol};
use resh_channel::config::{Order, Replica, Service, Transport};
use resh_channel::message::SessionId;
use voter::Voter;

/// The replica number of the gateway under test.
pub(crate) const REPLICA: usize = 1;
/// Its life.
pub(crate) const GENERATION: u64 = 7;
/// What it may take of memory.
pub(crate) const MEMORY: gateway::Memory =
    gateway::Memory { sessions: 8, buffer_bytes: gateway::Memory::LAZY.buffer_bytes };
/// How long it may take to connect, in milliseconds.
pub(crate) const CONNECT_MS: u32 = 50;
/// Number of the service with the protocol `raw`.
pub(crate) const RAW: u8 = 0;
/// Number of the service with the protocol `http1`.
pub(crate) const HTTP: u8 = 1;
/// Number of a service that has no such replica.
pub(crate) const ELSEWHERE: u8 = 2;

/// A session's id.
pub(crate) fn id(index: u16, generation: u16) -> SessionId {
    SessionId { index, generation }
}

/// A session with a connection that stands.
pub(crate) fn standing(voter: &mut Voter<'_>, id: SessionId) {
    assert!(voter.open(id, RAW));
    voter.run();
    voter.servers().settle(id.index.into(), true);
    voter.run();
}

/// Number of a service with the protocol `http1`, in total order.
pub(crate) const TOTAL: u8 = 3;
/// Number of a service with the protocol `raw`, over UDP.
pub(crate) const RAW_UDP: u8 = 4;
/// Number of a service with the protocol `dns`, over UDP.
pub(crate) const DNS_UDP: u8 = 5;

/// Number of another service in total order.
pub(crate) const TOTAL_TOO: u8 = 6;

/// Shared memory.
pub(crate) struct Memory {
    regions: [Vec<AtomicU64>; 4],
}

impl Memory {
    /// Rings just large enough for two of the largest records, so that they are full and wrap often.
    pub(crate) fn new() -> Self {
        let ring = (512 + 2 * 4099) * 8;
        Self { regions: [ring, 4096, ring, 4096].map(zeroed) }
    }

    pub(crate) fn rings(&self) -> Rings<'_> {
        let [broadcast_ring, broadcast_cursor, reply_ring, reply_cursor] = &self.regions;
        Rings { broadcast_ring, broadcast_cursor, reply_ring, reply_cursor }
    }
}

fn zeroed(bytes: usize) -> Vec<AtomicU64> {
    (0..bytes / 8).map(|_| AtomicU64::new(0)).collect()
}

/// A configuration with the services above.
pub(crate) fn appliance() -> Appliance {
    let service = |name: &str, port: u16, protocol, replicas: u16| Service {
        name: name.try_into().unwrap(),
        listen: ([127, 0, 0, 1], port).into(),
        protocol,
        transport: core::default::Default::default(),
        order: core::default::Default::default(),
        state: core::default::Default::default(),
        probe: core::default::Default::default(),
        on_mismatch: OnMismatch::StopSession,
        replicas: (0..replicas)
            .map(|number| Replica {
                name: ["a", "b", "c"][usize::from(number)].try_into().unwrap(),
                address: ([127, 0, 0, 1], port + 1 + number).into(),
            })
            .collect(),
    };
    let udp = |service| Service { transport: Transport::Udp, ..service };
    Appliance {
        name: "test".try_into().unwrap(),
        metrics: None,
        recovery: core::default::Default::default(),
        seed: core::default::Default::default(),
        limits: Limits { connect_ms: CONNECT_MS, ..Limits::default() },
        network: Network::Kernel,
        guests: [].into_iter().collect(),
        services: [
            service("raw", 1000, Protocol::Raw, 3),
            service("http", 2000, Protocol::Http1(Http1::default()), 3),
            service("elsewhere", 3000, Protocol::Raw, 1),
            Service {
                order: Order::Total,
                ..service("total", 4000, Protocol::Http1(Http1::default()), 3)
            },
            udp(service("raw-udp", 5000, Protocol::Raw, 3)),
            udp(service("dns-udp", 6000, Protocol::Dns, 3)),
            Service {
                order: Order::Total,
                ..service("total-too", 7000, Protocol::Http1(Http1::default()), 3)
            },
        ]
        .into_iter()
        .collect(),
    }
}

/// Pseudo-random numbers (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// One in `n` times.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// Often small, sometimes up to `most`, at least 1.
    pub(crate) fn length(&mut self, most: usize) -> usize {
        let most = if self.one_in(2) { most.min(40) } else { most };
        1 + self.below(most.max(1))
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// Cases of a long test: `RESH_FUZZ_CASES`, or `default`.
pub(crate) fn cases(default: u64) -> u64 {
    std::env::var("RESH_FUZZ_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}
