//! Collects strings, and sorts them: for replies that have no order.

use alloc::boxed::Box;
use alloc::vec;

use super::out::{HEADER_BYTES, Out};

/// One string, or a pair of them, in the memory that holds all: where it starts, and both lengths. An array, so
/// that memory that was never needed is never touched.
type Item = [u32; 3];

/// Bytes for each item, on average, that there is room for.
const ITEM_BYTES: usize = 16;

/// There is no room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// What of each item is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Key,
    Both,
    Value,
}

/// Strings, or pairs of them.
pub(super) struct Gather {
    bytes: Box<[u8]>,
    len: usize,
    items: Box<[Item]>,
    count: usize,
    // Where writing goes on: the item, which of its strings, and how many bytes of that are out, if it has begun.
    at: usize,
    second: bool,
    out: Option<usize>,
}

impl Gather {
    /// Room for `capacity` bytes, in at most a sixteenth as many items.
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.min(u32::MAX as usize);
        Self {
            bytes: vec![0; capacity].into_boxed_slice(),
            len: 0,
            items: vec![[0; 3]; capacity / ITEM_BYTES].into_boxed_slice(),
            count: 0,
            at: 0,
            second: false,
            out: None,
        }
    }

    pub(super) fn clear(&mut self) {
        (self.len, self.count) = (0, 0);
        self.rewind();
    }

    fn rewind(&mut self) {
        (self.at, self.second, self.out) = (0, false, None);
    }

    /// Items there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The first string of item `at`.
    pub(super) fn key(&self, at: usize) -> &[u8] {
        let [start, key, _] = self.items[..self.count].get(at).copied().unwrap_or_default();
        &self.bytes[start as usize..][..key as usize]
    }

    /// The second string of item `at`.
    pub(super) fn value(&self, at: usize) -> &[u8] {
        let [start, key, value] = self.items[..self.count].get(at).copied().unwrap_or_default();
        &self.bytes[(start + key) as usize..][..value as usize]
    }

    /// A new item's first string begins; it has `len` bytes, which follow.
    pub(super) fn begin_key(&mut self, len: usize) -> Result<(), Full> {
        let room = self.bytes.len() - self.len;
        let item = self.items.get_mut(self.count).filter(|_| len <= room).ok_or(Full)?;
        *item = [self.len as u32, len as u32, 0];
        self.count += 1;
        Ok(())
    }

    /// The same item's second string.
    pub(super) fn begin_value(&mut self, len: usize) -> Result<(), Full> {
        let room = self.bytes.len() - self.len;
        let last = self.count.checked_sub(1).ok_or(Full)?;
        let item = self.items.get_mut(last).filter(|_| len <= room).ok_or(Full)?;
        item[2] = len as u32;
        Ok(())
    }

    /// Bytes of the string that began last.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let len = bytes.len().min(self.bytes.len() - self.len);
        self.bytes[self.len..][..len].copy_from_slice(&bytes[..len]);
        self.len += len;
    }

    /// Brings the items into the order of their keys.
    pub(super) fn sort(&mut self) {
        let bytes = &self.bytes;
        let key = |[start, key, _]: &Item| &bytes[*start as usize..][..*key as usize];
        self.items[..self.count].sort_unstable_by(|a, b| key(a).cmp(key(b)));
        self.rewind();
    }

    /// Writes the strings, as far as there is room. True when all are out.
    pub(super) fn write(&mut self, part: Part, out: &mut Out) -> bool {
        while self.at < self.count {
            let string = match self.second || part == Part::Value {
                true => self.value(self.at),
                false => self.key(self.at),
            };
            if out.room() < 2 * HEADER_BYTES {
                return false;
            }
            let done = self.out.unwrap_or_else(|| {
                out.put_header(b'$', string.len() as i64);
                0
            });
            let len = (string.len() - done).min(out.room() - HEADER_BYTES);
            out.put(&string[done..][..len]);
            if done + len < string.len() {
                self.out = Some(done + len);
                continue;
            }
            out.put(b"\r\n");
            self.out = None;
            self.second = part == Part::Both && !self.second;
            self.at += usize::from(!self.second);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn gathered(strings: &[(&str, &str)]) -> Gather {
        let mut gather = Gather::new(1000);
        for (key, value) in strings {
            gather.begin_key(key.len()).unwrap();
            gather.push(key.as_bytes());
            gather.begin_value(value.len()).unwrap();
            gather.push(value.as_bytes());
        }
        gather.sort();
        gather
    }

    fn written(gather: &mut Gather, part: Part, capacity: usize) -> Vec<u8> {
        let (mut out, mut all) = (Out::new(capacity), Vec::new());
        loop {
            let done = gather.write(part, &mut out);
            assert!(!out.overflowed());
            while !out.is_empty() {
                all.extend_from_slice(out.front());
                out.consume(out.front().len());
            }
            if done {
                return all;
            }
        }
    }

    #[test]
    fn pairs_are_sorted_by_key_whatever_the_room() {
        let pairs = [
            ("b", "1"),
            ("", "a long value, longer than the room there is at once: 0123456789"),
            ("ab", ""),
        ];
        for capacity in [50, 64, 1000] {
            let both = written(&mut gathered(&pairs), Part::Both, capacity);
            assert!(both.starts_with(b"$0\r\n\r\n$63\r\na long"), "{}", both.escape_ascii());
            assert!(both.ends_with(b"\r\n$2\r\nab\r\n$0\r\n\r\n$1\r\nb\r\n$1\r\n1\r\n"));
            let keys = written(&mut gathered(&pairs), Part::Key, capacity);
            assert_eq!(keys, b"$0\r\n\r\n$2\r\nab\r\n$1\r\nb\r\n");
            let values = written(&mut gathered(&pairs), Part::Value, capacity);
            assert!(values.ends_with(b"0123456789\r\n$0\r\n\r\n$1\r\n1\r\n"));
        }
    }

    #[test]
    fn there_is_an_end_to_it() {
        let mut gather = Gather::new(32);
        assert_eq!(gather.begin_value(1), Err(Full));
        assert_eq!(gather.begin_key(33), Err(Full));
        assert_eq!(gather.begin_key(2), Ok(()));
        gather.push(b"ab");
        assert_eq!(gather.begin_key(0), Ok(()));
        assert_eq!(gather.begin_key(0), Err(Full));
        assert_eq!((gather.key(0), gather.key(1), gather.key(7)), (&b"ab"[..], &b""[..], &b""[..]));
    }
}
