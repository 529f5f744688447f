//! What becomes of requests and replies of PostgreSQL, one rule after another.

mod pgwire_support;

use gateway::canonicaliser::{Canonicaliser, ConnectionWish, Context, End};
use pgwire_support::server::Server;
use pgwire_support::{
    MEMORY, Wire, bind, close, describe, execute, message, messages, parse, query, start, sync,
};

fn session() -> (Server, Wire) {
    let (mut server, mut wire) = (Server::new(1), Wire::new(1));
    wire.send(&mut server, &start());
    wire.said.clear();
    (server, wire)
}

#[test]
fn sessions_begin_alike() {
    let (mut server, mut wire) = (Server::new(1), Wire::new(1));
    assert!(wire.session.at_rest());
    // The wish for TLS is declined.
    wire.send(&mut server, &[0, 0, 0, 8, 4, 210, 22, 47]);
    assert_eq!(wire.said, b"N");
    assert!(wire.session.at_rest());
    wire.said.clear();
    wire.send(&mut server, &start());
    let said = messages(&wire.said);
    let kinds: String = said.iter().map(|(kind, _)| char::from(*kind)).collect();
    assert_eq!(kinds, "RSSSSSSKZ");
    assert_eq!(said[1].1, b"TimeZone\0UTC\0");
    assert_eq!(said[5].1, b"server_version\x0015.0\0");
    assert_eq!(said[7].1, [7; 8]);
    assert!(wire.session.is_answered() && !wire.session.at_rest());
    assert!(server.log[0].starts_with("user|app|database|shop|client_encoding|UTF8|options|-c"));
}

#[test]
fn what_has_no_order_is_sorted() {
    let (mut server, mut wire) = session();
    assert_eq!(wire.ask(&mut server, &query("SELECT 3")), "T D0 D1 D2 CSELECT 3 ZI");
    assert_eq!(
        wire.ask(&mut server, &query("SELECT 1; SELECT 2 ")),
        "T D0 CSELECT 1 T D0 D1 CSELECT 2 ZI"
    );
    assert_eq!(wire.ask(&mut server, &query("")), "I ZI");
    // Columns are of no table, and types that are not built in are text.
    let column = [&[0, 1][..], b"n\0", &[0; 6], &[0, 0, 0, 25], &[0xff; 6], &[0, 0]].concat();
    wire.ask(&mut server, &query("SELECT 0"));
    assert_eq!(messages(&wire.said)[0].1, column);
}

#[test]
fn the_extended_protocol() {
    let (mut server, mut wire) = session();
    let all = [parse("", "SELECT 2"), bind("", "x"), describe(b'P', ""), execute(), sync()];
    assert_eq!(wire.ask(&mut server, &all.concat()), "1 2 T D0 D1 CSELECT 2 ZI");
    let prepare = [parse("p", "SELECT 3"), describe(b'S', "p"), sync()];
    assert_eq!(wire.ask(&mut server, &prepare.concat()), "1 t T ZI");
    let twice = [bind("p", "x"), execute(), bind("p", "y"), execute(), sync()];
    let rows = "2 D0 D1 D2 CSELECT 3";
    assert_eq!(wire.ask(&mut server, &twice.concat()), format!("{rows} {rows} ZI"));
    assert_eq!(wire.ask(&mut server, &[close("p"), sync()].concat()), "3 ZI");
    assert_eq!(wire.ask(&mut server, &[bind("p", "x"), execute(), sync()].concat()), "E26000 ZI");
    assert_eq!(wire.ask(&mut server, &sync()), "ZI");
    assert_eq!(
        wire.ask(&mut server, &[parse("", ""), bind("", "x"), execute(), sync()].concat()),
        "1 2 I ZI"
    );
}

#[test]
fn errors_end_a_request() {
    let (mut server, mut wire) = session();
    assert_eq!(
        wire.ask(&mut server, &query("SELECT 1; BEGIN BOOM; SELECT 1")),
        "T D0 CSELECT 1 E42601 ZI"
    );
    let error = messages(&wire.said).into_iter().find(|(kind, _)| *kind == b'E').unwrap();
    assert_eq!(error.1, b"SERROR\0VERROR\0C42601\0Msomething\0\0");
    let failing = [parse("", "SELECT BOOM"), bind("", "x"), execute(), sync()];
    assert_eq!(wire.ask(&mut server, &failing.concat()), "E42601 ZI");
}

#[test]
fn a_refused_statement_fails_the_transaction() {
    let (mut server, mut wire) = session();
    assert_eq!(wire.ask(&mut server, &query("SELECT now()")), "E0A000 ZI");
    assert_eq!(server.log.last().unwrap(), "refused here");
    assert_eq!(wire.ask(&mut server, &query("BEGIN")), "CDONE ZT");
    assert_eq!(wire.ask(&mut server, &query("SELECT random()")), "E0A000 ZE");
    assert_eq!(wire.ask(&mut server, &query("ROLLBACK")), "CDONE ZI");
    for refused in [
        [parse("", "SELECT 1"), bind("", "now"), execute()].concat(),
        [bind("", "x"), execute()].concat(),
        [parse("", "SELECT 1; SELECT 2")].concat(),
        [parse("", "SELECT 1"), message(b'B', b"portal\0\0\0\0\0\0\0\0")].concat(),
        [parse("", "SELECT 1"), bind("", "x"), message(b'E', b"\0\0\0\0\x05")].concat(),
        message(b'P', b"\0SELECT $1\0\0\x01\0\0\x40\0"),
    ] {
        let said = wire.ask(&mut server, &[refused, sync()].concat());
        assert_eq!(said, "E0A000 ZI");
        assert_eq!(server.log.last().unwrap(), "refused here");
    }
}

