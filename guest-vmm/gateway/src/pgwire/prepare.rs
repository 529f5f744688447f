//! What a request asks of a replica, message by message, and what is expected for each.

use alloc::vec::Vec;

use super::answers::OWN_OID;
use super::messages::{Fields, MESSAGES_MAX, messages};
use super::moment::is_moment;
use super::profile::{Checker, Effect, Refusal, Statement, hash};

/// Prepared statements of a session, at most.
pub(super) const PREPARED_MAX: usize = 512;

/// What the replica is to answer next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A statement of a `Query`.
    Simple(Statement),
    /// An error, in whose place this one is said.
    Refused(Refusal),
    /// A statement is prepared, under this name if it has one.
    Parse(Option<u64>, Statement),
    /// It becomes what is executed next.
    Bind(Option<u64>),
    DescribeStatement,
    DescribePortal,
    Execute,
    /// A statement, or the unnamed portal, is forgotten.
    Close(Option<u64>),
    /// The request is done.
    Ready,
}

/// What is known of the prepared statements of a session.
pub(super) struct Prepared {
    named: Vec<(u64, Statement)>,
    unnamed: Statement,
    /// The statement that is bound to the unnamed portal.
    portal: Statement,
}

impl Prepared {
    pub(super) fn new() -> Self {
        let none = Statement::default();
        Self { named: Vec::with_capacity(PREPARED_MAX), unnamed: none, portal: none }
    }

    pub(super) fn clear(&mut self) {
        self.named.clear();
    }

    pub(super) fn find(&self, name: u64) -> Statement {
        let found = self.named.iter().find(|(known, _)| *known == name);
        found.map(|(_, statement)| *statement).unwrap_or_default()
    }

    pub(super) fn portal(&self) -> Statement {
        self.portal
    }

    /// The replica has prepared a statement.
    pub(super) fn parsed(&mut self, name: Option<u64>, statement: Statement) {
        let Some(name) = name else {
            self.unnamed = statement;
            return;
        };
        self.named.retain(|(known, _)| *known != name);
        if self.named.len() < PREPARED_MAX {
            self.named.push((name, statement));
        }
    }

    pub(super) fn bound(&mut self, name: Option<u64>) {
        self.portal = name.map_or(self.unnamed, |name| self.find(name));
    }

    /// The replica has forgotten one, or all.
    pub(super) fn forgotten(&mut self, name: Option<u64>) {
        self.named.retain(|(known, _)| name.is_some_and(|name| name != *known));
    }

    /// Makes `items` what a `Query` with this body asks for.
    pub(super) fn query(
        &self,
        body: &[u8],
        checker: &mut Checker,
        items: &mut Vec<Item>,
    ) -> Result<(), Refusal> {
        let (0, sql) = body.split_last().map(|(last, sql)| (*last, sql)).ok_or(Refusal::Unclear)?
        else {
            return Err(Refusal::Unclear);
        };
        let mut prepares = 0;
        for statement in checker.check(sql)? {
            prepares += usize::from(matches!(statement.effect, Effect::Prepare(_)));
            items.push(Item::Simple(*statement));
        }
        self.has_room_for(prepares)?;
        items.push(Item::Ready);
        Ok(())
    }

    fn has_room_for(&self, statements: usize) -> Result<(), Refusal> {
        match statements > 0 && self.named.len() + statements > PREPARED_MAX {
            true => Err(Refusal::TooManyPrepared),
            false => Ok(()),
        }
    }

    /// Makes `items` what the messages up to a `Sync` ask for.
    pub(super) fn extended(
        &self,
        request: &[u8],
        checker: &mut Checker,
        items: &mut Vec<Item>,
    ) -> Result<(), Refusal> {
        let mut known = Known { parsed: false, bound: false, prepares: 0 };
        for (kind, body) in messages(request) {
            let mut fields = Fields(body);
            let item = known.item(kind, &mut fields, checker)?;
            if !fields.0.is_empty() || items.len() > MESSAGES_MAX {
                return Err(Refusal::Unclear);
            }
            items.push(item);
        }
        self.has_room_for(known.prepares)
    }
}

