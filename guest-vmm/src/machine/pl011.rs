//! The console: a PL011 UART (ARM DDI 0183) that takes what the guest prints and has nothing to say.

use core::fmt;

/// Its interrupt.
pub const INTERRUPT: u16 = 33;

/// Longest line that is printed in one piece, in bytes.
const LINE_BYTES: usize = 240;

/// RIS, MIS, IMSC, ICR: room to transmit.
const TRANSMIT: u16 = 1 << 5;

/// The UART, and the line the guest is printing.
#[derive(Clone, Debug)]
pub struct Pl011 {
    line: heapless::Vec<u8, LINE_BYTES>,
    raised: u16,
    mask: u16,
    baud_integer: u16,
    baud_fraction: u16,
    line_control: u16,
    control: u16,
    fifo_levels: u16,
}

impl Default for Pl011 {
    fn default() -> Self {
        Self::new()
    }
}

impl Pl011 {
    /// As after a reset.
    #[must_use]
    pub fn new() -> Self {
        Self {
            line: heapless::Vec::new(),
            raised: 0,
            mask: 0,
            baud_integer: 0,
            baud_fraction: 0,
            line_control: 0,
            // UARTCR and UARTIFLS as the manual resets them.
            control: 0x300,
            fifo_levels: 0x12,
        }
    }

    /// Whether its interrupt line is high.
    #[must_use]
    pub fn line_is_high(&self) -> bool {
        self.raised & self.mask != 0
    }

    /// The guest reads the register at `offset`.
    #[must_use]
    pub fn read(&self, offset: u64) -> u64 {
        let value = match offset {
            // UARTFR: nothing received, all sent.
            0x018 => 0x90,
            0x024 => self.baud_integer,
            0x028 => self.baud_fraction,
            0x02c => self.line_control,
            0x030 => self.control,
            0x034 => self.fifo_levels,
            0x038 => self.mask,
            0x03c => self.raised,
            0x040 => self.raised & self.mask,
            // UARTPeriphID, UARTPCellID: an ARM PL011 r1p4.
            0xfe0 => 0x11,
            0xfe4 => 0x10,
            0xfe8 => 0x14,
            0xff0 => 0x0d,
            0xff4 => 0xf0,
            0xff8 => 0x05,
            0xffc => 0xb1,
            _ => 0,
        };
        u64::from(value)
    }

    /// The guest writes `value` to the register at `offset`. A line that is thereby complete is
    /// handed to `print`.
    pub fn write(&mut self, offset: u64, value: u64, print: fn(fmt::Arguments<'_>)) {
        let value = value as u16;
        match offset {
            0x000 => {
                self.put(value as u8, print);
                // Sent at once: there is room again.
                self.raised |= TRANSMIT;
            }
            0x024 => self.baud_integer = value,
            0x028 => self.baud_fraction = value & 0x3f,
            0x02c => self.line_control = value & 0xff,
            0x030 => self.control = value,
            0x034 => self.fifo_levels = value & 0x3f,
            0x038 => self.mask = value & 0x7ff,
            0x044 => self.raised &= !value,
            _ => {}
        }
    }

    fn put(&mut self, byte: u8, print: fn(fmt::Arguments<'_>)) {
        match byte {
            b'\n' => self.flush(print),
            b'\r' => {}
            // What a terminal would obey is made visible.
            byte => {
                let byte = if matches!(byte, b' '..=b'~' | b'\t') { byte } else { b'?' };
                if self.line.push(byte).is_err() {
                    self.flush(print);
                    // There is room now.
                    let _ = self.line.push(byte);
                }
            }
        }
    }

    /// Prints what there is of a line.
    pub fn flush(&mut self, print: fn(fmt::Arguments<'_>)) {
        if let Ok(line) = core::str::from_utf8(&self.line)
            && !line.is_empty()
        {
            print(format_args!("guest: {line}"));
        }
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;
    use core::cell::RefCell;

    std::thread_local! {
        static PRINTED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    fn print(line: fmt::Arguments<'_>) {
        PRINTED.with_borrow_mut(|lines| lines.push(line.to_string()));
    }

    fn printed(bytes: &[u8]) -> Vec<String> {
        let mut uart = Pl011::new();
        for byte in bytes {
            assert_eq!(uart.read(0x18) & 0x20, 0, "full");
            uart.write(0, u64::from(*byte), print);
        }
        PRINTED.take()
    }

    #[test]
    fn lines_are_printed_whole_and_harmless() {
        assert_eq!(printed(b"one\r\ntwo\nthree"), ["guest: one", "guest: two"]);
        assert_eq!(printed(b"\x1b[2J\xff\0\n\n\n"), ["guest: ?[2J??"]);
        let long = printed(&[b'x'; 2 * LINE_BYTES + 1]);
        assert_eq!(long.len(), 2);
        assert!(long.iter().all(|line| line.len() == "guest: ".len() + LINE_BYTES));
    }

    #[test]
    fn room_to_transmit_is_told_as_the_driver_asks() {
        let mut uart = Pl011::new();
        assert!(!uart.line_is_high());
        uart.write(0x38, u64::from(TRANSMIT), print);
        // Nothing was sent yet: no interrupt (the driver primes it by sending).
        assert!(!uart.line_is_high());
        uart.write(0, u64::from(b'x'), print);
        assert!(uart.line_is_high());
        assert_eq!(uart.read(0x40), u64::from(TRANSMIT));
        uart.write(0x44, 0xffff, print);
        assert!(!uart.line_is_high());
        uart.write(0, u64::from(b'x'), print);
        uart.write(0x38, 0, print);
        assert!(!uart.line_is_high());
        assert_eq!(uart.read(0x3c), u64::from(TRANSMIT));
    }

    #[test]
    fn the_driver_recognises_it() {
        let uart = Pl011::new();
        let id = |at: u64| uart.read(at) as u32;
        let peripheral = id(0xfe0) | id(0xfe4) << 8 | id(0xfe8) << 16 | id(0xfec) << 24;
        // drivers/tty/serial/amba-pl011.c matches 0x00041011 under the mask 0x000fffff.
        assert_eq!(peripheral & 0x000f_ffff, 0x0004_1011);
        assert_eq!(id(0xff0) | id(0xff4) << 8 | id(0xff8) << 16 | id(0xffc) << 24, 0xb105_f00d);
    }
}
