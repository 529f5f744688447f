//! The voter's fixed limits. `docs/voter.md` publishes them; the shape of a session's window is in
//! [`resh_channel::window`].

use resh_channel::window::VOTER_SLOTS;

/// How long a session that is over for its client waits for the replicas that still answer, in
/// milliseconds.
pub const DRAIN_MS: u64 = 1_000;

/// A session's lag budget grows back by one millisecond in so many in which it waits for nobody: what
/// is normal between processes on a busy machine adds up to nothing, and a slow replica can make a
/// session longer by an eighth at most, beyond the budget.
pub const LAG_REFILL: u64 = 8;

/// Share of the session slots that may be draining at once: one in so many.
pub const DRAINING_SHARE: usize = 5;

/// How long a replica's domain may take from its first `Hello` to its second while the requests it has
/// not read fill half the broadcast ring, in milliseconds.
pub const JOIN_MS: u64 = 2_000;

/// Least time for which a replica's domain may hold back the others by not reading requests, in
/// milliseconds. `lag_budget_ms` if that is longer.
pub const STALL_MIN_MS: u64 = 50;

/// How long a replica's domain may leave a full broadcast ring quite unread, in milliseconds, even if
/// no other is ahead of it.
pub const STANDSTILL_MS: u64 = 2_000;

/// How often a full broadcast ring is looked at again, in milliseconds.
pub const STALL_CHECK_MS: u64 = 10;

/// How often we look whether a started domain has said hello, where its ring cannot wake us, in
/// milliseconds.
pub const HELLO_LOOK_MS: u64 = 10;

/// Probe sessions at once: slots of the voter's own that probes may take.
pub const PROBES: usize = VOTER_SLOTS - 1;

/// Wait after a probe that somebody did not pass before the next of that service, in milliseconds. Doubled
/// each time, up to [`PROBE_WAIT_MAX_MS`]; the first again whenever a replica comes in.
pub const PROBE_WAIT_MS: u64 = 50;

/// Longest such wait, in milliseconds.
pub const PROBE_WAIT_MAX_MS: u64 = 1_000;

/// Least time that the others may take to answer a probe once a quorum has, in milliseconds. `lag_budget_ms` if
/// that is longer.
pub const PROBE_LAG_MIN_MS: u64 = 100;

/// Probes in a row to which a suspect may not be late. One to which it gives a wrong answer is enough.
pub const LATE_PROBES: u8 = 3;

/// Sessions in which a replica lost its voice that are remembered, at most: as many as `recovery.sessions` can
/// ask for.
pub const LOSSES: usize = 100;

/// How often we look whether a replica that is late with its start is still the only one that does not serve,
/// in milliseconds.
pub const BOOT_LOOK_MS: u64 = 1_000;

/// How often we look whether a replica that is to stand aside is needed still, in milliseconds.
pub const ASIDE_LOOK_MS: u64 = 100;

/// Longest client's address, as text, in bytes. What is longer counts as unknown.
pub const ADDRESS_BYTES_MAX: usize = 64;

/// Records taken from one ring before the next has its turn.
pub const BATCH_RECORDS: usize = 64;

/// Payload bytes taken from one ring before the next has its turn.
pub const BATCH_BYTES: usize = 512 * 1024;

/// Least time between two publications of the statistics, in milliseconds.
pub const STATS_MS: u64 = 100;

/// The same after a dispute or a change of state, in milliseconds.
pub const STATS_URGENT_MS: u64 = 10;

/// Most bytes of the published statistics.
pub const STATS_BYTES: usize = 16 * 1024;
