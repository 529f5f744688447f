//! Properties of the `pgwire` canonicaliser over random sessions, and of its framer.
//!
//! `RESH_CASES` sets the number of cases, `RESH_SEED` runs one; a failure prints its seed.

mod pgwire_support;

use gateway::canonicaliser::{Canonicaliser, ConnectionWish, Context, End, Framer, Framing};
use gateway::pgwire::PgwireFramer;
use pgwire_support::server::Server;
use pgwire_support::{
    Rng, Wire, bind, close, describe, execute, for_each_seed, message, messages, parse, query,
    start, sync,
};
use resh_channel::message::Request;

fn random_sql(rng: &mut Rng) -> String {
    match rng.below(12) {
        0 => "SELECT 0".into(),
        1 | 2 => format!("SELECT {}", rng.below(40)),
        3 => format!("SELECT {} FROM t ORDER BY 1", rng.below(40)),
        4 => "INSERT INTO t VALUES (1, 'x')".into(),
        5 => "SELECT BOOM".into(),
        6 => rng.pick(&["SELECT now()", "COPY t TO STDOUT", "SELECT a FROM t LIMIT 1"]).into(),
        7 => rng.pick(&["BEGIN", "COMMIT", "ROLLBACK"]).into(),
        8 => format!("SELECT 5 /* {} */", rng.below(1000)),
        9 => format!("UPDATE t SET a = '{}'", "y".repeat(rng.below(9000))),
        10 => String::new(),
        _ => "SELECT 7 /* now() */".into(),
    }
}

fn random_request(rng: &mut Rng) -> Vec<u8> {
    let name = rng.pick(&["", "", "p", "q"]);
    let sql = random_sql(rng);
    match rng.below(8) {
        0 => [parse(name, &sql), bind(name, "x"), describe(b'P', ""), execute(), sync()].concat(),
        1 => [parse(name, &sql), describe(b'S', name), sync()].concat(),
        2 => [bind(name, rng.pick(&["x", "now", ""])), execute(), sync()].concat(),
        3 => [close(name), bind(name, "x"), execute(), sync()].concat(),
        4 => query(&[random_sql(rng), random_sql(rng), sql].join(";")),
        _ => query(&sql),
    }
}

/// The start of a session, and then requests.
fn random_requests(rng: &mut Rng) -> Vec<Vec<u8>> {
    let mut requests = vec![start()];
    requests.extend((0..1 + rng.below(30)).map(|_| random_request(rng)));
    requests
}

#[test]
fn servers_that_hold_the_same_in_another_order_give_the_same_bytes() {
    for_each_seed(300, |seed| {
        let mut rng = Rng::new(seed);
        let requests = random_requests(&mut rng);
        let sessions: Vec<_> = (1..=3)
            .map(|replica| {
                let mut server = Server::new(seed * 7 + replica);
                let mut wire = Wire::new(seed * 11 + replica);
                wire.send(&mut server, &requests.concat());
                assert!(wire.session.is_answered() && wire.end().is_none());
                wire.said
            })
            .collect();
        let ready = messages(&sessions[0]).iter().filter(|(kind, _)| *kind == b'Z').count();
        assert_eq!(ready, requests.len());
        assert!(sessions.iter().all(|said| *said == sessions[0]));
    });
}

#[test]
fn what_the_framer_cuts_is_what_is_answered() {
    for_each_seed(200, |seed| {
        let mut rng = Rng::new(seed);
        let mut requests = random_requests(&mut rng);
        if rng.one_in(3) {
            requests.push(message(b'X', b""));
        }
        let stream = requests.concat();
        let (mut framer, mut server, mut wire) =
            (PgwireFramer::new(), Server::new(seed), Wire::new(seed));
        let (mut from, mut read, mut cut) = (0, 0, 0);
        while read < stream.len() {
            let piece = 1 + rng.below((stream.len() - read).min(4000));
            match framer.push(&stream[read..][..piece]) {
                Framing::More => read += piece,
                Framing::Request { len, flags } => {
                    read += len;
                    let executed = &stream[from..read];
                    assert_eq!(executed, requests[cut], "request {cut}");
                    wire.send(&mut server, executed);
                    assert!(wire.session.is_answered(), "request {cut}");
                    let last = flags & Request::LAST != 0;
                    assert_eq!(wire.end().is_some(), last, "request {cut}");
                    (from, cut) = (read, cut + 1);
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
            2 => stream.insert(at, b"QPBEDSXC\0\x01'\"$(;-/*"[rng.below(18)]),
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
        // The same, cut into requests first, by framers that get other pieces.
        let (mut framer, mut other) = (PgwireFramer::new(), PgwireFramer::new());
        let (mut server, mut wire) = (Server::new(seed), Wire::new(seed + 1));
        let (mut from, mut read) = (0, 0);
        while read < stream.len() && wire.end().is_none() {
            let framing = framer.push(&stream[read..]);
            let Framing::Request { len, .. } = framing else { break };
            assert!(len > 0);
            let bytewise = stream[read..read + len].iter().map(|byte| other.push(&[*byte]));
            let last = bytewise.last().map(|said| match said {
                Framing::More => said,
                Framing::Request { flags, .. } => Framing::Request { len, flags },
            });
            assert_eq!(last, Some(framing));
            read += len;
            wire.send(&mut server, &stream[from..read]);
            assert!(wire.session.is_answered());
            from = read;
        }
        assert_eq!(wire.said, whole.1.said);
        assert_eq!(wire.end(), whole.1.end());
    });
}

#[test]
fn whatever_the_server_sends_the_client_reads_messages() {
    for_each_seed(1000, |seed| {
        let mut rng = Rng::new(seed);
        let requests = random_requests(&mut rng);
        let (mut server, mut sound) = (Server::new(seed), Vec::new());
        for request in &requests {
            if let Ok(said) =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| server.take(request)))
            {
                sound.extend(said);
            }
        }
        mutate(&mut rng, &mut sound);
        let mut wire = Wire::new(seed);
        let (mut stream, mut rest) = (requests.concat(), &sound[..]);
        loop {
            let taken = wire.session.client_data(&stream, Context::default());
            stream.drain(..taken);
            let mut moved = taken > 0;
            if !rest.is_empty() && wire.session.connection() == ConnectionWish::Open {
                wire.session.server_opened();
                wire.session.sent_to_server(wire.session.to_server().len());
                let len = (1 + rng.below(30)).min(rest.len());
                let taken = wire.session.server_data(&rest[..len]);
                rest = &rest[taken..];
                moved |= taken > 0;
            }
            let len = wire.session.to_client().len();
            wire.said.extend_from_slice(&wire.session.to_client()[..len]);
            wire.session.sent_to_client(len);
            if !moved && len == 0 {
                break;
            }
        }
        // What is passed on is not always whole, but never malformed.
        if wire.end() != Some(End::Reset) && wire.session.is_answered() {
            messages(&wire.said);
        }
        wire.session.reset();
        assert!(wire.session.at_rest());
        // As good as new.
        wire.said.clear();
        let mut server = Server::new(seed);
        wire.send(&mut server, &start());
        assert_eq!(wire.ask(&mut server, &query("SELECT 1")), "T D0 CSELECT 1 ZI");
    });
}
