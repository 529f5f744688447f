//! How a replica's domain is let in: what the voter tells it, in [notes](crate::ring::note) of the
//! `reply_cursor` page that the voter writes.
//!
//! 1. The supervisor counts up the domain's generation in `supervision` and starts it.
//! 2. The voter drops the old life and notes the generation as [`READY`]. From then on its position in
//!    the reply ring stands still.
//! 3. The domain, having seen its generation there, makes its reply `Producer` at
//!    `Consumer::position_in` and sends `Hello` with its generation as `offset`.
//! 4. The voter notes the position in the broadcast ring at which the domain begins as [`START`], then
//!    its generation as [`GENERATION`], and notifies it.
//! 5. The domain makes its broadcast `Consumer` there, and sends a second `Hello`. It votes in every
//!    session opened from then on.

/// Note with the generation that was let in.
pub const GENERATION: usize = 0;
/// Note with the position in the broadcast ring at which it begins, in words.
pub const START: usize = 1;
/// Note with the generation that may make its reply producer.
pub const READY: usize = 2;
/// Number of these notes.
pub const NOTES: usize = 3;
