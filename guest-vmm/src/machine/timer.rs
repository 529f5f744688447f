//! The virtual timer (ARM ARM, D11.2.4): hardware, but for what it owes a guest that does not run.

use super::vcpu::{SystemRegister, Vcpu};

/// When the timer's line is high, in ticks of the physical counter: from then on. `None`: it stays low
/// until the guest says otherwise.
pub fn due(vcpu: &mut impl Vcpu) -> Option<u64> {
    const ENABLE: u64 = 1 << 0;
    const IMASK: u64 = 1 << 1;
    let control = vcpu.read(SystemRegister::CntvCtlEl0);
    if control & (ENABLE | IMASK) != ENABLE {
        return None;
    }
    // The virtual counter is the physical one less the offset.
    let offset = vcpu.read(SystemRegister::CntvoffEl2);
    Some(vcpu.read(SystemRegister::CntvCvalEl0).saturating_add(offset))
}
