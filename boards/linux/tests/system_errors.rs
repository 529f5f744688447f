//! Wrong system descriptions, each one edit away from the real one. Every mistake must be reported at the
//! line of the edit, with the element or attribute and what would be right.

use resh::diagnostic::Diagnostic;
use resh::system::{Rights, SetValue, System, Trigger, authority};

const DESCRIPTION: &str = include_str!("../../../microkit-system.xml");

/// What the reader finds, and if it finds nothing, what the authority check finds.
fn findings(text: &str) -> Vec<Diagnostic> {
    System::parse(text).map_or_else(|diagnostics| diagnostics, |system| authority::check(&system))
}

/// Replaces the first `from` after the first `after`.
fn edit(after: &str, from: &str, to: &str) -> String {
    let start =
        DESCRIPTION.find(after).unwrap_or_else(|| panic!("no {after:?} in the description"));
    let at =
        DESCRIPTION[start..].find(from).unwrap_or_else(|| panic!("no {from:?} after {after:?}"));
    let (before, rest) = DESCRIPTION.split_at(start + at);
    format!("{before}{to}{}", &rest[from.len()..])
}

fn line_of(text: &str, offset: usize) -> u32 {
    u32::try_from(text[..offset].matches('\n').count() + 1).unwrap()
}

/// Makes the edit and demands a finding whose place, problem and hint contain the given words, at the line
/// of the edit (which is where `to` begins, blanks left out) or `lines` further on.
#[track_caller]
fn wrong(after: &str, from: &str, to: &str, lines: i32, place: &str, words: &[&str]) {
    let text = edit(after, from, to);
    let start = DESCRIPTION.find(after).unwrap();
    let offset = start + DESCRIPTION[start..].find(from).unwrap();
    let blanks = to.len() - to.trim_start().len();
    let line = line_of(&text, offset + blanks).checked_add_signed(lines).unwrap();
    let found = findings(&text);
    let hit = found.iter().any(|d| {
        let message = d.to_string();
        d.position.is_some_and(|p| p.line == line)
            && d.place == place
            && !d.hint.is_empty()
            && words.iter().all(|word| message.contains(word))
    });
    let all: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert!(hit, "expected line {line}, {place}, {words:?}; found:\n{}", all.join("\n"));
}

#[test]
fn the_real_description_is_right() {
    let found = findings(DESCRIPTION);
    let all: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{}", all.join("\n"));
}

#[test]
fn the_model_says_what_the_file_says() {
    let system = System::parse(DESCRIPTION).unwrap();
    assert_eq!(system.regions.len(), 19);
    assert_eq!(system.domains.len(), 7);
    assert_eq!(system.region("window").unwrap().bytes, 240 << 20);
    let gateways: Vec<_> = system.gateways().iter().map(|domain| domain.name.as_str()).collect();
    assert_eq!(gateways, ["gateway_0", "gateway_1", "gateway_2"]);
    let gateway = system.domain("gateway_1").unwrap();
    assert_eq!(gateway.child_id, Some(1));
    assert_eq!(gateway.parent, system.domain_index("supervisor"));
    assert_eq!(gateway.program, "gateway.elf");
    let reply = gateway.map("reply_ring").unwrap();
    assert_eq!(system.regions[reply.region].name, "reply_ring_1");
    assert_eq!(reply.rights, Rights { read: true, write: true, execute: false });
    let size = gateway.setvars.iter().find(|set| set.symbol == "reply_ring_size").unwrap();
    assert_eq!(size.value, SetValue::RegionBytes(reply.region));
    let voter = system.domain("voter").unwrap();
    let ids: Vec<_> = voter
        .channels
        .iter()
        .map(|end| (end.id, system.domains[end.peer_domain].name.as_str(), end.peer_id))
        .collect();
    assert_eq!(
        ids,
        [
            (0, "network", 0),
            (1, "supervisor", 0),
            (2, "gateway_0", 0),
            (3, "gateway_1", 0),
            (4, "gateway_2", 0)
        ]
    );
    assert!(voter.channels.iter().all(|end| end.may_notify && !end.may_call));
    assert!(system.domain("resh_monitor").unwrap().channels.is_empty());
}

