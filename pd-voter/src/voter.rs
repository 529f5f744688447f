//! The pump: moves records between the rings and the sessions, in bounded turns.
//!
//! [`Voter::step`] gives every ring one turn. What comes of it is noted per session and written out at
//! the end, so that a full ring delays messages and loses none.

mod admission;
mod ending;
mod evidence;
mod health;
mod intake;
mod ordering;
mod output;
mod probes;

use alloc::boxed::Box;
use alloc::vec;
use core::fmt;

use resh_channel::config::{self, Appliance, OnMismatch, REPLICAS_MAX, Recovery, SERVICES_MAX};
use resh_channel::memory::Words;
use resh_channel::ring::{Consumer, Producer, TooSmall, Violation};
use resh_channel::snapshot::Publisher;
use resh_channel::stats::{Condemnation, ReplicaStats, ServiceStats, VoterStats};
use resh_channel::supervision;
use resh_channel::window::{self, VOTER_SLOTS};

use crate::evidence::Evidence;
use crate::limits::{STALL_CHECK_MS, STATS_BYTES};
use crate::nonce::Nonces;
use crate::order::{self, Orders};
use crate::queue::{Queue, Timers};
use crate::replica::{Channel, Replica};
use crate::session::{Phase, Session, Times};
use ordering::Ordering;
use probes::Probing;

/// The shared memory of the voter.
pub struct Parts<'m> {
    /// Records from the network.
    pub n2v_ring: &'m Words,
    /// Our position in them.
    pub n2v_cursor: &'m Words,
    /// Records to the network.
    pub v2n_ring: &'m Words,
    /// Its position in them.
    pub v2n_cursor: &'m Words,
    /// Records to all replicas.
    pub broadcast_ring: &'m Words,
    /// The replicas' channels.
    pub replicas: [Channel<'m>; REPLICAS_MAX],
    /// The agreed bytes.
    pub window: &'m mut [u8],
    /// Requests in total order, and those that are not complete yet.
    pub order: &'m mut [u8],
    /// Where statistics go.
    pub stats: &'m Words,
    /// What the supervisor says of the replicas' domains: see [`resh_channel::supervision`].
    pub supervision: &'m Words,
}

/// Why the voter cannot start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetupError {
    /// A ring or cursor region is too small.
    Ring,
    /// The window region has no room for a session of a client.
    Window,
    /// The supervision region has no room for its words.
    Supervision,
    /// The region for requests in total order is too small.
    Order,
}

impl From<order::TooSmall> for SetupError {
    fn from(_: order::TooSmall) -> Self {
        Self::Order
    }
}

impl From<TooSmall> for SetupError {
    fn from(_: TooSmall) -> Self {
        Self::Ring
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ring => "a ring or cursor region is too small",
            Self::Window => "the window region has no room for a session",
            Self::Supervision => "the supervision region is too small",
            Self::Order => "the order region has no room for the sessions and logs",
        })
    }
}

/// The network, which is trusted, broke the rules. The voter cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkFault {
    /// Of a ring.
    Ring(Violation),
    /// It opened a session with an index that is out of range or taken, or for no service.
    Open,
    /// It sent a record that is not its to send.
    Kind,
}

impl fmt::Display for NetworkFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ring(violation) => write!(f, "network domain: {violation}"),
            Self::Open => write!(f, "network domain: impossible session index or service"),
            Self::Kind => write!(f, "network domain: unexpected record"),
        }
    }
}

/// Whom to notify after a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// The network.
    pub network: bool,
    /// The supervisor: a replica's domain changed its state.
    pub supervisor: bool,
    /// The replicas' domains, a bit mask.
    pub gateways: u8,
    /// There is more to do at once.
    pub more: bool,
}

/// What holds for one service.
struct Service {
    /// Its replicas, a bit mask.
    replicas: u8,
    quorum: usize,
    /// Replicas that take part in its new sessions, a bit mask.
    ready: u8,
    probing: Probing,
    on_mismatch: OnMismatch,
    /// Its replicas have a state that who is lost loses with it.
    has_state: bool,
    stopped: bool,
    /// Whether the last session that needed a quorum had one.
    agreed: bool,
}

