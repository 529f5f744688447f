//! The ends of requests, as total order needs them: what is framed is what the canonicaliser takes for a request.
//!
//! `RESH_FUZZ_CASES` sets the number of cases; a failure prints the seed of its case.

mod http1_support;

use gateway::canonicaliser::{Canonicaliser, End, Framer as _, Framing};
use gateway::http1::{Framer, Http1, Profile};
use http1_support::dialect::{Dialect, PORT};
use http1_support::network::run;
use http1_support::{Rng, cases, mutate, show};
use resh_channel::message::{ORDERED_BYTES_MAX, Request};

const CLOCK_S: u32 = 784_111_777;

/// A request that is accepted, and whether it only reads.
fn request(rng: &mut Rng) -> (Vec<u8>, bool) {
    let method = rng.pick(&["GET", "GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH"]);
    let mut head = rng.pick(&["", "", "", "\r\n", "\r\n\r\n"]).to_owned();
    head += &format!("{method} {} HTTP/1.1\r\n", rng.pick(&["/echo", "/file/100", "/none?a=:b"]));
    head += rng.pick(&["Host: shop\r\n", "host:\t shop:80 \r\n"]);
    head += rng.pick(&[
        "",
        "X-A: \r\n",
        "X-Content-Length: 7\r\nContent-Lengthy: 8\r\n",
        "Te: a\tb\r\n",
    ]);
    let mut request = Vec::new();
    if matches!(method, "POST" | "PUT" | "PATCH") {
        let len = [0, 1, 100, 30_000][rng.below(4)];
        let body: Vec<u8> =
            (0..len).map(|_| *rng.pick(&[b"\r", b"\n", b"0", b"x"]).first().unwrap()).collect();
        if rng.one_in(3) {
            let name = rng.pick(&["Content-Length", "content-length", "CONTENT-LENGTH"]);
            head += &format!(
                "{name}:{}{len}{}\r\n\r\n",
                rng.pick(&["", " ", "\t  "]),
                rng.pick(&["", " "])
            );
            request.extend(head.bytes());
            request.extend(&body);
        } else if len == 0 && rng.one_in(2) {
            request.extend((head + "\r\n").bytes());
        } else {
            let name = rng.pick(&["Transfer-Encoding", "transfer-encoding"]);
            head += &format!(
                "{name}: {}{}\r\n\r\n",
                " ".repeat(rng.below(40)),
                rng.pick(&["chunked", "CHUNKED "])
            );
            request.extend(head.bytes());
            for piece in body.chunks(len / 50 + 1 + rng.below(20_000)) {
                request.extend(format!("{:x}\r\n", piece.len()).bytes());
                request.extend(piece);
                request.extend(b"\r\n");
            }
            request.extend(rng.pick(&["0\r\n\r\n", "00\r\nT: 1\r\nU: 2\r\n\r\n"]).bytes());
        }
    } else {
        request.extend((head + rng.pick(&["\r\n", "Content-Length: 0\r\n\r\n"])).bytes());
    }
    (request, matches!(method, "GET" | "HEAD" | "OPTIONS"))
}

/// The requests in `stream`, cut into random pieces, and their flags. What is left, or comes after the last, is left out.
fn framed(rng: &mut Rng, stream: &[u8]) -> Vec<(Vec<u8>, u8)> {
    let mut framer = Framer::new();
    let (mut requests, mut request) = (Vec::new(), Vec::new());
    let mut rest = stream;
    while !rest.is_empty() {
        let most = if rng.one_in(2) { 3 } else { rest.len() };
        let piece = &rest[..1 + rng.below(most.min(rest.len()))];
        match framer.push(piece) {
            Framing::More => {
                request.extend(piece);
                rest = &rest[piece.len()..];
            }
            Framing::Request { len, flags } => {
                assert!(len >= 1 && len <= piece.len());
                request.extend(&piece[..len]);
                rest = &rest[len..];
                assert!(request.len() <= ORDERED_BYTES_MAX);
                requests.push((std::mem::take(&mut request), flags));
                if Request(flags).is(Request::LAST) {
                    return requests;
                }
            }
        }
        assert!(request.len() < ORDERED_BYTES_MAX, "too long, and not ended");
    }
    requests
}

#[test]
fn requests_are_found_whatever_the_pieces() {
    for case in 0..cases(2000) {
        let mut rng = Rng::new(case);
        let requests: Vec<_> = (0..1 + rng.below(6)).map(|_| request(&mut rng)).collect();
        let mut stream: Vec<u8> = requests.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        if rng.one_in(2) {
            stream.extend(b"GET / HTTP/1.1\r\nHost: a\r\n");
        }
        let framed = framed(&mut rng, &stream);
        assert_eq!(framed.len(), requests.len(), "case {case}:\n{}", show(&stream));
        for ((bytes, flags), (expected, reads)) in framed.iter().zip(&requests) {
            assert!(bytes == expected, "case {case}:\n{}\nis not\n{}", show(bytes), show(expected));
            let expected = if *reads { Request::READ_ONLY } else { 0 };
            assert_eq!(*flags, expected, "case {case}:\n{}", show(bytes));
        }
    }
}

