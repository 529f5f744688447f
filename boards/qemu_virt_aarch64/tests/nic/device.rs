//! A virtio network device, as far as its driver can see it (virtio 1.2, sections 2.7 and 5.1).

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::OnceLock;

use qemu_virt_aarch64::dma;
use virtio_drivers::PhysAddr;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Where the device finds the region, and its size.
const PHYSICAL: u64 = 0x6000_0000;
const REGION_BYTES: usize = 64 << 20;
const PAGE: usize = 4096;
pub(crate) const HEADER_BYTES: usize = 12;
const VERSION_1: u64 = 1 << 32;

/// Gives the driver its memory, once for all tests, and returns where that is.
fn region() -> usize {
    static START: OnceLock<usize> = OnceLock::new();
    *START.get_or_init(|| {
        let memory = vec![0u8; REGION_BYTES + PAGE].leak();
        let skip = memory.as_ptr().align_offset(PAGE);
        let region = &mut memory[skip..skip + REGION_BYTES];
        let start = region.as_mut_ptr().expose_provenance();
        assert!(dma::give(region, PHYSICAL));
        start
    })
}

/// Bytes of the region, as the device sees them.
fn at(address: PhysAddr, len: usize) -> *mut u8 {
    let offset = usize::try_from(address - PHYSICAL).unwrap();
    assert!(offset + len <= REGION_BYTES, "the device is led outside: {address:#x}");
    std::ptr::with_exposed_provenance_mut(region() + offset)
}

fn load<const N: usize>(address: PhysAddr) -> [u8; N] {
    // SAFETY: `at` checked that the bytes are in the region, and one thread does both sides' work.
    unsafe { at(address, N).cast::<[u8; N]>().read_unaligned() }
}

fn store(address: PhysAddr, bytes: &[u8]) {
    // SAFETY: as in `load`; the driver holds no reference to what it gave to the device.
    unsafe { at(address, bytes.len()).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) }
}

fn u16_at(address: PhysAddr) -> u16 {
    u16::from_le_bytes(load(address))
}

/// One queue, as the driver set it up.
#[derive(Clone, Copy, Debug, Default)]
struct Queue {
    size: u16,
    descriptors: PhysAddr,
    available: PhysAddr,
    used: PhysAddr,
    taken: u16,
    put: u16,
}

impl Queue {
    /// The next buffer that the driver offers: its descriptor, address, length, and whether the device may
    /// write it.
    fn take(&mut self) -> Option<(u16, PhysAddr, u32, bool)> {
        if self.size == 0 || u16_at(self.available + 2) == self.taken {
            return None;
        }
        let id = u16_at(self.available + 4 + 2 * u64::from(self.taken % self.size));
        self.taken = self.taken.wrapping_add(1);
        let descriptor = self.descriptors + 16 * u64::from(id);
        let address = u64::from_le_bytes(load(descriptor));
        let len = u32::from_le_bytes(load(descriptor + 8));
        let flags = u16_at(descriptor + 12);
        assert_eq!(flags & !2, 0, "one buffer a frame");
        at(address, len as usize);
        Some((id, address, len, flags & 2 != 0))
    }

    /// Gives a buffer back.
    fn put(&mut self, id: u32, len: u32) {
        let entry = self.used + 4 + 8 * u64::from(self.put % self.size);
        store(entry, &id.to_le_bytes());
        store(entry + 4, &len.to_le_bytes());
        self.put = self.put.wrapping_add(1);
        store(self.used + 2, &self.put.to_le_bytes());
    }
}

#[derive(Debug)]
struct State {
    kind: DeviceType,
    features: u64,
    accepted: u64,
    status: DeviceStatus,
    queues: [Queue; 2],
    /// Buffers to be sent that were taken: descriptor and frame.
    outgoing: Vec<(u16, Vec<u8>)>,
}

/// The device; clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Device(Rc<RefCell<State>>);

impl Device {
    pub(crate) fn new(kind: DeviceType, features: u64) -> Self {
        region();
        Self(Rc::new(RefCell::new(State {
            kind,
            features,
            accepted: 0,
            status: DeviceStatus::empty(),
            queues: Default::default(),
            outgoing: Vec::new(),
        })))
    }

