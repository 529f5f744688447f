//! A voter with its rings in ordinary memory, a scripted network and scripted gateways.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

use std::net::SocketAddr;

use pd_voter::replica::Channel;
use pd_voter::voter::{Parts, Signals, Voter};
use resh_channel::config::{Appliance, Limits, Network, OnMismatch, Protocol, Replica, Service};
use resh_channel::joining;
use resh_channel::memory::{AtomicU64, Ordering};
use resh_channel::message::{CONNECTED, Kind, MAX_PAYLOAD_BYTES, Message, Reason, SessionId};
use resh_channel::ring::{Consumer, DATA_WORD, Producer, note};
use resh_channel::stats::ReplicaState;
use resh_channel::supervision::{DIRECTIVE, GENERATION};
use resh_channel::window::{self, SLOT_BYTES, VOTER_SLOTS};

/// Words of a ring region: the smallest that is allowed, and a little.
pub const RING_WORDS: usize = DATA_WORD + 2 * (MAX_PAYLOAD_BYTES / 8 + 3) + 61;

pub type Region = Box<[AtomicU64]>;

pub fn region(words: usize) -> Region {
    (0..words).map(|_| AtomicU64::new(0)).collect()
}

/// A window region for so many clients' sessions.
pub fn window(slots: usize) -> Vec<u8> {
    vec![0; (slots + VOTER_SLOTS) * SLOT_BYTES]
}

/// All shared memory.
pub struct Memory {
    pub n2v_ring: Region,
    pub n2v_cursor: Region,
    pub v2n_ring: Region,
    pub v2n_cursor: Region,
    pub broadcast_ring: Region,
    pub broadcast_cursors: [Region; 3],
    pub reply_rings: [Region; 3],
    pub reply_cursors: [Region; 3],
    pub stats: Region,
    pub supervision: Region,
}

impl Memory {
    pub fn new() -> Self {
        Self::with_rings(RING_WORDS)
    }

    pub fn with_rings(words: usize) -> Self {
        let cursor = || region(512);
        let ring = || region(words);
        Self {
            n2v_ring: ring(),
            n2v_cursor: cursor(),
            v2n_ring: ring(),
            v2n_cursor: cursor(),
            broadcast_ring: ring(),
            broadcast_cursors: [cursor(), cursor(), cursor()],
            reply_rings: [ring(), ring(), ring()],
            reply_cursors: [cursor(), cursor(), cursor()],
            stats: region(2048),
            supervision: region(512),
        }
    }

    pub fn parts<'m>(&'m self, window: &'m mut [u8]) -> Parts<'m> {
        let channel = |at: usize| Channel {
            reply_ring: &self.reply_rings[at],
            reply_cursor: &self.reply_cursors[at],
            broadcast_cursor: &self.broadcast_cursors[at],
        };
        Parts {
            n2v_ring: &self.n2v_ring,
            n2v_cursor: &self.n2v_cursor,
            v2n_ring: &self.v2n_ring,
            v2n_cursor: &self.v2n_cursor,
            broadcast_ring: &self.broadcast_ring,
            replicas: [channel(0), channel(1), channel(2)],
            window,
            order: &mut [],
            stats: &self.stats,
            supervision: &self.supervision,
        }
    }
}

/// One service with so many replicas.
pub fn appliance(replicas: usize, on_mismatch: OnMismatch) -> Appliance {
    let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let replicas = (0..replicas).map(|at| Replica {
        name: format!("r{at}").as_str().try_into().unwrap(),
        address: address(9000 + at as u16),
    });
    let service = Service {
        name: "web".try_into().unwrap(),
        listen: address(8080),
        protocol: Protocol::Raw,
        transport: core::default::Default::default(),
        order: core::default::Default::default(),
        state: core::default::Default::default(),
        probe: core::default::Default::default(),
        on_mismatch,
        replicas: replicas.collect(),
    };
    Appliance {
        name: "test".try_into().unwrap(),
        metrics: None,
        recovery: core::default::Default::default(),
        seed: core::default::Default::default(),
        limits: Limits { reply_ms: 500, lag_budget_ms: 100, ..Limits::default() },
        network: Network::Kernel,
        services: [service].into_iter().collect(),
        guests: [].into_iter().collect(),
    }
}

pub fn id(index: u16, generation: u16) -> SessionId {
    SessionId { index, generation }
}

/// What one end of a channel read: the message, and its payload.
pub type Heard = (Message, Vec<u8>);

/// The domain of one replica, which does what the test says.
pub struct Gateway<'m> {
    memory: &'m Memory,
    number: usize,
    /// Which life it is in.
    pub generation: u64,
    /// Whether the voter was to be notified.
    pub signalled: bool,
    pub replies: Option<Producer<'m>>,
    pub broadcast: Option<Consumer<'m>>,
    /// Whether it answers that its server accepts connections.
    pub connects: bool,
    /// Whether it has answered a probe in this life.
    pub answered: bool,
    /// The probe sessions there are.
    probes: Vec<SessionId>,
    /// What it has read before, while it looked for probes.
    inbox: Vec<Heard>,
}

