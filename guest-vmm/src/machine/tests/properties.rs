//! Whatever a guest does, the machine lives and touches nothing but the guest's own memory.

use proptest::prelude::*;

use alloc::vec;

use super::*;
use crate::upstream::Frames;

/// Words before and after RAM that are not the guest's.
const GUARD: usize = 512;
const UNTOUCHED: u64 = 0x5a5a_5a5a_5a5a_5a5a;

/// Addresses around everything there is.
fn address() -> impl Strategy<Value = u64> {
    const BASES: [u64; 6] = [GIC_DISTRIBUTOR_BASE, GIC_CPU_BASE, UART_BASE, NET_BASE, RAM_BASE, 0];
    prop_oneof![
        8 => (prop::sample::select(&BASES[..]), 0..0x1100_u64).prop_map(|(base, at)| base + at),
        1 => any::<u64>(),
    ]
}

fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        2 => 0..256_u64,
        1 => prop::sample::select(vec![0x8400_0008_u64, 0x8400_0009, 0xc400_0001]),
        2 => (0..RAM_BYTES as u64).prop_map(|at| RAM_BASE + at),
        1 => any::<u64>(),
    ]
}

fn any_exit() -> impl Strategy<Value = Exit> {
    prop_oneof![
        8 => (address(), any::<u32>()).prop_map(|(address, iss)| Exit::Memory {
            address,
            fetch: false,
            // Mostly described, so that devices are reached.
            syndrome: 0x24 << 26 | 1 << 24 | u64::from(iss & 0x00ff_feff),
        }),
        1 => (address(), any::<bool>(), any::<u64>())
            .prop_map(|(address, fetch, syndrome)| Exit::Memory { address, fetch, syndrome }),
        2 => any::<u64>().prop_map(|syndrome| Exit::Trap { syndrome }),
        2 => prop::sample::select(vec![0x01_u64, 0x16, 0x17, 0x18])
            .prop_map(|class| Exit::Trap { syndrome: class << 26 }),
        1 => Just(Exit::Call),
        2 => Just(Exit::Timer),
        2 => (0..6_usize).prop_map(|index| Exit::Maintenance { index }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(0x5ea1),
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_exits_leave_the_machine_whole(
        exits in prop::collection::vec((any_exit(), value(), value(), any::<bool>()), 1..120),
    ) {
        let parts = Parts::new();
        let memory: Vec<_> = (0..RAM_BYTES / 8 + 2 * GUARD)
            .map(|_| AtomicU64::new(UNTOUCHED))
            .collect();
        let ram = &memory[GUARD..GUARD + RAM_BYTES / 8];
        let cpu = Cpu::new();
        let mut machine = parts.machine(ram, &cpu);
        start(&mut machine, &cpu);
        let mut now = 0;
        for (exit, x0, x3, ends) in exits {
            now += 1000;
            {
                let mut log = cpu.0.borrow_mut();
                if !log.runs {
                    continue;
                }
                log.registers.x[..4].copy_from_slice(&[x0, x3, x0 ^ x3, x3]);
                log.registers.spsr = x0 & 0x1f;
                // The hardware only tells of interrupts that ended.
                if let Exit::Maintenance { index } = exit
                    && let Some(list) = log.lists.get_mut(index)
                {
                    *list = List::Empty;
                } else if ends && let List::Pending { intid, .. } = log.lists[0] {
                    log.lists[0] = List::Active { intid };
                }
                log.runs = false;
            }
            machine.exit(exit);
            let mut frame = [0; 1600];
            let _ = machine.link().receive(&mut frame);
            let _ = machine.link().send(&frame[..60]);
            let mut next = machine.settle(now);
            let answered = machine.answer();
            cpu.0.borrow_mut().runs |= answered;
            // What sleeps for the timer wakes at it.
            for _ in 0..40 {
                let Some(at) = next else { break };
                now = now.max(at);
                next = machine.settle(now);
            }
            prop_assert_eq!(next, None, "no end");
        }
        PRINTED.take();
        let untouched = |words: &[AtomicU64]| {
            words.iter().all(|word| word.load(Ordering::Relaxed) == UNTOUCHED)
        };
        prop_assert!(untouched(&memory[..GUARD]) && untouched(&memory[GUARD + RAM_BYTES / 8..]));
    }
}
