//! An export: what a quorum of the replicas wrote out as the state of the service becomes the start of a new log.
//!
//! The new half is written in this order: the requests of the dump, on a session of its own, and the end of that
//! session; the `STICKY` requests, and the `TRANSIENT` ones that count, from before the export, of the sessions that lived
//! then; all entries since then. Then the halves change places. Whatever goes wrong, the old half stays.

use resh_channel::message::{ORDERED_BYTES_MAX, OrderedHead, Request, SessionId};
use zerocopy::IntoBytes;

use super::limits::EXPORT_STEP_BYTES;
use super::log::{Cursor, Entry, Log, What};

/// Why an export came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The stream is not a sequence of requests, each after its length.
    Malformed,
    /// It, or what must follow it, does not fit into half of the log.
    TooLong,
}

/// A session that lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lives {
    /// Which use of its index it is.
    pub generation: u16,
    /// From which request on its `TRANSIENT` ones count. `None`: none does.
    pub transient: Option<u64>,
}

/// Which sessions live, by index.
pub type Living = [Option<Lives>];

#[derive(Clone, Copy)]
enum Phase {
    /// The dump comes in: bytes of the next request's length so far.
    Dump([u8; 4], usize),
    /// From here on the old half is looked through for sticky requests.
    Sticky(Cursor),
    /// From here on the old half is copied.
    Tail(Cursor),
}

/// An export under way.
pub struct Run {
    session: SessionId,
    number: u64,
    head: OrderedHead,
    /// Where in the old half it stands.
    cut: Cursor,
    phase: Phase,
    /// Where in the new half the dump and what belongs to it end.
    base: Cursor,
}

impl Run {
    /// Request `number`, with `head`, is the export, on `session`. What is appended to `log` from now on comes after it.
    pub fn new(log: &mut Log<'_>, session: SessionId, number: u64, head: OrderedHead) -> Self {
        log.spare.clear();
        let (cut, base) = (log.active.end(), Cursor::default());
        Self { session, number, head, cut, phase: Phase::Dump([0; 4], 0), base }
    }

    /// The session that the dump comes on.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Whether the dump has come in.
    pub fn has_dump(&self) -> bool {
        !matches!(self.phase, Phase::Dump(..))
    }

    fn entry(&self, what: What) -> Entry {
        Entry { what, flags: 0, session: self.session, number: self.number }
    }

    /// The next bytes of the dump, which a quorum agrees on.
    ///
    /// # Errors
    /// It came to nothing.
    pub fn push(&mut self, log: &mut Log<'_>, bytes: &[u8]) -> Result<(), Fault> {
        let mut rest = bytes;
        while let Some((first, others)) = rest.split_first() {
            if log.spare.is_open() {
                rest = &rest[log.spare.fill(rest)..];
                continue;
            }
            let Phase::Dump(mut length, have) = self.phase else { return Err(Fault::Malformed) };
            length[have] = *first;
            rest = others;
            self.phase = Phase::Dump(length, (have + 1) % 4);
            if have + 1 < length.len() {
                continue;
            }
            let len = u32::from_le_bytes(length) as usize;
            if len == 0 || len > ORDERED_BYTES_MAX {
                return Err(Fault::Malformed);
            }
            let entry = self.entry(What::Request);
            if !log.spare.begin(entry, size_of::<OrderedHead>() + len) {
                return Err(Fault::TooLong);
            }
            log.spare.fill(self.head.as_bytes());
        }
        Ok(())
    }

    /// The dump has ended, and a quorum agrees.
    ///
    /// # Errors
    /// It came to nothing.
    pub fn end(&mut self, log: &mut Log<'_>) -> Result<(), Fault> {
        let whole = matches!(self.phase, Phase::Dump(_, 0)) && !log.spare.is_open();
        if !whole {
            return Err(Fault::Malformed);
        }
        if !log.spare.append(self.entry(What::End), &[]) {
            return Err(Fault::TooLong);
        }
        self.phase = Phase::Sticky(Cursor::default());
        Ok(())
    }