impl<'m> Gateway<'m> {
    /// Goes one step further in joining. True once it is in.
    pub fn join(&mut self) -> bool {
        let cursor = &self.memory.reply_cursors[self.number];
        let ready = note(cursor, joining::READY).load(Ordering::Acquire) == self.generation;
        if self.replies.is_none() && ready {
            let start = Consumer::position_in(cursor);
            let mut replies = Producer::new(&self.memory.reply_rings[self.number], start).unwrap();
            replies.add_reader(0, cursor).unwrap();
            self.replies = Some(replies);
            self.hello();
        } else if self.broadcast.is_none()
            && note(cursor, joining::GENERATION).load(Ordering::Acquire) == self.generation
        {
            let start = note(cursor, joining::START).load(Ordering::Relaxed);
            let own = &self.memory.broadcast_cursors[self.number];
            self.broadcast = Some(Consumer::new(&self.memory.broadcast_ring, own, start).unwrap());
            self.hello();
        }
        self.broadcast.is_some()
    }

    fn hello(&mut self) {
        let generation = self.generation;
        self.say(Message::new(Kind::Hello, SessionId::default()).at(generation), &[]);
    }

    pub fn say(&mut self, message: Message, payload: &[u8]) {
        assert!(self.try_say(message, payload), "the reply ring is full");
    }

    pub fn try_say(&mut self, message: Message, payload: &[u8]) -> bool {
        let replies = self.replies.as_mut().expect("has joined");
        // The cursor page is the voter's, and it keeps the rules; our own ring may be scribbled over.
        let said = replies.push(&message, payload).unwrap_or(false);
        self.signalled |= replies.publish() != 0;
        said
    }

    pub fn data(&mut self, session: SessionId, offset: u64, bytes: &[u8]) {
        self.say(Message::new(Kind::Data, session).at(offset), bytes);
    }

    pub fn fin(&mut self, session: SessionId, offset: u64) {
        self.say(Message::new(Kind::Fin, session).at(offset), &[]);
    }

    pub fn reset(&mut self, session: SessionId) {
        self.say(Message::new(Kind::Reset, session).arg(Reason::Peer as u8), &[]);
    }

    pub fn hear(&mut self) -> Vec<Heard> {
        self.hear_some(usize::MAX).expect("the voter keeps the rules")
    }

    /// At most so many records, or none if this end of the ring is broken. Probes are answered, and not
    /// among them.
    pub fn hear_some(&mut self, most: usize) -> Option<Vec<Heard>> {
        let mut heard = std::mem::take(&mut self.inbox);
        while heard.len() < most
            && let Some(record) = self.broadcast.as_mut()?.peek().ok()?
        {
            let mut payload = vec![0; record.payload.len()];
            record.payload.copy_to(&mut payload);
            self.broadcast.as_mut()?.advance(&record);
            if !self.answer_probe(&record.message) {
                heard.push((record.message, payload));
            }
        }
        self.signalled |= self.broadcast.as_mut()?.release();
        Some(heard)
    }

    /// Answers probes, and keeps everything else for later.
    pub fn answer_probes(&mut self) {
        if let Some(heard) = self.hear_some(usize::MAX) {
            self.inbox = heard;
        }
    }

    /// Whether `message` is one of a probe. If it is the question, it is answered.
    fn answer_probe(&mut self, message: &Message) -> bool {
        let session = message.session;
        if message.kind != Kind::Probe {
            return self.probes.contains(&session);
        }
        self.probes.retain(|probe| probe.index != session.index);
        self.probes.push(session);
        if message.to >> self.number & 1 == 0 {
        } else if self.connects {
            let fin = Message::new(Kind::Fin, session).at(CONNECTED.len() as u64);
            self.answered |= self.try_say(Message::new(Kind::Data, session), CONNECTED)
                && self.try_say(fin, &[]);
        } else {
            let refused = Message::new(Kind::Reset, session).arg(Reason::Refused as u8);
            self.try_say(refused, &[]);
        }
        true
    }

    /// Whether it has joined.
    pub fn is_in(&self) -> bool {
        self.broadcast.is_some()
    }
}

/// A voter and everybody around it.
pub struct World<'m> {
    pub memory: &'m Memory,
    pub voter: Voter<'m>,
    pub to_voter: Producer<'m>,
    pub from_voter: Consumer<'m>,
    pub gateways: [Gateway<'m>; 3],
    pub now_ms: u64,
    /// Whether the voter was to be notified.
    pub signalled: bool,
}

pub const CLOCK_S: u32 = 1_700_000_000;

impl<'m> World<'m> {
    pub fn new(memory: &'m Memory, window: &'m mut [u8], appliance: &Appliance) -> Self {
        Self::with_order(memory, window, &mut [], appliance)
    }

