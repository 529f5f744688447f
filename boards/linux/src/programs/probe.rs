//! A domain that tries to get out. From behind the same filter as the domain's own program it tries
//! what it was not granted, and says of each attempt on standard error what came of it:
//!
//! ```text
//! probe <domain> <attempt>: denied (<errno>)
//! probe <domain> <attempt>: ALLOWED
//! probe <domain> <attempt>: UNCLEAR (<errno>)
//! ```
//!
//! `UNCLEAR` is an attempt that failed, but not because it was denied. The last line is `last: write to
//! <region>`; the write after it must end the domain.

use std::convert::Infallible;
use std::fs;
use std::io;

use resh_channel::config::Network;
use resh_channel::memory::{Ordering, Words};
use sel4_microkit::{Channel, ChannelSet, Handler, name};

use crate::domain::{appliance, listener_needs, run as run_behind_filter, upstream};
use crate::launcher::SYSTEM_XML;
use crate::listener::Listener;
use crate::system::System;
use crate::upstream::Sockets;

/// Descriptors that are tried, from 0 on.
const DESCRIPTORS: i32 = 4096;

/// Tries everything. Never returns in order: the last attempt ends the domain.
///
/// # Errors
/// The domain could not be prepared.
pub(super) fn run() -> Result<Infallible, String> {
    let system = System::parse(SYSTEM_XML).map_err(|_| "the built-in description is broken")?;
    let system = system.on_linux();
    let domain = system.domains.iter().find(|domain| domain.name == name());
    let domain = domain.ok_or_else(|| format!("`{}` is no domain", name()))?;
    let mut probe = Probe {
        channels: Vec::new(),
        read_only: Vec::new(),
        parent: std::os::unix::process::parent_id().into(),
        _held: (None, None),
    };
    probe.channels.extend(domain.channels.iter().filter(|end| end.may_notify).map(|end| end.id));
    for map in domain.maps.iter().filter(|map| !map.rights.write) {
        let symbol: &'static str = map.symbol.clone().unwrap_or_default().leak();
        let words = sel4_microkit::region(symbol).map_err(|error| error.to_string())?;
        probe.read_only.push((symbol, words));
    }
    check_descriptors(domain.channels.len())?;
    check_mappings(domain.maps.len())?;

    let needs = match name() {
        "network" => {
            let appliance = appliance()?;
            if let Network::Kernel = appliance.network {
                let listener = Listener::bind(&appliance).map_err(|error| error.to_string())?;
                probe._held.0 = Some(listener);
                listener_needs()
            } else {
                Vec::new()
            }
        }
        "resh_monitor" => listener_needs(),
        gateway if gateway.starts_with("gateway_") => {
            let (sockets, needs) = upstream()?;
            probe._held.1 = Some(sockets);
            needs
        }
        _ => Vec::new(),
    };
    run_behind_filter(Ok::<_, String>(probe), &needs, false)
}

/// Says what came of an attempt: `result` is that of a system call.
fn report(attempt: &str, result: libc::c_long) {
    let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0);
    let denied = match errno {
        libc::EPERM => Some("EPERM"),
        libc::EACCES => Some("EACCES"),
        libc::EBADF => Some("EBADF"),
        libc::EFAULT => Some("EFAULT"),
        _ => None,
    };
    match (result, denied) {
        (0.., _) => say(attempt, "ALLOWED"),
        (_, Some(errno)) => say(attempt, &format!("denied ({errno})")),
        _ => say(attempt, &format!("UNCLEAR ({errno})")),
    }
}

fn say(attempt: &str, outcome: &str) {
    eprintln!("probe {} {attempt}: {outcome}", name());
}

/// Says that something is not there.
fn report_absent(attempt: &str, absent: bool) {
    if absent { say(attempt, "denied (none)") } else { say(attempt, "ALLOWED") }
}

/// Before the door is closed: which descriptors does the process hold? Two eventfds for each channel, and
/// none of memory.
fn check_descriptors(channels: usize) -> Result<(), String> {
    let entries = fs::read_dir("/proc/self/fd").map_err(|error| error.to_string())?;
    let targets: Vec<String> = entries
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .map(|target| target.to_string_lossy().into_owned())
        .collect();
    let count = |of: &str| targets.iter().filter(|target| target.contains(of)).count();
    report_absent("hold-a-foreign-eventfd", count("[eventfd]") <= 2 * channels);
    report_absent("hold-a-descriptor-of-memory", count("memfd:") == 0);
    // The list itself is being read through one.
    let mut files = targets.iter().filter(|target| !target.starts_with("/proc/"));
    let is_directory = |target: &String| fs::metadata(target).is_ok_and(|found| found.is_dir());
    report_absent("hold-a-directory", !files.any(is_directory));
    Ok(())
}

