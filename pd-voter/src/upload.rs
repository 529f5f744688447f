//! One session's request stream: how far it went, and who holds it back.

use resh_channel::config::REPLICAS_MAX;
use resh_channel::stats::Condemnation;
use resh_channel::window::{CREDIT_STEP_BYTES, REQUEST_CREDIT_BYTES};

const AHEAD: u64 = REQUEST_CREDIT_BYTES as u64;
const STEP: u64 = CREDIT_STEP_BYTES as u64;

/// The request stream of one session.
#[derive(Clone, Debug)]
pub struct Upload {
    pushed: u64,
    fin: bool,
    credit: u64,
    taken: [u64; REPLICAS_MAX],
    /// We ourselves hold what comes after this position.
    held: u64,
}

impl Upload {
    /// A new stream.
    pub fn new() -> Self {
        Self { pushed: 0, fin: false, credit: AHEAD, taken: [0; REPLICAS_MAX], held: u64::MAX }
    }

    /// Position up to which the network may send.
    pub fn credit(&self) -> u64 {
        self.credit
    }

    /// Bytes that were multicast.
    pub fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Whether the client has ended its stream.
    pub fn fin(&self) -> bool {
        self.fin
    }

    /// Whether `len` bytes at `offset` are what comes next, within the credit.
    pub fn accepts(&self, offset: u64, len: usize) -> bool {
        let end = offset.checked_add(len as u64);
        !self.fin && offset == self.pushed && end.is_some_and(|end| end <= self.credit)
    }

    /// So many bytes more were multicast.
    pub fn push(&mut self, len: usize) {
        self.pushed += len as u64;
    }

    /// The client has ended its stream.
    pub fn end(&mut self) {
        self.fin = true;
    }

    /// `replica` has consumed request bytes up to `offset`.
    ///
    /// # Errors
    /// It claims what was never sent, or less than before.
    pub fn take(&mut self, replica: usize, offset: u64) -> Result<(), Condemnation> {
        if offset < self.taken[replica] || offset > self.pushed {
            return Err(Condemnation::WrongOffset);
        }
        self.taken[replica] = offset;
        Ok(())
    }

    /// `replica` begins with what comes next.
    pub fn admit(&mut self, replica: usize) {
        self.taken[replica] = self.pushed;
    }

    /// We ourselves hold what comes after `offset`, and have room for as much as a replica.
    pub fn hold(&mut self, offset: u64) {
        self.held = offset;
    }

    /// Extends the credit if that is worth telling, where `counts` says for whom we wait.
    pub fn extend_credit(&mut self, counts: impl Fn(usize) -> bool) -> bool {
        let slowest = (0..REPLICAS_MAX).filter(|at| counts(*at)).map(|at| self.taken[at]).min();
        let Some(slowest) = slowest.map(|slowest| slowest.min(self.held)) else { return false };
        let extend = !self.fin && slowest + AHEAD >= self.credit + STEP;
        if extend {
            self.credit = slowest + AHEAD;
        }
        extend
    }

    /// The replica that alone keeps the credit from being extended, while the client has used it up and
    /// `quorum` replicas have consumed enough.
    pub fn held_back_by(&self, quorum: usize, counts: impl Fn(usize) -> bool) -> Option<usize> {
        let enough = |at: &usize| self.taken[*at] + AHEAD >= self.credit + STEP;
        let waiting = || (0..REPLICAS_MAX).filter(|at| counts(*at));
        let held = self.held < u64::MAX && self.held + AHEAD < self.credit + STEP;
        if held
            || self.fin
            || self.pushed < self.credit
            || waiting().filter(enough).count() < quorum
        {
            return None;
        }
        waiting().filter(|at| !enough(at)).min_by_key(|at| self.taken[*at])
    }

    /// Whether `replica` may lack room for what the credit allows. Only those for whom we do not wait
    /// can.
    pub fn overruns(&self, replica: usize) -> bool {
        self.taken[replica] + AHEAD < self.credit
    }
}

impl Default for Upload {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_follows_the_slowest() {
        let mut upload = Upload::new();
        assert!(upload.accepts(0, AHEAD as usize) && !upload.accepts(0, AHEAD as usize + 1));
        assert!(!upload.accepts(1, 1) && !upload.accepts(u64::MAX, 1));
        upload.push(AHEAD as usize);
        assert_eq!(upload.take(0, AHEAD + 1), Err(Condemnation::WrongOffset));
        assert_eq!(upload.take(0, AHEAD), Ok(()));
        assert_eq!(upload.take(0, AHEAD - 1), Err(Condemnation::WrongOffset));
        assert_eq!(upload.held_back_by(2, |_| true), None);
        assert_eq!(upload.take(1, AHEAD), Ok(()));
        assert!(!upload.extend_credit(|_| true));
        assert_eq!(upload.held_back_by(2, |_| true), Some(2));
        assert_eq!(upload.take(2, STEP - 1), Ok(()));
        assert!(!upload.extend_credit(|_| true));
        assert_eq!(upload.take(2, STEP), Ok(()));
        assert_eq!(upload.held_back_by(2, |_| true), None);
        assert!(upload.extend_credit(|_| true));
        assert_eq!(upload.credit(), AHEAD + STEP);
        assert!(!upload.overruns(2));
        assert!(upload.extend_credit(|at| at != 2));
        assert!(upload.overruns(2) && !upload.overruns(1));
    }

    #[test]
    fn who_is_admitted_holds_nobody_back() {
        let mut upload = Upload::new();
        upload.push(AHEAD as usize);
        for replica in 0..2 {
            assert_eq!(upload.take(replica, AHEAD), Ok(()));
        }
        upload.admit(2);
        assert_eq!(upload.held_back_by(2, |_| true), None);
        assert!(upload.extend_credit(|_| true));
        assert_eq!(upload.credit(), 2 * AHEAD);
        assert!(!upload.overruns(2));
        assert_eq!(upload.take(2, AHEAD - 1), Err(Condemnation::WrongOffset));
    }

    #[test]
    fn an_ended_stream_holds_nobody() {
        let mut upload = Upload::new();
        upload.push(AHEAD as usize);
        upload.end();
        assert_eq!(upload.take(0, AHEAD), Ok(()));
        assert_eq!(upload.take(1, AHEAD), Ok(()));
        assert_eq!(upload.held_back_by(2, |_| true), None);
        assert!(!upload.accepts(AHEAD, 0));
    }
}
