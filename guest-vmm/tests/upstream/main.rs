//! The TCP client of a guest, against a guest.

mod cable;
mod datagrams;
mod guest;
mod hostile;
mod world;

use gateway::SLOTS;
use gateway::upstream::{Event, Opening, Received, Refused, Sent, Upstream};
use guest_vmm::upstream::{LINGER_MS, RECEIVE_BYTES, SEND_BYTES, SPARE, Serving};
use resh_channel::memory::{AtomicU64, Bytes, Words, copy_in};

use crate::cable::{Cable, End, Rng, Weather};
use crate::guest::Guest;
use crate::world::{SESSIONS, World, settings};

fn words(bytes: &[u8]) -> Vec<AtomicU64> {
    let words: Vec<_> = (0..bytes.len().div_ceil(8)).map(|_| AtomicU64::new(0)).collect();
    copy_in(&words, bytes);
    words
}

fn bytes_of(words: &Words, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    assert_eq!(Bytes::new(words, len).copy_to(&mut bytes), len);
    bytes
}

/// What one session sends and gets back.
struct Talk {
    service: usize,
    request: Vec<u8>,
    sent: usize,
    reply: Vec<u8>,
    open: bool,
    readable: bool,
    writable: bool,
    finished: bool,
    over: bool,
}

impl Talk {
    /// Reads and writes as the gateway does: only after events, and until told to wait.
    fn turn(&mut self, world: &mut World, session: usize) {
        let shared = words(&[0; 5_000]);
        while self.open && self.writable && self.sent < self.request.len() {
            let rest = &self.request[self.sent..];
            let some = &rest[..rest.len().min(1 + world.cable.borrow_mut().rng.below(4_000))];
            let sent = if session.is_multiple_of(2) {
                world.tcp.send_private(session, some)
            } else {
                // From an odd place in shared memory.
                let region = words(&[b"abc", some].concat());
                world.tcp.send(session, Bytes::new(&region, some.len() + 3).skip(3))
            };
            match sent {
                Sent::Some(n) => self.sent += n,
                Sent::WouldBlock => self.writable = false,
                Sent::Gone => panic!("session {session} is gone"),
            }
        }
        if self.open && self.sent == self.request.len() && !self.finished {
            world.tcp.finish(session);
            self.finished = true;
        }
        while self.open && self.readable && !self.over {
            let limit = 1 + world.cable.borrow_mut().rng.below(5_000);
            let mut private = [0; 5_000];
            let received = if session.is_multiple_of(2) {
                world.tcp.recv_private(session, &mut private[..limit])
            } else {
                world.tcp.recv(session, &shared, limit)
            };
            match received {
                Received::Some(n) if session.is_multiple_of(2) => {
                    self.reply.extend(&private[..n]);
                }
                Received::Some(n) => self.reply.extend(bytes_of(&shared, n)),
                Received::WouldBlock => self.readable = false,
                Received::Fin => self.over = true,
                Received::Gone => panic!("session {session} is gone"),
            }
        }
    }
}

/// Streams of all sessions at once, over a link that loses, doubles, reorders and brings nonsense: each
/// byte arrives once and in order, and all seats come back.
#[test]
fn carries_streams_over_a_bad_link() {
    let bad = Weather { lost: 6, doubled: 4, overtaken: 10, damaged: 10 };
    for (seed, weather) in [(1, Weather::default()), (2, bad), (3, bad), (4, bad), (5, bad)] {
        let mut world = World::new(seed, weather);
        let mut rng = Rng::new(seed);
        let mut talks: Vec<Talk> = (0..SESSIONS)
            .map(|session| Talk {
                service: session % 2,
                request: (0..rng.below(60_000)).map(|_| rng.next() as u8).collect(),
                sent: 0,
                reply: Vec::new(),
                open: false,
                readable: false,
                writable: false,
                finished: false,
                over: false,
            })
            .collect();
        for (session, talk) in talks.iter().enumerate() {
            assert_eq!(world.tcp.open(session, talk.service), Ok(Opening::Pending));
        }
        while talks.iter().any(|talk| !talk.over) {
            assert!(world.now_ms < 3_600_000, "seed {seed}: not done within an hour");
            world.tcp.begin(world.now_ms);
            while let Some(event) = world.tcp.next_event() {
                match event {
                    Event::Opened(at) => {
                        let talk = &mut talks[at];
                        assert!(!talk.open);
                        (talk.open, talk.readable, talk.writable) = (true, true, true);
                    }
                    Event::Refused(at) => panic!("seed {seed}: session {at} refused"),
                    Event::Ready { session, readable, writable } => {
                        talks[session].readable |= readable;
                        talks[session].writable |= writable;
                    }
                }
            }
            for (session, talk) in talks.iter_mut().enumerate() {
                talk.turn(&mut world, session);
            }
            world.end_round();
            world.sleep();
        }
        for (session, talk) in talks.iter().enumerate() {
            let expected: Vec<u8> = talk.request.iter().map(|byte| !byte).collect();
            assert!(talk.reply == expected, "seed {seed}: wrong reply in session {session}");
            world.tcp.close(session, false);
        }
        world.drain();
    }
}

