//! The domain as the runtime starts it.

use core::fmt;

use resh_channel::config::{Appliance, ConfigError};
use resh_channel::memory::WORD_BYTES;
use resh_channel::ring::{Consumer, Producer, TooSmall};
use resh_channel::snapshot::Publisher;
use resh_channel::stats::NetworkStats;
use sel4_microkit::{Channel, ChannelSet, Handler, NotGranted, now_ms, region, set_deadline};

use crate::datagrams::WithDatagrams;
use crate::network::{Error, Limits, Network};
use crate::stack::{Datagrams, Stack};
use resh_channel::window::client_slots;

/// The channel to the voter.
const VOTER: Channel = Channel::new(0);
/// Turns before the stack's descriptors are looked at again.
const TURNS: usize = 2;
/// Shortest time between two publications of the statistics, in milliseconds.
const STATS_MS: u64 = 100;
/// Bytes that hold the statistics' encoding: twelve integers of at most ten bytes.
const STATS_BYTES: usize = 128;

/// Why the domain cannot start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitError {
    /// A region is missing from the system description.
    Region(NotGranted),
    /// What region it names is too small.
    TooSmall(&'static str),
    /// The `config` region does not hold a configuration.
    Config(ConfigError),
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Region(region) => region.fmt(f),
            Self::TooSmall(region) => write!(f, "the region `{region}` is too small"),
            Self::Config(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for InitError {}

impl From<NotGranted> for InitError {
    fn from(region: NotGranted) -> Self {
        Self::Region(region)
    }
}

struct Domain<S> {
    network: Network<'static, S>,
    publisher: Publisher<'static>,
    /// What was published last, and when.
    published: NetworkStats,
    published_ms: Option<u64>,
}

/// The domain, on `stack`, with the regions of the system description.
///
/// # Errors
/// See [`InitError`].
pub fn start(stack: impl Stack + Datagrams) -> Result<impl Handler<Error = Error>, InitError> {
    let appliance = Appliance::in_region(region("config")?).map_err(InitError::Config)?;
    let limits = appliance.limits;
    let to_voter = Producer::with_reader(region("n2v_ring")?, region("n2v_cursor")?)
        .map_err(|TooSmall| InitError::TooSmall("n2v_ring"))?;
    let from_voter = Consumer::new(region("v2n_ring")?, region("v2n_cursor")?, 0)
        .map_err(|TooSmall| InitError::TooSmall("v2n_ring"))?;
    let window = region("window")?;
    let slots = client_slots(window.len() * WORD_BYTES);
    if slots < usize::from(limits.sessions) {
        return Err(InitError::TooSmall("window"));
    }
    let stack = WithDatagrams::new(stack, &appliance, slots);
    let publisher = Publisher::new(region("network_stats")?);
    let limits = Limits { sessions: limits.sessions, idle_ms: u64::from(limits.idle_ms) };
    let network = Network::new(stack, to_voter, from_voter, window, limits);
    let published = NetworkStats::default();
    Ok(Domain { network, publisher, published, published_ms: None })
}

impl<S: Stack> Domain<S> {
    /// Publishes the statistics if they changed and it is time, and otherwise returns when it will be.
    fn publish(&mut self, now_ms: u64) -> Option<u64> {
        let due_ms = self.published_ms.map_or(0, |at| at + STATS_MS);
        if self.published_ms.is_some() && self.published == *self.network.stats() {
            return None;
        }
        if now_ms < due_ms {
            return Some(due_ms);
        }
        self.published.clone_from(self.network.stats());
        self.published_ms = Some(now_ms);
        // Cannot fail: the region is a page. If it did, the operator would see old figures.
        let _ = self.publisher.publish(&self.published, &mut [0; STATS_BYTES]);
        None
    }
}

impl<S: Stack> Handler for Domain<S> {
    type Error = Error;

    fn notified(&mut self, _: ChannelSet) -> Result<(), Error> {
        for _ in 0..TURNS {
            let turn = self.network.turn(now_ms())?;
            if turn.notify {
                VOTER.notify();
            }
            if !turn.busy && self.network.sleep()? {
                let stats_ms = self.publish(now_ms());
                set_deadline([stats_ms, self.network.deadline_ms()].into_iter().flatten().min());
                return Ok(());
            }
        }
        self.publish(now_ms());
        // At once, after a look at the stack's descriptors.
        set_deadline(Some(now_ms()));
        Ok(())
    }
}
