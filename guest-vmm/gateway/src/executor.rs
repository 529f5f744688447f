//! The requests of one service in total order, executed strictly one after another, whatever sessions they are of.
//!
//! The state behind the service is the replica's own; for it to be that of the others, every replica executes every
//! request, also those of sessions in which it has no voice. What belongs to a session at its replica, the
//! connection and the canonicaliser, is the session's *conversation*. It begins with the session's first request, and ends
//! where the session's end stands in the queue: behind all requests that were ordered before.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;

use resh_channel::memory::Bytes;
use resh_channel::message::{Kind, Message, ORDERED_BYTES_MAX, Request, SessionId};
use resh_channel::order::{AHEAD_REQUESTS, BEHIND_REQUESTS, FEED_REQUESTS, QUEUE_BYTES};

use crate::SLOTS;
use crate::canonicaliser::{Canonicaliser, Context};
use crate::fifo::{Fifo, Overflow};
use crate::replies::{Replies, Stop};

/// Requests that wait, at most.
const REQUESTS: usize = (AHEAD_REQUESTS + BEHIND_REQUESTS + FEED_REQUESTS) as usize;
/// Tasks that wait, at most: each request, and each session that has a conversation, can be followed by two ends.
const TASKS: usize = 3 * (REQUESTS + SLOTS);
/// There is none.
const NONE: u16 = u16::MAX;

/// A request in the queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ordered {
    /// Its session.
    pub(crate) session: SessionId,
    /// Its number in the order.
    pub(crate) number: u64,
    /// What is known of it.
    pub(crate) request: Request,
    /// What it comes with.
    pub(crate) context: Context,
    /// How many bytes it has.
    pub(crate) len: usize,
    /// Whether the voter wants to hear its reply.
    pub(crate) voiced: bool,
}

/// What is to be done when all before it is done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Task {
    /// A request is to be executed.
    Execute(Ordered),
    /// The client ends its stream.
    Fin(SessionId),
    /// The session's conversation ends.
    End(SessionId),
}

/// How far the first request in the queue is.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Its bytes that the canonicaliser took.
    fed: usize,
    /// All of it was handed over.
    handed_over: bool,
    /// The state was to be written out, and cannot be.
    failed: bool,
}

/// The queue of one service.
pub(crate) struct Executor {
    service: u8,
    tasks: VecDeque<Task>,
    /// The bytes of the requests in it.
    bytes: Fifo,
    /// By session index: the generation of the session that will have a conversation when all tasks are done.
    known: Box<[Option<u16>]>,
    /// By session index: the table entry of the conversation there is now.
    slots: Box<[u16]>,
    /// Where the first request is being executed.
    at: Option<usize>,
    progress: Progress,
}

impl Executor {
    /// An empty queue for the requests of `service`.
    pub(crate) fn new(service: usize) -> Self {
        Self {
            service: service as u8,
            tasks: VecDeque::with_capacity(TASKS),
            bytes: Fifo::new(QUEUE_BYTES + ORDERED_BYTES_MAX),
            known: vec![None; SLOTS].into_boxed_slice(),
            slots: vec![NONE; SLOTS].into_boxed_slice(),
            at: None,
            progress: Progress::default(),
        }
    }

    fn push(&mut self, task: Task) -> Result<(), Overflow> {
        if self.tasks.len() == TASKS {
            return Err(Overflow);
        }
        self.tasks.push_back(task);
        Ok(())
    }

    /// From here on the session of this index is this one: another one that had it is over.
    fn meet(&mut self, session: SessionId) -> Result<(), Overflow> {
        let known = &mut self.known[usize::from(session.index)];
        match known.replace(session.generation) {
            Some(generation) if generation != session.generation => {
                self.push(Task::End(SessionId { generation, ..session }))
            }
            _ => Ok(()),
        }
    }

    /// Appends a request.
    ///
    /// # Errors
    /// [`Overflow`] if the voter does not keep the bounds of [`resh_channel::order`].
    pub(crate) fn order(&mut self, ordered: Ordered, bytes: Bytes<'_>) -> Result<(), Overflow> {
        self.meet(ordered.session)?;
        self.bytes.push(bytes)?;
        self.push(Task::Execute(ordered))
    }

    /// The client's stream ends behind all of the session's requests, which are in the queue or were executed.
    pub(crate) fn fin(&mut self, session: SessionId) -> Result<(), Overflow> {
        self.meet(session)?;
        self.push(Task::Fin(session))
    }

