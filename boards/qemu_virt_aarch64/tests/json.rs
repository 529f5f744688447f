//! The monitor's JSON, which is written without allocating.

use resh_channel::stats::NetworkStats;
use resh_status::report::Seen;
use resh_status::sample::{THEN_S, appliance, fullest, healthy};
use resh_status::serial::JSON_BYTES_MAX;

fn json(seen: &Seen<'_>) -> String {
    let mut bytes = vec![0; JSON_BYTES_MAX];
    let len = serde_json_core::to_slice(&seen.status(), &mut bytes).unwrap();
    String::from_utf8(bytes[..len].to_vec()).unwrap()
}

#[test]
fn it_is_what_the_monitor_on_linux_writes() {
    let (voter, network) = (healthy(3), NetworkStats::default());
    let (clock_s, uptime_s) = (THEN_S, 75);
    let appliance = appliance(3);
    let seen = Seen {
        appliance: &appliance,
        voter: &voter,
        network: &network,
        supervised: Default::default(),
        clock_s,
        uptime_s,
    };
    assert_eq!(json(&seen), serde_json::to_string(&seen.status()).unwrap());
}

#[test]
fn the_largest_status_fits_on_its_line() {
    let (mut appliance, voter, network) = fullest();
    let guest = resh_channel::config::Guest {
        name: appliance.name.clone(),
        software: "x".repeat(96).as_str().try_into().unwrap(),
        command_line: Default::default(),
    };
    appliance.guests.extend([guest.clone(), guest.clone(), guest]);
    let (clock_s, uptime_s) = (u32::MAX, u64::MAX);
    let seen = Seen {
        appliance: &appliance,
        voter: &voter,
        network: &network,
        supervised: Default::default(),
        clock_s,
        uptime_s,
    };
    let json = json(&seen);
    println!("{} bytes", json.len());
    assert_eq!(json, serde_json::to_string(&seen.status()).unwrap());
    assert!(!json.contains('\n'));
}
