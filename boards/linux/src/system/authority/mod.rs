//! Whether a system description grants what RESH needs, and nothing that breaks its promises.
//!
//! The reader has already checked that the description is well made. These are the rules of this
//! appliance (docs/configuration.md), in words:
//!
//! 1. `network`, `voter`, `resh_monitor`, `supervisor` and `timer` stand alone; the children of `supervisor` are the
//!    replica domains `gateway_0`, `gateway_1`, …, and nobody else has children.
//! 2. What is shared, by whom and with what rights, is exactly the table in [`wiring`]; so are the
//!    channels. Any other region is one domain's own. Nobody calls anybody.
//! 3. Every region has at most one writer (a guest and its VMM count as one), and nobody writes what is
//!    filled from a file: the configuration and the guests' images.
//! 4. A virtual machine is in a replica's domain, `guest_<i>` in `gateway_<i>`, and sees its memory
//!    `guest_ram_<i>` and the interrupt controller's virtual interface, `gicv`; only there may memory be executed.
//! 5. Devices are with the domain that drives them, and so are interrupts; only `network` does DMA. Nobody
//!    calls the firmware.
//! 6. However the replicas' domains and guests spin, everyone else gets to run.
//!
//! So there is no path from a replica's domain or its guest to the network interface, to the memory of
//! the network domain, of the supervisor or of another replica, and to the voter's none but its rings.

mod devices;
mod guests;
mod schedule;
mod wiring;

use super::model::{Domain, DomainIndex, Map, Region, System};
use crate::diagnostic::{Diagnostic, Position};

/// Reports every grant that breaks a rule, and every one that is missing, in the order of the file.
#[must_use]
pub fn check(system: &System) -> Vec<Diagnostic> {
    let mut findings = Findings { file: &system.file, diagnostics: Vec::new() };
    roles(system, &mut findings);
    devices::check(system, &mut findings);
    guests::check(system, &mut findings);
    wiring::check(system, &mut findings);
    schedule::check(system, &mut findings);
    nothing_executable(system, &mut findings);
    one_writer(system, &mut findings);
    findings.diagnostics.sort_by_key(|diagnostic| diagnostic.position);
    findings.diagnostics
}

/// What was found so far.
struct Findings<'a> {
    file: &'a str,
    diagnostics: Vec<Diagnostic>,
}

impl Findings<'_> {
    /// Whether something is wrong at that place already.
    fn blames(&self, position: Position) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.position == Some(position))
    }

    /// Adds a finding, unless there is one about the same attribute already.
    fn add(
        &mut self,
        position: Position,
        place: &str,
        problem: impl Into<String>,
        hint: impl Into<String>,
    ) {
        if self.diagnostics.iter().any(|d| d.position == Some(position) && d.place == place) {
            return;
        }
        self.diagnostics.push(Diagnostic {
            file: self.file.to_owned(),
            position: Some(position),
            place: place.to_owned(),
            problem: problem.into(),
            hint: hint.into(),
        });
    }
}

/// The domains that are trusted. All others are children of `supervisor`.
const TRUSTED: [&str; 5] = ["network", "voter", "resh_monitor", "supervisor", "timer"];

/// Whether the domain is a replica's: a child of the supervisor, or below one. It is untrusted.
fn is_replica(system: &System, domain: &Domain) -> bool {
    domain.parent.is_some_and(|parent| under_supervisor(system, parent))
}

fn under_supervisor(system: &System, at: DomainIndex) -> bool {
    let domain = &system.domains[at];
    domain.parent.map_or(domain.name == "supervisor", |parent| under_supervisor(system, parent))
}

fn roles(system: &System, findings: &mut Findings<'_>) {
    let place = "<protection_domain>";
    for name in TRUSTED.iter().filter(|name| system.domain(name).is_none()) {
        let hint = format!("add <protection_domain name=\"{name}\">");
        let start = Position { line: 1, column: 1 };
        findings.add(start, "<system>", format!("there is no domain {name:?}"), hint);
    }
    for domain in &system.domains {
        let Some(parent) = domain.parent else { continue };
        if system.domains[parent].name != "supervisor" || system.domains[parent].parent.is_some() {
            let parent = &system.domains[parent].name;
            let problem = format!("{:?} is a child of {parent:?}", domain.name);
            let hint = "only the supervisor may have children, and only replica domains may be its children";
            findings.add(domain.position, place, problem, hint);
        }
    }
    let gateways = system.gateways();
    if let (Some(supervisor), []) = (system.domain("supervisor"), &gateways[..]) {
        let hint = "add <protection_domain name=\"gateway_0\" id=\"0\"> to it";
        findings.add(supervisor.position, place, "there is no replica domain", hint);
    }
    for (at, gateway) in gateways.into_iter().enumerate() {
        let name = format!("gateway_{at}");
        if gateway.name != name || gateway.child_id.map(usize::from) != Some(at) {
            let found = gateway.child_id.unwrap_or_default();
            let problem = format!("replica domain {:?} has id {found}", gateway.name);
            let hint =
                format!("name it \"{name}\" and give it id {at}: its name tells it its replica");
            findings.add(gateway.position, place, problem, hint);
        }
    }
}

/// Every map of a domain and of its virtual machine.
fn maps(domain: &Domain) -> impl Iterator<Item = &Map> {
    domain.maps.iter().chain(domain.vm.iter().flat_map(|vm| &vm.maps))
}

/// Every map of the region with the domain that has it.
fn users<'a>(
    system: &'a System,
    region: &'a Region,
) -> impl Iterator<Item = (&'a Domain, &'a Map)> {
    let all = system.domains.iter().flat_map(|domain| maps(domain).map(move |map| (domain, map)));
    all.filter(move |(_, map)| std::ptr::eq(&raw const system.regions[map.region], region))
}

fn one_writer(system: &System, findings: &mut Findings<'_>) {
    // A device is where `devices` and `guests` say.
    for region in system.regions.iter().filter(|region| region.phys_addr.is_none()) {
        let mut writers: Vec<_> = users(system, region).collect();
        writers.retain(|(_, map)| map.rights.write);
        // One of them has been told that it may not: that mends this too.
        if writers.iter().any(|(_, map)| findings.blames(map.position)) {
            continue;
        }
        if let (Some(path), Some((domain, map))) = (&region.prefill_path, writers.first()) {
            let problem = format!(
                "{:?} may change region {:?}, filled from {path:?}",
                domain.name, region.name
            );
            findings.add(map.position, "<map perms>", problem, "write perms=\"r\"");
        }
        let Some((first, _)) = writers.first() else { continue };
        for (second, map) in writers.iter().filter(|(domain, _)| domain.name != first.name) {
            let problem = format!(
                "region {:?} is written by {:?} and by {:?}",
                region.name, first.name, second.name
            );
            let hint = "leave one writer: give the other perms=\"r\"";
            findings.add(map.position, "<map perms>", problem, hint);
        }
    }
}

fn nothing_executable(system: &System, findings: &mut Findings<'_>) {
    for domain in &system.domains {
        for map in domain.maps.iter().filter(|map| map.rights.execute) {
            let region = &system.regions[map.region].name;
            let problem = format!("{:?} may execute what lies in region {region:?}", domain.name);
            findings.add(map.position, "<map perms>", problem, "leave out the x");
        }
    }
}
