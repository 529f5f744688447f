//! What a frame is about, found out before smoltcp takes it.

use core::net::{IpAddr, SocketAddr};

use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket,
};

/// A TCP segment's addresses, and whether it asks for a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    pub(super) client: SocketAddr,
    pub(super) local: SocketAddr,
    /// SYN, and neither ACK nor RST.
    pub(super) opens: bool,
}

/// What a frame is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// A TCP segment.
    Tcp(Flow),
    /// A whole UDP datagram, to this address.
    Udp(SocketAddr),
    /// Anything else, such as ARP or ICMP.
    Other,
}

/// Looks at a frame. Nothing is verified but that the headers are there: smoltcp does the rest.
pub(super) fn about(frame: &[u8]) -> About {
    look(frame).unwrap_or(About::Other)
}

fn look(frame: &[u8]) -> Option<About> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    let (source, destination, protocol, segment): (_, _, _, &[u8]) = match ethernet.ethertype() {
        EthernetProtocol::Ipv4 => {
            let ip = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
            if ip.frag_offset() != 0 || ip.more_frags() {
                return None;
            }
            let (source, destination) = (IpAddr::V4(ip.src_addr()), IpAddr::V4(ip.dst_addr()));
            (source, destination, ip.next_header(), ip.payload())
        }
        EthernetProtocol::Ipv6 => {
            let ip = Ipv6Packet::new_checked(ethernet.payload()).ok()?;
            let (source, destination) = (IpAddr::V6(ip.src_addr()), IpAddr::V6(ip.dst_addr()));
            (source, destination, ip.next_header(), ip.payload())
        }
        _ => return None,
    };
    match protocol {
        IpProtocol::Tcp => {
            let tcp = TcpPacket::new_checked(segment).ok()?;
            Some(About::Tcp(Flow {
                client: SocketAddr::new(source, tcp.src_port()),
                local: SocketAddr::new(destination, tcp.dst_port()),
                opens: tcp.syn() && !tcp.ack() && !tcp.rst(),
            }))
        }
        IpProtocol::Udp => {
            let port = UdpPacket::new_checked(segment).ok()?.dst_port();
            Some(About::Udp(SocketAddr::new(destination, port)))
        }
        _ => None,
    }
}

impl Flow {
    /// A number below `shards` that a client who does not know `seed` cannot aim at.
    pub(super) fn shard(&self, seed: u64, shards: usize) -> usize {
        let mix = |hash: u64, value: u64| {
            let product = u128::from(hash ^ value) * 0x9e37_79b9_7f4a_7c15;
            (product >> 64) as u64 ^ product as u64
        };
        let address = match self.client.ip() {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        let ports = u64::from(self.client.port()) << 16 | u64::from(self.local.port());
        let hash = mix(mix(mix(seed, address as u64), (address >> 64) as u64), ports ^ seed);
        (hash >> 32) as usize % shards
    }
}
