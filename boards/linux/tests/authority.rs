//! System descriptions that Microkit would take and RESH must not, each one edit away from the real one.

mod board;
mod description;

use description::{DESCRIPTION, edit, findings, wrong};

/// Gives the domain one more element.
#[track_caller]
fn added(domain: &str, program: &str, element: &str, place: &str, words: &[&str]) {
    let program = format!("<program_image path=\"{program}.elf\" />");
    let to = format!("{program}{element}");
    wrong(&format!("<protection_domain name=\"{domain}\""), &program, &to, 0, place, words);
}

/// Changes something in the domain.
#[track_caller]
fn changed(domain: &str, from: &str, to: &str, place: &str, words: &[&str]) {
    wrong(&format!("<protection_domain name=\"{domain}\""), from, to, 0, place, words);
}

/// Connects two domains.
#[track_caller]
fn connected(one: &str, other: &str, words: &[&str]) {
    let channel = format!(
        "<channel><end pd=\"{one}\" id=\"40\" /><end pd=\"{other}\" id=\"41\" /></channel><!-- Both"
    );
    wrong("<system>", "<!-- Both", &channel, 0, "<end pd>", words);
}

// --- the agreed bytes, and what is on the way to them ---

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

// --- replicas' domains ---

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

// --- channels ---

#[test]
fn channel_between_gateways() {
    connected(
        "gateway_0",
        "gateway_1",
        &["\"gateway_0\" has a channel to \"gateway_1\"", "remove this"],
    );
}

#[test]
fn channel_from_a_gateway_to_the_network() {
    connected("gateway_0", "network", &["\"gateway_0\" has a channel to \"network\""]);
}

#[test]
fn channel_from_a_gateway_to_its_supervisor() {
    connected("gateway_0", "supervisor", &["\"gateway_0\" has a channel to \"supervisor\""]);
}

#[test]
fn monitor_has_a_channel() {
    connected("resh_monitor", "voter", &["\"resh_monitor\" has a channel to \"voter\"", "remove"]);
}

#[test]
fn second_channel_to_the_voter() {
    let channel = "<channel><end pd=\"gateway_0\" id=\"40\" /><end pd=\"voter\" id=\"41\" /></channel></system>";
    let words = ["\"gateway_0\" has a second channel to \"voter\""];
    wrong("</channel>\n</system>", "</system>", channel, 0, "<end pd>", &words);
}

#[test]
fn gateway_calls_the_voter() {
    wrong(
        "<channel>",
        "<end pd=\"gateway_0\" id=\"0\"",
        "<end pd=\"gateway_0\" id=\"0\" pp=\"true\"",
        0,
        "<end pp>",
        &["\"gateway_0\" may call \"voter\"", "remove pp"],
    );
}

#[test]
fn channels_of_two_gateways_exchanged() {
    wrong(
        "<channel>",
        "<end pd=\"voter\" id=\"2\"",
        "<end pd=\"voter\" id=\"7\"",
        0,
        "<end id>",
        &["\"gateway_0\" has the ids 7 and 0", "id=\"2\""],
    );
}

#[test]
fn channels_to_the_timer_exchanged() {
    wrong(
        "<channel>",
        "<end pd=\"timer\" id=\"1\"",
        "<end pd=\"timer\" id=\"9\"",
        0,
        "<end id>",
        &["between \"timer\" and \"voter\" has the ids 9 and 61", "<end pd=\"timer\" id=\"1\" />"],
    );
}

#[test]
fn channel_that_cannot_notify() {
    wrong(
        "<channel>",
        "<end pd=\"gateway_0\" id=\"0\"",
        "<end pd=\"gateway_0\" id=\"0\" notify=\"false\"",
        0,
        "<end notify>",
        &["\"gateway_0\" may not notify \"voter\"", "notify=\"true\""],
    );
}

// --- who may only look, and what nobody may change ---

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

// --- parents ---

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

// --- who runs when ---

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

// --- devices: in the description itself, and on a board ---

