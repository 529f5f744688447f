//! The supervisor: the parent of the replicas' domains. It announces each one's life to the voter, ends
//! those that the voter condemns or that died, and starts their next life from pristine memory.
//!
//! Nothing here asks a replica: what counts is what the kernel says of its domain, and the voter's verdict.
//! [`Lives`] decides; [`domain`] binds that to the runtime.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod domain;
mod lives;
mod operator;
mod rejuvenation;

pub use lives::{ASIDE_MS, Actions, Lives, Purpose, STALE_MS, State};
pub use operator::Refusal;
