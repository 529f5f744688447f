//! The canonical reply: what a correct server must say to the query, in one order and one spelling, and nothing
//! of what it may add.

use super::message::{Message, Record, Section};
use super::name::Name;
use super::query::{Query, Question, UDP_BYTES};
use super::wire::{Writer, flag, rcode, rtype, u32_at};

/// Most aliases (`CNAME`) that are followed from one name to the next. Servers stop after 11 and more.
const ALIASES_MAX: usize = 8;
/// Most owners of `NSEC`, and of `NSEC3`. A proof needs three.
const PROOFS_MAX: usize = 8;
/// Most servers of a delegation for which addresses are given.
const GLUE_MAX: usize = 32;
/// Time to live in seconds of what is not authoritative: a resolver counts it down, each from another moment on.
pub(super) const CACHED_TTL_S: u32 = 10;

/// Writes the canonical reply to `out`, and returns its length. `set` is memory for as many entries as a message has
/// records.
pub(super) fn canonical(
    query: &Query,
    question: &Question,
    message: Option<&Message<'_>>,
    tcp: bool,
    set: &mut [u16],
    out: &mut [u8],
) -> usize {
    let empty = |flags, code, out| {
        let mut writer = Writer::new(out);
        query.reply_empty(flags, code, &mut writer);
        writer.len()
    };
    // What makes no sense, or cannot be told to a client without `OPT`.
    let Some(message) = message.filter(|message| message.rcode < 16) else {
        return empty(0, rcode::SERVFAIL, out);
    };
    let cut_off = |out| match tcp {
        true => empty(0, rcode::SERVFAIL, out),
        false => empty(flag::TRUNCATED, rcode::NOERROR, out),
    };
    if message.is(flag::TRUNCATED) {
        return cut_off(out);
    }
    if !matches!(message.rcode, rcode::NOERROR | rcode::NXDOMAIN) {
        return empty(0, message.rcode, out);
    }
    // A circle: some servers notice, and fail.
    if question.rtype != rtype::CNAME && !ends(message, question.name) {
        return empty(0, rcode::SERVFAIL, out);
    }
    let room = query.reply_bytes_max(tcp);
    let mut reply = Reply {
        query,
        message,
        set,
        writer: Writer::new(&mut *out),
        section: Section::Answer,
        counts: [0; 3],
        cached: false,
    };
    reply.write(question);
    let Reply { writer, .. } = reply;
    // What is longer than that without compression may have been truncated by a server that compresses little.
    let wide_max = if tcp { usize::MAX } else { UDP_BYTES.into() };
    if writer.overflowed() || writer.len() > room || writer.wide() > wide_max {
        return cut_off(out);
    }
    writer.len()
}

/// What `name` is an alias of.
fn alias(message: &Message<'_>, name: &Name) -> Option<Name> {
    let records = message.records(Section::Answer);
    let aliases = records.filter(|record| record.is(name, rtype::CNAME));
    aliases.filter_map(|record| record.rdata.name()).min()
}

/// Whether the aliases from `name` on lead somewhere, in no more than [`ALIASES_MAX`] steps.
fn ends(message: &Message<'_>, name: Name) -> bool {
    let mut names = core::iter::successors(Some(name), |name| alias(message, name));
    names.nth(ALIASES_MAX + 1).is_none()
}

/// How long a set of records lives.
#[derive(Clone, Copy)]
enum Ttl {
    /// As long as the one of them that lives shortest (RFC 2181 section 5.2).
    Own,
    /// No longer than the start of authority says (RFC 2308 section 5).
    Negative,
    /// So long.
    Seconds(u32),
}

struct Reply<'a, 'm> {
    query: &'a Query,
    message: &'a Message<'m>,
    set: &'a mut [u16],
    writer: Writer<'a>,
    /// Which section of the message is read and of the reply written.
    section: Section,
    /// Records in each section of the reply.
    counts: [usize; 3],
    /// Whether this comes from a resolver's cache.
    cached: bool,
}

impl Reply<'_, '_> {
    fn write(&mut self, question: &Question) {
        let message = self.message;
        let delegation = match message.records(Section::Answer).next() {
            None if self.longest_owner(rtype::SOA, &question.name).is_none() => {
                self.longest_owner(rtype::NS, &question.name)
            }
            _ => None,
        };
        let referral = delegation.is_some() && message.rcode == rcode::NOERROR;
        let authoritative = message.is(flag::AUTHORITATIVE) && !referral;
        self.cached = !authoritative && !referral;
        let mut flags = if authoritative { flag::AUTHORITATIVE } else { 0 };
        if self.cached {
            // Nobody but a server that recurses has anything to say without authority.
            let recursive = self.query.is(flag::RECURSION_DESIRED);
            flags |= if recursive { flag::RECURSION_AVAILABLE } else { 0 };
            let asked = self.query.is(flag::AUTHENTIC) || self.query.dnssec();
            flags |= if asked { message.flags & flag::AUTHENTIC } else { 0 };
        }
        self.query.begin_reply(flags, message.rcode, &mut self.writer);
        match delegation.filter(|_| referral) {
            Some(name) => self.refer(&name),
            None => self.answer(question),
        }
        self.query.end_reply(message.rcode, self.counts[2], &mut self.writer);
        for (place, count) in [(6, self.counts[0]), (8, self.counts[1])] {
            self.writer.set_u16(place, count);
        }
    }

