//! nginx, lighttpd and apache2, near their Debian default configuration, must give the client the
//! same bytes through `http1`, whatever the client sends.

mod http1_support;

use std::io::Write as _;
use std::time::Duration;

use gateway::canonicaliser::End;
use gateway::http1::{Http1, Profile};
use http1_support::network::Seen;
use http1_support::servers::{Server, Site};
use http1_support::{Rng, cases, mutate, show, strict, tcp};

const CLOCK_S: u32 = 1_800_000_000;
/// How long a server may take for one answer; this machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// What one connection sends.
struct Case {
    name: String,
    bytes: Vec<u8>,
}

fn case(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Case {
    Case { name: name.into(), bytes: bytes.into() }
}

fn ask(line: &str, more: &str) -> Case {
    let bytes = format!("{line} HTTP/1.1\r\nHost: shop.example\r\n{more}\r\n");
    case(format!("{line} {more}").replace("\r\n", " | "), bytes)
}

fn send(line: &str, more: &str, body: &[u8]) -> Case {
    let mut bytes = format!("{line} HTTP/1.1\r\nHost: shop.example\r\n{more}\r\n").into_bytes();
    bytes.extend_from_slice(body);
    case(format!("{line} {more}").replace("\r\n", " | "), bytes)
}

const TARGETS: &[&str] = &[
    "/",
    "/index.html",
    "/hello.txt",
    "/a%20b.txt",
    "/caf%C3%A9.txt",
    "/caf%c3%a9.txt",
    "/style.css",
    "/app.js",
    "/data.json",
    "/data.xml",
    "/icon.ico",
    "/picture.svg",
    "/font.woff2",
    "/unknown.zzz",
    "/noextension",
    "/archive.tar.gz",
    "/0.bin",
    "/1k.bin",
    "/2m.bin",
    "/dir/",
    "/dir",
    "/dir/leaf.txt",
    "/no-index/",
    "/no-index",
    "/forbidden.txt",
    "/none",
    "/none/",
    "/none/x",
    "/hello.txt/",
    "/hello.txt/x",
    "/hello.txt?q=1",
    "/dir?q=1",
    "/dir/?q",
    "/?",
    "/cgi-bin/hello?a=b",
    "/cgi-bin/env",
    "/cgi-bin/moved",
    "/cgi-bin/big",
    "/cgi-bin/none",
    "/cgi-bin/",
    "/cgi-bin",
    "/cgi-bin/hello/path",
    // Odd ones.
    "//",
    "//hello.txt",
    "/./hello.txt",
    "/dir/../hello.txt",
    "/dir/..",
    "/..",
    "/../hello.txt",
    "/%2e%2e/hello.txt",
    "/dir/%2e%2e/hello.txt",
    "/%68ello.txt",
    "/hello%2etxt",
    "/dir%2Fleaf.txt",
    "/dir%5Cleaf.txt",
    "/dir\\leaf.txt",
    "/hello.txt%00",
    "/%00",
    "/hello.txt%0a",
    "/hello.txt%20",
    "/hello.txt.",
    "/HELLO.TXT",
    "/hello.txt~",
    "/x.inc",
    "/.htaccess",
    "/.hidden",
    "/%",
    "/%zz",
    "/%4",
    "/a+b&c=d;e,f.txt",
    "/a%2Bb%26c%3Dd%3Be%2Cf.txt",
    "/hello.txt;x=y",
    "/hello.txt#f",
    "/*",
    "/a:b",
    "/a@b",
    "/~user",
    "/'",
    "/(a)",
    "/!",
    "/$",
    "/\"",
    "/<a>",
    "/{a}",
    "/a|b",
    "/a^b",
    "/`",
    "/[a]",
    "/%22",
    "/%3Ca%3E",
    "/%7Ba%7D",
    "/a%7Cb",
    "/%25",
    "/%2525",
    "/%3F",
    "/%23",
    "/%ff",
    "/%c0%af",
    "/\u{e9}",
    "/cgi-bin/hello?%",
    "/cgi-bin/hello?a|b",
    "/cgi-bin/hello?%41%2f%5c",
    "/cgi-bin/hello?%00",
    "/cgi-bin/hello?%0a",
    "/cgi-bin/hello?a=%20+b",
    "/cgi-bin/hello?a?b/c../d",
    "/cgi-bin/hello?",
    "/cgi-bin/../hello.txt",
    "/index.php",
    "/x.php",
    "/x.fcgi",
    "/dir/.",
    "/dir//leaf.txt",
    "*",
    "x",
    "http://shop.example/hello.txt",
    "HTTP://SHOP.example:80/hello.txt",
    "http://shop.example",
    "http://other.example/",
    "https://shop.example/",
    "ftp://shop.example/",
    "shop.example:80",
    "/con",
    "/server-status",
    "/icons/",
    "/javascript/",
    "/manual/",
    "/dir%20",
    "/dir%2f",
    "/%64ir",
    "/dir;x",
];

fn targets() -> Vec<Case> {
    let mut all: Vec<Case> = Vec::new();
    for target in TARGETS {
        all.push(ask(&format!("GET {target}"), ""));
        all.push(ask(&format!("HEAD {target}"), ""));
    }
    for target in [
        "/",
        "/hello.txt",
        "/dir",
        "/dir/",
        "/none",
        "/forbidden.txt",
        "/cgi-bin/hello",
        "/no-index/",
    ] {
        for method in
            ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "PROPFIND", "get", "G"]
        {
            all.push(ask(&format!("{method} {target}"), ""));
        }
        all.push(send(&format!("PUT {target}"), "Content-Length: 3\r\n", b"abc"));
        all.push(case(format!("1.0 {target}"), format!("GET {target} HTTP/1.0\r\n\r\n")));
        all.push(case(
            format!("1.0 kept {target}"),
            format!("GET {target} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").repeat(2),
        ));
        all.push(case(
            format!("pipelined {target}"),
            format!("GET {target} HTTP/1.1\r\nHost: a:81\r\n\r\n").repeat(3),
        ));
    }
    all
}

