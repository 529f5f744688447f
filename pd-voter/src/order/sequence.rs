//! The numbers of requests, and how far each replica has come with what it was sent.

use alloc::boxed::Box;
use alloc::vec;

use resh_channel::config::REPLICAS_MAX;
use resh_channel::order::{AHEAD_REQUESTS, BEHIND_REQUESTS, QUEUE_BYTES};
use resh_channel::stats::Condemnation;

/// A request that a replica was sent.
#[derive(Clone, Copy, Default)]
struct Sent {
    number: u64,
    bytes: u32,
    replay: bool,
    at_ms: u64,
}

/// What one replica was sent and has not answered: first in, first out.
pub struct Lane {
    sent: Box<[Sent]>,
    first: usize,
    len: usize,
    bytes: usize,
    replays: u64,
    /// Requests it has answered in all.
    answered: u64,
    /// The first live request that it was sent.
    live_from: u64,
    /// When it last got on, or had nothing to do.
    moved_ms: u64,
}

impl Lane {
    fn new() -> Self {
        Self {
            sent: vec![Sent::default(); BEHIND_REQUESTS as usize].into(),
            first: 0,
            len: 0,
            bytes: 0,
            replays: 0,
            answered: 0,
            live_from: u64::MAX,
            moved_ms: 0,
        }
    }

    fn clear(&mut self) {
        (self.len, self.bytes, self.replays, self.live_from) = (0, 0, 0, u64::MAX);
    }

    /// Whether one more request of `bytes` would be too much.
    pub fn is_full(&self, bytes: usize) -> bool {
        self.len == self.sent.len() || self.bytes + bytes > QUEUE_BYTES
    }

    /// Requests it was sent and has not answered.
    pub fn outstanding(&self) -> usize {
        self.len
    }

    /// Their bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many of them were fed.
    pub fn replays(&self) -> u64 {
        self.replays
    }

    /// Requests it has answered in all.
    pub fn answered(&self) -> u64 {
        self.answered
    }

    /// When it last got on, or had nothing to do.
    pub fn moved_ms(&self) -> u64 {
        self.moved_ms
    }

    /// For how long the first of them has been waiting for its answer.
    pub fn lag_ms(&self, now_ms: u64) -> u64 {
        self.front().map_or(0, |sent| now_ms.saturating_sub(sent.at_ms))
    }

    fn push(&mut self, sent: Sent, now_ms: u64) {
        if self.len == self.sent.len() {
            return;
        }
        if self.len == 0 {
            self.moved_ms = now_ms;
        }
        let at = (self.first + self.len) % self.sent.len();
        self.sent[at] = sent;
        self.len += 1;
        self.bytes += sent.bytes as usize;
        self.replays += u64::from(sent.replay);
    }

    fn front(&self) -> Option<Sent> {
        (self.len > 0).then(|| self.sent[self.first])
    }

    fn pop(&mut self, now_ms: u64) {
        let Some(sent) = self.front() else { return };
        self.first = (self.first + 1) % self.sent.len();
        self.len -= 1;
        self.bytes -= sent.bytes as usize;
        self.replays -= u64::from(sent.replay);
        self.answered += 1;
        self.moved_ms = now_ms;
    }
}

/// The sequence of one service's requests.
pub struct Sequence {
    /// Number of the next request.
    next: u64,
    lanes: [Lane; REPLICAS_MAX],
}

impl Sequence {
    /// A sequence whose first request will be number 1.
    pub fn new() -> Self {
        Self { next: 1, lanes: core::array::from_fn(|_| Lane::new()) }
    }

    /// Number of the next request.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// What `replica` was sent.
    pub fn lane(&self, replica: usize) -> &Lane {
        &self.lanes[replica]
    }

    /// `replica` is sent nothing any more, and nothing is awaited of it.
    pub fn leave(&mut self, replica: usize) {
        self.lanes[replica].clear();
    }

    /// From the next request on `replica` is sent live ones.
    pub fn go_live(&mut self, replica: usize) {
        self.lanes[replica].live_from = self.next;
    }

    /// `replica` was fed a request of `bytes` that has `number` in the log.
    pub fn fed(&mut self, replica: usize, number: u64, bytes: usize, now_ms: u64) {
        let sent = Sent { number, bytes: bytes as u32, replay: true, at_ms: now_ms };
        self.lanes[replica].push(sent, now_ms);
    }

    /// The next request, of `bytes`, goes to the replicas `to`, a bit mask. Returns its number.
    pub fn order(&mut self, to: u8, bytes: usize, now_ms: u64) -> u64 {
        let number = self.next;
        self.next += 1;
        let sent = Sent { number, bytes: bytes as u32, replay: false, at_ms: now_ms };
        for (at, lane) in self.lanes.iter_mut().enumerate() {
            if to & (1 << at) != 0 {
                lane.push(sent, now_ms);
            }
        }
        number
    }

