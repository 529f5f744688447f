//! The monitor domain: shows the operator what the others publish, and can change nothing.
//!
//! It maps `config`, `voter_stats`, `network_stats` and `supervision` read-only, and serves them over HTTP: `/` (a page),
//! `/status.json`, `/metrics` (Prometheus) and `/healthz`. `docs/operating.md` describes them.

pub mod http;
pub mod metrics;
pub mod server;

use std::convert::Infallible;
use std::fmt;
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use resh_channel::config::{Appliance, ConfigError};
use resh_channel::memory::Words;
use resh_channel::snapshot;
use resh_channel::stats::{NetworkStats, VoterStats};
use sel4_microkit::{ChannelSet, Handler, NotGranted, clock_s, now_ms, region, set_deadline};

use http::{Resource, Status};
use resh_status::model::Health;
use resh_status::report::{Seen, supervised};
use server::{Content, Server};

/// Name under which the launcher hands over the Unix socket.
pub const UNIX_DESCRIPTOR: &str = "unix";
/// Name under which the launcher hands over the TCP socket.
pub const TCP_DESCRIPTOR: &str = "tcp";

const PAGE: &[u8] = include_bytes!("page/index.html");
const SCRIPT: &[u8] = include_bytes!("page/page.js");
const STYLE: &[u8] = include_bytes!("page/page.css");

/// Why the monitor cannot start.
#[derive(Debug)]
pub enum Error {
    /// The system description does not grant a region.
    NotGranted(NotGranted),
    /// The configuration cannot be read.
    Config(ConfigError),
    /// A listener cannot be used.
    Listener(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGranted(error) => error.fmt(f),
            Self::Config(error) => error.fmt(f),
            Self::Listener(error) => write!(f, "cannot use a listener: {error}"),
        }
    }
}

impl std::error::Error for Error {}

/// The domain's program. Everything it needs is allocated here; the listeners were opened by
/// whoever started the domain.
///
/// # Errors
/// See [`Error`].
pub fn start(
    unix: Option<UnixListener>,
    tcp: Option<TcpListener>,
) -> Result<impl Handler<Error = Infallible>, Error> {
    let granted = |symbol| region(symbol).map_err(Error::NotGranted);
    let appliance = Appliance::in_region(granted("config")?).map_err(Error::Config)?;
    let (voter, network) = (granted("voter_stats")?, granted("network_stats")?);
    let view = View::new(appliance, voter, network, granted("supervision")?);
    let server = Server::new(unix, tcp).map_err(Error::Listener)?;
    Ok(Monitor { server, view })
}

struct Monitor {
    server: Server,
    view: View,
}

impl Handler for Monitor {
    type Error = Infallible;

    fn notified(&mut self, _: ChannelSet) -> Result<(), Infallible> {
        let next_ms = self.server.poll(&mut self.view, now_ms());
        set_deadline(next_ms);
        Ok(())
    }
}

/// What the monitor can look at.
pub(crate) struct View {
    appliance: Appliance,
    voter: Published<VoterStats>,
    network: Published<NetworkStats>,
    supervision: &'static Words,
    began_ms: u64,
}

/// A published value, as it last could be read.
struct Published<T> {
    region: &'static Words,
    scratch: Vec<u8>,
    last: Box<T>,
}

impl<T: Default + serde::de::DeserializeOwned> Published<T> {
    fn new(region: &'static Words) -> Self {
        Self { region, scratch: vec![0; region.len() * size_of::<u64>()], last: Box::default() }
    }

    /// The value now, or the last one that could be read.
    fn read(&mut self) -> &T {
        if let Ok(value) = snapshot::read(self.region, &mut self.scratch) {
            *self.last = value;
        }
        &self.last
    }
}

impl View {
    pub(crate) fn new(
        appliance: Appliance,
        voter: &'static Words,
        network: &'static Words,
        supervision: &'static Words,
    ) -> Self {
        Self {
            appliance,
            voter: Published::new(voter),
            network: Published::new(network),
            supervision,
            began_ms: now_ms(),
        }
    }

    fn status(&mut self) -> resh_status::model::Status {
        let seen = Seen {
            appliance: &self.appliance,
            voter: self.voter.read(),
            network: self.network.read(),
            supervised: supervised(self.supervision),
            clock_s: clock_s(),
            uptime_s: now_ms().saturating_sub(self.began_ms) / 1000,
        };
        seen.status()
    }
}

/// Writes into a vector, up to its capacity.
struct Bounded<'a>(&'a mut Vec<u8>);

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.0.capacity() - self.0.len();
        let bytes = &bytes[..bytes.len().min(room)];
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Write for Bounded<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write_all(text.as_bytes()).map_err(|_| fmt::Error)
    }
}

impl Content for View {
    fn body(&mut self, resource: Resource, body: &mut Vec<u8>) -> Status {
        let mut out = Bounded(body);
        let written = match resource {
            Resource::Page => out.write_all(PAGE).is_ok(),
            Resource::Script => out.write_all(SCRIPT).is_ok(),
            Resource::Style => out.write_all(STYLE).is_ok(),
            Resource::Status => serde_json::to_writer(&mut out, &self.status()).is_ok(),
            Resource::Metrics => metrics::write(&mut out, &self.status()).is_ok(),
            Resource::Health => {
                let (status, text) = match self.status().health {
                    Health::Healthy => (Status::Ok, "healthy\n"),
                    Health::Degraded => (Status::Ok, "degraded\n"),
                    Health::Starting => (Status::Unavailable, "starting\n"),
                    Health::Stopped => (Status::Unavailable, "stopped\n"),
                };
                return if out.write_all(text.as_bytes()).is_ok() {
                    status
                } else {
                    Status::Internal
                };
            }
        };
        if written { Status::Ok } else { Status::Internal }
    }
}

#[cfg(test)]
mod tests;
