//! The interrupt controller: the distributor of a GICv2 (ARM IHI 0048B) with one CPU, emulated, and the
//! list registers of its hardware virtual CPU interface, which the guest uses directly.
//!
//! An interrupt that is pending and enabled is put into a free list register, the most urgent first.
//! There it becomes active and ends without us; a maintenance interrupt tells of the end. Until then
//! the list register is taken. What the guest does to an interrupt that is in a list register (disable,
//! clear) takes effect from the next one on.

use super::vcpu::Vcpu;

/// Interrupts there are: 16 software-generated (SGI), 16 of the CPU (PPI), 64 shared (SPI).
pub const INTERRUPTS: usize = 96;
/// The virtual timer's PPI.
pub const TIMER: u16 = 27;
/// List registers: both QEMU's GICv2 and ARM's GIC-400 have four.
pub const LIST_REGISTERS: usize = 4;

const WORDS: usize = INTERRUPTS / 32;
/// Lowest priority of a list register. Linux masks it always (it sets the mask to 0xf0).
const PRIORITY_IDLE: u8 = 31;

/// A set of interrupts.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Set([u32; WORDS]);

impl Set {
    fn insert(&mut self, intid: u16) {
        if let Some(word) = self.0.get_mut(usize::from(intid / 32)) {
            *word |= 1 << (intid % 32);
        }
    }

    fn remove(&mut self, intid: u16) {
        if let Some(word) = self.0.get_mut(usize::from(intid / 32)) {
            *word &= !(1 << (intid % 32));
        }
    }

    fn contains(&self, intid: u16) -> bool {
        self.0.get(usize::from(intid / 32)).is_some_and(|word| word & 1 << (intid % 32) != 0)
    }
}

/// A list register, as far as we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    /// Free, or filled with what never fires.
    Free,
    /// It holds this interrupt until a maintenance interrupt says otherwise.
    Taken(u16),
    /// It could not be written: it holds an interrupt that somebody before us was handling.
    Stuck,
}

/// The interrupt controller.
#[derive(Clone, Debug)]
pub struct Gic {
    on: bool,
    enabled: Set,
    /// Latched: software-generated, or set pending by the guest.
    latched: Set,
    /// Lines that are high. These interrupts are pending as long as they are.
    lines: Set,
    listed: Set,
    priority: [u8; INTERRUPTS],
    /// Two bits for each interrupt, as the guest wrote them. Every line of this machine is level-sensitive.
    configuration: [u32; INTERRUPTS / 16],
    slots: [Slot; LIST_REGISTERS],
}

impl Default for Gic {
    fn default() -> Self {
        Self::new()
    }
}

impl Gic {
    /// As after a reset, with free list registers.
    #[must_use]
    pub fn new() -> Self {
        Self {
            on: false,
            enabled: Set::default(),
            latched: Set::default(),
            lines: Set::default(),
            listed: Set::default(),
            priority: [0; INTERRUPTS],
            configuration: [0; INTERRUPTS / 16],
            slots: [Slot::Free; LIST_REGISTERS],
        }
    }

