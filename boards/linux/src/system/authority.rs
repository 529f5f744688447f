//! Whether a system description grants what RESH needs, and nothing that breaks its promises.
//!
//! The reader has already checked that the description is well made. These are the rules of this
//! appliance (docs/architecture.md), in words:
//!
//! 1. `network`, `voter`, `resh_monitor` and `supervisor` stand alone; the children of `supervisor` are the
//!    replica domains `gateway_0`, `gateway_1`, …, and nobody else has children.
//! 2. Every region has at most one writer, and nobody writes `config`.
//! 3. What a replica domain writes only the voter and the supervisor see, and nothing that another
//!    replica domain, the network or the monitor writes is seen by it.
//! 4. A replica domain has channels to the voter and the supervisor only.
//! 5. `window` is the voter's to write and the network's to read, and nobody else's.
//! 6. The monitor writes nothing, and has no channel, interrupt or virtual machine.
//! 7. No domain executes what lies in a region.
//! 8. Every domain has the regions and channels its program looks for, under their names.

use super::model::{Domain, DomainIndex, Map, Region, System};
use super::wiring;
use crate::diagnostic::{Diagnostic, Position};

/// Reports every grant that breaks a rule, and every one that is missing, in the order of the file.
#[must_use]
pub fn check(system: &System) -> Vec<Diagnostic> {
    let mut findings = Findings { file: &system.file, diagnostics: Vec::new() };
    roles(system, &mut findings);
    replicas_apart(system, &mut findings);
    window_and_config(system, &mut findings);
    monitor_only_looks(system, &mut findings);
    nothing_executable(system, &mut findings);
    wiring::check(system, &mut findings);
    one_writer(system, &mut findings);
    findings.diagnostics.sort_by_key(|diagnostic| diagnostic.position);
    findings.diagnostics
}

/// What was found so far.
pub(super) struct Findings<'a> {
    file: &'a str,
    diagnostics: Vec<Diagnostic>,
}

impl Findings<'_> {
    /// Whether something is wrong at that place already.
    fn blames(&self, position: Position) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.position == Some(position))
    }

    /// Adds a finding, unless there is one about the same attribute already.
    pub(super) fn add(
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

/// What a domain is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Network,
    Voter,
    Monitor,
    Supervisor,
    /// Untrusted: a child of the supervisor, or below one.
    Replica,
    /// Trusted, and not known to these rules.
    Other,
}

fn role(system: &System, domain: &Domain) -> Role {
    match (domain.parent, domain.name.as_str()) {
        (Some(parent), _) if under_supervisor(system, parent) => Role::Replica,
        (_, "network") => Role::Network,
        (_, "voter") => Role::Voter,
        (_, "resh_monitor") => Role::Monitor,
        (_, "supervisor") => Role::Supervisor,
        _ => Role::Other,
    }
}

fn under_supervisor(system: &System, at: DomainIndex) -> bool {
    let domain = &system.domains[at];
    domain.parent.map_or(domain.name == "supervisor", |parent| under_supervisor(system, parent))
}

fn roles(system: &System, findings: &mut Findings<'_>) {
    let place = "<protection_domain>";
    for name in ["network", "voter", "resh_monitor", "supervisor"] {
        if system.domain(name).is_none() {
            let hint = format!("add <protection_domain name=\"{name}\">");
            findings.add(
                Position { line: 1, column: 1 },
                "<system>",
                format!("there is no domain {name:?}"),
                hint,
            );
        }
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
    for region in &system.regions {
        let mut writers: Vec<_> = users(system, region).collect();
        writers.retain(|(_, map)| map.rights.write);
        // One of them has been told that it may not: that mends this too.
        if writers.iter().any(|(_, map)| findings.blames(map.position)) {
            continue;
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

fn replicas_apart(system: &System, findings: &mut Findings<'_>) {
    for region in &system.regions {
        for (replica, own) in users(system, region) {
            if role(system, replica) != Role::Replica {
                continue;
            }
            for (other, theirs) in users(system, region) {
                let role = role(system, other);
                let may_see = matches!(role, Role::Voter | Role::Supervisor);
                if other.name == replica.name || may_see {
                    continue;
                }
                let name = &region.name;
                if own.rights.write {
                    let problem = format!(
                        "{:?} sees region {name:?}, which the replica domain {:?} writes",
                        other.name, replica.name
                    );
                    let hint = "remove this map: only the voter and the supervisor may see it";
                    findings.add(theirs.position, "<map mr>", problem, hint);
                } else if theirs.rights.write && role != Role::Replica {
                    let problem = format!(
                        "the replica domain {:?} sees region {name:?}, which {:?} writes",
                        replica.name, other.name
                    );
                    let hint =
                        "remove this map: it may see what the voter and the supervisor write";
                    findings.add(own.position, "<map mr>", problem, hint);
                }
            }
        }
    }
    for domain in system.domains.iter().filter(|d| role(system, d) == Role::Replica) {
        for end in &domain.channels {
            let peer = &system.domains[end.peer_domain];
            if !matches!(role(system, peer), Role::Voter | Role::Supervisor) {
                let problem =
                    format!("replica domain {:?} has a channel to {:?}", domain.name, peer.name);
                let hint = "remove this channel: it may reach the voter and the supervisor only";
                findings.add(end.position, "<end pd>", problem, hint);
            }
        }
    }
}

fn window_and_config(system: &System, findings: &mut Findings<'_>) {
    for (domain, map) in system.regions.iter().flat_map(|region| users(system, region)) {
        let name = &domain.name;
        match (system.regions[map.region].name.as_str(), role(system, domain)) {
            ("window", Role::Voter) => {}
            ("window", Role::Network) if !map.rights.write => {}
            ("window", Role::Network) => {
                let problem = "the network may write what the voter has agreed on";
                findings.add(map.position, "<map perms>", problem, "write perms=\"r\"");
            }
            ("window", _) => {
                let problem = format!("{name:?} sees the agreed bytes of every session");
                let hint = "remove this map: \"window\" is for the voter and the network only";
                findings.add(map.position, "<map mr>", problem, hint);
            }
            ("config", _) if map.rights.write => {
                let problem = format!("{name:?} may change the configuration");
                findings.add(map.position, "<map perms>", problem, "write perms=\"r\"");
            }
            _ => {}
        }
    }
}

fn monitor_only_looks(system: &System, findings: &mut Findings<'_>) {
    for monitor in system.domains.iter().filter(|d| role(system, d) == Role::Monitor) {
        for map in maps(monitor).filter(|map| map.rights.write) {
            let problem =
                format!("the monitor may write region {:?}", system.regions[map.region].name);
            findings.add(map.position, "<map perms>", problem, "write perms=\"r\"");
        }
        for end in &monitor.channels {
            let problem =
                format!("the monitor has a channel to {:?}", system.domains[end.peer_domain].name);
            let hint = "remove this channel: the monitor looks when it is asked";
            findings.add(end.position, "<end pd>", problem, hint);
        }
        for irq in &monitor.irqs {
            let hint = "remove it: the monitor drives no device";
            findings.add(irq.position, "<irq>", "the monitor has an interrupt", hint);
        }
        if monitor.vm.is_some() {
            let hint = "remove it: only replica domains host one";
            let place = "<virtual_machine>";
            findings.add(monitor.position, place, "the monitor has a virtual machine", hint);
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
