//! What the voter says, and what it is told.

use resh_channel::message::{Kind, Message, SessionId};

use super::{Error, Network};
use crate::session::Phase;
use crate::stack::{Conn, Stack};

/// Reply bytes taken by the client that are worth waking the voter for. Fewer are told when it is
/// next woken: they are a small part of the window, so nobody waits for them.
const TAKEN_BYTES: u64 = 16 * 1024;

impl<S: Stack> Network<'_, S> {
    /// Takes all records of the voter. True if it waits for the room they took.
    pub(super) fn hear(&mut self) -> Result<bool, Error> {
        while let Some(record) = self.from_voter.peek()? {
            self.record(&record.message)?;
            self.from_voter.advance(&record);
        }
        Ok(self.from_voter.release())
    }

    fn record(&mut self, message: &Message) -> Result<(), Error> {
        if !self.sessions.is_current(message.session) {
            return Ok(());
        }
        let conn = message.session.index;
        let session = &mut self.sessions[conn];
        let is_open = session.phase == Phase::Open;
        let possible = match message.kind {
            Kind::Release => !is_open || session.release(message.offset),
            Kind::Fin if is_open => {
                let possible = session.release(message.offset);
                possible && session.fin.replace(message.offset).is_none_or(|f| f == message.offset)
            }
            Kind::Credit => {
                session.credit = session.credit.max(message.offset);
                true
            }
            Kind::Reset => {
                if is_open {
                    // The voter knows: it needs to hear no more.
                    session.owes_fin = false;
                    session.taken = session.sent;
                    self.end(conn, true);
                }
                return Ok(());
            }
            Kind::Closed => {
                self.closed(conn);
                return Ok(());
            }
            Kind::Fin => true,
            _ => false,
        };
        if !possible {
            return Err(Error::Record(*message));
        }
        if session.can_send() || session.can_receive() {
            self.make_ready(conn);
        }
        Ok(())
    }

    /// The voter is through with the session. We may still be sending the end of the reply.
    fn closed(&mut self, conn: Conn) {
        let session = &mut self.sessions[conn];
        session.closed = true;
        session.owes_fin = false;
        session.owes_reset = None;
        if session.phase == Phase::Ended {
            self.sessions.free(conn);
        } else if session.fin.is_none() {
            self.end(conn, true);
        }
    }

    /// Tells the voter what the session owes it.
    pub(super) fn tell(&mut self, conn: Conn) -> Result<(), Error> {
        let session = &mut self.sessions[conn];
        if session.phase == Phase::Free || session.closed {
            return Ok(());
        }
        let id = SessionId { index: conn, generation: session.generation };
        let untold = session.sent - session.taken;
        let all_sent = session.sent == session.released;
        if let Some(reason) = session.owes_reset {
            let message = Message::new(Kind::Reset, id).arg(reason as u8);
            if !self.to_voter.push(&message, &[])? {
                self.park(conn);
                return Ok(());
            }
            session.owes_reset = None;
            session.owes_fin = false;
            session.taken = session.sent;
            self.urgent = true;
            return Ok(());
        }
        if untold >= TAKEN_BYTES || (untold > 0 && all_sent) {
            let message = Message::new(Kind::Taken, id).at(session.sent);
            if !self.to_voter.push(&message, &[])? {
                self.park(conn);
                return Ok(());
            }
            session.taken = session.sent;
            if session.sent - session.signalled >= TAKEN_BYTES {
                session.signalled = session.sent;
                self.urgent = true;
            }
        }
        if session.owes_fin {
            let message = Message::new(Kind::Fin, id).at(session.received);
            if !self.to_voter.push(&message, &[])? {
                self.park(conn);
                return Ok(());
            }
            session.owes_fin = false;
            self.urgent = true;
        }
        Ok(())
    }
}
