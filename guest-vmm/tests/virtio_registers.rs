//! The register file of the network device, as virtio 1.2 section 4.2.2 describes it.

mod virtio_support;

use guest_vmm::memory::OutsideRam;
use guest_vmm::virtio::{Misbehaviour, Net, REGISTERS_BYTES};
use virtio_support::*;

const MAGIC: u64 = 0x000;
const DEVICE_FEATURES: u64 = 0x010;
const DEVICE_FEATURES_SELECT: u64 = 0x014;
const DRIVER_FEATURES: u64 = 0x020;
const DRIVER_FEATURES_SELECT: u64 = 0x024;
const QUEUE_SIZE_MAX: u64 = 0x034;
const CONFIG: u64 = 0x100;

const RAM_BYTES: usize = 0x2000;

fn guest() -> Guest {
    Guest::new(RAM_BYTES)
}

fn refused(guest: &Guest) -> u64 {
    guest.net.statistics().refused
}

#[test]
fn a_driver_finds_a_network_device_of_version_2() {
    let mut guest = guest();
    assert_eq!(guest.read(MAGIC).to_le_bytes(), *b"virt");
    assert_eq!((guest.read(4), guest.read(8)), (2, 1));
    assert_eq!(guest.read(0x00c).to_le_bytes(), *b"RESH");
    guest.write(DEVICE_FEATURES_SELECT, 0);
    let mut features = u64::from(guest.read(DEVICE_FEATURES));
    guest.write(DEVICE_FEATURES_SELECT, 1);
    features |= u64::from(guest.read(DEVICE_FEATURES)) << 32;
    assert_eq!(features, FEATURES);
    guest.write(DEVICE_FEATURES_SELECT, 2);
    assert_eq!(guest.read(DEVICE_FEATURES), 0);
    // No shared memory, and a configuration that never changes.
    assert_eq!((guest.read(0x0b0), guest.read(0x0bc), guest.read(0x0fc)), (u32::MAX, u32::MAX, 0));
    assert_eq!(refused(&guest), 0);
}

#[test]
fn the_configuration_has_the_address_and_the_mtu() {
    let mut guest = guest();
    let bytes: Vec<u8> = (0..6).map(|at| guest.net.mmio_read(CONFIG + at, 1) as u8).collect();
    assert_eq!(bytes, MAC);
    assert_eq!(guest.net.mmio_read(CONFIG, 4), 0x5345_5202);
    assert_eq!(guest.net.mmio_read(CONFIG + 4, 2), 0x1048);
    assert_eq!(guest.net.mmio_read(CONFIG + 10, 2), 1500);
    assert_eq!(guest.net.mmio_read(CONFIG, 8), 0x0000_1048_5345_5202);
    assert_eq!(refused(&guest), 0);
    let odd = [(CONFIG + 1, 2), (CONFIG + 2, 4), (CONFIG, 3), (CONFIG + 12, 1), (CONFIG + 8, 8)];
    for (count, (offset, width)) in odd.into_iter().enumerate() {
        assert_eq!(guest.net.mmio_read(offset, width), 0, "{offset:#x} {width}");
        assert_eq!(refused(&guest), count as u64 + 1);
    }
    // It is the device's to write.
    guest.write(CONFIG, 0);
    guest.write_wide(CONFIG, 1, 0);
    assert_eq!(guest.net.mmio_read(CONFIG, 4), 0x5345_5202);
}

