//! A value that one domain publishes and others look at whenever they like: a sequence lock over
//! shared memory, postcard inside.

use serde::{Serialize, de::DeserializeOwned};

use crate::memory::{Bytes, Ordering, WORD_BYTES, Words, copy_in};
use crate::ordering::Site;

/// Word with the sequence number: odd while a value is being written.
const SEQUENCE: usize = 0;
/// Word with the value's length in bytes.
const LEN: usize = 1;
/// First word of the value.
const VALUE: usize = 8;

/// How often a reader that met a writer tries again.
const TRIES: usize = if cfg!(loom) { 2 } else { 1000 };

/// Why a snapshot could not be written or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// The value is larger than the region or the scratch buffer.
    TooLarge,
    /// Nothing was ever published.
    Empty,
    /// The writer was in the way each time.
    Busy,
    /// The bytes are not of this type.
    Malformed,
}

/// Writes snapshots to `region`.
pub struct Publisher<'m> {
    region: &'m Words,
    sequence: u64,
}

impl<'m> Publisher<'m> {
    /// A publisher for `region`, which it alone writes. It goes on where one before it stopped, so that a
    /// reader cannot take values of two lives for one.
    pub fn new(region: &'m Words) -> Self {
        let sequence = region.get(SEQUENCE).map_or(0, |word| word.load(Ordering::Relaxed));
        // A life that ended while it wrote left an odd number.
        Self { region, sequence: sequence.wrapping_add(1) & !1 }
    }

    /// Publishes `value`; `scratch` must hold its encoding.
    pub fn publish(
        &mut self,
        value: &impl Serialize,
        scratch: &mut [u8],
    ) -> Result<(), SnapshotError> {
        let bytes = postcard::to_slice(value, scratch).map_err(|_| SnapshotError::TooLarge)?;
        if VALUE + bytes.len().div_ceil(WORD_BYTES) > self.region.len() {
            return Err(SnapshotError::TooLarge);
        }
        self.region[SEQUENCE].store(self.sequence.wrapping_add(1), Ordering::Relaxed);
        Site::SnapshotBegin.fence();
        self.region[LEN].store(bytes.len() as u64, Ordering::Relaxed);
        copy_in(&self.region[VALUE..], bytes);
        self.sequence = self.sequence.wrapping_add(2);
        self.region[SEQUENCE].store(self.sequence, Site::SnapshotEnd.order());
        Ok(())
    }
}

/// Reads the value last published in `region`; `scratch` must hold its encoding.
pub fn read<T: DeserializeOwned>(region: &Words, scratch: &mut [u8]) -> Result<T, SnapshotError> {
    if region.len() <= VALUE {
        return Err(SnapshotError::Empty);
    }
    for _ in 0..TRIES {
        let before = region[SEQUENCE].load(Site::SnapshotRead.order());
        if before == 0 {
            return Err(SnapshotError::Empty);
        }
        let len = region[LEN].load(Ordering::Relaxed) as usize;
        if before % 2 == 1 {
            core::hint::spin_loop();
            continue;
        }
        let bytes = Bytes::new(&region[VALUE..], len);
        let Some(scratch) = scratch.get_mut(..bytes.len()) else {
            return Err(SnapshotError::TooLarge);
        };
        bytes.copy_to(scratch);
        Site::SnapshotCheck.fence();
        if region[SEQUENCE].load(Ordering::Relaxed) == before {
            return postcard::from_bytes(scratch).map_err(|_| SnapshotError::Malformed);
        }
    }
    Err(SnapshotError::Busy)
}
