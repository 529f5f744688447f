//! Both ends at once, on the real memory of the machine: two threads, three threads on a broadcast, and
//! two processes that share nothing but a memory file. Bytes are derived from a seed on either side, so
//! nothing lost, doubled, torn or out of order goes unseen; a lost signal shows as a time-out.
#![cfg(not(loom))]

mod common;

use std::fs::{File, OpenOptions};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use common::*;
use resh_channel::memory::copy_in;
use resh_channel::message::MAX_PAYLOAD_BYTES;
use resh_channel::ring::{CURSOR_WORDS, Consumer, DATA_WORD, Producer};
use resh_channel::snapshot::{self, Publisher, SnapshotError};

const TIME_OUT: Duration = Duration::from_secs(20);

/// A signal as the boards have it: binary, kept until it is taken.
#[derive(Default)]
struct Signal {
    raised: Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    fn raise(&self) {
        *self.raised.lock().unwrap() = true;
        self.changed.notify_one();
    }

    fn wait(&self, who: &str) {
        let raised = self.raised.lock().unwrap();
        let (mut raised, time_out) =
            self.changed.wait_timeout_while(raised, TIME_OUT, |raised| !*raised).unwrap();
        assert!(!time_out.timed_out(), "{who} was not woken");
        *raised = false;
    }
}

fn length(rng: &mut Rng) -> usize {
    match rng.below(10) {
        0 => 0,
        1 => rng.below(MAX_PAYLOAD_BYTES as u64 + 1) as usize,
        2..=4 => rng.below(2000) as usize,
        _ => rng.below(64) as usize,
    }
}

/// Writes records until `end`, and then one that is empty and has an offset of its own.
fn produce(
    producer: &mut Producer<'_>,
    seed: u64,
    end: Instant,
    mut wake: impl FnMut(u32),
    mut wait: impl FnMut(),
) -> u64 {
    let mut rng = Rng(seed);
    let mut number = 0;
    loop {
        let last = Instant::now() >= end;
        let batch = if last { 1 } else { 1 + rng.below(12) };
        for _ in 0..batch {
            let bytes = if last { Vec::new() } else { pattern(seed ^ number, length(&mut rng)) };
            let message = if last { data(LAST) } else { data(number) };
            loop {
                match producer.reserve(bytes.len()).unwrap() {
                    Some(words) => {
                        copy_in(words, &bytes);
                        producer.commit(&message, bytes.len());
                        break;
                    }
                    None => {
                        wake(producer.publish());
                        if producer.arm(bytes.len()).unwrap() {
                            wait();
                        }
                    }
                }
            }
            number += 1;
        }
        wake(producer.publish());
        if last {
            return number - 1;
        }
    }
}

const LAST: u64 = 1 << 61;

fn consume(
    consumer: &mut Consumer<'_>,
    seed: u64,
    turn: u64,
    mut wake: impl FnMut(),
    mut wait: impl FnMut(),
) -> u64 {
    let mut number = 0;
    loop {
        for _ in 0..turn {
            let Some((message, bytes)) = take(consumer) else { break };
            if message.offset == LAST {
                consumer.release();
                return number;
            }
            assert_eq!(message.offset, number, "order");
            assert!(bytes == pattern(seed ^ number, bytes.len()), "record {number} is torn");
            number += 1;
        }
        if consumer.release() {
            wake();
        }
        if consumer.arm() {
            wait();
        }
    }
}

#[test]
fn two_threads() {
    for seed in [1, 2, 3] {
        let (ring, cursor) = (ring(), cursor());
        let (news, room) = (Signal::default(), Signal::default());
        let end = Instant::now() + Duration::from_millis(700);
        let (written, read) = std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut producer = Producer::with_reader(&ring, &cursor).unwrap();
                let wake = |asleep| {
                    if asleep != 0 {
                        news.raise()
                    }
                };
                produce(&mut producer, seed, end, wake, || room.wait("the producer"))
            });
            let mut consumer = Consumer::new(&ring, &cursor, 0).unwrap();
            let (wake, wait) = (|| room.raise(), || news.wait("the consumer"));
            let read = consume(&mut consumer, seed, 30, wake, wait);
            (writer.join().unwrap(), read)
        });
        println!("seed {seed}: {read} records");
        assert_eq!(written, read);
        assert!(read > 1000);
    }
}

