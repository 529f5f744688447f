//! The order of one service's requests: who may be sent the next, who has answered what, the log, and who is fed it.

mod clock;
mod exports;

use alloc::boxed::Box;
use alloc::vec;

use resh_channel::config::{REPLICAS_MAX, State};
use resh_channel::message::{ORDERED_BYTES_MAX, OrderedHead, Request, SessionId};
use resh_channel::order::{BEHIND_REQUESTS, FEED_REQUESTS, QUEUE_BYTES};
use resh_channel::stats::{Condemnation, LogState};

use super::export::{Living, Run};
use super::feed::{Pace, Stage};
use super::limits::{EXPORT_RETRY_MS, FEED_SHARE};
use super::log::{Cursor, Entry, Log, What};
use super::sequence::Sequence;
use crate::queue::Queue;

use clock::Hold;
pub use clock::{Awaited, Verdict};

/// Bytes of the largest `Ordered`.
const LARGEST: usize = ORDERED_BYTES_MAX + size_of::<OrderedHead>();

/// Why the next request must wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It need not.
    Open,
    /// There is no quorum of replicas that have the state.
    NoQuorum,
    /// A quorum has enough to do.
    Ahead,
    /// These replicas, a bit mask, have more to do than they may.
    Full(u8),
    /// It gives way to a replica that catches up.
    Paced,
}

/// What a replica that catches up is sent next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feed {
    /// Which replica.
    pub replica: usize,
    /// The entry of the log.
    pub entry: Entry,
    /// Length of its payload in bytes.
    pub len: usize,
    from: Cursor,
    next: Cursor,
}

/// The order of one service's requests.
pub struct Order<'m> {
    /// How many replicas must agree.
    pub quorum: usize,
    state: State,
    sequence: Sequence,
    log: Log<'m>,
    stages: [Stage; REPLICAS_MAX],
    holds: [Option<Hold>; REPLICAS_MAX],
    /// Sessions whose next request waits for its turn.
    pub ready: Queue,
    /// Session index of request `n` at `n` modulo its length.
    recent: Box<[u16]>,
    /// Up to where a quorum had answered when we last looked, and since when.
    agreed: u64,
    agreed_ms: u64,
    /// When the first that no quorum has answered last got on.
    progress_ms: u64,
    pace: Pace,
    run: Option<Run>,
    /// The log had been lost when it began: without it, it is worth nothing.
    restarted: bool,
    living: Box<Living>,
    run_moved_ms: u64,
    /// No export before this, and how long to wait after the next that comes to nothing.
    retry_ms: u64,
    wait_ms: u64,
    exports: u64,
}

impl<'m> Order<'m> {
    /// The order of a service whose replicas have no state yet, for session indices below `slots`. `memory` is for
    /// the log.
    pub fn new(quorum: usize, state: State, memory: &'m mut [u8], slots: usize) -> Self {
        let exports = state == State::Export;
        let recent = 2 * BEHIND_REQUESTS as usize;
        Self {
            quorum,
            state,
            sequence: Sequence::new(),
            log: Log::new(memory, exports),
            stages: [Stage::Out; REPLICAS_MAX],
            holds: [None; REPLICAS_MAX],
            ready: Queue::new(slots),
            recent: vec![0; recent].into(),
            agreed: 0,
            agreed_ms: 0,
            progress_ms: 0,
            pace: Pace::default(),
            run: None,
            restarted: false,
            living: vec![None; if exports { slots } else { 0 }].into(),
            run_moved_ms: 0,
            retry_ms: 0,
            wait_ms: EXPORT_RETRY_MS,
            exports: 0,
        }
    }

    fn mask(&self, is: impl Fn(Stage) -> bool) -> u8 {
        (0..REPLICAS_MAX).filter(|at| is(self.stages[*at])).fold(0, |mask, at| mask | 1 << at)
    }

    /// Where `replica` is on its way into the order.
    pub fn stage(&self, replica: usize) -> Stage {
        self.stages[replica]
    }

