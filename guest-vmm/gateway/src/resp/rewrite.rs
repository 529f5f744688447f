//! Requests that are forwarded in other words: times, walks, what would have no order.

use super::Resp;
use super::answers::{Answer, NOT_A_NUMBER, Refusal};
use super::commands::Unit;
use super::gather::Part;
use super::out::{Out, decimal, number};
use super::replies::Shape;
use super::request::Asked;

/// So many elements a walk is to give in one step: all.
const WHOLE_WALK: i64 = 1_000_000_000;
/// A word of a request that is written anew.
#[derive(Clone, Copy)]
pub(super) enum Piece<'a> {
    Text(&'a [u8]),
    Number(i64),
    /// The identity of a stream's entry: the time, and whichever number of that time is next.
    Entry(u64),
}

impl Piece<'_> {
    fn write(self, out: &mut Out) {
        match self {
            Self::Text(text) => out.put_bulk(text),
            Self::Number(value) => out.put_bulk_number(value),
            Self::Entry(clock_ms) => {
                let mut text = [0; 24];
                let len = decimal(clock_ms as i64, &mut text);
                text[len..][..2].copy_from_slice(b"-*");
                out.put_bulk(&text[..len + 2]);
            }
        }
    }
}

fn is(word: &[u8], name: &str) -> bool {
    word.eq_ignore_ascii_case(name.as_bytes())
}

/// The point in time, in milliseconds, that is meant by so much of `unit` after `base_ms`.
fn point(value: i64, unit: Unit, base_ms: u64) -> Option<i64> {
    let value_ms = match unit {
        Unit::Seconds => value.checked_mul(1000)?,
        Unit::Milliseconds => value,
    };
    value_ms.checked_add_unsigned(base_ms)
}

/// The point in time that an option of `SET` or `GETEX` means with its value. `None`: it is no such option.
fn option_point(
    option: &[u8],
    value: Option<&[u8]>,
    clock_ms: u64,
    name: &'static str,
) -> Option<Result<i64, Answer>> {
    let (unit, base_ms) = match option {
        _ if is(option, "ex") => (Unit::Seconds, clock_ms),
        _ if is(option, "px") => (Unit::Milliseconds, clock_ms),
        _ if is(option, "exat") => (Unit::Seconds, 0),
        _ if is(option, "pxat") => (Unit::Milliseconds, 0),
        _ => return None,
    };
    Some(match number(value?) {
        None => Err(NOT_A_NUMBER),
        Some(..=0) => Err(Answer::ExpireTime(name)),
        Some(value) => point(value, unit, base_ms).ok_or(Answer::ExpireTime(name)),
    })
}

