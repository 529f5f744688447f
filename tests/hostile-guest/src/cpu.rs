//! Instructions that Rust has no words for. This kernel is alone on its machine, runs without address
//! translation, and skips every instruction that faults ([`crate::boot`]).

use core::arch::asm;

/// How an address is accessed. Of the last four the processor does not tell the hypervisor which register
/// is meant, so that a monitor cannot emulate them.
#[derive(Clone, Copy)]
pub(crate) enum Access {
    Byte,
    Half,
    Word,
    Double,
    Pair,
    Vector,
    PostIndex,
    Exclusive,
}

/// Every way there is.
pub(crate) const ACCESSES: [Access; 8] = [
    Access::Byte,
    Access::Half,
    Access::Word,
    Access::Double,
    Access::Pair,
    Access::Vector,
    Access::PostIndex,
    Access::Exclusive,
];

/// Runs one instruction with operands. The clobbers are those of all that are used.
macro_rules! instruction {
    ($text:literal, $address:expr, $value:expr) => {{
        let mut address: u64 = $address;
        let mut value: u64 = $value;
        // SAFETY: devices and wild addresses hold nothing of Rust's; what faults is skipped, and
        // leaves the registers as they were.
        unsafe {
            asm!($text, a = inout(reg) address, v = inout(reg) value, out("x9") _, out("v0") _);
        }
        let _ = address;
        value
    }};
}

/// Reads from `address`, which is no memory of Rust's.
pub(crate) fn load(access: Access, address: u64) -> u64 {
    match access {
        Access::Byte => instruction!("ldrb {v:w}, [{a}]", address, 0),
        Access::Half => instruction!("ldrh {v:w}, [{a}]", address, 0),
        Access::Word => instruction!("ldr {v:w}, [{a}]", address, 0),
        Access::Double => instruction!("ldr {v}, [{a}]", address, 0),
        Access::Pair => instruction!("ldp {v}, x9, [{a}]", address, 0),
        Access::Vector => instruction!("ldr q0, [{a}] /* {v} */", address, 0),
        Access::PostIndex => instruction!("ldr {v:w}, [{a}], #4", address, 0),
        Access::Exclusive => instruction!("ldxr {v:w}, [{a}]", address, 0),
    }
}

/// Writes to `address`, which is no memory of Rust's.
pub(crate) fn store(access: Access, address: u64, value: u64) {
    match access {
        Access::Byte => instruction!("strb {v:w}, [{a}]", address, value),
        Access::Half => instruction!("strh {v:w}, [{a}]", address, value),
        Access::Word => instruction!("str {v:w}, [{a}]", address, value),
        Access::Double => instruction!("str {v}, [{a}]", address, value),
        Access::Pair => instruction!("stp {v}, {v}, [{a}]", address, value),
        Access::Vector => instruction!("str q0, [{a}] /* {v} */", address, value),
        Access::PostIndex => instruction!("str {v:w}, [{a}], #4", address, value),
        Access::Exclusive => instruction!("stxr w9, {v:w}, [{a}]", address, value),
    };
}

pub(crate) fn read8(address: u64) -> u8 {
    load(Access::Byte, address) as u8
}

pub(crate) fn read32(address: u64) -> u32 {
    load(Access::Word, address) as u32
}

pub(crate) fn write32(address: u64, value: u32) {
    store(Access::Word, address, value.into());
}

/// Which instruction calls the hypervisor, and with what in it.
#[derive(Clone, Copy)]
pub(crate) enum Call {
    Hvc0,
    Hvc1,
    HvcFfff,
    Smc0,
    Smc1,
}

/// Every call there is.
pub(crate) const CALLS: [Call; 5] = [Call::Hvc0, Call::Hvc1, Call::HvcFfff, Call::Smc0, Call::Smc1];

macro_rules! call {
    ($text:literal, $function:expr, $arguments:expr, $seventh:expr) => {{
        let [a, b, c] = $arguments;
        let result: u64;
        // SAFETY: the called may change x0 to x17 (SMC calling convention) and no memory of ours.
        unsafe {
            asm!(
                $text,
                inout("x0") $function => result, inout("x1") a => _, inout("x2") b => _,
                inout("x3") c => _, inout("x7") $seventh => _, clobber_abi("C"),
            );
        }
        result
    }};
}

