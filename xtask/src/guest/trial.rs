//! Boots one guest in QEMU by itself, without seL4: whether a guest is in order shows here in seconds.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use resh_tests::harness::Halt;
use resh_tests::process::Process;
use resh_tests::{net, process, web};

use crate::problems::Failure;

/// What a guest of the appliance has.
const MEMORY_MIB: u32 = 128;
const START_LIMIT: Duration = Duration::from_secs(120);

/// Starts the guest in `dir` and asks it for `/`.
///
/// # Errors
/// If QEMU is missing, or the guest does not come to serving, with the end of its console.
pub(super) fn trial(dir: &Path, command_line: &str) -> Result<(), Failure> {
    let program = process::need_program("qemu-system-aarch64", "qemu-system-arm")
        .map_err(|halt| Failure::Missing(halt.to_string()))?;
    served(&program, dir, command_line)
        .map_err(|halt| Failure::Failed(format!("{}: {halt}", dir.display())))
}

fn served(program: &Path, dir: &Path, command_line: &str) -> Result<(), Halt> {
    let address = net::free_address()?;
    let started = Instant::now();
    let mut command = Command::new(program);
    command
        .args(["-machine", "virt", "-cpu", "cortex-a53", "-nographic", "-no-reboot", "-m"])
        .arg(MEMORY_MIB.to_string())
        .arg("-kernel")
        .arg(dir.join("kernel"))
        .arg("-initrd")
        .arg(dir.join("initramfs"))
        .arg("-append")
        // The addresses that QEMU's user network has for its guest and for the way out.
        .arg(format!("{command_line} resh.address=10.0.2.15/24 resh.gateway=10.0.2.2"))
        .arg("-netdev")
        .arg(format!("user,id=net,hostfwd=tcp:{address}-:80"))
        .args(["-device", "virtio-net-device,netdev=net"]);
    let mut machine = Process::spawn(&mut command, "trial", dir)?;
    let log = dir.join("trial.log");
    let is_serving =
        || fs::read_to_string(&log).is_ok_and(|console| console.contains("resh: serving"));
    machine.wait_ready(START_LIMIT, is_serving)?;
    let seconds = started.elapsed().as_secs_f64();
    let response = web::get(address, "/")?;
    println!(
        "  in QEMU without seL4: serving after {seconds:.1} s; / answered with status {} and {} bytes",
        response.status,
        response.body.len()
    );
    Ok(())
}
