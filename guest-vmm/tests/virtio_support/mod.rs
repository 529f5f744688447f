//! A guest with a network device, as a driver sees it: RAM, registers, virtqueues.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test uses a part of it")]

#[path = "../../../pd-voter/tests/common/random.rs"]
mod random;

use guest_vmm::memory::GuestRam;
use guest_vmm::upstream::Frames;
use guest_vmm::virtio::Net;
pub use random::{Random, for_each_seed};
use resh_channel::memory::AtomicU64;

pub const RAM_BASE: u64 = 0x4000_0000;
pub const MAC: [u8; 6] = [0x02, 0x52, 0x45, 0x53, 0x48, 0x10];

pub const RECEIVE: u32 = 0;
pub const TRANSMIT: u32 = 1;
pub const HEADER_BYTES: usize = 12;

pub const STATUS: u64 = 0x070;
pub const INTERRUPT_STATUS: u64 = 0x060;
pub const INTERRUPT_ACKNOWLEDGE: u64 = 0x064;
pub const QUEUE_SELECT: u64 = 0x030;
pub const QUEUE_SIZE: u64 = 0x038;
pub const QUEUE_READY: u64 = 0x044;
pub const QUEUE_NOTIFY: u64 = 0x050;
pub const QUEUE_DESCRIPTORS: u64 = 0x080;
pub const QUEUE_DRIVER: u64 = 0x090;
pub const QUEUE_DEVICE: u64 = 0x0a0;

pub const ACKNOWLEDGE: u32 = 1;
pub const DRIVER: u32 = 2;
pub const DRIVER_OK: u32 = 4;
pub const FEATURES_OK: u32 = 8;
pub const NEEDS_RESET: u32 = 64;
pub const UP_TO_FEATURES: u32 = ACKNOWLEDGE | DRIVER | FEATURES_OK;

pub const F_CSUM: u64 = 1;
pub const F_GUEST_CSUM: u64 = 2;
pub const F_MTU: u64 = 8;
pub const F_MAC: u64 = 32;
pub const F_VERSION_1: u64 = 1 << 32;
/// All that the device offers.
pub const FEATURES: u64 = F_CSUM | F_GUEST_CSUM | F_MTU | F_MAC | F_VERSION_1;

pub const F_NEXT: u16 = 1;
pub const F_WRITE: u16 = 2;
pub const F_INDIRECT: u16 = 4;

/// Where a virtqueue is.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    pub size: u32,
    pub descriptors: u64,
    pub available: u64,
    pub used: u64,
}

impl Layout {
    /// One part after the other from `start` on, for at most 256 entries.
    pub fn at(start: u64, size: u16) -> Self {
        let (descriptors, entries) = (start, u64::from(size));
        let available = descriptors + 16 * entries;
        let used = (available + 6 + 2 * entries).next_multiple_of(4);
        Self { size: size.into(), descriptors, available, used }
    }

    pub fn end(&self) -> u64 {
        (self.used + 6 + 8 * u64::from(self.size)).next_multiple_of(16)
    }
}

/// A descriptor as it is in RAM.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor {
    pub address: u64,
    pub len: u32,
    pub flags: u16,
    pub next: u16,
}

/// RAM and the device.
pub struct Guest {
    pub words: Vec<AtomicU64>,
    pub net: Net,
}

impl Guest {
    pub fn new(ram_bytes: usize) -> Self {
        let words = (0..ram_bytes / 8).map(|_| AtomicU64::new(0)).collect();
        Self { words, net: Net::new(MAC) }
    }

