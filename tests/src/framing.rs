//! Nobody is framed: a client that sends every ambiguous request it can think of, beside ordinary ones.
//! Afterwards all replicas still vote, and ordinary clients never noticed.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use resh_tests::appliance::{Appliance, Config, Service};
use resh_tests::harness::{CaseResult, Context, duration};
use resh_tests::rng::Rng;
use resh_tests::servers;
use resh_tests::site::Site;
use resh_tests::web::{self, Load};
use resh_tests::{ensure, net};

const HOSTILE_CLIENTS: u64 = 4;

const METHODS: &[&str] = &[
    "GET", "GET", "GET", "HEAD", "POST", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT",
    "PATCH", "PRI", "get", "BREW", "G\0T", "", "PROPFIND", "GET\t",
];
const TARGETS: &[&str] = &[
    "/",
    "/hello.txt",
    "/1k.bin",
    "/dir",
    "/no-index/",
    "/forbidden.txt",
    "/cgi-bin/echo",
    "/cgi-bin/method?x",
    "/hello.txt/",
    "//hello.txt",
    "/../hello.txt",
    "/%2e%2e/hello.txt",
    "/dir/../hello.txt",
    "/dir%2Fleaf.txt",
    "/hello.txt%00",
    "/hello.txt%zz",
    "/hello.txt?",
    "/hello.txt#x",
    "/dir\\leaf.txt",
    "/a b.txt",
    "*",
    "http://shop.example/hello.txt",
    "http://other/hello.txt",
    "https://shop.example:1/hello.txt",
    "shop.example:443",
    "hello.txt",
    "",
    "/.htaccess",
    "/hello.txt~",
    "/cgi-bin/",
    "/index.php",
    "/hello.txt;x=1",
    "/HELLO.TXT",
    "/\u{e9}",
];
const VERSIONS: &[&str] = &[
    " HTTP/1.1",
    " HTTP/1.1",
    " HTTP/1.1",
    " HTTP/1.1",
    " HTTP/1.0",
    " HTTP/0.9",
    " HTTP/2.0",
    " HTTP/1.2",
    " HTTP/1.10",
    " http/1.1",
    "",
    "  HTTP/1.1",
    " HTTP/1.1 ",
    " HTTP/01.1",
];
const ENDINGS: &[&str] = &["\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "\r\r\n", "\r\n "];
const FIELDS: &[&str] = &[
    "Host: shop.example",
    "Host: shop.example",
    "Host: other.example",
    "Host:",
    "Host : shop.example",
    "Host: a b",
    "Host: shop.example:99999",
    "Content-Length: 5",
    "Content-Length: 6",
    "Content-Length: 05",
    "Content-Length: 0x5",
    "Content-Length: 5, 5",
    "Content-Length: -1",
    "Content-Length: 5 5",
    "Content-Length:\u{b}5",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding:\u{b}chunked",
    "Transfer-Encoding: Chunked",
    "Transfer-Encoding: gzip, chunked",
    "TE: trailers, deflate;q=0.5",
    "Trailer: Content-Length",
    "Expect: 100-continue",
    "Expect: 100-Continue, x",
    "Expect: 200-ok",
    "Connection: close",
    "Connection: keep-alive, close",
    "Connection: Host, Content-Length, Transfer-Encoding",
    "Connection: Upgrade, HTTP2-Settings",
    "Upgrade: h2c",
    "Upgrade: websocket",
    "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
    "If-None-Match: *",
    "If-None-Match: \"x\", W/\"y\"",
    "If-Match: \"x\"",
    "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT",
    "If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT",
    "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT",
    "If-Range: \"x\"",
    "Range: bytes=0-0",
    "Range: bytes=0-1,3-4,-1",
    "Range: bytes=9-1",
    "Range: bytes=99999-",
    "Range: bytes=0-18446744073709551616",
    "Range: bytes=-0",
    "Accept-Encoding: gzip;q=1.0, identity;q=0, *;q=0",
    "Accept: application/nothing",
    "Accept-Language: xx",
    "Accept-Charset: nothing",
    "Authorization: Basic !!!",
    "Cookie: a=\"b; c=d",
    "Content-Encoding: gzip",
    "Content-Type: multipart/form-data",
    "X-Http-Method-Override: DELETE",
    "X-Forwarded-For: 1.2.3.4",
    "Forwarded: for=1.2.3.4",
    "Max-Forwards: 0",
    "Proxy-Connection: keep-alive",
    "Keep-Alive: timeout=1000",
    "Cache-Control: only-if-cached",
    "Pragma: no-cache",
    " folded: one",
    "X: one\r\n two",
    ": nameless",
    "no colon",
    "X\u{7f}: y",
    "X: \u{1}",
    "(X): y",
];
const BODIES: &[&str] = &[
    "",
    "",
    "hello",
    "hello!",
    "0\r\n\r\n",
    "5\r\nhello\r\n0\r\n\r\n",
    "5;x=\"\r\n\"\r\nhello\r\n0\r\n\r\n",
    "5\nhello\n0\n\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "05\r\nhello\r\n0\r\nHost: x\r\n\r\n",
    "ffffffffffffffff\r\nhello",
    "5\r\nhelloworld\r\n0\r\n\r\n",
    "GET /hello.txt HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    "0\r\n\r\nGET /1k.bin HTTP/1.1\r\nHost: shop.example\r\n\r\n",
];

pub(crate) fn nobody_is_framed(context: &Context) -> CaseResult {
    let length = duration(60);
    let site = Site::create(&context.dir, context.seed)?;
    let servers = servers::web_servers(&context.dir, &site)?;
    let replicas = servers.iter().map(|server| (server.name, server.address));
    let config = Config::of(Service::new("web", "http1", replicas)?);
    let appliance = Appliance::run(&context.dir, &config)?;
    let address = appliance.address;
    let load = Load { clients: 2, ..Load::of(address, "/1m.bin")? };

    let (report, wrk, hostile) = std::thread::scope(|scope| {
        let hostile: Vec<_> = (0..HOSTILE_CLIENTS)
            .map(|number| {
                let mut rng = Rng::new(context.seed * HOSTILE_CLIENTS + number);
                scope.spawn(move || hostile_client(address, &mut rng, length))
            })
            .collect();
        let wrk = scope.spawn(move || web::wrk(address, "/1k.bin", 8, length, None));
        let report = load.run_for(length);
        let hostile: u64 = hostile.into_iter().map(|client| client.join().unwrap_or(0)).sum();
        (report, wrk.join(), hostile)
    });
    report.all_right()?;
    let wrk = wrk.map_err(|_| "wrk's thread panicked".to_owned())??;
    ensure!(wrk.errors.is_empty(), "ordinary clients noticed: {:?}", wrk.errors);
    ensure!(hostile > 100, "only {hostile} hostile requests were sent");
    let status = appliance.status()?;
    ensure!(status.all_voting(), "a replica was framed: {:#}", status.0);
    ensure!(status.total("condemned") == 0, "a replica was condemned: {:#}", status.0);
    load.run(50).all_right()?;
    let splits: Vec<String> = status
        .replica_names()
        .iter()
        .map(|name| format!("{name} {}", status.counter(name, "divergences")))
        .collect();
    println!(
        "note: {hostile} hostile requests beside {} ordinary ones; sessions in which one differed: {}",
        report.right + wrk.requests,
        splits.join(", ")
    );
    Ok(())
}

/// Sends hostile requests, each on a connection of its own, and counts them.
fn hostile_client(address: SocketAddr, rng: &mut Rng, length: Duration) -> u64 {
    let end = Instant::now() + length;
    let mut sent = 0;
    while Instant::now() < end {
        let Ok(mut stream) = net::connect(address, Duration::from_secs(5)) else { continue };
        let bytes = hostile_request(rng);
        if rng.below(8) == 0 {
            let cut = rng.below(bytes.len());
            let _ = stream.write_all(&bytes[..cut]);
            std::thread::sleep(Duration::from_millis(20));
            let _ = stream.write_all(&bytes[cut..]);
        } else {
            let _ = stream.write_all(&bytes);
        }
        // Not every such request has an answer; one that has gets it within this time.
        net::read_until(&mut stream, Duration::from_millis(200), |_| false);
        sent += 1;
    }
    sent
}

/// A request put together from parts that servers are known to read differently, or a damaged good one.
fn hostile_request(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..1 + rng.below(2) {
        let ending = *rng.pick(ENDINGS);
        let line = [rng.pick(METHODS), " ", rng.pick(TARGETS), rng.pick(VERSIONS), ending].concat();
        bytes.extend_from_slice(line.as_bytes());
        // Most have a good Host, so that they get past the first check.
        if rng.below(4) > 0 {
            bytes.extend_from_slice(b"Host: shop.example\r\n");
        }
        for _ in 0..rng.below(5) {
            let ending = if rng.below(4) > 0 { "\r\n" } else { rng.pick(ENDINGS) };
            bytes.extend_from_slice(rng.pick(FIELDS).as_bytes());
            bytes.extend_from_slice(ending.as_bytes());
        }
        bytes.extend_from_slice(if rng.below(6) > 0 {
            b"\r\n"
        } else {
            rng.pick(ENDINGS).as_bytes()
        });
        bytes.extend_from_slice(rng.pick(BODIES).as_bytes());
    }
    if rng.below(5) == 0 {
        let at = rng.below(bytes.len());
        bytes[at] = rng.next_u64() as u8;
    }
    bytes
}
