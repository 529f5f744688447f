//! Memory-mapped registers.

use sel4_microkit::sel4::Mmio;

/// The registers of a device, 32 bits each.
pub trait Registers {
    /// Reads the register at `offset`, in bytes.
    fn read(&self, offset: usize) -> u32;

    /// Writes the register at `offset`, in bytes.
    fn write(&mut self, offset: usize, value: u32);
}

impl Registers for Mmio {
    fn read(&self, offset: usize) -> u32 {
        self.read32(offset)
    }

    fn write(&mut self, offset: usize, value: u32) {
        self.write32(offset, value);
    }
}
