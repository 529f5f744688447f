//! A domain's process: takes what it was granted, starts its program, closes the door, runs.

use std::fmt::Display;
use std::fs::File;
use std::io::Read;
use std::os::fd::{FromRawFd, RawFd};

use resh_channel::config::{self, Appliance};
use sel4_microkit::Handler;
use sel4_microkit::linux::{self, Grants};

use crate::listener::Listener;
use crate::monitor;
use crate::sandbox::{self, Need};
use crate::tap;
use crate::upstream::Sockets;
use crate::{allocator, programs};

/// What a program needs that answers on listening sockets.
pub fn listener_needs() -> Vec<Need> {
    vec![Need::Sockets, Need::Accept]
}

/// Runs `program` as the domain this process was started for, with what the file `grants_fd` grants.
/// Returns only with what went wrong.
pub fn main(program: &str, grants_fd: RawFd) -> String {
    match start(program, grants_fd) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

fn text(error: impl Display) -> String {
    error.to_string()
}

fn start(program: &str, grants_fd: RawFd) -> Result<std::convert::Infallible, String> {
    let grants = take_grants(grants_fd)?;
    let descriptor =
        |name: &str| grants.descriptors.iter().find(|(known, _)| known == name).map(|(_, fd)| *fd);
    let (unix, tcp) = (descriptor(monitor::UNIX_DESCRIPTOR), descriptor(monitor::TCP_DESCRIPTOR));
    linux::start(grants).map_err(text)?;
    let (program, argument) = program.split_once(':').unwrap_or((program, ""));
    match program {
        "network" => network(),
        "voter" => run(pd_voter::domain::start(), &[], true),
        "gateway" => gateway(),
        "monitor" => {
            let handler = monitor::start(unix.map(owned), tcp.map(owned));
            run(handler, &listener_needs(), false)
        }
        other => programs::run(other, argument),
    }
}

fn owned<T: FromRawFd>(fd: RawFd) -> T {
    // SAFETY: the launcher opened the descriptor for this program alone, and it is taken only here.
    unsafe { T::from_raw_fd(fd) }
}

fn take_grants(fd: RawFd) -> Result<Grants, String> {
    let mut file: File = owned(fd);
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|error| format!("not started by `resh run`: {error}"))?;
    postcard::from_bytes(&bytes).map_err(|error| format!("not started by `resh run`: {error}"))
}

/// The configuration, from the domain's read-only region.
pub fn appliance() -> Result<Appliance, String> {
    let region = sel4_microkit::region("config").map_err(text)?;
    Appliance::in_region(region).map_err(text)
}

/// Runs a program behind a filter that leaves it what it `needs`. With `fixed`, it may not allocate.
pub fn run<H: Handler, E: Display>(
    handler: Result<H, E>,
    needs: &[Need],
    fixed: bool,
) -> Result<std::convert::Infallible, String> {
    let handler = handler.map_err(text)?;
    sandbox::enter(needs)?;
    if fixed {
        allocator::seal();
    }
    linux::run(handler).map_err(text)
}

fn network() -> Result<std::convert::Infallible, String> {
    let appliance = appliance()?;
    match &appliance.network {
        config::Network::Kernel => {
            let listener = Listener::bind(&appliance).map_err(text)?;
            let mut needs = listener_needs();
            needs.push(Need::Datagrams(listener.datagram_descriptors()));
            run(pd_network::domain::start(listener), &needs, true)
        }
        config::Network::Smoltcp(settings) => {
            let stack = tap::stack(settings, &appliance).map_err(text)?;
            // Frames go through `read` and `write`.
            run(pd_network::domain::start(stack), &[], true)
        }
    }
}

/// The sockets of a gateway, and what of the kernel they need. To be called before the gateway is made.
pub fn upstream() -> Result<(Sockets, Vec<Need>), String> {
    // What follows makes buffers for every session there can be: get each from the kernel by itself, so that those which are
    // never used take up no memory.
    // SAFETY: no pointer is passed.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, 4096) };
    let sockets = Sockets::new(&appliance()?).map_err(text)?;
    let needs = vec![Need::Sockets, Need::Connect(sockets.connect_targets())];
    Ok((sockets, needs))
}

fn gateway() -> Result<std::convert::Infallible, String> {
    let (sockets, needs) = upstream()?;
    run(gateway::domain::start(sockets), &needs, true)
}
