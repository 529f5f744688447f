//! One GET over the monitor's socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long the monitor may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// The body of `path`, or why there is none, for the operator.
pub(crate) fn get(socket: &Path, path: &str) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", socket.display());
    let mut stream = UnixStream::connect(socket).map_err(failed)?;
    stream.set_read_timeout(Some(TIMEOUT)).map_err(failed)?;
    stream.set_write_timeout(Some(TIMEOUT)).map_err(failed)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: resh\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).map_err(failed)?;
    body(&answer).map_err(|why| format!("{}: {why}", socket.display()))
}

/// The body of an answer with status 200 that arrived whole.
fn body(answer: &[u8]) -> Result<String, String> {
    let text = str::from_utf8(answer).map_err(|_| "the answer is not text")?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or("the answer is cut short")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 200 ") {
        return Err(format!("the monitor says `{status}`"));
    }
    let length = lines
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("Content-Length"))
        .and_then(|(_, value)| value.parse().ok());
    if length == Some(body.len()) {
        Ok(body.to_owned())
    } else {
        Err("the answer is cut short".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_is_taken() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        assert_eq!(body(whole).unwrap(), "ok");
        for cut in 0..whole.len() {
            assert!(body(&whole[..cut]).is_err(), "{cut}");
        }
        let error = body(b"HTTP/1.1 500 Internal Server Error\r\n\r\n").unwrap_err();
        assert!(error.contains("500 Internal"), "{error}");
    }
}
