//! System calls, and the message registers that do not fit into the processor's (seL4 manual, section
//! 4.1; the registers: libsel4, `sel4_arch_include/aarch64/sel4/sel4_arch/syscalls.h`).

use super::abi;
use crate::MessageInfo;

/// What goes into a system call.
pub(crate) struct Arguments {
    /// The capability it is about (x0).
    pub(crate) capability: u64,
    /// What the message is about.
    pub(crate) message: MessageInfo,
    /// The first message registers.
    pub(crate) registers: [u64; 4],
    /// The reply object to receive with (x6).
    pub(crate) reply: u64,
    /// The capability to send to before receiving (x8).
    pub(crate) send_to: u64,
}

impl Default for Arguments {
    fn default() -> Self {
        let message = MessageInfo::new(0, 0);
        Self { capability: 0, message, registers: [0; 4], reply: 0, send_to: 0 }
    }
}

/// What comes out of a system call.
pub(crate) struct Answer {
    /// Who sent it (x0).
    pub(crate) badge: u64,
    /// What the message is about.
    pub(crate) message: MessageInfo,
    /// The first message registers.
    pub(crate) registers: [u64; 4],
}

#[cfg(target_os = "none")]
pub(crate) fn system_call(number: u64, arguments: &Arguments) -> Answer {
    const { assert!(cfg!(target_arch = "aarch64")) };
    if abi::SDK.is_none() {
        // Nothing can be said without the kernel either: the reason is in the address of the fault.
        super::program::stop_here();
    }
    let [mut mr0, mut mr1, mut mr2, mut mr3] = arguments.registers;
    let mut badge = arguments.capability;
    let mut info = arguments.message.to_bits();
    // SAFETY: the kernel changes no register but those named here. Memory it may write is the IPC
    // buffer, of which this program holds no reference, and what other domains share.
    unsafe {
        core::arch::asm!(
            "svc #0",
            inout("x0") badge,
            inout("x1") info,
            inout("x2") mr0,
            inout("x3") mr1,
            inout("x4") mr2,
            inout("x5") mr3,
            in("x6") arguments.reply,
            in("x7") number,
            in("x8") arguments.send_to,
            options(nostack, preserves_flags),
        );
    }
    Answer { badge, message: MessageInfo::from_bits(info), registers: [mr0, mr1, mr2, mr3] }
}

#[cfg(not(target_os = "none"))]
pub(crate) fn system_call(number: u64, _: &Arguments) -> Answer {
    panic!("system call {:#x} of seL4, which does not run here", number);
}

/// Address of the IPC buffer: the last page of a domain's memory (Microkit tool, `sel4.rs`).
const IPC_BUFFER: u64 = abi::USER_TOP & !0xfff;
/// Where a domain's stack begins, downwards: a page is left free below the IPC buffer.
pub(crate) const STACK_TOP: u64 = IPC_BUFFER - 0x1000;

fn message_register(index: usize) -> Option<*mut u64> {
    // The buffer begins with the message's tag (`seL4_IPCBuffer` in libsel4's shared_types.h).
    let address = IPC_BUFFER as usize + (index + 1) * size_of::<u64>();
    let exists = index < MessageInfo::COUNT_MAX as usize && cfg!(target_os = "none");
    exists.then_some(address as *mut u64)
}

pub(crate) fn mr(index: usize) -> u64 {
    // SAFETY: the Microkit tool maps the IPC buffer there for as long as the domain lives, and only the
    // kernel and this function's twin look at it.
    message_register(index).map_or(0, |address| unsafe { address.read_volatile() })
}

pub(crate) fn set_mr(index: usize, value: u64) {
    if let Some(address) = message_register(index) {
        // SAFETY: as above.
        unsafe { address.write_volatile(value) };
    }
}
