//! The lives of the replicas' domains: who runs, who waits to begin anew, and what is to be done about it.
//!
//! ```text
//!  Unused
//!
//!  ──▶ Running ───── its turn, and all vote ─────▶ SteppingAside ── it stands aside: next life, at once ──┐
//!       ▲ ▲ │ ◀── ASIDE_MS are over, or another one's life ends ──┘ │                                     │
//!       │ │ └────────── condemned, or it died ──────┬───────────────┘                                     │
//!       │ └── the wait is over ─── BackingOff ◀─────┘                                                     │
//!       └─────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A life's end is announced at once, by the generation of the next one, so that the voter drops the old life; the
//! next one begins when the wait is over. No replica is asked about anything.
//!
//! From any of these the operator takes one out (`Excluded`; first it steps aside if others count on it), and starts its
//! next life when he includes it again: [`crate::operator`].

use heapless::Vec;
use resh_channel::config::{REPLICAS_MAX, Recovery, SERVICES_MAX};
use resh_channel::stats::{ReplicaState, VoterStats};
use resh_channel::supervision::{self, Doing};

use crate::rejuvenation::Rejuvenation;

/// How long a replica that is asked to stand aside may stay in sessions before it is left in peace, in
/// milliseconds. The voter takes it out at once, or not at all.
pub const ASIDE_MS: u64 = 2_000;

/// A life that begins later than this after it was announced is announced anew, in milliseconds: the time that
/// the voter gives it to begin counts from there.
pub const STALE_MS: u64 = 1_000;

/// What one replica's domain does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No service has a replica of that number. It is stopped.
    Unused,
    /// It runs.
    Running,
    /// It runs, and is to leave all sessions so that nobody notices its end.
    SteppingAside {
        /// When that has taken too long.
        until_ms: u64,
        /// What comes then.
        purpose: Purpose,
    },
    /// It is stopped. Its next life is announced already.
    BackingOff {
        /// Since when.
        since_ms: u64,
        /// When that begins.
        until_ms: u64,
    },
    /// It is stopped, until the operator includes it again.
    Excluded,
}

/// Why a replica steps aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To begin anew.
    Rejuvenation,
    /// To stay out.
    Exclusion,
}

/// What is to be done, in the order of the fields. The sets of replicas are bit masks.
#[must_use]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Actions {
    /// Domains to stop.
    pub stop: u8,
    /// [`Lives::words`] are to be written, and the voter is to be told.
    pub announce: bool,
    /// Domains to start from their entry.
    pub start: u8,
}

impl Actions {
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            stop: self.stop | other.stop,
            announce: self.announce || other.announce,
            start: self.start | other.start,
        }
    }
}

/// One replica's domain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    pub(crate) state: State,
    /// Which life it is in, or will be: counted from 1. 0 if it is unused.
    pub(crate) generation: u64,
    /// Since when it votes, as far as is known.
    pub(crate) voting_since_ms: Option<u64>,
    /// Whether it is in sessions, as far as is known.
    pub(crate) takes_part: bool,
    /// The wait after its next failure.
    pub(crate) wait_ms: u64,
}

/// The lives of all replicas' domains.
#[derive(Debug)]
pub struct Lives {
    pub(crate) lives: [Life; REPLICAS_MAX],
    /// The number of replicas of each service.
    pub(crate) services: Vec<usize, SERVICES_MAX>,
    pub(crate) first_wait_ms: u64,
    longest_wait_ms: u64,
    rejuvenation: Rejuvenation,
}

impl Lives {
    /// The domains that services need begin their first life: `services` has the number of replicas of each
    /// service, of which there are those with the lowest indices.
    pub fn begin(
        services: impl IntoIterator<Item = usize>,
        recovery: &Recovery,
        now_ms: u64,
    ) -> Self {
        let services: Vec<usize, SERVICES_MAX> = services.into_iter().take(SERVICES_MAX).collect();
        let rejuvenation =
            Rejuvenation::new(services.iter().copied(), recovery.rejuvenate_s, now_ms);
        let wait_ms = u64::from(recovery.back_off_ms);
        let life = |replica| {
            let used = replica < rejuvenation.replicas();
            Life {
                state: if used { State::Running } else { State::Unused },
                generation: u64::from(used),
                voting_since_ms: None,
                takes_part: false,
                wait_ms,
            }
        };
        Self {
            lives: core::array::from_fn(life),
            services,
            first_wait_ms: wait_ms,
            longest_wait_ms: u64::from(recovery.back_off_max_ms).max(wait_ms),
            rejuvenation,
        }
    }

