//! A driver that does whatever it likes, in any order. Against a model of RAM: the device writes into
//! the rings and buffers it was given, and nowhere else; and after a reset it is as good as new.

mod virtio_support;

use resh_channel::memory::Ordering;
use std::ops::Range;
use std::sync::atomic::AtomicBool;
use virtio_support::*;

const RAM_BYTES: usize = 0x4000;
const STEPS: usize = 100;

/// A queue as the driver has described it.
type Described = Layout;

struct World {
    guest: Guest,
    random: Random,
    /// What RAM must contain.
    model: Vec<u8>,
    after: Vec<u8>,
    queues: [Described; 2],
    select: u32,
}

const UNDESCRIBED: Described = Layout { size: 256, descriptors: 0, available: 0, used: 0 };

impl World {
    fn new(seed: u64) -> Self {
        let guest = Guest::new(RAM_BYTES);
        let random = Random::new(seed);
        let model = vec![0; RAM_BYTES];
        Self { guest, random, model, after: Vec::new(), queues: [UNDESCRIBED; 2], select: 0 }
    }

    /// The driver writes to RAM, as far as there is RAM.
    fn poke(&mut self, address: u64, bytes: &[u8]) {
        if self.guest.ram().write(address, bytes).is_ok() {
            let at = (address - RAM_BASE) as usize;
            self.model[at..at + bytes.len()].copy_from_slice(bytes);
        }
    }

    /// The driver writes to a register, and notes what it has said about its queues.
    fn write(&mut self, offset: u64, width: u8, value: u64) {
        let enabled = self.guest.read(QUEUE_READY) == 1;
        self.guest.write_wide(offset, width, value);
        let value = value as u32;
        match (offset, self.queues.get_mut(self.select as usize)) {
            _ if width != 4 => {}
            (STATUS, _) if value == 0 => (self.queues, self.select) = ([UNDESCRIBED; 2], 0),
            (QUEUE_SELECT, _) => self.select = value,
            (QUEUE_SIZE, Some(queue)) if !enabled => queue.size = value,
            (_, Some(queue)) if !enabled => {
                let address = match offset & !4 {
                    QUEUE_DESCRIPTORS => &mut queue.descriptors,
                    QUEUE_DRIVER => &mut queue.available,
                    QUEUE_DEVICE => &mut queue.used,
                    _ => return,
                };
                let shift = 8 * (offset & 4);
                *address = *address & !(0xffff_ffff << shift) | u64::from(value) << shift;
            }
            _ => {}
        }
    }

    fn write_register(&mut self, offset: u64, value: u32) {
        self.write(offset, 4, value.into());
    }

    /// Sets the device up as it should be.
    fn set_up(&mut self) {
        self.write_register(STATUS, 0);
        self.write_register(STATUS, ACKNOWLEDGE | DRIVER);
        let features = if self.random.once_in(2) { FEATURES } else { F_VERSION_1 };
        for select in [0, 1] {
            self.write_register(0x024, select);
            self.write_register(0x020, (features >> (32 * select)) as u32);
        }
        self.write_register(STATUS, UP_TO_FEATURES);
        let mut start = RAM_BASE;
        for queue in [RECEIVE, TRANSMIT] {
            let layout = Layout::at(start, self.random.pick(&[1, 2, 4, 8]));
            start = layout.end();
            self.write_register(QUEUE_SELECT, queue);
            self.write_register(QUEUE_SIZE, layout.size);
            for (offset, address) in [
                (QUEUE_DESCRIPTORS, layout.descriptors),
                (QUEUE_DRIVER, layout.available),
                (QUEUE_DEVICE, layout.used),
            ] {
                self.write_register(offset, address as u32);
                self.write_register(offset + 4, (address >> 32) as u32);
            }
            self.poke(layout.available, &[0; 4]);
            self.poke(layout.used, &[0; 4]);
            self.write_register(QUEUE_READY, 1);
            for index in 0..layout.size as u16 {
                self.describe(queue as usize, index, false);
            }
        }
        self.write_register(STATUS, UP_TO_FEATURES | DRIVER_OK);
    }

