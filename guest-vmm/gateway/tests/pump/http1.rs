//! Bytes brought to one form on their way.

use crate::support::server::Servers;
use crate::support::voter::Voter;
use crate::support::{HTTP, Memory, Random, id};

/// Answers each request that is complete with its path, in the manner of one make of server.
fn answer(servers: &mut Servers, random: &mut Random, answered: &mut usize, make: usize) {
    let open: Vec<usize> = servers.of_session.keys().copied().collect();
    for session in open {
        let at = servers.of_session[&session];
        let connection = &mut servers.all[at];
        let Some(end) = connection.got.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head: Vec<u8> = connection.got.drain(..end + 4).collect();
        let head = String::from_utf8(head).unwrap();
        let path = head.split(' ').nth(1).unwrap();
        let body = path.repeat(1 + path.len() % 50);
        let len = body.len();
        let reply = match make {
            0 => format!(
                "HTTP/1.1 200 OK\r\nServer: one\r\nDate: Mon, 01 Jan 2001 00:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: {len}\r\n\r\n{body}"
            ),
            _ => format!(
                "HTTP/1.1 200 Fine\r\ncontent-type: text/plain\r\ncontent-length: {len}\r\nserver: Other/2\r\n\r\n{body}"
            ),
        };
        *answered += 1;
        let mut rest = reply.as_bytes();
        while !rest.is_empty() {
            let len = rest.len().min(random.length(3000));
            servers.arrive(session, &rest[..len], None);
            rest = &rest[len..];
        }
    }
}

/// What a session came to.
pub(crate) struct Outcome {
    /// What the client gets.
    pub(crate) replied: Vec<u8>,
    /// In order.
    pub(crate) fin: bool,
    /// Where it was at rest.
    pub(crate) rests: Vec<(u64, u64)>,
}

/// What becomes of a session with a server of that make, if these records come from the client. `from`: it began
/// before the gateway takes part, and has come so far.
pub(crate) fn session(
    records: &[(Vec<u8>, u32)],
    make: usize,
    seed: u64,
    from: Option<(u64, u64)>,
) -> Outcome {
    let memory = Memory::new();
    let mut voter = Voter::joined(memory.rings());
    let random = &mut Random(seed);
    let mut answered = 0;
    match from {
        None => assert!(voter.open(id(0, 0), HTTP)),
        Some(from) => assert!(voter.admit(id(0, 0), HTTP, from)),
    }
    let mut next = 0;
    for round in 0..20_000 {
        if voter.sessions[&0].fin {
            break;
        }
        let late = round > 10_000;
        // Now and then the server sleeps until the client cannot say more.
        let credit = voter.sessions[&0].request_credit();
        let more = records.get(next).is_some_and(|(bytes, _)| bytes.len() <= credit);
        let asleep = seed.is_multiple_of(2) && more && !late;
        // Some clients wait for the answer before they ask more.
        let rested = voter.sessions[&0].rests.last().map_or(0, |(request, _)| *request);
        let asked = next > 0 && records[next - 1].0.ends_with(b"\r\n\r\n");
        let waits = seed % 3 == 1 && asked && rested < voter.sessions[&0].sent;
        if !waits && (late || random.one_in(3)) && next < records.len() {
            let (bytes, clock_s) = &records[next];
            voter.clock_s = *clock_s;
            if bytes.len() <= voter.sessions[&0].request_credit() && voter.request(0, bytes) {
                next += 1;
            }
        } else if next == records.len() && !voter.sessions[&0].fin_sent {
            voter.request_fin(0);
        }
        if !asleep && (late || random.one_in(3)) {
            voter.servers().settle(0, true);
            voter.servers().make_room(0, random.length(2000));
        }
        if !asleep && (late || random.one_in(3)) {
            answer(voter.servers(), random, &mut answered, make);
        }
        if late || random.one_in(3) {
            voter.servers().most = random.length(5000);
            voter.hear_some(5);
            voter.allow(0, random.length(3000) as u64);
        }
        voter.run();
    }
    assert_eq!(voter.sessions[&0].reset, None);
    let known = voter.sessions.remove(&0).unwrap();
    Outcome { replied: known.replied, fin: known.fin, rests: known.rests }
}

#[test]
fn two_makes_of_server_give_the_client_the_same_bytes() {
    for seed in 0..30 {
        let random = &mut Random(seed);
        // Some more than the canonicaliser takes at once.
        let requests = 1 + random.below(60);
        let mut stream = Vec::new();
        for number in 0..requests {
            let filler = "/path".repeat(20 + random.length(300));
            stream
                .extend(format!("GET /{number}{filler} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes());
        }
        let mut records = Vec::new();
        let mut clock_s = 1_700_000_000;
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let len = rest.len().min(random.length(3000));
            clock_s += u32::from(random.one_in(3));
            records.push((rest[..len].to_vec(), clock_s));
            rest = &rest[len..];
        }
        let one = session(&records, 0, seed + 1000, None);
        let other = session(&records, 1, seed + 2000, None);
        let text = String::from_utf8_lossy(&one.replied).into_owned();
        assert_eq!(text.matches("HTTP/1.1 200").count(), requests, "seed {seed}: {text}");
        // The clock of its record is that of a request, also when it had to wait.
        assert_eq!(text.matches(" 2023 ").count(), requests, "seed {seed}: {text}");
        let others = String::from_utf8_lossy(&other.replied);
        assert!(text == others, "seed {seed}:\n{text}\n{others}");
        assert!(one.fin && other.fin, "seed {seed}: no end");
    }
}
