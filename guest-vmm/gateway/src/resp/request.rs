//! What becomes of a request that has come whole: it is forwarded, perhaps in other words, or answered here.

use super::answers::{self, Answer, NOT_A_NUMBER, Refusal};
use super::arguments::Arguments;
use super::commands::{self, Action, Command, Unit};
use super::gather::Part;
use super::out::{Out, number};
use super::replies::Shape;
use super::rewrite::Piece;
use super::{Pending, QUEUED_MAX, Resp, Transaction};

/// Databases of a server, unless configured otherwise.
pub(super) const DATABASES: i64 = 16;

impl Resp {
    /// Does what `request` asks for.
    pub(super) fn dispatch(&mut self, request: &[u8], clock_ms: u64) {
        let heading = *self.scanner.heading();
        if heading.argc == 0 {
            return;
        }
        let Some(command) = commands::find(heading.name.bytes()) else {
            return self.answer(Answer::Unknown(heading.name), clock_ms);
        };
        if !command.takes(heading.argc) {
            return self.answer(Answer::Arity(command.name), clock_ms);
        }
        let asked = Asked { command, request, argc: heading.argc, clock_ms };
        let words = || asked.words().skip(1);
        match command.action {
            Action::Select => self.select(asked),
            Action::Multi => self.multi(asked),
            Action::Exec => self.exec(clock_ms),
            Action::Discard | Action::Reset => self.discard(asked),
            Action::Watch => self.watch(asked),
            Action::Quit => self.last(Answer::Ok, clock_ms),
            Action::Refuse(why) => self.answer(Answer::Refused(command.name, why), clock_ms),
            Action::Auth => self.say(asked, answers::auth(heading.argc - 1)),
            Action::Hello => self.say(asked, answers::hello(words())),
            Action::Client => self.say(asked, answers::client(heading.second.bytes())),
            Action::Config => self.say(asked, answers::config(words())),
            Action::Command => self.say(asked, answers::command(heading.second.bytes())),
            Action::Answer(answer) => self.say(asked, answer),
            _ if self.queued.len() >= QUEUED_MAX => {
                self.answer(Answer::Error("ERR too many commands in a transaction"), clock_ms);
            }
            Action::Unwatch => {
                self.watching &= self.transaction.is_some();
                self.forward(asked, Shape::Pass);
            }
            Action::Pass => self.forward(asked, Shape::Pass),
            Action::Sort => self.forward(asked, Shape::Sorted(Part::Key)),
            Action::SortPairs => self.forward(asked, Shape::Sorted(Part::Both)),
            Action::Values => self.ask(asked, b"HGETALL", Shape::Sorted(Part::Value)),
            Action::Count => self.rewrite(asked, Shape::Count, |put| {
                put(Piece::Text(b"KEYS"));
                put(Piece::Text(b"*"));
            }),
            Action::Left(unit) => self.ask(asked, b"PEXPIRETIME", Shape::Left(unit)),
            Action::Scan { cursor, pairs } => self.walk(asked, cursor, pairs),
            Action::Arrange => self.arrange(asked),
            Action::Expire(unit) => self.expire(asked, unit, clock_ms),
            Action::ExpireAt => self.expire(asked, Unit::Seconds, 0),
            Action::SetExpiring(unit) => self.set_expiring(asked, unit),
            Action::Set { options } => self.set(asked, options),
            Action::AddToStream => self.add_to_stream(asked),
            Action::TrimStream => self.trim_stream(asked),
            Action::ReadStream => self.read_stream(asked),
        }
    }

    /// Answers a command, if that is possible now.
    fn say(&mut self, asked: Asked<'_>, answer: Answer) {
        if self.transaction.is_some() {
            let refused = Answer::Refused(asked.command.name, Refusal::Transaction);
            return self.answer(refused, asked.clock_ms);
        }
        self.answer(answer, asked.clock_ms);
    }

    /// Answers without asking the replica.
    pub(super) fn answer(&mut self, answer: Answer, clock_ms: u64) {
        if let Some(transaction) = &mut self.transaction {
            transaction.failed |= answer.is_error();
        }
        self.pending.push_back(Pending::Answer { answer, clock_ms });
    }

