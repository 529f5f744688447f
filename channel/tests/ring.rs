//! What rings do, one property at a time, and every bug they once had.
#![cfg(not(loom))]

mod common;

use common::*;
use resh_channel::message::{Kind, MAX_PAYLOAD_BYTES};
use resh_channel::ring::{Consumer, DATA_WORD, MAX_READERS, Producer, TooSmall, Violation};

const PAD: u64 = u64::MAX;

#[test]
fn a_record_comes_out_as_it_went_in() {
    let (ring, cursor) = (ring(), cursor());
    let mut producer = Producer::with_reader(&ring, &cursor).unwrap();
    let mut consumer = Consumer::new(&ring, &cursor, 0).unwrap();
    for len in [0, 1, 7, 8, 9, 4095, MAX_PAYLOAD_BYTES] {
        let message = data(len as u64).arg(3).clock(77);
        assert_eq!(producer.push(&message, &pattern(1, len)), Ok(true));
        assert!(take(&mut consumer).is_none(), "not published yet");
        producer.publish();
        assert_eq!(take(&mut consumer), Some((message, pattern(1, len))));
        assert!(take(&mut consumer).is_none());
        consumer.release();
    }
    assert_eq!(producer.is_drained(), Ok(true));
}

#[test]
fn regions_that_are_too_small_are_refused() {
    let small = words(DATA_WORD + CAPACITY - 1);
    let (ring, cursor, short) = (ring(), cursor(), words(3));
    assert_eq!(Producer::new(&small, 0).err(), Some(TooSmall));
    assert_eq!(Producer::new(&[], 0).err(), Some(TooSmall));
    assert_eq!(Consumer::new(&small, &cursor, 0).err(), Some(TooSmall));
    assert_eq!(Consumer::new(&ring, &short, 0).err(), Some(TooSmall));
    let mut producer = Producer::new(&ring, 0).unwrap();
    assert_eq!(producer.add_reader(0, &short), Err(TooSmall));
    assert_eq!(producer.add_reader(MAX_READERS, &cursor), Err(TooSmall));
}

#[test]
fn every_end_position_wraps() {
    for before_end in (1..20).chain(CAPACITY as u64 / 2 - 8..CAPACITY as u64 / 2 + 8) {
        for len in [0, 8, 16, 100, MAX_PAYLOAD_BYTES - 8, MAX_PAYLOAD_BYTES] {
            let (ring, cursor) = (ring(), cursor());
            let mut producer = Producer::with_reader(&ring, &cursor).unwrap();
            let mut consumer = Consumer::new(&ring, &cursor, 0).unwrap();
            move_to_end(&mut producer, &mut consumer, before_end);
            for n in 0..2 {
                assert_eq!(
                    producer.push(&data(n), &pattern(n, len)),
                    Ok(true),
                    "{before_end} {len}"
                );
                producer.publish();
                assert_eq!(take(&mut consumer), Some((data(n), pattern(n, len))));
                assert!(take(&mut consumer).is_none());
                consumer.release();
            }
            assert_eq!(producer.is_drained(), Ok(true));
        }
    }
}

#[test]
fn a_drained_ring_has_room_for_the_largest_record_wherever_it_stands() {
    let (ring, cursor) = (ring(), cursor());
    let mut producer = Producer::with_reader(&ring, &cursor).unwrap();
    let mut consumer = Consumer::new(&ring, &cursor, 0).unwrap();
    for n in 0..2000 {
        assert_eq!(producer.push(&data(n), &[0; 32]), Ok(true));
        producer.publish();
        take(&mut consumer).unwrap();
        consumer.release();
        assert!(producer.reserve(MAX_PAYLOAD_BYTES).unwrap().is_some());
    }
}

#[test]
fn less_may_be_committed_than_was_reserved() {
    let (ring, cursor) = (ring(), cursor());
    let mut producer = Producer::with_reader(&ring, &cursor).unwrap();
    let mut consumer = Consumer::new(&ring, &cursor, 0).unwrap();
    for n in 0..100 {
        let words = producer.reserve(MAX_PAYLOAD_BYTES).unwrap().unwrap();
        let len = resh_channel::memory::copy_in(words, &pattern(n, 1003));
        producer.commit(&data(n), len);
        assert_eq!(producer.push(&data(n), b"next"), Ok(true));
        producer.publish();
        assert_eq!(take(&mut consumer), Some((data(n), pattern(n, 1003))));
        assert_eq!(take(&mut consumer), Some((data(n), b"next".to_vec())));
        consumer.release();
    }
}

