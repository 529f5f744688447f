//! What the tests of `http1` share: random numbers that can be repeated, a strict reader of what goes
//! to the client, and a network with a replica at its end.
#![allow(dead_code)] // each test file uses its part

pub(crate) mod dialect;
pub(crate) mod network;
pub(crate) mod servers;
pub(crate) mod strict;
pub(crate) mod tcp;

/// A small generator (xorshift64*): the same seed gives the same run.
#[derive(Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n.max(1)
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// Cases of a long test: `RESH_FUZZ_CASES`, or `default`.
pub(crate) fn cases(default: u64) -> u64 {
    std::env::var("RESH_FUZZ_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// Text for a failure message.
pub(crate) fn show(bytes: &[u8]) -> String {
    let shown: String =
        bytes.iter().take(3000).flat_map(|b| b.escape_ascii()).map(char::from).collect();
    shown.replace("\\r\\n", "\\r\\n\n")
}

/// Changes a stream in a few places.
pub(crate) fn mutate(rng: &mut Rng, stream: &mut Vec<u8>) {
    for _ in 0..1 + rng.below(4) {
        if stream.is_empty() {
            return;
        }
        // Most of the time within the first head.
        let reach = if rng.one_in(2) { stream.len().min(300) } else { stream.len() };
        let at = rng.below(reach);
        match rng.below(7) {
            0 => stream[at] = rng.next() as u8,
            1 => drop(stream.remove(at)),
            2 => stream.insert(at, b"\r\n \t:;,/%\0\"\\?-=0123456789abcdefHTP*"[rng.below(35)]),
            3 => stream.truncate(at),
            4 => {
                let end = (at + 1 + rng.below(20)).min(stream.len());
                let copy = stream[at..end].to_vec();
                let to = rng.below(reach);
                stream.splice(to..to, copy);
            }
            5 => {
                let line = rng.pick(&[
                    "\r\nContent-Length: 5",
                    "\r\nTransfer-Encoding: chunked",
                    "\r\nHost: b",
                    "\r\n x",
                    "\r\nExpect: 100-continue",
                    "\r\nConnection: close",
                    "\r\nRange: bytes=0-0",
                    "\r\n",
                    "\r\nConnection: host",
                    "\r\nContent-Length: +1",
                    "\r\nTE: trailers",
                    "\r\nX:",
                    "\r\nIf-Match: \"a\"",
                    "\r\nContent-Range: bytes 0-1/2",
                    " HTTP/1.1",
                    "\n\n",
                ]);
                // Where a line ends, so that the head stays one.
                let at = stream[at..].windows(2).position(|w| w == b"\r\n").map_or(at, |n| at + n);
                stream.splice(at..at, line.bytes());
            }
            _ => {
                let end = (at + 1 + rng.below(50)).min(stream.len());
                stream.drain(at..end);
            }
        }
    }
}
