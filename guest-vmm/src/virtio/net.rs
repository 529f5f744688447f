//! A network device (virtio 1.2 section 5.1): the guest's end of the wire to its gateway.

use super::chain::{Chain, Direction};
use super::mmio::{Identity, Transport};
use super::{F_VERSION_1, Misbehaviour};
use crate::memory::GuestRam;
use crate::upstream::{FRAME_BYTES_MAX, Frames};

/// Kind of device (section 5.1.1).
const DEVICE_ID: u32 = 1;

/// Queues (section 5.1.2), named from the guest's point of view.
const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
const QUEUES: usize = 2;

/// Features (section 5.1.3).
const F_CSUM: u64 = 1 << 0;
const F_GUEST_CSUM: u64 = 1 << 1;
const F_MTU: u64 = 1 << 3;
const F_MAC: u64 = 1 << 5;

/// Bytes of `struct virtio_net_config` up to `mtu` (section 5.1.4).
const CONFIG_BYTES: usize = 12;
const CONFIG_MTU: usize = 10;

/// Bytes of `struct virtio_net_hdr` (section 5.1.6).
const HEADER_BYTES: u32 = 12;
/// In `flags`: the checksum is not computed.
const HEADER_F_NEEDS_CSUM: u8 = 1;
/// In `flags`: the checksum need not be looked at.
const HEADER_F_DATA_VALID: u8 = 2;
/// Where the low byte of `num_buffers` is in it.
const HEADER_NUM_BUFFERS: usize = 10;

/// Bytes of an Ethernet header, without which there is no frame.
const ETHERNET_BYTES: usize = 14;
/// Largest IP packet on this link, in bytes.
const MTU: u16 = (FRAME_BYTES_MAX - ETHERNET_BYTES) as u16;

/// Most chains that one call of [`Frames::receive`] takes when they hold no frame.
const CHAINS_PER_CALL: usize = 16;

/// What the device has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Frames from the guest.
    pub frames_out: u64,
    /// Bytes in them.
    pub bytes_out: u64,
    /// Frames from the guest that were shorter or longer than a frame may be.
    pub dropped_out: u64,
    /// Frames to the guest.
    pub frames_in: u64,
    /// Bytes in them.
    pub bytes_in: u64,
    /// Frames to the guest for which it offered no buffer, or one too small.
    pub dropped_in: u64,
    /// Accesses to registers that read as 0 or were ignored.
    pub refused: u64,
    /// Resets by the driver.
    pub resets: u64,
    /// Times the device gave up until the next reset.
    pub misbehaviours: u64,
}

/// A virtio network device.
pub struct Net {
    transport: Transport<QUEUES, CONFIG_BYTES>,
    chain: Chain,
    statistics: Statistics,
}

impl Net {
    /// A device whose address is `mac`.
    pub fn new(mac: [u8; 6]) -> Self {
        let mut config = [0; CONFIG_BYTES];
        config[..mac.len()].copy_from_slice(&mac);
        config[CONFIG_MTU..].copy_from_slice(&MTU.to_le_bytes());
        let features = F_VERSION_1 | F_CSUM | F_GUEST_CSUM | F_MTU | F_MAC;
        Self {
            transport: Transport::new(Identity { device_id: DEVICE_ID, features, config }),
            chain: Chain::default(),
            statistics: Statistics::default(),
        }
    }

    /// The guest reads `width` bytes from `offset` on in the device's registers.
    pub fn mmio_read(&mut self, offset: u64, width: u8) -> u64 {
        self.transport.read(offset, width)
    }

    /// The guest writes the low `width` bytes of `value` at `offset`.
    pub fn mmio_write(&mut self, ram: GuestRam<'_>, offset: u64, width: u8, value: u64) {
        self.transport.write(ram, offset, width, value);
    }

    /// Whether the device's interrupt line is high.
    pub fn interrupt_pending(&self) -> bool {
        self.transport.interrupt_pending()
    }

    /// The first misbehaviour of the guest's driver since the last call.
    pub fn take_misbehaviour(&mut self) -> Option<Misbehaviour> {
        self.transport.take_misbehaviour()
    }

