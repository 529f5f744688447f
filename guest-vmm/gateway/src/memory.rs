//! How much memory a gateway takes, all of it at its start.

use alloc::vec::Vec;

use resh_channel::config::Limits;
use resh_channel::message::MAX_PAYLOAD_BYTES;
use resh_channel::window::REQUEST_CREDIT_BYTES;

use crate::SLOTS;
use crate::fifo::{ClockedFifo, Fifo};

/// Sizes on which only speed and memory depend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Sessions that can live at once, those that drain included.
    pub sessions: usize,
    /// Bytes moved at once, [`MAX_PAYLOAD_BYTES`] at least.
    pub buffer_bytes: usize,
}

impl Memory {
    /// For a board that finds memory for a page when it is first touched: as much as there can ever be
    /// need of.
    pub const LAZY: Self = Self { sessions: SLOTS, buffer_bytes: 2 * MAX_PAYLOAD_BYTES };

    /// For a board that has what it has: sessions in the proportion of [`SLOTS`] to the most that can be
    /// configured, so that a fifth of them drain.
    #[must_use]
    pub fn fitted(limits: &Limits) -> Self {
        let sessions = usize::from(limits.sessions);
        let drain = sessions.div_ceil(4);
        Self { sessions: (sessions + drain).min(SLOTS), buffer_bytes: MAX_PAYLOAD_BYTES }
    }
}

/// What a session needs of memory while it lives, beside its canonicaliser.
pub(crate) struct Buffers {
    /// Request bytes that the replica, or the canonicaliser, did not take yet.
    pub(crate) upload: ClockedFifo,
    /// Bytes of the replica that the canonicaliser did not take yet.
    pub(crate) download: Fifo,
}

/// Differing request clocks among the bytes that wait. As clocks differ by a second at least, no replica
/// trails so far and still has a voice.
const CLOCKS: usize = 1024;

/// Buffers for all sessions; with a canonicaliser if there is one at all.
pub(crate) fn pool(memory: Memory, canonical: bool) -> Vec<Buffers> {
    let (clocks, download) = if canonical { (CLOCKS, memory.buffer_bytes) } else { (1, 0) };
    let buffers = || Buffers {
        upload: ClockedFifo::new(REQUEST_CREDIT_BYTES, clocks),
        download: Fifo::new(download),
    };
    (0..memory.sessions).map(|_| buffers()).collect()
}
