//! Drivers for the devices of QEMU's machine `virt`.
#![no_std]
