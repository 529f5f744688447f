//! A byte queue of fixed capacity that always shows its content as one slice.

use alloc::boxed::Box;
use alloc::vec;

/// Bytes wait between `start` and `end`; the memory is allocated once.
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    overflowed: bool,
}

impl Buffer {
    pub(super) fn new(capacity: usize) -> Self {
        Self { bytes: vec![0; capacity].into_boxed_slice(), start: 0, end: 0, overflowed: false }
    }

    pub(super) fn clear(&mut self) {
        (self.start, self.end, self.overflowed) = (0, 0, false);
    }

    pub(super) fn data(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or(&[])
    }

    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Bytes that fit beside those that wait.
    pub(super) fn room(&self) -> usize {
        self.bytes.len() - self.len()
    }

    /// Drops `n` bytes from the front (at most all).
    pub(super) fn consume(&mut self, n: usize) {
        self.start += n.min(self.len());
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Appends as much of `bytes` as is cheap and says how much that was. What waits is moved to
    /// the front only when that moves no more than was consumed before, so a byte is copied at
    /// most twice however small the pieces in which the reader takes them.
    pub(super) fn push(&mut self, bytes: &[u8]) -> usize {
        if self.bytes.len() - self.end < bytes.len() && self.start >= self.len() {
            self.compact();
        }
        let n = bytes.len().min(self.bytes.len() - self.end);
        self.append(&bytes[..n]);
        n
    }

    /// Appends as much of `bytes` as there is room for, whatever must be moved for it.
    pub(super) fn fill(&mut self, bytes: &[u8]) -> usize {
        let n = bytes.len().min(self.room());
        self.put(&bytes[..n]);
        n
    }

    /// Keeps the first `n` bytes only.
    pub(super) fn truncate(&mut self, n: usize) {
        self.end = self.end.min(self.start + n);
    }

    /// Appends all of `bytes`, or nothing and remembers that in [`overflowed`](Self::overflowed).
    pub(super) fn put(&mut self, bytes: &[u8]) {
        if self.room() < bytes.len() {
            self.overflowed = true;
            return;
        }
        if self.bytes.len() - self.end < bytes.len() {
            self.compact();
        }
        self.append(bytes);
    }

    /// Appends one chunk of the chunked coding, or nothing if it does not fit.
    pub(super) fn put_chunk(&mut self, data: &[u8]) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; 16];
        let (mut at, mut left) = (digits.len(), data.len());
        while left > 0 {
            at -= 1;
            digits[at] = HEX[left & 15];
            left >>= 4;
        }
        if !data.is_empty() {
            self.put(&digits[at..]);
            self.put(b"\r\n");
            self.put(data);
            self.put(b"\r\n");
        }
    }

    /// Appends `value` in decimal.
    pub(super) fn put_decimal(&mut self, value: u64) {
        let mut digits = [0; 20];
        self.put(decimal(value, &mut digits));
    }

    /// Appends `value` in lower-case hexadecimal.
    pub(super) fn put_hexadecimal(&mut self, value: u64) {
        let digits = (64 - value.leading_zeros()).div_ceil(4).max(1);
        for at in (0..digits).rev() {
            self.put(&[b"0123456789abcdef"[(value >> (4 * at) & 15) as usize]]);
        }
    }

    /// Whether a [`put`](Self::put) found no room since the last clear.
    pub(super) fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// Appends `n` bytes of no meaning, to be overwritten by [`close_gap`](Self::close_gap).
    pub(super) fn put_gap(&mut self, n: usize) {
        const BLANK: [u8; 64] = [0; 64];
        self.put(BLANK.get(..n).unwrap_or(&BLANK));
    }

    /// Replaces the gap of `gap` bytes that follows the first `head` bytes by `text`, which is no
    /// longer than the gap: the head moves, what follows stays.
    pub(super) fn close_gap(&mut self, head: usize, gap: usize, text: &[u8]) {
        if head + gap > self.len() || text.len() > gap {
            self.overflowed = true;
            return;
        }
        let shift = gap - text.len();
        let old = self.start;
        self.bytes.copy_within(old..old + head, old + shift);
        self.start = old + shift;
        let at = self.start + head;
        self.bytes[at..at + text.len()].copy_from_slice(text);
    }

    fn append(&mut self, bytes: &[u8]) {
        self.bytes[self.end..self.end + bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    fn compact(&mut self) {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
    }
}

/// `value` in decimal, without leading zeros.
pub(super) fn decimal(mut value: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return &digits[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_stays_in_order_whatever_the_pieces() {
        let mut buffer = Buffer::new(7);
        let (mut sent, mut seen) = (0u8, 0u8);
        for round in 0..1000usize {
            let bytes: [u8; 5] = core::array::from_fn(|i| sent.wrapping_add(i as u8));
            sent = sent.wrapping_add(buffer.push(&bytes[..round % 6]) as u8);
            for &byte in buffer.data().iter().take(round % 4) {
                assert_eq!(byte, seen);
                seen = seen.wrapping_add(1);
            }
            buffer.consume(round % 4);
        }
        assert!(seen > 100);
    }

    #[test]
    fn put_is_all_or_nothing() {
        let mut buffer = Buffer::new(8);
        buffer.put(b"abcdef");
        buffer.consume(3);
        buffer.put(b"ghijk");
        assert_eq!(buffer.data(), b"defghijk");
        buffer.put(b"l");
        assert!(buffer.overflowed());
        assert_eq!(buffer.data(), b"defghijk");
    }

    #[test]
    fn gap_closes_around_the_text() {
        let mut buffer = Buffer::new(32);
        buffer.put(b"head");
        buffer.put_gap(8);
        buffer.put(b"body");
        buffer.close_gap(4, 8, b": 7 ");
        assert_eq!(buffer.data(), b"head: 7 body");
    }

    #[test]
    fn decimals() {
        let mut digits = [0; 20];
        assert_eq!(decimal(0, &mut digits), b"0");
        assert_eq!(decimal(u64::MAX, &mut digits), b"18446744073709551615");
    }
}
