//! The console: a PL011, of which only the data register is needed to write.

use crate::cpu::{read32, write32};
use core::fmt;

pub(crate) const PL011: u64 = 0x0900_0000;
const DATA: u64 = PL011;
const FLAGS: u64 = PL011 + 0x18;
/// In `FLAGS`: the transmit FIFO is full.
const FLAG_FULL: u32 = 1 << 5;
/// Looks at `FLAGS` before a byte is written anyhow.
const PATIENCE: usize = 1000;

/// Writes one byte.
pub(crate) fn put(byte: u8) {
    for _ in 0..PATIENCE {
        if read32(FLAGS) & FLAG_FULL == 0 {
            break;
        }
    }
    write32(DATA, byte.into());
}

struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(put);
        Ok(())
    }
}

/// Writes a line.
pub(crate) fn line(text: fmt::Arguments<'_>) {
    // A console cannot fail.
    let _ = fmt::Write::write_fmt(&mut Console, text);
    put(b'\n');
}

/// Writes a line on the console.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => { $crate::console::line(format_args!($($text)*)) };
}
