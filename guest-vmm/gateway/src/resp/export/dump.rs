//! Makes up the requests of a dump, each after its length.

use alloc::boxed::Box;
use alloc::vec;

use crate::resp::framer::REQUEST_BYTES;
use crate::resp::out::{HEADER_BYTES, Out, bulk_bytes, decimal_bytes};

/// Longest name of a command that makes something.
const NAME_BYTES: usize = 9;

/// The request that is being made up.
pub(super) struct Dump {
    /// Its arguments after the key: as they are sent, or the bytes of one.
    bytes: Box<[u8]>,
    len: usize,
    words: usize,
    /// The database, until it was selected.
    database: Option<i64>,
}

impl Dump {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; REQUEST_BYTES].into_boxed_slice(), len: 0, words: 0, database: None }
    }

    /// The next keys are those of `database`.
    pub(super) fn begin(&mut self, database: i64) {
        self.clear();
        self.database = Some(database);
    }

    /// Bytes that a request for this key has for its other arguments.
    pub(super) fn capacity(key: &[u8]) -> usize {
        let fixed = HEADER_BYTES + bulk_bytes(NAME_BYTES) + bulk_bytes(key.len());
        REQUEST_BYTES.saturating_sub(fixed)
    }

    /// Forgets what waits.
    pub(super) fn clear(&mut self) {
        (self.len, self.words) = (0, 0);
    }

    /// Whether arguments wait.
    pub(super) fn has_words(&self) -> bool {
        self.words > 0
    }

    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn put(&mut self, bytes: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.len..self.len + bytes.len()) {
            room.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }

    /// Another argument. The caller has seen to it that there is room.
    pub(super) fn put_word(&mut self, word: &[u8]) {
        let mut digits = [0; 20];
        let count = crate::resp::out::decimal(word.len() as i64, &mut digits);
        self.put(b"$");
        self.put(&digits[..count]);
        self.put(b"\r\n");
        self.put(word);
        self.put(b"\r\n");
        self.words += 1;
    }

    /// More bytes of the only argument. The caller has seen to it that there is room.
    pub(super) fn put_bytes(&mut self, bytes: &[u8]) {
        self.put(bytes);
    }

    /// Writes the request with the arguments that wait. False if there is no room.
    pub(super) fn flush_words(&mut self, name: &str, key: &[u8], out: &mut Out) -> bool {
        if !self.head(name, key, self.words, self.len, out) {
            return false;
        }
        out.put(&self.bytes[..self.len]);
        self.clear();
        true
    }

    /// Writes the request with the bytes that wait as its only argument. False if there is no room.
    pub(super) fn flush_bytes(&mut self, name: &str, key: &[u8], out: &mut Out) -> bool {
        if !self.head(name, key, 1, bulk_bytes(self.len), out) {
            return false;
        }
        out.put_bulk(&self.bytes[..self.len]);
        self.clear();
        true
    }

    /// Writes what precedes so many further arguments of so many bytes, if there is room for them, too.
    fn head(&mut self, name: &str, key: &[u8], words: usize, bytes: usize, out: &mut Out) -> bool {
        let words = 2 + words;
        let head = 3 + decimal_bytes(words);
        let len = head + bulk_bytes(name.len()) + bulk_bytes(key.len()) + bytes;
        if out.room() < len + 4 * HEADER_BYTES {
            return false;
        }
        if let Some(database) = self.database.take() {
            let len = 4 + bulk_bytes(6) + bulk_bytes(decimal_bytes(database as usize));
            out.put(&(len as u32).to_le_bytes());
            out.put_array(2);
            out.put_bulk(b"SELECT");
            out.put_bulk_number(database);
        }
        out.put(&(len as u32).to_le_bytes());
        out.put_array(words);
        out.put_bulk(name.as_bytes());
        out.put_bulk(key);
        true
    }
}
