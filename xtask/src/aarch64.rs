//! Building the programs of the domains for seL4 on AArch64.
//!
//! The target `aarch64-unknown-none` is at hand where rustup has installed it. Debian has no such package,
//! but has the compiler together with the sources of `core` and `alloc`, from which cargo can build them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use resh_tests::process::{find_program, output};

use crate::command::{cargo, lines, target_dir};
use crate::problems::Problems;
use crate::sdk::{KernelConfig, Sdk};

/// The target: AArch64 without an operating system.
pub(crate) const TARGET: &str = "aarch64-unknown-none";
/// Debian's compiler, whatever `rustc` is first in `PATH`.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
/// The oldest compiler the workspace can be built with: `rust-version` in Cargo.toml.
const MINOR_VERSION_MIN: u32 = 88;
/// Names of LLVM's linker, the unversioned one first.
const LINKERS: &[&str] = &[
    "ld.lld",
    "ld.lld-22",
    "ld.lld-21",
    "ld.lld-20",
    "ld.lld-19",
    "ld.lld-18",
    "ld.lld-17",
    "ld.lld-16",
];

/// What builds programs for [`TARGET`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// The compiler cargo uses anyway, with the target installed by rustup.
    Rustup,
    /// A compiler that comes with the sources of its library, and a linker.
    FromSource {
        /// The compiler.
        rustc: PathBuf,
        /// LLVM's linker.
        linker: PathBuf,
    },
}

impl Toolchain {
    /// Finds one, or says in `problems` what to install.
    pub(crate) fn find(problems: &mut Problems) -> Option<Self> {
        let own = std::env::var_os("RUSTC").map_or_else(|| PathBuf::from("rustc"), PathBuf::from);
        if target_is_installed(&own) {
            return Some(Self::Rustup);
        }
        let missing = match (debian_compiler(), linker()) {
            (Some(rustc), Some(linker)) => return Some(Self::FromSource { rustc, linker }),
            (Some(_), None) => "lld-16",
            (None, Some(_)) => "rustc-web rust-web-src",
            (None, None) => "rustc-web rust-web-src lld-16",
        };
        problems.missing(
            format!("the Rust target {TARGET} is not installed"),
            format!(
                "run `rustup target add {TARGET}`, or on Debian 12 without rustup \
                 `apt-get install {missing}`"
            ),
        );
        None
    }

    /// `cargo` with these arguments, for [`TARGET`].
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = cargo(arguments);
        command.args(["--target", TARGET]);
        command.env("CARGO_TARGET_DIR", target_dir().join("sel4"));
        if let Self::FromSource { rustc, linker } = self {
            command
                .env("RUSTC", rustc)
                // The library is built with the unstable features that it is written in.
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_UNSTABLE_BUILD_STD", "core,alloc,compiler_builtins")
                .env("CARGO_TARGET_AARCH64_UNKNOWN_NONE_LINKER", linker);
        }
        command
    }
}

/// What is built, and for which kernel.
#[derive(Clone, Debug)]
pub(crate) struct Build<'a> {
    /// The packages whose programs are built.
    pub(crate) packages: &'a [String],
    /// Features of them, as `package/feature`.
    pub(crate) features: &'a [String],
    /// The board, as the SDK calls it.
    pub(crate) board: &'a str,
    /// The kernel: the numbers of its system calls differ.
    pub(crate) config: KernelConfig,
}

impl Build<'_> {
    /// Builds, and returns the programs by their names.
    ///
    /// # Errors
    /// If cargo cannot be executed, or fails; it has said why.
    pub(crate) fn run(
        &self,
        toolchain: &Toolchain,
        sdk: &Sdk,
    ) -> Result<BTreeMap<String, PathBuf>, String> {
        let mut command = toolchain.cargo(&["build", "--release", "--quiet"]);
        command.arg("--message-format=json-render-diagnostics");
        for package in self.packages {
            command.args(["--package", package]);
        }
        if !self.features.is_empty() {
            command.args(["--features", &self.features.join(",")]);
        }
        command
            .env("MICROKIT_SDK", &sdk.root)
            .env("MICROKIT_BOARD", self.board)
            .env("MICROKIT_CONFIG", self.config.name());
        let mut programs = BTreeMap::new();
        let built = lines(&mut command, |line| programs.extend(program_of(line)))
            .map_err(|error| format!("cargo: {error}"))?;
        if built { Ok(programs) } else { Err("the programs of the domains do not build".into()) }
    }
}

/// Name and path of the program, if this line of cargo's output is about one.
fn program_of(line: &str) -> Option<(String, PathBuf)> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    let path = message["executable"].as_str()?;
    Some((message["target"]["name"].as_str()?.to_owned(), path.into()))
}

/// Whether `rustc` has the libraries of [`TARGET`].
fn target_is_installed(rustc: &Path) -> bool {
    let asked = output(Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]));
    asked.is_ok_and(|dir| Path::new(dir.trim()).is_dir())
}

/// Debian's compiler, if it is new enough and the sources of its library lie where cargo looks for them.
fn debian_compiler() -> Option<PathBuf> {
    let rustc = PathBuf::from(DEBIAN_RUSTC);
    let version = output(Command::new(&rustc).arg("--version")).ok()?;
    let minor: u32 = version.strip_prefix("rustc 1.")?.split('.').next()?.parse().ok()?;
    let sysroot = output(Command::new(&rustc).args(["--print", "sysroot"])).ok()?;
    let sources = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/Cargo.toml");
    (minor >= MINOR_VERSION_MIN && sources.is_file()).then_some(rustc)
}

fn linker() -> Option<PathBuf> {
    LINKERS.iter().find_map(|name| find_program(name))
}

#[cfg(test)]
mod tests {
    use super::program_of;

    #[test]
    fn programs_are_read_from_the_messages_of_cargo() {
        let line =
            r#"{"reason":"compiler-artifact","target":{"name":"voter"},"executable":"/t/voter"}"#;
        assert_eq!(program_of(line), Some(("voter".to_owned(), "/t/voter".into())));
        let library = r#"{"reason":"compiler-artifact","target":{"name":"x"},"executable":null}"#;
        assert_eq!(program_of(library), None);
        assert_eq!(program_of("warning: not JSON"), None);
    }
}
