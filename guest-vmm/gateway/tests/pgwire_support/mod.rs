//! What the tests of `pgwire` share: random numbers that can be repeated, a small server that gives rows in an order of
//! its own, and a network in between.
#![allow(dead_code)] // each test file uses its part

pub(crate) mod server;

use gateway::Memory;
use gateway::canonicaliser::{Canonicaliser, ConnectionWish, Context, End};
use gateway::pgwire::Pgwire;
use server::Server;

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

pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], &(body.len() as u32 + 4).to_be_bytes()[..], body].concat()
}

pub(crate) fn start() -> Vec<u8> {
    let body = b"user\0app\0database\0shop\0client_encoding\0UTF8\0\0";
    let len = body.len() as u32 + 8;
    [&len.to_be_bytes(), &[0, 3, 0, 0][..], body].concat()
}

pub(crate) fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &[sql.as_bytes(), &[0]].concat())
}

pub(crate) fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', &[name.as_bytes(), &[0], sql.as_bytes(), &[0, 0, 0]].concat())
}

pub(crate) fn bind(name: &str, value: &str) -> Vec<u8> {
    let len = (value.len() as u32).to_be_bytes();
    let end = [&[0, 0, 0, 1][..], &len, value.as_bytes(), &[0, 0]].concat();
    message(b'B', &[&[0], name.as_bytes(), &[0], &end].concat())
}

pub(crate) fn describe(what: u8, name: &str) -> Vec<u8> {
    message(b'D', &[&[what], name.as_bytes(), &[0]].concat())
}

pub(crate) fn close(name: &str) -> Vec<u8> {
    message(b'C', &[b"S", name.as_bytes(), &[0]].concat())
}

pub(crate) fn execute() -> Vec<u8> {
    message(b'E', &[0; 5])
}

pub(crate) fn sync() -> Vec<u8> {
    message(b'S', b"")
}

/// The messages in a reply stream: kind and body. Panics if they are not whole.
pub(crate) fn messages(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut all = Vec::new();
    while let [kind, rest @ ..] = bytes {
        let (len, rest) = rest.split_first_chunk::<4>().expect("a length");
        let len = u32::from_be_bytes(*len) as usize - 4;
        assert!(len <= rest.len(), "the message '{}' is not whole", char::from(*kind));
        let (body, rest) = rest.split_at(len);
        all.push((*kind, body.to_vec()));
        bytes = rest;
    }
    all
}

/// Messages as text: kinds, and the first column of rows, the code of errors, the text of others.
pub(crate) fn text(bytes: &[u8]) -> String {
    let one = |(kind, body): &(u8, Vec<u8>)| {
        let body = match kind {
            b'D' => &body[6..],
            b'E' => {
                let at = body.windows(2).position(|two| two == b"\0C").expect("a code") + 2;
                &body[at..at + 5]
            }
            b'C' => &body[..body.len() - 1],
            b'Z' => &body[..],
            _ => b"",
        };
        format!("{}{}", char::from(*kind), String::from_utf8_lossy(body))
    };
    messages(bytes).iter().map(one).collect::<Vec<_>>().join(" ")
}

/// A session between a client and a server, in which everything comes in pieces.
pub(crate) struct Wire {
    pub(crate) session: Pgwire,
    pub(crate) said: Vec<u8>,
    from_server: Vec<u8>,
    rng: Rng,
}

impl Wire {
    pub(crate) fn new(seed: u64) -> Self {
        let session = Pgwire::new(MEMORY);
        Self { session, said: Vec::new(), from_server: Vec::new(), rng: Rng::new(seed) }
    }

    fn piece(&mut self, len: usize) -> usize {
        let most = [3, 50, 5000, usize::MAX][self.rng.below(4)];
        1 + self.rng.below(len.min(most))
    }

    /// Moves what can be moved between the session and its server. False if nothing could.
    pub(crate) fn step(&mut self, server: &mut Server) -> bool {
        let mut moved = false;
        match self.session.connection() {
            ConnectionWish::Open if !server.connected => {
                server.connect();
                self.session.server_opened();
                moved = true;
            }
            ConnectionWish::Close => {
                server.connected = false;
                self.from_server.clear();
                self.session.server_reset();
                moved = true;
            }
            _ => {}
        }
        let len = self.session.to_server().len();
        if server.connected && len > 0 {
            let len = self.piece(len);
            self.from_server.extend(server.take(&self.session.to_server()[..len]));
            self.session.sent_to_server(len);
            moved = true;
        }
        if server.connected && !self.from_server.is_empty() {
            let len = self.piece(self.from_server.len());
            let taken = self.session.server_data(&self.from_server[..len]);
            self.from_server.drain(..taken);
            moved |= taken > 0;
        }
        let len = self.session.to_client().len();
        if len > 0 {
            let len = self.piece(len);
            self.said.extend_from_slice(&self.session.to_client()[..len]);
            self.session.sent_to_client(len);
            moved = true;
        }
        moved
    }

    /// The client sends this and reads all replies.
    pub(crate) fn send(&mut self, server: &mut Server, bytes: &[u8]) {
        let context = Context { nonce: [7; 16], ..Context::default() };
        let mut rest = bytes;
        while !rest.is_empty() {
            let len = self.piece(rest.len());
            let taken = self.session.client_data(&rest[..len], context);
            rest = &rest[taken..];
            let moved = self.step(server);
            assert!(moved || taken > 0, "stuck with {} bytes", rest.len());
        }
        while self.step(server) {}
    }

    /// What the client is told to this.
    pub(crate) fn ask(&mut self, server: &mut Server, request: &[u8]) -> String {
        self.said.clear();
        self.send(server, request);
        text(&self.said)
    }

    /// How the session has ended.
    pub(crate) fn end(&self) -> Option<End> {
        self.session.end()
    }
}
