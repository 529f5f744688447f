//! The kinds of server in a demo, and what can be wrong with one.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering};

/// A make of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A thread for each connection; states lengths.
    Threads,
    /// A thread for each connection; sends short bodies in chunks.
    Chunks,
    /// One loop for all connections; ends some replies with the connection.
    Events,
}

impl Kind {
    /// All of them, in the order in which a demo uses them.
    pub const ALL: [Self; 3] = [Self::Threads, Self::Chunks, Self::Events];

    /// Its name, which is also that of its replica.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Threads => "threads",
            Self::Chunks => "chunks",
            Self::Events => "events",
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let kind = Self::ALL.into_iter().find(|kind| kind.name() == text);
        kind.ok_or_else(|| format!("no kind of server is called `{text}`"))
    }
}

/// What is wrong with a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing. A replica that was killed is started again.
    Clear,
    /// It sends wrong bytes.
    Corrupt,
    /// It takes connections and requests, and never answers.
    Hang,
    /// It answers a hundred times slower.
    Slow,
    /// Its process is gone.
    Kill,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Clear, Self::Corrupt, Self::Hang, Self::Slow, Self::Kill];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Clear => "clear",
            Self::Corrupt => "corrupt",
            Self::Hang => "hang",
            Self::Slow => "slow",
            Self::Kill => "kill",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|fault| fault.name() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|fault| fault.name()).collect();
            format!("no fault is called `{text}`; there is: {}", known.join(", "))
        })
    }
}

/// The fault of this process, shared by its threads.
#[derive(Debug, Default)]
pub(super) struct Current(AtomicU8);

impl Current {
    /// What is wrong now.
    pub(super) fn get(&self) -> Fault {
        Fault::ALL[usize::from(self.0.load(Ordering::Relaxed)) % Fault::ALL.len()]
    }

    /// Changes it.
    pub(super) fn set(&self, fault: Fault) {
        self.0.store(fault as u8, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        let current = Current::default();
        assert_eq!(current.get(), Fault::Clear);
        for fault in Fault::ALL {
            assert_eq!(fault.name().parse(), Ok(fault));
            current.set(fault);
            assert_eq!(current.get(), fault);
        }
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        assert!("melt".parse::<Fault>().unwrap_err().ends_with("clear, corrupt, hang, slow, kill"));
    }
}
