//! The words of the region `supervision`, which the supervisor alone writes. Word `i` of each kind is of
//! replica `i`.

use crate::config::REPLICAS_MAX;

/// First of the words with the generations of the replicas' domains: which life each is in, counted from 1. 0: none.
pub const GENERATION: usize = 0;
/// First of the words that say whether a replica is to [stand aside](ASIDE).
pub const DIRECTIVE: usize = REPLICAS_MAX;
/// First of the words that say what the supervisor does with a replica, for the operator: a [`Doing`].
pub const DOING: usize = 2 * REPLICAS_MAX;
/// First of the words with the wait of a replica that [backs off](Doing::BacksOff), from its beginning to its end, in
/// milliseconds. 0 for any other.
pub const WAIT_MS: usize = 3 * REPLICAS_MAX;
/// Number of words.
pub const WORDS: usize = 4 * REPLICAS_MAX;

/// Directive: take part.
pub const TAKE_PART: u64 = 0;
/// Directive: stand aside, so that the domain can be ended without anybody noticing.
pub const ASIDE: u64 = 1;

/// What the supervisor does with a replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u64)]
pub enum Doing {
    /// It lets its domain run, if there is one.
    #[default]
    Runs = 0,
    /// It waits until the replica stands aside.
    StepsAside = 1,
    /// It waits before it starts the domain anew.
    BacksOff = 2,
    /// It has the replica's servers started anew.
    Restarts = 3,
    /// It leaves the replica out, as the operator said.
    Excluded = 4,
}

impl Doing {
    /// What that word says. [`Doing::Runs`] if it says nothing that there is.
    #[must_use]
    pub fn from_word(word: u64) -> Self {
        [Self::Runs, Self::StepsAside, Self::BacksOff, Self::Restarts, Self::Excluded]
            .into_iter()
            .find(|doing| *doing as u64 == word)
            .unwrap_or_default()
    }
}
