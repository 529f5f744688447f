//! Where the requests of a session in total order end: what this gateway says of it.

use alloc::boxed::Box;

use resh_channel::message::{Kind, Message, Request};
use resh_channel::order::FRAMED_REQUESTS;

use crate::canonicaliser::{self, Framer};
use crate::replies::{Replies, Stop};
use crate::session::Session;

/// How far the framing of one session is.
#[derive(Default)]
pub(crate) struct Framing {
    framer: Option<Box<dyn Framer>>,
    /// An end that was found, and not said yet for lack of room: position and flags.
    found: Option<(u64, u8)>,
    /// Requests whose end was found and that have not been ordered yet. Below 0 if others found ends before us.
    unordered: i64,
    /// The last one was found.
    last: bool,
}

impl Framing {
    /// At the start of a request, of which `framer` finds the end. `None`: requests are not framed.
    pub(crate) fn new(framer: Option<Box<dyn Framer>>) -> Self {
        Self { framer, ..Self::default() }
    }

    /// Goes on at the start of a request.
    pub(crate) fn restart(&mut self) {
        if let Some(framer) = &mut self.framer {
            framer.reset();
        }
        (self.found, self.unordered, self.last) = (None, 0, false);
    }

    /// Takes the framer out.
    pub(crate) fn take(&mut self) -> Option<Box<dyn Framer>> {
        core::mem::take(self).framer
    }

    /// A request of the session has been ordered.
    pub(crate) fn ordered(&mut self) {
        self.unordered -= 1;
    }

    /// Whether each request whose end was found has been ordered.
    pub(crate) fn is_settled(&self) -> bool {
        self.unordered <= 0 && self.found.is_none()
    }
}

/// Looks for ends in what has come of the client, and says them.
pub(crate) fn pump(session: &mut Session, replies: &mut Replies<'_>) -> Result<(), Stop> {
    loop {
        let framing = &mut session.framing;
        if let Some((end, flags)) = framing.found {
            replies.say(&Message::new(Kind::Framed, session.id).arg(flags).at(end))?;
            framing.found = None;
        }
        if framing.last {
            session.discard_upload();
            return Ok(());
        }
        let Some(framer) = &mut framing.framer else { return Ok(()) };
        let piece = session.upload.first();
        if piece.is_empty() || framing.unordered >= FRAMED_REQUESTS as i64 {
            return Ok(());
        }
        let (len, flags) = match framer.push(piece) {
            canonicaliser::Framing::More => (piece.len(), None),
            canonicaliser::Framing::Request { len, flags } => (len.min(piece.len()), Some(flags)),
        };
        session.upload.consume(len);
        session.consumed += len as u64;
        if let Some(flags) = flags {
            framing.found = Some((session.consumed, flags));
            framing.unordered += 1;
            framing.last = Request(flags).is(Request::LAST);
        }
    }
}
