//! The system description as data. Every reference in it has been checked.

use crate::diagnostic::Position;

/// Everything `microkit-system.xml` grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    /// The file it was read from, for messages.
    pub file: String,
    /// The memory regions, in the order of the file.
    pub regions: Vec<Region>,
    /// The protection domains, a parent before its children.
    pub domains: Vec<Domain>,
}

/// Index of a region in [`System::regions`].
pub type RegionIndex = usize;
/// Index of a domain in [`System::domains`].
pub type DomainIndex = usize;

/// A piece of memory that domains may share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its name, unique.
    pub name: String,
    /// Its size in bytes, a multiple of `page_bytes`. 0 if the size is that of the prefill file.
    pub bytes: u64,
    /// The size of its pages in bytes.
    pub page_bytes: u64,
    /// Its physical address, if that matters (devices).
    pub phys_addr: Option<u64>,
    /// The file it is filled with before any domain starts.
    pub prefill_path: Option<String>,
    /// Where it is described.
    pub position: Position,
}

/// A protection domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Its name, unique.
    pub name: String,
    /// Scheduling priority, 0 to 254, higher first.
    pub priority: u8,
    /// Time it may run in each period, in microseconds.
    pub budget_us: u64,
    /// Length of a period, in microseconds.
    pub period_us: u64,
    /// Whether it runs only on the time of its callers.
    pub passive: bool,
    /// Whether it may call the firmware (`smc`).
    pub calls_firmware: bool,
    /// Size of its stack, in bytes.
    pub stack_bytes: u64,
    /// The domain that may stop and restart it.
    pub parent: Option<DomainIndex>,
    /// What its parent calls it, if it has one.
    pub child_id: Option<u8>,
    /// Its program, as the file names it.
    pub program: String,
    /// What memory it has, and with what rights.
    pub maps: Vec<Map>,
    /// The interrupts it serves.
    pub irqs: Vec<Irq>,
    /// Every symbol of its program that is set before it starts.
    pub setvars: Vec<SetVar>,
    /// The virtual machine it hosts.
    pub vm: Option<VirtualMachine>,
    /// Its ends of the channels.
    pub channels: Vec<ChannelEnd>,
    /// Where it is described.
    pub position: Position,
}

/// A region in the address space of a domain or of a virtual machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// Which region.
    pub region: RegionIndex,
    /// Its address there.
    pub vaddr: u64,
    /// What may be done with it.
    pub rights: Rights,
    /// Whether accesses go through the cache.
    pub cached: bool,
    /// The symbol that is set to `vaddr`. In this project: the role of the region in this domain.
    pub symbol: Option<String>,
    /// Where it is described.
    pub position: Position,
}

/// What may be done with a mapped region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// It may be read.
    pub read: bool,
    /// It may be written.
    pub write: bool,
    /// It may be executed.
    pub execute: bool,
}

/// An interrupt that is delivered to a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Irq {
    /// What the domain calls it, from the same numbers as its channels.
    pub id: u8,
    /// What the hardware calls it.
    pub irq: u32,
    /// How the hardware signals it.
    pub trigger: Trigger,
    /// Where it is described.
    pub position: Position,
}

/// How an interrupt is signalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// By a level that lasts until it is served.
    Level,
    /// By a change of level.
    Edge,
}

/// A symbol of a program that is set before it starts. The symbol is 8 bytes wide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetVar {
    /// The symbol, unique in its domain.
    pub symbol: String,
    /// What it is set to.
    pub value: SetValue,
    /// Where that is described.
    pub position: Position,
}

/// What a symbol is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetValue {
    /// A number known here: an address, or the id of a channel, an interrupt or a child.
    Number(u64),
    /// The size of a region, in bytes.
    RegionBytes(RegionIndex),
    /// The length of the file a region is filled with, in bytes.
    PrefillBytes(RegionIndex),
    /// The physical address of a region.
    RegionPhysAddr(RegionIndex),
}

/// A virtual machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualMachine {
    /// Its name, unique.
    pub name: String,
    /// Scheduling priority of its virtual CPUs.
    pub priority: u8,
    /// Time it may run in each period, in microseconds.
    pub budget_us: u64,
    /// Length of a period, in microseconds.
    pub period_us: u64,
    /// The ids of its virtual CPUs.
    pub vcpus: Vec<u8>,
    /// Its memory. The addresses are what the guest takes for physical.
    pub maps: Vec<Map>,
    /// Where it is described.
    pub position: Position,
}

/// A domain's end of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelEnd {
    /// What this domain calls the channel.
    pub id: u8,
    /// The domain at the other end.
    pub peer_domain: DomainIndex,
    /// What that domain calls the channel.
    pub peer_id: u8,
    /// Whether this domain may notify the other.
    pub may_notify: bool,
    /// Whether this domain may call the other.
    pub may_call: bool,
    /// Where it is described.
    pub position: Position,
}

impl System {
    /// The domain of that name.
    #[must_use]
    pub fn domain(&self, name: &str) -> Option<&Domain> {
        self.domains.iter().find(|domain| domain.name == name)
    }

    /// The index of the domain of that name.
    #[must_use]
    pub fn domain_index(&self, name: &str) -> Option<DomainIndex> {
        self.domains.iter().position(|domain| domain.name == name)
    }

    /// The region of that name.
    #[must_use]
    pub fn region(&self, name: &str) -> Option<&Region> {
        self.regions.iter().find(|region| region.name == name)
    }

    /// The children of the domain, in the order of the file.
    pub fn children(&self, parent: DomainIndex) -> impl Iterator<Item = &Domain> {
        self.domains.iter().filter(move |domain| domain.parent == Some(parent))
    }

    /// The domains that serve a replica each: the children of `supervisor`, by their id. Their number
    /// is the number of replicas a service can have.
    #[must_use]
    pub fn gateways(&self) -> Vec<&Domain> {
        let supervisor = self.domain_index("supervisor");
        let mut gateways: Vec<_> =
            supervisor.map(|at| self.children(at).collect()).unwrap_or_default();
        gateways.sort_by_key(|domain| domain.child_id);
        gateways
    }
}

impl Domain {
    /// The map whose address goes to `symbol`.
    #[must_use]
    pub fn map(&self, symbol: &str) -> Option<&Map> {
        self.maps.iter().find(|map| map.symbol.as_deref() == Some(symbol))
    }
}

impl Rights {
    /// How the file spells them: `r`, `rw`, `rx` and so on.
    #[must_use]
    pub fn spelled(self) -> String {
        [(self.read, 'r'), (self.write, 'w'), (self.execute, 'x')]
            .into_iter()
            .filter_map(|(granted, letter)| granted.then_some(letter))
            .collect()
    }
}
