//! Reads one statement, token by token, and judges it.

use super::lexer::{NAME_BYTES, Token};
use super::profile::{Effect, Refusal, Statement, hash};
use super::words::{self, has};

/// Parentheses within parentheses, at most.
const DEPTH_MAX: usize = 64;

/// What a statement begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lead {
    Read,
    With,
    Change,
    Begin,
    End,
    Set,
    Reset,
    Show,
    Define,
    Alter,
    Prepare,
    Execute,
    Deallocate,
    Discard,
    Other,
}

fn lead(word: &[u8]) -> Option<Lead> {
    Some(match word {
        b"select" | b"values" | b"table" => Lead::Read,
        b"with" => Lead::With,
        b"insert" | b"update" | b"delete" => Lead::Change,
        b"begin" | b"start" => Lead::Begin,
        b"commit" | b"end" | b"rollback" | b"abort" => Lead::End,
        b"set" => Lead::Set,
        b"reset" => Lead::Reset,
        b"show" => Lead::Show,
        b"create" | b"drop" => Lead::Define,
        b"alter" => Lead::Alter,
        b"prepare" => Lead::Prepare,
        b"execute" => Lead::Execute,
        b"deallocate" => Lead::Deallocate,
        b"discard" => Lead::Discard,
        b"savepoint" | b"release" | b"truncate" | b"grant" | b"revoke" | b"lock" | b"vacuum"
        | b"analyze" | b"comment" => Lead::Other,
        _ => return None,
    })
}

/// What lies between two parentheses, or outside of all.
#[derive(Clone, Copy, Default)]
struct Frame {
    order: bool,
    limit: bool,
    select: bool,
    from: bool,
    insert: bool,
    /// The arguments of an aggregate whose result depends on the order of rows.
    aggregate: bool,
    /// Behind `OVER`.
    over: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Start,
    Word,
    Quoted,
    Literal,
    Value,
    Symbol(u8),
}

/// The token before.
#[derive(Clone, Copy)]
struct Past {
    kind: Kind,
    text: [u8; NAME_BYTES],
    len: usize,
}

impl Past {
    fn text(&self) -> &[u8] {
        &self.text[..self.len]
    }

    fn is(&self, word: &[u8]) -> bool {
        self.kind == Kind::Word && self.text() == word
    }

    fn is_one_of(&self, list: &[&str]) -> bool {
        self.kind == Kind::Word && has(list, self.text())
    }

    fn is_name(&self) -> bool {
        matches!(self.kind, Kind::Word | Kind::Quoted)
    }
}

/// The state of reading.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    lead: Option<Lead>,
    /// Tokens so far.
    count: usize,
    past: Past,
    /// The name that was read last, with all before its dots, is a table's or an alias: it is not called.
    is_named: bool,
    /// Behind `information_schema` and its dot.
    information: bool,
    frames: [Frame; DEPTH_MAX],
    depth: usize,
    /// What is defined, or the parameter, was read, and may be.
    object: bool,
    /// The parameter has one value only.
    fixed: bool,
    index: bool,
    view: bool,
    writes: bool,
    updates: bool,
    any_from: bool,
    sequence: bool,
    window: bool,
    unordered_window: bool,
    /// The statement behind `WITH` has begun.
    within: bool,
    /// It ends a transaction for sure.
    ends: bool,
    name: Option<u64>,
}

impl Reading {
    pub(super) fn new() -> Self {
        Self {
            lead: None,
            count: 0,
            past: Past { kind: Kind::Start, text: [0; NAME_BYTES], len: 0 },
            is_named: false,
            information: false,
            frames: [Frame::default(); DEPTH_MAX],
            depth: 0,
            object: false,
            fixed: false,
            index: false,
            view: false,
            writes: false,
            updates: false,
            any_from: false,
            sequence: false,
            window: false,
            unordered_window: false,
            within: false,
            ends: true,
            name: None,
        }
    }

