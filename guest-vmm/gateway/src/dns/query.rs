//! The client's query: read strictly, refused if servers could read it in several ways, and written anew for the
//! server.

use super::name::Name;
use super::rdata;
use super::wire::{
    CLASS_IN, HEADER_BYTES, MESSAGE_BYTES_MAX, OPT_BYTES, Writer, flag, rcode, rtype, u16_at,
    u32_at,
};

/// Longest query. The longest that makes sense has 12 + 259 bytes and its `OPT` record.
pub(super) const QUERY_BYTES_MAX: usize = 4096;
/// Longest query as it goes to a server, with the length before it.
pub(super) const FORWARDED_BYTES_MAX: usize =
    2 + HEADER_BYTES + super::name::NAME_BYTES_MAX + 4 + OPT_BYTES;
/// Longest reply over UDP: what is sent whole on nearly every path, and what servers send by default.
pub(super) const UDP_BYTES: u16 = 1232;
/// Longest reply over UDP to a client that says nothing (RFC 1035 section 4.2.1).
const UDP_BYTES_MIN: u16 = 512;

/// What is asked for.
#[derive(Clone, Copy)]
pub(super) struct Question {
    /// The name in lower case.
    pub(super) name: Name,
    /// The name as the client spelled it.
    pub(super) spelled: Name,
    pub(super) rtype: u16,
    class: u16,
}

/// What the client said of itself in an `OPT` record.
#[derive(Clone, Copy)]
pub(super) struct Edns {
    version: u8,
    udp_bytes: u16,
    dnssec: bool,
}

/// A query, as far as it was understood.
#[derive(Clone, Copy)]
pub(super) struct Query {
    id: u16,
    /// The operation and the flags RD, AD and CD as the client set them, nothing else.
    flags: u16,
    question: Option<Question>,
    edns: Option<Edns>,
}

impl Query {
    /// Reads a query of `len` bytes that begins with `bytes`, and says with which code it is refused; `NOERROR`
    /// if it is not. `None` if it is no query at all, and must not be answered.
    pub(super) fn read(bytes: &[u8], len: usize) -> Option<(Self, u16)> {
        const KEPT: u16 =
            flag::OPERATION | flag::RECURSION_DESIRED | flag::AUTHENTIC | flag::CHECKING_DISABLED;
        let flags = u16_at(bytes, 2)?;
        if bytes.len() < HEADER_BYTES || flags & flag::RESPONSE != 0 {
            return None;
        }
        let id = u16_at(bytes, 0)?;
        let mut query = Self { id, flags: flags & KEPT, question: None, edns: None };
        let code = if flags & flag::OPERATION != 0 {
            rcode::NOTIMP
        } else if flags & flag::TRUNCATED != 0 || len > QUERY_BYTES_MAX {
            rcode::FORMERR
        } else {
            query.read_body(bytes).unwrap_or(rcode::FORMERR)
        };
        Some((query, code))
    }

    /// What follows the header; `None` if it is malformed.
    fn read_body(&mut self, bytes: &[u8]) -> Option<u16> {
        let count = |at| u16_at(bytes, at);
        let (questions, answers, authorities) = (count(4)?, count(6)?, count(8)?);
        let additional = count(10)?;
        if (questions, answers, authorities) != (1, 0, 0) || additional > 1 {
            return None;
        }
        let (spelled, at) = Name::read_as_spelled(bytes, HEADER_BYTES)?;
        // Nothing precedes it to which it could rightly point.
        if at != HEADER_BYTES + spelled.bytes().len() {
            return None;
        }
        let (rtype, class) = (u16_at(bytes, at)?, u16_at(bytes, at + 2)?);
        let rest = bytes.get(at + 4..)?;
        let edns = match additional {
            0 if rest.is_empty() => None,
            1 => Some(Edns::read(rest)?),
            _ => return None,
        };
        self.question = Some(Question { name: spelled.lower(), spelled, rtype, class });
        self.edns = edns;
        Some(match rtype {
            _ if edns.is_some_and(|edns| edns.version > 0) => rcode::BADVERS,
            _ if class != CLASS_IN => rcode::REFUSED,
            rtype::AXFR | rtype::IXFR => rcode::REFUSED,
            0 | rtype::OPT | 128..=255 => rcode::NOTIMP,
            // Servers do not agree on how these stand beside aliases and delegations.
            rtype::SIG | rtype::KEY | rtype::NXT => rcode::NOTIMP,
            rtype::RRSIG | rtype::NSEC | rtype::NSEC3 => rcode::NOTIMP,
            _ => rcode::NOERROR,
        })
    }

    pub(super) fn question(&self) -> Option<&Question> {
        self.question.as_ref()
    }

    pub(super) fn is(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// Whether DNSSEC records are wanted.
    pub(super) fn dnssec(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec)
    }

    /// Longest reply that the client takes.
    pub(super) fn reply_bytes_max(&self, tcp: bool) -> usize {
        let udp_bytes = self.edns.map_or(UDP_BYTES_MIN, |edns| edns.udp_bytes);
        if tcp { MESSAGE_BYTES_MAX } else { udp_bytes.clamp(UDP_BYTES_MIN, UDP_BYTES).into() }
    }

    /// Writes the query as the server gets it.
    pub(super) fn forward(&self, id: u16, writer: &mut Writer<'_>) {
        let Some(question) = &self.question else { return };
        writer.put_header(id, self.flags, 1);
        writer.put_question(&question.name, question.rtype, CLASS_IN);
        writer.put_opt(UDP_BYTES, rcode::NOERROR, self.dnssec());
        writer.set_u16(10, 1);
    }

    /// Writes header and question of the reply.
    pub(super) fn begin_reply(&self, flags: u16, code: u16, writer: &mut Writer<'_>) {
        const COPIED: u16 = flag::OPERATION | flag::RECURSION_DESIRED | flag::CHECKING_DISABLED;
        let flags = flag::RESPONSE | self.flags & COPIED | flags | code & 0xf;
        writer.put_header(self.id, flags, self.question.is_some().into());
        if let Some(question) = &self.question {
            writer.put_question(&question.spelled, question.rtype, question.class);
        }
    }

    /// Writes the `OPT` record of the reply, and the number of records of the third section, of which there are
    /// `additional` before it. A client that sent none gets none (RFC 6891 section 6.1.1).
    pub(super) fn end_reply(&self, code: u16, additional: usize, writer: &mut Writer<'_>) {
        if self.edns.is_some() {
            writer.put_opt(UDP_BYTES, code, self.dnssec());
        }
        writer.set_u16(10, additional + usize::from(self.edns.is_some()));
    }

    /// Writes a reply without records.
    pub(super) fn reply_empty(&self, flags: u16, code: u16, writer: &mut Writer<'_>) {
        self.begin_reply(flags, code, writer);
        self.end_reply(code, 0, writer);
    }
}

impl Edns {
    /// Reads an `OPT` record that is all of `bytes`. Options are looked at to see that they are whole, no more.
    fn read(bytes: &[u8]) -> Option<Self> {
        if *bytes.first()? != 0 || u16_at(bytes, 1)? != rtype::OPT {
            return None;
        }
        let ttl = u32_at(bytes, 5)?;
        let options = bytes.get(OPT_BYTES..)?;
        if usize::from(u16_at(bytes, 9)?) != options.len() || !rdata::is_options(options) {
            return None;
        }
        Some(Self {
            version: (ttl >> 16) as u8,
            udp_bytes: u16_at(bytes, 3)?,
            dnssec: ttl & flag::DNSSEC_OK != 0,
        })
    }
}
