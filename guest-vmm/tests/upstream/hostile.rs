//! The TCP client of a guest, against a guest that sends what it likes.

use gateway::upstream::{Received, Sent, Upstream};
use proptest::prelude::*;
use resh_channel::memory::{AtomicU64, Bytes};

use crate::cable::Weather;
use crate::world::{SESSIONS, World};

/// What may happen.
#[derive(Clone, Debug)]
enum Step {
    /// Any bytes.
    Noise(Vec<u8>),
    /// A segment to one of our ports, which goes by a frame of ours.
    Segment {
        of: usize,
        flags: u8,
        sequence: Option<u32>,
        ahead: i16,
        window: u16,
        payload: Vec<u8>,
        options: Vec<u8>,
    },
    /// A datagram to one of our ports, or what says that it found nobody.
    Datagram {
        of: usize,
        unreachable: bool,
        payload: Vec<u8>,
    },
    /// The same with a bit of it changed.
    Changed {
        of: usize,
        bit: usize,
    },
    Arp(Vec<u8>),
    Open {
        session: usize,
        service: usize,
    },
    Close {
        session: usize,
        abort: bool,
    },
    Send {
        session: usize,
        len: usize,
    },
    /// In every session.
    Receive {
        limit: usize,
    },
    Finish {
        session: usize,
    },
    Pass {
        ms: u64,
    },
    Room {
        frames: usize,
    },
    Restart,
    Probe,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let session = || 0..SESSIONS + 1;
    let bytes = |len: usize| prop::collection::vec(any::<u8>(), 0..len);
    // SYN and ACK together open connections, so that there is something to break.
    let flags = prop_oneof![3 => Just(0x12u8), 3 => Just(0x10u8), 1 => Just(0x11u8), 1 => Just(0x14u8), 2 => any::<u8>()];
    // None: where the stream begins.
    let sequence = prop_oneof![5 => Just(None), 2 => (70..3_000u32).prop_map(Some), 1 => any::<u32>().prop_map(Some)];
    let ahead = prop_oneof![6 => Just(0i16), 1 => any::<i16>()];
    let options = prop_oneof![
        4 => Just(Vec::new()),
        2 => (0..3_000u16).prop_map(|mss| [&[2, 4][..], &mss.to_be_bytes()].concat()),
        2 => prop::collection::vec(any::<u8>(), 0..40),
    ];
    // Mostly in answer to one of the last.
    let of = prop_oneof![4 => 0..4usize, 1 => any::<usize>()];
    let segment = (of, flags, sequence, ahead, any::<u16>(), bytes(1_460), options).prop_map(
        |(of, flags, sequence, ahead, window, payload, options)| Step::Segment {
            of,
            flags,
            sequence,
            ahead,
            window,
            payload,
            options,
        },
    );
    let step = prop_oneof![
        2 => bytes(1_600).prop_map(Step::Noise),
        20 => segment,
        6 => (any::<usize>(), any::<bool>(), bytes(1_600)).prop_map(
            |(of, unreachable, payload)| Step::Datagram { of, unreachable, payload },
        ),
        3 => (any::<usize>(), any::<usize>()).prop_map(|(of, bit)| Step::Changed { of, bit }),
        1 => bytes(40).prop_map(Step::Arp),
        8 => (session(), 0..6usize).prop_map(|(session, service)| Step::Open { session, service }),
        2 => (session(), any::<bool>()).prop_map(|(session, abort)| Step::Close { session, abort }),
        4 => (session(), 1..40_000usize).prop_map(|(session, len)| Step::Send { session, len }),
        4 => (1..40_000usize).prop_map(|limit| Step::Receive { limit }),
        1 => session().prop_map(|session| Step::Finish { session }),
        3 => (0..3_000u64).prop_map(|ms| Step::Pass { ms }),
        1 => (0..9usize).prop_map(|frames| Step::Room { frames }),
        1 => Just(Step::Restart),
        1 => Just(Step::Probe),
    ];
    prop::collection::vec(step, 0..150)
}

/// A TCP segment to us in answer to `ours`, a frame with one.
fn answer(
    ours: &[u8],
    flags: u8,
    sequence: u32,
    ahead: i16,
    window: u16,
    options: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let padded = options.len().next_multiple_of(4).min(40);
    let mut frame = vec![0; 34 + 20 + padded];
    frame[..6].copy_from_slice(&ours[6..12]);
    frame[6..12].copy_from_slice(&ours[..6]);
    frame[12..34].copy_from_slice(&ours[12..34]);
    frame[14] = 0x45;
    frame[26..30].copy_from_slice(&ours[30..34]);
    frame[30..34].copy_from_slice(&ours[26..30]);
    frame[34..36].copy_from_slice(&ours[36..38]);
    frame[36..38].copy_from_slice(&ours[34..36]);
    frame[38..42].copy_from_slice(&sequence.to_be_bytes());
    let theirs = u32::from_be_bytes(ours[38..42].try_into().unwrap());
    let syn = u32::from(ours[47] >> 1 & 1);
    let acknowledged = theirs.wrapping_add(syn).wrapping_add_signed(ahead.into());
    frame[42..46].copy_from_slice(&acknowledged.to_be_bytes());
    frame[46] = (((20 + padded) / 4) << 4) as u8;
    frame[47] = flags;
    frame[48..50].copy_from_slice(&window.to_be_bytes());
    let len = options.len().min(40);
    frame[54..54 + len].copy_from_slice(&options[..len]);
    frame.extend(&payload[..payload.len().min(1_514 - frame.len())]);
    let total = (frame.len() - 14) as u16;
    frame[16..18].copy_from_slice(&total.to_be_bytes());
    frame
}

