//! The agreed bytes, and what is on the way to them.

use crate::description::{edit, findings};
use crate::{added, changed};

#[test]
fn network_may_write_the_window() {
    changed(
        "network",
        "mr=\"window\" vaddr=\"0x30000000\" perms=\"r\"",
        "mr=\"window\" vaddr=\"0x30000000\" perms=\"rw\"",
        "<map perms>",
        &["\"network\" has the rights \"rw\" to \"window\"", "perms=\"r\""],
    );
}

#[test]
fn network_has_the_window_a_second_time() {
    added(
        "network",
        "network",
        "<map mr=\"window\" vaddr=\"0x70000000\" perms=\"rw\" setvar_vaddr=\"window_2\" />",
        "<map mr>",
        &["\"network\" has region \"window\" a second time", "uses the symbol \"window\""],
    );
}

#[test]
fn gateway_sees_the_window() {
    added(
        "gateway_1",
        "gateway",
        "<map mr=\"window\" vaddr=\"0x30000000\" perms=\"r\" />",
        "<map mr>",
        &[
            "\"gateway_1\" sees region \"window\", which \"voter\" writes",
            "\"network\" and \"voter\"",
        ],
    );
}

#[test]
fn monitor_sees_the_window() {
    added(
        "resh_monitor",
        "monitor",
        "<map mr=\"window\" vaddr=\"0x30000000\" perms=\"r\" />",
        "<map mr>",
        &["\"resh_monitor\" sees region \"window\"", "remove this map"],
    );
}

#[test]
fn ring_its_producer_cannot_write() {
    changed(
        "network",
        "mr=\"n2v_ring\" vaddr=\"0x12000000\" perms=\"rw\"",
        "mr=\"n2v_ring\" vaddr=\"0x12000000\" perms=\"r\"",
        "<map perms>",
        &["\"network\" has the rights \"r\" to \"n2v_ring\"", "write perms=\"rw\""],
    );
}

#[test]
fn ring_its_consumer_can_write() {
    changed(
        "voter",
        "mr=\"n2v_ring\" vaddr=\"0x12000000\" perms=\"r\"",
        "mr=\"n2v_ring\" vaddr=\"0x12000000\" perms=\"rw\"",
        "<map perms>",
        &["\"voter\" has the rights \"rw\" to \"n2v_ring\"", "write perms=\"r\""],
    );
}

#[test]
fn a_third_domain_writes_a_ring() {
    added(
        "supervisor",
        "supervisor",
        "<map mr=\"n2v_ring\" vaddr=\"0x40000000\" perms=\"rw\" />",
        "<map mr>",
        &["\"supervisor\" sees region \"n2v_ring\"", "only \"network\" and \"voter\""],
    );
}

#[test]
fn region_a_program_looks_for_is_missing() {
    let text = edit(
        "name=\"voter\"",
        "<map mr=\"supervision\" vaddr=\"0x10100000\" perms=\"r\" setvar_vaddr=\"supervision\" setvar_size=\"supervision_size\" />",
        "",
    );
    let found = findings(&text);
    assert_eq!(found.len(), 1);
    assert!(
        found[0].to_string().contains(
            "\"voter\" has no region for its symbol \"supervision\"; add <map mr=\"supervision\""
        ),
        "{}",
        found[0]
    );
}
