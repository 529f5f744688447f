//! The suite of `pd-network` for datagrams, over smoltcp on a TAP interface, with the host's kernel as client. It needs
//! to be root, and makes a network name space for each case.

mod network_world;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use network_world::case_of;
use network_world::common::Rng;
use network_world::common::suite::SESSIONS;
use network_world::common::udp;
use network_world::datagrams::UdpHost;
use network_world::tap::{interface, set_offload_off};
use resh::tap;
use resh_channel::config::Network;

/// Bytes of a packet on the interface.
const MTU: usize = 1500;
/// Hosts of the suite.
const HOSTS: u16 = SESSIONS + 1;

fn address_v4(host: usize) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, 10 + host as u8).into()
}

/// Each in a network of its own: such a network is one client.
fn address_v6(host: usize) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 1 + host as u16, 0, 0, 0, 2).into()
}

fn on_tap(
    appliance: &str,
    address_of_host: fn(usize) -> IpAddr,
    header_bytes: usize,
) -> Result<UdpHost, String> {
    let (bits, how) = if appliance.contains(':') { (48, " nodad") } else { (24, "") };
    let hosts = (0..HOSTS).map(|host| format!("{}/{bits}{how}", address_of_host(host.into())));
    let hosts: Vec<String> = hosts.collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let settings = interface(appliance, &hosts)?;
    let network = Network::Smoltcp(settings.clone());
    let listen = vec![SocketAddr::new(settings.address, 53)];
    let stack = move |appliance: &_| tap::stack(&settings, appliance).expect("the interface");
    Ok(UdpHost::start(listen, network, MTU - header_bytes, address_of_host, stack))
}

fn case(test: fn(&mut UdpHost)) {
    case_of(|| on_tap("192.0.2.1", address_v4, 28), test);
}

fn case_v6(test: fn(&mut UdpHost)) {
    case_of(|| on_tap("2001:db8::1", address_v6, 48), test);
}

udp::cases!(case: answers duplicates flood limit unanswered unfit full_ring);

#[test]
fn churn() {
    case(|w| udp::churn(w, &mut Rng::new(1), 1_000));
}

#[test]
fn churn_v6() {
    case_v6(|w| udp::churn(w, &mut Rng::new(2), 1_000));
}

/// With clients who compute checksums that we verify.
fn without_offload(w: &mut UdpHost) {
    set_offload_off();
    udp::answers(w);
}

#[test]
fn without_offload_v4() {
    case(without_offload);
}

#[test]
fn without_offload_v6() {
    case_v6(without_offload);
}
