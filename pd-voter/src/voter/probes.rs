//! Probes: sessions of the voter's own, in which a replica shows that it answers like the others. Who does is
//! ready for the service; a suspect that does not is condemned. No word of them goes to the network.

use resh_channel::config::{
    Order, PROBE_BYTES_MAX, Probe, Protocol, REPLICAS_MAX, Service, Transport,
};
use resh_channel::message::{Kind, Message, Nonce, SessionId};
use resh_channel::stats::Condemnation;

use super::Voter;
use crate::life::{Event, State};
use crate::limits::{PROBE_LAG_MIN_MS, PROBE_WAIT_MAX_MS, PROBE_WAIT_MS, PROBES, STALL_CHECK_MS};
use crate::session::{End, Phase, Session};
use crate::vote::Outcome;

/// When and how a service's replicas are probed.
pub(super) struct Probing {
    /// What they are asked. `None`: whether their servers accept a connection.
    request: Option<Probe>,
    /// Whether the request ends the client's stream.
    fin: bool,
    /// Whether an answer must end the stream, too. If not, what a quorum has said so far is one.
    ends: bool,
    connect_ms: u64,
    /// When the next one is due.
    due_ms: Option<u64>,
    /// How long to wait after this one.
    wait_ms: u64,
    /// The session it goes on in.
    session: Option<usize>,
    /// When the last one ended.
    ended_ms: Option<u64>,
}

impl Probing {
    pub(super) fn new(service: &Service, connect_ms: u32) -> Self {
        let open_end = service.protocol == Protocol::Raw && service.transport == Transport::Tcp;
        // In total order nothing is executed that was not ordered.
        let asks = !service.probe.is_empty() && service.order == Order::Session;
        Self {
            request: asks.then(|| service.probe.clone()),
            fin: !open_end,
            ends: !asks || !open_end,
            connect_ms: connect_ms.into(),
            due_ms: None,
            wait_ms: PROBE_WAIT_MS,
            session: None,
            ended_ms: None,
        }
    }

    /// Whether it shows more than that a server accepts connections.
    pub(super) fn is_telling(&self) -> bool {
        self.request.is_some()
    }
}

