//! The log of one service: what a replica that begins anew must execute to have the state of the others. It is bounded.
//!
//! It lies in two halves of its share of the region `order`. One is in use; the other takes what an export makes of
//! it, until the two change places. Without exports the first half is all of it.

use resh_channel::message::SessionId;

/// Bytes before each entry.
const HEAD_BYTES: usize = 24;

/// What an entry of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A request, as it was ordered.
    Request,
    /// The end of a session.
    End,
}

/// An entry of the log, without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub what: What,
    /// [`Request`](resh_channel::message::Request) flags.
    pub flags: u8,
    /// Its session.
    pub session: SessionId,
    /// Number of the request.
    pub number: u64,
}

/// A position in one half, between two entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Offset in bytes.
    pub at: usize,
    /// Entries before it.
    pub entry: u64,
}

/// Entries one after another.
pub struct Half<'m> {
    memory: &'m mut [u8],
    end: Cursor,
    /// The entry that is being written: where it ends, and how far it is written.
    open: Option<(usize, usize)>,
}

impl<'m> Half<'m> {
    fn new(memory: &'m mut [u8]) -> Self {
        Self { memory, end: Cursor::default(), open: None }
    }

    /// Bytes there are.
    pub fn capacity(&self) -> usize {
        self.memory.len()
    }

    /// Where it ends.
    pub fn end(&self) -> Cursor {
        self.end
    }

    /// Forgets all of it.
    pub fn clear(&mut self) {
        (self.end, self.open) = (Cursor::default(), None);
    }

    /// Begins an entry whose payload will have `len` bytes. False if there is no room.
    pub fn begin(&mut self, entry: Entry, len: usize) -> bool {
        let start = self.end.at;
        let room = self.memory.len() - start;
        let Some(head) = self.memory.get_mut(start..start + HEAD_BYTES) else { return false };
        if len.next_multiple_of(8) + HEAD_BYTES > room {
            return false;
        }
        let Entry { what, flags, session, number } = entry;
        head[..4].copy_from_slice(&(len as u32).to_le_bytes());
        head[4] = (what == What::End).into();
        head[5] = flags;
        head[6..8].copy_from_slice(&session.index.to_le_bytes());
        head[8..10].copy_from_slice(&session.generation.to_le_bytes());
        head[16..24].copy_from_slice(&number.to_le_bytes());
        self.open = Some((start + HEAD_BYTES + len, start + HEAD_BYTES));
        self.fill(&[]);
        true
    }

    /// Adds to the payload of the entry that was begun, as much as it lacks, and returns how much that was. With its last
    /// byte the entry counts.
    pub fn fill(&mut self, bytes: &[u8]) -> usize {
        let Some((end, at)) = self.open else { return 0 };
        let len = bytes.len().min(end - at);
        self.memory[at..at + len].copy_from_slice(&bytes[..len]);
        self.open = Some((end, at + len)).filter(|(end, at)| at < end);
        if self.open.is_none() {
            self.end = Cursor { at: end.next_multiple_of(8), entry: self.end.entry + 1 };
        }
        len
    }

    /// Whether an entry was begun that lacks bytes.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Adds an entry. False if there is no room.
    pub fn append(&mut self, entry: Entry, payload: &[u8]) -> bool {
        self.begin(entry, payload.len()) && {
            self.fill(payload);
            true
        }
    }

    /// The entry at `cursor`, its payload and the position behind it. `None` at the end.
    pub fn read(&self, cursor: Cursor) -> Option<(Entry, &[u8], Cursor)> {
        if cursor.at >= self.end.at {
            return None;
        }
        let (head, rest) = self.memory[cursor.at..].split_first_chunk::<HEAD_BYTES>()?;
        let (len, rest_of_head) = head.split_first_chunk()?;
        let len = u32::from_le_bytes(*len) as usize;
        let half = |at: usize| u16::from_le_bytes([rest_of_head[at], rest_of_head[at + 1]]);
        let entry = Entry {
            what: if rest_of_head[0] == 0 { What::Request } else { What::End },
            flags: rest_of_head[1],
            session: SessionId { index: half(2), generation: half(4) },
            number: u64::from_le_bytes(*head.last_chunk()?),
        };
        let at = cursor.at + HEAD_BYTES + len.next_multiple_of(8);
        Some((entry, rest.get(..len)?, Cursor { at, entry: cursor.entry + 1 }))
    }
}