    /// The session is over: nothing more of it will be ordered.
    pub(crate) fn end(&mut self, session: SessionId) -> Result<(), Overflow> {
        if !self.knows(session) {
            return Ok(());
        }
        self.known[usize::from(session.index)] = None;
        self.push(Task::End(session))
    }

    /// Whether the session has a conversation, or requests in the queue.
    pub(crate) fn knows(&self, session: SessionId) -> bool {
        self.known.get(usize::from(session.index)) == Some(&Some(session.generation))
    }

    /// Whether anything of the session is in the queue.
    pub(crate) fn awaits(&self, session: SessionId) -> bool {
        self.tasks.iter().any(|task| match task {
            Task::Execute(ordered) => ordered.session == session,
            Task::Fin(id) | Task::End(id) => *id == session,
        })
    }

    /// The table entry of the conversation of this session index.
    pub(crate) fn slot(&self, index: u16) -> Option<usize> {
        self.slots.get(usize::from(index)).filter(|slot| **slot != NONE).map(|slot| *slot as usize)
    }

    /// Notes, or forgets, that table entry.
    pub(crate) fn set_slot(&mut self, index: u16, slot: Option<usize>) {
        self.slots[usize::from(index)] = slot.map_or(NONE, |slot| slot as u16);
    }

    /// The next task, unless a request is being executed.
    pub(crate) fn next(&self) -> Option<Task> {
        self.tasks.front().copied().filter(|_| self.at.is_none())
    }

    /// That task is done, or needs no doing.
    pub(crate) fn pop(&mut self) {
        self.tasks.pop_front();
    }

    /// The next task, a request, is executed in this table entry.
    pub(crate) fn begin(&mut self, slot: usize) {
        self.at = Some(slot);
        self.progress = Progress::default();
    }

    /// The request that is being executed in this table entry.
    fn current(&self, slot: usize) -> Option<Ordered> {
        match self.tasks.front() {
            Some(Task::Execute(ordered)) if self.at == Some(slot) => Some(*ordered),
            _ => None,
        }
    }

    /// Whether a request that is being executed in this table entry is one of the past.
    pub(crate) fn replays(&self, slot: usize) -> bool {
        self.current(slot).is_some_and(|ordered| ordered.request.is(Request::REPLAY))
    }

    /// Whether a request is being executed in this table entry.
    pub(crate) fn is_at(&self, slot: usize) -> bool {
        self.at == Some(slot)
    }

    /// Whether the state of the service was to be written out there, and cannot be.
    pub(crate) fn has_failed(&self, slot: usize) -> bool {
        self.is_at(slot) && self.progress.failed
    }

    /// Hands over as much of the request as `canonicaliser`, which is that of this table entry, takes. True if
    /// anything was.
    pub(crate) fn feed(&mut self, slot: usize, canonicaliser: &mut dyn Canonicaliser) -> bool {
        let Some(ordered) = self.current(slot).filter(|_| !self.progress.handed_over) else {
            return false;
        };
        let before = self.progress.fed;
        while self.progress.fed < ordered.len {
            let piece = self.bytes.front();
            let piece = &piece[..piece.len().min(ordered.len - self.progress.fed)];
            let taken = canonicaliser.client_data(piece, ordered.context);
            if taken == 0 {
                return self.progress.fed > before;
            }
            self.bytes.consume(taken);
            self.progress.fed += taken;
        }
        self.progress.handed_over = true;
        if ordered.request.is(Request::LAST) {
            canonicaliser.client_fin();
        }
        if ordered.request.is(Request::EXPORT) {
            self.progress.failed = !canonicaliser.export();
        }
        true
    }

    /// Tells the voter that the request is executed, if it is, and goes on to the next task.
    pub(crate) fn settle(
        &mut self,
        slot: usize,
        canonicaliser: &dyn Canonicaliser,
        replies: &mut Replies<'_>,
    ) -> Result<(), Stop> {
        let Some(ordered) = self.current(slot) else { return Ok(()) };
        let over = canonicaliser.end().is_some() || self.progress.failed;
        let said = canonicaliser.to_client().is_empty();
        if self.progress.handed_over && said && (over || canonicaliser.is_answered()) {
            let message = Message::new(Kind::Answered, ordered.session).arg(self.service);
            replies.say(&message.at(ordered.number))?;
            self.at = None;
            self.pop();
        }
        Ok(())
    }
}
