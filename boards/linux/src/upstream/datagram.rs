//! What is different with datagrams.

use std::os::fd::RawFd;

use gateway::upstream::Received;

use super::would_block;

/// Datagrams looked at for one that is an answer, at most.
const LOOKED_AT: usize = 64;
/// Datagrams that can be waiting in a socket: more than its buffer has room for.
const WAITING: usize = 4096;

/// Reads one datagram by `recv`, which says how long it was and takes at most `limit` bytes. Those that are empty, or
/// longer, count as lost.
pub(super) fn receive(limit: usize, recv: impl Fn() -> isize) -> Received {
    for _ in 0..LOOKED_AT {
        match usize::try_from(recv()) {
            Ok(len) if (1..=limit).contains(&len) => return Received::Some(len),
            Ok(_) => {}
            Err(_) if would_block() => break,
            // Nobody listens there, says the peer's host.
            Err(_) => return Received::Gone,
        }
    }
    Received::WouldBlock
}

/// Throws away what waits in a UDP socket, errors included.
pub(super) fn empty(fd: RawFd) {
    for _ in 0..WAITING {
        let mut byte = 0u8;
        // SAFETY: the kernel writes at most one byte to `byte`.
        let len = unsafe { libc::recv(fd, (&raw mut byte).cast(), 1, 0) };
        if len < 0 && would_block() {
            break;
        }
    }
}