    /// The aliases in the order in which they are followed, then what was asked for, or the proof that there is
    /// none.
    fn answer(&mut self, question: &Question) {
        let mut name = question.name;
        let mut found = false;
        for _ in 0..=ALIASES_MAX {
            // An alias that the server made of a DNAME (RFC 6672 section 3.1).
            let made = self.below(Section::Answer, rtype::DNAME, &name);
            let made = made.and_then(|owner| self.put_set(&owner, rtype::DNAME, Ttl::Own));
            found = self.put_set(&name, question.rtype, Ttl::Own).is_some();
            let Some(target) = alias(self.message, &name).filter(|_| !found) else { break };
            let ttl = made.map_or(Ttl::Own, Ttl::Seconds);
            self.put_set(&name, rtype::CNAME, ttl);
            name = target;
        }
        self.section = Section::Authority;
        if let Some(owner) = self.longest_owner(rtype::SOA, &name).filter(|_| !found) {
            // For that somebody looks for the zone's beginning is not to be remembered, some servers say.
            let asked = question.rtype == rtype::SOA;
            let ttl = if asked { Ttl::Seconds(0) } else { Ttl::Negative };
            self.put_set(&owner, rtype::SOA, ttl);
        }
        self.prove();
    }

    /// The delegation and the addresses of those of its servers that are below it: the only ones that must be there
    /// (RFC 9471).
    fn refer(&mut self, delegation: &Name) {
        self.section = Section::Authority;
        self.put_set(delegation, rtype::NS, Ttl::Own);
        if self.query.dnssec() {
            self.put_set(delegation, rtype::DS, Ttl::Own);
            self.prove();
        }
        self.section = Section::Additional;
        let message = self.message;
        let mut last = None;
        for _ in 0..GLUE_MAX {
            let servers = message
                .records(Section::Authority)
                .filter(|record| record.is(delegation, rtype::NS))
                .filter_map(|record| record.rdata.name())
                .filter(|server| server.is_within(delegation));
            let Some(server) = least_after(last, servers) else { break };
            self.put_set(&server, rtype::A, Ttl::Own);
            self.put_set(&server, rtype::AAAA, Ttl::Own);
            last = Some(server);
        }
    }

    /// What proves to a validator that something does not exist (RFC 4035 section 3.1.3, RFC 5155 section 7.2).
    fn prove(&mut self) {
        if !self.query.dnssec() {
            return;
        }
        let message = self.message;
        for rtype in [rtype::NSEC, rtype::NSEC3] {
            let mut last = None;
            for _ in 0..PROOFS_MAX {
                let of_type = |record: &Record<'_>| record.rtype == rtype;
                let records = message.records(Section::Authority).filter(of_type);
                let owners = records.filter_map(|record| record.owner());
                let Some(owner) = least_after(last, owners) else { break };
                self.put_set(&owner, rtype, Ttl::Own);
                last = Some(owner);
            }
        }
    }

    /// Writes the records of a name and type, ordered by their data, and the signatures on them if they are wanted.
    /// Returns their time to live, `None` if there are none.
    fn put_set(&mut self, owner: &Name, rtype: u16, ttl: Ttl) -> Option<u32> {
        let message = self.message;
        let len = message.select(self.section, self.set, |record| record.is(owner, rtype));
        let records = self.set.get(..len)?.iter().filter_map(|&at| message.record(at));
        let shortest = records.map(|record| time_to_live(&record, ttl)).min()?;
        let ttl_s = if self.cached { CACHED_TTL_S } else { shortest };
        self.put_selected(len, owner, ttl_s);
        if self.query.dnssec() && rtype != rtype::RRSIG {
            let len = message.select(self.section, self.set, |record| {
                record.is(owner, rtype::RRSIG) && record.covers() == Some(rtype)
            });
            self.put_selected(len, owner, ttl_s);
        }
        Some(ttl_s)
    }

    fn put_selected(&mut self, len: usize, owner: &Name, ttl_s: u32) {
        let records = self.set.get(..len).unwrap_or(&[]).iter();
        for record in records.filter_map(|&at| self.message.record(at)) {
            self.writer.put_compressed(owner);
            self.writer.put_u16(record.rtype);
            self.writer.put_u16(record.class);
            self.writer.put_u32(ttl_s);
            record.rdata.write(&mut self.writer);
        }
        self.counts[self.section as usize] += len;
    }

    /// The longest name that `name` is below, and has a record of the type.
    fn below(&self, section: Section, rtype: u16, name: &Name) -> Option<Name> {
        let records = self.message.records(section).filter(|record| record.rtype == rtype);
        let owners = records.filter_map(|record| record.owner());
        owners.filter(|owner| name.is_below(owner)).max_by_key(|owner| owner.bytes().len())
    }

    /// The longest name in the authority section that `name` is or is below, and has a record of the type.
    fn longest_owner(&self, rtype: u16, name: &Name) -> Option<Name> {
        let records = self.message.records(Section::Authority);
        let owners = records.filter(|r| r.rtype == rtype).filter_map(|record| record.owner());
        owners.filter(|owner| name.is_within(owner)).max_by_key(|owner| owner.bytes().len())
    }
}

/// The time to live of one record in seconds.
fn time_to_live(record: &Record<'_>, ttl: Ttl) -> u32 {
    // With the highest bit set it means 0 (RFC 2181 section 8).
    let own = if record.ttl >> 31 == 0 { record.ttl } else { 0 };
    match ttl {
        Ttl::Own => own,
        Ttl::Negative => {
            let raw = record.rdata.raw();
            let minimum = raw.len().checked_sub(4).and_then(|at| u32_at(raw, at));
            own.min(minimum.unwrap_or(own))
        }
        Ttl::Seconds(seconds) => seconds,
    }
}

/// The least of `names` that comes after `last`.
fn least_after(last: Option<Name>, names: impl Iterator<Item = Name>) -> Option<Name> {
    names.filter(|name| last.is_none_or(|last| *name > last)).min()
}