    /// Replicas that get live requests, a bit mask.
    pub fn live(&self) -> u8 {
        self.mask(Stage::is_live)
    }

    /// Replicas that have the state, a bit mask.
    pub fn synced(&self) -> u8 {
        self.mask(|stage| stage == Stage::Synced)
    }

    fn has_quorum(&self) -> bool {
        self.synced().count_ones() as usize >= self.quorum
    }

    /// How far requests are numbered.
    pub fn last(&self) -> u64 {
        self.sequence.next() - 1
    }

    /// What is known of the log.
    pub fn log_state(&self) -> LogState {
        match () {
            () if self.state == State::None => LogState::None,
            () if self.run.is_some() => LogState::Exporting,
            () if self.log.is_whole() => LogState::Whole,
            () => LogState::Lost,
        }
    }

    /// Bytes of the log in use, and that there are.
    pub fn log_bytes(&self) -> (usize, usize) {
        (self.log.active.end().at, self.log.active.capacity())
    }

    /// Exports that made a new log.
    pub fn exports(&self) -> u64 {
        self.exports
    }

    /// Of what `replica`, which catches up, was fed: entries it has executed, and entries there are.
    pub fn progress(&self, replica: usize) -> (u64, u64) {
        let end = self.log.active.end().entry;
        let fed = match self.stages[replica] {
            Stage::Feeding(cursor) => cursor.entry,
            Stage::Level => end,
            _ => return (0, 0),
        };
        (fed.saturating_sub(self.sequence.lane(replica).replays()), end)
    }

    /// `replica` begins with an empty server that is up.
    pub fn enter(&mut self, replica: usize, now_ms: u64) {
        if matches!(self.stages[replica], Stage::Out) {
            self.stages[replica] = Stage::Waiting;
            if self.has_lost_log() {
                self.retry_ms = now_ms;
            }
            self.admit_waiting(now_ms);
        }
    }

    /// `replica` is out. Whatever it has is worth nothing.
    pub fn leave(&mut self, replica: usize, now_ms: u64) {
        self.stages[replica] = Stage::Out;
        self.sequence.leave(replica);
        self.holds[replica] = None;
        self.note_progress(now_ms);
        self.admit_waiting(now_ms);
    }

    /// Looks who can be fed now.
    fn admit_waiting(&mut self, now_ms: u64) {
        for replica in 0..REPLICAS_MAX {
            if self.stages[replica] != Stage::Waiting || self.run.is_some() {
                continue;
            }
            if self.state == State::None {
                self.go_live(replica, now_ms);
            } else if !self.log.is_whole() {
                if self.state == State::Replay {
                    self.stages[replica] = Stage::Lost;
                }
            } else if !self.exports_first(now_ms) {
                self.stages[replica] = Stage::Feeding(Cursor::default());
                self.go_live_if_fed(replica, now_ms);
            }
        }
    }

    fn go_live(&mut self, replica: usize, now_ms: u64) {
        self.sequence.go_live(replica);
        self.stages[replica] = Stage::Level;
        self.sync_if_level(replica);
        self.note_progress(now_ms);
    }

    fn go_live_if_fed(&mut self, replica: usize, now_ms: u64) {
        if self.stages[replica] == Stage::Feeding(self.log.active.end()) && self.log.is_whole() {
            self.go_live(replica, now_ms);
        }
    }

    fn sync_if_level(&mut self, replica: usize) {
        if self.stages[replica] == Stage::Level && self.sequence.lane(replica).replays() == 0 {
            self.stages[replica] = Stage::Synced;
        }
    }

