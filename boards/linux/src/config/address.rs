//! Addresses as people write them.

use std::net::{IpAddr, SocketAddr};

/// Finds the address of a host by its name.
pub type Resolve<'r> = &'r dyn Fn(&str) -> Option<IpAddr>;

/// What is wrong with an address, and what would be right.
pub(super) struct Wrong {
    pub(super) problem: String,
    pub(super) hint: String,
}

pub(super) fn wrong<T>(problem: impl Into<String>, hint: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { problem: problem.into(), hint: hint.into() })
}

/// An address and port. `resolve` finds the address of a host by its name, where a name may stand.
pub(super) fn socket(text: &str, resolve: Option<Resolve<'_>>) -> Result<SocketAddr, Wrong> {
    let example = "write an address and a port, such as 127.0.0.1:8080 or [::1]:8080";
    if let Ok(address) = text.parse::<SocketAddr>() {
        if matches!(address, SocketAddr::V6(v6) if v6.scope_id() != 0) {
            let hint = "use an address that is valid on every link, without %";
            return wrong(format!("{text:?} names a link"), hint);
        }
        return if address.port() == 0 {
            wrong("port 0 is no port", "use a port from 1 to 65535")
        } else {
            Ok(address)
        };
    }
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return wrong(
            format!("{text:?} has no port, or no brackets"),
            format!("write [{text}]:8080: an IPv6 address stands in brackets before its port"),
        );
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return wrong(format!("{text:?} has no port"), format!("write it as {text}:8080"));
    };
    let Ok(port) = port.parse::<u32>() else {
        return wrong(format!("{port:?} is not a port"), "use a port from 1 to 65535");
    };
    let Some(port) = u16::try_from(port).ok().filter(|port| *port != 0) else {
        return wrong(format!("{port} is not a port"), "use a port from 1 to 65535");
    };
    if host.contains(':') {
        return wrong(
            format!("{text:?} is not an address"),
            format!("if it is an IPv6 address, write [{host}]:{port}"),
        );
    }
    let numeric = host.chars().all(|c| c.is_ascii_digit() || c == '.');
    if numeric || !is_host_name(host) {
        return wrong(format!("{host:?} is not an IP address"), example);
    }
    let Some(resolve) = resolve else {
        return wrong(
            format!("{host:?} is a name"),
            "write the IP address to listen at, such as 127.0.0.1, or 0.0.0.0 for all",
        );
    };
    match resolve(host) {
        Some(ip) => Ok(SocketAddr::new(ip, port)),
        None => wrong(
            format!("the name {host:?} cannot be resolved"),
            "check its spelling and /etc/hosts, or write an IP address",
        ),
    }
}

/// RFC 1123 section 2.1.
fn is_host_name(host: &str) -> bool {
    host.len() <= 253
        && host.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

/// An address that an interface can have, and the length of its network prefix, as in `192.0.2.1/24`.
pub(super) fn interface(text: &str) -> Result<(IpAddr, u8), Wrong> {
    let example = "write an address and its prefix, such as 192.0.2.1/24";
    let Some((address, bits)) = text.split_once('/') else {
        return wrong(format!("{text:?} has no prefix length"), example);
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return wrong(format!("{address:?} is not an IP address"), example);
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    let Some(bits) = bits.parse::<u8>().ok().filter(|bits| (1..=most).contains(bits)) else {
        return wrong(format!("{bits:?} is not a prefix length"), format!("use 1 to {most}"));
    };
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
        return wrong(
            format!("{address} cannot be the address of an interface"),
            "use an address of the network the interface is on",
        );
    }
    let host = host_bits(address, bits);
    if bits < most - 1 && address.is_ipv4() && (host == 0 || host == u128::MAX >> (96 + bits)) {
        return wrong(
            format!("{address} is the network itself, or its broadcast address"),
            "use an address of a host in that network",
        );
    }
    Ok((address, bits))
}

/// What of the address is not network prefix.
fn host_bits(address: IpAddr, prefix_bits: u8) -> u128 {
    match address {
        IpAddr::V4(v4) => {
            u128::from(u64::from(v4.to_bits()) & (u64::from(u32::MAX) >> prefix_bits))
        }
        IpAddr::V6(v6) => v6.to_bits() & u128::MAX.checked_shr(prefix_bits.into()).unwrap_or(0),
    }
}

/// Whether both are in one network with a prefix of that length.
pub(super) fn same_network(a: IpAddr, b: IpAddr, prefix_bits: u8) -> bool {
    let network = |address: IpAddr| match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) - host_bits(address, prefix_bits),
        IpAddr::V6(v6) => v6.to_bits() - host_bits(address, prefix_bits),
    };
    a.is_ipv4() == b.is_ipv4() && network(a) == network(b)
}

/// A hardware address, as in `02:00:5e:10:00:01`.
pub(super) fn hardware(text: &str) -> Result<[u8; 6], Wrong> {
    let example = "write six bytes in hexadecimal, such as 02:00:5e:10:00:01";
    let bytes: Option<Vec<u8>> = text
        .split([':', '-'])
        .map(|byte| (byte.len() == 2).then(|| u8::from_str_radix(byte, 16).ok()).flatten())
        .collect();
    match bytes.and_then(|bytes| <[u8; 6]>::try_from(bytes).ok()) {
        None => wrong(format!("{text:?} is not a hardware address"), example),
        Some(bytes) if bytes[0] & 1 == 1 || bytes == [0; 6] => wrong(
            format!("{text:?} is not the address of one interface"),
            "use a unicast address: its first byte is even, such as 02",
        ),
        Some(bytes) => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_every_length_are_taken_apart() {
        let v4: IpAddr = "192.0.2.77".parse().unwrap();
        assert_eq!(host_bits(v4, 24), 77);
        assert_eq!(host_bits(v4, 32), 0);
        let v6: IpAddr = "2001:db8::7".parse().unwrap();
        assert_eq!(host_bits(v6, 64), 7);
        assert_eq!(host_bits(v6, 128), 0);
        assert!(same_network(v4, "192.0.2.1".parse().unwrap(), 24));
        assert!(!same_network(v4, "192.0.3.1".parse().unwrap(), 24));
        assert!(!same_network(v4, v6, 1));
        assert!(interface("192.0.2.0/31").is_ok());
        assert!(interface("192.0.2.255/24").is_err());
        assert!(interface("192.0.2.1/32").is_ok());
        assert!(interface("2001:db8::1/64").is_ok());
    }
}
