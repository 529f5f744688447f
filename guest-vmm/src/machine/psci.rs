//! The Power State Coordination Interface 1.0 (ARM DEN 0022) of a machine with one CPU, by `HVC` and `SMC`.

/// What the machine does upon a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// The call returns this in `X0`.
    Return(u64),
    /// The CPU waits for an interrupt, and the call then returns success.
    Suspend,
    /// The machine is off, and stays so.
    Off,
    /// The machine is to begin anew.
    Reset,
}

const VERSION_1_0: u64 = 1 << 16;
const SMCCC_VERSION_1_1: u64 = 1 << 16 | 1;
const NOT_SUPPORTED: u64 = -1i64 as u64;
const INVALID_PARAMETERS: u64 = -2i64 as u64;
const ALREADY_ON: u64 = -4i64 as u64;
const SUCCESS: u64 = 0;
/// MIGRATE_INFO_TYPE: no trusted system that could be on one CPU only.
const MIGRATION_NOT_REQUIRED: u64 = 2;
/// AFFINITY_INFO: on.
const ON: u64 = 0;

const PSCI_VERSION: u32 = 0x8400_0000;
const CPU_SUSPEND_32: u32 = 0x8400_0001;
const CPU_OFF: u32 = 0x8400_0002;
const CPU_ON_32: u32 = 0x8400_0003;
const AFFINITY_INFO_32: u32 = 0x8400_0004;
const MIGRATE_INFO_TYPE: u32 = 0x8400_0006;
const SYSTEM_OFF: u32 = 0x8400_0008;
const SYSTEM_RESET: u32 = 0x8400_0009;
const PSCI_FEATURES: u32 = 0x8400_000a;
const SMCCC_VERSION: u32 = 0x8000_0000;
const SMCCC_ARCH_FEATURES: u32 = 0x8000_0001;
const CPU_SUSPEND_64: u32 = 0xc400_0001;
const CPU_ON_64: u32 = 0xc400_0003;
const AFFINITY_INFO_64: u32 = 0xc400_0004;

/// Answers the call whose function number and arguments are in `X0` to `X3`.
#[must_use]
pub fn call(x: [u64; 4]) -> Call {
    // The function number is 32 bits wide (ARM DEN 0028, section 2.5); the affinity fields of an MPIDR
    // are 0 for the one CPU there is.
    let boot_cpu = x[1] & 0xff_00ff_ffff == 0;
    match x[0] as u32 {
        PSCI_VERSION => Call::Return(VERSION_1_0),
        SMCCC_VERSION => Call::Return(SMCCC_VERSION_1_1),
        CPU_SUSPEND_32 | CPU_SUSPEND_64 => Call::Suspend,
        // The last CPU of the machine.
        CPU_OFF | SYSTEM_OFF => Call::Off,
        SYSTEM_RESET => Call::Reset,
        CPU_ON_32 | CPU_ON_64 if boot_cpu => Call::Return(ALREADY_ON),
        CPU_ON_32 | CPU_ON_64 => Call::Return(INVALID_PARAMETERS),
        AFFINITY_INFO_32 | AFFINITY_INFO_64 if boot_cpu && x[2] <= 3 => Call::Return(ON),
        AFFINITY_INFO_32 | AFFINITY_INFO_64 => Call::Return(INVALID_PARAMETERS),
        MIGRATE_INFO_TYPE => Call::Return(MIGRATION_NOT_REQUIRED),
        PSCI_FEATURES => {
            Call::Return(if is_supported(x[1] as u32) { SUCCESS } else { NOT_SUPPORTED })
        }
        SMCCC_ARCH_FEATURES if matches!(x[1] as u32, SMCCC_VERSION | SMCCC_ARCH_FEATURES) => {
            Call::Return(SUCCESS)
        }
        _ => Call::Return(NOT_SUPPORTED),
    }
}

fn is_supported(function: u32) -> bool {
    matches!(
        function,
        PSCI_VERSION
            | CPU_SUSPEND_32
            | CPU_SUSPEND_64
            | CPU_OFF
            | CPU_ON_32
            | CPU_ON_64
            | AFFINITY_INFO_32
            | AFFINITY_INFO_64
            | MIGRATE_INFO_TYPE
            | SYSTEM_OFF
            | SYSTEM_RESET
            | PSCI_FEATURES
            | SMCCC_VERSION
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux_finds_what_it_asks_for() {
        assert_eq!(call([0x8400_0000, 0, 0, 0]), Call::Return(0x1_0000));
        // What Linux asks on the way: migration, features of each function, SMCCC's version.
        assert_eq!(call([0x8400_0006, 0, 0, 0]), Call::Return(2));
        for function in [0xc400_0001, 0x8400_0009, 0x8000_0000] {
            assert_eq!(call([0x8400_000a, function, 0, 0]), Call::Return(0), "{function:#x}");
        }
        // SYSTEM_RESET2, SYSTEM_SUSPEND.
        for function in [0xc400_0012, 0xc400_000e] {
            assert_eq!(call([0x8400_000a, function, 0, 0]), Call::Return(NOT_SUPPORTED));
        }
        assert_eq!(call([0x8000_0000, 0, 0, 0]), Call::Return(0x1_0001));
    }

    #[test]
    fn there_is_one_cpu() {
        assert_eq!(call([0xc400_0003, 0, 0x4000_0000, 0]), Call::Return(ALREADY_ON));
        assert_eq!(call([0xc400_0003, 0x8000_0000, 0, 0]), Call::Return(ALREADY_ON));
        assert_eq!(call([0xc400_0003, 1, 0, 0]), Call::Return(INVALID_PARAMETERS));
        assert_eq!(call([0xc400_0003, 1 << 32, 0, 0]), Call::Return(INVALID_PARAMETERS));
        assert_eq!(call([0xc400_0004, 0, 0, 0]), Call::Return(ON));
        assert_eq!(call([0xc400_0004, 1, 0, 0]), Call::Return(INVALID_PARAMETERS));
        assert_eq!(call([0x8400_0004, 0, 4, 0]), Call::Return(INVALID_PARAMETERS));
    }

    #[test]
    fn the_machine_ends_or_begins_anew() {
        assert_eq!(call([0x8400_0008, 0, 0, 0]), Call::Off);
        assert_eq!(call([0x8400_0002, 0, 0, 0]), Call::Off);
        assert_eq!(call([0x8400_0009, 0, 0, 0]), Call::Reset);
        assert_eq!(call([0xffff_ffff_8400_0009, 0, 0, 0]), Call::Reset);
        assert_eq!(call([0xc400_0001, 0, 0, 0]), Call::Suspend);
        assert_eq!(call([0, 0, 0, 0]), Call::Return(NOT_SUPPORTED));
    }
}
