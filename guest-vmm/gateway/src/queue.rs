//! A queue of table indices.

use alloc::boxed::Box;
use alloc::vec;

const NONE: u16 = u16::MAX;

#[derive(Clone, Copy)]
struct Link {
    before: u16,
    after: u16,
    queued: bool,
}

/// Indices of some table in order of arrival, each at most once. It is linked through a table of its
/// own: every operation takes constant time, and none allocates.
pub struct Queue {
    links: Box<[Link]>,
    first: u16,
    last: u16,
    len: usize,
}

impl Queue {
    /// An empty queue of indices below `indices`, which is at most 65,535.
    pub fn new(indices: usize) -> Self {
        assert!(indices <= NONE as usize, "a queue counts in 16 bits");
        let link = Link { before: NONE, after: NONE, queued: false };
        Self { links: vec![link; indices].into_boxed_slice(), first: NONE, last: NONE, len: 0 }
    }

    /// How many are in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if it is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The one that came first.
    pub fn first(&self) -> Option<usize> {
        (self.first != NONE).then_some(self.first as usize)
    }

    /// Adds `index` as the last, unless it is in the queue already.
    pub fn push(&mut self, index: usize) {
        if self.links[index].queued {
            return;
        }
        let before = self.last;
        self.links[index] = Link { before, after: NONE, queued: true };
        match before {
            NONE => self.first = index as u16,
            before => self.links[before as usize].after = index as u16,
        }
        self.last = index as u16;
        self.len += 1;
    }

    /// Takes out the one that came first.
    pub fn pop(&mut self) -> Option<usize> {
        let first = self.first()?;
        self.remove(first);
        Some(first)
    }

    /// Takes out `index`, if it is in the queue.
    pub fn remove(&mut self, index: usize) {
        let Link { before, after, queued } = self.links[index];
        if !queued {
            return;
        }
        match before {
            NONE => self.first = after,
            before => self.links[before as usize].after = after,
        }
        match after {
            NONE => self.last = before,
            after => self.links[after as usize].before = before,
        }
        self.links[index].queued = false;
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::Queue;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        /// Against a plain list: the same order, whatever is pushed, popped and removed.
        #[test]
        fn behaves_like_a_list(steps in prop::collection::vec((0..3u8, 0..6usize), 0..80)) {
            let (mut queue, mut list) = (Queue::new(6), VecDeque::new());
            for (step, index) in steps {
                match step {
                    0 => {
                        queue.push(index);
                        if !list.contains(&index) {
                            list.push_back(index);
                        }
                    }
                    1 => prop_assert_eq!(queue.pop(), list.pop_front()),
                    _ => {
                        queue.remove(index);
                        list.retain(|at| *at != index);
                    }
                }
                prop_assert_eq!(queue.first(), list.front().copied());
                prop_assert_eq!(queue.len(), list.len());
            }
        }
    }
}