fn fields() -> Vec<Case> {
    let mut all = Vec::new();
    for range in [
        "bytes=0-0",
        "bytes=0-",
        "bytes=-1",
        "bytes=5-",
        "bytes=6-",
        "bytes=0-5",
        "bytes=0-6",
        "bytes=-99",
        "bytes=-0",
        "bytes=5-4",
        "bytes=0-0,2-2",
        "bytes=0-2,1-3",
        "bytes=",
        "bytes=x",
        "lines=1-2",
        "BYTES=1-2",
        "bytes=1-2 ",
        "bytes=99999999999999999999-",
        "bytes=0-99999999999999999999",
        "bytes=999999999999999999-",
        "bytes = 1-2",
        "bytes=1-2, ",
        "bytes=1 - 2",
    ] {
        for target in ["/hello.txt", "/0.bin", "/cgi-bin/hello", "/none", "/dir"] {
            all.push(ask(&format!("GET {target}"), &format!("Range: {range}\r\n")));
        }
        all.push(ask("HEAD /hello.txt", &format!("Range: {range}\r\n")));
    }
    all.push(ask("GET /2m.bin", "Range: bytes=1000000-1999999\r\n"));
    all.push(ask("GET /cgi-bin/big", "Range: bytes=1000-1999\r\n"));
    let (old, new) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Fri, 01 Jan 2100 00:00:00 GMT");
    let conditions: Vec<String> = ["If-Modified-Since", "If-Unmodified-Since", "If-Range"]
        .iter()
        .flat_map(|name| {
            [old, new, "yesterday", "Sunday, 06-Nov-94 08:49:37 GMT", "MODIFIED"]
                .map(|date| format!("{name}: {date}\r\n"))
        })
        .chain(["If-Match", "If-None-Match"].iter().flat_map(|name| {
            ["*", "\"x\"", "W/\"x\"", "\"x\", \"y\"", "x", "*, \"x\""]
                .map(|tag| format!("{name}: {tag}\r\n"))
        }))
        .collect();
    for condition in &conditions {
        for line in [
            "GET /hello.txt",
            "HEAD /hello.txt",
            "GET /cgi-bin/hello",
            "GET /none",
            "GET /dir",
            "GET /2m.bin",
            "PUT /hello.txt",
            "DELETE /none",
        ] {
            all.push(ask(line, condition));
        }
        all.push(ask("GET /hello.txt", &format!("{condition}Range: bytes=1-2\r\n")));
        all.push(ask("GET /hello.txt", &format!("{condition}{}", conditions[4])));
        all.push(ask("GET /hello.txt", &format!("{condition}If-None-Match: \"x\"\r\n")));
    }
    for more in [
        "Accept-Encoding: gzip\r\n",
        "Accept-Encoding: *;q=0\r\n",
        "TE: trailers, chunked\r\n",
        "Accept: image/*\r\n",
        "Accept: x/y;q=1\r\nAccept: */*;q=0\r\n",
        "Accept-Language: xx\r\n",
        "Accept-Charset: x\r\n",
        "X-A: 1\r\nX-A: 2\r\n",
        "X_A: 1\r\n",
        "x-a:\r\n",
        "X-A: \u{e9}\r\n",
        "Cookie: a=1\r\nCookie: b=2\r\n",
        "Connection: x-a\r\nX-A: 1\r\n",
        "Connection: close\r\n",
        "Connection: CLOSE , x\r\n",
        "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n",
        "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: host\r\n",
        "Connection: content-length\r\n",
        "Proxy: http://x\r\n",
        "Proxy-Connection: keep-alive\r\n",
        "Keep-Alive: timeout=1\r\n",
        "Max-Forwards: 0\r\n",
        "Via: 1.1 x\r\n",
        "Expect: 100-continue\r\n",
        "Expect: x\r\n",
        "Date: yesterday\r\n",
        "Trailer: x\r\n",
        "Content-Length: 0\r\n",
        "Content-Length: 1\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Content-Type: x\r\nContent-Type: y\r\n",
        "Authorization: Basic eDp5\r\n",
        "Authorization: x\r\n",
        "X-A : 1\r\n",
        " X-A: 1\r\n",
        "X-A\r\n",
        ": x\r\n",
        "X-A: 1\r\n 2\r\n",
        "X-A: \0\r\n",
        "X-A: \u{1}\r\n",
        "X-A: a\tb\r\n",
        "X(A: 1\r\n",
        "Host: shop.example\r\n",
        "Host: other\r\n",
        "Content-Encoding: gzip\r\n",
        "X-HTTP-Method-Override: DELETE\r\n",
        "Forwarded: for=1.2.3.4\r\n",
        "X-Forwarded-Proto: https\r\n",
        "Upgrade-Insecure-Requests: 1\r\n",
        "User-Agent:\r\n",
        "Referer: x\r\n",
        "DNT: 1\r\n",
        "Access-Control-Request-Method: PUT\r\nOrigin: http://x\r\n",
        "Content-Range: bytes 0-1/2\r\n",
        "Depth: infinity\r\nDestination: /x\r\nIf: (<x>)\r\n",
        "Negotiate: trans\r\n",
        "Cache-Control: no-cache\r\n",
        "Pragma: no-cache\r\n",
        "Range: bytes=0-0\r\nRange: bytes=1-1\r\n",
    ] {
        for line in ["GET /hello.txt", "GET /cgi-bin/env", "GET /dir", "GET /none"] {
            all.push(ask(line, more));
        }
    }
    for n in [63, 64, 65, 200] {
        let many: String = (0..n - 1).map(|n| format!("X-{n}: 1\r\n")).collect();
        all.push(ask("GET /hello.txt", &many));
    }
    for n in [1000, 4000, 7000, 7900, 8100, 9000, 15_000, 17_000, 70_000] {
        all.push(ask("GET /hello.txt", &format!("X-A: {}\r\n", "x".repeat(n))));
        all.push(ask(&format!("GET /{}", "x".repeat(n)), ""));
        all.push(ask(&format!("GET /{}", "a/".repeat(n / 2)), ""));
        all.push(ask(&format!("GET /hello.txt?{}", "%22".repeat(n / 3)), ""));
    }
    for host in [
        "",
        "x:",
        "x:0",
        "x:99999",
        "x y",
        "x/y",
        "x@y",
        "..",
        "x..y",
        "x.",
        "-x",
        "x_y",
        "1.2.3",
        "256.1.1.1",
        "[::1]",
        "[::1]:80",
        "[x]",
        "127.0.0.1:81",
        "localhost",
        "SHOP.example",
        "xn--caf-dma",
        "a,b",
        "\u{e9}",
        "a%41",
        "x:80:80",
        "*",
        "x;y",
    ] {
        for target in ["/hello.txt", "/dir", "/cgi-bin/env"] {
            let bytes = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            all.push(case(format!("Host: {host} {target}"), bytes));
        }
    }
    all
}

