//! The control socket: takes the operator's wishes, one in each connection, and answers with one line.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sel4_microkit::linux;

use crate::runtime_dir;

/// Connections at once; who comes when there are so many waits.
pub const CONNECTIONS_MAX: usize = 8;
/// How long who connected may take to say what he wants, in milliseconds.
pub const SAY_MS: u64 = 2_000;
/// Longest wish, in bytes.
pub const WISH_BYTES_MAX: usize = 256;
/// What the runtime calls events of these descriptors. They are not told apart.
const TOKEN: u32 = 1;

/// What an operator may wish for a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// It is to stay out.
    Exclude,
    /// It is to take part again.
    Include,
    /// It is to begin anew.
    Rejuvenate,
}

impl Wish {
    /// All of them, by their names on the command line.
    pub const ALL: [(&'static str, Self); 3] =
        [("exclude", Self::Exclude), ("include", Self::Include), ("rejuvenate", Self::Rejuvenate)];
}

impl FromStr for Wish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|(name, _)| *name == text);
        let names = Self::ALL.map(|(name, _)| name).join(", ");
        found.map(|(_, wish)| wish).ok_or_else(|| format!("`{text}` is none of {names}"))
    }
}

/// Number of a connection.
pub(super) type Asker = u64;

/// The control socket of an appliance. Its name goes when this is dropped.
pub(super) struct Control {
    listener: UnixListener,
    path: PathBuf,
    connections: Vec<Connection>,
    next: Asker,
}

struct Connection {
    asker: Asker,
    stream: UnixStream,
    said: Vec<u8>,
    /// What was said is being done.
    heard: bool,
    until_ms: u64,
}

impl Control {
    /// Opens `<dir>/<name>.control`. The directory keeps others out.
    pub(super) fn open(dir: &Path, name: &str) -> io::Result<Self> {
        let path = runtime_dir::socket_path(dir, name, runtime_dir::CONTROL)?;
        let listener = runtime_dir::listen(&path)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, path, connections: Vec::new(), next: 0 })
    }

    /// Has the runtime wake this process when somebody connects.
    pub(super) fn watch(&self) -> io::Result<()> {
        linux::watch_input(self.listener.as_raw_fd(), TOKEN)
    }

    /// Takes in what was said: the wishes that are complete, as they were written.
    pub(super) fn listen(&mut self, now_ms: u64) -> Vec<(Asker, String)> {
        while self.connections.len() < CONNECTIONS_MAX
            && let Ok((stream, _)) = self.listener.accept()
        {
            let watched = stream
                .set_nonblocking(true)
                .and_then(|()| linux::watch_input(stream.as_raw_fd(), TOKEN));
            if watched.is_ok() {
                self.next += 1;
                self.connections.push(Connection {
                    asker: self.next,
                    stream,
                    said: Vec::new(),
                    heard: false,
                    until_ms: now_ms.saturating_add(SAY_MS),
                });
            }
        }
        let mut wishes = Vec::new();
        self.connections.retain_mut(|connection| {
            if connection.heard {
                return true;
            }
            let goes_on = connection.read() && now_ms < connection.until_ms;
            if let Some(line) = connection.line() {
                connection.heard = true;
                wishes.push((connection.asker, line));
            }
            goes_on || connection.heard
        });
        wishes
    }

    /// Answers, and is done with this connection.
    pub(super) fn answer(&mut self, asker: Asker, answer: &Result<String, String>) {
        let Some(at) = self.connections.iter().position(|one| one.asker == asker) else { return };
        let mut connection = self.connections.swap_remove(at);
        // A line fits into the socket's buffer; who does not read it has gone.
        let _ = match answer {
            Ok(done) => writeln!(connection.stream, "ok {done}"),
            Err(why) => writeln!(connection.stream, "error {why}"),
        };
    }

    /// When [`Self::listen`] is to be called at the latest.
    pub(super) fn next_ms(&self) -> Option<u64> {
        let silent = self.connections.iter().filter(|connection| !connection.heard);
        silent.map(|connection| connection.until_ms).min()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Connection {
    /// Reads what has come. False if no more will.
    fn read(&mut self) -> bool {
        let mut piece = [0; WISH_BYTES_MAX];
        while self.said.len() < WISH_BYTES_MAX {
            match self.stream.read(&mut piece) {
                Ok(0) => return false,
                Ok(len) => self.said.extend_from_slice(&piece[..len]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        false
    }

    /// The first line of what was said, if it is complete.
    fn line(&self) -> Option<String> {
        let end = self.said.iter().position(|byte| *byte == b'\n')?;
        Some(String::from_utf8_lossy(&self.said[..end]).into_owned())
    }
}
