//! Domain names on the wire (RFC 1035 section 3.1 and 4.1.4).

use core::cmp::Ordering;

/// Longest name, its root label included (RFC 1035 section 2.3.4).
pub(super) const NAME_BYTES_MAX: usize = 255;
/// Most labels and pointers in a name: there are 128 labels at most, and as many pointers make no sense.
const PARTS_MAX: usize = 256;
/// Two bytes that begin so are a pointer to the rest of the name.
const POINTER: u8 = 0xc0;

/// A name without compression: labels after their lengths, the root label last.
#[derive(Clone, Copy)]
pub(super) struct Name {
    bytes: [u8; NAME_BYTES_MAX],
    len: u8,
}

impl Name {
    /// Reads the name at `at`, following pointers, each of which must point to before the part of the name
    /// that it ends; so every name has an end. Returns the name in lower case and where what follows it begins.
    pub(super) fn read(message: &[u8], at: usize) -> Option<(Self, usize)> {
        let (mut name, next) = Self::read_as_spelled(message, at)?;
        // Lengths are below the letters.
        name.bytes.make_ascii_lowercase();
        Some((name, next))
    }

    /// As [`read`](Self::read), in the case in which the name is written.
    pub(super) fn read_as_spelled(message: &[u8], at: usize) -> Option<(Self, usize)> {
        let mut name = Self { bytes: [0; NAME_BYTES_MAX], len: 0 };
        let (mut at, mut part, mut next) = (at, at, None);
        for _ in 0..PARTS_MAX {
            let first = *message.get(at)?;
            if first & POINTER == POINTER {
                let target = pointed(message, at)?;
                next = next.or(Some(at + 2));
                if target >= part {
                    return None;
                }
                (at, part) = (target, target);
                continue;
            }
            if first & POINTER != 0 {
                return None;
            }
            let label = message.get(at..at + 1 + usize::from(first))?;
            let len = usize::from(name.len);
            name.bytes.get_mut(len..len + label.len())?.copy_from_slice(label);
            name.len += label.len() as u8;
            at += label.len();
            if first == 0 {
                return Some((name, next.unwrap_or(at)));
            }
        }
        None
    }

    /// Where what follows the name at `at` begins.
    pub(super) fn skip(message: &[u8], mut at: usize) -> Option<usize> {
        loop {
            match *message.get(at)? {
                0 => return Some(at + 1),
                first if first & POINTER == POINTER => return Some(at + 2),
                first => at += 1 + usize::from(first),
            }
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len.into()).unwrap_or(&[])
    }

    /// The same name in lower case.
    pub(super) fn lower(mut self) -> Self {
        self.bytes.make_ascii_lowercase();
        self
    }

    /// Where each label begins, the root label last.
    pub(super) fn labels(&self) -> impl Iterator<Item = usize> + '_ {
        let mut next = Some(0);
        core::iter::from_fn(move || {
            let at = next?;
            let len = usize::from(*self.bytes().get(at)?);
            next = (len > 0).then_some(at + 1 + len);
            Some(at)
        })
    }

    /// The name from byte `at` on, where a label begins.
    pub(super) fn suffix(&self, at: usize) -> &[u8] {
        self.bytes().get(at..).unwrap_or(&[])
    }

    /// Where the labels of `ancestor` begin in this name, if it ends with all of them.
    pub(super) fn find(&self, ancestor: &[u8]) -> Option<usize> {
        let at = self.bytes().len().checked_sub(ancestor.len())?;
        (self.suffix(at) == ancestor && self.labels().any(|label| label == at)).then_some(at)
    }

    /// Whether this is `ancestor`, or below it.
    pub(super) fn is_within(&self, ancestor: &Self) -> bool {
        self.find(ancestor.bytes()).is_some()
    }

    /// Whether this is below `ancestor`, and another name.
    pub(super) fn is_below(&self, ancestor: &Self) -> bool {
        self.find(ancestor.bytes()).is_some_and(|at| at > 0)
    }
}

/// Where the pointer at `at` points to.
fn pointed(message: &[u8], at: usize) -> Option<usize> {
    let high = usize::from(*message.get(at)? & !POINTER);
    Some(high << 8 | usize::from(*message.get(at + 1)?))
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Name {}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Byte by byte as written. Any order will do that all gateways share.
impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes().cmp(other.bytes())
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn pointers_are_followed_and_case_is_lowered() {
        let message = b"\x03CoM\0\x07eXample\xc0\x00\x01w\xc0\x05rest";
        let (name, next) = Name::read(message, 15).unwrap();
        assert_eq!(name.bytes(), b"\x01w\x07example\x03com\0");
        assert_eq!(&message[next..], b"rest");
        assert_eq!(Name::skip(message, 15), Some(next));
        let (spelled, _) = Name::read_as_spelled(message, 15).unwrap();
        assert_eq!(spelled.bytes(), b"\x01w\x07eXample\x03CoM\0");
        assert!(spelled.lower() == name);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let mut long = [1; 300];
        long[299] = 0;
        let wrong: [&[u8]; 8] = [
            b"",
            b"\x03ab",
            b"\x01a",
            b"\xc0",
            b"\xc0\x00",      // points to itself
            b"\x01a\xc0\x00", // points into its own part
            b"\x40a\0",       // a type of label that there is not
            &long,
        ];
        for bytes in wrong {
            assert!(Name::read(bytes, 0).is_none(), "{bytes:?}");
        }
        // Two names that point to each other.
        assert!(Name::read(b"\x01a\xc0\x04\x01b\xc0\x00", 4).is_none());
        assert!(Name::read(b"\x00\xc0\x03\xc0\x01", 1).is_none());
    }

    #[test]
    fn a_long_way_over_pointers_is_refused() {
        let mut bytes = vec![0, 0];
        for at in (0..1000u16).step_by(2) {
            bytes.extend((0xc000 | at).to_be_bytes());
        }
        assert!(Name::read(&bytes, 400).is_some());
        assert!(Name::read(&bytes, 600).is_none());
    }

    #[test]
    fn the_longest_name_fits() {
        let mut bytes = [1; 256];
        bytes[254] = 0;
        let (name, next) = Name::read(&bytes, 0).unwrap();
        assert_eq!((name.bytes().len(), next), (255, 255));
        bytes[254] = 1;
        bytes[255] = 0;
        assert!(Name::read(&bytes, 1).is_some());
        assert!(Name::read(&bytes, 0).is_none());
    }

    #[test]
    fn ancestors_are_whole_labels() {
        let name = |bytes: &[u8]| Name::read(bytes, 0).unwrap().0;
        let example = name(b"\x07example\x03com\0");
        assert!(name(b"\x01w\x07example\x03com\0").is_below(&example));
        assert!(example.is_within(&example) && !example.is_below(&example));
        assert!(!name(b"\x08\x07example\x03com\0").is_within(&example));
        assert!(example.is_below(&name(b"\0")));
        assert!(!name(b"\x03com\0").is_within(&example));
    }
}
