//! What an instruction of the guest comes to that the processor did not do for it.

use super::exit::{Access, Cause};
use super::vcpu::{Registers, SystemRegister, Vcpu};
use super::{
    End, GIC_DISTRIBUTOR_BASE, Machine, NET_BASE, NET_BYTES, State, UART_BASE, boot, gic, psci,
    timer,
};

/// Bytes of registers of a device, but for the network's.
const PAGE_BYTES: u64 = 0x1000;
/// The network device's register that tells of new buffers (virtio 1.2, section 4.2.2).
const QUEUE_NOTIFY: u64 = 0x050;

impl<V: Vcpu> Machine<'_, V> {
    /// Emulates an access to what is not RAM. True: the guest has work for the network link's other end.
    pub(super) fn memory(&mut self, address: u64, cause: Cause) -> bool {
        let mut registers = self.vcpu.registers();
        let mut network = false;
        match cause {
            Cause::Access(access) => match self.access(&access, &mut registers) {
                Some(notifies) => {
                    network = notifies;
                    next(&mut registers);
                }
                None => self.abort(&mut registers),
            },
            Cause::CacheMaintenance => next(&mut registers),
            Cause::Fetch => {
                self.end(End::FetchOutsideRam(address));
                return false;
            }
            _ => self.abort(&mut registers),
        }
        self.vcpu.set_registers(&registers);
        network
    }

    /// Does an access to a device. `None`: there is none. True: it is work for the network link.
    fn access(&mut self, access: &Access, registers: &mut Registers) -> Option<bool> {
        let within = |base: u64, len: u64| {
            let offset = access.address.checked_sub(base)?;
            (offset.checked_add(access.width_bytes.into())? <= len).then_some(offset)
        };
        let width = access.width_bytes;
        let value = access.stored(registers.get(access.register));
        let mut network = false;
        let loaded = if let Some(offset) = within(GIC_DISTRIBUTOR_BASE, PAGE_BYTES) {
            if access.write {
                self.gic.write(offset, width, value);
            }
            self.gic.read(offset, width)
        } else if let Some(offset) = within(UART_BASE, PAGE_BYTES) {
            if access.write {
                self.uart.write(offset, value, self.print);
            }
            self.uart.read(offset)
        } else if let Some(offset) = within(NET_BASE, NET_BYTES) {
            if access.write {
                self.net.mmio_write(self.ram, offset, width, value);
                network = offset == QUEUE_NOTIFY;
                0
            } else {
                self.net.mmio_read(offset, width)
            }
        } else {
            return None;
        };
        if !access.write {
            registers.set(access.register, access.loaded(loaded));
        }
        Some(network)
    }

    pub(super) fn trap(&mut self, cause: Cause) {
        let mut registers = self.vcpu.registers();
        match cause {
            Cause::WaitForInterrupt => {
                next(&mut registers);
                self.wait();
            }
            // Another CPU would set the event; there is none.
            Cause::WaitForEvent | Cause::WriteSystemRegister => next(&mut registers),
            Cause::ReadSystemRegister { register } => {
                registers.set(register, 0);
                next(&mut registers);
            }
            Cause::HypervisorCall => self.call(&mut registers),
            Cause::SecureMonitorCall => {
                next(&mut registers);
                self.call(&mut registers);
            }
            _ => self.undefined(&mut registers),
        }
        self.vcpu.set_registers(&registers);
    }

    fn call(&mut self, registers: &mut Registers) {
        let [x0, x1, x2, x3, ..] = registers.x;
        match psci::call([x0, x1, x2, x3]) {
            psci::Call::Return(value) => registers.set(0, value),
            psci::Call::Suspend => {
                registers.set(0, 0);
                self.wait();
            }
            psci::Call::Off => self.end(End::Off),
            psci::Call::Reset => self.end(End::Reset),
        }
    }

    /// The guest waits for an interrupt. [`settle`](Self::settle) lets it go on if there is one.
    fn wait(&mut self) {
        let timer_due =
            self.gic.is_enabled(gic::TIMER).then(|| timer::due(&mut self.vcpu)).flatten();
        self.state = State::Waiting { timer_due };
    }

    /// The guest touched what does not exist: a synchronous external abort (ARM ARM, D1.12).
    fn abort(&mut self, registers: &mut Registers) {
        const DATA_ABORT: u64 = 0x24 << 26;
        const SAME_LEVEL: u64 = 1 << 26;
        // No valid address in FAR_EL1; external abort, not on a table walk.
        const FAULT: u64 = 1 << 10 | 0b01_0000;
        let level = if is_user(registers) { 0 } else { SAME_LEVEL };
        self.exception(registers, DATA_ABORT | level | FAULT);
    }

    fn undefined(&mut self, registers: &mut Registers) {
        self.exception(registers, 0);
    }

    /// Takes an exception to EL1 with that syndrome, as the processor would (ARM ARM, D1.10).
    fn exception(&mut self, registers: &mut Registers, syndrome: u64) {
        const INSTRUCTION_32_BITS: u64 = 1 << 25;
        const AARCH32: u64 = 1 << 4;
        const OWN_STACK: u64 = 1;
        let entry = match registers.spsr {
            spsr if spsr & AARCH32 != 0 => 0x600,
            _ if is_user(registers) => 0x400,
            spsr if spsr & OWN_STACK != 0 => 0x200,
            _ => 0x000,
        };
        self.vcpu.write(SystemRegister::EsrEl1, syndrome | INSTRUCTION_32_BITS);
        self.vcpu.write(SystemRegister::ElrEl1, registers.pc);
        self.vcpu.write(SystemRegister::SpsrEl1, registers.spsr);
        let vectors = self.vcpu.read(SystemRegister::VbarEl1);
        registers.pc = vectors.wrapping_add(entry);
        registers.spsr = boot::EL1H_MASKED;
    }
}

/// Past the instruction that trapped.
fn next(registers: &mut Registers) {
    registers.pc = registers.pc.wrapping_add(4);
}

/// Whether the guest runs a user program.
fn is_user(registers: &Registers) -> bool {
    registers.spsr & 0xc == 0
}
