//! Rings against a model: whatever is pushed comes out of every reader, once, whole and in order.
//!
//! Cases come from a fixed seed; a failing one is printed, shrunk.
#![cfg(not(loom))]

mod common;

use std::collections::VecDeque;

use common::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use resh_channel::memory::{Bytes, copy_across, copy_in};
use resh_channel::message::{Kind, MAX_PAYLOAD_BYTES, Message, SessionId};
use resh_channel::ring::{Consumer, Producer};

const READERS: usize = 3;

/// One step of one end.
#[derive(Clone, Debug)]
enum Step {
    Push(usize),
    PushFrom {
        skip: usize,
        len: usize,
    },
    /// Reserves so much, commits less, or gives up.
    Reserve {
        most: usize,
        len: Option<usize>,
    },
    Publish,
    ArmForRoom(usize),
    Disarm,
    Peek(usize),
    Take {
        reader: usize,
        most: usize,
    },
    Release(usize),
    Arm(usize),
    Leave(usize),
    Join(usize),
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 0..64usize,
        3 => 0..2000usize,
        2 => 0..=MAX_PAYLOAD_BYTES,
        1 => Just(MAX_PAYLOAD_BYTES),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let reader = || 0..READERS;
    prop_oneof![
        6 => length().prop_map(Step::Push),
        2 => (0..40usize, length()).prop_map(|(skip, len)| Step::PushFrom { skip, len }),
        2 => (length(), prop::option::of(any::<prop::sample::Index>())).prop_map(|(most, len)| {
            Step::Reserve { most, len: len.map(|len| len.index(most + 1)) }
        }),
        6 => Just(Step::Publish),
        1 => length().prop_map(Step::ArmForRoom),
        1 => Just(Step::Disarm),
        1 => reader().prop_map(Step::Peek),
        12 => (reader(), 1..20usize).prop_map(|(reader, most)| Step::Take { reader, most }),
        6 => reader().prop_map(Step::Release),
        2 => reader().prop_map(Step::Arm),
        1 => reader().prop_map(Step::Leave),
        1 => reader().prop_map(Step::Join),
    ]
}

/// What a reader must still see, and whether it sleeps.
struct Model<'m> {
    consumer: Consumer<'m>,
    published: VecDeque<(u64, usize)>,
    unpublished: VecDeque<(u64, usize)>,
    asleep: bool,
}

fn message(number: u64) -> Message {
    let session = SessionId { index: number as u16, generation: (number >> 16) as u16 };
    Message::new(Kind::Data, session).at(number).arg(number as u8).clock(number as u32)
}

