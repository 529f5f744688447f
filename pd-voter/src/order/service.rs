//! The order of one service's requests: who may be sent the next, who has answered what, the log, and who is fed it.

use alloc::boxed::Box;
use alloc::vec;

use resh_channel::config::{REPLICAS_MAX, State};
use resh_channel::message::{ORDERED_BYTES_MAX, OrderedHead, Request, SessionId};
use resh_channel::order::{BEHIND_REQUESTS, FEED_REQUESTS, QUEUE_BYTES};
use resh_channel::stats::{Condemnation, LogState};

use super::export::{Fault, Lives, Living, Run};
use super::feed::{Pace, Stage};
use super::limits::{
    EXPORT_RETRY_MAX_MS, EXPORT_RETRY_MS, EXPORT_SILENCE_MS, FEED_SHARE, LONG_ENTRIES, PACE_MIN_MS,
    SLOW_FACTOR,
};
use super::log::{Cursor, Entry, Log, What};
use super::sequence::Sequence;
use crate::limits::STALL_CHECK_MS;
use crate::queue::Queue;

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

/// The first request that no quorum has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Awaited {
    /// Its session's index.
    pub index: usize,
    /// When it became the first.
    pub since_ms: u64,
    /// When its session last got on.
    pub moved_ms: u64,
}

/// A replica holds back the order.
#[derive(Clone, Copy)]
struct Hold {
    since_ms: u64,
    /// Requests it had answered then.
    answered: u64,
    /// How many requests it was behind when it began, and how long the others took for those, in milliseconds.
    others: (u64, u64),
    /// Whether its queue was full, and in the way, since.
    full: bool,
}

impl Hold {
    /// Whether the replica, which has `answered` so many, is too slow in comparison with the others.
    fn is_slow(&self, answered: u64, now_ms: u64) -> bool {
        let (requests, took_ms) = self.others;
        (answered - self.answered) * took_ms * SLOW_FACTOR < requests * (now_ms - self.since_ms)
    }
}

