//! What a domain does when it is woken.

use core::fmt;

use crate::{Channel, ChannelSet, Child, MessageInfo, debug_println};

/// A protection domain's program, after its start.
pub trait Handler {
    /// Why the domain cannot go on.
    type Error: fmt::Display;

    /// Called once before the first wait, and whenever something happened. Must look at all its
    /// inputs, not only at those in `channels`, and return when there is nothing left to do.
    fn notified(&mut self, channels: ChannelSet) -> Result<(), Self::Error>;

    /// Another domain called this one through `channel` (Microkit manual, "Protected procedures"). What
    /// it returns is the answer.
    fn protected(
        &mut self,
        channel: Channel,
        _message: MessageInfo,
    ) -> Result<MessageInfo, Self::Error> {
        debug_println!("a call on channel {}, which offers none", channel.index());
        Ok(MessageInfo::new(0, 0))
    }

    /// A child, a domain or a virtual CPU, stopped for something it cannot do itself (Microkit manual,
    /// "Faults"). With an answer it goes on; without one it stays as it is.
    fn fault(
        &mut self,
        child: Child,
        message: MessageInfo,
    ) -> Result<Option<MessageInfo>, Self::Error> {
        debug_println!("child {} stopped by fault {}", child.index(), message.label());
        Ok(None)
    }
}
