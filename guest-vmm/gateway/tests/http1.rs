//! What `http1` does in each case, against a replica that follows a script.

mod http1_support;

use gateway::canonicaliser::{Canonicaliser, ConnectionWish, Context, End};
use gateway::http1::{Http1, MethodSet, Profile, SharedTokens, Tokens};
use http1_support::network::{Record, Replica, Seen, Wire, run};
use http1_support::strict;

/// Sunday, 06 November 1994 08:49:37 GMT.
const CLOCK_S: u32 = 784_111_777;
const DATE: &str = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

/// Answers each request head with the next response, and notes what it got on which connection.
#[derive(Default)]
struct Script {
    responses: Vec<&'static str>,
    got: Vec<Vec<u8>>,
    heads: usize,
    /// Closes this many connections after the first request head on them, without an answer.
    deaf: usize,
    /// Closes in order when it has said everything.
    closes: bool,
}

impl Script {
    fn new(responses: &[&'static str]) -> Self {
        Script { responses: responses.to_vec(), ..Script::default() }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.got.concat()).into_owned()
    }
}

impl Replica for Script {
    fn connect(&mut self) -> bool {
        self.got.push(Vec::new());
        self.heads = 0;
        true
    }

    fn receive(&mut self, bytes: &[u8], out: &mut Wire) {
        let got = self.got.last_mut().unwrap();
        got.extend_from_slice(bytes);
        let heads = got.windows(4).filter(|w| w == b"\r\n\r\n").count();
        while self.heads < heads {
            self.heads += 1;
            if self.deaf > 0 && self.heads > 1 {
                self.deaf -= 1;
                out.close = Some(true);
                return;
            }
            if !self.responses.is_empty() {
                out.bytes.extend_from_slice(self.responses.remove(0).as_bytes());
            }
            if self.responses.is_empty() && self.closes {
                out.close = Some(true);
            }
        }
    }
}

fn session(records: &[Record], script: &mut Script) -> Seen {
    let mut first: Option<Seen> = None;
    let before = std::mem::take(script);
    for seed in 0..20 {
        let mut http = Http1::new(Profile::DEFAULT);
        *script = Script { responses: before.responses.clone(), ..Script::default() };
        (script.deaf, script.closes) = (before.deaf, before.closes);
        let seen = run(&mut http, records, true, script, seed);
        match &first {
            Some(first) => assert_eq!(first, &seen, "seed {seed}"),
            None => first = Some(seen),
        }
    }
    first.unwrap()
}

fn exchange(request: &str, responses: &[&'static str]) -> (String, Option<End>, Script) {
    let mut script = Script::new(responses);
    let seen = session(&[(request.as_bytes().to_vec(), CLOCK_S)], &mut script);
    (String::from_utf8_lossy(&seen.bytes).into_owned(), seen.end, script)
}

/// Status of the refusal that a request draws before the replica has seen anything.
fn refusal(request: &str) -> u16 {
    let (text, end, script) = exchange(request, &[]);
    assert_eq!(end, Some(End::Fin), "{request}");
    assert!(script.got.is_empty(), "{request}");
    let heads = [Some(request.starts_with("HEAD "))];
    let read = strict::read(text.as_bytes(), &heads, false).unwrap();
    assert_eq!(read.len(), 1, "{request}");
    assert_eq!(read[0].field("connection"), Some("close"));
    read[0].status
}

#[test]
fn a_plain_exchange() {
    let (text, end, script) = exchange(
        "GET /a?b HTTP/1.1\r\nhost: Shop.Example:8080\r\nX-B: 2\r\nuser-agent:  me \r\nTE: trailers\r\n\
         Accept-Encoding: gzip\r\nConnection: keep-alive, x-c\r\nX-C: 3\r\nX-b: 4\r\n\r\n",
        &[
            "HTTP/1.1 200 Fine\r\nServer: x\r\nX-Z: 1\r\nx-a: 2\r\nContent-Type: TEXT/HTML;charset=UTF-8\r\n\
           ETag: \"1\"\r\nConnection: keep-alive\r\nContent-Length: 5\r\nVary: Accept-Encoding\r\n\r\nhello",
        ],
    );
    assert_eq!(
        script.text(),
        "GET /a?b HTTP/1.1\r\nHost: shop.example:8080\r\nUser-Agent: me\r\nX-B: 2, 4\r\n\
         Connection: keep-alive\r\n\r\n"
    );
    assert_eq!(
        text,
        format!(
            "HTTP/1.1 200 OK\r\n{DATE}X-A: 2\r\nX-Z: 1\r\nContent-Type: text/html; charset=utf-8\r\n\
             Content-Length: 5\r\n\r\nhello"
        )
    );
    assert_eq!(end, Some(End::Fin));
}

#[test]
fn the_date_is_that_of_the_record_that_ends_the_head() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let twice = [&head[..], head].concat();
    let records = [
        (twice[..5].to_vec(), CLOCK_S - 9),
        (twice[5..30].to_vec(), CLOCK_S),
        (twice[30..].to_vec(), CLOCK_S + 1),
    ];
    let mut script = Script::new(&["HTTP/1.1 204 No\r\n\r\n", "HTTP/1.1 204 No\r\n\r\n"]);
    let seen = session(&records, &mut script);
    let dates: Vec<_> = strict::read(&seen.bytes, &[], false)
        .unwrap()
        .iter()
        .map(|r| r.field("date").unwrap().to_owned())
        .collect();
    assert_eq!(dates, ["Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:38 GMT"]);
}

