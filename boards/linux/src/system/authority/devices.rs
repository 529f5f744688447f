//! Who may touch hardware.
//!
//! A region with a physical address is a device. Memory whose physical address a program is told is
//! for DMA, and a device that does DMA can reach all memory where no SMMU stands before it: only the
//! network domain may have one.

use super::Findings;
use crate::system::model::{SetValue, System};

/// The interrupt controller's virtual CPU interface: the one device that guests have, and nobody else.
pub(super) const GICV: &str = "gicv";
/// The devices there can be, and the domain that drives each.
const DRIVERS: [(&str, &str); 3] =
    [("nic_registers", "network"), ("uart", "resh_monitor"), ("rtc", "timer")];
/// The memory for DMA, and the domain that may have it.
const DMA: (&str, &str) = ("nic_dma", "network");

pub(super) fn check(system: &System, findings: &mut Findings<'_>) {
    for region in system.regions.iter().filter(|region| region.phys_addr.is_some()) {
        let driver = DRIVERS.iter().find(|(device, _)| *device == region.name);
        if driver.is_none() && region.name != GICV {
            let known: Vec<_> = DRIVERS.iter().map(|(device, _)| *device).collect();
            let problem = format!("nobody is known to drive the device {:?}", region.name);
            let hint = format!("name it one of {}, {GICV}, or remove it", known.join(", "));
            findings.add(region.position, "<memory_region name>", problem, hint);
        }
    }
    for domain in &system.domains {
        for map in &domain.maps {
            let region = &system.regions[map.region];
            if region.phys_addr.is_none() {
                continue;
            }
            let hint = match DRIVERS.iter().find(|(device, _)| *device == region.name) {
                Some((_, driver)) if *driver == domain.name => continue,
                Some((_, driver)) => format!("remove this map: {driver:?} drives it"),
                None if region.name == GICV => "remove this map: it is for guests".to_owned(),
                None => "remove this map".to_owned(),
            };
            let problem = format!("{:?} can reach the device {:?}", domain.name, region.name);
            findings.add(map.position, "<map mr>", problem, hint);
        }
        for set in &domain.setvars {
            let SetValue::RegionPhysAddr(region) = set.value else { continue };
            let region = system.regions[region].name.as_str();
            if (region, domain.name.as_str()) != DMA {
                let problem =
                    format!("{:?} is told the physical address of {region:?}", domain.name);
                let hint = format!("remove it: only {:?} does DMA, and only to {:?}", DMA.1, DMA.0);
                findings.add(set.position, "<setvar region_paddr>", problem, hint);
            }
        }
        if domain.calls_firmware {
            let problem = format!("{:?} may call the firmware", domain.name);
            let hint = "remove it: that can switch off or restart the machine, and nobody needs it";
            findings.add(domain.position, "<protection_domain smc>", problem, hint);
        }
        let drives = DRIVERS.iter().any(|(_, driver)| *driver == domain.name);
        for irq in domain.irqs.iter().filter(|_| !drives) {
            let problem = format!("{:?} has an interrupt", domain.name);
            findings.add(irq.position, "<irq>", problem, "remove it: this domain drives no device");
        }
    }
}
