//! The TCP client of the servers in a guest, and the wire to the guest.

mod frames;

pub use frames::{FRAME_BYTES_MAX, Frames};
