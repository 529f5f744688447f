//! Reads a replica's messages, and writes them in their one form.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::answers::{NoAnswer, Out, ServerError, parameter_description, row_description};
use super::messages::{Fields, MESSAGES_MAX};
use super::prepare::{Item, Prepared};
use super::profile::{Effect, Refusal};
use super::rows::Rows;
use super::startup::{DEMANDED, TOLD, main_version};

/// Room that writing needs beside a message itself, in bytes.
pub(super) const ROOM: usize = 1024;

/// Why reading stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The request is answered in full.
    Done,
    /// The session is over: the last message says why.
    Over,
    /// More bytes of the replica are needed.
    Starved,
    /// There is no room.
    Full,
}

/// What becomes of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    /// So many bytes of its head were read.
    Head(usize),
    /// So many bytes are to be kept.
    Keep(usize),
    /// So many bytes of a row are to be passed on, or collected.
    Pass(usize),
    Collect(usize),
    /// All of it is there, but nothing was done with it yet.
    Whole,
}

/// The reader of one replica's stream, and what it knows of the session.
pub(super) struct Replies {
    read: Read,
    head: [u8; 5],
    message: Box<[u8]>,
    len: usize,
    rows: Rows,
    /// They are sorted, and being written.
    writing: bool,
    /// Nothing more is passed on until the request is done.
    dropping: bool,
    /// What was asked, and how much of it is answered.
    pub(super) items: Vec<Item>,
    at: usize,
    pub(super) prepared: Prepared,
    starting: bool,
    /// The replica let the session in.
    entered: bool,
    /// Parameters that must be right, and are: a bit mask.
    demanded: u8,
}

