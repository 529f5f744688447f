//! What a board adds to the system description, right and wrong.

mod board;

use board::{BOARD, SYSTEM, listing, with, wrong};
use resh::system::overlay::{Source, merge};
use resh::system::{Rights, SetValue, System};

/// How large the board's file makes the window, as it spells it.
fn window_size() -> &'static str {
    let (_, rest) = BOARD.split_once("name=\"window\" size=\"").expect("another size");
    rest.split_once('"').expect("a quoted attribute").0
}

#[test]
fn the_board_gets_its_devices_and_keeps_the_rules_of_authority() {
    let (system, text) = with(BOARD).unwrap_or_else(|d| panic!("\n{}", listing(&d)));
    assert_eq!(System::parse(&text).map(|s| s.domains.len()), Ok(8));
    let window = u64::from_str_radix(window_size().trim_start_matches("0x"), 16);
    assert_eq!(system.region("window").map(|r| r.bytes), window.ok());
    let network = system.domain("network").expect("a domain");
    let registers = network.map("nic_registers").expect("the network interface");
    assert_eq!(registers.rights, Rights { read: true, write: true, execute: false });
    assert!(!registers.cached);
    assert_eq!(system.regions[registers.region].phys_addr, Some(0xa00_0000));
    let dma =
        network.setvars.iter().find(|set| set.symbol == "nic_dma_paddr").expect("its address");
    let SetValue::RegionPhysAddr(region) = dma.value else { panic!("{dma:?}") };
    assert_eq!(system.regions[region].name, "nic_dma");
    assert_eq!(network.irqs.iter().map(|irq| (irq.irq, irq.id)).collect::<Vec<_>>(), [(48, 50)]);
    for gateway in system.gateways() {
        let vm = gateway.vm.as_ref().expect("a guest");
        let seen: Vec<_> = vm
            .maps
            .iter()
            .map(|map| (system.regions[map.region].name.as_str(), map.vaddr))
            .collect();
        let number = &gateway.name["gateway_".len()..];
        let ram = format!("guest_ram_{number}");
        assert_eq!(seen, [(ram.as_str(), 0x4000_0000), ("gicv", 0x801_0000)]);
    }
    // Nothing that Linux starts has changed but the size of the window.
    let base = System::parse(SYSTEM).expect("the description").on_linux();
    let merged = system.on_linux();
    let names = |system: &System| -> Vec<String> {
        system.regions.iter().map(|region| region.name.clone()).collect()
    };
    assert_eq!(
        names(&merged),
        names(&base).into_iter().chain(["nic_dma".to_owned()]).collect::<Vec<_>>()
    );
}

#[test]
fn a_board_that_adds_nothing_leaves_the_description_as_it_is() {
    let (_, text) = with("<board name=\"none\" />").expect("right");
    assert_eq!(text, SYSTEM);
}

#[test]
fn mistakes_in_the_structure_are_reported_in_the_file_of_the_board() {
    let window = &format!("name=\"window\" size=\"{}\"", window_size());
    wrong("<board name=\"qemu_virt_aarch64\">", "<board>", "<board name>", &["missing"]);
    wrong("<board name", "<board colour=\"red\" name", "<board colour>", &["unknown attribute"]);
    wrong(
        "<memory_region name=\"uart\"",
        "<channel /><memory_region name=\"uart\"",
        "<channel>",
        &["unknown element in <board>"],
    );
    wrong(
        "<protection_domain name=\"network\">",
        "<protection_domain name=\"netwrok\">",
        "<protection_domain name>",
        &["no <protection_domain> \"netwrok\"", "did you mean `network`"],
    );
    wrong(
        "<virtual_machine name=\"guest_1\">",
        "<virtual_machine name=\"guest_7\">",
        "<virtual_machine name>",
        &["no <virtual_machine> \"guest_7\"", "guest_0"],
    );
    wrong(
        "<virtual_machine name=\"guest_1\">",
        "<virtual_machine name=\"guest_0\">",
        "<virtual_machine name>",
        &["a second <virtual_machine> \"guest_0\""],
    );
    wrong(
        "<protection_domain name=\"timer\">",
        "<protection_domain name=\"timer\" priority=\"1\">",
        "<protection_domain priority>",
        &["unknown attribute"],
    );
    wrong(
        "<irq irq=\"33\"",
        "<program_image path=\"x.elf\" /><irq irq=\"33\"",
        "<program_image>",
        &["unknown element in <protection_domain>"],
    );
    wrong(
        "name=\"rtc\" size",
        "name=\"uart\" size",
        "<memory_region name>",
        &["a second <memory_region> \"uart\""],
    );
    wrong(
        window,
        &format!("{window} page_size=\"0x200000\""),
        "<memory_region page_size>",
        &["has a region \"window\" already", "nothing else"],
    );
    wrong(window, "name=\"window\"", "<memory_region size>", &["missing"]);
    wrong(
        window,
        &window.replace("window", "guest_kernel_0"),
        "<memory_region size>",
        &["as large as the file in it"],
    );
    wrong("</board>", "</bord>", "", &["not well-formed XML"]);
}

#[test]
fn mistakes_in_what_is_added_are_reported_in_the_file_of_the_board() {
    let window = &format!("name=\"window\" size=\"{}\"", window_size());
    wrong("setvar_vaddr=\"uart\"", "setvar=\"uart\"", "<map setvar>", &["unknown attribute"]);
    wrong("mr=\"rtc\"", "mr=\"rct\"", "<map mr>", &["there is no region \"rct\""]);
    wrong("<irq irq=\"33\"", "<irq irq=\"48\"", "<irq irq>", &["served by \"network\" already"]);
    wrong("0x09010000", "0x09000000", "<memory_region phys_addr>", &["overlaps"]);
    wrong("vaddr=\"0x48000000\"", "vaddr=\"0x50000000\"", "<map vaddr>", &["overlaps"]);
    wrong(window, "name=\"window\" size=\"0x3000001\"", "<memory_region size>", &["0x3001000"]);
}

#[test]
fn mistakes_in_the_system_description_are_reported_there() {
    let text = SYSTEM.replacen("mr=\"v2n_ring\"", "mr=\"v2n_rign\"", 1);
    let line = SYSTEM[..SYSTEM.find("mr=\"v2n_ring\"").expect("a map")].matches('\n').count() + 1;
    let system = Source { file: "microkit-system.xml", text: &text };
    let merged = merge(system, Source { file: "board.xml", text: BOARD }).expect("merged");
    let found = merged.check().expect_err("an edit that is wrong");
    assert_eq!(found.len(), 1, "{}", listing(&found));
    assert!(
        found[0].to_string().starts_with(&format!("microkit-system.xml:{line}:")),
        "{}",
        found[0]
    );
}