/// Before the door is closed: how many shared mappings does the process have? One for each region.
fn check_mappings(regions: usize) -> Result<(), String> {
    let maps = fs::read_to_string("/proc/self/maps").map_err(|error| error.to_string())?;
    let shared =
        maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|p| p.ends_with('s')));
    report_absent("map-a-foreign-region", shared.count() <= regions);
    Ok(())
}

struct Probe {
    channels: Vec<u8>,
    read_only: Vec<(&'static str, &'static Words)>,
    parent: i64,
    /// What its own program would hold.
    _held: (Option<Listener>, Option<Sockets>),
}

impl Handler for Probe {
    type Error = String;

    fn notified(&mut self, _: ChannelSet) -> Result<(), String> {
        files();
        network();
        memory();
        processes(self.parent);
        self.channels();
        self.regions();
        Err("the write to a read-only region came through".to_owned())
    }
}

impl Probe {
    /// Signals on channels that the description does not give this domain.
    fn channels(&self) {
        let mut denied = true;
        for id in (0..=Channel::MAX).filter(|id| !self.channels.contains(id)) {
            // SAFETY: this thread's own errno.
            unsafe { *libc::__errno_location() = 0 };
            Channel::new(id).notify();
            denied &= io::Error::last_os_error().raw_os_error() == Some(libc::EBADF);
        }
        report_absent("signal-a-foreign-channel", denied);
    }

    /// Writes to what may only be read: by the kernel's hand, which is refused, then by our own.
    fn regions(&self) {
        for (symbol, words) in &self.read_only {
            let place = words.as_ptr();
            // SAFETY: the kernel finds the place not writable and writes nothing.
            let result =
                unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC, place) };
            report(&format!("write-to-{symbol}"), result);
        }
        if let Some((symbol, words)) = self.read_only.first() {
            eprintln!("probe {} last: write to {symbol}", name());
            words[0].store(0, Ordering::Relaxed);
            say(&format!("store-to-{symbol}"), "ALLOWED");
        }
    }
}

fn files() {
    let path = c"/etc/passwd".as_ptr();
    let directory = libc::AT_FDCWD;
    // SAFETY: in this function the kernel reads C string literals, and writes nothing.
    unsafe {
        report("open-a-file", libc::syscall(libc::SYS_openat, directory, path, libc::O_RDONLY));
        report("open-a-file-oldstyle", old_open(path));
        report("create-memory", libc::syscall(libc::SYS_memfd_create, path, 0));
        report("make-an-eventfd", libc::syscall(libc::SYS_eventfd2, 0, 0));
        report("make-a-pipe", libc::syscall(libc::SYS_pipe2, std::ptr::null::<i32>(), 0));
        report("duplicate-a-descriptor", libc::syscall(libc::SYS_dup, 2));
        report("unlink-a-file", libc::syscall(libc::SYS_unlinkat, directory, path, 0));
        report("set-up-io-uring", libc::syscall(libc::SYS_io_uring_setup, 1, 0));
    }
}

/// `open`, where the architecture has it.
///
/// # Safety
/// `path` is a C string.
unsafe fn old_open(path: *const libc::c_char) -> libc::c_long {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller's promise.
    return unsafe { libc::syscall(libc::SYS_open, path, libc::O_RDONLY) };
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: the caller's promise.
    return unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path, libc::O_RDONLY) };
}

/// Makes a call on every descriptor there may be. The result and errno of one that was not denied, if
/// there is one.
fn on_every_descriptor(call: impl Fn(i32) -> libc::c_long) -> libc::c_long {
    let mut last = -1;
    for fd in 0..DESCRIPTORS {
        last = call(fd);
        if last >= 0 || io::Error::last_os_error().raw_os_error() != Some(libc::EPERM) {
            return last;
        }
    }
    last
}

