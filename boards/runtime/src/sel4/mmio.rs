//! Device memory, and memory that others see past the caches.

use resh_channel::memory::Words;

use super::abi::invocation;
use super::capability::{ADDRESS_SPACE, Refused, invoke};
use super::symbols;
use crate::NotGranted;

/// A window of device memory. Every access is one access of that width, in program order.
///
/// Accesses outside the window, and misaligned ones, panic: a driver's offsets are constants.
#[derive(Debug)]
pub struct Mmio {
    address: usize,
    len: usize,
}

macro_rules! accesses {
    ($($kind:ty: $read:ident, $write:ident;)*) => {$(
        #[doc = concat!("Reads the `", stringify!($kind), "` at `offset` bytes.")]
        pub fn $read(&self, offset: usize) -> $kind {
            // SAFETY: `place` checked that it lies in the window, which stays mapped.
            unsafe { self.place::<$kind>(offset).read_volatile() }
        }

        #[doc = concat!("Writes the `", stringify!($kind), "` at `offset` bytes.")]
        pub fn $write(&self, offset: usize, value: $kind) {
            // SAFETY: as above; device memory is no memory of Rust's.
            unsafe { self.place::<$kind>(offset).write_volatile(value) };
        }
    )*};
}

impl Mmio {
    accesses! {
        u8: read8, write8;
        u16: read16, write16;
        u32: read32, write32;
        u64: read64, write64;
    }

    fn place<T>(&self, offset: usize) -> *mut T {
        let end = offset.checked_add(size_of::<T>());
        let fits = end.is_some_and(|end| end <= self.len) && offset.is_multiple_of(size_of::<T>());
        assert!(fits, "offset {offset:#x} in a window of {:#x} bytes", self.len);
        (self.address + offset) as *mut T
    }

    /// Its address in this domain, for a driver crate that wants a pointer.
    pub fn address(&self) -> usize {
        self.address
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True for a window of nothing, which there is not.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// The device memory that the system description maps for `symbol`. The second call for it fails.
///
/// # Errors
/// There is none, or it was handed out before.
pub fn mmio(symbol: &'static str) -> Result<Mmio, NotGranted> {
    let (address, len) = symbols::take(symbol).ok_or(NotGranted(symbol))?;
    Ok(Mmio { address, len })
}

/// Writes what the caches hold of `words` to memory, so that one who does not look there sees it: a guest
/// with its caches off, a device that is not coherent (ARM ARM, D7.5.9 "Data cache maintenance").
#[cfg(target_os = "none")]
pub fn clean_to_memory(words: &Words) {
    use super::abi;
    const { assert!(abi::HAS_CACHE, "this kernel does not let a domain clean caches") };
    let start = words.as_ptr() as usize & !(abi::CACHE_LINE_BYTES - 1);
    let end = words.as_ptr_range().end as usize;
    for line in (start..end).step_by(abi::CACHE_LINE_BYTES) {
        // SAFETY: cleaning changes no contents. The line holds a word of `words`, so it is mapped.
        unsafe { core::arch::asm!("dc cvac, {}", in(reg) line, options(nostack)) };
    }
    // SAFETY: a barrier.
    unsafe { core::arch::asm!("dsb sy", options(nostack)) };
}

/// There is nothing to clean where there is no seL4.
#[cfg(not(target_os = "none"))]
pub fn clean_to_memory(_: &Words) {}

/// Lets nobody execute what was in `words` before, from the instruction cache (`seL4_ARM_VSpace_Unify_Instruction`;
/// where that cache goes by virtual addresses, the kernel drops all of it). `words` lie within one page.
///
/// # Errors
/// The kernel refuses: they do not.
pub fn unify_instructions(words: &Words) -> Result<(), Refused> {
    let range = words.as_ptr_range();
    let values = [range.start as u64, range.end as u64];
    invoke(ADDRESS_SPACE, invocation::ARMV_SPACE_UNIFY_INSTRUCTION, values).map(drop)
}
