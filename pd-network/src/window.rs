//! How the `window` region is laid out, and how much of a session may be under way.
//!
//! The region holds one slot for each session index. Reply byte `offset` of a session lies in its
//! slot at `offset % WINDOW_BYTES`; it stays there until the network has told the voter that the client
//! took it.

/// Bytes of one session's slot.
pub const SLOT_BYTES: usize = 192 * 1024;
/// Bytes of a slot that are the window.
pub const WINDOW_BYTES: usize = 128 * 1024;
/// Request bytes that a session may send before the voter's first credit.
pub const INITIAL_CREDIT: u64 = 64 * 1024;
