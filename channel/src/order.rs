//! What bounds the total order of requests (`order = "total"`): how far who is fast may be ahead of who is slow.
//!
//! A gateway executes the `Ordered` records of a service in the order in which they come. Their numbers never
//! fall; several that are fed to a replica that catches up may have the same. It says `Answered` once for each of them,
//! in that order. To a replica that catches up, `Evict` says where a session that is long over ended: after what was fed
//! of it before. An index is used again only when every replica in the order has answered all that was ordered for it.

/// Requests ordered that no quorum has answered yet, at most.
pub const AHEAD_REQUESTS: u64 = 64;
/// Requests that a quorum has answered and some replica has not, at most: one further behind is condemned.
pub const BEHIND_REQUESTS: u64 = 1024;
/// Bytes of all those requests together, at most. A gateway has room for so many that it has not executed yet.
pub const QUEUE_BYTES: usize = 2 << 20;
/// Requests that who catches up was sent and has not executed, at most.
pub const FEED_REQUESTS: u64 = 512;
/// Requests of one session that a gateway has said the ends of and that have not been ordered yet, at most: it looks
/// for the next end only when the `Ordered` of an earlier one has come.
pub const FRAMED_REQUESTS: u64 = 64;
