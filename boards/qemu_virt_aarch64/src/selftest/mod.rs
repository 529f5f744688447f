//! A client inside the network domain, for tests without a network interface: two smoltcp stacks on a link
//! in memory, so that what happens depends on nothing outside the machine.

mod client;
mod link;

pub use client::{Client, Fetch, Progress};
pub use link::{Link, Port};
