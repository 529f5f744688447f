//! The network domain as it runs in the appliance, on a thread, with clients on the host's own sockets. A
//! process is one domain only, so each case is a process.
#![allow(dead_code, unreachable_pub)] // Each test program uses its part.

#[path = "../../../../pd-network/tests/common/mod.rs"]
pub mod common;
pub mod datagrams;
pub mod tap;

use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::suite::{IDLE_MS, SESSIONS, SLOTS, Seen, World};
use common::voter::Voter;
use common::{RING_WORDS, Rng};
use pd_network::stack::{Datagrams, Stack};
use resh_channel::config::{Appliance, Limits, Network, OnMismatch, Protocol, Replica, Service};
use resh_channel::memory::copy_in;
use resh_channel::ring::{Consumer, Producer};
use resh_channel::stats::NetworkStats;
use resh_channel::window::{SLOT_BYTES, VOTER_SLOTS};
use resh_channel::{config, snapshot};
use sel4_microkit::linux::{self, GrantedChannel, GrantedRegion, Grants};
use sel4_microkit::region;

fn name<const N: usize>(text: &str) -> heapless::String<N> {
    text.try_into().expect("a short name")
}

pub fn appliance(listen: &[SocketAddr], network: Network) -> Appliance {
    let services = listen.iter().enumerate().map(|(at, &listen)| Service {
        name: name(&format!("service-{at}")),
        listen,
        protocol: Protocol::Raw,
        transport: core::default::Default::default(),
        order: core::default::Default::default(),
        state: core::default::Default::default(),
        probe: core::default::Default::default(),
        on_mismatch: OnMismatch::StopSession,
        replicas: [Replica { name: name("a"), address: ([127, 0, 0, 1], 1).into() }]
            .into_iter()
            .collect(),
    });
    Appliance {
        name: name("test"),
        metrics: None,
        recovery: core::default::Default::default(),
        seed: core::default::Default::default(),
        limits: Limits { sessions: SESSIONS, idle_ms: IDLE_MS as u32, ..Limits::default() },
        network,
        services: services.collect(),
        guests: [].into_iter().collect(),
    }
}

/// Makes this process a domain with all regions between network and voter. Returns the voter's
/// descriptors: where it waits, and where it signals the network.
fn start_domain() -> (RawFd, RawFd) {
    let ring = RING_WORDS * 8;
    let regions = [
        ("config", 0x10000),
        ("network_stats", 0x1000),
        ("n2v_ring", ring),
        ("n2v_cursor", 0x1000),
        ("v2n_ring", ring),
        ("v2n_cursor", 0x1000),
        ("window", (SLOTS + VOTER_SLOTS) * SLOT_BYTES),
    ];
    let mut vaddr = 0x1000_0000;
    let regions = regions.map(|(symbol, bytes)| {
        let len = bytes.next_multiple_of(0x1000);
        // SAFETY: the name is a valid C string; the descriptor is this process's own.
        let fd = unsafe {
            let fd = libc::memfd_create(c"region".as_ptr(), libc::MFD_CLOEXEC);
            assert!(fd >= 0 && libc::ftruncate(fd, len as i64) == 0);
            fd
        };
        let at = vaddr;
        vaddr += len as u64 + 0x1000;
        GrantedRegion { symbol: symbol.to_owned(), vaddr: at, len, writable: true, fd }
    });
    // SAFETY: no pointer is passed.
    let eventfd = || unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
    let (to_network, to_voter) = (eventfd(), eventfd());
    let channels = vec![GrantedChannel { id: 0, wait_fd: to_network, signal_fd: to_voter }];
    let grants = Grants {
        name: "network".to_owned(),
        regions: regions.into(),
        channels,
        ..Grants::default()
    };
    linux::start(grants).expect("a domain");
    (to_voter, to_network)
}

pub struct Host {
    voter: Voter<'static>,
    voter_awake: bool,
    wait_fd: RawFd,
    signal_fd: RawFd,
    pub listen: Vec<SocketAddr>,
    pub clients: Vec<Option<TcpStream>>,
    /// Clients that learned of a reset, which the kernel tells only once.
    resets: HashSet<usize>,
}

impl Host {
    /// Starts the domain with services over TCP at addresses `listen`, on the stack that `stack` makes.
    pub fn new<S: Stack + Datagrams + 'static>(
        listen: Vec<SocketAddr>,
        network: Network,
        stack: impl FnOnce(&Appliance) -> S + Send + 'static,
    ) -> Self {
        Self::start(appliance(&listen, network), stack)
    }

    /// Starts the domain of an appliance.
    pub fn start<S: Stack + Datagrams + 'static>(
        appliance: Appliance,
        stack: impl FnOnce(&Appliance) -> S + Send + 'static,
    ) -> Self {
        let (wait_fd, signal_fd) = start_domain();
        let listen = appliance.services.iter().map(|service| service.listen).collect();
        let mut bytes = vec![0; config::ENCODED_BYTES_MAX];
        let len = appliance.encode(&mut bytes).expect("a configuration");
        copy_in(region("config").unwrap(), &bytes[..len]);
        // The voter's ends first: they start the positions at 0.
        let to_network =
            Producer::with_reader(region("v2n_ring").unwrap(), region("v2n_cursor").unwrap());
        let from_network =
            Consumer::new(region("n2v_ring").unwrap(), region("n2v_cursor").unwrap(), 0);
        let window = &region("window").unwrap()[..(SLOTS + VOTER_SLOTS) * SLOT_BYTES / 8];
        let voter = Voter::new(to_network.unwrap(), from_network.unwrap(), window, Rng::new(1));
        let (ready, is_ready) = mpsc::channel();
        thread::spawn(move || {
            let stack = stack(&appliance);
            ready.send(()).expect("the test waits");
            let domain = pd_network::domain::start(stack).expect("the regions are there");
            let Err(error) = linux::run(domain);
            eprintln!("the domain failed: {error}");
            std::process::abort();
        });
        is_ready.recv().expect("the stack is there");
        let clients = Vec::new();
        Self {
            voter,
            voter_awake: true,
            wait_fd,
            signal_fd,
            listen,
            clients,
            resets: HashSet::new(),
        }
    }

    fn client(&self, client: usize) -> &TcpStream {
        self.clients[client].as_ref().expect("an open client")
    }
}