/// What the boards of later versions will use is read, too.
#[test]
fn interrupts_devices_and_virtual_machines_are_read() {
    let text = edit(
        "<!-- resh.toml",
        "<!-- resh.toml",
        r#"<memory_region name="nic" size="0x1000" phys_addr="0xa003000" />
           <memory_region name="ram_0" size="0x8000000" page_size="0x200000" />
           <!-- resh.toml"#,
    );
    let text = text.replacen(
        r#"<program_image path="network.elf" />"#,
        r#"<program_image path="network.elf" />
           <map mr="nic" vaddr="0x40000000" perms="rw" cached="false" setvar_vaddr="nic" />
           <setvar symbol="nic_paddr" region_paddr="nic" />
           <irq irq="79" id="1" trigger="edge" setvar_id="nic_irq" />"#,
        1,
    );
    let text = text.replacen(
        r#"<program_image path="gateway.elf" />"#,
        r#"<program_image path="gateway.elf" />
           <map mr="ram_0" vaddr="0x40000000" perms="rw" setvar_vaddr="ram" />
           <virtual_machine name="guest_0" priority="60" budget="20_000">
               <vcpu id="0" />
               <map mr="ram_0" vaddr="0x40000000" perms="rwx" />
           </virtual_machine>"#,
        1,
    );
    let system = System::parse(&text).unwrap();
    assert_eq!(authority::check(&system), []);
    let network = system.domain("network").unwrap();
    assert_eq!((network.irqs[0].irq, network.irqs[0].id), (79, 1));
    assert_eq!(network.irqs[0].trigger, Trigger::Edge);
    assert!(!network.map("nic").unwrap().cached);
    assert_eq!(system.region("nic").unwrap().phys_addr, Some(0xa00_3000));
    let vm = system.domain("gateway_0").unwrap().vm.as_ref().unwrap();
    assert_eq!((vm.vcpus.as_slice(), vm.budget_us, vm.priority), (&[0u8][..], 20_000, 60));
    assert!(vm.maps[0].rights.execute);
}

#[test]
fn every_mistake_is_reported_at_once_in_the_order_of_the_file() {
    let text = DESCRIPTION
        .replacen("size=\"0x400000\"", "size=\"0x400001\"", 1)
        .replacen("priority=\"140\"", "priority=\"300\"", 1)
        .replacen("<end pd=\"gateway_2\"", "<end pd=\"gateway_3\"", 1);
    let found = findings(&text);
    let places: Vec<_> = found.iter().map(|d| d.place.as_str()).collect();
    assert_eq!(places, ["<memory_region size>", "<protection_domain priority>", "<end pd>"]);
    assert!(found.is_sorted_by_key(|d| d.position));
    let first = found[0].to_string();
    assert!(first.starts_with("microkit-system.xml:"), "{first}");
    assert!(first.contains("use 0x400000 or 0x401000"), "{first}");
}

// --- what Microkit would not take ---

#[test]
fn xml_that_is_not_well_formed() {
    wrong(
        "</system>",
        "</system>",
        "</sistem>",
        0,
        "",
        &["not well-formed", "close every element"],
    );
}

#[test]
fn another_root_element() {
    let found = findings("<sdf />");
    assert_eq!(
        found[0].to_string(),
        "microkit-system.xml:1:1: <sdf>: is not a system description; begin with <system>"
    );
}

#[test]
fn unknown_element() {
    wrong(
        "<system>",
        "<memory_region",
        "<memory_reigon",
        0,
        "<memory_reigon>",
        &["did you mean `memory_region`"],
    );
}

#[test]
fn unknown_attribute() {
    wrong(
        "name=\"voter\"",
        "perms",
        "permissions",
        0,
        "<map permissions>",
        &["unknown attribute", "perms"],
    );
}

#[test]
fn missing_attribute() {
    wrong(
        "name=\"voter\"",
        "vaddr=\"0x10000000\" ",
        "",
        0,
        "<map vaddr>",
        &["missing", "add vaddr="],
    );
}

#[test]
fn text_between_elements() {
    wrong("<system>", "<!-- Between", "stray <!-- Between", 0, "<system>", &["stray", "comment"]);
}

#[test]
fn size_is_not_whole_pages() {
    wrong(
        "v2n_ring\" size",
        "0x100000",
        "0x100800",
        0,
        "<memory_region size>",
        &["0x100800", "use 0x100000 or 0x101000"],
    );
}

#[test]
fn size_is_not_a_number() {
    wrong(
        "v2n_ring\" size",
        "0x100000",
        "1 MiB",
        0,
        "<memory_region size>",
        &["\"1 MiB\" is not a number", "decimal digits"],
    );
}