    pub(super) fn reset(&mut self) {
        *self = Self::new();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The next token, which is no `;`.
    pub(super) fn token(&mut self, token: Token<'_>) -> Result<(), Refusal> {
        let schema = self.past.is_name() && self.past.text() == b"information_schema";
        if schema && token != Token::Symbol(b'.') {
            return Err(Refusal::Name);
        }
        let (kind, text) = match token {
            Token::Bad => return Err(Refusal::Unclear),
            Token::Word(text) => (Kind::Word, text),
            Token::Quoted(text) => (Kind::Quoted, text),
            Token::Literal(text, present) => {
                self.literal(text, present)?;
                (Kind::Literal, text)
            }
            Token::Value => (Kind::Value, &b""[..]),
            Token::Symbol(symbol) => (Kind::Symbol(symbol), &b""[..]),
        };
        match kind {
            Kind::Word if self.lead.is_none() => {
                self.lead = Some(lead(text).ok_or(Refusal::Command)?);
                self.keyword(text)?;
            }
            _ if self.lead.is_none() => return Err(Refusal::Command),
            Kind::Word | Kind::Quoted => self.name(kind, text)?,
            Kind::Symbol(b'(') => self.open()?,
            Kind::Symbol(b')') => self.close()?,
            Kind::Symbol(b'.') => {}
            _ => self.is_named = false,
        }
        self.information = schema;
        self.past.kind = kind;
        self.past.len = text.len();
        if let Some(room) = self.past.text.get_mut(..text.len()) {
            room.copy_from_slice(text);
        }
        self.count += 1;
        Ok(())
    }

    fn literal(&mut self, text: &[u8], present: bool) -> Result<(), Refusal> {
        // Neighbours are one string to PostgreSQL, if a line ends between them.
        if self.past.kind == Kind::Literal {
            return Err(Refusal::Unclear);
        }
        if present {
            return Err(Refusal::Present);
        }
        if self.lead == Some(Lead::Set) {
            let hides = |part: &[u8]| text.windows(part.len()).any(|window| window == part);
            if text.len() == NAME_BYTES || hides(b"pg_") || hides(b"information_schema") {
                return Err(Refusal::Name);
            }
            self.fixed_value(text)?;
        }
        Ok(())
    }

    fn fixed_value(&self, text: &[u8]) -> Result<(), Refusal> {
        let allowed = matches!(text, b"to" | b"on" | b"true" | b"utf8" | b"UTF8" | b"UTF-8");
        if self.fixed && !allowed { Err(Refusal::Parameter) } else { Ok(()) }
    }

    fn name(&mut self, kind: Kind, text: &[u8]) -> Result<(), Refusal> {
        if text.starts_with(b"pg_") || (self.information && !has(words::INFORMATION, text)) {
            return Err(Refusal::Name);
        }
        if has(words::REFUSED, text) {
            let time = text.starts_with(b"current_") || text.starts_with(b"local");
            return Err(if time { Refusal::Present } else { Refusal::Name });
        }
        let dotted = self.past.kind == Kind::Symbol(b'.');
        if !dotted {
            self.is_named = self.past.is_one_of(words::BEFORE_NAME)
                || (self.index && (self.past.is(b"on") || self.past.is(b"using")))
                || (self.in_with_list() && self.past.kind == Kind::Symbol(b','))
                || (matches!(self.lead, Some(Lead::Prepare | Lead::Execute)) && self.count == 1);
        }
        self.by_lead(kind, text)?;
        if kind == Kind::Word && !dotted { self.keyword(text) } else { Ok(()) }
    }

    /// Between `WITH` and the statement itself.
    fn in_with_list(&self) -> bool {
        self.lead == Some(Lead::With) && self.depth == 0 && !self.within
    }

    /// What a name means in a statement that begins so.
    fn by_lead(&mut self, kind: Kind, text: &[u8]) -> Result<(), Refusal> {
        let word = if kind == Kind::Word { text } else { b"" };
        match self.lead {
            Some(Lead::Define | Lead::Alter) if !self.object => {
                self.object = has(words::OBJECTS, word);
                (self.index, self.view) = (word == b"index", word == b"view");
                if !self.object && !has(words::BEFORE_OBJECT, word) {
                    return Err(Refusal::Object);
                }
            }
            Some(Lead::Alter) if matches!(word, b"serial" | b"bigserial" | b"smallserial") => {
                return Err(Refusal::Sequence);
            }
            Some(Lead::Alter) if word == b"identity" => return Err(Refusal::Sequence),
            Some(Lead::Define) if word == b"execute" => return Err(Refusal::Command),
            Some(Lead::End) => {
                self.ends &= matches!(word, b"work" | b"transaction");
            }
            Some(Lead::Set) if self.object => self.fixed_value(text)?,
            Some(Lead::Set) => {
                self.fixed = matches!(text, b"client_encoding" | b"standard_conforming_strings");
                self.object = self.fixed
                    || has(words::SETTABLE, text)
                    || matches!(word, b"time" | b"transaction" | b"characteristics");
                let scope = self.count == 1 && matches!(word, b"session" | b"local");
                if !(self.object || scope) {
                    return Err(Refusal::Parameter);
                }
            }
            Some(Lead::Reset | Lead::Show) if !self.object => {
                let shown = has(words::SHOWN, text) || word == b"transaction";
                self.object = has(words::SETTABLE, text)
                    || word == b"time"
                    || if self.lead == Some(Lead::Show) { shown } else { word == b"all" };
                if !self.object {
                    return Err(Refusal::Parameter);
                }
            }
            Some(Lead::Prepare) if word == b"transaction" && self.count == 1 => {
                return Err(Refusal::Command);
            }
            Some(Lead::Prepare | Lead::Execute) if self.count == 1 => self.name = Some(hash(text)),
            Some(Lead::Deallocate) if self.count > 1 || word != b"prepare" => {
                self.name = (word != b"all").then(|| hash(text));
            }
            _ => {}
        }
        Ok(())
    }

    /// What a keyword means anywhere.
    fn keyword(&mut self, word: &[u8]) -> Result<(), Refusal> {
        let past = &self.past;
        let frame = &mut self.frames[self.depth];
        let begins =
            matches!(word, b"select" | b"values" | b"table" | b"insert" | b"update" | b"delete");
        self.within |= self.depth == 0 && begins;
        match word {
            b"by" if past.is(b"order") => frame.order = true,
            b"limit" | b"offset" | b"fetch" => frame.limit = true,
            b"rows" | b"groups" if frame.over => frame.limit = true,
            b"on" if past.is(b"distinct") => frame.limit = true,
            b"select" => frame.select = true,
            b"from" => (frame.from, self.any_from) = (true, true),
            b"insert" => (frame.insert, self.writes) = (true, true),
            b"update" | b"delete" => {
                self.updates |= !(past.is(b"do") || past.is(b"on") || past.is(b"for"));
                self.writes = true;
            }
            b"for" => self.writes = true,
            b"into" if !past.is(b"insert") => return Err(Refusal::Command),
            _ => {}
        }
        Ok(())
    }

    /// A parenthesis opens: if it is a call, that of a function which may be called.
    fn open(&mut self) -> Result<(), Refusal> {
        let mut frame = Frame { over: self.past.is(b"over"), ..Frame::default() };
        let name = self.past.text();
        let keyword = self.past.is_one_of(words::BEFORE_PARENTHESIS);
        if self.past.is_name() && !self.is_named && !keyword {
            match name {
                b"nextval" | b"setval" => self.sequence = true,
                _ if has(words::FUNCTIONS, name) => {}
                _ if has(words::ORDERED_FUNCTIONS, name) => frame.aggregate = true,
                _ if has(words::WINDOW_FUNCTIONS, name) => self.window = true,
                _ => return Err(Refusal::Function),
            }
        }
        // What is inserted may stand in parentheses, behind the table's name.
        frame.insert = self.is_named && self.frames[self.depth].insert;
        self.is_named = false;
        self.depth += 1;
        *self.frames.get_mut(self.depth).ok_or(Refusal::TooMany)? = frame;
        Ok(())
    }

    fn close(&mut self) -> Result<(), Refusal> {
        self.is_named = false;
        let frame = self.frames[self.depth];
        self.depth = self.depth.checked_sub(1).ok_or(Refusal::Unclear)?;
        self.unordered_window |= frame.over && !frame.order;
        if frame.aggregate && !frame.order {
            return Err(Refusal::Aggregate);
        }
        judge(frame)
    }

    /// The statement ends.
    pub(super) fn finish(&self) -> Result<Statement, Refusal> {
        if self.depth > 0 {
            return Err(Refusal::Unclear);
        }
        if self.past.is_name() && self.past.text() == b"information_schema" {
            return Err(Refusal::Name);
        }
        let outer = self.frames[0];
        judge(outer)?;
        if self.window && self.unordered_window {
            return Err(Refusal::Window);
        }
        let alters = self.lead == Some(Lead::Alter) || self.view;
        if self.sequence && (self.any_from || self.updates || alters) {
            return Err(Refusal::Sequence);
        }
        let effect = match self.lead {
            Some(Lead::Begin) => Effect::Begin,
            Some(Lead::End) if self.ends => Effect::Finish,
            Some(Lead::Set | Lead::Reset | Lead::Show) if !self.object => {
                return Err(Refusal::Parameter);
            }
            Some(Lead::Define | Lead::Alter) if !self.object => return Err(Refusal::Object),
            Some(Lead::Set | Lead::Reset) => Effect::Set,
            Some(Lead::Prepare) => self.name.map_or(Effect::None, Effect::Prepare),
            Some(Lead::Execute) => self.name.map_or(Effect::None, Effect::Execute),
            Some(Lead::Deallocate) => Effect::Deallocate(self.name),
            Some(Lead::Discard) => Effect::Deallocate(None),
            _ => Effect::None,
        };
        Ok(Statement {
            ordered: outer.order || (outer.insert && !outer.select),
            reads: matches!(self.lead, Some(Lead::Read | Lead::With | Lead::Show))
                && !(self.writes || self.sequence),
            effect,
        })
    }
}

/// What must hold between parentheses, and outside of all.
fn judge(frame: Frame) -> Result<(), Refusal> {
    if frame.limit && !frame.order {
        return Err(Refusal::Limit);
    }
    if frame.insert && frame.select && frame.from && !frame.order {
        return Err(Refusal::Insertion);
    }
    Ok(())
}
