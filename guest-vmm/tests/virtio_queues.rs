//! Each way to break the rules of a virtqueue, one at a time, by its name.

mod virtio_support;

use guest_vmm::memory::OutsideRam;
use guest_vmm::virtio::Misbehaviour;
use virtio_support::*;

const RAM_BYTES: usize = 0x2000;
const SIZE: u16 = 4;
const BUFFER: u64 = RAM_BASE + 0x800;

/// Offers one chain from `head` on with these descriptors on a fresh queue, and lets the device take it.
fn outcome(queue: u32, head: u16, descriptors: &[Descriptor]) -> Result<bool, Misbehaviour> {
    let mut guest = Guest::new(RAM_BYTES);
    let layout = Layout::at(RAM_BASE, SIZE);
    assert!(guest.negotiate(FEATURES) && guest.enable(queue, &layout));
    guest.start();
    for (index, descriptor) in (0..).zip(descriptors) {
        guest.describe(&layout, index, *descriptor);
    }
    guest.offer(&layout, 0, head);
    let moved = match queue {
        RECEIVE => guest.send(&[0; 60]),
        _ => guest.receive(&mut [0; 1514]).is_some(),
    };
    let misbehaviour = guest.net.take_misbehaviour();
    assert_eq!(guest.used_index(&layout), u16::from(misbehaviour.is_none()));
    guest.honest_life(1);
    misbehaviour.map_or(Ok(moved), Err)
}

fn descriptor(len: u32, flags: u16, next: u16) -> Descriptor {
    Descriptor { address: BUFFER, len, flags, next }
}

#[test]
fn chains_may_be_as_long_as_the_queue() {
    let pieces: Vec<_> =
        (1..=SIZE).map(|next| descriptor(18, if next < SIZE { F_NEXT } else { 0 }, next)).collect();
    assert_eq!(outcome(TRANSMIT, 0, &pieces), Ok(true));
    // Empty pieces count, wherever they are said to be.
    let nowhere = Descriptor { address: u64::MAX, len: 0, flags: F_NEXT, next: 1 };
    assert_eq!(outcome(TRANSMIT, 0, &[nowhere, descriptor(72, 0, 0)]), Ok(true));
    // Bits that mean nothing yet.
    assert_eq!(outcome(TRANSMIT, 0, &[descriptor(72, 0xfff8, 0)]), Ok(true));
}

#[test]
fn each_violation_has_its_name() {
    let itself = descriptor(18, F_NEXT, 0);
    let there_and_back = [descriptor(18, F_NEXT, 1), descriptor(18, F_NEXT, 0)];
    assert_eq!(outcome(TRANSMIT, 0, &[itself]), Err(Misbehaviour::Loop));
    assert_eq!(outcome(TRANSMIT, 1, &there_and_back), Err(Misbehaviour::Loop));
    for index in [SIZE, SIZE + 1, u16::MAX] {
        let missing = Err(Misbehaviour::DescriptorIndex(index));
        assert_eq!(outcome(TRANSMIT, index, &[descriptor(72, 0, 0)]), missing, "head {index}");
        assert_eq!(outcome(TRANSMIT, 0, &[descriptor(18, F_NEXT, index)]), missing, "next {index}");
    }
    let indirect = descriptor(16, F_INDIRECT, 0);
    assert_eq!(outcome(TRANSMIT, 0, &[indirect]), Err(Misbehaviour::Indirect));
    let mixed = [descriptor(72, F_NEXT, 1), descriptor(72, F_WRITE, 0)];
    assert_eq!(outcome(TRANSMIT, 0, &mixed), Err(Misbehaviour::Direction));
    assert_eq!(outcome(RECEIVE, 1, &mixed), Ok(true));
    assert_eq!(outcome(RECEIVE, 0, &mixed), Err(Misbehaviour::Direction));
    for len in [0, 11] {
        let short = Err(Misbehaviour::HeaderLength(len));
        assert_eq!(outcome(TRANSMIT, 0, &[descriptor(len, 0, 0)]), short);
        assert_eq!(outcome(RECEIVE, 0, &[descriptor(len, F_WRITE, 0)]), short);
    }
}

#[test]
fn buffers_are_in_ram_to_the_last_byte() {
    let end = RAM_BASE + RAM_BYTES as u64;
    for (queue, flags) in [(TRANSMIT, 0), (RECEIVE, F_WRITE)] {
        let fits = Descriptor { address: end - 72, len: 72, flags, next: 0 };
        assert_eq!(outcome(queue, 0, &[fits]), Ok(true));
        for (address, len) in [
            (end - 71, 72),
            (end, 1),
            (RAM_BASE - 1, 72),
            (0, 72),
            (BUFFER, u32::MAX),
            (u64::MAX - 71, 72),
            (u64::MAX, u32::MAX),
        ] {
            let outside = OutsideRam { address, len: len.into() };
            let wrong = Descriptor { address, len, flags, next: 0 };
            assert_eq!(outcome(queue, 0, &[wrong]), Err(Misbehaviour::OutsideRam(outside)));
        }
    }
}

#[test]
fn what_is_no_frame_is_dropped_and_its_buffer_given_back() {
    for len in [12, 12 + 13, 12 + 1515, 4000] {
        assert_eq!(outcome(TRANSMIT, 0, &[descriptor(len, 0, 0)]), Ok(false), "{len}");
    }
    for len in [12 + 14, 12 + 1514] {
        assert_eq!(outcome(TRANSMIT, 0, &[descriptor(len, 0, 0)]), Ok(true), "{len}");
    }
    // A frame of 60 bytes, and room for one byte less, or just enough.
    assert_eq!(outcome(RECEIVE, 0, &[descriptor(71, F_WRITE, 0)]), Ok(false));
    assert_eq!(outcome(RECEIVE, 0, &[descriptor(72, F_WRITE, 0)]), Ok(true));
}
