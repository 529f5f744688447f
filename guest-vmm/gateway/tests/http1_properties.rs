//! Properties of the `http1` canonicaliser over random sessions.
//!
//! `RESH_FUZZ_CASES` sets the number of cases; a failure prints the seed of its case.

mod http1_support;

use gateway::canonicaliser::End;
use gateway::http1::{Http1, Method, Profile};
use http1_support::dialect::{Dialect, MODIFIED, PORT};
use http1_support::network::{Record, Replica, Wire, run};
use http1_support::{Rng, cases, mutate, show, strict};

fn profile() -> Profile {
    Profile { replica_port: PORT, ..Profile::DEFAULT }
}

/// A stream of requests that all are allowed, and for each whether it is `HEAD`.
fn requests(rng: &mut Rng) -> (Vec<u8>, Vec<Option<bool>>) {
    let (mut stream, mut heads) = (Vec::new(), Vec::new());
    for _ in 0..1 + rng.below(6) {
        heads.push(Some(request(rng, &mut stream)));
    }
    (stream, heads)
}

fn request(rng: &mut Rng, stream: &mut Vec<u8>) -> bool {
    let method = rng.pick(&["GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]);
    let n = [0, 1, 100, 65_535, 65_536, 65_537, 140_000][rng.below(7)];
    let target = match (method, rng.below(9)) {
        ("POST" | "PUT", 0..4) => rng.pick(&["/echo", "/count"]).to_owned(),
        (_, 0 | 1) => format!("/file/{n}"),
        (_, 2) => format!("/dynamic/{n}"),
        (_, 3) => format!("/events/{}", n % 400),
        (_, 4) => format!("/untyped/{}", n % 9),
        (_, 5) => rng.pick(&["/empty", "/moved", "/json"]).to_owned(),
        (_, 6) => "/a/../%66ile//./7?x=%41|".to_owned(),
        _ => "/none".to_owned(),
    };
    let http10 = rng.one_in(8);
    let version = if http10 { "1.0" } else { "1.1" };
    let mut head = format!("{method} {target} HTTP/{version}\r\n");
    head += rng.pick(&["Host: Shop.example\r\n", "host:shop.example:80 \r\n"]);
    head += rng.pick(&["", "", "Accept-Encoding: gzip\r\n", "X-A: 1\r\nx-a: 2\r\nX_b: 3\r\n"]);
    head += rng.pick(&["", "", "", "Upgrade: h2c\r\nConnection: upgrade, http2-settings\r\n"]);
    head += &match rng.below(8) {
        0 => format!("If-Modified-Since: {MODIFIED}\r\n"),
        1 => format!("If-Modified-Since: {MODIFIED}\r\nIf-None-Match: \"x\"\r\n"),
        2 if !matches!(method, "POST" | "PUT" | "DELETE") => "If-None-Match: *\r\n".to_owned(),
        _ => String::new(),
    };
    head += &match rng.below(8) {
        0 => format!("Range: bytes={}-\r\n", rng.below(200)),
        1 => format!("Range: bytes={}-{}\r\n", rng.below(9), 9 + rng.below(70_000)),
        2 => format!("Range: bytes=-{}\r\n", 1 + rng.below(70_000)),
        3 => "Range: bytes=1-2,5-6\r\n".to_owned(),
        _ => String::new(),
    };
    if http10 {
        head += rng.pick(&["Connection: keep-alive\r\n", "Connection: keep-alive\r\n", ""]);
    } else if rng.one_in(20) {
        head += "Connection: close\r\n";
    }
    if matches!(method, "POST" | "PUT") {
        let body: Vec<u8> = (0..n).map(|i| b'0' + (i % 10) as u8).collect();
        head += rng.pick(&["", "", "Expect: 100-continue\r\n"]);
        if http10 || rng.one_in(2) {
            head += &format!("Content-Length: {n}\r\n\r\n");
            stream.extend_from_slice(head.as_bytes());
            stream.extend_from_slice(&body);
        } else {
            head += "Transfer-Encoding: Chunked\r\n\r\n";
            stream.extend_from_slice(head.as_bytes());
            for piece in body.chunks(1 + rng.below(30_000)) {
                stream.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                stream.extend_from_slice(piece);
                stream.extend_from_slice(b"\r\n");
            }
            stream.extend_from_slice(rng.pick(&["0\r\n\r\n", "0\r\nT: 1\r\n\r\n"]).as_bytes());
        }
    } else {
        head += "\r\n";
        stream.extend_from_slice(head.as_bytes());
    }
    method == "HEAD"
}

/// Cuts a stream into records, each with its clock.
fn records(rng: &mut Rng, stream: &[u8]) -> Vec<Record> {
    let mut clock_s = 784_111_777;
    let mut rest = stream;
    let mut records = Vec::new();
    while !rest.is_empty() {
        let n = 1 + rng.below(rest.len());
        clock_s += rng.below(3) as u32;
        records.push((rest[..n].to_vec(), clock_s));
        rest = &rest[n..];
    }
    records
}

#[test]
fn replicas_of_different_make_give_the_same_bytes() {
    for case in 0..cases(1000) {
        let mut rng = Rng::new(case);
        let (stream, heads) = requests(&mut rng);
        agree(case, &mut rng, &stream, &heads, true);
    }
}

#[test]
fn they_do_so_for_a_broken_client() {
    for case in 0..cases(2000) {
        let mut rng = Rng::new(case ^ 0x5eed_0001);
        let (mut stream, _) = requests(&mut rng);
        mutate(&mut rng, &mut stream);
        agree(case ^ 0x5eed_0001, &mut rng, &stream, &[], false);
    }
}

/// Runs a client against several replicas: the same bytes must come, and they must be valid.
fn agree(case: u64, rng: &mut Rng, stream: &[u8], heads: &[Option<bool>], sound: bool) {
    let records = records(rng, stream);
    let mut first = None;
    let mut profile = profile();
    if rng.one_in(2) {
        profile.methods = profile.methods.with(Method::Options);
    }
    let mut http = Http1::new(profile);
    for make in 0..4 {
        let mut dialect = Dialect::new(rng.next());
        http.reset();
        let seen = run(&mut http, &records, true, &mut dialect, rng.next());
        let Some(end) = seen.end else {
            panic!("case {case}: stuck at\n{}\nof\n{}", show(&seen.bytes), show(stream));
        };
        let read = strict::read(&seen.bytes, heads, end == End::Reset).unwrap_or_else(|error| {
            panic!("case {case}: {error} in\n{}\nto\n{}", show(&seen.bytes), show(stream))
        });
        if sound {
            let answers: Vec<_> = read.iter().filter(|r| r.status >= 200).collect();
            assert_eq!(end, End::Fin, "case {case}: {}", show(stream));
            let last = answers.last().unwrap();
            assert!(
                answers.len() == heads.len() || last.field("connection") == Some("close"),
                "case {case}: {} answers to\n{}",
                answers.len(),
                show(stream)
            );
            assert!(answers.iter().all(|r| r.status != 400 && r.status < 500), "case {case}");
        }
        // Behind a reset nothing is said about how far each came.
        let (bytes, end) = match &first {
            None => {
                first = Some((seen.bytes, end));
                continue;
            }
            Some(first) => first,
        };
        assert_eq!(*end, seen.end.unwrap(), "case {case}, make {make}: {}", show(stream));
        let n = bytes.len().min(seen.bytes.len());
        let at = (0..n).find(|&at| bytes[at] != seen.bytes[at]);
        if at.is_some() || *end == End::Fin && bytes.len() != seen.bytes.len() {
            let from = at.unwrap_or(n).saturating_sub(400);
            panic!(
                "case {case}, make {make}: split at {at:?} of {n}\n{}\n---- and\n{}\n---- to\n{}",
                show(&bytes[from..]),
                show(&seen.bytes[from..]),
                show(stream)
            );
        }
    }
}

/// A replica that says whatever comes to mind.
struct Liar {
    rng: Rng,
    dialect: Dialect,
    refuses: bool,
}

impl Replica for Liar {
    fn connect(&mut self) -> bool {
        self.dialect.connect() && !(self.refuses && self.rng.one_in(3))
    }

    fn receive(&mut self, bytes: &[u8], out: &mut Wire) {
        let mut honest = Wire::default();
        self.dialect.receive(bytes, &mut honest);
        if !honest.bytes.is_empty() && !self.rng.one_in(3) {
            mutate(&mut self.rng, &mut honest.bytes);
        }
        if self.rng.one_in(6) {
            let n = self.rng.below(60);
            honest.bytes.extend((0..n).map(|_| self.rng.next() as u8));
        }
        out.bytes.append(&mut honest.bytes);
        out.close = out.close.or(honest.close);
        if self.rng.one_in(5) {
            out.close = Some(self.rng.one_in(2));
        }
    }

    fn idle(&mut self, out: &mut Wire) {
        if self.rng.one_in(30) {
            out.bytes.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nlie");
        }
        if self.rng.one_in(30) {
            out.close = Some(self.rng.one_in(2));
        }
    }
}

#[test]
fn what_reaches_the_client_is_valid_whatever_the_replica_says() {
    for case in 0..cases(2500) {
        let mut rng = Rng::new(case ^ 0x5eed_0002);
        let (mut stream, mut heads) = requests(&mut rng);
        if rng.one_in(3) {
            mutate(&mut rng, &mut stream);
            heads.clear();
        }
        let records = records(&mut rng, &stream);
        let mut http = Http1::new(profile());
        let mut liar = Liar {
            rng: Rng::new(rng.next()),
            dialect: Dialect::new(rng.next()),
            refuses: rng.one_in(4),
        };
        let seen = run(&mut http, &records, true, &mut liar, rng.next());
        // A session that waits for its replica has ended for this reader as by a reset.
        let cut = seen.end != Some(End::Fin);
        if let Err(error) = strict::read(&seen.bytes, &heads, cut) {
            panic!("case {case}: {error} in\n{}\nto\n{}", show(&seen.bytes), show(&stream));
        }
    }
}

#[test]
fn noise_on_both_sides() {
    for case in 0..cases(2500) {
        let mut rng = Rng::new(case ^ 0x5eed_0003);
        let mut http = Http1::new(profile());
        let mut seen = Vec::new();
        for _ in 0..200 {
            let mut bytes = vec![0; rng.below(300)];
            let alphabet = b"GET / HTTP/1.1\r\n\r\nHost: a\r\n:0123456789abcdef;\t\0\xff";
            for byte in &mut bytes {
                *byte = alphabet[rng.below(alphabet.len())];
            }
            if rng.one_in(4) {
                bytes = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
            }
            match rng.below(9) {
                0 | 1 => assert!(http.client_data(&bytes, rng.next() as u32) <= bytes.len()),
                2 => http.server_opened(),
                3 | 4 => assert!(http.server_data(&bytes) <= bytes.len()),
                5 if rng.one_in(9) => http.server_fin(),
                6 if rng.one_in(9) => http.server_reset(),
                7 => {
                    let n = rng.below(http.to_server().len() + 2);
                    http.sent_to_server(n);
                }
                _ => {
                    let n = rng.below(http.to_client().len() + 1);
                    seen.extend_from_slice(&http.to_client()[..n]);
                    http.sent_to_client(n);
                }
            }
        }
        seen.extend_from_slice(http.to_client());
        if let Err(error) = strict::read(&seen, &[], true) {
            assert_eq!(error, "no end of head", "case {case}: {}", show(&seen));
        }
    }
}
