//! How a replica that begins anew comes into the order, and how live requests give way to it.

use super::limits::{PACE_LOOK_MS, PACE_MS};
use super::log::Cursor;

/// Where a replica is on its way into the order.
///
/// ```text
/// Out ──its server is up──▶ Waiting ──the log can be read──▶ Feeding ──it was sent all──▶ Level ──it answered all──▶ Synced
/// any ──its domain left──▶ Out            Waiting ──the log is lost for good──▶ Lost
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// It is sent nothing.
    #[default]
    Out,
    /// It is to be fed once the log can be read: an export runs, or must come first.
    Waiting,
    /// It is fed the log, and was sent what lies before this position.
    Feeding(Cursor),
    /// It was sent all of the log and gets live requests, but has not yet answered what it was fed.
    Level,
    /// It has the state of the others and gets live requests.
    Synced,
    /// It cannot get the state of the others: the log is lost, and the service cannot be exported.
    Lost,
}

impl Stage {
    /// Whether it gets live requests.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Level | Self::Synced)
    }
}

/// Holds back live requests half of the time while a feed comes no nearer to them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    looked_ms: u64,
    gap: u64,
    yields: bool,
}

impl Pace {
    /// So much is left to be fed now: entries, or 0 if there is nobody to feed.
    pub fn look(&mut self, gap: u64, now_ms: u64) {
        if gap == 0 {
            *self = Self::default();
        } else if self.gap == 0 {
            *self = Self { looked_ms: now_ms, gap, yields: false };
        } else if now_ms >= self.looked_ms + PACE_LOOK_MS {
            // Less than an eighth nearer is no nearer.
            let yields = gap > self.gap - self.gap / 8;
            *self = Self { looked_ms: now_ms, gap, yields };
        }
    }

    /// Until when live requests are held back, if they are.
    pub fn holds_until_ms(&self, now_ms: u64) -> Option<u64> {
        let into_ms = now_ms % PACE_MS;
        (self.yields && into_ms < PACE_MS / 2).then(|| now_ms - into_ms + PACE_MS / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_live_give_way_half_of_the_time_and_only_if_needed() {
        let mut pace = Pace::default();
        let held =
            |pace: &Pace| (0..PACE_MS).filter(|ms| pace.holds_until_ms(*ms).is_some()).count();
        pace.look(1000, 0);
        pace.look(2000, PACE_LOOK_MS - 1);
        assert_eq!(held(&pace), 0);
        pace.look(950, PACE_LOOK_MS);
        assert_eq!(held(&pace) as u64, PACE_MS / 2);
        assert_eq!(pace.holds_until_ms(5 * PACE_MS + 1), Some(5 * PACE_MS + PACE_MS / 2));
        pace.look(600, 2 * PACE_LOOK_MS);
        assert_eq!(held(&pace), 0);
        pace.look(600, 3 * PACE_LOOK_MS);
        pace.look(0, 3 * PACE_LOOK_MS);
        assert_eq!(held(&pace), 0);
    }
}
