//! Services over UDP.

use gateway::upstream::{Event, Opening, Received, Refused, Sent, Upstream};
use guest_vmm::upstream::DATAGRAM_ROOM_BYTES;
use resh_channel::memory::Bytes;

use crate::cable::{Cable, Rng, Weather};
use crate::world::{SESSIONS, UDP, UDP_PORTS, World};
use crate::{bytes_of, words};

/// Bytes of the headers of Ethernet, IPv4 and UDP.
const HEADERS: usize = 14 + 20 + 8;

fn sum_of_header(frame: &[u8]) -> u32 {
    let pairs = frame[14..34].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = pairs.sum();
    (sum >> 16) + (sum & 0xffff)
}

/// What the guest makes of a frame that holds a datagram, if it does: its server answers with each byte
/// inverted, or its kernel says that nobody listens.
fn answer(frame: &[u8], what: impl Fn(u8) -> u8) -> Option<Vec<u8>> {
    if frame[12..14] != [8, 0] || frame[23] != 17 {
        return None;
    }
    assert_eq!(sum_of_header(frame), 0xffff, "Linux looks at this sum");
    let len = usize::from(u16::from_be_bytes([frame[38], frame[39]]));
    assert_eq!(len, frame.len() - 34);
    assert_eq!(usize::from(u16::from_be_bytes([frame[16], frame[17]])), frame.len() - 14);
    let server = u16::from_be_bytes([frame[36], frame[37]]);
    let mut reply = frame.to_vec();
    reply[..6].copy_from_slice(&frame[6..12]);
    reply[6..12].copy_from_slice(&frame[..6]);
    reply[26..30].copy_from_slice(&frame[30..34]);
    reply[30..34].copy_from_slice(&frame[26..30]);
    if server == UDP_PORTS[0] {
        reply[34..36].copy_from_slice(&frame[36..38]);
        reply[36..38].copy_from_slice(&frame[34..36]);
        reply[HEADERS..].iter_mut().for_each(|byte| *byte = what(*byte));
        return Some(reply);
    }
    // ICMP: destination unreachable, port unreachable; our packet's header and eight bytes more (RFC 792).
    reply.truncate(34);
    reply[23] = 1;
    reply.extend([3, 3, 0, 0, 0, 0, 0, 0]);
    reply.extend(&frame[14..42]);
    let total = (reply.len() - 14) as u16;
    reply[16..18].copy_from_slice(&total.to_be_bytes());
    Some(reply)
}

/// Lets the guest answer what has come.
fn serve(cable: &mut Cable, what: impl Fn(u8) -> u8) {
    while let Some(frame) = cable.to_guest.pop_front() {
        if let Some(reply) = answer(&frame, &what) {
            cable.send_from_guest(&reply);
        }
    }
}

fn world(seed: u64, weather: Weather) -> World {
    let mut world = World::new(seed, weather);
    world.guest = None;
    world
}

impl World {
    /// Lets the guest answer, and takes in what it says.
    fn exchange(&mut self) -> Vec<Event> {
        self.now_ms += 1;
        serve(&mut self.cable.borrow_mut(), |byte| !byte);
        self.round()
    }
}

fn ready(session: usize) -> Event {
    Event::Ready { session, readable: true, writable: false }
}

/// Questions of all sessions at once, over a link that loses, doubles, reorders and brings nonsense: who gets an answer
/// gets its own, and who asks again gets one at last.
#[test]
fn carries_datagrams_over_a_bad_link() {
    let bad = Weather { lost: 20, doubled: 10, overtaken: 20, damaged: 20 };
    for (seed, weather) in [(1, Weather::default()), (2, bad), (3, bad), (4, bad)] {
        let mut world = world(seed, weather);
        let mut rng = Rng::new(seed);
        let (mut asked, mut lost) = (0, 0);
        for round in 0..200 {
            let mut questions: Vec<Option<Vec<u8>>> = (0..SESSIONS)
                .map(|_| {
                    (0..1 + rng.below(DATAGRAM_ROOM_BYTES)).map(|_| rng.next() as u8).collect()
                })
                .map(Some)
                .collect();
            for session in 0..SESSIONS {
                assert_eq!(world.tcp.open(session, UDP[0]), Ok(Opening::Open));
            }
            while questions.iter().any(Option::is_some) {
                for (session, bytes) in questions.iter().enumerate() {
                    let Some(bytes) = bytes else { continue };
                    let sent = if session % 2 == 0 {
                        world.tcp.send_private(session, bytes)
                    } else {
                        let region = words(&[b"abc", &bytes[..]].concat());
                        world.tcp.send(session, Bytes::new(&region, bytes.len() + 3).skip(3))
                    };
                    assert_eq!(sent, Sent::Some(bytes.len()));
                    asked += 1;
                }
                for event in world.exchange() {
                    let Event::Ready { session, readable: true, .. } = event else {
                        panic!("{event:?}");
                    };
                    // A second answer to a question is of no interest.
                    let Some(bytes) = questions[session].take() else { continue };
                    let inverted: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
                    let shared = words(&[0; DATAGRAM_ROOM_BYTES]);
                    let mut private = [0; DATAGRAM_ROOM_BYTES];
                    let (received, found) = if session % 2 == 0 {
                        let received = world.tcp.recv(session, &shared, DATAGRAM_ROOM_BYTES);
                        (received, bytes_of(&shared, bytes.len()))
                    } else {
                        let received = world.tcp.recv_private(session, &mut private);
                        (received, private[..bytes.len()].to_vec())
                    };
                    assert_eq!(received, Received::Some(bytes.len()), "seed {seed}, round {round}");
                    assert!(found == inverted, "seed {seed}, round {round}: not the answer");
                }
                lost += questions.iter().flatten().count();
            }
            (0..SESSIONS).for_each(|session| world.tcp.close(session, session % 3 == 0));
            assert_eq!(world.tcp.connections(), 0);
        }
        assert_eq!(lost > 1_000, weather.lost > 0, "seed {seed}: {lost} of {asked}");
    }
}

