//! The supervisor as a protection domain: its regions and channel by name, its children by number.

use alloc::vec;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;

use resh_channel::config::{Appliance, ConfigError, REPLICAS_MAX};
use resh_channel::memory::{Ordering, WORD_BYTES, Words};
use resh_channel::snapshot::{self, SnapshotError};
use resh_channel::stats::{ReplicaState, VoterStats};
use resh_channel::supervision;
use sel4_microkit::sel4::Fault;
use sel4_microkit::{
    Channel, ChannelSet, Child, Handler, MessageInfo, NotGranted, debug_println, now_ms, region,
    set_deadline,
};

use crate::lives::{Actions, Lives, State};

/// The channel to the voter.
const VOTER: Channel = Channel::new(0);
/// The voter may publish what it signals this much later. How long after a signal, or after it met the voter
/// writing, the domain looks again, in milliseconds.
const LOOK_AGAIN_MS: u64 = 20;

/// Why the domain cannot start.
#[derive(Debug)]
pub enum InitError {
    /// The system description does not grant a region.
    NotGranted(NotGranted),
    /// The configuration cannot be read.
    Config(ConfigError),
    /// The region `supervision` has no room for its words.
    TooSmall,
    /// The region `entries` does not say where the program of this replica's domain begins.
    NoEntry(usize),
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGranted(error) => error.fmt(f),
            Self::Config(error) => error.fmt(f),
            Self::TooSmall => f.write_str("the supervision region is too small"),
            Self::NoEntry(replica) => write!(f, "nobody says where gateway_{replica} begins"),
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
    /// Where the program of each child begins.
    entries: [u64; REPLICAS_MAX],
    supervision: &'static Words,
    voter_stats: &'static Words,
    scratch: Vec<u8>,
    look_again_at_ms: Option<u64>,
}

/// Takes the regions the system description grants, announces the first life of each replica's domain,
/// and stops the domains that no service needs.
///
/// # Errors
/// See [`InitError`].
pub fn start() -> Result<impl Handler, InitError> {
    let appliance = Appliance::in_region(region("config")?).map_err(InitError::Config)?;
    let services = appliance.services.iter().map(|service| service.replicas.len());
    let lives = Lives::begin(services, &appliance.recovery, now_ms());
    let supervision = region("supervision")?;
    if supervision.len() < supervision::WORDS {
        return Err(InitError::TooSmall);
    }
    let words = region("entries")?;
    let mut entries = [0; REPLICAS_MAX];
    for (replica, entry) in entries.iter_mut().enumerate() {
        *entry = words.get(replica).map_or(0, |word| word.load(Ordering::Relaxed));
        if *entry == 0 && lives.state(replica) != State::Unused {
            return Err(InitError::NoEntry(replica));
        }
    }
    let voter_stats = region("voter_stats")?;
    let scratch = vec![0; voter_stats.len() * WORD_BYTES];
    let domain =
        Domain { lives, entries, supervision, voter_stats, scratch, look_again_at_ms: None };
    domain.act(domain.lives.first());
    Ok(domain)
}

/// The replicas in a bit mask.
fn replicas(mask: u8) -> impl Iterator<Item = usize> {
    (0..REPLICAS_MAX).filter(move |replica| mask & 1 << replica != 0)
}

impl Domain {
    fn act(&self, actions: Actions) {
        for replica in replicas(actions.stop) {
            if let Err(refused) = Child::new(replica as u8).stop() {
                debug_println!("cannot stop gateway_{replica}: {refused}");
            }
        }
        if actions.announce {
            // Last the generations: who sees a new life sees what is asked of it.
            for (word, value) in self.supervision.iter().zip(self.lives.words()).rev() {
                word.store(value, Ordering::Release);
            }
            VOTER.notify();
        }
        for replica in replicas(actions.start) {
            let generation = self.lives.generation(replica);
            match Child::new(replica as u8).restart(self.entries[replica]) {
                Ok(()) => debug_println!("gateway_{replica} begins life {generation}"),
                Err(refused) => debug_println!("cannot start gateway_{replica}: {refused}"),
            }
        }
    }

    /// Executes the voter's verdicts, and what is due.
    fn look(&mut self) {
        let now_ms = now_ms();
        let stats: VoterStats = match snapshot::read(self.voter_stats, &mut self.scratch) {
            Ok(stats) => stats,
            Err(error) => {
                // It is being written, by a domain that cannot go on before this one waits.
                if error == SnapshotError::Busy {
                    self.look_again_at_ms = Some(now_ms + LOOK_AGAIN_MS);
                }
                let actions = self.lives.pass(now_ms);
                return self.act(actions);
            }
        };
        let actions = self.lives.observe(&stats, now_ms);
        self.act(actions);
        for replica in replicas(actions.stop) {
            match stats.replicas.get(replica) {
                Some(seen) if seen.state == ReplicaState::Aside => {
                    debug_println!("gateway_{replica} stands aside: it is rejuvenated");
                }
                Some(seen) => match seen.reason {
                    Some(reason) => debug_println!("gateway_{replica} is condemned: {reason:?}"),
                    None => debug_println!("gateway_{replica} is condemned"),
                },
                None => {}
            }
        }
    }

    fn plan(&mut self) {
        let at_ms = [self.lives.next_ms(), self.look_again_at_ms].into_iter().flatten().min();
        set_deadline(at_ms);
    }
}

impl Handler for Domain {
    type Error = Infallible;

    fn notified(&mut self, channels: ChannelSet) -> Result<(), Infallible> {
        let now_ms = now_ms();
        self.look_again_at_ms = match channels.contains(VOTER) {
            true => Some(now_ms + LOOK_AGAIN_MS),
            false => self.look_again_at_ms.filter(|at_ms| *at_ms > now_ms),
        };
        self.look();
        self.plan();
        Ok(())
    }

    /// A replica's domain cannot go on: it begins anew.
    fn fault(
        &mut self,
        child: Child,
        message: MessageInfo,
    ) -> Result<Option<MessageInfo>, Infallible> {
        // The registers of the message go with the next system call.
        let fault = Fault::of(message);
        let replica = child.index();
        let actions = self.lives.died(replica, now_ms());
        self.act(actions);
        self.plan();
        debug_println!("gateway_{replica} died: {fault}");
        Ok(None)
    }
}