#[test]
fn a_length_beyond_what_was_reserved_never_leaves_the_reservation() {
    let (ring, cursor) = (ring(), cursor());
    let mut producer = Producer::with_reader(&ring, &cursor).unwrap();
    let mut consumer = Consumer::new(&ring, &cursor, 0).unwrap();
    producer.commit(&data(0), 8);
    assert_eq!(producer.head(), 0, "nothing was reserved");
    producer.reserve(16).unwrap().unwrap();
    producer.commit(&data(0), usize::MAX);
    producer.publish();
    assert_eq!(take(&mut consumer).unwrap().1.len(), 16);
    // Nor does a reservation outlive one that was refused.
    assert!(producer.reserve(8).unwrap().is_some());
    while producer.push(&data(0), &[0; 4000]).unwrap() {}
    assert!(producer.reserve(8).unwrap().is_some());
    assert!(producer.reserve(4000).unwrap().is_none());
    let before = producer.head();
    producer.commit(&data(0), 8);
    assert_eq!(producer.head(), before);
}

/// The padding used to be written by `reserve`: a reservation given up at the ring's end then filled
/// the ring with padding that a sleeping consumer never gave back.
#[test]
fn a_reservation_given_up_leaves_no_trace() {
    let (ring, cursor) = (ring(), cursor());
    let mut producer = Producer::with_reader(&ring, &cursor).unwrap();
    let mut consumer = Consumer::new(&ring, &cursor, 0).unwrap();
    move_to_end(&mut producer, &mut consumer, 9);
    let before = producer.head();
    assert!(producer.reserve(1000).unwrap().is_some());
    assert!(!producer.arm(1000).unwrap());
    assert_eq!(producer.head(), before);
    assert_eq!(producer.publish(), 0);
    assert!(consumer.arm());
    // What fits before the end still goes there.
    assert_eq!(producer.push(&data(1), &[1; 48]), Ok(true));
    assert_eq!(producer.head(), before + 9);
}

#[test]
fn a_full_ring_says_so_and_goes_on_after_release() {
    let (ring, cursor) = (ring(), cursor());
    let mut producer = Producer::with_reader(&ring, &cursor).unwrap();
    let mut consumer = Consumer::new(&ring, &cursor, 0).unwrap();
    let mut written = 0;
    while producer.push(&data(written), &pattern(written, 700)).unwrap() {
        written += 1;
    }
    producer.publish();
    assert!(producer.backlog(0) <= CAPACITY as u64);
    for n in 0..written {
        assert_eq!(take(&mut consumer), Some((data(n), pattern(n, 700))));
        assert_eq!(producer.push(&data(0), &[0; 700]), Ok(false), "nothing released yet");
    }
    consumer.release();
    assert_eq!(producer.push(&data(0), &[0; 700]), Ok(true));
}

#[test]
fn the_slowest_reader_holds_back_the_ring_until_it_is_dropped() {
    let (ring, fast, slow) = (ring(), cursor(), cursor());
    let mut producer = Producer::new(&ring, 0).unwrap();
    assert_eq!(producer.add_reader(0, &fast), Ok(0));
    assert_eq!(producer.add_reader(1, &slow), Ok(0));
    let mut consumer = Consumer::new(&ring, &fast, 0).unwrap();
    let mut idle = Consumer::new(&ring, &slow, 0).unwrap();
    while producer.push(&data(0), &[0; 1000]).unwrap() {
        producer.publish();
        take(&mut consumer).unwrap();
        consumer.release();
    }
    assert!(!idle.arm() && consumer.arm());
    producer.refresh().unwrap();
    assert_eq!(producer.backlog(0), 0);
    assert!(producer.backlog(1) > CAPACITY as u64 - 256);
    producer.drop_reader(1);
    assert_eq!(producer.push(&data(5), &[5]), Ok(true));
    assert_eq!(producer.publish(), 1, "only the reader that is still there is signalled");
    assert_eq!(take(&mut consumer), Some((data(5), vec![5])));
}

