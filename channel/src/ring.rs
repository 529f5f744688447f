//! Rings of records: one producer, and one or several consumers that each see all of it.
//!
//! A ring is one region that its producer alone may write, and for each consumer a cursor page that
//! this consumer alone may write. Capacity comes from the size of the mapping and is never read from
//! shared memory. Each end keeps its own position private and takes the other's as a claim: one that
//! cannot be true is a [`Violation`], and the peer is not to be believed any more.
//!
//! Positions count words since the beginning of time and never wrap (2⁶⁴ words is 4,000 years at
//! 1 GB/s). A record lies in one piece; what is left at the end of the ring is padded.
//!
//! Signals: a consumer that found nothing [arms](Consumer::arm) before it sleeps, and
//! [`Producer::publish`] says who sleeps and needs a signal. The same exists for a producer that waits
//! for room.

use crate::memory::{AtomicU64, Bytes, Ordering, Words, copy_across, copy_in, fence, words_for};
use crate::message::{HEADER_WORDS, MAX_PAYLOAD_BYTES, Message};

/// Word of the ring region with the producer's position.
const HEAD: usize = 0;
/// Word of the ring region that is 1 while the producer waits for room.
const STARVED: usize = 8;
/// First word of the records. The page before holds the words above.
pub const DATA_WORD: usize = if cfg!(loom) { 16 } else { 512 };
/// Word of a cursor page with the consumer's position.
const TAIL: usize = 0;
/// Word of a cursor page that is 1 while the consumer sleeps.
const ASLEEP: usize = 8;
/// Words of a cursor page that this module uses.
pub const CURSOR_WORDS: usize = 16;

/// First word of padding. No record begins so, for its length is out of bounds.
const PAD: u64 = u64::MAX;

/// Most consumers of one ring.
pub const MAX_READERS: usize = 5;

/// Words of the largest record.
const MAX_RECORD_WORDS: usize = HEADER_WORDS + words_for(MAX_PAYLOAD_BYTES);

/// What a peer did that it must never do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Its position went backwards, or further than the ring is long.
    Position,
    /// A record's header makes no sense.
    Header,
    /// A record reaches past what was published, or past the ring's end.
    Length,
}

impl core::fmt::Display for Violation {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Position => "impossible ring position",
            Self::Header => "impossible record header",
            Self::Length => "impossible record length",
        })
    }
}

/// The regions given for a ring are too small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSmall;

fn capacity(ring: &Words) -> Result<u64, TooSmall> {
    let words = ring.len().saturating_sub(DATA_WORD);
    // Room for the largest record wherever it starts, except under loom, where tests are tiny.
    let least = if cfg!(loom) { 2 * (HEADER_WORDS + 1) } else { 2 * MAX_RECORD_WORDS };
    if words < least { Err(TooSmall) } else { Ok(words as u64) }
}

#[derive(Clone, Copy)]
struct Reader<'m> {
    cursor: &'m Words,
    /// Its last position that we believed.
    tail: u64,
    active: bool,
}

/// The writing end of a ring.
pub struct Producer<'m> {
    ring: &'m Words,
    capacity: u64,
    head: u64,
    published: u64,
    readers: [Option<Reader<'m>>; MAX_READERS],
}

impl<'m> Producer<'m> {
    /// A producer with no consumer yet, which goes on at position `start`.
    pub fn new(ring: &'m Words, start: u64) -> Result<Self, TooSmall> {
        let capacity = capacity(ring)?;
        ring[STARVED].store(0, Ordering::Relaxed);
        ring[HEAD].store(start, Ordering::Release);
        Ok(Self { ring, capacity, head: start, published: start, readers: [None; MAX_READERS] })
    }

    /// A producer with one consumer, from the beginning.
    pub fn with_reader(ring: &'m Words, cursor: &'m Words) -> Result<Self, TooSmall> {
        let mut producer = Self::new(ring, 0)?;
        producer.add_reader(0, cursor)?;
        Ok(producer)
    }

    /// Adds consumer number `reader`, which starts at the present position and holds back the ring
    /// from now on. Returns that position, for its [`Consumer::new`].
    pub fn add_reader(&mut self, reader: usize, cursor: &'m Words) -> Result<u64, TooSmall> {
        let slot = self.readers.get_mut(reader).ok_or(TooSmall)?;
        if cursor.len() < CURSOR_WORDS {
            return Err(TooSmall);
        }
        *slot = Some(Reader { cursor, tail: self.head, active: true });
        Ok(self.head)
    }

    /// Consumer number `reader` no longer holds back the ring, nor is it signalled.
    pub fn drop_reader(&mut self, reader: usize) {
        if let Some(slot) = self.readers.get_mut(reader) {
            *slot = None;
        }
    }