#[test]
fn size_zero() {
    wrong(
        "v2n_ring\" size",
        "0x100000",
        "0",
        0,
        "<memory_region size>",
        &["empty", "at least one page"],
    );
}

#[test]
fn page_size_there_is_not() {
    wrong(
        "v2n_ring\" size",
        "size=\"0x100000\"",
        "size=\"0x100000\" page_size=\"0x4000\"",
        0,
        "<memory_region page_size>",
        &["0x4000", "use 0x1000 or 0x200000"],
    );
}

#[test]
fn region_named_twice() {
    wrong(
        "<system>",
        "\"v2n_ring\"",
        "\"n2v_ring\"",
        0,
        "<memory_region name>",
        &["second region \"n2v_ring\""],
    );
}

#[test]
fn region_nobody_maps() {
    wrong(
        "<system>",
        "<!-- Between",
        "<memory_region name=\"spare\" size=\"0x1000\" /><!-- Between",
        0,
        "<memory_region>",
        &["no domain maps region \"spare\"", "remove it"],
    );
}

#[test]
fn physical_addresses_that_overlap() {
    let two = r#"<memory_region name="a" size="0x2000" phys_addr="0x9000000" /><memory_region name="b" size="0x1000" phys_addr="0x9001000" /><!-- Between"#;
    wrong(
        "<system>",
        "<!-- Between",
        two,
        0,
        "<memory_region phys_addr>",
        &["0x9001000..0x9002000", "free of it is 0x9002000"],
    );
}

#[test]
fn domain_named_twice() {
    wrong(
        "name=\"network\"",
        "<protection_domain name=\"voter\"",
        "<protection_domain name=\"network\"",
        0,
        "<protection_domain name>",
        &["second domain \"network\""],
    );
}

#[test]
fn name_of_microkits_monitor() {
    wrong(
        "name=\"voter\"",
        "\"resh_monitor\"",
        "\"monitor\"",
        0,
        "<protection_domain name>",
        &["\"monitor\" is taken", "resh_monitor"],
    );
}

#[test]
fn priority_out_of_range() {
    wrong(
        "<system>",
        "priority=\"140\"",
        "priority=\"255\"",
        0,
        "<protection_domain priority>",
        &["255 is not a priority", "use 0 to 254"],
    );
}

#[test]
fn budget_longer_than_its_period() {
    wrong(
        "<system>",
        "priority=\"140\"",
        "priority=\"140\" budget=\"2000\" period=\"1000\"",
        0,
        "<protection_domain budget>",
        &["2000 µs in a period of 1000 µs"],
    );
}

#[test]
fn stack_size_out_of_range() {
    wrong(
        "<system>",
        "priority=\"140\"",
        "priority=\"140\" stack_size=\"0x800\"",
        0,
        "<protection_domain stack_size>",
        &["0x800", "use 0x1000 to 0x1000000"],
    );
}

#[test]
fn domain_without_a_program() {
    wrong(
        "name=\"network\"",
        "<program_image path=\"voter.elf\" />",
        "",
        -1,
        "<protection_domain>",
        &["\"voter\" has no program", "<program_image path="],
    );
}

#[test]
fn two_programs() {
    wrong(
        "name=\"network\"",
        "<program_image path=\"voter.elf\" />",
        "<program_image path=\"a.elf\" /><program_image path=\"b.elf\" />",
        0,
        "<program_image>",
        &["second program", "leave one"],
    );
}

#[test]
fn child_without_an_id() {
    wrong(
        "name=\"supervisor\"",
        " id=\"1\"",
        "",
        0,
        "<protection_domain id>",
        &["missing", "add id="],
    );
}

#[test]
fn children_with_one_id() {
    wrong(
        "name=\"supervisor\"",
        "id=\"1\"",
        "id=\"0\"",
        0,
        "<protection_domain id>",
        &["second child", "next free id is"],
    );
}

#[test]
fn more_domains_than_microkit_has() {
    let domain = |i| {
        format!("<protection_domain name=\"d{i}\"><program_image path=\"d\" /></protection_domain>")
    };
    let text: String = (0..64).map(domain).collect();
    let found = findings(&format!("<system>{text}</system>"));
    assert!(found[0].to_string().contains("64 protection domains; use at most 63"), "{}", found[0]);
}

#[test]
fn map_of_no_region() {
    wrong(
        "name=\"voter\"",
        "mr=\"v2n_ring\"",
        "mr=\"v2n_rign\"",
        0,
        "<map mr>",
        &["no region \"v2n_rign\"", "did you mean `v2n_ring`"],
    );
}

