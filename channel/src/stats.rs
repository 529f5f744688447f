//! What the domains publish about themselves for the operator. Nothing in the data path reads it.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::config::{REPLICAS_MAX, SERVICES_MAX};

/// Disputes kept.
pub const MAX_DISPUTES: usize = 32;
/// Bytes of each side that a dispute shows.
pub const DISPUTE_BYTES: usize = 48;

/// The voter's view.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoterStats {
    /// Replica domains, by index.
    pub replicas: Vec<ReplicaStats, REPLICAS_MAX>,
    /// Services, by index.
    pub services: Vec<ServiceStats, SERVICES_MAX>,
    /// The last disputes, oldest first.
    pub disputes: Vec<Dispute, MAX_DISPUTES>,
    /// Disputes ever.
    pub disputes_total: u64,
    /// Sessions now open towards a client.
    pub sessions_open: u32,
    /// Sessions that wait only for slow replicas to end.
    pub sessions_draining: u32,
}

/// Life of a replica's domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicaState {
    /// Not started, or not heard of yet.
    #[default]
    Absent,
    /// Its domain said hello and is being let in.
    Joining,
    /// Its domain is in, but what it says does not count: it gets the state of the others, or has not yet
    /// given a right answer.
    CatchingUp,
    /// It votes in every new session.
    Voting,
    /// The supervisor asked it to stand aside: it is in no session, and none is awaited of it.
    Aside,
    /// It is to be started anew: it broke the channel's rules, stood still, or diverged too often. Nothing
    /// it writes is read.
    Condemned,
}

/// Why a replica's domain was condemned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condemnation {
    /// Its ring claimed an impossible position.
    RingPosition,
    /// Its ring held a record with an impossible header.
    RingHeader,
    /// Its ring held a record with an impossible length.
    RingLength,
    /// It sent a record that no gateway sends.
    UnexpectedRecord,
    /// It sent bytes beyond its credit.
    CreditExceeded,
    /// It sent bytes with a gap or an overlap.
    WrongOffset,
    /// It did not read requests for too long.
    Silent,
    /// Its domain ended.
    Died,
    /// It lost its voice in too many sessions.
    Diverged,
    /// It did not answer a probe, or not like the others.
    Probe,
    /// It did not vote in time after its start.
    BootTimeOut,
    /// In total order, it fell too far behind.
    Behind,
    /// It said that a request ends where it does not.
    Framing,
}

/// One replica's domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaStats {
    /// State now.
    pub state: ReplicaState,
    /// Why it is, or was last, condemned.
    pub reason: Option<Condemnation>,
    /// Which life of the domain, counted from 1.
    pub generation: u32,
    /// Times it was condemned.
    pub condemned: u64,
    /// Sessions it took part in.
    pub sessions: u64,
    /// Sessions in which it lost its voice by a differing byte, end or length.
    pub divergences: u64,
    /// Sessions from which it was evicted as a laggard.
    pub evictions: u64,
    /// Sessions in which it reset its connection or could not connect.
    pub resets: u64,
    /// Reply bytes it sent that were compared or became the candidate.
    pub reply_bytes: u64,
    /// Times it came to vote after it had been out.
    pub recovered: u64,
    /// How long it was out the last time, in milliseconds: from its last vote to its next.
    pub recovery_ms: u64,
    /// While it catches up in total order: requests that it has executed, and that there are.
    pub progress: (u64, u64),
}

/// One service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStats {
    /// Sessions opened.
    pub sessions: u64,
    /// Sessions open now.
    pub open: u32,
    /// Sessions reset because no quorum could be had.
    pub no_quorum: u64,
    /// Sessions refused: service stopped or too few replicas.
    pub refused: u64,
    /// Request bytes multicast.
    pub request_bytes: u64,
    /// Reply bytes released.
    pub reply_bytes: u64,
    /// Number (in `disputes_total` order) of the dispute that stopped the service.
    pub stopped_by: Option<u64>,
    /// Whether the last session that needed one had a quorum.
    pub has_quorum: bool,
    /// The order of its requests, if it has one.
    pub order: Option<OrderStats>,
}

/// The total order of a service's requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderStats {
    /// Requests ordered.
    pub requests: u64,
    /// Whether a replica can be recovered.
    pub log: LogState,
    /// Bytes of the log in use, and that there are.
    pub log_bytes: (u64, u64),
    /// Exports that made a new log.
    pub exports: u64,
}

/// Whether the state of a service can be had from its log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogState {
    /// There is no log: the service has no state.
    #[default]
    None,
    /// It can.
    Whole,
    /// It can, and a new log is being made from the replicas' state.
    Exporting,
    /// It cannot: the log was full. With `state = "export"` it can again after the next export.
    Lost,
}

/// How a replica differed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DisputeKind {
    /// A byte differed.
    Bytes,
    /// It ended the stream where others went on.
    EarlyFin,
    /// It went on where others ended the stream.
    LateData,
    /// It reset its connection where others went on.
    Reset,
    /// It did not answer in time.
    Silence,
    /// It trailed beyond the window and its budget.
    Laggard,
    /// No quorum could be had: the bytes are what each replica said.
    NoQuorum,
}

/// A divergence, as it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispute {
    /// Counts disputes from 1.
    pub number: u64,
    /// Seconds since 1970-01-01 UTC.
    pub clock_s: u32,
    /// Service index.
    pub service: u8,
    /// Session index and generation.
    pub session: (u16, u16),
    /// The replica that differs.
    pub replica: u8,
    /// How.
    pub kind: DisputeKind,
    /// Position in the reply stream.
    pub offset: u64,
    /// What the others (or the first of them) said from there on.
    pub expected: Vec<u8, DISPUTE_BYTES>,
    /// What this replica said from there on.
    pub found: Vec<u8, DISPUTE_BYTES>,
}

/// The network domain's view.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkStats {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections refused because all sessions were taken.
    pub refused: u64,
    /// Connections open now.
    pub open: u32,
    /// Bytes received from clients.
    pub received_bytes: u64,
    /// Bytes sent to clients.
    pub sent_bytes: u64,
    /// Connections reset by the appliance.
    pub resets: u64,
    /// UDP.
    pub datagrams: DatagramStats,
}

/// Datagrams between clients and the network domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatagramStats {
    /// Datagrams that came to a service, whatever became of them.
    pub received: u64,
    /// Replies sent.
    pub sent: u64,
    /// Datagrams dropped on their way in: no session was free, or the client has too many in flight, or nothing
    /// can be made of them.
    pub dropped: u64,
    /// Datagrams dropped because the same one of the same client was in flight.
    pub duplicates: u64,
    /// Sessions that ended without a reply: there was no quorum, or none in time.
    pub unanswered: u64,
    /// Replies that could not be sent: too long, or there was no room.
    pub lost: u64,
}
