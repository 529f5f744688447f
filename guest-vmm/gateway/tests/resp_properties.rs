//! Properties of the `resp` canonicaliser over random sessions, and of its framer.
//!
//! `RESH_CASES` sets the number of cases, `RESH_SEED` runs one; a failure prints its seed.

mod resp_support;

use gateway::canonicaliser::{Canonicaliser, Context, End, Framer, Framing};
use gateway::resp::RespFramer;
use resh_channel::message::Request;
use resp_support::store::Server;
use resp_support::{Rng, Wire, for_each_seed, replies, request};

/// One random request.
fn random_request(rng: &mut Rng) -> Vec<u8> {
    let key = rng.pick(&["a", "b", "c", "set", "hash", "list", "z"]).to_owned();
    let value = match rng.below(8) {
        0 => "x".repeat(rng.below(9000)),
        1 => String::new(),
        2 => "\r\n$1\r\n".to_owned(),
        _ => rng.below(100).to_string(),
    };
    let number = rng.below(50).to_string();
    let (key, value, number) = (&key[..], &value[..], &number[..]);
    match rng.below(30) {
        0 => b"PING\r\n".to_vec(),
        1 => b" ping  hello \n".to_vec(),
        2 => b"\r\n".to_vec(),
        3 => request(&["SET", key, value]),
        4 => request(&["sEt", key, value, "EX", number]),
        5 => request(&["SETEX", key, number, value]),
        6 => request(&["APPEND", key, value]),
        7 => request(&["INCR", key]),
        8 => request(&["SADD", "set", value, number]),
        9 => request(&["SMEMBERS", rng.pick(&["set", key])]),
        10 => request(&["HSET", "hash", number, value]),
        11 => request(&["HGETALL", rng.pick(&["hash", key])]),
        12 => request(&["HVALS", "hash"]),
        13 => request(&["HKEYS", "hash"]),
        14 => request(&["SSCAN", "set", rng.pick(&["0", "7"]), "COUNT", "10"]),
        15 => request(&["HSCAN", "hash", "0"]),
        16 => request(&["KEYS", "*"]),
        17 => request(&["TTL", key]),
        18 => request(&["PEXPIRE", key, number]),
        19 => request(&["SELECT", rng.pick(&["0", "1", "15", "16", "x"])]),
        20 => request(&["MULTI"]),
        21 => request(&["EXEC"]),
        22 => request(&["DISCARD"]),
        23 => request(&[rng.pick(&["SPOP", "EVAL", "nonsense", "INFO", "TIME", "CLIENT"]), key]),
        24 => request(&["HELLO", rng.pick(&["2", "3"])]),
        25 => request(&["ZADD", "z", number, value]),
        26 => request(&["ZRANGE", "z", "0", "-1", "WITHSCORES"]),
        27 => request(&["RPUSH", "list", value]),
        28 => request(&["DEL", key]),
        _ => request(&["GET", key]),
    }
}

fn random_requests(rng: &mut Rng) -> Vec<Vec<u8>> {
    (0..1 + rng.below(60)).map(|_| random_request(rng)).collect()
}

#[test]
fn servers_that_hold_the_same_in_another_order_give_the_same_bytes() {
    for_each_seed(400, |seed| {
        let mut rng = Rng::new(seed);
        let requests = random_requests(&mut rng);
        let sessions: Vec<_> = (1..=3)
            .map(|replica| {
                let mut server = Server::new(seed * 7 + replica);
                let mut wire = Wire::new(seed * 11 + replica);
                wire.send(&mut server, &requests.concat());
                assert!(wire.resp.is_answered() && wire.end().is_none());
                wire.said
            })
            .collect();
        // An empty line draws no reply.
        let wanted = requests.iter().filter(|request| **request != b"\r\n").count();
        assert_eq!(replies(&sessions[0]), wanted);
        assert!(sessions.iter().all(|said| *said == sessions[0]));
    });
}

#[test]
fn what_the_framer_cuts_is_what_is_answered() {
    for_each_seed(200, |seed| {
        let mut rng = Rng::new(seed);
        let mut requests = random_requests(&mut rng);
        if rng.one_in(3) {
            requests.push(request(&["QUIT"]));
        }
        let stream = requests.concat();
        let (mut framer, mut server, mut wire) =
            (RespFramer::new(), Server::new(seed), Wire::new(seed));
        let (mut start, mut read, mut cut) = (0, 0, 0);
        while read < stream.len() {
            let piece = 1 + rng.below((stream.len() - read).min(4000));
            match framer.push(&stream[read..][..piece]) {
                Framing::More => read += piece,
                Framing::Request { len, flags } => {
                    read += len;
                    let executed = &stream[start..read];
                    assert_eq!(executed, requests[cut], "request {cut}");
                    let before = wire.said.len();
                    wire.send(&mut server, executed);
                    assert!(wire.resp.is_answered(), "request {cut}");
                    let said = &wire.said[before..];
                    assert_eq!(replies(said), usize::from(executed != b"\r\n"));
                    let last = flags & Request::LAST != 0;
                    assert_eq!(wire.end().is_some(), last, "request {cut}");
                    (start, cut) = (read, cut + 1);
                    if last {
                        break;
                    }
                }
            }
        }
        assert_eq!(cut, requests.len());
    });
}

