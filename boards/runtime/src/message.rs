//! Messages of calls and faults.

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
}
