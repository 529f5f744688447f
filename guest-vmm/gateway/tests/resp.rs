//! What becomes of requests and replies of Redis, one rule after another, and of the state of a server.

mod resp_support;

use gateway::canonicaliser::{Canonicaliser, ConnectionWish, End};
use resp_support::store::Server;
use resp_support::{Rng, Wire, for_each_seed, request};

fn session() -> (Server, Wire) {
    (Server::new(1), Wire::new(1))
}

#[test]
fn what_has_no_order_is_sorted() {
    let (mut server, mut wire) = session();
    wire.ask(&mut server, "SADD s c a b");
    wire.ask(&mut server, "HSET h y 1 x 2");
    let set = "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n";
    let hash = "*4\r\n$1\r\nx\r\n$1\r\n2\r\n$1\r\ny\r\n$1\r\n1\r\n";
    assert_eq!(wire.ask(&mut server, "smembers s"), set);
    assert_eq!(wire.ask(&mut server, "HGETALL h"), hash);
    assert_eq!(wire.ask(&mut server, "HVALS h"), "*2\r\n$1\r\n2\r\n$1\r\n1\r\n");
    assert_eq!(wire.ask(&mut server, "DBSIZE"), ":2\r\n");
    assert_eq!(wire.ask(&mut server, "KEYS *"), "*2\r\n$1\r\nh\r\n$1\r\ns\r\n");
    assert_eq!(wire.ask(&mut server, "SSCAN s 0 COUNT 1"), format!("*2\r\n$1\r\n0\r\n{set}"));
    assert_eq!(wire.ask(&mut server, "HSCAN h 0"), format!("*2\r\n$1\r\n0\r\n{hash}"));
    assert_eq!(wire.ask(&mut server, "HSCAN h 17"), "-ERR invalid cursor\r\n");
    assert_eq!(server.log.last().unwrap(), "HSCAN h 0 COUNT 1000000000");
    assert!(wire.resp.at_rest());
}

#[test]
fn times_are_those_of_the_request_clock() {
    let (mut server, mut wire) = session();
    let cases = [
        ("SET k v", "SET k v"),
        ("SET k v NX EX 10", "SET k v NX PXAT 1700000010000"),
        ("SET k v px 10 GET", "SET k v PXAT 1700000000010 GET"),
        ("SET k ex EXAT 1800000000", "SET k ex PXAT 1800000000000"),
        ("SETEX k 10 v", "SET k v PXAT 1700000010000"),
        ("PSETEX k 10 v", "SET k v PXAT 1700000000010"),
        ("EXPIRE k 10 GT", "PEXPIREAT k 1700000010000 GT"),
        ("PEXPIRE k -10", "PEXPIREAT k 1699999999990"),
        ("EXPIREAT k 1800000000", "PEXPIREAT k 1800000000000"),
        ("PEXPIREAT k 1800000000000", "PEXPIREAT k 1800000000000"),
        ("GETEX k EX 1", "GETEX k PXAT 1700000001000"),
        ("XADD k MAXLEN ~ 5 LIMIT 9 * f v", "XADD k MAXLEN 5 1700000000000-* f v"),
        ("XADD k 1-1 * v", "XADD k 1-1 * v"),
        ("XTRIM k MINID = 5", "XTRIM k MINID 5"),
        ("XTRIM k MAXLEN ~ 5 LIMIT 9", "XTRIM k MAXLEN 5"),
    ];
    for (asked, forwarded) in cases {
        wire.ask(&mut server, asked);
        assert_eq!(server.log.last().unwrap(), forwarded);
    }
    for (wrong, why) in [
        ("SET k v EX 0", "-ERR invalid expire time in 'set' command\r\n"),
        ("SET k v EX x", "-ERR value is not an integer or out of range\r\n"),
        ("SETEX k -1 v", "-ERR invalid expire time in 'setex' command\r\n"),
        ("EXPIRE k 9223372036854775", "-ERR invalid expire time in 'expire' command\r\n"),
    ] {
        assert_eq!(wire.ask(&mut server, wrong), why);
    }
    wire.ask(&mut server, "SETEX k 10 v");
    wire.clock_ms += 7_400;
    assert_eq!(wire.ask(&mut server, "PTTL k"), ":2600\r\n");
    assert_eq!(wire.ask(&mut server, "TTL k"), ":3\r\n");
    assert_eq!(wire.ask(&mut server, "TIME"), "*2\r\n$10\r\n1700000007\r\n$6\r\n400000\r\n");
    wire.clock_ms += 2_600;
    assert_eq!(wire.ask(&mut server, "TTL k"), ":-2\r\n");
}

