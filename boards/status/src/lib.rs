//! The state of an appliance, as every board's monitor tells it: put together from what the domains publish
//! and what the configuration names ([`report`]), as text for people ([`render`]), and as a type that
//! serializes to the JSON of `docs/operating.md` ([`model`]).
//!
//! A board without a file system or a browser tells it over a serial line: [`serial`].
//!
//! Nothing is allocated.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "sample"))]
extern crate std;

mod date;
pub mod model;
pub mod render;
pub mod report;
#[cfg(any(test, feature = "sample"))]
pub mod sample;
pub mod serial;

pub use date::civil_date;