    /// Our position, in words.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// True if every consumer has taken all that was published.
    pub fn is_drained(&mut self) -> Result<bool, (usize, Violation)> {
        self.refresh()?;
        Ok(self.readers.iter().flatten().all(|reader| reader.tail == self.published))
    }

    /// Words that consumer `reader` still has before it.
    pub fn backlog(&self, reader: usize) -> u64 {
        match self.readers.get(reader) {
            Some(Some(reader)) => self.head - reader.tail,
            _ => 0,
        }
    }

    /// Bytes the ring holds.
    pub fn capacity_bytes(&self) -> u64 {
        self.capacity * 8
    }

    /// Reads the consumers' positions. On a violation, its consumer's number comes with it.
    fn refresh(&mut self) -> Result<(), (usize, Violation)> {
        for (number, reader) in self.readers.iter_mut().enumerate() {
            let Some(reader) = reader.as_mut().filter(|reader| reader.active) else { continue };
            let tail = reader.cursor[TAIL].load(Ordering::Acquire);
            if tail < reader.tail || tail > self.published {
                return Err((number, Violation::Position));
            }
            reader.tail = tail;
        }
        Ok(())
    }

    /// Consumer number `reader` has not yet said where it stands: do not read its cursor.
    pub fn pause_reader(&mut self, reader: usize, paused: bool) {
        if let Some(Some(reader)) = self.readers.get_mut(reader) {
            reader.active = !paused;
        }
    }

    fn free(&self) -> u64 {
        let least = self.readers.iter().flatten().map(|reader| reader.tail).min();
        self.capacity - (self.head - least.unwrap_or(self.head))
    }

    /// Makes room for a record of up to `payload_bytes` and returns where its payload goes, or
    /// `None` if there is no room now. Follow with [`commit`](Self::commit).
    pub fn reserve(
        &mut self,
        payload_bytes: usize,
    ) -> Result<Option<&'m Words>, (usize, Violation)> {
        let payload = words_for(payload_bytes.min(MAX_PAYLOAD_BYTES)) as u64;
        let need = HEADER_WORDS as u64 + payload;
        let index = self.head % self.capacity;
        let to_end = self.capacity - index;
        let pad = if to_end < need { to_end } else { 0 };
        if self.free() < pad + need {
            self.refresh()?;
            if self.free() < pad + need {
                return Ok(None);
            }
        }
        if pad > 0 {
            self.ring[DATA_WORD + index as usize].store(PAD, Ordering::Relaxed);
            self.head += pad;
        }
        let first = DATA_WORD + (self.head % self.capacity) as usize + HEADER_WORDS;
        Ok(Some(&self.ring[first..first + payload as usize]))
    }

    /// Ends the record that [`reserve`](Self::reserve) began, with the `len` bytes now lying there.
    /// `len` is at most what was reserved.
    pub fn commit(&mut self, message: &Message, len: usize) {
        let index = DATA_WORD + (self.head % self.capacity) as usize;
        for (word, value) in self.ring[index..].iter().zip(message.encode(len)) {
            word.store(value, Ordering::Relaxed);
        }
        self.head += (HEADER_WORDS + words_for(len)) as u64;
    }

    /// Writes a whole record. False if there is no room now.
    pub fn push(&mut self, message: &Message, payload: &[u8]) -> Result<bool, (usize, Violation)> {
        let Some(words) = self.reserve(payload.len())? else { return Ok(false) };
        let len = copy_in(words, payload);
        self.commit(message, len);
        Ok(true)
    }

    /// Writes a whole record whose payload comes from shared memory. False if there is no room now.
    pub fn push_from(
        &mut self,
        message: &Message,
        payload: Bytes<'_>,
    ) -> Result<bool, (usize, Violation)> {
        let Some(words) = self.reserve(payload.len())? else { return Ok(false) };
        let len = copy_across(words, payload);
        self.commit(message, len);
        Ok(true)
    }

    /// Lets the consumers see what was written. Returns a bit mask of those that sleep.
    pub fn publish(&mut self) -> u32 {
        if self.published == self.head {
            return 0;
        }
        self.published = self.head;
        self.ring[HEAD].store(self.head, Ordering::Release);
        fence(Ordering::SeqCst);
        let mut asleep = 0;
        for (number, reader) in self.readers.iter().enumerate() {
            if let Some(reader) = reader
                && reader.cursor[ASLEEP].load(Ordering::Relaxed) != 0
            {
                asleep |= 1 << number;
            }
        }
        asleep
    }

    /// Before waiting for room of `payload_bytes`: asks for a signal, and returns true if there
    /// still is none.
    pub fn arm(&mut self, payload_bytes: usize) -> Result<bool, (usize, Violation)> {
        self.ring[STARVED].store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let full = self.reserve(payload_bytes)?.is_none();
        if !full {
            self.disarm();
        }
        Ok(full)
    }

    /// No signal is wanted.
    pub fn disarm(&mut self) {
        self.ring[STARVED].store(0, Ordering::Relaxed);
    }
}

