//! From ELF to the flat `Image` of an arm64 kernel (Documentation/arch/arm64/booting.rst of Linux).

use object::{Object, ObjectSegment};

/// Where an `Image` has its magic number, and what it is.
const MAGIC_AT: usize = 56;
const MAGIC: &[u8] = b"ARM\x64";
/// The longest image there can be, in bytes, so that a wrong file cannot ask for all memory.
const IMAGE_BYTES_MAX: u64 = 16 << 20;

/// What the ELF file `elf` loads, from its first address on, as one flat image. The kernel clears its
/// own zeros.
///
/// # Errors
/// If it is no ELF file, or what it loads does not begin with the header of an `Image`.
pub fn hostile_image(elf: &[u8]) -> Result<Vec<u8>, String> {
    let file = object::File::parse(elf).map_err(|error| error.to_string())?;
    let start = file.segments().map(|segment| segment.address()).min().unwrap_or(0);
    let mut image = Vec::new();
    for segment in file.segments() {
        let data = segment.data().map_err(|error| error.to_string())?;
        let at = segment.address() - start;
        if at > IMAGE_BYTES_MAX {
            return Err("its segments are too far apart".into());
        }
        let end = at as usize + data.len();
        image.resize(end.max(image.len()), 0);
        image[at as usize..end].copy_from_slice(data);
    }
    match image.get(MAGIC_AT..MAGIC_AT + MAGIC.len()) {
        Some(MAGIC) => Ok(image),
        _ => Err("it has no header of an arm64 Image".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::hostile_image;

    #[test]
    fn what_is_no_kernel_is_refused() {
        assert!(hostile_image(b"no ELF file").is_err());
        let own = std::env::current_exe().expect("a test is a file");
        let own = std::fs::read(own).expect("and can be read");
        let error = hostile_image(&own).expect_err("a test is no kernel");
        assert!(error.contains("Image"), "{error}");
    }
}
