//! Sessions between requests, where another replica may begin to take part.

use crate::http1::session;
use crate::support::server::Ends;
use crate::support::voter::Voter;
use crate::support::{HTTP, Memory, RAW, Random, id, standing};

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

#[test]
fn a_session_rests_when_its_request_is_answered_in_full() {
    let memory = Memory::new();
    let mut voter = Voter::joined(memory.rings());
    assert!(voter.open(id(0, 0), HTTP));
    let request = get("/");
    for n in 1..4 {
        let (first, second) = request.split_at(10);
        let rests = |voter: &mut Voter<'_>| {
            voter.run();
            voter.hear();
            voter.sessions[&0].rests.len()
        };
        assert!(voter.request(0, first));
        assert_eq!(rests(&mut voter), n - 1);
        assert!(voter.request(0, second));
        voter.run();
        voter.servers().settle(0, true);
        voter.servers().make_room(0, 1000);
        assert_eq!(rests(&mut voter), n - 1);
        let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";
        voter.servers().arrive(0, reply, None);
        voter.servers().arrive(0, b"abc", None);
        assert_eq!(rests(&mut voter), n - 1);
        voter.servers().arrive(0, b"d", None);
        assert_eq!(rests(&mut voter), n);
        let known = &voter.sessions[&0];
        assert_eq!(known.rests[n - 1], ((n * request.len()) as u64, known.replied.len() as u64));
    }
}

#[test]
fn who_is_admitted_at_rest_says_what_the_others_say() {
    let mut admitted = 0;
    for seed in 0..30 {
        let random = &mut Random(seed);
        let mut records = Vec::new();
        for number in 0..1 + random.below(20) {
            let request = get(&format!("/{number}{}", "/path".repeat(random.length(300))));
            let mut rest = &request[..];
            while !rest.is_empty() {
                let len = rest.len().min(random.length(2000));
                records.push((rest[..len].to_vec(), 1_700_000_000 + number as u32));
                rest = &rest[len..];
            }
        }
        let whole = session(&records, 0, seed + 1000, None);
        assert!(whole.fin, "seed {seed}");
        for (at, reply_at) in whole.rests {
            admitted += 1;
            let mut position = 0;
            let later: Vec<_> = records
                .iter()
                .filter(|(bytes, _)| {
                    position += bytes.len() as u64;
                    position > at
                })
                .cloned()
                .collect();
            let rest = session(&later, 1, seed + 2000, Some((at, reply_at)));
            let expected = &whole.replied[reply_at as usize..];
            assert!(rest.replied == expected && rest.fin, "seed {seed}, from {at} on");
            assert!(rest.rests.iter().all(|(request, _)| *request > at), "seed {seed}");
        }
    }
    assert!(admitted > 50, "{admitted} times");
}

#[test]
fn a_raw_session_never_rests_but_can_be_entered_at_its_start() {
    let memory = Memory::new();
    let mut voter = Voter::joined(memory.rings());
    assert!(voter.admit(id(0, 3), RAW, (0, 0)));
    voter.run();
    voter.servers().settle(0, true);
    voter.servers().make_room(0, 100);
    assert!(voter.request(0, b"hello"));
    voter.run();
    assert_eq!(voter.servers().of(0).unwrap().got, b"hello");
    voter.servers().arrive(0, b"and good bye", Some(Ends::Fin));
    voter.run();
    voter.hear();
    let known = &voter.sessions[&0];
    assert_eq!((&known.replied[..], known.fin, known.rests.len()), (&b"and good bye"[..], true, 0));
}

#[test]
fn who_takes_part_and_is_admitted_begins_anew() {
    let memory = Memory::new();
    let mut voter = Voter::joined(memory.rings());
    standing(&mut voter, id(0, 3));
    standing(&mut voter, id(1, 3));
    assert!(voter.admit(id(0, 3), RAW, (100, 200)));
    voter.run();
    assert_eq!(voter.servers().all[0].closed, Some(true));
    voter.servers().settle(0, true);
    voter.servers().make_room(0, 100);
    assert!(voter.request(0, b"hello"));
    voter.run();
    assert_eq!(voter.servers().of(0).unwrap().got, b"hello");
    assert_eq!(voter.gateway.sessions(), 2);
}
