//! A TAP interface for smoltcp, with checksums and segmentation left to the kernel.
//!
//! Each frame has a `virtio_net_hdr` before it (`IFF_VNET_HDR`; virtio 1.2, section 5.1.6): one `write`
//! sends up to 64 KiB of a stream, which the kernel cuts into segments, or hands on as it is if the client
//! is on this host. The device is opened before the domain's system calls are confined; after that there
//! are only `read` and `write`.

use std::ffi::CStr;
use std::fmt;
use std::io;
use std::num::{NonZeroU16, NonZeroUsize};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use pd_network::smoltcp_stack::smoltcp::phy::{
    self, Checksum, Device, DeviceCapabilities, Medium, PacketMeta,
};
use pd_network::smoltcp_stack::smoltcp::time::Instant;
use pd_network::smoltcp_stack::smoltcp::wire::{
    EthernetFrame, EthernetProtocol, IpAddress, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket,
    UdpPacket,
};
use pd_network::smoltcp_stack::{Frames, SetupError, SmoltcpStack};
use resh_channel::config::{Appliance, Smoltcp};
use sel4_microkit::linux;

/// The device that makes TAP interfaces.
const TUN: &CStr = c"/dev/net/tun";

/// Bytes of the header before a frame.
const HEADER_BYTES: usize = 10;
/// The checksum is partial: the kernel is to complete it, or did not need to.
const NEEDS_CHECKSUM: u8 = 1;
/// The kernel has verified the checksum.
const CHECKSUM_VALID: u8 = 2;
/// The frame is to be cut into segments of TCP over IPv4, or IPv6.
const SEGMENT_TCP4: u8 = 1;
const SEGMENT_TCP6: u8 = 4;

/// Bytes of an Ethernet header.
const ETHERNET_BYTES: usize = 14;
/// Bytes of the largest frame: what an IP header can tell the length of.
const FRAME_BYTES_MAX: usize = ETHERNET_BYTES + 65_535;
/// Offset of the checksum in a TCP header.
const TCP_CHECKSUM: usize = 16;
/// Token of the descriptor among those watched.
const TOKEN: u32 = 0;

/// Why the TAP interface cannot be had.
#[derive(Debug)]
pub enum TapError {
    /// A step failed.
    Interface {
        /// The interface.
        name: String,
        /// What was tried.
        step: &'static str,
        /// How it failed.
        error: io::Error,
    },
    /// smoltcp cannot serve the configuration.
    Setup(SetupError),
}

impl fmt::Display for TapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface { name, step, error } => {
                write!(f, "TAP interface `{name}`: cannot {step}: {error}")?;
                match error.raw_os_error() {
                    Some(libc::EPERM | libc::EACCES) => {
                        write!(
                            f,
                            " (make it beforehand: `ip tuntap add {name} mode tap user $USER`)"
                        )
                    }
                    Some(libc::EBUSY) => write!(f, " (another program has it)"),
                    Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => {
                        write!(f, " (is the kernel's module `tun` loaded?)")
                    }
                    _ => Ok(()),
                }
            }
            Self::Setup(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TapError {}

/// A TAP interface.
pub struct Tap {
    fd: OwnedFd,
    /// Largest IP packet, in bytes.
    mtu: usize,
    /// A header and a frame.
    incoming: Vec<u8>,
    /// Length of the frame in `incoming`, if there is one.
    len: Option<usize>,
    outgoing: Vec<u8>,
    /// There may be more to read.
    readable: bool,
}

/// smoltcp for the services of `appliance` on the TAP interface of `settings`. The process must have
/// been started as a domain.
///
/// # Errors
/// See [`TapError`].
pub fn stack(settings: &Smoltcp, appliance: &Appliance) -> Result<SmoltcpStack<Tap>, TapError> {
    // The configuration is checked for this board: it has a name.
    let tap = settings.tap.as_deref().unwrap_or_default();
    let fail = |(step, error)| {
        let name = tap.to_owned();
        TapError::Interface { name, step, error }
    };
    let tap = Tap::open(tap).map_err(fail)?;
    let seed = random().map_err(|error| fail(("draw random bytes", error)))?;
    SmoltcpStack::new(tap, settings, appliance, seed).map_err(TapError::Setup)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn random() -> io::Result<u64> {
    let mut bytes = [0u8; 8];
    // SAFETY: the kernel writes at most the length of `bytes`.
    let len = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if len == 8 { Ok(u64::from_ne_bytes(bytes)) } else { Err(io::Error::last_os_error()) }
}

/// The kernel's request about the interface `name`.
fn request(name: &str) -> libc::ifreq {
    // SAFETY: all bytes zero is a value of this C struct of integers and a union of such.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero.
    let room = libc::IFNAMSIZ - 1;
    for (to, from) in request.ifr_name[..room].iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request
}

/// The largest IP packet that the interface `name` carries, in bytes.
fn mtu_of(name: &str) -> io::Result<usize> {
    let mut request = request(name);
    // SAFETY: no pointer is passed to `socket`; the new descriptor is nobody else's; the kernel reads
    // and writes `request`, and has filled the union's `ifru_mtu` if it succeeded.
    let mtu = unsafe {
        let fd = check(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0))?;
        let socket = OwnedFd::from_raw_fd(fd);
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFMTU as _, &mut request))?;
        request.ifr_ifru.ifru_mtu
    };
    // What smoltcp can do, whatever the interface could.
    Ok((mtu.max(0) as usize).clamp(1280, 9_000))
}

