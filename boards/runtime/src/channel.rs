//! Channels and sets of them.

/// A channel of this domain, by the id that the system description gives its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Channel(u8);

impl Channel {
    /// Largest id (Microkit manual, "Channels").
    pub const MAX: u8 = 61;

    /// The channel with id `id`, at most [`Self::MAX`].
    pub const fn new(id: u8) -> Self {
        assert!(id <= Self::MAX);
        Self(id)
    }

    /// Its id.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Notifies the domain at the other end. Notifications that were not yet seen become one.
    pub fn notify(self) {
        crate::backend::notify(self);
    }

    /// Lets the interrupt that comes in on this channel come again. On Linux, and for a channel that is no
    /// interrupt of this domain, it does nothing.
    pub fn irq_ack(self) {
        crate::backend::irq_ack(self);
    }
}

/// What a domain was woken for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelSet(u64);

impl ChannelSet {
    const IO: u64 = 1 << 62;
    const DEADLINE: u64 = 1 << 63;

    /// The set with nothing in it.
    pub const EMPTY: Self = Self(0);

    /// True if `channel` was notified.
    pub fn contains(self, channel: Channel) -> bool {
        self.0 & (1 << channel.index()) != 0
    }

    /// True if the deadline set last has passed.
    pub fn deadline(self) -> bool {
        self.0 & Self::DEADLINE != 0
    }

    /// True if a device, or on Linux a watched descriptor, is ready.
    pub fn io(self) -> bool {
        self.0 & Self::IO != 0
    }

    /// True if nothing happened.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Adds a channel.
    pub fn insert(&mut self, channel: Channel) {
        self.0 |= 1 << channel.index();
    }

    /// The channels in the badge of a notification, of which those in `irqs` are interrupts.
    #[cfg_attr(target_os = "linux", allow(dead_code))]
    pub(crate) fn from_badge(badge: u64, irqs: u64) -> Self {
        let mut set = Self(badge & (Self::IO - 1));
        if set.0 & irqs != 0 {
            set.insert_io();
        }
        set
    }

    pub(crate) fn insert_io(&mut self) {
        self.0 |= Self::IO;
    }

    pub(crate) fn insert_deadline(&mut self) {
        self.0 |= Self::DEADLINE;
    }
}