/// What time has brought to light.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// These replicas fell too far behind, a bit mask.
    pub behind: u8,
    /// No quorum answers: the service must stop.
    pub stuck: bool,
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

    fn note_progress(&mut self, now_ms: u64) {
        let agreed = self.sequence.agreed(self.synced(), self.quorum);
        if agreed.is_none_or(|agreed| agreed != self.agreed || agreed == self.last()) {
            (self.agreed_ms, self.progress_ms) = (now_ms, now_ms);
        }
        self.agreed = agreed.unwrap_or(self.agreed);
    }

    /// Of the session whose request is the first that no quorum has answered, a quorum has sent more bytes, or its
    /// client has taken some.
    pub fn moved(&mut self, now_ms: u64) {
        self.progress_ms = now_ms;
    }

    /// The first request that no quorum has answered.
    pub fn awaited(&self) -> Option<Awaited> {
        let agreed = self.sequence.agreed(self.synced(), self.quorum)?;
        let len = self.recent.len() as u64;
        let known = agreed < self.last() && self.last() - agreed < len;
        known.then(|| Awaited {
            index: self.recent[((agreed + 1) % len) as usize].into(),
            since_ms: self.agreed_ms,
            moved_ms: self.progress_ms,
        })
    }

    /// Looks whether `replica`, whose queue is `full` and in the way, or not, is too slow. Its pace is measured over
    /// `window_ms` again and again, until it has caught up by half.
    fn holds_up(&mut self, replica: usize, full: bool, window_ms: u64, now_ms: u64) -> bool {
        let lane = self.sequence.lane(replica);
        let (answered, behind) = (lane.answered(), lane.outstanding() as u64);
        match &mut self.holds[replica] {
            None if full => {
                let others = (behind, lane.lag_ms(now_ms).max(1));
                let hold = Hold { since_ms: now_ms, answered, others, full };
                self.holds[replica] = Some(hold);
            }
            Some(hold) if behind <= hold.others.0 / 2 => self.holds[replica] = None,
            Some(hold) if now_ms >= hold.since_ms + window_ms => {
                let slow = hold.full && hold.is_slow(answered, now_ms);
                (hold.since_ms, hold.answered, hold.full) = (now_ms, answered, full);
                return slow;
            }
            Some(hold) => hold.full |= full,
            None => {}
        }
        false
    }

    /// Judges by the clock who holds back the order.
    pub fn watch(&mut self, now_ms: u64, lag_budget_ms: u64, reply_ms: u64) -> Verdict {
        let waits = !self.ready.is_empty();
        let full = match self.gate(now_ms) {
            Gate::Full(full) if waits => full,
            _ => 0,
        };
        let spare = self.synced().count_ones() as usize > self.quorum;
        let window_ms = lag_budget_ms.max(PACE_MIN_MS);
        let mut verdict = Verdict::default();
        for replica in 0..REPLICAS_MAX {
            let stage = self.stages[replica];
            let lane = self.sequence.lane(replica);
            let owes = lane.replays() > 0
                || (stage == Stage::Synced && self.sequence.position(replica) < self.agreed);
            let stands = owes && now_ms >= lane.moved_ms() + reply_ms;
            let stalls = self.holds_up(replica, full & (1 << replica) != 0, window_ms, now_ms);
            let needed = stage == Stage::Synced && !spare;
            if (stands || stalls) && !needed {
                verdict.behind |= 1 << replica;
            }
        }
        verdict.stuck =
            self.has_quorum() && self.agreed < self.last() && now_ms >= self.progress_ms + reply_ms;
        let feeding = |stage: &Stage| match stage {
            Stage::Feeding(cursor) => Some(self.log.active.end().entry - cursor.entry),
            _ => None,
        };
        let gap = self.stages.iter().filter_map(feeding).max().unwrap_or(0);
        // What the feed's own window holds is as good as sent.
        self.pace.look(gap.saturating_sub(FEED_REQUESTS), now_ms);
        self.admit_waiting(now_ms);
        verdict
    }

    /// When to [`watch`](Self::watch) even if nothing happens.
    pub fn deadline_ms(&self, now_ms: u64, reply_ms: u64) -> Option<u64> {
        let waits = !self.ready.is_empty();
        let gate = match self.gate(now_ms) {
            Gate::Full(_) if waits => Some(now_ms + STALL_CHECK_MS),
            Gate::Paced if waits => self.pace.holds_until_ms(now_ms),
            _ => None,
        };
        let outstanding = self.has_quorum() && self.agreed < self.last();
        let stuck = outstanding.then_some(self.progress_ms + reply_ms);
        let lanes = (0..REPLICAS_MAX).filter_map(|at| {
            let lane = self.sequence.lane(at);
            let owes = lane.replays() > 0
                || (self.stages[at] == Stage::Synced && self.sequence.position(at) < self.agreed);
            // Whom we cannot do without is only looked at again.
            owes.then(|| (lane.moved_ms() + reply_ms).max(now_ms + STALL_CHECK_MS))
        });
        let retry = (self.may_want_export() && !self.has_feed()).then_some(self.retry_ms);
        let silence =
            self.run.as_ref().map(|_| self.run_moved_ms + reply_ms.max(EXPORT_SILENCE_MS));
        let retry = retry.filter(|at_ms| *at_ms > now_ms);
        [gate, stuck, retry, silence].into_iter().flatten().chain(lanes).min()
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

    /// Whether the log since the last export is long, and longer than what that export wrote.
    fn is_long(&self) -> bool {
        let since = self.log.active.end().entry - self.log.base().entry;
        since > LONG_ENTRIES && since > self.log.base().entry
    }

    fn exports_first(&self, now_ms: u64) -> bool {
        let can = self.state == State::Export && self.has_quorum() && now_ms >= self.retry_ms;
        can && self.is_long() && !self.has_feed()
    }

    fn may_want_export(&self) -> bool {
        let (used, capacity) = self.log_bytes();
        let grown = used - self.log.base().at.min(used);
        let waits = self.stages.contains(&Stage::Waiting);
        self.state == State::Export
            && self.run.is_none()
            && self.has_quorum()
            && (!self.log.is_whole()
                || (used > capacity / 2 && grown > capacity / 8)
                || (waits && self.is_long()))
    }

    /// Whether an export is to be ordered now.
    pub fn wants_export(&self, now_ms: u64) -> bool {
        now_ms >= self.retry_ms
            && self.may_want_export()
            && !self.has_feed()
            && self.gate(now_ms) == Gate::Open
    }

    /// Whether `sticky` requests of sessions are lost with the log, so that an export must begin without those sessions.
    pub fn has_lost_log(&self) -> bool {
        self.state == State::Export && !self.log.is_whole()
    }

    /// Orders an export on `session`, with `payload`, which is `head`. `living` are the sessions of the service, and from
    /// which request on their `TRANSIENT` ones count. Returns its number.
    pub fn begin_export(
        &mut self,
        session: SessionId,
        head: OrderedHead,
        payload: &[u8],
        living: impl Iterator<Item = (SessionId, Option<u64>)>,
        now_ms: u64,
    ) -> u64 {
        self.restarted = !self.log.is_whole();
        if self.restarted {
            self.log.restart();
        }
        self.living.fill(None);
        for (id, transient) in living {
            if let Some(lives) = self.living.get_mut(usize::from(id.index)) {
                *lives = Some(Lives { generation: id.generation, transient });
            }
        }
        let number = self.order(session, Request::EXPORT, payload, now_ms);
        self.run = Some(Run::new(&mut self.log, session, number, head));
        self.run_moved_ms = now_ms;
        number
    }

    /// The session of the export under way.
    pub fn export(&self) -> Option<SessionId> {
        self.run.as_ref().map(Run::session)
    }

    /// Whether the dump is still coming in.
    pub fn awaits_dump(&self) -> bool {
        self.run.as_ref().is_some_and(|run| !run.has_dump())
    }

    /// The next bytes of the dump, which a quorum agrees on.
    pub fn export_data(&mut self, bytes: &[u8], now_ms: u64) {
        self.run_moved_ms = now_ms;
        self.with_run(now_ms, |run, log, _| run.push(log, bytes));
    }

    /// The dump has ended, and a quorum agrees.
    pub fn export_ended(&mut self, now_ms: u64) {
        self.run_moved_ms = now_ms;
        self.with_run(now_ms, |run, log, _| run.end(log));
    }

    /// The export came to nothing: the old log stays.
    pub fn export_failed(&mut self, now_ms: u64) {
        if self.run.take().is_some() {
            self.log.spare.clear();
            if self.restarted {
                self.log.lose();
            }
            self.retry_ms = now_ms + self.wait_ms;
            self.wait_ms = (2 * self.wait_ms).min(EXPORT_RETRY_MAX_MS);
            self.admit_waiting(now_ms);
        }
    }

    /// Does a bounded part of what is left to be done for an export. True if there is more.
    pub fn work(&mut self, now_ms: u64, reply_ms: u64) -> bool {
        if !self.log.is_whole()
            || (self.awaits_dump() && now_ms >= self.run_moved_ms + reply_ms.max(EXPORT_SILENCE_MS))
        {
            self.export_failed(now_ms);
        }
        let mut done = false;
        self.with_run(now_ms, |run, log, living| {
            done = run.work(log, living)?;
            Ok(())
        });
        if done {
            self.exports += 1;
            self.wait_ms = EXPORT_RETRY_MS;
            self.run = None;
            self.admit_waiting(now_ms);
        }
        self.run.as_ref().is_some_and(Run::has_dump)
    }

    fn with_run(
        &mut self,
        now_ms: u64,
        job: impl FnOnce(&mut Run, &mut Log<'_>, &Living) -> Result<(), Fault>,
    ) {
        let Some(run) = &mut self.run else { return };
        if job(run, &mut self.log, &self.living).is_err() {
            self.export_failed(now_ms);
        }
    }
}