    /// Why the next request must wait.
    pub fn gate(&self, now_ms: u64) -> Gate {
        let Some(agreed) = self.sequence.agreed(self.synced(), self.quorum) else {
            return Gate::NoQuorum;
        };
        let full =
            |at: &usize| self.stages[*at].is_live() && self.sequence.lane(*at).is_full(LARGEST);
        let full = (0..REPLICAS_MAX).filter(full).fold(0, |mask, at| mask | 1 << at);
        match () {
            () if self.sequence.is_ahead(agreed) => Gate::Ahead,
            () if full != 0 => Gate::Full(full),
            () if self.pace.holds_until_ms(now_ms).is_some() => Gate::Paced,
            () => Gate::Open,
        }
    }

    /// The next request is `payload`, of the session with index and generation `session`. Returns its number.
    pub fn order(&mut self, session: SessionId, flags: u8, payload: &[u8], now_ms: u64) -> u64 {
        if self.agreed == self.last() {
            (self.agreed_ms, self.progress_ms) = (now_ms, now_ms);
        }
        let number = self.sequence.order(self.live(), payload.len(), now_ms);
        let len = self.recent.len() as u64;
        self.recent[(number % len) as usize] = session.index;
        let request = Request(flags);
        let fed = !request.is(Request::READ_ONLY) || request.is(Request::STICKY);
        if self.state != State::None && fed && !request.is(Request::EXPORT) {
            self.log.append(Entry { what: What::Request, flags, session, number }, payload);
        }
        number
    }

    /// Whether requests with `flags` go to the log.
    pub fn logs(&self, flags: u8) -> bool {
        let request = Request(flags);
        self.state != State::None
            && (!request.is(Request::READ_ONLY) || request.is(Request::STICKY))
    }

    /// `session`, of which the log has requests, is over.
    pub fn end(&mut self, session: SessionId) {
        let number = self.last();
        self.log.append(Entry { what: What::End, flags: 0, session, number }, &[]);
    }

    /// `replica` has answered request `number`.
    ///
    /// # Errors
    /// That was not its next.
    pub fn answered(
        &mut self,
        replica: usize,
        number: u64,
        now_ms: u64,
    ) -> Result<(), Condemnation> {
        if !matches!(self.stages[replica], Stage::Feeding(_) | Stage::Level | Stage::Synced) {
            // It is out, and still answers what it was sent before.
            return Ok(());
        }
        self.sequence.answered(replica, number, now_ms)?;
        self.sync_if_level(replica);
        self.note_progress(now_ms);
        Ok(())
    }

    /// Whether `replica` has nothing of request `number` still to do, or never was sent it.
    pub fn is_done(&self, replica: usize, number: u64) -> bool {
        !self.stages[replica].is_live() || self.sequence.is_done(replica, number)
    }

    fn has_feed(&self) -> bool {
        self.stages.iter().any(|stage| matches!(stage, Stage::Feeding(_)))
    }

    /// What a replica that catches up, number `first` or after it in turn, is sent next.
    pub fn next_feed(&mut self, first: usize, now_ms: u64) -> Option<Feed> {
        for turn in 0..REPLICAS_MAX {
            let replica = (first + turn) % REPLICAS_MAX;
            self.go_live_if_fed(replica, now_ms);
            let Stage::Feeding(from) = self.stages[replica] else { continue };
            let Some((entry, payload, next)) = self.log.active.read(from) else { continue };
            let lane = self.sequence.lane(replica);
            let room = lane.replays() < FEED_REQUESTS
                && lane.bytes() + payload.len() <= QUEUE_BYTES / FEED_SHARE;
            if room || entry.what == What::End {
                return Some(Feed { replica, entry, len: payload.len(), from, next });
            }
        }
        None
    }

    /// Its payload.
    pub fn payload(&self, feed: &Feed) -> &[u8] {
        self.log.active.read(feed.from).map_or(&[], |(_, payload, _)| payload)
    }

    /// It was sent.
    pub fn fed(&mut self, feed: &Feed, now_ms: u64) {
        self.stages[feed.replica] = Stage::Feeding(feed.next);
        if feed.entry.what == What::Request {
            self.sequence.fed(feed.replica, feed.entry.number, feed.len, now_ms);
        }
        self.go_live_if_fed(feed.replica, now_ms);
    }
}
