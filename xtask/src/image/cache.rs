//! Images that were built before. The Microkit tool takes half a minute, and tests need the same image often.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use resh_tests::site::sha256;

use super::LOADER;

/// What the tool makes.
const MADE: [&str; 2] = [LOADER, "report.txt"];
/// How many are kept: those used last.
const KEPT: usize = 6;

/// The place of one image.
pub(super) struct Cache {
    place: PathBuf,
}

impl Cache {
    /// The place, below `root`, of what the tool makes of these inputs.
    ///
    /// # Errors
    /// If one cannot be read.
    pub(super) fn of(
        root: &Path,
        settings: &str,
        xml: &str,
        inputs: &[PathBuf],
    ) -> Result<Self, String> {
        let mut digests = format!("{settings}\n{}\n", sha256(xml.as_bytes()));
        for path in inputs {
            let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            digests += &format!("{name} {}\n", sha256(&bytes));
        }
        Ok(Self { place: root.join(sha256(digests.as_bytes())) })
    }

    /// Puts into `out` what was made before. False if there is nothing.
    pub(super) fn restore(&self, out: &Path) -> bool {
        let mut copies = MADE.iter().map(|name| fs::copy(self.place.join(name), out.join(name)));
        let is_there = copies.all(|copied| copied.is_ok());
        if is_there {
            // So that it counts as used last.
            let _ = fs::File::open(&self.place).and_then(|dir| dir.set_modified(SystemTime::now()));
        }
        is_there
    }

    /// Keeps what was made in `out`, and drops what was not used for long. A failure costs only time later.
    pub(super) fn keep(&self, out: &Path) {
        // Complete or not at all: somebody else may look.
        let new = self.place.with_extension(std::process::id().to_string());
        let made = fs::create_dir_all(&new).is_ok()
            && MADE.iter().all(|name| fs::copy(out.join(name), new.join(name)).is_ok());
        if !made || fs::rename(&new, &self.place).is_err() {
            let _ = fs::remove_dir_all(&new);
        }
        let Some(Ok(entries)) = self.place.parent().map(fs::read_dir) else { return };
        let mut all: Vec<_> = entries
            .flatten()
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        all.sort();
        for (_, old) in all.iter().rev().skip(KEPT) {
            let _ = fs::remove_dir_all(old);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_inputs_give_the_same_image_and_others_do_not() {
        let dir = std::env::temp_dir().join(format!("resh-cache-{}", std::process::id()));
        let (root, out) = (dir.join("root"), dir.join("out"));
        fs::create_dir_all(&out).expect("a directory");
        let input = dir.join("voter.elf");
        let write = |path: &Path, text: &str| fs::write(path, text).expect("written");
        write(&input, "a program");
        let of = |settings: &str| {
            Cache::of(&root, settings, "<system />", std::slice::from_ref(&input)).expect("read")
        };
        assert!(!of("release").restore(&out));
        for name in MADE {
            write(&out.join(name), name);
        }
        of("release").keep(&out);
        write(&out.join("loader.img"), "another");
        assert!(of("release").restore(&out));
        assert_eq!(fs::read(out.join("loader.img")).expect("read"), b"loader.img");
        assert!(!of("debug").restore(&out));
        write(&input, "another program");
        assert!(!of("release").restore(&out));
        for n in 0..KEPT + 3 {
            of(&n.to_string()).keep(&out);
        }
        assert_eq!(fs::read_dir(&root).expect("read").count(), KEPT);
        fs::remove_dir_all(&dir).expect("removed");
    }
}
