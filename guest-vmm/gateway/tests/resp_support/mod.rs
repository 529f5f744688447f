//! What the tests of `resp` share: random numbers that can be repeated, a small server that holds data in an order
//! of its own, and a network in between.
#![allow(dead_code)] // each test file uses its part

pub(crate) mod store;

use gateway::Memory;
use gateway::canonicaliser::{Canonicaliser, ConnectionWish, Context, End};
use gateway::resp::{Resp, SharedExporter};
use store::Server;

pub(crate) const MEMORY: Memory = Memory { sessions: 4, buffer_bytes: 32 * 1024 };

/// A small generator (xorshift64*): the same seed gives the same run.
#[derive(Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n.max(1)
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// Runs `case` for each seed: `RESH_CASES` of them, or `default`, or the one that `RESH_SEED` names.
pub(crate) fn for_each_seed(default: u64, case: impl Fn(u64)) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("RESH_SEED") {
        return case(seed);
    }
    for seed in 0..number("RESH_CASES").unwrap_or(default) {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case(seed)));
        if let Err(panic) = result {
            eprintln!("RESH_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// A request as clients of Redis write it.
pub(crate) fn request(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

/// How long the first reply in `bytes` is, if it is whole.
pub(crate) fn reply_len(bytes: &[u8]) -> Option<usize> {
    let line = bytes.windows(2).position(|two| two == b"\r\n")? + 2;
    let number = || std::str::from_utf8(&bytes[1..line - 2]).unwrap().parse::<i64>().unwrap();
    match bytes[0] {
        b'+' | b'-' | b':' => Some(line),
        b'$' if number() < 0 => Some(line),
        b'$' => Some(line + number() as usize + 2).filter(|len| *len <= bytes.len()),
        b'*' => {
            let mut len = line;
            for _ in 0..number().max(0) {
                len += reply_len(&bytes[len..])?;
            }
            Some(len)
        }
        other => panic!("no reply begins with {other}"),
    }
}

/// How many replies `bytes` are.
pub(crate) fn replies(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while !bytes.is_empty() {
        bytes = &bytes[reply_len(bytes).expect("a whole reply")..];
        count += 1;
    }
    count
}

/// A session between a client and a server, in which everything comes in pieces.
pub(crate) struct Wire {
    pub(crate) resp: Resp,
    pub(crate) said: Vec<u8>,
    pub(crate) clock_ms: u64,
    from_server: Vec<u8>,
    rng: Rng,
}

impl Wire {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            resp: Resp::new(MEMORY, Some(SharedExporter::new())),
            said: Vec::new(),
            clock_ms: 1_700_000_000_000,
            from_server: Vec::new(),
            rng: Rng::new(seed),
        }
    }

    fn piece(&mut self, len: usize) -> usize {
        let most = [3, 50, 5000, usize::MAX][self.rng.below(4)];
        1 + self.rng.below(len.min(most))
    }

    /// Moves what can be moved between the session and its server. False if nothing could.
    pub(crate) fn step(&mut self, server: &mut Server) -> bool {
        let mut moved = false;
        match self.resp.connection() {
            ConnectionWish::Open if !server.connected => {
                server.connect();
                self.resp.server_opened();
                moved = true;
            }
            ConnectionWish::Close => {
                server.connected = false;
                self.from_server.clear();
                self.resp.server_reset();
                moved = true;
            }
            _ => {}
        }
        let len = self.resp.to_server().len();
        if server.connected && len > 0 {
            let len = self.piece(len);
            self.from_server.extend(server.take(&self.resp.to_server()[..len]));
            self.resp.sent_to_server(len);
            moved = true;
        }
        if server.connected && !self.from_server.is_empty() {
            let len = self.piece(self.from_server.len());
            let taken = self.resp.server_data(&self.from_server[..len]);
            self.from_server.drain(..taken);
            moved |= taken > 0;
        }
        let len = self.resp.to_client().len();
        if len > 0 {
            let len = self.piece(len);
            self.said.extend_from_slice(&self.resp.to_client()[..len]);
            self.resp.sent_to_client(len);
            moved = true;
        }
        moved
    }

    /// The client sends this and reads all replies.
    pub(crate) fn send(&mut self, server: &mut Server, bytes: &[u8]) {
        let context = Context { clock_ms: self.clock_ms, ..Context::default() };
        let mut rest = bytes;
        while !rest.is_empty() {
            let len = self.piece(rest.len());
            let taken = self.resp.client_data(&rest[..len], context);
            rest = &rest[taken..];
            let moved = self.step(server);
            assert!(moved || taken > 0, "stuck with {} bytes", rest.len());
        }
        while self.step(server) {}
    }

    /// What the client is told to these requests, each of them words.
    pub(crate) fn ask(&mut self, server: &mut Server, words: &str) -> String {
        self.said.clear();
        let words: Vec<&str> = words.split(' ').collect();
        self.send(server, &request(&words));
        String::from_utf8_lossy(&self.said).into_owned()
    }

    /// How the session has ended.
    pub(crate) fn end(&self) -> Option<End> {
        self.resp.end()
    }
}
