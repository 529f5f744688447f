//! The register file of a virtio device on MMIO, version 2 (virtio 1.2 section 4.2.2).

use super::queue::{QUEUE_SIZE_MAX, Queue};
use super::{F_VERSION_1, Misbehaviour};
use crate::memory::GuestRam;

/// Bytes of guest-physical address space that the registers take.
pub const REGISTERS_BYTES: u64 = 0x200;

/// Offsets of the registers (section 4.2.2, table 4.1).
mod register {
    pub(super) const MAGIC: u64 = 0x000;
    pub(super) const VERSION: u64 = 0x004;
    pub(super) const DEVICE_ID: u64 = 0x008;
    pub(super) const VENDOR_ID: u64 = 0x00c;
    pub(super) const DEVICE_FEATURES: u64 = 0x010;
    pub(super) const DEVICE_FEATURES_SELECT: u64 = 0x014;
    pub(super) const DRIVER_FEATURES: u64 = 0x020;
    pub(super) const DRIVER_FEATURES_SELECT: u64 = 0x024;
    pub(super) const QUEUE_SELECT: u64 = 0x030;
    pub(super) const QUEUE_SIZE_MAX: u64 = 0x034;
    pub(super) const QUEUE_SIZE: u64 = 0x038;
    pub(super) const QUEUE_READY: u64 = 0x044;
    pub(super) const QUEUE_NOTIFY: u64 = 0x050;
    pub(super) const INTERRUPT_STATUS: u64 = 0x060;
    pub(super) const INTERRUPT_ACKNOWLEDGE: u64 = 0x064;
    pub(super) const STATUS: u64 = 0x070;
    pub(super) const QUEUE_DESCRIPTORS_LOW: u64 = 0x080;
    pub(super) const QUEUE_DESCRIPTORS_HIGH: u64 = 0x084;
    pub(super) const QUEUE_DRIVER_LOW: u64 = 0x090;
    pub(super) const QUEUE_DRIVER_HIGH: u64 = 0x094;
    pub(super) const QUEUE_DEVICE_LOW: u64 = 0x0a0;
    pub(super) const QUEUE_DEVICE_HIGH: u64 = 0x0a4;
    pub(super) const SHARED_MEMORY_SELECT: u64 = 0x0ac;
    pub(super) const SHARED_MEMORY_LENGTH_LOW: u64 = 0x0b0;
    pub(super) const SHARED_MEMORY_BASE_HIGH: u64 = 0x0bc;
    pub(super) const CONFIG_GENERATION: u64 = 0x0fc;
    pub(super) const CONFIG: u64 = 0x100;
}

/// "virt"
const MAGIC: u32 = 0x7472_6976;
const VERSION: u32 = 2;
/// "RESH"
const VENDOR: u32 = 0x4853_4552;

/// Bits of the device's status (section 2.1).
mod status {
    pub(super) const ACKNOWLEDGE: u32 = 1;
    pub(super) const DRIVER: u32 = 2;
    pub(super) const DRIVER_OK: u32 = 4;
    pub(super) const FEATURES_OK: u32 = 8;
    pub(super) const NEEDS_RESET: u32 = 64;
    pub(super) const FAILED: u32 = 128;
    /// What a driver may set.
    pub(super) const DRIVERS: u32 = ACKNOWLEDGE | DRIVER | DRIVER_OK | FEATURES_OK | FAILED;
}

/// Bits of the interrupt status (section 4.2.2).
const INTERRUPT_USED_BUFFER: u32 = 1;
const INTERRUPT_CONFIGURATION: u32 = 2;

/// What a device has that no driver can change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity<const CONFIG: usize> {
    /// Its kind (section 5).
    pub(super) device_id: u32,
    /// The features it offers.
    pub(super) features: u64,
    /// Its configuration space.
    pub(super) config: [u8; CONFIG],
}

/// What the driver has written, and what it asked for. Reset sets it back.
#[derive(Clone, Copy, Debug)]
struct Driver<const QUEUES: usize> {
    status: u32,
    features: u64,
    device_features_select: u32,
    driver_features_select: u32,
    queue_select: u32,
    interrupt: u32,
    queues: [Queue; QUEUES],
}

impl<const QUEUES: usize> Default for Driver<QUEUES> {
    fn default() -> Self {
        Self {
            status: 0,
            features: 0,
            device_features_select: 0,
            driver_features_select: 0,
            queue_select: 0,
            interrupt: 0,
            queues: [Queue::default(); QUEUES],
        }
    }
}

/// The registers of a device with that many queues and bytes of configuration space.
pub(super) struct Transport<const QUEUES: usize, const CONFIG: usize> {
    identity: Identity<CONFIG>,
    driver: Driver<QUEUES>,
    misbehaviour: Option<Misbehaviour>,
    misbehaviours: u64,
    refused: u64,
    resets: u64,
}

