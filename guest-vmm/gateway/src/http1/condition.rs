//! Conditional requests and ranges (RFC 9110, sections 13 and 14), decided in the gateway.
//!
//! The replicas' entity tags never reach the client. A file gets one of ours, made of what correct servers agree
//! on: its length and `Last-Modified`. So the gateway can compare by itself what a client sends back, with what
//! the request without conditions draws.

use super::buffer::Buffer;
use super::date;
use super::fields;

/// An entity tag of ours, always a weak one: `W/"length-modified"` in hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Tag {
    /// Of the whole file, in bytes.
    pub(super) length: u64,
    /// Seconds since 1970-01-01 UTC.
    pub(super) modified_s: u64,
}

impl Tag {
    fn parse(text: &[u8]) -> Option<Tag> {
        let text = text.strip_prefix(b"W/").unwrap_or(text);
        let text = text.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        let (length, modified_s) = core::str::from_utf8(text).ok()?.split_once('-')?;
        let number = |digits: &str| {
            // `from_str_radix` takes a sign.
            let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            u64::from_str_radix(digits, 16).ok().filter(|_| plain)
        };
        Some(Tag { length: number(length)?, modified_s: number(modified_s)? })
    }

    /// Writes it as the client sees it.
    pub(super) fn put(self, to: &mut Buffer) {
        to.put(b"W/\"");
        to.put_hexadecimal(self.length);
        to.put(b"-");
        to.put_hexadecimal(self.modified_s);
        to.put(b"\"");
    }
}

/// Tags of ours in one field that are looked at, at most. Further ones do not match.
const OWN_TAGS_MAX: usize = 8;

/// A field of entity tags.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Tags {
    #[default]
    Absent,
    /// `*`
    Any,
    /// Tags, of which these are in the form of ours.
    Some([Option<Tag>; OWN_TAGS_MAX]),
}

impl Tags {
    /// Reads all lines of a field, which are one list. `*` may not stand in one.
    pub(super) fn parse<'f>(mut lines: impl Iterator<Item = &'f [u8]> + Clone) -> Tags {
        let mut tags = lines.clone().flat_map(fields::members).filter_map(Tag::parse);
        match (lines.next(), lines.next()) {
            (None, _) => Tags::Absent,
            (Some(b"*"), None) => Tags::Any,
            _ => Tags::Some(core::array::from_fn(|_| tags.next())),
        }
    }

    /// Whether `tag` is among them, by weak comparison (RFC 9110, section 8.8.3.2).
    fn name(&self, tag: Option<Tag>) -> bool {
        matches!(self, Tags::Some(own) if tag.is_some() && own.contains(&tag))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Conditions {
    pub(super) matches: Tags,
    pub(super) none_match: Tags,
    pub(super) modified_since: Option<u64>,
    pub(super) unmodified_since: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Proceed,
    NotModified,
    Failed,
}

impl Conditions {
    /// Evaluates in the order of RFC 9110, section 13.2.2, for `GET` and `HEAD` whose response
    /// without conditions would be 200, last modified at `modified` and of this tag. `If-Match` compares
    /// strongly, and our tags are weak.
    pub(super) fn verdict(&self, modified: Option<u64>, tag: Option<Tag>) -> Verdict {
        match (self.matches, self.unmodified_since, modified) {
            (Tags::Some(_), _, _) => return Verdict::Failed,
            (Tags::Absent, Some(since), Some(modified)) if modified > since => {
                return Verdict::Failed;
            }
            _ => {}
        }
        match (self.none_match, self.modified_since, modified) {
            (Tags::Any, _, _) => Verdict::NotModified,
            (tags, _, _) if tags.name(tag) => Verdict::NotModified,
            (Tags::Absent, Some(since), Some(modified)) if modified <= since => {
                Verdict::NotModified
            }
            _ => Verdict::Proceed,
        }
    }

    /// `If-Modified-Since` when nothing stands beside it: then the server may save itself the body.
    pub(super) fn only_modified_since(&self) -> Option<u64> {
        let alone = Conditions { modified_since: self.modified_since, ..Conditions::default() };
        self.modified_since.filter(|_| *self == alone)
    }
}

/// A single byte range as asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Range {
    /// `first-last`; without `last` to the end.
    From { first: u64, last: Option<u64> },
    /// The last bytes, at least one.
    Suffix(u64),
}

impl Range {
    /// Reads `Range`. Other units, several ranges and malformed ones are none: a server may ignore
    /// the field (RFC 9110, section 14.2), so all do.
    pub(super) fn parse(value: &[u8]) -> Option<Range> {
        let (unit, set) = value.split_at_checked(6)?;
        if !unit.eq_ignore_ascii_case(b"bytes=") {
            return None;
        }
        let set = fields::trim(set);
        let dash = set.iter().position(|&b| b == b'-')?;
        let (first, last) = (&set[..dash], &set[dash + 1..]);
        match (first, last) {
            ([], last) => fields::decimal(last).filter(|&n| n > 0).map(Range::Suffix),
            (first, []) => Some(Range::From { first: fields::decimal(first)?, last: None }),
            (first, last) => {
                let (first, last) = (fields::decimal(first)?, fields::decimal(last)?);
                (first <= last).then_some(Range::From { first, last: Some(last) })
            }
        }
    }

