//! What only the whole description shows: names, ids, and addresses that meet.

use std::collections::HashMap;
use std::ops::Range;

use roxmltree::Node;

use super::model::{Domain, Map, SetValue, System};
use super::xml::Xml;
use super::{ADDRESS_SPACE_END, DOMAINS_MAX, PAGE_BYTES};
use crate::diagnostic::Position;

/// Reports what is wrong with the system as a whole.
pub(super) fn check(xml: &mut Xml<'_>, root: Node<'_, '_>, system: &System) {
    let count = system.domains.len();
    if count == 0 {
        xml.report(root, "", "there is no protection domain", "add a <protection_domain>");
    }
    if count > DOMAINS_MAX {
        let problem = format!("{count} protection domains");
        xml.report(root, "", problem, format!("use at most {DOMAINS_MAX}"));
    }
    domain_names(xml, system);
    children(xml, system);
    irqs_and_ids(xml, system);
    for domain in &system.domains {
        let reserved = domain.stack_bytes + 2 * PAGE_BYTES[0];
        let whose = format!("domain {:?}", domain.name);
        address_space(xml, system, &domain.maps, ADDRESS_SPACE_END - reserved, &whose);
        if let Some(vm) = &domain.vm {
            let whose = format!("virtual machine {:?}", vm.name);
            address_space(xml, system, &vm.maps, ADDRESS_SPACE_END, &whose);
        }
    }
    physical_memory(xml, system);
    unused_regions(xml, system);
}

fn domain_names(xml: &mut Xml<'_>, system: &System) {
    let place = "<protection_domain name>";
    let mut machines: Vec<&str> = Vec::new();
    for (at, domain) in system.domains.iter().enumerate() {
        let name = domain.name.as_str();
        if name == "monitor" {
            let hint =
                "choose another, such as \"resh_monitor\": Microkit's own monitor has this one";
            xml.report_at(domain.position, place, "the name \"monitor\" is taken", hint);
        }
        if name.len() > 63 {
            let hint = "use at most 63 bytes";
            xml.report_at(domain.position, place, format!("the name {name:?} is too long"), hint);
        }
        if !name.is_empty() && system.domains[..at].iter().any(|other| other.name == name) {
            let hint = "give each domain a name of its own";
            xml.report_at(domain.position, place, format!("a second domain {name:?}"), hint);
        }
        if let Some(vm) = &domain.vm {
            if machines.contains(&vm.name.as_str()) {
                let problem = format!("a second virtual machine {:?}, in {name:?}", vm.name);
                let hint = "give each virtual machine a name of its own";
                xml.report_at(domain.position, "<virtual_machine name>", problem, hint);
            }
            machines.push(&vm.name);
        }
    }
}

/// The children of a domain and its virtual CPUs share one set of ids.
fn children(xml: &mut Xml<'_>, system: &System) {
    for (at, parent) in system.domains.iter().enumerate() {
        let mut used: Vec<u8> = parent.vm.iter().flat_map(|vm| vm.vcpus.clone()).collect();
        for child in system.children(at) {
            let Some(id) = child.child_id else { continue };
            if used.contains(&id) {
                let problem = format!("a second child or virtual CPU {id} of {:?}", parent.name);
                let hint = format!("the next free id is {}", next_free(&used));
                xml.report_at(child.position, "<protection_domain id>", problem, hint);
            }
            used.push(id);
        }
    }
}

/// The channels and the interrupts of a domain share one set of ids, and an interrupt has one domain.
fn irqs_and_ids(xml: &mut Xml<'_>, system: &System) {
    let mut irqs: HashMap<u32, &str> = HashMap::new();
    for domain in &system.domains {
        for irq in &domain.irqs {
            if let Some(other) = irqs.insert(irq.irq, &domain.name) {
                let problem = format!("interrupt {} is served by {other:?} already", irq.irq);
                let hint = "give each interrupt to one domain, once";
                xml.report_at(irq.position, "<irq irq>", problem, hint);
            }
        }
        for (place, position, problem, hint) in clashing_ids(domain) {
            xml.report_at(position, place, problem, hint);
        }
    }
}

