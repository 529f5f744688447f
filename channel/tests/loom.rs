//! The rings and snapshots themselves, under every interleaving and every reordering that loom knows
//! of (within the bound on preemptions below). How to run, and what this does not cover:
//! `docs/channel.md`.
//!
//! loom can be made to pass anything by a model that leaves it nothing to explore. So each model must
//! have had a least number of executions, and must fail when one ordering it rests on is taken away.
#![cfg(loom)]
// loom runs all threads of a model in one, and its own `Arc` cannot be dropped when a control has failed.
#![allow(clippy::arc_with_non_send_sync)]

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed as Counting};
use std::sync::{Arc, Mutex};

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::thread::{self, Thread};
use resh_channel::message::{HEADER_WORDS, Kind, Message, SessionId};
use resh_channel::ordering::{Site, weaken};
use resh_channel::ring::{CURSOR_WORDS, Consumer, DATA_WORD, Producer, Record, note};
use resh_channel::snapshot::{self, Publisher, SnapshotError};

/// Words of records: one of three and one of four fit, with one word left at the end.
const CAPACITY: usize = 8;

/// Shared memory, and for each of its words a cell in which loom notices a write that is not ordered
/// before or after a read: orderings by which a load would see what is stored later (loom runs loads in
/// their place) show only there.
struct Memory {
    ring: Vec<AtomicU64>,
    cursors: [Vec<AtomicU64>; 2],
    shadow: Vec<UnsafeCell<()>>,
}

impl Memory {
    fn new() -> Arc<Self> {
        let words = |count| (0..count).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self {
            ring: words(DATA_WORD + CAPACITY),
            cursors: [words(CURSOR_WORDS + 1), words(CURSOR_WORDS + 1)],
            shadow: (0..DATA_WORD + CAPACITY).map(|_| UnsafeCell::new(())).collect(),
        })
    }

    fn shadow_of(&self, payload: &[AtomicU64]) -> &[UnsafeCell<()>] {
        let bytes = payload.as_ptr() as usize - self.ring.as_ptr() as usize;
        let at = bytes / size_of::<AtomicU64>();
        &self.shadow[at - HEADER_WORDS..at + payload.len()]
    }
}

/// Record `n`, with no payload or one word of it.
fn push(memory: &Memory, producer: &mut Producer<'_>, n: u64) -> bool {
    let len = len_of(n);
    let Some(payload) = producer.reserve(len).expect("no violation") else { return false };
    for cell in memory.shadow_of(payload) {
        cell.with_mut(|_| ());
    }
    let copied = resh_channel::memory::copy_in(payload, &n.to_le_bytes()[..len]);
    producer.commit(&Message::new(Kind::Data, SessionId::default()).at(n), copied);
    true
}

fn len_of(n: u64) -> usize {
    if n.is_multiple_of(2) { 0 } else { 8 }
}

fn check(memory: &Memory, record: &Record<'_>, n: u64) {
    let (payload, _) = record.payload.raw();
    for cell in memory.shadow_of(payload) {
        cell.with(|_| ());
    }
    assert_eq!(record.message.offset, n, "records in order");
    let mut bytes = [0; 8];
    assert_eq!(record.payload.copy_to(&mut bytes), len_of(n), "whole records");
    assert_eq!(bytes[..len_of(n)], n.to_le_bytes()[..len_of(n)], "records untorn");
}

/// Takes what is there, records numbered from `next`; returns the number of the one after.
fn drain(memory: &Memory, consumer: &mut Consumer<'_>, mut next: u64) -> u64 {
    while let Some(record) = consumer.peek().expect("no violation") {
        check(memory, &record, next);
        consumer.advance(&record);
        next += 1;
    }
    next
}

/// What carries a signal from one domain to another: binary, kept until it is taken. loom says
/// "deadlock" where nobody will ever raise it. Both ends exchange, as a kernel does under its lock: loom
/// does not know that a plain store cannot slip in front of an exchange that was done before.
///
/// `waiter` is no part of the model: it is there because unparking a thread that is not parked would
/// teach that thread more about memory than a signal does.
#[derive(Default)]
struct Signal {
    raised: AtomicBool,
    waiter: Mutex<Option<Thread>>,
}

impl Signal {
    fn raise(&self) {
        self.raised.swap(true, Ordering::AcqRel);
        if let Some(waiter) = self.waiter.lock().unwrap().take() {
            waiter.unpark();
        }
    }

    fn wait(&self) {
        while !self.raised.swap(false, Ordering::AcqRel) {
            *self.waiter.lock().unwrap() = Some(thread::current());
            thread::park();
        }
    }
}

/// Runs `model` with at most so many preemptions, or any number, and returns how many executions there
/// were.
fn explore(preemptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) -> usize {
    let executions = Arc::new(AtomicUsize::new(0));
    let counter = executions.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = 10_000;
    builder.check(move || {
        counter.fetch_add(1, Counting);
        model();
    });
    executions.load(Counting)
}

