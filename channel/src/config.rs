//! What `resh.toml` comes down to: the form the domains share.
//!
//! The board checks the file, compiles it to one [`Appliance`] and puts its bytes into the `config`
//! region, which every domain may read and none may write. A domain decodes it once, in its init:
//! [`Appliance::decode`] checks every limit again, so what a domain holds is within the limits below
//! whoever wrote the bytes. `docs/configuration.md` describes the keys.
//!
//! # Encoding
//! Eight bytes of header (magic `RESH`, version as `u16`, length as `u16`, both little endian), then
//! that many bytes of [postcard](https://postcard.jamesmunns.com/wire-format). What follows is ignored,
//! so the whole region can be handed to `decode`.

mod cookies;
mod guest;
mod recovery;
mod service;

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use heapless::{String, Vec};
use serde::{Deserialize, Serialize};

use crate::memory::{Bytes, Words};
pub use cookies::{COOKIE_NAME_BYTES_MAX, COOKIES_MAX, CookieNames};
pub use guest::{COMMAND_LINE_BYTES_MAX, Guest, SOFTWARE_BYTES_MAX, is_one_line};
pub use recovery::Recovery;
pub use service::{Order, Probe, State, Transport};

/// Services of one appliance, at most.
pub const SERVICES_MAX: usize = 16;
/// Replicas of one service, at most. Replica `i` is served by the domain `gateway_<i>`.
pub const REPLICAS_MAX: usize = 3;
/// Bytes of a name (appliance, service, replica, guest), at most.
pub const NAME_BYTES_MAX: usize = 32;
/// Bytes of the name of a Linux network interface, at most (`IFNAMSIZ` less its zero).
pub const INTERFACE_BYTES_MAX: usize = 15;
/// Bytes of an encoded [`Appliance`], header included, at most.
pub const ENCODED_BYTES_MAX: usize = 12 * 1024;
/// Bytes of a probe, at most.
pub const PROBE_BYTES_MAX: usize = 256;

/// Concurrent sessions of one appliance, at most: each has its share of the `window` region.
pub const SESSIONS_MAX: u16 = 1024;
/// Longest time that can be set for any of the limits, in milliseconds: one hour.
pub const TIME_MS_MAX: u32 = 3_600_000;
/// Smallest limit on the head of an HTTP message, in bytes.
pub const HEAD_BYTES_MIN: u32 = 1024;
/// Largest limit on the head of an HTTP message, in bytes.
pub const HEAD_BYTES_MAX: u32 = 65_536;

const MAGIC: [u8; 4] = *b"RESH";
const VERSION: u16 = 3;
const HEADER_BYTES: usize = 8;

/// A name of an appliance, a service or a replica: see [`name_is_valid`].
pub type Name = String<NAME_BYTES_MAX>;

/// The whole configuration of one appliance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appliance {
    /// What the operator calls it.
    pub name: Name,
    /// Where the monitor serves Prometheus metrics, JSON and a page, if anywhere.
    pub metrics: Option<SocketAddr>,
    /// Limits that hold for every service.
    pub limits: Limits,
    /// When a replica is recovered.
    pub recovery: Recovery,
    /// What the voter makes its nonces from. Secret, and another one at every start where the board can.
    pub seed: [u8; 32],
    /// The TCP/IP stack towards the clients.
    pub network: Network,
    /// The services, at least one. The index of a service here is its number in every message.
    pub services: Vec<Service, SERVICES_MAX>,
    /// The guests: guest `i` holds replica `i` of every service. None where replicas are servers of their own
    /// (Linux).
    pub guests: Vec<Guest, REPLICAS_MAX>,
}

/// Limits that hold for every service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Concurrent sessions, 1 to [`SESSIONS_MAX`]. A client beyond them is refused.
    pub sessions: u16,
    /// How long a session waits for a quorum on what some of its replicas have answered, in
    /// milliseconds. Every byte that is released starts it anew.
    pub reply_ms: u32,
    /// How long a session waits for a replica a whole window behind, added up over its life, in
    /// milliseconds. 0: not at all.
    pub lag_budget_ms: u32,
    /// How long a session may be without any traffic before it is closed, in milliseconds.
    pub idle_ms: u32,
    /// How long a gateway tries to connect to its replica, in milliseconds.
    pub connect_ms: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: SESSIONS_MAX,
            reply_ms: 5_000,
            lag_budget_ms: 200,
            idle_ms: 60_000,
            connect_ms: 2_000,
        }
    }
}

