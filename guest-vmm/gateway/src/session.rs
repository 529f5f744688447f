//! One session, as its gateway sees it.

use alloc::boxed::Box;
use core::mem::take;

use resh_channel::memory::Bytes;
use resh_channel::message::{AdmitHead, Kind, Message, Nonce, Reason, SessionId};
use resh_channel::window::REPLY_CREDIT_BYTES;

use crate::TAKEN_STEP_BYTES;
use crate::canonicaliser::{Canonicaliser, Context};
use crate::fifo::{ClockedFifo, Fifo};
use crate::framing::Framing;
use crate::memory::Buffers;
use crate::protocols::Form;
use crate::replies::{Replies, Stop};

/// How long until a datagram is looked at again to which no answer came, or a connection is tried again, in milliseconds.
/// Short enough that the answer to a datagram which was lost comes before the voter stops waiting for it.
pub(crate) const AGAIN_MS: u64 = 500;

/// The connection to the replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// There is none.
    None,
    /// One is to be made.
    Wanted,
    /// One could not be made, and is to be made later.
    Later,
    /// It is being made.
    Connecting,
    /// It stands.
    Open,
}

/// How the reply stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Orderly.
    Fin,
    /// By an abort.
    Reset(Reason),
}

/// What a session did when it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// All that can be done for now.
    Idle,
    /// There is more to do.
    Again,
    /// It is over.
    Over,
}

/// One session.
pub(crate) struct Session {
    /// Its id, while it lives.
    pub(crate) id: SessionId,
    /// Its entry of the session table, by which the transport names its connection.
    pub(crate) slot: usize,
    /// Whether it lives.
    pub(crate) live: bool,
    /// Whether the voter hears of it.
    pub(crate) voice: bool,
    /// Its requests are executed in total order.
    pub(crate) ordered: bool,
    /// It is known to the executor of its service. Then it lives until that says otherwise.
    pub(crate) held: bool,
    /// The voter does not want to hear the reply to the request that is executed.
    pub(crate) muted: bool,
    /// What is known of its requests' ends.
    pub(crate) framing: Framing,
    /// Its service.
    pub(crate) service: usize,
    /// A number that nobody can foresee, the same for all replicas.
    pub(crate) nonce: Nonce,
    /// Its streams are one datagram each.
    pub(crate) datagrams: bool,
    /// How often its datagram was sent to the replica.
    pub(crate) tries: u32,
    /// There is no client: only whether the replica accepts a connection is asked.
    pub(crate) probe: bool,

    /// The connection to the replica.
    pub(crate) link: Link,
    /// When a connection that is being made has taken too long.
    pub(crate) connect_by_ms: u64,
    /// When that, or a datagram that no answer came to, is to be tried again.
    pub(crate) again_at_ms: Option<u64>,
    /// The connection may have something to read.
    pub(crate) readable: bool,
    /// The connection may take something.
    pub(crate) writable: bool,
    /// The connection takes nothing any more.
    pub(crate) deaf: bool,

    /// Request bytes that the voter sent.
    pub(crate) received: u64,
    /// Those that went on, or were thrown away.
    pub(crate) consumed: u64,
    /// What the voter knows of that.
    taken: u64,
    /// Where it knows the session to be at rest.
    rested: u64,
    /// The rest.
    pub(crate) upload: ClockedFifo,
    /// The client ended its stream.
    pub(crate) client_fin: bool,
    /// The replica, or the canonicaliser, was told so.
    pub(crate) finished: bool,

    /// Reply bytes that the voter was sent.
    pub(crate) sent: u64,
    /// Reply bytes it may be sent.
    pub(crate) credit: u64,
    /// How the reply stream is to end after that.
    pub(crate) end: Option<End>,
    /// The voter was told.
    pub(crate) ended: bool,

    /// What brings the bytes to one form, if they are not to stay as they are.
    pub(crate) canonicaliser: Option<Box<dyn Canonicaliser>>,
    /// Bytes of the replica that it did not take yet.
    pub(crate) download: Fifo,
}

impl Session {
    /// The table entry `slot`, which no session uses yet.
    pub(crate) fn vacant(slot: usize) -> Self {
        Self {
            id: SessionId::default(),
            slot,
            live: false,
            voice: false,
            ordered: false,
            held: false,
            muted: false,
            framing: Framing::default(),
            service: 0,
            nonce: Nonce::default(),
            datagrams: false,
            tries: 0,
            probe: false,
            link: Link::None,
            connect_by_ms: 0,
            again_at_ms: None,
            readable: false,
            writable: false,
            deaf: false,
            received: 0,
            consumed: 0,
            taken: 0,
            rested: 0,
            upload: ClockedFifo::default(),
            client_fin: false,
            finished: false,
            sent: 0,
            credit: 0,
            end: None,
            ended: false,
            canonicaliser: None,
            download: Fifo::default(),
        }
    }

