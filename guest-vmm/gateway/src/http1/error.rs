//! Status codes, their one reason phrase, and the messages the gateway writes by itself.

use super::MethodSet;
use super::buffer::Buffer;
use super::date;

/// Why a request never reaches the replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) why: &'static str,
}

impl Refusal {
    pub(super) const fn new(status: u16, why: &'static str) -> Self {
        Self { status, why }
    }

    pub(super) const fn bad(why: &'static str) -> Self {
        Self { status: 400, why }
    }
}

/// How the client's connection goes on after a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Persistence {
    /// HTTP/1.1 and stays open: says nothing.
    Default,
    /// HTTP/1.0 and stays open: `Connection: keep-alive`.
    KeepAlive,
    /// `Connection: close`.
    Close,
}

/// The reason phrase of RFC 9110, section 15; other codes have none.
pub(super) fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        511 => "Network Authentication Required",
        _ => "",
    }
}

/// Writes the status line, `Date` and `Connection`.
pub(super) fn put_start(to: &mut Buffer, status: u16, clock_s: u32, persistence: Persistence) {
    to.put(b"HTTP/1.1 ");
    to.put_decimal(u64::from(status));
    to.put(b" ");
    to.put(reason(status).as_bytes());
    to.put(b"\r\nDate: ");
    to.put(&date::format(u64::from(clock_s)));
    to.put(match persistence {
        Persistence::Default => b"\r\n".as_slice(),
        Persistence::KeepAlive => b"\r\nConnection: keep-alive\r\n",
        Persistence::Close => b"\r\nConnection: close\r\n",
    });
}

/// Writes `Content-Type`, `Content-Length`, the blank line and the one body of `status`:
/// `404 Not Found`, and after a colon why the gateway itself refused.
pub(super) fn put_end(to: &mut Buffer, status: u16, why: &str, head_only: bool) {
    let reason = reason(status).as_bytes();
    let separators = usize::from(!reason.is_empty()) + if why.is_empty() { 0 } else { 2 };
    to.put(b"Content-Type: text/plain\r\nContent-Length: ");
    to.put_decimal((3 + separators + reason.len() + why.len() + 1) as u64);
    to.put(b"\r\n\r\n");
    if head_only {
        return;
    }
    to.put_decimal(u64::from(status));
    if !reason.is_empty() {
        to.put(b" ");
        to.put(reason);
    }
    if !why.is_empty() {
        to.put(b": ");
        to.put(why.as_bytes());
    }
    to.put(b"\n");
}

/// Writes a refusal, whole. 405 and the answer to `OPTIONS` carry `Allow`.
pub(super) fn put_refusal(
    to: &mut Buffer,
    refusal: Refusal,
    methods: MethodSet,
    clock_s: u32,
    persistence: Persistence,
    head_only: bool,
) {
    put_start(to, refusal.status, clock_s, persistence);
    if refusal.status == 405 || refusal.status < 300 {
        put_allow(to, methods);
    }
    if refusal.status < 300 {
        to.put(b"Content-Length: 0\r\n\r\n");
    } else {
        put_end(to, refusal.status, refusal.why, head_only);
    }
}

fn put_allow(to: &mut Buffer, methods: MethodSet) {
    to.put(b"Allow: ");
    let mut first = true;
    for method in super::Method::ALL {
        if methods.contains(method) || method == super::Method::Options {
            to.put(if first { b"" } else { b", " });
            to.put(method.name().as_bytes());
            first = false;
        }
    }
    to.put(b"\r\n");
}