/// The TCP/IP stack towards the clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// Sockets of the host's kernel. Needs no privilege.
    #[default]
    Kernel,
    /// smoltcp inside the network domain, on an interface of its own.
    Smoltcp(Smoltcp),
}

/// The interface that smoltcp drives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Smoltcp {
    /// Name of the TAP interface, on Linux. On other boards it drives the network device.
    pub tap: Option<String<INTERFACE_BYTES_MAX>>,
    /// Address of the appliance on it.
    pub address: IpAddr,
    /// Length of the network prefix of `address`, in bits.
    pub prefix_bits: u8,
    /// Router towards everything else, if there is one. Of the same family as `address`.
    pub gateway: Option<IpAddr>,
    /// Hardware (MAC) address, unicast.
    pub mac: [u8; 6],
}

/// An address and port the appliance answers for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// What the operator calls it. Unique.
    pub name: Name,
    /// Where clients connect to. Unique for its transport.
    pub listen: SocketAddr,
    /// What carries its bytes.
    pub transport: Transport,
    /// How replies are brought to one form.
    pub protocol: Protocol,
    /// What to do when no quorum can be had any more.
    pub on_mismatch: OnMismatch,
    /// In which order its replicas execute requests.
    pub order: Order,
    /// How a replica that begins anew gets the state of the others.
    pub state: State,
    /// A request that every healthy replica answers alike, as a client would send it. Empty: only whether a
    /// replica accepts connections is tried.
    pub probe: Probe,
    /// The replicas, 1 to [`REPLICAS_MAX`].
    pub replicas: Vec<Replica, REPLICAS_MAX>,
}

impl Service {
    /// How many replicas must produce a byte before it may leave: 1 of 1, 2 of 2, 2 of 3.
    #[must_use]
    pub fn quorum(&self) -> usize {
        self.replicas.len() / 2 + 1
    }
}

/// How the replies of a service's replicas are brought to one form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// Byte for byte, both ways.
    Raw,
    /// HTTP/1.1 (RFC 9110, RFC 9112).
    Http1(Http1),
    /// DNS (RFC 1035), over UDP or TCP.
    Dns,
    /// Redis' protocol (RESP 2).
    Resp,
    /// PostgreSQL's frontend/backend protocol, version 3.
    Pgwire,
}

/// Settings of the `http1` canonicaliser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http1 {
    /// Methods that reach the replicas. Any other is answered by the appliance.
    pub methods: Methods,
    /// Longest head (request line or status line, and fields) either way, in bytes.
    pub max_head_bytes: u32,
    /// Cookies whose values each replica makes for itself: clients get surrogates in their place.
    pub private_cookies: CookieNames,
}

impl Default for Http1 {
    fn default() -> Self {
        Self {
            methods: Methods::ALL,
            max_head_bytes: 16_384,
            private_cookies: CookieNames::default(),
        }
    }
}

/// A set of HTTP methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Methods(u8);

impl Methods {
    /// The methods there are, as they are spelled: those of RFC 9110 section 9 without `CONNECT` and
    /// `TRACE`, which would address the appliance itself, and `PATCH` (RFC 5789).
    pub const NAMES: [&'static str; 7] =
        ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];
    /// No method.
    pub const NONE: Self = Self(0);
    /// All of [`Methods::NAMES`].
    pub const ALL: Self = Self((1 << Self::NAMES.len()) - 1);

    fn bit(method: &[u8]) -> u8 {
        Self::NAMES.iter().position(|name| name.as_bytes() == method).map_or(0, |at| 1 << at)
    }

    /// Whether `method`, which is case-sensitive (RFC 9110 section 9.1), is in the set.
    #[must_use]
    pub fn contains(self, method: &[u8]) -> bool {
        self.0 & Self::bit(method) != 0
    }

    /// Adds `method`. False if there is no such method or it was in the set already.
    pub fn insert(&mut self, method: &str) -> bool {
        let bit = Self::bit(method.as_bytes());
        let new = bit & !self.0 != 0;
        self.0 |= bit;
        new
    }

