//! Who may only look, and what nobody may change.

use crate::description::{DESCRIPTION, findings};
use crate::{added, changed};

#[test]
fn monitor_may_write_statistics() {
    changed(
        "resh_monitor",
        "mr=\"voter_stats\" vaddr=\"0x10200000\" perms=\"r\"",
        "mr=\"voter_stats\" vaddr=\"0x10200000\" perms=\"rw\"",
        "<map perms>",
        &["\"resh_monitor\" has the rights \"rw\" to \"voter_stats\""],
    );
}

#[test]
fn monitor_may_write_a_log() {
    changed(
        "resh_monitor",
        "mr=\"log_voter\" vaddr=\"0x10900000\" perms=\"r\"",
        "mr=\"log_voter\" vaddr=\"0x10900000\" perms=\"rw\"",
        "<map perms>",
        &["\"resh_monitor\" has the rights \"rw\" to \"log_voter\""],
    );
}

#[test]
fn timer_may_write_a_deadline() {
    changed(
        "timer",
        "mr=\"deadline_voter\" vaddr=\"0x10501000\" perms=\"r\"",
        "mr=\"deadline_voter\" vaddr=\"0x10501000\" perms=\"rw\"",
        "<map perms>",
        &["\"timer\" has the rights \"rw\" to \"deadline_voter\""],
    );
}

#[test]
fn deadlines_of_two_domains_exchanged() {
    changed(
        "timer",
        "mr=\"deadline_gateway_0\"",
        "mr=\"deadline_gateway_1\"",
        "<map mr>",
        &["\"timer\" finds \"deadline_gateway_1\" under its symbol \"deadline_4\""],
    );
}

#[test]
fn gateway_sets_the_clock() {
    added(
        "gateway_0",
        "gateway",
        "<map mr=\"clock\" vaddr=\"0x70000000\" perms=\"rw\" setvar_vaddr=\"clock\" />",
        "<map mr>",
        &["\"gateway_0\" sees region \"clock\", which \"timer\" writes"],
    );
}

#[test]
fn gateway_writes_the_deadline_of_the_voter() {
    added(
        "gateway_0",
        "gateway",
        "<map mr=\"deadline_voter\" vaddr=\"0x70000000\" perms=\"rw\" />",
        "<map mr>",
        &["\"gateway_0\" sees region \"deadline_voter\", which \"voter\" writes"],
    );
}

#[test]
fn monitor_sees_the_voters_own_memory() {
    added(
        "resh_monitor",
        "monitor",
        "<map mr=\"heap_voter\" vaddr=\"0x70000000\" perms=\"r\" />",
        "<map mr>",
        &["\"resh_monitor\" sees region \"heap_voter\", which \"voter\" writes", "only \"voter\""],
    );
}

#[test]
fn configuration_may_be_changed() {
    changed(
        "gateway_0",
        "mr=\"config\" vaddr=\"0x10000000\" perms=\"r\"",
        "mr=\"config\" vaddr=\"0x10000000\" perms=\"rw\"",
        "<map perms>",
        &["\"gateway_0\" has the rights \"rw\" to \"config\"", "perms=\"r\""],
    );
}

#[test]
fn a_file_of_ones_own_can_be_changed() {
    let region =
        "<memory_region name=\"table\" size=\"0x1000\" prefill_path=\"table.bin\" /><!-- Between";
    let text = DESCRIPTION.replacen("<!-- Between", region, 1);
    let program = "<program_image path=\"voter.elf\" />";
    let map =
        |perms| format!("{program}<map mr=\"table\" vaddr=\"0x70000000\" perms=\"{perms}\" />");
    assert_eq!(findings(&text.replacen(program, &map("r"), 1)), []);
    let found = findings(&text.replacen(program, &map("rw"), 1));
    assert!(found[0].problem.contains("may change region \"table\", filled from"), "{found:?}");
}

#[test]
fn memory_that_can_be_executed() {
    changed(
        "voter",
        "mr=\"window\" vaddr=\"0x30000000\" perms=\"rw\"",
        "mr=\"window\" vaddr=\"0x30000000\" perms=\"rwx\"",
        "<map perms>",
        &["\"voter\" has the rights \"rwx\" to \"window\""],
    );
    added(
        "timer",
        "timer",
        "<map mr=\"own\" vaddr=\"0x70000000\" perms=\"rx\" />",
        "<map mr>",
        &["no region \"own\""],
    );
    let text = DESCRIPTION
        .replacen("<!-- Between", "<memory_region name=\"own\" size=\"0x1000\" /><!-- Between", 1)
        .replacen(
            "<program_image path=\"timer.elf\" />",
            "<program_image path=\"timer.elf\" /><map mr=\"own\" vaddr=\"0x70000000\" perms=\"rx\" />",
            1,
        );
    let found = findings(&text);
    assert!(
        found[0].to_string().contains("\"timer\" may execute what lies in region \"own\""),
        "{found:?}"
    );
}
