//! Virtual machines: where they are, and what they see.

use super::{Findings, devices, is_replica};
use crate::system::model::System;

pub(super) fn check(system: &System, findings: &mut Findings<'_>) {
    for domain in &system.domains {
        let number = domain.name.strip_prefix("gateway_").unwrap_or_default();
        let Some(vm) = &domain.vm else {
            if is_replica(system, domain) {
                let problem = format!("{:?} has no virtual machine", domain.name);
                let hint = format!(
                    "add <virtual_machine name=\"guest_{number}\"> with the memory \"guest_ram_{number}\""
                );
                findings.add(domain.position, "<protection_domain>", problem, hint);
            }
            continue;
        };
        let place = "<virtual_machine>";
        if !is_replica(system, domain) {
            let problem = format!("{:?} has a virtual machine", domain.name);
            let hint = "remove it: only replica domains host one";
            findings.add(vm.position, place, problem, hint);
            continue;
        }
        if vm.name != format!("guest_{number}") {
            let problem = format!("the virtual machine of {:?} is {:?}", domain.name, vm.name);
            findings.add(vm.position, place, problem, format!("name it \"guest_{number}\""));
        }
        let ram = format!("guest_ram_{number}");
        for map in &vm.maps {
            let region = system.regions[map.region].name.as_str();
            let rights = match region {
                devices::GICV => "rw",
                region if region == ram => "rwx",
                _ => {
                    let problem = format!("guest {:?} sees region {region:?}", vm.name);
                    let hint = format!(
                        "remove this map: a guest sees {ram:?} and {:?} only",
                        devices::GICV
                    );
                    findings.add(map.position, "<map mr>", problem, hint);
                    continue;
                }
            };
            if map.rights.spelled() != rights {
                let problem = format!(
                    "guest {:?} has the rights {:?} to {region:?}",
                    vm.name,
                    map.rights.spelled()
                );
                findings.add(
                    map.position,
                    "<map perms>",
                    problem,
                    format!("write perms=\"{rights}\""),
                );
            }
        }
        if !vm.maps.iter().any(|map| system.regions[map.region].name == ram) {
            let problem = format!("guest {:?} has no memory", vm.name);
            let hint = format!("add <map mr=\"{ram}\" vaddr=\"0x40000000\" perms=\"rwx\" />");
            findings.add(vm.position, place, problem, hint);
        }
    }
}
