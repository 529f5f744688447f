//! The suite of `pd-network`, over smoltcp on a TAP interface, with the host's kernel as client. It needs
//! to be root, and makes a network name space for each case.

mod network_world;

use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use network_world::Host;
use network_world::common::suite::{self, World};
use network_world::common::voter::Service;
use network_world::common::{Rng, patterns};
use resh::tap;
use resh_channel::config::{Network, Smoltcp};

fn settings(address: IpAddr) -> Smoltcp {
    Smoltcp {
        tap: "resh0".try_into().ok(),
        address,
        prefix_bits: if address.is_ipv4() { 24 } else { 64 },
        gateway: None,
        mac: [2, 0, 0, 0, 0, 1],
    }
}

fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .map_err(|error| format!("the program `ip` (Debian: iproute2): {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// The appliance at `appliance`, and clients at `client`, in a network name space of this process.
fn on_tap(appliance: &str, client: &str) -> Result<Host, String> {
    // SAFETY: no pointer is passed. Threads and processes started from here on share the name space.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Err(format!("a network name space: {}", std::io::Error::last_os_error()));
    }
    ip("tuntap add dev resh0 mode tap vnet_hdr")?;
    ip(&format!("address add {client} dev resh0"))?;
    ip("link set resh0 up")?;
    let address: IpAddr = appliance.parse().expect("an address");
    let settings = settings(address);
    let network = Network::Smoltcp(settings.clone());
    let listen = vec![SocketAddr::new(address, 80)];
    Ok(Host::new(listen, network, move |appliance| {
        tap::stack(&settings, appliance).expect("the interface")
    }))
}

fn v4() -> Result<Host, String> {
    on_tap("192.0.2.1", "192.0.2.2/24")
}

fn v6() -> Result<Host, String> {
    // Without a search for other owners of the address, which takes seconds.
    on_tap("2001:db8::1", "2001:db8::2/64 nodad")
}

fn case(test: fn(&mut Host)) {
    network_world::case(v4, test);
}

/// Both streams of 16 MiB at once, in whatever pieces, come over whole.
fn bulk(w: &mut Host) {
    suite::download(w, 16 << 20);
    suite::echo(w, &mut Rng::new(7), 7, 8 << 20);
}

#[test]
fn bulk_v4() {
    case(bulk);
}

#[test]
fn bulk_v6() {
    network_world::case(v6, bulk);
}

/// Makes the kernel's side of the interface compute checksums and cut segments itself.
fn set_offload_off() {
    /// linux/ethtool.h: a command, and its value.
    #[repr(C)]
    struct Value(u32, u32);
    const SET_TX_CHECKSUM: u32 = 0x17;
    const SET_TSO: u32 = 0x1f;
    const SET_GSO: u32 = 0x24;
    const SIOCETHTOOL: libc::Ioctl = 0x8946;
    // SAFETY: all bytes zero is a value of this C struct; the kernel reads and writes `request` and the
    // value it points to, which both live until the call returns.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0);
        for command in [SET_TSO, SET_GSO, SET_TX_CHECKSUM] {
            let mut value = Value(command, 0);
            let mut request: libc::ifreq = std::mem::zeroed();
            for (to, from) in request.ifr_name.iter_mut().zip(b"resh0") {
                *to = *from as libc::c_char;
            }
            request.ifr_ifru.ifru_data = (&raw mut value).cast();
            assert_eq!(libc::ioctl(socket, SIOCETHTOOL, &mut request), 0, "{command:#x}");
        }
        libc::close(socket);
    }
}

/// With clients whose segments come in single frames, with checksums that we verify.
#[test]
fn without_offload() {
    case(|w| {
        set_offload_off();
        bulk(w);
    });
}

/// A request in one segment is answered in one.
#[test]
fn request_and_reply() {
    case(|w| {
        w.voter().services = vec![Service::Echo];
        let client = w.connect(0);
        for round in 0..200 {
            let request = patterns(round, 0, 700);
            assert_eq!(w.send(client, &request), 700);
            let mut reply = Vec::new();
            while reply.len() < request.len() {
                w.receive(client, &mut reply, 1_000);
                w.step();
            }
            assert_eq!(reply, request);
        }
    });
}

suite::cases!(case);

#[test]
fn churn() {
    case(|w| suite::churn(w, &mut Rng::new(1), 500));
}