#[test]
fn tells_who_refuses_and_who_is_not_there() {
    let mut world = World::new(1, Weather::default());
    assert_eq!(world.tcp.open(0, 2), Ok(Opening::Pending));
    world.until(|_, events| events.contains(&Event::Refused(0)).then_some(()));
    // At once again.
    assert_eq!(world.tcp.open(0, 2), Ok(Opening::Pending));
    assert_eq!(world.tcp.open(0, 2), Err(Refused), "it has one already");
    for (session, service) in [(1, 3), (1, 6), (SLOTS, 0)] {
        assert_eq!(world.tcp.open(session, service), Err(Refused));
    }
    world.drain();
    assert_eq!(world.tcp.recv_private(5, &mut [0]), Received::Gone);
    assert_eq!(world.tcp.send_private(5, &[0]), Sent::Gone);
    world.tcp.close(5, false);
    world.tcp.close(SLOTS, true);
}

/// Nobody answers: nothing happens but SYNs ever more seldom, and what is given up leaves nothing.
#[test]
fn waits_for_a_silent_guest_without_haste() {
    let mut world = World::new(1, Weather::default());
    world.guest = None;
    world.tcp.open(3, 0).unwrap();
    let end_ms = world.now_ms + 20_000;
    let mut rounds = 0;
    while world.now_ms < end_ms {
        assert_eq!(world.round(), []);
        world.cable.borrow_mut().to_guest.clear();
        world.sleep();
        rounds += 1;
    }
    let syns = world.cable.borrow().sent.len();
    assert!((3..=6).contains(&syns), "{syns} SYNs in 20 s");
    assert!(rounds < 30, "{rounds} rounds");
    world.tcp.close(3, true);
    assert_eq!(world.tcp.connections(), 0);
}

#[test]
fn closes_gracefully_or_by_a_reset() {
    let mut world = World::new(7, Weather::default());
    world.open(0..2);
    let request = vec![7; 3 * SEND_BYTES / 4];
    assert_eq!(world.tcp.send_private(0, &request), Sent::Some(request.len()));
    world.tcp.close(0, false);
    world.tcp.close(1, true);
    assert_eq!(world.tcp.connections(), 1, "one rests");
    world.until(|world, _| (world.tcp.connections() == 0).then_some(()));
    let guest = world.guest.as_mut().unwrap();
    assert_eq!(guest.received, request.len());
    assert_eq!(guest.connections(), 0);
    // The index is free at once.
    world.open(0..2);
}

/// A guest that ignores the end of our stream: the connection is cut when its rest is over.
#[test]
fn rests_no_longer_than_it_may() {
    let mut world = World::new(8, Weather::default());
    world.open(0..1);
    world.guest.as_mut().unwrap().answers = false;
    world.tcp.close(0, false);
    let since_ms = world.now_ms;
    world.drain();
    assert!((LINGER_MS..LINGER_MS + 20).contains(&(world.now_ms - since_ms)));
    world.until(|world, _| (world.guest.as_ref().unwrap().connections() == 0).then_some(()));
}