#[test]
fn address_not_at_a_page() {
    wrong(
        "name=\"voter\"",
        "0x13000000",
        "0x13000010",
        0,
        "<map vaddr>",
        &["use 0x13000000 or 0x13001000"],
    );
}

#[test]
fn addresses_that_overlap() {
    wrong(
        "name=\"voter\"",
        "0x13000000",
        "0x12300000",
        0,
        "<map vaddr>",
        &["overlaps \"n2v_ring\" at 0x12000000..0x12400000", "free of it is 0x12400000"],
    );
}

#[test]
fn address_beyond_the_address_space() {
    wrong(
        "name=\"voter\"",
        "0x13000000",
        "0xffffff0000",
        0,
        "<map vaddr>",
        &["beyond the address space of domain \"voter\"", "at or below 0xffffffc000"],
    );
}

#[test]
fn rights_misspelled() {
    wrong(
        "mr=\"n2v_ring\"",
        "perms=\"rw\"",
        "perms=\"read\"",
        0,
        "<map perms>",
        &["\"read\" is not a set of rights", "\"rw\""],
    );
}

#[test]
fn write_only_memory() {
    wrong(
        "mr=\"n2v_ring\"",
        "perms=\"rw\"",
        "perms=\"w\"",
        0,
        "<map perms>",
        &["write-only", "use \"rw\""],
    );
}

#[test]
fn cached_is_no_number() {
    wrong(
        "mr=\"n2v_ring\"",
        "perms=\"rw\"",
        "perms=\"rw\" cached=\"1\"",
        0,
        "<map cached>",
        &["neither true nor false"],
    );
}

#[test]
fn symbol_set_twice() {
    wrong(
        "name=\"voter\"",
        "setvar_vaddr=\"v2n_ring\"",
        "setvar_vaddr=\"n2v_ring\"",
        0,
        "<map setvar_vaddr>",
        &["\"n2v_ring\" of this domain is set twice"],
    );
}

#[test]
fn channel_with_one_end() {
    wrong(
        "<channel>",
        "<end pd=\"network\" id=\"0\" />",
        "",
        -1,
        "<channel>",
        &["with 1 ends", "exactly two"],
    );
}

#[test]
fn channel_to_itself() {
    wrong(
        "<channel>",
        "<end pd=\"voter\" id=\"0\"",
        "<end pd=\"network\" id=\"9\"",
        0,
        "<end pd>",
        &["both ends are in \"network\""],
    );
}

#[test]
fn channel_id_out_of_range() {
    wrong(
        "<channel>",
        "<end pd=\"voter\" id=\"0\"",
        "<end pd=\"voter\" id=\"62\"",
        0,
        "<end id>",
        &["0 to 61"],
    );
}

#[test]
fn channel_id_in_hexadecimal() {
    wrong(
        "<channel>",
        "<end pd=\"voter\" id=\"0\"",
        "<end pd=\"voter\" id=\"0x0\"",
        0,
        "<end id>",
        &["in decimal"],
    );
}

#[test]
fn channel_id_used_twice() {
    wrong(
        "<channel>",
        "<end pd=\"voter\" id=\"1\"",
        "<end pd=\"voter\" id=\"0\"",
        0,
        "<end id>",
        &["id 0 of domain \"voter\" is in use", "next free one is 1"],
    );
}

#[test]
fn call_to_a_lower_priority() {
    wrong(
        "<channel>",
        "<end pd=\"network\" id=\"0\"",
        "<end pd=\"network\" id=\"0\" pp=\"true\"",
        0,
        "<end pp>",
        &["\"network\" (priority 150) may call \"voter\" (priority 140)", "strictly higher"],
    );
}

#[test]
fn calls_both_ways() {
    let text = edit(
        "<channel>",
        "<end pd=\"network\" id=\"0\"",
        "<end pd=\"network\" id=\"0\" pp=\"true\"",
    );
    let text =
        text.replacen("<end pd=\"voter\" id=\"0\"", "<end pd=\"voter\" id=\"0\" pp=\"true\"", 1);
    let found = findings(&text);
    assert!(found.iter().any(|d| d.place == "<end pp>" && d.problem.contains("both ends")));
}