fn run(steps: &[Step]) -> Result<(), TestCaseError> {
    let ring = ring();
    let cursors = [cursor(), cursor(), cursor()];
    let mut producer = Producer::new(&ring, 0).unwrap();
    let mut readers: [Option<Model<'_>>; READERS] = [const { None }; READERS];
    let mut next = 0;
    // The payload bytes for which the producer waits.
    let mut awaited = None;
    for step in steps {
        let written = match *step {
            Step::Push(len) => {
                producer.push(&message(next), &pattern(next, len)).unwrap().then_some(len)
            }
            Step::PushFrom { skip, len } => {
                let source = words((skip + len).div_ceil(8));
                let mut bytes = vec![0xaa; skip];
                bytes.extend(pattern(next, len));
                copy_in(&source, &bytes);
                let from = Bytes::new(&source, skip + len).skip(skip);
                producer.push_from(&message(next), from).unwrap().then_some(len)
            }
            Step::Reserve { most, len } => {
                let room = producer.reserve(most).unwrap();
                if room.is_some() && awaited.is_some_and(|awaited| most >= awaited) {
                    awaited = None;
                }
                match (room, len) {
                    (Some(room), Some(len)) => {
                        copy_in(room, &pattern(next, len));
                        producer.commit(&message(next), len);
                        Some(len)
                    }
                    _ => None,
                }
            }
            Step::Publish => {
                let mut expected = 0;
                for (number, reader) in readers.iter_mut().enumerate() {
                    let Some(reader) = reader else { continue };
                    if reader.asleep && !reader.unpublished.is_empty() {
                        expected |= 1 << number;
                    }
                    reader.published.append(&mut reader.unpublished);
                }
                prop_assert_eq!(producer.publish() & expected, expected, "a sleeper is not woken");
                None
            }
            Step::ArmForRoom(len) => {
                if producer.arm(len).unwrap() {
                    awaited = Some(len);
                } else {
                    awaited = None;
                }
                None
            }
            Step::Disarm => {
                producer.disarm();
                awaited = None;
                None
            }
            Step::Peek(reader) => {
                let Some(reader) = &mut readers[reader] else { continue };
                let found = reader.consumer.peek().unwrap().map(|record| record.message);
                prop_assert_eq!(found, reader.published.front().map(|(n, _)| message(*n)));
                reader.asleep &= found.is_none();
                None
            }
            Step::Take { reader, most } => {
                let Some(reader) = &mut readers[reader] else { continue };
                for _ in 0..most {
                    let expected = reader.published.pop_front();
                    let expected = expected.map(|(n, len)| (message(n), pattern(n, len)));
                    let found = take(&mut reader.consumer);
                    reader.asleep &= found.is_none();
                    prop_assert!(found == expected, "{:?}", expected.map(|(message, _)| message));
                }
                None
            }
            Step::Release(reader) => {
                let Some(reader) = &mut readers[reader] else { continue };
                let before = reader.consumer.tail();
                let wake = reader.consumer.release();
                prop_assert!(!reader.consumer.release(), "nothing to release twice");
                prop_assert_eq!(reader.consumer.tail(), before);
                prop_assert!(!wake || get(&ring, STARVED) == 1);
                prop_assert!(awaited.is_none() || get(&ring, STARVED) == 1, "the wish was lost");
                None
            }
            Step::Arm(reader) => {
                let Some(reader) = &mut readers[reader] else { continue };
                // The producer publishes what it has when a reader joins.
                reader.asleep = reader.consumer.arm();
                prop_assert_eq!(reader.asleep, reader.published.is_empty());
                None
            }
            Step::Leave(reader) => {
                producer.drop_reader(reader);
                readers[reader] = None;
                None
            }
            Step::Join(number) => {
                for reader in readers.iter_mut().flatten() {
                    reader.published.append(&mut reader.unpublished);
                }
                let start = producer.add_reader(number, &cursors[number]).unwrap();
                readers[number] = Some(Model {
                    consumer: Consumer::new(&ring, &cursors[number], start).unwrap(),
                    published: VecDeque::new(),
                    unpublished: VecDeque::new(),
                    asleep: false,
                });
                None
            }
        };
        if let Some(len) = written {
            for reader in readers.iter_mut().flatten() {
                reader.unpublished.push_back((next, len));
            }
            next += 1;
            if awaited.is_some_and(|awaited| len >= awaited) {
                awaited = None;
            }
        }
        prop_assert_eq!(producer.refresh(), Ok(()), "nobody is accused");
    }
    // Whoever is still there sees the rest.
    producer.publish();
    for reader in readers.iter_mut().flatten() {
        reader.published.append(&mut reader.unpublished);
        for (n, len) in reader.published.drain(..) {
            prop_assert!(take(&mut reader.consumer) == Some((message(n), pattern(n, len))));
        }
        prop_assert!(take(&mut reader.consumer).is_none());
        reader.consumer.release();
    }
    prop_assert_eq!(producer.is_drained(), Ok(true));
    prop_assert!(producer.reserve(MAX_PAYLOAD_BYTES).unwrap().is_some());
    Ok(())
}

fn runner(seed: u8, cases: u32) -> TestRunner {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]))
}

#[test]
fn every_reader_sees_every_record() {
    // A reader from the beginning, so that short cases see something too.
    let steps = prop::collection::vec(step(), 1..400)
        .prop_map(|steps| [vec![Step::Join(0)], steps].concat());
    runner(1, 400).run(&steps, |steps| run(&steps)).unwrap();
}

#[test]
fn a_full_ring_turns_round_and_round() {
    // Large records and one reader, so that the ring is full most of the time.
    let large = prop_oneof![
        3 => (20_000..=MAX_PAYLOAD_BYTES).prop_map(Step::Push),
        1 => (20_000..=MAX_PAYLOAD_BYTES).prop_map(Step::ArmForRoom),
        2 => Just(Step::Publish),
        2 => Just(Step::Take { reader: 0, most: 1 }),
        2 => Just(Step::Release(0)),
    ];
    let steps = prop::collection::vec(large, 100..300)
        .prop_map(|steps| [vec![Step::Join(0)], steps].concat());
    runner(2, 60).run(&steps, |steps| run(&steps)).unwrap();
}

#[test]
fn copies_agree_with_slices() {
    let case =
        (prop::collection::vec(any::<u8>(), 0..5000), 0..5100usize, 0..5100usize, 0..700usize);
    runner(3, 2000)
        .run(&case, |(source, skip, len, room)| {
            let memory = words(source.len().div_ceil(8));
            prop_assert_eq!(copy_in(&memory, &source), source.len());
            let bytes = Bytes::new(&memory, source.len()).skip(skip).take(len);
            let from = skip.min(source.len());
            let expected = &source[from..(from + len).min(source.len())];
            let mut out = vec![0; len];
            prop_assert_eq!(bytes.copy_to(&mut out), expected.len());
            prop_assert_eq!(&out[..expected.len()], expected);
            let other = words(room);
            let fits = expected.len().min(room * 8);
            prop_assert_eq!(copy_across(&other, bytes), fits);
            let mut back = vec![0; room * 8];
            Bytes::new(&other, room * 8).copy_to(&mut back);
            prop_assert_eq!(&back[..fits], &expected[..fits]);
            prop_assert!(back[fits..].iter().all(|byte| *byte == 0), "nothing past the end");
            Ok(())
        })
        .unwrap();
}
