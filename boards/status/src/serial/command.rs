//! What the operator types.

use core::fmt::{self, Write};

use heapless::Vec;

/// Bytes of a line, at most. What is typed beyond them is not taken.
const LINE_BYTES_MAX: usize = 64;
const BACKSPACE: u8 = 0x08;
const DELETE: u8 = 0x7f;
/// Control-U, as terminals have it: away with the line.
const KILL: u8 = 0x15;

/// The answer to [`Command::Help`], and to what is no command.
pub const HELP: &str = "\
status       the state of the appliance
status json  the same as one line of JSON
help         this
";

/// What the operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// The state as text.
    Status,
    /// The state as one line of JSON.
    Json,
    /// What there is to ask for.
    Help,
    /// Something else.
    Unknown,
}

/// A line that is being typed, and shown as it is.
#[derive(Clone, Debug, Default)]
pub struct Input {
    line: Vec<u8, LINE_BYTES_MAX>,
}

impl Input {
    /// Takes a byte and shows it. A command if it ended a line with something on it.
    ///
    /// # Errors
    /// Only those of `out`.
    pub fn take(&mut self, byte: u8, out: &mut impl Write) -> Result<Option<Command>, fmt::Error> {
        match byte {
            b'\r' | b'\n' if !self.line.is_empty() => {
                out.write_str("\n")?;
                let command = command(&self.line);
                self.line.clear();
                return Ok(command);
            }
            BACKSPACE | DELETE => {
                self.line.pop().map_or(Ok(()), |_| out.write_str("\x08 \x08"))?;
            }
            KILL => {
                self.hide(out)?;
                self.line.clear();
            }
            b' '..=b'~' => {
                self.line.push(byte).map_or(Ok(()), |()| out.write_char(char::from(byte)))?;
            }
            _ => {}
        }
        Ok(None)
    }

    /// Makes room for other output where the line stands: ECMA-48 EL.
    ///
    /// # Errors
    /// Only those of `out`.
    pub fn hide(&self, out: &mut impl Write) -> fmt::Result {
        if self.line.is_empty() { Ok(()) } else { out.write_str("\r\x1b[K") }
    }

    /// Puts the line back.
    ///
    /// # Errors
    /// Only those of `out`.
    pub fn show(&self, out: &mut impl Write) -> fmt::Result {
        self.line.iter().try_for_each(|byte| out.write_char(char::from(*byte)))
    }
}

/// The command on a line. None if there is nothing but blanks.
fn command(line: &[u8]) -> Option<Command> {
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    match (words.next()?, words.next(), words.next()) {
        (b"status", None, _) => Some(Command::Status),
        (b"status", Some(b"json"), None) => Some(Command::Json),
        (b"help" | b"?", None, _) => Some(Command::Help),
        _ => Some(Command::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use std::string::String;
    use std::vec::Vec;

    use super::*;

    /// What a line leads to, and what is shown meanwhile.
    fn typed(bytes: &[u8]) -> (Vec<Command>, String) {
        let (mut input, mut out, mut commands) = (Input::default(), String::new(), Vec::new());
        for byte in bytes {
            commands.extend(input.take(*byte, &mut out).unwrap());
        }
        (commands, out)
    }

    #[test]
    fn commands_end_with_either_or_both() {
        use Command::{Help, Json, Status, Unknown};
        let (commands, shown) =
            typed(b"status\rstatus  json\n help \r\n\r\n?\nstat\nstatus all\n  \n");
        assert_eq!(commands, [Status, Json, Help, Help, Unknown, Unknown]);
        assert!(shown.starts_with("status\nstatus  json\n help \n?\n"), "{shown:?}");
    }

    #[test]
    fn mistakes_can_be_taken_back() {
        assert_eq!(typed(b"\x7fstax\x08tus\r").0, [Command::Status]);
        assert_eq!(typed(b"nonsense\x15status\r").0, [Command::Status]);
        let long = [b'x'; 1000];
        let (commands, shown) = typed(&long);
        assert_eq!((commands.len(), shown.len()), (0, LINE_BYTES_MAX));
    }

    #[test]
    fn control_characters_are_not_shown() {
        assert_eq!(typed(b"\x1b[A\x00\xff").1, "[A");
    }

    #[test]
    fn other_output_goes_where_the_line_stood() {
        let (mut input, mut out) = (Input::default(), String::new());
        input.hide(&mut out).unwrap();
        assert_eq!(out, "");
        input.take(b's', &mut out).unwrap();
        input.hide(&mut out).unwrap();
        out.push_str("log\n");
        input.show(&mut out).unwrap();
        assert_eq!(out, "s\r\x1b[Klog\ns");
    }
}
