//! Whole-system tests of RESH: real clients, real servers, faults.
//!
//! The tests are cases of the program `system-tests` (`main.rs`), each a process of its own with a
//! time limit ([`harness`]). What they share is here: servers, the appliance, and ways to look at both.
#![forbid(unsafe_code)]

pub mod appliance;
pub mod board;
pub mod dns_servers;
pub mod harness;
pub mod http_check;
pub mod machine;
pub mod net;
pub mod process;
pub mod revivable;
pub mod rng;
pub mod server_config;
pub mod servers;
pub mod site;
pub mod smoltcp;
pub mod tcp_servers;
pub mod udp_servers;
pub mod web;
