//! Bytes that wait: a first-in first-out buffer that hands out contiguous pieces.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;

use resh_channel::memory::Bytes;

/// A bounded buffer, used round and round, and from its start again whenever it is empty: memory that
/// was never needed is never touched.
#[derive(Default)]
pub(crate) struct Fifo {
    memory: Box<[u8]>,
    start: usize,
    len: usize,
}

/// There is no room for that many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overflow;

impl Fifo {
    /// A buffer for `capacity` bytes.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { memory: vec![0; capacity].into_boxed_slice(), start: 0, len: 0 }
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// True if none waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets what waits.
    pub(crate) fn clear(&mut self) {
        (self.start, self.len) = (0, 0);
    }

    /// The first of what waits: all, or as far as it lies in one piece. Empty only if nothing waits.
    pub(crate) fn front(&self) -> &[u8] {
        let end = (self.start + self.len).min(self.memory.len());
        &self.memory[self.start..end]
    }

    /// Forgets the first `n` bytes, or all.
    pub(crate) fn consume(&mut self, n: usize) {
        let n = n.min(self.len);
        self.start += n;
        self.len -= n;
        if self.len == 0 {
            self.start = 0;
        } else if self.start >= self.memory.len() {
            self.start -= self.memory.len();
        }
    }

    /// Room for `n` more bytes at the end, in two pieces, which then count as waiting.
    fn extend(&mut self, n: usize) -> Result<(&mut [u8], &mut [u8]), Overflow> {
        let capacity = self.memory.len();
        if self.len + n > capacity {
            return Err(Overflow);
        }
        let end = self.start + self.len;
        self.len += n;
        Ok(if end >= capacity {
            let end = end - capacity;
            (&mut self.memory[end..end + n], &mut [])
        } else {
            let (wrapped, straight) = self.memory.split_at_mut(end);
            let first = n.min(straight.len());
            (&mut straight[..first], &mut wrapped[..n - first])
        })
    }

    /// Appends shared bytes, all or none.
    pub(crate) fn push(&mut self, bytes: Bytes<'_>) -> Result<(), Overflow> {
        let (first, second) = self.extend(bytes.len())?;
        let copied = bytes.copy_to(first);
        bytes.skip(copied).copy_to(second);
        Ok(())
    }

    /// Appends bytes of our own, all or none.
    pub(crate) fn push_private(&mut self, bytes: &[u8]) -> Result<(), Overflow> {
        let (first, second) = self.extend(bytes.len())?;
        let (to_first, to_second) = bytes.split_at(first.len());
        first.copy_from_slice(to_first);
        second.copy_from_slice(to_second);
        Ok(())
    }
}

/// Bytes that wait, and the request clock that each came with.
///
/// Neighbours with the same clock become one piece. What reads them must not care how a stream is cut
/// into pieces, but it may care about the clock.
#[derive(Default)]
pub(crate) struct ClockedFifo {
    bytes: Fifo,
    /// Pieces: length in bytes and clock.
    pieces: VecDeque<(u32, u32)>,
    most_pieces: usize,
}

impl ClockedFifo {
    /// A buffer for `capacity` bytes in at most `pieces` pieces, at least one. Bytes that come when
    /// there are as many are given the clock of those before.
    pub(crate) fn new(capacity: usize, pieces: usize) -> Self {
        let most_pieces = pieces.max(1);
        Self {
            bytes: Fifo::new(capacity),
            pieces: VecDeque::with_capacity(most_pieces),
            most_pieces,
        }
    }