    /// One with a region for requests in total order.
    pub fn with_order(
        memory: &'m Memory,
        window: &'m mut [u8],
        order: &'m mut [u8],
        appliance: &Appliance,
    ) -> Self {
        let gateway = |number| Gateway {
            memory,
            number,
            generation: 0,
            signalled: false,
            replies: None,
            broadcast: None,
            connects: true,
            answered: false,
            probes: Vec::new(),
            inbox: Vec::new(),
        };
        let to_voter = Producer::with_reader(&memory.n2v_ring, &memory.n2v_cursor).unwrap();
        Self {
            memory,
            voter: Voter::new(Parts { order, ..memory.parts(window) }, appliance).unwrap(),
            to_voter,
            from_voter: Consumer::new(&memory.v2n_ring, &memory.v2n_cursor, 0).unwrap(),
            gateways: [gateway(0), gateway(1), gateway(2)],
            now_ms: 1_000,
            signalled: false,
        }
    }

    /// Starts a new life of a gateway's domain.
    pub fn restart(&mut self, number: usize) {
        let gateway = &mut self.gateways[number];
        gateway.generation += 1;
        (gateway.replies, gateway.broadcast) = (None, None);
        gateway.inbox.clear();
        gateway.answered = false;
        self.memory.supervision[GENERATION + number].store(gateway.generation, Ordering::Release);
        self.signalled = true;
    }

    /// Starts `count` gateways and lets them in.
    pub fn start(&mut self, count: usize) {
        for number in 0..count {
            self.restart(number);
        }
        let all: Vec<usize> = (0..count).collect();
        self.let_in(&all);
        assert!(self.gateways[..count].iter().all(|gateway| gateway.broadcast.is_some()));
    }

    /// Lets gateways in that were started, and answers probes.
    pub fn let_in(&mut self, numbers: &[usize]) {
        for _ in 0..4 {
            self.run();
            for number in numbers {
                self.gateways[*number].join();
            }
        }
        self.answer_probes();
    }

    /// Answers probes for as long as there are any.
    pub fn answer_probes(&mut self) {
        for _ in 0..3 {
            self.run();
            for gateway in &mut self.gateways {
                gateway.answer_probes();
            }
        }
        self.run();
    }

    /// The state of a replica.
    pub fn state(&self, replica: usize) -> ReplicaState {
        self.voter.stats().replicas[replica].state
    }

    /// Steps until the voter would sleep.
    pub fn run(&mut self) -> Signals {
        let mut all = Signals::default();
        for _ in 0..1000 {
            let signals =
                self.voter.step(self.now_ms, CLOCK_S).expect("the network keeps the rules");
            all.network |= signals.network;
            all.supervisor |= signals.supervisor;
            all.gateways |= signals.gateways;
            if !signals.more && self.voter.arm() {
                return all;
            }
        }
        panic!("the voter does not come to rest");
    }

    /// Lets time pass, waking the voter only at its deadlines.
    pub fn pass(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while let Some(at) = self.voter.deadline_ms().filter(|at| *at <= end) {
            self.now_ms = at.max(self.now_ms + 1);
            self.run();
        }
        self.now_ms = end;
    }

    pub fn say(&mut self, message: Message, payload: &[u8]) {
        assert!(self.try_say(message, payload), "the ring to the voter is full");
    }

    pub fn try_say(&mut self, message: Message, payload: &[u8]) -> bool {
        let said = self.to_voter.push(&message, payload).expect("the voter keeps the rules");
        self.signalled |= self.to_voter.publish() != 0;
        said
    }

    pub fn open(&mut self, session: SessionId) {
        self.open_from(session, "192.0.2.1:1024");
    }

    /// Opens a session for the client at that address.
    pub fn open_from(&mut self, session: SessionId, client: &str) {
        self.say(Message::new(Kind::Open, session), client.as_bytes());
    }

    /// A gateway is to be told to stand aside, or not.
    pub fn direct(&mut self, number: usize, directive: u64) {
        self.memory.supervision[DIRECTIVE + number].store(directive, Ordering::Release);
        self.signalled = true;
    }

    /// What the network was told since the last time.
    pub fn hear(&mut self) -> Vec<Message> {
        let mut heard = Vec::new();
        while let Some(record) = self.from_voter.peek().expect("the voter keeps the rules") {
            heard.push(record.message);
            self.from_voter.advance(&record);
        }
        self.signalled |= self.from_voter.release();
        heard
    }

    /// Whether anybody has notified the voter, or its deadline has passed, since the last time.
    pub fn wakes(&mut self) -> bool {
        let mut wakes = core::mem::take(&mut self.signalled);
        for gateway in &mut self.gateways {
            wakes |= core::mem::take(&mut gateway.signalled);
        }
        wakes || self.voter.deadline_ms().is_some_and(|at_ms| at_ms <= self.now_ms)
    }

    /// Bytes of the reply stream, as the network sees them.
    pub fn released(&self, session: SessionId, from: u64, to: u64) -> Vec<u8> {
        let pieces = window::pieces(session.index.into(), from, (to - from) as usize);
        pieces.into_iter().flat_map(|piece| self.voter.window()[piece].to_vec()).collect()
    }
}

/// Only the kinds.
pub fn kinds(messages: &[Message]) -> Vec<Kind> {
    messages.iter().map(|message| message.kind).collect()
}
