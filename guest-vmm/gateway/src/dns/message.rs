//! A reply as a server sent it: checked once, then looked at in place.

use core::cmp::Ordering;
use core::ops::Range;

use super::name::Name;
use super::rdata::Rdata;
use super::wire::{CLASS_IN, HEADER_BYTES, flag, rcode, rtype, u16_at, u32_at};

/// Shortest record: the root as owner, and no data.
pub(super) const RECORD_BYTES_MIN: usize = 11;

/// One of the parts of a message that hold records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Answer,
    Authority,
    Additional,
}

/// One record.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    message: &'a [u8],
    /// Where its owner stands.
    at: usize,
    pub(super) rtype: u16,
    pub(super) class: u16,
    pub(super) ttl: u32,
    pub(super) rdata: Rdata<'a>,
}

impl<'a> Record<'a> {
    /// The record at `at`, of which only the frame is checked.
    fn read(message: &'a [u8], at: usize) -> Option<Self> {
        let fixed = Name::skip(message, at)?;
        let rtype = u16_at(message, fixed)?;
        let start = fixed + 10;
        let end = start + usize::from(u16_at(message, fixed + 8)?);
        if end > message.len() {
            return None;
        }
        Some(Self {
            message,
            at,
            rtype,
            class: u16_at(message, fixed + 2)?,
            ttl: u32_at(message, fixed + 4)?,
            rdata: Rdata { message, start, end, rtype },
        })
    }

    pub(super) fn owner(&self) -> Option<Name> {
        Some(Name::read(self.message, self.at)?.0)
    }

    /// Whether it is of this type, and belongs to this name.
    pub(super) fn is(&self, owner: &Name, rtype: u16) -> bool {
        self.rtype == rtype && self.class == CLASS_IN && self.owner().is_some_and(|o| o == *owner)
    }

    /// For a signature: the type of what is signed (RFC 4034 section 3.1.1).
    pub(super) fn covers(&self) -> Option<u16> {
        u16_at(self.rdata.raw(), 0)
    }
}

/// A reply that is well-formed.
pub(super) struct Message<'a> {
    bytes: &'a [u8],
    pub(super) flags: u16,
    /// With the upper bits that `OPT` has.
    pub(super) rcode: u16,
    records: &'a [u16],
    answers: usize,
    authorities: usize,
}

/// Whether a message answers the query with this id and question. Servers that understand nothing of a query may
/// leave out the question.
pub(super) fn is_answer(bytes: &[u8], id: u16, question: &Name, qtype: u16) -> bool {
    let head = |at| u16_at(bytes, at);
    let (Some(flags), Some(questions)) = (head(2), head(4)) else { return false };
    let is_reply = flags & (flag::RESPONSE | flag::OPERATION) == flag::RESPONSE;
    let same_question = || {
        let (name, next) = Name::read(bytes, HEADER_BYTES)?;
        Some(name == *question && head(next)? == qtype && head(next + 2)? == CLASS_IN)
    };
    let asked = match questions {
        0 => flags & 0xf != rcode::NOERROR,
        1 => same_question() == Some(true),
        _ => false,
    };
    is_reply && head(0) == Some(id) && asked
}

impl<'a> Message<'a> {
    /// Checks the reply and notes in `index` where its records are. `None` if it is malformed: cut off, with names
    /// that are none, with something behind its end, with two `OPT`.
    pub(super) fn read(bytes: &'a [u8], index: &'a mut [u16]) -> Option<Self> {
        let count = |at| u16_at(bytes, at).map(usize::from);
        let (questions, answers, authorities) = (count(4)?, count(6)?, count(8)?);
        let all = answers + authorities + count(10)?;
        let mut at = HEADER_BYTES;
        for _ in 0..questions {
            at = Name::read(bytes, at)?.1 + 4;
        }
        let index = index.get_mut(..all)?;
        let mut opt = None;
        for (number, entry) in index.iter_mut().enumerate() {
            let record = Record::read(bytes, at)?;
            record.owner()?;
            if record.rtype == rtype::OPT {
                if number < answers + authorities || opt.is_some() {
                    return None;
                }
                opt = Some(record);
            } else if !record.rdata.is_valid() {
                return None;
            }
            *entry = u16::try_from(at).ok()?;
            at = record.rdata.end;
        }
        if at != bytes.len() {
            return None;
        }
        let flags = u16_at(bytes, 2)?;
        let upper = opt.map_or(0, |opt| (opt.ttl >> 24) as u16);
        let rcode = upper << 4 | flags & 0xf;
        Some(Self { bytes, flags, rcode, records: index, answers, authorities })
    }

    pub(super) fn is(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// The record that the index says is at `at`.
    pub(super) fn record(&self, at: u16) -> Option<Record<'a>> {
        Record::read(self.bytes, at.into())
    }

    fn range(&self, section: Section) -> Range<usize> {
        let (answers, authorities) = (self.answers, self.answers + self.authorities);
        match section {
            Section::Answer => 0..answers,
            Section::Authority => answers..authorities,
            Section::Additional => authorities..self.records.len(),
        }
    }

    /// The records of a section, as the server ordered them.
    pub(super) fn records(&self, section: Section) -> impl Iterator<Item = Record<'a>> {
        let places = self.records.get(self.range(section)).unwrap_or(&[]);
        places.iter().filter_map(|&at| self.record(at))
    }

    /// Puts those records of a section that `wanted` chooses into `set`, ordered by their data, each once, and returns
    /// how many there are.
    pub(super) fn select(
        &self,
        section: Section,
        set: &mut [u16],
        mut wanted: impl FnMut(&Record<'a>) -> bool,
    ) -> usize {
        let mut len = 0;
        for record in self.records(section).filter(|record| wanted(record)) {
            let Some(place) = set.get_mut(len) else { break };
            *place = record.at as u16;
            len += 1;
        }
        let chosen = set.get_mut(..len).unwrap_or(&mut []);
        chosen.sort_unstable_by(|&a, &b| self.compare(a, b));
        let mut kept = 0;
        for next in 0..len {
            let same = kept > 0 && self.compare(set[kept - 1], set[next]) == Ordering::Equal;
            if !same {
                set[kept] = set[next];
                kept += 1;
            }
        }
        kept
    }

    fn compare(&self, a: u16, b: u16) -> Ordering {
        match (self.record(a), self.record(b)) {
            (Some(a), Some(b)) => a.rdata.canonical().cmp(b.rdata.canonical()),
            _ => Ordering::Equal,
        }
    }
}
