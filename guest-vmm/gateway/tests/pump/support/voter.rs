//! The voter, as its gateway sees it. It checks every record.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use gateway::{Gateway, Rings};
use resh_channel::joining;
use resh_channel::message::{AdmitHead, Kind, Message, Nonce, OrderedHead, SessionId};
use resh_channel::ring::{Consumer, Producer, note};
use resh_channel::window::{REPLY_CREDIT_BYTES, REQUEST_CREDIT_BYTES};

use zerocopy::IntoBytes;

use super::server::Servers;
use super::{GENERATION, MEMORY, REPLICA, TOTAL, appliance};

/// The nonce of all sessions.
pub(crate) const NONCE: Nonce = *b"sixteen letters.";

/// What is known of a session.
pub(crate) struct Known {
    pub(crate) id: SessionId,
    pub(crate) sent: u64,
    pub(crate) fin_sent: bool,
    pub(crate) taken: u64,
    pub(crate) credit: u64,
    /// Reply bytes before those.
    pub(crate) skipped: u64,
    pub(crate) replied: Vec<u8>,
    pub(crate) fin: bool,
    pub(crate) reset: Option<u8>,
    /// Ends of requests: positions and flags.
    pub(crate) framed: Vec<(u64, u8)>,
    /// Where it was at rest: positions in the request and the reply stream.
    pub(crate) rests: Vec<(u64, u64)>,
}

impl Known {
    /// Position in the reply stream.
    pub(crate) fn reply_end(&self) -> u64 {
        self.skipped + self.replied.len() as u64
    }

    /// Request bytes that may be sent.
    pub(crate) fn request_credit(&self) -> usize {
        (self.taken + REQUEST_CREDIT_BYTES as u64 - self.sent) as usize
    }
}

/// A voter with one gateway.
pub(crate) struct Voter<'m> {
    pub(crate) gateway: Gateway<'m, Servers>,
    broadcast: Producer<'m>,
    replies: Option<Consumer<'m>>,
    rings: Rings<'m>,
    pub(crate) sessions: HashMap<u16, Known>,
    /// Requests executed: number, session, service.
    pub(crate) answered: Vec<(u64, SessionId, u8)>,
    pub(crate) now_ms: u64,
    pub(crate) clock_s: u32,
    /// The gateway was signalled.
    signalled: bool,
    wake_at_ms: Option<u64>,
    /// We were signalled, or did not read to the end.
    awake: bool,
    hellos: usize,
}

impl<'m> Voter<'m> {
    /// A voter whose gateway has joined, at some position of the broadcast ring.
    pub(crate) fn joined(rings: Rings<'m>) -> Self {
        let mut voter = Self::new(rings);
        voter.run();
        assert_eq!(voter.hellos, 0, "a hello before the voter is ready");
        voter.be_ready();
        voter.run();
        voter.hear();
        assert_eq!(voter.hellos, 1);
        voter.welcome();
        voter.run();
        voter.hear();
        assert_eq!(voter.hellos, 2);
        voter.broadcast.pause_reader(0, false);
        voter
    }

    pub(crate) fn new(rings: Rings<'m>) -> Self {
        let gateway =
            Gateway::new(&appliance(), REPLICA, GENERATION, MEMORY, rings, Servers::new()).unwrap();
        let mut broadcast = Producer::new(rings.broadcast_ring, 0).unwrap();
        // The beginning of the ring is history.
        for _ in 0..1000 {
            assert!(broadcast.push(&Message::new(Kind::Reset, SessionId::default()), &[]).unwrap());
        }
        broadcast.publish();
        Self {
            gateway,
            broadcast,
            replies: None,
            rings,
            sessions: HashMap::new(),
            answered: Vec::new(),
            now_ms: 0,
            clock_s: 1_000_000_000,
            signalled: true,
            wake_at_ms: None,
            awake: true,
            hellos: 0,
        }
    }

    /// Lets the gateway make its reply ring go on, at some position.
    pub(crate) fn be_ready(&mut self) {
        let Rings { reply_ring, reply_cursor, .. } = self.rings;
        self.replies = Some(Consumer::new(reply_ring, reply_cursor, 123_456).unwrap());
        note(reply_cursor, joining::READY).store(GENERATION, Ordering::Release);
        self.signalled = true;
    }