    /// What it has done.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            refused: self.transport.refused(),
            resets: self.transport.resets(),
            misbehaviours: self.transport.misbehaviours(),
            ..self.statistics
        }
    }

    /// The other end of the wire.
    pub fn link<'a, 'm>(&'a mut self, ram: GuestRam<'m>) -> Link<'a, 'm> {
        Link { net: self, ram }
    }

    /// Takes a chain that the guest transmits. None: there is none. Else the bytes of its frame in `into`,
    /// which are 0 if it was dropped.
    fn transmit(
        &mut self,
        ram: GuestRam<'_>,
        into: &mut [u8],
    ) -> Result<Option<usize>, Misbehaviour> {
        let may_lack_checksum = self.transport.has_features(F_CSUM);
        let Some(queue) = self.transport.queue(TRANSMIT) else { return Ok(None) };
        let Some(head) = queue.pop(ram, Direction::Read, &mut self.chain)? else { return Ok(None) };
        let mut header = [0; HEADER_BYTES as usize];
        let Some(frame_len) = self.chain.len().checked_sub(HEADER_BYTES) else {
            return Err(Misbehaviour::HeaderLength(self.chain.len()));
        };
        self.chain.read(ram, 0, &mut header)?;
        let [flags, gso_type, ..] = header;
        // No segmentation was offered.
        if gso_type != 0 || flags & HEADER_F_NEEDS_CSUM != 0 && !may_lack_checksum {
            return Err(Misbehaviour::HeaderContents { flags, gso_type });
        }
        let frame_len = frame_len as usize;
        let fits = frame_len <= FRAME_BYTES_MAX.min(into.len());
        let taken = if frame_len >= ETHERNET_BYTES && fits {
            self.chain.read(ram, HEADER_BYTES, &mut into[..frame_len])?
        } else {
            0
        };
        if queue.push(ram, head, 0)? {
            self.transport.interrupt();
        }
        Ok(Some(taken))
    }

    /// Puts a frame into the next chain that the guest offers. None: it offers none. Else whether the frame
    /// fitted; if not, the guest gets the chain back empty.
    fn deliver(&mut self, ram: GuestRam<'_>, frame: &[u8]) -> Result<Option<bool>, Misbehaviour> {
        let checksum_is_off = self.transport.has_features(F_GUEST_CSUM);
        let Some(queue) = self.transport.queue(RECEIVE) else { return Ok(None) };
        let Some(head) = queue.pop(ram, Direction::Write, &mut self.chain)? else {
            return Ok(None);
        };
        let Some(room) = self.chain.len().checked_sub(HEADER_BYTES) else {
            return Err(Misbehaviour::HeaderLength(self.chain.len()));
        };
        let fits = frame.len() <= room as usize;
        let mut written = 0;
        if fits {
            let mut header = [0; HEADER_BYTES as usize];
            header[0] = if checksum_is_off { HEADER_F_DATA_VALID } else { 0 };
            header[HEADER_NUM_BUFFERS] = 1;
            written += self.chain.write(ram, 0, &header)?;
            written += self.chain.write(ram, HEADER_BYTES, frame)?;
        }
        if queue.push(ram, head, written as u32)? {
            self.transport.interrupt();
        }
        Ok(Some(fits))
    }
}

/// The gateway's end of the wire to the guest.
pub struct Link<'a, 'm> {
    net: &'a mut Net,
    ram: GuestRam<'m>,
}

impl Frames for Link<'_, '_> {
    fn receive(&mut self, into: &mut [u8]) -> Option<usize> {
        for _ in 0..CHAINS_PER_CALL {
            match self.net.transmit(self.ram, into) {
                Ok(None) => return None,
                Ok(Some(0)) => self.net.statistics.dropped_out += 1,
                Ok(Some(len)) => {
                    self.net.statistics.frames_out += 1;
                    self.net.statistics.bytes_out += len as u64;
                    return Some(len);
                }
                Err(misbehaviour) => {
                    self.net.transport.fail(misbehaviour);
                    return None;
                }
            }
        }
        None
    }

    fn send(&mut self, frame: &[u8]) -> bool {
        let delivered = self.net.deliver(self.ram, frame).unwrap_or_else(|misbehaviour| {
            self.net.transport.fail(misbehaviour);
            None
        });
        let delivered = delivered == Some(true);
        if delivered {
            self.net.statistics.frames_in += 1;
            self.net.statistics.bytes_in += frame.len() as u64;
        } else {
            self.net.statistics.dropped_in += 1;
        }
        delivered
    }

    fn can_send(&self) -> bool {
        let queue = self.net.transport.look_at_queue(RECEIVE);
        // What is wrong with the queue comes out when it is used.
        queue.is_some_and(|queue| queue.waiting(self.ram) != Ok(0))
    }
}
