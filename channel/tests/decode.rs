//! Headers and snapshots made of any bytes: decoded as `docs/channel.md` says, or refused, never more.
#![cfg(not(loom))]

mod common;

use common::*;
use resh_channel::message::{Kind, MAX_OFFSET, MAX_PAYLOAD_BYTES, Message, Reason, SessionId};
use resh_channel::ring::{Consumer, DATA_WORD, Producer, Violation};
use resh_channel::snapshot::{self, Publisher, SnapshotError};
use resh_channel::stats::{NetworkStats, VoterStats};

/// Words of a record before its payload.
const HEADER: usize = 3;

/// The header's layout, written down a second time.
fn by_hand(bytes: &[u8; 24]) -> Option<(Message, usize)> {
    let field = |at: usize, len: usize| {
        bytes[at..at + len].iter().rev().fold(0, |value, byte| (value << 8) | u64::from(*byte))
    };
    let kind = match bytes[4] {
        1 => Kind::Open,
        2 => Kind::Data,
        3 => Kind::Fin,
        4 => Kind::Reset,
        5 => Kind::Taken,
        6 => Kind::Credit,
        7 => Kind::Release,
        8 => Kind::Closed,
        9 => Kind::Evict,
        10 => Kind::Hello,
        11 => Kind::Framed,
        12 => Kind::Answered,
        13 => Kind::Rest,
        14 => Kind::Ordered,
        15 => Kind::Admit,
        16 => Kind::Probe,
        _ => return None,
    };
    let session = SessionId { index: field(8, 2) as u16, generation: field(6, 2) as u16 };
    let (len, clock_s, offset) = (field(0, 4) as usize, field(12, 4) as u32, field(16, 8));
    let message = Message { kind, arg: bytes[5], session, to: bytes[10], clock_s, offset };
    (len <= MAX_PAYLOAD_BYTES && offset <= MAX_OFFSET).then_some((message, len))
}

#[test]
fn any_header_is_decoded_as_documented_or_refused() {
    let (ring, cursor) = (ring(), cursor());
    let mut rng = Rng(0xdec0de);
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..200_000 {
        let mut bytes = [0; 24];
        for word in bytes.chunks_mut(8) {
            word.copy_from_slice(&rng.next().to_le_bytes());
        }
        if rng.below(4) > 0 {
            // Nearer to what is right.
            bytes[..4].copy_from_slice(&(rng.below(40_000) as u32).to_le_bytes());
            bytes[4] = rng.below(12) as u8;
            bytes[23] = [bytes[23], 0, 0x3f, 0x40][rng.below(4) as usize];
        }
        for (at, word) in bytes.chunks(8).enumerate() {
            set(&ring, DATA_WORD + at, u64::from_ne_bytes(word.try_into().unwrap()));
        }
        let expected = by_hand(&bytes);
        let mut consumer = Consumer::new(&ring, &cursor, 0).unwrap();
        set(&ring, HEAD, (HEADER + MAX_PAYLOAD_BYTES / 8) as u64);
        match (consumer.peek(), expected) {
            (Ok(Some(record)), Some((message, len))) => {
                assert_eq!((record.message, record.payload.len()), (message, len), "round {round}");
                accepted += 1;
            }
            (Err(Violation::Header), None) => refused += 1,
            (Err(Violation::Length), None) if bytes[..8] == [0xff; 8] => refused += 1,
            (found, expected) => {
                let found = found.map(|record| record.map(|record| record.message));
                panic!("round {round}: {found:?}, not {expected:?}");
            }
        }
    }
    assert!(accepted > 50_000 && refused > 50_000, "{accepted} {refused}");
}

#[test]
fn a_header_lies_in_the_ring_as_documented() {
    let (ring, cursor) = (ring(), cursor());
    let mut producer = Producer::with_reader(&ring, &cursor).unwrap();
    let session = SessionId { index: 0x0a0b, generation: 0x0c0d };
    let message = Message::new(Kind::Evict, session).arg(0x22).clock(0x3132_3334).at(0x4142_4344);
    producer.push(&message, &[0x55; 9]).unwrap();
    let mut bytes = [0; 40];
    resh_channel::memory::Bytes::new(&ring[DATA_WORD..], 40).copy_to(&mut bytes);
    let expected = [
        &[9, 0, 0, 0, 9, 0x22, 0x0d, 0x0c, 0x0b, 0x0a, 0, 0, 0x34, 0x33, 0x32, 0x31][..],
        &[0x44, 0x43, 0x42, 0x41, 0, 0, 0, 0],
        &[0x55; 9],
        &[0; 7],
    ]
    .concat();
    assert_eq!(bytes[..], expected);
}

