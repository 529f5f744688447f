//! How a guest is started: Linux's boot protocol for arm64 (Documentation/arch/arm64/booting.rst).
//!
//! The kernel lies at the start of RAM, the device tree at its end, and the initial RAM file system just
//! below that. Images are copied piece by piece, so that the domain can do other things in between.

use core::fmt;

use resh_channel::memory::{Bytes, Ordering, WORD_BYTES};

use crate::memory::GuestRam;

use super::vcpu::{Registers, SystemRegister, Vcpu};

/// Room for the device tree, in bytes: it must not cross a boundary of 2 MiB.
pub const TREE_BYTES_MAX: u64 = 0x1_0000;

/// Bytes cleared or copied in one step.
const STEP_BYTES: u64 = 1 << 20;
pub(super) const PAGE_BYTES: u64 = 4096;

/// The images a guest is started from, unchanged by any guest.
#[derive(Clone, Copy)]
pub struct Images<'m> {
    /// Linux, as the file `Image`.
    pub kernel: Bytes<'m>,
    /// The initial RAM file system, in any form that this Linux knows.
    pub initramfs: Bytes<'m>,
}

/// Why a guest cannot be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootError {
    /// The kernel is none.
    NotAnImage,
    /// The kernel is compressed.
    Compressed(&'static str),
    /// The kernel is for big-endian processors.
    BigEndian,
    /// RAM does not start at a multiple of 2 MiB, or is smaller than that.
    Ram,
    /// RAM is too small: how many bytes it would take.
    TooLarge(u64),
    /// The device tree cannot be written, or is larger than [`TREE_BYTES_MAX`].
    Tree,
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnImage => {
                f.write_str("the guest's kernel is no arm64 `Image` (no `ARMd` at offset 56)")
            }
            Self::Compressed(how) => {
                write!(f, "the guest's kernel is compressed ({how}); take the plain arm64 `Image`")
            }
            Self::BigEndian => f.write_str("the guest's kernel is big-endian"),
            Self::Ram => f.write_str("the guest's RAM is not a multiple of 2 MiB"),
            Self::TooLarge(bytes) => {
                write!(f, "the guest's images need {} MiB of RAM", bytes.div_ceil(1 << 20))
            }
            Self::Tree => f.write_str("the guest's device tree cannot be written"),
        }
    }
}

impl core::error::Error for BootError {}

/// Where the images lie in RAM, as guest-physical addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The kernel, and its entry.
    pub kernel: u64,
    /// The initial RAM file system's first byte, and the one after its last.
    pub initramfs: (u64, u64),
    /// The device tree.
    pub tree: u64,
}

impl Layout {
    /// Places the images in RAM.
    ///
    /// # Errors
    /// See [`BootError`].
    pub fn new(ram: &GuestRam<'_>, images: &Images<'_>) -> Result<Self, BootError> {
        const ALIGNMENT: u64 = 2 << 20;
        if !ram.base().is_multiple_of(ALIGNMENT)
            || !ram.len().is_multiple_of(ALIGNMENT)
            || ram.is_empty()
        {
            return Err(BootError::Ram);
        }
        let header = Header::of(images.kernel)?;
        let kernel_bytes = header.image_bytes.max(images.kernel.len() as u64);
        let initramfs_bytes = images.initramfs.len() as u64;
        let total = header
            .text_offset
            .checked_add(kernel_bytes)
            .and_then(|sum| sum.checked_add(initramfs_bytes))
            .and_then(|sum| sum.checked_add(TREE_BYTES_MAX + 2 * PAGE_BYTES))
            .ok_or(BootError::TooLarge(u64::MAX))?;
        if total > ram.len() {
            return Err(BootError::TooLarge(total));
        }
        let tree = ram.base() + ram.len() - TREE_BYTES_MAX;
        let initramfs = (tree - initramfs_bytes) & !(PAGE_BYTES - 1);
        Ok(Self {
            kernel: ram.base() + header.text_offset,
            initramfs: (initramfs, initramfs + initramfs_bytes),
            tree,
        })
    }
}

/// The part of an `Image`'s header that matters.
struct Header {
    text_offset: u64,
    /// Including what follows the file in memory.
    image_bytes: u64,
}

impl Header {
    fn of(kernel: Bytes<'_>) -> Result<Self, BootError> {
        let mut header = [0; 64];
        let len = kernel.copy_to(&mut header);
        match header {
            [0x1f, 0x8b, ..] => return Err(BootError::Compressed("gzip")),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => return Err(BootError::Compressed("zstd")),
            [0xfd, b'7', b'z', b'X', b'Z', ..] => return Err(BootError::Compressed("xz")),
            [_, _, _, _, b'z', b'i', b'm', b'g', ..] => {
                return Err(BootError::Compressed("EFI zboot"));
            }
            _ => {}
        }
        let number = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&header[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        if len < header.len() || &header[56..60] != b"ARM\x64" {
            return Err(BootError::NotAnImage);
        }
        let (text_offset, image_bytes, flags) = (number(8), number(16), number(24));
        // Before Linux 3.17 the size was 0, and the offset of no certain byte order.
        if image_bytes == 0 || !text_offset.is_multiple_of(PAGE_BYTES) {
            return Err(BootError::NotAnImage);
        }
        if flags & 1 != 0 {
            return Err(BootError::BigEndian);
        }
        Ok(Self { text_offset, image_bytes })
    }
}

/// How far a guest's RAM is prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Clear,
    Kernel,
    Initramfs,
    Tree,
}