impl World<'static> for Host {
    fn connect(&mut self, service: usize) -> usize {
        let number = self.clients.len();
        self.clients.push(match TcpStream::connect(self.listen[service]) {
            Ok(stream) => {
                stream.set_nonblocking(true).unwrap();
                Some(stream)
            }
            // Refused while it was connecting.
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                self.resets.insert(number);
                None
            }
        });
        number
    }

    fn address(&mut self, client: usize) -> SocketAddr {
        self.client(client).local_addr().unwrap()
    }

    fn send(&mut self, client: usize, bytes: &[u8]) -> usize {
        if bytes.is_empty() || self.clients[client].is_none() {
            return 0;
        }
        match self.client(client).write(bytes) {
            Ok(len) => len,
            Err(error) => {
                if error.kind() != ErrorKind::WouldBlock {
                    self.resets.insert(client);
                }
                0
            }
        }
    }

    fn receive(&mut self, client: usize, into: &mut Vec<u8>, limit: usize) -> Seen {
        if self.clients[client].is_none() {
            return Seen::Reset;
        }
        let mut buffer = vec![0; limit.min(256 * 1024)];
        if buffer.is_empty() {
            return Seen::Open;
        }
        match self.client(client).read(&mut buffer) {
            Ok(0) if self.resets.contains(&client) => Seen::Reset,
            Ok(0) => Seen::End,
            Ok(len) => {
                into.extend_from_slice(&buffer[..len]);
                Seen::Open
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Seen::Open,
            Err(_) => Seen::Reset,
        }
    }

    fn finish(&mut self, client: usize) {
        if let Some(stream) = &self.clients[client] {
            // It may have been reset already.
            let _ = stream.shutdown(Shutdown::Write);
        }
    }

    fn reset(&mut self, client: usize) {
        let Some(stream) = self.clients[client].take() else { return };
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        // SAFETY: the kernel reads `linger`, which lives until the call returns.
        let result = unsafe {
            libc::setsockopt(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                size_of_val(&linger) as u32,
            )
        };
        assert_eq!(result, 0);
    }

    fn step(&mut self) {
        let mut count = 0u64;
        // SAFETY: at most eight bytes are written to `count`.
        let read = unsafe { libc::read(self.wait_fd, (&raw mut count).cast(), 8) };
        self.voter_awake |= read == 8;
        if self.voter.step(self.voter_awake) {
            let one = 1u64;
            // SAFETY: eight bytes of `one` are read.
            assert_eq!(unsafe { libc::write(self.signal_fd, (&raw const one).cast(), 8) }, 8);
        }
        self.voter_awake = self.voter_awake && !self.voter.sleep();
        thread::sleep(Duration::from_micros(20));
    }

    fn pass(&mut self, time_ms: u64) {
        let end = Instant::now() + Duration::from_millis(time_ms);
        while Instant::now() < end {
            self.step();
        }
    }

    fn voter(&mut self) -> &mut Voter<'static> {
        &mut self.voter
    }

    fn stats(&mut self) -> NetworkStats {
        // The domain publishes them ten times a second.
        thread::sleep(Duration::from_millis(130));
        snapshot::read(region("network_stats").unwrap(), &mut [0; 256]).expect("statistics")
    }
}

/// Runs `test` in a process of its own, where `host` makes the domain. If that says why it cannot, the test
/// was not run.
pub fn case(host: fn() -> Result<Host, String>, test: fn(&mut Host)) {
    case_of(host, test);
}

/// The same with any kind of host.
pub fn case_of<H>(host: impl Fn() -> Result<H, String>, test: impl Fn(&mut H)) {
    const MARK: &str = "RESH_TEST_CASE";
    let this = thread::current().name().expect("tests have names").to_owned();
    if std::env::var_os(MARK).is_some() {
        match host() {
            Ok(mut host) => test(&mut host),
            Err(why) => eprintln!("{this}: not run: {why}"),
        }
        return;
    }
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program)
        .args([&this, "--exact", "--nocapture", "--test-threads=1"])
        .env(MARK, "1")
        .output()
        .expect("this program starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}{text}", String::from_utf8_lossy(&output.stdout));
    if let Some(at) = text.find("not run: ") {
        // Past the test harness, which keeps what passing tests print to itself.
        let mut out = std::io::stdout().lock();
        writeln!(out, "{this}: {}", text[at..].trim_end()).expect("standard output");
    }
}
