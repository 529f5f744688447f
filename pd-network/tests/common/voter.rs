//! A voter without replicas, which checks every record that the network sends.

use std::net::SocketAddr;

use resh_channel::memory::{Ordering, Words};
use resh_channel::message::{Kind, Message, Reason, SessionId};
use resh_channel::ring::{Consumer, Producer, Record};

use resh_channel::window::{REQUEST_CREDIT_BYTES, SLOT_BYTES, WINDOW_BYTES};

use super::{Rng, pattern};

/// What a session answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// What it was sent; ends when the client ends.
    Echo,
    /// That many bytes of [`pattern`] with the session's index as the stream, then the end, at once.
    Source(u64),
    /// Nothing. It reads only the bytes of the initial credit, and ends when told so.
    Mute,
    /// Nothing, but it reads everything and ends when the client does.
    Sink,
    /// Resets the session at once.
    Refuse,
}

/// A session as the voter sees it.
#[derive(Clone, Debug)]
pub struct Session {
    pub id: SessionId,
    pub service: Service,
    pub peer: SocketAddr,
    pub request: Vec<u8>,
    pub credit: u64,
    pub request_fin: bool,
    pub reset: Option<Reason>,
    pub reset_by_us: bool,
    pub reply: Vec<u8>,
    pub released: u64,
    pub taken: u64,
    pub reply_fin: bool,
    pub fin_sent: bool,
    pub closed: bool,
}

/// The other end of the network's rings.
pub struct Voter<'m> {
    to_network: Producer<'m>,
    from_network: Consumer<'m>,
    window: &'m Words,
    pub rng: Rng,
    /// By service index.
    pub services: Vec<Service>,
    /// By session index.
    pub sessions: Vec<Option<Session>>,
    /// Records taken from the ring in one step, at most; 0 holds it full.
    pub appetite: usize,
    /// Sessions are not freed while this is set.
    pub hold_closed: bool,
    /// Bytes released in one step for one session, at most.
    pub release_bytes: usize,
    pub opened: u64,
    pub closed: u64,
}

impl<'m> Voter<'m> {
    pub fn new(
        to_network: Producer<'m>,
        from_network: Consumer<'m>,
        window: &'m Words,
        rng: Rng,
    ) -> Self {
        Self {
            to_network,
            from_network,
            window,
            rng,
            services: vec![Service::Echo],
            sessions: vec![None; window.len() * 8 / SLOT_BYTES],
            appetite: usize::MAX,
            hold_closed: false,
            release_bytes: usize::MAX,
            opened: 0,
            closed: 0,
        }
    }

    /// One step, in which it looks at its ring only if it is awake. True if the network is to be notified.
    pub fn step(&mut self, awake: bool) -> bool {
        for _ in 0..if awake { self.appetite } else { 0 } {
            let Some(record) = self.from_network.peek().expect("the network's ring") else { break };
            self.record(&record);
            self.from_network.advance(&record);
        }
        let mut notify = self.from_network.release();
        for index in 0..self.sessions.len() {
            self.answer(index);
        }
        notify |= self.to_network.publish() != 0;
        notify
    }

    /// Before waiting; true if there is nothing to read.
    pub fn sleep(&mut self) -> bool {
        self.from_network.arm()
    }

    /// Sessions not yet freed.
    pub fn live(&self) -> usize {
        self.sessions.iter().flatten().filter(|session| !session.closed).count()
    }

    pub fn session(&self, index: u16) -> &Session {
        self.sessions[usize::from(index)].as_ref().expect("a session")
    }

    pub fn session_mut(&mut self, index: u16) -> &mut Session {
        self.sessions[usize::from(index)].as_mut().expect("a session")
    }

    /// The present session of the client at `peer`.
    pub fn find(&self, peer: SocketAddr) -> Option<u16> {
        let mut all = self.sessions.iter().flatten();
        all.find(|session| session.peer == peer).map(|session| session.id.index)
    }

    /// Sends any record, whatever it does.
    pub fn push(&mut self, message: Message) {
        assert!(self.to_network.push(&message, &[]).unwrap(), "no room in the ring to the network");
    }

    /// Fills the ring to the network with `message`, and waits for room.
    pub fn fill_with(&mut self, message: Message) {
        while self.to_network.push(&message, &[]).unwrap() {}
        self.to_network.publish();
        assert!(self.to_network.arm(0).unwrap());
    }

    pub fn reset(&mut self, index: u16, reason: Reason) {
        let id = self.session(index).id;
        self.push(Message::new(Kind::Reset, id).arg(reason as u8));
        self.session_mut(index).reset_by_us = true;
    }