/// A record in a ring.
#[derive(Clone, Copy)]
pub struct Record<'m> {
    /// Its header, copied out and checked.
    pub message: Message,
    /// Its payload, still in shared memory, until the next [`Consumer::release`].
    pub payload: Bytes<'m>,
    words: u64,
}

/// One reading end of a ring.
pub struct Consumer<'m> {
    ring: &'m Words,
    cursor: &'m Words,
    capacity: u64,
    tail: u64,
    released: u64,
    /// The producer's last position that we believed.
    head: u64,
}

impl<'m> Consumer<'m> {
    /// A consumer that starts at position `start`.
    pub fn new(ring: &'m Words, cursor: &'m Words, start: u64) -> Result<Self, TooSmall> {
        let capacity = capacity(ring)?;
        if cursor.len() < CURSOR_WORDS {
            return Err(TooSmall);
        }
        cursor[TAIL].store(start, Ordering::Release);
        Ok(Self { ring, cursor, capacity, tail: start, released: start, head: start })
    }

    /// Our position, in words.
    pub fn tail(&self) -> u64 {
        self.tail
    }

    /// The position at which a new producer of a ring goes on, after its predecessor's end.
    pub fn position_in(cursor: &Words) -> u64 {
        cursor[TAIL].load(Ordering::Acquire)
    }

    /// Forgets the producer's claims: a new producer will go on at our position.
    pub fn forget_producer(&mut self) {
        self.head = self.tail;
    }

    fn refresh(&mut self) -> Result<(), Violation> {
        let head = self.ring[HEAD].load(Ordering::Acquire);
        if head < self.head || head - self.tail > self.capacity {
            return Err(Violation::Position);
        }
        self.head = head;
        Ok(())
    }

    /// The next record, if one was published. Follow with [`advance`](Self::advance).
    pub fn peek(&mut self) -> Result<Option<Record<'m>>, Violation> {
        if self.tail == self.head {
            self.refresh()?;
        }
        loop {
            if self.tail == self.head {
                return Ok(None);
            }
            let index = self.tail % self.capacity;
            let first = &self.ring[DATA_WORD + index as usize];
            let first = first.load(Ordering::Relaxed);
            let to_end = self.capacity - index;
            if first == PAD {
                if to_end > self.head - self.tail {
                    return Err(Violation::Length);
                }
                self.tail += to_end;
                if self.tail == self.head {
                    self.refresh()?;
                }
                continue;
            }
            let published = to_end.min(self.head - self.tail);
            if published < HEADER_WORDS as u64 {
                return Err(Violation::Length);
            }
            let begin = DATA_WORD + index as usize;
            let mut header = [first; HEADER_WORDS];
            for (value, word) in header.iter_mut().zip(&self.ring[begin..]).skip(1) {
                *value = word.load(Ordering::Relaxed);
            }
            let (message, len) = Message::decode(header).ok_or(Violation::Header)?;
            let words = HEADER_WORDS + words_for(len);
            if words as u64 > published {
                return Err(Violation::Length);
            }
            let payload = Bytes::new(&self.ring[begin + HEADER_WORDS..begin + words], len);
            return Ok(Some(Record { message, payload, words: words as u64 }));
        }
    }

    /// Passes over `record`, the one last peeked at.
    pub fn advance(&mut self, record: &Record<'_>) {
        self.tail += record.words;
    }

    /// Gives the producer back the room of all records passed over. Returns true if it waits for room
    /// and needs a signal.
    pub fn release(&mut self) -> bool {
        if self.released == self.tail {
            return false;
        }
        self.released = self.tail;
        self.cursor[TAIL].store(self.tail, Ordering::Release);
        fence(Ordering::SeqCst);
        self.ring[STARVED].load(Ordering::Relaxed) != 0
    }

    /// Before sleeping: asks for a signal, and returns true if there still is nothing to read. A
    /// violation counts as something to read.
    pub fn arm(&mut self) -> bool {
        self.cursor[ASLEEP].store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let empty = self.refresh().is_ok() && self.tail == self.head;
        if !empty {
            self.disarm();
        }
        empty
    }

    /// No signal is wanted: we are awake.
    pub fn disarm(&mut self) {
        self.cursor[ASLEEP].store(0, Ordering::Relaxed);
    }
}

/// A word of a cursor page beyond those of the ring, for what its owner wants to tell the peer.
pub fn note(cursor: &Words, number: usize) -> &AtomicU64 {
    &cursor[CURSOR_WORDS + number]
}