#[test]
fn results_that_are_too_long_to_be_sorted() {
    let (mut server, mut wire) = session();
    server.row_bytes = 1000;
    assert_eq!(wire.ask(&mut server, &query("SELECT 200")), "T E54000 ZI");
    assert!(wire.ask(&mut server, &query("SELECT 200 ORDER BY 1")).ends_with(" CSELECT 200 ZI"));
    let all = [parse("", "SELECT 200"), bind("", "x"), execute(), close("x"), sync()];
    assert_eq!(wire.ask(&mut server, &all.concat()), "1 2 E54000 ZI");
    assert_eq!(wire.ask(&mut server, &query("SELECT 200; DELETE FROM t")), "T E54000");
    assert_eq!(wire.end(), Some(End::Fin));
}

#[test]
fn what_cannot_be_understood_ends_the_session() {
    for (bytes, said) in [
        (message(b'H', b""), "E0A000"),
        (message(b'F', b"x"), "E0A000"),
        (message(b'p', b"x"), "E08P01"),
        (b"Q\0\x01\0\0".to_vec(), "E54000"),
        (message(b'X', b""), ""),
    ] {
        let (mut server, mut wire) = session();
        assert_eq!(wire.ask(&mut server, &bytes), said);
        assert_eq!(wire.end(), Some(End::Fin));
        assert!(!server.connected);
    }
}

/// A session whose server says `said` to its start, and then to `SELECT 1`.
fn told(said: &[&[u8]]) -> Pgend {
    let mut session = gateway::pgwire::Pgwire::new(MEMORY);
    session.client_data(&start(), Context::default());
    session.server_opened();
    for (at, bytes) in said.iter().enumerate() {
        if at == 1 {
            session.sent_to_client(session.to_client().len());
            session.client_data(&query("SELECT 1"), Context::default());
        }
        session.sent_to_server(session.to_server().len());
        session.server_data(bytes);
    }
    let text = pgwire_support::text(session.to_client());
    session.sent_to_client(session.to_client().len());
    (text, session.end())
}

type Pgend = (String, Option<End>);

#[test]
fn what_only_one_server_says_is_no_answer() {
    let error = |severity: &str, code: &str| {
        message(b'E', format!("S{severity}\0V{severity}\0C{code}\0Mx\0\0").as_bytes())
    };
    let parameters: Vec<u8> = [
        &b"client_encoding\0UTF8\0"[..],
        b"server_encoding\0UTF8\0",
        b"integer_datetimes\0on\0",
        b"standard_conforming_strings\0on\0",
    ]
    .iter()
    .flat_map(|body| message(b'S', body))
    .collect();
    let ready = message(b'Z', b"I");
    let begun = [message(b'R', &[0; 4]), parameters, ready.clone()].concat();
    let reset = (String::new(), Some(End::Reset));
    for start in [
        error("FATAL", "57P03"),
        error("FATAL", "53300"),
        message(b'R', &[0, 0, 0, 3]),
        [message(b'R', &[0; 4]), ready.clone()].concat(),
        [message(b'R', &[0; 4]), message(b'S', b"server_encoding\0LATIN1\0")].concat(),
        begun[9..].to_vec(),
    ] {
        assert_eq!(told(&[&start]), reset, "{}", start.escape_ascii());
    }
    assert_eq!(told(&[&error("FATAL", "28000")]), ("E28000".to_owned(), Some(End::Fin)));
    assert_eq!(told(&[&begun, &[error("ERROR", "22012"), ready].concat()]).0, "E22012 ZI");
    for answer in [
        error("FATAL", "57P01"),
        error("ERROR", "XX000"),
        message(b'G', &[0; 3]),
        message(b'D', b"x"),
        message(b'1', b""),
        b"C\0\0\0\x03".to_vec(),
        b"T\x7f\0\0\0".to_vec(),
    ] {
        let (said, end) = told(&[&begun, &answer]);
        let seen = said.is_empty() || said == "D";
        assert!(answer[0] == b'D' || (seen && end == Some(End::Reset)), "{said} {end:?}");
    }
}

#[test]
fn a_server_that_goes_away_takes_the_session_with_it() {
    let (server, mut wire) = session();
    assert!(server.connected);
    assert_eq!(wire.session.connection(), ConnectionWish::Open);
    wire.session.server_fin();
    assert_eq!(wire.end(), Some(End::Reset));
    wire.session.reset();
    assert!(wire.session.at_rest());
}