/// What the client gets if requests are executed one after another.
fn executed(
    rng: &mut Rng,
    case: u64,
    requests: &[(Vec<u8>, u8)],
    dialect: u64,
) -> (Vec<u8>, Option<End>) {
    let mut http = Http1::new(profile());
    let mut dialect = Dialect::new(dialect);
    let mut bytes = Vec::new();
    for (request, flags) in requests {
        // The connection was idle, and is lost.
        http.server_reset();
        let last = Request(*flags).is(Request::LAST);
        let seen = run(&mut http, &[(request.clone(), CLOCK_S)], last, &mut dialect, rng.next());
        bytes.extend(seen.bytes);
        if seen.end.is_some() {
            return (bytes, seen.end);
        }
        assert!(http.is_answered(), "case {case}: no answer to\n{}", show(request));
        assert!(http.at_rest(), "case {case}: no rest after\n{}", show(request));
    }
    (bytes, None)
}

fn profile() -> Profile {
    Profile { replica_port: PORT, max_body_bytes: ORDERED_BYTES_MAX as u64, ..Profile::DEFAULT }
}

#[test]
fn one_after_another_they_are_answered_as_in_one_stream() {
    for case in 0..cases(600) {
        let mut rng = Rng::new(case ^ 0x0f7a_3e00);
        let mut stream: Vec<u8> = (0..1 + rng.below(6)).flat_map(|_| request(&mut rng).0).collect();
        let broken = rng.one_in(2);
        if broken {
            mutate(&mut rng, &mut stream);
        }
        let requests = framed(&mut rng, &stream);
        let dialect = rng.next();
        let (bytes, end) = executed(&mut rng, case, &requests, dialect);
        let mut http = Http1::new(profile());
        let whole = [(stream.clone(), CLOCK_S)];
        let seen = run(&mut http, &whole, true, &mut Dialect::new(dialect), rng.next());
        let framed: usize = requests.iter().map(|(bytes, _)| bytes.len()).sum();
        // What is not framed is not executed.
        let complete = framed == stream.len() || end.is_some();
        assert!(broken || framed == stream.len(), "case {case}");
        if complete {
            assert!(
                bytes == seen.bytes,
                "case {case}:\n{}\nis not\n{}\nto\n{}",
                show(&bytes),
                show(&seen.bytes),
                show(&stream)
            );
            assert!(end.is_none() || end == seen.end, "case {case}: {end:?}, {:?}", seen.end);
        } else {
            assert!(seen.bytes.starts_with(&bytes), "case {case}:\n{}", show(&stream));
        }
    }
}

#[test]
fn what_is_too_long_or_makes_no_sense_is_the_last() {
    let long = |start: &[u8], filler: &[u8]| {
        let filler = filler.iter().cycle().take(ORDERED_BYTES_MAX - start.len());
        start.iter().chain(filler).copied().collect::<Vec<_>>()
    };
    let head = |field: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n").into_bytes();
    let chunked =
        |start: &str| [&head("Transfer-Encoding: chunked")[..], start.as_bytes()].concat();
    for request in [
        long(&chunked("fffff\r\n"), b"x"),
        long(b"", b"\r\n"),
        long(b"GET / HTTP/1.1\r\nX:", b"x"),
        b"GET / HTTP/1.1\n".to_vec(),
        b"GET / HTTP/1.1\r\r".to_vec(),
        b"GET / HTTP/1.1\r\nHost: a\r\n ".to_vec(),
        b"\rG".to_vec(),
        b"\x16".to_vec(),
        chunked("5 "),
        chunked("5;"),
        chunked("1\r\nxy"),
        head("Content-Length: 32767"),
        head("Content-Length: 99999999999999999999999"),
        head("Content-Length: 5\r\nContent-Length: 5"),
        head("Content-Length: 5\r\nTransfer-Encoding: chunked"),
        head("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        head("Transfer-Encoding: gzip, chunked"),
        head("Content-Length: +5"),
        head("Content-Length: 5 5"),
        head("Content-Length:"),
    ] {
        let stream = [&request[..], b"xxxxxxxxxxxx"].concat();
        for seed in 0..20 {
            let requests = framed(&mut Rng::new(seed), &stream);
            let shown = show(&request[..request.len().min(100)]);
            assert_eq!(requests.len(), 1, "{shown}");
            let (bytes, flags) = &requests[0];
            assert_eq!((bytes.len(), *flags), (request.len(), Request::LAST), "{shown}");
            let (replied, end) = executed(&mut Rng::new(seed), seed, &requests, seed);
            assert_eq!(end, Some(End::Fin), "{shown}");
            let refused = replied.starts_with(b"HTTP/1.1 4") || replied.starts_with(b"HTTP/1.1 5");
            assert!(refused || replied.is_empty(), "{shown}:\n{}", show(&replied));
            assert_eq!(replied.is_empty(), request.starts_with(b"\r\n\r\n"), "{shown}");
        }
    }
}
