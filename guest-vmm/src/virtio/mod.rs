//! virtio devices over MMIO (virtio 1.2), device side.
//!
//! The driver is the guest's, and may do anything. What it must not do by the specification comes out
//! as [`Misbehaviour`]: the device then asks for a reset, and does nothing more until it gets one. It is
//! never a panic, never an access outside the guest's RAM, and never unbounded work.

mod chain;
mod mmio;
mod net;
mod queue;

use crate::memory::OutsideRam;
use core::fmt;

pub use mmio::REGISTERS_BYTES;
pub use net::{Link, Net, Statistics};
pub use queue::QUEUE_SIZE_MAX;

/// `VIRTIO_F_VERSION_1` (virtio 1.2 section 6): the driver is not one of legacy virtio.
const F_VERSION_1: u64 = 1 << 32;

/// How a driver broke the rules so that its device cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misbehaviour {
    /// A queue was enabled with a size that is no power of two, or beyond the largest (section 2.7).
    QueueSize(u16),
    /// A queue was enabled with a part at an address that is not aligned as section 2.7 says.
    QueueAlignment(u64),
    /// A queue or a buffer is not in RAM.
    OutsideRam(OutsideRam),
    /// The available ring claims more entries than the queue has (section 2.7.13).
    AvailableIndex {
        /// The index it claims.
        claimed: u16,
        /// The entry that the device takes next.
        next: u16,
    },
    /// A descriptor's index that is not below the queue's size.
    DescriptorIndex(u16),
    /// A chain with more descriptors than the queue has: a loop (section 2.7.5.2).
    Loop,
    /// A chain of 4 GiB or more (section 2.7.5.2).
    ChainLength,
    /// An indirect descriptor, which was not negotiated (section 2.7.5.3.1).
    Indirect,
    /// A buffer for the device to read where there must be one to write, or the reverse.
    Direction,
    /// Less room or fewer bytes than the device's header needs (section 5.1.6).
    HeaderLength(u32),
    /// A header that asks for what was not negotiated (section 5.1.6.2).
    HeaderContents {
        /// Its `flags`.
        flags: u8,
        /// Its `gso_type`.
        gso_type: u8,
    },
}

impl From<OutsideRam> for Misbehaviour {
    fn from(outside: OutsideRam) -> Self {
        Misbehaviour::OutsideRam(outside)
    }
}

impl fmt::Display for Misbehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QueueSize(size) => write!(f, "virtqueue of {size} entries"),
            Self::QueueAlignment(address) => write!(f, "part of a virtqueue at {address:#x}"),
            Self::OutsideRam(outside) => outside.fmt(f),
            Self::AvailableIndex { claimed, next } => {
                write!(f, "available index {claimed} runs ahead of {next}")
            }
            Self::DescriptorIndex(index) => write!(f, "no descriptor {index} in the virtqueue"),
            Self::Loop => write!(f, "descriptors in a loop"),
            Self::ChainLength => write!(f, "chain of 4 GiB or more"),
            Self::Indirect => write!(f, "indirect descriptor, not negotiated"),
            Self::Direction => write!(f, "buffer of the wrong direction"),
            Self::HeaderLength(len) => write!(f, "{len} bytes where a header must be"),
            Self::HeaderContents { flags, gso_type } => {
                write!(f, "header with flags {flags:#x} and gso_type {gso_type:#x}")
            }
        }
    }
}
