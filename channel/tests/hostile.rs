//! A peer that writes anything at any time into what it may write: nothing panics, nothing is read out
//! of bounds (that would be a panic), no call works without end, and nobody else suffers.
//!
//! Rounds are seeded, and a failing one names its seed.
#![cfg(not(loom))]

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::*;
use resh_channel::message::{Kind, MAX_PAYLOAD_BYTES};
use resh_channel::ring::{CURSOR_WORDS, Consumer, DATA_WORD, Producer, Violation};

const PAD: u64 = u64::MAX;

/// A word such as a peer would choose that wants to hurt: near what is right, or at a limit.
fn claim(rng: &mut Rng, near: u64) -> u64 {
    let capacity = CAPACITY as u64;
    match rng.below(12) {
        0 => 0,
        1 => u64::MAX,
        2 => rng.next(),
        3 => near,
        4 => near.wrapping_add(rng.below(8)),
        5 => near.wrapping_sub(1 + rng.below(8)),
        6 => near.wrapping_add(capacity),
        7 => near.wrapping_add(capacity + 1),
        8 => near.wrapping_add(rng.below(capacity)),
        9 => near.wrapping_sub(rng.below(capacity)),
        10 => 1 << rng.below(64),
        _ => near.wrapping_add(3 + rng.below(20)),
    }
}

/// The first word of a record, or of what could be taken for one.
fn first_word(rng: &mut Rng) -> u64 {
    let kind = match rng.below(4) {
        0 => rng.below(256),
        _ => Kind::Data as u64,
    };
    let len = match rng.below(6) {
        0 => 0,
        1 => rng.below(64),
        2 => MAX_PAYLOAD_BYTES as u64,
        3 => MAX_PAYLOAD_BYTES as u64 + 1,
        4 => rng.below(MAX_PAYLOAD_BYTES as u64),
        _ => rng.next() & 0xffff_ffff,
    };
    if rng.below(6) == 0 { PAD } else { (kind << 32) | len }
}

/// Scribbles on a ring as its producer may.
fn scribble(rng: &mut Rng, ring: &[AtomicU64], near: u64) {
    for _ in 0..1 + rng.below(4) {
        let at = match rng.below(8) {
            0..=2 => HEAD,
            3 => STARVED,
            4 => rng.below(ring.len() as u64) as usize,
            _ => DATA_WORD + (near.wrapping_add(rng.below(8)) % CAPACITY as u64) as usize,
        };
        let word = if at == HEAD { claim(rng, near) } else { first_word(rng) };
        set(ring, at, word);
    }
}

/// Writes what an honest producer could have written, so that the reader goes on.
fn entice(rng: &mut Rng, ring: &[AtomicU64], near: u64) {
    let index = near % CAPACITY as u64;
    let to_end = CAPACITY as u64 - index;
    let words = rng.below(40);
    if to_end < 3 + words {
        set(ring, DATA_WORD + index as usize, PAD);
        set(ring, DATA_WORD, if rng.below(2) == 0 { PAD } else { (Kind::Fin as u64) << 32 });
        set(ring, HEAD, near.wrapping_add(to_end + 3 * rng.below(2)));
    } else {
        set(ring, DATA_WORD + index as usize, ((Kind::Data as u64) << 32) | (words * 8));
        set(ring, HEAD, near.wrapping_add(3 + words));
    }
}

/// Reads as a domain does, and counts what it saw.
fn read_all(consumer: &mut Consumer<'_>, most: usize) -> Result<usize, Violation> {
    let mut out = [0; MAX_PAYLOAD_BYTES];
    for count in 0..most {
        let Some(record) = consumer.peek()? else { return Ok(count) };
        assert!(record.payload.len() <= MAX_PAYLOAD_BYTES);
        assert_eq!(record.payload.copy_to(&mut out), record.payload.len());
        consumer.advance(&record);
    }
    Ok(most)
}

