//! What only the virtual CPU itself can clear for its next guest: a few instructions of ours run on it first.
//!
//! A guest that ends while it handles interrupts leaves them *active* in the list registers, which the kernel does not
//! let its monitor overwrite, and leaves the settings of its CPU interface and what the instruction cache holds of
//! the memory that is now another's. With a list register lost in each life, no interrupt would come in the fifth.

use crate::memory::GuestRam;

use super::GIC_CPU_BASE;
use super::boot::{self, Layout};
use super::vcpu::Vcpu;

/// `W1` of the loop: the largest number of an interrupt (IHI 0048B, 2.2).
const LAST_INTERRUPT: u32 = 1019;

/// The instructions. With EOImode set, a write to GICV_DIR ends an active interrupt whatever its priority, and
/// nothing else (IHI 0048B, 5.5).
const PROGRAM: [u32; 17] = [
    0xd2a0_0000 | (GIC_CPU_BASE >> 16 << 5) as u32, // movz x0, #(GIC_CPU_BASE >> 16), lsl #16
    0x5280_4001,                                    // mov  w1, #0x200
    0xb900_0001, // str  w1, [x0]        GICV_CTLR: EOImode, both groups off
    0xb900_041f, // str  wzr, [x0, #4]   GICV_PMR: all masked
    0xb900_081f, // str  wzr, [x0, #8]   GICV_BPR: its least
    0xb900_d01f, // str  wzr, [x0, #208] GICV_APR0: no active priority
    0x9140_0402, // add  x2, x0, #1, lsl #12
    0x5280_0001 | LAST_INTERRUPT << 5, // mov  w1, #LAST_INTERRUPT
    0xb900_0041, // str  w1, [x2]        GICV_DIR
    0x7100_0421, // subs w1, w1, #1
    0x54ff_ffc5, // b.pl -8
    0xb900_001f, // str  wzr, [x0]       GICV_CTLR: as after a reset
    0xd508_751f, // ic   iallu
    0xd503_3f9f, // dsb  sy
    0xd503_3fdf, // isb
    0xd400_0003, // smc  #0              the machine goes on
    0x1400_0000, // b    .
];

/// Where it lies: in the page below the initial RAM file system, which the layout leaves free.
fn address(layout: &Layout) -> u64 {
    layout.initramfs.0 - boot::PAGE_BYTES
}

/// Makes the stopped virtual CPU ready to run it. Memory is prepared for the guest, and this page is still free.
pub(super) fn enter(vcpu: &mut impl Vcpu, ram: &GuestRam<'_>, layout: &Layout) {
    let address = address(layout);
    for (at, instruction) in (address..).step_by(4).zip(PROGRAM) {
        // The layout left room for it.
        let _ = ram.write_u32(at, instruction);
    }
    boot::clean(vcpu, ram, address, size_of_val(&PROGRAM) as u64);
    if let Ok(bytes) = ram.bytes(address, boot::PAGE_BYTES) {
        let (words, start) = bytes.raw();
        vcpu.unify(&words[start / 8..][..boot::PAGE_BYTES as usize / 8]);
    }
    boot::enter(vcpu, address, 0);
}

/// It has run: the page is as the guest is to find it.
pub(super) fn leave(vcpu: &mut impl Vcpu, ram: &GuestRam<'_>, layout: &Layout) {
    let address = address(layout);
    let _ = ram.write(address, &[0; size_of::<[u32; PROGRAM.len()]>()]);
    boot::clean(vcpu, ram, address, size_of_val(&PROGRAM) as u64);
}
