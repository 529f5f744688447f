//! Whose turn it is to begin anew without having failed.

use resh_channel::config::REPLICAS_MAX;

/// The schedule of rejuvenations: one replica after another, at a distance.
#[derive(Debug)]
pub(crate) struct Rejuvenation {
    /// Number of replicas that services need.
    replicas: usize,
    /// Those without which every service keeps a quorum, a bit mask.
    spare: u8,
    interval_ms: u64,
    /// When the next one is due. `None`: never.
    at_ms: Option<u64>,
    /// Whose turn it is, or that of the next one which can be spared.
    turn: usize,
}

/// How many of so many replicas must agree.
pub(crate) fn quorum(replicas: usize) -> usize {
    replicas / 2 + 1
}

impl Rejuvenation {
    /// A rejuvenation each `interval_s`, or none if that is 0. `services` has the number of replicas of each
    /// service.
    pub(crate) fn new(
        services: impl IntoIterator<Item = usize>,
        interval_s: u32,
        now_ms: u64,
    ) -> Self {
        let (mut replicas, mut spare) = (0, u8::MAX);
        for needed in services {
            let needed = needed.min(REPLICAS_MAX);
            replicas = replicas.max(needed);
            if needed > 0 && needed - 1 < quorum(needed) {
                spare &= !((1 << needed) - 1);
            }
        }
        spare &= (1 << replicas) - 1;
        let interval_ms = u64::from(interval_s) * 1000;
        let at_ms = (interval_s > 0 && spare != 0).then(|| now_ms.saturating_add(interval_ms));
        Self { replicas, spare, interval_ms, at_ms, turn: 0 }
    }

    /// Number of replicas that services need.
    pub(crate) fn replicas(&self) -> usize {
        self.replicas
    }

    /// When the next one is due.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.at_ms
    }

    /// The replica that is due, if one is. The next is not before this one is [done](Self::done) or [put
    /// off](Self::put_off).
    pub(crate) fn due(&mut self, now_ms: u64) -> Option<usize> {
        self.at_ms.take_if(|at_ms| *at_ms <= now_ms)?;
        let order = (0..self.replicas).map(|step| (self.turn + step) % self.replicas);
        order.into_iter().find(|replica| self.spare & 1 << replica != 0)
    }

    /// This one is rejuvenated: next it is another one's turn.
    pub(crate) fn done(&mut self, replica: usize, now_ms: u64) {
        self.turn = (replica + 1) % self.replicas.max(1);
        self.put_off(now_ms);
    }

    /// The one that was due could not be rejuvenated: it is tried again after the interval.
    pub(crate) fn put_off(&mut self, now_ms: u64) {
        let ever = self.interval_ms > 0 && self.spare != 0;
        self.at_ms = ever.then(|| now_ms.saturating_add(self.interval_ms));
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn turns(services: &[usize]) -> Vec<usize> {
        let mut rejuvenation = Rejuvenation::new(services.iter().copied(), 1, 0);
        let mut turns = Vec::new();
        for now_ms in (1000..=4000).step_by(1000) {
            if let Some(replica) = rejuvenation.due(now_ms) {
                assert_eq!(rejuvenation.due(u64::MAX), None, "one at a time");
                rejuvenation.done(replica, now_ms);
                turns.push(replica);
            }
        }
        turns
    }

    #[test]
    fn one_after_the_other_and_only_who_can_be_spared() {
        assert_eq!(turns(&[3]), [0, 1, 2, 0]);
        assert_eq!(turns(&[2]), [], "two alone must agree");
        assert_eq!(turns(&[1]), []);
        assert_eq!(turns(&[]), []);
        assert_eq!(turns(&[3, 2]), [2, 2, 2, 2], "the first two are a pair elsewhere");
        assert_eq!(turns(&[3, 1, 3]), [1, 2, 1, 2]);
    }

    #[test]
    fn who_was_put_off_has_its_turn_again() {
        let mut rejuvenation = Rejuvenation::new([3], 1, 0);
        assert_eq!(rejuvenation.due(999), None);
        assert_eq!(rejuvenation.due(1500), Some(0));
        assert_eq!(rejuvenation.next_ms(), None);
        rejuvenation.put_off(1600);
        assert_eq!(rejuvenation.next_ms(), Some(2600));
        assert_eq!(rejuvenation.due(2600), Some(0));
        assert_eq!(Rejuvenation::new([3], 0, 0).next_ms(), None);
    }
}