    /// A network interface as QEMU's.
    pub(crate) fn network() -> Self {
        Self::new(DeviceType::Network, VERSION_1 | 1 << 5 | 1 << 16 | 1 << 28 | 1 << 29)
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.0.borrow().accepted
    }

    pub(crate) fn is_running(&self) -> bool {
        self.0.borrow().status.contains(DeviceStatus::DRIVER_OK)
    }

    /// Puts a frame into the next buffer and says that it has `claimed` bytes, header included. False if the
    /// driver has given none.
    pub(crate) fn deliver_claiming(&self, frame: &[u8], claimed: u32) -> bool {
        let queue = &mut self.0.borrow_mut().queues[0];
        let Some((id, address, len, writable)) = queue.take() else { return false };
        assert!(writable && len as usize >= HEADER_BYTES + 1514);
        store(address, &[0; HEADER_BYTES]);
        store(address + HEADER_BYTES as u64, frame);
        queue.put(id.into(), claimed);
        true
    }

    pub(crate) fn deliver(&self, frame: &[u8]) -> bool {
        self.deliver_claiming(frame, (HEADER_BYTES + frame.len()) as u32)
    }

    /// Takes the frames that are to be sent, without giving their buffers back.
    pub(crate) fn take_outgoing(&self) -> Vec<Vec<u8>> {
        let state = &mut *self.0.borrow_mut();
        let mut frames = Vec::new();
        while let Some((id, address, len, writable)) = state.queues[1].take() {
            assert!(!writable);
            let mut bytes = vec![0; len as usize];
            // SAFETY: `take` checked that the buffer is in the region, and the driver only reads it now.
            unsafe { at(address, bytes.len()).copy_to(bytes.as_mut_ptr(), bytes.len()) };
            assert_eq!(bytes[..HEADER_BYTES], [0; HEADER_BYTES], "nothing is left to the device");
            let frame = bytes.split_off(HEADER_BYTES);
            frames.push(frame.clone());
            state.outgoing.push((id, frame));
        }
        frames
    }

    /// Gives back the buffer of the frame at `index` among those taken.
    pub(crate) fn sent(&self, index: usize) {
        let state = &mut *self.0.borrow_mut();
        let (id, _) = state.outgoing.remove(index);
        state.queues[1].put(id.into(), 0);
    }

    /// How many frames were taken whose buffers were not given back.
    pub(crate) fn under_way(&self) -> usize {
        self.0.borrow().outgoing.len()
    }
}

impl Transport for Device {
    fn device_type(&self) -> DeviceType {
        self.0.borrow().kind
    }

    fn read_device_features(&mut self) -> u64 {
        self.0.borrow().features
    }

    fn write_driver_features(&mut self, features: u64) {
        self.0.borrow_mut().accepted = features;
    }

    fn max_queue_size(&mut self, _: u16) -> u32 {
        256
    }

    fn notify(&mut self, _: u16) {}

    fn get_status(&self) -> DeviceStatus {
        self.0.borrow().status
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.0.borrow_mut().status = status;
    }

    fn set_guest_page_size(&mut self, _: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        available: PhysAddr,
        used: PhysAddr,
    ) {
        let queue = &mut self.0.borrow_mut().queues[usize::from(queue)];
        *queue = Queue { size: size as u16, descriptors, available, used, taken: 0, put: 0 };
    }

    fn queue_unset(&mut self, queue: u16) {
        self.0.borrow_mut().queues[usize::from(queue)].size = 0;
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.0.borrow().queues[usize::from(queue)].size != 0
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::empty()
    }

    fn read_config_generation(&self) -> u32 {
        0
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, _: usize) -> virtio_drivers::Result<T> {
        Err(virtio_drivers::Error::ConfigSpaceMissing)
    }

    fn write_config_space<T: IntoBytes + Immutable>(
        &mut self,
        _: usize,
        _: T,
    ) -> virtio_drivers::Result<()> {
        Err(virtio_drivers::Error::ConfigSpaceMissing)
    }
}
