//! The addresses to connect to: in a page that does not change.

use std::io;
use std::net::SocketAddr;

use resh_channel::config::{SERVICES_MAX, Transport};

use crate::sockets::check;

/// Where the server of a service listens.
pub type Address = (Transport, SocketAddr);

/// An address the kernel finds at a place that does not change.
#[derive(Clone, Copy)]
pub(super) struct Target {
    /// Which sockets can be connected to it.
    pub(super) pool: Pool,
    pub(super) pointer: usize,
    pub(super) len: libc::socklen_t,
}

/// A kind of sockets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Pool {
    pub(super) is_v6: bool,
    pub(super) is_udp: bool,
}

impl Pool {
    /// All there are.
    pub(super) const ALL: [Self; 4] = [
        Self { is_v6: false, is_udp: false },
        Self { is_v6: true, is_udp: false },
        Self { is_v6: false, is_udp: true },
        Self { is_v6: true, is_udp: true },
    ];

    /// Its position among all.
    pub(super) fn index(self) -> usize {
        usize::from(self.is_v6) + 2 * usize::from(self.is_udp)
    }
}

/// Room for one address in the page of targets, in bytes.
const TARGET_BYTES: usize = 32;
const PAGE_BYTES: usize = 4096;
const _: () = assert!((SERVICES_MAX + 1) * TARGET_BYTES <= PAGE_BYTES);
const _: () = assert!(size_of::<libc::sockaddr_in6>() <= TARGET_BYTES);

/// The bytes of the kernel's form of an address.
fn encode(address: Option<SocketAddr>) -> ([u8; TARGET_BYTES], usize) {
    let mut bytes = [0; TARGET_BYTES];
    let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
    let len = match address {
        // `sa_family` alone counts.
        None => {
            put(0, &(libc::AF_UNSPEC as libc::sa_family_t).to_ne_bytes());
            size_of::<libc::sockaddr>()
        }
        // Layouts: ip(7) and ipv6(7).
        Some(SocketAddr::V4(v4)) => {
            put(0, &(libc::AF_INET as libc::sa_family_t).to_ne_bytes());
            put(2, &v4.port().to_be_bytes());
            put(4, &v4.ip().octets());
            size_of::<libc::sockaddr_in>()
        }
        Some(SocketAddr::V6(v6)) => {
            put(0, &(libc::AF_INET6 as libc::sa_family_t).to_ne_bytes());
            put(2, &v6.port().to_be_bytes());
            put(8, &v6.ip().octets());
            put(24, &v6.scope_id().to_ne_bytes());
            size_of::<libc::sockaddr_in6>()
        }
    };
    (bytes, len)
}

/// Writes the addresses to a page of their own and makes it read-only for good.
pub(super) fn place_targets(addresses: &[Option<Address>]) -> io::Result<Vec<Target>> {
    // SAFETY: new memory, at a place of the kernel's choice.
    let page = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            PAGE_BYTES,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if page == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let mut targets = Vec::with_capacity(addresses.len());
    for (at, address) in addresses.iter().enumerate() {
        let (bytes, len) = encode(address.map(|(_, address)| address));
        // SAFETY: the page is ours alone, and `at` is at most SERVICES_MAX, for which it has room.
        let place = unsafe { page.cast::<u8>().add(at * TARGET_BYTES) };
        // SAFETY: as above.
        unsafe { place.copy_from_nonoverlapping(bytes.as_ptr(), TARGET_BYTES) };
        targets.push(Target {
            pool: Pool {
                is_v6: matches!(address, Some((_, SocketAddr::V6(_)))),
                is_udp: matches!(address, Some((Transport::Udp, _))),
            },
            pointer: place as usize,
            len: len as libc::socklen_t,
        });
    }
    // SAFETY: the page is ours, and no reference to it exists.
    check(unsafe { libc::mprotect(page, PAGE_BYTES, libc::PROT_READ) })?;
    Ok(targets)
}