    fn welcome(&mut self) {
        let Rings { broadcast_cursor, reply_cursor, .. } = self.rings;
        let start = self.broadcast.add_reader(0, broadcast_cursor).unwrap();
        self.broadcast.pause_reader(0, true);
        note(reply_cursor, joining::START).store(start, Ordering::Relaxed);
        note(reply_cursor, joining::GENERATION).store(GENERATION, Ordering::Release);
        self.signalled = true;
    }

    pub(crate) fn servers(&mut self) -> &mut Servers {
        self.gateway.upstream()
    }

    /// Runs the gateway if it was signalled, and for as long as it wants to.
    pub(crate) fn run(&mut self) {
        let by_server = std::mem::take(&mut self.gateway.upstream().signalled);
        let by_time = self.wake_at_ms.is_some_and(|at_ms| at_ms <= self.now_ms);
        if !(std::mem::take(&mut self.signalled) || by_server || by_time) {
            return;
        }
        for _ in 0..1_000_000 {
            let round = self.gateway.round(self.now_ms).expect("the voter keeps the rules");
            self.wake_at_ms = round.wake_at_ms;
            self.awake |= round.signal_voter;
            if !round.again {
                return;
            }
        }
        panic!("the gateway never rests");
    }

    /// Broadcasts a record. False if there is no room.
    pub(crate) fn say(&mut self, message: &Message, payload: &[u8]) -> bool {
        let written = self.broadcast.push(&message.clock(self.clock_s), payload).unwrap();
        if self.broadcast.publish() != 0 {
            self.signalled = true;
        }
        written
    }

    /// Asks for a signal when the broadcast ring has room. True if there is none.
    pub(crate) fn wait_for_room(&mut self) -> bool {
        self.broadcast.arm(5000).unwrap()
    }

    /// Whether the gateway has signalled us since we last read to the end.
    pub(crate) fn is_signalled(&self) -> bool {
        self.awake
    }

    /// Opens a session in which the gateway's replica takes part.
    pub(crate) fn open(&mut self, id: SessionId, service: u8) -> bool {
        self.begin(Message::new(Kind::Open, id).arg(service), &NONCE)
    }

    /// Opens a session without a client.
    pub(crate) fn probe(&mut self, id: SessionId, service: u8) -> bool {
        self.begin(Message::new(Kind::Probe, id).arg(service), &[])
    }

    /// Orders a request of service [`TOTAL`].
    pub(crate) fn order(&mut self, id: SessionId, number: u64, flags: u8, bytes: &[u8]) -> bool {
        self.order_of(TOTAL, id, number, flags, bytes)
    }

    /// Orders a request of a service.
    pub(crate) fn order_of(
        &mut self,
        service: u8,
        id: SessionId,
        number: u64,
        flags: u8,
        bytes: &[u8],
    ) -> bool {
        let head = OrderedHead {
            nonce: NONCE,
            clock_ms: (u64::from(self.clock_s) * 1000).into(),
            service,
            spare: [0; 7],
        };
        let message = Message::new(Kind::Ordered, id).arg(flags).at(number).to(1 << REPLICA);
        self.say(&message, &[head.as_bytes(), bytes].concat())
    }

    /// Lets the gateway's replica take part from these positions of the request and the reply stream on.
    pub(crate) fn admit(
        &mut self,
        id: SessionId,
        service: u8,
        (request, reply): (u64, u64),
    ) -> bool {
        let head = AdmitHead {
            nonce: NONCE,
            reply_offset: reply.into(),
            reply_credit: (reply + REPLY_CREDIT_BYTES as u64).into(),
        };
        let message = Message::new(Kind::Admit, id).arg(service).at(request);
        let written = self.begin(message, head.as_bytes());
        if let Some(known) = self.sessions.get_mut(&id.index).filter(|_| written) {
            (known.sent, known.taken) = (request, request);
            (known.skipped, known.credit) = (reply, head.reply_credit.get());
        }
        written
    }

