//! Messages of calls and faults.

use crate::Refused;

/// What a message is about, and how many message registers it has (seL4 manual, section 4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageInfo {
    label: u64,
    count: u8,
}

impl MessageInfo {
    /// Most message registers of one message.
    pub const COUNT_MAX: u8 = 120;

    /// A message with this label and `count` message registers, of which there are at most
    /// [`Self::COUNT_MAX`].
    pub const fn new(label: u64, count: u8) -> Self {
        assert!(count <= Self::COUNT_MAX);
        Self { label, count }
    }

    /// As the kernel has it (`seL4_MessageInfo`): the label above twelve bits that hold the count.
    #[cfg_attr(target_os = "linux", allow(dead_code))]
    pub(crate) const fn to_bits(self) -> u64 {
        self.label << 12 | self.count as u64
    }

    /// What the kernel gave. The count is at most [`Self::COUNT_MAX`], whatever it says.
    #[cfg_attr(target_os = "linux", allow(dead_code))]
    pub(crate) const fn from_bits(bits: u64) -> Self {
        let count = (bits & 0x7f) as u8;
        let count = if count > Self::COUNT_MAX { Self::COUNT_MAX } else { count };
        Self { label: bits >> 12, count }
    }

    /// Its label.
    pub const fn label(self) -> u64 {
        self.label
    }

    /// Number of its message registers.
    pub const fn count(self) -> u8 {
        self.count
    }
}

/// A child of this domain, by the id that the system description gives it: another domain, or a
/// virtual CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Child(u8);

impl Child {
    /// Largest id (Microkit manual, "Limits").
    pub const MAX: u8 = 61;

    /// The child with id `id`, at most [`Self::MAX`].
    pub const fn new(id: u8) -> Self {
        assert!(id <= Self::MAX);
        Self(id)
    }

    /// Its id.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Stops it, whatever it is at. It stays stopped.
    ///
    /// # Errors
    /// It is no child of this domain. On Linux, where domains have no children, always.
    pub fn stop(self) -> Result<(), Refused> {
        crate::backend::stop(self)
    }

    /// Lets it run from `entry` on, at the top of its stack and with 0 in every other register. Memory is as it
    /// was: `program!` makes good for that.
    ///
    /// # Errors
    /// As [`Self::stop`].
    pub fn restart(self, entry: u64) -> Result<(), Refused> {
        crate::backend::restart(self, entry)
    }
}
