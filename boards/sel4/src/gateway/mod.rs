//! The domain of one replica: the machine of its guest, and the gateway that is the client of the guest's
//! servers over the machine's network link.
//!
//! Both live in one domain, have one deadline between them, and one life: with the guest's end, a reset of its machine
//! included, the domain's ends too, and the supervisor starts both anew. So the voter hears of every end, and no
//! answer of one guest is taken for another's. The gateway comes in with the voter only once every server of the guest
//! accepts connections: until then the replica is one that is still down.

mod cpu;
mod shared;
mod start;
#[cfg(feature = "faults")]
pub mod trigger;

use core::fmt;

use gateway::Broken;
use guest_vmm::machine::Exit;
use guest_vmm::upstream::Serving;
use sel4_microkit::sel4::{Fault, now_ticks, ticks_per_s};
use sel4_microkit::{
    Channel, ChannelSet, Child, Handler, MessageInfo, deadline, debug_println, now_ms, set_deadline,
};

use shared::{SharedMachine, SharedTcp};
pub use start::{StartError, start};

/// The channel to the voter.
const VOTER: Channel = Channel::new(0);

struct Domain<G> {
    machine: SharedMachine,
    tcp: SharedTcp,
    gateway: G,
    /// Every server of the guest has accepted a connection, and the gateway runs since.
    serves: bool,
    /// When the gateway is to be called, in milliseconds.
    gateway_at_ms: Option<u64>,
    /// When the machine is.
    machine_at_ms: Option<u64>,
}

/// Why a domain's life ended. What follows is a fault, of which the supervisor hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The channel to the voter is broken.
    Gateway(Broken),
    /// The guest has ended.
    Guest,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway(broken) => broken.fmt(f),
            Self::Guest => f.write_str("its guest has ended"),
        }
    }
}

/// The first millisecond at which `ticks` have passed.
fn ms_at(ticks: u64) -> u64 {
    let per_s = ticks_per_s();
    ticks / per_s * 1000 + (ticks % per_s * 1000).div_ceil(per_s)
}

/// The earlier of two times, either of which may be none.
fn earlier(a_ms: Option<u64>, b_ms: Option<u64>) -> Option<u64> {
    match (a_ms, b_ms) {
        (Some(a_ms), Some(b_ms)) => Some(a_ms.min(b_ms)),
        (a_ms, b_ms) => a_ms.or(b_ms),
    }
}

fn is_due(at_ms: Option<u64>) -> bool {
    at_ms.is_some_and(|at_ms| at_ms <= now_ms())
}

impl<G: Handler<Error = Broken>> Domain<G> {
    /// Does what there is to do at the voter's side and on the network link.
    fn run_gateway(&mut self) -> Result<(), Ended> {
        if self.serves {
            self.gateway.notified(ChannelSet::EMPTY).map_err(Ended::Gateway)?;
            self.gateway_at_ms = deadline();
            return Ok(());
        }
        match self.tcp.borrow_mut().probe(now_ms()) {
            Serving::NotYet { again_at_ms } => {
                self.gateway_at_ms = Some(again_at_ms);
                return Ok(());
            }
            Serving::Yes => debug_println!("the guest serves, {} ms after the start", now_ms()),
        }
        self.serves = true;
        self.run_gateway()
    }

    /// Lets the guest see what has changed, and sets the deadline of both.
    fn settle(&mut self) -> Result<(), Ended> {
        if self.machine.borrow().has_ended() {
            return Err(Ended::Guest);
        }
        let at_ticks = self.machine.borrow_mut().settle(now_ticks());
        self.machine_at_ms = at_ticks.map(ms_at);
        set_deadline(earlier(self.machine_at_ms, self.gateway_at_ms));
        Ok(())
    }
}

impl<G: Handler<Error = Broken>> Handler for Domain<G> {
    type Error = Ended;

    fn notified(&mut self, channels: ChannelSet) -> Result<(), Ended> {
        // The guest's timer is the machine's alone.
        let timer_only = is_due(self.machine_at_ms) && !is_due(self.gateway_at_ms);
        if channels.contains(VOTER) || !timer_only {
            self.run_gateway()?;
        }
        self.settle()
    }

    fn fault(&mut self, _: Child, message: MessageInfo) -> Result<Option<MessageInfo>, Ended> {
        let network = self.machine.borrow_mut().exit(exit_of(message));
        // A guest that never stops exiting does not hold up the gateway.
        if network || is_due(self.gateway_at_ms) {
            self.run_gateway()?;
        }
        self.settle()?;
        let runs_on = self.machine.borrow_mut().answer();
        Ok(runs_on.then(|| MessageInfo::new(0, 0)))
    }
}

/// What the kernel's message means for the machine.
fn exit_of(message: MessageInfo) -> Exit {
    match Fault::of(message) {
        Fault::VmFault { address, is_prefetch, syndrome, .. } => {
            Exit::Memory { address, fetch: is_prefetch, syndrome }
        }
        Fault::VcpuFault { syndrome } => Exit::Trap { syndrome },
        Fault::UnknownSyscall { .. } => Exit::Call,
        // The kernel reports no other private interrupt (`VPPIEventIRQ`).
        Fault::VppiEvent { .. } => Exit::Timer,
        Fault::VgicMaintenance { index } => {
            Exit::Maintenance { index: index.map_or(usize::MAX, usize::from) }
        }
        // An instruction that traps to the kernel without a syndrome: undefined.
        Fault::UserException { .. } => Exit::Trap { syndrome: 0 },
        _ => Exit::Other { label: message.label() },
    }
}

/// Prints for the machine.
fn print(line: fmt::Arguments<'_>) {
    #[cfg(feature = "faults")]
    trigger::listen(line);
    debug_println!("{line}");
}