impl Resp {
    /// Forwards the pieces that `produce` gives, which must give the same each time.
    pub(super) fn rewrite(
        &mut self,
        asked: Asked<'_>,
        shape: Shape,
        produce: impl Fn(&mut dyn FnMut(Piece<'_>)),
    ) {
        let mut count = 0;
        produce(&mut |_| count += 1);
        self.to_server.put_array(count);
        produce(&mut |piece| piece.write(&mut self.to_server));
        self.expect(shape, asked.clock_ms);
    }

    /// Asks another command of the same key.
    pub(super) fn ask(&mut self, asked: Asked<'_>, name: &[u8], shape: Shape) {
        let key = asked.words().nth(1).unwrap_or_default();
        self.rewrite(asked, shape, |put| {
            put(Piece::Text(name));
            put(Piece::Text(key));
        });
    }

    pub(super) fn expire(&mut self, asked: Asked<'_>, unit: Unit, base_ms: u64) {
        let Some(value) = asked.words().nth(2).and_then(number) else {
            return self.answer(NOT_A_NUMBER, asked.clock_ms);
        };
        let Some(at_ms) = point(value, unit, base_ms) else {
            return self.answer(Answer::ExpireTime(asked.command.name), asked.clock_ms);
        };
        self.rewrite(asked, Shape::Pass, |put| {
            put(Piece::Text(b"PEXPIREAT"));
            for (at, word) in asked.words().enumerate().skip(1) {
                put(if at == 2 { Piece::Number(at_ms) } else { Piece::Text(word) });
            }
        });
    }

    pub(super) fn set_expiring(&mut self, asked: Asked<'_>, unit: Unit) {
        let mut words = asked.words().skip(1);
        let (key, value, text) = (words.next(), words.next(), words.next());
        let (key, text) = (key.unwrap_or_default(), text.unwrap_or_default());
        let Some(value) = value.and_then(number) else {
            return self.answer(NOT_A_NUMBER, asked.clock_ms);
        };
        let at_ms = point(value, unit, asked.clock_ms).filter(|_| value > 0);
        let Some(at_ms) = at_ms else {
            return self.answer(Answer::ExpireTime(asked.command.name), asked.clock_ms);
        };
        self.rewrite(asked, Shape::Pass, |put| {
            for word in [&b"SET"[..], key, text, b"PXAT"] {
                put(Piece::Text(word));
            }
            put(Piece::Number(at_ms));
        });
    }

    pub(super) fn set(&mut self, asked: Asked<'_>, options: usize) {
        let name = asked.command.name;
        let mut words = asked.words().skip(options);
        while let Some(option) = words.next() {
            let value = words.clone().next();
            if let Some(Err(error)) = option_point(option, value, asked.clock_ms, name) {
                return self.answer(error, asked.clock_ms);
            }
        }
        self.rewrite(asked, Shape::Pass, |put| {
            let mut words = asked.words();
            for word in words.by_ref().take(options) {
                put(Piece::Text(word));
            }
            while let Some(option) = words.next() {
                let value = words.clone().next();
                match option_point(option, value, asked.clock_ms, name) {
                    Some(Ok(at_ms)) => {
                        put(Piece::Text(b"PXAT"));
                        put(Piece::Number(at_ms));
                        words.next();
                    }
                    _ => put(Piece::Text(option)),
                }
            }
        });
    }

    pub(super) fn walk(&mut self, asked: Asked<'_>, cursor: usize, pairs: bool) {
        if asked.words().nth(cursor) != Some(b"0") {
            return self.answer(Answer::Error("ERR invalid cursor"), asked.clock_ms);
        }
        let mut words = asked.words().skip(cursor + 1);
        while let Some(option) = words.next() {
            let value = words.next();
            if is(option, "count") && value.and_then(number).is_none_or(|count| count < 1) {
                return self.answer(NOT_A_NUMBER, asked.clock_ms);
            }
        }
        let part = if pairs { Part::Both } else { Part::Key };
        self.rewrite(asked, Shape::Page(part), |put| {
            let mut words = asked.words();
            for word in words.by_ref().take(cursor + 1) {
                put(Piece::Text(word));
            }
            while let Some(option) = words.next() {
                let value = words.next();
                if !is(option, "count") {
                    put(Piece::Text(option));
                    value.into_iter().for_each(|value| put(Piece::Text(value)));
                }
            }
            put(Piece::Text(b"COUNT"));
            put(Piece::Number(WHOLE_WALK));
        });
    }

    /// `SORT` leaves open what comes first of what has no weight, or is not to be sorted at all.
    pub(super) fn arrange(&mut self, asked: Asked<'_>) {
        let (mut by, mut alpha) = (None, false);
        let mut words = asked.words().skip(2);
        while let Some(option) = words.next() {
            alpha |= is(option, "alpha");
            if is(option, "by") {
                by = words.next();
            } else if is(option, "get") || is(option, "store") {
                words.next();
            }
        }
        if by.is_some_and(|pattern| alpha || !pattern.contains(&b'*')) {
            let refused = Answer::Refused(asked.command.name, Refusal::Unordered);
            return self.answer(refused, asked.clock_ms);
        }
        self.forward(asked, Shape::Pass);
    }

    /// A new entry gets the time of the request clock, and streams are trimmed to the very entry: approximately
    /// would mean by how a server happens to lay them out.
    pub(super) fn add_to_stream(&mut self, asked: Asked<'_>) {
        if self.exported {
            let refused = Answer::Refused(asked.command.name, Refusal::Exported);
            return self.answer(refused, asked.clock_ms);
        }
        self.rewrite(asked, Shape::Pass, |put| {
            let mut words = asked.words();
            for word in words.by_ref().take(2) {
                put(Piece::Text(word));
            }
            while let Some(word) = words.next() {
                if is(word, "nomkstream") {
                    put(Piece::Text(word));
                } else if is(word, "maxlen") || is(word, "minid") {
                    put(Piece::Text(word));
                    let threshold = words.next().filter(|word| !matches!(word, [b'~' | b'=']));
                    let threshold = threshold.or_else(|| words.next());
                    threshold.into_iter().for_each(|word| put(Piece::Text(word)));
                } else if is(word, "limit") {
                    words.next();
                } else {
                    let new = word == b"*";
                    put(if new { Piece::Entry(asked.clock_ms) } else { Piece::Text(word) });
                    break;
                }
            }
            words.for_each(|word| put(Piece::Text(word)));
        });
    }

    pub(super) fn trim_stream(&mut self, asked: Asked<'_>) {
        self.rewrite(asked, Shape::Pass, |put| {
            let mut words = asked.words();
            for word in words.by_ref().take(3) {
                put(Piece::Text(word));
            }
            while let Some(word) = words.next() {
                if is(word, "limit") {
                    words.next();
                } else if !matches!(word, [b'~' | b'=']) {
                    put(Piece::Text(word));
                }
            }
        });
    }

    pub(super) fn read_stream(&mut self, asked: Asked<'_>) {
        let mut options = asked.words().skip(1).take_while(|word| !is(word, "streams"));
        if options.any(|word| is(word, "block")) {
            let refused = Answer::Refused(asked.command.name, Refusal::Blocks);
            return self.answer(refused, asked.clock_ms);
        }
        self.forward(asked, Shape::Pass);
    }
}