    /// Writes a descriptor, good or wicked.
    fn describe(&mut self, queue: usize, index: u16, wicked: bool) {
        let layout = self.queues[queue];
        let random = &mut self.random;
        let last = random.once_in(2);
        let mut descriptor = Descriptor {
            address: RAM_BASE + 0x400 + random.below(RAM_BYTES - 0xa00) as u64,
            len: random.pick(&[12, 30, 72, 600, 1526]),
            flags: if queue == 0 { F_WRITE } else { 0 } | if last { 0 } else { F_NEXT },
            next: random.below(layout.size.clamp(1, 256) as usize) as u16,
        };
        if wicked {
            match random.below(5) {
                0 => descriptor.address = random.next() >> random.below(64),
                1 => descriptor.address = RAM_BASE + RAM_BYTES as u64 - random.below(2000) as u64,
                2 => descriptor.len = (random.next() >> random.below(64)) as u32,
                3 => descriptor.flags = random.next() as u16,
                _ => descriptor.next = random.next() as u16,
            }
        }
        let Descriptor { address, len, flags, next } = descriptor;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&address.to_le_bytes());
        bytes[8..12].copy_from_slice(&len.to_le_bytes());
        bytes[12..14].copy_from_slice(&flags.to_le_bytes());
        bytes[14..].copy_from_slice(&next.to_le_bytes());
        if queue == 1 {
            self.poke(address, &[0; HEADER_BYTES]);
        }
        self.poke(layout.descriptors.wrapping_add(16 * u64::from(index)), &bytes);
    }

    /// Makes chains available, one or far too many.
    fn offer(&mut self, queue: usize) {
        let layout = self.queues[queue];
        let size = layout.size.clamp(1, 256) as u16;
        let Ok(index) = self.guest.ram().read_u16(layout.available.wrapping_add(2)) else { return };
        let wicked = self.random.once_in(30);
        let head =
            if wicked { self.random.next() as u16 } else { self.random.below(size.into()) as u16 };
        let slot = layout.available.wrapping_add(4 + 2 * u64::from(index % size));
        self.poke(slot, &head.to_le_bytes());
        let step = if self.random.once_in(30) { self.random.next() as u16 } else { 1 };
        let next = index.wrapping_add(step).to_le_bytes();
        self.poke(layout.available.wrapping_add(2), &next);
    }

    fn odd_register(&mut self) -> (u64, u8, u64) {
        let random = &mut self.random;
        let offset = match random.below(8) {
            0 => random.next() >> random.below(64),
            1 => random.below(0x200) as u64,
            _ => 4 * random.below(0x80) as u64,
        };
        let width = if random.once_in(3) { random.pick(&[0, 1, 2, 3, 8, 16, 255]) } else { 4 };
        let value = match random.below(4) {
            0 => random.next() >> random.below(64),
            1 => u64::from(random.pick(&[0, 1, 2, 3, 4, 7, 15, 79, 128, 143, 256, u32::MAX])),
            2 => RAM_BASE + random.below(RAM_BYTES) as u64,
            _ => RAM_BASE + 16 * random.below(RAM_BYTES / 16) as u64,
        };
        (offset, width, value)
    }

    fn used_ring(&self, queue: usize) -> Range<u64> {
        let Layout { size, used, .. } = self.queues[queue];
        used..used.saturating_add(4 + 8 * u64::from(size))
    }

    /// Everything that the guest lets the device write, as RAM says now.
    fn offered(&self) -> Vec<Range<u64>> {
        let layout = self.queues[0];
        let buffers = (0..layout.size.min(256)).filter_map(|index| {
            let at = layout.descriptors.checked_add(16 * u64::from(index))?;
            let ram = self.guest.ram();
            let flags = ram.read_u16(at.checked_add(12)?).ok()?;
            let address = ram.read_u64(at).ok()?;
            let len = ram.read_u32(at + 8).ok()?;
            (flags & F_WRITE != 0).then_some(address..address.saturating_add(len.into()))
        });
        buffers.chain([self.used_ring(0)]).collect()
    }

    /// The device has had its turn: what differs must be in `allowed`.
    fn check(&mut self, allowed: &[Range<u64>]) {
        self.guest.snapshot(&mut self.after);
        if self.after == self.model {
            return;
        }
        for (at, (before, after)) in self.model.iter().zip(&self.after).enumerate() {
            let address = RAM_BASE + at as u64;
            let may = allowed.iter().any(|range| range.contains(&address));
            assert!(before == after || may, "the device has written to {address:#x}");
        }
        self.model.clone_from(&self.after);
    }

    fn step(&mut self) {
        let queue = self.random.below(2);
        match self.random.below(26) {
            0 | 24 | 25 => self.set_up(),
            1 | 2 => {
                let (offset, width, value) = self.odd_register();
                self.write(offset, width, value);
            }
            3 => {
                let (offset, width, _) = self.odd_register();
                self.guest.net.mmio_read(offset, width);
            }
            4 if self.random.once_in(3) => self.write_register(STATUS, 0),
            5 if self.random.once_in(2) => {
                let odd = self.random.next() as u32;
                let select = if self.random.once_in(2) { odd } else { queue as u32 };
                self.write_register(QUEUE_SELECT, select);
                self.write_register(QUEUE_READY, odd >> 8 & 1);
            }
            6 => {
                let notify = if self.random.once_in(2) { self.random.next() as u32 } else { 1 };
                self.write_register(QUEUE_NOTIFY, notify);
            }
            7 | 8 => {
                let index = self.random.below(8) as u16;
                let wicked = self.random.once_in(16);
                self.describe(queue, index, wicked);
            }
            9 if self.random.once_in(8) => {
                let at = RAM_BASE + self.random.below(0x400) as u64;
                let bytes = self.random.next().to_le_bytes();
                self.poke(at, &bytes);
            }
            10 => self.write_register(INTERRUPT_ACKNOWLEDGE, 3),
            11..18 => self.offer(queue),
            18..21 => {
                let mut into = [0; 1514];
                let len = self.guest.receive(&mut into);
                assert!(len.is_none_or(|len| (14..=into.len()).contains(&len)));
                let allowed = [self.used_ring(1)];
                return self.check(&allowed);
            }
            _ => {
                let allowed = self.offered();
                let frame = vec![0x5a; 14 + self.random.below(1501)];
                let _ = self.guest.can_send();
                self.guest.send(&frame);
                return self.check(&allowed);
            }
        }
        self.check(&[]);
    }
}