/// Calls the hypervisor, or firmware. `seventh` is what seL4 takes for the number of a system call.
pub(crate) fn call(how: Call, function: u64, arguments: [u64; 3], seventh: u64) -> u64 {
    match how {
        Call::Hvc0 => call!("hvc #0", function, arguments, seventh),
        Call::Hvc1 => call!("hvc #1", function, arguments, seventh),
        Call::HvcFfff => call!("hvc #0xffff", function, arguments, seventh),
        Call::Smc0 => call!("smc #0", function, arguments, seventh),
        Call::Smc1 => call!("smc #1", function, arguments, seventh),
    }
}

/// Accesses one of the system registers that a monitor may trap or that are not there.
pub(crate) fn odd_system_register(which: usize, value: u64) {
    // SAFETY: identification, debug, performance, and another interrupt controller's registers: none
    // of them changes what Rust relies on, and an undefined one is skipped.
    unsafe {
        match which % 12 {
            0 => asm!("mrs {v}, pmcr_el0", v = out(reg) _),
            1 => asm!("msr pmcr_el0, {v}", v = in(reg) value & !1),
            2 => asm!("mrs {v}, S3_0_C12_C12_0", v = out(reg) _),
            3 => asm!("msr S3_0_C12_C11_5, {v}", v = in(reg) value),
            4 => asm!("mrs {v}, actlr_el1", v = out(reg) _),
            5 => asm!("msr actlr_el1, {v}", v = in(reg) value),
            6 => asm!("mrs {v}, hcr_el2", v = out(reg) _),
            7 => asm!("msr oslar_el1, {v}", v = in(reg) value & 1),
            8 => asm!("mrs {v}, mdccsr_el0", v = out(reg) _),
            9 => asm!("mrs {v}, id_aa64pfr0_el1", v = out(reg) _),
            10 => asm!("mrs {v}, vttbr_el2", v = out(reg) _),
            _ => asm!("msr cntvoff_el2, {v}", v = in(reg) value),
        }
    }
}

/// What the last exception was about.
pub(crate) fn exception_syndrome() -> u64 {
    let value;
    // SAFETY: reads a register.
    unsafe { asm!("mrs {v}, esr_el1", v = out(reg) value) };
    value
}

/// The virtual counter, in ticks.
pub(crate) fn counter() -> u64 {
    let value;
    // SAFETY: reads a register.
    unsafe { asm!("isb", "mrs {v}, cntvct_el0", v = out(reg) value) };
    value
}

/// Ticks of the counter in a second.
pub(crate) fn counter_hz() -> u64 {
    let value;
    // SAFETY: reads a register.
    unsafe { asm!("mrs {v}, cntfrq_el0", v = out(reg) value) };
    value
}

/// Sets the virtual timer: the counter's value at which it fires, and its control register.
pub(crate) fn set_timer(at: u64, control: u64) {
    // SAFETY: the timer raises an interrupt, no more.
    unsafe {
        asm!(
            "msr cntv_cval_el0, {at}", "msr cntv_ctl_el0, {control}", "isb",
            at = in(reg) at, control = in(reg) control,
        );
    }
}

/// Takes interrupts for a moment.
pub(crate) fn take_interrupts() {
    // SAFETY: the handler saves what it changes.
    unsafe { asm!("msr daifclr, #2", "isb", "nop", "nop", "nop", "msr daifset, #2") };
}

/// Waits for an interrupt to be pending.
pub(crate) fn wait_for_interrupt() {
    // SAFETY: waits.
    unsafe { asm!("dsb sy", "wfi") };
}

/// Waits for an event, which has come.
pub(crate) fn wait_for_event() {
    // SAFETY: waits.
    unsafe { asm!("sevl", "wfe") };
}

/// Makes memory written before visible before what follows.
pub(crate) fn barrier() {
    // SAFETY: orders accesses.
    unsafe { asm!("dsb sy") };
}

/// Goes on at `address`. Returns if nothing can be executed there, and an exception says so.
pub(crate) fn jump(address: u64) {
    // SAFETY: nothing can be executed there; the exception returns behind the branch.
    unsafe { asm!("blr {a}", a = in(reg) address, clobber_abi("C")) };
}

/// Keeps the processor, with all interrupts masked.
pub(crate) fn keep_for_ever() -> ! {
    // SAFETY: goes on for ever.
    unsafe { asm!("msr daifset, #0xf", "2: b 2b", options(noreturn)) };
}
