//! Conditional requests and ranges (RFC 9110, sections 13 and 14), decided in the gateway.
//!
//! Entity tags never reach the client, so none that a client sends can match. What is left is
//! decided by `Last-Modified` of the response that the request without conditions draws.

use super::date;
use super::fields;

/// A field of entity tags.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Tags {
    #[default]
    Absent,
    /// `*`
    Any,
    /// Tags, none of which is ours.
    Some,
}

impl Tags {
    pub(super) fn parse(value: &[u8]) -> Tags {
        if value == b"*" { Tags::Any } else { Tags::Some }
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
    /// without conditions would be 200 and last modified at `modified`.
    pub(super) fn verdict(&self, modified: Option<u64>) -> Verdict {
        match (self.matches, self.unmodified_since, modified) {
            (Tags::Some, _, _) => return Verdict::Failed,
            (Tags::Absent, Some(since), Some(modified)) if modified > since => {
                return Verdict::Failed;
            }
            _ => {}
        }
        match (self.none_match, self.modified_since, modified) {
            (Tags::Any, _, _) => Verdict::NotModified,
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
        assert_eq!(none.verdict(Some(5)), Verdict::Proceed);
        let since = Conditions { modified_since: Some(5), ..none };
        assert_eq!(since.verdict(Some(5)), Verdict::NotModified);
        assert_eq!(since.verdict(Some(6)), Verdict::Proceed);
        assert_eq!(since.verdict(None), Verdict::Proceed);
        assert_eq!(since.only_modified_since(), Some(5));
        // A tag that is not ours makes If-Modified-Since ignored.
        let tagged = Conditions { none_match: Tags::Some, ..since };
        assert_eq!(tagged.verdict(Some(5)), Verdict::Proceed);
        assert_eq!(tagged.only_modified_since(), None);
        let any = Conditions { none_match: Tags::Any, ..none };
        assert_eq!(any.verdict(None), Verdict::NotModified);
        let unmodified = Conditions { unmodified_since: Some(5), ..any };
        assert_eq!(unmodified.verdict(Some(6)), Verdict::Failed);
        assert_eq!(unmodified.verdict(Some(5)), Verdict::NotModified);
        // If-Match overrides If-Unmodified-Since.
        let star = Conditions { matches: Tags::Any, unmodified_since: Some(5), ..none };
        assert_eq!(star.verdict(Some(6)), Verdict::Proceed);
        assert_eq!(Conditions { matches: Tags::Some, ..none }.verdict(None), Verdict::Failed);
    }
}
