//! Finds the requests in a session's stream, for total order, and says which of them change nothing.

use resh_channel::message::{ORDERED_BYTES_MAX, Request as Flags};

use super::messages::{Look, Request, Scan, Scanner};
use super::profile::{Checker, Effect};
use crate::canonicaliser::{Framer, Framing};

/// Longest request, in bytes.
pub const REQUEST_BYTES: usize = ORDERED_BYTES_MAX;

/// The framer of `pgwire`.
pub struct PgwireFramer {
    scanner: Scanner,
    looker: Looker,
    /// A transaction may be open.
    transaction: bool,
}

/// Which part of a message comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The text of a `Query`, and what is behind the NUL that ends it.
    Query,
    Behind,
    /// The name, then the text of a `Parse`.
    Name,
    Text,
    /// The names at the start of a `Bind`.
    Names(u8),
    Rest,
}

/// What the request's messages show of it.
struct Looker {
    checker: Checker,
    part: Part,
    /// A statement that changes something, begins a transaction, or does something to the session.
    writes: bool,
    begins: bool,
    lasts: bool,
    /// Something refers to a prepared statement, or makes one.
    named: bool,
}

impl Look for Looker {
    fn begin(&mut self, kind: u8) {
        self.checker.reset();
        self.part = match kind {
            b'Q' => Part::Query,
            b'P' => Part::Name,
            b'B' => Part::Names(2),
            _ => Part::Rest,
        };
        self.named |= kind == b'C';
    }

    fn body(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match (self.part, *byte) {
                (Part::Rest, _) => return,
                (Part::Query, 0) => self.part = Part::Behind,
                (Part::Query | Part::Text, 1..) => self.checker.push(&[*byte]),
                (Part::Behind, _) => self.checker.push(&[0]),
                (Part::Name, 0) => self.part = Part::Text,
                (Part::Text, 0) => {
                    self.part = Part::Rest;
                    self.parsed();
                }
                (Part::Names(left), 0) => {
                    self.part = if left > 1 { Part::Names(left - 1) } else { Part::Rest };
                }
                (Part::Name | Part::Names(_), _) => self.named = true,
            }
        }
    }
}

impl Looker {
    /// The text of a `Parse` was read.
    fn parsed(&mut self) {
        for statement in self.checker.finish().unwrap_or(&[]) {
            self.writes |= !statement.reads;
            self.begins |= statement.effect == Effect::Begin;
            self.lasts |= is_lasting(statement.effect);
        }
    }
}

/// Whether later requests of the session depend on it.
fn is_lasting(effect: Effect) -> bool {
    !matches!(effect, Effect::None | Effect::Begin | Effect::Finish | Effect::Execute(_))
}

impl PgwireFramer {
    /// At the start of a stream.
    pub fn new() -> Self {
        let looker = Looker {
            checker: Checker::new(),
            part: Part::Rest,
            writes: false,
            begins: false,
            lasts: false,
            named: false,
        };
        Self { scanner: Scanner::new(REQUEST_BYTES), looker, transaction: false }
    }

    /// What a `Query` does, or no request to a replica if it is refused.
    fn query(&mut self) -> u8 {
        let open = self.transaction;
        let whole = self.looker.part == Part::Behind;
        let Some(statements) = self.looker.checker.finish().ok().filter(|_| whole) else {
            // In a transaction it fails, and the transaction with it.
            return if open { Flags::TRANSIENT } else { Flags::READ_ONLY };
        };
        let reads = statements.iter().all(|one| one.reads);
        let begins = statements.iter().any(|one| one.effect == Effect::Begin);
        let ends = matches!(statements, [one] if one.effect == Effect::Finish);
        let sticky = statements.iter().any(|one| is_lasting(one.effect));
        self.transaction = (open || begins) && !ends;
        match () {
            () if sticky => Flags::STICKY,
            () if self.transaction => Flags::TRANSIENT,
            () if reads && !open => Flags::READ_ONLY,
            () => 0,
        }
    }

    fn flags(&mut self, request: Request) -> u8 {
        match request {
            Request::Encryption => Flags::READ_ONLY,
            Request::Start => Flags::STICKY,
            Request::Terminate => Flags::READ_ONLY | Flags::LAST,
            Request::Query => self.query(),
            Request::Extended => self.extended(),
        }
    }

