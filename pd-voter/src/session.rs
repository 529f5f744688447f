//! One session: its two streams, its clocks, and what is still to be said about it.

use resh_channel::config::REPLICAS_MAX;
use resh_channel::message::{Nonce, Reason, SessionId};
use resh_channel::stats::DisputeKind;
use resh_channel::window::{CREDIT_STEP_BYTES, REPLY_CREDIT_BYTES, WINDOW_BYTES};

use crate::evidence::Client;
use crate::limits::{DRAIN_MS, LAG_REFILL};
use crate::rest::{Position, Rests};
use crate::slot::Slot;
use crate::upload::Upload;
use crate::vote::{Findings, Geometry, Outcome, Vote};

/// The window as it is laid out for the network.
pub const GEOMETRY: Geometry = Geometry {
    window_bytes: WINDOW_BYTES as u64,
    ahead_bytes: REPLY_CREDIT_BYTES as u64,
    step_bytes: CREDIT_STEP_BYTES as u64,
};

/// Where a session is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The index is free.
    Free,
    /// The client is there.
    Open,
    /// It is over for the client; late answers are still compared.
    Draining,
    /// Only messages about its end are still to be sent.
    Closing,
}

/// What is to be sent to the network. The order of the constants is the order on the ring.
pub mod to_network {
    /// `Credit`.
    pub const CREDIT: u8 = 1;
    /// `Release`.
    pub const RELEASE: u8 = 2;
    /// `Fin`.
    pub const FIN: u8 = 4;
    /// `Reset`.
    pub const RESET: u8 = 8;
    /// `Closed`, once nothing is left to be said to the gateways.
    pub const CLOSED: u8 = 16;
}

/// What is to be multicast.
pub mod to_gateways {
    use resh_channel::config::REPLICAS_MAX;

    /// `Evict` for replica 0; the next bits for the others.
    pub const EVICT: u8 = 1;
    /// `Credit`.
    pub const CREDIT: u8 = 1 << REPLICAS_MAX;
    /// `Reset`.
    pub const RESET: u8 = 2 << REPLICAS_MAX;
    /// `Admit`, if the session is still at rest.
    pub const ADMIT: u8 = 4 << REPLICAS_MAX;
}

/// Times that hold for all sessions, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// See [`resh_channel::config::Limits::reply_ms`].
    pub reply_ms: u64,
    /// See [`resh_channel::config::Limits::lag_budget_ms`].
    pub lag_budget_ms: u64,
}

/// How a session ended for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All was said and delivered.
    Complete,
    /// A quorum reset its connection.
    Aborted,
    /// There is no quorum any more.
    NoQuorum,
}

/// Why a session waits, and since when.
#[derive(Clone, Copy, Debug)]
struct Wait<T> {
    on: T,
    since_ms: u64,
}

/// One session.
#[derive(Clone, Debug)]
pub struct Session {
    /// Where it is in its life.
    pub phase: Phase,
    /// Its id.
    pub id: SessionId,
    /// Its service.
    pub service: u8,
    /// Replicas that take part, a bit mask.
    pub members: u8,
    /// Members that are to drop it or are gone, a bit mask.
    pub gone: u8,
    /// Those of them that were evicted in their present life: they do not come back, a bit mask.
    pub barred: u8,
    /// For whom it is. `None`: it is the voter's own, and no word of it goes to the network.
    pub client: Option<Client>,
    /// The number that all replicas have in common in it.
    pub nonce: Nonce,
    /// When it ends whatever happened, if that is so.
    pub ends_ms: Option<u64>,
    /// The reply stream.
    pub vote: Vote,
    /// The request stream.
    pub upload: Upload,
    /// Where its members last rested.
    pub rests: Rests,
    /// Messages due to the network.
    pub to_network: u8,
    /// Messages due to the gateways.
    pub to_gateways: u8,
    /// Reason in the `Reset` to the network.
    pub reason: Reason,
    quorum: u8,
    /// Somebody waits for others to agree beyond this position.
    pending: Option<Wait<u64>>,
    /// The session waits for this replica.
    lag: Option<Wait<usize>>,
    /// The part of the lag budget that was used up at `lagged_until_ms`.
    lagged_ms: u64,
    lagged_until_ms: u64,
    drain_until_ms: u64,
    /// What the network was told.
    told_released: u64,
    told_ended: bool,
}

impl Session {
    /// A free index.
    pub fn free() -> Self {
        Self::new(SessionId::default(), 0, 0, 1, Phase::Free)
    }

    /// A session of `service` between somebody and `members`.
    pub fn open(id: SessionId, service: u8, members: u8, quorum: usize) -> Self {
        Self::new(id, service, members, quorum, Phase::Open)
    }

