//! The domain of one replica: the machine of its guest, and the gateway that is the client of the guest's
//! servers over the machine's network link.
//!
//! Both live in one domain, and have one deadline between them. The gateway comes in with the voter only
//! once every server of the guest accepts connections: until then the replica is one that is still down.

mod cpu;
mod shared;
mod start;

use core::cell::Cell;
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
    /// Every server of the guest has accepted a connection since the guest began.
    serves: &'static Cell<bool>,
    /// They have once, and the gateway runs since.
    has_joined: bool,
    /// When the gateway is to be called, in milliseconds.
    gateway_at_ms: Option<u64>,
    /// When the machine is.
    machine_at_ms: Option<u64>,
    /// The guest's outages that the connections know of.
    outages: u64,
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
    fn run_gateway(&mut self) -> Result<(), Broken> {
        let outages = self.machine.borrow().outages();
        if outages != self.outages {
            self.outages = outages;
            self.serves.set(false);
            self.tcp.borrow_mut().guest_restarted();
        }
        self.gateway_at_ms = None;
        if self.has_joined {
            // It hears first that its connections are gone; while the guest is down it makes no other.
            self.gateway.notified(ChannelSet::EMPTY)?;
            self.gateway_at_ms = deadline();
        }
        if !self.serves.get() && !self.machine.borrow().has_ended() {
            self.probe()?;
        }
        Ok(())
    }

    /// Finds out whether the guest serves by now.
    fn probe(&mut self) -> Result<(), Broken> {
        match self.tcp.borrow_mut().probe(now_ms()) {
            Serving::NotYet { again_at_ms } => {
                self.gateway_at_ms = earlier(self.gateway_at_ms, Some(again_at_ms));
                return Ok(());
            }
            Serving::Yes => debug_println!("the guest serves, {} ms after the start", now_ms()),
        }
        self.serves.set(true);
        if !self.has_joined {
            self.has_joined = true;
            self.gateway.notified(ChannelSet::EMPTY)?;
            self.gateway_at_ms = deadline();
        }
        Ok(())
    }

    /// Lets the guest see what has changed, and sets the deadline of both.
    fn settle(&mut self) {
        let at_ticks = self.machine.borrow_mut().settle(now_ticks());
        self.machine_at_ms = at_ticks.map(ms_at);
        set_deadline(earlier(self.machine_at_ms, self.gateway_at_ms));
    }
}

impl<G: Handler<Error = Broken>> Handler for Domain<G> {
    type Error = Broken;

    fn notified(&mut self, channels: ChannelSet) -> Result<(), Broken> {
        // The guest's timer is the machine's alone.
        let timer_only = is_due(self.machine_at_ms) && !is_due(self.gateway_at_ms);
        if channels.contains(VOTER) || !timer_only {
            self.run_gateway()?;
        }
        self.settle();
        Ok(())
    }

    fn fault(&mut self, _: Child, message: MessageInfo) -> Result<Option<MessageInfo>, Broken> {
        let network = self.machine.borrow_mut().exit(exit_of(message));
        let is_down = self.machine.borrow().outages() != self.outages;
        // A guest that never stops exiting does not hold up the gateway.
        if network || is_down || is_due(self.gateway_at_ms) {
            self.run_gateway()?;
        }
        self.settle();
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
    debug_println!("{line}");
}
