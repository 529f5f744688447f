//! The protocol `raw`: bytes as they are, both ways, from the replica's socket straight into the ring.

use resh_channel::memory::Bytes;
use resh_channel::message::Reason;

use crate::replies::{Replies, Stop};
use crate::session::{End, Link, Session, Turn};
use crate::upstream::{Received, Sent, Upstream};

/// Request bytes have come: passes them on at once if the replica takes them, and otherwise keeps
/// them.
pub(crate) fn data<U: Upstream>(session: &mut Session, bytes: Bytes<'_>, upstream: &mut U) {
    let mut rest = bytes;
    let direct = session.link == Link::Open && session.writable && session.upload.is_empty();
    if direct && !session.deaf {
        match upstream.send(session.slot, bytes) {
            Sent::Some(n) => {
                rest = bytes.skip(n);
                session.consume(n);
                session.writable = rest.is_empty();
            }
            Sent::WouldBlock => session.writable = false,
            Sent::Gone => deafen(session),
        }
    }
    if session.deaf {
        session.consume(rest.len());
    } else if session.upload.push(rest, 0).is_err() {
        session.end_with(End::Reset(Reason::Limit));
    }
}

/// The replica takes nothing any more. What it answered before still counts.
fn deafen(session: &mut Session) {
    session.deaf = true;
    session.readable = true;
    session.discard_upload();
}

/// Does what can be done now, at most one record of replies.
pub(crate) fn pump<U: Upstream>(
    session: &mut Session,
    upstream: &mut U,
    replies: &mut Replies<'_>,
) -> Result<Turn, Stop> {
    let index = session.slot;
    let mut turn = Turn::Idle;
    if session.link == Link::Open {
        send(session, upstream);
        if session.end.is_none() && receive(session, upstream, replies)? {
            turn = Turn::Again;
        }
    }
    session.tell_taken(replies)?;
    session.tell_end(replies)?;
    match session.end {
        Some(End::Reset(_)) => Ok(Turn::Over),
        Some(End::Fin) if session.finished => {
            upstream.close(index, false);
            session.link = Link::None;
            Ok(Turn::Over)
        }
        _ => Ok(turn),
    }
}

fn send<U: Upstream>(session: &mut Session, upstream: &mut U) {
    let index = session.slot;
    while session.writable && !session.deaf && !session.upload.is_empty() {
        match upstream.send_private(index, session.upload.first()) {
            Sent::Some(n) => {
                session.upload.consume(n);
                session.consume(n);
            }
            Sent::WouldBlock => session.writable = false,
            Sent::Gone => deafen(session),
        }
    }
    if session.client_fin && session.upload.is_empty() && !session.finished {
        upstream.finish(index);
        session.finished = true;
    }
}

/// One record of replies. True if there may be more.
fn receive<U: Upstream>(
    session: &mut Session,
    upstream: &mut U,
    replies: &mut Replies<'_>,
) -> Result<bool, Stop> {
    let credit = session.credit_left();
    if !session.readable || credit == 0 {
        return Ok(false);
    }
    let room = replies.reserve(credit)?;
    let limit = credit.min(usize::MAX as u64) as usize;
    match upstream.recv(session.slot, room, limit) {
        Received::Some(n) => {
            replies.commit(session.id, session.sent, n);
            session.sent += n as u64;
            return Ok(true);
        }
        Received::WouldBlock => session.readable = false,
        // A reset that a send has met looks like a stream's end to the receiver.
        Received::Fin if session.deaf => session.end_with(End::Reset(Reason::Peer)),
        Received::Fin => session.end_with(End::Fin),
        Received::Gone => session.end_with(End::Reset(Reason::Peer)),
    }
    Ok(false)
}