    pub fn ram(&self) -> GuestRam<'_> {
        GuestRam::new(&self.words, RAM_BASE)
    }

    /// Copies all of RAM to `to`.
    pub fn snapshot(&self, to: &mut Vec<u8>) {
        to.resize(8 * self.words.len(), 0);
        self.ram().read(RAM_BASE, to).unwrap();
    }

    pub fn read(&mut self, offset: u64) -> u32 {
        self.net.mmio_read(offset, 4) as u32
    }

    pub fn write(&mut self, offset: u64, value: u32) {
        self.write_wide(offset, 4, value.into());
    }

    pub fn write_wide(&mut self, offset: u64, width: u8, value: u64) {
        self.net.mmio_write(GuestRam::new(&self.words, RAM_BASE), offset, width, value);
    }

    /// The next frame from the guest.
    pub fn receive(&mut self, into: &mut [u8]) -> Option<usize> {
        self.net.link(GuestRam::new(&self.words, RAM_BASE)).receive(into)
    }

    /// A frame to the guest.
    pub fn send(&mut self, frame: &[u8]) -> bool {
        self.net.link(GuestRam::new(&self.words, RAM_BASE)).send(frame)
    }

    pub fn can_send(&mut self) -> bool {
        self.net.link(GuestRam::new(&self.words, RAM_BASE)).can_send()
    }

    /// Resets the device and agrees on `features` (section 3.1.1, steps 1 to 6). True if it accepts.
    pub fn negotiate(&mut self, features: u64) -> bool {
        self.write(STATUS, 0);
        self.write(STATUS, ACKNOWLEDGE);
        self.write(STATUS, ACKNOWLEDGE | DRIVER);
        for select in [0, 1] {
            self.write(0x024, select);
            self.write(0x020, (features >> (32 * select)) as u32);
        }
        self.write(STATUS, UP_TO_FEATURES);
        self.read(STATUS) == UP_TO_FEATURES
    }

    /// Enables a queue. True if the device agrees.
    pub fn enable(&mut self, queue: u32, layout: &Layout) -> bool {
        self.write(QUEUE_SELECT, queue);
        self.write(QUEUE_SIZE, layout.size);
        for (offset, address) in [
            (QUEUE_DESCRIPTORS, layout.descriptors),
            (QUEUE_DRIVER, layout.available),
            (QUEUE_DEVICE, layout.used),
        ] {
            self.write(offset, address as u32);
            self.write(offset + 4, (address >> 32) as u32);
        }
        self.write(QUEUE_READY, 1);
        self.read(QUEUE_READY) == 1
    }

    pub fn start(&mut self) {
        self.write(STATUS, UP_TO_FEATURES | DRIVER_OK);
    }

    /// Writes a descriptor, if its place is in RAM.
    pub fn describe(&self, layout: &Layout, index: u16, descriptor: Descriptor) {
        let Descriptor { address, len, flags, next } = descriptor;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&address.to_le_bytes());
        bytes[8..12].copy_from_slice(&len.to_le_bytes());
        bytes[12..14].copy_from_slice(&flags.to_le_bytes());
        bytes[14..].copy_from_slice(&next.to_le_bytes());
        let _ = self.ram().write(layout.descriptors.wrapping_add(16 * u64::from(index)), &bytes);
    }

    /// Makes the chain that starts at `head` available, as the one with number `index`.
    pub fn offer(&self, layout: &Layout, index: u16, head: u16) {
        let slot = u64::from(index % layout.size as u16);
        self.ram().write_u16(layout.available + 4 + 2 * slot, head).unwrap();
        self.ram().write_u16(layout.available + 2, index.wrapping_add(1)).unwrap();
    }

    pub fn used_index(&self, layout: &Layout) -> u16 {
        self.ram().read_u16(layout.used + 2).unwrap()
    }

    /// Head and length of the used entry number `index`.
    pub fn used(&self, layout: &Layout, index: u16) -> (u32, u32) {
        let entry = layout.used + 4 + 8 * u64::from(index % layout.size as u16);
        (self.ram().read_u32(entry).unwrap(), self.ram().read_u32(entry + 4).unwrap())
    }

    /// What an honest driver does after a reset, over and over: it gets a frame out and one in.
    pub fn honest_life(&mut self, seed: u64) {
        let transmit = Layout::at(RAM_BASE, 4);
        let receive = Layout::at(transmit.end(), 4);
        let (buffer_out, buffer_in) = (receive.end(), RAM_BASE + 0x800);
        for address in (RAM_BASE..receive.end()).step_by(8) {
            self.ram().write_u64(address, 0).unwrap();
        }
        assert!(self.negotiate(FEATURES), "the device accepts what it offers");
        assert!(self.enable(RECEIVE, &receive) && self.enable(TRANSMIT, &transmit));
        self.start();
        assert_eq!(self.read(STATUS), UP_TO_FEATURES | DRIVER_OK);
        assert_eq!(self.read(INTERRUPT_STATUS), 0);
        let mut random = Random::new(seed);
        let len = 14 + random.below(60);
        let frame: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        let mut into = [0; 1514];
        for index in 0..2u16 {
            // Out: header and frame in two buffers.
            let frame_at = buffer_out + HEADER_BYTES as u64;
            self.ram().write(buffer_out, &[0; HEADER_BYTES]).unwrap();
            self.ram().write(frame_at, &frame).unwrap();
            let header = Descriptor {
                address: buffer_out,
                len: HEADER_BYTES as u32,
                flags: F_NEXT,
                next: 1,
            };
            let body = Descriptor { address: frame_at, len: len as u32, flags: 0, next: 0 };
            self.describe(&transmit, 2, header);
            self.describe(&transmit, 1, body);
            assert_eq!(self.receive(&mut into), None);
            self.offer(&transmit, index, 2);
            self.write(QUEUE_NOTIFY, TRANSMIT);
            assert_eq!(self.receive(&mut into), Some(len));
            assert_eq!(into[..len], frame);
            assert_eq!(
                (self.used_index(&transmit), self.used(&transmit, index)),
                (index + 1, (2, 0))
            );
            assert_eq!(self.read(INTERRUPT_STATUS), 1);
            self.write(INTERRUPT_ACKNOWLEDGE, 1);
            assert!(!self.net.interrupt_pending());
            // In: one buffer.
            assert!(!self.can_send() && !self.send(&frame));
            let room = Descriptor { address: buffer_in, len: 1526, flags: F_WRITE, next: 0 };
            self.describe(&receive, 3, room);
            self.offer(&receive, index, 3);
            self.write(QUEUE_NOTIFY, RECEIVE);
            assert!(self.can_send() && self.send(&frame));
            let total = HEADER_BYTES + len;
            let mut arrived = vec![0; total];
            self.ram().read(buffer_in, &mut arrived).unwrap();
            // Nothing to check about checksums, and one buffer.
            assert_eq!(arrived[..HEADER_BYTES], [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
            assert_eq!(arrived[HEADER_BYTES..], frame);
            let entry = (3, total as u32);
            assert_eq!((self.used_index(&receive), self.used(&receive, index)), (index + 1, entry));
            assert!(self.net.interrupt_pending());
            self.write(INTERRUPT_ACKNOWLEDGE, 1);
        }
        assert_eq!(self.net.take_misbehaviour(), None);
    }
}
