//! UDP sockets of the host's kernel, as the network domain uses them.
//!
//! A socket that listens at every address of the host must answer from the one that was asked: the kernel says with
//! each datagram which one that was, and is told with each reply (`IP_PKTINFO`, ip(7); RFC 3542 section 6). After the
//! start two system calls are made: `recvmsg` and `sendmsg`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use pd_network::stack::Envelope;
use resh_channel::memory::Bytes;

use crate::sockets::{check, from_raw, set_option, to_raw};

/// Bytes that the kernel keeps for us until we take them, as far as it lets us have so many.
const RECEIVE_BYTES: libc::c_int = 1 << 20;
/// Words of room for one control message: `in6_pktinfo`, the longer one, and its header.
const CONTROL_WORDS: usize = 8;

/// Room for a control message, aligned as its header must be.
type Control = [u64; CONTROL_WORDS];

/// The socket of a service over UDP.
pub(crate) struct Socket {
    fd: OwnedFd,
    is_v6: bool,
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> libc::c_int {
        self.fd.as_raw_fd()
    }
}

impl Socket {
    /// A socket that listens at `address`.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let is_v6 = address.is_ipv6();
        let family = if is_v6 { libc::AF_INET6 } else { libc::AF_INET };
        let kind = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: no pointer is passed.
        let raw = check(unsafe { libc::socket(family, kind, 0) })?;
        // SAFETY: the descriptor is new and nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(raw) };
        set_option(raw, libc::SOL_SOCKET, libc::SO_RCVBUF, RECEIVE_BYTES)?;
        if is_v6 {
            // As over TCP: `[::]` answers for the IPv4 addresses too.
            set_option(raw, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0)?;
            set_option(raw, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
        } else {
            set_option(raw, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
        }
        let (storage, len) = to_raw(address);
        // SAFETY: the kernel reads `len` bytes of `storage`.
        check(unsafe { libc::bind(raw, (&raw const storage).cast(), len) })?;
        Ok(Self { fd, is_v6 })
    }

    /// Takes the next datagram, to the start of `into`. Its length may be more than there is room, and is 0 if it was
    /// sent to many hosts. `None`: there is none now.
    pub(crate) fn receive(&self, service: u8, into: &mut [u8]) -> Option<(Envelope, usize)> {
        // SAFETY: all bytes zero is a value of this C struct of integers.
        let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        let mut control: Control = [0; CONTROL_WORDS];
        let mut piece = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
        let mut message = message(&mut storage, &mut piece, &mut control);
        // SAFETY: the kernel writes at most what `message` says to `into`, `storage` and `control`.
        let len = unsafe { libc::recvmsg(self.as_raw_fd(), &mut message, libc::MSG_TRUNC) };
        // No signal has a handler here, so it is not interrupted.
        let len = usize::try_from(len).ok()?;
        // SAFETY: the kernel has filled `control` as far as `message` says now.
        let local = unsafe { local_address(&message) };
        let len = if local.is_some() { len } else { 0 };
        let local = local.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        Some((Envelope { service, peer: from_raw(&storage), local, hardware: [0; 6] }, len))
    }

    /// Sends a reply. False if the kernel does not take it.
    pub(crate) fn send(&self, to: &Envelope, bytes: Bytes<'_>) -> bool {
        let (words, start) = bytes.raw();
        let peer = if self.is_v6 { mapped(to.peer) } else { to.peer };
        let (mut storage, address_bytes) = to_raw(peer);
        let mut control: Control = [0; CONTROL_WORDS];
        // SAFETY: by the invariant of `Bytes`, `start` lies within `words`, and so do the bytes from there.
        let place = unsafe { words.as_ptr().cast::<u8>().add(start) };
        let mut piece = libc::iovec { iov_base: place.cast_mut().cast(), iov_len: bytes.len() };
        let mut message = message(&mut storage, &mut piece, &mut control);
        message.msg_namelen = address_bytes;
        // SAFETY: `message` has room for the one control message that is written.
        unsafe { say_local_address(&mut message, to.local, self.is_v6) };
        // SAFETY: the kernel reads what `message` points to. That another domain may write the bytes meanwhile
        // concerns only what is sent.
        let sent = unsafe { libc::sendmsg(self.as_raw_fd(), &message, libc::MSG_NOSIGNAL) };
        sent == bytes.len() as isize
    }
}

fn message(
    storage: &mut libc::sockaddr_storage,
    piece: &mut libc::iovec,
    control: &mut Control,
) -> libc::msghdr {
    // SAFETY: all bytes zero is a value of this C struct of pointers and integers.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = (&raw mut *storage).cast();
    message.msg_namelen = size_of_val(storage) as libc::socklen_t;
    message.msg_iov = piece;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(control) as _;
    message
}

/// The form in which an IPv6 socket knows an IPv4 address (RFC 4291 section 2.5.5.2).
fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into(),
        SocketAddr::V6(_) => address,
    }
}

