//! The gateway between a scripted voter and a scripted server: what goes in at one end comes out at the
//! other, whatever the pieces, the order and the pace.

mod datagram;
mod http1;
mod order;
mod probe;
mod raw;
mod rest;
mod support;
