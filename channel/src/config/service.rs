//! How a service's requests travel, in which order they are executed, and what is known of its state.

use serde::{Deserialize, Serialize};

use super::{ConfigError, PROBE_BYTES_MAX, Protocol, Service};

/// A request that tells whether a replica is healthy, as a client would send it.
pub type Probe = heapless::Vec<u8, PROBE_BYTES_MAX>;

/// What carries the bytes between clients, appliance and replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transport {
    /// TCP: a session is a connection.
    #[default]
    Tcp,
    /// UDP: a session is one request datagram and the datagram that answers it.
    Udp,
}

/// In which order the replicas execute requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Sessions are independent.
    #[default]
    Session,
    /// The requests of all sessions in one order, the same for all replicas, one after another.
    Total,
}

/// How a replica that begins anew gets the state of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// There is none.
    #[default]
    None,
    /// It executes all requests since the start of the service anew, as far as the log holds them.
    Replay,
    /// It executes what the others, by a quorum, wrote out as their state, and the requests since.
    Export,
}

impl Service {
    /// What its transport, order, state and protocol demand of each other.
    pub(super) fn validate_form(&self) -> Result<(), ConfigError> {
        let demand = |holds: bool, what| holds.then_some(()).ok_or(ConfigError::OutOfLimits(what));
        let udp = self.transport == Transport::Udp;
        let framed = !matches!(self.protocol, Protocol::Raw | Protocol::Dns);
        demand(
            !udp || matches!(self.protocol, Protocol::Raw | Protocol::Dns),
            "protocol over UDP",
        )?;
        demand(
            self.order == Order::Session || framed,
            "total order of a protocol without requests",
        )?;
        demand(
            self.protocol != Protocol::Pgwire || self.order == Order::Total,
            "PostgreSQL without total order",
        )?;
        demand(
            self.state == State::None || self.order == Order::Total,
            "state without total order",
        )?;
        demand(
            self.state != State::Export || self.protocol == Protocol::Resp,
            "export of a protocol that has none",
        )
    }
}
