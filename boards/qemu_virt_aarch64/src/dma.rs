//! Memory that a device reads and writes: one region, at one place in physical memory.
//!
//! Buffers are made in the region itself, so that the device is handed them as they are. There is no
//! SMMU on this board: what is written into a descriptor is what the device uses, and this domain is
//! trusted to write only what [`Pages::physical`] gives.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};

/// Addresses of a region, and how much of it is taken. Pages are given out and never taken back: all are
/// made at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pages {
    virtual_start: usize,
    physical_start: u64,
    bytes: usize,
    /// Bytes given out.
    taken: usize,
}

impl Pages {
    /// Offset of `pages` fresh pages, if there are so many.
    fn take(&mut self, pages: usize) -> Option<usize> {
        let end = self.taken.checked_add(pages.checked_mul(PAGE_SIZE)?)?;
        let offset = self.taken;
        (pages > 0 && end <= self.bytes).then(|| {
            self.taken = end;
            offset
        })
    }

    /// Where the device finds the `len` bytes at the address `start`, if they lie in the region.
    fn physical(&self, start: usize, len: usize) -> Option<PhysAddr> {
        let offset = start.checked_sub(self.virtual_start)?;
        (offset.checked_add(len)? <= self.bytes).then_some(self.physical_start + offset as u64)
    }
}

/// The region. [`Hal`] has no place for a value of one's own.
struct Shared {
    start: AtomicPtr<u8>,
    physical_start: AtomicU64,
    bytes: AtomicUsize,
    taken: AtomicUsize,
}

static REGION: Shared = Shared {
    start: AtomicPtr::new(core::ptr::null_mut()),
    physical_start: AtomicU64::new(0),
    bytes: AtomicUsize::new(0),
    taken: AtomicUsize::new(0),
};

impl Shared {
    fn pages(&self) -> Pages {
        Pages {
            virtual_start: self.start.load(Ordering::Relaxed) as usize,
            physical_start: self.physical_start.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            taken: self.taken.load(Ordering::Relaxed),
        }
    }

    /// Fresh pages, and where the device finds them.
    fn take(&self, pages: usize) -> Option<(PhysAddr, NonNull<u8>)> {
        let mut all = self.pages();
        let offset = all.take(pages)?;
        self.taken.store(all.taken, Ordering::Relaxed);
        // SAFETY: `offset` lies within the memory that `give` was given.
        let start = unsafe { self.start.load(Ordering::Relaxed).byte_add(offset) };
        Some((all.physical_start + offset as u64, NonNull::new(start)?))
    }
}

/// Gives the drivers their memory: `region`, of zeroes, which devices find at `physical_start`. False if
/// it was given before, or does not begin at a page.
pub fn give(region: &'static mut [u8], physical_start: u64) -> bool {
    let start = region.as_mut_ptr();
    let aligned = (start as usize).is_multiple_of(PAGE_SIZE)
        && physical_start.is_multiple_of(PAGE_SIZE as u64);
    // Physical address 0 means failure to the crate.
    if !aligned || physical_start == 0 || !REGION.start.load(Ordering::Relaxed).is_null() {
        return false;
    }
    REGION.physical_start.store(physical_start, Ordering::Relaxed);
    REGION.bytes.store(region.len(), Ordering::Relaxed);
    REGION.start.store(start, Ordering::Relaxed);
    true
}

/// `count` buffers of `BYTES` bytes each, in the region, for as long as the domain lives.
pub struct Buffers<const BYTES: usize> {
    start: NonNull<[u8; BYTES]>,
    count: usize,
}

impl<const BYTES: usize> Buffers<BYTES> {
    /// `None` if there is no room for them.
    pub fn new(count: usize) -> Option<Self> {
        let (_, start) = REGION.take((count * BYTES).div_ceil(PAGE_SIZE))?;
        Some(Self { start: start.cast(), count })
    }

    fn at(&self, index: usize) -> NonNull<[u8; BYTES]> {
        assert!(index < self.count, "no such buffer");
        // SAFETY: there are `count` buffers in a row from `start` on.
        unsafe { self.start.add(index) }
    }

    /// Buffer `index`, to read.
    ///
    /// # Safety
    /// The device does not have it for writing.
    pub unsafe fn get(&self, index: usize) -> &[u8; BYTES] {
        // SAFETY: `at` points to a buffer that only `self` leads to and that was zeroed at first; the
        // caller keeps the device away.
        unsafe { self.at(index).as_ref() }
    }

    /// Buffer `index`, to write.
    ///
    /// # Safety
    /// The device does not have it.
    pub unsafe fn get_mut(&mut self, index: usize) -> &mut [u8; BYTES] {
        // SAFETY: as in `get`, and `self` is borrowed exclusively.
        unsafe { self.at(index).as_mut() }
    }
}

/// How `virtio-drivers` gets at the region.
pub struct Region;

// SAFETY: `dma_alloc` gives each page once, from memory that `give` took exclusively, aligned and zeroed
// (it is never given back, so never used before).
unsafe impl Hal for Region {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        REGION.take(pages).unwrap_or((0, NonNull::dangling()))
    }

    unsafe fn dma_dealloc(_: PhysAddr, _: NonNull<u8>, _: usize) -> i32 {
        // A device may still write there: it stays taken. Drivers live as long as the domain.
        0
    }

    unsafe fn mmio_phys_to_virt(_: PhysAddr, _: usize) -> NonNull<u8> {
        // Asked for PCI devices only, of which this board's drivers have none.
        NonNull::dangling()
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        let physical = REGION.pages().physical(buffer.cast::<u8>().as_ptr() as usize, buffer.len());
        physical.expect("a buffer outside the region for devices")
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {
        // Nothing was copied: the device used the buffer itself.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = PAGE_SIZE;

    fn pages() -> Pages {
        Pages { virtual_start: 0x10_0000, physical_start: 0x6000_0000, bytes: 4 * PAGE, taken: 0 }
    }

    #[test]
    fn pages_are_given_once_and_not_beyond_the_end() {
        let mut all = pages();
        assert_eq!(all.take(1), Some(0));
        assert_eq!(all.take(2), Some(PAGE));
        assert_eq!(all.take(2), None);
        assert_eq!(all.take(0), None);
        assert_eq!(all.take(usize::MAX), None);
        assert_eq!(all.take(usize::MAX / PAGE), None);
        assert_eq!(all.take(1), Some(3 * PAGE));
        assert_eq!(all.take(1), None);
    }

    #[test]
    fn the_device_is_never_led_outside() {
        let all = pages();
        assert_eq!(all.physical(0x10_0000, 1), Some(0x6000_0000));
        assert_eq!(all.physical(0x10_0000 + 3 * PAGE, PAGE), Some(0x6000_0000 + 3 * PAGE as u64));
        assert_eq!(all.physical(0x10_0000 + 3 * PAGE, PAGE + 1), None);
        assert_eq!(all.physical(0x10_0000 - 1, 1), None);
        assert_eq!(all.physical(0x10_0000 + 4 * PAGE, 1), None);
        assert_eq!(all.physical(0x10_0001, usize::MAX), None);
    }
}
