//! The gateway as a protection domain: its regions, its channel, its clock.

use resh_channel::config::{Appliance, ConfigError, Limits};
use resh_channel::memory::Ordering;
use sel4_microkit::{Channel, ChannelSet, Handler, NotGranted, now_ms, region, set_deadline};

use crate::upstream::Upstream;
use crate::{Broken, Gateway, Memory, Rings};

/// The channel to the voter.
const VOTER: Channel = Channel::new(0);

/// Rounds before events of the transport are collected again.
const ROUNDS: usize = 4;

/// Why a gateway domain cannot start.
#[derive(Debug)]
pub enum InitError {
    /// A region is missing.
    NotGranted(NotGranted),
    /// The domain's name is not `gateway_<replica>`.
    Name(&'static str),
    /// The configuration cannot be read.
    Config(ConfigError),
    /// A region is too small.
    Broken(Broken),
}

impl core::fmt::Display for InitError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NotGranted(error) => error.fmt(f),
            Self::Name(name) => write!(f, "`{name}` is no name of a gateway: `gateway_<replica>`"),
            Self::Config(error) => error.fmt(f),
            Self::Broken(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for InitError {}

impl From<NotGranted> for InitError {
    fn from(error: NotGranted) -> Self {
        Self::NotGranted(error)
    }
}

/// Which replica this domain serves: its name is `gateway_<replica>`.
///
/// # Errors
/// [`InitError::Name`] if it is not.
pub fn replica() -> Result<usize, InitError> {
    let name = sel4_microkit::name();
    let number = name.strip_prefix("gateway_").and_then(|number| number.parse().ok());
    number.ok_or(InitError::Name(name))
}

/// Starts the gateway of this domain over `upstream`. Allocates all it will ever need: whatever there can
/// be need of, as for a board with [`Memory::LAZY`].
///
/// # Errors
/// See [`InitError`].
pub fn start<U: Upstream>(upstream: U) -> Result<impl Handler<Error = Broken>, InitError> {
    start_with(upstream, |_| Memory::LAZY)
}

/// Starts the gateway of this domain over `upstream`. Allocates all that the limits of its configuration
/// make needful, as [`Memory::fitted`].
///
/// # Errors
/// See [`InitError`].
pub fn start_fitted<U: Upstream>(upstream: U) -> Result<impl Handler<Error = Broken>, InitError> {
    start_with(upstream, Memory::fitted)
}

fn start_with<U: Upstream>(
    upstream: U,
    memory: impl FnOnce(&Limits) -> Memory,
) -> Result<Domain<U>, InitError> {
    let (appliance, replica) =
        (Appliance::in_region(region("config")?).map_err(InitError::Config)?, replica()?);
    let supervision = region("supervision")?;
    let generation = supervision.get(replica).map_or(0, |word| word.load(Ordering::Acquire));
    let rings = Rings {
        broadcast_ring: region("broadcast_ring")?,
        broadcast_cursor: region("broadcast_cursor")?,
        reply_ring: region("reply_ring")?,
        reply_cursor: region("reply_cursor")?,
    };
    let memory = memory(&appliance.limits);
    Gateway::new(&appliance, replica, generation, memory, rings, upstream)
        .map(|gateway| Domain { gateway })
        .map_err(InitError::Broken)
}

struct Domain<U> {
    gateway: Gateway<'static, U>,
}

impl<U: Upstream> Handler for Domain<U> {
    type Error = Broken;

    fn notified(&mut self, _: ChannelSet) -> Result<(), Broken> {
        for _ in 0..ROUNDS {
            let now_ms = now_ms();
            let round = self.gateway.round(now_ms)?;
            if round.signal_voter {
                VOTER.notify();
            }
            set_deadline(if round.again { Some(now_ms) } else { round.wake_at_ms });
            if !round.again {
                break;
            }
        }
        Ok(())
    }
}
