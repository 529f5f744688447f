//! The state of an appliance as `/status.json` and `resh status --json` give it. The schema is described
//! in `docs/operating.md`; a change that breaks readers raises [`SCHEMA`].
//!
//! Everything is of fixed size, so that the monitor can fill and print it without allocating.

use core::net::SocketAddr;

use heapless::{String, Vec};
use resh_channel::config::{Name, REPLICAS_MAX, SERVICES_MAX, SOFTWARE_BYTES_MAX};
use resh_channel::stats::{
    Condemnation, DISPUTE_BYTES, DisputeKind, LogState, MAX_DISPUTES, NetworkStats,
};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Version of the schema.
pub const SCHEMA: u32 = 2;

/// A whole appliance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Its name.
    pub appliance: Name,
    /// When this was put together, in seconds since 1970-01-01 UTC.
    pub time_s: u32,
    /// How long the monitor has been running, in seconds.
    pub uptime_s: u64,
    /// Everything in one word.
    pub health: Health,
    /// Sessions now open towards a client.
    pub sessions_open: u32,
    /// Sessions that wait only for slow replicas to end.
    pub sessions_draining: u32,
    /// Sessions there can be at once.
    pub sessions_limit: u16,
    /// The network domain's counters.
    pub network: NetworkStats,
    /// The services, in the order of the configuration.
    pub services: Vec<ServiceStatus, SERVICES_MAX>,
    /// The replica domains. Domain `i` serves replica `i` of every service.
    pub replicas: Vec<DomainStatus, REPLICAS_MAX>,
    /// Disputes ever.
    pub disputes_total: u64,
    /// The last of them, oldest first.
    pub disputes: Vec<DisputeStatus, MAX_DISPUTES>,
}

/// An appliance in one word, the worst that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Every replica votes, and there was no dispute in the last minute.
    Healthy,
    /// Every service answers, but a replica is out or was in a dispute in the last minute.
    Degraded,
    /// A service waits for replicas that have not yet said hello.
    Starting,
    /// A service is stopped or has no quorum.
    Stopped,
}

/// What a service does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceState {
    /// A quorum of its replicas votes.
    Serving,
    /// Too few replicas have said hello yet.
    Starting,
    /// Too few replicas vote, or in the last session no quorum could be had.
    NoQuorum,
    /// A dispute stopped it until the operator starts it again.
    Stopped,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: Name,
    /// Where clients connect to.
    pub listen: SocketAddr,
    /// Its canonicaliser.
    pub protocol: Protocol,
    /// Whether clients speak UDP with it, and not TCP.
    pub udp: bool,
    /// What it does.
    pub state: ServiceState,
    /// Number of the dispute that stopped it.
    pub stopped_by: Option<u64>,
    /// Whether the last session that needed one had a quorum.
    pub has_quorum: bool,
    /// Replicas that must agree on each byte.
    pub quorum: u8,
    /// Replicas that vote in a new session.
    pub voting: u8,
    /// Sessions open now.
    pub sessions_open: u32,
    /// Sessions opened.
    pub sessions: u64,
    /// Sessions reset because no quorum could be had.
    pub no_quorum: u64,
    /// Sessions refused: stopped, or too few replicas.
    pub refused: u64,
    /// Request bytes multicast.
    pub request_bytes: u64,
    /// Reply bytes released.
    pub reply_bytes: u64,
    /// The order of its requests, with `order = "total"`.
    pub order: Option<OrderStatus>,
    /// Its replicas, by index.
    pub replicas: Vec<ReplicaStatus, REPLICAS_MAX>,
}

/// The total order of a service's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderStatus {
    /// Requests ordered.
    pub requests: u64,
    /// Whether a replica that begins anew can get the state of the others.
    #[serde(with = "LogStateNames")]
    pub log: LogState,
    /// Bytes of the log in use.
    pub log_bytes: u64,
    /// Bytes that there are.
    pub log_limit_bytes: u64,
    /// Exports that made a new log.
    pub exports: u64,
}

/// How [`LogState`] is spelled in JSON.
#[derive(Serialize, Deserialize)]
#[serde(remote = "LogState", rename_all = "snake_case")]
enum LogStateNames {
    None,
    Whole,
    Exporting,
    Lost,
}

/// A canonicaliser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Byte for byte.
    Raw,
    /// HTTP/1.1.
    Http1,
    /// DNS.
    Dns,
    /// Redis' protocol.
    Resp,
    /// PostgreSQL's protocol.
    Pgwire,
}