/// A reader that joined between `push` and `publish` used to be accused of an impossible position, and
/// to accuse the producer.
#[test]
fn a_reader_may_join_in_the_middle_of_a_batch() {
    let (ring, first, second) = (ring(), cursor(), cursor());
    let mut producer = Producer::with_reader(&ring, &first).unwrap();
    let mut early = Consumer::new(&ring, &first, 0).unwrap();
    assert!(early.arm());
    producer.push(&data(1), b"before").unwrap();
    let start = producer.add_reader(1, &second).unwrap();
    let mut late = Consumer::new(&ring, &second, start).unwrap();
    assert!(take(&mut late).is_none());
    assert_eq!(producer.refresh(), Ok(()));
    assert_eq!(producer.publish(), 1, "the sleeper is still reported");
    assert_eq!(producer.publish(), 0, "once");
    producer.push(&data(2), b"after").unwrap();
    producer.publish();
    assert_eq!(take(&mut early), Some((data(1), b"before".to_vec())));
    assert_eq!(take(&mut early), Some((data(2), b"after".to_vec())));
    assert_eq!(take(&mut late), Some((data(2), b"after".to_vec())));
    assert!(take(&mut late).is_none());
}

/// What a dead reader left in its cursor page used to be taken for the word of its successor.
#[test]
fn a_new_reader_does_not_answer_for_its_predecessor() {
    for left in [0, 1, 17, 1_000_000, u64::MAX] {
        let (ring, other, cursor) = (ring(), cursor(), cursor());
        let mut producer = Producer::with_reader(&ring, &other).unwrap();
        let mut consumer = Consumer::new(&ring, &other, 0).unwrap();
        move_to_end(&mut producer, &mut consumer, 100);
        set(&cursor, TAIL, left);
        let start = producer.add_reader(1, &cursor).unwrap();
        assert_eq!(producer.refresh(), Ok(()), "{left}");
        assert_eq!(producer.backlog(1), 0);
        let mut fresh = Consumer::new(&ring, &cursor, start).unwrap();
        producer.push(&data(1), b"hello").unwrap();
        producer.publish();
        assert_eq!(take(&mut fresh), Some((data(1), b"hello".to_vec())));
        fresh.release();
        assert_eq!(producer.refresh(), Ok(()));
        assert_eq!(producer.backlog(1), 0);
        // From here on its word counts.
        set(&cursor, TAIL, start);
        assert_eq!(producer.refresh(), Err((1, Violation::Position)));
    }
}

/// What a dead reader left may be where its successor comes to stand.
#[test]
fn a_new_reader_may_stand_where_its_predecessor_claimed_to() {
    for (paused, looks) in [(false, true), (true, false), (true, true)] {
        let (ring, cursor) = (ring(), cursor());
        let mut producer = Producer::new(&ring, 0).unwrap();
        set(&cursor, TAIL, 8);
        let start = producer.add_reader(0, &cursor).unwrap();
        if paused {
            producer.pause_reader(0, true);
        }
        let mut fresh = Consumer::new(&ring, &cursor, start).unwrap();
        for n in 0..2 {
            if looks {
                assert_eq!(producer.refresh(), Ok(()));
            }
            assert_eq!(producer.push(&data(n), &[1]), Ok(true));
            producer.publish();
            take(&mut fresh).unwrap();
            fresh.release();
        }
        if paused {
            producer.pause_reader(0, false);
        }
        assert_eq!(producer.is_drained(), Ok(true), "{paused} {looks}");
    }
}

#[test]
fn a_paused_reader_holds_back_the_ring_and_is_not_looked_at() {
    let (ring, cursor) = (ring(), cursor());
    let mut producer = Producer::new(&ring, 0).unwrap();
    producer.add_reader(0, &cursor).unwrap();
    producer.pause_reader(0, true);
    set(&cursor, TAIL, u64::MAX);
    while producer.push(&data(0), &[0; 5000]).unwrap() {}
    producer.publish();
    assert_eq!(producer.refresh(), Ok(()));
    set(&cursor, TAIL, 0);
    producer.pause_reader(0, false);
    assert_eq!(producer.refresh(), Ok(()));
    set(&cursor, TAIL, u64::MAX);
    assert_eq!(producer.refresh(), Err((0, Violation::Position)));
    producer.drop_reader(0);
    assert_eq!(producer.refresh(), Ok(()));
}

