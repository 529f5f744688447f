//! Memory-mapped registers.

use core::ptr::NonNull;

use resh_channel::memory::Words;

/// The registers of a device, 32 bits each.
pub trait Registers {
    /// Reads the register at `offset`, in bytes.
    fn read(&self, offset: usize) -> u32;

    /// Writes the register at `offset`, in bytes.
    fn write(&mut self, offset: usize, value: u32);
}

/// The registers that a region maps.
pub struct Mapped {
    start: NonNull<u32>,
    bytes: usize,
}

impl Mapped {
    /// The registers that the first page or pages of `region` are.
    ///
    /// # Safety
    /// `region` maps a device's registers, and the domain uses it in no other way at the same time but
    /// through other values of this type.
    pub unsafe fn new(region: &'static Words) -> Self {
        Self { start: NonNull::from(region).cast(), bytes: size_of_val(region) }
    }

    fn at(&self, offset: usize) -> NonNull<u32> {
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.bytes, "no such register");
        // SAFETY: the result lies within the region, which was just checked.
        unsafe { self.start.byte_add(offset) }
    }
}

impl Registers for Mapped {
    fn read(&self, offset: usize) -> u32 {
        // SAFETY: `at` gives an aligned address in the region, which is mapped for good (`new`).
        unsafe { self.at(offset).read_volatile() }
    }

    fn write(&mut self, offset: usize, value: u32) {
        // SAFETY: as in `read`; if the region is read-only to this domain, it faults and ends.
        unsafe { self.at(offset).write_volatile(value) }
    }
}
