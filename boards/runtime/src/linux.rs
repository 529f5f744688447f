//! The Linux backend: a domain is a process that was started with a list of [`Grants`].
//!
//! Everything it may use is opened for it beforehand. After [`start`] the process holds its regions as
//! mappings, an eventfd for each channel end, an epoll instance, and whatever descriptors its program
//! is about to register; the board then closes the door with seccomp before [`run`].

use std::cell::RefCell;
use std::io;
use std::os::fd::RawFd;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use resh_channel::memory::{AtomicU64, Words};
use serde::{Deserialize, Serialize};

use crate::{Channel, ChannelSet, Child, Handler, Refused};

/// Everything a domain may use, as its process is told at the start.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Grants {
    /// The domain's name.
    pub name: String,
    /// Its memory.
    pub regions: Vec<GrantedRegion>,
    /// Its channels.
    pub channels: Vec<GrantedChannel>,
    /// Its variables (`setvar`).
    pub variables: Vec<(String, u64)>,
    /// Further open descriptors its program is handed, by name.
    pub descriptors: Vec<(String, RawFd)>,
}

/// A memory region mapped into a domain.
#[derive(Debug, Serialize, Deserialize)]
pub struct GrantedRegion {
    /// The symbol the program knows it by.
    pub symbol: String,
    /// Where the system description wants it.
    pub vaddr: u64,
    /// Length in bytes, a multiple of the page size.
    pub len: usize,
    /// Whether the domain may write it.
    pub writable: bool,
    /// The memory, opened with just that right.
    pub fd: RawFd,
}

/// One end of a channel.
#[derive(Debug, Serialize, Deserialize)]
pub struct GrantedChannel {
    /// Its id in this domain.
    pub id: u8,
    /// The eventfd this end waits for.
    pub wait_fd: RawFd,
    /// The eventfd that wakes the other end.
    pub signal_fd: RawFd,
}

/// What a watched descriptor is ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The token it was registered with.
    pub token: u32,
    /// There may be something to read, or the peer ended its stream.
    pub readable: bool,
    /// There may be room to write.
    pub writable: bool,
    /// The peer has ended its stream. If not, a read that got less than it could take has got all
    /// there was, and the next event will tell of more (epoll(7), question 9).
    pub ended: bool,
    /// The connection is gone, both ways.
    pub hung_up: bool,
}

struct Mapping {
    symbol: String,
    address: usize,
    len: usize,
    writable: bool,
}

struct Domain {
    name: String,
    mappings: Vec<Mapping>,
    variables: Vec<(String, u64)>,
    signals: [RawFd; Channel::MAX as usize + 1],
    epoll: RawFd,
    began: Instant,
}

static DOMAIN: OnceLock<Domain> = OnceLock::new();

/// Most events taken from the kernel at once.
const EVENTS: usize = 256;
/// Set in the epoll data of a channel; what remains is its id.
const CHANNEL_MARK: u64 = 1 << 32;

