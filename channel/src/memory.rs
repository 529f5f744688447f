//! Shared memory, as both ends see it.
//!
//! Memory that another domain may write at any time is a slice of atomics: every access is defined
//! whatever the other side does, and a byte copied out can no longer change.

#[cfg(loom)]
pub use loom::sync::atomic::{AtomicU64, Ordering, fence};

#[cfg(not(loom))]
pub use core::sync::atomic::{AtomicU64, Ordering, fence};

/// Bytes in one word of shared memory.
pub const WORD_BYTES: usize = 8;

/// A region of memory that several domains map.
pub type Words = [AtomicU64];

/// Number of words that hold `bytes` bytes.
pub const fn words_for(bytes: usize) -> usize {
    bytes.div_ceil(WORD_BYTES)
}

/// Untrusted bytes in shared memory. Each read may see other contents: copy first, then look.
#[derive(Clone, Copy)]
pub struct Bytes<'m> {
    words: &'m Words,
    start: usize,
    len: usize,
}

impl<'m> Bytes<'m> {
    /// The first `len` bytes of `words`, or as many as there are.
    pub fn new(words: &'m Words, len: usize) -> Self {
        Self { words, start: 0, len: len.min(words.len() * WORD_BYTES) }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there is no byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Without the first `n` bytes, or empty if there are not so many.
    pub fn skip(self, n: usize) -> Self {
        let n = n.min(self.len);
        Self { words: self.words, start: self.start + n, len: self.len - n }
    }

    /// At most the first `n` bytes.
    pub fn take(self, n: usize) -> Self {
        Self { len: self.len.min(n), ..self }
    }

    /// The memory itself and the first byte's offset in it, for a board that passes the bytes to the
    /// kernel or a device without a copy.
    pub fn raw(&self) -> (&'m Words, usize) {
        (self.words, self.start)
    }

    /// Copies the first bytes to `to` and returns how many: the shorter of the two lengths. Each
    /// shared byte is read once.
    pub fn copy_to(&self, to: &mut [u8]) -> usize {
        let len = self.len.min(to.len());
        let to = &mut to[..len];
        let (mut word, shift) = (self.start / WORD_BYTES, self.start % WORD_BYTES);
        // An odd start: the rest of the first word.
        let head = if shift == 0 { 0 } else { (WORD_BYTES - shift).min(len) };
        let (first, rest) = to.split_at_mut(head);
        if head > 0 {
            let bytes = self.words[word].load(Ordering::Relaxed).to_ne_bytes();
            first.copy_from_slice(&bytes[shift..shift + head]);
            word += 1;
        }
        let (pieces, tail) = rest.as_chunks_mut();
        let (words, after) = self.words[word..].split_at(pieces.len());
        load_all(words, pieces);
        if !tail.is_empty() {
            let bytes = after[0].load(Ordering::Relaxed).to_ne_bytes();
            tail.copy_from_slice(&bytes[..tail.len()]);
        }
        len
    }

    /// How many of the first bytes equal those of `other`: at most the shorter of the two lengths.
    /// Each shared byte is read once.
    pub fn common_prefix(&self, other: &[u8]) -> usize {
        let len = self.len.min(other.len());
        let other = &other[..len];
        let (mut word, shift) = (self.start / WORD_BYTES, self.start % WORD_BYTES);
        // An odd start: the rest of the first word.
        let head = if shift == 0 { 0 } else { (WORD_BYTES - shift).min(len) };
        let (first, rest) = other.split_at(head);
        if head > 0 {
            let bytes = self.words[word].load(Ordering::Relaxed).to_ne_bytes();
            let same = equal_bytes(&bytes[shift..], first);
            if same < head {
                return same;
            }
            word += 1;
        }
        let mut pieces = rest.chunks_exact(WORD_BYTES);
        let mut same = head;
        for (piece, word) in (&mut pieces).zip(&self.words[word..]) {
            let difference = word.load(Ordering::Relaxed) ^ word_of(piece);
            if difference != 0 {
                // In memory order the first byte is the least significant one of `to_le`.
                return same + difference.to_le().trailing_zeros() as usize / 8;
            }
            same += WORD_BYTES;
        }
        let tail = pieces.remainder();
        if !tail.is_empty() {
            let last = word + rest.len() / WORD_BYTES;
            let bytes = self.words[last].load(Ordering::Relaxed).to_ne_bytes();
            same += equal_bytes(&bytes, tail);
        }
        same
    }
}

/// The word that eight bytes make.
fn word_of(bytes: &[u8]) -> u64 {
    let mut word = [0; WORD_BYTES];
    word.copy_from_slice(bytes);
    u64::from_ne_bytes(word)
}

/// How many of the first bytes are equal.
fn equal_bytes(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Words that a copy moves in one turn of its loop: enough for the loop itself to cost little.
const TURN: usize = 8;

/// Loads every word of `from` once. As many as there are in both.
fn load_all(from: &Words, to: &mut [[u8; WORD_BYTES]]) {
    let (turns, rest) = from.as_chunks::<TURN>();
    let (to_turns, to_rest) = to.as_chunks_mut::<TURN>();
    for (from, to) in turns.iter().zip(to_turns) {
        for (from, to) in from.iter().zip(to) {
            *to = from.load(Ordering::Relaxed).to_ne_bytes();
        }
    }
    for (from, to) in rest.iter().zip(to_rest) {
        *to = from.load(Ordering::Relaxed).to_ne_bytes();
    }
}

/// Stores every word of `to` once. As many as there are in both.
fn store_all(from: &[[u8; WORD_BYTES]], to: &Words) {
    let (turns, rest) = from.as_chunks::<TURN>();
    let (to_turns, to_rest) = to.as_chunks::<TURN>();
    for (from, to) in turns.iter().zip(to_turns) {
        for (from, to) in from.iter().zip(to) {
            to.store(u64::from_ne_bytes(*from), Ordering::Relaxed);
        }
    }
    for (from, to) in rest.iter().zip(to_rest) {
        to.store(u64::from_ne_bytes(*from), Ordering::Relaxed);
    }
}

/// Loads every word of `from` once and stores it to `to`. As many as there are in both.
fn move_all(from: &Words, to: &Words) {
    let (turns, rest) = from.as_chunks::<TURN>();
    let (to_turns, to_rest) = to.as_chunks::<TURN>();
    for (from, to) in turns.iter().zip(to_turns) {
        for (from, to) in from.iter().zip(to) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
    for (from, to) in rest.iter().zip(to_rest) {
        to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// The word whose first bytes are `bytes`, at most eight, and the others 0.
fn last_word(bytes: &[u8]) -> u64 {
    let mut word = [0; WORD_BYTES];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_ne_bytes(word)
}

/// Copies `from` to the start of `words`. Bytes of the last word past the end become 0. Copies as
/// much as fits and returns how many bytes that was.
pub fn copy_in(words: &Words, from: &[u8]) -> usize {
    let len = from.len().min(words.len() * WORD_BYTES);
    let (pieces, tail) = from[..len].as_chunks();
    let (words, after) = words.split_at(pieces.len());
    store_all(pieces, words);
    if !tail.is_empty() {
        after[0].store(last_word(tail), Ordering::Relaxed);
    }
    len
}

/// Copies shared bytes to the start of `words`, as [`copy_in`] does. Each shared byte is read once.
pub fn copy_across(words: &Words, from: Bytes<'_>) -> usize {
    let len = from.len.min(words.len() * WORD_BYTES);
    let mut done = 0;
    if from.start.is_multiple_of(WORD_BYTES) {
        // Word by word, but for the last one if only a part of it is ours.
        let whole = len / WORD_BYTES;
        let first = from.start / WORD_BYTES;
        move_all(&from.words[first..first + whole], &words[..whole]);
        done = whole * WORD_BYTES;
    }
    let mut piece = [0; 1024];
    while done < len {
        let n = from.skip(done).take(len - done).copy_to(&mut piece);
        done += copy_in(&words[done / WORD_BYTES..], &piece[..n]);
    }
    len
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// Every start, length and place of the first difference around the word and four-word steps.
    #[test]
    fn common_prefix_finds_the_first_difference() {
        let bytes: Vec<u8> = (0..96u8).map(|n| n.wrapping_mul(37)).collect();
        let words: Vec<AtomicU64> = bytes.chunks(8).map(|c| AtomicU64::new(word_of(c))).collect();
        for start in 0..17 {
            for len in 0..=bytes.len() - start {
                let shared = Bytes::new(&words, bytes.len()).skip(start).take(len);
                let same = &bytes[start..start + len];
                assert_eq!(shared.common_prefix(same), len);
                assert_eq!(shared.common_prefix(&same[..len / 2]), len / 2);
                for differs in 0..len {
                    let mut other = same.to_vec();
                    other[differs] ^= 0x10;
                    assert_eq!(shared.common_prefix(&other), differs, "{start} {len}");
                    // A later difference does not hide an earlier one.
                    other[len - 1] ^= 0x81;
                    assert_eq!(shared.common_prefix(&other), differs, "{start} {len}");
                }
            }
        }
    }
}
