//! What of the system description there is on Linux: all but what the kernel does in its place.
//!
//! A replica is a server of its own there, timers and output are the kernel's, and a process allocates
//! for itself. So the domain `timer`, virtual machines, interrupts and devices are left out, and so is the
//! memory in these roles (symbols): `heap`, `deadline`, `clock`, `entries`, `log`, `log_…`, `guest_ram`,
//! `guest_kernel` and `guest_initramfs`. A region that nothing else maps does not exist. Nothing is
//! added, so what passes the check of authority passes it still.

use super::model::{Domain, Map, SetValue, System};

/// The domain that owns the hardware timer.
const TIMER: &str = "timer";

/// Whether memory in this role is for seL4 alone.
fn is_idle(symbol: &str) -> bool {
    matches!(
        symbol,
        "heap"
            | "deadline"
            | "clock"
            | "entries"
            | "log"
            | "guest_ram"
            | "guest_kernel"
            | "guest_initramfs"
    ) || symbol.starts_with("log_")
}

impl System {
    /// The part of the system that the Linux board starts.
    #[must_use]
    pub fn on_linux(&self) -> Self {
        let is_there = |domain: &Domain| domain.name != TIMER;
        let is_mapped = |map: &Map| {
            self.regions[map.region].phys_addr.is_none()
                && !map.symbol.as_deref().is_some_and(is_idle)
        };
        let domains = renumbered(self.domains.iter().map(is_there));
        let regions = renumbered((0..self.regions.len()).map(|at| {
            let mut maps = self.domains.iter().filter(|d| is_there(d)).flat_map(|d| &d.maps);
            maps.any(|map| map.region == at && is_mapped(map))
        }));

        let kept = |domain: &Domain| Domain {
            parent: domain.parent.and_then(|parent| domains[parent]),
            maps: domain
                .maps
                .iter()
                .filter(|map| is_mapped(map))
                .filter_map(|map| Some(Map { region: regions[map.region]?, ..map.clone() }))
                .collect(),
            irqs: Vec::new(),
            setvars: domain
                .setvars
                .iter()
                .filter_map(|set| {
                    let value = match set.value {
                        SetValue::Number(_) => set.value,
                        SetValue::RegionBytes(at) => SetValue::RegionBytes(regions[at]?),
                        SetValue::PrefillBytes(at) => SetValue::PrefillBytes(regions[at]?),
                        SetValue::RegionPhysAddr(_) => return None,
                    };
                    Some(super::SetVar { value, ..set.clone() })
                })
                .collect(),
            vm: None,
            channels: domain
                .channels
                .iter()
                .filter_map(|end| {
                    Some(super::ChannelEnd { peer_domain: domains[end.peer_domain]?, ..*end })
                })
                .collect(),
            ..domain.clone()
        };
        Self {
            file: self.file.clone(),
            regions: self
                .regions
                .iter()
                .zip(&regions)
                .filter_map(|(region, at)| at.map(|_| region.clone()))
                .collect(),
            domains: self.domains.iter().filter(|d| is_there(d)).map(kept).collect(),
        }
    }
}

/// The new index of each thing, if it is kept.
fn renumbered(kept: impl Iterator<Item = bool>) -> Vec<Option<usize>> {
    let mut next = 0..;
    kept.map(|kept| if kept { next.next() } else { None }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launcher::SYSTEM_XML;

    #[test]
    fn domains_keep_what_their_programs_use_on_linux_and_no_more() {
        let whole = System::parse(SYSTEM_XML).expect("the built-in description");
        let part = whole.on_linux();
        assert!(whole.domain("timer").is_some() && part.domain("timer").is_none());
        let left: Vec<_> = part.regions.iter().map(|region| region.name.as_str()).collect();
        let idle = ["heap_", "deadline_", "clock", "entries", "log_", "guest_"];
        assert!(
            !left.iter().any(|name| idle.iter().any(|idle| name.starts_with(idle))),
            "{left:?}"
        );
        assert_eq!(left.len(), 20, "{left:?}");
        for domain in &part.domains {
            let before = whole.domain(&domain.name).expect("nothing is added");
            assert!(domain.vm.is_none() && domain.irqs.is_empty());
            for map in &domain.maps {
                let was = before.maps.iter().find(|was| was.position == map.position);
                let was = was.expect("nothing is added");
                assert_eq!(was.rights, map.rights);
                assert_eq!(part.regions[map.region], whole.regions[was.region]);
            }
            for end in &domain.channels {
                let was = before.channels.iter().find(|was| was.id == end.id);
                let peer = &whole.domains[was.expect("nothing is added").peer_domain];
                assert_eq!(part.domains[end.peer_domain].name, peer.name);
            }
            let parent = domain.parent.map(|at| &part.domains[at].name);
            assert_eq!(parent, before.parent.map(|at| &whole.domains[at].name));
        }
        let gateways: Vec<_> = part.gateways().iter().map(|domain| domain.name.clone()).collect();
        assert_eq!(gateways, ["gateway_0", "gateway_1", "gateway_2"]);
        assert_eq!(part.on_linux(), part);
    }
}
