//! Sessions in which nothing happens.

use resh_channel::message::Reason;

use super::Network;
use crate::session::Phase;
use crate::stack::{Conn, Stack};

/// How long a client may leave its own stream open after the reply ended and it has all of it, in
/// milliseconds. Then it is reset.
pub const LINGER_MS: u64 = 5_000;
/// How long a datagram's session may take, in milliseconds. Then nothing is sent.
pub const DATAGRAM_MS: u64 = 10_000;

impl<S: Stack> Network<'_, S> {
    /// Resets sessions in which nothing happened for too long, some time after that.
    pub(super) fn sweep(&mut self, now_ms: u64) {
        if self.open == 0 || now_ms < self.sweep_ms {
            return;
        }
        self.sweep_ms = now_ms + (self.limits.idle_ms / 4).clamp(10, 1_000);
        for conn in 0..self.sessions.len() as Conn {
            let session = &mut self.sessions[conn];
            let quiet_ms = now_ms.saturating_sub(session.active_ms);
            let finished = session.finished;
            let idle_ms = match session.is_datagram {
                true => DATAGRAM_MS.min(self.limits.idle_ms),
                false => self.limits.idle_ms,
            };
            if session.phase != Phase::Open || !(finished || quiet_ms >= idle_ms) {
                continue;
            }
            // What the stack took may still be on its way to a slow client.
            let waiting = self.stack.unacknowledged(conn) as u64;
            let acknowledged = session.sent.saturating_sub(waiting);
            let progress = acknowledged > session.acknowledged && (finished || waiting > 0);
            session.acknowledged = acknowledged;
            let limit_ms = match finished && waiting == 0 {
                true => LINGER_MS.min(idle_ms),
                false => idle_ms,
            };
            if progress {
                session.active_ms = now_ms;
            } else if quiet_ms >= limit_ms {
                session.owes_reset = (!session.closed).then_some(Reason::TimeOut);
                self.end(conn, true);
            }
        }
    }
}