impl Voter<'_> {
    /// The services of `replica` are to be probed: at once if it has come in, and otherwise not one right after the
    /// other.
    pub(super) fn request_probes(&mut self, replica: usize) {
        let is_new = self.replicas[replica].life.state() == State::CatchingUp;
        for service in self.services.iter_mut().filter(|s| s.replicas & (1 << replica) != 0) {
            let probing = &mut service.probing;
            let ended_ms = probing.ended_ms.filter(|_| !is_new);
            let next_ms = ended_ms.map_or(0, |at_ms| at_ms + PROBE_WAIT_MS);
            probing.due_ms = Some(next_ms.max(self.now_ms));
            probing.wait_ms = PROBE_WAIT_MS;
        }
    }

    /// Opens the probe sessions that are due.
    pub(super) fn watch_probes(&mut self) {
        while let Some(number) = self.most_due().filter(|(due_ms, _)| *due_ms <= self.now_ms)
            && let Some(index) = self.free_probe_slot()
        {
            self.probe(number.1, index);
        }
    }

    /// When a probe session is to be opened.
    pub(super) fn probe_ms(&self) -> Option<u64> {
        self.free_probe_slot()?;
        Some(self.most_due()?.0)
    }

    /// The service whose probe is due first, and when.
    fn most_due(&self) -> Option<(u64, usize)> {
        let due = |number: usize| {
            let probing = &self.services[number].probing;
            let waits = probing.session.is_none() && self.wants_probe(number);
            Some((probing.due_ms.filter(|_| waits)?, number))
        };
        (0..self.services.len()).filter_map(due).min()
    }

    /// Whether somebody is to be probed and a quorum can answer.
    fn wants_probe(&self, number: usize) -> bool {
        let service = &self.services[number];
        let candidates = self.candidates(number);
        let suspects = self.replicas_that(|at| {
            self.replicas[at].life.state() == State::Suspect && self.evidence[at].must_pass(number)
        });
        let asked = candidates & (!(service.ready | self.entered(number)) | suspects);
        asked != 0 && candidates.count_ones() as usize >= service.quorum
    }

    /// Replicas of service `number` that can answer a probe, a bit mask.
    fn candidates(&self, number: usize) -> u8 {
        let takes_part = |at: usize| self.replicas[at].life.state().takes_part();
        self.services[number].replicas & self.replicas_that(takes_part)
    }

    pub(super) fn replicas_that(&self, is: impl Fn(usize) -> bool) -> u8 {
        (0..REPLICAS_MAX).filter(|at| is(*at)).fold(0, |mask, at| mask | 1 << at)
    }

    fn free_probe_slot(&self) -> Option<usize> {
        let first = self.client_slots();
        (first..first + PROBES).find(|index| self.sessions[*index].phase == Phase::Free)
    }

    /// Opens a probe session of service `number` in the free slot `index`.
    fn probe(&mut self, number: usize, index: usize) {
        let members = self.candidates(number);
        let nonce = self.nonces.next(self.clock_s, self.now_ms);
        let generation = self.sessions[index].id.generation.wrapping_add(1);
        let id = SessionId { index: index as u16, generation };
        let service = &self.services[number];
        let mut session = Session::open(id, number as u8, members, service.quorum);
        session.client = None;
        session.nonce = nonce;
        session.ends_ms = Some(self.now_ms + service.probing.connect_ms + self.times.reply_ms);
        let service = &mut self.services[number];
        service.probing.due_ms = None;
        if let Some(opened) = self.ask(number, &mut session, nonce) {
            self.services[number].probing.session = Some(index);
            self.sessions[index] = session;
            match opened {
                true => self.schedule(index),
                // Half a question is none.
                false => self.conclude(index, false),
            }
        } else {
            self.services[number].probing.due_ms = Some(self.now_ms + STALL_CHECK_MS);
        }
    }

    /// Multicasts what a session begins with. `None` if the ring is full, and `Some(false)` if it was full
    /// before all was said.
    fn ask(&mut self, number: usize, session: &mut Session, nonce: Nonce) -> Option<bool> {
        let say = |kind| {
            let message = Message::new(kind, session.id).arg(number as u8);
            message.to(session.members).clock(self.clock_s)
        };
        let (probe, open, data, fin) =
            (say(Kind::Probe), say(Kind::Open), say(Kind::Data), say(Kind::Fin));
        let probing = &self.services[number].probing;
        let fins = probing.fin;
        let mut request = [0; PROBE_BYTES_MAX];
        let Some(len) = probing.request.as_ref().map(|bytes| {
            request[..bytes.len()].copy_from_slice(bytes);
            bytes.len()
        }) else {
            session.upload.end();
            return self.say_to_gateways(&probe, &[]).then_some(true);
        };
        if !self.say_to_gateways(&open, &nonce) {
            return None;
        }
        if !self.say_to_gateways(&data, &request[..len]) {
            return Some(false);
        }
        session.upload.push(len);
        if fins {
            if !self.say_to_gateways(&fin.at(len as u64), &[]) {
                return Some(false);
            }
            session.upload.end();
        }
        Some(true)
    }

    /// Draws the consequences of whatever happened to a probe session. `end` is how it ended, if it did.
    pub(super) fn settle_probe(&mut self, index: usize, end: Option<End>) {
        let patience_ms = self.times.lag_budget_ms.max(PROBE_LAG_MIN_MS);
        let session = &mut self.sessions[index];
        let open_end =
            self.services.get(usize::from(session.service)).is_some_and(|s| !s.probing.ends);
        match end {
            Some(End::Aborted | End::NoQuorum) => return self.conclude(index, false),
            Some(End::Complete) => session.drain(self.now_ms, patience_ms),
            // Nobody ends it: it is over for us a while after a quorum has said something.
            None if open_end && session.phase == Phase::Open && session.vote.released() > 0 => {
                let ends_ms = self.now_ms + patience_ms;
                session.ends_ms = session.ends_ms.map(|at_ms| at_ms.min(ends_ms));
            }
            None => {}
        }
        let passed = self.passed(index);
        let session = &self.sessions[index];
        let voices = self.replicas_that(|at| session.vote.is_live(at)) & session.present();
        let agreed = passed.count_ones() as usize >= session.quorum();
        match session.phase {
            Phase::Open if open_end && agreed && voices & !passed == 0 => {
                self.conclude(index, true)
            }
            Phase::Draining if session.is_drained() => self.conclude(index, true),
            Phase::Open | Phase::Draining => self.schedule(index),
            Phase::Free | Phase::Closing => {}
        }
    }

    /// The time of a probe session has come.
    pub(super) fn expire_probe(&mut self, index: usize) {
        let session = &self.sessions[index];
        let over = session.ends_ms.is_some_and(|at_ms| at_ms <= self.now_ms);
        match session.phase {
            Phase::Draining => self.conclude(index, true),
            Phase::Open if over => self.conclude(index, true),
            _ => self.settle(index),
        }
    }

    /// Who has answered like a quorum, a bit mask. Nobody if there is none.
    fn passed(&self, index: usize) -> u8 {
        let session = &self.sessions[index];
        let vote = &session.vote;
        let service = self.services.get(usize::from(session.service));
        let ends = service.is_none_or(|service| service.probing.ends);
        let passes = |at: usize| {
            let answered = match ends || vote.ended() {
                true => vote.ended() && vote.is_done(at),
                false => vote.released() > 0 && vote.position(at) >= vote.released(),
            };
            vote.is_live(at) && answered
        };
        match vote.outcome() {
            Outcome::Open => self.replicas_that(passes) & session.present(),
            Outcome::Aborted | Outcome::NoQuorum => 0,
        }
    }

    /// Ends a probe session. `counts`: what it showed is worth something.
    fn conclude(&mut self, index: usize, counts: bool) {
        let session = &self.sessions[index];
        let (number, quorum) = (usize::from(session.service), session.quorum());
        let passed = if counts { self.passed(index) } else { 0 };
        let failed = session.present() & !passed;
        let late = failed & self.replicas_that(|at| session.vote.is_awaited(at));
        self.close(index, None);
        if passed.count_ones() as usize >= quorum {
            let among = |mask: u8| (0..REPLICAS_MAX).filter(move |at| mask & (1 << at) != 0);
            among(passed).for_each(|replica| self.pass(number, replica));
            among(failed)
                .for_each(|replica| self.fail(number, replica, late & (1 << replica) != 0));
        }
        let wants = self.wants_probe(number);
        let probing = &mut self.services[number].probing;
        probing.session = None;
        probing.ended_ms = Some(self.now_ms);
        if wants && probing.due_ms.is_none() {
            probing.due_ms = Some(self.now_ms + probing.wait_ms);
            probing.wait_ms = (2 * probing.wait_ms).min(PROBE_WAIT_MAX_MS);
        }
    }

    /// `replica` has answered like the others.
    fn pass(&mut self, number: usize, replica: usize) {
        if self.evidence[replica].pass(number) {
            self.happens(replica, Event::Cleared, None);
        }
        self.enter(number, replica);
    }

    /// It takes part in service `number` from now on.
    pub(super) fn make_ready(&mut self, number: usize, replica: usize) {
        let service = &mut self.services[number];
        let bit = 1 << replica;
        if service.ready & bit != 0 {
            return;
        }
        service.ready |= bit;
        // It has a quorum again, or for the first time.
        service.agreed |= service.ready.count_ones() as usize == service.quorum;
        self.stats_changed = true;
        self.admit_to_all(number);
        if self.services.iter().all(|s| s.replicas & bit == 0 || s.ready & bit != 0) {
            self.happens(replica, Event::Ready, None);
        }
    }

    /// It has not, though a quorum has. `late`: it did not answer in time.
    fn fail(&mut self, number: usize, replica: usize, late: bool) {
        let state = self.replicas[replica].life.state();
        let evidence = &mut self.evidence[replica];
        if state == State::Suspect && evidence.must_pass(number) {
            if !late || evidence.is_late() {
                self.accused[replica].get_or_insert(Condemnation::Probe);
            }
        } else if state.votes() {
            self.doubt(replica, 1 << number);
        }
    }
}
