//! The event loop: waits for notifications, calls and faults of children, and for the deadline
//! (Microkit manual, "Entry points"; `handler_loop` of libmicrokit).

use core::convert::Infallible;
use core::sync::atomic::{AtomicU64, Ordering};

use super::abi::system_call;
use super::capability::{INPUT, MONITOR, REPLY, irq_ack};
use super::deadline::{Before, Deadline, NONE};
use super::system_call::{Answer, Arguments, mr, set_mr, system_call};
use super::{symbols, time};
use crate::{Channel, ChannelSet, Child, Handler, MessageInfo};

/// The channel to the timer, in every domain.
const TIMER: Channel = Channel::new(61);
/// Bits of the badge (`BADGE_FAULT_BIT`, `BADGE_ENDPOINT_BIT` of libmicrokit).
const FAULT: u64 = 1 << 62;
const CALL: u64 = 1 << 63;
/// No deadline. It is 0 because nothing that a domain may write has any other value at its start.
const NEVER: u64 = 0;

/// The deadline that the program set last, in milliseconds.
static DEADLINE_MS: AtomicU64 = AtomicU64::new(NEVER);

pub(crate) fn set_deadline(at_ms: Option<u64>) {
    // That of time 0 has passed as has that of 1.
    DEADLINE_MS.store(at_ms.map_or(NEVER, |at_ms| at_ms.max(1)), Ordering::Relaxed);
}

pub(crate) fn deadline() -> Option<u64> {
    Some(DEADLINE_MS.load(Ordering::Relaxed)).filter(|at_ms| *at_ms != NEVER)
}

/// The word that the timer reads. A domain without it sees its deadline when something else wakes it.
fn page() -> Option<&'static AtomicU64> {
    symbols::region("deadline").and_then(<[_]>::first)
}

fn tell(ticks: u64) {
    if let Some(page) = page() {
        page.store(ticks, Ordering::Release);
        TIMER.notify();
    }
}

/// How the next event is fetched.
enum Fetch {
    /// Wait for it.
    Wait,
    /// Take it if there is one.
    Poll,
    /// Answer the last one with this, and wait.
    Answer(MessageInfo),
    /// Tell Microkit's monitor that a passive domain is ready, and wait.
    Ready,
}

/// The message registers that go in the processor's.
fn first_registers() -> [u64; 4] {
    core::array::from_fn(mr)
}

/// Answers the last call or fault.
fn reply(message: MessageInfo) {
    let registers = first_registers();
    let arguments = Arguments { capability: REPLY, message, registers, ..Arguments::default() };
    system_call(system_call::SEND, &arguments);
}

fn fetch(how: &Fetch) -> Answer {
    let mut arguments = Arguments { capability: INPUT, reply: REPLY, ..Arguments::default() };
    let number = match how {
        Fetch::Wait => system_call::RECV,
        Fetch::Poll => system_call::NB_RECV,
        Fetch::Answer(message) => {
            (arguments.message, arguments.registers) = (*message, first_registers());
            system_call::REPLY_RECV
        }
        Fetch::Ready => {
            arguments.send_to = MONITOR;
            system_call::NB_SEND_RECV
        }
    };
    let answer = system_call(number, &arguments);
    // A notification leaves the registers as they were.
    let count = usize::from(answer.message.count()).min(answer.registers.len());
    for (index, register) in answer.registers[..count].iter().enumerate() {
        set_mr(index, *register);
    }
    answer
}

/// Runs the domain until it fails.
pub(crate) fn run<H: Handler>(mut handler: H) -> Result<Infallible, H::Error> {
    // An interrupt that came before it was waited for stays masked (seL4 issue 1536).
    for id in (0..=Channel::MAX).filter(|id| symbols::irqs() & (1 << id) != 0) {
        irq_ack(Channel::new(id));
    }
    if let Some(page) = page() {
        page.store(NONE, Ordering::Relaxed);
    }
    handler.notified(ChannelSet::EMPTY)?;
    let mut deadline = Deadline::new();
    let mut is_ready = !symbols::is_passive();
    let mut answer = None;
    loop {
        deadline.set(self::deadline().map_or(NONE, time::ticks_at));
        let before = deadline.before_wait(time::now_ticks());
        if let Before::Tell(ticks) = before {
            tell(ticks);
        }
        let how = match (answer.take(), before) {
            _ if !core::mem::replace(&mut is_ready, true) => Fetch::Ready,
            (Some(message), Before::Due) => {
                // To answer and receive at once would be to wait.
                reply(message);
                Fetch::Poll
            }
            (Some(message), _) => Fetch::Answer(message),
            (None, Before::Due) => Fetch::Poll,
            (None, _) => Fetch::Wait,
        };
        let Answer { badge, message, .. } = fetch(&how);
        if badge & FAULT != 0 {
            answer = handler.fault(Child::new((badge & 0x3f) as u8), message)?;
            continue;
        }
        if badge & CALL != 0 {
            answer = Some(handler.protected(Channel::new((badge & 0x3f) as u8), message)?);
            continue;
        }
        let mut woken = ChannelSet::from_badge(badge, symbols::irqs());
        if deadline.take_due(time::now_ticks()) {
            set_deadline(None);
            woken.insert_deadline();
        }
        if !woken.is_empty() {
            handler.notified(woken)?;
        }
    }
}
