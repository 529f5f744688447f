//! The misdeeds, one after the other.

use crate::boot::EXCEPTIONS;
use crate::console::{self, PL011};
use crate::cpu::{self, ACCESSES};
use crate::random::Random;
use crate::settings::{End, Settings};
use crate::virtqueue::{self, Driver};
use crate::{gic, processor, say};
use core::sync::atomic::Ordering;

/// Misdeeds between two lines on the console.
const LINE_EVERY: u64 = 1_000;
/// Floods of the console in one life, and bytes in each.
const FLOODS: u64 = 3;
const FLOOD_BYTES: u64 = 2_000;
/// Times the timer fires in one storm.
const STORM: u64 = 20;

/// Does all of it, and never returns.
pub(crate) fn run(device_tree: u64) -> ! {
    let settings = Settings::read(device_tree);
    let Settings { seed, misdeeds, end, gic } = settings;
    say!("hostile: seed {seed}, {misdeeds} misdeeds to come");
    let random = &mut Random(seed);
    let mut driver = Driver::new();
    let mut floods = FLOODS;
    gic::set_up();
    driver.set_up(random, false);
    for done in 1..=misdeeds {
        misdeed(random, &mut driver, &mut floods, gic);
        if done % LINE_EVERY == 0 {
            say!("hostile: {done} misdeeds");
        }
    }
    let exceptions = EXCEPTIONS.load(Ordering::Relaxed);
    let interrupts = gic::TAKEN.load(Ordering::Relaxed);
    say!("hostile: all done, {exceptions} exceptions, {interrupts} interrupts; end: {end:?}");
    match end {
        End::Loop => {}
        End::Off => processor::off(),
        End::Reset => processor::reset(),
        End::Jump => cpu::jump(0x0a10_0000),
        End::Calls => processor::system_calls(random),
    }
    cpu::keep_for_ever()
}

fn misdeed(random: &mut Random, driver: &mut Driver, floods: &mut u64, gic: bool) {
    match random.below(32) {
        0..12 => {
            if !driver.is_up() {
                let wicked = random.once_in(3);
                driver.set_up(random, wicked);
            }
            driver.misuse(random);
        }
        12..16 => virtqueue::odd_register(random),
        16..20 if gic => gic::garbage(random),
        16..23 => processor::odd_call(random),
        23 => processor::odd_register(random),
        24..28 => processor::wild_access(random),
        28 => console_garbage(random, floods),
        29 => {
            gic::set_up();
            gic::timer_storm(random.below(STORM) + 1);
        }
        30 => sleep(random),
        _ => {
            gic::set_up();
            gic::take();
        }
    }
}

/// Every register of the console but the one that prints; and, seldom, more than it can take.
fn console_garbage(random: &mut Random, floods: &mut u64) {
    if *floods > 0 && random.once_in(60) {
        *floods -= 1;
        for _ in 0..FLOOD_BYTES {
            // No line ends, and nothing that a terminal would print.
            console::put(random.pick(&[0, 7, 0x1b, 0x7f, 0x80, 0xff, b'~', b'x']));
        }
        console::put(b'\n');
        return;
    }
    let address = PL011 + 4 + random.offset(0xffc);
    if random.once_in(2) {
        cpu::load(random.pick(&ACCESSES), address);
    } else {
        cpu::store(random.pick(&ACCESSES), address, random.any());
    }
}

/// Sleeps until the timer fires, with interrupts masked.
fn sleep(random: &mut Random) {
    gic::set_up();
    if !gic::timer_gets_through() {
        return;
    }
    let ticks = cpu::counter_hz() / 1000 / (1 + random.below(20));
    cpu::set_timer(cpu::counter() + ticks, 1);
    if random.once_in(4) {
        cpu::wait_for_event();
    }
    cpu::wait_for_interrupt();
    cpu::set_timer(0, 0);
}