    /// The methods of the set, in the order of [`Methods::NAMES`].
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |name| self.contains(name.as_bytes()))
    }
}

/// What to do when the replicas of a session disagree and no quorum can be had any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnMismatch {
    /// Stop the service until the operator starts it again. What two replicas need: one of them is
    /// wrong, and nobody can say which.
    StopService,
    /// Reset that session only.
    StopSession,
}

impl OnMismatch {
    /// What holds for a service with so many replicas if its configuration does not say.
    #[must_use]
    pub fn default_for(replicas: usize) -> Self {
        if replicas == 2 { Self::StopService } else { Self::StopSession }
    }
}

/// One of the servers behind a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// What the operator calls it. Unique within its service.
    pub name: Name,
    /// Where its server listens.
    pub address: SocketAddr,
}

/// Why bytes are not a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// They do not begin with the magic number.
    NotAConfiguration,
    /// They are of another version of RESH.
    Version(u16),
    /// They end too soon, or are not the encoding of a configuration.
    Malformed,
    /// The buffer to encode into is too small.
    NoRoom,
    /// A value is outside its limits: which.
    OutOfLimits(&'static str),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAConfiguration => write!(f, "not a compiled configuration"),
            Self::Version(found) => {
                write!(f, "compiled configuration of version {found}, expected {VERSION}")
            }
            Self::Malformed => write!(f, "compiled configuration is cut short or malformed"),
            Self::NoRoom => write!(f, "no room for the compiled configuration"),
            Self::OutOfLimits(what) => write!(f, "compiled configuration: {what}"),
        }
    }
}

impl core::error::Error for ConfigError {}

/// Whether `name` can be the name of an appliance, a service, a replica or a guest: 1 to [`NAME_BYTES_MAX`]
/// letters, digits, `-`, `_` and `.`, the first of them a letter or a digit.
#[must_use]
pub fn name_is_valid(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// Whether two listening addresses cannot be had at once: the same port, and the same address or one
/// of them every address of the host. (`[::]` takes the IPv4 addresses too, as Linux does by default.)
#[must_use]
pub fn listen_clash(a: SocketAddr, b: SocketAddr) -> bool {
    let all = |of: SocketAddr, other: SocketAddr| {
        of.ip().is_unspecified() && (of.is_ipv6() || other.is_ipv4())
    };
    a.port() == b.port() && (a.ip() == b.ip() || all(a, b) || all(b, a))
}

impl Appliance {
    /// The configuration in a `config` region.
    ///
    /// # Errors
    /// The region holds something else.
    pub fn in_region(region: &Words) -> Result<Self, ConfigError> {
        let mut bytes = [0; ENCODED_BYTES_MAX];
        let len = Bytes::new(region, ENCODED_BYTES_MAX).copy_to(&mut bytes);
        Self::decode(&bytes[..len])
    }

    /// Writes the compiled form to the start of `out` and returns its length in bytes.
    ///
    /// # Errors
    /// [`ConfigError::OutOfLimits`] if `self` breaks a limit, [`ConfigError::NoRoom`] if `out` is too
    /// small; [`ENCODED_BYTES_MAX`] bytes always do.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, ConfigError> {
        self.validate()?;
        let (header, body) = out.split_at_mut_checked(HEADER_BYTES).ok_or(ConfigError::NoRoom)?;
        let length = postcard::to_slice(self, body).map_err(|_| ConfigError::NoRoom)?.len();
        let length_u16 = u16::try_from(length).map_err(|_| ConfigError::NoRoom)?;
        header[..4].copy_from_slice(&MAGIC);
        header[4..6].copy_from_slice(&VERSION.to_le_bytes());
        header[6..].copy_from_slice(&length_u16.to_le_bytes());
        Ok(HEADER_BYTES + length)
    }

    /// Reads the compiled form from the start of `bytes`. Whatever the bytes are, the result is within
    /// the limits or an error.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ConfigError> {
        let (header, body) =
            bytes.split_at_checked(HEADER_BYTES).ok_or(ConfigError::NotAConfiguration)?;
        if header[..4] != MAGIC {
            return Err(ConfigError::NotAConfiguration);
        }
        let version = u16::from_le_bytes([header[4], header[5]]);
        if version != VERSION {
            return Err(ConfigError::Version(version));
        }
        let length = usize::from(u16::from_le_bytes([header[6], header[7]]));
        let body = body.get(..length).ok_or(ConfigError::Malformed)?;
        let (appliance, rest): (Self, _) =
            postcard::take_from_bytes(body).map_err(|_| ConfigError::Malformed)?;
        if !rest.is_empty() {
            return Err(ConfigError::Malformed);
        }
        appliance.validate()?;
        Ok(appliance)
    }

    /// Checks every limit that the types do not already keep.
    ///
    /// # Errors
    /// [`ConfigError::OutOfLimits`] with the first that is broken.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let demand = |holds: bool, what| holds.then_some(()).ok_or(ConfigError::OutOfLimits(what));
        demand(name_is_valid(&self.name), "name of the appliance")?;
        demand(self.metrics.is_none_or(|at| at.port() != 0), "port of metrics")?;
        self.limits.validate()?;
        self.recovery.validate()?;
        if let Network::Smoltcp(smoltcp) = &self.network {
            smoltcp.validate()?;
        }
        demand(!self.services.is_empty(), "no service")?;
        for (at, service) in self.services.iter().enumerate() {
            let earlier = &self.services[..at];
            demand(earlier.iter().all(|e| e.name != service.name), "service named twice")?;
            let free = earlier.iter().all(|e| {
                e.transport != service.transport || !listen_clash(e.listen, service.listen)
            });
            demand(free, "two services listen at one address")?;
            service.validate()?;
        }
        self.validate_guests()
    }
}