#[test]
fn the_device_writes_only_where_it_may() {
    let counts = std::cell::Cell::new((0, 0, 0));
    for_each_seed(300, |seed| {
        let mut world = World::new(seed);
        world.set_up();
        for _ in 0..STEPS {
            world.step();
        }
        let statistics = world.guest.net.statistics();
        let (frames, wrong, refused) = counts.get();
        let moved = statistics.frames_in + statistics.frames_out;
        counts.set((
            frames + moved,
            wrong + statistics.misbehaviours,
            refused + statistics.refused,
        ));
        let gave_up = world.guest.read(STATUS) & NEEDS_RESET != 0;
        assert!(!gave_up || world.guest.net.take_misbehaviour().is_some(), "unreported");
        world.guest.net.take_misbehaviour();
        world.guest.honest_life(seed);
    });
    let (frames, wrong, refused) = counts.get();
    println!("{frames} frames, {wrong} times wrong, {refused} accesses refused");
    assert!(frames > 0 && refused > 0);
}

/// Chains that hold no frame, as many and as long as they can be: one call does a bounded part of them.
#[test]
fn one_call_takes_a_bounded_number_of_chains() {
    const SIZE: u16 = 256;
    let mut guest = Guest::new(RAM_BYTES);
    let layout = Layout::at(RAM_BASE, SIZE);
    assert!(guest.negotiate(FEATURES) && guest.enable(TRANSMIT, &layout));
    guest.start();
    for index in 0..SIZE {
        let flags = if index + 1 < SIZE { F_NEXT } else { 0 };
        let len = if index == 0 { HEADER_BYTES as u32 } else { 0 };
        let address = RAM_BASE + 0x3000;
        guest.describe(&layout, index, Descriptor { address, len, flags, next: index + 1 });
        guest.offer(&layout, index, 0);
    }
    for call in 1..=SIZE / 16 {
        assert_eq!(guest.receive(&mut [0; 1514]), None);
        assert_eq!(guest.used_index(&layout), 16 * call);
    }
    assert_eq!(guest.receive(&mut [0; 1514]), None);
    assert_eq!(guest.used_index(&layout), SIZE);
    assert_eq!(guest.net.statistics().dropped_out, SIZE.into());
    assert_eq!(guest.net.take_misbehaviour(), None);
}

/// Another core of the guest changes descriptors while the device looks at them.
#[test]
fn descriptors_that_change_meanwhile_do_no_harm() {
    let mut guest = Guest::new(RAM_BYTES);
    let words: &[_] = Vec::leak(std::mem::take(&mut guest.words));
    let ram = guest_vmm::memory::GuestRam::new(words, RAM_BASE);
    let layout = Layout::at(RAM_BASE, 4);
    let end = AtomicBool::new(false);
    let mut frames = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Random::new(7);
            while !end.load(Ordering::Relaxed) {
                let at = layout.descriptors + 8 * random.below(8) as u64;
                let odd = random.next() >> random.below(64);
                let good = RAM_BASE + 0x800 + random.below(0x1000) as u64;
                let lengths = (random.next() & 0x0003_0003_0000_07ff) & !(1 << 33);
                let word = if random.once_in(50) {
                    odd
                } else if at.is_multiple_of(16) {
                    good
                } else {
                    lengths
                };
                ram.write_u64(at, word).unwrap();
            }
        });
        let mut rounds = 0;
        // Until both have happened, however the threads are scheduled.
        let mut wrong = 0;
        while rounds < 2_000 || (frames == 0 || wrong == 0) && rounds < 10_000_000 {
            rounds += 1;
            // The guest's words are empty here: the device works on those that are shared.
            let mut write = |offset, value| guest.net.mmio_write(ram, offset, 4, value);
            write(STATUS, 0);
            write(STATUS, 3);
            write(0x024, 1);
            write(0x020, 1);
            write(STATUS, 11);
            write(QUEUE_SELECT, 1);
            write(QUEUE_SIZE, 4);
            write(QUEUE_DESCRIPTORS, layout.descriptors);
            write(QUEUE_DRIVER, layout.available);
            write(QUEUE_DEVICE, layout.used);
            write(QUEUE_READY, 1);
            write(STATUS, 15);
            ram.write_u16(layout.available + 2, 4).unwrap();
            let mut link = guest.net.link(ram);
            while guest_vmm::upstream::Frames::receive(&mut link, &mut [0; 1514]).is_some() {
                frames += 1;
            }
            wrong = guest.net.statistics().misbehaviours;
            std::thread::yield_now();
        }
        end.store(true, Ordering::Relaxed);
    });
    println!("{frames} frames, {} times wrong", guest.net.statistics().misbehaviours);
    assert!(frames > 0 && guest.net.statistics().misbehaviours > 0);
}
