//! Reads what one key holds, and writes it as requests.

use super::dump::Dump;
use super::kind::Kind;
use crate::resp::gather::Gather;
use crate::resp::out::{Out, bulk_bytes, decimal};
use crate::resp::replies::{NoAnswer, Stop};
use crate::resp::tokens::{Token, Tokens};

/// Room for the length of the bytes of a string.
const LENGTH_BYTES: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// It begins.
    Start,
    /// Bytes of a string come; some were written, or none.
    Bytes { some: bool },
    /// They have come; the last ones are to be written.
    LastBytes { some: bool },
    /// So many strings come.
    Strings { left: usize },
    /// What was gathered is being written, from this element on, and then so many strings come.
    Writing { from: usize, left: usize },
    /// It has come; what is left, and when it expires, is to be written.
    End,
    /// The time at which it expires is to be written.
    Expiry,
}

/// A key of which all but what it holds is known.
#[derive(Clone, Copy)]
pub(super) struct Key<'a> {
    pub(super) name: &'a [u8],
    pub(super) kind: Kind,
    /// When it expires, in milliseconds since 1970; negative: never.
    pub(super) expires_ms: i64,
}

/// The reader.
pub(super) struct Value {
    at: At,
    elements: Gather,
}

impl Value {
    /// One that can sort elements of so many bytes.
    pub(super) fn new(elements_bytes: usize) -> Self {
        Self { at: At::Start, elements: Gather::new(elements_bytes) }
    }

    pub(super) fn clear(&mut self) {
        self.at = At::Start;
        self.elements.clear();
    }

    /// Reads on, and writes. [`Stop::Done`]: all of the key is written.
    pub(super) fn read(
        &mut self,
        key: Key<'_>,
        tokens: &mut Tokens,
        bytes: &mut &[u8],
        dump: &mut Dump,
        out: &mut Out,
    ) -> Result<Stop, NoAnswer> {
        if key.kind == Kind::None {
            return Ok(Stop::Done);
        }
        let piece_bytes = Dump::capacity(key.name).saturating_sub(LENGTH_BYTES);
        if piece_bytes == 0 {
            return Err(NoAnswer);
        }
        loop {
            if !self.write(key, piece_bytes, dump, out)? {
                return Ok(Stop::Full);
            }
            if self.at == At::End {
                self.at = At::Start;
                return Ok(Stop::Done);
            }
            let most = if key.kind == Kind::String { piece_bytes - dump.len() } else { usize::MAX };
            let Some(token) = tokens.next(bytes, most)? else { return Ok(Stop::Starved) };
            self.take(key.kind, token, dump)?;
        }
    }

    /// Writes what is to be written before more can be read. False if there is no room.
    fn write(
        &mut self,
        key: Key<'_>,
        piece_bytes: usize,
        dump: &mut Dump,
        out: &mut Out,
    ) -> Result<bool, NoAnswer> {
        let name = |some| if some { "APPEND" } else { "SET" };
        loop {
            self.at = match self.at {
                At::Bytes { some } if dump.len() >= piece_bytes => {
                    if !dump.flush_bytes(name(some), key.name, out) {
                        return Ok(false);
                    }
                    At::Bytes { some: true }
                }
                At::LastBytes { some } => {
                    let is_needed = !some || dump.len() > 0;
                    if is_needed && !dump.flush_bytes(name(some), key.name, out) {
                        return Ok(false);
                    }
                    At::Expiry
                }
                At::Writing { from, left } => {
                    let done = self.elements(key, from, left, dump, out)?;
                    if !done {
                        return Ok(false);
                    }
                    if left > 0 { At::Strings { left } } else { At::Expiry }
                }
                At::Expiry => {
                    if dump.has_words() {
                        if !dump.flush_words(key.kind.made_by(), key.name, out) {
                            return Ok(false);
                        }
                        continue;
                    }
                    if key.expires_ms >= 0 {
                        let mut digits = [0; 20];
                        let count = decimal(key.expires_ms, &mut digits);
                        dump.put_bytes(&digits[..count]);
                        if !dump.flush_bytes("PEXPIREAT", key.name, out) {
                            dump.clear();
                            return Ok(false);
                        }
                    }
                    At::End
                }
                At::Start | At::Bytes { .. } | At::Strings { .. } | At::End => return Ok(true),
            };
        }
    }

    fn take(&mut self, kind: Kind, token: Token<'_>, dump: &mut Dump) -> Result<(), NoAnswer> {
        let is_string = kind == Kind::String;
        self.at = match (self.at, token) {
            (At::Start, Token::Nil) if is_string => At::End,
            (At::Start, Token::Bulk(_)) if is_string => At::Bytes { some: false },
            (at @ At::Bytes { .. }, Token::Bytes(piece)) => {
                dump.put_bytes(piece);
                at
            }
            (At::Bytes { some }, Token::End) => At::LastBytes { some },
            (At::Start, Token::Array(0)) if !is_string => At::End,
            (At::Start, Token::Array(left)) if !is_string => {
                if kind.has_pairs() && left % 2 != 0 {
                    return Err(NoAnswer);
                }
                self.elements.clear();
                At::Strings { left }
            }
            (at @ At::Strings { left }, Token::Bulk(len)) => {
                let begun = match kind.has_pairs() && left % 2 == 1 {
                    true => self.elements.begin_value(len),
                    false => self.elements.begin_key(len),
                };
                begun.map_err(|_| NoAnswer)?;
                at
            }
            (at @ At::Strings { .. }, Token::Bytes(piece)) => {
                self.elements.push(piece);
                at
            }
            (At::Strings { left: left @ 1.. }, Token::End) => {
                let left = left - 1;
                let is_whole = !kind.has_pairs() || left % 2 == 0;
                if left == 0 && kind.is_unordered() {
                    self.elements.sort();
                }
                if left == 0 || (is_whole && !kind.is_unordered()) {
                    At::Writing { from: 0, left }
                } else {
                    At::Strings { left }
                }
            }
            _ => return Err(NoAnswer),
        };
        Ok(())
    }

    /// Adds what was gathered to the dump. False if there is no room.
    fn elements(
        &mut self,
        key: Key<'_>,
        from: usize,
        left: usize,
        dump: &mut Dump,
        out: &mut Out,
    ) -> Result<bool, NoAnswer> {
        let capacity = Dump::capacity(key.name);
        for at in from..self.elements.count() {
            let (words, count) = key.kind.words(self.elements.key(at), self.elements.value(at));
            let words = &words[..count];
            let len: usize = words.iter().map(|word| bulk_bytes(word.len())).sum();
            if len > capacity {
                return Err(NoAnswer);
            }
            if dump.len() + len > capacity && !dump.flush_words(key.kind.made_by(), key.name, out) {
                self.at = At::Writing { from: at, left };
                return Ok(false);
            }
            words.iter().for_each(|word| dump.put_word(word));
        }
        self.elements.clear();
        Ok(true)
    }
}