/// A restart: the old producer's position, honest or not, used to be taken for the new one's, and what
/// the consumer had read but not released was lost between the two.
#[test]
fn a_new_producer_does_not_answer_for_its_predecessor() {
    let capacity = CAPACITY as u64;
    // What the dead one left in the ring, as a distance from the consumer's position.
    let left = [0, 1, 4, 5, capacity - 1, capacity, capacity + 1, 1 << 40, u64::MAX];
    for (left, looks) in left.into_iter().flat_map(|left| [(left, false), (left, true)]) {
        let (ring, cursor) = (ring(), cursor());
        let mut old = Producer::with_reader(&ring, &cursor).unwrap();
        let mut consumer = Consumer::new(&ring, &cursor, 0).unwrap();
        for n in 0..5 {
            old.push(&data(n), b"old").unwrap();
        }
        old.publish();
        take(&mut consumer).unwrap();
        consumer.release();
        let unreleased = consumer.peek().unwrap().unwrap();
        consumer.advance(&unreleased);
        set(&ring, HEAD, consumer.tail().wrapping_add(left));

        let unread = consumer.peek().unwrap_or_default();
        consumer.forget_producer();
        for record in unread.iter().chain([&unreleased]) {
            let before = consumer.tail();
            consumer.advance(record);
            assert_eq!(consumer.tail(), before, "a record of the dead one moves nothing");
        }
        assert!(take(&mut consumer).is_none(), "nothing of the dead one is read ({left})");
        assert!(consumer.arm());

        let mut new = Producer::new(&ring, Consumer::position_in(&cursor)).unwrap();
        new.add_reader(0, &cursor).unwrap();
        if looks {
            assert!(take(&mut consumer).is_none());
        }
        // As far as one can get before anyone looks.
        let mut written = 0;
        while new.push(&data(written), &pattern(written, 40)).unwrap() {
            written += 1;
        }
        assert_eq!(new.publish(), 1);
        for n in 0..written {
            assert_eq!(take(&mut consumer), Some((data(n), pattern(n, 40))), "{left}");
        }
        consumer.release();
        assert_eq!(new.is_drained(), Ok(true));
    }
}

#[test]
fn a_sleeping_consumer_is_reported_until_it_finds_something() {
    let (ring, cursor) = (ring(), cursor());
    let mut producer = Producer::with_reader(&ring, &cursor).unwrap();
    let mut consumer = Consumer::new(&ring, &cursor, 0).unwrap();
    producer.push(&data(0), b"x").unwrap();
    assert_eq!(producer.publish(), 0, "nobody sleeps");
    assert!(!consumer.arm(), "there is something");
    assert_eq!(get(&cursor, ASLEEP), 0);
    take(&mut consumer).unwrap();
    assert!(consumer.arm());
    assert_eq!(producer.publish(), 0, "nothing new");
    producer.push(&data(0), b"y").unwrap();
    assert_eq!(producer.publish(), 1);
    // It does not say that it is awake, it just goes on.
    take(&mut consumer).unwrap();
    producer.push(&data(0), b"z").unwrap();
    assert_eq!(producer.publish(), 0, "awake: no needless signal");
}

/// Both wishes used to stay set after they were fulfilled, which meant a signal for every batch.
#[test]
fn a_producer_waits_for_room_and_takes_the_wish_back() {
    let (ring, cursor) = (ring(), cursor());
    let mut producer = Producer::with_reader(&ring, &cursor).unwrap();
    let mut consumer = Consumer::new(&ring, &cursor, 0).unwrap();
    assert_eq!(producer.arm(100), Ok(false), "there is room");
    assert_eq!(get(&ring, STARVED), 0);
    while producer.push(&data(0), &[0; 1000]).unwrap() {}
    assert_eq!(producer.arm(1000), Ok(true));
    producer.publish();
    take(&mut consumer).unwrap();
    assert!(consumer.release(), "it waits for room");
    // A smaller record is not what it waits for.
    assert_eq!(producer.push(&data(0), &[0; 10]), Ok(true));
    assert_eq!(get(&ring, STARVED), 1);
    take(&mut consumer).unwrap();
    assert!(consumer.release());
    assert_eq!(producer.push(&data(0), &[0; 1000]), Ok(true));
    assert_eq!(get(&ring, STARVED), 0);
    take(&mut consumer).unwrap();
    assert!(!consumer.release(), "it waits no more");
}

