//! UDP: datagrams straight from frames, and into frames.
//!
//! smoltcp's UDP sockets are not used. A socket waits until it is known which hardware address its next reply goes to, and
//! all replies behind it wait, too: whoever claims to have an address that nobody has would stop a service. Here a
//! reply goes back to the hardware address that its request came from, and nothing waits.

use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use resh_channel::config::Smoltcp;
use resh_channel::memory::Bytes;
use smoltcp::phy::{ChecksumCapabilities, Device, TxToken};
use smoltcp::storage::{PacketBuffer, PacketMetadata};
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, IpAddress, IpCidr, IpProtocol, IpRepr,
    Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr, UDP_HEADER_LEN, UdpPacket, UdpRepr,
};

use super::{Frames, SmoltcpStack, instant};
use crate::stack::{Datagrams, Envelope};

/// Datagrams that wait to be taken, at most.
const QUEUE: usize = 256;
/// Bytes of all of them together.
const QUEUE_BYTES: usize = 512 * 1024;
/// Routers that a reply may pass.
const HOP_LIMIT: u8 = 64;

/// The services over UDP.
pub(super) struct Ports {
    address: IpAddr,
    /// The address of all stations of the network, if there is one.
    broadcast: Option<IpAddress>,
    mac: EthernetAddress,
    /// Service and port.
    services: Vec<(u8, u16)>,
    checksum: ChecksumCapabilities,
    /// Longest packet, in bytes.
    packet_bytes: usize,
    queue: PacketBuffer<'static, Envelope>,
    /// Datagrams that found no room in it.
    overrun: u64,
}

impl Ports {
    /// For services and their ports, on `device` with the address and network of `settings`.
    pub(super) fn new(
        settings: &Smoltcp,
        services: impl Iterator<Item = (u8, u16)>,
        device: &impl Device,
    ) -> Self {
        let services: Vec<_> = services.collect();
        let (count, bytes) = if services.is_empty() { (0, 0) } else { (QUEUE, QUEUE_BYTES) };
        let capabilities = device.capabilities();
        let broadcast = match IpCidr::new(settings.address.into(), settings.prefix_bits) {
            IpCidr::Ipv4(network) => network.broadcast().map(IpAddress::Ipv4),
            IpCidr::Ipv6(_) => None,
        };
        Self {
            address: settings.address,
            broadcast,
            mac: EthernetAddress(settings.mac),
            services,
            checksum: capabilities.checksum.clone(),
            packet_bytes: capabilities.ip_mtu(),
            queue: PacketBuffer::new(vec![PacketMetadata::EMPTY; count], vec![0; bytes]),
            overrun: 0,
        }
    }

    fn service(&self, number: u16) -> Option<u8> {
        self.services.iter().find(|(_, port)| *port == number).map(|(service, _)| *service)
    }

    /// Whether a datagram to `local` is for a service.
    pub(super) fn serves(&self, local: SocketAddr) -> bool {
        local.ip() == self.address && self.service(local.port()).is_some()
    }

    /// Puts the datagram of a frame into the queue. What is no datagram to a service, and what finds no room, is
    /// dropped.
    pub(super) fn take_in(&mut self, frame: &[u8]) {
        let Some((envelope, payload)) = self.datagram(frame) else { return };
        match self.queue.enqueue(payload.len(), envelope) {
            Ok(room) => room.copy_from_slice(payload),
            Err(_) => self.overrun += 1,
        }
    }

    fn datagram<'f>(&self, frame: &'f [u8]) -> Option<(Envelope, &'f [u8])> {
        let frame = EthernetFrame::new_checked(frame).ok()?;
        if frame.dst_addr() != self.mac || !frame.src_addr().is_unicast() {
            return None;
        }
        let (ip, payload): (IpRepr, _) = match frame.ethertype() {
            EthernetProtocol::Ipv4 => {
                let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
                let whole = !packet.more_frags() && packet.frag_offset() == 0;
                let repr = Ipv4Repr::parse(&packet, &self.checksum).ok()?;
                (whole.then_some(repr)?.into(), packet.payload())
            }
            EthernetProtocol::Ipv6 => {
                let packet = Ipv6Packet::new_checked(frame.payload()).ok()?;
                (Ipv6Repr::parse(&packet).ok()?.into(), packet.payload())
            }
            _ => return None,
        };
        let (peer, local) = (ip.src_addr(), ip.dst_addr());
        let one = peer.is_unicast() && self.broadcast != Some(peer);
        if ip.next_header() != IpProtocol::Udp || !one || local != self.address.into() {
            return None;
        }
        let udp = UdpPacket::new_checked(payload).ok()?;
        // Only over IPv4 may the checksum be left out (RFC 8200 section 8.1).
        let bare = udp.checksum() == 0 && matches!(local, IpAddress::Ipv6(_));
        if self.checksum.udp.rx() && (bare || !udp.verify_checksum(&peer, &local)) {
            return None;
        }
        let envelope = Envelope {
            service: self.service(udp.dst_port())?,
            peer: SocketAddr::new(peer.into(), udp.src_port()),
            local: self.address,
            hardware: frame.src_addr().0,
        };
        Some((envelope, udp.payload()))
    }

    fn put(&self, to: &Envelope, bytes: Bytes<'_>, device: &mut impl Device, now_ms: u64) -> bool {
        let udp_bytes = UDP_HEADER_LEN + bytes.len();
        let (local, peer) = (to.local.into(), to.peer.ip().into());
        let ip = IpRepr::new(local, peer, IpProtocol::Udp, udp_bytes, HOP_LIMIT);
        let service = self.services.iter().find(|(service, _)| *service == to.service);
        let Some(&(_, port)) = service.filter(|_| ip.buffer_len() <= self.packet_bytes) else {
            return false;
        };
        let Some(token) = device.transmit(instant(now_ms)) else { return false };
        let start = EthernetFrame::<&[u8]>::header_len();
        token.consume(start + ip.buffer_len(), |bytes_of_frame| {
            let mut frame = EthernetFrame::new_unchecked(bytes_of_frame);
            frame.set_src_addr(self.mac);
            frame.set_dst_addr(EthernetAddress(to.hardware));
            frame.set_ethertype(match ip {
                IpRepr::Ipv4(_) => EthernetProtocol::Ipv4,
                IpRepr::Ipv6(_) => EthernetProtocol::Ipv6,
            });
            let packet = frame.payload_mut();
            ip.emit(&mut packet[..], &self.checksum);
            let udp = UdpRepr { src_port: port, dst_port: to.peer.port() };
            udp.emit(
                &mut UdpPacket::new_unchecked(&mut packet[ip.header_len()..]),
                &local,
                &peer,
                bytes.len(),
                |payload| {
                    bytes.copy_to(payload);
                },
                &self.checksum,
            );
        });
        true
    }
}

impl<D: Frames> Datagrams for SmoltcpStack<D> {
    fn take(&mut self, into: &mut [u8]) -> Option<(Envelope, usize)> {
        let (envelope, bytes) = self.ports.queue.dequeue().ok()?;
        let len = bytes.len().min(into.len());
        into[..len].copy_from_slice(&bytes[..len]);
        Some((envelope, bytes.len()))
    }

    fn put(&mut self, to: &Envelope, bytes: Bytes<'_>) -> bool {
        self.ports.put(to, bytes, &mut self.device, self.now_ms)
    }

    fn overrun(&mut self) -> u64 {
        core::mem::take(&mut self.ports.overrun)
    }
}