    /// `replica` has answered request `number`.
    ///
    /// # Errors
    /// That was not its next.
    pub fn answered(
        &mut self,
        replica: usize,
        number: u64,
        now_ms: u64,
    ) -> Result<(), Condemnation> {
        let lane = &mut self.lanes[replica];
        if lane.front().is_none_or(|sent| sent.number != number) {
            return Err(Condemnation::UnexpectedRecord);
        }
        lane.pop(now_ms);
        Ok(())
    }

    /// The last request up to which `replica`, which is sent live ones, has answered all.
    pub fn position(&self, replica: usize) -> u64 {
        self.lanes[replica].front().map_or(self.next, |sent| sent.number) - 1
    }

    /// The last request up to which `quorum` of `replicas`, a bit mask, have answered all. `None` if there are not so
    /// many.
    pub fn agreed(&self, replicas: u8, quorum: usize) -> Option<u64> {
        let mut positions = [0; REPLICAS_MAX];
        let mut count = 0;
        for at in (0..REPLICAS_MAX).filter(|at| replicas & (1 << at) != 0) {
            positions[count] = self.position(at);
            count += 1;
        }
        let positions = &mut positions[..count];
        positions.sort_unstable();
        count.checked_sub(quorum).and_then(|at| positions.get(at).copied())
    }

    /// Whether no quorum has answered as many requests as may be ahead.
    pub fn is_ahead(&self, agreed: u64) -> bool {
        self.next - 1 - agreed >= AHEAD_REQUESTS
    }

    /// Whether `replica` has nothing of live request `number` or any before it still to do.
    pub fn is_done(&self, replica: usize, number: u64) -> bool {
        let lane = &self.lanes[replica];
        lane.live_from > number || (lane.replays == 0 && self.position(replica) >= number)
    }
}

impl Default for Sequence {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quorum_is_ahead_of_the_slow() {
        let mut sequence = Sequence::new();
        (0..3).for_each(|at| sequence.go_live(at));
        assert_eq!(sequence.agreed(0b001, 2), None);
        for number in 1..=10 {
            assert_eq!(sequence.order(0b111, 100, 0), number);
        }
        assert_eq!(sequence.agreed(0b111, 2), Some(0));
        for number in 1..=4 {
            sequence.answered(0, number, 5).unwrap();
        }
        assert_eq!(sequence.agreed(0b111, 2), Some(0));
        for number in 1..=7 {
            sequence.answered(2, number, 5).unwrap();
        }
        assert_eq!(sequence.agreed(0b111, 2), Some(4));
        assert_eq!(sequence.agreed(0b110, 2), Some(0));
        assert_eq!(sequence.agreed(0b111, 1), Some(7));
        assert_eq!(sequence.lane(2).bytes(), 300);
        assert!(sequence.is_done(2, 7) && !sequence.is_done(2, 8));
        let out_of_turn = Err(Condemnation::UnexpectedRecord);
        assert_eq!(sequence.answered(0, 4, 5), out_of_turn);
        assert_eq!(sequence.answered(0, 6, 5), out_of_turn);
        sequence.leave(1);
        assert_eq!(sequence.answered(1, 1, 5), out_of_turn);
    }

    #[test]
    fn the_fed_come_before_the_live() {
        let mut sequence = Sequence::new();
        sequence.order(0b011, 1, 0);
        sequence.order(0b011, 1, 0);
        sequence.fed(2, 1, 1, 0);
        sequence.fed(2, 1, 1, 0);
        sequence.go_live(2);
        // It never was sent request 2.
        assert!(sequence.is_done(2, 2));
        sequence.order(0b111, 1, 0);
        assert!(!sequence.is_done(2, 3));
        assert_eq!(sequence.lane(2).replays(), 2);
        for number in [1, 1, 3] {
            sequence.answered(2, number, 0).unwrap();
        }
        assert_eq!((sequence.lane(2).replays(), sequence.position(2)), (0, 3));
        assert!(sequence.is_done(2, 3));
    }

    #[test]
    fn a_lane_is_full_by_number_and_by_bytes() {
        let mut sequence = Sequence::new();
        for _ in 0..BEHIND_REQUESTS {
            assert!(!sequence.lane(0).is_full(0));
            sequence.order(0b001, 0, 0);
        }
        assert!(sequence.lane(0).is_full(0) && !sequence.lane(1).is_full(QUEUE_BYTES));
        sequence.order(0b010, QUEUE_BYTES, 0);
        assert!(sequence.lane(1).is_full(1));
    }
}
