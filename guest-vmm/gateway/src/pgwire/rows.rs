//! Collects rows whose order means nothing, and sorts them.

use alloc::boxed::Box;
use alloc::vec;

use super::answers::Out;

/// Bytes for each row, on average, that there is room for.
const ROW_BYTES: usize = 16;

/// Rows as servers send them: bodies of messages.
pub(super) struct Rows {
    bytes: Box<[u8]>,
    len: usize,
    /// Where each starts, and its length. An array, so that memory that was never needed is never touched.
    items: Box<[[u32; 2]]>,
    count: usize,
    over: bool,
    /// How many were written, and how many bytes of the next one, if it was begun.
    at: usize,
    done: Option<usize>,
}

impl Rows {
    /// Room for `capacity` bytes, in at most a sixteenth as many rows.
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.min(u32::MAX as usize);
        Self {
            bytes: vec![0; capacity].into_boxed_slice(),
            len: 0,
            items: vec![[0; 2]; capacity / ROW_BYTES].into_boxed_slice(),
            count: 0,
            over: false,
            at: 0,
            done: None,
        }
    }

    pub(super) fn clear(&mut self) {
        (self.len, self.count, self.over) = (0, 0, false);
        (self.at, self.done) = (0, None);
    }

    /// Whether there was no room for all rows. Whether there is does not depend on their order.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// A row of `len` bytes begins, which follow.
    pub(super) fn begin(&mut self, len: usize) {
        let fits = !self.over && len <= self.bytes.len() - self.len;
        match self.items.get_mut(self.count).filter(|_| fits) {
            Some(item) => {
                *item = [self.len as u32, len as u32];
                self.count += 1;
            }
            None => self.over = true,
        }
    }

    /// Bytes of the row that began last.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.over {
            return;
        }
        let len = bytes.len().min(self.bytes.len() - self.len);
        self.bytes[self.len..][..len].copy_from_slice(&bytes[..len]);
        self.len += len;
    }

    /// Brings them into the order of their bytes.
    pub(super) fn sort(&mut self) {
        let bytes = &self.bytes;
        let row = |[start, len]: &[u32; 2]| &bytes[*start as usize..][..*len as usize];
        self.items[..self.count].sort_unstable_by(|a, b| row(a).cmp(row(b)));
    }

    /// Writes them as messages of this kind, as far as there is room. True when all are out.
    pub(super) fn write(&mut self, kind: u8, out: &mut Out) -> bool {
        while let Some([start, len]) = self.items[..self.count].get(self.at).copied() {
            let row = &self.bytes[start as usize..][..len as usize];
            if out.room() < 8 {
                return false;
            }
            let done = self.done.unwrap_or_else(|| {
                out.head(kind, row.len());
                0
            });
            let len = (row.len() - done).min(out.room());
            out.put(&row[done..][..len]);
            if done + len < row.len() {
                self.done = Some(done + len);
                continue;
            }
            (self.at, self.done) = (self.at + 1, None);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn rows_come_out_sorted_whatever_the_room() {
        for room in [8, 9, 20, 1000] {
            let mut rows = Rows::new(100);
            for row in [&b"bb"[..], b"a row that is longer than the room", b"", b"ba"] {
                rows.begin(row.len());
                row.iter().for_each(|byte| rows.push(&[*byte]));
            }
            assert!(!rows.is_over());
            rows.sort();
            let (mut out, mut all) = (Out::new(room), Vec::new());
            while !rows.write(b'D', &mut out) || !out.is_empty() {
                all.extend_from_slice(out.front());
                out.consume(out.front().len());
            }
            assert!(!out.overflowed());
            let wanted = b"D\0\0\0\x04D\0\0\0\x26a row that is longer than the roomD\0\0\0\x06baD\0\0\0\x06bb";
            assert_eq!(all.escape_ascii().to_string(), wanted.escape_ascii().to_string());
        }
    }

    use std::string::ToString;

    #[test]
    fn there_is_an_end_to_it() {
        let mut rows = Rows::new(32);
        rows.begin(33);
        assert!(rows.is_over());
        rows.clear();
        rows.begin(0);
        rows.begin(0);
        assert!(!rows.is_over());
        rows.begin(0);
        assert!(rows.is_over());
    }
}
