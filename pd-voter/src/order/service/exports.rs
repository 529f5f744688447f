//! When an export is ordered, and what becomes of it.

use resh_channel::config::State;
use resh_channel::message::{OrderedHead, Request, SessionId};

use super::{Gate, Order};
use crate::order::export::{Fault, Lives, Living, Run};
use crate::order::feed::Stage;
use crate::order::limits::{EXPORT_RETRY_MAX_MS, EXPORT_RETRY_MS, EXPORT_SILENCE_MS, LONG_ENTRIES};
use crate::order::log::Log;

impl Order<'_> {
    /// Whether the log since the last export is long, and longer than what that export wrote.
    pub(super) fn is_long(&self) -> bool {
        let since = self.log.active.end().entry - self.log.base().entry;
        since > LONG_ENTRIES && since > self.log.base().entry
    }

    pub(super) fn exports_first(&self, now_ms: u64) -> bool {
        let can = self.state == State::Export && self.has_quorum() && now_ms >= self.retry_ms;
        can && self.is_long() && !self.has_feed()
    }

    pub(super) fn may_want_export(&self) -> bool {
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
