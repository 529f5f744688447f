//! The TCP client of the guest's server: smoltcp on the guest's network link.
