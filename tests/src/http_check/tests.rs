//! The judge must say no: each rule has a response that breaks it, and nothing else.

use super::*;

const GET: Asked<'_> = Asked { method: "GET", version_1_1: true };
const HEAD: Asked<'_> = Asked { method: "HEAD", version_1_1: true };
const OLD_GET: Asked<'_> = Asked { method: "GET", version_1_1: false };
const DATE: &str = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

fn judged(asked: Asked<'_>, head: &str, body: &str, ended: bool) -> Checked<Vec<Response>> {
    let text = format!("{}\r\n{body}", head.replace("DATE", DATE));
    judge(text.as_bytes(), &[asked], ended)
}

#[track_caller]
fn right(asked: Asked<'_>, head: &str, body: &str, ended: bool) -> Response {
    judged(asked, head, body, ended).unwrap_or_else(|violation| panic!("{violation}")).remove(0)
}

#[track_caller]
fn wrong(asked: Asked<'_>, head: &str, body: &str, ended: bool, why: &str) {
    let violation = judged(asked, head, body, ended).expect_err("the judge let it pass");
    assert!(violation.0.contains(why), "{violation}, and not {why}");
}

#[test]
fn accepts_what_is_right() {
    let response = right(GET, "HTTP/1.1 200 OK\r\nDATEContent-Length: 2\r\n", "ok", false);
    assert_eq!((response.status, &response.body[..]), (200, &b"ok"[..]));
    let chunks = "2\r\nok\r\n1;x=y\r\n!\r\n0\r\nX-Sum: 1\r\n\r\n";
    let response =
        right(GET, "HTTP/1.1 200 OK\r\nDATETransfer-Encoding: chunked\r\n", chunks, false);
    assert_eq!(response.body, b"ok!");
    right(GET, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 \r\nDATE", "", false);
    right(HEAD, "HTTP/1.1 200 OK\r\nDATEContent-Length: 99\r\n", "", false);
    let response = right(OLD_GET, "HTTP/1.1 200 OK\r\nDATE", "until the end", true);
    assert_eq!(response.framing, Framing::Close);
    let head =
        "HTTP/1.1 206 Partial Content\r\nDATEContent-Range: bytes 0-1/9\r\nContent-Length: 2\r\n";
    right(GET, head, "ab", false);
    let part = |range: &str, data: &str| format!("--B\r\nContent-Range: {range}\r\n\r\n{data}\r\n");
    let body = part("bytes 0-1/9", "ab") + &part("bytes 3-3/9", "d") + "--B--\r\n";
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\nDATEContent-Type: multipart/byteranges; boundary=B\r\nContent-Length: {}\r\n",
        body.len()
    );
    right(GET, &head, &body, false);
    wrong(GET, &head, &body.replace("3-3", "3-4"), false, "14.4");
}

#[test]
fn rejects_what_breaks_the_framing() {
    let ok = "HTTP/1.1 200 OK\r\nDATE";
    let with = |field: &str| format!("{ok}{field}\r\n");
    wrong(GET, &with("Content-Length: 3"), "ok", true, "2 of 3");
    wrong(GET, &with("Content-Length: 1"), "ok", true, "after the last");
    wrong(GET, &with("Content-Length: +2"), "ok", true, "8.6");
    wrong(GET, &with("Content-Length: 2\r\nContent-Length: 2"), "ok", true, "8.6");
    wrong(GET, &with("Content-Length: 2\r\nTransfer-Encoding: chunked"), "ok", true, "6.2");
    wrong(GET, &with("Transfer-Encoding: chunked"), "2\r\nok0\r\n\r\n", true, "CR LF after");
    wrong(GET, &with("Transfer-Encoding: chunked"), "2\r\nok\r\n", true, "ended");
    wrong(GET, &with("Transfer-Encoding: chunked"), " 2\r\nok\r\n0\r\n\r\n", true, "chunk size");
    wrong(GET, &with("Transfer-Encoding: gzip"), "", true, "not asked");
    wrong(OLD_GET, &with("Transfer-Encoding: chunked"), "0\r\n\r\n", true, "6.1");
    wrong(GET, ok, "no length", false, "6.3");
    wrong(HEAD, &with("Content-Length: 2"), "ok", true, "after the last");
    wrong(GET, "HTTP/1.1 204 No Content\r\nDATEContent-Length: 0\r\n", "", false, "204");
    wrong(GET, "HTTP/1.1 304 Not Modified\r\nDATE", "body", true, "after the last");
    wrong(OLD_GET, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 \r\nDATE", "", true, "15.2");
    wrong(GET, &with("Connection: close\r\nContent-Length: 0"), "", false, "9.6");
}

#[test]
fn rejects_what_breaks_the_syntax() {
    for line in ["HTTP/1.1 200", "HTTP/2 200 OK", "http/1.1 200 OK", "HTTP/1.1  200 OK"] {
        wrong(GET, &format!("{line}\r\nDATEContent-Length: 0\r\n"), "", false, "RFC 9112 4");
    }
    let with = |field: &str| format!("HTTP/1.1 200 OK\r\nDATEContent-Length: 0\r\n{field}\r\n");
    wrong(GET, &with("X : y"), "", false, "5.1");
    wrong(GET, &with("X: y\r\n folded"), "", false, "5.2");
    wrong(GET, &with("X: y\u{7}"), "", false, "5.5");
    wrong(GET, &with("X: y\nZ: w"), "", false, "2.2");
    wrong(GET, &with("no colon"), "", false, "colon");
    wrong(GET, &with("ETag: abc"), "", false, "8.8.3");
    wrong(GET, &with("ETag: \"a b\""), "", false, "8.8.3");
    wrong(GET, &with("Content-Type: text"), "", false, "8.3.1");
    wrong(GET, &with("Last-Modified: Mon, 06 Nov 1994 08:49:37 GMT"), "", false, "5.6.7");
    wrong(GET, &with("Last-Modified: Mon, 07 Nov 1994 08:49:37 GMT"), "", false, "8.8.2.1");
    wrong(GET, &with("Location: /a\r\nLocation: /b"), "", false, "once");
    wrong(GET, &with("Content-Range: bytes 0-1/2"), "", false, "14.4");
    wrong(GET, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", "", false, "6.6.1");
    wrong(GET, "HTTP/1.1 405 No\r\nDATEContent-Length: 0\r\n", "", false, "allow");
    wrong(GET, "HTTP/1.1 206 P\r\nDATEContent-Length: 0\r\n", "", false, "15.3.7.1");
}

#[test]
fn judges_pipelined_responses_one_by_one() {
    let one = format!("HTTP/1.1 200 OK\r\n{DATE}Content-Length: 1\r\n\r\nx");
    let two = format!("{one}{one}");
    assert_eq!(judge(two.as_bytes(), &[GET, GET], false).map(|all| all.len()), Ok(2));
    assert!(judge(one.as_bytes(), &[GET, GET], false).is_err());
    assert!(judge(format!("{two}{one}").as_bytes(), &[GET, GET], false).is_err());
}

#[test]
fn dates_have_their_right_weekday() {
    assert_eq!(date::parse("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
    assert_eq!(date::parse("Thu, 29 Feb 2024 00:00:00 GMT"), Some(1_709_164_800));
    assert_eq!(date::parse("Fri, 29 Feb 2024 00:00:00 GMT"), None);
    assert_eq!(date::parse("Wed, 29 Feb 2023 00:00:00 GMT"), None);
    assert_eq!(date::parse("Sunday, 06-Nov-94 08:49:37 GMT"), None);
}
