//! What bounds the total order of requests (`order = "total"`): how far who is fast may be ahead of who is slow.

/// Requests ordered that no quorum has answered yet, at most.
pub const AHEAD_REQUESTS: u64 = 64;
/// Requests that a quorum has answered and some replica has not, at most: one further behind is condemned.
pub const BEHIND_REQUESTS: u64 = 1024;
/// Bytes of all those requests together, at most. A gateway has room for so many that it has not executed yet.
pub const QUEUE_BYTES: usize = 2 << 20;
/// Requests that who catches up was sent and has not executed, at most.
pub const FEED_REQUESTS: u64 = 512;
