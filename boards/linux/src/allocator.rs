//! The global allocator: the system's, until it is sealed.
//!
//! A domain allocates while it starts and never after. [`seal`] holds it to that: an allocation
//! from then on ends the process, and what is freed stays where it is.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

/// The system allocator with a seal.
pub struct Sealable;

static SEALED: AtomicBool = AtomicBool::new(false);

/// Ends allocation in this process for good.
pub fn seal() {
    SEALED.store(true, Ordering::Relaxed);
}

fn refuse_if_sealed() {
    if SEALED.swap(false, Ordering::Relaxed) {
        // The panic itself may allocate now; the process does not outlive it.
        eprintln!("allocation after the domain has started");
        std::process::abort();
    }
}

// SAFETY: every request goes to the system allocator unchanged; a sealed `dealloc` only forgets.
unsafe impl GlobalAlloc for Sealable {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        refuse_if_sealed();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        refuse_if_sealed();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        refuse_if_sealed();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if !SEALED.load(Ordering::Relaxed) {
            // SAFETY: the caller's promises are passed on.
            unsafe { System.dealloc(pointer, layout) }
        }
    }
}
