//! What comes in: records from the network, which is trusted, and from the replicas, which are not.

use resh_channel::config::REPLICAS_MAX;
use resh_channel::memory::Bytes;
use resh_channel::message::{Kind, Message, Reason};
use resh_channel::ring::{Producer, Record, Violation};
use resh_channel::stats::Condemnation;

use super::{NetworkFault, Voter};
use crate::evidence::Client;
use crate::life::State;
use crate::limits::{ADDRESS_BYTES_MAX, BATCH_BYTES, BATCH_RECORDS};
use crate::replica::condemnation;
use crate::rest::Position;
use crate::session::{Phase, Session, to_network};
use crate::slot::Slot;
use crate::vote::Findings;

/// What is left of a ring's turn.
pub(super) struct Turn {
    records: usize,
    bytes: usize,
}

impl Turn {
    pub(super) fn new() -> Self {
        Self { records: BATCH_RECORDS, bytes: BATCH_BYTES }
    }

    pub(super) fn spend(&mut self, bytes: usize) {
        self.records = self.records.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    pub(super) fn is_over(&self) -> bool {
        self.records == 0 || self.bytes == 0
    }
}

/// Writes to the broadcast `ring`, or only asks for room. False if it is full.
pub(super) fn push(
    ring: &mut Producer<'_>,
    accused: &mut [Option<Condemnation>],
    push: impl Fn(&mut Producer<'_>) -> Result<bool, (usize, Violation)>,
) -> bool {
    loop {
        match push(ring) {
            Ok(written) => return written,
            Err((reader, violation)) => {
                // We are in the middle of something: judge it later, but go on without it.
                ring.drop_reader(reader);
                if let Some(accused) = accused.get_mut(reader) {
                    accused.get_or_insert(condemnation(violation));
                }
            }
        }
    }
}

impl Voter<'_> {
    /// Gives the network its turn. Returns true if it has more to say.
    pub(super) fn take_from_network(&mut self) -> Result<bool, NetworkFault> {
        let mut turn = Turn::new();
        // What the gateways are to hear goes first.
        while !turn.is_over() && self.due_to_gateways.is_empty() {
            let Some(record) = self.from_network.peek().map_err(NetworkFault::Ring)? else { break };
            self.lacking = None;
            if !self.hear_network(&record)? {
                self.lacking = Some(record.payload.len());
                break;
            }
            self.from_network.advance(&record);
            self.stats_changed = true;
            turn.spend(record.payload.len());
        }
        self.signals.network |= self.from_network.release();
        Ok(turn.is_over())
    }

    /// False: the broadcast ring is full, try again.
    fn hear_network(&mut self, record: &Record<'_>) -> Result<bool, NetworkFault> {
        let Message { kind, session: id, offset, .. } = record.message;
        let index = usize::from(id.index);
        if kind == Kind::Open {
            return self.open(record);
        }
        let clients = self.client_slots();
        let Some(session) = self.sessions[..clients].get_mut(index) else {
            return Err(NetworkFault::Open);
        };
        if session.id != id || session.phase != Phase::Open {
            let resets_late = session.id == id && kind == Kind::Reset;
            if resets_late && session.phase == Phase::Draining {
                self.close(index, None);
            }
            return Ok(true);
        }
        let message = record.message.clock(self.clock_s);
        match kind {
            Kind::Data if !session.upload.accepts(offset, record.payload.len()) => {
                self.close(index, Some(Reason::Protocol));
            }
            Kind::Data => {
                if !self.multicast(&message, record.payload) {
                    return Ok(false);
                }
                let session = &mut self.sessions[index];
                session.upload.push(record.payload.len());
                self.stage(index, record.payload);
                let session = &self.sessions[index];
                if let Some(stats) = self.stats.services.get_mut(usize::from(session.service)) {
                    stats.request_bytes += record.payload.len() as u64;
                }
                self.settle(index);
            }
            Kind::Fin => {
                if !session.upload.fin() {
                    if !self.multicast(&message, record.payload.take(0)) {
                        return Ok(false);
                    }
                    self.sessions[index].upload.end();
                    self.settle(index);
                }
            }
            Kind::Reset => {
                session.to_network = 0;
                self.close(index, None);
            }
            Kind::Taken => {
                session.vote.take(offset);
                self.moved(index);
                self.settle(index);
            }
            _ => return Err(NetworkFault::Kind),
        }
        Ok(true)
    }

    fn open(&mut self, record: &Record<'_>) -> Result<bool, NetworkFault> {
        let Message { arg, session: id, .. } = record.message;
        let (index, number) = (usize::from(id.index), usize::from(arg));
        let clients = &self.sessions[..self.client_slots()];
        let free = clients.get(index).is_some_and(|session| session.phase == Phase::Free);
        let Some(service) = self.services.get_mut(number).filter(|_| free) else {
            return Err(NetworkFault::Open);
        };
        let members = service.ready;
        let quorum = service.quorum;
        let refusal = match () {
            () if service.stopped => Some(Reason::Stopped),
            () if (members.count_ones() as usize) < quorum => Some(Reason::NoQuorum),
            () if !self.ordering.orders.has_room_for(number) => Some(Reason::Limit),
            () => None,
        };
        if let Some(reason) = refusal {
            service.agreed = service.agreed && reason != Reason::NoQuorum;
            self.sessions[index] = Session::open(id, arg, 0, quorum);
            self.sessions[index].phase = Phase::Closing;
            self.sessions[index].close(Some(reason));
            self.schedule(index);
            if let Some(stats) = self.stats.services.get_mut(number) {
                stats.refused += 1;
            }
            return Ok(true);
        }
        let message = record.message.clock(self.clock_s).to(members);
        let nonce = self.nonces.next(self.clock_s, self.now_ms);
        if !self.say_to_gateways(&message, &nonce) {
            return Ok(false);
        }
        self.open_ordered(id, arg);
        let mut address = [0; ADDRESS_BYTES_MAX];
        let len = record.payload.copy_to(&mut address);
        let session = &mut self.sessions[index];
        *session = Session::open(id, arg, members, quorum);
        session.nonce = nonce;
        session.client = Some(Client::new(&address[..len]));
        self.stats.sessions_open += 1;
        if let Some(stats) = self.stats.services.get_mut(number) {
            stats.sessions += 1;
            stats.open += 1;
        }
        self.count_in(members);
        Ok(true)
    }

    /// Passes a record of the network on to all replicas. False if the ring is full.
    fn multicast(&mut self, message: &Message, payload: Bytes<'_>) -> bool {
        push(&mut self.broadcast, &mut self.accused, |ring| ring.push_from(message, payload))
    }

    /// Writes a record for all replicas. False if the ring is full.
    pub(super) fn say_to_gateways(&mut self, message: &Message, payload: &[u8]) -> bool {
        push(&mut self.broadcast, &mut self.accused, |ring| ring.push(message, payload))
    }

    /// Gives a replica its turn. Returns true if it has more to say.
    pub(super) fn take_from_replica(&mut self, replica: usize) -> bool {
        let mut turn = Turn::new();
        while !turn.is_over() {
            let Some(replies) = &mut self.replicas[replica].replies else { return false };
            let record = match replies.peek() {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(violation) => {
                    self.condemn(replica, condemnation(violation));
                    return false;
                }
            };
            replies.advance(&record);
            turn.spend(record.payload.len());
            self.stats_changed = true;
            if let Err(reason) = self.hear_replica(replica, &record) {
                self.condemn(replica, reason);
                return false;
            }
        }
        if let Some(replies) = &mut self.replicas[replica].replies
            && replies.release()
        {
            self.signals.gateways |= 1 << replica;
        }
        turn.is_over()
    }

    fn hear_replica(&mut self, replica: usize, record: &Record<'_>) -> Result<(), Condemnation> {
        let Message { kind, session: id, offset, .. } = record.message;
        if self.replicas[replica].life.state() == State::Joining {
            return self.hear_joining(replica, &record.message);
        }
        match kind {
            Kind::Answered => return self.hear_answered(replica, &record.message),
            Kind::Data | Kind::Fin | Kind::Reset | Kind::Taken | Kind::Rest | Kind::Framed => {}
            _ => return Err(Condemnation::UnexpectedRecord),
        }
        let index = usize::from(id.index);
        let Some(session) = self.sessions.get_mut(index) else {
            return Err(Condemnation::UnexpectedRecord);
        };
        if session.id != id || !session.includes(replica) {
            return Ok(());
        }
        let mut findings = Findings::new();
        let mut slot = Slot::new(self.window, index);
        let released = session.vote.released();
        match kind {
            Kind::Data => {
                if session.vote.has_voice(replica) {
                    self.stats.replicas[replica].reply_bytes += record.payload.len() as u64;
                }
                session.vote.data(replica, offset, record.payload, &mut slot, &mut findings)?;
            }
            Kind::Fin => session.vote.fin(replica, offset, &mut slot, &mut findings)?,
            Kind::Reset => {
                session.vote.reset(replica, &mut slot, &mut findings)?;
                self.stats.replicas[replica].resets += u64::from(!session.vote.ended());
            }
            Kind::Framed => {
                self.hear_framed(replica, index, &record.message)?;
                self.settle(index);
                return Ok(());
            }
            Kind::Rest if session.vote.is_done(replica) => {
                return Err(Condemnation::UnexpectedRecord);
            }
            Kind::Rest => {
                session.upload.take(replica, offset)?;
                let reply = session.vote.position(replica);
                session.rests.note(replica, Position { request: offset, reply })?;
            }
            _ => session.upload.take(replica, offset)?,
        }
        if session.is_own() {
            if self.is_export(index) {
                self.record_export(index, findings);
            }
            self.settle(index);
            return Ok(());
        }
        let service = usize::from(session.service);
        let moved = session.vote.released() > released;
        if moved || session.vote.ended() {
            if let Some(stats) = self.stats.services.get_mut(service) {
                stats.reply_bytes += session.vote.released() - released;
            }
            if let Some(service) = self.services.get_mut(service) {
                service.agreed = true;
            }
        }
        if moved {
            self.moved(index);
        }
        self.record(index, findings);
        self.settle(index);
        Ok(())
    }
}

/// Every index that a replica can name fits the tables.
const _: () = assert!(REPLICAS_MAX <= 5 && to_network::CLOSED > to_network::RESET);
