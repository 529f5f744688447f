//! A kernel and its modules from a package of Debian's.

use super::elf;
use super::recipe::{FLOOD_MODULE, MODULES};
use super::tree::{Node, Tree};

/// Where "ARM\x64" stands in an Image (Documentation/arch/arm64/booting.rst).
const MAGIC_AT: usize = 56;
const MAGIC: &[u8] = b"ARM\x64";
/// A guest has 128 MiB and needs room for more than its kernel.
const LIMIT_BYTES: usize = 64 << 20;

/// Checks that these are the bytes of a kernel a guest can start.
///
/// # Errors
/// What is wrong with them.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    if bytes.get(MAGIC_AT..MAGIC_AT + MAGIC.len()) != Some(MAGIC) {
        let what = match () {
            () if starts(b"MZ") && bytes.get(4..8) == Some(b"zimg") => "an EFI zboot image",
            () if starts(&[0x1f, 0x8b]) => "gzip",
            () if starts(b"\xfd7zXZ") => "xz",
            () if starts(b"\x7fELF") => "an ELF file",
            () if bytes.get(0x202..0x206) == Some(b"HdrS") => "a kernel for x86",
            () => "something else",
        };
        return Err(format!(
            "not an arm64 Image, but {what}; uncompressed `arch/arm64/boot/Image` is wanted"
        ));
    }
    if bytes.len() > LIMIT_BYTES {
        return Err(format!(
            "{} MiB are too many for a guest of 128 MiB; at most {} MiB",
            bytes.len() >> 20,
            LIMIT_BYTES >> 20
        ));
    }
    Ok(())
}

/// Whether a kernel's package is unpacked at this path: the kernel, and modules that a guest may need.
pub(super) fn wanted(path: &str) -> bool {
    let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
    path.starts_with("boot/vmlinuz-")
        || path.ends_with("/modules.builtin")
        || ["/kernel/drivers/net", "/kernel/drivers/virtio", "/kernel/net/core"]
            .iter()
            .any(|wanted| directory.ends_with(wanted))
}

/// `virtio_net` of `.../virtio_net.ko.xz`.
fn module(path: &str) -> Option<&str> {
    let file = path.rsplit('/').next()?;
    file.strip_suffix(".xz").unwrap_or(file).strip_suffix(".ko")
}

/// The kernel of an unpacked package and its release, such as `6.1.0-50-arm64`. The modules that a guest
/// loads go into `guest`, with the order in which it does.
///
/// # Errors
/// If the package lacks the kernel or a module.
pub(super) fn take(guest: &mut Tree, package: &Tree) -> Result<(Vec<u8>, String), String> {
    let kernel =
        package.nodes().find_map(|(path, node)| match (path.strip_prefix("boot/vmlinuz-"), node) {
            (Some(release), Node::File(_, bytes)) => Some((bytes.clone(), release.to_owned())),
            _ => None,
        });
    let (kernel, release) = kernel.ok_or("the kernel's package has no /boot/vmlinuz")?;
    check(&kernel).map_err(|why| format!("vmlinuz-{release} is {why}"))?;
    let mut order = Vec::new();
    for name in MODULES.iter().chain([&FLOOD_MODULE]) {
        take_module(guest, package, name, &mut order)
            .map_err(|why| format!("the package of Linux {release}: {why}"))?;
    }
    order.retain(|name| name != FLOOD_MODULE);
    guest.put("etc/resh/modules", Node::File(0o644, (order.join("\n") + "\n").into_bytes()));
    Ok((kernel, release))
}

/// Takes a module after those it depends on, and notes it in `order`.
fn take_module(
    guest: &mut Tree,
    package: &Tree,
    name: &str,
    order: &mut Vec<String>,
) -> Result<(), String> {
    if order.iter().any(|taken| taken == name) {
        return Ok(());
    }
    // A file name may have a hyphen where the module's name has an underscore.
    let is_it = |path: &str| module(path).is_some_and(|file| file.replace('-', "_") == name);
    let bytes = match package.nodes().find(|(path, _)| is_it(path)) {
        Some((path, Node::File(_, bytes))) if path.ends_with(".xz") => unpacked(path, bytes)?,
        Some((_, Node::File(_, bytes))) => bytes.clone(),
        _ if is_builtin(package, is_it) => return Ok(()),
        _ => return Err(format!("no module {name}")),
    };
    for depended in elf::module_depends(&bytes).map_err(|why| format!("{name}: {why}"))? {
        take_module(guest, package, &depended, order)?;
    }
    guest.put(&format!("usr/lib/modules/{name}.ko"), Node::File(0o644, bytes));
    order.push(name.to_owned());
    Ok(())
}

fn is_builtin(package: &Tree, is_it: impl Fn(&str) -> bool) -> bool {
    package.nodes().any(|(path, node)| match node {
        Node::File(_, lines) if path.ends_with("/modules.builtin") => {
            String::from_utf8_lossy(lines).lines().any(&is_it)
        }
        _ => false,
    })
}

fn unpacked(path: &str, mut bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut module = Vec::new();
    lzma_rs::xz_decompress(&mut bytes, &mut module).map_err(|error| format!("{path}: {error}"))?;
    Ok(module)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_image_is_a_kernel() {
        let mut image = vec![0; 4096];
        image[MAGIC_AT..MAGIC_AT + 4].copy_from_slice(MAGIC);
        assert_eq!(check(&image), Ok(()));
        for (bytes, said) in [
            (&b"\x1f\x8b\x08"[..], "gzip"),
            (b"MZ\0\0zimg", "zboot"),
            (b"\x7fELF", "ELF"),
            (b"", "something else"),
        ] {
            assert!(check(bytes).is_err_and(|why| why.contains(said)), "{said}");
        }
        image.resize(LIMIT_BYTES + 1, 0);
        assert!(check(&image).is_err_and(|why| why.contains("too many")));
    }

    #[test]
    fn modules_by_name() {
        assert_eq!(module("lib/modules/6/kernel/net/core/failover.ko.xz"), Some("failover"));
        assert_eq!(module("kernel/drivers/net/virtio_net.ko"), Some("virtio_net"));
        assert_eq!(module("modules.builtin"), None);
        assert!(wanted("boot/vmlinuz-6.1.0-50-arm64") && !wanted("boot/config-6.1.0-50-arm64"));
    }
}