/// What says something of `ours`, a frame with a datagram: an answer, or that it found nobody.
fn about(ours: &[u8], unreachable: bool, payload: &[u8]) -> Vec<u8> {
    let mut frame = answer(&[ours, &[0; 20]].concat(), 0, 0, 0, 0, &[], &[]);
    frame.truncate(38);
    if unreachable {
        frame.truncate(34);
        frame[23] = 1;
        frame.extend([3, 3, 0, 0, 0, 0, 0, 0]);
        frame.extend(&ours[14..]);
    } else {
        let len = (8 + payload.len()) as u16;
        frame.extend(len.to_be_bytes());
        frame.extend([0, 0]);
    }
    frame.extend(payload);
    let total = (frame.len() - 14) as u16;
    frame[16..18].copy_from_slice(&total.to_be_bytes());
    frame
}

fn run(seed: u64, steps: Vec<Step>) -> (usize, usize) {
    let mut world = World::new(seed, Weather::default());
    world.guest = None;
    let shared: Vec<AtomicU64> = (0..5_000).map(|_| AtomicU64::new(0)).collect();
    let (mut opened, mut received) = (0, 0);
    for step in steps {
        let ours = |protocol: u8, of: usize, world: &World| {
            let cable = world.cable.borrow();
            let is = |frame: &&Vec<u8>| frame[12..14] == [8, 0] && frame[23] == protocol;
            let segments: Vec<_> = cable.sent.iter().filter(is).collect();
            (!segments.is_empty())
                .then(|| segments[segments.len() - 1 - of % segments.len()].clone())
        };
        let mut send = None;
        match step {
            Step::Noise(bytes) => send = Some(bytes),
            Step::Arp(bytes) => {
                let head = [&[0xff; 12][..], &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]].concat();
                send = Some([head, bytes].concat());
            }
            Step::Segment { of, flags, sequence, ahead, window, payload, options } => {
                let sequence = sequence.unwrap_or(if flags & 2 == 0 { 78 } else { 77 });
                send = ours(6, of, &world)
                    .map(|ours| answer(&ours, flags, sequence, ahead, window, &options, &payload));
            }
            Step::Datagram { of, unreachable, payload } => {
                send = ours(17, of, &world).map(|ours| about(&ours, unreachable, &payload));
            }
            Step::Changed { of, bit } => {
                send = ours(6, of, &world).map(|ours| {
                    let mut frame = answer(&ours, 0x12, 77, 0, 9_000, &[], &[]);
                    let bits = frame.len() * 8;
                    frame[bit % bits / 8] ^= 1 << (bit % 8);
                    frame
                });
            }
            Step::Open { session, service } => {
                let _ = world.tcp.open(session, service);
            }
            Step::Close { session, abort } => world.tcp.close(session, abort),
            Step::Send { session, len } => {
                match world.tcp.send(session, Bytes::new(&shared, len)) {
                    Sent::Some(n) => assert!((1..=len).contains(&n)),
                    Sent::WouldBlock | Sent::Gone => {}
                }
            }
            Step::Receive { limit } => {
                for session in 0..=SESSIONS {
                    match world.tcp.recv(session, &shared, limit) {
                        Received::Some(n) => {
                            assert!((1..=limit).contains(&n));
                            received += 1;
                        }
                        Received::WouldBlock | Received::Fin | Received::Gone => {}
                    }
                }
            }
            Step::Finish { session } => world.tcp.finish(session),
            Step::Pass { ms } => world.now_ms += ms,
            Step::Room { frames } => world.cable.borrow_mut().room = frames * 8,
            Step::Restart => world.tcp.guest_restarted(),
            Step::Probe => {
                world.tcp.probe(world.now_ms);
            }
        }
        world.cable.borrow_mut().from_guest.extend(send);
        let before = world.cable.borrow().sent.len();
        let events = world.round();
        world.cable.borrow_mut().to_guest.clear();
        opened +=
            events.iter().filter(|e| matches!(e, gateway::upstream::Event::Opened(_))).count();
        assert!(events.len() <= 2 * SESSIONS, "events without end");
        // At most what all buffers hold, in segments of 48 bytes or more.
        let sent = world.cable.borrow().sent.len() - before;
        assert!(sent <= 64 * SESSIONS + 8, "{sent} frames for one");
    }
    (opened, received)
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: proptest::test_runner::RngSeed::Fixed(0x6057_11e5),
        failure_persistence: None,
        ..ProptestConfig::with_cases(200)
    })]

    #[test]
    fn survives_whatever_a_guest_sends(seed in any::<u64>(), steps in steps()) {
        run(seed, steps);
    }
}

/// The steps above reach what they are for: connections that stand and receive.
#[test]
fn steps_reach_open_connections() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::{Config, TestRunner};
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    let (mut opened, mut received) = (0, 0);
    for seed in 0..100 {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        let (o, r) = run(seed, steps);
        opened += o;
        received += r;
    }
    assert!(opened > 100 && received > 20, "{opened} opened, {received} received");
}