fn clashing_ids(domain: &Domain) -> Vec<(&'static str, Position, String, String)> {
    let irqs = domain.irqs.iter().map(|irq| ("<irq id>", irq.id, irq.position));
    let ends = domain.channels.iter().map(|end| ("<end id>", end.id, end.position));
    let all: Vec<u8> = irqs.clone().chain(ends.clone()).map(|(_, id, _)| id).collect();
    let mut used = Vec::new();
    let mut clashes = Vec::new();
    for (place, id, position) in irqs.chain(ends) {
        if used.contains(&id) {
            let problem = format!("id {id} of domain {:?} is in use already", domain.name);
            let hint = format!(
                "channels and interrupts share their ids: the next free one is {}",
                next_free(&all)
            );
            clashes.push((place, position, problem, hint));
        }
        used.push(id);
    }
    clashes
}

fn next_free(used: &[u8]) -> u8 {
    (0..=u8::MAX).find(|id| !used.contains(id)).unwrap_or(u8::MAX)
}

/// Maps must lie within the address space, and apart from each other.
fn address_space(xml: &mut Xml<'_>, system: &System, maps: &[Map], end: u64, whose: &str) {
    let place = "<map vaddr>";
    let mut earlier: Vec<(&str, Range<u64>)> = Vec::new();
    for map in maps {
        let region = &system.regions[map.region];
        let name = region.name.as_str();
        let Some(range) = range(map.vaddr, region.bytes).filter(|range| range.end <= end) else {
            let problem = format!(
                "region {name:?} ({:#x} bytes at {:#x}) reaches beyond the address space of {whose}",
                region.bytes, map.vaddr
            );
            let hint = format!("choose an address so that it ends at or below {end:#x}");
            xml.report_at(map.position, place, problem, hint);
            continue;
        };
        if let Some((other, taken)) = earlier.iter().find(|(_, taken)| overlap(taken, &range)) {
            let problem = format!(
                "region {name:?} at {:#x}..{:#x} overlaps {other:?} at {:#x}..{:#x} in {whose}",
                range.start, range.end, taken.start, taken.end
            );
            let hint = format!("the next address free of it is {:#x}", taken.end);
            xml.report_at(map.position, place, problem, hint);
        }
        earlier.push((name, range));
    }
}

fn physical_memory(xml: &mut Xml<'_>, system: &System) {
    let mut earlier: Vec<(&str, Range<u64>)> = Vec::new();
    for region in &system.regions {
        let range = region.phys_addr.and_then(|start| range(start, region.bytes));
        let Some(range) = range else { continue };
        if let Some((other, taken)) = earlier.iter().find(|(_, taken)| overlap(taken, &range)) {
            let problem = format!(
                "physical memory {:#x}..{:#x} of {:?} overlaps {:#x}..{:#x} of {other:?}",
                range.start, range.end, region.name, taken.start, taken.end
            );
            let hint = format!("the next address free of it is {:#x}", taken.end);
            xml.report_at(region.position, "<memory_region phys_addr>", problem, hint);
        }
        earlier.push((&region.name, range));
    }
}

/// Microkit warns of these. Here it is a mistake: a region nobody uses is a misspelled one.
fn unused_regions(xml: &mut Xml<'_>, system: &System) {
    for (at, region) in system.regions.iter().enumerate() {
        let used = system.domains.iter().any(|domain| {
            let machine = domain.vm.iter().flat_map(|vm| &vm.maps);
            domain.maps.iter().chain(machine).any(|map| map.region == at)
                || domain.setvars.iter().any(|set| set.value == SetValue::RegionPhysAddr(at))
        });
        if !region.name.is_empty() && !used {
            let problem = format!("no domain maps region {:?}", region.name);
            xml.report_at(region.position, "<memory_region>", problem, "map it, or remove it");
        }
    }
}

fn range(start: u64, bytes: u64) -> Option<Range<u64>> {
    Some(start..start.checked_add(bytes)?)
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}
