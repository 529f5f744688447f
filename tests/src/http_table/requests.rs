//! The requests of the table, and what may come of each.

use resh_tests::site::Site;

/// One line of the table: what is sent on one connection, and what must come back.
pub(super) struct Row {
    pub(super) name: &'static str,
    /// What is sent. A part after the first is sent only when a `100 Continue` or a final response has come.
    pub(super) parts: Vec<Vec<u8>>,
    /// The requests in it: method, and whether HTTP/1.1.
    pub(super) asked: Vec<(&'static str, bool)>,
    /// Status codes, any of which is right.
    pub(super) statuses: &'static [u16],
    /// The content of each response, if it is known.
    pub(super) body: Option<Vec<u8>>,
    /// Whether the appliance may answer by itself. If not, a quorum of replicas must have.
    pub(super) may_refuse: bool,
}

impl Row {
    /// A request that every server understands alike: a quorum must answer it.
    fn voted(name: &'static str, request: Vec<u8>, statuses: &'static [u16]) -> Self {
        let method = ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]
            .into_iter()
            .find(|method| request.starts_with(method.as_bytes()))
            .unwrap_or("GET");
        let line = request.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let version_1_1 = !line.ends_with(b"HTTP/1.0\r");
        Row {
            name,
            parts: vec![request],
            asked: vec![(method, version_1_1)],
            statuses,
            body: None,
            may_refuse: false,
        }
    }

    /// An odd request: a quorum may answer it, or the appliance with an error of its own.
    fn odd(name: &'static str, request: Vec<u8>, statuses: &'static [u16]) -> Self {
        Row { may_refuse: true, ..Row::voted(name, request, statuses) }
    }

    fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// So many requests on one connection.
    fn times(mut self, count: usize) -> Self {
        self.asked = vec![self.asked[0]; count];
        self
    }
}