impl Replies {
    /// For messages of at most `message_bytes`, and results of at most `sort_bytes` that are sorted.
    pub(super) fn new(message_bytes: usize, sort_bytes: usize) -> Self {
        Self {
            read: Read::Head(0),
            head: [0; 5],
            message: vec![0; message_bytes].into_boxed_slice(),
            len: 0,
            rows: Rows::new(sort_bytes),
            writing: false,
            dropping: false,
            items: Vec::with_capacity(MESSAGES_MAX + 2),
            at: 0,
            prepared: Prepared::new(),
            starting: false,
            entered: false,
            demanded: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        self.read = Read::Head(0);
        self.rows.clear();
        self.ask();
        self.prepared.clear();
        self.starting = false;
    }

    /// Another request is asked, which is put into `items`.
    pub(super) fn ask(&mut self) {
        self.items.clear();
        (self.at, self.writing, self.dropping) = (0, false, false);
    }

    /// A session is begun.
    pub(super) fn start(&mut self) {
        self.ask();
        (self.starting, self.entered, self.demanded) = (true, false, 0);
    }

    fn item(&self) -> Item {
        self.items.get(self.at).copied().unwrap_or(Item::Ready)
    }

    /// The rest of the request is not executed.
    fn skip(&mut self) {
        self.at = self.items.len().saturating_sub(1);
        self.rows.clear();
    }

    /// Reads on. `nonce` is what makes the session's key.
    pub(super) fn run(
        &mut self,
        bytes: &mut &[u8],
        nonce: &[u8; 16],
        out: &mut Out,
    ) -> Result<Stop, NoAnswer> {
        loop {
            match self.read {
                Read::Head(have) => {
                    let Some((byte, rest)) = bytes.split_first() else { return Ok(Stop::Starved) };
                    if have == 4 && out.room() < ROOM {
                        return Ok(Stop::Full);
                    }
                    *bytes = rest;
                    self.head[have] = *byte;
                    self.read = if have == 4 { self.begin(out)? } else { Read::Head(have + 1) };
                }
                Read::Keep(left) => {
                    let taken = take(bytes, left);
                    let room = self.message.get_mut(self.len..self.len + taken.len());
                    room.ok_or(NoAnswer)?.copy_from_slice(taken);
                    self.len += taken.len();
                    match left - taken.len() {
                        0 => self.read = Read::Whole,
                        left if bytes.is_empty() => {
                            self.read = Read::Keep(left);
                            return Ok(Stop::Starved);
                        }
                        left => self.read = Read::Keep(left),
                    }
                }
                Read::Pass(0) | Read::Collect(0) => self.read = Read::Head(0),
                Read::Pass(left) => {
                    if out.room() == 0 {
                        return Ok(Stop::Full);
                    }
                    let taken = take(bytes, left.min(out.room()));
                    if taken.is_empty() {
                        return Ok(Stop::Starved);
                    }
                    out.put(taken);
                    self.read = Read::Pass(left - taken.len());
                }
                Read::Collect(left) => {
                    let taken = take(bytes, left);
                    if taken.is_empty() {
                        return Ok(Stop::Starved);
                    }
                    self.rows.push(taken);
                    self.read = Read::Collect(left - taken.len());
                }
                Read::Whole => {
                    if out.room() < self.len + ROOM {
                        return Ok(Stop::Full);
                    }
                    let message = core::mem::take(&mut self.message);
                    let body = message.get(..self.len).unwrap_or(&[]);
                    let stop = match self.starting {
                        true => self.starts(body, nonce, out),
                        false => self.answers(body, out),
                    };
                    self.message = message;
                    match stop? {
                        Some(Stop::Full) => return Ok(Stop::Full),
                        stop => {
                            self.read = Read::Head(0);
                            if let Some(stop) = stop {
                                return Ok(stop);
                            }
                        }
                    }
                }
            }
        }
    }

    /// The head of a message was read.
    fn begin(&mut self, out: &mut Out) -> Result<Read, NoAnswer> {
        let [kind, len @ ..] = self.head;
        let len = (u32::from_be_bytes(len) as usize).checked_sub(4).ok_or(NoAnswer)?;
        if kind == b'D' {
            if !matches!(self.item(), Item::Simple(_) | Item::Execute) || len > i32::MAX as usize {
                return Err(NoAnswer);
            }
            if self.is_passing() {
                out.head(b'D', len);
                return Ok(Read::Pass(len));
            }
            self.rows.begin(len);
            return Ok(Read::Collect(len));
        }
        if len > self.message.len() {
            return Err(NoAnswer);
        }
        self.len = 0;
        Ok(if len == 0 { Read::Whole } else { Read::Keep(len) })
    }

    /// Whether the order of the rows that come means something.
    fn is_passing(&self) -> bool {
        let statement = match self.item() {
            Item::Simple(statement) => statement,
            _ => self.prepared.portal(),
        };
        match statement.effect {
            Effect::Execute(name) => self.prepared.find(name).ordered,
            _ => statement.ordered,
        }
    }

    /// A message at the start of the session.
    fn starts(
        &mut self,
        body: &[u8],
        nonce: &[u8; 16],
        out: &mut Out,
    ) -> Result<Option<Stop>, NoAnswer> {
        match self.head[0] {
            b'R' if body == [0; 4] => self.entered = true,
            b'S' if self.entered => self.parameter(body)?,
            b'K' | b'N' => {}
            b'E' => {
                let error = ServerError::read(body)?;
                if error.is_private() {
                    return Err(NoAnswer);
                }
                error.write(out);
                return Ok(Some(Stop::Over));
            }
            b'Z' if self.entered && self.demanded == (1 << DEMANDED.len()) - 1 => {
                if self.rows.is_over() {
                    return Err(NoAnswer);
                }
                out.message(b'R', &[0; 4]);
                self.rows.sort();
                if !self.rows.write(b'S', out) {
                    return Err(NoAnswer);
                }
                self.rows.clear();
                // A number of a process, which is positive, and a key that cancels nothing.
                out.head(b'K', 8);
                out.put(&[nonce[0] & 0x7f]);
                out.put(&nonce[1..8]);
                out.message(b'Z', b"I");
                self.starting = false;
                return Ok(Some(Stop::Done));
            }
            _ => return Err(NoAnswer),
        }
        Ok(None)
    }

    /// The replica says what one of its parameters is.
    fn parameter(&mut self, body: &[u8]) -> Result<(), NoAnswer> {
        let mut fields = Fields(body);
        let (name, value) = fields.string().zip(fields.string()).ok_or(NoAnswer)?;
        if let Some(at) = DEMANDED.iter().position(|(known, _)| *known == name) {
            if DEMANDED[at].1 != value {
                return Err(NoAnswer);
            }
            self.demanded |= 1 << at;
        } else if name == b"server_version" {
            let version = main_version(value);
            self.rows.begin(name.len() + version.len() + 4);
            self.rows.push(b"server_version\0");
            self.rows.push(version);
            self.rows.push(b".0\0");
            return Ok(());
        } else if !TOLD.contains(&name) {
            return Ok(());
        }
        self.rows.begin(body.len());
        self.rows.push(body);
        // All of them fit into the room that there always is.
        if body.len() > 128 { Err(NoAnswer) } else { Ok(()) }
    }

    /// A message that answers the request, or nothing to speak of.
    fn answers(&mut self, body: &[u8], out: &mut Out) -> Result<Option<Stop>, NoAnswer> {
        let next = match (self.head[0], self.item()) {
            (b'N' | b'S' | b'A', _) => return Ok(None),
            (b'1' | b'2' | b'3' | b'T' | b't' | b'n', _) if self.dropping => return Ok(None),
            (b'E', Item::Ready) => return Err(NoAnswer),
            (b'E', item) => {
                let error = ServerError::read(body)?;
                if error.is_private() || error.is_fatal() {
                    return Err(NoAnswer);
                }
                match item {
                    Item::Refused(refusal) => refused(refusal, out),
                    _ => error.write(out),
                }
                self.skip();
                return Ok(None);
            }
            (b'T', Item::Simple(_)) => {
                row_description(body, out)?;
                false
            }
            (b't', Item::DescribeStatement) => {
                parameter_description(body, out)?;
                false
            }
            (b'T', Item::DescribeStatement | Item::DescribePortal) => {
                row_description(body, out)?;
                true
            }
            (b'C', Item::Simple(_) | Item::Execute) => return self.complete(body, out),
            (b'I', Item::Execute) => true,
            // Only a `Query` without statements.
            (b'I', Item::Ready) if self.at == 0 => {
                out.message(b'I', b"");
                return Ok(None);
            }
            (b'n', Item::DescribeStatement | Item::DescribePortal) => true,
            (b'1', Item::Parse(name, statement)) => {
                self.prepared.parsed(name, statement);
                true
            }
            (b'2', Item::Bind(name)) => {
                self.prepared.bound(name);
                true
            }
            (b'3', Item::Close(name)) => {
                if name.is_some() {
                    self.prepared.forgotten(name);
                }
                true
            }
            (b'Z', Item::Ready) if matches!(body, [b'I' | b'T' | b'E']) => {
                out.message(b'Z', body);
                return Ok(Some(Stop::Done));
            }
            _ => return Err(NoAnswer),
        };
        if matches!(self.head[0], b'I' | b'n' | b'1' | b'2' | b'3') {
            out.message(self.head[0], b"");
        }
        self.at += usize::from(next);
        Ok(None)
    }

    /// A statement is executed: its rows, if they had to be sorted, and that it is done.
    fn complete(&mut self, body: &[u8], out: &mut Out) -> Result<Option<Stop>, NoAnswer> {
        if self.rows.is_over() {
            return Ok(self.too_long(out));
        }
        if !self.writing {
            self.rows.sort();
            self.writing = true;
        }
        if !self.rows.write(b'D', out) || out.room() < body.len() + ROOM {
            return Ok(Some(Stop::Full));
        }
        self.rows.clear();
        self.writing = false;
        let statement = match self.item() {
            Item::Simple(statement) => statement,
            _ => self.prepared.portal(),
        };
        match statement.effect {
            Effect::Prepare(name) => self.prepared.parsed(Some(name), statement),
            Effect::Deallocate(name) => self.prepared.forgotten(name),
            _ => {}
        }
        out.message(b'C', body);
        self.at += 1;
        Ok(None)
    }

    /// There was no room for all rows that had to be sorted. If nothing but reading them was asked for, that is an error
    /// as any other. Otherwise the rest has been executed, so the session must end.
    fn too_long(&mut self, out: &mut Out) -> Option<Stop> {
        let reads = |item: &Item| match item {
            Item::Simple(statement) | Item::Parse(_, statement) => statement.reads,
            _ => true,
        };
        let portal = self.item() != Item::Execute || self.prepared.portal().reads;
        let results = |item: &&Item| matches!(item, Item::Simple(_) | Item::Execute);
        let alone = self.items.iter().filter(results).count() == 1;
        let harmless = alone && portal && self.items.iter().all(reads);
        let severity = if harmless { "ERROR" } else { "FATAL" };
        out.error(severity, "54000", "result too long to be sorted; use ORDER BY");
        self.skip();
        self.dropping = true;
        (!harmless).then_some(Stop::Over)
    }
}

fn refused(refusal: Refusal, out: &mut Out) {
    let code = if refusal == Refusal::Unclear { "42601" } else { "0A000" };
    out.error("ERROR", code, refusal.text());
}

/// The first `most` bytes, or all.
fn take<'b>(bytes: &mut &'b [u8], most: usize) -> &'b [u8] {
    let (taken, rest) = bytes.split_at(most.min(bytes.len()));
    *bytes = rest;
    taken
}
