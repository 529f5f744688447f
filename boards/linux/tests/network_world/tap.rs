//! A TAP interface in a network name space of this process, which needs to be root.

use std::net::IpAddr;
use std::process::Command;

use resh_channel::config::Smoltcp;

fn settings(address: IpAddr, prefix_bits: u8) -> Smoltcp {
    Smoltcp {
        tap: "resh0".try_into().ok(),
        address,
        prefix_bits,
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

/// The interface, for the appliance at `appliance` and clients at `clients`, addresses with the length of the network's
/// prefix as `ip` knows them.
pub fn interface(appliance: &str, clients: &[&str]) -> Result<Smoltcp, String> {
    // SAFETY: no pointer is passed. Threads and processes started from here on share the name space.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Err(format!("a network name space: {}", std::io::Error::last_os_error()));
    }
    ip("tuntap add dev resh0 mode tap vnet_hdr")?;
    for client in clients {
        ip(&format!("address add {client} dev resh0"))?;
    }
    ip("link set resh0 up")?;
    let prefix = clients[0].split(['/', ' ']).nth(1).and_then(|bits| bits.parse().ok());
    Ok(settings(appliance.parse().expect("an address"), prefix.expect("a prefix")))
}

/// Makes the kernel's side of the interface compute checksums and cut segments itself.
pub fn set_offload_off() {
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