impl Limits {
    fn validate(&self) -> Result<(), ConfigError> {
        let demand = |holds: bool, what| holds.then_some(()).ok_or(ConfigError::OutOfLimits(what));
        let time = 1..=TIME_MS_MAX;
        demand((1..=SESSIONS_MAX).contains(&self.sessions), "sessions")?;
        demand(time.contains(&self.reply_ms), "reply_ms")?;
        demand(self.lag_budget_ms <= TIME_MS_MAX, "lag_budget_ms")?;
        demand(time.contains(&self.idle_ms), "idle_ms")?;
        demand(time.contains(&self.connect_ms), "connect_ms")
    }
}

impl Smoltcp {
    fn validate(&self) -> Result<(), ConfigError> {
        let demand = |holds: bool, what| holds.then_some(()).ok_or(ConfigError::OutOfLimits(what));
        let bits = if self.address.is_ipv4() { 32 } else { 128 };
        demand((1..=bits).contains(&self.prefix_bits), "prefix of the address")?;
        let family = self.gateway.is_none_or(|g| g.is_ipv4() == self.address.is_ipv4());
        demand(family, "family of the gateway")?;
        demand(self.tap.as_ref().is_none_or(|tap| !tap.is_empty()), "name of the TAP interface")?;
        demand(self.mac[0] & 1 == 0 && self.mac != [0; 6], "hardware address")
    }
}

impl Service {
    fn validate(&self) -> Result<(), ConfigError> {
        let demand = |holds: bool, what| holds.then_some(()).ok_or(ConfigError::OutOfLimits(what));
        demand(name_is_valid(&self.name), "name of a service")?;
        demand(self.listen.port() != 0, "port of a service")?;
        self.validate_form()?;
        if let Protocol::Http1(http1) = &self.protocol {
            let head = HEAD_BYTES_MIN..=HEAD_BYTES_MAX;
            demand(head.contains(&http1.max_head_bytes), "max_head_bytes")?;
            demand(http1.methods.0 & !Methods::ALL.0 == 0, "methods")?;
            demand(http1.methods != Methods::NONE, "no method")?;
            demand(http1.private_cookies.is_valid(), "private_cookies")?;
        }
        demand(!self.replicas.is_empty(), "service without a replica")?;
        for (at, replica) in self.replicas.iter().enumerate() {
            let earlier = &self.replicas[..at];
            demand(name_is_valid(&replica.name), "name of a replica")?;
            demand(replica.address.port() != 0, "port of a replica")?;
            demand(!replica.address.ip().is_unspecified(), "address of a replica")?;
            demand(earlier.iter().all(|e| e.name != replica.name), "replica named twice")?;
            demand(earlier.iter().all(|e| e.address != replica.address), "replica given twice")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
