//! The Linux board: every protection domain a confined process.

pub mod config;
pub mod demo;
pub mod diagnostic;
pub mod monitor;
pub mod runtime_dir;
pub mod status;
pub mod system;
