//! What the programs of these domains share.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod gateway;
