//! A replica's domain as the voter sees it: its channel, and whether it may vote.

use resh_channel::joining;
use resh_channel::memory::{Ordering, Words};
use resh_channel::message::Kind;
use resh_channel::ring::{CURSOR_WORDS, Consumer, TooSmall, Violation, note};
use resh_channel::stats::Condemnation;

use crate::life::Life;
use crate::limits::{STALL_MIN_MS, STANDSTILL_MS};

/// The shared memory of one replica's channel, as the voter maps it.
#[derive(Clone, Copy)]
pub struct Channel<'m> {
    /// What the replica answers.
    pub reply_ring: &'m Words,
    /// Our position in it, and what we tell its domain. Ours to write.
    pub reply_cursor: &'m Words,
    /// Its position in the broadcast ring.
    pub broadcast_cursor: &'m Words,
}

/// One replica's domain.
pub struct Replica<'m> {
    /// Its shared memory.
    pub channel: Channel<'m>,
    /// The reply ring, while we read it.
    pub replies: Option<Consumer<'m>>,
    /// Whether it may vote.
    pub life: Life,
    /// Whether we must look for its first hello, because its ring cannot wake us.
    pub needs_look: bool,
    /// Our position in the reply ring while we do not read it.
    position: u64,
    /// For how long it has held back the others lately.
    stalled_ms: u64,
    /// Where it stood in the broadcast ring, and since when.
    stood: (u64, u64),
}

impl<'m> Replica<'m> {
    /// A domain that nobody has heard of.
    ///
    /// # Errors
    /// A region is too small for a ring or a cursor.
    pub fn new(channel: Channel<'m>) -> Result<Self, TooSmall> {
        let cursor = channel.reply_cursor;
        if cursor.len() < CURSOR_WORDS + joining::NOTES {
            return Err(TooSmall);
        }
        let consumer = Consumer::new(channel.reply_ring, cursor, 0)?;
        Ok(Self {
            channel,
            replies: None,
            life: Life::default(),
            needs_look: false,
            position: consumer.tail(),
            stalled_ms: 0,
            stood: (0, 0),
        })
    }

    /// Its reply ring is read no more.
    pub fn stop_reading(&mut self) {
        if let Some(mut replies) = self.replies.take() {
            // The next life goes on where we stand, which the cursor page tells it.
            replies.release();
            replies.disarm();
            self.position = replies.tail();
        }
    }

    /// A new life is expected: our position in the reply ring stands still.
    pub fn expect(&self) {
        let generation = self.life.generation();
        note(self.channel.reply_cursor, joining::READY).store(generation, Ordering::Release);
    }

    /// While booting: whether there is nothing in the reply ring but the hello of this life. Whatever
    /// else lies there is of the last life, and does not matter.
    pub fn heard_hello(&mut self) -> bool {
        let Channel { reply_ring, reply_cursor, .. } = self.channel;
        // Anew each time: what a dead producer left must not leave a trace in ours.
        let Ok(mut replies) = Consumer::new(reply_ring, reply_cursor, self.position) else {
            return false;
        };
        if let Ok(Some(record)) = replies.peek()
            && record.message.kind == Kind::Hello
            && record.message.offset == self.life.generation()
        {
            replies.advance(&record);
            if matches!(replies.peek(), Ok(None)) {
                replies.release();
                self.replies = Some(replies);
                return true;
            }
        }
        // Ask to be woken, if what lies there does not prevent it.
        self.needs_look = !replies.arm();
        false
    }

    /// It said hello and begins at position `start` of the broadcast ring.
    pub fn welcome(&mut self, start: u64, now_ms: u64) {
        (self.stalled_ms, self.stood) = (0, (start, now_ms));
        let cursor = self.channel.reply_cursor;
        note(cursor, joining::START).store(start, Ordering::Relaxed);
        note(cursor, joining::GENERATION).store(self.life.generation(), Ordering::Release);
    }

    /// The broadcast ring was full for the last `waited_ms`, and this domain stands at `position` of
    /// it, at its `end` or before. Returns true if it has held back the others for too long.
    pub fn is_stalling(
        &mut self,
        position: u64,
        end: u64,
        others_wait: bool,
        waited_ms: u64,
        lag_budget_ms: u64,
        now_ms: u64,
    ) -> bool {
        if self.stood.0 != position || position == end {
            self.stood = (position, now_ms);
        }
        self.stalled_ms = match others_wait {
            true => self.stalled_ms + waited_ms,
            false => self.stalled_ms.saturating_sub(waited_ms),
        };
        self.stalled_ms > lag_budget_ms.max(STALL_MIN_MS) || now_ms - self.stood.1 > STANDSTILL_MS
    }

    /// The broadcast ring was not full for the last `passed_ms`.
    pub fn forgive(&mut self, passed_ms: u64, now_ms: u64) {
        // Slower than it is held against it, so that reading in gulps does not help.
        self.stalled_ms = self.stalled_ms.saturating_sub(passed_ms / 4);
        self.stood.1 = now_ms;
    }
}

/// How a broken ring is told to the operator.
pub fn condemnation(violation: Violation) -> Condemnation {
    match violation {
        Violation::Position => Condemnation::RingPosition,
        Violation::Header => Condemnation::RingHeader,
        Violation::Length => Condemnation::RingLength,
    }
}