fn bodies() -> Vec<Case> {
    let mut all = Vec::new();
    for target in
        ["/hello.txt", "/none", "/dir", "/dir/", "/cgi-bin/echo", "/cgi-bin/env", "/forbidden.txt"]
    {
        let line = &format!("POST {target}");
        all.push(ask(line, ""));
        all.push(send(line, "Content-Length: 0\r\n", b""));
        all.push(send(line, "Content-Length: 5\r\n", b"hello"));
        all.push(send(line, "Content-Length: 5\r\nExpect: 100-continue\r\n", b"hello"));
        all.push(send(line, "Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n"));
        all.push(send(line, "Transfer-Encoding: chunked\r\n", b"5;a=b\r\nhello\r\n0\r\n\r\n"));
        all.push(send(line, "Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\nT: 1\r\n\r\n"));
        all.push(send(line, "Transfer-Encoding: chunked\r\n", b"6\r\nhello\r\n0\r\n\r\n"));
        all.push(send(line, "Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n"));
        all.push(send(line, "Content-Length: 6\r\n", b"hello"));
        for n in [65_536, 65_537, 1_000_000] {
            all.push(send(line, &format!("Content-Length: {n}\r\n"), &vec![b'x'; n]));
            let mut chunks = Vec::new();
            for piece in vec![b'y'; n].chunks(10_000) {
                chunks.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                chunks.extend_from_slice(piece);
                chunks.extend_from_slice(b"\r\n");
            }
            chunks.extend_from_slice(b"0\r\n\r\n");
            all.push(send(line, "Transfer-Encoding: chunked\r\n", &chunks));
        }
    }
    for more in [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 5x\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length:\r\n",
        "Content-Length: 05\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked;x\r\n",
        "Expect: 200-ok\r\n",
        "Content-Length: 5\r\nExpect: 100-continue, x\r\n",
        "Content-Length: 5\r\nContent-Encoding: gzip\r\n",
        "Content-Length: 5\r\nContent-Type: multipart/form-data\r\n",
        "Content-Length: 1073741825\r\n",
    ] {
        all.push(send("POST /cgi-bin/echo", more, b"hello"));
    }
    all
}

