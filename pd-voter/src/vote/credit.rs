//! How far the replicas of a session may send, and which of them holds back the others.

use resh_channel::config::REPLICAS_MAX;

use super::Vote;

impl Vote {
    /// The client has taken reply bytes up to `offset`.
    pub fn take(&mut self, offset: u64) {
        if offset <= self.released {
            self.taken = self.taken.max(offset);
        }
    }

    /// Extends the credit if that is worth telling.
    pub fn extend_credit(&mut self) -> bool {
        let goal = self.free_credit().min(self.retained_credit());
        let extend = !self.ended && goal >= self.credit + self.geometry.step_bytes;
        if extend {
            self.credit = goal;
        }
        extend
    }

    /// The voice that alone keeps the credit from being extended while a quorum has used it up.
    pub fn held_back_by(&self) -> Option<usize> {
        let step = self.geometry.step_bytes;
        let waits = !self.ended
            && self.released + step > self.credit
            && self.free_credit() >= self.credit + step
            && self.retained_credit() < self.credit + step;
        if waits { self.slowest() } else { None }
    }

    /// Whether replicas could send more, and the client does not take what there is.
    pub fn waits_for_client(&self) -> bool {
        let step = self.geometry.step_bytes;
        !self.ended && self.released + step > self.credit && self.free_credit() < self.credit + step
    }

    /// The credit as far as the client is concerned.
    fn free_credit(&self) -> u64 {
        self.taken + self.geometry.ahead_bytes
    }

    /// The credit that keeps what the slowest voice must still be compared with.
    fn retained_credit(&self) -> u64 {
        let slowest = self.slowest().map_or(self.released, |slowest| self.position(slowest));
        slowest + self.geometry.window_bytes
    }

    fn slowest(&self) -> Option<usize> {
        let voices = (0..REPLICAS_MAX).filter(|at| self.members[*at].voice);
        voices.min_by_key(|at| self.members[*at].position)
    }
}
