//! Random virtqueues, against rust-vmm's `virtio-queue`: the same verdict about every chain, the same
//! bytes taken out of it or put into it, and the same RAM afterwards, all of it.

mod virtio_support;

use guest_vmm::virtio::{Misbehaviour, QUEUE_SIZE_MAX};
use std::io::{Read, Write};
use virtio_queue::{Error, Queue, QueueOwnedT, QueueT};
use virtio_support::*;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const RAM_BYTES: usize = 0x2000;
const FRAME_BYTES: std::ops::RangeInclusive<usize> = 14..=1514;
/// Chains without a frame in them that one call takes at most.
const CHAINS_PER_CALL: usize = 16;

/// What becomes of one call.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// A frame out of the guest.
    Frame(Vec<u8>),
    /// A frame into the guest, or not.
    Delivered(bool),
    /// Nothing to do, or no more in this call.
    Nothing,
    /// The driver broke the rules. True: by its index.
    Wrong { index: bool },
}

/// The reference: a queue and a copy of RAM.
struct Oracle<'m> {
    memory: &'m GuestMemoryMmap,
    queue: Queue,
    layout: Layout,
    write: bool,
}

impl Oracle<'_> {
    /// Whether the layout is one that rust-vmm would work with.
    fn accepts(&mut self) -> bool {
        let Layout { size, descriptors, available, used } = self.layout;
        let fits = u16::try_from(size).is_ok_and(|size| self.queue.try_set_size(size).is_ok())
            && self.queue.try_set_desc_table_address(GuestAddress(descriptors)).is_ok()
            && self.queue.try_set_avail_ring_address(GuestAddress(available)).is_ok()
            && self.queue.try_set_used_ring_address(GuestAddress(used)).is_ok();
        self.queue.set_ready(true);
        fits && self.queue.is_valid(self.memory)
    }

    /// Whether any descriptor of the chain is indirect: not negotiated, but rust-vmm would follow it.
    fn has_indirect(&self, head: u16) -> bool {
        let mut index = head;
        for _ in 0..self.layout.size {
            if u32::from(index) >= self.layout.size {
                return false;
            }
            let at = GuestAddress(self.layout.descriptors + 16 * u64::from(index));
            let mut bytes = [0; 16];
            self.memory.read_slice(&mut bytes, at).unwrap();
            let flags = u16::from_le_bytes([bytes[12], bytes[13]]);
            if flags & F_INDIRECT != 0 {
                return true;
            }
            if flags & F_NEXT == 0 {
                return false;
            }
            index = u16::from_le_bytes([bytes[14], bytes[15]]);
        }
        false
    }

    /// Takes the next chain: its head and, if it is well-formed, what is in it, or room for as much.
    fn chain(&mut self, frame: Option<&[u8]>) -> Result<Option<Verdict>, Error> {
        let memory = self.memory;
        let Some(chain) = self.queue.iter(memory)?.next() else { return Ok(None) };
        let head = chain.head_index();
        let wrong = Ok(Some(Verdict::Wrong { index: false }));
        if self.has_indirect(head) {
            return wrong;
        }
        let descriptors: Vec<_> = chain.clone().collect();
        let ends = descriptors.last().is_some_and(|last| !last.has_next());
        let one_way = descriptors.iter().all(|d| d.is_write_only() == self.write);
        if !ends || !one_way {
            return wrong;
        }
        let Some(frame) = frame else {
            let Ok(mut reader) = chain.reader(memory) else { return wrong };
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).unwrap();
            if bytes.len() < HEADER_BYTES || bytes[0] & 1 != 0 && !CSUM || bytes[1] != 0 {
                return wrong;
            }
            self.queue.add_used(memory, head, 0).unwrap();
            return Ok(Some(Verdict::Frame(bytes.split_off(HEADER_BYTES))));
        };
        let Ok(mut writer) = chain.writer(memory) else { return wrong };
        let room = writer.available_bytes();
        if room < HEADER_BYTES {
            return wrong;
        }
        let fits = room >= HEADER_BYTES + frame.len();
        if fits {
            writer.write_all(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]).unwrap();
            writer.write_all(frame).unwrap();
        }
        let written = if fits { HEADER_BYTES + frame.len() } else { 0 };
        self.queue.add_used(memory, head, written as u32).unwrap();
        Ok(Some(Verdict::Delivered(fits)))
    }

    fn step(&mut self, frame: Option<&[u8]>) -> Verdict {
        match self.chain(frame) {
            Ok(verdict) => verdict.unwrap_or(Verdict::Nothing),
            Err(Error::InvalidAvailRingIndex) => Verdict::Wrong { index: true },
            Err(error) => panic!("{error}"),
        }
    }

    fn receive(&mut self) -> Verdict {
        for _ in 0..CHAINS_PER_CALL {
            match self.step(None) {
                Verdict::Frame(frame) if !FRAME_BYTES.contains(&frame.len()) => {}
                verdict => return verdict,
            }
        }
        Verdict::Nothing
    }
}

