//! System descriptions that Microkit would not take, each one edit away from the real one. Every mistake must
//! be reported at the line of the edit, with the element or attribute and what would be right.

mod description;

use description::{DESCRIPTION, edit, findings, line_of, wrong};
use resh::system::{Rights, SetValue, System};

#[test]
fn the_real_description_is_right() {
    let found = findings(DESCRIPTION);
    let all: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{}", all.join("\n"));
}

#[test]
fn the_model_says_what_the_file_says() {
    let system = System::parse(DESCRIPTION).unwrap();
    assert_eq!(system.regions.len(), 52);
    assert_eq!(system.domains.len(), 8);
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
            (4, "gateway_2", 0),
            (61, "timer", 1)
        ]
    );
    assert!(voter.channels.iter().all(|end| end.may_notify && !end.may_call));
    let vm = system.domain("gateway_2").unwrap().vm.as_ref().unwrap();
    assert_eq!((vm.name.as_str(), vm.priority, vm.vcpus.as_slice()), ("guest_2", 10, &[0u8][..]));
    assert_eq!(system.regions[vm.maps[0].region].name, "guest_ram_2");
    assert!(vm.maps[0].rights.execute);
    assert_eq!(system.region("guest_kernel_0").unwrap().bytes, 0);
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
        "name=\"voter\"",
        "stack_size=\"0x40000\"",
        "stack_size=\"0x800\"",
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
        &["beyond the address space of domain \"voter\"", "at or below 0xfffffbe000"],
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
        "name=\"guest_1\"",
        "<vcpu id=\"0\" />",
        "",
        -1,
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