    /// What is to be done at the start: the first lives are announced, and who is not needed stopped.
    pub fn first(&self) -> Actions {
        let unused = |replica: &usize| self.lives[*replica].state == State::Unused;
        let stop = (0..REPLICAS_MAX).filter(unused).fold(0, |mask, replica| mask | 1 << replica);
        Actions { stop, announce: true, start: 0 }
    }

    /// What a domain does. [`State::Unused`] for one that there is not.
    pub fn state(&self, replica: usize) -> State {
        self.lives.get(replica).map_or(State::Unused, |life| life.state)
    }

    /// Which life it is in, or will be: counted from 1. 0 for one that is unused.
    pub fn generation(&self, replica: usize) -> u64 {
        self.lives.get(replica).map_or(0, |life| life.generation)
    }

    /// The words of the region `supervision`.
    pub fn words(&self) -> [u64; supervision::WORDS] {
        let mut words = [0; supervision::WORDS];
        for (replica, life) in self.lives.iter().enumerate() {
            words[supervision::GENERATION + replica] = life.generation;
            let (directive, doing, wait_ms) = match life.state {
                State::Unused | State::Running => (supervision::TAKE_PART, Doing::Runs, 0),
                State::SteppingAside { .. } => (supervision::ASIDE, Doing::StepsAside, 0),
                State::BackingOff { since_ms, until_ms } => {
                    (supervision::TAKE_PART, Doing::BacksOff, until_ms.saturating_sub(since_ms))
                }
                State::Excluded => (supervision::ASIDE, Doing::Excluded, 0),
            };
            words[supervision::DIRECTIVE + replica] = directive;
            words[supervision::DOING + replica] = doing as u64;
            words[supervision::WAIT_MS + replica] = wait_ms;
        }
        words
    }

    /// The domain of `replica` cannot go on.
    pub fn died(&mut self, replica: usize, now_ms: u64) -> Actions {
        match self.state(replica) {
            State::Running | State::SteppingAside { .. } => self.end(replica, now_ms),
            // Stopped already; it is no harm to make sure.
            State::Unused | State::BackingOff { .. } | State::Excluded => {
                let stop = if replica < REPLICAS_MAX { 1 << replica } else { 0 };
                Actions { stop, ..Actions::default() }
            }
        }
    }

    /// The voter has published `stats`.
    pub fn observe(&mut self, stats: &VoterStats, now_ms: u64) -> Actions {
        let mut actions = Actions::default();
        for (replica, seen) in stats.replicas.iter().enumerate() {
            let Some(life) = self.lives.get_mut(replica) else { break };
            // What it says may be about an earlier life.
            let is_this_life = u64::from(seen.generation) == life.generation;
            life.takes_part = is_this_life
                && matches!(seen.state, ReplicaState::CatchingUp | ReplicaState::Voting);
            match (life.state, seen.state) {
                (State::Unused | State::BackingOff { .. } | State::Excluded, _) => {}
                _ if !is_this_life => life.voting_since_ms = None,
                (_, ReplicaState::Condemned) => actions = actions.and(self.end(replica, now_ms)),
                (State::SteppingAside { purpose, .. }, ReplicaState::Aside) => {
                    actions = actions.and(match purpose {
                        Purpose::Rejuvenation => {
                            self.rejuvenation.done(replica, now_ms);
                            self.renew(replica)
                        }
                        Purpose::Exclusion => self.take_out(replica),
                    });
                }
                (_, ReplicaState::Voting) => {
                    life.voting_since_ms.get_or_insert(now_ms);
                }
                _ => life.voting_since_ms = None,
            }
        }
        actions.and(self.pass(now_ms))
    }

