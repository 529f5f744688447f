//! Edits of the real description, and what is found in them.

use resh::diagnostic::Diagnostic;
use resh::system::{System, authority};

pub(crate) const DESCRIPTION: &str = include_str!("../../../../microkit-system.xml");

/// What the reader finds, and if it finds nothing, what the authority check finds.
pub(crate) fn findings(text: &str) -> Vec<Diagnostic> {
    System::parse(text).map_or_else(|diagnostics| diagnostics, |system| authority::check(&system))
}

/// Replaces the first `from` after the first `after`.
pub(crate) fn edit(after: &str, from: &str, to: &str) -> String {
    let start =
        DESCRIPTION.find(after).unwrap_or_else(|| panic!("no {after:?} in the description"));
    let at =
        DESCRIPTION[start..].find(from).unwrap_or_else(|| panic!("no {from:?} after {after:?}"));
    let (before, rest) = DESCRIPTION.split_at(start + at);
    format!("{before}{to}{}", &rest[from.len()..])
}

pub(crate) fn line_of(text: &str, offset: usize) -> u32 {
    u32::try_from(text[..offset].matches('\n').count() + 1).unwrap()
}

/// Makes the edit and demands a finding whose place, problem and hint contain the given words, at the line
/// of the edit (which is where `to` begins, blanks left out) or `lines` further on.
#[track_caller]
pub(crate) fn wrong(after: &str, from: &str, to: &str, lines: i32, place: &str, words: &[&str]) {
    let text = edit(after, from, to);
    let start = DESCRIPTION.find(after).unwrap();
    let offset = start + DESCRIPTION[start..].find(from).unwrap();
    let blanks = to.len() - to.trim_start().len();
    let line = line_of(&text, offset + blanks).checked_add_signed(lines).unwrap();
    let found = findings(&text);
    let hit = found.iter().any(|d| {
        let message = d.to_string();
        d.position.is_some_and(|p| p.line == line)
            && d.place == place
            && !d.hint.is_empty()
            && words.iter().all(|word| message.contains(word))
    });
    let all: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert!(hit, "expected line {line}, {place}, {words:?}; found:\n{}", all.join("\n"));
}
