//! Channels between protection domains: rings in shared memory that distrust the peer, and the
//! messages on them. How they are used: `docs/architecture.md`.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, loom))]
extern crate std;

pub mod config;
pub mod joining;
pub mod log;
pub mod memory;
pub mod message;
pub mod order;
pub mod ordering;
pub mod ring;
pub mod snapshot;
pub mod stats;
pub mod supervision;
pub mod window;
