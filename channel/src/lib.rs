//! See Cargo.toml.
#![no_std]
pub mod config;
