//! The real-time clock PL031 (ARM DDI 0224).

use crate::registers::Registers;

/// RTCDR, the data register: seconds since 1970-01-01 UTC (section 3.3.1; QEMU starts it there).
const DATA: usize = 0x000;
/// RTCMR, the match register: the second at which it interrupts (section 3.3.2).
const MATCH: usize = 0x004;
/// RTCIMSC: bit 0 lets it interrupt (section 3.3.5).
const MASK: usize = 0x010;
/// RTCICR: bit 0 ends the interrupt (section 3.3.8).
const CLEAR: usize = 0x01c;

/// Seconds since 1970-01-01 UTC, by the clock.
pub fn seconds(registers: &impl Registers) -> u32 {
    registers.read(DATA)
}

/// Ends the alarm that was, and sets it to the next second.
pub fn alarm_in_a_second(registers: &mut impl Registers) {
    registers.write(CLEAR, 1);
    registers.write(MATCH, seconds(registers).wrapping_add(1));
    registers.write(MASK, 1);
}

/// Seconds since 1970-01-01 UTC at tick 0 of a counter that stands at `now_ticks` at second `now_s`.
pub fn epoch_s(now_s: u32, now_ticks: u64, ticks_per_s: u64) -> u64 {
    u64::from(now_s).saturating_sub(now_ticks / ticks_per_s.max(1))
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    /// A clock that stands at this second, and what was written to it.
    struct Clock(u32, Vec<(usize, u32)>);

    impl Registers for Clock {
        fn read(&self, offset: usize) -> u32 {
            assert_eq!(offset, DATA);
            self.0
        }

        fn write(&mut self, offset: usize, value: u32) {
            self.1.push((offset, value));
        }
    }

    #[test]
    fn the_alarm_comes_a_second_later() {
        for (now, next) in [(7, 8), (u32::MAX, 0)] {
            let mut clock = Clock(now, Vec::new());
            alarm_in_a_second(&mut clock);
            assert_eq!(clock.1, [(CLEAR, 1), (MATCH, next), (MASK, 1)]);
        }
    }

    #[test]
    fn the_epoch_is_as_long_ago_as_the_counter_says() {
        assert_eq!(epoch_s(1_700_000_000, 5 * 62_500_000 + 1, 62_500_000), 1_699_999_995);
        // A clock that was never set.
        assert_eq!(epoch_s(3, 5 * 62_500_000, 62_500_000), 0);
        assert_eq!(epoch_s(3, 5, 0), 0);
    }
}
