//! The guests of an image: which kernel and initramfs each replica's virtual machine starts from.

use std::path::Path;

use resh::system::System;
use resh_channel::config::ENCODED_BYTES_MAX;
use resh_tests::board::Board;

use super::{Options, edit, write};
use crate::problems::Problems;

/// Where an arm64 kernel `Image` has its magic number: Documentation/arch/arm64/booting.rst of Linux, section 4.
const MAGIC_AT: usize = 56;
const MAGIC: &[u8] = b"ARM\x64";
/// What stands in a region whose virtual machine has no guest: the Microkit tool takes no empty file.
const NOTHING: &[u8] = &[0];

/// The images of one guest.
struct Images {
    kernel: Vec<u8>,
    initramfs: Vec<u8>,
}

/// What every virtual machine starts from, by its index; none for one without a guest.
pub(super) struct Guests(Vec<Option<Images>>);

impl Guests {
    /// Reads the configuration and the images of its guests. Returns the compiled configuration with them.
    pub(super) fn load(
        options: &Options,
        board: &Board,
        system: Option<&System>,
        problems: &mut Problems,
    ) -> Option<(Vec<u8>, Self)> {
        let checked = match resh::config::load(&options.appliance(board)) {
            Ok(checked) => checked,
            Err(diagnostics) => {
                problems.extend(diagnostics);
                return None;
            }
        };
        let system = system?;
        if let Err(diagnostics) = checked.fits(system) {
            problems.extend(diagnostics);
            return None;
        }
        let guests = system.gateways().iter().map(|_| None).collect();
        let mut bytes = vec![0; ENCODED_BYTES_MAX];
        let length = checked.appliance.encode(&mut bytes).map_err(|error| error.to_string());
        match length {
            Ok(length) => bytes.truncate(length),
            Err(error) => {
                problems.report(error, "make the configuration shorter");
                return None;
            }
        }
        Some((bytes, Self(guests)))
    }

    /// Writes the images into `out`, where the system description looks for them. What several guests have in
    /// common is there once, and read by all: returns the description changed so.
    pub(super) fn place(&self, mut xml: String, out: &Path) -> Result<String, String> {
        for part in ["kernel", "initramfs"] {
            for (index, guest) in self.0.iter().enumerate() {
                let bytes = bytes_of(guest.as_ref(), part);
                let name = format!("guest_{part}_{index}");
                let same = |earlier: &Option<Images>| bytes_of(earlier.as_ref(), part) == bytes;
                match self.0[..index].iter().position(same) {
                    Some(first) => {
                        xml = edit::share_region(&xml, &name, &format!("guest_{part}_{first}"))?;
                    }
                    None => write(&out.join(format!("{name}.bin")), bytes)?,
                }
            }
        }
        Ok(xml)
    }
}

fn bytes_of<'a>(guest: Option<&'a Images>, part: &str) -> &'a [u8] {
    match (guest, part) {
        (Some(images), "kernel") => &images.kernel,
        (Some(images), _) => &images.initramfs,
        (None, _) => NOTHING,
    }
}
