//! The sessions' connections: when they are made, and what happens to them.

use resh_channel::message::Reason;

use super::{Gateway, earliest};
use crate::canonical;
use crate::session::{AGAIN_MS, End, Link};
use crate::upstream::{Event, Opening, Upstream};

impl<U: Upstream> Gateway<'_, U> {
    /// Takes what the transport tells of.
    pub(super) fn read_events(&mut self) {
        while let Some(event) = self.upstream.next_event() {
            match event {
                Event::Opened(slot) => self.opened(slot),
                Event::Refused(slot) => self.refused(slot),
                Event::Ready { session: slot, readable, writable } => {
                    let Some(session) = self.sessions.get_mut(slot) else { continue };
                    session.readable |= readable;
                    session.writable |= writable;
                    if session.live {
                        self.ready.push(slot);
                    }
                }
            }
        }
    }

    /// The connection stands.
    fn opened(&mut self, slot: usize) {
        let Some(session) = self.sessions.get_mut(slot) else { return };
        if session.live && session.link == Link::Connecting {
            session.linked();
            canonical::opened(session);
            self.connecting.remove(slot);
            self.ready.push(slot);
        }
    }

    /// No connection could be made.
    fn refused(&mut self, slot: usize) {
        let Some(session) = self.sessions.get_mut(slot) else { return };
        if session.live && session.link == Link::Connecting {
            session.link = Link::None;
            self.connecting.remove(slot);
            let executor = self.executors.get(session.service).and_then(Option::as_ref);
            if executor.is_some_and(|executor| executor.replays(slot)) {
                // The server may be starting still, and what is executed anew must not be left out.
                session.link = Link::Later;
                session.again_at_ms = Some(self.now_ms.saturating_add(AGAIN_MS));
                return self.later.push(slot);
            }
            if session.canonicaliser.is_some() {
                canonical::refused(session);
            } else {
                session.end_with(End::Reset(Reason::Refused));
            }
            self.ready.push(slot);
        }
    }

    /// Looks at what time has come for.
    pub(super) fn check_times(&mut self) {
        while let Some(slot) = self.connecting.first() {
            if self.sessions[slot].connect_by_ms > self.now_ms {
                break;
            }
            self.upstream.close(slot, true);
            self.refused(slot);
        }
        while let Some(slot) = self.later.first() {
            let session = &mut self.sessions[slot];
            if session.again_at_ms.is_some_and(|at_ms| at_ms > self.now_ms) {
                break;
            }
            if session.link == Link::Later {
                session.link = Link::Wanted;
            }
            self.later.remove(slot);
            self.ready.push(slot);
        }
    }

    /// When to look again, in milliseconds.
    pub(super) fn next_time_ms(&self) -> Option<u64> {
        let connecting = self.connecting.first().map(|slot| self.sessions[slot].connect_by_ms);
        let later = self.later.first().and_then(|slot| self.sessions[slot].again_at_ms);
        earliest(connecting, later)
    }

    /// Makes a connection.
    pub(super) fn connect(&mut self, slot: usize) {
        let session = &mut self.sessions[slot];
        session.unlink();
        session.link = Link::Connecting;
        match self.upstream.open(slot, session.service) {
            Ok(Opening::Open) => self.opened(slot),
            Ok(Opening::Pending) => {
                session.connect_by_ms = self.now_ms.saturating_add(self.connect_ms);
                self.connecting.push(slot);
            }
            Err(_) => self.refused(slot),
        }
    }
}