/// The preparation of RAM for a new life of the guest.
#[derive(Clone, Copy, Debug)]
pub struct Loader {
    stage: Stage,
    done: u64,
}

impl Loader {
    /// From the start. RAM that `is_zero` need not be cleared.
    #[must_use]
    pub fn new(is_zero: bool) -> Self {
        Self { stage: if is_zero { Stage::Kernel } else { Stage::Clear }, done: 0 }
    }

    /// Does a piece of the work. True: there is nothing left to do.
    pub fn step(
        &mut self,
        vcpu: &mut impl Vcpu,
        ram: &GuestRam<'_>,
        images: &Images<'_>,
        layout: &Layout,
        tree: &[u8],
    ) -> bool {
        let next = match self.stage {
            Stage::Clear => {
                let end = (self.done + STEP_BYTES).min(ram.len());
                let words =
                    &ram.words()[self.done as usize / WORD_BYTES..end as usize / WORD_BYTES];
                for word in words {
                    word.store(0, Ordering::Relaxed);
                }
                // The guest begins with its caches off: what they still hold must not come later.
                vcpu.clean(words);
                self.done = end;
                (end == ram.len()).then_some(Stage::Kernel)
            }
            Stage::Kernel => {
                self.copy(vcpu, ram, images.kernel, layout.kernel).then_some(Stage::Initramfs)
            }
            Stage::Initramfs => {
                self.copy(vcpu, ram, images.initramfs, layout.initramfs.0).then_some(Stage::Tree)
            }
            Stage::Tree => {
                // The layout left room for it.
                let _ = ram.write(layout.tree, tree);
                clean(vcpu, ram, layout.tree, tree.len() as u64);
                return true;
            }
        };
        if let Some(stage) = next {
            *self = Self { stage, done: 0 };
        }
        false
    }

    /// Copies a piece of `image` to `address` on. True if it was the last.
    fn copy(
        &mut self,
        vcpu: &mut impl Vcpu,
        ram: &GuestRam<'_>,
        image: Bytes<'_>,
        address: u64,
    ) -> bool {
        let piece = image.skip(self.done as usize).take(STEP_BYTES as usize);
        // The layout left room for it, at a multiple of a page.
        let _ = ram.load(address + self.done, piece);
        clean(vcpu, ram, address + self.done, piece.len() as u64);
        self.done += piece.len() as u64;
        self.done == image.len() as u64
    }
}

/// Cleans the caches of `len` bytes from `address` on.
pub(super) fn clean(vcpu: &mut impl Vcpu, ram: &GuestRam<'_>, address: u64, len: u64) {
    if let Ok(bytes) = ram.bytes(address, len) {
        let (words, start) = bytes.raw();
        let end = (start + len as usize).div_ceil(WORD_BYTES);
        vcpu.clean(&words[start / WORD_BYTES..end.min(words.len())]);
    }
}

/// Processor state: EL1 with its own stack, interrupts and debug exceptions masked.
pub(super) const EL1H_MASKED: u64 = 0x3c5;

/// Sets all registers as a program expects them that begins at `pc`: MMU and caches off, interrupts masked. Linux
/// finds its device tree at `x0`.
pub fn enter(vcpu: &mut impl Vcpu, pc: u64, x0: u64) {
    use SystemRegister as R;
    /// Bits that are 1 whatever they mean, and those that seL4 gives a virtual CPU: cache maintenance
    /// and CTR_EL0 for user programs (ARM ARM, D13.2.118).
    const SCTLR: u64 = 0x30d0_0800 | 1 << 5 | 1 << 16 | 1 << 18 | 1 << 15 | 1 << 26;
    for register in [
        R::CpacrEl1,
        R::Ttbr0El1,
        R::Ttbr1El1,
        R::TcrEl1,
        R::MairEl1,
        R::AmairEl1,
        R::ContextidrEl1,
        R::ActlrEl1,
        R::Afsr0El1,
        R::Afsr1El1,
        R::EsrEl1,
        R::FarEl1,
        R::ParEl1,
        R::VbarEl1,
        R::TpidrEl1,
        R::SpEl1,
        R::ElrEl1,
        R::SpsrEl1,
        R::CntvCtlEl0,
        R::CntvCvalEl0,
        R::CntvoffEl2,
        R::CntkctlEl1,
    ] {
        vcpu.write(register, 0);
    }
    vcpu.write(R::SctlrEl1, SCTLR);
    vcpu.write(R::VmpidrEl2, ONE_CPU);
    let mut registers = Registers { pc, spsr: EL1H_MASKED, ..Registers::default() };
    registers.set(0, x0);
    vcpu.begin(&registers);
}

/// `VMPIDR_EL2` of a guest that has begun: bit 31 is always 1, the CPU's number is 0.
const ONE_CPU: u64 = 1 << 31;
