//! Replicas' domains and their guests.

use crate::description::{DESCRIPTION, edit, findings, wrong};
use crate::{added, changed};

#[test]
fn gateway_sees_what_another_answers() {
    added(
        "gateway_1",
        "gateway",
        "<map mr=\"reply_ring_0\" vaddr=\"0x30000000\" perms=\"r\" />",
        "<map mr>",
        &["\"gateway_1\" sees region \"reply_ring_0\"", "\"gateway_0\" writes"],
    );
}

#[test]
fn gateway_writes_the_cursor_of_another() {
    changed(
        "gateway_1",
        "mr=\"broadcast_cursor_1\"",
        "mr=\"broadcast_cursor_0\"",
        "<map mr>",
        &["gateway_1", "broadcast_cursor_0"],
    );
}

#[test]
fn gateway_writes_the_broadcast() {
    changed(
        "gateway_1",
        "mr=\"broadcast_ring\" vaddr=\"0x14000000\" perms=\"r\"",
        "mr=\"broadcast_ring\" vaddr=\"0x14000000\" perms=\"rw\"",
        "<map perms>",
        &["\"gateway_1\" has the rights \"rw\" to \"broadcast_ring\""],
    );
}

#[test]
fn gateway_writes_its_generation() {
    changed(
        "gateway_2",
        "mr=\"supervision\" vaddr=\"0x10100000\" perms=\"r\"",
        "mr=\"supervision\" vaddr=\"0x10100000\" perms=\"rw\"",
        "<map perms>",
        &["\"gateway_2\" has the rights \"rw\" to \"supervision\""],
    );
}

#[test]
fn gateway_sees_what_the_network_writes() {
    added(
        "gateway_2",
        "gateway",
        "<map mr=\"n2v_ring\" vaddr=\"0x30000000\" perms=\"r\" />",
        "<map mr>",
        &["\"gateway_2\" sees region \"n2v_ring\", which \"network\" writes"],
    );
}

#[test]
fn network_sees_what_a_gateway_writes() {
    added(
        "network",
        "network",
        "<map mr=\"reply_ring_0\" vaddr=\"0x70000000\" perms=\"r\" />",
        "<map mr>",
        &["\"network\" sees region \"reply_ring_0\"", "only \"gateway_0\" and \"voter\""],
    );
}

#[test]
fn gateways_share_a_region_of_their_own() {
    let region = "<memory_region name=\"meeting\" size=\"0x1000\" /><!-- Between";
    let map = |program: &str| {
        format!(
            "<program_image path=\"{program}.elf\" /><map mr=\"meeting\" vaddr=\"0x70000000\" perms=\"r\" />"
        )
    };
    let text = DESCRIPTION.replacen("<!-- Between", region, 1);
    // One domain may have a region that the rules do not know.
    let alone = text.replacen("<program_image path=\"gateway.elf\" />", &map("gateway"), 1);
    assert_eq!(findings(&alone), []);
    let shared = text.replace("<program_image path=\"gateway.elf\" />", &map("gateway"));
    let found = findings(&shared);
    let hit = found.iter().filter(|d| d.place == "<map mr>" && d.problem.contains("shares region"));
    assert_eq!(hit.count(), 3, "{found:?}");
}

#[test]
fn supervisor_sees_the_memory_of_a_guest() {
    added(
        "supervisor",
        "supervisor",
        "<map mr=\"guest_ram_0\" vaddr=\"0x40000000\" perms=\"r\" />",
        "<map mr>",
        &["\"supervisor\" sees region \"guest_ram_0\", which \"gateway_0\" writes"],
    );
}

#[test]
fn gateway_sees_the_memory_of_another_guest() {
    changed(
        "gateway_1",
        "mr=\"guest_ram_1\" vaddr=\"0x40000000\" perms=\"rw\"",
        "mr=\"guest_ram_0\" vaddr=\"0x40000000\" perms=\"rw\"",
        "<map mr>",
        &["\"gateway_1\" finds \"guest_ram_0\" under its symbol \"guest_ram\""],
    );
}

#[test]
fn guest_sees_the_memory_of_another() {
    wrong(
        "<virtual_machine name=\"guest_1\"",
        "mr=\"guest_ram_1\"",
        "mr=\"guest_ram_0\"",
        0,
        "<map mr>",
        &["guest \"guest_1\" sees region \"guest_ram_0\"", "\"guest_ram_1\""],
    );
}

#[test]
fn guest_sees_what_another_answers() {
    wrong(
        "<virtual_machine name=\"guest_1\"",
        "<vcpu id=\"0\" />",
        "<vcpu id=\"0\" /><map mr=\"reply_ring_0\" vaddr=\"0x30000000\" perms=\"r\" />",
        0,
        "<map mr>",
        &["guest \"guest_1\" sees region \"reply_ring_0\""],
    );
}

#[test]
fn guest_sees_its_own_gateways_heap() {
    wrong(
        "<virtual_machine name=\"guest_1\"",
        "<vcpu id=\"0\" />",
        "<vcpu id=\"0\" /><map mr=\"heap_gateway_1\" vaddr=\"0x30000000\" perms=\"rw\" />",
        0,
        "<map mr>",
        &["guest \"guest_1\" sees region \"heap_gateway_1\""],
    );
}

#[test]
fn pristine_image_can_be_changed() {
    changed(
        "gateway_0",
        "mr=\"guest_kernel_0\" vaddr=\"0x60000000\" perms=\"r\"",
        "mr=\"guest_kernel_0\" vaddr=\"0x60000000\" perms=\"rw\"",
        "<map perms>",
        &["\"gateway_0\" has the rights \"rw\" to \"guest_kernel_0\"", "perms=\"r\""],
    );
}

#[test]
fn one_kernel_for_two_guests_is_allowed() {
    let text = edit("name=\"gateway_1\" id", "mr=\"guest_kernel_1\"", "mr=\"guest_kernel_0\"");
    let region = "<memory_region name=\"guest_kernel_1\" page_size=\"0x200000\" prefill_path=\"guest_kernel_1.bin\" />";
    assert_eq!(findings(&text.replacen(region, "", 1)), []);
}

#[test]
fn virtual_machine_with_the_voter() {
    added(
        "voter",
        "voter",
        "<virtual_machine name=\"guest\" priority=\"1\"><vcpu id=\"0\" /></virtual_machine>",
        "<virtual_machine>",
        &["\"voter\" has a virtual machine", "only replica domains"],
    );
}

#[test]
fn virtual_machine_with_the_monitor() {
    added(
        "resh_monitor",
        "monitor",
        "<virtual_machine name=\"guest\" priority=\"1\"><vcpu id=\"0\" /></virtual_machine>",
        "<virtual_machine>",
        &["\"resh_monitor\" has a virtual machine"],
    );
}

#[test]
fn guests_exchanged() {
    wrong(
        "name=\"gateway_1\" id",
        "<virtual_machine name=\"guest_1\"",
        "<virtual_machine name=\"guest_9\"",
        0,
        "<virtual_machine>",
        &["virtual machine of \"gateway_1\" is \"guest_9\"", "name it \"guest_1\""],
    );
}