impl<const QUEUES: usize, const CONFIG: usize> Transport<QUEUES, CONFIG> {
    pub(super) fn new(identity: Identity<CONFIG>) -> Self {
        Self {
            identity,
            driver: Driver::default(),
            misbehaviour: None,
            misbehaviours: 0,
            refused: 0,
            resets: 0,
        }
    }

    /// Reads `width` bytes from `offset` on. What is no register, or of the wrong width, reads as 0 and is counted.
    pub(super) fn read(&mut self, offset: u64, width: u8) -> u64 {
        let value = match offset {
            register::CONFIG.. => self.read_config(offset - register::CONFIG, width),
            _ if width == 4 => self.read_register(offset).map(u64::from),
            _ => None,
        };
        value.unwrap_or_else(|| {
            self.refused = self.refused.saturating_add(1);
            0
        })
    }

    fn read_register(&self, offset: u64) -> Option<u32> {
        let selected = self.driver.queues.get(self.driver.queue_select as usize);
        Some(match offset {
            register::MAGIC => MAGIC,
            register::VERSION => VERSION,
            register::DEVICE_ID => self.identity.device_id,
            register::VENDOR_ID => VENDOR,
            register::DEVICE_FEATURES => {
                half(self.identity.features, self.driver.device_features_select)
            }
            register::QUEUE_SIZE_MAX => selected.map_or(0, |_| QUEUE_SIZE_MAX.into()),
            register::QUEUE_READY => selected.map_or(0, |queue| queue.is_ready().into()),
            register::INTERRUPT_STATUS => self.driver.interrupt,
            register::STATUS => self.driver.status,
            // No shared memory: all ones (section 4.2.2).
            register::SHARED_MEMORY_LENGTH_LOW..=register::SHARED_MEMORY_BASE_HIGH
                if offset.is_multiple_of(4) =>
            {
                u32::MAX
            }
            register::CONFIG_GENERATION => 0,
            _ => return None,
        })
    }

