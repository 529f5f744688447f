//! What the voter says.

use resh_channel::message::{AdmitHead, Kind, Message, Nonce, OrderedHead, Request, SessionId};
use resh_channel::ring::{Record, Violation};

use super::Gateway;
use crate::canonicaliser::Context;
use crate::executor::Ordered;
use crate::upstream::Upstream;
use crate::{Broken, canonical, raw};

/// What no voter says.
const NONSENSE: Broken = Broken::Broadcast(Violation::Header);

impl<U: Upstream> Gateway<'_, U> {
    /// Does what a record says.
    pub(super) fn handle(&mut self, record: &Record<'_>) -> Result<(), Broken> {
        let message = &record.message;
        let index = usize::from(message.session.index);
        if index >= self.sessions.len() {
            return Err(NONSENSE);
        }
        let for_us = message.to & (1 << self.replica) != 0;
        match message.kind {
            Kind::Open | Kind::Probe => {
                self.displace(index, None)?;
                if for_us {
                    let mut nonce = Nonce::default();
                    record.payload.copy_to(&mut nonce);
                    self.begin(message, nonce);
                }
                Ok(())
            }
            Kind::Admit if for_us => self.admit(record),
            Kind::Ordered if for_us => self.order(record),
            Kind::Admit | Kind::Ordered => Ok(()),
            // Who knows the session only by what was ordered is told by `Evict`, where it stands in that.
            Kind::Reset if self.silence(message.session) => self.end_conversation(message.session),
            Kind::Reset => Ok(()),
            Kind::Evict if usize::from(message.arg) != self.replica => Ok(()),
            // Who loses its voice still executes what is ordered. Who has none learns that the session is over.
            Kind::Evict if self.silence(message.session) => Ok(()),
            Kind::Evict => self.end_conversation(message.session),
            Kind::Data | Kind::Fin | Kind::Credit => match self.voiced(message.session) {
                Some(slot) => self.handle_stream(slot, record),
                None => Ok(()),
            },
            // Nothing else comes from the voter. For a session that is not there it means nothing.
            _ if self.voiced(message.session).is_none() => Ok(()),
            _ => Err(NONSENSE),
        }
    }

    /// More of a session's streams.
    fn handle_stream(&mut self, slot: usize, record: &Record<'_>) -> Result<(), Broken> {
        let message = &record.message;
        let session = &mut self.sessions[slot];
        match message.kind {
            Kind::Data => {
                if message.offset != session.received || session.client_fin {
                    return Err(NONSENSE);
                }
                session.received += record.payload.len() as u64;
                if session.ordered || session.datagrams {
                    session.keep(record.payload, message.clock_s);
                } else if session.canonicaliser.is_some() {
                    canonical::data(session, record.payload, message.clock_s, &mut self.scratch);
                } else {
                    raw::data(session, record.payload, &mut self.upstream);
                }
            }
            Kind::Fin => session.client_fin = true,
            _ => session.credit = session.credit.max(message.offset),
        }
        self.ready.push(slot);
        Ok(())
    }

    /// This replica is to take part in a session that has begun without it.
    fn admit(&mut self, record: &Record<'_>) -> Result<(), Broken> {
        let message = &record.message;
        let mut head = [0; size_of::<AdmitHead>()];
        record.payload.copy_to(&mut head);
        let head: AdmitHead = zerocopy::transmute!(head);
        self.displace(message.session.index.into(), Some(message.session))?;
        let slot = match self.conversation(message.arg.into(), message.session) {
            Some(slot) => {
                self.give_voice(slot);
                Some(slot)
            }
            None => self.begin(message, head.nonce),
        };
        if let Some(slot) = slot {
            self.sessions[slot].enter(message.offset, &head);
            self.ready.push(slot);
        }
        Ok(())
    }

    /// A request of the total order.
    fn order(&mut self, record: &Record<'_>) -> Result<(), Broken> {
        let message = &record.message;
        let mut head = [0; size_of::<OrderedHead>()];
        if record.payload.copy_to(&mut head) < head.len() {
            return Err(NONSENSE);
        }
        let bytes = record.payload.skip(head.len());
        let head: OrderedHead = zerocopy::transmute!(head);
        let (id, request) = (message.session, Request(message.arg));
        let mut voiced = false;
        if let Some(slot) = self.voiced(id) {
            let session = &mut self.sessions[slot];
            session.held = true;
            voiced = !request.is(Request::REPLAY);
            if voiced && !request.is(Request::EXPORT) {
                session.framing.ordered();
            }
            self.ready.push(slot);
        }
        let ordered = Ordered {
            session: id,
            number: message.offset,
            request,
            context: Context { clock_ms: head.clock_ms.get(), nonce: head.nonce },
            len: bytes.len(),
            voiced,
        };
        let service = usize::from(head.service);
        let Some(Some(executor)) = self.executors.get_mut(service) else { return Err(NONSENSE) };
        executor.order(ordered, bytes).map_err(|_| NONSENSE)
    }

    /// The session has a voice no more: what it sends and says is of no interest. True if it had one.
    fn silence(&mut self, id: SessionId) -> bool {
        let slot = self.voiced(id);
        if let Some(slot) = slot {
            self.take_voice(slot);
        }
        slot.is_some()
    }

    /// The session that has this index has a voice no more, and, unless it is `next`, is over.
    fn displace(&mut self, index: usize, next: Option<SessionId>) -> Result<(), Broken> {
        let Some(slot) = self.voices.get(index) else { return Ok(()) };
        let id = self.sessions[slot].id;
        self.take_voice(slot);
        if next != Some(id) { self.end_conversation(id) } else { Ok(()) }
    }

    /// Nothing more of the session will be ordered.
    pub(super) fn end_conversation(&mut self, id: SessionId) -> Result<(), Broken> {
        for executor in self.executors.iter_mut().flatten() {
            executor.end(id).map_err(|_| NONSENSE)?;
        }
        Ok(())
    }

    /// A session begins, or one without a client. Returns its table entry, unless this replica cannot serve it.
    fn begin(&mut self, message: &Message, nonce: Nonce) -> Option<usize> {
        let service = usize::from(message.arg);
        let slot = self.seat(message.session, service, nonce, message.kind == Kind::Probe)?;
        self.give_voice(slot);
        self.ready.push(slot);
        Some(slot)
    }
}
