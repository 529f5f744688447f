//! What an ELF file of a domain holds.

use std::collections::BTreeSet;
use std::path::Path;

use object::{Object, ObjectSection, ObjectSymbol, SectionKind};

/// A program as the Microkit tool and the kernel see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Program {
    /// The names of its symbols.
    pub(crate) symbols: BTreeSet<String>,
    /// Address of its first instruction.
    pub(crate) entry: u64,
    /// What it may write and begins with other values than 0, in bytes.
    pub(crate) initialised_bytes: u64,
    /// Code and constants, in bytes.
    pub(crate) text_bytes: u64,
    /// What it may write, zeros included, in bytes.
    pub(crate) data_bytes: u64,
}

impl Program {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// If it cannot be read or is no ELF file.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let file =
            object::File::parse(&*bytes).map_err(|error| format!("{}: {error}", path.display()))?;
        let symbols = file.symbols().filter(|symbol| symbol.is_definition());
        let bytes_of = |kinds: &[SectionKind]| {
            file.sections().filter(|s| kinds.contains(&s.kind())).map(|s| s.size()).sum()
        };
        Ok(Self {
            symbols: symbols.filter_map(|symbol| symbol.name().ok().map(str::to_owned)).collect(),
            entry: file.entry(),
            initialised_bytes: bytes_of(&[SectionKind::Data]),
            text_bytes: bytes_of(&[
                SectionKind::Text,
                SectionKind::ReadOnlyData,
                SectionKind::ReadOnlyString,
            ]),
            data_bytes: bytes_of(&[SectionKind::Data, SectionKind::UninitializedData]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Program;

    /// The test's own program has symbols, code and data, and a source file has none.
    #[test]
    fn an_elf_file_is_told_from_others() {
        let own = std::env::current_exe().expect("a test is a file");
        let program = Program::read(&own).expect("and an ELF file");
        assert!(program.symbols.contains("main") && !program.symbols.contains("no such symbol"));
        assert!(program.text_bytes > 0 && program.data_bytes > 0);
        assert!(program.entry > 0);
        // What a replica's program must not have.
        assert!(program.initialised_bytes > 0);
        let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        assert!(Program::read(&source).is_err());
    }
}
