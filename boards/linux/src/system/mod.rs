//! The system description, `microkit-system.xml`: what domains there are, what memory they share and
//! with what rights, and who may notify whom.
//!
//! The format is that of Microkit 2.3.0 for AArch64 ("System Description File" in its manual). The
//! checks are Microkit's own and a few more, and all mistakes are reported at once. What Microkit
//! would accept and this board could not confine is refused. Two things only the Microkit tool can check:
//! whether a `prefill_path` is there when the image is built, and how many cores the kernel has.
//!
//! [`authority`] holds the result against the rules of this appliance; [`overlay`] adds what a board has.

pub mod authority;
mod channels;
mod check;
mod model;
mod on_linux;
pub mod overlay;
mod read;
mod xml;

use std::path::Path;

pub use model::{
    ChannelEnd, Domain, DomainIndex, Irq, Map, Region, RegionIndex, Rights, SetValue, SetVar,
    System, Trigger, VirtualMachine,
};

use crate::diagnostic::{Diagnostic, Position, read_file};

/// Highest id of a channel, an interrupt, a child or a virtual CPU.
pub const ID_MAX: u8 = 61;
/// Domains of one system, at most.
pub const DOMAINS_MAX: usize = 63;
/// Highest priority of a domain. 255 is Microkit's own monitor.
pub const PRIORITY_MAX: u8 = 254;
/// Page sizes in bytes.
pub const PAGE_BYTES: [u64; 2] = [0x1000, 0x20_0000];
/// Where the address space of a domain ends: stage 2 translation with 40-bit addresses, as on the smallest
/// boards. At its top lie one page of IPC buffer, one that is never mapped, and the stack.
pub const ADDRESS_SPACE_END: u64 = 1 << 40;

impl System {
    /// Reads a description and checks it. Messages call the file `microkit-system.xml`.
    ///
    /// # Errors
    /// Every mistake found, in the order of the file.
    pub fn parse(text: &str) -> Result<Self, Vec<Diagnostic>> {
        Self::parse_named(text, "microkit-system.xml")
    }

    /// Reads the description in the file at `path`, and checks it, and its authority.
    ///
    /// # Errors
    /// Every mistake found, in the order of the file.
    pub fn load(path: &Path) -> Result<Self, Vec<Diagnostic>> {
        let system = Self::parse_named(&read_file(path)?, &path.display().to_string())?;
        let diagnostics = authority::check(&system);
        if diagnostics.is_empty() { Ok(system) } else { Err(diagnostics) }
    }

    fn parse_named(text: &str, file: &str) -> Result<Self, Vec<Diagnostic>> {
        let document = document(text, file)?;
        let mut xml = xml::Xml::new(file, &document);
        let system = read::system(&mut xml, document.root_element());
        let mut diagnostics = xml.diagnostics;
        diagnostics.sort_by_key(|diagnostic| diagnostic.position);
        if diagnostics.is_empty() { Ok(system) } else { Err(diagnostics) }
    }
}

fn document<'a>(text: &'a str, file: &str) -> Result<roxmltree::Document<'a>, Vec<Diagnostic>> {
    roxmltree::Document::parse(text).map_err(|error| {
        vec![Diagnostic {
            file: file.to_owned(),
            position: Some(Position { line: error.pos().row, column: error.pos().col }),
            place: String::new(),
            problem: format!("not well-formed XML: {error}"),
            hint: "close every element and quote every attribute, without a DTD".to_owned(),
        }]
    })
}