#[test]
fn a_new_end_does_not_inherit_wishes() {
    let (ring, cursor) = (ring(), cursor());
    set(&ring, STARVED, 1);
    set(&cursor, ASLEEP, 1);
    let mut producer = Producer::with_reader(&ring, &cursor).unwrap();
    let mut consumer = Consumer::new(&ring, &cursor, 0).unwrap();
    producer.push(&data(0), b"x").unwrap();
    assert_eq!(producer.publish(), 0);
    take(&mut consumer).unwrap();
    assert!(!consumer.release());
}

/// Advancing twice used to move the consumer past the producer, and to overflow after that.
#[test]
fn a_record_is_passed_over_once() {
    let (ring, cursor) = (ring(), cursor());
    let mut producer = Producer::with_reader(&ring, &cursor).unwrap();
    let mut consumer = Consumer::new(&ring, &cursor, 0).unwrap();
    producer.push(&data(0), b"x").unwrap();
    producer.push(&data(1), b"y").unwrap();
    producer.publish();
    let record = consumer.peek().unwrap().unwrap();
    consumer.advance(&record);
    consumer.advance(&record);
    assert_eq!(take(&mut consumer), Some((data(1), b"y".to_vec())));
    assert!(take(&mut consumer).is_none());
}

#[test]
fn a_consumer_reports_positions_that_cannot_be() {
    for (claim, violation) in [
        (CAPACITY as u64 + 4, true),
        (CAPACITY as u64 + 5, true),
        (3, true),
        (0, true),
        (u64::MAX, true),
        (4, false),
    ] {
        let (ring, cursor) = (ring(), cursor());
        let mut producer = Producer::with_reader(&ring, &cursor).unwrap();
        let mut consumer = Consumer::new(&ring, &cursor, 0).unwrap();
        producer.push(&data(0), b"x").unwrap();
        producer.publish();
        // Read, not released: a producer that trusts us goes no further than the capacity.
        take(&mut consumer).unwrap();
        set(&ring, HEAD, claim);
        let expected = if violation { Some(Violation::Position) } else { None };
        assert_eq!(consumer.peek().err(), expected, "{claim}");
        assert_eq!(consumer.arm(), !violation, "a violation is not slept over");
    }
}

#[test]
fn a_consumer_reports_records_that_cannot_be() {
    let kind = (Kind::Data as u64) << 32;
    let largest = MAX_PAYLOAD_BYTES as u64;
    for (first, published, violation) in [
        (kind | 8, 4, None),
        (kind | 8, 3, Some(Violation::Length)),
        (kind | 8, 2, Some(Violation::Length)),
        (kind | 8, 1, Some(Violation::Length)),
        (kind, 3, None),
        (kind | 9, 4, Some(Violation::Length)),
        (kind | largest, 3 + largest / 8, None),
        (kind | largest, 2 + largest / 8, Some(Violation::Length)),
        (kind | (largest + 1), CAPACITY as u64, Some(Violation::Header)),
        (kind | 0xffff_ffff, CAPACITY as u64, Some(Violation::Header)),
        (8, 4, Some(Violation::Header)),
        (17 << 32, 4, Some(Violation::Header)),
        (0xff << 32, 4, Some(Violation::Header)),
        // Padding is only at the end, and never the whole ring: no endless search.
        (PAD, 1, Some(Violation::Length)),
        (PAD, CAPACITY as u64, Some(Violation::Length)),
        (PAD - 1, 4, Some(Violation::Header)),
    ] {
        let (ring, cursor) = (ring(), cursor());
        let mut consumer = Consumer::new(&ring, &cursor, 0).unwrap();
        set(&ring, DATA_WORD, first);
        set(&ring, HEAD, published);
        assert_eq!(consumer.peek().err(), violation, "{first:#x} {published}");
    }
}

