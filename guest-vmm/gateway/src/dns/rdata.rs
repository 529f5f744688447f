//! What a record's data consists of, as far as names stand in it: they are compared and written in lower
//! case and without the server's compression. Types that are not listed are bytes (RFC 3597).

use super::name::Name;
use super::wire::{Writer, u16_at};

/// A part of a record's data.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Name,
    Bytes(usize),
    /// A length and so many bytes.
    Text,
    /// All that is left.
    Rest,
}

use Field::{Bytes, Name as Domain, Rest, Text};

/// The parts of the data of a type: RFC 1035 section 3.3, RFC 1183, 2163, 2230, 2535, 2782, 3403, 4034, 6672, 9460.
fn fields(rtype: u16) -> &'static [Field] {
    match rtype {
        // NS, MD, MF, CNAME, MB, MG, MR, PTR, DNAME
        2..=5 | 7..=9 | 12 | 39 => &[Domain],
        // SOA
        6 => &[Domain, Domain, Bytes(20)],
        // MINFO, RP
        14 | 17 => &[Domain, Domain],
        // MX, AFSDB, RT, KX
        15 | 18 | 21 | 36 => &[Bytes(2), Domain],
        // SIG, RRSIG
        24 | 46 => &[Bytes(18), Domain, Rest],
        // PX
        26 => &[Bytes(2), Domain, Domain],
        // NXT, NSEC
        30 | 47 => &[Domain, Rest],
        // SRV
        33 => &[Bytes(6), Domain],
        // NAPTR
        35 => &[Bytes(4), Text, Text, Text, Domain],
        // SVCB, HTTPS
        64 | 65 => &[Bytes(2), Domain, Rest],
        _ => &[Rest],
    }
}

/// Whether names in the data may be compressed: those of RFC 1035 only (RFC 3597 section 4). Of them the ones
/// that are in use: NS, CNAME, SOA, PTR, MX.
fn is_compressible(rtype: u16) -> bool {
    matches!(rtype, 2 | 5 | 6 | 12 | 15)
}

/// Whether the data of an `OPT` record is a sequence of whole options (RFC 6891 section 6.1.2).
pub(super) fn is_options(mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let Some(len) = u16_at(bytes, 2) else { return false };
        let Some(rest) = bytes.get(4 + usize::from(len)..) else { return false };
        bytes = rest;
    }
    true
}

/// The data of one record of a message.
#[derive(Clone, Copy)]
pub(super) struct Rdata<'a> {
    pub(super) message: &'a [u8],
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) rtype: u16,
}

#[expect(clippy::large_enum_variant, reason = "one at a time, and there is no heap to put it on")]
enum Part<'a> {
    Name(Name),
    Bytes(&'a [u8]),
}

impl Part<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Part::Name(name) => name.bytes(),
            Part::Bytes(bytes) => bytes,
        }
    }
}

impl<'a> Rdata<'a> {
    /// Its bytes as they came.
    pub(super) fn raw(&self) -> &'a [u8] {
        self.message.get(self.start..self.end).unwrap_or(&[])
    }

    fn parts(self) -> Parts<'a> {
        Parts { rdata: self, at: self.start, fields: fields(self.rtype) }
    }

    /// Whether it is whole: all parts are there, and nothing else.
    pub(super) fn is_valid(self) -> bool {
        let mut parts = self.parts();
        while parts.next().is_some() {}
        parts.fields.is_empty() && parts.at == self.end
    }

    /// Its bytes with all names in lower case and without compression.
    pub(super) fn canonical(self) -> impl Iterator<Item = u8> + 'a {
        let mut parts = self.parts();
        let (mut part, mut at) = (Part::Bytes(&[]), 0);
        core::iter::from_fn(move || {
            loop {
                if let Some(&byte) = part.bytes().get(at) {
                    at += 1;
                    return Some(byte);
                }
                (part, at) = (parts.next()?, 0);
            }
        })
    }

    /// The first name in it.
    pub(super) fn name(self) -> Option<Name> {
        self.parts().find_map(|part| match part {
            Part::Name(name) => Some(name),
            Part::Bytes(_) => None,
        })
    }

    /// Writes its length and its canonical bytes.
    pub(super) fn write(self, writer: &mut Writer<'_>) {
        let at = writer.len();
        writer.put_u16(0);
        for part in self.parts() {
            match part {
                Part::Name(name) if is_compressible(self.rtype) => writer.put_compressed(&name),
                part => writer.put(part.bytes()),
            }
        }
        writer.set_u16(at, writer.len().saturating_sub(at + 2));
    }
}

struct Parts<'a> {
    rdata: Rdata<'a>,
    at: usize,
    fields: &'static [Field],
}

impl<'a> Parts<'a> {
    fn read(&self, field: Field) -> Option<(Part<'a>, usize)> {
        let Rdata { message, end, .. } = self.rdata;
        let bytes = |len: usize| {
            let next = self.at + len;
            Some((Part::Bytes(message.get(self.at..next).filter(|_| next <= end)?), next))
        };
        match field {
            Field::Name => {
                let (name, next) = Name::read(message, self.at)?;
                (next <= end).then_some((Part::Name(name), next))
            }
            Field::Bytes(len) => bytes(len),
            Field::Text => bytes(1 + usize::from(*message.get(self.at)?)),
            Field::Rest => bytes(end.checked_sub(self.at)?),
        }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let (field, rest) = self.fields.split_first()?;
        let (part, next) = self.read(*field)?;
        (self.at, self.fields) = (next, rest);
        Some(part)
    }
}