/// More connections rest than there are seats: the oldest gives way.
#[test]
fn gives_a_new_connection_the_seat_that_rested_longest() {
    let mut world = World::new(9, Weather::default());
    world.guest = None;
    let mut opened = 0;
    // The guest is not there, so that they stand only as far as we know.
    for _ in 0..3 {
        for session in 0..SESSIONS {
            world.tcp.open(session, 0).unwrap();
            opened += 1;
        }
        world.round();
        for session in 0..SESSIONS {
            world.tcp.close(session, true);
        }
    }
    assert_eq!((opened, world.tcp.connections()), (3 * SESSIONS, 0));

    let mut world = World::new(9, Weather::default());
    for turn in 0..(SPARE / SESSIONS + 3) {
        world.open(0..SESSIONS);
        world.guest.as_mut().unwrap().answers = false;
        let left = world.tcp.connections();
        assert!(left <= SPARE + SESSIONS, "turn {turn}: {left}");
        // No time passes, so none leaves by itself.
        (0..SESSIONS).for_each(|session| world.tcp.close(session, false));
    }
    assert!(world.tcp.connections() > SPARE);
}

/// The guest starts anew, told or untold: what stood is gone, and new connections stand.
#[test]
fn survives_a_guest_that_starts_anew() {
    for told in [true, false] {
        let mut world = World::new(10, Weather::default());
        world.open(0..4);
        world.tcp.open(4, 0).unwrap();
        world.tcp.close(3, false);
        world.guest = Some(Guest::new(world.cable.clone(), 99));
        if told {
            world.tcp.guest_restarted();
        } else {
            // It learns so from the answers.
            for session in 0..3 {
                assert_eq!(world.tcp.send_private(session, b"hello"), Sent::Some(5));
            }
        }
        let mut gone = 0;
        world.until(|world, events| {
            for event in events {
                if let Event::Ready { session, readable: true, .. } = *event
                    && world.tcp.recv_private(session, &mut [0; 9]) == Received::Gone
                {
                    assert_eq!(world.tcp.send_private(session, &[1]), Sent::Gone);
                    world.tcp.close(session, false);
                    gone += 1;
                }
            }
            (gone == 3).then_some(())
        });
        world.tcp.close(4, true);
        world.drain();
        world.open(0..SESSIONS);
    }
}

/// What the guest answered before it reset the connection can be read.
#[test]
fn hands_over_what_came_before_a_reset() {
    let mut world = World::new(11, Weather::default());
    world.open(0..1);
    assert_eq!(world.tcp.send_private(0, b"ping"), Sent::Some(4));
    world.until(|world, _| (world.guest.as_ref().unwrap().received == 4).then_some(()));
    // A reset right behind the answer: a segment of ours, turned round.
    let mut cable = world.cable.borrow_mut();
    let mut reset = cable.from_guest.back().expect("the answer is under way").clone();
    reset[47] = 0x14;
    let sequence = u32::from_be_bytes(reset[38..42].try_into().unwrap()) + 4;
    reset[38..42].copy_from_slice(&sequence.to_be_bytes());
    reset[16..18].copy_from_slice(&40u16.to_be_bytes());
    reset[46] = 0x50;
    reset.truncate(54);
    cable.from_guest.push_back(reset);
    drop(cable);
    world.guest = None;
    world.until(|_, events| (!events.is_empty()).then_some(()));
    let mut reply = [0; 9];
    assert_eq!(world.tcp.recv_private(0, &mut reply), Received::Some(4));
    assert_eq!(reply[..4], *b"ping".map(|byte| !byte).as_slice());
    assert_eq!(world.tcp.recv_private(0, &mut reply), Received::Gone);
}

/// A guest that takes no frames: nothing spins, nothing is lost, and all goes on when it does.
#[test]
fn waits_for_room_in_the_guest() {
    let mut world = World::new(12, Weather::default());
    world.open(0..SESSIONS);
    let (guest, room) = (world.guest.take(), world.cable.borrow().room);
    world.cable.borrow_mut().room = 0;
    for session in 0..SESSIONS {
        assert_eq!(world.tcp.send_private(session, &[1; 3_000]), Sent::Some(3_000));
    }
    for _ in 0..100 {
        world.round();
        assert_eq!(world.wake_at_ms, None, "only the guest can make it go on");
        world.now_ms += 100;
    }
    assert_eq!(world.cable.borrow().dropped, 0);
    world.cable.borrow_mut().room = room;
    world.guest = guest;
    world.until(|world, _| {
        (world.guest.as_ref().unwrap().received == SESSIONS * 3_000).then_some(())
    });
}

