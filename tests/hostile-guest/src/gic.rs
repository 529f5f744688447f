//! The interrupt controller (GICv2): set up as it should be, and not.

use crate::cpu::{self, read32, write32};
use crate::random::Random;
use crate::virtqueue;
use core::sync::atomic::{AtomicU64, Ordering};

pub(crate) const DISTRIBUTOR: u64 = 0x0800_0000;
pub(crate) const CPU_INTERFACE: u64 = 0x0801_0000;

/// Interrupts: the virtual timer and the network device.
const TIMER: u32 = 27;
const NETWORK: u32 = 48;
/// From here on an acknowledged number means that there is none.
const NO_INTERRUPT: u32 = 1020;

/// Interrupts taken so far, and in one go.
pub(crate) static TAKEN: AtomicU64 = AtomicU64::new(0);
static TAKEN_IN_A_ROW: AtomicU64 = AtomicU64::new(0);
/// How often the timer shall fire again.
static STORM: AtomicU64 = AtomicU64::new(0);
/// Most interrupts taken in one go.
const IN_A_ROW_MAX: u64 = 200;

/// Registers (ARM IHI 0048B): of the distributor, one bit or more for each interrupt, and of the processor's interface.
const GROUP: u64 = DISTRIBUTOR + 0x080;
const SET_ENABLE: u64 = DISTRIBUTOR + 0x100;
const CLEAR_ENABLE: u64 = DISTRIBUTOR + 0x180;
const CLEAR_PENDING: u64 = DISTRIBUTOR + 0x280;
const CLEAR_ACTIVE: u64 = DISTRIBUTOR + 0x380;
const PRIORITY: u64 = DISTRIBUTOR + 0x400;
const TARGETS: u64 = DISTRIBUTOR + 0x800;
const CONFIGURATION: u64 = DISTRIBUTOR + 0xc00;
const PRIORITY_MASK: u64 = CPU_INTERFACE + 0x04;
const BINARY_POINT: u64 = CPU_INTERFACE + 0x08;
const ACKNOWLEDGE: u64 = CPU_INTERFACE + 0x0c;
const END: u64 = CPU_INTERFACE + 0x10;
const RUNNING_PRIORITY: u64 = CPU_INTERFACE + 0x14;
const HIGHEST_PENDING: u64 = CPU_INTERFACE + 0x18;

/// Lets the timer's and the network device's interrupts through and no others, whatever was before.
pub(crate) fn set_up() {
    write32(DISTRIBUTOR, 0);
    for word in [0, 4] {
        write32(GROUP + word, 0);
        write32(CLEAR_ENABLE + word, u32::MAX);
        write32(CLEAR_PENDING + word, u32::MAX);
        write32(CLEAR_ACTIVE + word, u32::MAX);
    }
    for number in (0..64).step_by(4) {
        write32(PRIORITY + number, 0x8080_8080);
    }
    write32(TARGETS + u64::from(NETWORK), 0x0101_0101);
    for word in [4, 12] {
        write32(CONFIGURATION + word, 0);
    }
    write32(SET_ENABLE, 1 << TIMER);
    write32(SET_ENABLE + 4, 1 << (NETWORK - 32));
    write32(PRIORITY_MASK, 0xff);
    write32(BINARY_POINT, 0);
    write32(CPU_INTERFACE, 1);
    // What garbage has acknowledged is still being handled, for the controller.
    for _ in 0..8 {
        if idle() {
            break;
        }
        write32(END, TIMER);
    }
    write32(DISTRIBUTOR, 1);
}

/// Lets the timer fire `times` times, one right after the other, and takes the interrupts.
pub(crate) fn timer_storm(times: u64) {
    STORM.store(times, Ordering::Relaxed);
    cpu::set_timer(0, 1);
    take();
    cpu::set_timer(0, 0);
}

/// Whether no interrupt is being handled.
fn idle() -> bool {
    read32(RUNNING_PRIORITY) & 0xff == 0xff
}

/// Whether the timer's interrupt gets through when it fires: garbage may be in the way.
pub(crate) fn timer_gets_through() -> bool {
    cpu::set_timer(0, 1);
    let pending = read32(HIGHEST_PENDING) & 0x3ff;
    cpu::set_timer(0, 0);
    pending == TIMER && idle()
}

/// Takes what is pending.
pub(crate) fn take() {
    TAKEN_IN_A_ROW.store(0, Ordering::Relaxed);
    cpu::take_interrupts();
}

/// Handles an interrupt. False if there were so many that they shall be masked.
pub(crate) fn interrupt() -> bool {
    let acknowledged = read32(ACKNOWLEDGE);
    let number = acknowledged & 0x3ff;
    match number {
        TIMER => {
            let left = STORM.load(Ordering::Relaxed).saturating_sub(1);
            STORM.store(left, Ordering::Relaxed);
            cpu::set_timer(0, u64::from(left > 0));
        }
        NETWORK => virtqueue::acknowledge_interrupt(),
        NO_INTERRUPT.. => {}
        // One that garbage has enabled.
        _ => write32(CLEAR_ENABLE + u64::from(number / 32 * 4), 1 << (number % 32)),
    }
    if number < NO_INTERRUPT {
        write32(END, acknowledged);
    }
    TAKEN.store(TAKEN.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    let in_a_row = TAKEN_IN_A_ROW.load(Ordering::Relaxed) + 1;
    TAKEN_IN_A_ROW.store(in_a_row, Ordering::Relaxed);
    in_a_row < IN_A_ROW_MAX
}

/// Writes garbage to the distributor, or the processor's interface.
pub(crate) fn garbage(random: &mut Random) {
    let (start, bytes) = random.pick(&[(DISTRIBUTOR, 0x1000), (CPU_INTERFACE, 0x1000)]);
    let access = random.pick(&cpu::ACCESSES);
    let address = start + random.offset(bytes);
    let value = random.any();
    if random.once_in(4) {
        cpu::load(access, address);
    } else {
        cpu::store(access, address, value);
    }
}
