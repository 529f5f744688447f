//! `cargo xtask sizes`: lines of code, without comments, blank lines and tests, and bytes in the image.

use std::fs;
use std::path::Path;

use resh_tests::harness::project_root;

use crate::image::elf::Program;
use crate::image::{LOADER, Options};

/// The parts of the source tree.
const PARTS: &[&str] = &[
    "channel",
    "pd-network",
    "pd-voter",
    "pd-groupcomm",
    "guest-vmm",
    "guest-vmm/gateway",
    "guest-vmm/supervisor",
    "boards/runtime",
    "boards/status",
    "boards/linux",
    "boards/sel4",
    "boards/qemu_virt_aarch64",
    "tests",
    "xtask",
];

/// A program that domains on seL4 run.
struct Domain {
    program: &'static str,
    /// Whether wrong bytes may leave if it is wrong (`docs/trusted-base.md`).
    is_trusted: bool,
    /// The code of ours in it, besides [`SHARED`].
    sources: &'static [&'static str],
}

/// The code of ours in every program.
const SHARED: &[&str] = &[
    "channel/src",
    "boards/runtime/src/sel4",
    "boards/runtime/src/lib.rs",
    "boards/runtime/src/channel.rs",
    "boards/runtime/src/handler.rs",
    "boards/runtime/src/message.rs",
];

const DOMAINS: &[Domain] = &[
    Domain {
        program: "network",
        is_trusted: true,
        sources: &[
            "pd-network/src",
            "boards/qemu_virt_aarch64/src/network.rs",
            "boards/qemu_virt_aarch64/src/nic.rs",
            "boards/qemu_virt_aarch64/src/dma.rs",
            "boards/qemu_virt_aarch64/src/registers.rs",
            "boards/qemu_virt_aarch64/src/bin/network.rs",
        ],
    },
    Domain {
        program: "voter",
        is_trusted: true,
        sources: &["pd-voter/src", "boards/sel4/src/bin/voter.rs"],
    },
    Domain {
        program: "supervisor",
        is_trusted: true,
        sources: &["guest-vmm/supervisor/src", "boards/sel4/src/bin/supervisor.rs"],
    },
    Domain {
        program: "timer",
        is_trusted: true,
        sources: &[
            "boards/qemu_virt_aarch64/src/timer.rs",
            "boards/qemu_virt_aarch64/src/pl031.rs",
            "boards/qemu_virt_aarch64/src/registers.rs",
            "boards/qemu_virt_aarch64/src/bin/timer.rs",
        ],
    },
    Domain {
        program: "monitor",
        is_trusted: true,
        sources: &[
            "boards/status/src",
            "boards/qemu_virt_aarch64/src/pl011.rs",
            "boards/qemu_virt_aarch64/src/registers.rs",
            "boards/qemu_virt_aarch64/src/bin/monitor.rs",
        ],
    },
    Domain {
        program: "gateway",
        is_trusted: false,
        sources: &[
            "guest-vmm/src",
            "guest-vmm/gateway/src",
            "boards/sel4/src/gateway",
            "boards/sel4/src/bin/gateway.rs",
        ],
    },
];

/// Prints the tables.
pub(crate) fn sizes() -> Result<bool, String> {
    let lines = |path: &str| {
        lines_of_all(&project_root().join(path)).map_err(|error| format!("{path}: {error}"))
    };
    println!("{:28}{:>8}", "part", "lines");
    for part in PARTS {
        if project_root().join(part).join("src").is_dir() {
            println!("{part:28}{:>8}", lines(&format!("{part}/src"))?);
        }
    }
    let sum = |paths: &[&str]| paths.iter().map(|path| lines(path)).sum::<Result<usize, String>>();
    let shared = sum(SHARED)?;
    let out = Options::default().out();
    println!(
        "\nPrograms on seL4; {shared} lines, rings and runtime, are in each of them besides.\n"
    );
    println!("{:20}{:>10}{:>8}{:>12}{:>12}", "program", "", "lines", "text bytes", "data bytes");
    for Domain { program, is_trusted, sources } in DOMAINS {
        let trust = if *is_trusted { "trusted" } else { "untrusted" };
        print!("{program:20}{trust:>10}{:>8}", sum(sources)?);
        match Program::read(&out.join(format!("{program}.elf"))) {
            Ok(elf) => println!("{:>12}{:>12}", elf.text_bytes, elf.data_bytes),
            Err(_) => println!("{:>12}{:>12}", "-", "-"),
        }
    }
    match fs::metadata(out.join(LOADER)) {
        Ok(image) => println!("\nimage, guests included: {} bytes", image.len()),
        Err(_) => println!("\nno image: `cargo xtask image` builds one"),
    }
    Ok(true)
}

/// Lines of a file, or of all files below a directory.
fn lines_of_all(path: &Path) -> std::io::Result<usize> {
    if path.is_dir() { lines_below(path) } else { Ok(lines_of(&fs::read_to_string(path)?)) }
}

fn lines_below(dir: &Path) -> std::io::Result<usize> {
    let mut total = 0;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "tests") {
                total += lines_below(&path)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && path.file_name().is_some_and(|name| name != "tests.rs")
        {
            total += lines_of(&fs::read_to_string(path)?);
        }
    }
    Ok(total)
}

/// Lines of code up to the tests, which by custom end a file.
fn lines_of(source: &str) -> usize {
    source
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default()
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that was moved is to be found again.
    #[test]
    fn all_sources_of_programs_are_there() {
        for path in DOMAINS.iter().flat_map(|domain| domain.sources).chain(SHARED) {
            assert!(project_root().join(path).exists(), "{path}");
        }
    }

    #[test]
    fn comments_and_tests_do_not_count() {
        let source = "//! About.\n\nfn one() {\n    // why\n}\n#[cfg(test)]\nmod tests {\n}\n";
        assert_eq!(lines_of(source), 2);
    }
}
