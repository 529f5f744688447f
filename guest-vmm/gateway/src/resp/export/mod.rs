//! Writes the state of a service as the requests that make it anew, in an order that does not depend on the server's
//! history: by database, by key, and within a key by element.
//!
//! First the keys of a database are read and sorted; then, a window of keys at a time, what kind each is and when
//! it expires, and then what it holds. All that is asked in one step is on its way at once.

mod dump;
mod kind;
mod value;

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::cell::RefCell;

use super::gather::Gather;
use super::out::Out;
use super::replies::{NoAnswer, Replies, Stop};
use super::request::DATABASES;
use super::tokens::{Token, Tokens};
use dump::Dump;
use kind::Kind;
use value::{Key, Value};

/// Names of the keys of one database, added up, in bytes, at most; there are a sixteenth as many, at most.
pub const KEYS_BYTES: usize = 4 << 20;
/// The elements of one set or hash, added up, in bytes, at most; there are a sixteenth as many, at most.
pub const ELEMENTS_BYTES: usize = 4 << 20;
/// Keys that are read together.
const WINDOW: usize = 128;
/// Most that asking for something of a key takes, beside the key.
const ASK_BYTES: usize = 128;

/// The exporter of a gateway, which its sessions lend each other: one at a time.
#[derive(Clone)]
pub struct SharedExporter(Rc<RefCell<Option<Box<Exporter>>>>);

impl SharedExporter {
    /// Allocates it: [`KEYS_BYTES`] and [`ELEMENTS_BYTES`], and three quarters as much for their order.
    #[expect(clippy::new_without_default, reason = "it takes much memory")]
    pub fn new() -> Self {
        Self(Rc::new(RefCell::new(Some(Box::new(Exporter::new())))))
    }

    /// Takes it, at its start. `None` if another session has it.
    pub(super) fn take(&self) -> Option<Box<Exporter>> {
        let mut exporter = self.0.try_borrow_mut().ok()?.take()?;
        exporter.begin(0);
        Some(exporter)
    }

    pub(super) fn give_back(&self, exporter: Box<Exporter>) {
        if let Ok(mut place) = self.0.try_borrow_mut() {
            *place = Some(exporter);
        }
    }
}

/// What comes next from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The reply to `SELECT`.
    Selected,
    /// The reply to `KEYS`: the array, and so many strings of it.
    Keys(Option<usize>),
    /// For each key of the window its kind and its time of expiry.
    Kinds,
    /// For each key of the window what it holds.
    Values,
    /// Nothing: all is written.
    Done,
}

#[derive(Clone, Copy)]
struct Known {
    kind: Kind,
    expires_ms: i64,
}

/// The reader of one server's state.
pub(super) struct Exporter {
    phase: Phase,
    database: i64,
    keys: Gather,
    /// The first key of the window, and how many it has.
    first: usize,
    window: usize,
    known: [Known; WINDOW],
    /// Keys of the window that were asked about in this phase, and replies that were read.
    asked: usize,
    read: usize,
    value: Value,
    dump: Dump,
}

impl Exporter {
    fn new() -> Self {
        Self {
            phase: Phase::Selected,
            database: 0,
            keys: Gather::new(KEYS_BYTES),
            first: 0,
            window: 0,
            known: [Known { kind: Kind::None, expires_ms: -1 }; WINDOW],
            asked: 0,
            read: 0,
            value: Value::new(ELEMENTS_BYTES),
            dump: Dump::new(),
        }
    }

    /// The next database.
    fn begin(&mut self, database: i64) {
        self.database = database;
        self.keys.clear();
        (self.first, self.window) = (0, 0);
        self.value.clear();
        self.dump.begin(database);
        self.enter(if database < DATABASES { Phase::Selected } else { Phase::Done });
    }

    fn enter(&mut self, phase: Phase) {
        (self.phase, self.asked, self.read) = (phase, 0, 0);
    }

    /// The next window of keys, or the next database.
    fn next_window(&mut self) {
        self.first += self.window;
        self.window = (self.keys.count() - self.first).min(WINDOW);
        if self.window == 0 {
            self.begin(self.database + 1);
        } else {
            self.enter(Phase::Kinds);
        }
    }

