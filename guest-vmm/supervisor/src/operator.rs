//! What an operator may do to the replicas' domains.

use crate::lives::{Actions, Lives, Purpose, State};
use crate::rejuvenation::quorum;

/// Why the operator's wish is not granted. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No service has a replica of that number.
    Unused,
    /// Without it this service would have no quorum.
    Needed {
        /// Its number.
        service: usize,
    },
    /// It is excluded already, or has to be included first.
    Excluded,
    /// It is not excluded.
    NotExcluded,
    /// This replica steps aside at the moment.
    StepsAside {
        /// Its number.
        replica: usize,
    },
}

impl Lives {
    /// Takes `replica` out until it is [included](Self::include) again. If it is in sessions it steps aside first, which
    /// [`state`](Self::state) shows: it is [`State::Excluded`] in the end, or runs as before.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn exclude(&mut self, replica: usize, now_ms: u64) -> Result<Actions, Refusal> {
        self.leaves(replica)?;
        let life = &mut self.lives[replica];
        Ok(match life.state {
            State::Running if life.takes_part => {
                self.step_aside(replica, Purpose::Exclusion, now_ms)
            }
            State::Running => {
                // What it was about to begin is dropped.
                life.generation += 1;
                self.take_out(replica)
            }
            _ => self.take_out(replica),
        })
    }

    /// Lets an excluded replica begin its next life.
    ///
    /// # Errors
    /// [`Refusal::Unused`], [`Refusal::NotExcluded`].
    pub fn include(&mut self, replica: usize) -> Result<Actions, Refusal> {
        match self.state(replica) {
            State::Unused => Err(Refusal::Unused),
            State::Excluded => {
                self.lives[replica].wait_ms = self.first_wait_ms;
                Ok(self.renew(replica))
            }
            _ => Err(Refusal::NotExcluded),
        }
    }

    /// Lets `replica` begin its next life now. If it is in sessions it steps aside first.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn rejuvenate(&mut self, replica: usize, now_ms: u64) -> Result<Actions, Refusal> {
        self.leaves(replica)?;
        let life = &self.lives[replica];
        Ok(if life.state == State::Running && life.takes_part {
            self.step_aside(replica, Purpose::Rejuvenation, now_ms)
        } else {
            self.renew(replica)
        })
    }

    /// Whether it may leave.
    fn leaves(&self, replica: usize) -> Result<(), Refusal> {
        match self.state(replica) {
            State::Unused => return Err(Refusal::Unused),
            State::Excluded => return Err(Refusal::Excluded),
            _ => {}
        }
        let steps = |life: &crate::lives::Life| matches!(life.state, State::SteppingAside { .. });
        if let Some(replica) = self.lives.iter().position(steps) {
            return Err(Refusal::StepsAside { replica });
        }
        match self.needs(replica) {
            Some(service) => Err(Refusal::Needed { service }),
            None => Ok(()),
        }
    }

    /// The first service that has a quorum with `replica` and none without it.
    fn needs(&self, replica: usize) -> Option<usize> {
        let votes = |at: &usize| self.lives[*at].voting_since_ms.is_some();
        self.services.iter().position(|&replicas| {
            let voting = (0..replicas.min(self.lives.len())).filter(votes).count();
            replica < replicas && votes(&replica) && voting == quorum(replicas)
        })
    }
}