#[test]
fn what_only_one_server_knows_is_answered_here_or_refused() {
    let (mut server, mut wire) = session();
    let cases = [
        ("SPOP s", "-ERR 'spop' is refused here: its reply is random\r\n"),
        ("EVAL x 0", "-ERR 'eval' is refused here: scripts are not supported\r\n"),
        ("BLPOP l 0", "-ERR 'blpop' is refused here: it waits for other sessions\r\n"),
        (
            "XREAD BLOCK 0 STREAMS s $",
            "-ERR 'xread' is refused here: it waits for other sessions\r\n",
        ),
        ("SORT s BY nosort", "-ERR 'sort' is refused here: its result has no order\r\n"),
        ("DEBUG SLEEP 1", "-ERR 'debug' is refused here: no two servers reply the same\r\n"),
        (
            "CONFIG SET save x",
            "-ERR 'config' is refused here: it is for the operator of the servers\r\n",
        ),
        ("CONFIG GET save", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n"),
        ("CLIENT SETINFO lib-name x", "+OK\r\n"),
        ("CLIENT GETNAME", "$-1\r\n"),
        ("HELLO 3", "-NOPROTO unsupported protocol version\r\n"),
        ("COMMAND DOCS", "*0\r\n"),
        ("WAIT 0 0", ":0\r\n"),
        ("NoSuch thing", "-ERR unknown command 'nosuch'\r\n"),
        ("GET", "-ERR wrong number of arguments for 'get' command\r\n"),
    ];
    for (asked, said) in cases {
        assert_eq!(wire.ask(&mut server, asked), said);
    }
    assert!(server.log.is_empty() && wire.resp.connection() == ConnectionWish::None);
    assert_eq!(wire.ask(&mut server, "QUIT"), "+OK\r\n");
    assert_eq!(wire.end(), Some(End::Fin));
}

#[test]
fn transactions() {
    let (mut server, mut wire) = session();
    wire.ask(&mut server, "SADD s b a");
    assert_eq!(wire.ask(&mut server, "MULTI"), "+OK\r\n");
    assert!(wire.resp.is_answered() && !wire.resp.at_rest());
    for queued in ["SMEMBERS s", "SETEX k 10 v", "TTL k"] {
        assert_eq!(wire.ask(&mut server, queued), "+QUEUED\r\n");
    }
    let done = "*3\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n+OK\r\n:10\r\n";
    assert_eq!(wire.ask(&mut server, "EXEC"), done);
    assert!(wire.resp.at_rest());

    wire.ask(&mut server, "MULTI");
    let refused = "-ERR 'time' is refused here: not in a transaction\r\n";
    assert_eq!(wire.ask(&mut server, "TIME"), refused);
    assert_eq!(wire.ask(&mut server, "SET k w"), "+QUEUED\r\n");
    let aborted = "-EXECABORT Transaction discarded because of previous errors.\r\n";
    assert_eq!(wire.ask(&mut server, "EXEC"), aborted);
    assert_eq!(wire.ask(&mut server, "GET k"), "$1\r\nv\r\n");
    assert_eq!(wire.ask(&mut server, "EXEC"), "-ERR EXEC without MULTI\r\n");

    // All at once, and two of them.
    let words: [&[&str]; 8] = [
        &["MULTI"],
        &["SMEMBERS", "s"],
        &["DISCARD"],
        &["MULTI"],
        &["TTL", "none"],
        &["EXEC"],
        &["SELECT", "3"],
        &["RESET"],
    ];
    wire.said.clear();
    let stream: Vec<u8> = words.iter().flat_map(|words| request(words)).collect();
    wire.send(&mut server, &stream);
    let said = "+OK\r\n+QUEUED\r\n+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n:-2\r\n+OK\r\n+RESET\r\n";
    assert_eq!(String::from_utf8_lossy(&wire.said), said);
    assert!(wire.resp.at_rest());
}

#[test]
fn a_connection_with_a_state_is_not_replaced() {
    let (mut server, mut wire) = session();
    assert_eq!(wire.ask(&mut server, "PING"), "+PONG\r\n");
    server.connected = false;
    wire.resp.server_fin();
    assert_eq!(wire.ask(&mut server, "PING"), "+PONG\r\n");
    wire.ask(&mut server, "SELECT 1");
    assert!(!wire.resp.at_rest());
    server.connected = false;
    wire.resp.server_fin();
    assert_eq!(wire.end(), Some(End::Reset));
}

#[test]
fn a_server_that_is_not_ready_has_not_answered() {
    let (mut server, mut wire) = session();
    server.instead = Some(b"-LOADING Redis is loading the dataset in memory\r\n");
    assert_eq!(wire.ask(&mut server, "GET k"), "");
    assert_eq!(wire.end(), Some(End::Reset));
}

/// What the server's state comes to as a dump.
fn dump(server: &mut Server, seed: u64) -> Vec<u8> {
    let mut wire = Wire::new(seed);
    server.connected = false;
    assert!(wire.resp.export());
    while wire.step(server) {}
    assert_eq!(wire.end(), Some(End::Fin));
    assert!(wire.resp.is_answered());
    wire.said
}

/// The requests of a dump.
fn requests(mut dump: &[u8]) -> Vec<&[u8]> {
    let mut requests = Vec::new();
    while let Some((len, rest)) = dump.split_first_chunk() {
        let (request, rest) = rest.split_at(u32::from_le_bytes(*len) as usize);
        requests.push(request);
        dump = rest;
    }
    requests
}

#[test]
fn a_dump_depends_on_what_is_held_and_not_on_how_it_came_to_be() {
    for_each_seed(30, |seed| {
        let mut rng = Rng::new(seed);
        let mut all: Vec<Vec<String>> = Vec::new();
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        for at in 0..rng.below(300) {
            let (key, value) = (rng.below(200).to_string(), rng.below(1000).to_string());
            let value = if rng.one_in(20) { "y".repeat(rng.below(9000)) } else { value };
            all.push(match rng.below(6) {
                0 => words(&["SET", &format!("t{key}"), &value]),
                1 => words(&["SADD", &format!("s{}", rng.below(5)), &value]),
                2 => words(&["HSET", "h", &key, &value]),
                3 => words(&["ZADD", "z", &at.to_string(), &value]),
                4 => words(&["SET", &format!("e{key}"), &value, "PXAT", "1900000000000"]),
                _ => words(&["SADD", "set", &value]),
            });
        }
        let long = rng.below(4);
        let mut servers = [Server::new(seed), Server::new(seed + 1)];
        for (number, server) in servers.iter_mut().enumerate() {
            let mut wire = Wire::new(seed);
            let mut some = all.clone();
            if number == 1 {
                // Another history: there was something else before, and the sets grew in another order.
                wire.ask(server, "SET gone x");
                wire.ask(server, "DEL gone");
                some.sort_by_key(|words| words[0] != "SADD");
                let sets = some.iter().filter(|words| words[0] == "SADD").count();
                some[..sets].reverse();
            }
            for words in &some {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                wire.send(server, &request(&words));
            }
            // Long strings, in pieces of different length.
            let count = [3, 6][number];
            for at in 0..long {
                for _ in 0..count {
                    let piece = "x".repeat(60_000 / count);
                    wire.send(server, &request(&["APPEND", &format!("long{at}"), &piece]));
                }
            }
            wire.ask(server, "SELECT 7");
            for at in 0..50 {
                wire.send(server, &request(&["RPUSH", "list", &at.to_string().repeat(500)]));
            }
        }
        let [mut one, mut other] = servers;
        let (first, second) = (dump(&mut one, seed), dump(&mut other, seed + 9));
        assert!(first == second, "{} and {} bytes", first.len(), second.len());

        // It makes the same anew.
        let (mut fresh, mut wire) = (Server::new(seed + 3), Wire::new(seed));
        for request in requests(&first) {
            assert!(request.len() <= gateway::resp::REQUEST_BYTES);
            wire.send(&mut fresh, request);
        }
        assert!(wire.resp.is_answered() && wire.end().is_none());
        assert!(!wire.said.contains(&b'-'), "{}", wire.said.escape_ascii());
        assert!(dump(&mut fresh, seed + 4) == first);
    });
}

#[test]
fn one_export_at_a_time_and_not_in_the_middle() {
    let (mut server, mut wire) = session();
    wire.ask(&mut server, "SELECT 2");
    assert!(!wire.resp.export());
    wire.ask(&mut server, "SELECT 0");
    server.connected = false;
    wire.resp.server_fin();
    assert!(wire.resp.export());
    assert!(!wire.resp.export());
    server.instead = Some(b"-WRONGTYPE x\r\n");
    while wire.step(&mut server) {}
    assert_eq!(wire.end(), Some(End::Reset));
    // It was given back.
    wire.resp.reset();
    assert!(wire.resp.export());
}
