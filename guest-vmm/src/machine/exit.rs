//! Why the virtual CPU stopped: exception syndromes (ARM ARM, D13.2.37 `ESR_EL2`) made plain.

/// What the processor reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// A stage 2 fault.
    Memory {
        /// Guest-physical address.
        address: u64,
        /// Whether the guest was fetching an instruction.
        fetch: bool,
        /// `ESR_EL2`.
        syndrome: u64,
    },
    /// An instruction that traps.
    Trap {
        /// `ESR_EL2`.
        syndrome: u64,
    },
    /// An `HVC` instruction that the kernel takes for a system call of its own. The return address is at it.
    Call,
    /// The virtual timer's interrupt.
    Timer,
    /// The guest ended an interrupt: the one in this list register.
    Maintenance {
        /// Index of the list register; none has an index above them.
        index: usize,
    },
    /// Something else that the kernel reports, by its label.
    Other {
        /// The fault's label.
        label: u64,
    },
}

/// One access of a guest to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Access {
    /// Guest-physical address.
    pub(super) address: u64,
    /// 1, 2, 4 or 8 bytes.
    pub(super) width_bytes: u8,
    /// A store; else a load.
    pub(super) write: bool,
    /// Number of the register that is stored or loaded; 31 is the zero register.
    pub(super) register: u8,
    /// The loaded value is sign-extended.
    pub(super) sign_extend: bool,
    /// The register is 64 bits wide, else 32.
    pub(super) register_64: bool,
}

impl Access {
    /// What a load leaves in the register when the device answers `value`.
    #[must_use]
    pub(super) fn loaded(&self, value: u64) -> u64 {
        let unused = 64 - 8 * u32::from(self.width_bytes.clamp(1, 8));
        let value = if self.sign_extend {
            ((value << unused).cast_signed() >> unused).cast_unsigned()
        } else {
            value << unused >> unused
        };
        if self.register_64 { value } else { value & 0xffff_ffff }
    }

    /// The part of the register that a store stores.
    #[must_use]
    pub(super) fn stored(&self, register: u64) -> u64 {
        let unused = 64 - 8 * u32::from(self.width_bytes.clamp(1, 8));
        register << unused >> unused
    }
}

/// What the guest was about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// An access to a device, or to nothing.
    Access(Access),
    /// Cache maintenance by address where no memory is: it does nothing there.
    CacheMaintenance,
    /// An access that the syndrome does not describe (a pair, a vector, write-back).
    Undescribed,
    /// An instruction fetch.
    Fetch,
    /// `WFI`: wait for interrupt.
    WaitForInterrupt,
    /// `WFE`: wait for event.
    WaitForEvent,
    /// `HVC` from AArch64: a call to the hypervisor. The return address is past it.
    HypervisorCall,
    /// `SMC` from AArch64: a call to the firmware. The return address is at it.
    SecureMonitorCall,
    /// `MRS` of a system register: it reads as zero.
    ReadSystemRegister {
        /// Number of the register that is loaded.
        register: u8,
    },
    /// `MSR` to a system register: it is ignored.
    WriteSystemRegister,
    /// Anything else: it does not exist on this machine.
    Undefined,
}

const EC_WFX: u64 = 0x01;
const EC_HVC64: u64 = 0x16;
const EC_SMC64: u64 = 0x17;
const EC_SYSTEM_REGISTER: u64 = 0x18;
const EC_INSTRUCTION_ABORT_LOWER: u64 = 0x20;
const EC_DATA_ABORT_LOWER: u64 = 0x24;

fn bits(value: u64, low: u32, count: u32) -> u8 {
    (value >> low & ((1 << count) - 1)) as u8
}

/// The exception class.
#[must_use]
pub(super) fn class(syndrome: u64) -> u64 {
    syndrome >> 26 & 0x3f
}

/// What the guest was about to do when a stage 2 fault stopped it.
#[must_use]
pub(super) fn memory(address: u64, fetch: bool, syndrome: u64) -> Cause {
    const ISV: u64 = 1 << 24;
    const CM: u64 = 1 << 8;
    const S1PTW: u64 = 1 << 7;
    match class(syndrome) {
        EC_INSTRUCTION_ABORT_LOWER => Cause::Fetch,
        EC_DATA_ABORT_LOWER if !fetch => {
            if syndrome & CM != 0 {
                Cause::CacheMaintenance
            } else if syndrome & ISV == 0 || syndrome & S1PTW != 0 {
                Cause::Undescribed
            } else {
                Cause::Access(Access {
                    address,
                    width_bytes: 1 << bits(syndrome, 22, 2),
                    write: bits(syndrome, 6, 1) != 0,
                    register: bits(syndrome, 16, 5),
                    sign_extend: bits(syndrome, 21, 1) != 0,
                    register_64: bits(syndrome, 15, 1) != 0,
                })
            }
        }
        _ if fetch => Cause::Fetch,
        _ => Cause::Undescribed,
    }
}

