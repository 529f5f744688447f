//! A replica's domain that is broken, or broken into. It is an honest gateway for a while, so that it
//! is let in, and then does to its memory and its channel what no gateway does, one misdeed after the
//! other until the domain is ended. What it does is a function of the seed and of which life of the
//! domain it is. It says so on standard error:
//!
//! ```text
//! gateway_1: hostile life <life>: <misdeed>
//! gateway_1: hostile rounds <how many since the last such line>
//! ```

use std::convert::Infallible;

use gateway::domain;
use resh_channel::memory::{Ordering, Words};
use resh_channel::message::{Kind, MAX_PAYLOAD_BYTES, Message, SessionId};
use resh_channel::ring::DATA_WORD;
use sel4_microkit::{Channel, ChannelSet, Handler, debug_println, now_ms, region, set_deadline};

use super::liar::{Liar, lie_in_one_of};

/// The channel to the voter.
const VOTER: Channel = Channel::new(0);
/// Word of a ring with its producer's position, of a cursor page with its reader's position.
const POSITION: usize = 0;
/// Word of a ring or a cursor page that asks for a signal.
const WANTS_SIGNAL: usize = 8;
/// How long the domain behaves at first, at most, in milliseconds.
const HONEST_MS: u64 = 400;
/// How long it keeps to one misdeed at most, in milliseconds.
const MISDEED_MS: u64 = 600;
/// Time between two rounds of a misdeed, in milliseconds.
const PAUSE_MS: u64 = 2;
/// Rounds that are worth a line.
const ROUNDS_PER_LINE: u64 = 10;

/// Pseudo-random numbers (SplitMix64).
#[derive(Clone, Copy)]
pub(super) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// What the domain does for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Misdeed {
    /// Random words all over its ring.
    Scribble,
    /// Its position on the reply ring moves anywhere.
    Head,
    /// Its position on the broadcast ring moves anywhere.
    Tail,
    /// Records with impossible headers.
    BadHeaders,
    /// Records that are in order and say what no gateway says.
    BadRecords,
    /// Votes to end sessions that have not ended, and bytes after the end.
    BadEnds,
    /// Signals without pause.
    Storm,
    /// Wrong bytes in answers, now and then.
    Lie,
    /// Wrong bytes in all answers.
    LieAlways,
    /// Does nothing any more.
    Hang,
    /// Computes, and does not wait.
    Spin,
    /// Says hello for another life.
    WrongHello,
    /// Ends.
    Exit,
    /// Aborts.
    Abort,
    /// Writes where it may not.
    Fault,
}

const MISDEEDS: [Misdeed; 15] = [
    Misdeed::Scribble,
    Misdeed::Head,
    Misdeed::Tail,
    Misdeed::BadHeaders,
    Misdeed::BadRecords,
    Misdeed::BadEnds,
    Misdeed::Storm,
    Misdeed::Lie,
    Misdeed::LieAlways,
    Misdeed::Hang,
    Misdeed::Spin,
    Misdeed::WrongHello,
    Misdeed::Exit,
    Misdeed::Abort,
    Misdeed::Fault,
];

/// Runs the hostile gateway.
///
/// # Errors
/// It could not start, or the voter broke the rules.
pub(super) fn run(seed: u64) -> Result<Infallible, String> {
    let text = |error: sel4_microkit::NotGranted| error.to_string();
    let replica = domain::replica().map_err(|error| error.to_string())?;
    let supervision = region("supervision").map_err(text)?;
    let life = supervision.get(replica).map_or(0, |word| word.load(Ordering::Acquire));
    let mut random = Random(seed ^ life.rotate_left(32));
    let (sockets, needs) = crate::domain::upstream()?;
    let honest = domain::start(Liar { inner: sockets, random });
    let hostile = Hostile {
        honest: honest.map_err(|error| error.to_string())?,
        misdeed: None,
        until_ms: now_ms() + random.below(HONEST_MS),
        rounds: 0,
        random,
        life,
        reply_ring: region("reply_ring").map_err(text)?,
        broadcast_ring: region("broadcast_ring").map_err(text)?,
        broadcast_cursor: region("broadcast_cursor").map_err(text)?,
    };
    crate::domain::run(Ok::<_, String>(hostile), &needs, true)
}

