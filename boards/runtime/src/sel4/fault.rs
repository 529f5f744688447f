//! Why a child stopped (seL4 manual, chapter 6 "Faults").

use core::fmt;

use super::abi::fault as label;
use crate::MessageInfo;

/// Why a child, a domain or a virtual CPU, stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It touched memory that it does not have, or not in that way. For a guest, `address` is
    /// guest-physical, and `syndrome` has what is needed to emulate the access (ARM ARM, ISS of ESR_EL2
    /// for a data abort).
    VmFault {
        /// Address of the instruction.
        ip: u64,
        /// Address it touched.
        address: u64,
        /// Whether it was fetching an instruction.
        is_prefetch: bool,
        /// Fault status: ESR with its class.
        syndrome: u64,
    },
    /// A guest did what the hypervisor traps: HVC, SMC, WFI, a system register.
    VcpuFault {
        /// ESR_EL2.
        syndrome: u64,
    },
    /// A private interrupt of the virtual CPU came, and stays masked until it is acknowledged.
    VppiEvent {
        /// Its INTID.
        irq: u64,
    },
    /// The virtual GIC wants looking after.
    VgicMaintenance {
        /// The list register that is free now, if it is one.
        index: Option<u8>,
    },
    /// It executed something undefined, or another exception without a name of its own.
    UserException {
        /// Address of the instruction.
        ip: u64,
        /// Its stack pointer.
        sp: u64,
        /// ESR.
        number: u64,
    },
    /// It made a system call that there is not.
    UnknownSyscall {
        /// Address of the instruction.
        ip: u64,
        /// Its number.
        number: u64,
    },
    /// It used a capability that it does not have.
    CapFault {
        /// Address of the instruction.
        ip: u64,
        /// Which.
        capability: u64,
    },
    /// None of these.
    Other {
        /// The message's label.
        label: u64,
    },
}

impl Fault {
    /// The fault that `message` tells of. To be called before anything else overwrites the message
    /// registers.
    pub fn of(message: MessageInfo) -> Self {
        Self::decode(message.label(), super::system_call::mr)
    }

    /// The fault with this label and these message registers.
    fn decode(label: u64, mr: impl Fn(usize) -> u64) -> Self {
        match label {
            label::VM_FAULT => Self::VmFault {
                ip: mr(0),
                address: mr(1),
                is_prefetch: mr(2) != 0,
                syndrome: mr(3),
            },
            label::VCPU_FAULT => Self::VcpuFault { syndrome: mr(0) },
            label::VPPI_EVENT => Self::VppiEvent { irq: mr(0) },
            label::VGIC_MAINTENANCE => Self::VgicMaintenance { index: u8::try_from(mr(0)).ok() },
            label::USER_EXCEPTION => Self::UserException { ip: mr(0), sp: mr(1), number: mr(3) },
            label::UNKNOWN_SYSCALL => Self::UnknownSyscall { ip: mr(8), number: mr(12) },
            label::CAP_FAULT => Self::CapFault { ip: mr(0), capability: mr(1) },
            label => Self::Other { label },
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::VmFault { ip, address, is_prefetch: true, .. } => {
                write!(f, "cannot execute {address:#x} (ip {ip:#x})")
            }
            Self::VmFault { ip, address, syndrome, .. } => {
                // WnR, bit 6 of a data abort's syndrome (ARM ARM, ISS encoding for a data abort).
                let access = if syndrome & (1 << 6) != 0 { "write" } else { "read" };
                write!(f, "cannot {access} {address:#x} (ip {ip:#x}, syndrome {syndrome:#x})")
            }
            Self::VcpuFault { syndrome } => write!(f, "trapped, syndrome {syndrome:#x}"),
            Self::VppiEvent { irq } => write!(f, "private interrupt {irq}"),
            Self::VgicMaintenance { index: Some(index) } => {
                write!(f, "virtual GIC: list register {index}")
            }
            Self::VgicMaintenance { index: None } => f.write_str("virtual GIC"),
            Self::UserException { ip, sp, number } => {
                write!(f, "exception, syndrome {number:#x} (ip {ip:#x}, sp {sp:#x})")
            }
            Self::UnknownSyscall { ip, number } => {
                write!(f, "unknown system call {number:#x} (ip {ip:#x})")
            }
            Self::CapFault { ip, capability } => {
                write!(f, "no capability {capability:#x} (ip {ip:#x})")
            }
            Self::Other { label } => write!(f, "fault {label}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(label: u64) -> Fault {
        Fault::decode(label, |at| 100 + at as u64)
    }

    #[test]
    fn each_label_takes_its_own_registers() {
        assert_eq!(
            decode(label::VM_FAULT),
            Fault::VmFault { ip: 100, address: 101, is_prefetch: true, syndrome: 103 }
        );
        assert_eq!(decode(label::VCPU_FAULT), Fault::VcpuFault { syndrome: 100 });
        assert_eq!(decode(label::VPPI_EVENT), Fault::VppiEvent { irq: 100 });
        assert_eq!(decode(label::VGIC_MAINTENANCE), Fault::VgicMaintenance { index: Some(100) });
        assert_eq!(
            decode(label::USER_EXCEPTION),
            Fault::UserException { ip: 100, sp: 101, number: 103 }
        );
        assert_eq!(decode(label::UNKNOWN_SYSCALL), Fault::UnknownSyscall { ip: 108, number: 112 });
        assert_eq!(decode(label::CAP_FAULT), Fault::CapFault { ip: 100, capability: 101 });
        assert_eq!(decode(label::TIMEOUT), Fault::Other { label: label::TIMEOUT });
    }

    #[test]
    fn no_list_register_is_told_by_all_ones() {
        let fault = Fault::decode(label::VGIC_MAINTENANCE, |_| u64::MAX);
        assert_eq!(fault, Fault::VgicMaintenance { index: None });
    }

    #[test]
    fn a_write_and_a_read_are_told_apart() {
        let fault = |syndrome| Fault::VmFault { ip: 1, address: 2, is_prefetch: false, syndrome };
        assert_eq!(
            fault(0x9200_0047).to_string(),
            "cannot write 0x2 (ip 0x1, syndrome 0x92000047)"
        );
        assert_eq!(fault(0x9200_0007).to_string(), "cannot read 0x2 (ip 0x1, syndrome 0x92000007)");
    }
}
