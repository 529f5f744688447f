//! What the tests of this crate share.
#![allow(dead_code, unreachable_pub, missing_docs)]

use std::sync::atomic::{AtomicU64, Ordering};

use resh_channel::message::{Kind, MAX_PAYLOAD_BYTES, Message, SessionId};
use resh_channel::ring::{CURSOR_WORDS, Consumer, DATA_WORD, Producer};

/// The smallest ring there may be, in words of records.
pub const CAPACITY: usize = 2 * (3 + MAX_PAYLOAD_BYTES / 8);

/// Words of the layout in `docs/channel.md`.
pub const HEAD: usize = 0;
pub const STARVED: usize = 8;
pub const TAIL: usize = 0;
pub const ASLEEP: usize = 8;

pub fn words(count: usize) -> Vec<AtomicU64> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

pub fn ring() -> Vec<AtomicU64> {
    words(DATA_WORD + CAPACITY)
}

pub fn cursor() -> Vec<AtomicU64> {
    words(CURSOR_WORDS)
}

pub fn get(words: &[AtomicU64], at: usize) -> u64 {
    words[at].load(Ordering::Relaxed)
}

pub fn set(words: &[AtomicU64], at: usize, value: u64) {
    words[at].store(value, Ordering::Relaxed);
}

pub fn data(offset: u64) -> Message {
    Message::new(Kind::Data, SessionId { index: 7, generation: 9 }).at(offset)
}

/// Takes the next record as its message and bytes.
pub fn take(consumer: &mut Consumer<'_>) -> Option<(Message, Vec<u8>)> {
    let record = consumer.peek().expect("no violation")?;
    let mut bytes = vec![0; record.payload.len()];
    assert_eq!(record.payload.copy_to(&mut bytes), bytes.len());
    consumer.advance(&record);
    Some((record.message, bytes))
}

/// Pushes and takes empty-handed records until the next one begins `before_end` words before the end.
pub fn move_to_end(producer: &mut Producer<'_>, consumer: &mut Consumer<'_>, before_end: u64) {
    let capacity = producer.capacity_bytes() / 8;
    let target = capacity - before_end;
    assert!(target >= 6, "no record is that small");
    loop {
        let here = producer.head() % capacity;
        if here == target {
            return;
        }
        let left = (target + capacity - here) % capacity;
        // Never leave one or two words, where no record has room.
        let n = if left < 6 { left } else { left.min(4000) };
        let n = if left > n && left - n < 3 { n - 3 } else { n };
        assert!(n >= 3, "cannot get there from {here}");
        assert_eq!(producer.push(&data(0), &vec![0; (n as usize - 3) * 8]), Ok(true));
        producer.publish();
        while take(consumer).is_some() {}
        consumer.release();
    }
}

/// A small generator of numbers (splitmix64).
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Bytes that tell where in which record they stand.
pub fn pattern(record: u64, len: usize) -> Vec<u8> {
    let mut rng = Rng(record);
    let mut bytes = vec![0; len];
    for piece in bytes.chunks_mut(8) {
        piece.copy_from_slice(&rng.next().to_le_bytes()[..piece.len()]);
    }
    bytes
}
