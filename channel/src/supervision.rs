//! The words of the region `supervision`, which the supervisor alone writes. Word `i` of each kind is of
//! replica `i`.

use crate::config::REPLICAS_MAX;

/// First of the words with the generations of the replicas' domains: which life each is in, counted from 1. 0: none.
pub const GENERATION: usize = 0;
/// First of the words that say whether a replica is to [stand aside](ASIDE).
pub const DIRECTIVE: usize = REPLICAS_MAX;
/// Number of words.
pub const WORDS: usize = 2 * REPLICAS_MAX;

/// Directive: take part.
pub const TAKE_PART: u64 = 0;
/// Directive: stand aside, so that the domain can be ended without anybody noticing.
pub const ASIDE: u64 = 1;
