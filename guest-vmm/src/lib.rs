//! A virtual machine monitor for one Linux guest, and the TCP client of the server in it. Like every
//! domain it is a state machine without I/O: exits in, register values and interrupts out.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod machine;
pub mod memory;
pub mod upstream;
pub mod virtio;
