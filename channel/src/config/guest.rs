//! The guests that this host runs its replicas in.

use core::net::IpAddr;

use heapless::String;
use serde::{Deserialize, Serialize};

use super::{Appliance, ConfigError, Name, name_is_valid};

/// Bytes of the description of a guest's software, at most.
pub const SOFTWARE_BYTES_MAX: usize = 96;
/// Bytes of a guest's command line in the configuration, at most. The VMM appends its own part.
pub const COMMAND_LINE_BYTES_MAX: usize = 256;

/// A virtual machine that holds one replica of every service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    /// What the operator calls it. Unique.
    pub name: Name,
    /// What runs in it, in words for the operator, such as `nginx 1.22.1, Linux 6.1.0-50-arm64`. May be empty.
    pub software: String<SOFTWARE_BYTES_MAX>,
    /// What its kernel is told. May be empty.
    pub command_line: String<COMMAND_LINE_BYTES_MAX>,
}

/// Whether `text` can stand on a line: printable ASCII and blanks only.
#[must_use]
pub fn is_one_line(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

impl Guest {
    fn validate(&self) -> Result<(), ConfigError> {
        let demand = |holds: bool, what| holds.then_some(()).ok_or(ConfigError::OutOfLimits(what));
        demand(name_is_valid(&self.name), "name of a guest")?;
        demand(is_one_line(&self.software), "software of a guest")?;
        demand(is_one_line(&self.command_line), "command line of a guest")
    }
}

impl Appliance {
    /// The address of guest `index`: that of replica `index` of every service that has so many.
    #[must_use]
    pub fn guest_address(&self, index: usize) -> Option<IpAddr> {
        self.guests.get(index)?;
        let mut replicas = self.services.iter().filter_map(|service| service.replicas.get(index));
        Some(replicas.next()?.address.ip())
    }

    /// What must hold where there are guests: each has one address, and no other has it.
    pub(super) fn validate_guests(&self) -> Result<(), ConfigError> {
        let demand = |holds: bool, what| holds.then_some(()).ok_or(ConfigError::OutOfLimits(what));
        for (at, guest) in self.guests.iter().enumerate() {
            let earlier = &self.guests[..at];
            guest.validate()?;
            demand(earlier.iter().all(|other| other.name != guest.name), "guest named twice")?;
            let own = self.guest_address(at);
            demand(own.is_some(), "guest without a service")?;
            let elsewhere = (0..at).all(|other| self.guest_address(other) != own);
            demand(elsewhere, "two guests at one address")?;
        }
        if self.guests.is_empty() {
            return Ok(());
        }
        for service in &self.services {
            for (at, replica) in service.replicas.iter().enumerate() {
                demand(at < self.guests.len(), "replica without a guest")?;
                let own = self.guest_address(at) == Some(replica.address.ip());
                demand(own, "replica at another address than its guest")?;
            }
        }
        Ok(())
    }
}