/// Every register at every width but its own, and every place where there is none.
#[test]
fn what_is_no_register_reads_as_zero_and_is_not_written() {
    let readable = [0, 4, 8, 0xc, 0x10, 0x34, 0x44, 0x60, 0x70, 0xb0, 0xb4, 0xb8, 0xbc, 0xfc];
    let mut guest = guest();
    let mut odd = 0;
    for offset in (0..CONFIG).chain([0x1000, u64::MAX]) {
        for width in [0, 1, 2, 4, 8, 16, 255] {
            let before = refused(&guest);
            let value = guest.net.mmio_read(offset, width);
            if width == 4 && readable.contains(&offset) {
                assert_eq!(refused(&guest), before);
            } else {
                assert_eq!((value, refused(&guest)), (0, before + 1), "{offset:#x} {width}");
                odd += 1;
            }
            if width != 4 {
                guest.write_wide(offset, width, u64::MAX);
                assert_eq!(refused(&guest), before + 2);
            }
        }
    }
    assert!(odd > 1000);
    assert_eq!((guest.read(STATUS), guest.read(QUEUE_READY)), (0, 0));
    // Registers that can only be read.
    let before = refused(&guest);
    for offset in [0, 4, 8, 0xc, 0x10, 0x34, 0x60, 0xb0, 0xc0, 0xfc, REGISTERS_BYTES, u64::MAX - 3]
    {
        guest.write(offset, 1);
    }
    assert_eq!(refused(&guest), before + 12);
    assert_eq!(guest.read(MAGIC).to_le_bytes(), *b"virt");
    guest.honest_life(1);
}

#[test]
fn features_are_agreed_on_only_as_they_are_offered() {
    let mut guest = guest();
    assert!(guest.negotiate(FEATURES));
    assert!(guest.negotiate(F_VERSION_1));
    // Legacy virtio, and what is not offered: control queue, indirect descriptors, packed rings.
    for features in
        [0, FEATURES & !F_VERSION_1, F_VERSION_1 | 1 << 17, FEATURES | 1 << 28, 3 << 32 | 1 << 34]
    {
        assert!(!guest.negotiate(features), "{features:#x}");
        guest.write(STATUS, UP_TO_FEATURES | DRIVER_OK);
        assert_eq!(guest.read(STATUS), ACKNOWLEDGE | DRIVER, "not a step further");
    }
    // Once agreed they stand.
    assert!(guest.negotiate(F_VERSION_1));
    let before = refused(&guest);
    guest.write(DRIVER_FEATURES_SELECT, 0);
    guest.write(DRIVER_FEATURES, 1 << 17);
    assert_eq!(refused(&guest), before + 1);
    guest.write(STATUS, UP_TO_FEATURES | DRIVER_OK);
    assert_eq!(guest.read(STATUS), UP_TO_FEATURES | DRIVER_OK);
    // Features beyond the 64 that there are.
    guest.write(STATUS, 0);
    guest.write(DRIVER_FEATURES_SELECT, u32::MAX);
    guest.write(DRIVER_FEATURES, 0);
    assert_eq!(refused(&guest), before + 1);
    guest.write(DRIVER_FEATURES, 1);
    assert_eq!(refused(&guest), before + 2);
}

#[test]
fn status_bits_are_added_and_only_a_reset_takes_them_away() {
    let mut guest = guest();
    assert!(guest.negotiate(FEATURES));
    for wrong in
        [ACKNOWLEDGE, DRIVER | FEATURES_OK, UP_TO_FEATURES | 16, UP_TO_FEATURES | 256, u32::MAX]
    {
        let before = refused(&guest);
        guest.write(STATUS, wrong);
        assert_eq!(
            (guest.read(STATUS), refused(&guest)),
            (UP_TO_FEATURES, before + 1),
            "{wrong:#x}"
        );
    }
    // The device alone asks for a reset.
    guest.write(STATUS, UP_TO_FEATURES | NEEDS_RESET);
    assert_eq!(guest.read(STATUS), UP_TO_FEATURES);
    let failed = 128;
    guest.write(STATUS, UP_TO_FEATURES | failed);
    assert_eq!(guest.read(STATUS), UP_TO_FEATURES | failed);
    guest.write(STATUS, 0);
    assert_eq!(guest.read(STATUS), 0);
    guest.honest_life(2);
    assert_eq!(guest.net.statistics().resets, 3);
}

