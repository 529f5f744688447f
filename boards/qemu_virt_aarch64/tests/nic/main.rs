//! The driver of the network interface, against a device that does what it is told.

mod device;

use std::collections::VecDeque;
use std::sync::Mutex;

use pd_network::smoltcp_stack::Frames;
use pd_network::smoltcp_stack::smoltcp::phy::{Device as _, RxToken, TxToken};
use pd_network::smoltcp_stack::smoltcp::time::Instant;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use qemu_virt_aarch64::nic::{Interrupt, Nic, NicError};
use qemu_virt_aarch64::registers::Registers;
use virtio_drivers::transport::DeviceType;

use device::{Device, HEADER_BYTES};

/// Frames that fit a queue.
const QUEUE: usize = 256;
const NOW: Instant = Instant::ZERO;

fn start(device: &Device) -> Result<Nic<Device>, NicError> {
    // Drivers are made by one thread at a time: a domain has but one.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    Nic::new(device.clone())
}

fn frame(number: u64) -> Vec<u8> {
    let len = 14 + (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize % 1501;
    (0..len).map(|at| (number as usize * 7 + at) as u8).collect()
}

fn receive(nic: &mut Nic<Device>) -> Option<Vec<u8>> {
    let shown = nic.peek().map(<[u8]>::to_vec);
    let received = nic.receive(NOW).map(|(token, _)| token.consume(<[u8]>::to_vec));
    assert_eq!(shown, received, "another frame than was shown");
    received
}

fn send(nic: &mut Nic<Device>, frame: &[u8]) -> bool {
    let token = nic.transmit(NOW);
    token.map(|token| token.consume(frame.len(), |room| room.copy_from_slice(frame))).is_some()
}

#[test]
fn it_starts_by_the_standard_and_with_nothing_left_to_the_device() {
    let device = Device::network();
    assert!(start(&device).is_ok());
    assert_eq!(device.accepted(), 1 << 32);
    assert!(device.is_running());
}

#[test]
fn other_devices_are_refused() {
    let block = Device::new(DeviceType::Block, 1 << 32);
    assert_eq!(start(&block).err(), Some(NicError::Not(DeviceType::Block)));
    let legacy = Device::new(DeviceType::Network, 1 << 5);
    assert_eq!(start(&legacy).err(), Some(NicError::Legacy));
}

#[test]
fn frames_arrive_in_order_and_their_buffers_return() {
    let device = Device::network();
    let mut nic = start(&device).unwrap();
    assert_eq!(receive(&mut nic), None);
    let mut next = 0;
    for round in 0..20 {
        let count = (round * 37) % QUEUE + 1;
        (next..next + count as u64).for_each(|number| assert!(device.deliver(&frame(number))));
        for number in next..next + count as u64 {
            assert_eq!(receive(&mut nic), Some(frame(number)));
        }
        assert_eq!(receive(&mut nic), None);
        next += count as u64;
    }
    // All of them are the device's again.
    for number in 0..QUEUE as u64 {
        assert!(device.deliver(&frame(number)), "a buffer is lost");
    }
    assert!(!device.deliver(&frame(0)), "a buffer too many");
}

#[test]
fn impossible_lengths_are_dropped() {
    let device = Device::network();
    let mut nic = start(&device).unwrap();
    for _ in 0..3 * QUEUE {
        for claimed in [0, 1, HEADER_BYTES as u32, 1527, 2048, 2049, u32::MAX] {
            assert!(device.deliver_claiming(&frame(1), claimed));
        }
        assert!(device.deliver(&frame(2)));
        assert_eq!(receive(&mut nic), Some(frame(2)));
        assert_eq!(receive(&mut nic), None);
    }
}

#[test]
fn a_device_that_sends_nothing_costs_frames_and_no_more() {
    let device = Device::network();
    let mut nic = start(&device).unwrap();
    for number in 0..QUEUE as u64 {
        assert!(send(&mut nic, &frame(number)));
    }
    assert!(!send(&mut nic, &frame(0)));
    // What is received is still handed over; the answer to it is lost.
    assert!(device.deliver(&frame(7)));
    let (incoming, outgoing) = nic.receive(NOW).unwrap();
    outgoing.consume(60, |room| room.fill(0xee));
    assert_eq!(incoming.consume(<[u8]>::to_vec), frame(7));
    let sent = device.take_outgoing();
    assert_eq!(sent, (0..QUEUE as u64).map(frame).collect::<Vec<_>>());
    // The last first.
    (0..QUEUE).rev().for_each(|index| device.sent(index));
    assert!(send(&mut nic, &frame(9)));
    assert_eq!(device.take_outgoing(), [frame(9)]);
}

/// What may happen next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Deliver,
    Receive,
    Send,
    Take,
    Sent(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Deliver),
        3 => Just(Step::Receive),
        3 => Just(Step::Send),
        1 => Just(Step::Take),
        2 => any::<usize>().prop_map(Step::Sent),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        rng_seed: RngSeed::Fixed(0x5e1f),
        ..ProptestConfig::default()
    })]

    /// Whatever the order of what both sides do: every frame arrives once, whole and in order.
    #[test]
    fn nothing_is_lost_doubled_or_mixed(steps in prop::collection::vec(step(), 1..1500)) {
        let device = Device::network();
        let mut nic = start(&device).unwrap();
        let (mut incoming, mut outgoing) = (VecDeque::new(), VecDeque::new());
        for (number, step) in (0..).zip(steps) {
            match step {
                Step::Deliver if device.deliver(&frame(number)) => incoming.push_back(frame(number)),
                Step::Deliver => prop_assert!(incoming.len() + 1 >= QUEUE),
                Step::Receive => prop_assert_eq!(receive(&mut nic), incoming.pop_front()),
                Step::Send if send(&mut nic, &frame(number)) => outgoing.push_back(frame(number)),
                Step::Send => prop_assert_eq!(outgoing.len() + device.under_way(), QUEUE),
                Step::Take => {
                    for sent in device.take_outgoing() {
                        prop_assert_eq!(Some(sent), outgoing.pop_front());
                    }
                }
                Step::Sent(which) => {
                    if let Some(index) = which.checked_rem(device.under_way()) {
                        device.sent(index);
                    }
                }
            }
        }
    }
}

/// `InterruptStatus` and `InterruptACK`.
#[derive(Default)]
struct Status {
    pending: u32,
    acknowledged: Vec<u32>,
}

impl Registers for Status {
    fn read(&self, offset: usize) -> u32 {
        assert_eq!(offset, 0x60);
        self.pending
    }

    fn write(&mut self, offset: usize, value: u32) {
        assert_eq!(offset, 0x64);
        self.acknowledged.push(value);
    }
}

#[test]
fn what_is_acknowledged_is_what_was_pending() {
    let mut interrupt = Interrupt::new(Status { pending: 3, ..Status::default() });
    interrupt.acknowledge();
    assert_eq!(interrupt.into_registers().acknowledged, [3]);
}