    /// True if no byte waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets what waits.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.pieces.clear();
    }

    /// The first piece, or what of it lies together, and its clock.
    pub(crate) fn front(&self) -> Option<(&[u8], u32)> {
        let (len, clock_s) = *self.pieces.front()?;
        let bytes = self.bytes.front();
        Some((&bytes[..(len as usize).min(bytes.len())], clock_s))
    }

    /// The first of what waits, whatever its clock. Empty only if nothing waits.
    pub(crate) fn first(&self) -> &[u8] {
        self.bytes.front()
    }

    /// Forgets the first `n` bytes, or all.
    pub(crate) fn consume(&mut self, n: usize) {
        let mut left = n.min(self.len());
        self.bytes.consume(left);
        while left > 0
            && let Some((len, _)) = self.pieces.front_mut()
        {
            let part = left.min(*len as usize);
            *len -= part as u32;
            left -= part;
            if *len == 0 {
                self.pieces.pop_front();
            }
        }
    }

    fn note(&mut self, len: usize, clock_s: u32) {
        let full = self.pieces.len() == self.most_pieces;
        match self.pieces.back_mut() {
            Some(last) if full || last.1 == clock_s => last.0 += len as u32,
            _ => self.pieces.push_back((len as u32, clock_s)),
        }
    }

    /// Appends shared bytes, all or none.
    pub(crate) fn push(&mut self, bytes: Bytes<'_>, clock_s: u32) -> Result<(), Overflow> {
        self.bytes.push(bytes)?;
        if !bytes.is_empty() {
            self.note(bytes.len(), clock_s);
        }
        Ok(())
    }

    /// Appends bytes of our own, all or none.
    pub(crate) fn push_private(&mut self, bytes: &[u8], clock_s: u32) -> Result<(), Overflow> {
        self.bytes.push_private(bytes)?;
        if !bytes.is_empty() {
            self.note(bytes.len(), clock_s);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{ClockedFifo, Fifo, Overflow};
    use proptest::prelude::*;
    use resh_channel::memory::{AtomicU64, Bytes};
    use std::collections::VecDeque;
    use std::vec::Vec;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        /// Each byte comes out once, in order, with its clock, and the bound is kept exactly.
        #[test]
        fn hands_out_what_came_in(steps in prop::collection::vec((0..40usize, 0..3u32, 0..50usize), 0..60)) {
            const CAPACITY: usize = 100;
            let mut fifo = ClockedFifo::new(CAPACITY, CAPACITY);
            let mut model: VecDeque<(u8, u32)> = VecDeque::new();
            let mut next = 0u8;
            for (push, clock, pop) in steps {
                let bytes: Vec<u8> = (0..push).map(|i| next.wrapping_add(i as u8)).collect();
                let pushed = fifo.push_private(&bytes, clock);
                if model.len() + push <= CAPACITY {
                    prop_assert_eq!(pushed, Ok(()));
                    model.extend(bytes.iter().map(|b| (*b, clock)));
                    next = next.wrapping_add(push as u8);
                } else {
                    prop_assert_eq!(pushed, Err(Overflow));
                }
                let mut left = pop;
                while left > 0 && let Some((piece, clock)) = fifo.front() {
                    let n = piece.len().min(left);
                    prop_assert!(n > 0);
                    for byte in &piece[..n] {
                        prop_assert_eq!(model.pop_front(), Some((*byte, clock)));
                    }
                    fifo.consume(n);
                    left -= n;
                }
                prop_assert_eq!(fifo.len(), model.len());
                prop_assert_eq!(fifo.is_empty(), fifo.front().is_none());
            }
        }
    }

    #[test]
    fn wraps_without_a_gap() {
        let mut fifo = Fifo::new(8);
        assert_eq!(fifo.push_private(b"abcdef"), Ok(()));
        fifo.consume(4);
        let shared = [AtomicU64::new(u64::from_ne_bytes(*b"ghijklmn"))];
        assert_eq!(fifo.push(Bytes::new(&shared, 7)), Err(Overflow));
        assert_eq!(fifo.push(Bytes::new(&shared, 5)), Ok(()));
        assert_eq!(fifo.push_private(b"!"), Ok(()));
        assert_eq!((fifo.front(), fifo.len()), (&b"efgh"[..], 8));
        fifo.consume(4);
        assert_eq!(fifo.front(), b"ijk!");
        fifo.consume(9);
        assert!(fifo.is_empty() && fifo.front().is_empty());
    }

    #[test]
    fn merges_when_pieces_run_out() {
        let mut fifo = ClockedFifo::new(10, 2);
        for clock in 1..=4 {
            assert_eq!(fifo.push_private(&[clock as u8], clock), Ok(()));
        }
        assert_eq!(fifo.front(), Some((&[1][..], 1)));
        fifo.consume(1);
        assert_eq!(fifo.front(), Some((&[2, 3, 4][..], 2)));
    }
}
