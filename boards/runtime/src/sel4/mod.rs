//! The seL4 backend: a domain is a thread with an address space, and the kernel of Microkit 2.3.0 below
//! it (aarch64, MCS). The ABI is that of `libmicrokit` (Microkit manual, "libmicrokit").
//!
//! Numbers of system calls, invocations and faults come from the SDK (`build.rs`). All of it builds on
//! every machine, so that programs can be checked on a PC; only there is no kernel to call.

/// The ABI of the kernel that the SDK holds.
pub mod abi {
    include!(concat!(env!("OUT_DIR"), "/abi.rs"));
}

mod capability;
mod deadline;
mod event_loop;
mod fault;
pub mod heap;
mod mmio;
mod print;
mod symbols;
mod system_call;
mod time;
mod vcpu;

#[doc(hidden)]
pub mod program;

pub use abi::vcpu_register;
pub use capability::Refused;
pub use fault::Fault;
pub use mmio::{Mmio, clean_to_memory, mmio, unify_instructions};
pub use symbols::{Patched, Region, Symbols, Variable};
pub use time::{now_ticks, ticks_per_s};
pub use vcpu::{Registers, Vcpu};

#[cfg_attr(target_os = "linux", allow(unused_imports))]
pub(crate) use {
    capability::{irq_ack, notify, restart, stop},
    event_loop::{deadline, set_deadline},
    print::debug_print,
    symbols::{name, region, take_region, variable},
    system_call::{mr, set_mr},
    time::{clock_s, now_ms},
};
