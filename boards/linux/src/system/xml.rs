//! Elements and attributes, with a diagnostic for each that is not as it must be.

use roxmltree::{Document, Node};

use crate::diagnostic::{Diagnostic, Position, suggest};

/// Collects what is wrong while a document is read.
pub(super) struct Xml<'a> {
    pub(super) file: String,
    pub(super) diagnostics: Vec<Diagnostic>,
    document: &'a Document<'a>,
}

impl<'a> Xml<'a> {
    pub(super) fn new(file: &str, document: &'a Document<'a>) -> Self {
        Self { file: file.to_owned(), diagnostics: Vec::new(), document }
    }

    /// Where `node` begins.
    pub(super) fn position(&self, node: Node<'_, '_>) -> Position {
        self.position_at(node.range().start)
    }

    fn position_at(&self, offset: usize) -> Position {
        let at = self.document.text_pos_at(offset);
        Position { line: at.row, column: at.col }
    }

    /// Reports a mistake in an attribute of `node`, or in the element if it has no such attribute or the
    /// name is empty.
    pub(super) fn report(
        &mut self,
        node: Node<'_, '_>,
        attribute: &str,
        problem: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let element = node.tag_name().name();
        let found = node.attributes().find(|a| !attribute.is_empty() && a.name() == attribute);
        let position = found.map_or(node.range().start, |a| a.range().start);
        let place = match attribute {
            "" => format!("<{element}>"),
            attribute => format!("<{element} {attribute}>"),
        };
        self.report_at(self.position_at(position), place, problem, hint);
    }

    /// Reports a mistake at a place that was remembered.
    pub(super) fn report_at(
        &mut self,
        position: Position,
        place: impl Into<String>,
        problem: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.diagnostics.push(Diagnostic {
            file: self.file.clone(),
            position: Some(position),
            place: place.into(),
            problem: problem.into(),
            hint: hint.into(),
        });
    }

    /// Reports every attribute that `node` may not have.
    pub(super) fn only_attributes(&mut self, node: Node<'_, '_>, known: &[&str]) {
        for attribute in node.attributes() {
            let name = attribute.name();
            if !known.contains(&name) {
                self.report(node, name, "unknown attribute", suggest(name, known));
            }
        }
    }

    /// The child elements, and reports those that `node` may not have, and text.
    pub(super) fn elements(&mut self, node: Node<'a, 'a>, known: &[&str]) -> Vec<Node<'a, 'a>> {
        let mut elements = Vec::new();
        for child in node.children() {
            if child.is_text() && child.text().is_some_and(|text| !text.trim().is_empty()) {
                let problem = format!("text {:?}", child.text().unwrap_or_default().trim());
                let hint = "write it as a comment, or as an attribute";
                let range = child.range();
                let raw = &self.document.input_text()[range.clone()];
                let start = range.end - raw.trim_start().len();
                let place = format!("<{}>", node.tag_name().name());
                self.report_at(self.position_at(start), place, problem, hint);
            }
            if !child.is_element() {
                continue;
            }
            let name = child.tag_name().name();
            if known.contains(&name) {
                elements.push(child);
            } else {
                let parent = node.tag_name().name();
                let problem = format!("unknown element in <{parent}>");
                let hint = refused(name).map_or_else(|| suggest(name, known), str::to_owned);
                self.report(child, "", problem, hint);
            }
        }
        elements
    }

    /// An attribute that must be there, and not be empty.
    pub(super) fn required(&mut self, node: Node<'a, '_>, name: &str) -> Option<&'a str> {
        match node.attribute(name) {
            Some("") => {
                self.report(node, name, "is empty", "give it a value");
                None
            }
            None => {
                let hint = format!("add {name}=\"…\"");
                self.report(node, name, "attribute is missing", hint);
                None
            }
            value => value,
        }
    }

    /// A number in decimal, or in hexadecimal after `0x`; underscores are ignored.
    pub(super) fn number(&mut self, node: Node<'_, '_>, name: &str) -> Option<u64> {
        let text = node.attribute(name)?;
        let digits = text.replace('_', "");
        let number = match digits.strip_prefix("0x") {
            Some(hexadecimal) => u64::from_str_radix(hexadecimal, 16),
            None => digits.parse(),
        };
        if number.is_err() {
            let hint = "write decimal digits, or 0x and hexadecimal digits, below 2^64";
            self.report(node, name, format!("{text:?} is not a number"), hint);
        }
        number.ok()
    }

    /// A number that Microkit takes in decimal only, 0 to `max`.
    pub(super) fn decimal(&mut self, node: Node<'_, '_>, name: &str, max: u64) -> Option<u64> {
        let text = node.attribute(name)?;
        let number = text.parse().ok().filter(|number| *number <= max);
        if number.is_none() {
            let problem = format!("{text:?} is not a number from 0 to {max} in decimal");
            self.report(node, name, problem, format!("write decimal digits, 0 to {max}"));
        }
        number
    }

    /// `true` or `false`; `default` if the attribute is not there.
    pub(super) fn boolean(&mut self, node: Node<'_, '_>, name: &str, default: bool) -> bool {
        match node.attribute(name) {
            None => default,
            Some("true") => true,
            Some("false") => false,
            Some(other) => {
                let hint = "write \"true\" or \"false\"";
                self.report(node, name, format!("{other:?} is neither true nor false"), hint);
                default
            }
        }
    }
}

/// Why an element that Microkit knows is refused here.
fn refused(element: &str) -> Option<&'static str> {
    Some(match element {
        "cspace" => {
            "leave it out: a capability to another domain would go past the channels and regions \
             that are checked here"
        }
        "ioport" | "io_address_space" => "leave it out: it is for x86-64 only",
        "domains" => "leave it out: RESH has no domain schedule",
        "virtual_machine" => "put it into the protection domain that hosts it",
        _ => return None,
    })
}
