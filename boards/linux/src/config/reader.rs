//! Tables and values of a TOML file, with a diagnostic for each that is not as it must be.

use std::fmt::Write as _;
use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Diagnostic, Position, suggest};

/// Collects what is wrong while a file is read.
pub(super) struct Reader<'a> {
    pub(super) file: &'a str,
    pub(super) diagnostics: Vec<Diagnostic>,
    text: &'a str,
}

/// A table, and the path of keys that leads to it.
pub(super) struct Table<'a> {
    path: String,
    entries: &'a DeTable<'a>,
    span: Range<usize>,
}

/// Where a value stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) path: String,
    pub(super) position: Position,
}

/// A value and where it stands.
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

impl<'a> Table<'a> {
    pub(super) fn root(entries: &'a DeTable<'a>) -> Self {
        Self { path: String::new(), entries, span: 0..0 }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The path of a key of this table.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, diagnostics: Vec::new(), text }
    }

    pub(super) fn report(
        &mut self,
        place: &Place,
        problem: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.diagnostics.push(Diagnostic {
            file: self.file.to_owned(),
            position: Some(place.position),
            place: place.path.clone(),
            problem: problem.into(),
            hint: hint.into(),
        });
    }

    /// Reports what the TOML parser did not understand.
    pub(super) fn report_syntax(&mut self, error: &toml::de::Error) {
        let start = error.span().map_or(0, |span| span.start);
        let place = Place { path: String::new(), position: Position::of(self.text, start) };
        let problem = format!("not well-formed TOML: {}", error.message().replace('\n', ", "));
        let hint = "write key = value lines, [table] and [[service]] headers, strings in quotes";
        self.report(&place, problem, hint);
    }

    /// Where the table begins.
    pub(super) fn place_of(&self, table: &Table<'_>) -> Place {
        Place { path: table.path.clone(), position: Position::of(self.text, table.span.start) }
    }

    /// Where a key of the table stands.
    pub(super) fn place_of_key(&self, table: &Table<'_>, key: &str) -> Place {
        let found = table.entries.get_key_value(key);
        self.place(table, key, found.map_or_else(|| table.span.clone(), |(key, _)| key.span()))
    }

    fn place(&self, table: &Table<'_>, key: &str, span: Range<usize>) -> Place {
        Place { path: table.path_of(key), position: Position::of(self.text, span.start) }
    }

    /// Reports every key that the table may not have.
    pub(super) fn only_keys(&mut self, table: &Table<'_>, known: &[&str]) {
        for key in table.entries.keys() {
            let name = key.get_ref();
            if !known.contains(&name.as_ref()) {
                let place = self.place(table, name, key.span());
                self.report(&place, "unknown key", suggest(name, known));
            }
        }
    }

    /// Reports that a key must be there.
    pub(super) fn missing(&mut self, table: &Table<'_>, key: &str, hint: &str) {
        let place = Place { path: table.path_of(key), position: self.place_of(table).position };
        self.report(&place, "is missing", hint);
    }

    fn value(&self, table: &Table<'a>, key: &str) -> Option<Found<&'a DeValue<'a>>> {
        let value: &'a Spanned<DeValue<'a>> = table.entries.get(key)?;
        Some(Found { value: value.get_ref(), place: self.place(table, key, value.span()) })
    }

    fn wrong_type(&mut self, found: &Found<&DeValue<'_>>, expected: &str) {
        let mut problem = format!("expected {expected}, found ");
        let hint = match found.value {
            DeValue::String(text) => {
                let _ = write!(problem, "the string {text:?}");
                match expected {
                    "an integer" if text.parse::<i64>().is_ok() => {
                        format!("write {text} without quotes")
                    }
                    "a list of strings" => format!("write [{text:?}]"),
                    _ => format!("write {expected}"),
                }
            }
            DeValue::Integer(number) => {
                let _ = write!(problem, "the integer {}", number.as_str());
                match expected {
                    "a string" => format!("put it in quotes: {:?}", number.as_str()),
                    _ => format!("write {expected}"),
                }
            }
            DeValue::Float(_) if expected == "an integer" => {
                problem.push_str("a float");
                "write a whole number".to_owned()
            }
            DeValue::Table(_) if expected == "a list of tables" => {
                problem.push_str("a table");
                format!("write the header with two brackets, [[{}]]", found.place.path)
            }
            other => {
                let _ = write!(problem, "a {}", other.type_str());
                format!("write {expected}")
            }
        };
        self.report(&found.place, problem, hint);
    }

    /// The string at `key`, if there is one.
    pub(super) fn string(&mut self, table: &Table<'a>, key: &str) -> Option<Found<&'a str>> {
        let found = self.value(table, key)?;
        match found.value {
            DeValue::String(text) => Some(Found { value: text.as_ref(), place: found.place }),
            _ => {
                self.wrong_type(&found, "a string");
                None
            }
        }
    }

    /// The strings in the list at `key`.
    pub(super) fn strings(
        &mut self,
        table: &Table<'a>,
        key: &str,
    ) -> Option<Found<Vec<Found<&'a str>>>> {
        let found = self.value(table, key)?;
        let DeValue::Array(items) = found.value else {
            self.wrong_type(&found, "a list of strings");
            return None;
        };
        let mut strings = Vec::new();
        for (at, item) in items.iter().enumerate() {
            let path = format!("{}[{at}]", found.place.path);
            let place = Place { path, position: Position::of(self.text, item.span().start) };
            match item.get_ref() {
                DeValue::String(text) => strings.push(Found { value: text.as_ref(), place }),
                other => self.wrong_type(&Found { value: other, place }, "a string"),
            }
        }
        Some(Found { value: strings, place: found.place })
    }

    /// The integer at `key`, which must be in `limits`; `unit` says of what.
    pub(super) fn integer(
        &mut self,
        table: &Table<'a>,
        key: &str,
        limits: RangeInclusive<u32>,
        unit: &str,
    ) -> Option<u32> {
        let found = self.value(table, key)?;
        let DeValue::Integer(number) = found.value else {
            self.wrong_type(&found, "an integer");
            return None;
        };
        let value = i128::from_str_radix(number.as_str(), number.radix()).ok();
        let value = value.and_then(|value| u32::try_from(value).ok());
        let within = value.filter(|value| limits.contains(value));
        if within.is_none() {
            let problem = format!("{} is out of limits", number.as_str());
            let hint = format!("use {} to {} {unit}", limits.start(), limits.end());
            self.report(&found.place, problem, hint);
        }
        within
    }

    /// The table at `key`, if there is one.
    pub(super) fn table(&mut self, table: &Table<'a>, key: &str) -> Option<Table<'a>> {
        let found = self.value(table, key)?;
        let span = table.entries.get(key)?.span();
        match found.value {
            DeValue::Table(entries) => Some(Table { path: found.place.path, entries, span }),
            _ => {
                self.wrong_type(&found, "a table");
                None
            }
        }
    }

    /// The tables in the list at `key`; none if there is no such key.
    pub(super) fn tables(&mut self, table: &Table<'a>, key: &str) -> Vec<Table<'a>> {
        let Some(found) = self.value(table, key) else { return Vec::new() };
        let DeValue::Array(items) = found.value else {
            self.wrong_type(&found, "a list of tables");
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (at, item) in items.iter().enumerate() {
            let path = format!("{}[{at}]", found.place.path);
            if let DeValue::Table(entries) = item.get_ref() {
                tables.push(Table { path, entries, span: item.span() });
            } else {
                let position = Position::of(self.text, item.span().start);
                let found = Found { value: item.get_ref(), place: Place { path, position } };
                self.wrong_type(&found, "a table");
            }
        }
        tables
    }
}
