//! The network device: real virtqueues with wicked contents.

use crate::cpu::{self, ACCESSES, Access, read32, write32};
use crate::random::Random;

/// The device's registers (virtio 1.2 section 4.2.2).
const DEVICE: u64 = 0x0a00_0000;
const DRIVER_FEATURES: u64 = DEVICE + 0x020;
const DRIVER_FEATURES_SELECT: u64 = DEVICE + 0x024;
const QUEUE_SELECT: u64 = DEVICE + 0x030;
const QUEUE_SIZE: u64 = DEVICE + 0x038;
const QUEUE_READY: u64 = DEVICE + 0x044;
const QUEUE_NOTIFY: u64 = DEVICE + 0x050;
const INTERRUPT_STATUS: u64 = DEVICE + 0x060;
const INTERRUPT_ACKNOWLEDGE: u64 = DEVICE + 0x064;
const STATUS: u64 = DEVICE + 0x070;

const F_NEXT: u16 = 1;
const F_WRITE: u16 = 2;
const F_INDIRECT: u16 = 4;

/// Where RAM begins and ends: the kernel does not care whether there is more.
const RAM: u64 = 0x4000_0000;
const RAM_END: u64 = 0x4800_0000;
/// Memory for rings and buffers: far from kernel, initramfs and device tree.
const ARENA: u64 = RAM + 0x100_0000;
const BUFFERS: u64 = ARENA + 0x1_0000;
const BUFFERS_BYTES: u64 = 0x1_0000;

/// Queues: to the guest, and from it.
const QUEUES: u32 = 2;

/// Lowers the device's interrupt.
pub(crate) fn acknowledge_interrupt() {
    let status = read32(INTERRUPT_STATUS);
    write32(INTERRUPT_ACKNOWLEDGE, status);
}

/// A driver's view of its two queues.
pub(crate) struct Driver {
    size: u16,
    available: [u16; QUEUES as usize],
}

impl Driver {
    pub(crate) fn new() -> Self {
        Self { size: 1, available: [0; QUEUES as usize] }
    }

    fn descriptors(queue: u32) -> u64 {
        ARENA + 0x4000 * u64::from(queue)
    }

    fn available_ring(queue: u32) -> u64 {
        Self::descriptors(queue) + 0x2000
    }

    fn used_ring(queue: u32) -> u64 {
        Self::descriptors(queue) + 0x3000
    }

    /// Sets the device up as it should be; `wicked`: but for one thing.
    pub(crate) fn set_up(&mut self, random: &mut Random, wicked: bool) {
        let wrong = if wicked { random.below(6) } else { u64::MAX };
        self.size = random.pick(&[1, 2, 8, 64, 256]);
        self.available = [0; QUEUES as usize];
        write32(STATUS, 0);
        write32(STATUS, 3);
        write32(DRIVER_FEATURES_SELECT, 0);
        write32(DRIVER_FEATURES, if wrong == 0 { random.next() as u32 } else { 0 });
        write32(DRIVER_FEATURES_SELECT, 1);
        write32(DRIVER_FEATURES, if wrong == 1 { random.next() as u32 } else { 1 });
        write32(STATUS, 11);
        for queue in 0..QUEUES {
            write32(QUEUE_SELECT, if wrong == 2 { random.any() as u32 } else { queue });
            write32(QUEUE_SIZE, if wrong == 3 { random.any() as u32 } else { self.size.into() });
            let parts =
                [Self::descriptors(queue), Self::available_ring(queue), Self::used_ring(queue)];
            for (address, register) in parts.into_iter().zip([0x080, 0x090, 0x0a0]) {
                let address = if wrong == 4 { odd_address(random) } else { address };
                write32(DEVICE + register, address as u32);
                write32(DEVICE + register + 4, (address >> 32) as u32);
            }
            for index in 0..self.size {
                self.describe(random, queue, index, false);
            }
            write32(Self::available_ring(queue), 0);
            write32(Self::used_ring(queue), 0);
            cpu::barrier();
            write32(QUEUE_READY, if wrong == 5 { random.any() as u32 } else { 1 });
        }
        write32(STATUS, 15);
    }

