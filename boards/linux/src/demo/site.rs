//! What every replica of the demo serves: the same pages, whatever the server is like.

/// Longest `/bytes/<n>` and longest body of a POST, in bytes.
pub(super) const BODY_BYTES_MAX: u64 = 64 << 20;

const PAGE: &str = include_str!("page.html");

/// An answer, before a server renders it its own way.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Status code.
    pub(super) status: u16,
    /// Media type.
    pub(super) content_type: &'static str,
    /// Value of the `Allow` field, with status 405.
    pub(super) allow: Option<&'static str>,
    /// What is served.
    pub(super) body: Body,
}

/// A body, whole or computed as it is sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// A page.
    Text(&'static str),
    /// What the client sent.
    Echo(Vec<u8>),
    /// So many bytes of [`pattern`].
    Pattern(u64),
    /// What a server says of an error is its own affair.
    Error,
}

impl Answer {
    fn page(content_type: &'static str, body: Body) -> Self {
        Self { status: 200, content_type, allow: None, body }
    }

    /// An answer without a page: servers word these each in its own way.
    #[must_use]
    pub(super) fn error(status: u16, allow: Option<&'static str>) -> Self {
        Self { status, content_type: "text/html; charset=utf-8", allow, body: Body::Error }
    }
}

/// What the site answers.
#[must_use]
pub(super) fn answer(method: &str, path: &str, body: Vec<u8>) -> Answer {
    let path = path.split('?').next().unwrap_or_default();
    let reads = matches!(method, "GET" | "HEAD");
    match path {
        "/echo" if method == "POST" => Answer::page("application/octet-stream", Body::Echo(body)),
        "/echo" => Answer::error(405, Some("POST")),
        "/" | "/index.html" if reads => Answer::page("text/html; charset=utf-8", Body::Text(PAGE)),
        "/hello.txt" if reads => {
            Answer::page("text/plain; charset=utf-8", Body::Text("Hello from a quorum.\n"))
        }
        _ => match path.strip_prefix("/bytes/").and_then(length) {
            Some(len) if reads => Answer::page("application/octet-stream", Body::Pattern(len)),
            Some(_) => Answer::error(405, Some("GET, HEAD")),
            None if matches!(path, "/" | "/index.html" | "/hello.txt") => {
                Answer::error(405, Some("GET, HEAD"))
            }
            None => Answer::error(404, None),
        },
    }
}

/// Digits only, up to the limit.
fn length(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&len| digits && len <= BODY_BYTES_MAX)
}

/// Byte `at` of `/bytes/<n>`: no two stretches are alike, so that a shifted or doubled piece shows.
/// (The finaliser of SplitMix64, Steele et al. 2014, of the number of the word.)
#[must_use]
pub(super) fn pattern(at: u64) -> u8 {
    let mut word = (at / 8 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^= word >> 31;
    word.to_le_bytes()[(at % 8) as usize]
}

impl Body {
    /// Length in bytes. `error` is the server's own text for errors.
    pub(super) fn len(&self, error: &str) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Echo(bytes) => bytes.len() as u64,
            Self::Pattern(len) => *len,
            Self::Error => error.len() as u64,
        }
    }

    /// Byte `at`, which is below [`Self::len`].
    pub(super) fn byte(&self, at: u64, error: &str) -> u8 {
        let index = at as usize;
        match self {
            Self::Text(text) => text.as_bytes()[index],
            Self::Echo(bytes) => bytes[index],
            Self::Pattern(_) => pattern(at),
            Self::Error => error.as_bytes()[index],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> Answer {
        answer("GET", path, Vec::new())
    }

    #[test]
    fn the_site_has_its_pages() {
        assert_eq!(get("/").status, 200);
        assert_eq!(get("/?x").body, get("/index.html").body);
        assert_eq!(get("/hello.txt").body, Body::Text("Hello from a quorum.\n"));
        assert_eq!(get("/bytes/0").body, Body::Pattern(0));
        assert_eq!(get("/bytes/67108864").body, Body::Pattern(BODY_BYTES_MAX));
        assert_eq!(answer("POST", "/echo", b"x".to_vec()).body, Body::Echo(b"x".to_vec()));
    }

    #[test]
    fn and_no_others() {
        for path in
            ["/nowhere", "/bytes/", "/bytes/67108865", "/bytes/-1", "/bytes/+1", "/bytes/1x"]
        {
            assert_eq!(get(path).status, 404, "{path}");
        }
        for (method, path, allow) in
            [("GET", "/echo", "POST"), ("PUT", "/", "GET, HEAD"), ("POST", "/bytes/3", "GET, HEAD")]
        {
            let answer = answer(method, path, Vec::new());
            assert_eq!((answer.status, answer.allow), (405, Some(allow)));
        }
    }

    #[test]
    fn no_two_stretches_of_the_pattern_are_alike() {
        let bytes: Vec<u8> = (0..1 << 16).map(pattern).collect();
        let stretches: std::collections::BTreeSet<&[u8]> = bytes.windows(8).collect();
        assert_eq!(stretches.len(), bytes.len() - 7);
    }
}