#[test]
fn three_threads_on_a_broadcast() {
    let seed = 4;
    let ring = ring();
    let cursors = [cursor(), cursor()];
    let (news, room) = ([Signal::default(), Signal::default()], Signal::default());
    let mut producer = Producer::new(&ring, 0).unwrap();
    for (number, cursor) in cursors.iter().enumerate() {
        producer.add_reader(number, cursor).unwrap();
    }
    let end = Instant::now() + Duration::from_millis(1000);
    std::thread::scope(|scope| {
        let readers = [3, 100].map(|turn| {
            let number = usize::from(turn == 100);
            let (ring, cursor, news, room) = (&ring, &cursors[number], &news[number], &room);
            scope.spawn(move || {
                let mut consumer = Consumer::new(ring, cursor, 0).unwrap();
                let (wake, wait) = (|| room.raise(), || news.wait("a consumer"));
                consume(&mut consumer, seed, turn, wake, wait)
            })
        });
        let wake = |asleep: u32| {
            for (number, news) in news.iter().enumerate() {
                if asleep >> number & 1 == 1 {
                    news.raise();
                }
            }
        };
        let written = produce(&mut producer, seed, end, wake, || room.wait("the producer"));
        println!("{written} records");
        assert!(written > 1000);
        assert_eq!(readers.map(|reader| reader.join().unwrap()), [written; 2]);
    });
}

#[test]
fn snapshots_are_never_mixtures() {
    let region = words(64);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut publisher = Publisher::new(&region);
            let mut scratch = [0; 512];
            let mut n = u64::MAX / 2;
            while !stop.load(Ordering::Relaxed) {
                publisher.publish(&[n; 20], &mut scratch).unwrap();
                n += 1;
            }
        });
        let (mut seen, mut last) = (0, 0);
        let end = Instant::now() + Duration::from_millis(700);
        while Instant::now() < end {
            match snapshot::read::<[u64; 20]>(&region, &mut [0; 512]) {
                Ok(value) => {
                    assert_eq!(value, [value[0]; 20]);
                    assert!(value[0] >= last, "time does not run backwards");
                    last = value[0];
                    seen += 1;
                }
                Err(SnapshotError::Busy | SnapshotError::Empty) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        stop.store(true, Ordering::Relaxed);
        println!("{seen} snapshots");
        assert!(seen > 100);
    });
}

/// A memory file, mapped whole, and never unmapped.
fn map(file: &File, word_count: usize) -> &'static [AtomicU64] {
    use rustix::mm::{MapFlags, ProtFlags, mmap};
    let (len, rights) = (word_count * 8, ProtFlags::READ | ProtFlags::WRITE);
    // SAFETY: the kernel chooses the address, so no other object lies there. The file has that length
    // and keeps it, the mapping is aligned to a page and stays until the process ends, and both processes
    // access it only as atomics.
    unsafe {
        let start = mmap(std::ptr::null_mut(), len, rights, MapFlags::SHARED, file, 0).unwrap();
        std::slice::from_raw_parts(start.cast(), word_count)
    }
}

const SHARED_WORDS: usize = DATA_WORD + CAPACITY + CURSOR_WORDS;
const CHILD: &str = "RESH_CHANNEL_TEST_MEMORY";

/// The child of the test below: the consumer.
fn second_process(path: &str) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let (ring, cursor) = map(&file, SHARED_WORDS).split_at(DATA_WORD + CAPACITY);
    let mut consumer = Consumer::new(ring, cursor, 0).unwrap();
    let deadline = Instant::now() + TIME_OUT;
    let wait = || {
        assert!(Instant::now() < deadline, "the producer is gone");
        std::thread::yield_now();
    };
    let read = consume(&mut consumer, 5, 50, || {}, wait);
    println!("read={read}");
}

#[test]
fn two_processes() {
    if let Ok(path) = std::env::var(CHILD) {
        return second_process(&path);
    }
    let memory = rustix::fs::memfd_create("ring", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let file = File::from(memory);
    file.set_len(SHARED_WORDS as u64 * 8).unwrap();
    let (ring, cursor) = map(&file, SHARED_WORDS).split_at(DATA_WORD + CAPACITY);
    let mut producer = Producer::with_reader(ring, cursor).unwrap();
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&file);
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "two_processes", "--nocapture"])
        .env(CHILD, format!("/proc/{}/fd/{descriptor}", std::process::id()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_millis(1000);
    let deadline = end + TIME_OUT;
    let wait = || {
        assert!(Instant::now() < deadline, "the consumer is gone");
        std::thread::yield_now();
    };
    let written = produce(&mut producer, 5, end, |_| {}, wait);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains(&format!("read={written}\n")), "{written} written, but {said}");
    assert!(written > 1000);
}
