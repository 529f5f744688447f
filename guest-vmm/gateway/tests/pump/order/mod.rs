//! Requests in total order: every replica executes them all, one after another.

mod world;

use crate::support::server::Ends;
use crate::support::voter::Voter;
use crate::support::{Memory, REPLICA, Random, TOTAL, TOTAL_TOO, id};
use resh_channel::message::{Kind, Message, Reason, Request};
use resh_channel::order::{FRAMED_REQUESTS, QUEUE_BYTES};

fn put(path: &str) -> Vec<u8> {
    format!("PUT /{path} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxy").into_bytes()
}

fn get(path: &str) -> Vec<u8> {
    format!("GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

/// The server of the replica: what it executed, in the order in which it came.
#[derive(Default)]
struct Server {
    executed: Vec<String>,
    /// It hangs on this connection.
    hangs: Option<usize>,
}

/// The path of the first request that is there, and the request's length.
fn request(got: &[u8]) -> Option<(String, usize)> {
    let head = got.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8(got[..head].to_vec()).unwrap();
    let len = head + if text.starts_with("PUT") { 2 } else { 0 };
    let path = text.split(' ').nth(1).unwrap().to_owned();
    (got.len() >= len).then_some((path, len))
}

impl Server {
    /// Answers the request that has come, if one has, with its path and how many came before.
    fn answer(&mut self, voter: &mut Voter<'_>, random: &mut Random) {
        let slots = voter.servers().of_session.keys().copied();
        let slots: Vec<usize> = slots.filter(|slot| Some(*slot) != self.hangs).collect();
        let busy = |slot: &&usize| {
            let at = voter.gateway.upstream().of_session[slot];
            !voter.gateway.upstream().all[at].got.is_empty()
        };
        assert!(slots.iter().filter(busy).count() <= 1, "two requests at once");
        for slot in slots {
            voter.servers().settle(slot, true);
            voter.servers().make_room(slot, random.length(200));
            let Some(connection) = voter.servers().of(slot) else { continue };
            let Some((path, len)) = request(&connection.got) else { continue };
            connection.got.drain(..len);
            let body = format!("<{} {path}>", self.executed.len());
            self.executed.push(path);
            let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let (one, other) = reply.as_bytes().split_at(random.below(reply.len()));
            voter.servers().arrive(slot, one, None);
            voter.run();
            voter.servers().arrive(slot, other, None);
        }
    }

    /// As far as it goes.
    fn settle(&mut self, voter: &mut Voter<'_>) {
        for _ in 0..400 {
            voter.run();
            self.answer(voter, &mut Random(0));
            voter.run();
            voter.hear();
        }
    }
}

/// What the client was told, without what a reply has around it.
fn bodies(replied: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(replied).into_owned();
    text.split('<')
        .skip(1)
        .filter_map(|rest| rest.split_once('>'))
        .map(|(body, _)| body.to_owned())
        .collect()
}

#[test]
fn ends_are_said_only_so_far_ahead_of_the_order() {
    let memory = Memory::new();
    let mut voter = Voter::joined(memory.rings());
    let mut server = Server::default();
    assert!(voter.open(id(0, 0), TOTAL));
    let requests: Vec<_> = (0..100).map(|number| get(&number.to_string())).collect();
    assert!(voter.request(0, &requests.concat()));
    voter.run();
    voter.hear();
    assert_eq!(voter.sessions[&0].framed.len() as u64, FRAMED_REQUESTS);
    assert!(voter.servers().all.is_empty(), "executed before it is ordered");
    for (number, request) in requests[..10].iter().enumerate() {
        assert!(voter.order(id(0, 0), number as u64 + 1, Request::READ_ONLY, request));
    }
    server.settle(&mut voter);
    assert_eq!(voter.sessions[&0].framed.len() as u64, FRAMED_REQUESTS + 10);
    assert_eq!(voter.answered.len(), 10);
    assert_eq!(bodies(&voter.sessions[&0].replied).len(), 10);
}

#[test]
fn nothing_is_framed_after_the_last() {
    let memory = Memory::new();
    let mut voter = Voter::joined(memory.rings());
    let bad = b"GET / HTTP/1.1\n";
    assert!(voter.open(id(0, 0), TOTAL));
    assert!(voter.request(0, &[&put("a")[..], bad, &put("b")].concat()));
    assert!(voter.request_fin(0));
    voter.run();
    voter.hear();
    let end = put("a").len() as u64;
    let framed = [(end, 0), (end + bad.len() as u64, Request::LAST)];
    assert_eq!(voter.sessions[&0].framed, framed);
    assert!(voter.order(id(0, 0), 1, 0, &put("a")));
    assert!(voter.order(id(0, 0), 2, Request::LAST, bad));
    let mut server = Server::default();
    server.settle(&mut voter);
    let known = &voter.sessions[&0];
    let text = String::from_utf8_lossy(&known.replied).into_owned();
    assert!(text.contains("<0 /a>") && text.contains("HTTP/1.1 400"), "{text}");
    assert!(known.fin && server.executed == ["/a"]);
    assert_eq!((voter.answered.len(), voter.gateway.sessions()), (2, 0));
}

#[test]
fn a_client_that_asks_nothing_is_let_go() {
    let memory = Memory::new();
    let mut voter = Voter::joined(memory.rings());
    for (index, bytes) in [(0, &b""[..]), (1, b"GET / HT")] {
        assert!(voter.open(id(index, 0), TOTAL));
        assert!(bytes.is_empty() || voter.request(index, bytes));
        assert!(voter.request_fin(index));
    }
    voter.run();
    voter.hear();
    assert!(voter.sessions.values().all(|known| known.fin && known.replied.is_empty()));
    assert_eq!(voter.gateway.sessions(), 0);
}

#[test]
fn a_server_that_goes_away_has_executed_the_request_and_the_order_goes_on() {
    let memory = Memory::new();
    let mut voter = Voter::joined(memory.rings());
    let mut server = Server::default();
    assert!(voter.open(id(0, 0), TOTAL));
    assert!(voter.open(id(1, 0), TOTAL));
    for index in [0, 1] {
        assert!(voter.request(index, &put(&index.to_string())));
    }
    assert!(voter.order(id(0, 0), 1, 0, &put("0")));
    assert!(voter.order(id(1, 0), 2, 0, &put("1")));
    voter.run();
    voter.servers().settle(0, true);
    voter.servers().make_room(0, 1000);
    voter.servers().arrive(0, b"HTTP/1.1 200 OK\r\n", Some(Ends::Reset));
    voter.run();
    // Its request was never answered, but is in the way of the other no more.
    server.settle(&mut voter);
    assert_eq!(voter.sessions[&0].reset, Some(Reason::Protocol as u8));
    assert_eq!(bodies(&voter.sessions[&1].replied), ["0 /1"]);
    let numbers: Vec<_> = voter.answered.iter().map(|(number, id, _)| (*number, *id)).collect();
    assert_eq!(numbers, [(1, id(0, 0)), (2, id(1, 0))]);
}

#[test]
fn services_do_not_wait_for_each_other() {
    let memory = Memory::new();
    let mut voter = Voter::joined(memory.rings());
    let mut server = Server::default();
    assert!(voter.open(id(0, 0), TOTAL) && voter.open(id(1, 0), TOTAL_TOO));
    assert!(voter.request(0, &put("stuck")) && voter.request(1, &put("a")));
    assert!(voter.order(id(0, 0), 1, 0, &put("stuck")));
    server.hangs = Some(0);
    // One of a session of the past, whose index another service's session has now.
    assert!(voter.order_of(TOTAL_TOO, id(0, 9), 1, Request::REPLAY, &put("past")));
    assert!(voter.order_of(TOTAL_TOO, id(1, 0), 1, 0, &put("a")));
    server.settle(&mut voter);
    assert_eq!(server.executed, ["/past", "/a"]);
    server.hangs = None;
    server.settle(&mut voter);
    assert_eq!(server.executed, ["/past", "/a", "/stuck"]);
    let answered: Vec<_> = voter.answered.iter().map(|(_, id, service)| (*id, *service)).collect();
    let expected = [(id(0, 9), TOTAL_TOO), (id(1, 0), TOTAL_TOO), (id(0, 0), TOTAL)];
    assert_eq!(answered, expected);
}

#[test]
fn what_is_fed_waits_for_the_server_and_is_not_answered_for() {
    let memory = Memory::new();
    let mut voter = Voter::joined(memory.rings());
    let mut server = Server::default();
    // Many more sessions than there is room for, each index with several in turn.
    let mut fed = Vec::new();
    voter.servers().at_once = Some(false);
    for number in 0..60 {
        let session = id(number % 20, number / 20);
        let path = format!("{number}");
        assert!(voter.order(session, 7 + u64::from(number) / 3, Request::REPLAY, &put(&path)));
        fed.push(format!("/{path}"));
        voter.run();
    }
    for _ in 0..3 {
        voter.now_ms += 1_000;
        voter.run();
        voter.hear();
        assert!(voter.servers().all.is_empty() && voter.answered.is_empty());
    }
    voter.servers().at_once = None;
    voter.now_ms += 1_000;
    server.settle(&mut voter);
    assert_eq!(server.executed, fed);
    let numbers: Vec<u64> = voter.answered.iter().map(|(number, ..)| *number).collect();
    let expected: Vec<u64> = (0..60).map(|number| 7 + number / 3).collect();
    assert_eq!(numbers, expected);
    assert!(voter.sessions.is_empty());
    // The end of one that is long over closes its connection.
    let before = voter.servers().of_session.len();
    let evict = Message::new(Kind::Evict, id(19, 2)).arg(REPLICA as u8);
    assert!(voter.say(&evict, &[]));
    voter.run();
    assert_eq!(voter.servers().of_session.len(), before - 1);
    // A client's session takes the place of one of the past.
    assert!(voter.open(id(18, 3), TOTAL));
    assert!(voter.request(18, &put("live")));
    assert!(voter.order(id(18, 3), 90, 0, &put("live")));
    server.settle(&mut voter);
    assert_eq!(bodies(&voter.sessions[&18].replied), ["60 /live"]);
}

#[test]
fn a_protocol_that_cannot_be_exported_says_so() {
    let memory = Memory::new();
    let mut voter = Voter::joined(memory.rings());
    assert!(voter.open(id(1276, 0), TOTAL));
    assert!(voter.order(id(1276, 0), 1, Request::EXPORT, &[]));
    voter.run();
    voter.hear();
    assert_eq!(voter.sessions[&1276].reset, Some(Reason::Protocol as u8));
    assert_eq!(voter.answered, [(1, id(1276, 0), TOTAL)]);
}

#[test]
fn a_voter_that_orders_more_than_there_is_room_for_ends_the_domain() {
    let memory = Memory::new();
    let mut voter = Voter::joined(memory.rings());
    let long = vec![b'x'; 32_000];
    let mut bytes = 0;
    // Nobody answers the first one.
    assert!(voter.order(id(0, 0), 1, 0, &put("a")));
    loop {
        assert!(voter.order(id(0, 0), 1, 0, &long));
        if voter.gateway.round(0).is_err() {
            break;
        }
        bytes += long.len();
        assert!(bytes < 2 * QUEUE_BYTES);
    }
    assert!(bytes >= QUEUE_BYTES);
}