    /// Copies a bounded part of what follows the dump. `living` are the sessions that lived when the export was ordered.
    /// True when the new half is complete and in use.
    ///
    /// # Errors
    /// It came to nothing.
    pub fn work(&mut self, log: &mut Log<'_>, living: &Living) -> Result<bool, Fault> {
        let mut bytes = 0;
        while bytes < EXPORT_STEP_BYTES {
            let (cursor, sticky) = match self.phase {
                Phase::Dump(..) => return Ok(false),
                Phase::Sticky(cursor) if cursor.at >= self.cut.at => {
                    self.base = log.spare.end();
                    self.phase = Phase::Tail(self.cut);
                    continue;
                }
                Phase::Sticky(cursor) => (cursor, true),
                Phase::Tail(cursor) => (cursor, false),
            };
            let Some((entry, payload, next)) = log.active.read(cursor) else {
                log.switch(self.base);
                return Ok(true);
            };
            bytes += payload.len() + 64;
            self.phase = if sticky { Phase::Sticky(next) } else { Phase::Tail(next) };
            let lives = living.get(usize::from(entry.session.index)).copied().flatten();
            let flags = Request(entry.flags);
            let counts = |lives: Lives| {
                let transient = lives.transient.is_some_and(|first| entry.number >= first);
                lives.generation == entry.session.generation
                    && (flags.is(Request::STICKY) || flags.is(Request::TRANSIENT) && transient)
            };
            let wanted = entry.what == What::Request && lives.is_some_and(counts);
            let number = if sticky { self.number } else { entry.number };
            if (!sticky || wanted) && log.carry(cursor, Entry { number, ..entry }) != Some(true) {
                return Err(Fault::TooLong);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;
    use zerocopy::FromZeros;

    fn entry(index: u16, flags: u8, number: u64) -> Entry {
        let session = SessionId { index, generation: 1 };
        Entry { what: What::Request, flags, session, number }
    }

    fn dump(requests: &[&[u8]]) -> Vec<u8> {
        let with_length =
            |request: &&[u8]| [&(request.len() as u32).to_le_bytes()[..], request].concat();
        requests.iter().flat_map(with_length).collect()
    }

    /// What the log holds: session, number and bytes.
    fn content(log: &Log<'_>) -> Vec<(u16, u64, Vec<u8>)> {
        let mut cursor = Cursor::default();
        let mut content = Vec::new();
        while let Some((entry, payload, next)) = log.active.read(cursor) {
            let bytes = payload.get(size_of::<OrderedHead>()..).unwrap_or_default();
            content.push((entry.session.index, entry.number, bytes.to_vec()));
            cursor = next;
        }
        content
    }

    fn payload(bytes: &[u8]) -> Vec<u8> {
        [OrderedHead::new_zeroed().as_bytes(), bytes].concat()
    }

    #[test]
    fn a_new_log_is_dump_sticky_and_tail_in_whatever_pieces_they_come() {
        for piece in [1, 2, 3, 5, 100] {
            let mut memory = std::vec![0; 4096];
            let mut log = Log::new(&mut memory, true);
            log.append(entry(1, Request::TRANSIENT, 0), &payload(b"done with"));
            log.append(entry(1, Request::STICKY, 1), &payload(b"one sticks"));
            log.append(entry(2, Request::STICKY, 2), &payload(b"two is dead"));
            log.append(entry(1, 0, 3), &payload(b"in the dump"));
            log.append(entry(1, Request::TRANSIENT, 3), &payload(b"put together"));
            let export = SessionId { index: 9, generation: 5 };
            let mut run = Run::new(&mut log, export, 4, OrderedHead::new_zeroed());
            let lives = |generation| Some(Lives { generation, transient: Some(3) });
            let living = [None, lives(1), lives(2)];
            for bytes in dump(&[b"a", b"bcd"]).chunks(piece) {
                run.push(&mut log, bytes).unwrap();
            }
            log.append(entry(1, 0, 5), &payload(b"tail"));
            assert_eq!(run.work(&mut log, &living), Ok(false));
            run.end(&mut log).unwrap();
            assert_eq!(run.work(&mut log, &living), Ok(true));
            let expected = [
                (9, 4, &b"a"[..]),
                (9, 4, b"bcd"),
                (9, 4, b""),
                (1, 4, b"one sticks"),
                (1, 4, b"put together"),
                (1, 5, b"tail"),
            ];
            let expected: Vec<_> =
                expected.iter().map(|(index, n, bytes)| (*index, *n, bytes.to_vec())).collect();
            assert_eq!(content(&log), expected);
            assert_eq!(log.base().entry, 5);
        }
    }

    #[test]
    fn what_is_no_dump_leaves_the_old_log() {
        let mut memory = std::vec![0; 2048];
        let mut log = Log::new(&mut memory, true);
        log.append(entry(1, 0, 1), &payload(b"old"));
        let before = content(&log);
        let bad: [&[u8]; 4] = [&[0, 0, 0, 0], &[0xff; 4], b"\x05\0\0\0abc", b"\x05\0"];
        for bytes in bad {
            let session = SessionId { index: 9, generation: 5 };
            let mut run = Run::new(&mut log, session, 2, OrderedHead::new_zeroed());
            let pushed = run.push(&mut log, bytes);
            assert_eq!(pushed.and_then(|()| run.end(&mut log)), Err(Fault::Malformed));
        }
        let session = SessionId { index: 9, generation: 5 };
        let mut run = Run::new(&mut log, session, 2, OrderedHead::new_zeroed());
        let long = [7; 1000];
        assert_eq!(run.push(&mut log, &dump(&[&long])), Err(Fault::TooLong));
        assert_eq!(content(&log), before);
    }
}
