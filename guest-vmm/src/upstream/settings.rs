//! Addresses of the link to a guest.

use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr};

use resh_channel::config::{Appliance, Name, Transport};

/// What the TCP client of a guest is to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The guest's address.
    pub guest: Ipv4Addr,
    /// The guest's hardware address.
    pub guest_mac: [u8; 6],
    /// Our hardware address.
    pub our_mac: [u8; 6],
    /// By service number: where the guest's server listens. `None` if this replica has no part in it.
    pub ports: Vec<Option<(Transport, u16)>>,
    /// Sessions that have a connection at once, at most.
    pub sessions: usize,
    /// Random: ports and initial sequence numbers come from it.
    pub seed: u64,
}

/// Why a replica's addresses cannot be those of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// It is not an IPv4 address.
    NotIpv4 {
        /// Of which service.
        service: Name,
    },
    /// It differs from that of the services before.
    Differs {
        /// Of which service.
        service: Name,
    },
    /// The replica serves nothing.
    None,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotIpv4 { service } => {
                write!(f, "service `{service}`: a guest has an IPv4 address")
            }
            Self::Differs { service } => {
                write!(f, "service `{service}`: a guest has one address for all services")
            }
            Self::None => f.write_str("the replica has no part in any service"),
        }
    }
}

impl core::error::Error for AddressError {}

impl Settings {
    /// Those of `replica`, with connections for `sessions` sessions at once.
    ///
    /// # Errors
    /// See [`AddressError`].
    pub fn of(
        appliance: &Appliance,
        replica: usize,
        sessions: usize,
        seed: u64,
    ) -> Result<Self, AddressError> {
        let mut guest = None;
        let mut ports = Vec::with_capacity(appliance.services.len());
        for service in &appliance.services {
            let Some(of_replica) = service.replicas.get(replica) else {
                ports.push(None);
                continue;
            };
            let IpAddr::V4(address) = of_replica.address.ip() else {
                return Err(AddressError::NotIpv4 { service: service.name.clone() });
            };
            if *guest.get_or_insert(address) != address {
                return Err(AddressError::Differs { service: service.name.clone() });
            }
            ports.push(Some((service.transport, of_replica.address.port())));
        }
        let guest = guest.ok_or(AddressError::None)?;
        // Locally administered; the middle spells RESH.
        let mac = |end: u8| [0x02, 0x52, 0x45, 0x53, 0x48, end | (replica as u8 & 0xf)];
        Ok(Self { guest, guest_mac: mac(0x10), our_mac: mac(0x00), ports, sessions, seed })
    }

    /// The guest's port over `transport` of a service.
    pub(super) fn port(&self, service: usize, transport: Transport) -> Option<u16> {
        let (over, port) = self.ports.get(service).copied().flatten()?;
        (over == transport).then_some(port)
    }

    /// Our address: the other one of the /31.
    #[must_use]
    pub fn ours(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.guest.to_bits() ^ 1)
    }
}
