//! Who is whose parent.

use crate::description::{DESCRIPTION, findings};
use crate::{added, changed};

#[test]
fn voter_as_a_child() {
    let text = DESCRIPTION
        .replace("<protection_domain name=\"gateway_2\"", "<protection_domain name=\"voter_2\"");
    let text = text.replace("pd=\"gateway_2\"", "pd=\"voter_2\"");
    let found = findings(&text);
    assert!(found.iter().any(|d| d.hint.contains("name it \"gateway_2\"")), "{found:?}");
}

#[test]
fn gateway_out_of_its_place() {
    changed(
        "supervisor",
        "name=\"gateway_2\" id=\"2\"",
        "name=\"gateway_2\" id=\"7\"",
        "<protection_domain>",
        &["has id 7", "name it \"gateway_2\" and give it id 2"],
    );
}

#[test]
fn gateway_with_a_child() {
    added(
        "gateway_0",
        "gateway",
        "<protection_domain name=\"below\" id=\"1\" priority=\"5\" budget=\"1\" period=\"1000\"><program_image path=\"b.elf\" /></protection_domain>",
        "<protection_domain>",
        &["\"below\" is a child of \"gateway_0\"", "only the supervisor may have children"],
    );
}

#[test]
fn no_voter() {
    let found = findings(
        "<system><protection_domain name=\"network\"><program_image path=\"n\" /></protection_domain></system>",
    );
    assert!(found.iter().any(|d| {
        d.to_string()
            .contains("there is no domain \"voter\"; add <protection_domain name=\"voter\">")
    }));
}
