//! Messages that come and go in pieces, over TCP after their length.

use alloc::boxed::Box;
use alloc::vec;

use super::query::QUERY_BYTES_MAX;
use super::wire::{HEADER_BYTES, u16_at};

/// Over TCP the length of a message stands before it (RFC 1035 section 4.2.2).
pub(super) const LENGTH_BYTES: usize = 2;

/// A message that comes in pieces, after its length.
pub(super) struct Incoming {
    pub(super) bytes: Box<[u8]>,
    pub(super) len: usize,
}

/// A message that goes out in pieces.
pub(super) struct Outgoing {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Incoming {
    pub(super) fn new(capacity: usize) -> Self {
        Self { bytes: vec![0; capacity].into_boxed_slice(), len: 0 }
    }

    /// The length that stands at the beginning, with its own, once it is here.
    fn expected(&self) -> Option<usize> {
        let len = u16_at(&self.bytes, 0).filter(|_| self.len >= LENGTH_BYTES)?;
        Some(LENGTH_BYTES + usize::from(len))
    }

    /// The length of the message with that before it, if all of it is here.
    pub(super) fn whole(&self) -> Option<usize> {
        self.expected().filter(|&expected| self.len >= expected)
    }

    /// Appends bytes up to `until` and no further.
    fn fill(&mut self, bytes: &[u8], until: usize) -> usize {
        let len = bytes.len().min(until.saturating_sub(self.len));
        let (Some(place), Some(bytes)) =
            (self.bytes.get_mut(self.len..self.len + len), bytes.get(..len))
        else {
            return 0;
        };
        place.copy_from_slice(bytes);
        self.len += len;
        len
    }

    /// Takes bytes up to the end of a message.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        let taken = self.fill(bytes, LENGTH_BYTES);
        let expected = self.expected().unwrap_or(LENGTH_BYTES);
        taken + self.fill(bytes.get(taken..).unwrap_or(&[]), expected)
    }

    /// Takes bytes up to the end of a query, and says how long it is if it is whole. Of one that is too long
    /// the header is enough.
    pub(super) fn take_query(&mut self, bytes: &[u8]) -> (usize, Option<usize>) {
        let taken = self.fill(bytes, LENGTH_BYTES);
        let Some(expected) = self.expected() else { return (taken, None) };
        let too_long = expected > LENGTH_BYTES + QUERY_BYTES_MAX;
        let until = if too_long { LENGTH_BYTES + HEADER_BYTES } else { expected };
        let taken = taken + self.fill(bytes.get(taken..).unwrap_or(&[]), until);
        (taken, (self.len >= until).then_some(expected - LENGTH_BYTES))
    }
}

impl Outgoing {
    pub(super) fn new(capacity: usize) -> Self {
        Self { bytes: vec![0; capacity].into_boxed_slice(), start: 0, end: 0 }
    }

    /// Puts the message that `write` writes, and returns the length of, in place of what was there, over TCP after
    /// its length.
    pub(super) fn write(&mut self, tcp: bool, write: impl FnOnce(&mut [u8]) -> usize) {
        let head = if tcp { LENGTH_BYTES } else { 0 };
        let len = write(self.bytes.get_mut(head..).unwrap_or(&mut []));
        if let Some(place) = self.bytes.get_mut(..head).filter(|_| tcp) {
            place.copy_from_slice(&(len as u16).to_be_bytes());
        }
        (self.start, self.end) = (0, head + len);
    }

    pub(super) fn data(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or(&[])
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(super) fn consume(&mut self, len: usize) {
        self.start = self.end.min(self.start + len);
    }

    pub(super) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }
}
