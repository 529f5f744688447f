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
//! for room. Arm every ring you wait for before every sleep.
//!
//! Wire layout, invariants and what a hostile peer can do: `docs/channel.md`.

use crate::memory::{
    AtomicU64, Bytes, Ordering, WORD_BYTES, Words, copy_across, copy_in, words_for,
};
use crate::message::{HEADER_WORDS, MAX_PAYLOAD_BYTES, Message};
use crate::ordering::Site;

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

/// First word of the padding at the ring's end. No record begins so: its length would be out of bounds.
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
    /// What its predecessor left in the cursor page, until the page says something else.
    stale: Option<u64>,
    active: bool,
}

/// Where the record being written goes.
#[derive(Clone, Copy)]
struct Slot {
    /// Words of padding before it.
    pad: u64,
    /// Most words of its payload.
    payload: u64,
}

/// The writing end of a ring.
pub struct Producer<'m> {
    ring: &'m Words,
    capacity: u64,
    head: u64,
    published: u64,
    slot: Option<Slot>,
    /// The payload bytes for which we wait for room.
    starved: Option<usize>,
    /// Sleepers found by a publication of our own, not yet reported.
    owed: u32,
    readers: [Option<Reader<'m>>; MAX_READERS],
}

impl<'m> Producer<'m> {
    /// A producer with no consumer yet, which goes on at position `start`.
    pub fn new(ring: &'m Words, start: u64) -> Result<Self, TooSmall> {
        let capacity = capacity(ring)?;
        ring[STARVED].store(0, Ordering::Relaxed);
        ring[HEAD].store(start, Site::Publish.order());
        Ok(Self {
            ring,
            capacity,
            head: start,
            published: start,
            slot: None,
            starved: None,
            owed: 0,
            readers: [None; MAX_READERS],
        })
    }

    /// A producer with one consumer, from the beginning.
    pub fn with_reader(ring: &'m Words, cursor: &'m Words) -> Result<Self, TooSmall> {
        let mut producer = Self::new(ring, 0)?;
        producer.add_reader(0, cursor)?;
        Ok(producer)
    }

    /// Adds consumer number `reader`, which starts at the present position and holds back the ring
    /// from now on. Returns that position, for its [`Consumer::new`].
    ///
    /// Whoever wrote the cursor page before must be dead. What it left there is passed over until the
    /// page changes, or until [`pause_reader`](Self::pause_reader) says that the new consumer is up.
    /// Records written so far are published, so that all of them lie before that position.
    pub fn add_reader(&mut self, reader: usize, cursor: &'m Words) -> Result<u64, TooSmall> {
        if reader >= MAX_READERS || cursor.len() < CURSOR_WORDS {
            return Err(TooSmall);
        }
        self.owed = self.publish();
        let tail = self.head;
        let stale = Some(cursor[TAIL].load(Site::Reclaim.order())).filter(|left| *left != tail);
        self.readers[reader] = Some(Reader { cursor, tail, stale, active: true });
        Ok(tail)
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

    /// Words that consumer `reader` still had before it when we last looked, which is when the ring
    /// was full or at [`refresh`](Self::refresh).
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

    /// Reads the consumers' positions. On a violation, its consumer's number comes with it: drop that
    /// one and go on with the others.
    pub fn refresh(&mut self) -> Result<(), (usize, Violation)> {
        for (number, reader) in self.readers.iter_mut().enumerate() {
            let Some(reader) = reader.as_mut().filter(|reader| reader.active) else { continue };
            let tail = reader.cursor[TAIL].load(Site::Reclaim.order());
            if reader.stale == Some(tail) {
                continue;
            }
            if tail < reader.tail || tail > self.published {
                return Err((number, Violation::Position));
            }
            reader.tail = tail;
            reader.stale = None;
        }
        Ok(())
    }

    /// Paused: consumer number `reader` has not yet said where it stands, do not read its cursor. Not
    /// paused: it has, so what is in its cursor page is its own.
    pub fn pause_reader(&mut self, reader: usize, paused: bool) {
        if let Some(Some(reader)) = self.readers.get_mut(reader) {
            reader.active = !paused;
            if !paused {
                reader.stale = None;
            }
        }
    }

    fn free(&self) -> u64 {
        let least = self.readers.iter().flatten().map(|reader| reader.tail).min();
        self.capacity - (self.head - least.unwrap_or(self.head))
    }

    /// Makes room for a record of up to `payload_bytes` (and [`MAX_PAYLOAD_BYTES`]) and returns where
    /// its payload goes, or `None` if there is no room now. Nothing happens before
    /// [`commit`](Self::commit), and nothing needs to be undone.
    pub fn reserve(
        &mut self,
        payload_bytes: usize,
    ) -> Result<Option<&'m Words>, (usize, Violation)> {
        self.slot = None;
        let payload = words_for(payload_bytes.min(MAX_PAYLOAD_BYTES)) as u64;
        let need = HEADER_WORDS as u64 + payload;
        let index = self.head % self.capacity;
        let to_end = self.capacity - index;
        let (pad, index) = if to_end < need { (to_end, 0) } else { (0, index) };
        if self.free() < pad + need {
            self.refresh()?;
            if self.free() < pad + need {
                return Ok(None);
            }
        }
        if self.starved.is_some_and(|awaited| payload_bytes >= awaited) {
            self.disarm();
        }
        self.slot = Some(Slot { pad, payload });
        let first = DATA_WORD + index as usize + HEADER_WORDS;
        Ok(Some(&self.ring[first..first + payload as usize]))
    }