/// The address that a datagram was sent to, if it is one to answer from: not of many hosts.
///
/// # Safety
/// The control messages of `message` are initialised.
unsafe fn local_address(message: &libc::msghdr) -> Option<IpAddr> {
    // SAFETY: as the caller says; the macros stay within `msg_controllen`.
    let header = unsafe { libc::CMSG_FIRSTHDR(message) };
    if header.is_null() {
        return None;
    }
    // SAFETY: it is not null, and so points to a header within the control messages.
    let (kind, data) =
        unsafe { (((*header).cmsg_level, (*header).cmsg_type), libc::CMSG_DATA(header)) };
    match kind {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            // SAFETY: of this type the message holds an `in_pktinfo`, perhaps unaligned.
            let info = unsafe { data.cast::<libc::in_pktinfo>().read_unaligned() };
            let [to, from] = [info.ipi_addr, info.ipi_spec_dst]
                .map(|address| Ipv4Addr::from(address.s_addr.to_ne_bytes()));
            // They differ if it was sent to a broadcast or multicast address.
            (to == from).then_some(to.into())
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            // SAFETY: of this type the message holds an `in6_pktinfo`, perhaps unaligned.
            let info = unsafe { data.cast::<libc::in6_pktinfo>().read_unaligned() };
            let to = Ipv6Addr::from(info.ipi6_addr.s6_addr).to_canonical();
            let many = match to {
                IpAddr::V4(v4) => v4.is_broadcast() || v4.is_multicast(),
                IpAddr::V6(v6) => v6.is_multicast(),
            };
            (!many).then_some(to)
        }
        _ => None,
    }
}

/// Makes `local` the source address of the datagram to send.
///
/// # Safety
/// The room for control messages of `message` is writable and there is enough for one.
unsafe fn say_local_address(message: &mut libc::msghdr, local: IpAddr, is_v6: bool) {
    // SAFETY: there is room for a header, so this is not null.
    let header = unsafe { libc::CMSG_FIRSTHDR(message) };
    let (level, kind, bytes) = match (local, is_v6) {
        (IpAddr::V4(v4), false) => {
            let address = |ip: Ipv4Addr| libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) };
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: address(v4),
                ipi_addr: address(Ipv4Addr::UNSPECIFIED),
            };
            // SAFETY: the data of a header has room for it.
            unsafe { libc::CMSG_DATA(header).cast::<libc::in_pktinfo>().write_unaligned(info) };
            (libc::IPPROTO_IP, libc::IP_PKTINFO, size_of_val(&info))
        }
        (local, _) => {
            let v6 = match local {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => v6,
            };
            let info = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: v6.octets() },
                ipi6_ifindex: 0,
            };
            // SAFETY: as above.
            unsafe { libc::CMSG_DATA(header).cast::<libc::in6_pktinfo>().write_unaligned(info) };
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, size_of_val(&info))
        }
    };
    // SAFETY: `header` is the start of the room for control messages; the rest are numbers.
    unsafe {
        (*header).cmsg_level = level;
        (*header).cmsg_type = kind;
        (*header).cmsg_len = libc::CMSG_LEN(bytes as u32) as _;
        message.msg_controllen = libc::CMSG_SPACE(bytes as u32) as _;
    }
}