    /// The first and last position within a representation of `length` bytes; `None` if the range
    /// cannot be satisfied.
    pub(super) fn resolve(self, length: u64) -> Option<(u64, u64)> {
        let end = length.checked_sub(1)?;
        match self {
            Range::From { first, .. } if first > end => None,
            Range::From { first, last } => Some((first, last.map_or(end, |last| last.min(end)))),
            Range::Suffix(n) => Some((length.saturating_sub(n), end)),
        }
    }
}

/// Reads a date; anything else counts as absent.
pub(super) fn date_of(value: Option<&[u8]>, clock_s: u32) -> Option<u64> {
    date::parse(value?, u64::from(clock_s))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tags that are not ours.
    const NOT_OURS: Tags = Tags::Some([None; OWN_TAGS_MAX]);

    #[test]
    fn ranges() {
        let from = |first, last| Some(Range::From { first, last });
        for (text, range) in [
            ("bytes=0-1", from(0, Some(1))),
            ("Bytes=5-", from(5, None)),
            ("bytes= 007-9 ", from(7, Some(9))),
            ("bytes=-3", Some(Range::Suffix(3))),
            ("bytes=-0", None),
            ("bytes=2-1", None),
            ("bytes=0-1,3-4", None),
            ("bytes=-", None),
            ("bytes=", None),
            ("bytes", None),
            ("bytes=a-b", None),
            ("bytes=1-2-3", None),
            ("bytes=0-9999999999999999999", None),
            ("lines=1-2", None),
        ] {
            assert_eq!(Range::parse(text.as_bytes()), range, "{text}");
        }
        assert_eq!(from(0, Some(9)).unwrap().resolve(5), Some((0, 4)));
        assert_eq!(from(5, None).unwrap().resolve(5), None);
        assert_eq!(Range::Suffix(9).resolve(5), Some((0, 4)));
        assert_eq!(Range::Suffix(2).resolve(5), Some((3, 4)));
        assert_eq!(Range::Suffix(2).resolve(0), None);
    }

    #[test]
    fn precedence() {
        let none = Conditions::default();
        assert_eq!(none.verdict(Some(5), None), Verdict::Proceed);
        let since = Conditions { modified_since: Some(5), ..none };
        assert_eq!(since.verdict(Some(5), None), Verdict::NotModified);
        assert_eq!(since.verdict(Some(6), None), Verdict::Proceed);
        assert_eq!(since.verdict(None, None), Verdict::Proceed);
        assert_eq!(since.only_modified_since(), Some(5));
        // A tag that is not ours makes If-Modified-Since ignored.
        let tagged = Conditions { none_match: NOT_OURS, ..since };
        assert_eq!(tagged.verdict(Some(5), None), Verdict::Proceed);
        assert_eq!(tagged.only_modified_since(), None);
        let any = Conditions { none_match: Tags::Any, ..none };
        assert_eq!(any.verdict(None, None), Verdict::NotModified);
        let unmodified = Conditions { unmodified_since: Some(5), ..any };
        assert_eq!(unmodified.verdict(Some(6), None), Verdict::Failed);
        assert_eq!(unmodified.verdict(Some(5), None), Verdict::NotModified);
        // If-Match overrides If-Unmodified-Since.
        let star = Conditions { matches: Tags::Any, unmodified_since: Some(5), ..none };
        assert_eq!(star.verdict(Some(6), None), Verdict::Proceed);
        assert_eq!(Conditions { matches: NOT_OURS, ..none }.verdict(None, None), Verdict::Failed);
    }

    #[test]
    fn tags_of_ours_match_and_others_do_not() {
        let tag = Tag { length: 0x1f, modified_s: 0x6a00 };
        let mut text = Buffer::new(64);
        tag.put(&mut text);
        let tag = Some(tag);
        assert_eq!(text.data(), b"W/\"1f-6a00\"");
        let parse = |lines: &'static [&str]| Tags::parse(lines.iter().map(|line| line.as_bytes()));
        for (lines, matches) in [
            (&["W/\"1f-6a00\""][..], true),
            // A cache may have dropped the mark of weakness.
            (&["\"1f-6a00\""], true),
            (&["\"x\", W/\"1f-6a00\", \"y\""], true),
            (&["\"x\"", "W/\"1f-6a00\""], true),
            (&["W/\"1f-6a01\""], false),
            (&["W/\"+1f-6a00\""], false),
            (&["1f-6a00"], false),
            (&["\"\""], false),
        ] {
            let conditions = Conditions { none_match: parse(lines), ..Conditions::default() };
            let expected = if matches { Verdict::NotModified } else { Verdict::Proceed };
            assert_eq!(conditions.verdict(None, tag), expected, "{lines:?}");
            assert_eq!(conditions.verdict(None, None), Verdict::Proceed, "{lines:?}");
            // Weak tags never match strongly.
            let strong = Conditions { matches: parse(lines), ..Conditions::default() };
            assert_eq!(strong.verdict(None, tag), Verdict::Failed, "{lines:?}");
        }
        assert_eq!((parse(&[]), parse(&["*"])), (Tags::Absent, Tags::Any));
        assert_eq!(parse(&["*", "\"x\""]), NOT_OURS);
    }
}