/// `head` with the lines of `more` and what every request of this table has.
fn request(head: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("{head} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n{more}\r\n")
            .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

fn get(target: &str) -> Vec<u8> {
    request(&format!("GET {target}"), "", b"")
}

fn get_with(target: &str, more: &str) -> Vec<u8> {
    request(&format!("GET {target}"), more, b"")
}

fn post(target: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let length = format!("Content-Length: {}\r\n{more}", body.len());
    request(&format!("POST {target}"), &length, body)
}

fn chunked(target: &str, more: &str, chunks: &[u8]) -> Vec<u8> {
    request(&format!("POST {target}"), &format!("Transfer-Encoding: chunked\r\n{more}"), chunks)
}

fn raw(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

/// All rows. `modified` is the `Last-Modified` of `hello.txt` as the service gives it.
pub(super) fn rows(site: &Site, modified: &str) -> Vec<Row> {
    let mut rows = plain(site);
    rows.extend(conditional(modified));
    rows.extend(ranges(site));
    rows.extend(with_content(site));
    rows.extend(cgi());
    rows.extend(connections(site));
    rows.extend(odd_targets());
    rows.extend(odd_methods());
    rows.extend(malformed());
    rows
}

fn plain(site: &Site) -> Vec<Row> {
    let file = |name, path: &str| {
        Row::voted(name, get(&format!("/{path}")), &[200]).body(site.bytes(path))
    };
    let head = |name, path: &str| {
        Row::voted(name, request(&format!("HEAD /{path}"), "", b""), &[200]).body("")
    };
    vec![
        Row::voted("GET /", get("/"), &[200]).body(site.bytes("index.html")),
        file("GET a page", "index.html"),
        file("GET 0 bytes", "0.bin"),
        file("GET 1 byte", "1.bin"),
        file("GET 1 KiB", "1k.bin"),
        file("GET 1 MiB", "1m.bin"),
        file("GET a big file", &site.big_name()),
        file("GET a style sheet", "style.css"),
        file("GET JSON", "data.json"),
        head("HEAD /", ""),
        head("HEAD a big file", &site.big_name()),
        head("HEAD 0 bytes", "0.bin"),
        Row::voted("GET what is not there", get("/no-such-file"), &[404]),
        Row::voted("HEAD what is not there", request("HEAD /no-such-file", "", b""), &[404]).body(""),
        Row::voted("GET what nobody may read", get("/forbidden.txt"), &[403]),
        Row::voted("GET a directory", get("/dir/"), &[200]).body(site.bytes("dir/index.html")),
        Row::voted("GET a directory without its slash", get("/dir"), &[301]),
        Row::voted("GET a directory without index", get("/no-index/"), &[403, 404]),
        Row::voted("GET with a query", get("/hello.txt?a=1&b=%20"), &[200]).body("hello, quorum\n"),
        Row::voted(
            "GET, compression accepted",
            get_with("/index.html", "Accept-Encoding: gzip, deflate, br\r\n"),
            &[200],
        ),
        Row::voted(
            "GET as a browser does",
            get_with(
                "/hello.txt",
                "User-Agent: Mozilla/5.0\r\nAccept: text/html,*/*;q=0.8\r\nAccept-Language: de,en;q=0.5\r\n\
                 Cookie: a=1; b=2\r\nReferer: http://shop.example/\r\nCache-Control: max-age=0\r\n",
            ),
            &[200],
        )
        .body("hello, quorum\n"),
    ]
}

fn conditional(modified: &str) -> Vec<Row> {
    let when = |name, condition: String, statuses| {
        Row::voted(name, get_with("/hello.txt", &format!("{condition}\r\n")), statuses)
    };
    vec![
        when("If-Modified-Since, unchanged", format!("If-Modified-Since: {modified}"), &[304]),
        when(
            "If-Modified-Since, changed",
            "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT".into(),
            &[200],
        ),
        when(
            "If-Modified-Since in the future",
            "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT".into(),
            &[200, 304],
        ),
        when("If-Modified-Since, no date", "If-Modified-Since: yesterday".into(), &[200]),
        when("If-None-Match, another", "If-None-Match: \"another\"".into(), &[200]),
        when("If-None-Match: *", "If-None-Match: *".into(), &[200, 304]),
        when("If-Match, another", "If-Match: \"another\"".into(), &[200, 412]),
        when(
            "If-Unmodified-Since, changed",
            "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT".into(),
            &[200, 412],
        ),
        when(
            "conflicting conditions",
            format!("If-None-Match: \"another\"\r\nIf-Modified-Since: {modified}\r\nIf-Match: *"),
            &[200, 304, 400, 412],
        ),
    ]
}

fn ranges(site: &Site) -> Vec<Row> {
    let bytes = site.bytes("1k.bin");
    let middle = site.big_mebibytes << 19;
    let range = |name, target: &str, spec: &str, statuses| {
        Row::voted(name, get_with(target, &format!("Range: {spec}\r\n")), statuses)
    };
    vec![
        range("the first 100 bytes", "/1k.bin", "bytes=0-99", &[206]).body(&bytes[..100]),
        range("from byte 1000", "/1k.bin", "bytes=1000-", &[206]).body(&bytes[1000..]),
        range("the last 24 bytes", "/1k.bin", "bytes=-24", &[206]).body(&bytes[1000..]),
        range("one byte", "/1k.bin", "bytes=7-7", &[206]).body(&bytes[7..8]),
        range("a range beyond the end", "/1k.bin", "bytes=5000-", &[416]),
        range("a range that ends too late", "/1k.bin", "bytes=1000-9999", &[206])
            .body(&bytes[1000..]),
        range("two ranges", "/1k.bin", "bytes=0-9,500-509", &[200, 206]),
        range("two ranges that touch", "/1k.bin", "bytes=0-1,2-6", &[200, 206]),
        range("forty ranges", "/1k.bin", &forty_ranges(), &[200, 206, 416]),
        range("a range backwards", "/1k.bin", "bytes=9-3", &[200, 416]),
        range("a range of an unknown unit", "/1k.bin", "lines=1-2", &[200]).body(bytes.clone()),
        range("a range of 0 bytes", "/0.bin", "bytes=0-0", &[200, 416]),
        Row::voted(
            "a range if unchanged since 1994",
            get_with("/1k.bin", "Range: bytes=0-9\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n"),
            &[200],
        )
        .body(bytes),
        range(
            "a range in the middle of a big file",
            &format!("/{}", site.big_name()),
            &format!("bytes={middle}-{}", middle + 31),
            &[206],
        ),
    ]
}

fn forty_ranges() -> String {
    let ranges: Vec<String> = (0..40).map(|n| format!("{}-{}", n * 20, n * 20 + 3)).collect();
    format!("bytes={}", ranges.join(","))
}

fn with_content(site: &Site) -> Vec<Row> {
    let mebibyte = site.bytes("1m.bin");
    let big = site.bytes(&site.big_name());
    let sum = |bytes: &[u8]| format!("{}\n", resh_tests::site::sha256(bytes));
    let head = |more: &str| {
        raw(&format!(
            "POST /cgi-bin/echo HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\nContent-Length: 5\r\n{more}\r\n"
        ))
    };
    let expects = |more: &str| {
        let mut row = Row::voted("POST, Expect: 100-continue", head(more), &[200]).body("hello");
        row.parts.push(raw("hello"));
        row
    };
    let mut chunks = Vec::new();
    for piece in mebibyte.chunks(10_007) {
        chunks.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        chunks.extend_from_slice(piece);
        chunks.extend_from_slice(b"\r\n");
    }
    chunks.extend_from_slice(b"0\r\n\r\n");
    vec![
        Row::voted("POST 5 bytes", post("/cgi-bin/echo", "", b"hello"), &[200]).body("hello"),
        Row::voted("POST 0 bytes", post("/cgi-bin/echo", "", b""), &[200]).body(""),
        Row::voted("POST 1 MiB", post("/cgi-bin/echo", "", &mebibyte), &[200])
            .body(mebibyte.clone()),
        Row::voted("POST a big file", post("/cgi-bin/sha256", "", &big), &[200]).body(sum(&big)),
        Row::voted(
            "POST a form",
            post(
                "/cgi-bin/echo",
                "Content-Type: application/x-www-form-urlencoded\r\n",
                b"a=1&b=2",
            ),
            &[200],
        )
        .body("a=1&b=2"),
        Row::voted(
            "POST in chunks",
            chunked("/cgi-bin/echo", "", b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"),
            &[200],
        )
        .body("hello"),
        Row::voted("POST 1 MiB in chunks", chunked("/cgi-bin/sha256", "", &chunks), &[200])
            .body(sum(&mebibyte)),
        Row::odd(
            "POST in chunks with extensions and a trailer",
            chunked(
                "/cgi-bin/echo",
                "Trailer: X-Sum\r\n",
                b"3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nX-Sum: 1\r\n\r\n",
            ),
            &[200, 400],
        ),
        expects("Expect: 100-continue\r\n"),
        Row::odd(
            "POST, Expect: something else",
            {
                let mut bytes = head("Expect: patience\r\n");
                bytes.extend_from_slice(b"hello");
                bytes
            },
            &[200, 400, 417],
        ),
        Row::voted(
            "PUT to a file",
            request("PUT /hello.txt", "Content-Length: 5\r\n", b"hello"),
            &[403, 405, 501],
        ),
        Row::voted(
            "PUT to a program",
            request("PUT /cgi-bin/method", "Content-Length: 0\r\n", b""),
            &[200],
        )
        .body("PUT \n"),
        Row::odd(
            "GET with content",
            request("GET /hello.txt", "Content-Length: 5\r\n", b"hello"),
            &[200, 400, 413],
        ),
        Row::odd("POST without length", request("POST /cgi-bin/echo", "", b""), &[200, 400, 411]),
        Row::odd("POST to a file", post("/hello.txt", "", b"hello"), &[200, 405]),
    ]
}

fn cgi() -> Vec<Row> {
    let run = |name, target: &str, statuses| {
        Row::voted(name, get(&format!("/cgi-bin/{target}")), statuses)
    };
    vec![
        run("CGI without length", "hello?world", &[200]).body("hello world\n"),
        run("CGI with length", "length", &[200]).body("length"),
        run("CGI with a status of its own", "teapot", &[418]),
        run("CGI that redirects", "redirect", &[302]),
        Row::voted(
            "CGI that sets a cookie",
            get_with("/cgi-bin/cookie", "Cookie: basket=6\r\n"),
            &[200],
        )
        .body("basket=6\n"),
        Row::voted("HEAD of CGI", request("HEAD /cgi-bin/length", "", b""), &[200]).body(""),
        run("CGI that is not there", "nothing", &[403, 404, 502]),
    ]
}

fn connections(site: &Site) -> Vec<Row> {
    let kept = "GET /1k.bin HTTP/1.1\r\nHost: shop.example\r\n\r\n";
    let last = "GET /1k.bin HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n";
    let body = site.bytes("1k.bin");
    let mut mixed = kept.to_owned();
    mixed += "HEAD /1m.bin HTTP/1.1\r\nHost: shop.example\r\n\r\n";
    mixed += "POST /cgi-bin/echo HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 2\r\n\r\nok";
    mixed += last;
    let mut pipelined = Row::voted("GET, HEAD, POST and GET pipelined", raw(&mixed), &[200]);
    pipelined.asked = vec![("GET", true), ("HEAD", true), ("POST", true), ("GET", true)];
    vec![
        Row::voted("GET, kept alive", raw(kept), &[200]).body(body.clone()),
        Row::voted("10 GETs pipelined", raw(&(kept.repeat(9) + last)), &[200])
            .times(10)
            .body(body.clone()),
        pipelined,
        Row::voted("HTTP/1.0", raw("GET /1k.bin HTTP/1.0\r\n\r\n"), &[200]).body(body.clone()),
        Row::voted(
            "HTTP/1.0, kept alive",
            raw("GET /1k.bin HTTP/1.0\r\nHost: shop.example\r\nConnection: keep-alive\r\n\r\n"),
            &[200],
        )
        .body(body.clone()),
        Row::voted(
            "HTTP/1.0, CGI without length",
            raw("GET /cgi-bin/hello?old HTTP/1.0\r\n\r\n"),
            &[200],
        )
        .body("hello old\n"),
        Row::odd(
            "HTTP/1.0, Expect: 100-continue",
            raw(
                "POST /cgi-bin/echo HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nok",
            ),
            &[200, 400],
        ),
        Row::odd("an empty line before the request", raw(&format!("\r\n{last}")), &[200, 400]),
        Row::odd(
            "upgrade to h2c",
            get_with("/hello.txt", "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"),
            &[200, 400],
        ),
        Row::odd(
            "upgrade to WebSocket",
            raw("GET /hello.txt HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade, close\r\n\
                 Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                 Sec-WebSocket-Version: 13\r\n\r\n"),
            &[200, 400],
        ),
    ]
}

fn odd_targets() -> Vec<Row> {
    let odd = |name, target: &str, statuses| Row::odd(name, get(target), statuses);
    vec![
        Row::voted("a percent-encoded letter", get("/%68ello.txt"), &[200]).body("hello, quorum\n"),
        Row::voted("a percent-encoded space", get("/a%20b.txt"), &[200])
            .body("a name with a space\n"),
        Row::voted("percent-encoded UTF-8", get("/caf%C3%A9.txt"), &[200])
            .body("a name in UTF-8\n"),
        odd("/./", "/./hello.txt", &[200, 400, 404]),
        odd("/dir/../", "/dir/../hello.txt", &[200, 400, 404]),
        odd("/../ above the root", "/../hello.txt", &[200, 400, 404]),
        odd("/%2e%2e/", "/%2e%2e/hello.txt", &[200, 400, 403, 404]),
        odd("//", "//hello.txt", &[200, 400, 404]),
        odd("a percent-encoded slash", "/dir%2Fleaf.txt", &[200, 400, 404]),
        odd("a percent-encoded NUL", "/hello.txt%00", &[400, 404]),
        odd("half a percent-encoding", "/hello.txt%zz", &[400, 404]),
        odd("a backslash", "/dir\\leaf.txt", &[400, 404]),
        odd("a fragment", "/hello.txt#part", &[200, 400, 404]),
        odd("a trailing slash after a file", "/hello.txt/", &[200, 400, 404]),
        odd("absolute form", "http://shop.example/hello.txt", &[200, 400]),
        odd("absolute form of another host", "http://other.example/hello.txt", &[200, 400, 421]),
        odd("8 KiB of path", &format!("/{}", "x".repeat(8 << 10)), &[400, 403, 404, 414, 431]),
        odd("a space in the target", "/a b.txt", &[400, 404, 505]),
        odd("UTF-8 unencoded", "/caf\u{e9}.txt", &[200, 400]),
    ]
}

fn odd_methods() -> Vec<Row> {
    let with = |name, head: &str, statuses| Row::odd(name, request(head, "", b""), statuses);
    vec![
        Row::odd("OPTIONS of a file", request("OPTIONS /hello.txt", "", b""), &[200, 204, 405]),
        with("OPTIONS *", "OPTIONS *", &[200, 204, 400, 405]),
        Row::voted("DELETE", request("DELETE /hello.txt", "", b""), &[403, 405, 501]),
        Row::voted("DELETE by a program", request("DELETE /cgi-bin/method", "", b""), &[200])
            .body("DELETE \n"),
        Row::odd(
            "PATCH",
            request("PATCH /hello.txt", "Content-Length: 0\r\n", b""),
            &[403, 405, 501],
        ),
        with("TRACE", "TRACE /hello.txt", &[200, 400, 405, 501]),
        with("CONNECT", "CONNECT shop.example:443", &[400, 404, 405, 501]),
        with("a method in small letters", "get /hello.txt", &[400, 405, 501]),
        with("a method that nobody knows", "BREW /hello.txt", &[400, 405, 501]),
    ]
}

fn malformed() -> Vec<Row> {
    const REFUSED: &[u16] = &[400, 408, 411, 413, 414, 431, 501, 505];
    const READ_OR_REFUSED: &[u16] = &[200, 400, 411, 413, 414, 431, 501, 505];
    let whole = |name, text: &str| Row::odd(name, raw(text), REFUSED);
    let field = |name, line: &str| {
        Row::odd(name, get_with("/hello.txt", &format!("{line}\r\n")), READ_OR_REFUSED)
    };
    let upload = |name, more: &str, body: &str| {
        let bytes = request("POST /cgi-bin/echo", more, body.as_bytes());
        Row::odd(name, bytes, READ_OR_REFUSED)
    };
    vec![
        whole("no Host", "GET / HTTP/1.1\r\nConnection: close\r\n\r\n"),
        whole("two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n"),
        whole("a Host with a space", "GET / HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n"),
        whole("a line of noise", "xyzzy\r\n\r\n"),
        whole(
            "HTTP/1.2 with nothing else",
            "GET / HTTP/9.9\r\nHost: a\r\nConnection: close\r\n\r\n",
        ),
        whole("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        Row::odd(
            "bare LF",
            raw("GET /hello.txt HTTP/1.1\nHost: a\nConnection: close\n\n"),
            READ_OR_REFUSED,
        ),
        field("obs-fold", "X-Folded: one\r\n two"),
        field("a space before the colon", "X-Space : one"),
        field("a field without colon", "X-Nothing"),
        field("NUL in a field", "X-Nul: a\0b"),
        field("a CR alone in a field", "X-Cr: a\rb"),
        field("90 fields", &vec!["X-Many: value"; 90].join("\r\n")),
        field("2,000 fields", &vec!["X-Many: value"; 2000].join("\r\n")),
        field("a field of 64 KiB", &format!("X-Long: {}", "y".repeat(64 << 10))),
        upload(
            "Content-Length and chunks",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n",
        ),
        upload("two lengths that differ", "Content-Length: 5\r\nContent-Length: 6\r\n", "hello!"),
        upload("two lengths alike", "Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
        upload("a list of lengths", "Content-Length: 5, 5\r\n", "hello"),
        upload("a negative length", "Content-Length: -5\r\n", "hello"),
        upload("a length with a plus", "Content-Length: +5\r\n", "hello"),
        upload("a length beyond 64 bits", "Content-Length: 99999999999999999999999\r\n", "hello"),
        upload("an unknown transfer coding", "Transfer-Encoding: brotli\r\n", "hello"),
        upload("chunked twice", "Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"),
        upload(
            "a chunk size beyond 64 bits",
            "Transfer-Encoding: chunked\r\n",
            "fffffffffffffffff\r\nx\r\n0\r\n\r\n",
        ),
        upload(
            "a chunk size that is none",
            "Transfer-Encoding: chunked\r\n",
            "zz\r\nx\r\n0\r\n\r\n",
        ),
        upload("a chunk that ends in LF", "Transfer-Encoding: chunked\r\n", "1\nx\n0\n\n"),
        whole(
            "chunks in HTTP/1.0",
            "POST /cgi-bin/echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
    ]
}