#[test]
fn a_record_that_runs_over_the_end_is_reported() {
    let (ring, cursor) = (ring(), cursor());
    let mut producer = Producer::with_reader(&ring, &cursor).unwrap();
    let mut consumer = Consumer::new(&ring, &cursor, 0).unwrap();
    move_to_end(&mut producer, &mut consumer, 10);
    let last = DATA_WORD + CAPACITY - 10;
    set(&ring, last, ((Kind::Data as u64) << 32) | 57);
    set(&ring, HEAD, producer.head() + 100);
    assert_eq!(consumer.peek().err(), Some(Violation::Length));
    set(&ring, last, ((Kind::Data as u64) << 32) | 56);
    assert_eq!(take(&mut consumer).unwrap().1.len(), 56);
    // Padding that no record needed.
    for (to_end, violation) in [(4098, None), (4099, Some(Violation::Length))] {
        let start = CAPACITY as u64 - to_end;
        let mut consumer = Consumer::new(&ring, &cursor, start).unwrap();
        set(&ring, DATA_WORD + start as usize, PAD);
        set(&ring, HEAD, CAPACITY as u64);
        assert_eq!(consumer.peek().err(), violation);
    }
    // Padding that reaches past what was published.
    let mut consumer = Consumer::new(&ring, &cursor, producer.head()).unwrap();
    set(&ring, last, PAD);
    set(&ring, HEAD, producer.head() + 9);
    assert_eq!(consumer.peek().err(), Some(Violation::Length));
}

#[test]
fn a_producer_reports_positions_that_cannot_be_and_goes_on_without_that_reader() {
    for claim in [u64::MAX, CAPACITY as u64 + 1, 1 << 63] {
        let (ring, honest, hostile) = (ring(), cursor(), cursor());
        let mut producer = Producer::new(&ring, 0).unwrap();
        producer.add_reader(0, &honest).unwrap();
        producer.add_reader(3, &hostile).unwrap();
        let mut consumer = Consumer::new(&ring, &honest, 0).unwrap();
        let mut total = 0;
        set(&hostile, TAIL, claim);
        let offender = loop {
            match producer.push(&data(total), &pattern(total, 1000)) {
                Ok(true) => total += 1,
                Ok(false) => panic!("the violation was not seen"),
                Err(offender) => break offender,
            }
        };
        assert_eq!(offender, (3, Violation::Position));
        producer.drop_reader(3);
        producer.publish();
        for n in 0..total {
            assert_eq!(take(&mut consumer), Some((data(n), pattern(n, 1000))));
        }
        consumer.release();
        assert_eq!(producer.is_drained(), Ok(true));
    }
}

#[test]
fn positions_near_the_end_of_time_do_not_overflow() {
    let (ring, cursor) = (ring(), cursor());
    let mut consumer = Consumer::new(&ring, &cursor, u64::MAX - 2).unwrap();
    set(&ring, HEAD, u64::MAX);
    assert!(consumer.peek().is_err());
    consumer.forget_producer();
    assert!(consumer.peek().unwrap().is_none());
    set(&ring, HEAD, 0);
    assert_eq!(consumer.peek().err(), Some(Violation::Position));
}

#[test]
fn a_payload_is_passed_on_from_ring_to_ring() {
    let (one, two, cursor_one, cursor_two) = (ring(), ring(), cursor(), cursor());
    let mut first = Producer::with_reader(&one, &cursor_one).unwrap();
    let mut between = Consumer::new(&one, &cursor_one, 0).unwrap();
    let mut second = Producer::with_reader(&two, &cursor_two).unwrap();
    let mut last = Consumer::new(&two, &cursor_two, 0).unwrap();
    for (n, skip) in (0..3000).map(|n| (n, n as usize % 23)) {
        let bytes = pattern(n, 23 + n as usize * 7 % 1100);
        first.push(&data(n), &bytes).unwrap();
        first.publish();
        let record = between.peek().unwrap().unwrap();
        assert_eq!(second.push_from(&record.message, record.payload.skip(skip)), Ok(true));
        second.publish();
        between.advance(&record);
        between.release();
        assert_eq!(take(&mut last), Some((data(n), bytes[skip..].to_vec())));
        last.release();
    }
}
