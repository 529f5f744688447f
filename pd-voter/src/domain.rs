//! The voter as a protection domain: its regions and channels by name, its deadline, its clock.

use core::fmt;

use resh_channel::config::{Appliance, ConfigError};
use sel4_microkit::{ChannelSet, Handler, NotGranted, clock_s, now_ms, region, set_deadline};

use crate::replica::Channel;
use crate::voter::{NetworkFault, Parts, SetupError, Signals, Voter};

const NETWORK: sel4_microkit::Channel = sel4_microkit::Channel::new(0);
const SUPERVISOR: sel4_microkit::Channel = sel4_microkit::Channel::new(1);
const GATEWAYS: [sel4_microkit::Channel; 3] = [
    sel4_microkit::Channel::new(2),
    sel4_microkit::Channel::new(3),
    sel4_microkit::Channel::new(4),
];

/// Why the domain cannot start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitError {
    /// The system description does not grant a region.
    NotGranted(NotGranted),
    /// The configuration cannot be read.
    Config(ConfigError),
    /// A region is too small.
    Setup(SetupError),
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGranted(error) => error.fmt(f),
            Self::Config(error) => error.fmt(f),
            Self::Setup(error) => error.fmt(f),
        }
    }
}

impl From<NotGranted> for InitError {
    fn from(error: NotGranted) -> Self {
        Self::NotGranted(error)
    }
}

/// The running domain.
pub struct Domain {
    voter: Voter<'static>,
}

/// Takes the regions the system description grants, and starts.
///
/// # Errors
/// See [`InitError`].
pub fn start() -> Result<impl Handler, InitError> {
    let appliance = Appliance::in_region(region("config")?).map_err(InitError::Config)?;
    let parts = Parts {
        n2v_ring: region("n2v_ring")?,
        n2v_cursor: region("n2v_cursor")?,
        v2n_ring: region("v2n_ring")?,
        v2n_cursor: region("v2n_cursor")?,
        broadcast_ring: region("broadcast_ring")?,
        replicas: [
            channel("reply_ring_0", "reply_cursor_0", "broadcast_cursor_0")?,
            channel("reply_ring_1", "reply_cursor_1", "broadcast_cursor_1")?,
            channel("reply_ring_2", "reply_cursor_2", "broadcast_cursor_2")?,
        ],
        window: sel4_microkit::take_region("window")?,
        order: sel4_microkit::take_region("order")?,
        stats: region("voter_stats")?,
        supervision: region("supervision")?,
    };
    Ok(Domain { voter: Voter::new(parts, &appliance).map_err(InitError::Setup)? })
}

fn channel(
    reply_ring: &'static str,
    reply_cursor: &'static str,
    broadcast_cursor: &'static str,
) -> Result<Channel<'static>, NotGranted> {
    Ok(Channel {
        reply_ring: region(reply_ring)?,
        reply_cursor: region(reply_cursor)?,
        broadcast_cursor: region(broadcast_cursor)?,
    })
}

fn notify(signals: Signals) {
    if signals.network {
        NETWORK.notify();
    }
    if signals.supervisor {
        SUPERVISOR.notify();
    }
    for (at, gateway) in GATEWAYS.into_iter().enumerate() {
        if signals.gateways & (1 << at) != 0 {
            gateway.notify();
        }
    }
}

impl Handler for Domain {
    type Error = NetworkFault;

    fn notified(&mut self, _: ChannelSet) -> Result<(), NetworkFault> {
        // Each step gives every ring one bounded turn, so nobody who always has more starves the others.
        loop {
            let signals = self.voter.step(now_ms(), clock_s())?;
            notify(signals);
            if !signals.more && self.voter.arm() {
                break;
            }
        }
        set_deadline(self.voter.deadline_ms());
        Ok(())
    }
}