#[test]
fn queues_beyond_the_last_do_not_exist() {
    let mut guest = guest();
    assert!(guest.negotiate(FEATURES));
    let layout = Layout::at(RAM_BASE, 4);
    for queue in [2, 3, 64, 0x100, 0x8000_0000, u32::MAX] {
        let before = refused(&guest);
        assert!(!guest.enable(queue, &layout));
        assert_eq!(guest.read(QUEUE_SIZE_MAX), 0);
        // Size, three addresses of two halves, and ready.
        assert_eq!(refused(&guest), before + 8);
        guest.write(QUEUE_NOTIFY, queue);
        assert_eq!(refused(&guest), before + 9);
    }
    assert_eq!(guest.read(STATUS), UP_TO_FEATURES);
    assert_eq!(guest.net.take_misbehaviour(), None);
    assert!(guest.enable(TRANSMIT, &layout));
    assert_eq!(guest.read(QUEUE_SIZE_MAX), 256);
    // An enabled queue stays as it is.
    let before = refused(&guest);
    guest.write(QUEUE_SIZE, 8);
    guest.write(QUEUE_DESCRIPTORS, 0);
    guest.write(QUEUE_READY, 1);
    guest.write(QUEUE_READY, 2);
    assert_eq!(refused(&guest), before + 4);
    guest.write(QUEUE_READY, 0);
    assert_eq!(guest.read(QUEUE_READY), 0);
}

#[test]
fn queues_are_enabled_between_features_and_reset() {
    let mut guest = guest();
    let layout = Layout::at(RAM_BASE, 4);
    assert!(!guest.enable(TRANSMIT, &layout), "before the features are agreed on");
    assert_eq!(guest.read(STATUS), 0);
    assert!(guest.negotiate(FEATURES) && guest.enable(TRANSMIT, &layout));
    guest.write(STATUS, 0);
    assert_eq!(guest.read(QUEUE_READY), 0);
    // Without DRIVER_OK nothing moves.
    assert!(guest.negotiate(FEATURES) && guest.enable(RECEIVE, &layout));
    let buffer = Descriptor { address: RAM_BASE + 0x1000, len: 1526, flags: F_WRITE, next: 0 };
    guest.describe(&layout, 0, buffer);
    guest.offer(&layout, 0, 0);
    assert!(!guest.can_send() && !guest.send(&[0; 60]));
    guest.start();
    assert!(guest.can_send() && guest.send(&[0; 60]));
}

#[test]
fn a_queue_must_have_a_size_an_alignment_and_a_place() {
    let good = Layout::at(RAM_BASE, 4);
    let end = RAM_BASE + RAM_BYTES as u64;
    let outside = |address, len| Misbehaviour::OutsideRam(OutsideRam { address, len });
    let high = 0x1_0000_0000 + RAM_BASE;
    let cases = [
        (Layout { size: 0, ..good }, Misbehaviour::QueueSize(0)),
        (Layout { size: 3, ..good }, Misbehaviour::QueueSize(3)),
        (Layout { size: 512, ..good }, Misbehaviour::QueueSize(512)),
        (Layout { size: 0x1_0004, ..good }, Misbehaviour::QueueSize(0)),
        (Layout { descriptors: RAM_BASE + 8, ..good }, Misbehaviour::QueueAlignment(RAM_BASE + 8)),
        (Layout { available: RAM_BASE + 1, ..good }, Misbehaviour::QueueAlignment(RAM_BASE + 1)),
        (Layout { used: RAM_BASE + 2, ..good }, Misbehaviour::QueueAlignment(RAM_BASE + 2)),
        (Layout { descriptors: end - 48, ..good }, outside(end - 48, 64)),
        (Layout { descriptors: RAM_BASE - 16, ..good }, outside(RAM_BASE - 16, 64)),
        (Layout { available: end - 12, ..good }, outside(end - 12, 14)),
        (Layout { used: end - 36, ..good }, outside(end - 36, 38)),
        (Layout { used: u64::MAX - 3, ..good }, outside(u64::MAX - 3, 38)),
        (Layout { descriptors: high, ..good }, outside(high, 64)),
    ];
    let mut guest = guest();
    for (layout, expected) in cases {
        assert!(guest.negotiate(FEATURES));
        assert!(!guest.enable(RECEIVE, &layout), "{layout:?}");
        assert_eq!(guest.read(STATUS), UP_TO_FEATURES | NEEDS_RESET);
        assert_eq!(guest.net.take_misbehaviour(), Some(expected));
        // There is no way on but by a reset.
        assert!(!guest.enable(RECEIVE, &good));
        guest.start();
        assert!(!guest.can_send());
        guest.honest_life(3);
    }
    assert_eq!(guest.net.statistics().misbehaviours, 13);
}

