//! What the domain of a replica allocates for its connections: on seL4 its heap is all there is, and sealed after
//! the start.

use std::alloc::System;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;

use gateway::upstream::Upstream;
use gateway::{Gateway, Memory, Rings};
use guest_vmm::upstream::{Frames, Settings, Tcp};
use resh_channel::config::{Appliance, Http1, Limits, Network};
use resh_channel::config::{OnMismatch, Protocol, Replica, Service};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes of a replica's domain's heap (microkit-system.xml), less what the guest's machine takes.
const HEAP_BYTES: usize = (64 - 2) * 1024 * 1024;

/// A guest that is not there.
struct Nobody;

impl Frames for Nobody {
    fn receive(&mut self, _: &mut [u8]) -> Option<usize> {
        None
    }

    fn send(&mut self, _: &[u8]) -> bool {
        true
    }

    fn can_send(&self) -> bool {
        true
    }
}

/// One with so many services, of all three guests.
fn appliance(sessions: u16, services: u16) -> Appliance {
    let service = |number: u16| Service {
        name: format!("web-{number}").as_str().try_into().unwrap(),
        listen: SocketAddr::from(([10, 0, 2, 15], 80 + number)),
        protocol: Protocol::Http1(Http1::default()),
        transport: core::default::Default::default(),
        order: core::default::Default::default(),
        state: core::default::Default::default(),
        probe: core::default::Default::default(),
        on_mismatch: OnMismatch::StopSession,
        replicas: (0..3)
            .map(|replica| Replica {
                name: format!("guest-{replica}").as_str().try_into().unwrap(),
                address: SocketAddr::from(([10, 77, replica, 2], 80 + number)),
            })
            .collect(),
    };
    Appliance {
        name: "test".try_into().unwrap(),
        metrics: None,
        recovery: core::default::Default::default(),
        seed: core::default::Default::default(),
        limits: Limits { sessions, ..Limits::default() },
        network: Network::Kernel,
        guests: [].into_iter().collect(),
        services: (0..services).map(service).collect(),
    }
}

#[test]
fn fits_the_heap_of_the_board() {
    // Services share what sessions need.
    let appliance = appliance(128, 4);
    let words = |len: usize| (0..len).map(|_| AtomicU64::new(0)).collect::<Vec<_>>();
    let regions = [words(8 << 10), words(512), words(8 << 10), words(512)];
    let rings = Rings {
        broadcast_ring: &regions[0],
        broadcast_cursor: &regions[1],
        reply_ring: &regions[2],
        reply_cursor: &regions[3],
    };
    let region = Region::new(ALLOCATOR);
    let memory = Memory::fitted(&appliance.limits);
    assert_eq!(memory.sessions, 160);
    let settings = Settings::of(&appliance, 1, memory.sessions, 1).unwrap();
    let mut tcp = Tcp::new(Nobody, settings);
    let connections = region.change().bytes_allocated;
    tcp.open(3, 0).unwrap();
    let mut gateway = Gateway::new(&appliance, 1, 1, memory, rings, tcp).unwrap();
    let change = region.change();
    let kept = change.bytes_allocated - change.bytes_deallocated;
    println!(
        "{} bytes for 128 sessions: {connections} for connections, {} for the gateway",
        change.bytes_allocated,
        change.bytes_allocated - connections
    );
    assert!(change.bytes_allocated < HEAP_BYTES, "{} bytes", change.bytes_allocated);
    assert!(kept > HEAP_BYTES / 2, "{kept} bytes: was all of it counted?");

    // And no byte more.
    let region = Region::new(ALLOCATOR);
    for now_ms in 0..5_000 {
        gateway.round(now_ms).unwrap();
        gateway.upstream().poll(now_ms);
    }
    gateway.upstream().close(3, true);
    assert_eq!(region.change().allocations, 0);
}
