//! The domain of one replica, for tests: it breaks when its guest is asked for that (`resh_sel4::gateway::trigger`).
#![cfg_attr(target_os = "none", no_std, no_main)]

use resh_sel4::gateway::trigger::{Fault, heard};
use resh_sel4::gateway::{self, StartError};
use sel4_microkit::{ChannelSet, Child, Handler, MessageInfo};

/// An address at which nothing is mapped in any domain.
const NOWHERE: usize = 0x10;
/// Memory that a gateway may write and its program does not share, as `microkit-system.xml` maps it. The symbols that
/// say so are the allocator's.
const HEAP: (usize, usize) = (0x5000_0000, 0x400_0000);

struct Faulting<H>(H);

impl<H: Handler> Handler for Faulting<H> {
    type Error = H::Error;

    fn notified(&mut self, channels: ChannelSet) -> Result<(), H::Error> {
        obey();
        self.0.notified(channels)
    }

    fn fault(
        &mut self,
        child: Child,
        message: MessageInfo,
    ) -> Result<Option<MessageInfo>, H::Error> {
        let answer = self.0.fault(child, message);
        obey();
        answer
    }
}

fn obey() {
    match heard() {
        None => {}
        Some(Fault::Touch) => {
            let nowhere = core::ptr::without_provenance::<u64>(NOWHERE);
            // SAFETY: there is nothing to read, so the kernel stops this domain at this instruction:
            // that is what it is for.
            unsafe { nowhere.read_volatile() };
        }
        Some(Fault::Overwrite) => overwrite(),
        Some(Fault::Disturb) => disturb(),
    }
}

/// Overwrites all that this domain may write but what it printed, then disturbs for ever.
fn overwrite() -> ! {
    spoil_guest();
    for region in ["guest_ram", "deadline"] {
        spoil(region);
    }
    fill(HEAP.0, HEAP.1);
    // What the voter looks at comes last: it does not take that for long.
    for region in ["broadcast_cursor", "reply_ring"] {
        spoil(region);
    }
    disturb()
}

fn spoil(region: &'static str) {
    let Ok(words) = sel4_microkit::region(region) else { return };
    fill(words.as_ptr() as usize, size_of_val(words));
}

/// Leaves the virtual CPU in a state that no guest can begin in: registers, pending interrupts in all list
/// registers, and what once told that it was never used. It runs on.
#[cfg(target_os = "none")]
fn spoil_guest() {
    use sel4_microkit::sel4::{Registers, Vcpu, vcpu_register as register};
    let vcpu = Vcpu::new(0);
    vcpu.stop();
    for list_register in 0..4 {
        let _ = vcpu.inject_irq(27 + u16::from(list_register), 0, 0, list_register);
    }
    vcpu.write_reg(register::VMPIDR_EL2, 0);
    vcpu.write_reg(register::VBAR, 0x4000_0000);
    vcpu.write_reg(register::SCTLR, u64::MAX);
    vcpu.write_reg(register::CNTV_CTL, 1);
    vcpu.write_registers(&Registers { pc: 0x4000_0000, sp: 1, spsr: 0x3c5, x: [u64::MAX; 31] });
    vcpu.resume();
}

#[cfg(not(target_os = "none"))]
fn spoil_guest() {}

/// Overwrites memory of which only the program itself knows what is in it.
fn fill(address: usize, len: usize) {
    for at in (address..address + len).step_by(size_of::<u64>()) {
        let word = core::ptr::without_provenance_mut::<u64>(at);
        // SAFETY: mapped and writable, and nothing of this program is used any more but this loop and what
        // follows it, which keep what they need in registers and on the stack.
        unsafe { word.write_volatile(0xdead_beef_dead_beef) };
    }
}

/// Overwrites what is left, the memory of the program's statics, its stack and its IPC buffer, and then signals
/// the voter and the timer for ever, with all the time it gets.
#[cfg(target_os = "none")]
fn disturb() -> ! {
    // SAFETY: nothing is used after it. The addresses are the linker's and those of `boards/runtime`; the
    // capabilities those of channels 0 and 61; -5 is seL4_SysSend (libsel4's syscall.h).
    unsafe {
        core::arch::asm!(
            "adrp x9, __bss_start",
            "add x9, x9, :lo12:__bss_start",
            "adrp x10, _end",
            "add x10, x10, :lo12:_end",
            "0:",
            "cmp x9, x10",
            "b.hs 1f",
            "strb w11, [x9], #1",
            "b 0b",
            "1:",
            "mov x9, sp",
            "movz x10, #0xffff, lsl #16",
            "movk x10, #0xe000",
            "movk x10, #0xff, lsl #32",
            "2:",
            "cmp x9, x10",
            "b.hs 3f",
            "str x11, [x9], #8",
            "b 2b",
            "3:",
            "mov sp, x11",
            "movi v0.2d, #0xffffffffffffffff",
            "mov x9, #0x7c00000",
            "msr fpcr, x9",
            "4:",
            "mov x0, #10",
            "mov x1, #0",
            "mov x7, {send}",
            "svc #0",
            "mov x0, #71",
            "mov x1, #0",
            "mov x7, {send}",
            "svc #0",
            "b 4b",
            send = in(reg) sel4_microkit::sel4::abi::system_call::SEND,
            in("x11") u64::MAX,
            options(noreturn, nostack),
        )
    }
}

#[cfg(not(target_os = "none"))]
fn disturb() -> ! {
    unreachable!("domains run on seL4 only")
}

fn start() -> Result<impl Handler, StartError> {
    gateway::start().map(Faulting)
}

sel4_microkit::program! {
    regions: [
        config, supervision, broadcast_ring, broadcast_cursor, reply_ring, reply_cursor,
        guest_ram, guest_kernel, guest_initramfs,
    ],
    start: start
}