    /// Ends the record that [`reserve`](Self::reserve) began, with the `len` bytes now lying there.
    /// `len` is at most what was reserved; without a reservation nothing is written.
    pub fn commit(&mut self, message: &Message, len: usize) {
        let Some(slot) = self.slot.take() else { return };
        let len = len.min(slot.payload as usize * WORD_BYTES);
        let mut index = DATA_WORD + (self.head % self.capacity) as usize;
        if slot.pad > 0 {
            self.ring[index].store(PAD, Ordering::Relaxed);
            index = DATA_WORD;
        }
        for (word, value) in self.ring[index..].iter().zip(message.encode(len)) {
            word.store(value, Ordering::Relaxed);
        }
        self.head += slot.pad + (HEADER_WORDS + words_for(len)) as u64;
    }

    /// Writes a whole record, whose payload is at most [`MAX_PAYLOAD_BYTES`] (what is beyond is cut
    /// off). False if there is no room now.
    pub fn push(&mut self, message: &Message, payload: &[u8]) -> Result<bool, (usize, Violation)> {
        let Some(words) = self.reserve(payload.len())? else { return Ok(false) };
        let len = copy_in(words, payload);
        self.commit(message, len);
        Ok(true)
    }

    /// [`push`](Self::push) with a payload that comes from shared memory.
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

    /// Lets the consumers see what was written. Returns a bit mask of those that sleep and need a
    /// signal.
    pub fn publish(&mut self) -> u32 {
        let mut asleep = core::mem::take(&mut self.owed);
        if self.published == self.head {
            return asleep;
        }
        self.published = self.head;
        self.ring[HEAD].store(self.head, Site::Publish.order());
        Site::PublishFence.fence();
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
    /// still is none. The next [`reserve`](Self::reserve) that finds so much takes the wish back.
    pub fn arm(&mut self, payload_bytes: usize) -> Result<bool, (usize, Violation)> {
        self.starved = Some(payload_bytes);
        self.ring[STARVED].store(1, Ordering::Relaxed);
        Site::StarvedFence.fence();
        Ok(self.reserve(payload_bytes)?.is_none())
    }

    /// No signal is wanted.
    pub fn disarm(&mut self) {
        self.starved = None;
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
    /// The position behind it.
    end: u64,
}

/// One reading end of a ring.
pub struct Consumer<'m> {
    ring: &'m Words,
    cursor: &'m Words,
    capacity: u64,
    tail: u64,
    released: u64,
    /// The producer's last position that we believed: `released <= tail <= head`.
    head: u64,
    /// The position that a producer before this one left in the ring, until the ring says something else.
    stale: Option<u64>,
    asleep: bool,
}

impl<'m> Consumer<'m> {
    /// A consumer that starts at position `start`.
    pub fn new(ring: &'m Words, cursor: &'m Words, start: u64) -> Result<Self, TooSmall> {
        let capacity = capacity(ring)?;
        if cursor.len() < CURSOR_WORDS {
            return Err(TooSmall);
        }
        cursor[ASLEEP].store(0, Ordering::Relaxed);
        cursor[TAIL].store(start, Site::Release.order());
        Ok(Self {
            ring,
            cursor,
            capacity,
            tail: start,
            released: start,
            head: start,
            stale: None,
            asleep: false,
        })
    }

    /// Our position, in words.
    pub fn tail(&self) -> u64 {
        self.tail
    }

