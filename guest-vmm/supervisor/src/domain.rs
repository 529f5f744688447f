//! The supervisor as a protection domain: its regions and channel by name, its children by number.

use alloc::vec;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;

use resh_channel::config::{Appliance, ConfigError};
use resh_channel::memory::{Ordering, WORD_BYTES, Words};
use resh_channel::snapshot::{self, SnapshotError};
use resh_channel::stats::VoterStats;
use sel4_microkit::sel4::Fault;
use sel4_microkit::{
    Channel, ChannelSet, Child, Handler, MessageInfo, NotGranted, debug_println, now_ms, region,
    set_deadline,
};

use crate::Lives;

/// The channel to the voter.
const VOTER: Channel = Channel::new(0);
/// How long after it met the voter writing it looks at its verdicts again, in milliseconds.
const BUSY_MS: u64 = 10;

/// Why the domain cannot start.
#[derive(Debug)]
pub enum InitError {
    /// The system description does not grant a region.
    NotGranted(NotGranted),
    /// The configuration cannot be read.
    Config(ConfigError),
    /// The region `supervision` has no room for the generations.
    TooSmall,
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGranted(error) => error.fmt(f),
            Self::Config(error) => error.fmt(f),
            Self::TooSmall => f.write_str("the supervision region is too small"),
        }
    }
}

impl From<NotGranted> for InitError {
    fn from(error: NotGranted) -> Self {
        Self::NotGranted(error)
    }
}

struct Domain {
    lives: Lives,
    supervision: &'static Words,
    voter_stats: &'static Words,
    scratch: Vec<u8>,
}

/// Takes the regions the system description grants, announces the first life of each replica's domain,
/// and stops the domains that no service needs.
///
/// # Errors
/// See [`InitError`].
pub fn start() -> Result<impl Handler, InitError> {
    let appliance = Appliance::in_region(region("config")?).map_err(InitError::Config)?;
    let replicas = appliance.services.iter().map(|service| service.replicas.len());
    let lives = Lives::begin(replicas.max().unwrap_or(0));
    let supervision = region("supervision")?;
    if supervision.len() < lives.generations().len() {
        return Err(InitError::TooSmall);
    }
    let voter_stats = region("voter_stats")?;
    let scratch = vec![0; voter_stats.len() * WORD_BYTES];
    let domain = Domain { lives, supervision, voter_stats, scratch };
    for replica in 0..domain.lives.generations().len() {
        if !domain.lives.is_used(replica) {
            stop(replica);
        }
    }
    domain.announce();
    Ok(domain)
}

fn stop(replica: usize) {
    if let Err(refused) = Child::new(replica as u8).stop() {
        debug_println!("cannot stop gateway_{replica}: {refused}");
    }
}

impl Domain {
    /// Tells the voter which life each domain is in.
    fn announce(&self) {
        for (word, generation) in self.supervision.iter().zip(self.lives.generations()) {
            word.store(generation, Ordering::Release);
        }
        VOTER.notify();
    }

    /// Stops the domains that the voter has condemned.
    fn execute_verdicts(&mut self) {
        let stats: VoterStats = match snapshot::read(self.voter_stats, &mut self.scratch) {
            Ok(stats) => stats,
            // It is being written, by a domain that cannot go on before this one waits.
            Err(SnapshotError::Busy) => return set_deadline(Some(now_ms() + BUSY_MS)),
            Err(_) => return,
        };
        while let Some(replica) = self.lives.next_condemned(&stats) {
            stop(replica);
            match stats.replicas.get(replica).and_then(|seen| seen.reason) {
                Some(reason) => {
                    debug_println!("gateway_{replica} is condemned ({reason:?}): stopped")
                }
                None => debug_println!("gateway_{replica} is condemned: stopped"),
            }
        }
    }
}

impl Handler for Domain {
    type Error = Infallible;

    fn notified(&mut self, _: ChannelSet) -> Result<(), Infallible> {
        self.execute_verdicts();
        Ok(())
    }

    /// A replica's domain cannot go on, and never will: it is stopped for good.
    fn fault(
        &mut self,
        child: Child,
        message: MessageInfo,
    ) -> Result<Option<MessageInfo>, Infallible> {
        let fault = Fault::of(message);
        let replica = child.index();
        // The voter first: what is printed can wait.
        if self.lives.died(replica) {
            self.announce();
        }
        stop(replica);
        debug_println!("gateway_{replica} died: {fault}");
        Ok(None)
    }
}
