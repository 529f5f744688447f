//! The Linux board: every protection domain a confined process.

pub mod config;
pub mod diagnostic;
pub mod system;
