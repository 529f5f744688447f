//! A log in shared memory: what one domain prints and another shows.
//!
//! The writer never waits: bytes that were not read in time are overwritten, and the reader is told how
//! many. The writer alone can write the memory; it keeps nothing elsewhere, so it goes on where it was when
//! its domain is started anew. The reader trusts nothing it finds.
//!
//! Word 0 is how many bytes were ever written, word 1 how many will have been when the write under way is
//! done; the bytes follow from word 8 on. A byte at position `p` lies at `p` modulo the capacity. The
//! reader copies first and then looks at word 1: what that claims may have been overwritten meanwhile.

use core::fmt;

use crate::memory::{Bytes, Ordering, WORD_BYTES, Words, fence};

const WRITTEN: usize = 0;
const CLAIMED: usize = 1;
const HEADER: usize = 8;

/// The bytes' words of a log and how many bytes they hold, or nothing if there is no room for one.
fn ring(memory: &Words) -> Option<(&Words, u64)> {
    let ring = memory.get(HEADER..).filter(|ring| !ring.is_empty())?;
    Some((ring, (ring.len() * WORD_BYTES) as u64))
}

/// The writing end.
#[derive(Debug)]
pub struct Writer<'m> {
    memory: &'m Words,
    ring: &'m Words,
    capacity: u64,
}

impl<'m> Writer<'m> {
    /// Goes on in `memory`, which only this end can write. `None` if it has no room for a byte.
    pub fn new(memory: &'m Words) -> Option<Self> {
        let (ring, capacity) = ring(memory)?;
        Some(Self { memory, ring, capacity })
    }

    /// Appends `bytes`. If they are more than the ring holds, the first of them are lost.
    pub fn write(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(self.capacity as usize) {
            self.write_piece(piece);
        }
    }

    fn write_piece(&mut self, bytes: &[u8]) {
        let start = self.memory[WRITTEN].load(Ordering::Relaxed);
        let end = start.wrapping_add(bytes.len() as u64);
        self.memory[CLAIMED].store(end, Ordering::Relaxed);
        // Whoever sees a byte of these sees the claim.
        fence(Ordering::Release);
        let mut at = (start % self.capacity) as usize;
        let mut rest = bytes;
        while !rest.is_empty() {
            let within = at % WORD_BYTES;
            let (now, later) = rest.split_at(rest.len().min(WORD_BYTES - within));
            let word = &self.ring[at / WORD_BYTES];
            let mut value = word.load(Ordering::Relaxed).to_ne_bytes();
            value[within..within + now.len()].copy_from_slice(now);
            word.store(u64::from_ne_bytes(value), Ordering::Relaxed);
            at = (at + now.len()) % self.capacity as usize;
            rest = later;
        }
        self.memory[WRITTEN].store(end, Ordering::Release);
    }
}

impl fmt::Write for Writer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write(text.as_bytes());
        Ok(())
    }
}

/// What [`Reader::read`] got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Bytes that were overwritten before they could be read; they come before those that were read.
    pub lost: u64,
    /// Bytes read.
    pub len: usize,
}

/// The reading end.
#[derive(Debug)]
pub struct Reader<'m> {
    memory: &'m Words,
    ring: &'m Words,
    capacity: u64,
    position: u64,
}

impl<'m> Reader<'m> {
    /// Reads `memory` from the oldest byte on. `None` if it has no room for a byte.
    pub fn new(memory: &'m Words) -> Option<Self> {
        let (ring, capacity) = ring(memory)?;
        Some(Self { memory, ring, capacity, position: 0 })
    }

    /// Takes up to `into.len()` of the bytes that are there. Both numbers are 0 if there is nothing new.
    pub fn read(&mut self, into: &mut [u8]) -> Read {
        let start = self.position;
        let written = self.memory[WRITTEN].load(Ordering::Acquire);
        // A writer that goes back broke the rules: go on where it now says it is.
        if written < start {
            self.position = written;
            return Read::default();
        }
        let oldest = written.saturating_sub(self.capacity).max(start);
        let len = ((written - oldest) as usize).min(into.len());
        self.copy(oldest, &mut into[..len]);
        fence(Ordering::Acquire);
        let claimed = self.memory[CLAIMED].load(Ordering::Relaxed);
        // What was copied and may have been overwritten meanwhile.
        let torn = claimed.saturating_sub(self.capacity).saturating_sub(oldest);
        let torn = usize::try_from(torn).unwrap_or(usize::MAX).min(len);
        into.copy_within(torn..len, 0);
        self.position = oldest + len as u64;
        Read { lost: oldest - start + torn as u64, len: len - torn }
    }

    /// Copies from position `start` on; `into` is no longer than the ring.
    fn copy(&self, start: u64, into: &mut [u8]) {
        let at = (start % self.capacity) as usize;
        let all = Bytes::new(self.ring, self.capacity as usize);
        let first = all.skip(at).copy_to(into);
        all.copy_to(&mut into[first..]);
    }
}