/// A producer of the ring with `filled` records in it.
fn producer_with(memory: &Memory, filled: u64) -> Producer<'_> {
    let mut producer = Producer::with_reader(&memory.ring, &memory.cursors[0]).unwrap();
    assert!((0..filled).all(|n| push(memory, &mut producer, n)));
    producer.publish();
    producer
}

/// Records go around the ring's end, one to a publication, and come out whole, in order, once.
fn first_in_first_out() -> usize {
    explore(Some(4), || {
        let memory = Memory::new();
        let mut producer = producer_with(&memory, 1);
        let at_reader = memory.clone();
        let reader = thread::spawn(move || {
            let memory = &*at_reader;
            let mut consumer = Consumer::new(&memory.ring, &memory.cursors[0], 0).unwrap();
            let mut taken = 0;
            for _ in 0..3 {
                taken = drain(memory, &mut consumer, taken);
                consumer.release();
            }
            (taken, consumer.tail())
        });
        let mut written = 1;
        for _ in 0..5 {
            if push(&memory, &mut producer, written) {
                written += 1;
                producer.publish();
            }
        }
        let (taken, position) = reader.join().unwrap();
        let mut rest = Consumer::new(&memory.ring, &memory.cursors[0], position).unwrap();
        assert_eq!(drain(&memory, &mut rest, taken), written, "nothing lost");
    })
}

/// The producer waits for the slower of two.
fn two_readers() -> usize {
    explore(None, || {
        let memory = Memory::new();
        let mut producer = Producer::new(&memory.ring, 0).unwrap();
        for (number, cursor) in memory.cursors.iter().enumerate() {
            producer.add_reader(number, cursor).unwrap();
        }
        assert!(push(&memory, &mut producer, 0) && push(&memory, &mut producer, 1));
        producer.publish();
        let readers = [0, 1].map(|number| {
            let memory = memory.clone();
            thread::spawn(move || {
                let cursor = &memory.cursors[number];
                let mut consumer = Consumer::new(&memory.ring, cursor, 0).unwrap();
                let mut taken = drain(&memory, &mut consumer, 0);
                assert!(taken >= 2);
                consumer.release();
                taken = drain(&memory, &mut consumer, taken);
                (taken, consumer.tail())
            })
        });
        let mut written = 2;
        for _ in 0..2 {
            if push(&memory, &mut producer, written) {
                written += 1;
                producer.publish();
            }
        }
        for (reader, cursor) in readers.into_iter().zip(&memory.cursors) {
            let (taken, position) = reader.join().unwrap();
            let mut rest = Consumer::new(&memory.ring, cursor, position).unwrap();
            assert_eq!(drain(&memory, &mut rest, taken), written, "nothing lost");
        }
    })
}

/// Neither end sleeps while there is something for it to do. Starts with `filled` records in a ring
/// that has room for two, and ends with `total`.
fn sleep_and_wake(preemptions: Option<usize>, filled: u64, total: u64) -> usize {
    explore(preemptions, move || {
        let memory = Memory::new();
        let signals: Arc<(Signal, Signal)> = Arc::default();
        let mut producer = producer_with(&memory, filled);
        let (at_reader, raised) = (memory.clone(), signals.clone());
        let reader = thread::spawn(move || {
            let (memory, (news, room)) = (&*at_reader, &*raised);
            let mut consumer = Consumer::new(&memory.ring, &memory.cursors[0], 0).unwrap();
            let mut taken = 0;
            while taken < total {
                taken = drain(memory, &mut consumer, taken);
                if consumer.release() {
                    room.raise();
                }
                if taken < total && consumer.arm() {
                    news.wait();
                }
            }
        });
        let (news, room) = &*signals;
        for n in filled..total {
            while !push(&memory, &mut producer, n) {
                if producer.arm(len_of(n)).unwrap() {
                    room.wait();
                }
            }
            if producer.publish() != 0 {
                news.raise();
            }
        }
        reader.join().unwrap();
    })
}

/// A dead producer's last word is not its successor's, and a dead reader's not its successor's. The
/// note in the cursor page is the hand-shake of `docs/channel.md`.
fn restart() -> usize {
    explore(None, || {
        let memory = Memory::new();
        let mut dead = producer_with(&memory, 1);
        assert!(push(&memory, &mut dead, 1));
        dead.publish();
        let at_reader = memory.clone();
        let reader = thread::spawn(move || {
            let memory = &*at_reader;
            let cursor = &memory.cursors[0];
            let mut consumer = Consumer::new(&memory.ring, cursor, 0).unwrap();
            let first = consumer.peek().unwrap().expect("it was published");
            consumer.advance(&first);
            consumer.forget_producer();
            note(cursor, 0).store(1, Ordering::Release);
            let mut taken = drain(memory, &mut consumer, 0);
            taken = drain(memory, &mut consumer, taken);
            consumer.release();
            taken = drain(memory, &mut consumer, taken);
            (taken, consumer.tail())
        });
        let cursor = &memory.cursors[0];
        while note(cursor, 0).load(Ordering::Acquire) == 0 {
            thread::yield_now();
        }
        let mut producer = Producer::new(&memory.ring, Consumer::position_in(cursor)).unwrap();
        producer.add_reader(0, cursor).unwrap();
        for n in 0..2 {
            assert!(push(&memory, &mut producer, n));
            producer.publish();
            assert_eq!(producer.refresh(), Ok(()));
        }
        let (taken, position) = reader.join().unwrap();
        let mut rest = Consumer::new(&memory.ring, cursor, position).unwrap();
        assert_eq!(drain(&memory, &mut rest, taken), 2);
    })
}