fn streams() -> Vec<Case> {
    let get = "GET /hello.txt HTTP/1.1\r\nHost: a\r\n\r\n";
    [
        "",
        "\r\n",
        "\n",
        "\r",
        "x",
        "xyzzy\r\n\r\n",
        "GET\r\n\r\n",
        "GET /\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.0\n\n",
        "GET /",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET / HTTP/0.9\r\nHost: a\r\n\r\n",
        "GET / HTTP/1\r\nHost: a\r\n\r\n",
        "GET / http/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/01.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.10\r\nHost: a\r\n\r\n",
        "GET / XTTP/1.1\r\nHost: a\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n",
        "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\rHost: a\r\r",
        "GET / HTTP/1.1\r\nHost: a\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
        "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    ]
    .iter()
    .map(|text| case(format!("{text:?}"), text.as_bytes()))
    .chain([
        case("empty lines first", format!("\r\n\r\n{get}\r\n{get}")),
        case("good, then bad", format!("{get}{get}xyzzy\r\n\r\n{get}")),
        case(
            "close, then more",
            format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n{get}"),
        ),
        case("150 pipelined", get.repeat(150)),
        case("a long method", format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "M".repeat(100))),
        case("HEAD and GET", format!("HEAD /2m.bin HTTP/1.1\r\nHost: a\r\n\r\n{get}").repeat(5)),
        case("errors kept alive", format!("GET /none HTTP/1.1\r\nHost: a\r\n\r\n{get}").repeat(5)),
    ])
    .collect()
}

/// Why correct servers part on a request all the same, if it is known: `docs/http1.md` lists it.
fn known(name: &str) -> Option<&'static str> {
    const SPLITS: &[(&str, &[&str])] = &[
        ("a method that files do not take", &["PUT ", "DELETE "]),
        ("what directories show is configured", &[" /no-index/"]),
        (
            "names that one configuration hides",
            &[" /.htaccess", "~ ", ".inc ", " /icons/", " /server-status"],
        ),
        ("a path behind a file", &[" /hello.txt/", " /cgi-bin/hello/path"]),
        ("a program that is not there", &[" /cgi-bin/none", " /cgi-bin/ "]),
        ("types by extension", &[" /archive.tar.gz"]),
        ("nginx's HTTP_HOST has no port", &["Host: 127.0.0.1:81 /cgi-bin/env"]),
        ("lighttpd unescapes ? in queries", &["?a?b"]),
        ("a range of long output without length", &["/cgi-bin/big Range:"]),
    ];
    let known = SPLITS.iter().find(|(_, parts)| parts.iter().any(|part| name.contains(part)));
    known.map(|(why, _)| *why)
}