/// Checksums are not negotiated here, so that a header asking for one is wrong.
const CSUM: bool = false;

fn odd_address(random: &mut Random) -> u64 {
    let end = RAM_BASE + RAM_BYTES as u64;
    match random.below(7) {
        0 => end - random.below(64) as u64,
        1 => end - 16 * random.below(64) as u64,
        2 => RAM_BASE - random.below(32) as u64,
        3 => RAM_BASE + random.below(RAM_BYTES) as u64,
        4 => u64::MAX - random.below(64) as u64,
        5 => random.next() >> random.below(64),
        _ => random.pick(&[0, end, !15, 1 << 63, RAM_BASE << 32 | RAM_BASE]),
    }
}

/// An index of an entry that is not there, often the first such.
fn odd_index(size: u16, random: &mut Random) -> u16 {
    let any = random.next() as u16;
    random.pick(&[size, size.wrapping_add(1), any])
}

/// Where the queue is, and whether that is as it should be.
fn layout(random: &mut Random) -> (Layout, bool) {
    let size = random.pick(&[1, 2, 4, 4, 8, 8, 16, 32]);
    let mut layout = Layout::at(RAM_BASE + 16 * random.below(64) as u64, size);
    let odd = random.once_in(16);
    if odd {
        match random.below(4) {
            0 => {
                let odd = [0, 3, 24, 256, 257, 512, 0x8000, 0xffff, 0x1_0000, 0x1_0004, u32::MAX];
                layout.size = random.pick(&odd);
            }
            1 => layout.descriptors = odd_address(random),
            2 => layout.available = odd_address(random),
            _ => layout.used = odd_address(random),
        }
    }
    (layout, !odd)
}

/// Fills RAM and the rings in it, mostly well-formed.
fn fill(guest: &Guest, layout: &Layout, write: bool, random: &mut Random) {
    for word in &guest.words {
        word.store(random.next(), resh_channel::memory::Ordering::Relaxed);
    }
    let size = layout.size as u16;
    let next_below = usize::from(size);
    for index in 0..size {
        let mut descriptor = Descriptor {
            address: RAM_BASE + 0x800 + random.below(RAM_BYTES - 0x800 - 0x700) as u64,
            len: random.pick(&[0, 1, 7, 12, 26, 60, 100, 200, 700, 1526]),
            flags: random.below(2) as u16 | if write { F_WRITE } else { 0 },
            next: random.below(next_below) as u16,
        };
        if random.once_in(4) {
            descriptor.len = random.below(0x700) as u32;
        }
        if random.once_in(40) {
            match random.below(6) {
                0 => descriptor.address = odd_address(random),
                1 => descriptor.len = (random.next() >> random.below(64)) as u32,
                2 => descriptor.flags ^= F_WRITE,
                3 => descriptor.flags |= F_INDIRECT,
                4 => descriptor.flags |= random.next() as u16 & !7,
                _ => descriptor.next = odd_index(size, random),
            }
        }
        if random.below(40) > 0 {
            let _ = guest.ram().write(descriptor.address, &[0; HEADER_BYTES]);
        }
        guest.describe(layout, index, descriptor);
    }
    let ahead = random.once_in(30);
    let index = if ahead { odd_index(size, random) } else { random.below(next_below + 1) as u16 };
    let ram = guest.ram();
    let _ = ram.write_u16(layout.available, random.below(2) as u16);
    let _ = ram.write_u16(layout.available.wrapping_add(2), index);
    let _ = ram.write_u16(layout.used.wrapping_add(2), 0);
    for slot in 0..u64::from(size) {
        let odd = random.once_in(60);
        let head = if odd { odd_index(size, random) } else { random.below(next_below) as u16 };
        let _ = ram.write_u16(layout.available.wrapping_add(4 + 2 * slot), head);
    }
}

struct Counts {
    frames: u64,
    wrong: u64,
    refused: u64,
}

