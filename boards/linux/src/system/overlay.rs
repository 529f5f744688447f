//! What a board adds to the system description, from its `board.xml`.
//!
//! Its root is `<board name="…">`, and in it stand
//! - `memory_region` elements, which are added; or, if the system description has a region of that name,
//!   give it another `size`;
//! - `<protection_domain name="…">` with `map`, `irq` and `setvar` elements, and
//!   `<virtual_machine name="…">` with `map` elements, which are added to the one of that name.
//!
//! The result is text that the Microkit tool reads. Whatever is found wrong in it is reported where it was
//! written, in the one file or the other.

use std::ops::Range;
use std::path::Path;

use roxmltree::{Document, Node};

use super::xml::Xml;
use super::{System, authority, document};
use crate::diagnostic::{Diagnostic, Position, read_file, suggest};

/// A file that was read.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// What messages call it.
    pub file: &'a str,
    /// What is in it.
    pub text: &'a str,
}

/// The system description with a board's additions.
#[derive(Clone, Debug)]
pub struct Merged<'a> {
    text: String,
    sources: [Source<'a>; 2],
    /// Where each part of `text` comes from, in its order.
    parts: Vec<Part>,
}

/// A part of the merged text.
#[derive(Clone, Debug)]
struct Part {
    /// Where it begins in the merged text, in bytes.
    start: usize,
    /// Index of the source it was taken from.
    source: usize,
    /// Where it begins there, in bytes.
    source_start: usize,
}

/// Index of the system description in [`Merged::sources`].
const SYSTEM: usize = 0;
/// Index of the board's file in [`Merged::sources`].
const BOARD: usize = 1;

/// Reads the system description and a board's additions, and checks them together, authority included.
/// Returns the system, and its description for the Microkit tool.
///
/// # Errors
/// Every mistake found, with the file it is in.
pub fn load(system: &Path, board: &Path) -> Result<(System, String), Vec<Diagnostic>> {
    let (system_text, board_text) = (read_file(system)?, read_file(board)?);
    let (system, board) = (system.display().to_string(), board.display().to_string());
    let system = Source { file: &system, text: &system_text };
    let merged = merge(system, Source { file: &board, text: &board_text })?;
    Ok((merged.check()?, merged.text))
}

/// Adds what is in `board` to what is in `system`.
///
/// # Errors
/// Every mistake in the structure of `board`; those in what is added are for [`Merged::check`].
pub fn merge<'a>(system: Source<'a>, board: Source<'a>) -> Result<Merged<'a>, Vec<Diagnostic>> {
    let sources = [system, board];
    let base = document(system.text, system.file)?;
    let additions = document(board.text, board.file)?;
    let mut xml = Xml::new(board.file, &additions);
    let mut edits = edits(&mut xml, &base, &additions);
    xml.diagnostics.sort_by_key(|diagnostic| diagnostic.position);
    if !xml.diagnostics.is_empty() {
        return Err(xml.diagnostics);
    }
    // Those at one place stay in the order of the board's file.
    edits.sort_by_key(|edit| edit.replaced.start);
    let mut merged = Merged { text: String::new(), sources, parts: Vec::new() };
    let mut done = 0;
    for edit in edits {
        merged.push(SYSTEM, done..edit.replaced.start);
        merged.text.push_str(&edit.before);
        merged.push(BOARD, edit.taken);
        done = edit.replaced.end;
    }
    merged.push(SYSTEM, done..system.text.len());
    Ok(merged)
}

/// A piece of the system description that is replaced by a piece of the board's file.
struct Edit {
    replaced: Range<usize>,
    /// Blanks before it.
    before: String,
    taken: Range<usize>,
}

impl Edit {
    /// Puts `new` on a line of its own after `neighbour`.
    fn after(neighbour: Node<'_, '_>, new: Node<'_, '_>) -> Self {
        let end = neighbour.range().end;
        let text = neighbour.document().input_text();
        let line = &text[text[..neighbour.range().start].rfind('\n').map_or(0, |at| at + 1)..];
        let indentation: String = line.chars().take_while(|c| matches!(c, ' ' | '\t')).collect();
        Self { replaced: end..end, before: format!("\n{indentation}"), taken: new.range() }
    }
}

