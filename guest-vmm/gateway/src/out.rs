//! A bounded buffer for what a canonicaliser says, which tells afterwards whether it was too small.

use crate::fifo::Fifo;

/// A bounded buffer. Who writes makes sure that there is [`room`](Self::room).
pub(crate) struct Out {
    fifo: Fifo,
    capacity: usize,
    overflowed: bool,
}

impl Out {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { fifo: Fifo::new(capacity), capacity, overflowed: false }
    }

    pub(crate) fn clear(&mut self) {
        self.fifo.clear();
        self.overflowed = false;
    }

    /// Bytes that fit beside those that wait.
    pub(crate) fn room(&self) -> usize {
        self.capacity - self.fifo.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.fifo.is_empty()
    }

    /// What waits, or the first part of it.
    pub(crate) fn front(&self) -> &[u8] {
        self.fifo.front()
    }

    pub(crate) fn consume(&mut self, len: usize) {
        self.fifo.consume(len);
    }

    /// Whether something was written that there was no room for.
    pub(crate) fn overflowed(&self) -> bool {
        self.overflowed
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.overflowed |= self.fifo.push_private(bytes).is_err();
    }
}
