//! The fixed limits of total order that are the voter's own. What gateways must know is in
//! [`resh_channel::order`].

use resh_channel::window::REQUEST_CREDIT_BYTES;

/// Request bytes of one session that have come and are not ordered yet, at most.
pub const SHARE_BYTES: usize = REQUEST_CREDIT_BYTES;

/// Bytes of a log without which there is none: `state` other than `none` needs so much of the region.
pub const LOG_BYTES_MIN: usize = 256 * 1024;

/// Largest share of the [queue](resh_channel::order::QUEUE_BYTES) of a replica that catches up which the feed
/// fills: one in so many. The rest is for live requests once it has been fed all.
pub const FEED_SHARE: usize = 2;

/// A replica that holds back the order because its queue is full is too slow if it is slower than the others were when it
/// fell behind, by this factor.
pub const SLOW_FACTOR: u64 = 4;

/// For how long its pace is measured at least, in milliseconds. `lag_budget_ms` if that is longer.
pub const PACE_MIN_MS: u64 = 250;

/// How long a client may hold back the order by not taking its reply, in milliseconds. Then its session is reset.
pub const CLIENT_HOLD_MS: u64 = 500;

/// While a replica that catches up comes no nearer, live requests are held back for the first half of every
/// such period, in milliseconds.
pub const PACE_MS: u64 = 20;

/// How often we look whether it comes nearer, in milliseconds.
pub const PACE_LOOK_MS: u64 = 200;

/// Bytes of the log copied or looked through for an export in one step, at most.
pub const EXPORT_STEP_BYTES: usize = 512 * 1024;

/// Entries of the log since its start, or the last export, that make an export worth its while before a
/// replica is fed.
pub const LONG_ENTRIES: u64 = 4096;

/// Wait after an export that came to nothing, in milliseconds. Doubled each time, up to [`EXPORT_RETRY_MAX_MS`]; over when
/// a replica comes that needs one.
pub const EXPORT_RETRY_MS: u64 = 5_000;

/// Longest such wait, in milliseconds.
pub const EXPORT_RETRY_MAX_MS: u64 = 320_000;

/// Longest wait for the next bytes of an export, in milliseconds, `reply_ms` if that is longer.
pub const EXPORT_SILENCE_MS: u64 = 5_000;
