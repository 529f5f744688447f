//! The domain of one replica.
#![cfg_attr(target_os = "none", no_std, no_main)]

sel4_microkit::program! {
    regions: [
        config, supervision, broadcast_ring, broadcast_cursor, reply_ring, reply_cursor,
        guest_ram, guest_kernel, guest_initramfs,
    ],
    start: resh_sel4::gateway::start
}