    /// Resets all. Pending interrupts of an earlier life survive in the list registers: each is overwritten
    /// by one that stays pending below every priority mask, and that a later one replaces. Active ones have been
    /// ended before (`wipe`).
    /// Returns how many list registers are lost nevertheless.
    pub fn reset(&mut self, vcpu: &mut impl Vcpu) -> usize {
        *self = Self::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            // No device has these.
            let intid = (INTERRUPTS - LIST_REGISTERS + index) as u16;
            if vcpu.inject(index, intid, PRIORITY_IDLE).is_err() {
                *slot = Slot::Stuck;
            }
        }
        self.slots.iter().filter(|slot| **slot == Slot::Stuck).count()
    }

    /// Sets a line.
    pub fn set_line(&mut self, intid: u16, high: bool) {
        if high { self.lines.insert(intid) } else { self.lines.remove(intid) }
    }

    /// Whether the guest wants `intid`.
    #[must_use]
    pub fn is_enabled(&self, intid: u16) -> bool {
        self.on && self.enabled.contains(intid)
    }

    /// The guest ended the interrupt in list register `index`: which one, if we put one there.
    pub fn ended(&mut self, index: usize) -> Option<u16> {
        let slot = self.slots.get_mut(index)?;
        match core::mem::replace(slot, Slot::Free) {
            Slot::Taken(intid) => {
                self.listed.remove(intid);
                Some(intid)
            }
            Slot::Free | Slot::Stuck => None,
        }
    }

    /// The pending interrupt that goes first. Of equal ones the lower number does.
    fn most_urgent(&self) -> Option<u16> {
        if !self.on {
            return None;
        }
        let mut best: Option<(u8, u16)> = None;
        for at in 0..WORDS {
            let mut ready =
                (self.latched.0[at] | self.lines.0[at]) & self.enabled.0[at] & !self.listed.0[at];
            while ready != 0 {
                let intid = (at * 32) as u16 + ready.trailing_zeros() as u16;
                ready &= ready - 1;
                let priority = self.priority[usize::from(intid)];
                if best.is_none_or(|(other, _)| priority < other) {
                    best = Some((priority, intid));
                }
            }
        }
        best.map(|(_, intid)| intid)
    }

    /// Puts pending interrupts into free list registers.
    pub fn deliver(&mut self, vcpu: &mut impl Vcpu) {
        for index in 0..LIST_REGISTERS {
            if self.slots[index] != Slot::Free {
                continue;
            }
            let Some(intid) = self.most_urgent() else { return };
            let priority = self.priority[usize::from(intid)] >> 3;
            if vcpu.inject(index, intid, priority).is_ok() {
                self.slots[index] = Slot::Taken(intid);
                self.listed.insert(intid);
                self.latched.remove(intid);
            } else {
                self.slots[index] = Slot::Stuck;
            }
        }
    }

    /// Whether there is anything for the guest to handle: then a `WFI` ends at once.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.listed != Set::default() || self.most_urgent().is_some()
    }

    /// As if the guest had enabled `intid`.
    #[cfg(test)]
    pub(super) fn enable_for_test(&mut self, intid: u16) {
        self.enabled.insert(intid);
    }

    /// The guest reads `width_bytes` at `offset` of the distributor.
    #[must_use]
    pub fn read(&self, offset: u64, width_bytes: u8) -> u64 {
        let word = self.read_word(offset & !3);
        let value = word >> (8 * (offset & 3));
        match width_bytes {
            1 => u64::from(value & 0xff),
            2 => u64::from(value & 0xffff),
            _ => u64::from(value),
        }
    }

    fn read_word(&self, offset: u64) -> u32 {
        let at = (offset & 0x7f) as usize / 4;
        match offset {
            // GICD_CTLR, GICD_TYPER: one CPU, no security extension.
            0x000 => u32::from(self.on),
            0x004 => (WORDS - 1) as u32,
            // GICD_IIDR: as ARM's.
            0x008 => 0x0200_043b,
            // GICD_ISENABLERn, GICD_ICENABLERn
            0x100..0x200 => self.enabled.0.get(at).copied().unwrap_or(0),
            // GICD_ISPENDRn, GICD_ICPENDRn
            0x200..0x300 => match (self.latched.0.get(at), self.lines.0.get(at)) {
                (Some(latched), Some(lines)) => latched | lines,
                _ => 0,
            },
            // GICD_IPRIORITYRn
            0x400..0x800 => {
                let first = (offset - 0x400) as usize;
                let priority = |at: usize| self.priority.get(first + at).copied().unwrap_or(0);
                u32::from_le_bytes([priority(0), priority(1), priority(2), priority(3)])
            }
            // GICD_ITARGETSRn: the one CPU.
            0x800..0xc00 if ((offset - 0x800) as usize) < INTERRUPTS => 0x0101_0101,
            // GICD_ICFGRn: SGIs are edge-triggered.
            0xc00 => 0xaaaa_aaaa,
            0xc04..0xd00 => {
                self.configuration.get((offset - 0xc00) as usize / 4).copied().unwrap_or(0)
            }
            // GICD_SPENDSGIRn: from CPU 0, the only one.
            0xf20..0xf30 => {
                let first = (offset - 0xf20) as u16;
                let sgi = |at: u16| u8::from(self.latched.contains(first + at));
                u32::from_le_bytes([sgi(0), sgi(1), sgi(2), sgi(3)])
            }
            // ICPIDR2: GICv2.
            0xfe8 => 0x2b,
            // Groups, and active interrupts, which only the hardware knows, read as zero.
            _ => 0,
        }
    }

    /// The guest writes `value` of `width_bytes` at `offset` of the distributor.
    pub fn write(&mut self, offset: u64, width_bytes: u8, value: u64) {
        let bytes = value.to_le_bytes();
        let width = usize::from(width_bytes).min(8);
        let at = (offset & 0x7f) as usize / 4;
        // Registers of one bit for each interrupt: a write of 1 does it, so other bytes are 0.
        let ones = (value << (8 * (offset & 3))) as u32;
        match offset {
            0x000..0x004 => self.on = value & 1 != 0,
            0x100..0x180 => change(&mut self.enabled, at, |word| word | ones),
            0x180..0x200 => change(&mut self.enabled, at, |word| word & !ones),
            0x200..0x280 => {
                // SGIs are made pending by GICD_SGIR and GICD_SPENDSGIRn only.
                let ones = if at == 0 { ones & 0xffff_0000 } else { ones };
                change(&mut self.latched, at, |word| word | ones);
            }
            0x280..0x300 => {
                let ones = if at == 0 { ones & 0xffff_0000 } else { ones };
                change(&mut self.latched, at, |word| word & !ones);
            }
            0x400..0x800 => {
                let first = (offset - 0x400) as usize;
                for (priority, byte) in self.priority.iter_mut().skip(first).zip(&bytes[..width]) {
                    // Five bits are implemented.
                    *priority = byte & 0xf8;
                }
            }
            0xc04..0xd00 if width == 4 => {
                if let Some(word) = self.configuration.get_mut((offset - 0xc00) as usize / 4) {
                    *word = value as u32 & 0xaaaa_aaaa;
                }
            }
            // GICD_SGIR: to the listed CPUs (0), all others (1), this one (2).
            0xf00 => {
                let (filter, targets) = (value >> 24 & 3, value >> 16 & 0xff);
                if filter == 2 || filter == 0 && targets & 1 != 0 {
                    self.latched.insert((value & 0xf) as u16);
                }
            }
            // GICD_CPENDSGIRn, GICD_SPENDSGIRn
            0xf10..0xf30 => {
                let set = offset >= 0xf20;
                let first = (offset & 0xf) as u16;
                for (sgi, _) in (first..16).zip(&bytes[..width]).filter(|(_, byte)| *byte & 1 != 0)
                {
                    if set { self.latched.insert(sgi) } else { self.latched.remove(sgi) }
                }
            }
            _ => {}
        }
    }
}

fn change(set: &mut Set, at: usize, with: impl Fn(u32) -> u32) {
    if let Some(word) = set.0.get_mut(at) {
        *word = with(*word);
    }
}
