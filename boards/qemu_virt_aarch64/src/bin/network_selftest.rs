//! The network domain with a client of its own, in place of a network interface: fetches a few pages from
//! the first service once that answers, and prints what they hash to. Nothing in it depends on what is
//! outside the machine.
#![cfg_attr(target_os = "none", no_std, no_main)]

use core::net::IpAddr;

use pd_network::domain;
use pd_network::smoltcp_stack::SmoltcpStack;
use pd_network::smoltcp_stack::smoltcp::wire::IpCidr;
use qemu_virt_aarch64::network::{self, Error};
use qemu_virt_aarch64::selftest::{Client, Fetch, Link, Port};
use sel4_microkit::{ChannelSet, Handler, deadline, debug_println, now_ms, set_deadline};

sel4_microkit::program! {
    regions: [config, n2v_ring, n2v_cursor, v2n_ring, v2n_cursor, window, network_stats],
    // The system description sets it for the program that this one takes the place of.
    variables: [nic_dma_paddr],
    start: start,
}

/// What the client fetches.
const PLAN: &[Fetch] =
    &[Fetch { path: "/index.html", requests: 1 }, Fetch { path: "/1k.bin", requests: 100 }];
/// The client's hardware address.
const CLIENT_MAC: [u8; 6] = [0x52, 0x45, 0x53, 0x48, 0, 1];
/// The seed of the appliance's stack.
const SEED: u64 = 1;

struct Selftest<H> {
    domain: H,
    link: Link,
    client: Client<Port>,
}

fn start() -> Result<impl Handler, Error> {
    let (appliance, settings) = network::configuration()?;
    let (link, [port, client_port]) = Link::new();
    let stack = SmoltcpStack::new(port, &settings, &appliance, SEED).map_err(Error::Setup)?;
    // The neighbour with the last bit of the address flipped.
    let own: IpAddr = match settings.address {
        IpAddr::V4(address) => core::net::Ipv4Addr::from_bits(address.to_bits() ^ 1).into(),
        IpAddr::V6(address) => core::net::Ipv6Addr::from_bits(address.to_bits() ^ 1).into(),
    };
    let own = IpCidr::new(own.into(), settings.prefix_bits);
    let server = (settings.address, appliance.services[0].listen.port()).into();
    let client = Client::new(client_port, own, CLIENT_MAC, server, PLAN);
    let domain = domain::start(stack).map_err(Error::Domain)?;
    Ok(Selftest { domain, link, client })
}

impl<H: Handler> Handler for Selftest<H> {
    type Error = H::Error;

    fn notified(&mut self, woken: ChannelSet) -> Result<(), H::Error> {
        let mut woken = woken;
        loop {
            self.domain.notified(woken)?;
            woken = ChannelSet::EMPTY;
            let progress = self.client.poll(now_ms());
            if let Some(progress) = progress {
                debug_println!("selftest: {progress}");
            } else if !self.link.is_busy() {
                break;
            }
        }
        let client_ms = self.client.deadline_ms(now_ms());
        set_deadline([deadline(), client_ms].into_iter().flatten().min());
        Ok(())
    }
}
