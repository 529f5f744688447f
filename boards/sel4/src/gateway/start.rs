//! How the domain of a replica starts: everything it will ever allocate.

use alloc::boxed::Box;
use alloc::format;
use core::cell::RefCell;
use core::fmt;

use gateway::domain::{self, InitError};
use guest_vmm::machine::boot::{BootError, Images};
use guest_vmm::machine::{Guest, Machine};
use guest_vmm::upstream::{AddressError, Settings, Tcp};
use resh_channel::config::{Appliance, ConfigError};
use resh_channel::memory::{Bytes, Ordering};
use resh_channel::supervision;
use sel4_microkit::sel4::now_ticks;
use sel4_microkit::{Handler, NotGranted, region};

use super::cpu::Cpu;
use super::shared::{Connections, Wire};
use super::{Domain, Ended, print};

/// Why the domain of a replica cannot start.
#[derive(Debug)]
pub enum StartError {
    /// A region is missing.
    NotGranted(NotGranted),
    /// The configuration cannot be read.
    Config(ConfigError),
    /// It has no guest for this replica.
    NoGuest(usize),
    /// The guest's addresses make no sense.
    Address(AddressError),
    /// The guest cannot be started.
    Boot(BootError),
    /// The gateway cannot be started.
    Gateway(InitError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGranted(error) => error.fmt(f),
            Self::Config(error) => error.fmt(f),
            Self::NoGuest(replica) => write!(f, "the configuration has no guest {replica}"),
            Self::Address(error) => error.fmt(f),
            Self::Boot(error) => error.fmt(f),
            Self::Gateway(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for StartError {}

impl From<NotGranted> for StartError {
    fn from(error: NotGranted) -> Self {
        Self::NotGranted(error)
    }
}

/// Starts the domain: its guest is stopped, and begins when the handler is first called.
///
/// # Errors
/// See [`StartError`].
pub fn start() -> Result<impl Handler<Error = Ended>, StartError> {
    let appliance = Appliance::in_region(region("config")?).map_err(StartError::Config)?;
    let replica = domain::replica().map_err(StartError::Gateway)?;
    let guest = appliance.guests.get(replica).ok_or(StartError::NoGuest(replica))?;
    let sessions = usize::from(appliance.limits.sessions);
    let settings =
        Settings::of(&appliance, replica, sessions, now_ticks()).map_err(StartError::Address)?;
    // The supervisor's word, which no life of this domain can change: not what it finds in its own memory.
    let generation = region("supervision")?
        .get(supervision::GENERATION + replica)
        .map_or(0, |word| word.load(Ordering::Acquire));
    let command_line = format!(
        "{} resh.address={}/31 resh.gateway={} resh.name={}",
        guest.command_line,
        settings.guest,
        settings.ours(),
        guest.name
    );
    // As long as the file, up to a word. What is beyond is 0, which no image minds.
    let image = |symbol| region(symbol).map(|words| Bytes::new(words, usize::MAX));
    let machine = Machine::new(
        Cpu::new(),
        &Guest {
            ram: region("guest_ram")?,
            images: Images { kernel: image("guest_kernel")?, initramfs: image("guest_initramfs")? },
            command_line: &command_line,
            mac: settings.guest_mac,
            is_first: generation == 1,
        },
        print,
    )
    .map_err(StartError::Boot)?;
    // They live as long as the domain.
    let machine = &*Box::leak(Box::new(RefCell::new(machine)));
    let tcp = &*Box::leak(Box::new(RefCell::new(Tcp::new(Wire(machine), settings))));
    let gateway = domain::start_fitted(Connections(tcp)).map_err(StartError::Gateway)?;
    Ok(Domain { machine, tcp, gateway, serves: false, gateway_at_ms: None, machine_at_ms: None })
}
