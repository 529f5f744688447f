//! The voter's domain.
#![cfg_attr(target_os = "none", no_std, no_main)]

sel4_microkit::program! {
    regions: [
        config, supervision, voter_stats, window, order,
        n2v_ring, n2v_cursor, v2n_ring, v2n_cursor, broadcast_ring,
        broadcast_cursor_0, broadcast_cursor_1, broadcast_cursor_2,
        reply_ring_0, reply_ring_1, reply_ring_2,
        reply_cursor_0, reply_cursor_1, reply_cursor_2,
    ],
    start: pd_voter::domain::start
}