    /// The same, and no more requests are taken.
    pub(super) fn last(&mut self, answer: Answer, clock_ms: u64) {
        self.answer(answer, clock_ms);
        self.pending.push_back(Pending::Close);
        self.closing = true;
    }

    /// A request was written to the replica: its reply is to become this.
    pub(super) fn expect(&mut self, shape: Shape, clock_ms: u64) {
        let shape = match &mut self.transaction {
            None => shape,
            Some(transaction) => {
                transaction.count += 1;
                self.queued.push_back(shape);
                Shape::Pass
            }
        };
        self.pending.push_back(Pending::Reply { shape, clock_ms });
    }

    /// Forwards the request as it is.
    pub(super) fn forward(&mut self, asked: Asked<'_>, shape: Shape) {
        asked.write(&mut self.to_server);
        self.expect(shape, asked.clock_ms);
    }

    /// Forwards a command about the connection, whose reply is no command's of a transaction.
    fn forward_aside(&mut self, asked: Asked<'_>) {
        asked.write(&mut self.to_server);
        self.pending.push_back(Pending::Reply { shape: Shape::Pass, clock_ms: asked.clock_ms });
    }

    fn select(&mut self, asked: Asked<'_>) {
        if self.transaction.is_some() {
            return self.say(asked, Answer::Ok);
        }
        match asked.words().nth(1).and_then(number) {
            None => self.answer(NOT_A_NUMBER, asked.clock_ms),
            Some(database @ 0..DATABASES) => {
                self.database = database;
                self.forward_aside(asked);
            }
            Some(_) => self.answer(Answer::Error("ERR DB index is out of range"), asked.clock_ms),
        }
    }

    fn multi(&mut self, asked: Asked<'_>) {
        if self.transaction.is_some() {
            let answer = Answer::Error("ERR MULTI calls can not be nested");
            return self.pending.push_back(Pending::Answer { answer, clock_ms: asked.clock_ms });
        }
        self.forward_aside(asked);
        self.transaction = Some(Transaction::default());
    }

    fn watch(&mut self, asked: Asked<'_>) {
        if self.transaction.is_some() {
            let answer = Answer::Error("ERR WATCH inside MULTI is not allowed");
            return self.pending.push_back(Pending::Answer { answer, clock_ms: asked.clock_ms });
        }
        if self.exported {
            let refused = Answer::Refused(asked.command.name, Refusal::Exported);
            return self.answer(refused, asked.clock_ms);
        }
        self.forward_aside(asked);
        self.watching = true;
    }

    fn exec(&mut self, clock_ms: u64) {
        let Some(Transaction { count, failed }) = self.transaction.take() else {
            return self.answer(Answer::Error("ERR EXEC without MULTI"), clock_ms);
        };
        self.watching = false;
        if failed {
            self.to_server.put(b"*1\r\n$7\r\nDISCARD\r\n");
            self.pending.push_back(Pending::Aborted { count });
        } else {
            self.to_server.put(b"*1\r\n$4\r\nEXEC\r\n");
            self.pending.push_back(Pending::Exec { count, clock_ms });
        }
    }

    /// `DISCARD`, and `RESET`.
    fn discard(&mut self, asked: Asked<'_>) {
        let resets = asked.command.action == Action::Reset;
        let count = match self.transaction.take() {
            Some(transaction) => transaction.count,
            None if resets => 0,
            None => {
                return self.answer(Answer::Error("ERR DISCARD without MULTI"), asked.clock_ms);
            }
        };
        self.watching = false;
        if resets {
            self.database = 0;
        }
        self.forward_aside(asked);
        self.pending.push_back(Pending::Forget { count });
    }
}

/// A request and what is known of it.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) command: &'static Command,
    request: &'a [u8],
    argc: usize,
    pub(super) clock_ms: u64,
}

impl<'a> Asked<'a> {
    pub(super) fn words(&self) -> Arguments<'a> {
        Arguments::of(self.request)
    }

    /// Writes it as an array, which is how it came unless it was a line.
    fn write(&self, out: &mut Out) {
        let words = self.words();
        if !words.are_inline() {
            return out.put(self.request);
        }
        out.put_array(self.argc);
        words.for_each(|word| out.put_bulk(word));
    }
}
