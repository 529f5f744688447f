//! The network domain: client sessions between a TCP stack and the voter.
//!
//! ```text
//!  clients ⇄ Stack ──recv──▶ n2v ring ──▶ voter
//!                  ◀─send─── window  ◀── voter (v2n ring says how far)
//! ```
//!
//! Request bytes go from the stack straight into the ring, reply bytes straight from the window into
//! the stack: the domain has no buffer of its own, but one for the datagram that is being passed on ([`datagrams`]). [`Network`] is the state machine; it neither waits
//! nor looks at a clock. [`domain`] binds it to the runtime. The stack is any [`stack::Stack`]: sockets
//! of the host's kernel (in `boards/linux`), or [`smoltcp_stack`] on any network interface.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod datagrams;
pub mod domain;
mod network;
mod session;
pub mod smoltcp_stack;
pub mod stack;

pub use datagrams::CLIENT_DATAGRAMS;
pub use network::{DATAGRAM_MS, Error, LINGER_MS, Limits, Network, Turn};
