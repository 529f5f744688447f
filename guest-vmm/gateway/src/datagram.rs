//! A session over UDP: one datagram of the client, and the first answer to it that is one.
//!
//! Datagrams get lost, so one that no answer came to is sent again; an answer to one that was sent before
//! is as good.

use alloc::boxed::Box;
use alloc::vec;

use resh_channel::memory::copy_in;
use resh_channel::message::{DATAGRAM_BYTES_MAX, Reason};

use crate::canonicaliser::{self, Canonicaliser, ConnectionWish, Context};
use crate::replies::{Replies, Stop};
use crate::session::{AGAIN_MS, End, Link, Session, Turn};
use crate::upstream::{Received, Sent, Upstream};

/// After so many times [`AGAIN_MS`] there will be no answer any more.
const TRIES: u32 = 6;
/// After how many of them the datagram is sent: at once, and again after 0.5 s and 1.5 s.
const SENT_AFTER: [u32; 3] = [0, 1, 3];
/// Datagrams received in one turn, at most.
const RECEIVED: usize = 16;

/// Does what can be done now.
pub(crate) fn pump<U: Upstream>(
    session: &mut Session,
    upstream: &mut U,
    replies: &mut Replies<'_>,
    scratch: &mut [u8],
    now_ms: u64,
) -> Result<Turn, Stop> {
    let Some(mut canonicaliser) = session.canonicaliser.take() else { return Ok(Turn::Over) };
    let result = turn(session, &mut *canonicaliser, upstream, replies, scratch, now_ms);
    session.canonicaliser = Some(canonicaliser);
    result
}

fn turn<U: Upstream>(
    session: &mut Session,
    canonicaliser: &mut dyn Canonicaliser,
    upstream: &mut U,
    replies: &mut Replies<'_>,
    scratch: &mut [u8],
    now_ms: u64,
) -> Result<Turn, Stop> {
    if session.client_fin && !session.finished {
        hand_over(session, canonicaliser);
    }
    match (canonicaliser.connection(), session.link) {
        (ConnectionWish::Open, Link::None) => {
            session.link = Link::Wanted;
            return Ok(Turn::Again);
        }
        (ConnectionWish::Close, _) => {
            close(session, upstream);
            canonicaliser.server_reset();
        }
        _ => {}
    }
    if session.link == Link::Open {
        send(session, canonicaliser, upstream, now_ms);
        receive(session, canonicaliser, upstream, scratch);
    }
    reply(session, canonicaliser, replies)?;
    match canonicaliser.end() {
        Some(canonicaliser::End::Fin) => session.end_with(End::Fin),
        Some(canonicaliser::End::Reset) => session.end_with(End::Reset(Reason::Protocol)),
        // There is but one datagram.
        None if session.sent > 0 && canonicaliser.to_client().is_empty() => {
            session.end_with(End::Fin);
        }
        None => {}
    }
    session.tell_end(replies)?;
    Ok(if session.end.is_some() { Turn::Over } else { Turn::Idle })
}

/// The client's datagram is complete: goes to the canonicaliser, at once.
fn hand_over(session: &mut Session, canonicaliser: &mut dyn Canonicaliser) {
    let clock_s = session.upload.front().map_or(0, |(_, clock_s)| clock_s);
    let context = session.context(clock_s);
    canonicaliser.client_data(session.upload.first(), context);
    canonicaliser.client_fin();
    session.discard_upload();
    session.finished = true;
}

fn close<U: Upstream>(session: &mut Session, upstream: &mut U) {
    if matches!(session.link, Link::Connecting | Link::Open) {
        upstream.close(session.slot, true);
    }
    session.link = Link::None;
    session.again_at_ms = None;
    session.unlink();
}

/// Sends the datagram if that was not done, or again if it is time. The buffer for the client's keeps it.
fn send<U: Upstream>(
    session: &mut Session,
    canonicaliser: &mut dyn Canonicaliser,
    upstream: &mut U,
    now_ms: u64,
) {
    let bytes = canonicaliser.to_server();
    if !bytes.is_empty() {
        session.upload.clear();
        let len = bytes.len();
        // It was empty, and has room for any datagram.
        let _ = session.upload.push_private(bytes, 0);
        canonicaliser.sent_to_server(len);
        session.tries = 0;
        session.again_at_ms = None;
    } else if session.again_at_ms.is_none_or(|at_ms| at_ms > now_ms) {
        return;
    }
    if session.tries == TRIES {
        session.again_at_ms = None;
        return session.end_with(End::Reset(Reason::TimeOut));
    }
    session.again_at_ms = Some(now_ms.saturating_add(AGAIN_MS));
    session.tries += 1;
    if !SENT_AFTER.contains(&(session.tries - 1)) {
        return;
    }
    // If there is no room for it now it counts as lost.
    match upstream.send_private(session.slot, session.upload.first()) {
        Sent::Some(_) | Sent::WouldBlock => {}
        Sent::Gone => session.end_with(End::Reset(Reason::Refused)),
    }
}

