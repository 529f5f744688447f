//! What the kernel's command line says. It stands in the device tree as text, and is found there by
//! looking for the words themselves.

use crate::cpu::read8;

/// How it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// A loop with interrupts masked.
    Loop,
    /// It switches itself off.
    Off,
    /// It asks for a reset.
    Reset,
    /// It goes on where nothing is.
    Jump,
    /// It tries the kernel's system calls.
    Calls,
}

/// What is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) seed: u64,
    pub(crate) misdeeds: u64,
    pub(crate) end: End,
    /// Whether the interrupt controller gets garbage too: QEMU's own does not survive that.
    pub(crate) gic: bool,
}

/// First bytes of a device tree.
const MAGIC: u32 = 0xd00d_feed;
/// Longest device tree that is looked through, in bytes.
const BYTES_MAX: u64 = 2 << 20;

impl Settings {
    /// Reads them from the device tree at that address, if there is one.
    pub(crate) fn read(device_tree: u64) -> Self {
        let number_at = |at: u64| {
            (0..4).fold(0, |number, byte| number << 8 | u32::from(read8(device_tree + at + byte)))
        };
        let mut settings = Self { seed: 1, misdeeds: 12_000, end: End::Loop, gic: true };
        if device_tree == 0 || !device_tree.is_multiple_of(8) || number_at(0) != MAGIC {
            return settings;
        }
        let text =
            Text { at: device_tree, end: device_tree + u64::from(number_at(4)).min(BYTES_MAX) };
        settings.seed = text.number("hostile.seed=").unwrap_or(settings.seed);
        settings.misdeeds = text.number("hostile.misdeeds=").unwrap_or(settings.misdeeds);
        for (word, end) in [
            ("hostile.end=off", End::Off),
            ("hostile.end=reset", End::Reset),
            ("hostile.end=jump", End::Jump),
            ("hostile.end=calls", End::Calls),
        ] {
            if text.find(word).is_some() {
                settings.end = end;
            }
        }
        settings.gic = text.find("hostile.gic=no").is_none();
        settings
    }
}

struct Text {
    at: u64,
    end: u64,
}

impl Text {
    /// Where the bytes after `word` begin.
    fn find(&self, word: &str) -> Option<u64> {
        let len = word.len() as u64;
        let is_here = |at: &u64| word.bytes().zip(*at..).all(|(byte, at)| read8(at) == byte);
        (self.at..self.end.saturating_sub(len)).find(is_here).map(|at| at + len)
    }

    /// The decimal number after `word`.
    fn number(&self, word: &str) -> Option<u64> {
        let start = self.find(word)?;
        let digits = (start..self.end).map(read8).take_while(u8::is_ascii_digit);
        Some(digits.fold(0, |number: u64, digit| {
            number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'))
        }))
    }
}
