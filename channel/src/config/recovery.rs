//! When a replica is recovered.

use serde::{Deserialize, Serialize};

use super::{ConfigError, TIME_MS_MAX};

/// What it takes to condemn a replica, and when it is started anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// Sessions in which a replica loses its voice that bring it under suspicion, 1 to 100.
    pub sessions: u8,
    /// Different client addresses that must be among them to condemn it without a failed probe, 1 to 100.
    pub clients: u8,
    /// How long such a session counts, in milliseconds.
    pub window_ms: u32,
    /// How long a replica may take from its start until it votes, in milliseconds. Then it begins anew.
    pub boot_ms: u32,
    /// Wait before a replica is started anew, in milliseconds. Doubled each time it fails again soon.
    pub back_off_ms: u32,
    /// Longest such wait, in milliseconds.
    pub back_off_max_ms: u32,
    /// Interval between the rejuvenations of one replica after another, in seconds. 0: never.
    pub rejuvenate_s: u32,
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            sessions: 3,
            clients: 2,
            window_ms: 60_000,
            boot_ms: 60_000,
            back_off_ms: 100,
            back_off_max_ms: 60_000,
            rejuvenate_s: 0,
        }
    }
}

impl Recovery {
    /// Largest count of sessions or clients that can be set.
    pub const COUNT_MAX: u8 = 100;
    /// Longest interval between rejuvenations, in seconds: a year.
    pub const REJUVENATE_S_MAX: u32 = 366 * 24 * 3600;

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let demand = |holds: bool, what| holds.then_some(()).ok_or(ConfigError::OutOfLimits(what));
        let time = 1..=TIME_MS_MAX;
        demand((1..=Self::COUNT_MAX).contains(&self.sessions), "sessions of recovery")?;
        demand((1..=Self::COUNT_MAX).contains(&self.clients), "clients of recovery")?;
        demand(time.contains(&self.window_ms), "window_ms")?;
        demand(time.contains(&self.boot_ms), "boot_ms")?;
        demand(time.contains(&self.back_off_ms), "back_off_ms")?;
        demand(
            (self.back_off_ms..=TIME_MS_MAX).contains(&self.back_off_max_ms),
            "back_off_max_ms",
        )?;
        demand(self.rejuvenate_s <= Self::REJUVENATE_S_MAX, "rejuvenate_s")
    }
}
