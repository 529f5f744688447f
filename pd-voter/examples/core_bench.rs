//! How fast the voter's core is: the same 64 MiB from three replicas, through the vote and through plain
//! loops that copy one stream and compare two. Interleaved, median of seven.
//!
//! `cargo run --release -p pd-voter --example core_bench`

use std::hint::black_box;
use std::sync::atomic::Ordering::Relaxed;

use pd_voter::session::GEOMETRY;
use pd_voter::slot::Slot;
use pd_voter::vote::{Findings, Vote};
use resh_channel::memory::{AtomicU64, Bytes, WORD_BYTES, copy_in};
use resh_channel::window::{SLOT_BYTES, WINDOW_BYTES};
use rustix::time::{ClockId, clock_gettime};

const TOTAL_BYTES: usize = 64 << 20;
/// The part of a reply ring that is in use when a session runs at its credit.
const STREAM_BYTES: usize = 256 << 10;
const ROUNDS: usize = 7;

/// Seconds of processor time that `work` takes.
fn seconds(work: impl FnOnce()) -> f64 {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let start = now();
    work();
    now() - start
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

/// Copies a record from shared memory.
fn copy(record: &[AtomicU64], to: &mut [u8]) {
    for (to, word) in to.chunks_exact_mut(WORD_BYTES).zip(record) {
        to.copy_from_slice(&word.load(Relaxed).to_ne_bytes());
    }
}

/// Compares a record in shared memory.
fn compare(record: &[AtomicU64], with: &[u8]) {
    for (with, word) in with.chunks_exact(WORD_BYTES).zip(record) {
        assert!(*with == word.load(Relaxed).to_ne_bytes());
    }
}

/// A plain loop over the same shared memory: one record after the other.
fn records(streams: &Streams, region: &mut [u8], record_bytes: usize) {
    for position in (0..TOTAL_BYTES).step_by(record_bytes) {
        let first = position % STREAM_BYTES / WORD_BYTES;
        let window = &mut region[position % WINDOW_BYTES..][..record_bytes];
        let [a, b, c] =
            streams.each_ref().map(|words| &words[first..][..record_bytes / WORD_BYTES]);
        copy(a, window);
        compare(b, window);
        compare(c, window);
    }
}

/// The same with all three at once, as no voter can have them.
fn at_once(streams: &Streams, region: &mut [u8], record_bytes: usize) {
    for position in (0..TOTAL_BYTES).step_by(record_bytes) {
        let first = position % STREAM_BYTES / WORD_BYTES;
        let window = &mut region[position % WINDOW_BYTES..][..record_bytes];
        let [a, b, c] =
            streams.each_ref().map(|words| &words[first..][..record_bytes / WORD_BYTES]);
        for (((to, a), b), c) in window.chunks_exact_mut(WORD_BYTES).zip(a).zip(b).zip(c) {
            let a = a.load(Relaxed);
            to.copy_from_slice(&a.to_ne_bytes());
            assert!(a == b.load(Relaxed) && a == c.load(Relaxed));
        }
    }
}

/// The same from ordinary memory, with `memcpy` and `memcmp`.
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
    println!("GB/s of agreed bytes, median of {ROUNDS}, and the vote's share of it");
    println!("record     vote   record by record   all at once    memcpy, memcmp");
    for record_bytes in [1 << 10, 4 << 10, 32 << 10] {
        let mut times = [const { Vec::new() }; 4];
        for _ in 0..ROUNDS {
            times[0].push(seconds(|| vote(&streams, &mut region, record_bytes)));
            times[1].push(seconds(|| records(&streams, &mut region, record_bytes)));
            times[2].push(seconds(|| at_once(&streams, &mut region, record_bytes)));
            times[3].push(seconds(|| plain(&copies, &mut region, record_bytes)));
        }
        let [vote, others @ ..] = times.map(|times| TOTAL_BYTES as f64 / 1e9 / median(times));
        print!("{:>2} KiB   {vote:>6.2}     ", record_bytes >> 10);
        for other in others {
            print!("{other:>6.2} {:>4.0} %    ", 100.0 * vote / other);
        }
        println!();
    }
}
