//! What is wrong in a file the operator wrote, where, and what would be right.

use std::fmt;

/// A place in a text file. Both count from 1; a column is a character, not a byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line.
    pub line: u32,
    /// Character in the line.
    pub column: u32,
}

impl Position {
    /// The place of byte `offset` in `text`.
    #[must_use]
    pub fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            line: count(before.matches('\n').count() + 1),
            column: count(before[line_start..].chars().count() + 1),
        }
    }
}

impl Position {
    /// The byte of `text` that is there; the end of its line if that is shorter.
    #[must_use]
    pub fn offset_in(self, text: &str) -> usize {
        let line = text.split_inclusive('\n').nth(self.line.saturating_sub(1) as usize);
        let Some(line) = line else { return text.len() };
        let start = line.as_ptr() as usize - text.as_ptr() as usize;
        let before = self.column.saturating_sub(1) as usize;
        start + line.char_indices().nth(before).map_or(line.len(), |(at, _)| at)
    }
}

/// One mistake. Displayed as `file:line:column: place: problem; hint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file, as the operator named it.
    pub file: String,
    /// Where in it, if it is about one place.
    pub position: Option<Position>,
    /// The element and attribute (`<map vaddr>`), or the path of the key (`service[0].listen`). May be empty.
    pub place: String,
    /// What is wrong.
    pub problem: String,
    /// What would be right.
    pub hint: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if let Some(Position { line, column }) = self.position {
            write!(f, "{line}:{column}:")?;
        }
        if !self.place.is_empty() {
            write!(f, " {}:", self.place)?;
        }
        write!(f, " {}; {}", self.problem, self.hint)
    }
}

impl std::error::Error for Diagnostic {}

/// Reads the file at `path`, or says why it cannot be read.
///
/// # Errors
/// One diagnostic, without a position.
pub(crate) fn read_file(path: &std::path::Path) -> Result<String, Vec<Diagnostic>> {
    std::fs::read_to_string(path).map_err(|error| {
        vec![Diagnostic {
            file: path.display().to_string(),
            position: None,
            place: String::new(),
            problem: format!("cannot be read: {error}"),
            hint: "name a readable text file in UTF-8".to_owned(),
        }]
    })
}

/// A hint that names what may stand here, and the nearest of it to `word` if one is near.
pub(crate) fn suggest(word: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|k| (distance(word, k), *k)).min();
    match nearest {
        Some((distance, name)) if distance <= 1 + name.len() / 4 => {
            format!("did you mean `{name}`? Known here: {}", known.join(", "))
        }
        _ if known.is_empty() => "nothing may stand here".to_owned(),
        _ => format!("known here: {}", known.join(", ")),
    }
}

/// Edits (insert, delete, replace a character) from `a` to `b`, without regard to case, `-` and `_`.
fn distance(a: &str, b: &str) -> usize {
    let plain = |s: &str| -> Vec<char> {
        s.to_lowercase().chars().filter(|c| !matches!(c, '-' | '_')).collect()
    };
    let (a, b) = (plain(a), plain(b));
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let text = "ab\nä=ü\nz";
        assert_eq!(Position::of(text, 0), Position { line: 1, column: 1 });
        assert_eq!(Position::of(text, 3), Position { line: 2, column: 1 });
        assert_eq!(Position::of(text, 6), Position { line: 2, column: 3 });
        assert_eq!(Position::of(text, 999), Position { line: 3, column: 2 });
        for offset in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
            assert_eq!(Position::of(text, offset).offset_in(text), offset);
        }
        assert_eq!(Position { line: 9, column: 1 }.offset_in(text), text.len());
    }

    #[test]
    fn the_nearest_name_is_suggested_and_a_far_one_is_not() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert!(suggest("adress", &["name", "address"]).starts_with("did you mean `address`?"));
        assert!(suggest("replyMs", &["reply_ms", "idle_ms"]).contains("`reply_ms`"));
        assert_eq!(suggest("colour", &["name", "address"]), "known here: name, address");
    }
}