#[derive(Default)]
struct Loop {
    ready: Vec<Ready>,
    deadline_ms: Option<u64>,
    /// Symbols of the regions that were handed out: as shared words, or as plain memory.
    handed_out: Vec<(&'static str, bool)>,
}

thread_local! {
    static LOOP: RefCell<Loop> = RefCell::default();
}

/// The domain of this process. Panics outside of one: only a domain's program gets here.
fn domain() -> &'static Domain {
    DOMAIN.get().expect("this process was not started as a domain")
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Maps the granted regions, registers the channels and closes the regions' descriptors.
pub fn start(grants: Grants) -> io::Result<()> {
    let mut mappings = Vec::new();
    for region in grants.regions {
        let protection =
            if region.writable { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ };
        let wanted = region.vaddr as usize as *mut libc::c_void;
        // SAFETY: MAP_FIXED_NOREPLACE never replaces a mapping this process already has, so no
        // memory that Rust knows of changes its meaning. The result is checked.
        let address = unsafe {
            libc::mmap(
                wanted,
                region.len,
                protection,
                libc::MAP_SHARED | libc::MAP_FIXED_NOREPLACE,
                region.fd,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            let error = io::Error::last_os_error();
            return Err(io::Error::new(
                error.kind(),
                format!("cannot map `{}` at {:#x}: {error}", region.symbol, region.vaddr),
            ));
        }
        // SAFETY: the descriptor was opened for this process and is used nowhere else.
        check(unsafe { libc::close(region.fd) })?;
        mappings.push(Mapping {
            symbol: region.symbol,
            address: address as usize,
            len: region.len,
            writable: region.writable,
        });
    }
    // SAFETY: no pointer is passed.
    let epoll = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
    let mut signals = [-1; Channel::MAX as usize + 1];
    for channel in grants.channels {
        let id = Channel::new(channel.id);
        signals[id.index()] = channel.signal_fd;
        // Edge-triggered: each signal is one event, and the counter never needs to be read.
        add(epoll, channel.wait_fd, libc::EPOLLIN, CHANNEL_MARK | id.index() as u64)?;
    }
    LOOP.with_borrow_mut(|state| {
        state.ready.reserve(EVENTS);
        state.handed_out.reserve(mappings.len());
    });
    let domain = Domain {
        name: grants.name,
        mappings,
        variables: grants.variables,
        signals,
        epoll,
        began: Instant::now(),
    };
    DOMAIN.set(domain).map_err(|_| io::Error::other("a process is one domain only"))
}

fn add(epoll: RawFd, fd: RawFd, events: libc::c_int, data: u64) -> io::Result<()> {
    let mut event = libc::epoll_event { events: (events | libc::EPOLLET) as u32, u64: data };
    // SAFETY: `event` is valid for the duration of the call.
    check(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &mut event) }).map(drop)
}

/// Watches `fd`, edge-triggered, both ways. What happens to it comes from [`take_ready`].
pub fn watch(fd: RawFd, token: u32) -> io::Result<()> {
    let events = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP;
    add(domain().epoll, fd, events, u64::from(token))
}

/// Watches `fd` for input only, edge-triggered.
pub fn watch_input(fd: RawFd, token: u32) -> io::Result<()> {
    add(domain().epoll, fd, libc::EPOLLIN, u64::from(token))
}

/// Watches `fd` no longer. Closing its last descriptor does the same.
pub fn unwatch(fd: RawFd) {
    // SAFETY: EPOLL_CTL_DEL ignores the event pointer (Linux 2.6.9 and later).
    unsafe { libc::epoll_ctl(domain().epoll, libc::EPOLL_CTL_DEL, fd, std::ptr::null_mut()) };
}

/// Hands over one event of the watched descriptors that came since the last wait. A program takes all
/// of them each time it is woken: there is room for those of one wait.
pub fn take_ready() -> Option<Ready> {
    LOOP.with_borrow_mut(|state| state.ready.pop())
}

/// Runs the domain until it fails.
pub fn run<H: Handler>(mut handler: H) -> Result<std::convert::Infallible, H::Error> {
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
    let mut woken = ChannelSet::EMPTY;
    loop {
        handler.notified(woken)?;
        woken = wait(&mut events);
    }
}

fn wait(events: &mut [libc::epoll_event]) -> ChannelSet {
    // What was not taken stays: never more than there is room for, and at least one.
    let (deadline_ms, left) = LOOP.with_borrow(|state| (state.deadline_ms, state.ready.len()));
    let events = &mut events[left.min(EVENTS - 1)..];
    let timeout = match deadline_ms {
        Some(at) => at.saturating_sub(now_ms()).min(60_000) as libc::c_int,
        None => -1,
    };
    // SAFETY: `events` is valid for writes of its whole length.
    let count = unsafe {
        libc::epoll_wait(domain().epoll, events.as_mut_ptr(), events.len() as _, timeout)
    };
    let mut woken = ChannelSet::EMPTY;
    LOOP.with_borrow_mut(|state| {
        for event in &events[..count.max(0) as usize] {
            let data = event.u64;
            if data & CHANNEL_MARK != 0 {
                woken.insert(Channel::new((data & 63) as u8));
                continue;
            }
            let has = |bits: libc::c_int| event.events & bits as u32 != 0;
            let hung_up = has(libc::EPOLLHUP | libc::EPOLLERR);
            state.ready.push(Ready {
                token: data as u32,
                readable: has(libc::EPOLLIN | libc::EPOLLRDHUP) || hung_up,
                ended: has(libc::EPOLLRDHUP) || hung_up,
                writable: has(libc::EPOLLOUT) || hung_up,
                hung_up,
            });
            woken.insert_io();
        }
        if state.deadline_ms.is_some_and(|at| at <= now_ms()) {
            state.deadline_ms = None;
            woken.insert_deadline();
        }
    });
    woken
}

