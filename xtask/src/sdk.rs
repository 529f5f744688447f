//! The Microkit SDK: where it is, and whether it has what an image needs.

use std::path::{Path, PathBuf};

use crate::problems::Problems;

/// The release of the SDK that this project is written for.
const VERSION: &str = "2.3.0";
/// Where the SDK is looked for if `MICROKIT_SDK` does not say.
const USUAL_PLACE: &str = "/opt/microkit-sdk-2.3.0";
/// What to do without one.
const HOW_TO_GET_IT: &str = "get \"microkit-sdk-2.3.0\" for this machine from \
    https://github.com/seL4/microkit/releases/tag/2.3.0 (see https://docs.sel4.systems/projects/microkit), \
    unpack it, and set MICROKIT_SDK to its directory; docs/sel4.md has more";

/// Which of the kernels in the SDK an image has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KernelConfig {
    /// With assertions and a console of its own.
    Debug,
    /// As it is to be used.
    Release,
}

impl KernelConfig {
    /// The name the SDK has for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Release => "release",
        }
    }
}

impl std::str::FromStr for KernelConfig {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "debug" => Ok(Self::Debug),
            "release" => Ok(Self::Release),
            _ => Err(format!("{text:?} is no configuration of the kernel: use debug or release")),
        }
    }
}

/// An SDK that has what a board needs.
#[derive(Clone, Debug)]
pub(crate) struct Sdk {
    /// Its directory.
    pub(crate) root: PathBuf,
}

impl Sdk {
    /// Finds the SDK (`MICROKIT_SDK`, or the usual place) and checks that it has `board` with `config`.
    /// Says in `problems` what is missing.
    pub(crate) fn find(board: &str, config: KernelConfig, problems: &mut Problems) -> Option<Self> {
        let named = std::env::var_os("MICROKIT_SDK").filter(|value| !value.is_empty());
        let (root, origin) = match named {
            Some(root) => (PathBuf::from(root), "MICROKIT_SDK"),
            None => (PathBuf::from(USUAL_PLACE), "the usual place"),
        };
        if !root.is_dir() {
            let what = match origin {
                "MICROKIT_SDK" => {
                    format!("MICROKIT_SDK is {}, which is no directory", root.display())
                }
                _ => format!(
                    "no Microkit SDK: MICROKIT_SDK is not set, and there is no {USUAL_PLACE}"
                ),
            };
            problems.missing(what, HOW_TO_GET_IT);
            return None;
        }
        let before = problems.len();
        Self::check(&root, board, config, problems);
        (problems.len() == before).then_some(Self { root })
    }

    /// Whether there is an SDK at all, right or not.
    pub(crate) fn is_anywhere() -> bool {
        let named = std::env::var_os("MICROKIT_SDK").filter(|value| !value.is_empty());
        named.is_some() || Path::new(USUAL_PLACE).is_dir()
    }

    fn check(root: &Path, board: &str, config: KernelConfig, problems: &mut Problems) {
        let shown = root.display();
        match std::fs::read_to_string(root.join("VERSION")) {
            Ok(text) if text.trim() == VERSION => {}
            Ok(text) => {
                let found = text.trim();
                problems
                    .missing(format!("{shown} is Microkit {found}, not {VERSION}"), HOW_TO_GET_IT);
                return;
            }
            Err(_) => {
                problems
                    .missing(format!("{shown} is no Microkit SDK: no file VERSION"), HOW_TO_GET_IT);
                return;
            }
        }
        if !root.join("bin/microkit").is_file() {
            problems.missing(format!("{shown} has no bin/microkit"), HOW_TO_GET_IT);
        }
        let of_board = root.join("board").join(board);
        if !of_board.is_dir() {
            problems.missing(format!("{shown} has no board {board}"), HOW_TO_GET_IT);
        } else if !of_board.join(config.name()).join("elf").is_dir() {
            let what = format!("{shown} has no configuration {} of {board}", config.name());
            problems.missing(what, HOW_TO_GET_IT);
        }
    }

    /// What tells this SDK from another of the same version: where its tool is, and of when.
    ///
    /// # Errors
    /// If it is gone.
    pub(crate) fn identity(&self) -> Result<String, String> {
        let tool = self.tool();
        let made = std::fs::metadata(&tool).and_then(|metadata| metadata.modified());
        let made = made.map_err(|error| format!("{}: {error}", tool.display()))?;
        Ok(format!("{} {made:?}", tool.display()))
    }

    /// The Microkit tool.
    pub(crate) fn tool(&self) -> PathBuf {
        self.root.join("bin/microkit")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `check` says of an SDK with these files.
    fn problems_of(name: &str, files: &[(&str, &str)]) -> String {
        let root = std::env::temp_dir().join(format!("resh-sdk-{}-{name}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().expect("a file has a directory")).expect("mkdir");
            std::fs::write(path, text).expect("write");
        }
        let mut problems = Problems::default();
        Sdk::check(&root, "qemu_virt_aarch64", KernelConfig::Debug, &mut problems);
        std::fs::remove_dir_all(&root).expect("remove");
        problems.to_string()
    }

    #[test]
    fn says_what_an_sdk_lacks() {
        let version = ("VERSION", "2.3.0\n");
        let tool = ("bin/microkit", "");
        let elf = "board/qemu_virt_aarch64/debug/elf/sel4.elf";
        assert_eq!(problems_of("whole", &[version, tool, (elf, "")]), "");
        assert!(problems_of("none", &[tool]).contains("no file VERSION"));
        assert!(
            problems_of("old", &[("VERSION", "2.0.1\n")]).contains("is Microkit 2.0.1, not 2.3.0")
        );
        assert!(problems_of("toolless", &[version, (elf, "")]).contains("no bin/microkit"));
        assert!(problems_of("boardless", &[version, tool]).contains("no board qemu_virt_aarch64"));
        let other = ("board/qemu_virt_aarch64/release/elf/sel4.elf", "");
        assert!(
            problems_of("configless", &[version, tool, other]).contains("no configuration debug")
        );
    }
}