/// The voter.
pub struct Voter<'m> {
    from_network: Consumer<'m>,
    to_network: Producer<'m>,
    broadcast: Producer<'m>,
    replicas: [Replica<'m>; REPLICAS_MAX],
    supervision: &'m Words,
    window: &'m mut [u8],
    sessions: Box<[Session]>,
    services: heapless::Vec<Service, SERVICES_MAX>,
    times: Times,
    /// Sessions with messages due to the network.
    due_to_network: Queue,
    /// Sessions with messages due to the gateways.
    due_to_gateways: Queue,
    /// Draining sessions, oldest first.
    draining: Queue,
    timers: Timers,
    /// Replicas without a lag budget, a bit mask.
    slow: u8,
    /// Rules broken in the middle of something else, judged at the next opportunity.
    accused: [Option<Condemnation>; REPLICAS_MAX],
    /// What is held against the replicas.
    evidence: [Evidence; REPLICAS_MAX],
    recovery: Recovery,
    nonces: Nonces,
    ordering: Ordering<'m>,
    /// Payload bytes from the network for which the broadcast ring has no room.
    lacking: Option<usize>,
    stall_checked_ms: u64,
    /// When it was last looked who may stand aside.
    aside_checked_ms: Option<u64>,
    /// Whose turn is first among the replicas.
    first: usize,
    stats: VoterStats,
    publisher: Publisher<'m>,
    scratch: Box<[u8]>,
    published_ms: Option<u64>,
    stats_changed: bool,
    stats_urgent: bool,
    signals: Signals,
    now_ms: u64,
    clock_s: u32,
}

