//! How the stack is made from the configuration.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::ops::RangeInclusive;

use resh_channel::config::{self, Appliance, Transport};
use smoltcp::iface::{Config, Interface};
use smoltcp::wire::{EthernetAddress, IpCidr, IpListenEndpoint};

use super::ports::Ports;
use super::seats::{SHARDS, Seats};
use super::{Frames, SmoltcpStack, instant};
use crate::stack::Conn;

/// Sockets beyond one for each session, for handshakes and connections that TCP is not through with: as
/// many again, but at least so many, and at most.
const SPARE_SEATS: RangeInclusive<u16> = 64..=256;

/// Why the stack cannot serve the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetupError {
    /// A service listens at an address that is not the interface's.
    Address {
        /// The service's name.
        service: config::Name,
        /// Where it listens.
        listen: SocketAddr,
        /// The interface's address.
        interface: IpAddr,
    },
    /// The interface's configuration does not fit smoltcp's fixed tables.
    Tables,
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { service, listen, interface } => write!(
                f,
                "service `{service}` listens at {listen}, but the interface has the address {interface}"
            ),
            Self::Tables => write!(f, "the interface's addresses or routes do not fit"),
        }
    }
}

impl core::error::Error for SetupError {}

impl<D: Frames> SmoltcpStack<D> {
    /// A stack for the services of `appliance` on `device`. `seed` is random and secret: initial sequence
    /// numbers come from it.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub fn new(
        mut device: D,
        settings: &config::Smoltcp,
        appliance: &Appliance,
        seed: u64,
    ) -> Result<Self, SetupError> {
        let mut services = Vec::new();
        for service in &appliance.services {
            let listen = service.listen;
            let same_family = listen.is_ipv4() == settings.address.is_ipv4();
            if listen.ip() != settings.address && !(listen.ip().is_unspecified() && same_family) {
                let service = service.name.clone();
                return Err(SetupError::Address { service, listen, interface: settings.address });
            }
            let endpoint =
                IpListenEndpoint { addr: Some(settings.address.into()), port: listen.port() };
            services.push((service.transport == Transport::Tcp).then_some(endpoint));
        }
        let mut interface_config = Config::new(EthernetAddress(settings.mac).into());
        interface_config.random_seed = seed;
        let mut interface = Interface::new(interface_config, &mut device, instant(0));
        let mut fits = true;
        interface.update_ip_addrs(|addresses| {
            let cidr = IpCidr::new(settings.address.into(), settings.prefix_bits);
            fits = addresses.push(cidr).is_ok();
        });
        match settings.gateway {
            Some(IpAddr::V4(router)) => {
                fits &= interface.routes_mut().add_default_ipv4_route(router).is_ok();
            }
            Some(IpAddr::V6(router)) => {
                fits &= interface.routes_mut().add_default_ipv6_route(router).is_ok();
            }
            None => {}
        }
        if !fits {
            return Err(SetupError::Tables);
        }
        let udp = appliance.services.iter().enumerate();
        let udp = udp.filter(|(_, service)| service.transport == Transport::Udp);
        let udp = udp.map(|(at, service)| (at as u8, service.listen.port()));
        let ports = Ports::new(settings, udp, &device);
        let sessions = appliance.limits.sessions;
        let count = sessions + sessions.clamp(*SPARE_SEATS.start(), *SPARE_SEATS.end());
        Ok(Self {
            device,
            interface,
            seats: Seats::new(count),
            ports,
            services,
            address: settings.address,
            seed,
            conns: alloc::vec![None; usize::from(Conn::MAX) + 1],
            arrived: VecDeque::with_capacity(usize::from(count)),
            over: VecDeque::with_capacity(usize::from(count)),
            dirty: 0,
            due_ms: [u64::MAX; SHARDS],
            more: false,
            now_ms: 0,
            sweep_ms: 0,
        })
    }
}
