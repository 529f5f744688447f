//! Sessions over UDP: a datagram each way.

use crate::support::voter::Voter;
use crate::support::{DNS_UDP, Memory, RAW_UDP, Random, id};
use resh_channel::message::{CONNECTED, DATAGRAM_BYTES_MAX, Reason};

/// A client's datagram, in as many records as it takes.
fn ask(voter: &mut Voter<'_>, index: u16, service: u8, datagram: &[u8]) {
    assert!(voter.open(id(index, 0), service));
    for piece in datagram.chunks(32 * 1024) {
        while !voter.request(index, piece) {
            voter.run();
        }
        voter.run();
    }
    assert!(voter.request_fin(index));
    voter.run();
}

fn sent(voter: &mut Voter<'_>, index: usize) -> Vec<Vec<u8>> {
    voter.servers().of(index).map(|server| server.got_datagrams.clone()).unwrap_or_default()
}

#[test]
fn the_first_answer_is_the_reply() {
    let memory = Memory::new();
    let mut voter = Voter::joined(memory.rings());
    let random = &mut Random(3);
    for (index, (request, reply)) in
        [(1, 1), (500, 40_000), (DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_MAX)].into_iter().enumerate()
    {
        let (request, reply) = (random.bytes(request), random.bytes(reply));
        ask(&mut voter, index as u16, RAW_UDP, &request);
        assert_eq!(sent(&mut voter, index), [request]);
        voter.servers().arrive_datagram(index, &reply);
        voter.servers().arrive_datagram(index, b"another");
        for _ in 0..5 {
            voter.run();
            voter.hear();
        }
        let known = &voter.sessions[&(index as u16)];
        assert!(known.replied == reply && known.fin, "session {index}");
    }
    assert_eq!((voter.gateway.sessions(), voter.servers().of_session.len()), (0, 0));
}

#[test]
fn nothing_is_sent_before_the_datagram_is_complete() {
    let memory = Memory::new();
    let mut voter = Voter::joined(memory.rings());
    assert!(voter.open(id(0, 0), RAW_UDP));
    assert!(voter.request(0, b"half"));
    voter.run();
    assert!(sent(&mut voter, 0).is_empty());
    assert!(voter.request(0, b" and half"));
    voter.run();
    assert!(sent(&mut voter, 0).is_empty());
    assert!(voter.request_fin(0));
    voter.run();
    assert_eq!(sent(&mut voter, 0), [b"half and half"]);
}

#[test]
fn a_datagram_without_an_answer_is_sent_again_twice() {
    let memory = Memory::new();
    let mut voter = Voter::joined(memory.rings());
    ask(&mut voter, 0, RAW_UDP, b"hello");
    ask(&mut voter, 1, RAW_UDP, b"there");
    let steps = [(499, 1), (1, 2), (500, 2), (499, 2), (1, 3), (500, 3), (500, 3), (499, 3)];
    for (after_ms, times) in steps {
        voter.now_ms += after_ms;
        voter.run();
        assert_eq!(sent(&mut voter, 0), vec![b"hello"; times]);
    }
    voter.servers().arrive_datagram(1, b"late, but here");
    voter.run();
    voter.hear();
    assert_eq!(voter.sessions[&1].replied, b"late, but here");
    assert_eq!(voter.sessions[&0].reset, None);
    voter.now_ms += 1;
    voter.run();
    voter.hear();
    assert_eq!(voter.sessions[&0].reset, Some(Reason::TimeOut as u8));
    assert_eq!(voter.gateway.sessions(), 0);
}

/// A question for the address of `name`, as `dig` asks.
fn question(number: u16, name: &str) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

#[test]
fn an_answer_to_another_question_is_none() {
    let memory = Memory::new();
    let mut voter = Voter::joined(memory.rings());
    ask(&mut voter, 0, DNS_UDP, &question(0x1234, "www.example"));
    let asked = sent(&mut voter, 0);
    assert_eq!(asked.len(), 1);
    // The same question back, as an answer without records.
    let mut answer = asked[0].clone();
    answer[2] |= 0x80;
    let mut other = answer.clone();
    other[0] ^= 1;
    voter.servers().arrive_datagram(0, &other);
    voter.servers().arrive_datagram(0, b"?");
    voter.run();
    voter.hear();
    let known = &voter.sessions[&0];
    assert_eq!((known.replied.len(), known.fin, known.reset), (0, false, None));
    voter.servers().arrive_datagram(0, &answer);
    voter.run();
    voter.hear();
    let known = &voter.sessions[&0];
    assert_eq!((&known.replied[..2], known.fin), (&[0x12, 0x34][..], true));
}

#[test]
fn a_probe_finds_a_socket() {
    let memory = Memory::new();
    let mut voter = Voter::joined(memory.rings());
    assert!(voter.probe(id(1272, 0), RAW_UDP));
    voter.run();
    voter.hear();
    assert_eq!(voter.sessions[&1272].replied, CONNECTED);
}
