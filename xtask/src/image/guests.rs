//! The guests of an image: which kernel and initramfs each virtual machine starts from.

use std::fs;
use std::path::{Path, PathBuf};

use resh::config::GuestFiles;
use resh::system::System;
use resh_channel::config::{Appliance, ENCODED_BYTES_MAX, Guest};
use serde::Deserialize;

use super::{edit, write};
use crate::problems::Problems;

/// Where an arm64 kernel `Image` has its magic number: section 4 of Documentation/arch/arm64/booting.rst of Linux.
const MAGIC_AT: usize = 56;
const MAGIC: &[u8] = b"ARM\x64";
/// What compressed files begin with.
const GZIP: &[u8] = &[0x1f, 0x8b];
/// What stands in a region whose virtual machine has no guest: the Microkit tool takes no empty file.
const NOTHING: &[u8] = &[0];

/// The images of one guest.
struct Images {
    kernel: Vec<u8>,
    initramfs: Vec<u8>,
}

/// The configuration of the appliance, and what each virtual machine starts from.
pub(super) struct Guests {
    /// The configuration, compiled.
    pub(super) config_bin: Vec<u8>,
    /// By the index of the virtual machine; nothing for one without a guest.
    images: Vec<Option<Images>>,
}

/// What a `guest.toml` beside a kernel says of it, for a configuration that does not.
#[derive(Default, Deserialize)]
#[serde(default)]
struct About {
    software: String,
    command_line: String,
}

impl Guests {
    /// Reads the configuration in the file `appliance`, and the images of its guests; `more` is added to
    /// the command lines of the guests with these numbers.
    pub(super) fn load(
        appliance: &Path,
        more: &[(String, String)],
        system: Option<&System>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let mut checked = match resh::config::load_with_guests(appliance) {
            Ok(checked) => checked,
            Err(diagnostics) => {
                problems.all_wrong(diagnostics);
                return None;
            }
        };
        let fits = system.map_or(Ok(()), |system| checked.fits(system));
        problems.all_wrong(fits.err().unwrap_or_default());
        if let Err(diagnostics) = checked.demand_guest_files() {
            problems.all_missing(diagnostics);
            return None;
        }
        for (guest, files) in checked.appliance.guests.iter_mut().zip(&checked.guest_files) {
            describe(guest, &files.kernel.path, problems);
        }
        for (index, text) in more {
            add_to_command_line(&mut checked.appliance, index, text, problems);
        }
        let mut images: Vec<_> =
            checked.guest_files.iter().map(|files| Images::read(files, problems)).collect();
        // The others have nothing to start from.
        images.resize_with(system?.gateways().len(), || None);
        let mut config_bin = compiled(&checked.appliance, problems)?;
        // Microkit 2.3.0 reads beyond the end of a file that is shorter than its region.
        let region_bytes = system?.region("config").map_or(0, |region| region.bytes);
        config_bin.resize(usize::try_from(region_bytes).ok()?, 0);
        Some(Self { config_bin, images })
    }

    /// Writes the images into `out`, where the system description looks for them, and returns the files. What
    /// several guests have in common is there once, and read by all: `xml` is changed so.
    pub(super) fn place(&self, xml: &mut String, out: &Path) -> Result<Vec<PathBuf>, String> {
        let mut files = Vec::new();
        for part in ["kernel", "initramfs"] {
            for (index, guest) in self.images.iter().enumerate() {
                let bytes = bytes_of(guest.as_ref(), part);
                let name = format!("guest_{part}_{index}");
                let same = |earlier: &Option<Images>| bytes_of(earlier.as_ref(), part) == bytes;
                match self.images[..index].iter().position(same) {
                    Some(first) => {
                        *xml = edit::share_region(xml, &name, &format!("guest_{part}_{first}"))?;
                    }
                    None => {
                        let path = out.join(format!("{name}.bin"));
                        write(&path, bytes)?;
                        files.push(path);
                    }
                }
            }
        }
        Ok(files)
    }
}

fn bytes_of<'a>(guest: Option<&'a Images>, part: &str) -> &'a [u8] {
    match (guest, part) {
        (Some(images), "kernel") => &images.kernel,
        (Some(images), _) => &images.initramfs,
        (None, _) => NOTHING,
    }
}

impl Images {
    fn read(files: &GuestFiles, problems: &mut Problems) -> Option<Self> {
        let mut read = |path: &Path| match fs::read(path) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                problems.wrong(format!("{}: {error}", path.display()));
                None
            }
        };
        let kernel = read(&files.kernel.path)?;
        let initramfs = read(&files.initramfs.path)?;
        if kernel.get(MAGIC_AT..MAGIC_AT + MAGIC.len()) != Some(MAGIC) {
            let hint = match kernel.starts_with(GZIP) {
                true => "it is compressed: uncompress it with gunzip",
                false => "use the file that Linux builds as arch/arm64/boot/Image",
            };
            problems.wrong(format!("{} is no arm64 Image; {hint}", files.kernel.path.display()));
        }
        Some(Self { kernel, initramfs })
    }
}

/// Fills in what the configuration leaves out and a `guest.toml` beside the kernel says.
fn describe(guest: &mut Guest, kernel: &Path, problems: &mut Problems) {
    let path = kernel.with_file_name("guest.toml");
    let Ok(text) = fs::read_to_string(&path) else { return };
    let about: About = match toml::from_str(&text) {
        Ok(about) => about,
        Err(error) => return problems.wrong(format!("{}: {error}", path.display())),
    };
    let mut fits = true;
    if guest.software.is_empty() {
        fits &= guest.software.push_str(&about.software).is_ok();
    }
    if guest.command_line.is_empty() {
        fits &= guest.command_line.push_str(&about.command_line).is_ok();
    }
    if !fits {
        problems.wrong(format!("{}: a line is too long; see docs/limits.md", path.display()));
    }
}

fn add_to_command_line(
    appliance: &mut Appliance,
    index: &str,
    text: &str,
    problems: &mut Problems,
) {
    let count = appliance.guests.len();
    let guest = index.parse().ok().and_then(|index: usize| appliance.guests.get_mut(index));
    let Some(guest) = guest else {
        problems.wrong(format!("there is no guest {index}; use 0 to {}", count.saturating_sub(1)));
        return;
    };
    let line = &mut guest.command_line;
    if line.push(' ').and_then(|()| line.push_str(text)).is_err() {
        problems
            .wrong(format!("the command line of guest {index} is too long; see docs/limits.md"));
    }
}

fn compiled(appliance: &Appliance, problems: &mut Problems) -> Option<Vec<u8>> {
    let mut bytes = vec![0; ENCODED_BYTES_MAX];
    match appliance.encode(&mut bytes) {
        Ok(length) => {
            bytes.truncate(length);
            Some(bytes)
        }
        Err(error) => {
            problems.wrong(error);
            None
        }
    }
}