    /// Time has passed.
    pub fn pass(&mut self, now_ms: u64) -> Actions {
        let mut actions = Actions::default();
        for (replica, life) in self.lives.iter_mut().enumerate() {
            match life.state {
                State::BackingOff { since_ms, until_ms } if until_ms <= now_ms => {
                    life.state = State::Running;
                    if now_ms.saturating_sub(since_ms) > STALE_MS {
                        life.generation += 1;
                    }
                    actions.announce = true;
                    actions.start |= 1 << replica;
                }
                State::SteppingAside { until_ms, .. } if until_ms <= now_ms => {
                    life.state = State::Running;
                    actions.announce = true;
                    self.rejuvenation.put_off(now_ms);
                }
                _ => {}
            }
        }
        if self.all_vote()
            && let Some(replica) = self.rejuvenation.due(now_ms)
        {
            actions = actions.and(self.step_aside(replica, Purpose::Rejuvenation, now_ms));
        }
        actions
    }

    fn all_vote(&self) -> bool {
        let votes = |life: &Life| life.state == State::Running && life.voting_since_ms.is_some();
        self.lives[..self.rejuvenation.replicas()].iter().all(votes)
    }

    /// A domain that runs is to leave all sessions.
    pub(crate) fn step_aside(&mut self, replica: usize, purpose: Purpose, now_ms: u64) -> Actions {
        let until_ms = now_ms.saturating_add(ASIDE_MS);
        self.lives[replica].state = State::SteppingAside { until_ms, purpose };
        Actions { announce: true, ..Actions::default() }
    }

    /// When [`Self::pass`] has something to do next, unless [`Self::observe`] has before: later than it was
    /// called.
    pub fn next_ms(&self) -> Option<u64> {
        let waits = self.lives.iter().filter_map(|life| match life.state {
            State::BackingOff { until_ms, .. } | State::SteppingAside { until_ms, .. } => {
                Some(until_ms)
            }
            State::Unused | State::Running | State::Excluded => None,
        });
        // One that is due waits for all to vote, not for a time.
        let rejuvenation = self.rejuvenation.next_ms().filter(|_| self.all_vote());
        waits.chain(rejuvenation).min()
    }

    /// The life of a domain that runs has ended by a failure.
    fn end(&mut self, replica: usize, now_ms: u64) -> Actions {
        for life in &mut self.lives {
            // Nobody else leaves meanwhile.
            if matches!(life.state, State::SteppingAside { .. }) {
                life.state = State::Running;
                self.rejuvenation.put_off(now_ms);
            }
        }
        let life = &mut self.lives[replica];
        // Who was well for as long as the longest wait begins with the shortest again.
        let was_well = |since_ms| now_ms.saturating_sub(since_ms) >= self.longest_wait_ms;
        if life.voting_since_ms.is_some_and(was_well) {
            life.wait_ms = self.first_wait_ms;
        }
        let until_ms = now_ms.saturating_add(life.wait_ms);
        life.state = State::BackingOff { since_ms: now_ms, until_ms };
        life.wait_ms = (life.wait_ms * 2).min(self.longest_wait_ms);
        life.generation += 1;
        life.voting_since_ms = None;
        life.takes_part = false;
        Actions { stop: 1 << replica, announce: true, start: 0 }
    }

    /// A domain is ended, and begins its next life.
    pub(crate) fn renew(&mut self, replica: usize) -> Actions {
        let life = &mut self.lives[replica];
        life.state = State::Running;
        life.generation += 1;
        life.voting_since_ms = None;
        life.takes_part = false;
        Actions { stop: 1 << replica, announce: true, start: 1 << replica }
    }

    /// A domain that is in no session is ended, and stays out.
    pub(crate) fn take_out(&mut self, replica: usize) -> Actions {
        let life = &mut self.lives[replica];
        life.state = State::Excluded;
        life.voting_since_ms = None;
        life.takes_part = false;
        Actions { stop: 1 << replica, announce: true, start: 0 }
    }
}
