//! How the network domain starts on this board.

use core::fmt;

use pd_network::domain::InitError;
use pd_network::smoltcp_stack::SetupError;
use resh_channel::config::{Appliance, ConfigError, Network, Smoltcp};
use sel4_microkit::{NotGranted, region};

use crate::nic::NicError;

/// Why the domain cannot start.
#[derive(Debug)]
pub enum Error {
    /// The system description does not grant a region.
    Region(NotGranted),
    /// The configuration cannot be read.
    Config(ConfigError),
    /// It is made for the sockets of a kernel that there is not.
    Stack,
    /// The region for devices is of no use.
    Dma,
    /// The network interface cannot be had.
    Nic(NicError),
    /// smoltcp cannot serve the configuration.
    Setup(SetupError),
    /// The rest cannot.
    Domain(InitError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Region(error) => error.fmt(f),
            Self::Config(error) => error.fmt(f),
            Self::Stack => write!(f, "this board needs `stack = \"smoltcp\"` in `[network]`"),
            Self::Dma => write!(f, "the region `nic_dma` does not begin at a page"),
            Self::Nic(error) => error.fmt(f),
            Self::Setup(error) => error.fmt(f),
            Self::Domain(error) => error.fmt(f),
        }
    }
}

impl From<NotGranted> for Error {
    fn from(error: NotGranted) -> Self {
        Self::Region(error)
    }
}

impl core::error::Error for Error {}

/// The configuration, and what it says of the interface.
///
/// # Errors
/// See [`Error`].
pub fn configuration() -> Result<(Appliance, Smoltcp), Error> {
    let appliance = Appliance::in_region(region("config")?).map_err(Error::Config)?;
    match &appliance.network {
        Network::Smoltcp(settings) => {
            let settings = settings.clone();
            Ok((appliance, settings))
        }
        Network::Kernel => Err(Error::Stack),
    }
}
