//! A kernel for AArch64 that attacks the virtual machine monitor it runs under, from inside.
//!
//! It boots like Linux (an `Image`, the device tree in `x0`) on the machine that QEMU's `virt` and our
//! monitor both are, does some thousand misdeeds that a seed decides, and at last keeps the processor for
//! itself. What it says on the console shows how far it got; what the rest of the system does meanwhile shows
//! whether the monitor held. The kernel's command line may say
//! `hostile.seed=<n>`, `hostile.misdeeds=<n>`, `hostile.gic=no` and
//! `hostile.end=loop|off|reset|jump|calls`.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod attack;
#[cfg(target_os = "none")]
mod boot;
#[cfg(target_os = "none")]
mod console;
#[cfg(target_os = "none")]
mod cpu;
#[cfg(target_os = "none")]
mod gic;
#[cfg(target_os = "none")]
mod processor;
#[cfg(target_os = "none")]
mod random;
#[cfg(target_os = "none")]
mod settings;
#[cfg(target_os = "none")]
mod virtqueue;

/// On other systems this program is the tool that makes the `Image` out of the kernel's ELF file.
#[cfg(not(target_os = "none"))]
fn main() -> std::process::ExitCode {
    let paths: Vec<_> = std::env::args_os().skip(1).collect();
    let [elf, image] = paths.as_slice() else {
        eprintln!(
            "usage: hostile-guest <ELF file, built for aarch64-unknown-none> <Image to write>"
        );
        return std::process::ExitCode::FAILURE;
    };
    let written = std::fs::read(elf)
        .map_err(|error| error.to_string())
        .and_then(|elf| hostile_guest::hostile_image(&elf))
        .and_then(|bytes| std::fs::write(image, bytes).map_err(|error| error.to_string()));
    match written {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", elf.display());
            std::process::ExitCode::FAILURE
        }
    }
}
