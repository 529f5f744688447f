//! The allocator: hands out region `heap` while the domain starts, and nothing afterwards.

/// What of a region is handed out: everything below `next`.
#[derive(Debug)]
pub struct Bump {
    next: usize,
    end: usize,
}

impl Bump {
    /// Hands out `len` bytes from `start` on.
    pub const fn new(start: usize, len: usize) -> Self {
        Self { next: start, end: start + len }
    }

    /// The address of `size` bytes at a multiple of `align`, which is a power of two.
    pub fn allocate(&mut self, size: usize, align: usize) -> Option<usize> {
        let start = self.next.checked_next_multiple_of(align)?;
        let end = start.checked_add(size)?;
        if end > self.end {
            return None;
        }
        self.next = end;
        Some(start)
    }

    /// Takes the block back if it was the last one handed out. Otherwise it is lost.
    pub fn free(&mut self, start: usize, size: usize) {
        if start + size == self.next {
            self.next = start;
        }
    }

    /// Makes the block longer, or shorter, where it is. True if that could be done.
    pub fn resize(&mut self, start: usize, old_size: usize, new_size: usize) -> bool {
        if start + old_size != self.next {
            return new_size <= old_size;
        }
        let Some(end) = start.checked_add(new_size).filter(|end| *end <= self.end) else {
            return false;
        };
        self.next = end;
        true
    }

    /// Bytes that are left.
    pub fn left(&self) -> usize {
        self.end - self.next
    }
}

#[cfg(target_os = "none")]
mod global {
    use core::alloc::{GlobalAlloc, Layout};
    use core::cell::UnsafeCell;

    use super::Bump;
    use crate::sel4::symbols;

    struct State {
        bump: Option<Bump>,
        is_sealed: bool,
    }

    /// The global allocator of a domain's program.
    pub struct Heap(UnsafeCell<State>);

    // SAFETY: a domain has one thread, and `state` lets no reference out.
    unsafe impl Sync for Heap {}

    impl Heap {
        /// Over region `heap`, which is looked up when it is first used.
        #[expect(clippy::new_without_default, reason = "there is one")]
        pub const fn new() -> Self {
            Self(UnsafeCell::new(State { bump: None, is_sealed: false }))
        }

        fn state<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
            // SAFETY: one thread, and no `act` below allocates or calls this again.
            act(unsafe { &mut *self.0.get() })
        }

        /// Ends allocation for good: an allocation from then on stops the domain.
        pub fn seal(&self) {
            self.state(|state| state.is_sealed = true);
        }
    }

    // SAFETY: blocks come from a region that nobody else is handed, each at another place.
    unsafe impl GlobalAlloc for Heap {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            let (start, is_sealed) = self.state(|state| {
                let bump = state.bump.get_or_insert_with(|| {
                    let (start, len) = symbols::take("heap").unwrap_or((0, 0));
                    Bump::new(start, len)
                });
                (bump.allocate(layout.size(), layout.align()), state.is_sealed)
            });
            assert!(!is_sealed, "allocation of {} bytes after the start", layout.size());
            match start {
                Some(start) => start as *mut u8,
                None => panic!("region `heap` has no {} bytes left", layout.size()),
            }
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            self.state(|state| {
                if let Some(bump) = &mut state.bump {
                    bump.free(block as usize, layout.size());
                }
            });
        }

        unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
            let stays = self.state(|state| match &mut state.bump {
                Some(bump) if !state.is_sealed || new_size <= layout.size() => {
                    bump.resize(block as usize, layout.size(), new_size)
                }
                _ => false,
            });
            if stays {
                return block;
            }
            // SAFETY: the caller promises a layout that is valid with the new size.
            let to =
                unsafe { self.alloc(Layout::from_size_align_unchecked(new_size, layout.align())) };
            // SAFETY: both are valid for that long, and `alloc` hands out nothing twice.
            unsafe { core::ptr::copy_nonoverlapping(block, to, layout.size().min(new_size)) };
            to
        }
    }
}

#[cfg(target_os = "none")]
pub use global::Heap;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_and_apart() {
        let mut bump = Bump::new(0x1001, 0x1000);
        let a = bump.allocate(10, 8).unwrap();
        let b = bump.allocate(100, 256).unwrap();
        assert_eq!(a, 0x1008);
        assert_eq!(b, 0x1100);
        assert_eq!(bump.left(), 0x2001 - 0x1164);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_changes_nothing() {
        let mut bump = Bump::new(0x1000, 0x100);
        assert_eq!(bump.allocate(0x101, 1), None);
        assert_eq!(bump.allocate(usize::MAX, 8), None);
        assert_eq!(bump.allocate(1, 1 << 40), None);
        assert_eq!(bump.allocate(0x100, 1), Some(0x1000));
        assert_eq!(bump.allocate(1, 1), None);
    }

    #[test]
    fn only_the_last_block_comes_back_or_grows() {
        let mut bump = Bump::new(0x1000, 0x100);
        let a = bump.allocate(0x10, 1).unwrap();
        let b = bump.allocate(0x10, 1).unwrap();
        assert!(!bump.resize(a, 0x10, 0x20), "b is in the way");
        assert!(bump.resize(b, 0x10, 0xf0));
        assert!(!bump.resize(b, 0xf0, 0xf1));
        assert!(bump.resize(b, 0xf0, 0x10));
        bump.free(a, 0x10);
        assert_eq!(bump.left(), 0xe0);
        bump.free(b, 0x10);
        assert_eq!(bump.allocate(0x10, 1), Some(b));
    }
}
