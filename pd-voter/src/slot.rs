//! One session's share of the `window` region: a ring for the candidate that leads, and a ring for the
//! one that differs. Byte `o` of the reply stream lies at `o` modulo the length of the ring.

use resh_channel::memory::Bytes;
use resh_channel::stats::DISPUTE_BYTES;
use resh_channel::window::{SLOT_BYTES, WINDOW_BYTES};

/// The first bytes of one side of a dispute.
pub type Excerpt = heapless::Vec<u8, DISPUTE_BYTES>;

/// Bytes of a stream, in a ring.
pub struct Buffer<'w>(pub &'w mut [u8]);

/// The two candidates of a session.
pub struct Slot<'w> {
    /// The candidate that leads, and what was released of it and is retained.
    pub primary: Buffer<'w>,
    /// The candidate that differs from it, from the released position on.
    pub secondary: Buffer<'w>,
}

impl<'w> Slot<'w> {
    /// The slot of session index `index`.
    pub fn new(window: &'w mut [u8], index: usize) -> Self {
        let slot = &mut window[index * SLOT_BYTES..(index + 1) * SLOT_BYTES];
        let (primary, secondary) = slot.split_at_mut(WINDOW_BYTES);
        Self { primary: Buffer(primary), secondary: Buffer(secondary) }
    }
}

impl Buffer<'_> {
    /// The longest piece from `position` on, at most `len` bytes, that does not wrap.
    fn piece(&self, position: u64, len: usize) -> core::ops::Range<usize> {
        let start = (position % self.0.len() as u64) as usize;
        start..start + len.min(self.0.len() - start)
    }

    /// Copies `bytes` in, the first one to `position`. At most the ring's length.
    pub fn write(&mut self, position: u64, bytes: Bytes<'_>) {
        let first = self.piece(position, bytes.len());
        let copied = bytes.copy_to(&mut self.0[first]);
        let rest = bytes.skip(copied);
        let second = self.piece(position + copied as u64, rest.len());
        rest.copy_to(&mut self.0[second]);
    }

    /// How many of the first `bytes` are those from `position` up to `end`.
    pub fn common_prefix(&self, position: u64, end: u64, bytes: Bytes<'_>) -> usize {
        let bytes = bytes.take((end - position) as usize);
        let first = self.piece(position, bytes.len());
        let len = first.len();
        let same = bytes.common_prefix(&self.0[first]);
        if same < len || same == bytes.len() {
            return same;
        }
        let rest = bytes.skip(same);
        let second = self.piece(position + same as u64, rest.len());
        same + rest.common_prefix(&self.0[second])
    }

    /// Copies what lies in `from` between `position` and `end` to the same place here.
    pub fn copy_from(&mut self, from: &Buffer<'_>, mut position: u64, end: u64) {
        while position < end {
            let left = (end - position) as usize;
            let source = from.piece(position, left);
            let target = self.piece(position, source.len());
            let len = target.len();
            self.0[target].copy_from_slice(&from.0[source.start..source.start + len]);
            position += len as u64;
        }
    }

    /// The first bytes from `position` up to `end`, for the dispute record.
    pub fn excerpt(&self, position: u64, end: u64) -> Excerpt {
        let len = (end.saturating_sub(position) as usize).min(DISPUTE_BYTES);
        let first = self.piece(position, len);
        let second = self.piece(position + first.len() as u64, len - first.len());
        let mut excerpt = Excerpt::new();
        for piece in [first, second] {
            // Both together are no longer than an excerpt.
            let _ = excerpt.extend_from_slice(&self.0[piece]);
        }
        excerpt
    }
}

/// The first bytes of what a replica sent, for the dispute record.
pub fn excerpt(bytes: Bytes<'_>) -> Excerpt {
    let mut buffer = [0; DISPUTE_BYTES];
    let len = bytes.copy_to(&mut buffer);
    let mut excerpt = Excerpt::new();
    let _ = excerpt.extend_from_slice(&buffer[..len]);
    excerpt
}

#[cfg(test)]
mod tests {
    use super::*;
    use resh_channel::memory::{AtomicU64, copy_in};
    use std::vec::Vec;

    /// Every position and length in a ring of 16 bytes.
    #[test]
    fn a_buffer_wraps() {
        let words = [const { AtomicU64::new(0) }; 2];
        let said: Vec<u8> = (1..=16).collect();
        copy_in(&words, &said);
        for position in 40..60u64 {
            for len in 0..=16usize {
                let end = position + len as u64;
                let mut memory = [0; 16];
                let mut buffer = Buffer(&mut memory);
                buffer.write(position, Bytes::new(&words, len));
                assert_eq!(buffer.excerpt(position, end), said[..len]);
                let mut other = [0; 16];
                let mut other = Buffer(&mut other);
                other.copy_from(&buffer, position, end);
                assert_eq!(other.excerpt(position, end), said[..len]);
                let shared = Bytes::new(&words, 16);
                assert_eq!(buffer.common_prefix(position, end, shared), len);
                for differs in 0..len {
                    let at = (position as usize + differs) % 16;
                    buffer.0[at] ^= 1;
                    assert_eq!(buffer.common_prefix(position, end, shared), differs);
                    buffer.0[at] ^= 1;
                }
            }
        }
    }
}
