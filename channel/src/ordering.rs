//! The memory orderings on which the rings and snapshots rest, each with a name.
//!
//! Under loom a test can [`weaken`] one of them, to see that the checks notice. Everywhere else each is
//! a constant. What pairs with what, and why that is enough: `docs/channel.md`.

use crate::memory::{Ordering, fence};

/// A place in the code whose ordering matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// The producer stores its position, after the records.
    Publish,
    /// A consumer loads the producer's position, before the records.
    Observe,
    /// A consumer stores its position, after it has read the records.
    Release,
    /// The producer loads a consumer's position, before it writes over what was there.
    Reclaim,
    /// Between the producer's store of its position and its load of `asleep`.
    PublishFence,
    /// Between a consumer's store of `asleep` and its load of the producer's position.
    AsleepFence,
    /// Between a consumer's store of its position and its load of `starved`.
    ReleaseFence,
    /// Between the producer's store of `starved` and its load of a consumer's position.
    StarvedFence,
    /// Between the store of an odd sequence number and those of the snapshot.
    SnapshotBegin,
    /// The store of an even sequence number, after the snapshot.
    SnapshotEnd,
    /// A reader's first load of the sequence number, before the snapshot.
    SnapshotRead,
    /// Between a reader's loads of the snapshot and its second load of the sequence number.
    SnapshotCheck,
}

impl Site {
    const fn required(self) -> Ordering {
        match self {
            Self::Publish | Self::Release | Self::SnapshotBegin | Self::SnapshotEnd => {
                Ordering::Release
            }
            Self::Observe | Self::Reclaim | Self::SnapshotRead | Self::SnapshotCheck => {
                Ordering::Acquire
            }
            Self::PublishFence | Self::AsleepFence | Self::ReleaseFence | Self::StarvedFence => {
                Ordering::SeqCst
            }
        }
    }

    /// The ordering of the load or store at this place.
    #[inline(always)]
    pub(crate) fn order(self) -> Ordering {
        if is_weak(self) { Ordering::Relaxed } else { self.required() }
    }

    /// The fence at this place.
    #[inline(always)]
    pub(crate) fn fence(self) {
        if !is_weak(self) {
            fence(self.required());
        }
    }
}

#[cfg(not(loom))]
#[inline(always)]
const fn is_weak(_: Site) -> bool {
    false
}

#[cfg(loom)]
std::thread_local! {
    static WEAK: core::cell::Cell<Option<Site>> = const { core::cell::Cell::new(None) };
}

#[cfg(loom)]
fn is_weak(site: Site) -> bool {
    WEAK.get() == Some(site)
}

/// Takes away the ordering at `site`, and at no other, from now on in this thread (in which loom runs
/// all threads of a model).
#[cfg(loom)]
pub fn weaken(site: Option<Site>) {
    WEAK.set(site);
}
