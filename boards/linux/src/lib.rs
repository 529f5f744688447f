//! The Linux board: every protection domain a confined process.

pub mod allocator;
pub mod config;
mod datagrams;
pub mod demo;
pub mod diagnostic;
pub mod domain;
pub mod launcher;
pub mod listener;
pub mod monitor;
pub mod programs;
pub mod replica;
pub mod runtime_dir;
pub mod sandbox;
mod sockets;
pub mod status;
pub mod system;
pub mod tap;
pub mod upstream;