    fn record(&mut self, record: &Record<'_>) {
        let message = record.message;
        let id = message.session;
        let slot = &mut self.sessions[usize::from(id.index)];
        if message.kind == Kind::Open {
            let last = slot.as_ref().map_or(0, |session| {
                assert!(session.closed, "index {} opened before it was freed", id.index);
                session.id.generation
            });
            assert_eq!(id.generation, last.wrapping_add(1), "generation");
            let mut text = vec![0; record.payload.len()];
            record.payload.copy_to(&mut text);
            let peer = std::str::from_utf8(&text).unwrap().parse().expect("the client's address");
            let service = self.services[usize::from(message.arg)];
            self.opened += 1;
            *slot = Some(Session {
                id,
                service,
                peer,
                request: Vec::new(),
                credit: REQUEST_CREDIT_BYTES as u64,
                request_fin: false,
                reset: None,
                reset_by_us: false,
                reply: Vec::new(),
                released: 0,
                taken: 0,
                reply_fin: false,
                fin_sent: false,
                closed: false,
            });
            if let Service::Source(len) = service {
                let stream = u64::from(id.index);
                let session = slot.as_mut().unwrap();
                session.reply = (0..len).map(|offset| pattern(stream, offset)).collect();
                session.reply_fin = true;
            }
            return;
        }
        let session = slot.as_mut().expect("a record for an index never opened");
        assert_eq!(id.generation, session.id.generation, "a record for another generation");
        if session.closed {
            // It was on its way.
            return;
        }
        assert_eq!(session.reset, None, "a record after a reset: {message:?}");
        match message.kind {
            Kind::Data => {
                assert!(!session.request_fin, "data after the end");
                assert_eq!(
                    message.offset,
                    session.request.len() as u64,
                    "request bytes in sequence"
                );
                assert!(!record.payload.is_empty(), "an empty record");
                let mut bytes = vec![0; record.payload.len()];
                record.payload.copy_to(&mut bytes);
                session.request.extend_from_slice(&bytes);
                assert!(session.request.len() as u64 <= session.credit, "more than the credit");
                if session.service == Service::Echo {
                    session.reply.extend_from_slice(&bytes);
                }
            }
            Kind::Fin => {
                assert!(!session.request_fin, "a second end");
                assert_eq!(message.offset, session.request.len() as u64, "the end's offset");
                session.request_fin = true;
            }
            Kind::Taken => {
                assert!(message.offset > session.taken, "taken moves on");
                assert!(message.offset <= session.released, "taken before it was released");
                session.taken = message.offset;
            }
            Kind::Reset => session.reset = Reason::from_u8(message.arg),
            other => panic!("the network sends no {other:?}"),
        }
    }

    fn answer(&mut self, index: usize) {
        let Some(session) = &mut self.sessions[index] else { return };
        if session.closed {
            return;
        }
        let id = session.id;
        let mut send = |message: Message| self.to_network.push(&message, &[]).unwrap();
        let gone = session.reset.is_some() || session.reset_by_us;
        let both_ended = session.request_fin && session.fin_sent;
        if gone || both_ended {
            if !self.hold_closed && self.rng.one_in(2) && send(Message::new(Kind::Closed, id)) {
                session.closed = true;
                self.closed += 1;
            }
            return;
        }
        if session.service == Service::Refuse {
            let reset = Message::new(Kind::Reset, id).arg(Reason::Stopped as u8);
            session.reset_by_us = send(reset);
            return;
        }
        let wanted = session.request.len() as u64 + REQUEST_CREDIT_BYTES as u64;
        let reads = session.service != Service::Mute;
        if reads && session.credit < wanted && self.rng.one_in(2) {
            let more = 1 + self.rng.below((wanted - session.credit) as usize) as u64;
            if send(Message::new(Kind::Credit, id).at(session.credit + more)) {
                session.credit += more;
            }
        }
        if matches!(session.service, Service::Echo | Service::Sink) && session.request_fin {
            session.reply_fin = true;
        }
        let room = session.taken + WINDOW_BYTES as u64 - session.released;
        let rest = session.reply.len() as u64 - session.released;
        let most = (room.min(rest) as usize).min(self.release_bytes);
        // Sometimes all of it, sometimes a piece.
        let now = if self.rng.one_in(2) { most } else { self.rng.below(most + 1) };
        if now > 0 {
            let slot = &self.window[index * SLOT_BYTES / 8..(index + 1) * SLOT_BYTES / 8];
            for offset in session.released..session.released + now as u64 {
                let at = (offset % WINDOW_BYTES as u64) as usize;
                let mut word = slot[at / 8].load(Ordering::Relaxed).to_ne_bytes();
                word[at % 8] = session.reply[offset as usize];
                slot[at / 8].store(u64::from_ne_bytes(word), Ordering::Relaxed);
            }
            if send(Message::new(Kind::Release, id).at(session.released + now as u64)) {
                session.released += now as u64;
            }
        }
        let all = session.reply.len() as u64;
        if session.reply_fin && session.released == all && !session.fin_sent {
            session.fin_sent = send(Message::new(Kind::Fin, id).at(all));
        }
    }
}
