//! The guest's virtual CPU as seL4 offers it.

use guest_vmm::machine::{InUse, Registers, SystemRegister, Vcpu, gic};
use resh_channel::memory::Words;
use sel4_microkit::sel4::{self, vcpu_register as number};

/// The virtual CPU of this domain's guest.
pub(super) struct Cpu(sel4::Vcpu);

impl Cpu {
    /// The one with id 0.
    pub(super) const fn new() -> Self {
        Self(sel4::Vcpu::new(0))
    }
}

fn number(register: SystemRegister) -> u64 {
    use SystemRegister as R;
    match register {
        R::SctlrEl1 => number::SCTLR,
        R::CpacrEl1 => number::CPACR,
        R::Ttbr0El1 => number::TTBR0,
        R::Ttbr1El1 => number::TTBR1,
        R::TcrEl1 => number::TCR,
        R::MairEl1 => number::MAIR,
        R::AmairEl1 => number::AMAIR,
        R::ContextidrEl1 => number::CIDR,
        R::ActlrEl1 => number::ACTLR,
        R::Afsr0El1 => number::AFSR0,
        R::Afsr1El1 => number::AFSR1,
        R::EsrEl1 => number::ESR,
        R::FarEl1 => number::FAR,
        R::ParEl1 => number::PAR,
        R::VbarEl1 => number::VBAR,
        R::TpidrEl1 => number::TPIDR_EL1,
        R::VmpidrEl2 => number::VMPIDR_EL2,
        R::SpEl1 => number::SP_EL1,
        R::ElrEl1 => number::ELR_EL1,
        R::SpsrEl1 => number::SPSR_EL1,
        R::CntvCtlEl0 => number::CNTV_CTL,
        R::CntvCvalEl0 => number::CNTV_CVAL,
        R::CntvoffEl2 => number::CNTVOFF,
        R::CntkctlEl1 => number::CNTKCTL_EL1,
    }
}

impl Vcpu for Cpu {
    fn registers(&mut self) -> Registers {
        let sel4::Registers { pc, sp, spsr, x } = self.0.read_registers();
        Registers { pc, sp, spsr, x }
    }

    fn set_registers(&mut self, registers: &Registers) {
        let Registers { pc, sp, spsr, x } = *registers;
        self.0.write_registers(&sel4::Registers { pc, sp, spsr, x });
    }

    fn begin(&mut self, registers: &Registers) {
        let Registers { pc, sp, spsr, x } = *registers;
        self.0.begin(&sel4::Registers { pc, sp, spsr, x });
    }

    fn read(&mut self, register: SystemRegister) -> u64 {
        self.0.read_reg(number(register))
    }

    fn write(&mut self, register: SystemRegister, value: u64) {
        self.0.write_reg(number(register), value);
    }

    fn inject(&mut self, index: usize, intid: u16, priority: u8) -> Result<(), InUse> {
        self.0.inject_irq(intid, priority, 0, index as u8).map_err(|_| InUse)
    }

    fn ack_timer(&mut self) {
        self.0.ack_vppi(gic::TIMER.into());
    }

    fn stop(&mut self) {
        self.0.stop();
    }

    fn resume(&mut self) {
        self.0.resume();
    }

    fn clean(&mut self, memory: &Words) {
        sel4::clean_to_memory(memory);
    }

    fn unify(&mut self, memory: &Words) {
        // It is within a page, and what is refused would be an older program in its place at worst.
        let _ = sel4::unify_instructions(memory);
    }
}
