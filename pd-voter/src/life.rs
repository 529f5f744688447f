//! The life of a replica, from its start to the next: every state, event and transition by name. `docs/life.md`
//! draws it, and a test holds the drawing against [`next`].
//!
//! A pure state machine: the pump ([`crate::voter`]) tells it what happened and does what it says is to be done.

use resh_channel::config::Recovery;
use resh_channel::stats::{Condemnation, ReplicaState};

/// Where a replica is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// The supervisor has not started it yet.
    #[default]
    Absent,
    /// The supervisor has started its domain, which has not said hello.
    Booting,
    /// Its domain said hello and is told where it begins to read.
    Joining,
    /// Its domain is in. For some of its services it has not given a right answer yet: no client's session of
    /// those counts on it.
    CatchingUp,
    /// It votes in the sessions of all its services.
    Voting,
    /// It votes, but lost its voice so often that it must pass a probe to go on.
    Suspect,
    /// It stands aside, as the supervisor asked: it is in no session and nothing it writes is read.
    Aside,
    /// It is to be started anew: nothing it writes is read.
    Condemned,
}

/// What happens to a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The supervisor noted a later generation: whatever was before has ended.
    Began,
    /// The domain said hello for the first time.
    Hello,
    /// It said hello for the second time: it reads what is multicast.
    LetIn,
    /// It is ready for all its services.
    Ready,
    /// It lost its voice in too many sessions, or failed a probe.
    Doubted,
    /// It passed the probes that it had to pass.
    Cleared,
    /// The supervisor wants it to stand aside, and nobody needs it.
    StoodAside,
    /// It broke a rule that no gateway breaks whatever its replica does, or stood still.
    Broke,
    /// The evidence against it suffices, and the others are a quorum without it.
    Convicted,
    /// It did not finish joining within [`JOIN_MS`](crate::limits::JOIN_MS) while others waited for room.
    JoinTimeOut,
    /// It did not vote within [`boot_ms`](Recovery::boot_ms) while others did.
    BootTimeOut,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Take it out of all sessions, and expect the next life.
    Renew,
    /// Tell it where it begins to read.
    LetIn,
    /// Probe its services soon.
    Probe,
    /// Let it take part, and count the recovery.
    Count,
    /// Forget the evidence against it.
    Forget,
    /// Take it out of all sessions, and read no more of what it writes.
    Leave,
}

/// The whole life: what `event` makes of `state`. `None`: nothing.
#[must_use]
pub const fn next(state: State, event: Event) -> Option<(State, Duty)> {
    use Event::{
        Began, BootTimeOut, Broke, Cleared, Convicted, Doubted, Hello, JoinTimeOut, LetIn, Ready,
        StoodAside,
    };
    use State::{Aside, Booting, CatchingUp, Condemned, Joining, Suspect, Voting};
    Some(match (state, event) {
        (_, Began) => (Booting, Duty::Renew),
        (Booting, Hello) => (Joining, Duty::LetIn),
        (Joining, LetIn) => (CatchingUp, Duty::Probe),
        (CatchingUp, Ready) => (Voting, Duty::Count),
        (Voting, Doubted) => (Suspect, Duty::Probe),
        (Suspect, Cleared) => (Voting, Duty::Forget),
        (CatchingUp | Voting | Suspect, StoodAside) => (Aside, Duty::Leave),
        (Joining | CatchingUp | Voting | Suspect, Broke)
        | (CatchingUp | Voting | Suspect, Convicted)
        | (Joining, JoinTimeOut)
        | (Booting | Joining | CatchingUp, BootTimeOut) => (Condemned, Duty::Leave),
        _ => return None,
    })
}