    /// What the messages up to a `Sync` do.
    fn extended(&mut self) -> u8 {
        let looker = &mut self.looker;
        // What was prepared may begin a transaction. That one ends here can only be seen in a `Query`.
        self.transaction |= looker.named || looker.begins;
        let (lasts, writes) = (looker.named || looker.lasts, looker.writes);
        (looker.writes, looker.begins, looker.lasts, looker.named) = (false, false, false, false);
        match () {
            () if lasts => Flags::STICKY,
            () if self.transaction => Flags::TRANSIENT,
            () if writes => 0,
            () => Flags::READ_ONLY,
        }
    }
}

impl Default for PgwireFramer {
    fn default() -> Self {
        Self::new()
    }
}

impl Framer for PgwireFramer {
    fn push(&mut self, bytes: &[u8]) -> Framing {
        match self.scanner.push(bytes, &mut self.looker) {
            Scan::More => Framing::More,
            Scan::Done(len, request) => Framing::Request { len, flags: self.flags(request) },
            Scan::Bad(len, _) => Framing::Request { len, flags: Flags::READ_ONLY | Flags::LAST },
        }
    }

    fn reset(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const R: u8 = Flags::READ_ONLY;
    const S: u8 = Flags::STICKY;
    const T: u8 = Flags::TRANSIENT;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let len = (body.len() as u32 + 4).to_be_bytes();
        [&[kind], &len[..], body].concat()
    }

    fn query(sql: &str) -> Vec<u8> {
        message(b'Q', &[sql.as_bytes(), &[0]].concat())
    }

    fn extended(name: &str, sql: &str) -> Vec<u8> {
        let parse = [name.as_bytes(), &[0], sql.as_bytes(), &[0, 0, 0]].concat();
        let bind = [&[0], name.as_bytes(), &[0; 7]].concat();
        let execute = message(b'E', &[0; 5]);
        [message(b'P', &parse), message(b'B', &bind), execute, message(b'S', b"")].concat()
    }

    /// What `requests`, behind the start, are flagged, whatever the pieces.
    fn same(requests: &[(Vec<u8>, u8)]) {
        let mut start = std::vec![0, 0, 0, 16, 0, 3, 0, 0];
        start.extend(b"user\0a\0\0");
        start[3] = start.len() as u8;
        let mut all = std::vec![(start, S)];
        all.extend_from_slice(requests);
        for piece in [1, 2, 5, 1000] {
            let mut framer = PgwireFramer::new();
            for (request, flags) in &all {
                let mut read = 0;
                let said = loop {
                    let end = (read + piece).min(request.len());
                    match framer.push(&request[read..end]) {
                        Framing::More => read = end,
                        Framing::Request { len, flags } => break (read + len, flags),
                    }
                };
                let text = request.escape_ascii();
                assert_eq!(said, (request.len(), *flags), "{text}, pieces of {piece}");
            }
        }
    }

    #[test]
    fn flags_of_queries() {
        same(&[
            (query("SELECT 1"), R),
            (query("SELECT now()"), R),
            (query("SELECT 1\0"), R),
            (query("INSERT INTO t VALUES (1)"), 0),
            (query("SET search_path TO a"), S),
            (query("PREPARE p AS SELECT 1"), S),
            (query("EXECUTE p"), 0),
            (query("BEGIN"), T),
            (query("SELECT 1"), T),
            (query("SELECT now()"), T),
            (query("SET LOCAL search_path TO a"), S),
            (query("ROLLBACK TO SAVEPOINT x"), T),
            (query("COMMIT; BEGIN"), T),
            (query("ROLLBACK"), 0),
            (query("SELECT 1"), R),
            (message(b'X', b""), R | Flags::LAST),
        ]);
    }

    #[test]
    fn flags_of_the_extended_protocol() {
        same(&[
            (extended("", "SELECT 1"), R),
            (extended("", "DELETE FROM t"), 0),
            (extended("", "SET search_path TO a"), S),
            (extended("", "BEGIN"), T),
            (extended("", "SELECT 1"), T),
            (extended("", "COMMIT"), T),
            (query("COMMIT"), 0),
            (extended("", "SELECT 1"), R),
            (extended("p", "SELECT 1"), S),
            (query("SELECT 1"), T),
        ]);
    }
}
