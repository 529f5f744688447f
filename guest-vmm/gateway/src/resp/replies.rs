//! Brings a server's replies to one form, one value at a time.

use super::answers::{self, ROOM_BYTES};
use super::commands::Unit;
use super::gather::{Gather, Part};
use super::out::Out;
use super::tokens::{LINE_BYTES, Malformed, Token, Tokens};

/// Arrays within arrays, at most.
const DEPTH_MAX: usize = 8;
/// Room without which no token is written: a whole line, or one of our own answers.
pub(super) const ROOM: usize = if LINE_BYTES > ROOM_BYTES { LINE_BYTES } else { ROOM_BYTES } + 64;

const TOO_LONG: &[u8] = b"-ERR reply too long to be sorted\r\n";

/// What becomes of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// It is passed on.
    Pass,
    /// It is an array of strings, or of pairs of them, in no order.
    Sorted(Part),
    /// It is a step of a walk, and all of it.
    Page(Part),
    /// It is an array of strings: how many they are.
    Count,
    /// It is a point in time: how long it is until then.
    Left(Unit),
}

/// Why reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The value is written.
    Done,
    /// There are no more bytes.
    Starved,
    /// There is no more room.
    Full,
}

/// The replica gave no answer: what it said is none, or of itself only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoAnswer;

