//! Calls, system registers and wild addresses.

use crate::cpu::{self, ACCESSES, CALLS, Call};
use crate::random::Random;

/// PSCI functions (ARM DEN 0022) that would end this kernel or let it sleep.
const SYSTEM_OFF: u64 = 0x8400_0008;
const SYSTEM_RESET: u64 = 0x8400_0009;
const ENDING: [u32; 6] = [0x01, 0x02, 0x08, 0x09, 0x0c, 0x0e];
const SYSTEM_RESET2: u32 = 0x12;

/// System calls of seL4 (MCS, `seL4_SysNBSend` and `seL4_SysYield`).
const NON_BLOCKING_SEND: u64 = -6i64 as u64;
const YIELD: u64 = -11i64 as u64;
/// The first ones: `seL4_SysCall` to `seL4_SysNBWait`.
const SYSTEM_CALLS: u64 = 10;

/// Tries all system calls of seL4, blocking ones too. A guest has no capability for any of them.
pub(crate) fn system_calls(random: &mut Random) {
    for number in 1..=SYSTEM_CALLS {
        let arguments = [random.any(), random.any(), random.any()];
        cpu::call(Call::Hvc0, random.below(512), arguments, number.wrapping_neg());
    }
}

/// Switches the machine off.
pub(crate) fn off() {
    cpu::call(Call::Hvc0, SYSTEM_OFF, [0; 3], 0);
}

/// Asks for a reset.
pub(crate) fn reset() {
    cpu::call(Call::Hvc0, SYSTEM_RESET, [0; 3], 0);
}

/// Calls what is not there, or with wrong arguments.
pub(crate) fn odd_call(random: &mut Random) {
    let how = random.pick(&CALLS);
    let function = match random.below(4) {
        0 => random.any(),
        1 => random.next() & 0xff00_ffff,
        // Upper halves that must not count.
        2 => 0x8400_0000 | random.below(0x20) | random.any() << 32,
        _ => 0xc400_0000 | random.below(0x20),
    };
    let is_psci = function as u32 & 0xbfff_ffe0 == 0x8400_0000;
    let number = function as u32 & 0x1f;
    if is_psci && (ENDING.contains(&number) || number == SYSTEM_RESET2) {
        return;
    }
    let arguments = [random.any(), random.any(), random.any()];
    // System calls of seL4 that block nobody, and numbers that it does not have. Not those of its
    // debug configuration, in which any guest may stop the system.
    let seventh = match random.below(4) {
        0 => 0,
        1 => random.any() >> 1,
        2 => NON_BLOCKING_SEND,
        _ => YIELD,
    };
    cpu::call(how, function, arguments, seventh);
}

/// Accesses a system register that is none of a guest's business.
pub(crate) fn odd_register(random: &mut Random) {
    cpu::odd_system_register(random.next() as usize, random.any());
}

/// Accesses addresses where nothing should be, at all widths.
pub(crate) fn wild_access(random: &mut Random) {
    let address = match random.below(6) {
        // Between the devices, and where QEMU has others.
        0 => 0x0802_0000 + random.below(0x10_0000),
        1 => 0x0a00_0200 + random.below(0x4000),
        // Far beyond RAM, up to 40 bits.
        2 => 0x1_4000_0000 + random.below(0xf0_0000_0000),
        // Around the ends of pages with devices.
        3 => random.pick(&[0x0800_1000, 0x0801_0000, 0x0901_0000, 0x0a00_1000]) - random.below(16),
        4 => 0x0b00_0000 + random.below(0x100_0000),
        _ => 0x0600_0000 + random.below(0x100_0000),
    };
    let access = random.pick(&ACCESSES);
    if random.once_in(2) {
        cpu::load(access, address);
    } else {
        cpu::store(access, address, random.any());
    }
}
