//! The kernel image of the hostile guest (see `main.rs`), out of the ELF file that the linker makes.
#![cfg_attr(target_os = "none", no_std)]
#![forbid(unsafe_code)]

#[cfg(not(target_os = "none"))]
mod image;

#[cfg(not(target_os = "none"))]
pub use image::hostile_image;
