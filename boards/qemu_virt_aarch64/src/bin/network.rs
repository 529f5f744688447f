//! The network domain: smoltcp on the board's network interface, and the sessions of the clients.
#![cfg_attr(target_os = "none", no_std, no_main)]

use pd_network::domain;
use pd_network::smoltcp_stack::SmoltcpStack;
use qemu_virt_aarch64::board::NIC;
use qemu_virt_aarch64::dma;
use qemu_virt_aarch64::network::{self, Error};
use qemu_virt_aarch64::nic::{self, Interrupt, Nic};
use sel4_microkit::sel4::{Mmio, mmio, now_ticks};
use sel4_microkit::{ChannelSet, Handler, take_region, variable};

sel4_microkit::program! {
    regions: [
        config, n2v_ring, n2v_cursor, v2n_ring, v2n_cursor, window, network_stats, nic_registers, nic_dma,
    ],
    variables: [nic_dma_paddr],
    start: start,
}

/// The domain, and the interrupt that wakes it.
struct Interrupted<H> {
    interrupt: Interrupt<Mmio>,
    domain: H,
}

fn start() -> Result<impl Handler, Error> {
    let (appliance, settings) = network::configuration()?;
    if !dma::give(take_region("nic_dma")?, variable("nic_dma_paddr")?) {
        return Err(Error::Dma);
    }
    let registers = mmio("nic_registers")?;
    // SAFETY: the system description maps a slot's registers there, to this domain alone, and `registers`
    // goes to an `Interrupt`.
    let transport = unsafe { nic::transport(&registers) }.map_err(Error::Nic)?;
    let nic = Nic::new(transport).map_err(Error::Nic)?;
    // Initial sequence numbers come from this. There is no better source of chance on this board.
    let seed = now_ticks();
    let stack = SmoltcpStack::new(nic, &settings, &appliance, seed).map_err(Error::Setup)?;
    let domain = domain::start(stack).map_err(Error::Domain)?;
    Ok(Interrupted { interrupt: Interrupt::new(registers), domain })
}

impl<H: Handler> Handler for Interrupted<H> {
    type Error = H::Error;

    fn notified(&mut self, woken: ChannelSet) -> Result<(), H::Error> {
        if woken.contains(NIC) {
            self.interrupt.acknowledge();
            NIC.irq_ack();
        }
        self.domain.notified(woken)
    }
}