/// Looks at answers until one is taken for one.
fn receive<U: Upstream>(
    session: &mut Session,
    canonicaliser: &mut dyn Canonicaliser,
    upstream: &mut U,
    scratch: &mut [u8],
) {
    for _ in 0..RECEIVED {
        if !session.readable || !canonicaliser.to_client().is_empty() || session.sent > 0 {
            return;
        }
        match upstream.recv_private(session.slot, scratch) {
            Received::Some(len) => {
                canonicaliser.server_data(&scratch[..len]);
            }
            Received::WouldBlock => session.readable = false,
            Received::Fin | Received::Gone => {
                session.readable = false;
                session.end_with(End::Reset(Reason::Refused));
            }
        }
    }
}

/// The answer, which may take several records.
fn reply(
    session: &mut Session,
    canonicaliser: &mut dyn Canonicaliser,
    replies: &mut Replies<'_>,
) -> Result<(), Stop> {
    loop {
        let bytes = canonicaliser.to_client();
        let len = session.credit_left().min(bytes.len() as u64);
        if len == 0 {
            return Ok(());
        }
        let room = replies.reserve(len)?;
        let len = copy_in(room, &bytes[..len as usize]);
        replies.commit(session.id, session.sent, len);
        session.sent += len as u64;
        canonicaliser.sent_to_client(len);
    }
}

/// Datagrams as they are, both ways.
pub(crate) struct Datagram {
    asked: bool,
    request: Box<[u8]>,
    to_send: usize,
    reply: Box<[u8]>,
    /// What of it is to be sent.
    to_say: core::ops::Range<usize>,
    answered: bool,
    gone: bool,
}

impl Datagram {
    /// With room for the longest.
    pub(crate) fn new() -> Self {
        let room = || vec![0; DATAGRAM_BYTES_MAX].into_boxed_slice();
        Self {
            asked: false,
            request: room(),
            to_send: 0,
            reply: room(),
            to_say: 0..0,
            answered: false,
            gone: false,
        }
    }
}

impl Canonicaliser for Datagram {
    fn client_data(&mut self, bytes: &[u8], _: Context) -> usize {
        self.to_send = bytes.len().min(self.request.len());
        self.request[..self.to_send].copy_from_slice(&bytes[..self.to_send]);
        self.asked = true;
        bytes.len()
    }

    fn client_fin(&mut self) {}

    fn to_client(&self) -> &[u8] {
        &self.reply[self.to_say.clone()]
    }

    fn sent_to_client(&mut self, len: usize) {
        self.to_say.start = self.to_say.end.min(self.to_say.start + len);
    }

    fn end(&self) -> Option<canonicaliser::End> {
        match (self.answered, self.gone) {
            (true, _) if self.to_say.is_empty() => Some(canonicaliser::End::Fin),
            (false, true) => Some(canonicaliser::End::Reset),
            _ => None,
        }
    }

    fn connection(&self) -> ConnectionWish {
        let wanted = self.asked && !self.gone && !self.answered;
        if wanted { ConnectionWish::Open } else { ConnectionWish::None }
    }

    fn server_opened(&mut self) {}

    fn to_server(&self) -> &[u8] {
        &self.request[..self.to_send]
    }

    fn sent_to_server(&mut self, _: usize) {
        self.to_send = 0;
    }

    fn server_data(&mut self, bytes: &[u8]) -> usize {
        if !self.answered {
            let len = bytes.len().min(self.reply.len());
            self.reply[..len].copy_from_slice(&bytes[..len]);
            self.to_say = 0..len;
            self.answered = true;
        }
        bytes.len()
    }

    fn server_fin(&mut self) {
        self.gone = true;
    }

    fn server_reset(&mut self) {
        self.gone = true;
    }

    fn at_rest(&self) -> bool {
        false
    }

    fn is_answered(&self) -> bool {
        self.answered && self.to_say.is_empty()
    }

    fn reset(&mut self) {
        (self.to_send, self.to_say) = (0, 0..0);
        (self.asked, self.answered, self.gone) = (false, false, false);
    }
}
