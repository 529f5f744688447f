//! How fast the voter's core is: the same 64 MiB from three replicas, through the vote and through a
//! plain loop that copies one stream and compares two. Interleaved, median of seven.
//!
//! `cargo run --release -p pd-voter --example core_bench`

use std::hint::black_box;
use std::time::Instant;

use pd_voter::session::GEOMETRY;
use pd_voter::slot::Slot;
use pd_voter::vote::{Findings, Vote};
use resh_channel::memory::{AtomicU64, Bytes, WORD_BYTES, copy_in};
use resh_channel::window::{SLOT_BYTES, WINDOW_BYTES};

const TOTAL_BYTES: usize = 64 << 20;
/// The part of a reply ring that is in use when a session runs at its credit.
const STREAM_BYTES: usize = 256 << 10;
const ROUNDS: usize = 7;

/// Seconds of `work`.
fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// The three streams, each in shared memory of its own.
type Streams = [Vec<AtomicU64>; 3];

fn vote(streams: &Streams, region: &mut [u8], record_bytes: usize) {
    let mut vote = Vote::new(0b111, 2, GEOMETRY);
    let mut slot = Slot::new(region, 0);
    let mut findings = Findings::new();
    for position in (0..TOTAL_BYTES).step_by(record_bytes) {
        let first = position % STREAM_BYTES / WORD_BYTES;
        for (replica, words) in streams.iter().enumerate() {
            let record = Bytes::new(&words[first..], record_bytes);
            vote.data(replica, position as u64, record, &mut slot, &mut findings)
                .expect("within the credit");
        }
        vote.take(vote.released());
        vote.extend_credit();
    }
    assert_eq!(vote.released(), TOTAL_BYTES as u64);
    assert!(findings.is_empty());
}

fn plain(streams: &[Vec<u8>; 3], region: &mut [u8], record_bytes: usize) {
    for position in (0..TOTAL_BYTES).step_by(record_bytes) {
        let first = position % STREAM_BYTES;
        let [a, b, c] = streams.each_ref().map(|bytes| &bytes[first..first + record_bytes]);
        let at = position % WINDOW_BYTES;
        let copy = &mut region[at..at + record_bytes];
        copy.copy_from_slice(black_box(a));
        assert!(*copy == *black_box(b) && *copy == *black_box(c));
    }
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

fn main() {
    let bytes: Vec<u8> =
        (0..STREAM_BYTES as u32).map(|n| (n.wrapping_mul(2654435761) >> 24) as u8).collect();
    let shared = || {
        let words: Vec<AtomicU64> =
            (0..STREAM_BYTES / WORD_BYTES).map(|_| AtomicU64::new(0)).collect();
        copy_in(&words, &bytes);
        words
    };
    let streams = [shared(), shared(), shared()];
    let copies = [bytes.clone(), bytes.clone(), bytes.clone()];
    let mut region = vec![0; SLOT_BYTES];
    println!("record     vote   plain loop   ratio   (GB/s of agreed bytes, median of {ROUNDS})");
    for record_bytes in [1 << 10, 4 << 10, 32 << 10] {
        let (mut votes, mut plains) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            votes.push(seconds(|| vote(&streams, &mut region, record_bytes)));
            plains.push(seconds(|| plain(&copies, &mut region, record_bytes)));
        }
        let gigabytes = TOTAL_BYTES as f64 / 1e9;
        let (vote_rate, plain_rate) = (gigabytes / median(votes), gigabytes / median(plains));
        println!(
            "{:>4} KiB {vote_rate:>6.2} {plain_rate:>12.2} {:>7.2}",
            record_bytes >> 10,
            vote_rate / plain_rate
        );
    }
}
