//! Numbers and flags of a message (RFC 1035 section 4.1.1, RFC 6891), and a writer into memory of fixed size.

use super::name::Name;

/// Length of the header.
pub(super) const HEADER_BYTES: usize = 12;
/// Longest message over TCP, and the longest that there is.
pub(super) const MESSAGE_BYTES_MAX: usize = 65_535;
/// Length of an `OPT` record without options.
pub(super) const OPT_BYTES: usize = 11;

/// Flags of the header. The operation is in bits 11 to 14, the lower half of the response code in 0 to 3.
pub(super) mod flag {
    pub(in crate::dns) const RESPONSE: u16 = 1 << 15;
    pub(in crate::dns) const AUTHORITATIVE: u16 = 1 << 10;
    pub(in crate::dns) const TRUNCATED: u16 = 1 << 9;
    pub(in crate::dns) const RECURSION_DESIRED: u16 = 1 << 8;
    pub(in crate::dns) const RECURSION_AVAILABLE: u16 = 1 << 7;
    pub(in crate::dns) const AUTHENTIC: u16 = 1 << 5;
    pub(in crate::dns) const CHECKING_DISABLED: u16 = 1 << 4;
    pub(in crate::dns) const OPERATION: u16 = 0xf << 11;
    /// In the TTL of an `OPT` record: DNSSEC records are wanted (RFC 3225).
    pub(in crate::dns) const DNSSEC_OK: u32 = 1 << 15;
}

/// Response codes.
pub(super) mod rcode {
    pub(in crate::dns) const NOERROR: u16 = 0;
    pub(in crate::dns) const FORMERR: u16 = 1;
    pub(in crate::dns) const SERVFAIL: u16 = 2;
    pub(in crate::dns) const NXDOMAIN: u16 = 3;
    pub(in crate::dns) const NOTIMP: u16 = 4;
    pub(in crate::dns) const REFUSED: u16 = 5;
    pub(in crate::dns) const BADVERS: u16 = 16;
}

/// Types of records that are treated in some way of their own.
pub(super) mod rtype {
    pub(in crate::dns) const A: u16 = 1;
    pub(in crate::dns) const NS: u16 = 2;
    pub(in crate::dns) const CNAME: u16 = 5;
    pub(in crate::dns) const SOA: u16 = 6;
    pub(in crate::dns) const SIG: u16 = 24;
    pub(in crate::dns) const KEY: u16 = 25;
    pub(in crate::dns) const AAAA: u16 = 28;
    pub(in crate::dns) const NXT: u16 = 30;
    pub(in crate::dns) const DNAME: u16 = 39;
    pub(in crate::dns) const OPT: u16 = 41;
    pub(in crate::dns) const DS: u16 = 43;
    pub(in crate::dns) const RRSIG: u16 = 46;
    pub(in crate::dns) const NSEC: u16 = 47;
    pub(in crate::dns) const NSEC3: u16 = 50;
    pub(in crate::dns) const IXFR: u16 = 251;
    pub(in crate::dns) const AXFR: u16 = 252;
}

/// The class of the Internet, the only one that is served.
pub(super) const CLASS_IN: u16 = 1;

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// Writes one message.
pub(super) struct Writer<'a> {
    bytes: &'a mut [u8],
    len: usize,
    /// How long the message would be without compression.
    wide: usize,
    overflowed: bool,
    /// The name in the question, to which other names point.
    question: Option<Name>,
}

impl<'a> Writer<'a> {
    /// Writes to the beginning of `bytes`.
    pub(super) fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, len: 0, wide: 0, overflowed: false, question: None }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How long the message would be without compression.
    pub(super) fn wide(&self) -> usize {
        self.wide
    }

    /// Whether something did not fit, and is missing.
    pub(super) fn overflowed(&self) -> bool {
        self.overflowed
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.wide += bytes.len();
        self.append(bytes);
    }

    fn append(&mut self, bytes: &[u8]) {
        match self.bytes.get_mut(self.len..self.len + bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => self.overflowed = true,
        }
    }

    pub(super) fn put_u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    pub(super) fn put_u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    /// Writes `value` over what stands at `at`.
    pub(super) fn set_u16(&mut self, at: usize, value: usize) {
        if let Some(place) = self.bytes.get_mut(at..at + 2) {
            place.copy_from_slice(&(value as u16).to_be_bytes());
        }
    }

    /// The header, which counts the question, if there is one, and nothing else.
    pub(super) fn put_header(&mut self, id: u16, flags: u16, questions: u16) {
        for number in [id, flags, questions, 0, 0, 0] {
            self.put_u16(number);
        }
    }

    /// The question behind the header, as `spelled`.
    pub(super) fn put_question(&mut self, spelled: &Name, rtype: u16, class: u16) {
        self.put(spelled.bytes());
        self.put_u16(rtype);
        self.put_u16(class);
        self.question = Some(spelled.lower());
    }

    /// A name whose longest end that is also an end of the question's name is a pointer to there.
    pub(super) fn put_compressed(&mut self, name: &Name) {
        self.wide += name.bytes().len();
        let shared = |label: usize| {
            let rest = name.suffix(label);
            let at = self.question.as_ref()?.find(rest)?;
            (rest.len() > 1).then_some((label, at))
        };
        match name.labels().find_map(shared) {
            Some((label, at)) => {
                self.append(name.bytes().get(..label).unwrap_or(&[]));
                self.append(&(0xc000 | (HEADER_BYTES + at) as u16).to_be_bytes());
            }
            None => self.append(name.bytes()),
        }
    }

    /// An `OPT` record (RFC 6891 section 6.1.2) without options.
    pub(super) fn put_opt(&mut self, udp_bytes: u16, rcode: u16, dnssec: bool) {
        self.put(&[0]);
        self.put_u16(rtype::OPT);
        self.put_u16(udp_bytes);
        let dnssec = if dnssec { flag::DNSSEC_OK } else { 0 };
        self.put_u32(u32::from(rcode >> 4) << 24 | dnssec);
        self.put_u16(0);
    }
}