#[test]
fn a_consumer_survives_any_producer() {
    let (mut violations, mut records, mut new_lives) = ([0; 3], 0, 0);
    let (ring, cursor) = (ring(), cursor());
    for seed in 0..20_000 {
        let mut rng = Rng(seed);
        let start = claim(&mut rng, 1 << 20).min(u64::MAX - 2 * CAPACITY as u64);
        let mut consumer = Consumer::new(&ring, &cursor, start).unwrap();
        set(&ring, HEAD, start);
        for _ in 0..20 {
            match rng.below(3) {
                0 => scribble(&mut rng, &ring, consumer.tail()),
                _ => entice(&mut rng, &ring, consumer.tail()),
            }
            match read_all(&mut consumer, 50) {
                Ok(count) => records += count,
                Err(violation) => violations[violation as usize] += 1,
            }
            assert!(get(&cursor, TAIL) <= consumer.tail(), "seed {seed}");
            match rng.below(4) {
                0 => drop(consumer.release()),
                1 => drop(consumer.arm()),
                2 if rng.below(4) == 0 => {
                    consumer.forget_producer();
                    assert!(matches!(consumer.peek(), Ok(None)), "seed {seed}: the dead speak");
                    new_lives += 1;
                }
                _ => {}
            }
        }
    }
    // The rounds reach every part.
    println!("{records} records, {violations:?} violations, {new_lives} new lives");
    assert!(violations.iter().all(|count| *count > 1000) && records > 10_000 && new_lives > 1000);
}

/// Whatever the dead producer left, its successor is heard, whole and in order.
#[test]
fn a_successor_is_heard_after_any_producer() {
    let (ring, cursor) = (ring(), cursor());
    for seed in 0..3_000 {
        let mut rng = Rng((0xdead << 20) | seed);
        let mut consumer = Consumer::new(&ring, &cursor, rng.below(1 << 30)).unwrap();
        set(&ring, HEAD, consumer.tail());
        for _ in 0..rng.below(10) {
            scribble(&mut rng, &ring, consumer.tail());
            let _ = read_all(&mut consumer, 50);
            if rng.below(2) == 0 {
                consumer.release();
            }
        }
        consumer.forget_producer();
        let mut producer = Producer::new(&ring, Consumer::position_in(&cursor)).unwrap();
        producer.add_reader(0, &cursor).unwrap();
        for n in 0..20 {
            let len = rng.below(5000) as usize;
            assert_eq!(producer.push(&data(n), &pattern(n, len)), Ok(true), "seed {seed}");
            producer.publish();
            assert_eq!(take(&mut consumer), Some((data(n), pattern(n, len))), "seed {seed}");
            consumer.release();
        }
        assert_eq!(producer.is_drained(), Ok(true), "seed {seed}");
    }
}

