//! Whether everyone gets to run, whatever the replicas' domains and guests do.
//!
//! The kernel runs the highest priority that is ready, and each for its budget in its period. So what is
//! not trusted stands below the wormhole; where it stands above a trusted domain (`resh_monitor`, which
//! may be late), its budgets leave that domain time.

use super::{Findings, TRUSTED, is_replica};
use crate::system::model::System;

/// The domains whose delay a client would feel.
const WORMHOLE: [&str; 4] = ["network", "voter", "supervisor", "timer"];

pub(super) fn check(system: &System, findings: &mut Findings<'_>) {
    let lowest = |names: &[&str]| {
        let domains = names.iter().filter_map(|name| system.domain(name));
        domains.min_by_key(|domain| domain.priority)
    };
    let (Some(wormhole), Some(trusted)) = (lowest(&WORMHOLE), lowest(&TRUSTED)) else { return };
    // Parts of a million of the core's time that replicas' domains take if they spin.
    let mut share_ppm = 0;
    for domain in system.domains.iter().filter(|domain| is_replica(system, domain)) {
        if domain.priority >= wormhole.priority {
            let problem = format!(
                "replica domain {:?} (priority {}) can keep {:?} (priority {}) from running",
                domain.name, domain.priority, wormhole.name, wormhole.priority
            );
            let hint = format!("give it a priority below {}", wormhole.priority);
            findings.add(domain.position, "<protection_domain priority>", problem, hint);
        }
        let before_ppm = share_ppm;
        share_ppm += u128::from(domain.budget_us) * 1_000_000 / u128::from(domain.period_us.max(1));
        if share_ppm >= 1_000_000 {
            let problem = format!(
                "replica domain {:?} has {} of {} µs, and with those before it the whole time",
                domain.name, domain.budget_us, domain.period_us
            );
            let left = 1_000_000_u128.saturating_sub(before_ppm);
            let left_us = left * u128::from(domain.period_us) / 1_000_000;
            let hint = format!(
                "lower its budget below {left_us} µs: \"resh_monitor\" and the guests run in what is left"
            );
            findings.add(domain.position, "<protection_domain budget>", problem, hint);
        }
        let Some(vm) = &domain.vm else { continue };
        if vm.priority >= trusted.priority {
            let problem = format!(
                "guest {:?} (priority {}) can keep {:?} (priority {}) from running",
                vm.name, vm.priority, trusted.name, trusted.priority
            );
            let hint = format!("give it a priority below {}", trusted.priority);
            findings.add(vm.position, "<virtual_machine priority>", problem, hint);
        }
        if vm.priority >= domain.priority {
            let problem = format!(
                "guest {:?} (priority {}) can keep its own VMM, {:?} (priority {}), from running",
                vm.name, vm.priority, domain.name, domain.priority
            );
            let hint = format!("give it a priority below {}", domain.priority);
            findings.add(vm.position, "<virtual_machine priority>", problem, hint);
        }
    }
}
