//! What a domain can do with the capabilities that the Microkit tool gives it, at the places where it puts
//! them (`libmicrokit`, `include/microkit.h`).

use core::fmt;

use super::abi::{invocation, system_call};
use super::symbols;
use super::system_call::{Answer, Arguments, STACK_TOP, set_mr, system_call};
use crate::{Channel, Child, MessageInfo};

/// Where everybody's messages arrive.
pub(crate) const INPUT: u64 = 1;
/// The address space.
pub(crate) const ADDRESS_SPACE: u64 = 3;
/// The reply object.
pub(crate) const REPLY: u64 = 4;
/// Microkit's own monitor.
pub(crate) const MONITOR: u64 = 5;
const NOTIFICATIONS: u64 = 10;
const IRQS: u64 = 138;
const CHILDREN: u64 = 202;
/// Threads of virtual CPUs.
pub(crate) const VCPU_THREADS: u64 = 266;
/// Virtual CPUs.
pub(crate) const VCPUS: u64 = 330;

/// The kernel refused an invocation. The number is that of `seL4_Error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub u64);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            1 => "invalid argument",
            2 => "invalid capability",
            3 => "illegal operation",
            4 => "out of range",
            5 => "misaligned",
            6 => "no such capability",
            7 => "message too short",
            8 => "in use",
            9 => "still referred to",
            10 => "out of memory",
            _ => "unknown",
        };
        write!(f, "the kernel refuses: {name} (error {})", self.0)
    }
}

/// Invokes `capability` with up to four message registers.
pub(crate) fn invoke<const N: usize>(
    capability: u64,
    label: u64,
    values: [u64; N],
) -> Result<[u64; 4], Refused> {
    const { assert!(N <= 4) };
    let mut registers = [0; 4];
    registers[..N].copy_from_slice(&values);
    let message = MessageInfo::new(label, N as u8);
    finish(Arguments { capability, message, registers, ..Arguments::default() })
}

/// Invokes `capability` with as many message registers as `values` has.
pub(crate) fn invoke_many(
    capability: u64,
    label: u64,
    values: &[u64],
) -> Result<[u64; 4], Refused> {
    let mut registers = [0; 4];
    for (index, value) in values.iter().enumerate() {
        match registers.get_mut(index) {
            Some(register) => *register = *value,
            None => set_mr(index, *value),
        }
    }
    let message = MessageInfo::new(label, values.len() as u8);
    finish(Arguments { capability, message, registers, ..Arguments::default() })
}

fn finish(arguments: Arguments) -> Result<[u64; 4], Refused> {
    let Answer { message, registers, .. } = system_call(system_call::CALL, &arguments);
    match message.label() {
        0 => Ok(registers),
        error => Err(Refused(error)),
    }
}

/// Sends nothing but the fact.
fn signal(capability: u64) {
    system_call(system_call::SEND, &Arguments { capability, ..Arguments::default() });
}

/// A channel that the system description does not grant is left alone, as on Linux.
pub(crate) fn notify(channel: Channel) {
    if symbols::notifications() & (1 << channel.index()) != 0 {
        signal(NOTIFICATIONS + channel.index() as u64);
    }
}

pub(crate) fn irq_ack(channel: Channel) {
    if symbols::irqs() & (1 << channel.index()) != 0 {
        // The kernel refuses no acknowledgement of an interrupt that this domain holds.
        let _ = invoke(IRQS + channel.index() as u64, invocation::IRQ_ACK_IRQ, []);
    }
}

pub(crate) fn stop(child: Child) -> Result<(), Refused> {
    invoke(CHILDREN + child.index() as u64, invocation::TCB_SUSPEND, []).map(drop)
}

/// Number of registers of a thread: `seL4_UserContext`, which begins with the program counter, the stack
/// pointer and the processor's state.
pub(crate) const CONTEXT_WORDS: usize = 36;

pub(crate) fn restart(child: Child, entry: u64) -> Result<(), Refused> {
    let mut values = [0; 2 + CONTEXT_WORDS];
    // Resume it, no flags (`seL4_TCB_WriteRegisters`).
    values[..2].copy_from_slice(&[1, CONTEXT_WORDS as u64]);
    values[2..4].copy_from_slice(&[entry, STACK_TOP]);
    let capability = CHILDREN + child.index() as u64;
    invoke_many(capability, invocation::TCB_WRITE_REGISTERS, &values).map(drop)
}