/// Two readers write anything into their cursor pages, the third sees everything and nothing else.
#[test]
fn a_reader_suffers_nothing_from_the_others() {
    let mut accused = 0;
    for seed in 0..300 {
        let mut rng = Rng((0xbad << 20) | seed);
        let ring = ring();
        let cursors = [cursor(), cursor(), cursor()];
        let mut producer = Producer::new(&ring, 0).unwrap();
        for (number, cursor) in cursors.iter().enumerate() {
            producer.add_reader(number, cursor).unwrap();
        }
        let mut honest = Consumer::new(&ring, &cursors[1], 0).unwrap();
        let mut next = 0;
        for n in 0..200 {
            for hostile in [0, 2] {
                let at = rng.below(CURSOR_WORDS as u64) as usize;
                let at = if rng.below(2) == 0 { TAIL } else { at };
                // Not always, so that it keeps up for some time.
                let near = producer.head();
                let word = if rng.below(20) > 0 { near } else { claim(&mut rng, near) };
                set(&cursors[hostile], at, word);
            }
            let len = rng.below(3000) as usize;
            let mut refused = 0;
            loop {
                match producer.push(&data(n), &pattern(n, len)) {
                    Ok(true) => break,
                    Ok(false) => {
                        producer.publish();
                        while next < n {
                            assert_eq!(take(&mut honest).unwrap().0, data(next), "seed {seed}");
                            next += 1;
                        }
                        honest.release();
                        // One that stands still is for the domain above to drop.
                        refused += 1;
                        if refused > 1 {
                            producer.drop_reader(0);
                            producer.drop_reader(2);
                        }
                        assert!(refused < 4, "seed {seed}: the honest reader has made room");
                    }
                    Err((reader, Violation::Position)) => {
                        assert_ne!(reader, 1, "seed {seed}: the honest reader is accused");
                        producer.drop_reader(reader);
                        accused += 1;
                    }
                    Err(other) => panic!("seed {seed}: {other:?}"),
                }
            }
            assert!(producer.backlog(1) <= CAPACITY as u64);
            if rng.below(3) == 0 {
                let _ = producer.arm(rng.below(40_000) as usize);
                producer.publish();
            }
        }
        producer.publish();
        while let Some((message, bytes)) = take(&mut honest) {
            assert_eq!((message, &bytes), (data(next), &pattern(next, bytes.len())), "seed {seed}");
            next += 1;
        }
        assert_eq!(next, 200, "seed {seed}");
    }
    println!("{accused} accusations");
    assert!(accused > 100);
}

/// What this thread has had of a core: what else runs on the machine does not count.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The same at the same time: a thread scribbles while another reads and writes. Each call ends soon,
/// though the scribbler does its best to lead it on.
#[test]
fn calls_end_soon_while_the_peer_scribbles() {
    let ring_in = ring();
    let (cursor_in, ring_out, cursor_out) = (cursor(), ring(), cursor());
    let stop = AtomicBool::new(false);
    let mut slowest = Duration::ZERO;
    let (mut turns, mut records, mut violations) = (0, 0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut rng = Rng(0xfeed);
            while !stop.load(Ordering::Relaxed) {
                // It may look at where the reader stands, and lead it from padding to padding.
                let near = get(&cursor_in, TAIL);
                match rng.below(4) {
                    0 => scribble(&mut rng, &ring_in, near),
                    _ => entice(&mut rng, &ring_in, near),
                }
                if rng.below(64) == 0 {
                    std::thread::yield_now();
                }
                set(&cursor_out, TAIL, claim(&mut rng, get(&ring_out, HEAD)));
            }
        });
        let mut rng = Rng(0xcafe);
        let end = Instant::now() + Duration::from_millis(1500);
        let mut consumer = Consumer::new(&ring_in, &cursor_in, 0).unwrap();
        let mut producer = Producer::with_reader(&ring_out, &cursor_out).unwrap();
        while Instant::now() < end {
            let before = cpu_time();
            match read_all(&mut consumer, 10) {
                // Where there is one core for both, the other must have its turn.
                Ok(0) => std::thread::yield_now(),
                Ok(count) => records += count,
                Err(_) => {
                    violations += 1;
                    consumer.forget_producer();
                }
            }
            consumer.release();
            consumer.arm();
            for _ in 0..4 {
                if producer.push(&data(0), &[7; 4000]).is_err() {
                    producer.drop_reader(0);
                    producer.add_reader(0, &cursor_out).unwrap();
                    violations += 1;
                }
            }
            producer.publish();
            let _ = producer.arm(rng.below(30_000) as usize);
            turns += 1;
            slowest = slowest.max(cpu_time() - before);
        }
        stop.store(true, Ordering::Relaxed);
    });
    println!("{turns} turns, {records} records, {violations} violations, slowest {slowest:?}");
    assert!(turns > 100 && records > 10 && violations > 10);
    // Far more than a turn needs.
    assert!(slowest < Duration::from_millis(100), "{slowest:?}");
}