fn case(seed: u64, guest: &mut Guest, memory: &GuestMemoryMmap, counts: &mut Counts) {
    let random = &mut Random::new(seed);
    let write = random.once_in(2);
    let (layout, regular) = layout(random);
    let queue = if write { RECEIVE } else { TRANSMIT };
    fill(guest, &layout, write, random);
    let (mut ours, mut theirs) = (Vec::new(), vec![0; RAM_BYTES]);
    guest.snapshot(&mut ours);
    memory.write_slice(&ours, GuestAddress(RAM_BASE)).unwrap();
    let rust_vmm = Queue::new(QUEUE_SIZE_MAX).unwrap();
    let mut oracle = Oracle { memory, queue: rust_vmm, layout, write };

    assert!(guest.negotiate(F_VERSION_1));
    let accepted = guest.enable(queue, &layout);
    assert_eq!(accepted, oracle.accepts(), "{layout:?}");
    guest.start();
    let mut wrong = !accepted;
    counts.refused += u64::from(!accepted);
    let mut into = [0; 1514];
    for _ in 0..if accepted { 4 } else { 0 } {
        let frame: Vec<u8> = (0..14 + random.below(300)).map(|_| random.next() as u8).collect();
        let expected = if write { oracle.step(Some(&frame)) } else { oracle.receive() };
        let used_before = guest.used_index(&layout);
        let came = if write {
            assert_eq!(guest.can_send(), expected != Verdict::Nothing);
            Verdict::Delivered(guest.send(&frame))
        } else {
            guest
                .receive(&mut into)
                .map_or(Verdict::Nothing, |len| Verdict::Frame(into[..len].into()))
        };
        match &expected {
            Verdict::Wrong { index } => {
                wrong = true;
                assert!(matches!(came, Verdict::Nothing | Verdict::Delivered(false)), "{came:?}");
                let by_index = matches!(
                    guest.net.take_misbehaviour(),
                    Some(Misbehaviour::AvailableIndex { .. })
                );
                assert_eq!(by_index, *index);
            }
            Verdict::Nothing if write => assert_eq!(came, Verdict::Delivered(false)),
            expected => {
                assert_eq!(&came, expected);
                counts.frames += u64::from(matches!(came, Verdict::Frame(_)));
            }
        }
        guest.snapshot(&mut ours);
        memory.read_slice(&mut theirs, GuestAddress(RAM_BASE)).unwrap();
        assert!(ours == theirs, "RAM differs");
        let progress = guest.used_index(&layout).wrapping_sub(used_before);
        if regular && !wrong {
            assert!(usize::from(progress) <= CHAINS_PER_CALL, "{progress} chains in one call");
            // As the flags are after the call: a wild buffer may have changed them.
            let flags = guest.ram().read_u16(layout.available).unwrap();
            let wants = progress > 0 && flags & 1 == 0;
            assert_eq!(wants, guest.read(INTERRUPT_STATUS) & 1 != 0);
        }
        guest.write(INTERRUPT_ACKNOWLEDGE, 1);
        if wrong {
            break;
        }
    }
    let status = guest.read(STATUS);
    assert_eq!(status & NEEDS_RESET != 0, wrong);
    if wrong {
        counts.wrong += 1;
        guest.net.take_misbehaviour();
        // Until it is reset it does nothing, and touches nothing.
        guest.snapshot(&mut ours);
        assert!(guest.receive(&mut into).is_none() && !guest.send(&[0; 64]) && !guest.can_send());
        guest.snapshot(&mut theirs);
        assert!(ours == theirs, "a failed device has written to RAM");
        assert_eq!(guest.net.take_misbehaviour(), None);
    }
    guest.honest_life(seed);
}

#[test]
fn chains_are_judged_and_copied_as_rust_vmm_does() {
    let guest = std::cell::RefCell::new(Guest::new(RAM_BYTES));
    let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(RAM_BASE), RAM_BYTES)]).unwrap();
    let counts = std::cell::RefCell::new(Counts { frames: 0, wrong: 0, refused: 0 });
    let cases = std::cell::Cell::new(0);
    for_each_seed(3_000, |seed| {
        case(seed, &mut guest.borrow_mut(), &memory, &mut counts.borrow_mut());
        cases.set(cases.get() + 1);
    });
    let Counts { frames, wrong, refused } = counts.into_inner();
    println!("{} cases: {frames} frames, {wrong} wrong ({refused} layouts)", cases.get());
    if cases.get() >= 3_000 {
        // Each kind of case comes up often enough for the test to mean something.
        let least = cases.get() / 100;
        assert!(frames > least && wrong - refused > least && refused > least);
    }
}