struct Hostile<H> {
    honest: H,
    /// None: it is still honest.
    misdeed: Option<Misdeed>,
    until_ms: u64,
    rounds: u64,
    random: Random,
    life: u64,
    reply_ring: &'static Words,
    broadcast_ring: &'static Words,
    broadcast_cursor: &'static Words,
}

impl<H: Handler> Handler for Hostile<H> {
    type Error = H::Error;

    fn notified(&mut self, channels: ChannelSet) -> Result<(), H::Error> {
        let now_ms = now_ms();
        if now_ms >= self.until_ms {
            self.turn_to_the_next(now_ms);
        }
        // It keeps up appearances between its misdeeds. What it does by then need not make sense, not even to
        // itself.
        let result = match self.misdeed {
            Some(Misdeed::Hang | Misdeed::Spin) => Ok(()),
            _ => self.honest.notified(channels),
        };
        let Some(misdeed) = self.misdeed else {
            set_deadline(Some(now_ms + PAUSE_MS));
            return result;
        };
        self.commit(misdeed);
        self.rounds += 1;
        if self.rounds.is_multiple_of(ROUNDS_PER_LINE) {
            debug_println!("hostile rounds {ROUNDS_PER_LINE}");
        }
        set_deadline(Some(now_ms + PAUSE_MS));
        Ok(())
    }
}

impl<H> Hostile<H> {
    fn turn_to_the_next(&mut self, now_ms: u64) {
        let misdeed = self.random.pick(&MISDEEDS);
        debug_println!("hostile life {}: {misdeed:?}", self.life);
        self.misdeed = Some(misdeed);
        self.until_ms = now_ms + self.random.below(MISDEED_MS);
        lie_in_one_of(match misdeed {
            Misdeed::Lie => 20,
            Misdeed::LieAlways => 1,
            _ => 0,
        });
    }

    fn commit(&mut self, misdeed: Misdeed) {
        match misdeed {
            Misdeed::Scribble => self.scribble(),
            Misdeed::Head => {
                let head = self.reply_ring[POSITION].load(Ordering::Relaxed);
                let position = self.position_near(head);
                self.reply_ring[POSITION].store(position, Ordering::Release);
            }
            Misdeed::Tail => {
                let tail = self.broadcast_cursor[POSITION].load(Ordering::Relaxed);
                let position = self.position_near(tail);
                self.broadcast_cursor[POSITION].store(position, Ordering::Release);
            }
            Misdeed::BadHeaders => self.bad_header(),
            Misdeed::BadRecords => self.bad_record(),
            Misdeed::BadEnds => self.bad_end(),
            Misdeed::Storm => self.storm(),
            Misdeed::WrongHello => {
                let life = self.random.next() ^ self.life;
                self.write(&Message::new(Kind::Hello, SessionId::default()).at(life), 0);
            }
            Misdeed::Spin => {
                while now_ms() < self.until_ms {
                    std::hint::spin_loop();
                }
            }
            Misdeed::Exit => std::process::exit(self.random.below(256) as i32),
            Misdeed::Abort => std::process::abort(),
            Misdeed::Fault => self.broadcast_ring[DATA_WORD].store(0, Ordering::Relaxed),
            Misdeed::Hang | Misdeed::Lie | Misdeed::LieAlways => {}
        }
        VOTER.notify();
    }

    fn capacity(&self) -> u64 {
        (self.reply_ring.len() - DATA_WORD) as u64
    }

    fn position_near(&mut self, position: u64) -> u64 {
        let capacity = self.capacity();
        let anywhere = self.random.next();
        self.random.pick(&[
            0,
            u64::MAX,
            anywhere,
            anywhere % (2 * capacity),
            position.wrapping_add(1),
            position.wrapping_sub(1),
            position.wrapping_add(capacity),
            position.wrapping_add(capacity + 1),
            position.wrapping_sub(capacity),
        ])
    }

