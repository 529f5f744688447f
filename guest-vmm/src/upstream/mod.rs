//! The client of the servers in a guest, on the guest's network link: smoltcp for TCP, and UDP next to it ([`udp`]).
//!
//! The link has two ends and two addresses, which make a /31 (RFC 3021): the guest's, which its services
//! have in the configuration, and ours, which differs in the last bit. Nothing but TCP goes to smoltcp,
//! which sees IP packets only: the Ethernet header never varies, so no neighbour is ever looked for,
//! and the guest's ARP requests are answered next to it ([`wire`]).
//!
//! A guest may be hostile. What it can make us do in one call is bounded, and what it breaks is its own
//! replica's.

mod frames;
mod ports;
mod probe;
mod settings;
mod tcp;
mod udp;
mod wire;

pub use frames::{FRAME_BYTES_MAX, Frames};
pub use probe::Serving;
pub use settings::{AddressError, Settings};
pub use tcp::{LINGER_MS, RECEIVE_BYTES, SEND_BYTES, SPARE, Tcp};
pub use wire::DATAGRAM_ROOM_BYTES;