/// The log of one service.
pub struct Log<'m> {
    /// What replicas are fed from.
    pub active: Half<'m>,
    /// What an export writes.
    pub spare: Half<'m>,
    /// Whether the state can be had from it: nothing was lost for lack of room.
    whole: bool,
    /// Where the part of it ends that the last export wrote.
    base: Cursor,
}

impl<'m> Log<'m> {
    /// An empty log in `memory`, with a second half for exports or without.
    pub fn new(memory: &'m mut [u8], exports: bool) -> Self {
        let at = if exports { memory.len() / 2 / 8 * 8 } else { memory.len() };
        let (active, spare) = memory.split_at_mut(at);
        Self {
            active: Half::new(active),
            spare: Half::new(spare),
            whole: true,
            base: Cursor::default(),
        }
    }

    /// Whether the state can be had from it: nothing was lost for lack of room.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Where the part of it ends that the last export wrote.
    pub fn base(&self) -> Cursor {
        self.base
    }

    /// Adds an entry. If there is no room, the log is not whole any more, and takes nothing until the next
    /// [`switch`](Self::switch) or [`restart`](Self::restart).
    pub fn append(&mut self, entry: Entry, payload: &[u8]) {
        self.whole = self.whole && self.active.append(entry, payload);
    }

    /// After it was lost: forgets all, and takes what follows an export that begins now.
    pub fn restart(&mut self) {
        self.active.clear();
        (self.whole, self.base) = (true, Cursor::default());
    }

    /// It is worth nothing, though it has room.
    pub fn lose(&mut self) {
        self.whole = false;
    }

    /// Copies the entry at `cursor` of the half in use to the other, as `entry`. `None` if there is none, or no room:
    /// `Some(false)`.
    pub fn carry(&mut self, cursor: Cursor, entry: Entry) -> Option<bool> {
        let (_, payload, _) = self.active.read(cursor)?;
        Some(self.spare.append(entry, payload))
    }

    /// The halves change places. `base` is where in the new one the export ends.
    pub fn switch(&mut self, base: Cursor) {
        core::mem::swap(&mut self.active, &mut self.spare);
        self.spare.clear();
        (self.whole, self.base) = (true, base);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn entry(number: u64, what: What) -> Entry {
        let session = SessionId { index: number as u16, generation: 7 };
        Entry { what, flags: number as u8, session, number }
    }

    #[test]
    fn what_was_written_is_read() {
        let mut memory = [0xaa; 400];
        let mut log = Log::new(&mut memory, true);
        assert_eq!(log.active.capacity() + log.spare.capacity(), 400);
        let mut written = Vec::new();
        for number in 1.. {
            let what = if number == 2 { What::End } else { What::Request };
            let payload: Vec<u8> = (0..number as u8 * 3).collect();
            log.append(entry(number, what), &payload);
            if !log.is_whole() {
                break;
            }
            written.push((entry(number, what), payload));
        }
        assert!(written.len() > 3);
        // Not even what would fit goes in after that.
        log.append(entry(99, What::End), &[]);
        let mut cursor = Cursor::default();
        for (entry, payload) in &written {
            let (read, bytes, next) = log.active.read(cursor).unwrap();
            assert_eq!((&read, bytes), (entry, &payload[..]));
            cursor = next;
        }
        assert_eq!((log.active.read(cursor), cursor), (None, log.active.end()));
        assert_eq!(cursor.entry, written.len() as u64);
    }

    #[test]
    fn an_entry_written_in_pieces_counts_when_it_is_whole() {
        let mut memory = [0; 200];
        let mut log = Log::new(&mut memory, true);
        assert!(!log.spare.begin(entry(1, What::Request), 81));
        assert!(log.spare.begin(entry(1, What::Request), 5));
        assert_eq!(log.spare.fill(b"ab"), 2);
        assert!(log.spare.is_open() && log.spare.read(Cursor::default()).is_none());
        assert_eq!(log.spare.fill(b"cdef"), 3);
        assert!(!log.spare.is_open());
        log.append(entry(2, What::Request), b"tail");
        assert_eq!(log.carry(Cursor::default(), entry(9, What::Request)), Some(true));
        let base = log.spare.end();
        log.switch(base);
        let (first, bytes, next) = log.active.read(Cursor::default()).unwrap();
        assert_eq!((first.number, bytes), (1, &b"abcde"[..]));
        let (second, bytes, _) = log.active.read(next).unwrap();
        assert_eq!((second.number, bytes), (9, &b"tail"[..]));
        assert!(log.spare.read(Cursor::default()).is_none());
        assert_eq!(log.carry(base, entry(9, What::Request)), None);
    }
}