#[test]
fn a_device_that_gives_up_says_so_by_interrupt() {
    let mut guest = guest();
    let layout = Layout::at(RAM_BASE, 4);
    assert!(guest.negotiate(FEATURES) && guest.enable(TRANSMIT, &layout));
    guest.start();
    guest.ram().write_u16(layout.available + 2, 5).unwrap();
    assert_eq!(guest.receive(&mut [0; 1514]), None);
    let ahead = Misbehaviour::AvailableIndex { claimed: 5, next: 0 };
    assert_eq!(guest.net.take_misbehaviour(), Some(ahead));
    assert_eq!(guest.read(STATUS), UP_TO_FEATURES | DRIVER_OK | NEEDS_RESET);
    assert_eq!(guest.read(INTERRUPT_STATUS), 2);
    assert!(guest.net.interrupt_pending());
    guest.write(INTERRUPT_ACKNOWLEDGE, 1);
    assert_eq!(guest.read(INTERRUPT_STATUS), 2);
    guest.write(INTERRUPT_ACKNOWLEDGE, 2);
    assert!(!guest.net.interrupt_pending());
    guest.honest_life(4);
}

#[test]
fn a_driver_that_wants_no_interrupts_gets_none() {
    let mut guest = guest();
    let layout = Layout::at(RAM_BASE, 4);
    assert!(guest.negotiate(FEATURES) && guest.enable(TRANSMIT, &layout));
    guest.start();
    guest.describe(
        &layout,
        0,
        Descriptor { address: RAM_BASE + 0x800, len: 72, flags: 0, next: 0 },
    );
    guest.ram().write_u16(layout.available, 1).unwrap();
    guest.offer(&layout, 0, 0);
    assert_eq!(guest.receive(&mut [0; 1514]), Some(60));
    assert!(!guest.net.interrupt_pending());
    guest.ram().write_u16(layout.available, 0).unwrap();
    guest.offer(&layout, 1, 0);
    assert_eq!(guest.receive(&mut [0; 1514]), Some(60));
    assert!(guest.net.interrupt_pending());
}

#[test]
fn what_a_header_may_ask_for_is_what_was_negotiated() {
    let mut guest = guest();
    let layout = Layout::at(RAM_BASE, 4);
    let at = RAM_BASE + 0x800;
    let cases = [
        (FEATURES, 0, 0, true),
        (FEATURES, 1, 0, true),
        (F_VERSION_1, 0, 0, true),
        (F_VERSION_1, 1, 0, false),
        (F_VERSION_1 | F_GUEST_CSUM, 1, 0, false),
        (FEATURES, 0, 1, false),
        (FEATURES, 1, 0x80, false),
    ];
    for (features, flags, gso_type, good) in cases {
        assert!(guest.negotiate(features) && guest.enable(TRANSMIT, &layout));
        guest.start();
        guest.ram().write(at, &[flags, gso_type]).unwrap();
        guest.describe(&layout, 0, Descriptor { address: at, len: 72, flags: 0, next: 0 });
        guest.offer(&layout, 0, 0);
        assert_eq!(
            guest.receive(&mut [0; 1514]).is_some(),
            good,
            "{features:#x} {flags} {gso_type}"
        );
        let wrong = Misbehaviour::HeaderContents { flags, gso_type };
        assert_eq!(guest.net.take_misbehaviour(), (!good).then_some(wrong));
    }
}

#[test]
fn statistics_count_frames_and_drops() {
    let mut guest = guest();
    guest.honest_life(5);
    let statistics = guest.net.statistics();
    assert_eq!((statistics.frames_out, statistics.frames_in, statistics.dropped_in), (2, 2, 2));
    assert_eq!(statistics.bytes_out, statistics.bytes_in);
    assert_eq!((statistics.dropped_out, statistics.misbehaviours, statistics.refused), (0, 0, 0));
    // A device starts without a past.
    assert_eq!(Net::new(MAC).statistics(), Default::default());
}
