//! The kernel's header and entry, and what happens on an exception: it is counted, and skipped.

use crate::{attack, cpu, gic};
use core::arch::global_asm;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU64, Ordering};

// The header of an Image: branch, text_offset, image_size, flags (little-endian, pages of 4 KiB), magic.
global_asm!(
    ".section .head, \"ax\"",
    "    b       0f",
    "    .long   0",
    "    .quad   0x200000",
    "    .quad   _image_size",
    "    .quad   2",
    "    .quad   0, 0, 0",
    "    .ascii  \"ARM\\x64\"",
    "    .long   0",
    "0:  adrp    x1, _stack",
    "    add     x1, x1, :lo12:_stack",
    "    mov     sp, x1",
    // The compiler uses vector registers.
    "    mov     x1, #(3 << 20)",
    "    msr     cpacr_el1, x1",
    "    adrp    x1, vectors",
    "    add     x1, x1, :lo12:vectors",
    "    msr     vbar_el1, x1",
    "    isb",
    "    adrp    x1, _bss",
    "    add     x1, x1, :lo12:_bss",
    "    adrp    x2, _bss_end",
    "    add     x2, x2, :lo12:_bss_end",
    "1:  cmp     x1, x2",
    "    b.hs    2f",
    "    stp     xzr, xzr, [x1], #16",
    "    b       1b",
    "2:  bl      {start}",
    "3:  b       3b",
    start = sym start,
);

// All vectors do the same, but for a number in x0: 0 for a synchronous exception, 1 for an interrupt, 2 else.
global_asm!(
    ".section .text, \"ax\"",
    ".macro vector kind",
    "    .balign 0x80",
    "    sub     sp, sp, #0x300",
    "    stp     x0, x1, [sp]",
    "    mov     x0, #\\kind",
    "    b       exception_entry",
    ".endm",
    ".balign 0x800",
    "vectors:",
    ".rept 4",
    "    vector  0",
    "    vector  1",
    "    vector  2",
    "    vector  2",
    ".endr",
    "exception_entry:",
    "    stp     x2, x3, [sp, #0x10]",
    "    stp     x4, x5, [sp, #0x20]",
    "    stp     x6, x7, [sp, #0x30]",
    "    stp     x8, x9, [sp, #0x40]",
    "    stp     x10, x11, [sp, #0x50]",
    "    stp     x12, x13, [sp, #0x60]",
    "    stp     x14, x15, [sp, #0x70]",
    "    stp     x16, x17, [sp, #0x80]",
    "    stp     x18, x30, [sp, #0x90]",
    "    mrs     x1, elr_el1",
    "    mrs     x2, spsr_el1",
    "    stp     x1, x2, [sp, #0xa0]",
    "    stp     q0, q1, [sp, #0xb0]",
    "    stp     q2, q3, [sp, #0xd0]",
    "    stp     q4, q5, [sp, #0xf0]",
    "    stp     q6, q7, [sp, #0x110]",
    "    stp     q16, q17, [sp, #0x130]",
    "    stp     q18, q19, [sp, #0x150]",
    "    stp     q20, q21, [sp, #0x170]",
    "    stp     q22, q23, [sp, #0x190]",
    "    stp     q24, q25, [sp, #0x1b0]",
    "    stp     q26, q27, [sp, #0x1d0]",
    "    stp     q28, q29, [sp, #0x1f0]",
    "    stp     q30, q31, [sp, #0x210]",
    "    add     x1, sp, #0x98",
    "    bl      {exception}",
    "    ldp     q0, q1, [sp, #0xb0]",
    "    ldp     q2, q3, [sp, #0xd0]",
    "    ldp     q4, q5, [sp, #0xf0]",
    "    ldp     q6, q7, [sp, #0x110]",
    "    ldp     q16, q17, [sp, #0x130]",
    "    ldp     q18, q19, [sp, #0x150]",
    "    ldp     q20, q21, [sp, #0x170]",
    "    ldp     q22, q23, [sp, #0x190]",
    "    ldp     q24, q25, [sp, #0x1b0]",
    "    ldp     q26, q27, [sp, #0x1d0]",
    "    ldp     q28, q29, [sp, #0x1f0]",
    "    ldp     q30, q31, [sp, #0x210]",
    "    ldp     x1, x2, [sp, #0xa0]",
    "    msr     elr_el1, x1",
    "    msr     spsr_el1, x2",
    "    ldp     x2, x3, [sp, #0x10]",
    "    ldp     x4, x5, [sp, #0x20]",
    "    ldp     x6, x7, [sp, #0x30]",
    "    ldp     x8, x9, [sp, #0x40]",
    "    ldp     x10, x11, [sp, #0x50]",
    "    ldp     x12, x13, [sp, #0x60]",
    "    ldp     x14, x15, [sp, #0x70]",
    "    ldp     x16, x17, [sp, #0x80]",
    "    ldp     x18, x30, [sp, #0x90]",
    "    ldp     x0, x1, [sp]",
    "    add     sp, sp, #0x300",
    "    eret",
    exception = sym exception,
);

/// Exceptions so far, interrupts not counted.
pub(crate) static EXCEPTIONS: AtomicU64 = AtomicU64::new(0);

/// A part of what the entry has saved, in its order there.
#[repr(C)]
struct Saved {
    link: u64,
    /// Where the exception returns to.
    elr: u64,
    /// The state it returns to.
    spsr: u64,
}

/// In `spsr`: interrupts are masked.
const SPSR_I: u64 = 1 << 7;
/// Exception classes (ARM ARM, ESR_ELx): a fetch from where no instruction is.
const EC_INSTRUCTION_ABORT: u64 = 0x21;

extern "C" fn exception(kind: u64, saved: &mut Saved) {
    match kind {
        0 => {
            EXCEPTIONS.store(EXCEPTIONS.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            let fetch = cpu::exception_syndrome() >> 26 == EC_INSTRUCTION_ABORT;
            saved.elr = if fetch { saved.link } else { saved.elr + 4 };
        }
        1 if !gic::interrupt() => saved.spsr |= SPSR_I,
        _ => {}
    }
}

extern "C" fn start(device_tree: u64) -> ! {
    attack::run(device_tree)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    crate::say!("hostile: panic: {info}");
    cpu::keep_for_ever()
}
