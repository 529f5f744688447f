//! Which sessions something is to be done for, and when.

use alloc::boxed::Box;
use alloc::vec;

/// First in, first out; each session at most once, so it never overflows.
pub struct Queue {
    slots: Box<[u16]>,
    queued: Box<[bool]>,
    first: usize,
    len: usize,
}

impl Queue {
    /// An empty queue for session indices below `slots`.
    pub fn new(slots: usize) -> Self {
        let (first, len) = (0, 0);
        Self { slots: vec![0; slots].into(), queued: vec![false; slots].into(), first, len }
    }

    /// Number of sessions in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends `slot` unless it is there already.
    pub fn push(&mut self, slot: usize) {
        if !core::mem::replace(&mut self.queued[slot], true) {
            let at = self.wrap(self.first + self.len);
            self.slots[at] = slot as u16;
            self.len += 1;
        }
    }

    /// The first one.
    pub fn front(&self) -> Option<usize> {
        (self.len > 0).then(|| self.slots[self.first] as usize)
    }

    /// Takes out the first one.
    pub fn pop(&mut self) -> Option<usize> {
        let slot = self.front()?;
        self.queued[slot] = false;
        self.first = self.wrap(self.first + 1);
        self.len -= 1;
        Some(slot)
    }

    /// Takes out `slot`, wherever it is.
    pub fn remove(&mut self, slot: usize) {
        if !core::mem::replace(&mut self.queued[slot], false) {
            return;
        }
        let mut to = self.first;
        for step in 0..self.len {
            let from = self.wrap(self.first + step);
            if self.slots[from] as usize != slot {
                self.slots[to] = self.slots[from];
                to = self.wrap(to + 1);
            }
        }
        self.len -= 1;
    }

    fn wrap(&self, at: usize) -> usize {
        if at >= self.slots.len() { at - self.slots.len() } else { at }
    }
}

/// A deadline for each session.
pub struct Timers {
    at_ms: Box<[u64]>,
    /// No deadline is earlier.
    next_ms: u64,
}

const NEVER: u64 = u64::MAX;

impl Timers {
    /// No deadlines, for session indices below `slots`.
    pub fn new(slots: usize) -> Self {
        Self { at_ms: vec![NEVER; slots].into(), next_ms: NEVER }
    }

    /// Sets or clears the deadline of `slot`.
    pub fn set(&mut self, slot: usize, at_ms: Option<u64>) {
        let at_ms = at_ms.unwrap_or(NEVER);
        self.at_ms[slot] = at_ms;
        self.next_ms = self.next_ms.min(at_ms);
    }

    /// When to look again. May be too early, never too late.
    pub fn next_ms(&self) -> Option<u64> {
        (self.next_ms != NEVER).then_some(self.next_ms)
    }

    /// The first session from `from` on whose deadline has passed. After the last, call
    /// [`Self::settle`].
    pub fn expired(&self, from: usize, now_ms: u64) -> Option<usize> {
        if now_ms < self.next_ms {
            return None;
        }
        (from..self.at_ms.len()).find(|slot| self.at_ms[*slot] <= now_ms)
    }

    /// Finds out when to look again.
    pub fn settle(&mut self, now_ms: u64) {
        if self.next_ms <= now_ms {
            self.next_ms = self.at_ms.iter().copied().min().unwrap_or(NEVER);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_keeps_order_and_takes_each_once() {
        let mut queue = Queue::new(4);
        for round in 0..10 {
            for slot in [3, 1, 3, 0, 2, 1] {
                queue.push(slot);
            }
            assert_eq!(queue.len(), 4);
            queue.remove(round % 4);
            queue.remove(round % 4);
            let rest = [3, 1, 0, 2].into_iter().filter(|slot| *slot != round % 4);
            for slot in rest {
                assert_eq!(queue.front(), Some(slot));
                assert_eq!(queue.pop(), Some(slot));
            }
            assert_eq!(queue.pop(), None);
            assert!(queue.is_empty());
            // The next round begins one further on.
            queue.push(0);
            queue.pop();
        }
    }

    #[test]
    fn timers_expire_in_any_order_and_are_never_missed() {
        let mut timers = Timers::new(3);
        assert_eq!(timers.next_ms(), None);
        timers.set(2, Some(10));
        timers.set(0, Some(20));
        timers.set(1, Some(5));
        timers.set(1, None);
        assert_eq!(timers.next_ms(), Some(5));
        assert_eq!(timers.expired(0, 4), None);
        assert_eq!(timers.expired(0, 7), None);
        timers.settle(7);
        assert_eq!(timers.next_ms(), Some(10));
        assert_eq!(timers.expired(0, 20), Some(0));
        assert_eq!(timers.expired(1, 20), Some(2));
        timers.set(0, None);
        timers.set(2, Some(30));
        timers.settle(20);
        assert_eq!(timers.next_ms(), Some(30));
    }
}
