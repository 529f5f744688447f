//! Devices: in the description itself, and on a board.

use crate::board;
use crate::description::{DESCRIPTION, findings};
use crate::{added, changed};

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
fn timer_cannot_set_its_alarm() {
    board::wrong(
        "mr=\"rtc\" vaddr=\"0x11000000\" perms=\"rw\"",
        "mr=\"rtc\" vaddr=\"0x11000000\" perms=\"r\"",
        "<map perms>",
        &["\"timer\" has the rights \"r\" to \"rtc\""],
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

#[test]
fn gateway_calls_the_firmware() {
    changed(
        "gateway_0",
        "priority=\"100\"",
        "priority=\"100\" smc=\"true\"",
        "<protection_domain smc>",
        &["\"gateway_0\" may call the firmware", "remove it"],
    );
}