/// Standing of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplicaStanding {
    /// Its domain has not been heard of.
    Absent,
    /// The supervisor waits before it starts it anew.
    BackingOff,
    /// The supervisor has its servers started anew.
    Restarting,
    /// Its domain said hello and is being let in.
    Joining,
    /// Its domain is in; it gets the state of the others, or has yet to answer rightly.
    CatchingUp,
    /// It stands aside, and is about to begin anew.
    Aside,
    /// The operator took it out.
    Excluded,
    /// It votes in every new session.
    Voting,
    /// It votes, and differed from the quorum in the last minute.
    Suspect,
    /// Its domain broke the rules; nothing it writes is read.
    Condemned,
}

/// One replica of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaStatus {
    /// Its name.
    pub name: Name,
    /// Where its server listens.
    pub address: SocketAddr,
    /// How it stands in this service.
    pub state: ReplicaStanding,
}

/// One replica domain, over all services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainStatus {
    /// The name of its guest or, where it has none, of replica `i` of the first service that has so many.
    pub name: Name,
    /// What runs in its guest, in words. Empty where it has none.
    pub software: String<SOFTWARE_BYTES_MAX>,
    /// Never [`ReplicaStanding::Suspect`], which goes by service.
    pub state: ReplicaStanding,
    /// Why it is, or was last, condemned.
    #[serde(with = "reason")]
    pub reason: Option<Condemnation>,
    /// Which life of the domain, from 1.
    pub generation: u32,
    /// Times it was condemned.
    pub condemned: u64,
    /// Sessions it took part in.
    pub sessions: u64,
    /// Sessions in which it lost its voice by differing.
    pub divergences: u64,
    /// Sessions from which it was evicted as a laggard.
    pub evictions: u64,
    /// Sessions in which its connection was reset or refused.
    pub resets: u64,
    /// Reply bytes that were looked at.
    pub reply_bytes: u64,
    /// Times it came to vote after it had been out.
    pub recovered: u64,
    /// How long it was out the last time, from its last vote to its next, in milliseconds.
    pub recovery_ms: u64,
    /// The wait before it begins anew, while it backs off, in milliseconds.
    pub back_off_ms: u64,
    /// Requests it has executed, while it catches up in total order.
    pub caught_up: u64,
    /// Requests it is to execute until it has.
    pub catch_up_total: u64,
}

/// A divergence as it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisputeStatus {
    /// Counts from 1.
    pub number: u64,
    /// When, in seconds since 1970-01-01 UTC.
    pub time_s: u32,
    /// Name of the service.
    pub service: Name,
    /// Index of the session.
    pub session: u16,
    /// Which use of that index.
    pub session_generation: u16,
    /// Index of the replica that differs.
    pub replica: u8,
    /// Its name.
    pub replica_name: Name,
    /// How.
    #[serde(with = "DisputeKindNames")]
    pub kind: DisputeKind,
    /// Position in the reply stream.
    pub offset: u64,
    /// What the others, or the first of them, said from there on, in hexadecimal.
    pub expected: Shown,
    /// What this replica said from there on, in hexadecimal.
    pub found: Shown,
}

/// The first bytes of one side of a dispute. Two hexadecimal digits for each byte in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown(pub Vec<u8, DISPUTE_BYTES>);

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::<{ 2 * DISPUTE_BYTES }>::new();
        for byte in &self.0 {
            for digit in [byte >> 4, byte & 15] {
                // The text holds two digits for every byte there can be.
                let _ = text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
            }
        }
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Shown {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let mut bytes = Vec::new();
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        for [high, low] in pairs {
            let (high, low) = digit(*high).zip(digit(*low)).ok_or(D::Error::custom("not hex"))?;
            bytes.push((high << 4 | low) as u8).map_err(|_| D::Error::custom("too long"))?;
        }
        if rest.is_empty() {
            Ok(Self(bytes))
        } else {
            Err(D::Error::custom("odd number of digits"))
        }
    }
}

/// How [`DisputeKind`] is spelled in JSON.
#[derive(Serialize, Deserialize)]
#[serde(remote = "DisputeKind", rename_all = "snake_case")]
enum DisputeKindNames {
    Bytes,
    EarlyFin,
    LateData,
    Reset,
    Silence,
    Laggard,
    NoQuorum,
}

/// How [`Condemnation`] is spelled in JSON.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Condemnation", rename_all = "snake_case")]
enum CondemnationNames {
    RingPosition,
    RingHeader,
    RingLength,
    UnexpectedRecord,
    CreditExceeded,
    WrongOffset,
    Silent,
    Died,
    Diverged,
    Probe,
    BootTimeOut,
    Behind,
    Framing,
}

mod reason {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Named(#[serde(with = "CondemnationNames")] Condemnation);

    pub(super) fn serialize<S: Serializer>(
        reason: &Option<Condemnation>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        reason.map(Named).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Condemnation>, D::Error> {
        Ok(Option::<Named>::deserialize(deserializer)?.map(|named| named.0))
    }
}
