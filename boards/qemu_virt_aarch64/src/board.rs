//! The numbers of this board, in one place. Each has its other half in `board.xml`.

use sel4_microkit::Channel;

/// Interrupt of the network interface, in the network domain.
pub const NIC: Channel = Channel::new(50);
/// Interrupt of the UART, in the monitor.
pub const UART: Channel = Channel::new(50);
/// Interrupt of the timer, in the timer domain.
pub const TIMER: Channel = Channel::new(60);
/// Interrupt of the real-time clock, in the timer domain.
pub const ALARM: Channel = Channel::new(59);
/// Domains that the timer serves: channels 0 to 6, with a page for the deadline of each.
pub const TIMER_CLIENTS: usize = 7;

/// Bytes of the registers of one virtio-mmio device of QEMU's `virt`, configuration space included
/// (`hw/arm/virt.c`: each of the 32 has 0x200).
pub const VIRTIO_MMIO_BYTES: usize = 0x200;
