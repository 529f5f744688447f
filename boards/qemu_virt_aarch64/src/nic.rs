//! The network interface: virtio-net over MMIO (virtio 1.2, sections 4.2 and 5.1), for smoltcp.
//!
//! Queues and transport are those of the crate `virtio-drivers`. Its network driver would wait for each
//! frame it sends, and interrupt for each that was sent, so the two queues are driven here. Frames lie
//! in buffers that the device was given: smoltcp reads and writes them in place.
//!
//! No checksum is left to the device: QEMU's user network offers none of it.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::ptr::NonNull;

use pd_network::smoltcp_stack::Frames;
use pd_network::smoltcp_stack::smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use pd_network::smoltcp_stack::smoltcp::time::Instant;
use sel4_microkit::sel4::Mmio;
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::mmio::{MmioTransport, VirtIOHeader};
use virtio_drivers::transport::{DeviceStatus, DeviceType, Transport};

use crate::board::VIRTIO_MMIO_BYTES;
use crate::dma::{Buffers, Region};
use crate::registers::Registers;

/// Frames that may wait to be received, and to be sent. Queues are that long; a power of two.
const QUEUE: usize = 256;
/// Bytes of a buffer: the header and a frame, rounded up.
const BUFFER_BYTES: usize = 2048;
/// `struct virtio_net_hdr` (section 5.1.6).
const HEADER_BYTES: usize = 12;
/// Longest frame: 1,500 bytes of IP after an Ethernet header.
const FRAME_BYTES_MAX: usize = 1514;
/// `receiveq1` and `transmitq1` (section 5.1.2).
const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;
/// `InterruptStatus` and `InterruptACK` (section 4.2.2).
const INTERRUPT_STATUS: usize = 0x060;
const INTERRUPT_ACKNOWLEDGE: usize = 0x064;
/// The device follows the standard rather than what was before it (section 6).
const VERSION_1: u64 = 1 << 32;

/// Why there is no network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NicError {
    /// The registers are not those of a virtio device.
    NoDevice,
    /// It is another device than a network interface.
    Not(DeviceType),
    /// It is of the kind before version 1 of the standard.
    Legacy,
    /// It did not accept what it had offered itself.
    Features,
    /// The region for devices is too small, or a queue.
    TooSmall(virtio_drivers::Error),
}

impl fmt::Display for NicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDevice => write!(
                f,
                "no virtio device in slot 0: start QEMU with `-device virtio-net-device,bus=virtio-mmio-bus.0`"
            ),
            Self::Not(found) => write!(f, "slot 0 holds {found:?}, not a network interface"),
            Self::Legacy => write!(
                f,
                "slot 0 holds a legacy device: start QEMU with `-global virtio-mmio.force-legacy=false`"
            ),
            Self::Features => write!(f, "the network interface refused the features it offered"),
            Self::TooSmall(error) => write!(f, "queues of the network interface: {error}"),
        }
    }
}

impl core::error::Error for NicError {}

/// A network interface.
pub struct Nic<T> {
    transport: T,
    receive_queue: Box<VirtQueue<Region, QUEUE>>,
    receive_buffers: Buffers<BUFFER_BYTES>,
    /// The frame received last, until its buffer is given back.
    current: Option<Current>,
    transmit: Transmit,
}

/// A frame that was received: token of the queue, which is the number of the buffer too, and its length.
#[derive(Clone, Copy)]
struct Current {
    token: u16,
    /// Bytes of the frame, without the header. `None` once it was handed over.
    len: Option<usize>,
}

/// What the device is to send.
struct Transmit {
    queue: Box<VirtQueue<Region, QUEUE>>,
    buffers: Buffers<BUFFER_BYTES>,
    /// Buffers that the device does not have.
    spares: Vec<u16>,
    /// Buffer and bytes of it that each token of the queue stands for.
    under_way: Vec<(u16, u16)>,
    /// For what is lost.
    scratch: Vec<u8>,
}

/// What is wanted of the device's registers when it interrupts.
pub struct Interrupt<R>(R);

impl<R: Registers> Interrupt<R> {
    /// On the same registers as the interface, for this alone.
    pub fn new(registers: R) -> Self {
        Self(registers)
    }