impl Tap {
    fn open(name: &str) -> Result<Self, (&'static str, io::Error)> {
        let step = |step| move |error| (step, error);
        let flags = libc::O_RDWR | libc::O_NONBLOCK | libc::O_CLOEXEC;
        // SAFETY: the path is a C string.
        let fd = check(unsafe { libc::open(TUN.as_ptr(), flags) });
        let fd = fd.map_err(step("open /dev/net/tun"))?;
        // SAFETY: the descriptor is new and nobody else's.
        let owned = unsafe { OwnedFd::from_raw_fd(fd) };
        let mut request = request(name);
        let wanted = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
        request.ifr_ifru.ifru_flags = wanted as libc::c_short;
        // SAFETY: the kernel reads and writes `request`.
        check(unsafe { libc::ioctl(fd, libc::TUNSETIFF, &mut request) })
            .map_err(step("attach to it"))?;
        let offload = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6;
        // SAFETY: the argument is a number, not a pointer.
        check(unsafe { libc::ioctl(fd, libc::TUNSETOFFLOAD, libc::c_ulong::from(offload)) })
            .map_err(step("have it cut segments"))?;
        let mtu = mtu_of(name).map_err(step("read its MTU"))?;
        linux::watch_input(fd, TOKEN).map_err(step("watch it"))?;
        Ok(Self {
            fd: owned,
            mtu,
            incoming: vec![0; HEADER_BYTES + FRAME_BYTES_MAX],
            len: None,
            outgoing: vec![0; HEADER_BYTES + FRAME_BYTES_MAX],
            readable: true,
        })
    }

    /// Reads the next good frame, if there is none yet.
    fn load(&mut self) {
        while linux::take_ready().is_some() {
            self.readable = true;
        }
        while self.len.is_none() && self.readable {
            // SAFETY: the kernel writes at most the length of `incoming`.
            let len = unsafe {
                let place = self.incoming.as_mut_ptr().cast();
                libc::read(self.fd.as_raw_fd(), place, self.incoming.len())
            };
            // Nothing now, or the interface is down: an event will tell.
            let Ok(len) = usize::try_from(len) else {
                self.readable = false;
                return;
            };
            let Some(len) = len.checked_sub(HEADER_BYTES) else { continue };
            let (header, frame) = self.incoming.split_at(HEADER_BYTES);
            let trusted = header[0] & (NEEDS_CHECKSUM | CHECKSUM_VALID) != 0;
            if trusted || checksum_is_right(&frame[..len]) {
                self.len = Some(len);
            }
        }
    }
}

/// Where `protocol` begins in a frame, and between which addresses.
fn find(protocol: IpProtocol, frame: &[u8]) -> Option<(usize, IpAddress, IpAddress)> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    match ethernet.ethertype() {
        EthernetProtocol::Ipv4 => {
            let ip = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
            let whole = !ip.more_frags() && ip.frag_offset() == 0;
            let start = ETHERNET_BYTES + usize::from(ip.header_len());
            (ip.next_header() == protocol && whole)
                .then(|| (start, ip.src_addr().into(), ip.dst_addr().into()))
        }
        EthernetProtocol::Ipv6 => {
            let ip = Ipv6Packet::new_checked(ethernet.payload()).ok()?;
            let start = ETHERNET_BYTES + ip.header_len();
            (ip.next_header() == protocol)
                .then(|| (start, ip.src_addr().into(), ip.dst_addr().into()))
        }
        _ => None,
    }
}

/// The segment that begins at `start`, without the padding of a short Ethernet frame.
fn segment(frame: &[u8], start: usize) -> &[u8] {
    let packet = &frame[ETHERNET_BYTES..];
    let end = match Ipv4Packet::new_checked(packet) {
        Ok(ip) if ip.version() == 4 => ETHERNET_BYTES + usize::from(ip.total_len()),
        _ => Ipv6Packet::new_checked(packet).map_or(frame.len(), |ip| {
            ETHERNET_BYTES + ip.header_len() + usize::from(ip.payload_len())
        }),
    };
    frame.get(start..end).unwrap_or(&[])
}

