//! Where the agreed bytes of a session lie in the `window` region, and how much may be under way.
//!
//! The region is cut into slots of [`SLOT_BYTES`], one for each session index. A slot begins with a ring
//! of [`WINDOW_BYTES`] that holds the candidate for the reply stream: byte `o` of the stream lies at `o %
//! WINDOW_BYTES`. The network reads from it what the voter has released, until it says `Taken`. The rest
//! of the slot is the voter's own: a second candidate while replicas differ.

use core::ops::Range;

/// Bytes of the reply stream that a slot retains, in bytes.
pub const WINDOW_BYTES: usize = 128 * 1024;

/// Reply bytes a replica may be ahead of what the client has taken, in bytes. Also the reply credit
/// with which every session begins, without a `Credit` being sent.
pub const REPLY_CREDIT_BYTES: usize = 64 * 1024;

/// Request bytes that may be on their way to the slowest replica, in bytes. Also the request credit
/// with which every session begins, without a `Credit` being sent.
pub const REQUEST_CREDIT_BYTES: usize = 64 * 1024;

/// A `Credit` is sent when it grew by this much, in bytes.
pub const CREDIT_STEP_BYTES: usize = 16 * 1024;

/// Bytes of one session's share of the `window` region.
pub const SLOT_BYTES: usize = WINDOW_BYTES + REPLY_CREDIT_BYTES;

/// Number of slots, and so of session indices, in a region of `region_bytes`.
pub const fn slots(region_bytes: usize) -> usize {
    let slots = region_bytes / SLOT_BYTES;
    if slots > u16::MAX as usize { u16::MAX as usize } else { slots }
}

/// Slots at the end of the region that no client's session uses: the voter has sessions of its own there, to
/// probe replicas and to read their state.
pub const VOTER_SLOTS: usize = 4;

/// Number of slots for clients' sessions in a region of `region_bytes`.
pub const fn client_slots(region_bytes: usize) -> usize {
    slots(region_bytes).saturating_sub(VOTER_SLOTS)
}

/// Offset in the region of byte `position` of the reply stream of session index `slot`.
pub const fn offset(slot: usize, position: u64) -> usize {
    slot * SLOT_BYTES + (position % WINDOW_BYTES as u64) as usize
}

/// Where in the region the `len` bytes from `position` on lie, at most [`WINDOW_BYTES`]: in one piece,
/// or, where they wrap, in two. The second piece may be empty.
pub fn pieces(slot: usize, position: u64, len: usize) -> [Range<usize>; 2] {
    let len = len.min(WINDOW_BYTES);
    let base = slot * SLOT_BYTES;
    let first = offset(slot, position);
    let to_end = (base + WINDOW_BYTES - first).min(len);
    [first..first + to_end, base..base + (len - to_end)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_wrap_inside_their_slot() {
        assert_eq!(pieces(0, 5, 10), [5..15, 0..0]);
        let base = 3 * SLOT_BYTES;
        let at = 7 * WINDOW_BYTES as u64 - 4;
        assert_eq!(
            pieces(3, at, 10),
            [base + WINDOW_BYTES - 4..base + WINDOW_BYTES, base..base + 6]
        );
        assert_eq!(offset(3, at + 4), base);
    }

    #[test]
    fn slots_are_whole() {
        assert_eq!(slots(SLOT_BYTES * 3 - 1), 2);
        assert_eq!(slots(0xF00_0000), 1280);
    }
}
