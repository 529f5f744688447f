//! The physical timer of the generic timer (Arm ARM, D12.2), and which deadline it is set to.

/// A deadline page that says: none.
pub const NEVER: u64 = u64::MAX;

/// Which deadlines have passed, and which comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Clients to be told, a bit each.
    pub clients: u64,
    /// When the timer is to fire, in ticks. [`NEVER`] if not at all.
    pub next_ticks: u64,
}

/// Deadlines of `N` clients, at most 64. A client is told once of each.
pub struct Deadlines<const N: usize> {
    /// The deadline of which each was told last.
    told: [u64; N],
}

impl<const N: usize> Default for Deadlines<N> {
    fn default() -> Self {
        // A page that was never written holds 0.
        Self { told: [0; N] }
    }
}

impl<const N: usize> Deadlines<N> {
    /// What is due at `now_ticks`, if the clients want to be told at `wanted`.
    pub fn due(&mut self, wanted: [u64; N], now_ticks: u64) -> Due {
        const { assert!(N <= 64) };
        let mut due = Due { clients: 0, next_ticks: NEVER };
        for (client, (&at, told)) in wanted.iter().zip(&mut self.told).enumerate() {
            if at > now_ticks {
                due.next_ticks = due.next_ticks.min(at);
            } else if *told != at {
                *told = at;
                due.clients |= 1 << client;
            }
        }
        due
    }
}

/// The timer of this processor. The kernel lets a domain use it (`KernelArmExportPTMRUser`). Elsewhere than
/// on seL4 there is none, and nothing happens.
pub mod physical {
    /// CNTP_CTL_EL0.ENABLE, with IMASK clear.
    #[cfg(target_os = "none")]
    const ENABLE: u64 = 1;

    /// Interrupts at `at_ticks` of the physical counter, at once if that has passed, and on as long as it
    /// is not set anew.
    #[cfg_attr(not(target_os = "none"), expect(unused_variables))]
    pub fn set(at_ticks: u64) {
        #[cfg(target_os = "none")]
        // SAFETY: two registers of the timer are written, which affect no memory.
        unsafe {
            core::arch::asm!(
                "msr cntp_cval_el0, {at}",
                "msr cntp_ctl_el0, {enable}",
                "isb",
                at = in(reg) at_ticks,
                enable = in(reg) ENABLE,
                options(nomem, nostack, preserves_flags)
            );
        }
    }

    /// Interrupts no more.
    pub fn stop() {
        #[cfg(target_os = "none")]
        // SAFETY: as in `set`.
        unsafe {
            core::arch::asm!(
                "msr cntp_ctl_el0, xzr",
                "isb",
                options(nomem, nostack, preserves_flags)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    #[test]
    fn the_earliest_is_next_and_those_past_are_told_once() {
        let mut deadlines = Deadlines::<3>::default();
        assert_eq!(deadlines.due([0; 3], 5), Due { clients: 0, next_ticks: NEVER });
        assert_eq!(deadlines.due([NEVER; 3], 5), Due { clients: 0, next_ticks: NEVER });
        assert_eq!(deadlines.due([9, 7, NEVER], 5), Due { clients: 0, next_ticks: 7 });
        assert_eq!(deadlines.due([9, 7, NEVER], 7), Due { clients: 0b10, next_ticks: 9 });
        // It has not yet set another.
        assert_eq!(deadlines.due([9, 7, NEVER], 8), Due { clients: 0, next_ticks: 9 });
        // Another that has passed already, and one that was moved to later meanwhile.
        assert_eq!(deadlines.due([20, 8, NEVER], 9), Due { clients: 0b10, next_ticks: 20 });
        assert_eq!(deadlines.due([NEVER, NEVER, NEVER], 21), Due { clients: 0, next_ticks: NEVER });
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 500,
            rng_seed: RngSeed::Fixed(0x71e5),
            ..ProptestConfig::default()
        })]

        /// Against the definition: at each moment, and only then if it was not told of it before.
        #[test]
        fn every_deadline_is_told_once_when_it_has_passed(
            moves in prop::collection::vec((prop::array::uniform4(0..50u64), 0..4u64), 1..40),
        ) {
            let mut deadlines = Deadlines::<4>::default();
            let mut told = [0; 4];
            let mut now = 0;
            for (wanted, passes) in moves {
                now += passes;
                let due = deadlines.due(wanted, now);
                let future = wanted.iter().copied().filter(|at| *at > now).min();
                prop_assert_eq!(due.next_ticks, future.unwrap_or(NEVER));
                for client in 0..4 {
                    let at = wanted[client];
                    let expected = at <= now && told[client] != at;
                    prop_assert_eq!(due.clients >> client & 1 == 1, expected);
                    if expected {
                        told[client] = at;
                    }
                }
            }
        }
    }
}