/// False if the frame holds a TCP segment or a UDP datagram with a wrong checksum. Other checksums smoltcp
/// verifies.
fn checksum_is_right(frame: &[u8]) -> bool {
    if let Some((start, source, destination)) = find(IpProtocol::Tcp, frame) {
        return TcpPacket::new_checked(segment(frame, start))
            .is_ok_and(|tcp| tcp.verify_checksum(&source, &destination));
    }
    if let Some((start, source, destination)) = find(IpProtocol::Udp, frame) {
        // Only over IPv4 may it be left out (RFC 8200 section 8.1).
        let needed = matches!(source, IpAddress::Ipv6(_));
        return UdpPacket::new_checked(segment(frame, start)).is_ok_and(|udp| {
            !(needed && udp.checksum() == 0) && udp.verify_checksum(&source, &destination)
        });
    }
    true
}

/// The sum over the pseudo-header (RFC 9293, section 3.1), to which the kernel adds that of the rest.
fn pseudo_header_sum(source: &IpAddress, destination: &IpAddress, len: usize) -> u16 {
    let words = |address: &IpAddress| match address {
        IpAddress::Ipv4(v4) => v4.octets().chunks(2).map(pair).sum::<u32>(),
        IpAddress::Ipv6(v6) => v6.octets().chunks(2).map(pair).sum(),
    };
    let len = len as u32;
    let mut sum = words(source) + words(destination) + u32::from(u8::from(IpProtocol::Tcp));
    sum += (len >> 16) + (len & 0xffff);
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

fn pair(bytes: &[u8]) -> u32 {
    u32::from(bytes[0]) << 8 | u32::from(bytes[1])
}

/// Fills in the header for a frame, and the checksum so far. `segment_bytes` is the size of the
/// segments' payloads if it is to be cut.
fn describe(header: &mut [u8], frame: &mut [u8], segment_bytes: Option<NonZeroU16>) {
    header.fill(0);
    let Some((start, source, destination)) = find(IpProtocol::Tcp, frame) else { return };
    let sum = pseudo_header_sum(&source, &destination, frame.len() - start);
    let Some(checksum) = frame.get_mut(start + TCP_CHECKSUM..start + TCP_CHECKSUM + 2) else {
        return;
    };
    checksum.copy_from_slice(&sum.to_be_bytes());
    header[0] = NEEDS_CHECKSUM;
    // Fields of two bytes are of the host's own order here.
    header[6..8].copy_from_slice(&(start as u16).to_ne_bytes());
    header[8..10].copy_from_slice(&(TCP_CHECKSUM as u16).to_ne_bytes());
    if let Some(bytes) = segment_bytes {
        let tcp_bytes = usize::from(frame[start + 12] >> 4) * 4;
        header[1] = if matches!(source, IpAddress::Ipv4(_)) { SEGMENT_TCP4 } else { SEGMENT_TCP6 };
        header[2..4].copy_from_slice(&((start + tcp_bytes) as u16).to_ne_bytes());
        header[4..6].copy_from_slice(&bytes.get().to_ne_bytes());
    }
}

/// A frame received.
pub struct Received<'a>(&'a [u8]);

impl phy::RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// Room for a frame to send.
pub struct Sending<'a> {
    fd: RawFd,
    buffer: &'a mut [u8],
    segment_bytes: Option<NonZeroU16>,
}

impl phy::TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let (header, frame) = self.buffer.split_at_mut(HEADER_BYTES);
        let frame = &mut frame[..len];
        let result = f(frame);
        describe(header, frame, self.segment_bytes);
        // SAFETY: `HEADER_BYTES + len` bytes lie in `buffer`: `frame` would have panicked otherwise. If
        // the frame is not taken, it is lost as on any wire.
        unsafe { libc::write(self.fd, self.buffer.as_ptr().cast(), HEADER_BYTES + len) };
        result
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.segment_bytes = meta.segmentation_offload_size;
    }
}

impl Device for Tap {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Sending<'_>)> {
        self.load();
        let len = self.len.take()?;
        let frame = &self.incoming[HEADER_BYTES..HEADER_BYTES + len];
        let fd = self.fd.as_raw_fd();
        let sending = Sending { fd, buffer: &mut self.outgoing, segment_bytes: None };
        Some((Received(frame), sending))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        let fd = self.fd.as_raw_fd();
        Some(Sending { fd, buffer: &mut self.outgoing, segment_bytes: None })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = ETHERNET_BYTES + self.mtu;
        // Verified in `load`, left to the kernel in `describe`.
        capabilities.checksum.tcp = Checksum::None;
        capabilities.checksum.udp = Checksum::Tx;
        // Not over IPv6: smoltcp 0.14 drops such frames (`dispatch_ip`).
        capabilities.segmentation.tcpv4 = NonZeroUsize::new(65_535);
        capabilities
    }
}

impl Frames for Tap {
    fn peek(&mut self) -> Option<&[u8]> {
        self.load();
        self.len.map(|len| &self.incoming[HEADER_BYTES..HEADER_BYTES + len])
    }
}
