//! The log: what is read is what was written, but for what was overwritten, and that is counted.
//!
//! Cases come from a fixed seed; a failing one is printed, shrunk.
#![cfg(not(loom))]

mod common;

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::atomic::AtomicBool;
use std::thread;

use common::words;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use resh_channel::log::{Read, Reader, Writer};
use resh_channel::memory::{AtomicU64, Ordering, Words};

/// Word with the bytes ever written, and the one with those claimed.
const WRITTEN: usize = 0;
const CLAIMED: usize = 1;
const HEADER_BYTES: usize = 64;

/// The byte at position `p` of a stream that does not repeat at any capacity used here.
fn byte(p: u64) -> u8 {
    (p % 251) as u8
}

fn stream(start: u64, len: usize) -> Vec<u8> {
    (start..start + len as u64).map(byte).collect()
}

fn memory(capacity: usize) -> Vec<AtomicU64> {
    words((HEADER_BYTES + capacity) / 8)
}

#[test]
fn lines_come_out_as_they_went_in() {
    let memory = memory(64);
    let mut writer = Writer::new(&memory).unwrap();
    let mut reader = Reader::new(&memory).unwrap();
    let mut buffer = [0; 64];
    assert_eq!(reader.read(&mut buffer), Read { lost: 0, len: 0 });
    let replica = 1;
    writeln!(writer, "replica {replica} is voting").unwrap();
    let read = reader.read(&mut buffer);
    assert_eq!((read.lost, &buffer[..read.len]), (0, &b"replica 1 is voting\n"[..]));
    assert_eq!(reader.read(&mut buffer), Read { lost: 0, len: 0 });
}

#[test]
fn a_writer_that_is_started_anew_goes_on() {
    let memory = memory(64);
    Writer::new(&memory).unwrap().write(b"first life\n");
    Writer::new(&memory).unwrap().write(b"second life\n");
    let mut buffer = [0; 64];
    let read = Reader::new(&memory).unwrap().read(&mut buffer);
    assert_eq!((read.lost, &buffer[..read.len]), (0, &b"first life\nsecond life\n"[..]));
}

#[test]
fn a_write_larger_than_the_ring_leaves_its_end() {
    let memory = memory(16);
    Writer::new(&memory).unwrap().write(&stream(0, 100));
    let mut buffer = [0; 64];
    let read = Reader::new(&memory).unwrap().read(&mut buffer);
    assert_eq!(read, Read { lost: 84, len: 16 });
    assert_eq!(buffer[..16], stream(84, 16));
}

#[test]
fn memory_without_room_is_no_log() {
    for words in 0..=HEADER_BYTES / 8 {
        let memory: Vec<AtomicU64> = (0..words).map(|_| AtomicU64::new(0)).collect();
        assert!(Writer::new(&memory).is_none() && Reader::new(&memory).is_none());
    }
    assert!(Writer::new(&memory(8)).is_some());
}

/// What a log of `capacity` bytes is to do.
struct Model {
    capacity: usize,
    written: u64,
    unread: VecDeque<u8>,
    lost: u64,
}

impl Model {
    fn write(&mut self, len: usize) {
        self.unread.extend(stream(self.written, len));
        self.written += len as u64;
        while self.unread.len() > self.capacity {
            self.unread.pop_front();
            self.lost += 1;
        }
    }

    fn read(&mut self, most: usize) -> (u64, Vec<u8>) {
        let len = self.unread.len().min(most);
        (std::mem::take(&mut self.lost), self.unread.drain(..len).collect())
    }
}

fn runner(cases: u32) -> TestRunner {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[11; 32]);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, rng)
}

