//! The timer domain: owns the hardware timer and the clock, and wakes the others at their deadlines.
//!
//! A domain writes its deadline into its page and notifies this one if it is earlier than the one before.
//! This one programs the earliest of all, and notifies each domain whose deadline has passed.
//!
//! The kernel leaves the processor's physical timer to user level, and can give it to one domain only by giving it
//! to all, guests included. A hostile one can stop it. So the alarm of the real-time clock, which is this
//! domain's alone, wakes it each second to look at all deadlines and set the timer anew.
#![cfg_attr(target_os = "none", no_std, no_main)]

use core::convert::Infallible;

use qemu_virt_aarch64::board::{ALARM, TIMER, TIMER_CLIENTS};
use qemu_virt_aarch64::pl031;
use qemu_virt_aarch64::timer::{Deadlines, NEVER, physical};
use resh_channel::memory::{Ordering, Words};
use sel4_microkit::sel4::{Mmio, mmio, now_ticks, ticks_per_s};
use sel4_microkit::{Channel, ChannelSet, Handler, NotGranted, region};

sel4_microkit::program! {
    regions: [
        rtc, deadline_0, deadline_1, deadline_2, deadline_3, deadline_4, deadline_5, deadline_6,
    ],
    start: start,
}

/// Symbols of the pages in which the clients write their deadlines, by channel.
const PAGES: [&str; TIMER_CLIENTS] = [
    "deadline_0",
    "deadline_1",
    "deadline_2",
    "deadline_3",
    "deadline_4",
    "deadline_5",
    "deadline_6",
];

struct Timer {
    clock: Mmio,
    pages: [&'static Words; TIMER_CLIENTS],
    deadlines: Deadlines<TIMER_CLIENTS>,
}

fn start() -> Result<impl Handler, NotGranted> {
    let mut pages: [&Words; TIMER_CLIENTS] = [&[]; TIMER_CLIENTS];
    for (page, symbol) in pages.iter_mut().zip(PAGES) {
        *page = region(symbol)?;
    }
    // The others read when tick 0 was, and count on by themselves.
    let mut clock = mmio("rtc")?;
    let now_s = pl031::seconds(&clock);
    let epoch_s = pl031::epoch_s(now_s, now_ticks(), ticks_per_s());
    region("clock")?[0].store(epoch_s, Ordering::Release);
    pl031::alarm_in_a_second(&mut clock);
    Ok(Timer { clock, pages, deadlines: Deadlines::default() })
}

impl Handler for Timer {
    type Error = Infallible;

    fn notified(&mut self, woken: ChannelSet) -> Result<(), Infallible> {
        let wanted = self.pages.map(|page| page[0].load(Ordering::Acquire));
        let due = self.deadlines.due(wanted, now_ticks());
        for client in (0..TIMER_CLIENTS as u8).filter(|client| due.clients >> client & 1 == 1) {
            Channel::new(client).notify();
        }
        match due.next_ticks {
            NEVER => physical::stop(),
            at_ticks => physical::set(at_ticks),
        }
        // The timer interrupts for as long as what it was set to has passed: not before it is set anew.
        if woken.contains(TIMER) {
            TIMER.irq_ack();
        }
        if woken.contains(ALARM) {
            pl031::alarm_in_a_second(&mut self.clock);
            ALARM.irq_ack();
        }
        Ok(())
    }
}