    /// The position at which a new producer of a ring goes on, after its predecessor's end and the
    /// consumer's [`forget_producer`](Self::forget_producer).
    pub fn position_in(cursor: &Words) -> u64 {
        cursor[TAIL].load(Site::Reclaim.order())
    }

    /// Forgets a producer that is dead, with all it published: the next one goes on at our position,
    /// which [`position_in`](Self::position_in) tells it from now on. Until then the ring is empty,
    /// whatever position the dead one left in it.
    pub fn forget_producer(&mut self) {
        let left = self.ring[HEAD].load(Site::Observe.order());
        // Leave what it claimed behind us, so that its successor never comes to publish that very position.
        if left > self.tail && left - self.tail <= self.capacity {
            self.tail = left.saturating_add(1);
        }
        self.stale = Some(left).filter(|left| *left != self.tail);
        self.head = self.tail;
        self.released = self.tail;
        self.cursor[TAIL].store(self.tail, Site::Release.order());
    }

    fn refresh(&mut self) -> Result<(), Violation> {
        let head = self.ring[HEAD].load(Site::Observe.order());
        if self.stale == Some(head) {
            return Ok(());
        }
        if head < self.head || head - self.released > self.capacity {
            return Err(Violation::Position);
        }
        self.head = head;
        self.stale = None;
        Ok(())
    }

    /// The next record, if one was published. Follow with [`advance`](Self::advance).
    ///
    /// Its work is bounded, but a producer that never stops is never empty: bound the records per turn.
    pub fn peek(&mut self) -> Result<Option<Record<'m>>, Violation> {
        if self.tail == self.head {
            self.refresh()?;
        }
        // At most twice: padding leads to the ring's first word, where there can be none.
        loop {
            if self.tail == self.head {
                return Ok(None);
            }
            let index = self.tail % self.capacity;
            let begin = DATA_WORD + index as usize;
            let first = self.ring[begin].load(Ordering::Relaxed);
            let to_end = self.capacity - index;
            if first == PAD {
                let impossible = index == 0 || to_end >= MAX_RECORD_WORDS as u64;
                if impossible || to_end > self.head - self.tail {
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
            let mut header = [first; HEADER_WORDS];
            for (value, word) in header.iter_mut().zip(&self.ring[begin..]).skip(1) {
                *value = word.load(Ordering::Relaxed);
            }
            let (message, len) = Message::decode(header).ok_or(Violation::Header)?;
            let words = HEADER_WORDS + words_for(len);
            if words as u64 > published {
                return Err(Violation::Length);
            }
            if self.asleep {
                self.disarm();
            }
            let payload = Bytes::new(&self.ring[begin + HEADER_WORDS..begin + words], len);
            return Ok(Some(Record { message, payload, end: self.tail + words as u64 }));
        }
    }

    /// Passes over `record`, the one last peeked at. A second time does nothing.
    pub fn advance(&mut self, record: &Record<'_>) {
        if record.end > self.tail && record.end <= self.head {
            self.tail = record.end;
        }
    }

    /// Gives the producer back the room of all records passed over: do so when [`peek`](Self::peek)
    /// has found nothing more, and at the end of each turn. Returns true if it waits for room and
    /// needs a signal.
    pub fn release(&mut self) -> bool {
        if self.released == self.tail {
            return false;
        }
        self.released = self.tail;
        self.cursor[TAIL].store(self.tail, Site::Release.order());
        Site::ReleaseFence.fence();
        self.ring[STARVED].load(Ordering::Relaxed) != 0
    }

    /// Before sleeping, and after [`release`](Self::release): asks for a signal, and returns true if
    /// there still is nothing to read. A violation counts as something to read. The next
    /// [`peek`](Self::peek) that finds a record takes the wish back.
    pub fn arm(&mut self) -> bool {
        self.asleep = true;
        self.cursor[ASLEEP].store(1, Ordering::Relaxed);
        Site::AsleepFence.fence();
        let empty = self.refresh().is_ok() && self.tail == self.head;
        if !empty {
            self.disarm();
        }
        empty
    }

    /// No signal is wanted: we are awake.
    pub fn disarm(&mut self) {
        self.asleep = false;
        self.cursor[ASLEEP].store(0, Ordering::Relaxed);
    }
}

/// A word of a cursor page beyond those of the ring, for what its owner wants to tell the peer.
pub fn note(cursor: &Words, number: usize) -> &AtomicU64 {
    &cursor[CURSOR_WORDS + number]
}
