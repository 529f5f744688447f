//! What a domain prints, line by line, with its name before each.

use core::fmt::{self, Write};

use heapless::Vec;
use resh_channel::log::Reader;

/// Bytes of a line, at most. A longer one is broken.
pub const LINE_BYTES_MAX: usize = 512;
/// Bytes taken at once. A domain that prints more than this each time loses what its page cannot hold: it
/// is not to keep the others from theirs, or the processor from the guests.
pub const TURN_BYTES: usize = 2048;

/// The log of one domain.
pub struct Log<'m> {
    name: &'static str,
    reader: Reader<'m>,
    /// A line that has not ended yet.
    line: Vec<u8, LINE_BYTES_MAX>,
}

impl<'m> Log<'m> {
    /// The log of the domain `name`.
    pub fn new(name: &'static str, reader: Reader<'m>) -> Self {
        Self { name, reader, line: Vec::new() }
    }

    /// Writes the lines that came to their end.
    ///
    /// # Errors
    /// Only those of `out`.
    pub fn write(&mut self, out: &mut impl Write) -> fmt::Result {
        let mut piece = [0; TURN_BYTES];
        let read = self.reader.read(&mut piece);
        if read.lost > 0 {
            self.flush(out)?;
            writeln!(out, "{}: ({} bytes are lost)", self.name, read.lost)?;
        }
        for byte in &piece[..read.len] {
            match byte {
                b'\n' => self.end(out)?,
                b'\r' => {}
                _ => {
                    if self.line.is_full() {
                        self.end(out)?;
                    }
                    // There is room.
                    let _ = self.line.push(*byte);
                }
            }
        }
        Ok(())
    }

    /// Ends the line if there is something on it.
    fn flush(&mut self, out: &mut impl Write) -> fmt::Result {
        if self.line.is_empty() { Ok(()) } else { self.end(out) }
    }

    fn end(&mut self, out: &mut impl Write) -> fmt::Result {
        write!(out, "{}: ", self.name)?;
        // A guest's output is among this: nothing that would tell the terminal something.
        let mut shown = self.line.iter().map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            b'\t' => ' ',
            _ => '.',
        });
        shown.try_for_each(|letter| out.write_char(letter))?;
        self.line.clear();
        out.write_char('\n')
    }
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::String;
    use std::vec::Vec;

    use resh_channel::log::Writer;
    use resh_channel::memory::AtomicU64;

    use super::*;

    fn words(count: usize) -> Vec<AtomicU64> {
        (0..count).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn lines_come_when_they_end_and_with_the_name() {
        let memory = words(64);
        let mut writer = Writer::new(&memory).unwrap();
        let mut log = Log::new("voter", Reader::new(&memory).unwrap());
        let mut out = String::new();
        writer.write(b"one\r\ntw");
        log.write(&mut out).unwrap();
        assert_eq!(out, "voter: one\n");
        writer.write(b"o\n\n\x1b[2J\t\xc3\xa9\n");
        log.write(&mut out).unwrap();
        assert_eq!(out, "voter: one\nvoter: two\nvoter: \nvoter: .[2J ..\n");
    }

    #[test]
    fn long_lines_are_broken_and_losses_are_told() {
        let memory = words(8 + 512);
        let mut writer = Writer::new(&memory).unwrap();
        let mut log = Log::new("guest", Reader::new(&memory).unwrap());
        let mut out = String::new();
        writer.write(&[b'x'; LINE_BYTES_MAX + 1]);
        writer.write(b"\n");
        log.write(&mut out).unwrap();
        assert_eq!(out, format!("guest: {}\nguest: x\n", "x".repeat(LINE_BYTES_MAX)));
        out.clear();
        writer.write(b"cut");
        log.write(&mut out).unwrap();
        assert_eq!(out, "");
        // All but what the ring holds is gone: and of that only a part is taken at once.
        writer.write(&[b'z'; 5000]);
        log.write(&mut out).unwrap();
        assert!(out.starts_with("guest: cut\nguest: (904 bytes are lost)\nguest: zzz"), "{out}");
        assert_eq!(out.matches('z').count(), TURN_BYTES - LINE_BYTES_MAX);
    }
}