#[test]
fn numbers_of_kinds_and_reasons_are_fixed() {
    let kinds: Vec<u8> = (0..=255).filter(|n| Kind::from_u8(*n).is_some()).collect();
    assert_eq!(kinds, (1..=16).collect::<Vec<_>>());
    assert!(kinds.iter().all(|n| Kind::from_u8(*n).unwrap() as u8 == *n));
    let reasons: Vec<u8> = (0..=255).filter(|n| Reason::from_u8(*n).is_some()).collect();
    assert!(reasons.iter().all(|n| Reason::from_u8(*n).unwrap() as u8 == *n));
    assert!(reasons.len() >= 7 && !reasons.contains(&0));
}

#[test]
fn a_snapshot_of_any_bytes_is_a_value_or_an_error() {
    let mut rng = Rng(0x5a45);
    let mut scratch = vec![0; 1 << 16];
    let mut read = [0; 2];
    for _ in 0..20_000 {
        let region = words(rng.below(200) as usize);
        for word in &region {
            let value = match rng.below(4) {
                0 => rng.next(),
                1 => 0,
                2 => rng.next() & 0x0303_0303_0303_0303,
                _ => rng.below(2000),
            };
            word.store(value, std::sync::atomic::Ordering::Relaxed);
        }
        if let Some(sequence) = region.first() {
            sequence.store(2 * rng.below(3), std::sync::atomic::Ordering::Relaxed);
        }
        let at = rng.below(scratch.len() as u64 + 1) as usize;
        read[0] += usize::from(snapshot::read::<VoterStats>(&region, &mut scratch[..at]).is_ok());
        read[1] += usize::from(snapshot::read::<NetworkStats>(&region, &mut scratch[..at]).is_ok());
    }
    assert!(read[1] > 100, "some of them are values: {read:?}");
}

#[test]
fn a_snapshot_is_read_as_it_was_published() {
    let region = words(64);
    let mut scratch = [0; 512];
    assert_eq!(snapshot::read::<u64>(&region, &mut scratch), Err(SnapshotError::Empty));
    assert_eq!(snapshot::read::<u64>(&region[..3], &mut scratch), Err(SnapshotError::Empty));
    let mut publisher = Publisher::new(&region);
    let value = (7u64, "abc", [1u8, 2, 3], u64::MAX);
    for n in 0..5u64 {
        publisher.publish(&(n, value.1, value.2, value.3), &mut scratch).unwrap();
        let found: (u64, heapless::String<8>, [u8; 3], u64) =
            snapshot::read(&region, &mut scratch).unwrap();
        assert_eq!((found.0, found.1.as_str(), found.2, found.3), (n, "abc", value.2, value.3));
    }
    let too_large = [[u64::MAX; 20]; 4];
    assert_eq!(publisher.publish(&too_large, &mut scratch), Err(SnapshotError::TooLarge));
    let mut large_scratch = [0; 2000];
    assert_eq!(publisher.publish(&too_large, &mut large_scratch), Err(SnapshotError::TooLarge));
    assert_eq!(snapshot::read::<u8>(&region, &mut scratch[..3]), Err(SnapshotError::TooLarge));
    // What was published last is still there.
    assert_eq!(snapshot::read::<u8>(&region, &mut scratch), Ok(4));
}

/// A publisher used to begin at 0 in every life: a reader could take half of each for one value.
#[test]
fn a_new_publisher_goes_on_where_the_last_one_stopped() {
    let region = words(64);
    Publisher::new(&region).publish(&1u64, &mut [0; 16]).unwrap();
    let before = get(&region, 0);
    Publisher::new(&region).publish(&2u64, &mut [0; 16]).unwrap();
    assert!(get(&region, 0) > before);
    // It ended while it wrote.
    set(&region, 0, get(&region, 0) + 1);
    assert_eq!(snapshot::read::<u64>(&region, &mut [0; 16]), Err(SnapshotError::Busy));
    Publisher::new(&region).publish(&3u64, &mut [0; 16]).unwrap();
    assert_eq!(snapshot::read::<u64>(&region, &mut [0; 16]), Ok(3));
    set(&region, 0, u64::MAX);
    Publisher::new(&region).publish(&4u64, &mut [0; 16]).unwrap();
    assert_eq!(snapshot::read::<u64>(&region, &mut [0; 16]), Ok(4));
}
