//! What the tests of every stack share: memory, a voter to talk to, and the suite itself.
#![allow(dead_code, unreachable_pub, unused_imports, unused_macros)] // Each test program uses its part.

pub mod suite;
pub mod udp;
pub mod voter;

use resh_channel::memory::{AtomicU64, Words};
use resh_channel::message::MAX_PAYLOAD_BYTES;
use resh_channel::ring::{Consumer, DATA_WORD, Producer};

use resh_channel::window::{SLOT_BYTES, VOTER_SLOTS};

/// A small, fast generator of numbers (xorshift64*), so that a seed tells the whole test.
#[derive(Clone)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// Byte `offset` of the stream number `stream`: what is expected can be told without storing it.
pub fn pattern(stream: u64, offset: u64) -> u8 {
    let x = (offset / 8).wrapping_add(stream << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (x >> (8 * (offset % 8))) as u8 ^ (x >> 56) as u8
}

/// Bytes `from..to` of the stream number `stream`.
pub fn patterns(stream: u64, from: u64, to: u64) -> Vec<u8> {
    (from..to).map(|offset| pattern(stream, offset)).collect()
}

/// Words of a ring that is as small as it may be.
pub const RING_WORDS: usize = DATA_WORD + 2 * (MAX_PAYLOAD_BYTES / 8 + 3);

/// The regions between network and voter.
pub struct Memory {
    n2v: Vec<AtomicU64>,
    n2v_cursor: Vec<AtomicU64>,
    v2n: Vec<AtomicU64>,
    v2n_cursor: Vec<AtomicU64>,
    window: Vec<AtomicU64>,
}

/// Both ends of them.
pub struct Ends<'m> {
    pub to_voter: Producer<'m>,
    pub from_voter: Consumer<'m>,
    pub window: &'m Words,
    pub voter: voter::Voter<'m>,
}

fn words(count: usize) -> Vec<AtomicU64> {
    std::iter::repeat_with(|| AtomicU64::new(0)).take(count).collect()
}

impl Memory {
    /// With rings as small as they may be, and a window for so many clients' sessions.
    pub fn new(slots: usize) -> Self {
        Self {
            n2v: words(RING_WORDS),
            n2v_cursor: words(512),
            v2n: words(RING_WORDS),
            v2n_cursor: words(512),
            window: words((slots + VOTER_SLOTS) * SLOT_BYTES / 8),
        }
    }

    pub fn ends(&self, rng: Rng) -> Ends<'_> {
        let to_voter = Producer::with_reader(&self.n2v, &self.n2v_cursor).unwrap();
        let from_voter = Consumer::new(&self.v2n, &self.v2n_cursor, 0).unwrap();
        let to_network = Producer::with_reader(&self.v2n, &self.v2n_cursor).unwrap();
        let from_network = Consumer::new(&self.n2v, &self.n2v_cursor, 0).unwrap();
        let voter = voter::Voter::new(to_network, from_network, &self.window, rng);
        Ends { to_voter, from_voter, window: &self.window, voter }
    }
}