    /// Writes a descriptor; `wicked`: with something wrong.
    fn describe(&self, random: &mut Random, queue: u32, index: u16, wicked: bool) {
        let mut address = BUFFERS + random.below(BUFFERS_BYTES - 0x800);
        let mut len = random.pick(&[12, 12 + 42, 12 + 60, 700, 1526]);
        let mut flags = if queue == 0 { F_WRITE } else { 0 };
        let mut next = random.below(self.size.into()) as u16;
        if random.once_in(3) {
            flags |= F_NEXT;
        }
        if wicked {
            match random.below(6) {
                0 => address = odd_address(random),
                1 => len = random.any() as u32,
                2 => flags ^= F_WRITE,
                3 => flags |= F_INDIRECT,
                4 => flags = random.next() as u16,
                _ => next = random.next() as u16,
            }
            if random.once_in(3) {
                flags |= F_NEXT;
                // To itself: the shortest loop.
                next = index;
            }
        }
        let at = Self::descriptors(queue) + 16 * u64::from(index);
        cpu::store(Access::Double, at, address);
        cpu::store(
            Access::Double,
            at + 8,
            u64::from(next) << 48 | u64::from(flags) << 32 | u64::from(len),
        );
        if (BUFFERS..BUFFERS + BUFFERS_BYTES).contains(&address) {
            fill_frame(random, address & !7);
        }
    }

    /// One wicked chain, or index, and a word to the device.
    pub(crate) fn misuse(&mut self, random: &mut Random) {
        let queue = random.below(QUEUES.into()) as u32;
        let at = random.below(self.size.into()) as u16;
        let wicked = random.below(4) > 0;
        self.describe(random, queue, at, wicked);
        let index = &mut self.available[queue as usize];
        let head = if random.once_in(20) { random.next() as u16 } else { at };
        let entry = Self::available_ring(queue) + 4 + 2 * u64::from(*index % self.size);
        cpu::store(Access::Half, entry, head.into());
        *index = index.wrapping_add(if random.once_in(20) { random.next() as u16 } else { 1 });
        cpu::barrier();
        cpu::store(Access::Half, Self::available_ring(queue) + 2, (*index).into());
        write32(QUEUE_NOTIFY, if random.once_in(20) { random.any() as u32 } else { queue });
        match random.below(8) {
            // A reset while the device may be at it.
            0 => write32(STATUS, 0),
            // Descriptors that change once they are offered.
            1 => self.describe(random, queue, at, true),
            2 => write32(QUEUE_READY, 0),
            _ => {}
        }
    }

    /// Whether the device is up and has not asked for a reset.
    pub(crate) fn is_up(&self) -> bool {
        read32(STATUS) == 15
    }
}

/// Something like a frame, with its header before it: the more it looks like one, the further it gets.
fn fill_frame(random: &mut Random, at: u64) {
    let header = if random.once_in(30) { random.next() } else { 0 };
    cpu::store(Access::Double, at, header);
    // The rest of the header, then an Ethernet header: to all, from somebody, some protocol.
    cpu::store(Access::Double, at + 8, 0xffff_ffff << 32);
    cpu::store(Access::Double, at + 16, random.next() << 16 | 0xffff);
    let odd = random.next() as u16;
    let protocol = random.pick(&[0x0008, 0x0608, 0xdd86, odd]);
    let version = random.pick(&[0x0045, 0x0046, 0x0100, odd]);
    let start = u64::from(protocol) | u64::from(version) << 16 | random.next() << 32;
    cpu::store(Access::Double, at + 24, start);
    for word in 4..12 {
        cpu::store(Access::Double, at + 8 * word, random.next());
    }
}

/// Registers at odd widths, queues that are not there, values without sense.
pub(crate) fn odd_register(random: &mut Random) {
    let address = DEVICE + random.offset(0x200);
    match random.below(4) {
        0 => {
            cpu::load(random.pick(&ACCESSES), address);
        }
        1 => write32(address, random.any() as u32),
        2 => {
            write32(QUEUE_SELECT, random.any() as u32);
            write32(QUEUE_READY, random.next() as u32 & 1);
        }
        _ => cpu::store(random.pick(&ACCESSES), address, random.any()),
    }
}

fn odd_address(random: &mut Random) -> u64 {
    match random.below(6) {
        0 => random.any(),
        1 => RAM_END - random.below(64),
        2 => RAM - random.below(64),
        3 => u64::MAX - random.below(4096),
        // The devices themselves, and where the monitor may have something.
        4 => random.pick(&[DEVICE, 0x0800_0000, 0x0900_0000, 0, 0x1000_0000, 0x0200_0000]),
        _ => RAM_END + random.below(1 << 32),
    }
}