#[test]
fn device_in_the_description_that_nobody_is_known_to_drive() {
    let region =
        "<memory_region name=\"disk\" size=\"0x1000\" phys_addr=\"0xa001000\" /><!-- Between";
    let text = DESCRIPTION.replacen("<!-- Between", region, 1).replacen(
        "<program_image path=\"voter.elf\" />",
        "<program_image path=\"voter.elf\" /><map mr=\"disk\" vaddr=\"0x70000000\" perms=\"rw\" />",
        1,
    );
    let found = findings(&text);
    assert!(
        found[0].to_string().contains("nobody is known to drive the device \"disk\""),
        "{found:?}"
    );
    assert!(found.iter().any(|d| d.problem.contains("\"voter\" can reach the device \"disk\"")));
}

#[test]
fn gateway_has_an_interrupt() {
    added(
        "gateway_0",
        "gateway",
        "<irq irq=\"79\" id=\"9\" />",
        "<irq>",
        &["\"gateway_0\" has an interrupt", "drives no device"],
    );
}

#[test]
fn gateway_is_told_a_physical_address() {
    added(
        "gateway_0",
        "gateway",
        "<setvar symbol=\"where\" region_paddr=\"guest_ram_0\" />",
        "<setvar region_paddr>",
        &[
            "\"gateway_0\" is told the physical address of \"guest_ram_0\"",
            "only \"network\" does DMA",
        ],
    );
}

#[test]
fn network_does_dma_to_the_window() {
    board::wrong(
        "region_paddr=\"nic_dma\"",
        "region_paddr=\"window\"",
        "<setvar region_paddr>",
        &["\"network\" is told the physical address of \"window\"", "only to \"nic_dma\""],
    );
}

#[test]
fn guest_drives_the_network_interface() {
    let gicv = "<map mr=\"gicv\" vaddr=\"0x08010000\" perms=\"rw\" cached=\"false\" />";
    let nic = "<map mr=\"nic_registers\" vaddr=\"0x0a000000\" perms=\"rw\" />";
    board::wrong(gicv, nic, "<map mr>", &["guest \"guest_0\" sees region \"nic_registers\""]);
}

#[test]
fn monitor_drives_the_network_interface() {
    board::wrong(
        "<irq irq=\"33\"",
        "<map mr=\"nic_registers\" vaddr=\"0x12000000\" perms=\"rw\" /><irq irq=\"33\"",
        "<map mr>",
        &["\"resh_monitor\" can reach the device \"nic_registers\"", "\"network\" drives it"],
    );
}

#[test]
fn monitor_sees_the_memory_for_dma() {
    board::wrong(
        "<irq irq=\"33\"",
        "<map mr=\"nic_dma\" vaddr=\"0x14000000\" perms=\"r\" /><irq irq=\"33\"",
        "<map mr>",
        &["\"resh_monitor\" sees region \"nic_dma\", which \"network\" writes"],
    );
}

#[test]
fn timer_sets_the_hardware_clock() {
    board::wrong(
        "mr=\"rtc\" vaddr=\"0x11000000\" perms=\"r\"",
        "mr=\"rtc\" vaddr=\"0x11000000\" perms=\"rw\"",
        "<map perms>",
        &["\"timer\" has the rights \"rw\" to \"rtc\""],
    );
}

#[test]
fn gateway_has_the_interface_of_virtual_interrupts() {
    board::wrong(
        "<virtual_machine name=\"guest_0\">",
        "<protection_domain name=\"gateway_0\"><map mr=\"gicv\" vaddr=\"0x70000000\" /></protection_domain><virtual_machine name=\"guest_0\">",
        "<map mr>",
        &["\"gateway_0\" can reach the device \"gicv\"", "it is for guests"],
    );
}

#[test]
fn guest_executes_a_device() {
    board::wrong(
        "vaddr=\"0x08010000\" perms=\"rw\"",
        "vaddr=\"0x08010000\" perms=\"rwx\"",
        "<map perms>",
        &["guest \"guest_0\" has the rights \"rwx\" to \"gicv\""],
    );
}