fn network() {
    let mut address = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 22_u16.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    };
    let place = &raw mut address;
    let len = size_of_val(&address);
    for (attempt, family) in [
        ("make-a-tcp-socket", libc::AF_INET),
        ("make-a-unix-socket", libc::AF_UNIX),
        ("make-a-packet-socket", libc::AF_PACKET),
        ("make-a-netlink-socket", libc::AF_NETLINK),
    ] {
        // SAFETY: no pointer is passed.
        report(attempt, unsafe { libc::syscall(libc::SYS_socket, family, libc::SOCK_STREAM, 0) });
    }
    // SAFETY: here and below the kernel reads `len` bytes of `address`.
    let connect = |fd: i32| unsafe { libc::syscall(libc::SYS_connect, fd, place, len) };
    report("connect-elsewhere", on_every_descriptor(connect));
    // SAFETY: as above.
    let bind = |fd: i32| unsafe { libc::syscall(libc::SYS_bind, fd, place, len) };
    report("bind-elsewhere", on_every_descriptor(bind));
    let flags = libc::MSG_FASTOPEN;
    // SAFETY: as above, and one byte is read.
    let send = |fd: i32| unsafe {
        libc::syscall(libc::SYS_sendto, fd, c"x".as_ptr(), 1, flags, place, len)
    };
    report("send-elsewhere", on_every_descriptor(send));
    // SAFETY: the message is all zero; it is refused before it is looked at.
    let message = |fd: i32| unsafe { libc::syscall(libc::SYS_sendmsg, fd, place, 0) };
    report("send-a-message", on_every_descriptor(message));
}

fn memory() {
    let nowhere = std::ptr::null_mut::<libc::c_void>();
    let own = (&raw const PAGE).cast::<libc::c_void>();
    let readable = libc::PROT_READ | libc::PROT_WRITE;
    let executable = libc::PROT_READ | libc::PROT_EXEC;
    let (shared, private) = (libc::MAP_SHARED, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping where the kernel likes.
    let map =
        |fd: i32| unsafe { libc::syscall(libc::SYS_mmap, nowhere, 4096, readable, shared, fd, 0) };
    report("map-a-descriptor", on_every_descriptor(map));
    // SAFETY: as above; and the pages whose rights would change hold nothing that is used.
    unsafe {
        report(
            "map-executable-memory",
            libc::syscall(libc::SYS_mmap, nowhere, 4096, executable, private, -1, 0),
        );
        report("make-memory-executable", libc::syscall(libc::SYS_mprotect, own, 4096, executable));
        report("make-memory-writable", libc::syscall(libc::SYS_mprotect, own, 4096, readable));
        report("move-memory", libc::syscall(libc::SYS_mremap, own, 4096, 8192, 0));
    }
}

#[repr(align(4096))]
struct Page(#[allow(dead_code)] [u8; 4096]);
static PAGE: Page = Page([0; 4096]);

fn processes(parent: i64) {
    // SAFETY: no pointer is passed; signal 0 does nothing but ask whether one could be sent.
    unsafe {
        let own = i64::from(libc::getpid());
        report("signal-the-parent", libc::syscall(libc::SYS_kill, parent, 0));
        report("signal-the-group", libc::syscall(libc::SYS_kill, 0, 0));
        report("signal-a-thread-elsewhere", libc::syscall(libc::SYS_tgkill, parent, parent, 0));
        report(
            "trace-the-parent",
            libc::syscall(libc::SYS_ptrace, libc::PTRACE_ATTACH, parent, 0, 0),
        );
        report("open-a-process", libc::syscall(libc::SYS_pidfd_open, own, 0));
        report("read-a-process", libc::syscall(libc::SYS_process_vm_readv, parent, 0, 0, 0, 0, 0));
        report("set-user", libc::syscall(libc::SYS_setuid, 0));
        report("set-a-limit", libc::syscall(libc::SYS_prlimit64, 0, libc::RLIMIT_NOFILE, 0, 0));
        report("leave-the-name-space", libc::syscall(libc::SYS_unshare, libc::CLONE_NEWUSER));
    }
    // SAFETY: the kernel reads a C string literal; on success this program is gone, which shows.
    let exec = unsafe {
        let none = std::ptr::null::<libc::c_void>();
        libc::syscall(libc::SYS_execve, c"/bin/true".as_ptr(), none, none)
    };
    report("execute-a-program", exec);
    // SAFETY: as `fork`. A child does nothing but end.
    let child = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    if child == 0 {
        // SAFETY: never returns.
        unsafe { libc::_exit(0) };
    }
    report("make-a-process", child);
}
