//! The UART PL011 (ARM DDI 0183), polled for output and interrupt driven for input.
//!
//! It is used as the firmware left it: speed and format are set already, and QEMU has none.

use core::fmt;

use crate::registers::Registers;

/// UARTDR, data (section 3.3.1).
const DATA: usize = 0x000;
/// UARTFR, flags (section 3.3.3).
const FLAGS: usize = 0x018;
const FLAG_RECEIVE_EMPTY: u32 = 1 << 4;
const FLAG_TRANSMIT_FULL: u32 = 1 << 5;
/// UARTCR, control (section 3.3.8).
const CONTROL: usize = 0x030;
const CONTROL_ENABLE: u32 = 1 << 0;
const CONTROL_TRANSMIT: u32 = 1 << 8;
const CONTROL_RECEIVE: u32 = 1 << 9;
/// UARTIMSC, interrupts that are let through (section 3.3.10).
const INTERRUPT_MASK: usize = 0x038;
/// UARTICR, interrupts that are over (section 3.3.13).
const INTERRUPT_CLEAR: usize = 0x044;
/// Something received, and something received that waits below the threshold.
const INTERRUPT_RECEIVE: u32 = 1 << 4 | 1 << 6;

/// A PL011.
pub struct Uart<R>(R);

impl<R: Registers> Uart<R> {
    /// Switches it on, with an interrupt when something is received.
    pub fn new(mut registers: R) -> Self {
        registers.write(CONTROL, CONTROL_ENABLE | CONTROL_TRANSMIT | CONTROL_RECEIVE);
        registers.write(INTERRUPT_MASK, INTERRUPT_RECEIVE);
        Self(registers)
    }

    /// Tells the device that its interrupt was seen. Before the kernel is told, and before what was
    /// received is taken: what comes later interrupts again.
    pub fn acknowledge(&mut self) {
        self.0.write(INTERRUPT_CLEAR, INTERRUPT_RECEIVE);
    }

    /// The next byte received, if there is one.
    pub fn receive(&mut self) -> Option<u8> {
        let empty = self.0.read(FLAGS) & FLAG_RECEIVE_EMPTY != 0;
        (!empty).then(|| self.0.read(DATA) as u8)
    }

    /// Sends one byte, once there is room.
    pub fn send(&mut self, byte: u8) {
        while self.0.read(FLAGS) & FLAG_TRANSMIT_FULL != 0 {
            core::hint::spin_loop();
        }
        self.0.write(DATA, byte.into());
    }
}

/// Text goes out with a carriage return before each line feed, as terminals want it.
impl<R: Registers> fmt::Write for Uart<R> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.send(b'\r');
            }
            self.send(byte);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use core::cell::{Cell, RefCell};
    use core::fmt::Write;
    use std::collections::VecDeque;
    use std::vec::Vec;

    use super::*;

    /// The device: a transmitter that is full every other time, and what was typed.
    #[derive(Default)]
    struct Fake {
        sent: Vec<u8>,
        typed: RefCell<VecDeque<u8>>,
        busy: Cell<bool>,
        cleared: u32,
        mask: u32,
    }

    impl Registers for &mut Fake {
        fn read(&self, offset: usize) -> u32 {
            match offset {
                FLAGS => {
                    self.busy.set(!self.busy.get());
                    let empty = self.typed.borrow().is_empty();
                    u32::from(empty) << 4 | u32::from(self.busy.get()) << 5
                }
                DATA => self.typed.borrow_mut().pop_front().expect("nothing was received").into(),
                _ => panic!("reads {offset:#x}"),
            }
        }

        fn write(&mut self, offset: usize, value: u32) {
            match offset {
                DATA => {
                    assert!(!self.busy.get(), "the transmitter is full");
                    self.sent.push(value as u8);
                }
                CONTROL => assert_eq!(value, 0x301),
                INTERRUPT_MASK => self.mask = value,
                INTERRUPT_CLEAR => self.cleared |= value,
                _ => panic!("writes {offset:#x}"),
            }
        }
    }

    #[test]
    fn text_waits_for_room_and_lines_end_with_both() {
        let mut fake = Fake::default();
        write!(Uart::new(&mut fake), "a {}\nb", 7).unwrap();
        assert_eq!(fake.sent, b"a 7\r\nb");
        assert_eq!(fake.mask, 0x50);
    }

    #[test]
    fn what_was_typed_comes_in_order() {
        let mut fake = Fake::default();
        fake.typed.borrow_mut().extend(*b"ok");
        let mut uart = Uart::new(&mut fake);
        uart.acknowledge();
        assert_eq!(
            [uart.receive(), uart.receive(), uart.receive()],
            [Some(b'o'), Some(b'k'), None]
        );
        assert_eq!(fake.cleared, 0x50);
    }
}
