//! Which shared libraries programs need, and taking exactly those.

use object::elf::{DT_NEEDED, FileHeader64, PT_INTERP};
use object::read::elf::{Dyn, FileHeader, ProgramHeader, SectionHeader};
use object::{Endianness, elf};

use super::tree::{Node, Tree};

/// Where Debian's loader looks for libraries.
const LIBRARY_PATHS: [&str; 2] = ["usr/lib/aarch64-linux-gnu", "usr/lib"];

/// glibc loads it only when a thread ends, and no program names it.
const LOADED_BY_GLIBC: &str = "libgcc_s.so.1";

/// Adds to `guest`, from `pool`, every library and loader that the programs in it need, and what those need.
///
/// # Errors
/// If the pool lacks one, or a program is for another processor.
pub(super) fn add_libraries(guest: &mut Tree, pool: &Tree) -> Result<(), String> {
    let mut waiting: Vec<(String, Vec<u8>)> = guest.nodes().filter_map(program).collect();
    while let Some((path, bytes)) = waiting.pop() {
        for needed in needed(&bytes).map_err(|why| format!("{path}: {why}"))? {
            let found = match needed.strip_prefix('/') {
                Some(absolute) => pool.get(absolute).map(|_| absolute.to_owned()),
                None => LIBRARY_PATHS
                    .iter()
                    .map(|directory| format!("{directory}/{needed}"))
                    .find(|path| pool.get(path).is_some()),
            };
            let found =
                found.ok_or_else(|| format!("{path} needs {needed}, which no package here has"))?;
            for added in copy(guest, pool, &found)? {
                waiting.extend(pool.get(&added).and_then(|node| program((added.as_str(), node))));
            }
        }
    }
    Ok(())
}

/// Copies `path` from `pool`, and what it links to. Gives the paths that were not in `guest` before.
///
/// # Errors
/// If the pool lacks it.
pub(super) fn copy(guest: &mut Tree, pool: &Tree, path: &str) -> Result<Vec<String>, String> {
    let mut added = Vec::new();
    let mut path = path.to_owned();
    loop {
        let node = pool.get(&path).ok_or_else(|| format!("no package here has /{path}"))?;
        if guest.get(&path).is_some() {
            return Ok(added);
        }
        guest.put(&path, node.clone());
        added.push(path.clone());
        let Node::Link(target) = node else { return Ok(added) };
        path = match (target.strip_prefix('/'), path.rsplit_once('/')) {
            (Some(absolute), _) => absolute.to_owned(),
            (None, Some((directory, _))) => format!("{directory}/{target}"),
            (None, None) => target.clone(),
        };
    }
}

fn program((path, node): (&str, &Node)) -> Option<(String, Vec<u8>)> {
    match node {
        Node::File(_, bytes) if bytes.starts_with(&elf::ELFMAG) => {
            Some((path.to_owned(), bytes.clone()))
        }
        _ => None,
    }
}

/// The libraries (by name) and the loader (by path) that an ELF file asks for (gABI, "Dynamic Linking").
fn needed(bytes: &[u8]) -> Result<Vec<String>, String> {
    let broken = |error: object::Error| error.to_string();
    let header = FileHeader64::<Endianness>::parse(bytes).map_err(broken)?;
    let endian = header.endian().map_err(broken)?;
    if header.e_machine(endian) != elf::EM_AARCH64 {
        return Err("not a program for arm64".to_owned());
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned();
    let mut needed = Vec::new();
    for segment in header.program_headers(endian, bytes).map_err(broken)? {
        if segment.p_type(endian) == PT_INTERP {
            needed.push(text(segment.data(endian, bytes).map_err(|()| "broken PT_INTERP")?));
        }
    }
    let sections = header.sections(endian, bytes).map_err(broken)?;
    if let Some((entries, strings)) = sections.dynamic(endian, bytes).map_err(broken)? {
        let strings = sections.strings(endian, bytes, strings).map_err(broken)?;
        for entry in entries.iter().filter(|entry| entry.tag32(endian) == Some(DT_NEEDED)) {
            needed.push(text(entry.string(endian, strings).map_err(broken)?));
        }
    }
    if needed.iter().any(|name| name == "libc.so.6") {
        needed.push(LOADED_BY_GLIBC.to_owned());
    }
    Ok(needed)
}

/// The modules that a kernel module needs: `depends=` of its section `.modinfo`.
///
/// # Errors
/// If it is no module for arm64.
pub(super) fn module_depends(bytes: &[u8]) -> Result<Vec<String>, String> {
    let broken = |error: object::Error| error.to_string();
    let header = FileHeader64::<Endianness>::parse(bytes).map_err(broken)?;
    let endian = header.endian().map_err(broken)?;
    let sections = header.sections(endian, bytes).map_err(broken)?;
    let (_, section) =
        sections.section_by_name(endian, b".modinfo").ok_or("not a kernel module")?;
    let lines = section.data(endian, bytes).map_err(broken)?.split(|&byte| byte == 0);
    let depends = lines.filter_map(|line| line.strip_prefix(b"depends=")).flat_map(|names| {
        names.split(|&byte| byte == b',').map(|name| String::from_utf8_lossy(name).into_owned())
    });
    Ok(depends.filter(|name| !name.is_empty()).collect())
}