/// A guest that never stops sending: a round ends, and says that there is more.
#[test]
fn bounds_a_round_under_a_flood() {
    let mut world = World::new(13, Weather::default());
    let flood = vec![0xff; 60];
    world.cable.borrow_mut().from_guest.extend(std::iter::repeat_n(flood, 10_000));
    world.guest = None;
    world.round();
    let left = world.cable.borrow().from_guest.len();
    assert!((9_000..10_000).contains(&left), "{left}");
    assert_eq!(world.wake_at_ms, Some(world.now_ms));
    assert!(world.cable.borrow().sent.is_empty());
}

#[test]
fn takes_another_port_and_sequence_number_each_time() {
    let mut world = World::new(14, Weather::default());
    for _ in 0..100 {
        world.open(0..1);
        world.tcp.close(0, true);
    }
    let cable: &Cable = &world.cable.borrow();
    let syns = cable.sent.iter().filter(|frame| frame[12..14] == [8, 0] && frame[47] == 2);
    let mut seen: Vec<(u16, u32)> = syns
        .map(|frame| {
            let port = u16::from_be_bytes(frame[34..36].try_into().unwrap());
            (port, u32::from_be_bytes(frame[38..42].try_into().unwrap()))
        })
        .collect();
    seen.sort_unstable();
    // One may have been sent again.
    seen.dedup();
    assert_eq!(seen.len(), 100);
    assert!(seen.windows(2).all(|pair| pair[0].0 != pair[1].0), "a port twice");
    seen.sort_unstable_by_key(|(_, sequence)| *sequence);
    assert!(seen.windows(2).all(|pair| pair[0].1 != pair[1].1), "a sequence number twice");
}

/// The window closes when we do not read, and opens again.
#[test]
fn holds_back_a_guest_that_sends_too_much() {
    let mut world = World::new(15, Weather::default());
    world.open(0..1);
    let (mut sent, mut read, total) = (0, 0, 4 * RECEIVE_BYTES);
    let mut reading = false;
    let mut buffer = [0; 4_096];
    let end_ms = world.now_ms + 600_000;
    while read < total {
        assert!(world.now_ms < end_ms);
        world.tcp.begin(world.now_ms);
        while world.tcp.next_event().is_some() {}
        if sent < total
            && let Sent::Some(n) = world.tcp.send_private(0, &vec![3; total - sent])
        {
            sent += n;
        }
        // At first nothing is read, until everything stands still.
        reading |= world.now_ms > end_ms - 570_000;
        while reading && let Received::Some(n) = world.tcp.recv_private(0, &mut buffer) {
            assert!(buffer[..n].iter().all(|byte| *byte == !3));
            read += n;
        }
        world.end_round();
        world.sleep();
    }
}

/// A guest that comes up while it is asked: not there, then without servers, then serving.
#[test]
fn finds_out_when_a_guest_serves() {
    let mut world = World::new(16, Weather::default());
    let guest = world.guest.take();
    let room = std::mem::replace(&mut world.cable.borrow_mut().room, 0);
    let ask = |world: &mut World| {
        let serving = world.tcp.probe(world.now_ms);
        if let Some(guest) = &mut world.guest {
            guest.round(world.now_ms);
        }
        match serving {
            Serving::Yes => true,
            Serving::NotYet { again_at_ms } => {
                assert!(again_at_ms > world.now_ms || world.cable.borrow().is_busy());
                world.now_ms = if world.cable.borrow().is_busy() {
                    world.now_ms + 1
                } else {
                    again_at_ms.clamp(world.now_ms + 1, world.now_ms + 1_000)
                };
                false
            }
        }
    };
    // It has no network yet. Then it has, but service 2 has no server.
    for _ in 0..200 {
        assert!(!ask(&mut world));
    }
    world.cable.borrow_mut().room = room;
    world.guest = guest;
    for _ in 0..200 {
        assert!(!ask(&mut world));
    }
    let left = world.tcp.connections();
    assert!(left <= 2, "{left}");
    let mut two = settings(3);
    two.ports.truncate(2);
    world.tcp = guest_vmm::upstream::Tcp::new(End(world.cable.clone()), two);
    let since_ms = world.now_ms;
    while !ask(&mut world) {
        assert!(world.now_ms < since_ms + 5_000);
    }
    assert!(ask(&mut world));
    world.drain();
}