/// Runs one stream through each server.
fn all_three(
    servers: &[Server],
    profiles: &[Profile],
    bytes: &[u8],
    patience: Duration,
) -> Vec<Seen> {
    let records = [(bytes.to_vec(), CLOCK_S)];
    std::thread::scope(|scope| {
        let runs: Vec<_> = servers
            .iter()
            .zip(profiles)
            .map(|(server, profile)| {
                let records = &records;
                scope.spawn(move || {
                    let http = &mut Http1::new(*profile);
                    tcp::run(http, records, true, server.address, patience)
                })
            })
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    })
}

/// The first lines of what a server said, for a report.
fn brief(seen: &Seen) -> String {
    let text = show(&seen.bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("Date")).collect();
    format!("{:?} {}", seen.end, lines.join(" ").chars().take(600).collect::<String>())
}

fn start(name: &str) -> Option<(Site, Vec<Server>, Vec<Profile>)> {
    let site = Site::create(name);
    match site.start() {
        Ok(servers) => {
            let profiles = servers
                .iter()
                .map(|server| Profile { replica_port: server.address.port(), ..Profile::DEFAULT })
                .collect();
            Some((site, servers, profiles))
        }
        Err(why) => {
            // Past the test harness, which keeps what passing tests print to itself.
            let test = std::thread::current();
            let mut out = std::io::stdout().lock();
            writeln!(out, "{}: not run: {why}", test.name().unwrap_or("?"))
                .expect("standard output");
            None
        }
    }
}

#[test]
fn real_servers_give_the_same_bytes() {
    let Some((_site, servers, profiles)) = start("same") else { return };
    let all: Vec<Case> = [targets(), fields(), bodies(), streams()].into_iter().flatten().collect();
    let (mut splits, mut unlike) = (Vec::new(), 0);
    for case in &all {
        let seen = all_three(&servers, &profiles, &case.bytes, PATIENCE);
        for (server, seen) in servers.iter().zip(&seen) {
            let reset = seen.end != Some(End::Fin);
            if let Err(error) = strict::read(&seen.bytes, &[], reset) {
                panic!("{}, {}: {error} in\n{}", case.name, server.name, show(&seen.bytes));
            }
        }
        if seen.iter().any(|other| *other != seen[0]) {
            let name: String = case.name.chars().take(100).collect();
            println!("split: {name} ({})", known(&case.name).unwrap_or("NOT KNOWN"));
            for (server, seen) in servers.iter().zip(&seen) {
                println!("    {:8} {}", server.name, brief(seen));
            }
            let pair = seen[0] == seen[1] || seen[1] == seen[2] || seen[0] == seen[2];
            unlike += usize::from(!pair);
            splits.push((known(&case.name), name));
        }
    }
    println!("{} requests, {} split, {unlike} of them three ways", all.len(), splits.len());
    let new: Vec<_> = splits.iter().filter(|(why, _)| why.is_none()).collect();
    assert!(new.is_empty(), "new splits: {new:#?}");
    assert!(all.len() > 1000 && splits.len() < 70 && unlike <= 2);
}

#[test]
fn real_servers_give_a_broken_client_the_same_bytes() {
    let Some((_site, servers, profiles)) = start("broken") else { return };
    let mut all: Vec<Case> = [fields(), bodies(), streams()].into_iter().flatten().collect();
    all.retain(|case| case.bytes.len() < 10_000);
    let (mut splits, count) = (0, cases(1000));
    for seed in 0..count {
        let mut rng = Rng::new(seed ^ 0x5eed_0004);
        let case = &all[rng.below(all.len())];
        let mut bytes = case.bytes.clone();
        mutate(&mut rng, &mut bytes);
        let seen = all_three(&servers, &profiles, &bytes, PATIENCE);
        if seen.iter().any(|other| *other != seen[0]) {
            splits += 1;
            // Those that the other test lists, too.
            let odd = ["PUT", "DELETE", "/cgi-bin/"];
            let text = show(&bytes);
            assert!(odd.iter().any(|part| text.contains(part)), "seed {seed}: {text}");
            println!("split: {}", show(&bytes).replace('\n', " "));
            for (server, seen) in servers.iter().zip(&seen) {
                println!("    {:8} {}", server.name, brief(seen));
            }
        }
    }
    println!("{count} requests, {splits} split");
    assert!(splits * 50 <= count, "{splits} of {count} split");
}
