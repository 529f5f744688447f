//! The domain of one replica, for tests: once there were some requests it touches memory that it has not.
#![cfg_attr(target_os = "none", no_std, no_main)]

use resh_sel4::gateway::{self, StartError};
use sel4_microkit::{Channel, ChannelSet, Child, Handler, MessageInfo};

/// The channel to the voter.
const VOTER: Channel = Channel::new(0);
/// Signals of the voter after which it faults: it is let in by a few, and each request takes a few.
const SIGNALS: u32 = 300;
/// An address at which nothing is mapped in any domain.
const NOWHERE: usize = 0x10;

struct Faulting<H> {
    honest: H,
    signals_left: u32,
}

impl<H: Handler> Handler for Faulting<H> {
    type Error = H::Error;

    fn notified(&mut self, channels: ChannelSet) -> Result<(), H::Error> {
        if channels.contains(VOTER) {
            self.signals_left = self.signals_left.saturating_sub(1);
        }
        if self.signals_left == 0 {
            let nowhere = core::ptr::without_provenance::<u64>(NOWHERE);
            // SAFETY: there is nothing to read, so the kernel stops this domain at this instruction:
            // that is what it is for.
            unsafe { nowhere.read_volatile() };
        }
        self.honest.notified(channels)
    }

    fn fault(
        &mut self,
        child: Child,
        message: MessageInfo,
    ) -> Result<Option<MessageInfo>, H::Error> {
        self.honest.fault(child, message)
    }
}

fn start() -> Result<impl Handler, StartError> {
    Ok(Faulting { honest: gateway::start()?, signals_left: SIGNALS })
}

sel4_microkit::program! {
    regions: [
        config, supervision, broadcast_ring, broadcast_cursor, reply_ring, reply_cursor,
        guest_ram, guest_kernel, guest_initramfs,
    ],
    start: start
}