    fn new(id: SessionId, service: u8, members: u8, quorum: usize, phase: Phase) -> Self {
        Self {
            phase,
            id,
            service,
            members,
            gone: 0,
            barred: 0,
            client: Some(Client::Unknown),
            nonce: Nonce::default(),
            ends_ms: None,
            vote: Vote::new(members, quorum, GEOMETRY),
            upload: Upload::new(),
            rests: Rests::default(),
            to_network: 0,
            to_gateways: 0,
            reason: Reason::Peer,
            quorum: quorum as u8,
            pending: None,
            lag: None,
            lagged_ms: 0,
            lagged_until_ms: 0,
            drain_until_ms: 0,
            told_released: 0,
            told_ended: false,
        }
    }

    /// Whether records about it from `replica` count.
    pub fn includes(&self, replica: usize) -> bool {
        let bit = 1 << replica;
        matches!(self.phase, Phase::Open | Phase::Draining) && self.present() & bit != 0
    }

    /// Whether it is the voter's own.
    pub fn is_own(&self) -> bool {
        self.client.is_none()
    }

    /// Members that know of it and are to, a bit mask.
    pub fn present(&self) -> u8 {
        self.members & !self.gone
    }

    /// How many replicas must agree.
    pub fn quorum(&self) -> usize {
        self.quorum.into()
    }

    /// Where another replica could begin.
    pub fn position(&self) -> Position {
        Position { request: self.upload.pushed(), reply: self.vote.released() }
    }

    /// Whether a quorum is at rest at the present position, so that another replica could begin there.
    pub fn is_at_rest(&self) -> bool {
        let is_live = |at: usize| self.vote.is_live(at);
        let begins = self.position() == Position { request: 0, reply: 0 };
        self.phase == Phase::Open
            && self.vote.is_settled()
            && !self.upload.fin()
            && (begins || self.rests.resting(self.position(), is_live) >= self.quorum())
    }

    /// Who of `ready`, a bit mask, does not take part and may: not who lost its voice in this life.
    pub fn absent(&self, ready: u8) -> u8 {
        ready & !self.present() & !self.barred
    }

    /// `replicas`, a bit mask, take part from here on. The session must be [at rest](Self::is_at_rest).
    pub fn admit(&mut self, replicas: u8) {
        self.members |= replicas;
        self.gone &= !replicas;
        let position = self.position();
        for replica in (0..REPLICAS_MAX).filter(|at| replicas & (1 << at) != 0) {
            self.vote.admit(replica);
            self.upload.admit(replica);
            self.rests.begin(replica, position);
        }
    }

    /// The domain of `replica` is gone, and the voice it had.
    pub fn forget(&mut self, replica: usize) {
        self.gone |= 1 << replica;
        self.barred &= !(1 << replica);
        self.to_gateways &= !(to_gateways::EVICT << replica);
    }

    /// Brings clocks, credits and messages up to date after anything happened, and says if the session
    /// is now over for the client. `slow` are replicas without a budget, a bit mask.
    pub fn update(
        &mut self,
        now_ms: u64,
        times: Times,
        slow: u8,
        slot: &mut Slot<'_>,
        findings: &mut Findings,
    ) -> Option<End> {
        if self.phase != Phase::Open {
            return None;
        }
        if self.is_own() {
            self.vote.take(self.vote.released());
        }
        self.watch_quorum(now_ms, times, slot, findings);
        while self.watch_lag(now_ms, times, slow, slot, findings) {}
        if self.vote.outcome() == Outcome::NoQuorum {
            return Some(End::NoQuorum);
        }
        self.tell();
        if self.vote.outcome() == Outcome::Aborted {
            return Some(End::Aborted);
        }
        let delivered = self.vote.ended() && self.vote.taken() == self.vote.released();
        (delivered && self.upload.fin()).then_some(End::Complete)
    }

    /// No quorum for too long is silence.
    fn watch_quorum(
        &mut self,
        now_ms: u64,
        times: Times,
        slot: &mut Slot<'_>,
        findings: &mut Findings,
    ) {
        let released = self.vote.released();
        self.pending = match self.pending {
            _ if !self.vote.is_pending() => None,
            Some(wait) if wait.on == released => Some(wait),
            _ => Some(Wait { on: released, since_ms: now_ms }),
        };
        if self.pending.is_some_and(|wait| now_ms >= wait.since_ms + times.reply_ms) {
            self.vote.give_up(slot, findings);
        }
    }