impl State {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Absent,
        Self::Booting,
        Self::Joining,
        Self::CatchingUp,
        Self::Voting,
        Self::Suspect,
        Self::Aside,
        Self::Condemned,
    ];

    /// As the operator sees it.
    #[must_use]
    pub const fn shown(self) -> ReplicaState {
        match self {
            Self::Absent | Self::Booting => ReplicaState::Absent,
            Self::Joining => ReplicaState::Joining,
            Self::CatchingUp => ReplicaState::CatchingUp,
            Self::Voting | Self::Suspect => ReplicaState::Voting,
            Self::Aside => ReplicaState::Aside,
            Self::Condemned => ReplicaState::Condemned,
        }
    }

    /// Whether what it writes is read.
    #[must_use]
    pub const fn is_in(self) -> bool {
        matches!(self, Self::Joining) || self.takes_part()
    }

    /// Whether it can be in sessions, if only in the voter's own.
    #[must_use]
    pub const fn takes_part(self) -> bool {
        matches!(self, Self::CatchingUp) || self.votes()
    }

    /// Whether it votes in the sessions of all its services.
    #[must_use]
    pub const fn votes(self) -> bool {
        matches!(self, Self::Voting | Self::Suspect)
    }

    /// Whether its start may not take longer than `boot_ms`.
    #[must_use]
    pub const fn boots(self) -> bool {
        matches!(self, Self::Booting | Self::Joining | Self::CatchingUp)
    }
}

impl Event {
    /// Every event.
    pub const ALL: [Self; 11] = [
        Self::Began,
        Self::Hello,
        Self::LetIn,
        Self::Ready,
        Self::Doubted,
        Self::Cleared,
        Self::StoodAside,
        Self::Broke,
        Self::Convicted,
        Self::JoinTimeOut,
        Self::BootTimeOut,
    ];

    /// What an accusation amounts to.
    #[must_use]
    pub const fn of(reason: Condemnation) -> Self {
        match reason {
            Condemnation::Diverged | Condemnation::Probe => Self::Convicted,
            Condemnation::BootTimeOut => Self::BootTimeOut,
            _ => Self::Broke,
        }
    }
}

/// One replica's life, with its times.
#[derive(Clone, Debug, Default)]
pub struct Life {
    state: State,
    generation: u64,
    /// When this life began, said hello, or last made progress.
    began_ms: u64,
    joined_ms: u64,
    /// When it voted last, if it does not now.
    voted_ms: Option<u64>,
}

impl Life {
    /// Where it is.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Which life it is, counted from 1. 0: none.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// When its domain said hello.
    #[must_use]
    pub fn joined_ms(&self) -> u64 {
        self.joined_ms
    }

    /// The supervisor noted `generation`. Nothing happens unless it is later than all before.
    pub fn begin(&mut self, generation: u64, now_ms: u64) -> Option<Duty> {
        if generation <= self.generation {
            return None;
        }
        self.generation = generation;
        self.began_ms = now_ms;
        self.on(Event::Began, now_ms)
    }

    /// Says what is to be done about `event`. `None`: it is none of this state.
    pub fn on(&mut self, event: Event, now_ms: u64) -> Option<Duty> {
        let (next, duty) = next(self.state, event)?;
        if self.state.votes() && !next.votes() {
            self.voted_ms = Some(now_ms);
        }
        if next == State::Joining {
            (self.began_ms, self.joined_ms) = (now_ms, now_ms);
        }
        self.state = next;
        Some(duty)
    }

    /// It catches up, and is further than before: its start may take longer.
    pub fn progressed(&mut self, now_ms: u64) {
        self.began_ms = now_ms;
    }

    /// When its start has taken too long. The supervisor may wait `back_off_max_ms` before it starts the domain.
    #[must_use]
    pub fn boot_due_ms(&self, recovery: &Recovery) -> Option<u64> {
        let waits = self.state == State::Booting;
        let back_off_ms = if waits { recovery.back_off_max_ms } else { 0 };
        let due_ms = self.began_ms + u64::from(back_off_ms) + u64::from(recovery.boot_ms);
        self.state.boots().then_some(due_ms)
    }

    /// It votes again: for how long it did not. `None` if it never did before.
    pub fn take_outage_ms(&mut self, now_ms: u64) -> Option<u64> {
        Some(now_ms - self.voted_ms.take()?)
    }
}
