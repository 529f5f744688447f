//! Who holds back the order, by the clock.

use resh_channel::config::REPLICAS_MAX;
use resh_channel::order::FEED_REQUESTS;

use super::{Gate, Order};
use crate::limits::STALL_CHECK_MS;
use crate::order::feed::Stage;
use crate::order::limits::{EXPORT_SILENCE_MS, PACE_MIN_MS, SLOW_FACTOR};

/// A replica holds back the order.
#[derive(Clone, Copy)]
pub(super) struct Hold {
    since_ms: u64,
    /// Requests it had answered then.
    answered: u64,
    /// How many requests it was behind when it began, and how long the others took for those, in milliseconds.
    others: (u64, u64),
    /// Whether its queue was full, and in the way, since.
    full: bool,
}

impl Hold {
    /// Whether the replica, which has `answered` so many, is too slow in comparison with the others.
    fn is_slow(&self, answered: u64, now_ms: u64) -> bool {
        let (requests, took_ms) = self.others;
        (answered - self.answered) * took_ms * SLOW_FACTOR < requests * (now_ms - self.since_ms)
    }
}

/// What time has brought to light.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// These replicas fell too far behind, a bit mask.
    pub behind: u8,
    /// No quorum answers: the service must stop.
    pub stuck: bool,
}

/// The first request that no quorum has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Awaited {
    /// Its session's index.
    pub index: usize,
    /// When it became the first.
    pub since_ms: u64,
    /// When its session last got on.
    pub moved_ms: u64,
}

impl Order<'_> {
    /// Looks how far a quorum is.
    pub(super) fn note_progress(&mut self, now_ms: u64) {
        let agreed = self.sequence.agreed(self.synced(), self.quorum);
        if agreed.is_none_or(|agreed| agreed != self.agreed || agreed == self.last()) {
            (self.agreed_ms, self.progress_ms) = (now_ms, now_ms);
        }
        self.agreed = agreed.unwrap_or(self.agreed);
    }

    /// Of the session whose request is the first that no quorum has answered, a quorum has sent more bytes, or its
    /// client has taken some.
    pub fn moved(&mut self, now_ms: u64) {
        self.progress_ms = now_ms;
    }

    /// The first request that no quorum has answered.
    pub fn awaited(&self) -> Option<Awaited> {
        let agreed = self.sequence.agreed(self.synced(), self.quorum)?;
        let len = self.recent.len() as u64;
        let known = agreed < self.last() && self.last() - agreed < len;
        known.then(|| Awaited {
            index: self.recent[((agreed + 1) % len) as usize].into(),
            since_ms: self.agreed_ms,
            moved_ms: self.progress_ms,
        })
    }

    /// Looks whether `replica`, whose queue is `full` and in the way, or not, is too slow. Its pace is measured over
    /// `window_ms` again and again, until it has caught up by half.
    fn holds_up(&mut self, replica: usize, full: bool, window_ms: u64, now_ms: u64) -> bool {
        let lane = self.sequence.lane(replica);
        let (answered, behind) = (lane.answered(), lane.outstanding() as u64);
        match &mut self.holds[replica] {
            None if full => {
                let others = (behind, lane.lag_ms(now_ms).max(1));
                let hold = Hold { since_ms: now_ms, answered, others, full };
                self.holds[replica] = Some(hold);
            }
            Some(hold) if behind <= hold.others.0 / 2 => self.holds[replica] = None,
            Some(hold) if now_ms >= hold.since_ms + window_ms => {
                let slow = hold.full && hold.is_slow(answered, now_ms);
                (hold.since_ms, hold.answered, hold.full) = (now_ms, answered, full);
                return slow;
            }
            Some(hold) => hold.full |= full,
            None => {}
        }
        false
    }

    /// Judges by the clock who holds back the order.
    pub fn watch(&mut self, now_ms: u64, lag_budget_ms: u64, reply_ms: u64) -> Verdict {
        let waits = !self.ready.is_empty();
        let full = match self.gate(now_ms) {
            Gate::Full(full) if waits => full,
            _ => 0,
        };
        let spare = self.synced().count_ones() as usize > self.quorum;
        let window_ms = lag_budget_ms.max(PACE_MIN_MS);
        let mut verdict = Verdict::default();
        for replica in 0..REPLICAS_MAX {
            let stage = self.stages[replica];
            let lane = self.sequence.lane(replica);
            let owes = lane.replays() > 0
                || (stage == Stage::Synced && self.sequence.position(replica) < self.agreed);
            let stands = owes && now_ms >= lane.moved_ms() + reply_ms;
            let stalls = self.holds_up(replica, full & (1 << replica) != 0, window_ms, now_ms);
            let needed = stage == Stage::Synced && !spare;
            if (stands || stalls) && !needed {
                verdict.behind |= 1 << replica;
            }
        }
        verdict.stuck =
            self.has_quorum() && self.agreed < self.last() && now_ms >= self.progress_ms + reply_ms;
        let feeding = |stage: &Stage| match stage {
            Stage::Feeding(cursor) => Some(self.log.active.end().entry - cursor.entry),
            _ => None,
        };
        let gap = self.stages.iter().filter_map(feeding).max().unwrap_or(0);
        // What the feed's own window holds is as good as sent.
        self.pace.look(gap.saturating_sub(FEED_REQUESTS), now_ms);
        self.admit_waiting(now_ms);
        verdict
    }

    /// When to [`watch`](Self::watch) even if nothing happens.
    pub fn deadline_ms(&self, now_ms: u64, reply_ms: u64) -> Option<u64> {
        let waits = !self.ready.is_empty();
        let gate = match self.gate(now_ms) {
            Gate::Full(_) if waits => Some(now_ms + STALL_CHECK_MS),
            Gate::Paced if waits => self.pace.holds_until_ms(now_ms),
            _ => None,
        };
        let outstanding = self.has_quorum() && self.agreed < self.last();
        let stuck = outstanding.then_some(self.progress_ms + reply_ms);
        let lanes = (0..REPLICAS_MAX).filter_map(|at| {
            let lane = self.sequence.lane(at);
            let owes = lane.replays() > 0
                || (self.stages[at] == Stage::Synced && self.sequence.position(at) < self.agreed);
            // Whom we cannot do without is only looked at again.
            owes.then(|| (lane.moved_ms() + reply_ms).max(now_ms + STALL_CHECK_MS))
        });
        let retry = (self.may_want_export() && !self.has_feed()).then_some(self.retry_ms);
        let silence =
            self.run.as_ref().map(|_| self.run_moved_ms + reply_ms.max(EXPORT_SILENCE_MS));
        let retry = retry.filter(|at_ms| *at_ms > now_ms);
        [gate, stuck, retry, silence].into_iter().flatten().chain(lanes).min()
    }
}