    /// A replica that the session waits for uses up its budget. Returns true if it was evicted.
    fn watch_lag(
        &mut self,
        now_ms: u64,
        times: Times,
        slow: u8,
        slot: &mut Slot<'_>,
        findings: &mut Findings,
    ) -> bool {
        let quorum = usize::from(self.quorum);
        let vote = &self.vote;
        let held_back_by = vote
            .held_back_by()
            .or_else(|| self.upload.held_back_by(quorum, |at| vote.is_live(at)))
            .filter(|_| vote.outcome() == Outcome::Open);
        let before = self.lag.map(|lag| lag.on);
        if before != held_back_by {
            let passed_ms = now_ms - self.lagged_until_ms;
            self.lagged_until_ms = now_ms;
            self.lagged_ms = match self.lag {
                Some(lag) => self.lagged_ms + (now_ms - lag.since_ms),
                None => self.lagged_ms.saturating_sub(passed_ms / LAG_REFILL),
            };
            self.lag = held_back_by.map(|on| Wait { on, since_ms: now_ms });
        }
        let Some(lag) = self.lag.filter(|lag| now_ms >= self.lag_deadline(*lag, times, slow))
        else {
            return false;
        };
        let kind =
            if self.vote.can_spare_one() { DisputeKind::Laggard } else { DisputeKind::Silence };
        self.vote.remove(lag.on, kind, slot, findings);
        self.evict(lag.on);
        true
    }

    fn lag_deadline(&self, lag: Wait<usize>, times: Times, slow: u8) -> u64 {
        let patience_ms = match self.vote.can_spare_one() {
            false => times.reply_ms,
            true if slow & (1 << lag.on) != 0 => 0,
            true => times.lag_budget_ms.saturating_sub(self.lagged_ms),
        };
        lag.since_ms + patience_ms
    }

    fn evict(&mut self, replica: usize) {
        self.to_gateways |= to_gateways::EVICT << replica;
        self.gone |= 1 << replica;
        self.barred |= 1 << replica;
    }

    /// Notes what the network and the gateways are to hear.
    fn tell(&mut self) {
        if self.vote.released() > self.told_released {
            self.told_released = self.vote.released();
            self.to_network |= to_network::RELEASE;
        }
        if self.vote.ended() && !self.told_ended {
            self.told_ended = true;
            self.to_network |= to_network::FIN;
        }
        if self.vote.extend_credit() {
            self.to_gateways |= to_gateways::CREDIT;
        }
        let vote = &self.vote;
        if self.upload.extend_credit(|at| vote.is_live(at)) {
            self.to_network |= to_network::CREDIT;
            // A replica that lost its voice is fed as long as it has room.
            for replica in 0..REPLICAS_MAX {
                let bit = 1 << replica;
                let listens = self.present() & bit != 0;
                if listens && !self.vote.is_reset(replica) && self.upload.overruns(replica) {
                    self.evict(replica);
                }
            }
        }
    }

    /// From now on only late answers matter, for so long.
    pub fn drain(&mut self, now_ms: u64, drain_ms: u64) {
        self.phase = Phase::Draining;
        self.drain_until_ms = now_ms + drain_ms;
        (self.pending, self.lag) = (None, None);
    }

    /// How long it has been draining.
    pub fn drained_for_ms(&self, now_ms: u64) -> u64 {
        (now_ms + DRAIN_MS).saturating_sub(self.drain_until_ms)
    }

    /// Whether nobody is left to wait for.
    pub fn is_drained(&self) -> bool {
        self.awaited().next().is_none()
    }

    /// Replicas that may still answer.
    pub fn awaited(&self) -> impl Iterator<Item = usize> {
        (0..REPLICAS_MAX).filter(|at| self.vote.is_awaited(*at))
    }

    /// The session is over for all. The gateways that may still know it are told.
    pub fn close(&mut self, reset: Option<Reason>) {
        self.phase = Phase::Closing;
        if let Some(reason) = reset {
            self.reason = reason;
            self.to_network = self.to_network & to_network::RELEASE | to_network::RESET;
        }
        self.to_network |= to_network::CLOSED;
        let knows = |at: usize| {
            let both_ended = self.vote.is_done(at) && self.upload.fin();
            self.vote.is_reset(at) || both_ended
        };
        let listens = |at: &usize| self.present() & (1 << *at) != 0;
        let unaware = (0..REPLICAS_MAX).filter(listens).any(|at| !knows(at));
        // An `Evict` that is still due is covered by a `Reset`, and only by that.
        let evicts = self.to_gateways & (to_gateways::CREDIT - 1);
        self.to_gateways = if unaware { to_gateways::RESET } else { evicts };
        (self.pending, self.lag) = (None, None);
    }

    /// When to [`update`](Self::update) it even if nothing happens.
    pub fn deadline_ms(&self, times: Times, slow: u8) -> Option<u64> {
        match self.phase {
            Phase::Free | Phase::Closing => None,
            Phase::Draining => Some(self.drain_until_ms),
            Phase::Open => {
                let reply = self.pending.map(|wait| wait.since_ms + times.reply_ms);
                let lag = self.lag.map(|lag| self.lag_deadline(lag, times, slow));
                [reply, lag, self.ends_ms].into_iter().flatten().min()
            }
        }
    }
}
