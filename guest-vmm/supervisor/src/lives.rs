//! Which replicas' domains live.

use resh_channel::config::REPLICAS_MAX;
use resh_channel::stats::{ReplicaState, VoterStats};

/// What the voter is told of a domain that does not live. Lives are counted from 1.
const NO_LIFE: u64 = 0;

/// One replica's domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// No service has a replica of that number.
    Unused,
    /// It runs.
    Running {
        /// Which life of the domain this is.
        generation: u64,
    },
    /// The voter condemned it and it was stopped. The voter still knows it by its generation.
    Condemned {
        /// Which life of the domain this was.
        generation: u64,
    },
    /// It died by a fault.
    Dead,
}

/// The lives of all replicas' domains.
#[derive(Debug)]
pub struct Lives {
    lives: [Life; REPLICAS_MAX],
}

impl Lives {
    /// The domains of the first `needed` replicas begin their first life.
    pub fn begin(needed: usize) -> Self {
        let life = |replica| match replica < needed {
            true => Life::Running { generation: 1 },
            false => Life::Unused,
        };
        Self { lives: core::array::from_fn(life) }
    }

    /// Whether a service needs the domain of this replica.
    pub fn is_used(&self, replica: usize) -> bool {
        self.lives.get(replica).is_some_and(|life| *life != Life::Unused)
    }

    /// What the voter is to read in `supervision`, for each replica.
    pub fn generations(&self) -> [u64; REPLICAS_MAX] {
        self.lives.map(|life| match life {
            Life::Running { generation } | Life::Condemned { generation } => generation,
            Life::Unused | Life::Dead => NO_LIFE,
        })
    }

    /// The domain of `replica` stopped by a fault. Returns whether the voter must be told, which is so if
    /// it lived.
    pub fn died(&mut self, replica: usize) -> bool {
        match self.lives.get_mut(replica) {
            Some(life @ (Life::Running { .. } | Life::Condemned { .. })) => {
                *life = Life::Dead;
                true
            }
            _ => false,
        }
    }

    /// The next domain to stop, because the voter has condemned the life it is in.
    pub fn next_condemned(&mut self, stats: &VoterStats) -> Option<usize> {
        let verdicts = self.lives.iter_mut().zip(&stats.replicas).enumerate();
        for (replica, (life, seen)) in verdicts {
            // The verdict may be on an earlier life.
            if let Life::Running { generation } = *life
                && seen.state == ReplicaState::Condemned
                && u64::from(seen.generation) == generation
            {
                *life = Life::Condemned { generation };
                return Some(replica);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use resh_channel::stats::ReplicaStats;

    use super::*;
    use ReplicaState::{Condemned, Voting};

    fn stats(replicas: [(ReplicaState, u32); 3]) -> VoterStats {
        let seen =
            |(state, generation)| ReplicaStats { state, generation, ..ReplicaStats::default() };
        VoterStats { replicas: replicas.map(seen).into_iter().collect(), ..VoterStats::default() }
    }

    #[test]
    fn only_what_a_service_needs_is_announced() {
        let lives = Lives::begin(2);
        assert_eq!(lives.generations(), [1, 1, 0]);
        assert!(lives.is_used(1) && !lives.is_used(2) && !lives.is_used(3));
    }

    #[test]
    fn a_death_is_announced_once_and_touches_nobody_else() {
        let mut lives = Lives::begin(3);
        assert!(lives.died(1));
        assert_eq!(lives.generations(), [1, 0, 1]);
        assert!(!lives.died(1), "dead already");
        assert!(!lives.died(3), "no replica");
        assert_eq!(lives.generations(), [1, 0, 1]);
        // The voter condemns nobody who is not there, whatever it says.
        assert_eq!(lives.next_condemned(&stats([(Voting, 1), (Condemned, 1), (Voting, 1)])), None);
    }

    #[test]
    fn the_condemned_are_stopped_once_and_keep_their_generation() {
        let mut lives = Lives::begin(3);
        let seen = stats([(Condemned, 1), (Voting, 1), (Condemned, 1)]);
        assert_eq!(lives.next_condemned(&seen), Some(0));
        assert_eq!(lives.next_condemned(&seen), Some(2));
        assert_eq!(lives.next_condemned(&seen), None);
        assert_eq!(lives.generations(), [1, 1, 1], "the voter still shows why");
    }

    #[test]
    fn a_verdict_on_another_life_stops_nobody() {
        let mut lives = Lives::begin(3);
        let seen = stats([(Condemned, 0), (Condemned, 2), (Voting, 1)]);
        assert_eq!(lives.next_condemned(&seen), None);
    }

    #[test]
    fn an_unused_domain_neither_dies_nor_is_condemned() {
        let mut lives = Lives::begin(1);
        assert!(!lives.died(2));
        let seen = stats([(Voting, 1), (Condemned, 0), (Condemned, 1)]);
        assert_eq!(lives.next_condemned(&seen), None);
    }
}
