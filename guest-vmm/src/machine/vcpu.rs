//! What the machine needs of the processor it is built on: one virtual CPU, stopped or running.

use resh_channel::memory::Words;

/// Registers of the virtual CPU that a trap leaves in the hypervisor's hands (ARM ARM, B1.2 and C5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// Address of the instruction to execute next.
    pub pc: u64,
    /// `SP_EL0`.
    pub sp: u64,
    /// Processor state, as in `SPSR_EL2`.
    pub spsr: u64,
    /// `X0` to `X30`.
    pub x: [u64; 31],
}

impl Registers {
    /// What register number `number` of an instruction holds: 31 is the zero register.
    #[must_use]
    pub fn get(&self, number: u8) -> u64 {
        self.x.get(usize::from(number)).copied().unwrap_or(0)
    }

    /// Sets register `number`; the zero register stays 0.
    pub fn set(&mut self, number: u8, value: u64) {
        if let Some(register) = self.x.get_mut(usize::from(number)) {
            *register = value;
        }
    }
}

/// System registers of the virtual CPU (ARM ARM, D13) that the machine reads or resets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the architecture's own names")]
pub enum SystemRegister {
    SctlrEl1,
    CpacrEl1,
    Ttbr0El1,
    Ttbr1El1,
    TcrEl1,
    MairEl1,
    AmairEl1,
    ContextidrEl1,
    ActlrEl1,
    Afsr0El1,
    Afsr1El1,
    EsrEl1,
    FarEl1,
    ParEl1,
    VbarEl1,
    TpidrEl1,
    VmpidrEl2,
    SpEl1,
    ElrEl1,
    SpsrEl1,
    CntvCtlEl0,
    CntvCvalEl0,
    CntvoffEl2,
    CntkctlEl1,
}

/// The list register holds an interrupt that the guest is handling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InUse;

/// One virtual CPU. It does not run while the machine is called.
pub trait Vcpu {
    /// Its registers. Valid while it is stopped or at an exit.
    fn registers(&mut self) -> Registers;

    /// Sets its registers. It does not begin to run.
    fn set_registers(&mut self, registers: &Registers);

    /// As [`set_registers`](Self::set_registers), for a program that begins: whatever other registers its
    /// thread has are 0.
    fn begin(&mut self, registers: &Registers);

    /// The value of a system register.
    fn read(&mut self, register: SystemRegister) -> u64;

    /// Sets a system register.
    fn write(&mut self, register: SystemRegister, value: u64);

    /// Makes `intid` pending in list register `index` of the virtual CPU interface, in group 0, with a
    /// maintenance interrupt at its end. `priority`: 0 (highest) to 31.
    ///
    /// # Errors
    /// [`InUse`] if the list register cannot be written now.
    fn inject(&mut self, index: usize, intid: u16, priority: u8) -> Result<(), InUse>;

    /// Lets the virtual timer's interrupt be reported again.
    fn ack_timer(&mut self);

    /// Stops it. Also one that waits for the end of an exit.
    fn stop(&mut self);

    /// Lets it run from where its registers say.
    fn resume(&mut self);

    /// Makes what was stored to `memory` visible to a guest that runs with its caches off.
    fn clean(&mut self, memory: &Words);

    /// Makes instructions that were stored to `memory`, which lies within a page, visible as such.
    fn unify(&mut self, memory: &Words);
}