fn edits<'a>(xml: &mut Xml<'a>, base: &Document<'_>, additions: &'a Document<'a>) -> Vec<Edit> {
    let root = additions.root_element();
    if root.tag_name().name() != "board" {
        xml.report(root, "", "does not say what a board adds", "begin with <board name=\"…\">");
        return Vec::new();
    }
    xml.only_attributes(root, &["name"]);
    xml.required(root, "name");
    let mut edits = Vec::new();
    let mut seen = Vec::new();
    for node in xml.elements(root, &["memory_region", "protection_domain", "virtual_machine"]) {
        let element = node.tag_name().name();
        let Some(name) = xml.required(node, "name") else { continue };
        if seen.contains(&(element, name)) {
            let hint = "write it once, with all that is added";
            xml.report(node, "name", format!("a second <{element}> {name:?}"), hint);
            continue;
        }
        seen.push((element, name));
        let of_kind = || base.descendants().filter(|other| other.has_tag_name(element));
        let found = of_kind().find(|other| other.attribute("name") == Some(name));
        match (element, found) {
            ("memory_region", Some(region)) => edits.extend(resized(xml, node, region)),
            ("memory_region", None) => {
                edits.extend(of_kind().next_back().map(|last| Edit::after(last, node)));
            }
            (_, Some(host)) => edits.extend(extended(xml, node, host)),
            (_, None) => {
                let known: Vec<_> = of_kind().filter_map(|other| other.attribute("name")).collect();
                let problem = format!("there is no <{element}> {name:?} to add to");
                xml.report(node, "name", problem, suggest(name, &known));
            }
        }
    }
    edits
}

/// Another size for a region.
fn resized<'a>(xml: &mut Xml<'a>, node: Node<'a, 'a>, region: Node<'_, '_>) -> Option<Edit> {
    xml.elements(node, &[]);
    let name = node.attribute("name").unwrap_or_default();
    let size = |node: Node<'_, '_>| {
        node.attributes().find(|a| a.name() == "size").map(|attribute| attribute.range())
    };
    for attribute in node.attributes().filter(|a| !matches!(a.name(), "name" | "size")) {
        let problem = format!("the system description has a region {name:?} already");
        let hint = "give it another size, and nothing else; or choose another name";
        xml.report(node, attribute.name(), problem, hint);
    }
    xml.required(node, "size")?;
    let Some(replaced) = size(region) else {
        let problem = format!("region {name:?} is as large as the file in it");
        xml.report(node, "size", problem, "remove this element");
        return None;
    };
    Some(Edit { replaced, before: String::new(), taken: size(node)? })
}

/// What is added to a domain or a virtual machine.
fn extended<'a>(xml: &mut Xml<'a>, node: Node<'a, 'a>, host: Node<'_, '_>) -> Vec<Edit> {
    xml.only_attributes(node, &["name"]);
    let known: &[&str] = match node.tag_name().name() {
        "protection_domain" => &["map", "irq", "setvar"],
        _ => &["map"],
    };
    let Some(last) = host.children().rfind(Node::is_element) else {
        let hint = "fill it in the system description first";
        xml.report(node, "name", "is empty in the system description", hint);
        return Vec::new();
    };
    xml.elements(node, known).into_iter().map(|new| Edit::after(last, new)).collect()
}

impl Merged<'_> {
    /// The description, for the Microkit tool.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Reads the whole description and checks it, and its authority.
    ///
    /// # Errors
    /// Every mistake found, each in the file it was written in.
    pub fn check(&self) -> Result<System, Vec<Diagnostic>> {
        let [system, board] = self.sources;
        let name = format!("{} with {}", system.file, board.file);
        let found = System::parse_named(&self.text, &name).and_then(|system| {
            let diagnostics = authority::check(&system);
            if diagnostics.is_empty() { Ok(system) } else { Err(diagnostics) }
        });
        found.map_err(|diagnostics| diagnostics.into_iter().map(|d| self.located(d)).collect())
    }

    fn push(&mut self, source: usize, range: Range<usize>) {
        let start = self.text.len();
        self.parts.push(Part { start, source, source_start: range.start });
        self.text.push_str(&self.sources[source].text[range]);
    }

    /// The same diagnostic, with the file and the place where it was written.
    fn located(&self, mut diagnostic: Diagnostic) -> Diagnostic {
        let Some(position) = diagnostic.position else { return diagnostic };
        let offset = position.offset_in(&self.text);
        let Some(part) = self.parts.iter().rfind(|part| part.start <= offset) else {
            return diagnostic;
        };
        let source = self.sources[part.source];
        diagnostic.file = source.file.to_owned();
        diagnostic.position =
            Some(Position::of(source.text, part.source_start + (offset - part.start)));
        diagnostic
    }
}