/// What came before in the same request.
struct Known {
    parsed: bool,
    bound: bool,
    prepares: usize,
}

impl Known {
    fn item(
        &mut self,
        kind: u8,
        fields: &mut Fields<'_>,
        checker: &mut Checker,
    ) -> Result<Item, Refusal> {
        match kind {
            b'P' => self.parse(fields, checker),
            b'B' => self.bind(fields).unwrap_or(Err(Refusal::Unclear)),
            b'E' => {
                let portal = fields.string().zip(fields.long()).ok_or(Refusal::Unclear)?;
                if portal != (b"", 0) {
                    return Err(Refusal::Portal);
                }
                if self.bound { Ok(Item::Execute) } else { Err(Refusal::Unprepared) }
            }
            b'D' | b'C' => {
                let (what, name) = fields.byte().zip(fields.string()).ok_or(Refusal::Unclear)?;
                let statement = match what {
                    b'S' => true,
                    b'P' if name.is_empty() => false,
                    b'P' => return Err(Refusal::Portal),
                    _ => return Err(Refusal::Unclear),
                };
                let known = if statement { self.parsed || !name.is_empty() } else { self.bound };
                match (kind, statement) {
                    (b'C', true) => Ok(Item::Close(named(name))),
                    (b'C', false) => {
                        self.bound = false;
                        Ok(Item::Close(None))
                    }
                    _ if !known => Err(Refusal::Unprepared),
                    (_, true) => Ok(Item::DescribeStatement),
                    (_, false) => Ok(Item::DescribePortal),
                }
            }
            b'S' => Ok(Item::Ready),
            _ => Err(Refusal::Unclear),
        }
    }

    fn parse(&mut self, fields: &mut Fields<'_>, checker: &mut Checker) -> Result<Item, Refusal> {
        let (name, sql) = fields.string().zip(fields.string()).ok_or(Refusal::Unclear)?;
        for _ in 0..fields.short().ok_or(Refusal::Unclear)? {
            if fields.long().ok_or(Refusal::Unclear)? >= OWN_OID {
                return Err(Refusal::OwnType);
            }
        }
        let statement = match checker.check(sql)? {
            [] => Statement::default(),
            [statement] => *statement,
            _ => return Err(Refusal::TooMany),
        };
        self.prepares += usize::from(!name.is_empty());
        self.prepares += usize::from(matches!(statement.effect, Effect::Prepare(_)));
        self.parsed |= name.is_empty();
        Ok(Item::Parse(named(name), statement))
    }

    /// `None`: it cannot be read.
    fn bind(&mut self, fields: &mut Fields<'_>) -> Option<Result<Item, Refusal>> {
        let (portal, name) = fields.string().zip(fields.string())?;
        formats(fields)?;
        let mut present = false;
        for _ in 0..fields.short()? {
            let len = fields.long()?;
            if len != u32::MAX {
                present |= is_moment(fields.take(len as usize)?);
            }
        }
        formats(fields)?;
        if !portal.is_empty() {
            return Some(Err(Refusal::Portal));
        }
        if present {
            return Some(Err(Refusal::Present));
        }
        if name.is_empty() && !self.parsed {
            return Some(Err(Refusal::Unprepared));
        }
        self.bound = true;
        Some(Ok(Item::Bind(named(name))))
    }
}

fn named(name: &[u8]) -> Option<u64> {
    (!name.is_empty()).then(|| hash(name))
}

/// Codes of formats: text or binary.
fn formats(fields: &mut Fields<'_>) -> Option<()> {
    for _ in 0..fields.short()? {
        fields.short().filter(|code| *code < 2)?;
    }
    Some(())
}
