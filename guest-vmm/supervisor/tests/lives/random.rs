//! Pseudo-random numbers from a seed that a failing test prints.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// True once in `n`.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// Runs `case` for many seeds: `RESH_CASES` of them, or `default`. `RESH_SEED` is the first.
pub fn for_each_seed(default: u64, case: impl Fn(u64)) {
    let from_env = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let cases = from_env("RESH_CASES").unwrap_or(default);
    let first: u64 = from_env("RESH_SEED").unwrap_or(1);
    for seed in first..first + cases {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case(seed)));
        if let Err(panic) = outcome {
            eprintln!("failing seed: run with RESH_CASES=1 RESH_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