    /// Asks the server for what is to come, as far as there is room.
    pub(super) fn ask(&mut self, to_server: &mut Out) {
        let count = match self.phase {
            Phase::Selected => 1,
            Phase::Kinds | Phase::Values => self.window,
            Phase::Keys(_) | Phase::Done => 0,
        };
        while self.asked < count {
            let key = self.keys.key(self.first + self.asked);
            if to_server.room() < 2 * key.len() + ASK_BYTES {
                return;
            }
            match self.phase {
                Phase::Kinds => {
                    to_server.put(b"*2\r\n$4\r\nTYPE\r\n");
                    to_server.put_bulk(key);
                    to_server.put(b"*2\r\n$11\r\nPEXPIRETIME\r\n");
                    to_server.put_bulk(key);
                }
                Phase::Values => {
                    if let Some((name, words)) = self.known[self.asked].kind.read() {
                        to_server.put_array(2 + words.len());
                        to_server.put_bulk(name.as_bytes());
                        to_server.put_bulk(key);
                        words.iter().for_each(|word| to_server.put_bulk(word.as_bytes()));
                    }
                }
                _ => {
                    to_server.put(b"*2\r\n$6\r\nSELECT\r\n");
                    to_server.put_bulk_number(self.database);
                    to_server.put(b"*2\r\n$4\r\nKEYS\r\n$1\r\n*\r\n");
                }
            }
            self.asked += 1;
        }
    }

    /// Reads on, and writes. [`Stop::Done`]: all is written.
    pub(super) fn read(
        &mut self,
        replies: &mut Replies,
        bytes: &mut &[u8],
        out: &mut Out,
    ) -> Result<Stop, NoAnswer> {
        let tokens = &mut replies.tokens;
        loop {
            let stop = match self.phase {
                Phase::Done => return Ok(Stop::Done),
                Phase::Selected => match tokens.next(bytes, 1)? {
                    None => Stop::Starved,
                    Some(Token::Status(b"OK")) => {
                        self.phase = Phase::Keys(None);
                        Stop::Done
                    }
                    Some(_) => return Err(NoAnswer),
                },
                Phase::Keys(left) => self.read_keys(left, tokens, bytes)?,
                Phase::Kinds => self.read_kinds(tokens, bytes)?,
                Phase::Values => self.read_values(tokens, bytes, out)?,
            };
            if stop != Stop::Done {
                return Ok(stop);
            }
        }
    }

    fn read_keys(
        &mut self,
        mut left: Option<usize>,
        tokens: &mut Tokens,
        bytes: &mut &[u8],
    ) -> Result<Stop, NoAnswer> {
        while left != Some(0) {
            let Some(token) = tokens.next(bytes, usize::MAX)? else { return Ok(Stop::Starved) };
            match (left, token) {
                (None, Token::Array(count)) => left = Some(count),
                (Some(_), Token::Bulk(len)) => self.keys.begin_key(len).map_err(|_| NoAnswer)?,
                (Some(_), Token::Bytes(bytes)) => self.keys.push(bytes),
                (Some(count), Token::End) => left = Some(count - 1),
                _ => return Err(NoAnswer),
            }
            self.phase = Phase::Keys(left);
        }
        self.keys.sort();
        self.next_window();
        Ok(Stop::Done)
    }

    fn read_kinds(&mut self, tokens: &mut Tokens, bytes: &mut &[u8]) -> Result<Stop, NoAnswer> {
        while self.read < 2 * self.window {
            let Some(token) = tokens.next(bytes, 1)? else { return Ok(Stop::Starved) };
            let known = self.known.get_mut(self.read / 2).ok_or(NoAnswer)?;
            match token {
                Token::Status(name) if self.read.is_multiple_of(2) => {
                    known.kind = Kind::named(name)?
                }
                Token::Integer(at_ms) if !self.read.is_multiple_of(2) => known.expires_ms = at_ms,
                _ => return Err(NoAnswer),
            }
            self.read += 1;
        }
        self.enter(Phase::Values);
        Ok(Stop::Done)
    }

    fn read_values(
        &mut self,
        tokens: &mut Tokens,
        bytes: &mut &[u8],
        out: &mut Out,
    ) -> Result<Stop, NoAnswer> {
        while self.read < self.window {
            let Known { kind, expires_ms } = self.known[self.read];
            let key = Key { name: self.keys.key(self.first + self.read), kind, expires_ms };
            match self.value.read(key, tokens, bytes, &mut self.dump, out)? {
                Stop::Done => self.read += 1,
                stop => return Ok(stop),
            }
        }
        self.next_window();
        Ok(Stop::Done)
    }
}