#[test]
fn interrupt_with_the_id_of_a_channel() {
    // The interrupt comes first in the file: it is the channel that is one too many.
    let irq = "<program_image path=\"voter.elf\" /><irq irq=\"79\" id=\"2\" />";
    let found = findings(&edit("<system>", "<program_image path=\"voter.elf\" />", irq));
    let end = DESCRIPTION.find("<end pd=\"voter\" id=\"2\"").unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].position.unwrap().line, line_of(DESCRIPTION, end));
    let message = found[0].to_string();
    assert!(message.contains("id 2 of domain \"voter\" is in use already"), "{message}");
    assert!(message.contains("channels and interrupts share their ids"), "{message}");
}

#[test]
fn interrupt_served_twice() {
    wrong(
        "name=\"voter\"",
        "<program_image path=\"voter.elf\" />",
        "<program_image path=\"voter.elf\" /><irq irq=\"79\" id=\"8\" /><irq irq=\"79\" id=\"9\" />",
        0,
        "<irq irq>",
        &["interrupt 79 is served by \"voter\" already"],
    );
}

#[test]
fn virtual_machine_without_a_processor() {
    wrong(
        "name=\"supervisor\"",
        "<program_image path=\"gateway.elf\" />",
        "<program_image path=\"gateway.elf\" /><virtual_machine name=\"guest\" />",
        0,
        "<virtual_machine>",
        &["no virtual CPU", "<vcpu id=\"0\" />"],
    );
}

#[test]
fn capabilities_past_the_description() {
    wrong(
        "name=\"supervisor\"",
        "<program_image path=\"gateway.elf\" />",
        "<program_image path=\"gateway.elf\" /><cspace><cap_tcb slot=\"1\" pd=\"voter\" /></cspace>",
        0,
        "<cspace>",
        &["unknown element", "leave it out"],
    );
}

// --- what Microkit would take, and RESH must not ---

#[test]
fn network_may_write_the_window() {
    wrong(
        "mr=\"window\"",
        "perms=\"r\"",
        "perms=\"rw\"",
        0,
        "<map perms>",
        &["network may write what the voter has agreed on", "perms=\"r\""],
    );
}

#[test]
fn gateway_sees_the_window() {
    let map = "<program_image path=\"gateway.elf\" /><map mr=\"window\" vaddr=\"0x30000000\" perms=\"r\" />";
    wrong(
        "gateway_1\" id",
        "<program_image path=\"gateway.elf\" />",
        map,
        0,
        "<map mr>",
        &["\"gateway_1\" sees the agreed bytes", "remove this map"],
    );
}

#[test]
fn gateway_sees_what_another_answers() {
    let map = "<program_image path=\"gateway.elf\" /><map mr=\"reply_ring_0\" vaddr=\"0x30000000\" perms=\"r\" />";
    wrong(
        "gateway_1\" id",
        "<program_image path=\"gateway.elf\" />",
        map,
        0,
        "<map mr>",
        &["\"gateway_1\" sees region \"reply_ring_0\"", "\"gateway_0\" writes"],
    );
}

#[test]
fn gateway_writes_the_cursor_of_another() {
    wrong(
        "gateway_1\" id",
        "mr=\"broadcast_cursor_1\"",
        "mr=\"broadcast_cursor_0\"",
        0,
        "<map mr>",
        &["gateway_1", "broadcast_cursor_0"],
    );
}

#[test]
fn gateway_writes_the_broadcast() {
    let text = edit(
        "gateway_1\" id",
        "mr=\"broadcast_ring\" vaddr=\"0x14000000\" perms=\"r\"",
        "mr=\"broadcast_ring\" vaddr=\"0x14000000\" perms=\"rw\"",
    );
    let found = findings(&text);
    assert!(
        found.iter().any(|d| d.problem.contains("which the replica domain \"gateway_1\" writes"))
    );
}

#[test]
fn gateway_sees_what_the_network_writes() {
    let map = "<program_image path=\"gateway.elf\" /><map mr=\"n2v_ring\" vaddr=\"0x30000000\" perms=\"r\" />";
    wrong(
        "gateway_2\" id",
        "<program_image path=\"gateway.elf\" />",
        map,
        0,
        "<map mr>",
        &["\"gateway_2\" sees region \"n2v_ring\", which \"network\" writes"],
    );
}

#[test]
fn guest_sees_what_another_answers() {
    let vm = "<program_image path=\"gateway.elf\" /><virtual_machine name=\"g\"><vcpu id=\"0\" /><map mr=\"reply_ring_0\" vaddr=\"0x30000000\" perms=\"r\" /></virtual_machine>";
    wrong(
        "gateway_1\" id",
        "<program_image path=\"gateway.elf\" />",
        vm,
        0,
        "<map mr>",
        &["\"gateway_1\" sees region \"reply_ring_0\""],
    );
}

