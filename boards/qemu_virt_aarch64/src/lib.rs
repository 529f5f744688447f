//! Drivers for the devices of QEMU's machine `virt`, and what the programs of this board share.
//!
//! The drivers are thin: what can be decided without the device is in plain functions and tested on any
//! machine, and each access to a device goes through [`registers::Registers`].
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod board;
pub mod dma;
pub mod network;
pub mod nic;
pub mod pl011;
pub mod pl031;
pub mod registers;
pub mod selftest;
pub mod timer;
