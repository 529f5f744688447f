//! The supervisor's domain.
#![cfg_attr(target_os = "none", no_std, no_main)]

sel4_microkit::program! {
    regions: [config, supervision, entries, voter_stats, network_stats],
    start: supervisor::domain::start
}
