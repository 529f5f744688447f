//! The real-time clock PL031 (ARM DDI 0224).

use crate::registers::Registers;

/// RTCDR, the data register: seconds since 1970-01-01 UTC (section 3.3.1; QEMU starts it there).
const DATA: usize = 0x000;

/// Seconds since 1970-01-01 UTC, by the clock.
pub fn seconds(registers: &impl Registers) -> u32 {
    registers.read(DATA)
}

/// Seconds since 1970-01-01 UTC at tick 0 of a counter that stands at `now_ticks` at second `now_s`.
pub fn epoch_s(now_s: u32, now_ticks: u64, ticks_per_s: u64) -> u64 {
    u64::from(now_s).saturating_sub(now_ticks / ticks_per_s.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epoch_is_as_long_ago_as_the_counter_says() {
        assert_eq!(epoch_s(1_700_000_000, 5 * 62_500_000 + 1, 62_500_000), 1_699_999_995);
        // A clock that was never set.
        assert_eq!(epoch_s(3, 5 * 62_500_000, 62_500_000), 0);
        assert_eq!(epoch_s(3, 5, 0), 0);
    }
}
