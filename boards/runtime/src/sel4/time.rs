//! The time: the physical counter of the generic timer, which the kernel lets a domain read (ARM ARM,
//! D13.8.1 CNTPCT_EL0).

use core::sync::atomic::Ordering;

use super::{abi, symbols};

/// Ticks of the physical counter, the same for every domain.
pub fn now_ticks() -> u64 {
    const { assert!(abi::HAS_COUNTER, "this kernel does not let a domain read CNTPCT_EL0") };
    counter()
}

/// Ticks of [`now_ticks`] in one second.
pub fn ticks_per_s() -> u64 {
    frequency()
}

#[cfg(target_os = "none")]
fn counter() -> u64 {
    let ticks;
    // SAFETY: reads a register. The barrier keeps it from being read ahead of time.
    unsafe { core::arch::asm!("isb", "mrs {}, cntpct_el0", out(reg) ticks, options(nostack)) };
    ticks
}

#[cfg(target_os = "none")]
fn frequency() -> u64 {
    let frequency: u64;
    // SAFETY: reads a register that never changes.
    unsafe {
        core::arch::asm!("mrs {}, cntfrq_el0", out(reg) frequency, options(nomem, nostack, pure))
    };
    frequency
}

#[cfg(not(target_os = "none"))]
fn counter() -> u64 {
    0
}

#[cfg(not(target_os = "none"))]
fn frequency() -> u64 {
    1_000_000
}

/// Milliseconds that have passed after `ticks`, without overflow for centuries.
fn ms_of(ticks: u64, per_s: u64) -> u64 {
    ticks / per_s * 1000 + ticks % per_s * 1000 / per_s
}

/// The first tick at which `ms` have passed.
fn ticks_of(ms: u64, per_s: u64) -> u64 {
    let seconds = (ms / 1000).saturating_mul(per_s);
    seconds.saturating_add((ms % 1000 * per_s).div_ceil(1000))
}

pub(crate) fn now_ms() -> u64 {
    ms_of(now_ticks(), ticks_per_s())
}

/// The first tick at which [`now_ms`] is `ms`.
pub(crate) fn ticks_at(ms: u64) -> u64 {
    ticks_of(ms, ticks_per_s())
}

pub(crate) fn clock_s() -> u32 {
    let page = symbols::region("clock").and_then(<[_]>::first);
    let at_start = page.map_or(0, |seconds| seconds.load(Ordering::Relaxed));
    at_start.saturating_add(now_ticks() / ticks_per_s()) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_before_its_millisecond() {
        for per_s in [62_500_000, 100_000_000, 24_000_000, 33_333_333] {
            for ms in [0, 1, 3, 7, 999, 1000, 1001, 86_400_001, 1 << 40] {
                let ticks = ticks_of(ms, per_s);
                assert_eq!(ms_of(ticks, per_s), ms, "{ms} ms at {per_s} Hz");
                assert!(ticks == 0 || ms_of(ticks - 1, per_s) < ms);
            }
            assert!(ticks_of(u64::MAX, per_s) >= ticks_of(u64::MAX / 2, per_s));
        }
    }
}