impl<'m> Voter<'m> {
    /// A voter with no sessions. All memory it will ever use is allocated here.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub fn new(parts: Parts<'m>, appliance: &Appliance) -> Result<Self, SetupError> {
        let slots = window::slots(parts.window.len());
        if slots <= VOTER_SLOTS {
            return Err(SetupError::Window);
        }
        if parts.supervision.len() < supervision::WORDS {
            return Err(SetupError::Supervision);
        }
        let [a, b, c] = parts.replicas;
        let limits = appliance.limits;
        let services = appliance.services.iter().map(|service| Service {
            replicas: (1 << service.replicas.len()) - 1,
            quorum: service.quorum(),
            ready: 0,
            probing: Probing::new(service, limits.connect_ms),
            on_mismatch: service.on_mismatch,
            has_state: service.state != config::State::None,
            stopped: false,
            agreed: true,
        });
        let mut stats = VoterStats::default();
        // As many as there is room for.
        let _ = stats.replicas.resize(REPLICAS_MAX, ReplicaStats::default());
        let _ = stats.services.resize(appliance.services.len(), ServiceStats::default());
        Ok(Self {
            from_network: Consumer::new(parts.n2v_ring, parts.n2v_cursor, 0)?,
            to_network: Producer::with_reader(parts.v2n_ring, parts.v2n_cursor)?,
            broadcast: Producer::new(parts.broadcast_ring, 0)?,
            replicas: [Replica::new(a)?, Replica::new(b)?, Replica::new(c)?],
            supervision: parts.supervision,
            window: parts.window,
            sessions: vec![Session::free(); slots].into(),
            services: services.collect(),
            times: Times {
                reply_ms: limits.reply_ms.into(),
                lag_budget_ms: limits.lag_budget_ms.into(),
            },
            due_to_network: Queue::new(slots),
            due_to_gateways: Queue::new(slots),
            draining: Queue::new(slots),
            timers: Timers::new(slots),
            slow: 0,
            accused: [None; REPLICAS_MAX],
            evidence: core::array::from_fn(|_| Evidence::new()),
            recovery: appliance.recovery,
            nonces: Nonces::new(appliance.seed),
            ordering: Ordering::new(Orders::new(parts.order, appliance, slots)?, slots),
            lacking: None,
            stall_checked_ms: 0,
            aside_checked_ms: None,
            first: 0,
            stats,
            publisher: Publisher::new(parts.stats),
            scratch: vec![0; STATS_BYTES].into(),
            published_ms: None,
            stats_changed: true,
            stats_urgent: true,
            signals: Signals::default(),
            now_ms: 0,
            clock_s: 0,
        })
    }

    /// What the operator sees, as of now.
    pub fn stats(&self) -> &VoterStats {
        &self.stats
    }

    /// The window region, for a network in the same address space: tests and simulators.
    pub fn window(&self) -> &[u8] {
        self.window
    }

    /// Number of indices of clients' sessions that are not free.
    pub fn sessions_in_use(&self) -> usize {
        let clients = &self.sessions[..self.client_slots()];
        clients.iter().filter(|session| session.phase != Phase::Free).count()
    }

    /// Number of indices for clients' sessions. The rest is for our own.
    fn client_slots(&self) -> usize {
        self.sessions.len() - VOTER_SLOTS
    }

    /// Gives every ring a turn. `now_ms` never goes back.
    ///
    /// # Errors
    /// The network broke the rules.
    pub fn step(&mut self, now_ms: u64, clock_s: u32) -> Result<Signals, NetworkFault> {
        self.now_ms = self.now_ms.max(now_ms);
        self.clock_s = clock_s;
        self.signals = Signals::default();
        self.watch_supervision();
        self.watch_directives();
        self.watch_broadcast();
        self.expire();
        self.watch_boots();
        self.watch_probes();
        self.flush_gateways();
        let mut more = self.take_from_network()?;
        for turn in 0..REPLICAS_MAX {
            more |= self.take_from_replica((self.first + turn) % REPLICAS_MAX);
        }
        self.first = (self.first + 1) % REPLICAS_MAX;
        self.watch_orders();
        self.judge();
        self.watch_probes();
        self.flush_gateways();
        more |= self.pump_orders();
        self.flush_gateways();
        self.judge();
        self.flush_network()?;
        self.publish();
        self.signals.more |= more;
        Ok(self.signals)
    }

    /// Before sleeping: asks all rings for signals, and returns true if there is nothing to do.
    pub fn arm(&mut self) -> bool {
        let mut idle = true;
        let lacking = match self.due_to_gateways.is_empty() {
            true => self.lacking,
            false => Some(0),
        };
        if lacking.is_none() {
            idle &= self.from_network.arm();
        }
        match lacking.max(self.ordering.lacking).map(|bytes| self.broadcast.arm(bytes)) {
            None => {}
            Some(Ok(full)) => idle &= full,
            // The next step meets the violation again.
            Some(Err(_)) => idle = false,
        }
        if !self.due_to_network.is_empty() {
            idle &= matches!(self.to_network.arm(0), Ok(true));
        }
        for replica in &mut self.replicas {
            if let Some(replies) = &mut replica.replies {
                idle &= replies.arm();
            }
        }
        idle && self.accused.iter().all(Option::is_none)
    }

    /// When to step again even if nobody calls.
    pub fn deadline_ms(&self) -> Option<u64> {
        let full = self.is_broadcast_full().then_some(self.now_ms + STALL_CHECK_MS);
        let others =
            [self.hello_ms(), self.boot_ms(), self.aside_ms(), self.probe_ms(), self.order_ms()];
        let times = [self.timers.next_ms(), full, self.stats_due_ms()];
        times.into_iter().chain(others).flatten().min()
    }

    /// Sessions whose time has come.
    fn expire(&mut self) {
        let mut from = 0;
        while let Some(index) = self.timers.expired(from, self.now_ms) {
            from = index + 1;
            if self.is_export(index) && self.sessions[index].phase == Phase::Draining {
                self.end_export(index);
            } else if self.sessions[index].is_own() && !self.is_export(index) {
                self.expire_probe(index);
            } else if self.sessions[index].phase == Phase::Draining {
                self.finish(index);
            } else {
                self.settle(index);
            }
        }
        self.timers.settle(self.now_ms);
    }
}
