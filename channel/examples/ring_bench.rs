//! What a record costs, and how fast bytes go in and out of shared memory.
//!
//! `cargo run --release -p resh-channel --example ring_bench`. Medians of 21 rounds in one thread, so
//! the figures are those of the code, not of the caches between two cores (for that, see
//! `tests/stress.rs`).
#![cfg(not(loom))]

use std::hint::black_box;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use resh_channel::memory::{Bytes, copy_across, copy_in};
use resh_channel::message::{Kind, Message, SessionId};
use resh_channel::ring::{CURSOR_WORDS, Consumer, Producer};

const ROUNDS: usize = 21;
const PIECE_BYTES: usize = 16 * 1024;

fn words(count: usize) -> Vec<AtomicU64> {
    (0..count).map(|_| AtomicU64::new(1)).collect()
}

/// Median nanoseconds of one of `times` calls.
fn measure(times: usize, mut call: impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..times {
                call();
            }
            start.elapsed().as_nanos() as f64 / times as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn report_speed(name: &str, ns: f64) {
    println!("{name:<44} {ns:9.1} ns {:8.2} GB/s", PIECE_BYTES as f64 / ns);
}

fn copies() {
    println!("16 KiB, in the first-level cache");
    let shared = words(PIECE_BYTES / 8 + 1);
    let other = words(PIECE_BYTES / 8 + 1);
    let mut private = vec![1u8; PIECE_BYTES + 8];
    let source = vec![2u8; PIECE_BYTES];
    let ns = measure(2000, || {
        black_box(&mut private)[..PIECE_BYTES].copy_from_slice(black_box(&source))
    });
    report_speed("memcpy", ns);
    for skip in [0, 3] {
        let bytes = Bytes::new(&shared, PIECE_BYTES + 8).skip(skip).take(PIECE_BYTES);
        let ns = measure(2000, || {
            black_box(black_box(bytes).copy_to(black_box(&mut private)));
        });
        report_speed(&format!("copy_to, from byte {skip} of a word"), ns);
    }
    let ns = measure(2000, || {
        black_box(copy_in(black_box(&shared), black_box(&source)));
    });
    report_speed("copy_in", ns);
    for skip in [0, 3] {
        let bytes = Bytes::new(&shared, PIECE_BYTES + 8).skip(skip).take(PIECE_BYTES);
        let ns = measure(2000, || {
            black_box(copy_across(black_box(&other), black_box(bytes)));
        });
        report_speed(&format!("copy_across, from byte {skip} of a word"), ns);
    }
}

/// What the bytes of the largest records alone cost: in and out again of a buffer as large as the ring, by
/// memcpy.
fn plain(ring_kib: usize) {
    let mut buffer = vec![0u8; ring_kib * 1024];
    let payload = vec![3u8; PIECE_BYTES];
    let mut out = vec![0u8; PIECE_BYTES];
    let mut at = 0;
    let ns = measure(20_000, || {
        if at + PIECE_BYTES > buffer.len() {
            at = 0;
        }
        let piece = &mut buffer[at..at + PIECE_BYTES];
        piece.copy_from_slice(black_box(&payload));
        black_box(&mut out).copy_from_slice(black_box(piece));
        at += PIECE_BYTES + 24;
    });
    println!("{PIECE_BYTES:6} bytes, memcpy twice {ns:29.1} ns");
}

/// Records of `payload_bytes`, `batch` to a publication, there and out again.
fn records(ring_kib: usize, payload_bytes: usize, batch: usize) {
    let (ring, cursor) = (words(ring_kib * 128), words(CURSOR_WORDS));
    let mut producer = Producer::with_reader(&ring, &cursor).expect("it is large enough");
    let mut consumer = Consumer::new(&ring, &cursor, 0).expect("it is large enough");
    let message = Message::new(Kind::Data, SessionId::default());
    let payload = vec![3u8; payload_bytes];
    let mut out = vec![0u8; payload_bytes];
    let ns = measure(20_000 / batch, || {
        for _ in 0..batch {
            assert_eq!(producer.push(&message, black_box(&payload)), Ok(true));
        }
        producer.publish();
        while let Ok(Some(record)) = consumer.peek() {
            record.payload.copy_to(black_box(&mut out));
            consumer.advance(&record);
        }
        consumer.release();
    }) / batch as f64;
    println!("{payload_bytes:6} bytes, {batch:3} at once {ns:29.1} ns a record");
}

fn main() {
    copies();
    for ring_kib in [4096, 1024, 256] {
        println!(
            "\nOne record through a ring of {ring_kib} KiB: push, publish, peek, copy out, release"
        );
        for payload_bytes in [0, 64, 1024, PIECE_BYTES] {
            for batch in [1, 8] {
                records(ring_kib, payload_bytes, batch);
            }
        }
        plain(ring_kib);
    }
}