/// A reader gets one of the values that were published, never a mixture. Under loom it tries twice.
fn snapshots() -> usize {
    let seen: Arc<[AtomicUsize; 3]> = Arc::default();
    let counts = seen.clone();
    let executions = explore(Some(3), move || {
        let region = Arc::new((0..12).map(|_| AtomicU64::new(0)).collect::<Vec<_>>());
        // Each is two words long.
        let values = [[u64::MAX; 2], [u64::MAX - 1; 2], [u64::MAX - 2; 2]];
        Publisher::new(&region).publish(&values[0], &mut [0; 32]).unwrap();
        let at_writer = region.clone();
        let writer = thread::spawn(move || {
            let mut publisher = Publisher::new(&at_writer);
            publisher.publish(&values[1], &mut [0; 32]).unwrap();
            publisher.publish(&values[2], &mut [0; 32]).unwrap();
        });
        match snapshot::read::<[u64; 2]>(&region, &mut [0; 32]) {
            Ok(value) => {
                let which = values.iter().position(|published| *published == value);
                counts[which.expect("one of those published")].fetch_add(1, Counting);
            }
            Err(error) => assert_eq!(error, SnapshotError::Busy),
        }
        writer.join().unwrap();
    });
    assert!(seen.iter().all(|count| count.load(Counting) > 0), "each value was read: {seen:?}");
    executions
}

/// Runs a model as it is, and then without each of the orderings it rests on.
#[track_caller]
fn verify(name: &str, least: usize, model: fn() -> usize, needs: &[(Site, &[&str])]) {
    let started = std::time::Instant::now();
    let executions = model();
    println!("{name}: {executions} executions in {:.1} s", started.elapsed().as_secs_f32());
    assert!(executions >= least, "{name}: only {executions} executions, at least {least} wanted");
    for &(site, symptoms) in needs {
        // A thread of its own: a model that failed leaves loom's state behind.
        let control = std::thread::spawn(move || {
            weaken(Some(site));
            model()
        });
        let panic = control.join().expect_err(&format!("{name} holds without {site:?}"));
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let text = text.unwrap_or_default();
        println!("{name} without {site:?}: {}", text.lines().next().unwrap_or_default());
        let expected = symptoms.iter().any(|symptom| text.contains(symptom));
        assert!(expected, "{name} without {site:?} fails for another reason: {text}");
    }
}

/// What a record that is read too early or written over too soon looks like.
const RACE: &[&str] = &["Causality violation", "no violation", "records"];
const LOST_SIGNAL: &[&str] = &["deadlock"];
const MIXTURE: &[&str] = &["one of those published"];

#[test]
fn records_come_out_in_order() {
    let needs = [
        (Site::Publish, RACE),
        (Site::Observe, RACE),
        (Site::Release, RACE),
        (Site::Reclaim, RACE),
    ];
    verify("first in, first out", 10_000, first_in_first_out, &needs);
}

#[test]
fn a_broadcast_reaches_two_readers() {
    let needs = [(Site::Publish, RACE), (Site::Release, RACE), (Site::Reclaim, RACE)];
    verify("two readers", 5_000, two_readers, &needs);
}

#[test]
fn a_sleeping_consumer_is_woken() {
    let needs = [(Site::PublishFence, LOST_SIGNAL), (Site::AsleepFence, LOST_SIGNAL)];
    verify("wake for news", 10_000, || sleep_and_wake(None, 0, 2), &needs);
}

#[test]
fn a_producer_without_room_is_woken() {
    let needs = [(Site::ReleaseFence, LOST_SIGNAL), (Site::StarvedFence, LOST_SIGNAL)];
    verify("wake for room", 5_000, || sleep_and_wake(None, 2, 3), &needs);
}

#[test]
fn both_ends_sleep_in_turn() {
    let needs = [(Site::PublishFence, LOST_SIGNAL), (Site::ReleaseFence, LOST_SIGNAL)];
    verify("wake for both", 10_000, || sleep_and_wake(Some(3), 0, 4), &needs);
}

#[test]
fn a_new_life_is_not_mistaken_for_the_old() {
    verify("restart", 100, restart, &[(Site::Publish, RACE), (Site::Observe, RACE)]);
}

#[test]
fn snapshots_are_whole() {
    let needs = [
        (Site::SnapshotBegin, MIXTURE),
        (Site::SnapshotEnd, MIXTURE),
        (Site::SnapshotRead, MIXTURE),
        (Site::SnapshotCheck, MIXTURE),
    ];
    verify("snapshots", 10_000, snapshots, &needs);
}
