//! Whether a string may stand for the present: PostgreSQL reads `now`, `today`, `tomorrow` and `yesterday` as times
//! (manual, 8.5.1.4), also with a time of day or a zone beside them.

use super::words::has;

/// Words that stand for the present.
const PRESENT: [&[u8]; 4] = [b"now", b"today", b"tomorrow", b"yesterday"];
/// Longer words that may stand beside them, also in an array: zones without `/`, months, days, and other times.
const BESIDE: &[&str] = &[
    "allballs",
    "april",
    "august",
    "december",
    "egypt",
    "epoch",
    "february",
    "friday",
    "greenwich",
    "hongkong",
    "iceland",
    "infinity",
    "israel",
    "jamaica",
    "january",
    "japan",
    "kwajalein",
    "libya",
    "march",
    "monday",
    "navajo",
    "november",
    "october",
    "poland",
    "portugal",
    "saturday",
    "september",
    "singapore",
    "sunday",
    "thurs",
    "thursday",
    "tuesday",
    "turkey",
    "universal",
    "wednesday",
];
/// Abbreviations of zones, and words such as `at`, are not longer than this, in bytes.
const SHORT_BYTES: usize = 4;

/// Looks at a string as it comes.
#[derive(Clone, Copy, Default)]
pub(super) struct Moment {
    word: [u8; 10],
    len: usize,
    present: bool,
    zone: bool,
    other: bool,
    begun: bool,
    /// It begins as a row does, `(`: then what stands beside the present may be anything.
    row: bool,
}

impl Moment {
    /// Its next byte.
    pub(super) fn push(&mut self, byte: u8) {
        if !self.begun && !matches!(byte, b' ' | b'{' | b'[' | b'"' | b'\\') {
            (self.begun, self.row) = (true, byte == b'(');
        }
        if !byte.is_ascii_alphabetic() {
            self.end_word();
            self.zone |= matches!(byte, b'/' | b'<');
            return;
        }
        if let Some(room) = self.word.get_mut(self.len) {
            *room = byte.to_ascii_lowercase();
            self.len += 1;
        }
    }

    fn end_word(&mut self) {
        let word = &self.word[..self.len];
        if PRESENT.contains(&word) {
            self.present = true;
        } else if self.len > SHORT_BYTES && !has(BESIDE, word) {
            self.other = true;
        }
        self.len = 0;
    }

    /// Whether the string, which ends here, may be one.
    pub(super) fn is_one(mut self) -> bool {
        self.end_word();
        self.present && (self.zone || self.row || !self.other)
    }
}

/// Whether this string may be one.
pub(super) fn is_moment(text: &[u8]) -> bool {
    let mut moment = Moment::default();
    text.iter().for_each(|byte| moment.push(*byte));
    moment.is_one()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_present() {
        for text in [
            "now",
            " NOW ",
            "today 10:00",
            "tomorrow America/New_York",
            "yesterday at 3 pm CEST",
            "today Singapore",
            "the best of today",
            "{now,January 8 1999,infinity}",
            "[today,infinity)",
            "(whatever,now)",
            "{\"(now,whatever)\"}",
        ] {
            assert!(is_moment(text.as_bytes()), "{text}");
        }
        for text in [
            "",
            "know",
            "nowhere",
            "2026-01-01",
            "epoch",
            "see whoever tomorrow",
            "{\"title\": \"for today\"}",
        ] {
            assert!(!is_moment(text.as_bytes()), "{text}");
        }
        assert!(BESIDE.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