#[test]
fn refusals() {
    let get = |more: &str| refusal(&format!("GET / HTTP/1.1\r\nHost: a\r\n{more}\r\n"));
    let post = |more: &str| refusal(&format!("POST / HTTP/1.1\r\nHost: a\r\n{more}\r\nhello"));
    assert_eq!(refusal("GET / HTTP/1.1\r\n\r\n"), 400);
    assert_eq!(get("Host: a\r\n"), 400);
    assert_eq!(get("X: 1\r\n 2\r\n"), 400);
    assert_eq!(get("X : 1\r\n"), 400);
    assert_eq!(get("X: 1\n"), 400);
    assert_eq!(get("X: a\0b\r\n"), 400);
    assert_eq!(get("Content-Length: 1\r\n"), 400);
    assert_eq!(get("Connection: host\r\n"), 400);
    assert_eq!(get(&"X: 1\r\n".repeat(64)), 431);
    assert_eq!(get(&format!("X: {}\r\n", "x".repeat(17_000))), 431);
    assert_eq!(get(&format!("X: {}\r\n", "x".repeat(9_000))), 431);
    assert_eq!(get("Expect: x\r\n"), 417);
    assert_eq!(post("Content-Length: 5\r\nContent-Length: 5\r\n"), 400);
    assert_eq!(post("Content-Length: +5\r\n"), 400);
    assert_eq!(post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400);
    assert_eq!(post("Content-Length: 99999999999999999999\r\n"), 413);
    assert_eq!(post("Transfer-Encoding: gzip, chunked\r\n"), 501);
    assert_eq!(post("Transfer-Encoding: gzip\r\n"), 400);
    assert_eq!(post("Transfer-Encoding: chunked\r\n"), 400);
    assert_eq!(post("Content-Length: 6\r\n"), 400);
    assert_eq!(post("If-Match: \"x\"\r\nContent-Length: 5\r\n"), 412);
    assert_eq!(refusal("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400);
    assert_eq!(refusal("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505);
    assert_eq!(refusal("GET / HTTP/1.2\r\n"), 505);
    assert_eq!(refusal("GET /\r\n"), 400);
    assert_eq!(refusal("GET / HTTP/1.1\r\nHost: a"), 400);
    assert_eq!(refusal(&format!("GET /{} HTTP/1.1\r\n", "x".repeat(9000))), 414);
    assert_eq!(refusal(&format!("{} / HTTP/1.1\r\n", "X".repeat(90))), 501);
    assert_eq!(refusal("BREW / HTTP/1.1\r\nHost: a\r\n\r\n"), 501);
    assert_eq!(refusal("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"), 405);
    assert_eq!(refusal("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"), 405);
    assert_eq!(refusal("HEAD /%00 HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    assert_eq!(refusal("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
}

#[test]
fn a_refusal_is_the_same_text_for_all() {
    let (text, _, _) = exchange("GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", &[]);
    assert_eq!(
        text,
        format!(
            "HTTP/1.1 400 Bad Request\r\n{DATE}Connection: close\r\nContent-Type: text/plain\r\n\
             Content-Length: 51\r\n\r\n400 Bad Request: line feed without carriage return\n"
        )
    );
}

#[test]
fn options_is_answered_here() {
    let (text, end, script) =
        exchange("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\nOPTIONS /x HTTP/1.0\r\n\r\n", &[]);
    assert!(script.got.is_empty());
    assert_eq!(end, Some(End::Fin));
    let allow = "Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(
        text,
        format!(
            "HTTP/1.1 200 OK\r\n{DATE}{allow}HTTP/1.1 200 OK\r\n{DATE}Connection: close\r\n{allow}"
        )
    );
}

#[test]
fn a_held_body_gets_its_length() {
    let (text, _, script) = exchange(
        "POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nhello\r\n00B\r\n, replicas!\r\n0\r\nX: y\r\n\r\n",
        &[
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\nLocation: http://a/x\r\n\r\n",
        ],
    );
    assert_eq!(
        script.text(),
        "POST /x HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nContent-Length: 16\r\n\r\nhello, replicas!"
    );
    assert_eq!(
        text,
        format!(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n{DATE}Location: /x\r\n\
             Content-Type: application/octet-stream\r\nContent-Length: 0\r\n\r\n"
        )
    );
}

#[test]
fn an_unknown_length_becomes_known_or_chunks() {
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let (text, _, _) = exchange(
        get,
        &[
            "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\n\r\n",
        ],
    );
    assert!(text.ends_with("Content-Type: a/b\r\nContent-Length: 3\r\n\r\nabc"), "{text}");

    // Just as long as is collected, and one byte more.
    for (extra, chunks) in [(0, 0), (1, 5)] {
        let mut script = Script { closes: true, ..Script::default() };
        let body = "x".repeat(65_536 + extra);
        let response: &'static str = format!("HTTP/1.0 200 OK\r\n\r\n{body}").leak();
        script.responses.push(response);
        let seen = session(&[(get.into(), CLOCK_S)], &mut script);
        let read = strict::read(&seen.bytes, &[], false).unwrap();
        assert_eq!(read[0].body.len(), body.len());
        let text = String::from_utf8(seen.bytes).unwrap();
        assert_eq!(text.matches("4000\r\n").count(), if chunks > 0 { 4 } else { 0 });
        assert_eq!(text.ends_with("\r\n1\r\nx\r\n0\r\n\r\n"), chunks > 0);
        assert_eq!(seen.end, Some(End::Fin));

        // HTTP/1.0 has no chunks.
        let mut script = Script { closes: true, responses: vec![response], ..Script::default() };
        let old = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
        let seen = session(&[(old.into(), CLOCK_S)], &mut script);
        let text = String::from_utf8(seen.bytes).unwrap();
        assert!(!text.contains("chunked") && text.ends_with("xxx"));
        assert_eq!(text.contains("Connection: close"), chunks > 0);
        assert_eq!(seen.end, Some(End::Fin));
    }
}

#[test]
fn broken_responses_reset() {
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for response in [
        "xyzzy\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\n\r\n",
        "HTTP/1.1 206 Partial\r\nContent-Length: 1\r\nContent-Range: bytes 0-0/1\r\n\r\nx",
    ] {
        let (text, end, _) = exchange(get, &[response]);
        assert_eq!((text.as_str(), end), ("", Some(End::Reset)), "{response}");
    }
    let mut script = Script::new(&["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"]);
    script.closes = true;
    let seen = session(&[(get.into(), CLOCK_S)], &mut script);
    assert!(seen.bytes.ends_with(b"\r\n\r\nhello"));
    assert_eq!(seen.end, Some(End::Reset));
}

#[test]
fn bytes_behind_a_response_cost_the_connection() {
    let mut script = Script::new(&[
        "HTTP/1.1 204 No\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
        "HTTP/1.1 204 No\r\n\r\n",
    ]);
    // The second request comes late enough for the poison to be seen first.
    let mut http = Http1::new(Profile::DEFAULT);
    let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let seen = run(&mut http, &[(get.to_vec(), CLOCK_S)], false, &mut script, 1);
    assert_eq!(seen.end, None);
    let again = run(&mut http, &[(get.to_vec(), CLOCK_S)], true, &mut script, 2);
    assert!(!again.bytes.windows(6).any(|w| w == b"poison"));
    assert_eq!(script.got.len(), 2);
    assert_eq!(again.end, Some(End::Fin));
}

#[test]
fn an_idle_connection_that_closed_is_replaced() {
    let two = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
    let no: &[&'static str] = &["HTTP/1.1 204 No\r\n\r\n"; 2];
    let mut script = Script { deaf: 1, ..Script::new(no) };
    let seen = session(&[(two.into(), CLOCK_S)], &mut script);
    assert_eq!(strict::read(&seen.bytes, &[], false).unwrap().len(), 2);
    assert_eq!(seen.end, Some(End::Fin));
    assert_eq!(script.got.len(), 2);
    assert!(script.got[0].ends_with(b"keep-alive\r\n\r\n") && script.got[1].starts_with(b"GET /2"));

    // A fresh connection that closes without a word is the replica's fault.
    struct Mute;
    impl Replica for Mute {
        fn receive(&mut self, _: &[u8], out: &mut Wire) {
            out.close = Some(true);
        }
    }
    let mut http = Http1::new(Profile::DEFAULT);
    let seen = run(&mut http, &[(two.into(), CLOCK_S)], true, &mut Mute, 5);
    assert_eq!((seen.bytes.len(), seen.end), (0, Some(End::Reset)));
}

#[test]
fn what_cannot_be_sent_twice_gets_a_fresh_connection() {
    let post = "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx".repeat(3);
    let mut script = Script::new(&["HTTP/1.1 204 No\r\n\r\n"; 3]);
    let seen = session(&[(post.into(), CLOCK_S)], &mut script);
    assert_eq!(seen.end, Some(End::Fin));
    assert_eq!(script.got.len(), 3);
    assert!(script.got.iter().all(|got| got.ends_with(b"\r\n\r\nx")));
}

#[test]
fn an_early_answer_to_a_long_upload() {
    let mut upload = b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n".to_vec();
    upload.resize(upload.len() + 300_000, b'u');
    let mut more = upload.clone();
    more.extend_from_slice(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let no: &[&'static str] = &[
        "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig",
        "HTTP/1.1 204 No\r\n\r\n",
    ];
    let mut script = Script::new(no);
    let seen = session(&[(more, CLOCK_S)], &mut script);
    let read = strict::read(&seen.bytes, &[], false).unwrap();
    assert_eq!(read.iter().map(|r| r.status).collect::<Vec<_>>(), [413, 204]);
    assert_eq!(seen.end, Some(End::Fin));
    // A client that gives up in mid-body cannot know how far the replica was.
    upload.truncate(200_000);
    let mut http = Http1::new(Profile::DEFAULT);
    let seen = run(&mut http, &[(upload, CLOCK_S)], true, &mut Script::new(no), 3);
    assert_eq!(seen.end, Some(End::Reset));
}

#[test]
fn events_are_sent_as_they_come() {
    let mut http = Http1::new(Profile::DEFAULT);
    http.client_data(b"GET /e HTTP/1.1\r\nHost: a\r\n\r\n", CLOCK_S);
    assert_eq!(http.connection(), ConnectionWish::Open);
    http.server_opened();
    http.sent_to_server(http.to_server().len());
    http.server_data(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n\
          7\r\ndata: 1\r\n3\r\n\n\nd\r\n",
    );
    let text = String::from_utf8_lossy(http.to_client()).into_owned();
    assert!(text.ends_with("Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n"), "{text}");
    http.sent_to_client(text.len());
    http.server_data(b"8\r\nata: 2\n\n\r\n0\r\n\r\n");
    assert_eq!(http.to_client(), b"9\r\ndata: 2\n\n\r\n0\r\n\r\n");
    assert_eq!(http.end(), None);
}

#[test]
fn conditions_and_ranges_are_decided_here() {
    const FILE: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
         ETag: \"x\"\r\nContent-Length: 10\r\n\r\n0123456789";
    let ask = |more: &str| {
        let (text, end, _) = exchange(&format!("GET / HTTP/1.1\r\nHost: a\r\n{more}\r\n"), &[FILE]);
        assert_eq!(end, Some(End::Fin));
        let read = strict::read(text.as_bytes(), &[], false).unwrap();
        (read[0].status, String::from_utf8(read[0].body.clone()).unwrap())
    };
    let (old, new) = ("Sun, 06 Nov 1994 08:49:36 GMT", "Sunday, 06-Nov-94 08:49:37 GMT");
    assert_eq!(ask(&format!("If-Modified-Since: {new}\r\n")).0, 304);
    assert_eq!(ask(&format!("If-Modified-Since: {old}\r\n")).0, 200);
    assert_eq!(ask(&format!("If-Modified-Since: {new}\r\nIf-None-Match: \"x\"\r\n")).0, 200);
    assert_eq!(ask("If-None-Match: *\r\n").0, 304);
    // The tag that the client got: length, and seconds since 1970.
    assert_eq!(ask("If-None-Match: W/\"a-2ebc98a1\"\r\n").0, 304);
    assert_eq!(ask("If-None-Match: W/\"b-2ebc98a1\"\r\n").0, 200);
    assert_eq!(ask("If-Match: *\r\n").0, 200);
    assert_eq!(ask("If-Match: \"x\"\r\n").0, 412);
    assert_eq!(ask(&format!("If-Unmodified-Since: {old}\r\n")).0, 412);
    assert_eq!(ask("Range: bytes=2-4\r\n"), (206, "234".into()));
    assert_eq!(ask("Range: bytes=-3\r\n"), (206, "789".into()));
    assert_eq!(ask("Range: bytes=8-99\r\n"), (206, "89".into()));
    assert_eq!(ask("Range: bytes=10-\r\n").0, 416);
    assert_eq!(ask("Range: bytes=1-2,4-5\r\n"), (200, "0123456789".into()));
    assert_eq!(ask(&format!("Range: bytes=1-2\r\nIf-Range: {new}\r\n")).0, 200);
    assert_eq!(ask(&format!("Range: bytes=1-2\r\nIf-Modified-Since: {new}\r\n")).0, 304);
}

#[test]
fn files_have_tags_that_all_replicas_agree_on() {
    let head = |etag: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nETag: {etag}\r\nContent-Length: 10\r\n\
             Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n"
        )
    };
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let (one, _, _) = exchange(get, &[format!("{}0123456789", head("\"x\"")).leak()]);
    let (other, _, _) = exchange(get, &[format!("{}0123456789", head("W/\"5-77\"")).leak()]);
    assert_eq!(one, other);
    assert!(one.contains("\r\nETag: W/\"a-2ebc98a1\"\r\n"), "{one}");
    let (text, _, _) = exchange("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", &[head("\"x\"").leak()]);
    assert!(text.contains("\r\nETag: W/\"a-2ebc98a1\"\r\n"), "{text}");
    let program = "HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 1\r\n\r\nx";
    assert!(!exchange(get, &[program]).0.contains("ETag"), "nothing to make one of");
}

#[test]
fn private_cookies_are_the_same_for_the_client_and_each_replica_gets_its_own() {
    let login = |value: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nSet-Cookie: sid={value}; HttpOnly\r\nSet-Cookie: theme=dark\r\n\
             Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
        )
    };
    let mut seen = Vec::new();
    for value in ["alpha", "beta"] {
        let tokens = SharedTokens::new(Tokens::new(&[b"sid"]).into());
        let mut http = Http1::new(Profile::DEFAULT);
        let say = |http: &mut Http1, request: &str, response: &str| {
            http.remember_in(&tokens);
            let context = Context { clock_ms: 1_000, nonce: [9; 16] };
            Canonicaliser::client_data(http, request.as_bytes(), context);
            assert_eq!(http.connection(), ConnectionWish::Open);
            http.server_opened();
            let asked = String::from_utf8(http.to_server().to_vec()).unwrap();
            http.sent_to_server(asked.len());
            http.server_data(response.as_bytes());
            let answer = String::from_utf8(http.to_client().to_vec()).unwrap();
            http.sent_to_client(answer.len());
            (asked, answer)
        };
        let (_, first) = say(&mut http, "GET /login HTTP/1.1\r\nHost: a\r\n\r\n", &login(value));
        let (_, again) = say(&mut http, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", &login(value));
        let cookie = |text: &str| {
            let at = text.find("sid=").unwrap();
            text[at..at + 36].to_owned()
        };
        assert!(!first.contains(value) && first.contains("Set-Cookie: theme=dark"), "{first}");
        assert_eq!(cookie(&first), cookie(&again), "given again, it is the same");
        // Another session of the same client.
        http.reset();
        let request = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nCookie: theme=dark; {}\r\nCookie: sid=made-up\r\n\r\n",
            cookie(&first)
        );
        let (asked, _) = say(&mut http, &request, &login(value));
        assert!(asked.contains(&format!("\r\nCookie: theme=dark; sid={value}\r\n")), "{asked}");
        assert!(!asked.contains("made-up"), "{asked}");
        seen.push((first, again));
    }
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn a_file_is_no_answer_to_post() {
    let file = "HTTP/1.1 200 OK\r\nLast-Modified: x\r\nETag: \"x\"\r\n\
                Content-Type: a/b\r\nContent-Length: 1\r\n\r\nx";
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    let (text, _, _) = exchange(post, &[file]);
    assert!(text.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"), "{text}");
    assert!(text.ends_with("\r\n\r\n405 Method Not Allowed\n"), "{text}");
}

#[test]
fn long_bodies_pass_in_bounded_memory() {
    let mut http = Http1::new(Profile::DEFAULT);
    http.client_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", CLOCK_S);
    http.server_opened();
    http.sent_to_server(http.to_server().len());
    let length = 64 << 20;
    let head = format!("HTTP/1.1 200 OK\r\nLast-Modified: x\r\nContent-Length: {length}\r\n\r\n");
    assert_eq!(http.server_data(head.as_bytes()), head.len());
    http.sent_to_client(http.to_client().len());
    let block: Vec<u8> = (0..100_000).map(|n| (n * 7 % 251) as u8).collect();
    let (mut offered, mut received) = (0, 0);
    while received < length {
        let at = offered % block.len();
        let n = (block.len() - at).min(length - offered);
        offered += http.server_data(&block[at..at + n]);
        // A client that takes little holds the replica back.
        let waiting = http.to_client();
        assert!(waiting.len() <= 64 * 1024);
        let n = waiting.len().min(50_000);
        for (i, byte) in waiting[..n].iter().enumerate().step_by(997) {
            assert_eq!(*byte, block[(received + i) % block.len()]);
        }
        received += n;
        http.sent_to_client(n);
    }
    assert_eq!((offered, received, http.connection()), (length, length, ConnectionWish::Open));
}

#[test]
fn a_session_after_reset_knows_nothing_of_the_last() {
    let mut http = Http1::new(Profile::DEFAULT);
    http.client_data(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc", CLOCK_S);
    http.reset();
    assert_eq!((http.connection(), http.to_client().len()), (ConnectionWish::None, 0));
    let mut script = Script::new(&["HTTP/1.1 204 No\r\n\r\n"]);
    let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
    let seen = run(&mut http, &[(get, CLOCK_S)], true, &mut script, 1);
    assert_eq!(seen.bytes, format!("HTTP/1.1 204 No Content\r\n{DATE}\r\n").as_bytes());
}

/// One canonicaliser serves sessions of several services, each by that service's own profile.
#[test]
fn each_session_goes_by_its_own_profile() {
    let few = Profile { methods: MethodSet::NONE, max_head_bytes: 1024, ..Profile::DEFAULT };
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(2000));
    let ask = |http: &mut Http1, request: &str| {
        http.client_data(request.as_bytes(), CLOCK_S);
        let answer = String::from_utf8_lossy(http.to_client()).into_owned();
        http.reset();
        answer
    };
    let mut http = Http1::new(Profile::DEFAULT);
    for _ in 0..2 {
        http.serve(few);
        let refused = ask(&mut http, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(refused.starts_with("HTTP/1.1 405 "), "{refused}");
        assert!(ask(&mut http, &long).starts_with("HTTP/1.1 431 "));
        http.serve(Profile::DEFAULT);
        assert_eq!(ask(&mut http, &long), "", "it goes to the replica");
    }
}
