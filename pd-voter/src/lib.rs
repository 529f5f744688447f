//! The voter: it multicasts what clients send to all replicas, and lets out the bytes a quorum of them
//! has produced. States, rules and limits: `docs/voter.md`.
//!
//! From the inside out: [`vote`] decides on one reply stream and knows neither rings nor time;
//! [`session`] adds the request stream and the clocks; [`voter`] moves records between the rings and
//! the sessions; [`domain`] binds that to the runtime.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod disputes;
pub mod domain;
pub mod evidence;
pub mod life;
pub mod limits;
pub mod nonce;
pub mod order;
pub mod queue;
pub mod replica;
pub mod rest;
pub mod session;
pub mod slot;
pub mod upload;
pub mod vote;
pub mod voter;
