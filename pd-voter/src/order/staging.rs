//! Request bytes that have come and are not ordered yet: a ring of [`SHARE_BYTES`] for each session, in the region
//! `order`. Byte `o` of a session's request stream lies at `o % SHARE_BYTES` of its share.

use alloc::vec::Vec;
use core::ops::Range;

use resh_channel::memory::Bytes;

use super::limits::SHARE_BYTES;

/// The shares of all sessions.
pub struct Staging<'m> {
    memory: &'m mut [u8],
    /// Shares that no session has.
    free: Vec<u16>,
}

/// Where `len` bytes from `position` on lie in `share`, in one piece or, where they wrap, in two.
fn pieces(share: u16, position: u64, len: usize) -> [Range<usize>; 2] {
    let base = usize::from(share) * SHARE_BYTES;
    let first = base + (position % SHARE_BYTES as u64) as usize;
    let to_end = (base + SHARE_BYTES - first).min(len);
    [first..first + to_end, base..base + (len - to_end).min(SHARE_BYTES)]
}

impl<'m> Staging<'m> {
    /// As many shares as `memory` has room for.
    pub fn new(memory: &'m mut [u8]) -> Self {
        let shares = (memory.len() / SHARE_BYTES).min(usize::from(u16::MAX)) as u16;
        Self { memory, free: (0..shares).rev().collect() }
    }

    /// Number of shares.
    pub fn shares(&self) -> usize {
        (self.memory.len() / SHARE_BYTES).min(usize::from(u16::MAX))
    }

    /// Whether a share is left.
    pub fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    /// A share for a session, if one is left.
    pub fn take(&mut self) -> Option<u16> {
        self.free.pop()
    }

    /// No session needs `share` any more.
    pub fn give_back(&mut self, share: u16) {
        // Never more than there were.
        if self.free.len() < self.free.capacity() {
            self.free.push(share);
        }
    }

    /// Copies `bytes` in, the first one to `position`. At most [`SHARE_BYTES`].
    pub fn write(&mut self, share: u16, position: u64, bytes: Bytes<'_>) {
        let mut rest = bytes;
        for piece in pieces(share, position, bytes.len()) {
            let copied = rest.copy_to(&mut self.memory[piece]);
            rest = rest.skip(copied);
        }
    }

    /// Copies as many bytes from `position` on to `to` as go in.
    pub fn read(&self, share: u16, position: u64, to: &mut [u8]) {
        let mut to = to;
        for piece in pieces(share, position, to.len()) {
            let (now, rest) = to.split_at_mut(piece.len());
            now.copy_from_slice(&self.memory[piece]);
            to = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use resh_channel::memory::{AtomicU64, copy_in};
    use std::vec;

    #[test]
    fn shares_wrap_and_do_not_touch_each_other() {
        let mut memory = vec![0xee; 3 * SHARE_BYTES + 5];
        let mut staging = Staging::new(&mut memory);
        let shares = [staging.take(), staging.take(), staging.take(), staging.take()];
        assert_eq!(shares, [Some(0), Some(1), Some(2), None]);
        let said: Vec<u8> = (0..=255).cycle().take(SHARE_BYTES).collect();
        let words: Vec<AtomicU64> = (0..SHARE_BYTES / 8).map(|_| AtomicU64::new(0)).collect();
        copy_in(&words, &said);
        let shared = Bytes::new(&words, SHARE_BYTES);
        for (position, len) in [(0, SHARE_BYTES), (5, 100), (7 * SHARE_BYTES as u64 - 3, 9)] {
            staging.write(1, position, shared.take(len));
            let mut read = vec![0; len];
            staging.read(1, position, &mut read);
            assert_eq!(read, said[..len]);
        }
        staging.give_back(1);
        assert_eq!(staging.take(), Some(1));
        let end = 2 * SHARE_BYTES;
        assert!(memory[..SHARE_BYTES].iter().chain(&memory[end..]).all(|byte| *byte == 0xee));
    }
}
