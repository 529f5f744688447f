//! Cuts SQL into tokens as PostgreSQL does (manual, chapter 4.1, with `standard_conforming_strings`), byte by byte, so
//! that what is looked for is seen wherever it stands, and nowhere else: not in comments, and also in quotes.

use super::moment::Moment;

/// Longest identifier, in bytes (`NAMEDATALEN` - 1). PostgreSQL cuts longer ones; here they are refused.
pub(super) const NAME_BYTES: usize = 63;

/// A piece of SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'t> {
    /// An identifier or a keyword, in lower case.
    Word(&'t [u8]),
    /// An identifier in quotes.
    Quoted(&'t [u8]),
    /// A string: its first [`NAME_BYTES`] bytes, and whether it may stand for the present.
    Literal(&'t [u8], bool),
    /// A number, or a parameter such as `$1`.
    Value,
    /// Any other character.
    Symbol(u8),
    /// What is not understood, or understood differently by different readers.
    Bad,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Between,
    Word,
    Number,
    /// An identifier in quotes; behind a quote that ends it or is doubled.
    Quoted,
    QuotedQuote,
    /// A string; behind a quote that ends it or is doubled.
    Literal,
    LiteralQuote,
    /// A string with escapes; behind a backslash; behind a quote.
    Escaping,
    Escape,
    EscapingQuote,
    /// Behind `-`, or `/`.
    Minus,
    Slash,
    LineComment,
    /// In a comment of this depth, behind this byte.
    Comment(u16, u8),
    /// Behind `$`; in the tag; in a number of a parameter.
    Dollar,
    Tag,
    Parameter,
    /// In a string between tags, of which so many bytes of the closing one were seen.
    Body(u8),
    /// Behind `u&`.
    Unicode,
    Bad,
}

/// The cutter. It holds one token at most.
pub(super) struct Lexer {
    state: State,
    name: [u8; NAME_BYTES],
    len: usize,
    tag: [u8; NAME_BYTES],
    tag_len: usize,
    moment: Moment,
}

fn begins_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn continues_word(byte: u8) -> bool {
    begins_word(byte) || byte.is_ascii_digit() || byte == b'$'
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0c)
}

impl Lexer {
    pub(super) fn new() -> Self {
        Self {
            state: State::Between,
            name: [0; NAME_BYTES],
            len: 0,
            tag: [0; NAME_BYTES],
            tag_len: 0,
            moment: Moment::default(),
        }
    }

    pub(super) fn reset(&mut self) {
        (self.state, self.len, self.tag_len) = (State::Between, 0, 0);
    }

    fn clear(&mut self) {
        self.len = 0;
        self.moment = Moment::default();
    }

    /// A byte of a name. False if it is one too many.
    fn keep(&mut self, byte: u8) -> bool {
        let room = self.name.get_mut(self.len);
        let kept = room.map(|room| *room = byte).is_some();
        self.len += usize::from(kept);
        kept
    }

    /// A byte of a string.
    fn literal(&mut self, byte: u8) {
        self.keep(byte);
        self.moment.push(byte);
    }

    fn text(&self) -> &[u8] {
        &self.name[..self.len]
    }

    fn end_literal(&mut self, sink: &mut impl FnMut(Token<'_>)) {
        self.state = State::Between;
        sink(Token::Literal(self.text(), self.moment.is_one()));
    }

    fn end_word(&mut self, sink: &mut impl FnMut(Token<'_>)) {
        self.state = State::Between;
        sink(Token::Word(self.text()));
    }

    fn bad(&mut self, sink: &mut impl FnMut(Token<'_>)) {
        self.state = State::Bad;
        sink(Token::Bad);
    }

    /// The next byte.
    pub(super) fn push(&mut self, byte: u8, sink: &mut impl FnMut(Token<'_>)) {
        if byte == 0 {
            return self.bad(sink);
        }
        match self.state {
            State::Bad => {}
            State::Between => self.begin(byte, sink),
            State::Word if continues_word(byte) => {
                if !self.keep(byte.to_ascii_lowercase()) {
                    self.bad(sink);
                }
            }
            State::Word => match (self.text(), byte) {
                (b"e", b'\'') => self.open(State::Escaping),
                (b"b" | b"x" | b"n", b'\'') => self.open(State::Literal),
                (b"u", b'&') => self.state = State::Unicode,
                _ => {
                    self.end_word(sink);
                    self.begin(byte, sink);
                }
            },
            State::Unicode if matches!(byte, b'\'' | b'"') => self.bad(sink),
            State::Unicode => {
                self.end_word(sink);
                sink(Token::Symbol(b'&'));
                self.begin(byte, sink);
            }
            State::Number if byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E') => {}
            State::Parameter if byte.is_ascii_digit() => {}
            State::Number | State::Parameter if continues_word(byte) => self.bad(sink),
            State::Number | State::Parameter => {
                self.state = State::Between;
                sink(Token::Value);
                self.begin(byte, sink);
            }
            State::Quoted if byte == b'"' => self.state = State::QuotedQuote,
            State::Quoted => {
                if !self.keep(byte) {
                    self.bad(sink);
                }
            }
            State::QuotedQuote if byte == b'"' => {
                self.state = State::Quoted;
                if !self.keep(byte) {
                    self.bad(sink);
                }
            }
            State::QuotedQuote => {
                self.state = State::Between;
                sink(Token::Quoted(self.text()));
                self.begin(byte, sink);
            }
            State::Literal if byte == b'\'' => self.state = State::LiteralQuote,
            State::Escaping if byte == b'\'' => self.state = State::EscapingQuote,
            State::Escaping if byte == b'\\' => self.state = State::Escape,
            State::Literal | State::Escaping => self.literal(byte),
            State::LiteralQuote if byte == b'\'' => self.resume(State::Literal, byte),
            State::EscapingQuote if byte == b'\'' => self.resume(State::Escaping, byte),
            State::LiteralQuote | State::EscapingQuote => {
                self.end_literal(sink);
                self.begin(byte, sink);
            }
            State::Escape => match byte {
                b'\\' | b'\'' => self.resume(State::Escaping, byte),
                b'n' | b't' | b'r' | b'b' | b'f' => self.resume(State::Escaping, b' '),
                // By number any character can be written, and another way for every reader.
                _ => self.bad(sink),
            },
            State::Minus if byte == b'-' => self.state = State::LineComment,
            State::Slash if byte == b'*' => self.state = State::Comment(1, 0),
            State::Minus | State::Slash => {
                sink(Token::Symbol(if self.state == State::Minus { b'-' } else { b'/' }));
                self.state = State::Between;
                self.begin(byte, sink);
            }
            State::LineComment if matches!(byte, b'\n' | b'\r') => self.state = State::Between,
            State::LineComment => {}
            State::Comment(depth, before) => self.comment(depth, before, byte, sink),
            State::Dollar if byte.is_ascii_digit() => self.state = State::Parameter,
            State::Dollar | State::Tag if byte == b'$' => {
                self.clear();
                self.state = State::Body(0);
            }
            State::Dollar if !begins_word(byte) => self.bad(sink),
            State::Tag if !continues_word(byte) => self.bad(sink),
            State::Dollar | State::Tag => {
                self.state = State::Tag;
                match self.tag.get_mut(self.tag_len) {
                    Some(room) => *room = byte,
                    None => return self.bad(sink),
                }
                self.tag_len += 1;
            }
            State::Body(seen) => self.body(usize::from(seen), byte, sink),
        }
    }

    /// A byte between tokens.
    fn begin(&mut self, byte: u8, sink: &mut impl FnMut(Token<'_>)) {
        match byte {
            b'\'' => self.open(State::Literal),
            b'"' => self.open(State::Quoted),
            b'-' => self.state = State::Minus,
            b'/' => self.state = State::Slash,
            b'$' => {
                self.tag_len = 0;
                self.state = State::Dollar;
            }
            b'0'..=b'9' => self.state = State::Number,
            _ if begins_word(byte) => {
                self.open(State::Word);
                self.keep(byte.to_ascii_lowercase());
            }
            _ if is_space(byte) => {}
            0x0b | 0x7f | 0..=0x1f => self.bad(sink),
            _ => sink(Token::Symbol(byte)),
        }
    }

    fn open(&mut self, state: State) {
        self.clear();
        self.state = state;
    }

    fn resume(&mut self, state: State, byte: u8) {
        self.literal(byte);
        self.state = state;
    }

    fn comment(&mut self, depth: u16, before: u8, byte: u8, sink: &mut impl FnMut(Token<'_>)) {
        self.state = match (before, byte) {
            (b'*', b'/') if depth == 1 => State::Between,
            (b'*', b'/') => State::Comment(depth - 1, 0),
            (b'/', b'*') if depth == u16::MAX => return self.bad(sink),
            (b'/', b'*') => State::Comment(depth + 1, 0),
            _ => State::Comment(depth, byte),
        };
    }

    /// A byte of a string between tags. As a tag has no `$`, the closing one can begin only at a `$`.
    fn body(&mut self, seen: usize, byte: u8, sink: &mut impl FnMut(Token<'_>)) {
        let wanted = match seen {
            0 => b'$',
            _ => self.tag[..self.tag_len].get(seen - 1).copied().unwrap_or(b'$'),
        };
        if byte == wanted && seen == self.tag_len + 1 {
            return self.end_literal(sink);
        }
        let mut next = seen + 1;
        if byte != wanted {
            // What looked like the closing tag belongs to the string.
            for at in 0..seen {
                let byte = at.checked_sub(1).and_then(|at| self.tag.get(at)).copied();
                self.literal(byte.unwrap_or(b'$'));
            }
            next = usize::from(byte == b'$');
            if next == 0 {
                self.literal(byte);
            }
        }
        self.state = State::Body(next as u8);
    }

    /// The text ends.
    pub(super) fn finish(&mut self, sink: &mut impl FnMut(Token<'_>)) {
        match self.state {
            State::Between | State::LineComment | State::Bad => {}
            State::Word | State::Number | State::Parameter | State::QuotedQuote => {
                self.push(b' ', sink);
            }
            State::LiteralQuote | State::EscapingQuote | State::Minus | State::Slash => {
                self.push(b' ', sink);
            }
            _ => self.bad(sink),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;
    use std::vec::Vec;

    fn tokens(sql: &str) -> Vec<String> {
        let (mut lexer, mut all) = (Lexer::new(), Vec::new());
        let mut sink = |token: Token<'_>| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            all.push(match token {
                Token::Word(name) => text(name),
                Token::Quoted(name) => std::format!("\"{}", text(name)),
                Token::Literal(start, false) => std::format!("'{}", text(start)),
                Token::Literal(start, true) => std::format!("!{}", text(start)),
                Token::Value => "0".into(),
                Token::Symbol(byte) => char::from(byte).into(),
                Token::Bad => "BAD".into(),
            });
        };
        for byte in sql.bytes() {
            lexer.push(byte, &mut sink);
        }
        lexer.finish(&mut sink);
        all
    }

    #[test]
    fn each_token_in_its_place() {
        let cases: &[(&str, &[&str])] = &[
            ("SELECT a-1.5e3,$2", &["select", "a", "-", "0", ",", "0"]),
            ("a--b\nc-d", &["a", "c", "-", "d"]),
            ("/* now( /* -- */ '*/x", &["x"]),
            ("'it''s --' \"A\"\"b\"", &["'it's --", "\"A\"b"]),
            ("E'a\\'b\\\\' n'x' e", &["'a'b\\", "'x", "e"]),
            ("date'NOW'", &["date", "!NOW"]),
            ("$$now$$ $later$now$later$", &["!now", "!now"]),
            ("$a$ $b $$ $a$ x$a$", &["' $b $$ ", "x$a$"]),
            ("$ab$$ab $ab$ $ab$ $a$ab$", &["'$ab ", "' $a"]),
            ("u&1 ü$1", &["u", "&", "0", "ü$1"]),
            ("1/2", &["0", "/", "0"]),
        ];
        for (sql, wanted) in cases {
            assert_eq!(tokens(sql), *wanted, "{sql}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_bad() {
        for sql in [
            "U&'\\006eow'",
            "u&\"x\"",
            "E'\\x6e'",
            "E'\\156'",
            "'open",
            "\"open",
            "/* open /* */",
            "$a$ $b$",
            "1abc",
            "$1a",
            "a\0b",
            "$a'$",
            "a\u{b}b",
        ] {
            assert_eq!(tokens(sql).last().map(String::as_str), Some("BAD"), "{sql:?}");
        }
        let long = "x".repeat(NAME_BYTES + 1);
        assert_eq!(tokens(&long), ["BAD"]);
        assert_eq!(tokens(&long[1..]), [&long[1..]]);
    }
}
