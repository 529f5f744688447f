//! One replica's gateway: a domain of its own that reads what the voter broadcasts, is the TCP client
//! of its replica, and writes the replica's answers, brought to one form, to its reply ring.
//!
//! Nothing here is trusted: a gateway that is broken, or broken into by its replica, has one vote like
//! its replica (design decision D3). What a session may make it hold is bounded by credit, and one
//! session never holds back another: the broadcast ring is always read, and what a slow replica does
//! not take yet waits in its session's own buffer.
//!
//! Each session is served in one of four ways: `raw` passes bytes on; `canonical` brings them to one form by the
//! [canonicaliser](canonicaliser::Canonicaliser) of its protocol (`protocols` knows which); `datagram` does so for a datagram
//! each way; `probe` only connects. In total order requests come through the `executor` of their service, and `framing` says
//! where they end.
//!
//! [`Gateway`] is a state machine without clock or I/O: rings on one side, an [`upstream::Upstream`]
//! on the other. Its messages are in `docs/architecture.md`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod canonical;
pub mod canonicaliser;
mod datagram;
pub mod dns;
pub mod domain;
mod executor;
mod fifo;
mod framing;
mod gateway;
pub mod http1;
mod memory;
mod out;
pub mod pgwire;
mod probe;
mod protocols;
pub mod queue;
mod raw;
mod replies;
pub mod resp;
mod session;
pub mod upstream;

pub use gateway::{Gateway, Rings, Round};
pub use memory::Memory;

use resh_channel::ring::Violation;

/// Entries of the session table: the indices of session ids are below.
pub const SLOTS: usize = 1280;

/// Consumed request bytes that are worth telling the voter.
pub const TAKEN_STEP_BYTES: u64 = 16 * 1024;

/// Why a gateway cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A region is too small.
    Regions,
    /// The voter's broadcast makes no sense.
    Broadcast(Violation),
    /// The voter's position on the reply ring makes no sense.
    Replies(Violation),
}

impl core::fmt::Display for Broken {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Regions => f.write_str("a ring's region is too small"),
            Self::Broadcast(violation) => write!(f, "broadcast ring: {violation}"),
            Self::Replies(violation) => write!(f, "reply ring: {violation}"),
        }
    }
}

impl core::error::Error for Broken {}