    fn scribble(&mut self) {
        for _ in 0..1000 {
            // Half of it where the next records will be.
            let head = self.reply_ring[POSITION].load(Ordering::Relaxed);
            let near =
                DATA_WORD as u64 + head.wrapping_add(self.random.below(64)) % self.capacity();
            let anywhere = self.random.below(self.reply_ring.len() as u64);
            let at = self.random.pick(&[near, anywhere]) as usize;
            let value = self.random.next();
            self.reply_ring[at].store(self.random.pick(&[0, u64::MAX, value]), Ordering::Relaxed);
        }
    }

    /// Puts words at the head of the reply ring and moves the head past them, as far as they say.
    fn publish(&mut self, words: &[u64], advance: u64) {
        let head = self.reply_ring[POSITION].load(Ordering::Relaxed);
        for (number, word) in words.iter().enumerate() {
            let at = head.wrapping_add(number as u64) % self.capacity();
            let at = DATA_WORD + at as usize;
            self.reply_ring[at].store(*word, Ordering::Relaxed);
        }
        self.reply_ring[POSITION].store(head.wrapping_add(advance), Ordering::Release);
    }

    /// Writes a record in order, with `len` bytes of whatever lies there. The ring's own module would
    /// refuse to write most of what is wanted here.
    fn write(&mut self, message: &Message, len: usize) {
        let Message { kind, arg, session, to, clock_s, offset } = *message;
        let first = len as u64 | (kind as u64) << 32 | u64::from(arg) << 40;
        let first = first | u64::from(session.generation) << 48;
        let second = u64::from(session.index) | u64::from(to) << 16 | u64::from(clock_s) << 32;
        self.publish(&[first, second, offset], 3 + len.div_ceil(8) as u64);
    }

    fn bad_header(&mut self) {
        let (a, b, c) = (self.random.next(), self.random.next(), self.random.next());
        let len = self.random.pick(&[
            0,
            1,
            MAX_PAYLOAD_BYTES as u64,
            MAX_PAYLOAD_BYTES as u64 + 1,
            u64::from(u32::MAX),
        ]);
        let kind = self.random.below(256) << 32;
        let header = [len | kind | a << 40, b, c];
        let advance = self.random.pick(&[1, 2, 3, 4, 4096, 5000]);
        self.publish(&header, advance);
    }

    fn any_session(&mut self) -> SessionId {
        let (near, far) = (self.random.below(8), self.random.below(1 << 16));
        let generation = self.random.below(4) as u16;
        SessionId { index: self.random.pick(&[near, near, far]) as u16, generation }
    }

    fn bad_record(&mut self) {
        use Kind::{
            Admit, Answered, Closed, Credit, Data, Evict, Framed, Hello, Open, Ordered, Probe,
            Release, Rest, Taken,
        };
        let session = self.any_session();
        let kind = self.random.pick(&[
            Open, Data, Taken, Credit, Release, Closed, Evict, Hello, Framed, Answered, Rest,
            Ordered, Admit, Probe,
        ]);
        let (a, b) = (self.random.below(1 << 20), self.random.next());
        let offset = self.random.pick(&[0, 1, 65_536, 65_537, a, b, u64::MAX]);
        let len = self.random.pick(&[0, 1, 7, 1000, MAX_PAYLOAD_BYTES]);
        let message =
            Message { kind, arg: a as u8, session, to: b as u8, clock_s: b as u32, offset };
        self.write(&message, len);
    }

    fn bad_end(&mut self) {
        let session = self.any_session();
        let kind = self.random.pick(&[Kind::Fin, Kind::Reset, Kind::Data]);
        let offset = self.random.pick(&[0, 0, 1, 100]);
        self.write(&Message { kind, arg: 1, session, to: 0, clock_s: 0, offset }, 0);
    }

    fn storm(&mut self) {
        while now_ms() < self.until_ms {
            for _ in 0..100 {
                VOTER.notify();
                self.reply_ring[WANTS_SIGNAL].store(1, Ordering::Relaxed);
                self.broadcast_cursor[WANTS_SIGNAL].store(1, Ordering::Relaxed);
            }
        }
    }
}