    /// Little-endian, one to eight bytes, aligned to their number.
    fn read_config(&self, at: u64, width: u8) -> Option<u64> {
        if !matches!(width, 1 | 2 | 4 | 8) || !at.is_multiple_of(width.into()) {
            return None;
        }
        let at = usize::try_from(at).ok()?;
        let bytes = self.identity.config.get(at..at.checked_add(width.into())?)?;
        Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    /// Writes `width` bytes to `offset`. What cannot be written, or not in this state or width, is ignored and counted.
    pub(super) fn write(&mut self, ram: GuestRam<'_>, offset: u64, width: u8, value: u64) {
        let accepted = width == 4 && self.write_register(ram, offset, value as u32).is_some();
        if !accepted {
            self.refused = self.refused.saturating_add(1);
        }
    }

    fn write_register(&mut self, ram: GuestRam<'_>, offset: u64, value: u32) -> Option<()> {
        match offset {
            register::DEVICE_FEATURES_SELECT => self.driver.device_features_select = value,
            register::DRIVER_FEATURES_SELECT => self.driver.driver_features_select = value,
            register::DRIVER_FEATURES => return self.write_features(value),
            register::QUEUE_SELECT => self.driver.queue_select = value,
            register::QUEUE_READY => return self.write_ready(ram, value),
            // The device looks into its queues whenever it is asked for or given a frame.
            register::QUEUE_NOTIFY => return ((value as usize) < QUEUES).then_some(()),
            register::INTERRUPT_ACKNOWLEDGE => self.driver.interrupt &= !value,
            register::STATUS => return self.write_status(value),
            register::SHARED_MEMORY_SELECT => {}
            _ => return self.write_queue(offset, value),
        }
        Some(())
    }

    /// Only before the two have agreed on the features.
    fn write_features(&mut self, value: u32) -> Option<()> {
        let shift = match self.driver.driver_features_select {
            0 => 0,
            1 => 32,
            // None is offered beyond, and a driver that is sure to accept none is right.
            _ => return (value == 0).then_some(()),
        };
        if self.driver.status & status::FEATURES_OK != 0 {
            return None;
        }
        let others = self.driver.features & !(u64::from(u32::MAX) << shift);
        self.driver.features = others | u64::from(value) << shift;
        Some(())
    }

    /// The size and addresses of the queue that is selected, while it is not enabled.
    fn write_queue(&mut self, offset: u64, value: u32) -> Option<()> {
        let queue = self.driver.queues.get_mut(self.driver.queue_select as usize)?;
        if queue.is_ready() {
            return None;
        }
        match offset {
            // Too large to be a size is as wrong as 0.
            register::QUEUE_SIZE => queue.size = u16::try_from(value).unwrap_or(0),
            register::QUEUE_DESCRIPTORS_LOW => set_low(&mut queue.descriptors, value),
            register::QUEUE_DESCRIPTORS_HIGH => set_high(&mut queue.descriptors, value),
            register::QUEUE_DRIVER_LOW => set_low(&mut queue.available, value),
            register::QUEUE_DRIVER_HIGH => set_high(&mut queue.available, value),
            register::QUEUE_DEVICE_LOW => set_low(&mut queue.used, value),
            register::QUEUE_DEVICE_HIGH => set_high(&mut queue.used, value),
            _ => return None,
        }
        Some(())
    }

    /// Enables the selected queue after the features are agreed on, or disables it.
    fn write_ready(&mut self, ram: GuestRam<'_>, value: u32) -> Option<()> {
        let agreed = self.driver.status & (status::FEATURES_OK | status::NEEDS_RESET);
        let queue = self.driver.queues.get_mut(self.driver.queue_select as usize)?;
        match value {
            0 => queue.disable(),
            1 if agreed == status::FEATURES_OK && !queue.is_ready() => {
                if let Err(misbehaviour) = queue.enable(ram) {
                    self.fail(misbehaviour);
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// Section 3.1.1: bits are only ever added, each on the ground of those before it; 0 resets.
    fn write_status(&mut self, value: u32) -> Option<()> {
        let old = self.driver.status;
        if value == 0 {
            self.driver = Driver::default();
            self.resets = self.resets.saturating_add(1);
            return Some(());
        }
        // DEVICE_NEEDS_RESET is the device's, and a driver may or may not write it back.
        let mut new = value & status::DRIVERS | old & status::NEEDS_RESET;
        if value & !(status::DRIVERS | status::NEEDS_RESET) != 0 || old & !new != 0 {
            return None;
        }
        if new & !old & status::FEATURES_OK != 0 && !self.features_are_agreed() {
            new &= !status::FEATURES_OK;
        }
        if new & status::FEATURES_OK == 0 {
            new &= !status::DRIVER_OK;
        }
        self.driver.status = new;
        Some(())
    }

    /// No feature that is not offered, and not legacy virtio (section 6.1).
    fn features_are_agreed(&self) -> bool {
        self.driver.features & !self.identity.features == 0
            && self.driver.features & F_VERSION_1 != 0
    }

    /// Whether driver and device have agreed on all of these features.
    pub(super) fn has_features(&self, features: u64) -> bool {
        self.driver.status & status::FEATURES_OK != 0 && self.driver.features & features == features
    }

    /// Whether the driver is set up and nothing went wrong since.
    pub(super) fn is_live(&self) -> bool {
        let bits = status::DRIVER_OK | status::NEEDS_RESET | status::FAILED;
        self.driver.status & bits == status::DRIVER_OK
    }

    /// Whether the interrupt line is high.
    pub(super) fn interrupt_pending(&self) -> bool {
        self.driver.interrupt != 0
    }

    /// The queue `index`, if the device is live.
    pub(super) fn queue(&mut self, index: usize) -> Option<&mut Queue> {
        let live = self.is_live();
        self.driver.queues.get_mut(index).filter(|queue| live && queue.is_ready())
    }

    /// The queue `index`, if the device is live, to look at.
    pub(super) fn look_at_queue(&self, index: usize) -> Option<&Queue> {
        self.driver.queues.get(index).filter(|queue| self.is_live() && queue.is_ready())
    }

    /// Raises the interrupt for buffers used.
    pub(super) fn interrupt(&mut self) {
        self.driver.interrupt |= INTERRUPT_USED_BUFFER;
    }

    /// Gives up until the driver resets the device (section 2.1.2).
    pub(super) fn fail(&mut self, misbehaviour: Misbehaviour) {
        self.misbehaviour = self.misbehaviour.or(Some(misbehaviour));
        self.misbehaviours = self.misbehaviours.saturating_add(1);
        if self.driver.status & status::DRIVER_OK != 0 {
            self.driver.interrupt |= INTERRUPT_CONFIGURATION;
        }
        self.driver.status |= status::NEEDS_RESET;
    }

    /// The first misbehaviour since the last call.
    pub(super) fn take_misbehaviour(&mut self) -> Option<Misbehaviour> {
        self.misbehaviour.take()
    }

    /// How often the device has given up.
    pub(super) fn misbehaviours(&self) -> u64 {
        self.misbehaviours
    }

    /// How many accesses read as 0 or were ignored.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// How often the driver has reset the device.
    pub(super) fn resets(&self) -> u64 {
        self.resets
    }
}

/// The 32 bits of `value` that `select` means, which are 0 beyond the second.
fn half(value: u64, select: u32) -> u32 {
    match select {
        0 => value as u32,
        1 => (value >> 32) as u32,
        _ => 0,
    }
}

fn set_low(address: &mut u64, value: u32) {
    *address = *address & !u64::from(u32::MAX) | u64::from(value);
}

fn set_high(address: &mut u64, value: u32) {
    *address = *address & u64::from(u32::MAX) | u64::from(value) << 32;
}
