//! Who runs when.

use crate::changed;
use crate::description::{DESCRIPTION, findings, wrong};

#[test]
fn gateway_before_the_voter() {
    changed(
        "gateway_1",
        "priority=\"100\"",
        "priority=\"140\"",
        "<protection_domain priority>",
        &["\"gateway_1\" (priority 140) can keep \"voter\" (priority 140)", "below 140"],
    );
}

#[test]
fn gateways_that_can_take_the_whole_time() {
    changed(
        "gateway_2",
        "budget=\"6000\"",
        "budget=\"8000\"",
        "<protection_domain budget>",
        &["\"gateway_2\" has 8000 of 20000 µs", "below 8000 µs"],
    );
    changed(
        "gateway_0",
        " budget=\"6000\" period=\"20000\"",
        "",
        "<protection_domain budget>",
        &["\"gateway_0\" has 1000 of 1000 µs"],
    );
}

#[test]
fn guest_before_the_monitor() {
    wrong(
        "name=\"gateway_1\" id",
        "name=\"guest_1\" priority=\"10\"",
        "name=\"guest_1\" priority=\"60\"",
        0,
        "<virtual_machine priority>",
        &["\"guest_1\" (priority 60) can keep \"resh_monitor\" (priority 50)", "below 50"],
    );
}

#[test]
fn guest_before_its_own_vmm() {
    let text = DESCRIPTION.replacen(
        "name=\"gateway_0\" id=\"0\" priority=\"100\"",
        "name=\"gateway_0\" id=\"0\" priority=\"9\"",
        1,
    );
    let found = findings(&text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].problem.contains("can keep its own VMM, \"gateway_0\" (priority 9)"),
        "{found:?}"
    );
}
