//! The device tree that tells the guest what machine it runs on (Devicetree Specification 0.4, and Linux'
//! Documentation/devicetree/bindings).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use vm_fdt::{Error, FdtWriter};

use super::boot::Layout;
use super::{GIC_CPU_BASE, GIC_DISTRIBUTOR_BASE, NET_BASE, NET_BYTES, NET_INTERRUPT, UART_BASE};
use super::{gic, pl011};

const GIC: u32 = 1;
const CLOCK: u32 = 2;

/// Cells of an interrupt: kind, number within the kind, trigger.
const SPI: u32 = 0;
const PPI: u32 = 1;
const LEVEL_HIGH: u32 = 4;
/// A PPI goes to CPU 0.
const TO_CPU_0: u32 = 1 << 8;

/// Writes the tree. `ram`: base and length in bytes.
///
/// # Errors
/// A command line that is no C string.
pub(super) fn write(
    ram: (u64, u64),
    layout: &Layout,
    command_line: &str,
) -> Result<Vec<u8>, Error> {
    let mut tree = FdtWriter::new()?;
    let root = tree.begin_node("")?;
    tree.property_string("compatible", "linux,dummy-virt")?;
    tree.property_u32("#address-cells", 2)?;
    tree.property_u32("#size-cells", 2)?;
    tree.property_u32("interrupt-parent", GIC)?;

    let chosen = tree.begin_node("chosen")?;
    tree.property_string("bootargs", command_line)?;
    tree.property_string("stdout-path", &unit("/pl011", UART_BASE))?;
    tree.property_u64("linux,initrd-start", layout.initramfs.0)?;
    tree.property_u64("linux,initrd-end", layout.initramfs.1)?;
    tree.end_node(chosen)?;

    let memory = tree.begin_node(&unit("memory", ram.0))?;
    tree.property_string("device_type", "memory")?;
    tree.property_array_u64("reg", &[ram.0, ram.1])?;
    tree.end_node(memory)?;

    let cpus = tree.begin_node("cpus")?;
    tree.property_u32("#address-cells", 1)?;
    tree.property_u32("#size-cells", 0)?;
    let cpu = tree.begin_node("cpu@0")?;
    tree.property_string("device_type", "cpu")?;
    tree.property_string("compatible", "arm,armv8")?;
    tree.property_string("enable-method", "psci")?;
    tree.property_u32("reg", 0)?;
    tree.end_node(cpu)?;
    tree.end_node(cpus)?;

    let psci = tree.begin_node("psci")?;
    strings(&mut tree, "compatible", &["arm,psci-1.0", "arm,psci-0.2"])?;
    // seL4 looks whether an `HVC` is one of its system calls first.
    tree.property_string("method", "smc")?;
    tree.end_node(psci)?;

    let timer = tree.begin_node("timer")?;
    tree.property_string("compatible", "arm,armv8-timer")?;
    tree.property_null("always-on")?;
    // Secure, non-secure, virtual, hypervisor: the guest has the virtual one.
    let ppis = [13, 14, u32::from(gic::TIMER) - 16, 10];
    let interrupts: Vec<u32> =
        ppis.into_iter().flat_map(|ppi| [PPI, ppi, TO_CPU_0 | LEVEL_HIGH]).collect();
    tree.property_array_u32("interrupts", &interrupts)?;
    tree.end_node(timer)?;

    let controller = tree.begin_node(&unit("interrupt-controller", GIC_DISTRIBUTOR_BASE))?;
    tree.property_string("compatible", "arm,cortex-a15-gic")?;
    tree.property_null("interrupt-controller")?;
    tree.property_u32("#interrupt-cells", 3)?;
    tree.property_u32("#address-cells", 0)?;
    tree.property_array_u64("reg", &[GIC_DISTRIBUTOR_BASE, 0x1000, GIC_CPU_BASE, 0x1000])?;
    tree.property_phandle(GIC)?;
    tree.end_node(controller)?;

    let clock = tree.begin_node("apb-pclk")?;
    tree.property_string("compatible", "fixed-clock")?;
    tree.property_u32("#clock-cells", 0)?;
    tree.property_u32("clock-frequency", 24_000_000)?;
    tree.property_phandle(CLOCK)?;
    tree.end_node(clock)?;

    let uart = tree.begin_node(&unit("pl011", UART_BASE))?;
    strings(&mut tree, "compatible", &["arm,pl011", "arm,primecell"])?;
    tree.property_array_u64("reg", &[UART_BASE, 0x1000])?;
    tree.property_array_u32("interrupts", &spi(pl011::INTERRUPT))?;
    tree.property_array_u32("clocks", &[CLOCK, CLOCK])?;
    strings(&mut tree, "clock-names", &["uartclk", "apb_pclk"])?;
    tree.end_node(uart)?;

    let net = tree.begin_node(&unit("virtio_mmio", NET_BASE))?;
    tree.property_string("compatible", "virtio,mmio")?;
    tree.property_array_u64("reg", &[NET_BASE, NET_BYTES])?;
    tree.property_array_u32("interrupts", &spi(NET_INTERRUPT))?;
    tree.property_null("dma-coherent")?;
    tree.end_node(net)?;

    tree.end_node(root)?;
    tree.finish()
}

/// A node's name with its address.
fn unit(name: &str, address: u64) -> String {
    format!("{name}@{address:x}")
}

fn spi(intid: u16) -> [u32; 3] {
    [SPI, u32::from(intid) - 32, LEVEL_HIGH]
}

fn strings(tree: &mut FdtWriter, name: &str, values: &[&str]) -> Result<(), Error> {
    tree.property_string_list(name, values.iter().map(ToString::to_string).collect())
}