/// A flow of a session ends with it: an answer that comes late is nobody's.
#[test]
fn late_answers_are_for_nobody() {
    let mut world = world(1, Weather::default());
    let mut private = [0; DATAGRAM_ROOM_BYTES];
    for round in 0..1_000u32 {
        world.tcp.open(3, UDP[0]).unwrap();
        let question = round.to_le_bytes();
        assert_eq!(world.tcp.send_private(3, &question), Sent::Some(4));
        if round % 2 == 0 {
            // Given up before the answer is there.
            world.tcp.close(3, true);
            assert_eq!(world.exchange(), []);
            assert_eq!(world.tcp.recv_private(3, &mut private), Received::Gone);
            continue;
        }
        assert_eq!(world.exchange(), [ready(3)]);
        assert_eq!(world.tcp.recv_private(3, &mut private), Received::Some(4));
        assert_eq!(private[..4], question.map(|byte| !byte));
        assert_eq!(world.tcp.recv_private(3, &mut private), Received::WouldBlock);
        world.tcp.close(3, true);
    }
    // Each had another port.
    let cable = world.cable.borrow();
    let ports: std::collections::HashSet<_> = cable.sent.iter().map(|f| [f[34], f[35]]).collect();
    assert_eq!(ports.len(), 1_000);
}

#[test]
fn tells_where_nobody_listens() {
    let mut world = world(1, Weather::default());
    let mut private = [0; 100];
    world.tcp.open(3, UDP[1]).unwrap();
    world.tcp.open(4, UDP[0]).unwrap();
    for session in [3, 4] {
        assert_eq!(world.tcp.send_private(session, b"?"), Sent::Some(1));
    }
    let mut events = world.exchange();
    events.sort_by_key(|event| format!("{event:?}"));
    assert_eq!(events, [ready(3), ready(4)]);
    assert_eq!(world.tcp.recv_private(3, &mut private), Received::Gone);
    assert_eq!(world.tcp.recv_private(4, &mut private), Received::Some(1));
    // The guest starts anew.
    assert_eq!(world.tcp.send_private(4, b"?"), Sent::Some(1));
    world.tcp.guest_restarted();
    assert_eq!(world.round().len(), 2);
    for session in [3, 4] {
        assert_eq!(world.tcp.recv_private(session, &mut private), Received::Gone);
    }
}

/// An answer from another port than the one that was asked, an empty one, and one that there is no room for.
#[test]
fn takes_no_other_answer() {
    let mut world = world(1, Weather::default());
    let mut private = [0; 100];
    world.tcp.open(3, UDP[0]).unwrap();
    assert_eq!(world.tcp.send_private(3, &[7; 100]), Sent::Some(100));
    let reply = answer(&world.cable.borrow_mut().to_guest.pop_front().unwrap(), |b| b).unwrap();
    let mut other = reply.clone();
    other[35] ^= 1;
    let mut empty = reply[..HEADERS].to_vec();
    empty[16..18].copy_from_slice(&28u16.to_be_bytes());
    empty[38..40].copy_from_slice(&8u16.to_be_bytes());
    let mut fragment = reply.clone();
    fragment[20] = 0x20;
    for frame in [other, empty, fragment, reply[..60].to_vec()] {
        world.cable.borrow_mut().from_guest.push_back(frame);
        assert_eq!(world.round(), []);
    }
    world.cable.borrow_mut().from_guest.push_back(reply.clone());
    assert_eq!(world.round(), [ready(3)]);
    assert_eq!(world.tcp.recv_private(3, &mut private[..99]), Received::WouldBlock);
    world.cable.borrow_mut().from_guest.push_back(reply);
    assert_eq!(world.round(), [ready(3)]);
    assert_eq!(world.tcp.recv_private(3, &mut private), Received::Some(100));
}

#[test]
fn bounds_what_is_under_way() {
    let mut world = world(1, Weather::default());
    for session in 0..SESSIONS {
        assert_eq!(world.tcp.open(session, UDP[0]), Ok(Opening::Open));
    }
    assert_eq!(world.tcp.open(SESSIONS, UDP[0]), Err(Refused));
    assert_eq!(world.tcp.open(3, UDP[0]), Err(Refused));
    let long = [0; DATAGRAM_ROOM_BYTES + 1];
    assert_eq!(world.tcp.send_private(3, &long), Sent::Gone);
    assert_eq!(world.tcp.send_private(3, &long[1..]), Sent::Some(DATAGRAM_ROOM_BYTES));
    world.cable.borrow_mut().room = 1;
    assert_eq!(world.tcp.send_private(3, b"?"), Sent::WouldBlock);
    world.tcp.finish(3);
    assert_eq!(world.exchange(), [ready(3)]);
}
