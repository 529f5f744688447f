//! The link as smoltcp sees it: IP packets, between two addresses.

use alloc::boxed::Box;
use alloc::vec;
use core::net::Ipv4Addr;

use smoltcp::phy::{Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium};
use smoltcp::phy::{RxToken, TxToken};
use smoltcp::time::Instant;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
    Icmpv4DstUnreachable, Icmpv4Message, Icmpv4Packet, IpProtocol, Ipv4Packet, Ipv4Repr, TcpPacket,
    UDP_HEADER_LEN, UdpPacket, UdpRepr,
};

use super::{FRAME_BYTES_MAX, Frames, Settings};

const HEADER_BYTES: usize = EthernetFrame::<&[u8]>::header_len();
/// Bytes of an IPv4 header without options.
const IPV4_BYTES: usize = 20;
/// Longest datagram, in bytes.
pub const DATAGRAM_ROOM_BYTES: usize = FRAME_BYTES_MAX - HEADER_BYTES - IPV4_BYTES - UDP_HEADER_LEN;
/// Routers that a datagram may pass: the guest is next to us.
const HOP_LIMIT: u8 = 64;

/// What a frame of the guest was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrived {
    /// A TCP segment to this port of ours, which [`Device::receive`] hands over.
    Segment {
        /// Our port.
        port: u16,
    },
    /// A datagram from the guest's port `server` to ours, which [`Wire::datagram`] shows.
    Datagram {
        /// Our port.
        port: u16,
        /// The guest's.
        server: u16,
    },
    /// Nobody listens at the guest's port `server`, to which a datagram of ours went.
    Unreachable {
        /// Our port.
        port: u16,
        /// The guest's.
        server: u16,
    },
    /// Something else. It was seen to, or is nothing to us.
    Other,
}

/// The link.
pub(super) struct Wire<F> {
    guest: Ipv4Addr,
    ours: Ipv4Addr,
    received: Box<[u8]>,
    /// Bytes of the frame in `received`.
    len: usize,
    /// Those that smoltcp has not taken yet.
    waiting: usize,
    output: Output<F>,
}

/// The end where frames leave.
struct Output<F> {
    frames: F,
    guest_mac: EthernetAddress,
    our_mac: EthernetAddress,
    sending: Box<[u8]>,
}

impl<F: Frames> Wire<F> {
    pub(super) fn new(frames: F, settings: &Settings) -> Self {
        let buffer = || vec![0; FRAME_BYTES_MAX].into_boxed_slice();
        Self {
            guest: settings.guest,
            ours: settings.ours(),
            received: buffer(),
            len: 0,
            waiting: 0,
            output: Output {
                frames,
                guest_mac: EthernetAddress(settings.guest_mac),
                our_mac: EthernetAddress(settings.our_mac),
                sending: buffer(),
            },
        }
    }

    pub(super) fn frames(&mut self) -> &mut F {
        &mut self.output.frames
    }

    pub(super) fn can_send(&self) -> bool {
        self.output.frames.can_send()
    }

    /// Takes the next frame of the guest. `None` if there is none.
    pub(super) fn take(&mut self) -> Option<Arrived> {
        let len = self.output.frames.receive(&mut self.received)?.min(self.received.len());
        let arrived = self.look(len).unwrap_or(Arrived::Other);
        self.waiting = if matches!(arrived, Arrived::Segment { .. }) { len } else { 0 };
        self.len = len;
        Some(arrived)
    }

    /// What the datagram taken last says.
    pub(super) fn datagram(&self) -> &[u8] {
        let payload = || {
            let frame = EthernetFrame::new_checked(&self.received[..self.len]).ok()?;
            let ip = Ipv4Packet::new_checked(frame.payload()).ok()?;
            Some(UdpPacket::new_checked(ip.payload()).ok()?.payload())
        };
        payload().unwrap_or_default()
    }

    /// Sends a datagram from our `port` to the guest's port `server`, whose `len` bytes `fill` writes; at most
    /// [`DATAGRAM_ROOM_BYTES`].
    pub(super) fn send_datagram(
        &mut self,
        port: u16,
        server: u16,
        len: usize,
        fill: impl FnOnce(&mut [u8]),
    ) {
        let checksum = checksums();
        let (source, destination) = (self.ours, self.guest);
        let ip = Ipv4Repr {
            src_addr: source,
            dst_addr: destination,
            next_header: IpProtocol::Udp,
            payload_len: UDP_HEADER_LEN + len,
            hop_limit: HOP_LIMIT,
        };
        let udp = UdpRepr { src_port: port, dst_port: server };
        let (source, destination) = (source.into(), destination.into());
        self.output.send(EthernetProtocol::Ipv4, IPV4_BYTES + ip.payload_len, |packet| {
            ip.emit(&mut Ipv4Packet::new_unchecked(&mut packet[..]), &checksum);
            let mut packet = UdpPacket::new_unchecked(&mut packet[IPV4_BYTES..]);
            // No sum, which over IPv4 is allowed (RFC 768).
            udp.emit(&mut packet, &source, &destination, len, fill, &checksum);
        });
    }

