//! What a domain does when it is woken.

use core::fmt;

use crate::ChannelSet;

/// A protection domain's program, after its start.
pub trait Handler {
    /// Why the domain cannot go on.
    type Error: fmt::Display;

    /// Called once before the first wait, and whenever something happened. Must look at all its
    /// inputs, not only at those in `channels`, and return when there is nothing left to do.
    fn notified(&mut self, channels: ChannelSet) -> Result<(), Self::Error>;
}
