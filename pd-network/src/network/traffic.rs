//! The bytes of a session, either way.

use resh_channel::memory::{Bytes, WORD_BYTES, words_for};
use resh_channel::message::{Kind, MAX_PAYLOAD_BYTES, Message, SessionId};
use resh_channel::window::{SLOT_BYTES, WINDOW_BYTES};

use super::{Error, Network};
use crate::stack::{Conn, Received, Sent, Stack};

/// Request bytes taken from one session before it is the next one's turn.
const TURN_BYTES: usize = 2 * MAX_PAYLOAD_BYTES;

impl<S: Stack> Network<'_, S> {
    /// Does what there is to do for one session, and makes it wait for its next turn if there is more.
    pub(super) fn serve(&mut self, conn: Conn, now_ms: u64) -> Result<(), Error> {
        if self.sessions[conn].can_send() {
            self.send(conn, now_ms);
        }
        if self.sessions[conn].can_receive() {
            self.receive(conn, now_ms)?;
        }
        self.tell(conn)?;
        let session = &self.sessions[conn];
        if session.can_send() || (session.can_receive() && !session.is_parked) {
            self.make_ready(conn);
        }
        Ok(())
    }

    /// Sends what was released, and ends our stream where the reply ends.
    fn send(&mut self, conn: Conn, now_ms: u64) {
        let session = &mut self.sessions[conn];
        let slot = usize::from(conn) * (SLOT_BYTES / WORD_BYTES);
        let window = &self.window[slot..slot + WINDOW_BYTES / WORD_BYTES];
        while session.sent < session.released && session.writable {
            let at = (session.sent % WINDOW_BYTES as u64) as usize;
            let rest = (session.released - session.sent) as usize;
            // Two pieces where the window wraps.
            let piece = Bytes::new(window, WINDOW_BYTES).skip(at).take(rest);
            match self.stack.send(conn, piece) {
                Sent::Bytes(len) => {
                    session.writable = len == piece.len();
                    session.sent += len as u64;
                    session.active_ms = now_ms;
                    self.stats.sent_bytes += len as u64;
                }
                Sent::Gone => return self.gone(conn),
            }
        }
        if session.fin == Some(session.sent) && !session.finished {
            session.finished = true;
            session.active_ms = now_ms;
            if session.ended {
                self.end(conn, false);
            } else {
                self.stack.finish(conn);
            }
        }
    }

    /// Passes received bytes on, as far as the session's credit and its share of the turn go.
    fn receive(&mut self, conn: Conn, now_ms: u64) -> Result<(), Error> {
        let mut budget = TURN_BYTES;
        while self.sessions[conn].can_receive() && budget > 0 {
            let session = &mut self.sessions[conn];
            let limit = budget.min(MAX_PAYLOAD_BYTES);
            let limit = (session.credit - session.received).min(limit as u64) as usize;
            let Some(room) = self.to_voter.reserve(limit)? else {
                self.park(conn);
                return Ok(());
            };
            match self.stack.receive(conn, &room[..words_for(limit)], limit) {
                Received::Bytes { len, more } => {
                    let id = SessionId { index: conn, generation: session.generation };
                    let message = Message::new(Kind::Data, id).at(session.received);
                    self.to_voter.commit(&message, len);
                    self.urgent = true;
                    session.received += len as u64;
                    session.readable = more;
                    session.active_ms = now_ms;
                    self.stats.received_bytes += len as u64;
                    budget = budget.saturating_sub(len);
                }
                Received::Nothing => session.readable = false,
                Received::End => {
                    session.readable = false;
                    session.ended = true;
                    session.owes_fin = !session.closed;
                    session.active_ms = now_ms;
                    if session.finished {
                        self.end(conn, false);
                    }
                }
                Received::Gone => self.gone(conn),
            }
        }
        Ok(())
    }
}
