//! The session table: who has which entry.
//!
//! A session's entry is that of its index, if it is free. It is not if a conversation of the total order goes on
//! there, of a session that had the same index before.

use resh_channel::config::Transport;
use resh_channel::message::{Nonce, SessionId};

use super::Gateway;
use crate::executor::Task;
use crate::protocols::Supply;
use crate::session::Link;
use crate::upstream::Upstream;

/// By session index: the table entry of the session that the voter hears of.
pub(super) struct Voices {
    slots: alloc::boxed::Box<[u16]>,
}

const NONE: u16 = u16::MAX;

impl Voices {
    /// None, for indices below `indices`.
    pub(super) fn new(indices: usize) -> Self {
        Self { slots: alloc::vec![NONE; indices].into_boxed_slice() }
    }

    pub(super) fn get(&self, index: usize) -> Option<usize> {
        self.slots.get(index).filter(|slot| **slot != NONE).map(|slot| usize::from(*slot))
    }

    fn set(&mut self, index: u16, slot: Option<usize>) {
        self.slots[usize::from(index)] = slot.map_or(NONE, |slot| slot as u16);
    }
}

impl<U: Upstream> Gateway<'_, U> {
    /// The table entry of a session that the voter hears of.
    pub(super) fn voiced(&self, id: SessionId) -> Option<usize> {
        self.voices.get(id.index.into()).filter(|slot| self.sessions[*slot].id == id)
    }

    /// The voter hears of this entry's session.
    pub(super) fn give_voice(&mut self, slot: usize) {
        let session = &mut self.sessions[slot];
        session.voice = true;
        self.voices.set(session.id.index, Some(slot));
        self.idle.remove(slot);
    }

    /// The voter hears of this entry's session no more. Unless it is held, that is its end.
    pub(super) fn take_voice(&mut self, slot: usize) {
        let session = &mut self.sessions[slot];
        if core::mem::take(&mut session.voice) {
            self.voices.set(session.id.index, None);
        }
        if session.held {
            session.hush();
            self.idle.push(slot);
        } else {
            self.vacate(slot);
        }
    }

    /// Seats a session of `service` in a free entry, with what it needs. `None` if this replica cannot serve it.
    pub(super) fn seat(
        &mut self,
        id: SessionId,
        service: usize,
        nonce: Nonce,
        probe: bool,
    ) -> Option<usize> {
        let datagrams = self.protocols.service(service)?.transport == Transport::Udp;
        if self.buffers.is_empty() {
            self.make_room();
        }
        let own = usize::from(id.index);
        let slot = if self.sessions[own].live {
            self.sessions.iter().rposition(|session| !session.live)?
        } else {
            own
        };
        let buffers = self.buffers.pop()?;
        let supply = if probe { Supply::Form(None) } else { self.protocols.take(service) };
        let Supply::Form(form) = supply else {
            self.buffers.push(buffers);
            return None;
        };
        let session = &mut self.sessions[slot];
        session.begin(id, service, nonce, buffers, form);
        session.probe = probe;
        session.datagrams = datagrams && !probe;
        let executor = self.executors.get(service).and_then(Option::as_ref);
        session.held = executor.is_some_and(|executor| executor.knows(id));
        Some(slot)
    }

    /// Ends an entry's session at once, if there is one: its connection is aborted.
    pub(super) fn vacate(&mut self, slot: usize) {
        let session = &mut self.sessions[slot];
        if matches!(session.link, Link::Connecting | Link::Open) {
            self.upstream.close(slot, true);
        }
        if session.live {
            let service = session.service;
            let (buffers, form) = session.vacate();
            self.buffers.push(buffers);
            if let Some(form) = form {
                self.protocols.give_back(service, form);
            }
        }
        for queue in [&mut self.connecting, &mut self.later, &mut self.idle, &mut self.ready] {
            queue.remove(slot);
        }
    }

    /// The table entry of a session's conversation, if it has one.
    pub(super) fn conversation(&self, service: usize, id: SessionId) -> Option<usize> {
        let slot = self.executors.get(service)?.as_ref()?.slot(id.index);
        slot.filter(|slot| self.sessions[*slot].id == id)
    }

    /// The table entry of a session's conversation, which begins if there is none. `None` if there is no room now.
    fn converse(&mut self, service: usize, id: SessionId) -> Option<usize> {
        if let Some(slot) = self.conversation(service, id) {
            return Some(slot);
        }
        let slot = match self.voiced(id).filter(|slot| self.sessions[*slot].service == service) {
            Some(slot) => slot,
            None => self.seat(id, service, Nonce::default(), false)?,
        };
        let session = &mut self.sessions[slot];
        session.held = true;
        if !session.voice {
            self.idle.push(slot);
        }
        if let Some(Some(executor)) = self.executors.get_mut(service) {
            executor.set_slot(id.index, Some(slot));
        }
        Some(slot)
    }

    /// Ends the conversation that has been idle for longest, of those without a voice that have no state.
    fn make_room(&mut self) {
        for _ in 0..self.idle.len() {
            let Some(slot) = self.idle.first() else { return };
            let session = &self.sessions[slot];
            let Some(Some(executor)) = self.executors.get_mut(session.service) else { return };
            let stateless = session.canonicaliser.as_ref().is_some_and(|canonicaliser| {
                let over = canonicaliser.end().is_some() && !executor.awaits(session.id);
                over || canonicaliser.at_rest()
            });
            if stateless && !executor.is_at(slot) {
                executor.set_slot(session.id.index, None);
                return self.vacate(slot);
            }
            self.idle.remove(slot);
            self.idle.push(slot);
        }
    }

    /// Does what the executor of `service` has to do next, up to the next request.
    pub(super) fn advance(&mut self, service: usize) {
        loop {
            let Some(Some(executor)) = self.executors.get_mut(service) else { return };
            let Some(task) = executor.next() else { return };
            match task {
                Task::Execute(ordered) => {
                    let Some(slot) = self.converse(service, ordered.session) else { return };
                    let session = &mut self.sessions[slot];
                    session.muted = !ordered.voiced;
                    if !session.voice {
                        self.idle.remove(slot);
                        self.idle.push(slot);
                    }
                    if let Some(Some(executor)) = self.executors.get_mut(service) {
                        executor.begin(slot);
                    }
                    return self.ready.push(slot);
                }
                Task::Fin(id) => {
                    executor.pop();
                    let Some(slot) = self.converse(service, id) else { continue };
                    let session = &mut self.sessions[slot];
                    session.muted = false;
                    if let Some(canonicaliser) = &mut session.canonicaliser {
                        canonicaliser.client_fin();
                    }
                    self.ready.push(slot);
                }
                Task::End(id) => {
                    executor.pop();
                    let slot = executor.slot(id.index);
                    let Some(slot) = slot.filter(|slot| self.sessions[*slot].id == id) else {
                        continue;
                    };
                    executor.set_slot(id.index, None);
                    self.release(slot);
                }
            }
        }
    }

    /// An entry is no longer held by its executor. Unless the voter hears of it, that is its end.
    fn release(&mut self, slot: usize) {
        let session = &mut self.sessions[slot];
        session.held = false;
        if !session.voice {
            self.vacate(slot);
        }
    }
}