/// Changes a stream in a few places.
fn mutate(rng: &mut Rng, stream: &mut Vec<u8>) {
    for _ in 0..1 + rng.below(4) {
        let at = rng.below(stream.len());
        match rng.below(4) {
            0 => stream[at] = rng.next() as u8,
            1 => drop(stream.remove(at)),
            2 => stream.insert(at, b"\r\n*$:+-0123456789 \"\0a"[rng.below(20)]),
            _ => stream.truncate(at + 1),
        }
        if stream.is_empty() {
            return;
        }
    }
}

#[test]
fn whatever_the_client_sends_is_cut_and_answered_alike() {
    for_each_seed(1000, |seed| {
        let mut rng = Rng::new(seed);
        let mut stream = random_requests(&mut rng).concat();
        mutate(&mut rng, &mut stream);
        let mut whole = (Server::new(seed), Wire::new(seed));
        whole.1.send(&mut whole.0, &stream);
        // The same, cut into requests first.
        let (mut framer, mut server, mut wire) =
            (RespFramer::new(), Server::new(seed), Wire::new(seed + 1));
        let (mut start, mut read) = (0, 0);
        while read < stream.len() && wire.end().is_none() {
            match framer.push(&stream[read..]) {
                Framing::More => read = stream.len(),
                Framing::Request { len, .. } => {
                    assert!(len > 0);
                    read += len;
                    wire.send(&mut server, &stream[start..read]);
                    assert!(wire.resp.is_answered());
                    start = read;
                }
            }
        }
        assert_eq!(wire.said, whole.1.said);
        assert_eq!(wire.end(), whole.1.end());
        assert_ne!(wire.end(), Some(End::Reset));
        replies(&wire.said);
    });
}

#[test]
fn whatever_the_server_sends_the_client_reads_replies() {
    for_each_seed(1000, |seed| {
        let mut rng = Rng::new(seed);
        let requests = random_requests(&mut rng);
        let mut replies_of = Vec::new();
        for _ in 0..40 {
            replies_of.extend_from_slice(
                rng.pick(&[
                    "+OK\r\n",
                    ":1\r\n",
                    "$3\r\nabc\r\n",
                    "*2\r\n$1\r\nb\r\n$1\r\na\r\n",
                    "*2\r\n$1\r\n0\r\n*0\r\n",
                    "-ERR x\r\n",
                    "*-1\r\n",
                    "$-1\r\n",
                    "-LOADING x\r\n",
                    "*100000\r\n",
                    "$100000\r\n",
                ])
                .as_bytes(),
            );
        }
        mutate(&mut rng, &mut replies_of);
        let (mut server, mut wire) = (Server::new(seed), Wire::new(seed));
        let context = Context { clock_ms: wire.clock_ms, ..Context::default() };
        let (mut stream, mut rest) = (requests.concat(), &replies_of[..]);
        while wire.end().is_none() {
            let taken = wire.resp.client_data(&stream, context);
            stream.drain(..taken);
            if !rest.is_empty()
                && wire.resp.connection() == gateway::canonicaliser::ConnectionWish::Open
            {
                wire.resp.server_opened();
                let sent = wire.resp.to_server().len();
                wire.resp.sent_to_server(sent);
                let len = (1 + rng.below(30)).min(rest.len());
                rest = &rest[wire.resp.server_data(&rest[..len])..];
            }
            let len = wire.resp.to_client().len();
            wire.said.extend_from_slice(wire.resp.to_client());
            wire.resp.sent_to_client(len);
            if len == 0 && taken == 0 && rest.is_empty() {
                break;
            }
            if len == 0
                && taken == 0
                && wire.resp.connection() == gateway::canonicaliser::ConnectionWish::None
            {
                break;
            }
        }
        wire.resp.reset();
        assert!(wire.resp.at_rest());
        // As good as new.
        wire.said.clear();
        assert_eq!(wire.ask(&mut server, "PING"), "+PONG\r\n");
    });
}