#[test]
fn as_the_model_says() {
    let steps = prop::collection::vec((any::<bool>(), 0usize..60), 1..80);
    let property = |(capacity_words, steps): (usize, Vec<(bool, usize)>)| {
        let capacity = capacity_words * 8;
        let memory = memory(capacity);
        let mut writer = Writer::new(&memory).unwrap();
        let mut reader = Reader::new(&memory).unwrap();
        let mut model = Model { capacity, written: 0, unread: VecDeque::new(), lost: 0 };
        let mut buffer = [0; 64];
        for (is_write, len) in steps {
            if is_write {
                writer.write(&stream(model.written, len));
                model.write(len);
            } else {
                let read = reader.read(&mut buffer[..len]);
                prop_assert_eq!((read.lost, buffer[..read.len].to_vec()), model.read(len));
            }
        }
        Ok(())
    };
    runner(2000).run(&(1usize..6, steps), property).unwrap();
}

/// A writer may put anything into its memory at any time: the reader gets bytes, never more than it asked
/// for nor more than the ring holds, and comes to rest.
#[test]
fn nothing_a_writer_does_harms_the_reader() {
    let value = prop_oneof![any::<u64>(), 0u64..200, u64::MAX - 200..=u64::MAX];
    let steps = prop::collection::vec((0usize..2, value), 1..60);
    let property = |steps: Vec<(usize, u64)>| {
        let memory = memory(40);
        let mut reader = Reader::new(&memory).unwrap();
        let mut buffer = [0; 100];
        for (word, value) in steps {
            memory[word].store(value, Ordering::Relaxed);
            prop_assert!(reader.read(&mut buffer).len <= 40);
            // Whatever was there is taken.
            prop_assert_eq!(reader.read(&mut buffer), Read::default());
        }
        Ok(())
    };
    runner(2000).run(&steps, property).unwrap();
}

/// What a write that has only begun claims is not handed out.
#[test]
fn what_is_being_overwritten_counts_as_lost() {
    let memory = memory(16);
    Writer::new(&memory).unwrap().write(&stream(0, 16));
    // A writer stopped in the middle of its next five bytes.
    memory[CLAIMED].store(21, Ordering::Relaxed);
    memory[HEADER_BYTES / 8].store(u64::from_ne_bytes([9, 9, 9, 9, 9, 5, 6, 7]), Ordering::Relaxed);
    let mut buffer = [0; 16];
    let mut reader = Reader::new(&memory).unwrap();
    assert_eq!(reader.read(&mut buffer), Read { lost: 5, len: 11 });
    assert_eq!(buffer[..11], stream(5, 11));
    assert_eq!(memory[WRITTEN].load(Ordering::Relaxed), 16);
}

/// Reads until `done` and everything is read; every byte must be the one of its position.
fn read_all(memory: &Words, done: &AtomicBool) -> (u64, u64) {
    let mut reader = Reader::new(memory).unwrap();
    let (mut position, mut lost) = (0, 0);
    let mut buffer = [0; 97];
    loop {
        let was_done = done.load(Ordering::Acquire);
        let read = reader.read(&mut buffer);
        position += read.lost;
        lost += read.lost;
        assert_eq!(buffer[..read.len], stream(position, read.len), "at {position}");
        position += read.len as u64;
        if was_done && read == Read::default() {
            return (position, lost);
        }
    }
}

#[test]
fn a_racing_writer_never_makes_a_byte_wrong() {
    const BYTES: u64 = 2_000_000;
    let memory = memory(256);
    let done = AtomicBool::new(false);
    let (end, lost) = thread::scope(|scope| {
        let reader = scope.spawn(|| read_all(&memory, &done));
        let mut writer = Writer::new(&memory).unwrap();
        let (mut position, mut len) = (0, 1);
        while position < BYTES {
            writer.write(&stream(position, len));
            position += len as u64;
            len = len % 61 + 7;
            if position % 64 < 8 {
                thread::yield_now();
            }
        }
        done.store(true, Ordering::Release);
        let (end, lost) = reader.join().unwrap();
        assert_eq!(end, position);
        (end, lost)
    });
    // The test is worth something only if both happened.
    assert!(lost > 0 && lost < end, "{lost} of {end} lost");
}