    /// Tells the device that its interrupt was seen. First the device, then the kernel, and then a look
    /// at the queues: whatever the device does after this interrupts again.
    pub fn acknowledge(&mut self) {
        let status = self.0.read(INTERRUPT_STATUS);
        self.0.write(INTERRUPT_ACKNOWLEDGE, status);
    }

    /// Gives the registers back.
    pub fn into_registers(self) -> R {
        self.0
    }
}

/// The device that has its registers in `window`.
///
/// # Safety
/// The window is that of a virtio-mmio slot, and used in no other way but for an [`Interrupt`].
///
/// # Errors
/// [`NicError::NoDevice`].
pub unsafe fn transport(window: &Mmio) -> Result<MmioTransport<'static>, NicError> {
    let header = NonNull::new(window.address() as *mut VirtIOHeader).ok_or(NicError::NoDevice)?;
    // SAFETY: the registers are there by the condition above, and stay mapped for good.
    unsafe { MmioTransport::new(header, window.len().min(VIRTIO_MMIO_BYTES)) }
        .map_err(|_| NicError::NoDevice)
}

impl<T: Transport> Nic<T> {
    /// Starts the device (section 3.1.1), with all receive buffers given to it. [`crate::dma::give`] was
    /// called before.
    ///
    /// # Errors
    /// See [`NicError`].
    pub fn new(mut transport: T) -> Result<Self, NicError> {
        let found = transport.device_type();
        if found != DeviceType::Network {
            return Err(NicError::Not(found));
        }
        transport.set_status(DeviceStatus::empty());
        let mut status = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER;
        transport.set_status(status);
        if transport.read_device_features() & VERSION_1 == 0 || transport.requires_legacy_layout() {
            return Err(NicError::Legacy);
        }
        transport.write_driver_features(VERSION_1);
        status |= DeviceStatus::FEATURES_OK;
        transport.set_status(status);
        if !transport.get_status().contains(DeviceStatus::FEATURES_OK) {
            return Err(NicError::Features);
        }
        let mut queue = |index| match VirtQueue::new(&mut transport, index, false, false) {
            Ok(queue) => Ok(Box::new(queue)),
            Err(error) => Err(NicError::TooSmall(error)),
        };
        let (receive_queue, mut transmit_queue) = (queue(RECEIVE)?, queue(TRANSMIT)?);
        // What was sent is looked at when there is something to send.
        transmit_queue.set_dev_notify(false);
        let no_room = NicError::TooSmall(virtio_drivers::Error::DmaError);
        let receive_buffers = Buffers::new(QUEUE).ok_or(no_room.clone())?;
        let buffers = Buffers::new(QUEUE).ok_or(no_room)?;
        let transmit = Transmit {
            queue: transmit_queue,
            buffers,
            spares: (0..QUEUE as u16).collect(),
            under_way: vec![(0, 0); QUEUE],
            scratch: vec![0; FRAME_BYTES_MAX],
        };
        transport.set_status(status | DeviceStatus::DRIVER_OK);
        let mut nic = Self { transport, receive_queue, receive_buffers, current: None, transmit };
        for token in 0..QUEUE as u16 {
            nic.offer(token);
        }
        nic.transport.notify(RECEIVE);
        Ok(nic)
    }

    /// Gives receive buffer `token` to the device.
    fn offer(&mut self, token: u16) {
        // SAFETY: the device does not have the buffer: this is its first time, or `load` took it back.
        let buffer = unsafe { self.receive_buffers.get_mut(usize::from(token)) };
        // SAFETY: the buffer lives as long as the region, and is not looked at until `load` got it back.
        let given = unsafe { self.receive_queue.add(&[], &mut [buffer]) };
        // The queue uses the descriptor freed last, and there is always just one.
        assert_eq!(given, Ok(token), "descriptors out of order");
    }

