//! A descriptor chain: the buffers that the driver offers under one index (virtio 1.2 section 2.7.5).

use super::{Misbehaviour, QUEUE_SIZE_MAX};
use crate::memory::{GuestRam, OutsideRam};

/// Bytes of one descriptor (section 2.7.5).
const DESCRIPTOR_BYTES: u64 = 16;

/// Another descriptor follows.
const F_NEXT: u16 = 1;
/// The buffer is for the device to write, not to read.
const F_WRITE: u16 = 2;
/// The buffer holds descriptors.
const F_INDIRECT: u16 = 4;

/// Who may write a chain's buffers. All of them have the same direction on the queues of a network device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the driver to the device.
    Read,
    /// From the device to the driver.
    Write,
}

#[derive(Clone, Copy, Debug, Default)]
struct Segment {
    address: u64,
    len: u32,
}

/// The buffers of one chain, in a copy of the device's own that the driver cannot change.
pub(super) struct Chain {
    segments: [Segment; QUEUE_SIZE_MAX as usize],
    count: usize,
    len: u32,
}

impl Default for Chain {
    fn default() -> Self {
        Self { segments: [Segment::default(); QUEUE_SIZE_MAX as usize], count: 0, len: 0 }
    }
}

impl Chain {
    /// Bytes in all buffers together.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// Copies the chain that starts at descriptor `head` of the `size` ones at `table`: each
    /// descriptor once, and only then looks at it. On an error the chain is empty.
    pub(super) fn load(
        &mut self,
        ram: GuestRam<'_>,
        table: u64,
        size: u16,
        head: u16,
        direction: Direction,
    ) -> Result<(), Misbehaviour> {
        (self.count, self.len) = (0, 0);
        let mut len = 0u32;
        let mut index = head;
        for (count, segment) in self.segments.iter_mut().take(size.into()).enumerate() {
            if index >= size {
                return Err(Misbehaviour::DescriptorIndex(index));
            }
            let mut descriptor = [0; DESCRIPTOR_BYTES as usize];
            // `table` was checked when the queue was enabled.
            ram.read(table.wrapping_add(u64::from(index) * DESCRIPTOR_BYTES), &mut descriptor)?;
            let [a0, a1, a2, a3, a4, a5, a6, a7, l0, l1, l2, l3, f0, f1, n0, n1] = descriptor;
            let address = u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]);
            let flags = u16::from_le_bytes([f0, f1]);
            *segment = Segment { address, len: u32::from_le_bytes([l0, l1, l2, l3]) };
            if flags & F_INDIRECT != 0 {
                return Err(Misbehaviour::Indirect);
            }
            if (flags & F_WRITE != 0) != (direction == Direction::Write) {
                return Err(Misbehaviour::Direction);
            }
            // An empty buffer is allowed anywhere: nobody accesses it.
            if segment.len > 0 {
                ram.check(address, segment.len.into())?;
            }
            len = len.checked_add(segment.len).ok_or(Misbehaviour::ChainLength)?;
            if flags & F_NEXT == 0 {
                (self.count, self.len) = (count + 1, len);
                return Ok(());
            }
            index = u16::from_le_bytes([n0, n1]);
        }
        Err(Misbehaviour::Loop)
    }

    /// The pieces of RAM that make up `len` bytes after the first `skip`.
    fn pieces(&self, skip: u32, len: usize) -> impl Iterator<Item = (u64, usize)> {
        let (mut skip, mut left) = (u64::from(skip), len as u64);
        self.segments[..self.count].iter().filter_map(move |segment| {
            let skipped = skip.min(segment.len.into());
            skip -= skipped;
            let piece = left.min(u64::from(segment.len) - skipped);
            left -= piece;
            (piece > 0).then_some((segment.address.wrapping_add(skipped), piece as usize))
        })
    }

    /// Copies to `to` what follows the first `skip` bytes. Returns how many bytes that were: as many as
    /// there are in both.
    pub(super) fn read(
        &self,
        ram: GuestRam<'_>,
        skip: u32,
        to: &mut [u8],
    ) -> Result<usize, OutsideRam> {
        let mut done = 0;
        for (address, len) in self.pieces(skip, to.len()) {
            ram.read(address, &mut to[done..done + len])?;
            done += len;
        }
        Ok(done)
    }

    /// Copies `from` to the place after the first `skip` bytes. Returns how many bytes that were: as
    /// many as there are in both.
    pub(super) fn write(
        &self,
        ram: GuestRam<'_>,
        skip: u32,
        from: &[u8],
    ) -> Result<usize, OutsideRam> {
        let mut done = 0;
        for (address, len) in self.pieces(skip, from.len()) {
            ram.write(address, &from[done..done + len])?;
            done += len;
        }
        Ok(done)
    }
}