    fn begin(&mut self, message: Message, payload: &[u8]) -> bool {
        let id = message.session;
        let written = self.say(&message.to(1 << REPLICA), payload);
        if written {
            let known = Known {
                id,
                sent: 0,
                fin_sent: false,
                taken: 0,
                credit: REPLY_CREDIT_BYTES as u64,
                skipped: 0,
                replied: Vec::new(),
                fin: false,
                reset: None,
                framed: Vec::new(),
                rests: Vec::new(),
            };
            self.sessions.insert(id.index, known);
        }
        written
    }

    /// Sends request bytes.
    pub(crate) fn request(&mut self, index: u16, bytes: &[u8]) -> bool {
        let known = &self.sessions[&index];
        let message = Message::new(Kind::Data, known.id).at(known.sent);
        assert!(bytes.len() <= known.request_credit());
        let written = self.say(&message, bytes);
        if written {
            self.sessions.get_mut(&index).unwrap().sent += bytes.len() as u64;
        }
        written
    }

    /// Ends the request stream.
    pub(crate) fn request_fin(&mut self, index: u16) -> bool {
        let known = &self.sessions[&index];
        let message = Message::new(Kind::Fin, known.id).at(known.sent);
        let written = self.say(&message, &[]);
        self.sessions.get_mut(&index).unwrap().fin_sent |= written;
        written
    }

    /// Extends the reply credit.
    pub(crate) fn allow(&mut self, index: u16, bytes: u64) -> bool {
        let known = &self.sessions[&index];
        let (id, credit) = (known.id, known.credit + bytes);
        let written = self.say(&Message::new(Kind::Credit, id).at(credit), &[]);
        if written {
            self.sessions.get_mut(&index).unwrap().credit = credit;
        }
        written
    }

    /// Reads what the gateway says, if we are awake, at most `limit` records, and checks it.
    pub(crate) fn hear_some(&mut self, limit: usize) {
        let Some(replies) = self.replies.as_mut().filter(|_| self.awake) else { return };
        for _ in 0..limit {
            let Some(record) = replies.peek().expect("a ring in order") else { break };
            let Message { kind, session: id, offset, arg, .. } = record.message;
            if kind == Kind::Hello {
                assert_eq!(offset, GENERATION);
                self.hellos += 1;
                replies.advance(&record);
                continue;
            }
            if kind == Kind::Answered {
                self.answered.push((offset, id, arg));
                replies.advance(&record);
                continue;
            }
            let known = self.sessions.get_mut(&id.index).expect("a session that was opened");
            let mut bytes = vec![0; record.payload.len()];
            record.payload.copy_to(&mut bytes);
            replies.advance(&record);
            if known.id != id {
                continue;
            }
            assert!(known.reset.is_none(), "{kind:?} after a reset");
            match kind {
                Kind::Data => {
                    assert!(!known.fin, "data after the end");
                    assert!(!bytes.is_empty());
                    assert_eq!(offset, known.reply_end(), "a gap");
                    known.replied.extend(&bytes);
                    assert!(known.reply_end() <= known.credit, "beyond the credit");
                }
                Kind::Fin => {
                    assert_eq!((offset, known.fin), (known.reply_end(), false));
                    known.fin = true;
                }
                Kind::Reset => known.reset = Some(arg),
                Kind::Taken => {
                    assert!(offset > known.taken && offset <= known.sent, "impossible `Taken`");
                    known.taken = offset;
                }
                Kind::Framed => {
                    let last = known.framed.last().map_or(0, |(end, _)| *end);
                    assert!(offset > last && offset <= known.sent, "impossible `Framed`");
                    known.framed.push((offset, arg));
                }
                Kind::Rest => {
                    let last = known.rests.last().map_or(0, |(request, _)| *request);
                    assert!(offset > last && offset <= known.sent, "impossible `Rest`");
                    assert!(!known.fin, "at rest after the end");
                    known.rests.push((offset, known.reply_end()));
                }
                other => panic!("a gateway says {other:?}"),
            }
        }
        self.signalled |= replies.release();
        self.awake = !replies.arm();
    }

    /// Reads all that the gateway says.
    pub(crate) fn hear(&mut self) {
        self.hear_some(usize::MAX);
    }
}