    /// Gives the frame back that was handed over, and takes the next, unless one waits.
    fn load(&mut self) {
        loop {
            if let Some(current) = self.current {
                if current.len.is_some() {
                    return;
                }
                self.current = None;
                self.offer(current.token);
                if self.receive_queue.should_notify() {
                    self.transport.notify(RECEIVE);
                }
            }
            let Some(token) = self.receive_queue.peek_used() else { return };
            if usize::from(token) >= QUEUE {
                return;
            }
            // SAFETY: the device said that it is through with the buffer; if that is a lie, `pop_used`
            // fails, or the frame's bytes change while they are read, which smoltcp checks anyway.
            let buffer = unsafe { self.receive_buffers.get_mut(usize::from(token)) };
            // SAFETY: it is the buffer that was given for this token.
            let len = unsafe { self.receive_queue.pop_used(token, &[], &mut [buffer]) };
            let Ok(len) = len else { return };
            let len = (len as usize).checked_sub(HEADER_BYTES);
            let len = len.filter(|len| (1..=FRAME_BYTES_MAX).contains(len));
            self.current = Some(Current { token, len });
        }
    }

    /// The frame in the buffer of `token`.
    fn frame(buffers: &Buffers<BUFFER_BYTES>, token: u16, len: usize) -> &[u8] {
        // SAFETY: called for the current frame, whose buffer the device does not have.
        let buffer = unsafe { buffers.get(usize::from(token)) };
        &buffer[HEADER_BYTES..HEADER_BYTES + len]
    }
}

impl Transmit {
    /// Takes back the buffers that were sent.
    fn reap(&mut self) {
        while let Some(token) = self.queue.peek_used() {
            let Some(&(index, len)) = self.under_way.get(usize::from(token)) else { return };
            // SAFETY: the device only reads it.
            let buffer = unsafe { self.buffers.get(usize::from(index)) };
            // SAFETY: these are the bytes that were given for this token.
            if unsafe { self.queue.pop_used(token, &[&buffer[..usize::from(len)]], &mut []) }
                .is_err()
            {
                return;
            }
            // There is room: each buffer is here, or under way.
            self.spares.push(index);
        }
    }

    /// Whether there is a buffer for another frame.
    fn has_room(&mut self) -> bool {
        if self.spares.is_empty() {
            self.reap();
        }
        !self.spares.is_empty()
    }
}

/// A frame received, where the device put it.
pub struct Incoming<'a>(&'a [u8]);

impl phy::RxToken for Incoming<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// Room for a frame to send. If the device has all buffers, the frame is lost, as on any wire.
pub struct Outgoing<'a, T> {
    transmit: &'a mut Transmit,
    transport: &'a mut T,
}

impl<T: Transport> phy::TxToken for Outgoing<'_, T> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let transmit = self.transmit;
        transmit.has_room();
        let Some(&index) = transmit.spares.last() else {
            return f(&mut transmit.scratch[..len]);
        };
        // SAFETY: the buffer is a spare one, which the device does not have.
        let buffer = unsafe { transmit.buffers.get_mut(usize::from(index)) };
        // Its header stays all zeroes: nothing is left to the device.
        let result = f(&mut buffer[HEADER_BYTES..HEADER_BYTES + len]);
        let bytes = &buffer[..HEADER_BYTES + len];
        // SAFETY: the buffer lives as long as the region, and is not written until `reap` got it back.
        if let Ok(token) = unsafe { transmit.queue.add(&[bytes], &mut []) } {
            transmit.under_way[usize::from(token)] = (index, bytes.len() as u16);
            transmit.spares.pop();
            if transmit.queue.should_notify() {
                self.transport.notify(TRANSMIT);
            }
        }
        result
    }
}

impl<T: Transport> Device for Nic<T> {
    type RxToken<'a>
        = Incoming<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Outgoing<'a, T>
    where
        Self: 'a;

    fn receive(&mut self, _: Instant) -> Option<(Incoming<'_>, Outgoing<'_, T>)> {
        self.load();
        let current = self.current.as_mut()?;
        let (token, len) = (current.token, current.len.take()?);
        let frame = Self::frame(&self.receive_buffers, token, len);
        let outgoing = Outgoing { transmit: &mut self.transmit, transport: &mut self.transport };
        Some((Incoming(frame), outgoing))
    }

    fn transmit(&mut self, _: Instant) -> Option<Outgoing<'_, T>> {
        let room = self.transmit.has_room();
        room.then_some(Outgoing { transmit: &mut self.transmit, transport: &mut self.transport })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME_BYTES_MAX;
        capabilities
    }
}

impl<T: Transport> Frames for Nic<T> {
    fn peek(&mut self) -> Option<&[u8]> {
        self.load();
        let Current { token, len } = self.current?;
        Some(Self::frame(&self.receive_buffers, token, len?))
    }
}
