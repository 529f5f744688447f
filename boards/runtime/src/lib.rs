//! What a protection domain sees of the system it runs in: the Microkit ABI, in the shape of rust-sel4's
//! `sel4-microkit` crate, with what that leaves out (regions by name, time, deadlines).
//!
//! One crate, one backend for each kind of board. On Linux every domain is a process: regions are
//! shared memory, channels are eventfds, interrupts are file descriptors. On seL4 it is a protection
//! domain of Microkit. What differs from upstream, and why: `docs/runtime.md`.
#![cfg_attr(not(target_os = "linux"), no_std)]

mod channel;
mod handler;
mod message;

#[cfg(target_os = "linux")]
pub mod linux;
#[cfg_attr(target_os = "linux", allow(dead_code, reason = "checked there, and run on seL4 only"))]
pub mod sel4;

#[cfg(target_os = "linux")]
use linux as backend;
#[cfg(not(target_os = "linux"))]
use sel4 as backend;

pub use channel::{Channel, ChannelSet};
pub use handler::Handler;
pub use message::{Child, MessageInfo};
pub use sel4::Refused;

use resh_channel::memory::Words;

/// A region that the system description does not grant to this domain, or not in that way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotGranted(pub &'static str);

impl core::fmt::Display for NotGranted {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "the system description grants no region `{}` of that kind", self.0)
    }
}

/// The shared region that the system description maps for `symbol` (`setvar_vaddr`).
pub fn region(symbol: &'static str) -> Result<&'static Words, NotGranted> {
    backend::region(symbol).ok_or(NotGranted(symbol))
}

/// The writable region `symbol` as plain memory, for the one domain that writes it. The second call
/// for the same region fails.
pub fn take_region(symbol: &'static str) -> Result<&'static mut [u8], NotGranted> {
    backend::take_region(symbol).ok_or(NotGranted(symbol))
}

/// The value the system description sets for `symbol` (`setvar`).
pub fn variable(symbol: &'static str) -> Result<u64, NotGranted> {
    backend::variable(symbol).ok_or(NotGranted(symbol))
}

/// Message register `index` of the message that came last, or 0 if there is no such register.
pub fn mr(index: usize) -> u64 {
    backend::mr(index)
}

/// Sets message register `index` of the message to send next, if there is such a register.
pub fn set_mr(index: usize, value: u64) {
    backend::set_mr(index, value);
}

/// This domain's name.
pub fn name() -> &'static str {
    backend::name()
}

/// Monotonic time in milliseconds, from some start.
pub fn now_ms() -> u64 {
    backend::now_ms()
}

/// Seconds since 1970-01-01 UTC.
pub fn clock_s() -> u32 {
    backend::clock_s()
}

/// Asks for [`ChannelSet::deadline`] at that [`now_ms`], or for none. The last call counts.
pub fn set_deadline(at_ms: Option<u64>) {
    backend::set_deadline(at_ms);
}

/// What [`set_deadline`] was last called with, unless that has come.
pub fn deadline() -> Option<u64> {
    backend::deadline()
}

/// Prints a line on the debug console, with the domain's name before it.
#[macro_export]
macro_rules! debug_println {
    ($($arg:tt)*) => { $crate::debug_print(format_args!($($arg)*)) };
}

/// Prints one line on the debug console.
pub fn debug_print(line: core::fmt::Arguments<'_>) {
    backend::debug_print(line);
}
