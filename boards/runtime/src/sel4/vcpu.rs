//! A guest's virtual CPU (seL4 manual, section "Virtualisation"; Microkit manual, "Virtual machines").

use super::abi::invocation;
use super::capability::{CONTEXT_WORDS, Refused, VCPU_THREADS, VCPUS, invoke, invoke_many};
use super::system_call::mr;

/// The registers of a virtual CPU's thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// Program counter.
    pub pc: u64,
    /// SP_EL0.
    pub sp: u64,
    /// SPSR: the state it goes on in (ARM ARM, C5.2.19).
    pub spsr: u64,
    /// x0 to x30.
    pub x: [u64; 31],
}

/// In which order `seL4_UserContext` has x0 to x30.
const ORDER: [usize; 31] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 17, 18, 29, 30, 9, 10, 11, 12, 13, 14, 15, 19, 20, 21, 22, 23,
    24, 25, 26, 27, 28,
];
/// Number of words in [`Registers`].
const WORDS: usize = 3 + ORDER.len();

impl Registers {
    /// As `seL4_UserContext`, without the thread pointers at its end.
    fn to_words(self) -> [u64; WORDS] {
        let mut words = [0; WORDS];
        words[..3].copy_from_slice(&[self.pc, self.sp, self.spsr]);
        for (word, number) in words[3..].iter_mut().zip(ORDER) {
            *word = self.x[number];
        }
        words
    }

    fn from_words(word: impl Fn(usize) -> u64) -> Self {
        let mut x = [0; 31];
        for (at, number) in ORDER.into_iter().enumerate() {
            x[number] = word(3 + at);
        }
        Self { pc: word(0), sp: word(1), spsr: word(2), x }
    }
}

/// A virtual CPU of this domain, by the id that the system description gives it.
///
/// Where the kernel can refuse only what a program must not ask for (a register there is not, an id there
/// is not), the methods panic. Nothing a guest does leads there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vcpu(u8);

impl Vcpu {
    /// Largest id (Microkit manual, "Limits").
    pub const MAX: u8 = 61;

    /// The virtual CPU with id `id`, at most [`Self::MAX`].
    pub const fn new(id: u8) -> Self {
        assert!(id <= Self::MAX);
        Self(id)
    }

    fn capability(self) -> u64 {
        VCPUS + u64::from(self.0)
    }

    fn thread(self) -> u64 {
        VCPU_THREADS + u64::from(self.0)
    }

    fn expect<T>(self, what: &str, result: Result<T, Refused>) -> T {
        result.unwrap_or_else(|refused| panic!("virtual CPU {}: {what}: {refused}", self.0))
    }

    /// Reads the register `register` of [`vcpu_register`](super::vcpu_register).
    pub fn read_reg(self, register: u64) -> u64 {
        let answer = invoke(self.capability(), invocation::ARMVCPU_READ_REG, [register]);
        self.expect("read a register", answer)[0]
    }

    /// Writes the register `register` of [`vcpu_register`](super::vcpu_register).
    pub fn write_reg(self, register: u64, value: u64) {
        let values = [register, value];
        self.expect(
            "write a register",
            invoke(self.capability(), invocation::ARMVCPU_WRITE_REG, values),
        );
    }

    /// Puts interrupt `irq` into the list register `list_register` of its virtual GIC (GICv2
    /// specification, section 5.3.6). `priority` has five bits, `group` one.
    ///
    /// # Errors
    /// The list register holds an interrupt the guest has not done with, or does not exist.
    pub fn inject_irq(
        self,
        irq: u16,
        priority: u8,
        group: u8,
        list_register: u8,
    ) -> Result<(), Refused> {
        let word = u64::from(irq)
            | u64::from(priority) << 16
            | u64::from(group) << 24
            | u64::from(list_register) << 32;
        invoke(self.capability(), invocation::ARMVCPU_INJECT_IRQ, [word]).map(drop)
    }

    /// Lets the private interrupt `irq` come again, after [`Fault::VppiEvent`](super::Fault).
    pub fn ack_vppi(self, irq: u64) {
        let answer = invoke(self.capability(), invocation::ARMVCPU_ACK_VPPI, [irq]);
        self.expect("acknowledge a private interrupt", answer);
    }

    /// Its registers. Overwrites the message registers.
    pub fn read_registers(self) -> Registers {
        // Do not suspend it, no flags.
        let values = [0, WORDS as u64];
        let first = invoke(self.thread(), invocation::TCB_READ_REGISTERS, values);
        let first = self.expect("read its registers", first);
        Registers::from_words(|at| first.get(at).copied().unwrap_or_else(|| mr(at)))
    }

    /// Sets its registers. Overwrites the message registers.
    pub fn write_registers(self, registers: &Registers) {
        self.write_words::<{ 2 + WORDS }>(registers);
    }

    /// Sets its registers for a program that begins: the thread pointers of user programs are 0. Overwrites the
    /// message registers.
    pub fn begin(self, registers: &Registers) {
        self.write_words::<{ 2 + CONTEXT_WORDS }>(registers);
    }

    /// Sets `N` - 2 registers: those in `registers`, and 0.
    fn write_words<const N: usize>(self, registers: &Registers) {
        let mut values = [0; N];
        // Do not resume it, no flags.
        values[1] = (N - 2) as u64;
        values[2..2 + WORDS].copy_from_slice(&registers.to_words());
        let answer = invoke_many(self.thread(), invocation::TCB_WRITE_REGISTERS, &values);
        self.expect("write its registers", answer);
    }

    /// Stops it, whatever it is at.
    pub fn stop(self) {
        self.expect("stop", invoke(self.thread(), invocation::TCB_SUSPEND, []));
    }

    /// Lets it run on from where it was stopped.
    pub fn resume(self) {
        self.expect("resume", invoke(self.thread(), invocation::TCB_RESUME, []));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_keep_their_places_both_ways() {
        let mut registers = Registers { pc: 100, sp: 101, spsr: 102, x: [0; 31] };
        for (number, x) in registers.x.iter_mut().enumerate() {
            *x = number as u64;
        }
        let words = registers.to_words();
        // The order of seL4_UserContext, as its declaration spells it.
        assert_eq!(words[..3], [100, 101, 102]);
        assert_eq!(words[3..17], [0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 17, 18, 29, 30]);
        assert_eq!(words[17..24], [9, 10, 11, 12, 13, 14, 15]);
        assert_eq!(words[24..], [19, 20, 21, 22, 23, 24, 25, 26, 27, 28]);
        assert_eq!(Registers::from_words(|at| words[at]), registers);
    }
}