    fn look(&mut self, len: usize) -> Option<Arrived> {
        let frame = EthernetFrame::new_checked(&self.received[..len]).ok()?;
        match frame.ethertype() {
            EthernetProtocol::Ipv4 => {
                let ip = Ipv4Packet::new_checked(frame.payload()).ok()?;
                let ours = ip.src_addr() == self.guest && ip.dst_addr() == self.ours;
                let whole = !ip.more_frags() && ip.frag_offset() == 0;
                if !ours || !whole {
                    return None;
                }
                match ip.next_header() {
                    IpProtocol::Tcp => {
                        let port = TcpPacket::new_checked(ip.payload()).ok()?.dst_port();
                        Some(Arrived::Segment { port })
                    }
                    IpProtocol::Udp => {
                        let udp = UdpPacket::new_checked(ip.payload()).ok()?;
                        Some(Arrived::Datagram { port: udp.dst_port(), server: udp.src_port() })
                    }
                    IpProtocol::Icmp => unreachable(ip.payload()),
                    _ => None,
                }
            }
            EthernetProtocol::Arp => {
                let question =
                    ArpRepr::parse(&ArpPacket::new_checked(frame.payload()).ok()?).ok()?;
                self.answer(question);
                None
            }
            _ => None,
        }
    }

    /// Answers the question who has our address (RFC 826).
    fn answer(&mut self, question: ArpRepr) {
        let ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Request,
            source_protocol_addr,
            target_protocol_addr,
            ..
        } = question
        else {
            return;
        };
        if target_protocol_addr != self.ours {
            return;
        }
        let answer = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Reply,
            source_hardware_addr: self.output.our_mac,
            source_protocol_addr: self.ours,
            target_hardware_addr: self.output.guest_mac,
            target_protocol_addr: source_protocol_addr,
        };
        self.output.send(EthernetProtocol::Arp, answer.buffer_len(), |payload| {
            answer.emit(&mut ArpPacket::new_unchecked(payload));
        });
    }
}

/// What a message says that nobody listens where a datagram of ours went (RFC 792).
fn unreachable(message: &[u8]) -> Option<Arrived> {
    let message = Icmpv4Packet::new_checked(message).ok()?;
    let port_unreachable = u8::from(Icmpv4DstUnreachable::PortUnreachable);
    if message.msg_type() != Icmpv4Message::DstUnreachable || message.msg_code() != port_unreachable
    {
        return None;
    }
    // The header of our packet, and the first eight bytes of what it held.
    let packet = message.data();
    let header_bytes = usize::from(packet.first()? & 0xf) * 4;
    let is_udp = *packet.get(9)? == u8::from(IpProtocol::Udp);
    let ports = packet.get(header_bytes..header_bytes + 4)?;
    let [port, server] = [[ports[0], ports[1]], [ports[2], ports[3]]].map(u16::from_be_bytes);
    is_udp.then_some(Arrived::Unreachable { port, server })
}

/// Nothing can be damaged on the way. A Linux guest checks the IP header's sum all the same.
fn checksums() -> ChecksumCapabilities {
    let mut checksum = ChecksumCapabilities::ignored();
    checksum.ipv4 = Checksum::Tx;
    checksum
}

impl<F: Frames> Output<F> {
    /// Sends a frame whose payload of `len` bytes `fill` writes.
    fn send<R>(
        &mut self,
        protocol: EthernetProtocol,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        let bytes = &mut self.sending[..HEADER_BYTES + len];
        let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
        frame.set_src_addr(self.our_mac);
        frame.set_dst_addr(self.guest_mac);
        frame.set_ethertype(protocol);
        let result = fill(frame.payload_mut());
        // What finds no room is lost, as on any wire.
        self.frames.send(bytes);
        result
    }
}

impl<F: Frames> Device for Wire<F> {
    type RxToken<'a>
        = Packet<'a>
    where
        F: 'a;
    type TxToken<'a>
        = Room<'a, F>
    where
        F: 'a;

    fn receive(&mut self, _: Instant) -> Option<(Packet<'_>, Room<'_, F>)> {
        let packet = self.received.get(HEADER_BYTES..self.waiting)?;
        self.waiting = 0;
        Some((Packet(packet), Room(&mut self.output)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Room<'_, F>> {
        self.can_send().then_some(Room(&mut self.output))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = FRAME_BYTES_MAX - HEADER_BYTES;
        capabilities.checksum = checksums();
        capabilities
    }
}

/// A packet of the guest's.
pub(super) struct Packet<'w>(&'w [u8]);

impl RxToken for Packet<'_> {
    fn consume<R, T: FnOnce(&[u8]) -> R>(self, take: T) -> R {
        take(self.0)
    }
}

/// Room for a packet to the guest.
pub(super) struct Room<'w, F>(&'w mut Output<F>);

impl<F: Frames> TxToken for Room<'_, F> {
    fn consume<R, T: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: T) -> R {
        self.0.send(EthernetProtocol::Ipv4, len, fill)
    }
}