    /// Begins a session in this entry. Without a canonicaliser it wants its connection at once.
    pub(crate) fn begin(
        &mut self,
        id: SessionId,
        service: usize,
        nonce: Nonce,
        buffers: Buffers,
        form: Option<Form>,
    ) {
        let (canonicaliser, framer) = match form {
            Some(form) => (Some(form.canonicaliser), form.framer),
            None => (None, None),
        };
        self.id = id;
        self.live = true;
        self.voice = false;
        self.ordered = framer.is_some();
        self.held = false;
        self.muted = false;
        self.framing = Framing::new(framer);
        self.service = service;
        self.nonce = nonce;
        self.datagrams = false;
        self.tries = 0;
        self.probe = false;
        self.link = if canonicaliser.is_some() { Link::None } else { Link::Wanted };
        self.canonicaliser = canonicaliser;
        self.again_at_ms = None;
        self.download = buffers.download;
        self.unlink();
        self.received = 0;
        self.consumed = 0;
        self.taken = 0;
        self.rested = 0;
        self.upload = buffers.upload;
        self.client_fin = false;
        self.finished = false;
        self.sent = 0;
        self.credit = REPLY_CREDIT_BYTES as u64;
        self.end = None;
        self.ended = false;
    }

    /// The session has gone on for a while before this replica takes part: `received` bytes of the request
    /// stream are no business of its.
    pub(crate) fn enter(&mut self, received: u64, head: &AdmitHead) {
        self.received = received;
        self.consumed = received;
        self.taken = received;
        self.rested = received;
        self.sent = head.reply_offset.get();
        self.credit = head.reply_credit.get();
        if self.ordered {
            self.framing.restart();
        } else if let Some(canonicaliser) = &mut self.canonicaliser {
            canonicaliser.begin_at(received);
        }
    }

    /// Ends the session, and takes out what it had.
    pub(crate) fn vacate(&mut self) -> (Buffers, Option<Form>) {
        (self.live, self.voice, self.link) = (false, false, Link::None);
        let (mut upload, mut download) = (take(&mut self.upload), take(&mut self.download));
        upload.clear();
        download.clear();
        let framer = self.framing.take();
        let form = self.canonicaliser.take().map(|canonicaliser| Form { canonicaliser, framer });
        (Buffers { upload, download }, form)
    }

    /// Forgets what only the voter wanted to know.
    pub(crate) fn hush(&mut self) {
        self.upload.clear();
        self.framing.restart();
        (self.client_fin, self.finished) = (false, false);
        (self.end, self.ended) = (None, false);
    }

    /// Keeps bytes of the client that came with this request clock.
    pub(crate) fn keep(&mut self, bytes: Bytes<'_>, clock_s: u32) {
        if self.upload.push(bytes, clock_s).is_err() {
            self.end_with(End::Reset(Reason::Limit));
        }
    }

    /// Whether the client's stream has ended behind requests that were all ordered, and nobody was told yet.
    pub(crate) fn fins(&self) -> bool {
        let over = self.voice && self.client_fin && !self.finished;
        over && self.ordered && self.upload.is_empty() && self.framing.is_settled()
    }

    /// Whether the voter hears what the canonicaliser says.
    pub(crate) fn speaks(&self) -> bool {
        self.voice && !self.muted
    }

    /// Forgets what was known of the connection.
    pub(crate) fn unlink(&mut self) {
        self.readable = false;
        self.writable = false;
        self.deaf = false;
    }

    /// The connection stands.
    pub(crate) fn linked(&mut self) {
        self.link = Link::Open;
        self.readable = true;
        self.writable = true;
        self.deaf = false;
    }

    /// The reply stream is to end like this, unless its end was settled before.
    pub(crate) fn end_with(&mut self, end: End) {
        self.end.get_or_insert(end);
    }

    /// Request bytes that went on, or were thrown away.
    pub(crate) fn consume(&mut self, bytes: usize) {
        self.consumed += bytes as u64;
    }

    /// Throws away the request bytes that wait.
    pub(crate) fn discard_upload(&mut self) {
        self.consumed += self.upload.len() as u64;
        self.upload.clear();
    }

    /// What bytes of the client with this request clock come with.
    pub(crate) fn context(&self, clock_s: u32) -> Context {
        Context { clock_ms: u64::from(clock_s) * 1000, nonce: self.nonce }
    }

    /// Reply bytes the voter may be sent now.
    pub(crate) fn credit_left(&self) -> u64 {
        self.credit.saturating_sub(self.sent)
    }

    /// Tells the voter how far requests were consumed, when it is worth a record: often enough that a
    /// sender whose bytes were all consumed always has most of its credit.
    pub(crate) fn tell_taken(&mut self, replies: &mut Replies<'_>) -> Result<(), Stop> {
        if self.consumed - self.taken >= TAKEN_STEP_BYTES {
            replies.say(&Message::new(Kind::Taken, self.id).at(self.consumed))?;
            self.taken = self.consumed;
        }
        Ok(())
    }

    /// Tells the voter that every request up to here is answered in full, unless it knows.
    pub(crate) fn tell_rest(&mut self, replies: &mut Replies<'_>) -> Result<(), Stop> {
        if self.consumed > self.rested {
            replies.say(&Message::new(Kind::Rest, self.id).at(self.consumed))?;
            self.rested = self.consumed;
        }
        Ok(())
    }

    /// Tells the voter how the reply stream ends.
    pub(crate) fn tell_end(&mut self, replies: &mut Replies<'_>) -> Result<(), Stop> {
        let Some(end) = self.end.filter(|_| !self.ended) else { return Ok(()) };
        let message = match end {
            End::Fin => Message::new(Kind::Fin, self.id),
            End::Reset(reason) => Message::new(Kind::Reset, self.id).arg(reason as u8),
        };
        replies.say(&message.at(self.sent))?;
        self.ended = true;
        Ok(())
    }
}
