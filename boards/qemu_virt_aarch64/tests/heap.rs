//! The heaps of the network domain and the voter, as `microkit-system.xml`, `board.xml` and `resh.toml` of this board
//! size them. On seL4 nothing is ever given back, so what counts is all that is allocated.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use pd_network::smoltcp_stack::smoltcp::phy::{self, Device, Loopback, Medium};
use pd_network::smoltcp_stack::smoltcp::time::Instant;
use pd_network::smoltcp_stack::{Frames, SmoltcpStack};
use pd_network::{Limits, Network};
use pd_voter::replica::Channel;
use pd_voter::voter::{Parts, Voter};
use resh_channel::config::{self, Appliance};
use resh_channel::memory::AtomicU64;
use resh_channel::ring::{Consumer, Producer};
use resh_channel::window::{self, SLOT_BYTES};

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);
/// One test counts at a time.
static COUNTS: Mutex<()> = Mutex::new(());

struct Counting;

// SAFETY: everything is the system's allocator's work; only a number is added up.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps to the contract of `GlobalAlloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as in `alloc`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct NoFrames(Loopback);

impl Device for NoFrames {
    type RxToken<'a> = <Loopback as Device>::RxToken<'a>;
    type TxToken<'a> = <Loopback as Device>::TxToken<'a>;

    fn receive(&mut self, now: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        self.0.receive(now)
    }

    fn transmit(&mut self, now: Instant) -> Option<Self::TxToken<'_>> {
        self.0.transmit(now)
    }

    fn capabilities(&self) -> phy::DeviceCapabilities {
        self.0.capabilities()
    }
}

impl Frames for NoFrames {
    fn peek(&mut self) -> Option<&[u8]> {
        None
    }
}

fn words(bytes: usize) -> Vec<AtomicU64> {
    (0..bytes / 8).map(|_| AtomicU64::new(0)).collect()
}

/// An appliance with so many sessions and one service, on 10.0.2.15.
fn appliance(sessions: u16) -> (Appliance, config::Smoltcp) {
    let settings = config::Smoltcp {
        tap: None,
        address: [10, 0, 2, 15].into(),
        prefix_bits: 24,
        gateway: None,
        mac: [0x52, 0x54, 0, 0x12, 0x34, 0x56],
    };
    let appliance = Appliance {
        name: "test".try_into().unwrap(),
        metrics: None,
        recovery: core::default::Default::default(),
        seed: core::default::Default::default(),
        limits: config::Limits { sessions, ..Default::default() },
        network: config::Network::Smoltcp(settings.clone()),
        services: Default::default(),
        guests: Default::default(),
    };
    (appliance, settings)
}

/// A service of three replicas in that order.
fn service(order: config::Order, state: config::State) -> config::Service {
    let replica = |at: u16| config::Replica {
        name: "a".try_into().unwrap(),
        address: ([10, 77, 0, 2], at).into(),
    };
    config::Service {
        name: "service".try_into().unwrap(),
        listen: ([10, 0, 2, 15], 80).into(),
        protocol: config::Protocol::Resp,
        on_mismatch: config::OnMismatch::StopSession,
        transport: config::Transport::Tcp,
        order,
        state,
        probe: Default::default(),
        replicas: (1..4).map(replica).collect(),
    }
}

/// With all session indices that the window of this board gives, and services in total order.
#[test]
fn the_voter_fits_its_heap() {
    const HEAP_BYTES: usize = 16 << 20;
    const WINDOW_BYTES: usize = 0x1E0_0000;
    const ORDER_BYTES: usize = 0x500_0000;
    let _alone = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    let [n2v_ring, broadcast_ring] = [words(4 << 20), words(4 << 20)];
    let [v2n_ring, stats] = [words(1 << 20), words(0x10000)];
    let [n2v_cursor, v2n_cursor, supervision] = [words(4096), words(4096), words(4096)];
    let rings: Vec<_> = (0..3).map(|_| [words(0x80000), words(4096), words(4096)]).collect();
    let channel = |at: usize| {
        let [reply_ring, reply_cursor, broadcast_cursor] = &rings[at];
        Channel { reply_ring, reply_cursor, broadcast_cursor }
    };
    let (mut window, mut order) = (vec![0; WINDOW_BYTES], vec![0; ORDER_BYTES]);
    assert!(window::client_slots(WINDOW_BYTES) >= 128, "no room for the sessions of resh.toml");
    let (mut appliance, _) = appliance(128);
    for (order, state) in [
        (config::Order::Session, config::State::None),
        (config::Order::Total, config::State::Replay),
        (config::Order::Total, config::State::Export),
    ] {
        appliance.services.push(service(order, state)).unwrap();
    }
    let parts = Parts {
        n2v_ring: &n2v_ring,
        n2v_cursor: &n2v_cursor,
        v2n_ring: &v2n_ring,
        v2n_cursor: &v2n_cursor,
        broadcast_ring: &broadcast_ring,
        replicas: core::array::from_fn(channel),
        window: &mut window,
        order: &mut order,
        stats: &stats,
        supervision: &supervision,
    };
    let before = ALLOCATED.load(Ordering::Relaxed);
    let _voter = Voter::new(parts, &appliance).unwrap();
    let bytes = ALLOCATED.load(Ordering::Relaxed) - before;
    println!("{bytes} bytes");
    assert!(bytes <= HEAP_BYTES * 3 / 4, "{bytes} bytes leave no margin in {HEAP_BYTES}");
}

#[test]
fn the_network_fits_its_heap() {
    const HEAP_BYTES: usize = 64 << 20;
    let _alone = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    let regions = [words(4 << 20), words(4096), words(1 << 20), words(4096)];
    let window = words(256 * SLOT_BYTES);
    let (appliance, settings) = appliance(128);
    let before = ALLOCATED.load(Ordering::Relaxed);
    let device = NoFrames(Loopback::new(Medium::Ethernet));
    let stack = SmoltcpStack::new(device, &settings, &appliance, 1).unwrap();
    let to_voter = Producer::with_reader(&regions[0], &regions[1]).unwrap();
    let from_voter = Consumer::new(&regions[2], &regions[3], 0).unwrap();
    let limits = Limits { sessions: 128, idle_ms: 60_000 };
    let _network = Network::new(stack, to_voter, from_voter, &window, limits);
    let bytes = ALLOCATED.load(Ordering::Relaxed) - before;
    println!("{bytes} bytes");
    assert!(bytes <= HEAP_BYTES * 3 / 4, "{bytes} bytes leave no margin in {HEAP_BYTES}");
}