/// What the guest was about to do when one of its instructions trapped.
#[must_use]
pub(super) fn trap(syndrome: u64) -> Cause {
    match class(syndrome) {
        // The low bits tell WFI (0) and WFIT (2) from WFE (1) and WFET (3).
        EC_WFX if syndrome & 1 == 0 => Cause::WaitForInterrupt,
        EC_WFX => Cause::WaitForEvent,
        EC_HVC64 => Cause::HypervisorCall,
        EC_SMC64 => Cause::SecureMonitorCall,
        EC_SYSTEM_REGISTER if syndrome & 1 != 0 => {
            Cause::ReadSystemRegister { register: bits(syndrome, 5, 5) }
        }
        EC_SYSTEM_REGISTER => Cause::WriteSystemRegister,
        _ => Cause::Undefined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A data abort's syndrome: a valid description with these fields.
    fn data_abort(width: u64, sign: u64, register: u64, wide: u64, write: u64) -> u64 {
        EC_DATA_ABORT_LOWER << 26
            | 1 << 25
            | 1 << 24
            | width << 22
            | sign << 21
            | register << 16
            | wide << 15
            | write << 6
            | 0b000_111
    }

    #[test]
    fn data_aborts_are_decoded() {
        for (width, bytes) in [(0, 1), (1, 2), (2, 4), (3, 8)] {
            for write in [false, true] {
                let syndrome = data_abort(width, 0, 7, 1, u64::from(write));
                let expected = Access {
                    address: 0x0900_0018,
                    width_bytes: bytes,
                    write,
                    register: 7,
                    sign_extend: false,
                    register_64: true,
                };
                assert_eq!(memory(0x0900_0018, false, syndrome), Cause::Access(expected));
            }
        }
        assert_eq!(memory(0, false, EC_DATA_ABORT_LOWER << 26), Cause::Undescribed);
        assert_eq!(memory(0, false, data_abort(2, 0, 0, 0, 1) | 1 << 8), Cause::CacheMaintenance);
        assert_eq!(memory(0, true, EC_INSTRUCTION_ABORT_LOWER << 26), Cause::Fetch);
        assert_eq!(memory(0, true, 0), Cause::Fetch);
        assert_eq!(memory(0, false, 0), Cause::Undescribed);
    }

    #[test]
    fn loads_extend_as_the_instruction_says() {
        let access = |width_bytes, sign_extend, register_64| Access {
            address: 0,
            width_bytes,
            write: false,
            register: 0,
            sign_extend,
            register_64,
        };
        assert_eq!(access(1, false, false).loaded(0x1_80), 0x80);
        assert_eq!(access(1, true, false).loaded(0x80), 0xffff_ff80);
        assert_eq!(access(1, true, true).loaded(0x80), 0xffff_ffff_ffff_ff80);
        assert_eq!(access(4, true, true).loaded(0x8000_0000), 0xffff_ffff_8000_0000);
        assert_eq!(access(4, false, true).loaded(u64::MAX), 0xffff_ffff);
        assert_eq!(access(8, false, true).loaded(u64::MAX), u64::MAX);
        assert_eq!(access(2, false, false).stored(0x1234_5678), 0x5678);
    }

    #[test]
    fn traps_are_decoded() {
        assert_eq!(trap(0x01 << 26), Cause::WaitForInterrupt);
        assert_eq!(trap(0x01 << 26 | 1), Cause::WaitForEvent);
        assert_eq!(trap(0x16 << 26), Cause::HypervisorCall);
        assert_eq!(trap(0x17 << 26), Cause::SecureMonitorCall);
        assert_eq!(trap(0x18 << 26 | 5 << 5 | 1), Cause::ReadSystemRegister { register: 5 });
        assert_eq!(trap(0x18 << 26 | 5 << 5), Cause::WriteSystemRegister);
        assert_eq!(trap(0x3f << 26), Cause::Undefined);
    }
}