#[test]
fn network_sees_what_a_gateway_writes() {
    let map = "<program_image path=\"network.elf\" /><map mr=\"reply_ring_0\" vaddr=\"0x40000000\" perms=\"r\" />";
    wrong(
        "<system>",
        "<program_image path=\"network.elf\" />",
        map,
        0,
        "<map mr>",
        &["\"network\" sees region \"reply_ring_0\"", "only the voter"],
    );
}

#[test]
fn channel_between_gateways() {
    let channel = "<channel><end pd=\"gateway_0\" id=\"5\" /><end pd=\"gateway_1\" id=\"5\" /></channel><!-- Both";
    wrong(
        "<system>",
        "<!-- Both",
        channel,
        0,
        "<end pd>",
        &["\"gateway_0\" has a channel to \"gateway_1\"", "remove this channel"],
    );
}

#[test]
fn channel_from_a_gateway_to_the_network() {
    let channel = "<channel><end pd=\"gateway_0\" id=\"5\" /><end pd=\"network\" id=\"5\" /></channel><!-- Both";
    wrong(
        "<system>",
        "<!-- Both",
        channel,
        0,
        "<end pd>",
        &["\"gateway_0\" has a channel to \"network\""],
    );
}

#[test]
fn monitor_may_write() {
    wrong(
        "name=\"resh_monitor\"",
        "mr=\"voter_stats\" vaddr=\"0x10200000\" perms=\"r\"",
        "mr=\"voter_stats\" vaddr=\"0x10200000\" perms=\"rw\"",
        0,
        "<map perms>",
        &["monitor may write region \"voter_stats\""],
    );
}

#[test]
fn monitor_has_a_channel() {
    let channel = "<channel><end pd=\"resh_monitor\" id=\"0\" /><end pd=\"voter\" id=\"9\" /></channel><!-- Both";
    wrong(
        "<system>",
        "<!-- Both",
        channel,
        0,
        "<end pd>",
        &["the monitor has a channel to \"voter\"", "remove"],
    );
}

#[test]
fn configuration_may_be_changed() {
    wrong(
        "gateway_0\" id",
        "perms=\"r\"",
        "perms=\"rw\"",
        0,
        "<map perms>",
        &["\"gateway_0\" may change the configuration", "perms=\"r\""],
    );
}

#[test]
fn two_writers_of_one_region() {
    let map = "<program_image path=\"supervisor.elf\" /><map mr=\"n2v_ring\" vaddr=\"0x40000000\" perms=\"rw\" />";
    wrong(
        "<system>",
        "<program_image path=\"supervisor.elf\" />",
        map,
        0,
        "<map perms>",
        &["\"n2v_ring\" is written by \"network\" and by \"supervisor\"", "leave one writer"],
    );
}

#[test]
fn memory_that_can_be_executed() {
    wrong(
        "name=\"voter\"",
        "mr=\"window\" vaddr=\"0x30000000\" perms=\"rw\"",
        "mr=\"window\" vaddr=\"0x30000000\" perms=\"rwx\"",
        0,
        "<map perms>",
        &["\"voter\" may execute", "leave out the x"],
    );
}

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
    wrong(
        "name=\"supervisor\"",
        "name=\"gateway_2\" id=\"2\"",
        "name=\"gateway_2\" id=\"7\"",
        0,
        "<protection_domain>",
        &["has id 7", "name it \"gateway_2\" and give it id 2"],
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

#[test]
fn ring_its_producer_cannot_write() {
    wrong(
        "<system>",
        "mr=\"n2v_ring\" vaddr=\"0x12000000\" perms=\"rw\"",
        "mr=\"n2v_ring\" vaddr=\"0x12000000\" perms=\"r\"",
        0,
        "<map perms>",
        &["\"network\" has the rights \"r\" to \"n2v_ring\"", "write perms=\"rw\""],
    );
}

#[test]
fn ring_its_consumer_can_write() {
    wrong(
        "name=\"voter\"",
        "mr=\"n2v_ring\" vaddr=\"0x12000000\" perms=\"r\"",
        "mr=\"n2v_ring\" vaddr=\"0x12000000\" perms=\"rw\"",
        0,
        "<map perms>",
        &["\"voter\" has the rights \"rw\" to \"n2v_ring\"", "write perms=\"r\""],
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
