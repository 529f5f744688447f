//! Symbols that the Microkit tool patches, and what they tell: the domain's name and capabilities, and
//! where its regions are (Microkit manual, "setvar").

use core::hint::black_box;
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use resh_channel::memory::{AtomicU64, Words, words_for};

/// A value in the program's image that is written after the program was linked, and never again: it lies in
/// memory that the program can only read.
#[repr(transparent)]
pub struct Patched<T = u64>(T);

impl<T: Copy> Patched<T> {
    /// With this value if it is not patched.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// What it was patched to. The compiler is not to take it for what was linked.
    pub fn get(&self) -> T {
        // SAFETY: a reference is valid for reads.
        unsafe { (&raw const *black_box(&self.0)).read_volatile() }
    }
}

/// How a region is in use here.
const SHARED: u8 = 1;
const TAKEN: u8 = 2;

/// A region the program knows by a symbol.
pub struct Region {
    name: &'static str,
    address: &'static Patched,
    len: &'static Patched,
    used: &'static AtomicU8,
}

impl Region {
    /// The region whose address and length in bytes the tool writes to these. How it is used is noted in
    /// `used`, which is 0 at the start.
    pub const fn new(
        name: &'static str,
        address: &'static Patched,
        len: &'static Patched,
        used: &'static AtomicU8,
    ) -> Self {
        Self { name, address, len, used }
    }

    /// Its address and length in bytes, if the system description grants it.
    fn granted(&self) -> Option<(usize, usize)> {
        let (address, len) = (self.address.get() as usize, self.len.get() as usize);
        (address != 0 && len != 0).then_some((address, len))
    }
}

/// A variable the program knows by a symbol.
pub struct Variable {
    name: &'static str,
    value: &'static Patched,
}

impl Variable {
    /// The variable whose value the tool writes to `value`.
    pub const fn new(name: &'static str, value: &'static Patched) -> Self {
        Self { name, value }
    }
}

/// All symbols of a program.
pub struct Symbols {
    /// Regions the program names, and those the runtime knows itself.
    pub regions: [&'static [Region]; 2],
    /// Variables.
    pub variables: &'static [Variable],
    /// `microkit_name`.
    pub name: &'static Patched<[u8; 64]>,
    /// `microkit_passive`.
    pub passive: &'static Patched<bool>,
    /// `microkit_irqs`.
    pub irqs: &'static Patched,
    /// `microkit_notifications`.
    pub notifications: &'static Patched,
}

/// The program's symbols: the address of a `Symbols`, or 0 before the start.
static SYMBOLS: AtomicUsize = AtomicUsize::new(0);

/// Makes `symbols` those of this program.
pub(crate) fn install(symbols: &'static Symbols) {
    SYMBOLS.store(symbols as *const Symbols as usize, Ordering::Relaxed);
}

fn symbols() -> Option<&'static Symbols> {
    let symbols = SYMBOLS.load(Ordering::Relaxed) as *const Symbols;
    // SAFETY: null, or the address of what `install` was given, which lives for ever.
    unsafe { symbols.as_ref() }
}

pub(crate) fn irqs() -> u64 {
    symbols().map_or(0, |symbols| symbols.irqs.get())
}

pub(crate) fn notifications() -> u64 {
    symbols().map_or(0, |symbols| symbols.notifications.get())
}

pub(crate) fn is_passive() -> bool {
    symbols().is_some_and(|symbols| symbols.passive.get())
}

pub(crate) fn name() -> &'static str {
    let Some(symbols) = symbols() else { return "?" };
    // As in `get`.
    let name: &'static [u8; 64] = black_box(&symbols.name.0);
    let len = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    core::str::from_utf8(&name[..len]).unwrap_or("?")
}

fn named(symbol: &str) -> Option<&'static Region> {
    let regions = symbols()?.regions;
    regions.into_iter().flatten().find(|region| region.name == symbol)
}

/// Hands out the region `symbol`: as shared words as often as one likes, in another way only once and in
/// no other.
fn hand_out(symbol: &str, how: u8) -> Option<(usize, usize)> {
    let region = named(symbol)?;
    let granted = region.granted()?;
    match region.used.load(Ordering::Relaxed) {
        0 => region.used.store(how, Ordering::Relaxed),
        SHARED if how == SHARED => {}
        _ => return None,
    }
    Some(granted)
}

/// The address and length in bytes of region `symbol`, which from then on nobody else gets.
pub(crate) fn take(symbol: &str) -> Option<(usize, usize)> {
    hand_out(symbol, TAKEN)
}

pub(crate) fn region(symbol: &str) -> Option<&'static Words> {
    let (address, len) = hand_out(symbol, SHARED)?;
    // SAFETY: the tool maps whole pages at a page's address for as long as the domain lives, so the last
    // word is there in whole. Atomics may change behind our back. A store to a region that is mapped
    // read-only faults and stops the domain.
    Some(unsafe { core::slice::from_raw_parts(address as *const AtomicU64, words_for(len)) })
}

pub(crate) fn take_region(symbol: &str) -> Option<&'static mut [u8]> {
    let (address, len) = take(symbol)?;
    // SAFETY: mapped for as long as the domain lives, handed out only here and once, and the system
    // description lets no other domain write it. A store to one mapped read-only faults.
    Some(unsafe { core::slice::from_raw_parts_mut(address as *mut u8, len) })
}

/// The value of a variable, or the length in bytes of region `<name>` for `<name>_size`.
pub(crate) fn variable(symbol: &str) -> Option<u64> {
    let variables = symbols()?.variables;
    let variable = variables.iter().find(|variable| variable.name == symbol);
    let size = || symbol.strip_suffix("_size").and_then(named).map(|region| region.len.get());
    variable.map(|variable| variable.value.get()).or_else(size)
}
