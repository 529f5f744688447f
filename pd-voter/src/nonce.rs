//! Numbers that nobody can foresee, the same for all replicas.

use resh_channel::message::Nonce;
use sha2::{Digest, Sha256};

/// Where nonces come from: SHA-256 (FIPS 180-4) of a secret seed, the time and a count.
pub struct Nonces {
    seed: [u8; 32],
    count: u64,
}

impl Nonces {
    /// Nonces from a secret.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed, count: 0 }
    }

    /// Another one, also after a restart with the same seed, if the clock has gone on.
    pub fn next(&mut self, clock_s: u32, now_ms: u64) -> Nonce {
        self.count += 1;
        let digest = Sha256::new()
            .chain_update(self.seed)
            .chain_update(clock_s.to_le_bytes())
            .chain_update(now_ms.to_le_bytes())
            .chain_update(self.count.to_le_bytes())
            .finalize();
        core::array::from_fn(|at| digest[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_alike() {
        let mut nonces = Nonces::new([7; 32]);
        let mut other = Nonces::new([8; 32]);
        let all = [
            nonces.next(1, 2),
            nonces.next(1, 2),
            other.next(1, 2),
            Nonces::new([7; 32]).next(2, 2),
            Nonces::new([7; 32]).next(1, 3),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all[at + 1..].iter().all(|another| one != another));
        }
    }
}