impl From<Malformed> for NoAnswer {
    fn from(_: Malformed) -> Self {
        Self
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A value begins.
    Start,
    /// Within arrays, or a string.
    Passing,
    /// The walk's position comes next: its header, its byte, its end.
    Position(u8),
    /// The array of the step comes next.
    Step,
    /// So many strings come, the next of them a pair's second or not. Too many of them, or not.
    Gathering { left: usize, second: bool, over: bool },
    /// All strings are there and are being written.
    Writing,
    /// So many strings come, which are counted.
    Counting { left: usize },
}

/// Reads values.
pub(super) struct Replies {
    pub(super) tokens: Tokens,
    pub(super) gather: Gather,
    state: State,
    stack: [usize; DEPTH_MAX],
    depth: usize,
    count: usize,
}

impl Replies {
    /// One that can sort arrays of `sort_bytes` bytes.
    pub(super) fn new(sort_bytes: usize) -> Self {
        Self {
            tokens: Tokens::new(),
            gather: Gather::new(sort_bytes),
            state: State::Start,
            stack: [0; DEPTH_MAX],
            depth: 0,
            count: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        self.tokens.clear();
        self.gather.clear();
        (self.state, self.depth) = (State::Start, 0);
    }

    /// Reads on in a value of this shape.
    pub(super) fn value(
        &mut self,
        shape: Shape,
        clock_ms: u64,
        bytes: &mut &[u8],
        out: &mut Out,
    ) -> Result<Stop, NoAnswer> {
        loop {
            if self.state == State::Writing {
                let (Shape::Sorted(part) | Shape::Page(part)) = shape else { return Err(NoAnswer) };
                if !self.gather.write(part, out) {
                    return Ok(Stop::Full);
                }
                self.state = State::Start;
                return Ok(Stop::Done);
            }
            if out.room() < ROOM {
                return Ok(Stop::Full);
            }
            let most = out.room() - ROOM + 1;
            let Some(token) = self.tokens.next(bytes, most)? else { return Ok(Stop::Starved) };
            let done = match (self.state, shape) {
                (State::Start, _) if matches!(token, Token::Error(_)) => {
                    write(&token, out)?;
                    true
                }
                (State::Start, Shape::Left(unit)) => {
                    let Token::Integer(at_ms) = token else { return Err(NoAnswer) };
                    out.put_header(b':', left(at_ms, clock_ms, unit));
                    true
                }
                (State::Start, Shape::Page(_)) => {
                    self.state = State::Position(0);
                    if token != Token::Array(2) {
                        return Err(NoAnswer);
                    }
                    false
                }
                (State::Start, Shape::Count) => {
                    let Token::Array(count) = token else { return Err(NoAnswer) };
                    (self.state, self.count) = (State::Counting { left: count }, count);
                    self.counted(count, out)
                }
                (State::Counting { left }, _) => match token {
                    Token::Bulk(_) | Token::Bytes(_) => false,
                    Token::End => {
                        self.state = State::Counting { left: left - 1 };
                        self.counted(left - 1, out)
                    }
                    _ => return Err(NoAnswer),
                },
                (State::Position(step), _) => {
                    let wanted = [Token::Bulk(1), Token::Bytes(b"0"), Token::End];
                    if wanted.get(usize::from(step)) != Some(&token) {
                        return Err(NoAnswer);
                    }
                    self.state = if step == 2 { State::Step } else { State::Position(step + 1) };
                    false
                }
                (State::Start | State::Step, Shape::Sorted(part) | Shape::Page(part)) => {
                    let Token::Array(left) = token else { return Err(NoAnswer) };
                    if part != Part::Key && left % 2 != 0 {
                        return Err(NoAnswer);
                    }
                    self.gather.clear();
                    self.state = State::Gathering { left, second: false, over: false };
                    left == 0 && self.gathered(shape, false, out)
                }
                (
                    State::Gathering { left, second, over },
                    Shape::Sorted(part) | Shape::Page(part),
                ) => {
                    let mut next = State::Gathering { left, second, over };
                    match token {
                        Token::Bulk(len) if !over => {
                            let begun = match second {
                                true => self.gather.begin_value(len),
                                false => self.gather.begin_key(len),
                            };
                            next = State::Gathering { left, second, over: begun.is_err() };
                        }
                        Token::Bytes(bytes) if !over => self.gather.push(bytes),
                        Token::Bulk(_) | Token::Bytes(_) => {}
                        Token::End => {
                            let second = part != Part::Key && !second;
                            next = State::Gathering { left: left - 1, second, over };
                        }
                        _ => return Err(NoAnswer),
                    }
                    self.state = next;
                    matches!(next, State::Gathering { left: 0, .. })
                        && self.gathered(shape, over, out)
                }
                (State::Start | State::Passing, _) => {
                    write(&token, out)?;
                    nest(&token, &mut self.stack, &mut self.depth)?
                }
                (State::Step | State::Gathering { .. } | State::Writing, _) => {
                    return Err(NoAnswer);
                }
            };
            if done {
                self.state = State::Start;
                return Ok(Stop::Done);
            }
            if self.state == State::Start {
                self.state = State::Passing;
            }
        }
    }

    /// So many strings are still to come. True if that ends the value.
    fn counted(&self, left: usize, out: &mut Out) -> bool {
        if left == 0 {
            out.put_header(b':', self.count as i64);
        }
        left == 0
    }

    /// All strings have come. True if that ends the value.
    fn gathered(&mut self, shape: Shape, over: bool, out: &mut Out) -> bool {
        let (Shape::Sorted(part) | Shape::Page(part)) = shape else { return true };
        if over {
            out.put(TOO_LONG);
            return true;
        }
        self.gather.sort();
        if matches!(shape, Shape::Page(_)) {
            out.put_array(2);
            out.put_bulk(b"0");
        }
        let strings = if part == Part::Both { 2 } else { 1 };
        out.put_array(self.gather.count() * strings);
        self.state = State::Writing;
        false
    }
}

/// Writes a token as it came.
fn write(token: &Token<'_>, out: &mut Out) -> Result<(), NoAnswer> {
    match *token {
        Token::Status(text) => {
            out.put(b"+");
            out.put(text);
            out.put(b"\r\n");
        }
        Token::Error(text) => return error(text, out),
        Token::Integer(value) => out.put_header(b':', value),
        Token::Nil => out.put_header(b'$', -1),
        Token::NilArray => out.put_header(b'*', -1),
        Token::Array(count) => out.put_array(count),
        Token::Bulk(len) => out.put_header(b'$', len as i64),
        Token::Bytes(bytes) => out.put(bytes),
        Token::End => out.put(b"\r\n"),
    }
    Ok(())
}

/// Writes a server's error, unless it tells of that server only.
pub(super) fn error(text: &[u8], out: &mut Out) -> Result<(), NoAnswer> {
    if answers::is_private_error(text) {
        return Err(NoAnswer);
    }
    out.put(b"-");
    out.put(text);
    out.put(b"\r\n");
    Ok(())
}

/// Keeps account of arrays within arrays. True if the token ends the outermost value.
fn nest(
    token: &Token<'_>,
    stack: &mut [usize; DEPTH_MAX],
    depth: &mut usize,
) -> Result<bool, NoAnswer> {
    match token {
        Token::Array(count @ 1..) => {
            *stack.get_mut(*depth).ok_or(NoAnswer)? = *count;
            *depth += 1;
            return Ok(false);
        }
        Token::Bulk(_) | Token::Bytes(_) => return Ok(false),
        _ => {}
    }
    while *depth > 0 {
        stack[*depth - 1] -= 1;
        if stack[*depth - 1] > 0 {
            return Ok(false);
        }
        *depth -= 1;
    }
    Ok(true)
}

/// How long it is from `clock_ms` until `at_ms`, as `TTL` and `PTTL` have it; -2 if there is no such key, or no more,
/// and -1 if it does not expire.
fn left(at_ms: i64, clock_ms: u64, unit: Unit) -> i64 {
    if at_ms < 0 {
        return at_ms;
    }
    let left_ms = at_ms.saturating_sub_unsigned(clock_ms);
    match unit {
        _ if left_ms <= 0 => -2,
        Unit::Milliseconds => left_ms,
        Unit::Seconds => left_ms.saturating_add(500) / 1000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;
    use std::vec::Vec;

    /// What becomes of a reply that comes in pieces, with so much room.
    fn shaped(shape: Shape, reply: &[u8], piece: usize, room: usize) -> Result<String, NoAnswer> {
        let mut replies = Replies::new(256);
        let (mut out, mut all) = (Out::new(room), Vec::new());
        for mut bytes in reply.chunks(piece) {
            loop {
                let stop = replies.value(shape, 1_000_000, &mut bytes, &mut out)?;
                assert!(!out.overflowed());
                while !out.is_empty() {
                    all.extend_from_slice(out.front());
                    out.consume(out.front().len());
                }
                match stop {
                    Stop::Full => {}
                    Stop::Starved => break,
                    Stop::Done => {
                        assert!(bytes.is_empty());
                        return Ok(String::from_utf8(all).unwrap());
                    }
                }
            }
        }
        panic!("it goes on");
    }

    fn same(shape: Shape, reply: &str, wanted: &str) {
        for piece in [1, 2, 3, 7, 1000] {
            for room in [ROOM, ROOM + 5, 10_000] {
                let said = shaped(shape, reply.as_bytes(), piece, room);
                assert_eq!(said.as_deref(), Ok(wanted), "{shape:?}, pieces of {piece}");
            }
        }
    }

    #[test]
    fn values_are_passed_on() {
        for value in [
            "+OK\r\n",
            ":5\r\n",
            "$-1\r\n",
            "*-1\r\n",
            "$0\r\n\r\n",
            "$3\r\na\r\n\r\n",
            "*0\r\n",
            "-ERR no\r\n",
            "*2\r\n*2\r\n:1\r\n*0\r\n*1\r\n$2\r\nab\r\n",
        ] {
            same(Shape::Pass, value, value);
        }
    }

    #[test]
    fn what_has_no_order_is_sorted() {
        let set = "*3\r\n$1\r\nb\r\n$2\r\naa\r\n$0\r\n\r\n";
        same(Shape::Sorted(Part::Key), set, "*3\r\n$0\r\n\r\n$2\r\naa\r\n$1\r\nb\r\n");
        let hash = "*4\r\n$1\r\nb\r\n$1\r\n1\r\n$1\r\na\r\n$1\r\n2\r\n";
        let sorted = "*4\r\n$1\r\na\r\n$1\r\n2\r\n$1\r\nb\r\n$1\r\n1\r\n";
        same(Shape::Sorted(Part::Both), hash, sorted);
        same(Shape::Sorted(Part::Value), hash, "*2\r\n$1\r\n2\r\n$1\r\n1\r\n");
        same(Shape::Sorted(Part::Key), "*0\r\n", "*0\r\n");
        same(Shape::Sorted(Part::Both), "-WRONGTYPE x\r\n", "-WRONGTYPE x\r\n");
        same(Shape::Count, set, ":3\r\n");
        same(Shape::Count, "*0\r\n", ":0\r\n");
        let page = |array: &str| std::format!("*2\r\n$1\r\n0\r\n{array}");
        same(Shape::Page(Part::Both), &page(hash), &page(sorted));
        same(Shape::Page(Part::Key), &page("*0\r\n"), &page("*0\r\n"));
    }

    #[test]
    fn what_is_too_long_to_sort_is_an_error() {
        let long = std::format!("*2\r\n$1\r\na\r\n$256\r\n{}\r\n", "x".repeat(256));
        same(Shape::Sorted(Part::Key), &long, "-ERR reply too long to be sorted\r\n");
        let many = std::format!("*17\r\n{}", "$1\r\na\r\n".repeat(17));
        same(Shape::Sorted(Part::Key), &many, "-ERR reply too long to be sorted\r\n");
    }

    #[test]
    fn time_that_is_left() {
        let ttl = |at, unit| left(at, 1_000_000, unit);
        assert_eq!((ttl(-1, Unit::Seconds), ttl(-2, Unit::Seconds)), (-1, -2));
        assert_eq!((ttl(1_010_400, Unit::Seconds), ttl(1_010_500, Unit::Seconds)), (10, 11));
        assert_eq!(
            (ttl(1_000_001, Unit::Milliseconds), ttl(1_000_000, Unit::Milliseconds)),
            (1, -2)
        );
        same(Shape::Left(Unit::Milliseconds), ":1000007\r\n", ":7\r\n");
    }

    #[test]
    fn no_answer() {
        for (shape, reply) in [
            (Shape::Pass, &b"-LOADING Redis is loading the dataset in memory\r\n"[..]),
            (Shape::Sorted(Part::Key), b"+OK\r\n"),
            (Shape::Sorted(Part::Key), b"*1\r\n:1\r\n"),
            (Shape::Sorted(Part::Both), b"*1\r\n$1\r\na\r\n"),
            (Shape::Page(Part::Key), b"*2\r\n$1\r\n7\r\n*0\r\n"),
            (Shape::Left(Unit::Seconds), b"$1\r\n7\r\n"),
            (Shape::Pass, b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"),
            (Shape::Pass, b"%1\r\n"),
        ] {
            assert_eq!(shaped(shape, reply, 1000, 10_000), Err(NoAnswer), "{reply:?}");
        }
    }
}
