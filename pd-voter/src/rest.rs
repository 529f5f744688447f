//! Where the replicas of a session said that they rest: all requests answered in full, and in the state of a
//! new session. Where a quorum rests at the present position, another replica can begin.

use resh_channel::config::REPLICAS_MAX;
use resh_channel::stats::Condemnation;

/// A position in both streams of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// In the request stream, in bytes.
    pub request: u64,
    /// In the reply stream, in bytes.
    pub reply: u64,
}

/// Where each replica of one session rested last.
#[derive(Clone, Debug, Default)]
pub struct Rests([Option<Position>; REPLICAS_MAX]);

impl Rests {
    /// `replica` said that it rests.
    ///
    /// # Errors
    /// It said so of a later request before.
    pub fn note(&mut self, replica: usize, at: Position) -> Result<(), Condemnation> {
        if self.0[replica].is_some_and(|last| at.request < last.request) {
            return Err(Condemnation::WrongOffset);
        }
        self.0[replica] = Some(at);
        Ok(())
    }

    /// `replica` begins there, whatever one before it said.
    pub fn begin(&mut self, replica: usize, at: Position) {
        self.0[replica] = Some(at);
    }

    /// How many of those that `count` rest at `at`.
    pub fn resting(&self, at: Position, counts: impl Fn(usize) -> bool) -> usize {
        let rests = |replica: &usize| self.0[*replica] == Some(at) && counts(*replica);
        (0..REPLICAS_MAX).filter(rests).count()
    }
}
