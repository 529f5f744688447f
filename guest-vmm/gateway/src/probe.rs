//! A session without a client: whether the replica's server accepts a connection.

use resh_channel::memory::copy_in;
use resh_channel::message::CONNECTED;

use crate::replies::{Replies, Stop};
use crate::session::{End, Link, Session, Turn};
use crate::upstream::Upstream;

/// Answers once the connection stands, or cannot be made.
pub(crate) fn pump<U: Upstream>(
    session: &mut Session,
    upstream: &mut U,
    replies: &mut Replies<'_>,
) -> Result<Turn, Stop> {
    if session.link == Link::Open {
        let room = replies.reserve(CONNECTED.len() as u64)?;
        let len = copy_in(room, CONNECTED);
        replies.commit(session.id, 0, len);
        session.sent = len as u64;
        session.end_with(End::Fin);
        upstream.close(session.slot, false);
        session.link = Link::None;
    }
    session.tell_end(replies)?;
    Ok(if session.ended { Turn::Over } else { Turn::Idle })
}