pub(crate) fn notify(channel: Channel) {
    let one = 1u64;
    // SAFETY: eight bytes of a live variable are read. A channel that was not granted has the
    // descriptor -1, and the call fails without effect.
    unsafe {
        libc::write(domain().signals[channel.index()], (&raw const one).cast(), size_of::<u64>())
    };
}

/// Interrupts are descriptors here, and need no acknowledgement.
pub(crate) fn irq_ack(_: Channel) {}

/// No domain calls another here, so there are no messages.
pub(crate) fn mr(_: usize) -> u64 {
    0
}

pub(crate) fn set_mr(_: usize, _: u64) {}

/// What the kernel of seL4 says of a capability that is not there.
const NO_CHILD: Refused = Refused(6);

pub(crate) fn stop(_: Child) -> Result<(), Refused> {
    Err(NO_CHILD)
}

pub(crate) fn restart(_: Child, _: u64) -> Result<(), Refused> {
    Err(NO_CHILD)
}

fn mapping(symbol: &str) -> Option<&'static Mapping> {
    domain().mappings.iter().find(|mapping| mapping.symbol == symbol)
}

/// Hands out the region `symbol`: as shared words as often as one likes, as plain memory only once
/// and in no other way.
fn hand_out(symbol: &'static str, plain: bool) -> Option<&'static Mapping> {
    let mapping = mapping(symbol).filter(|mapping| mapping.writable || !plain)?;
    LOOP.with_borrow_mut(|state| {
        match state.handed_out.iter().find(|(name, _)| *name == symbol) {
            None => state.handed_out.push((symbol, plain)),
            Some((_, false)) if !plain => {}
            Some(_) => return None,
        }
        Some(mapping)
    })
}

pub(crate) fn region(symbol: &'static str) -> Option<&'static Words> {
    let mapping = hand_out(symbol, false)?;
    let words = mapping.len / size_of::<u64>();
    // SAFETY: the mapping is page-aligned, `len` bytes long and lives as long as the process; atomics
    // may change behind our back. A store to a region mapped read-only faults and ends the domain.
    Some(unsafe { std::slice::from_raw_parts(mapping.address as *const AtomicU64, words) })
}

#[expect(clippy::mut_from_ref, reason = "the region comes from the kernel, not from `symbol`")]
pub(crate) fn take_region(symbol: &'static str) -> Option<&'static mut [u8]> {
    let mapping = hand_out(symbol, true)?;
    // SAFETY: the mapping is writable and lives as long as the process, `hand_out` makes this the only
    // reference to it here, and the system description lets no other domain write it.
    Some(unsafe { std::slice::from_raw_parts_mut(mapping.address as *mut u8, mapping.len) })
}

pub(crate) fn variable(symbol: &str) -> Option<u64> {
    domain().variables.iter().find(|(name, _)| name == symbol).map(|(_, value)| *value)
}

pub(crate) fn name() -> &'static str {
    &domain().name
}

pub(crate) fn now_ms() -> u64 {
    domain().began.elapsed().as_millis() as u64
}

pub(crate) fn clock_s() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as u32)
}

pub(crate) fn set_deadline(at_ms: Option<u64>) {
    LOOP.with_borrow_mut(|state| state.deadline_ms = at_ms);
}

pub(crate) fn deadline() -> Option<u64> {
    LOOP.with_borrow(|state| state.deadline_ms)
}

pub(crate) fn debug_print(line: std::fmt::Arguments<'_>) {
    use std::io::Write;
    // One write for a line, so that lines of several domains do not mix. Losing it is no error.
    let mut buffer = [0u8; 512];
    let mut rest = &mut buffer[..];
    let _ = writeln!(rest, "{}: {line}", name());
    let unused = rest.len();
    let len = buffer.len() - unused;
    let _ = io::stderr().write_all(&buffer[..len]);
}
