//! A split virtqueue, device side (virtio 1.2 section 2.7).

use super::Misbehaviour;
use super::chain::{Chain, Direction};
use crate::memory::GuestRam;
use resh_channel::memory::{Ordering, fence};

/// Most entries of a queue.
pub const QUEUE_SIZE_MAX: u16 = 256;

/// In the available ring's `flags`: the driver wants no interrupt (section 2.7.7).
const AVAIL_F_NO_INTERRUPT: u16 = 1;

/// What the driver says about a queue, and how far the device has got in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queue {
    /// Number of entries.
    pub(super) size: u16,
    /// Guest-physical address of the descriptor table.
    pub(super) descriptors: u64,
    /// Guest-physical address of the available ring ("driver area").
    pub(super) available: u64,
    /// Guest-physical address of the used ring ("device area").
    pub(super) used: u64,
    ready: bool,
    next_available: u16,
    next_used: u16,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            size: QUEUE_SIZE_MAX,
            descriptors: 0,
            available: 0,
            used: 0,
            ready: false,
            next_available: 0,
            next_used: 0,
        }
    }
}

impl Queue {
    /// Whether the driver has enabled it.
    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    /// Enables the queue if its size, alignment and addresses are as section 2.7 demands.
    pub(super) fn enable(&mut self, ram: GuestRam<'_>) -> Result<(), Misbehaviour> {
        if !self.size.is_power_of_two() || self.size > QUEUE_SIZE_MAX {
            return Err(Misbehaviour::QueueSize(self.size));
        }
        let size = u64::from(self.size);
        for (address, alignment, len) in [
            (self.descriptors, 16, 16 * size),
            (self.available, 2, 6 + 2 * size),
            (self.used, 4, 6 + 8 * size),
        ] {
            if !address.is_multiple_of(alignment) {
                return Err(Misbehaviour::QueueAlignment(address));
            }
            ram.check(address, len)?;
        }
        *self = Self { ready: true, next_available: 0, next_used: 0, ..*self };
        Ok(())
    }

    /// Disables the queue.
    pub(super) fn disable(&mut self) {
        self.ready = false;
    }

    /// Number of chains that the driver has made available and [`Self::pop`] has not taken yet.
    pub(super) fn waiting(&self, ram: GuestRam<'_>) -> Result<u16, Misbehaviour> {
        if !self.ready {
            return Ok(0);
        }
        let claimed = ram.read_u16(self.available + 2)?;
        // What was written before the index is read after it.
        fence(Ordering::Acquire);
        let waiting = claimed.wrapping_sub(self.next_available);
        if waiting > self.size {
            return Err(Misbehaviour::AvailableIndex { claimed, next: self.next_available });
        }
        Ok(waiting)
    }

    /// Takes the next chain, whose buffers must all have that direction, into `chain`. Returns the index of its first
    /// descriptor, for [`Self::push`], or none if no chain waits.
    pub(super) fn pop(
        &mut self,
        ram: GuestRam<'_>,
        direction: Direction,
        chain: &mut Chain,
    ) -> Result<Option<u16>, Misbehaviour> {
        if self.waiting(ram)? == 0 {
            return Ok(None);
        }
        let slot = u64::from(self.next_available % self.size);
        let head = ram.read_u16(self.available + 4 + 2 * slot)?;
        chain.load(ram, self.descriptors, self.size, head, direction)?;
        self.next_available = self.next_available.wrapping_add(1);
        Ok(Some(head))
    }

    /// Gives a chain back to the driver with `written` bytes in it. Returns whether the driver wants
    /// an interrupt for that.
    pub(super) fn push(
        &mut self,
        ram: GuestRam<'_>,
        head: u16,
        written: u32,
    ) -> Result<bool, Misbehaviour> {
        let entry = self.used + 4 + 8 * u64::from(self.next_used % self.size);
        ram.write_u32(entry, head.into())?;
        ram.write_u32(entry + 4, written)?;
        self.next_used = self.next_used.wrapping_add(1);
        // Whoever sees the index sees the entry and the buffers too.
        fence(Ordering::Release);
        ram.write_u16(self.used + 2, self.next_used)?;
        // The index is out before the flag is looked at, else an interrupt could get lost.
        fence(Ordering::SeqCst);
        Ok(ram.read_u16(self.available)? & AVAIL_F_NO_INTERRUPT == 0)
    }
}
