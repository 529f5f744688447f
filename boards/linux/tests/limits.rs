//! Holds `docs/limits.md` against the sources, so that what is published is what is built.

use gateway::http1::Profile;
use guest_vmm::upstream;
use pd_voter::limits as voter;
use resh::launcher::control;
use resh::monitor::{http, server};
use resh::system;
use resh_channel::{config, message, stats, window};
use resh_status::{report, serial};

const PUBLISHED: &str = include_str!("../../../docs/limits.md");

/// Every row of the tables: name and value.
fn published() -> Vec<(&'static str, u64)> {
    let row = |line: &'static str| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let name = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
        Some((name, cells.next()?.parse().expect(line)))
    };
    PUBLISHED.lines().filter_map(row).collect()
}

#[test]
fn published_limits_are_those_of_the_sources() {
    let profile = Profile::DEFAULT;
    let built = [
        ("config::SERVICES_MAX", config::SERVICES_MAX as u64),
        ("config::REPLICAS_MAX", config::REPLICAS_MAX as u64),
        ("config::SESSIONS_MAX", config::SESSIONS_MAX.into()),
        ("config::NAME_BYTES_MAX", config::NAME_BYTES_MAX as u64),
        ("config::TIME_MS_MAX", config::TIME_MS_MAX.into()),
        ("config::ENCODED_BYTES_MAX", config::ENCODED_BYTES_MAX as u64),
        ("config::SOFTWARE_BYTES_MAX", config::SOFTWARE_BYTES_MAX as u64),
        ("config::COMMAND_LINE_BYTES_MAX", config::COMMAND_LINE_BYTES_MAX as u64),
        ("window::WINDOW_BYTES", window::WINDOW_BYTES as u64),
        ("window::REPLY_CREDIT_BYTES", window::REPLY_CREDIT_BYTES as u64),
        ("window::REQUEST_CREDIT_BYTES", window::REQUEST_CREDIT_BYTES as u64),
        ("window::CREDIT_STEP_BYTES", window::CREDIT_STEP_BYTES as u64),
        ("window::SLOT_BYTES", window::SLOT_BYTES as u64),
        ("message::MAX_PAYLOAD_BYTES", message::MAX_PAYLOAD_BYTES as u64),
        ("message::DATAGRAM_BYTES_MAX", message::DATAGRAM_BYTES_MAX as u64),
        ("network::LINGER_MS", pd_network::LINGER_MS),
        ("network::CLIENT_DATAGRAMS", pd_network::CLIENT_DATAGRAMS as u64),
        ("network::DATAGRAM_MS", pd_network::DATAGRAM_MS),
        ("voter::DRAIN_MS", voter::DRAIN_MS),
        ("gateway::SLOTS", gateway::SLOTS as u64),
        ("voter::STALL_MIN_MS", voter::STALL_MIN_MS),
        ("voter::STANDSTILL_MS", voter::STANDSTILL_MS),
        ("voter::JOIN_MS", voter::JOIN_MS),
        ("config::HEAD_BYTES_MIN", config::HEAD_BYTES_MIN.into()),
        ("config::HEAD_BYTES_MAX", config::HEAD_BYTES_MAX.into()),
        ("http1::max_forwarded_head_bytes", profile.max_forwarded_head_bytes as u64),
        ("http1::max_fields", profile.max_fields as u64),
        ("http1::max_target_bytes", profile.max_target_bytes as u64),
        ("http1::max_path_bytes", profile.max_path_bytes as u64),
        ("http1::max_segment_bytes", profile.max_segment_bytes as u64),
        ("http1::max_body_bytes", profile.max_body_bytes),
        ("http1::max_reply_head_bytes", profile.max_reply_head_bytes as u64),
        ("http1::aggregate_bytes", profile.aggregate_bytes as u64),
        ("config::PROBE_BYTES_MAX", config::PROBE_BYTES_MAX as u64),
        ("supervisor::ASIDE_MS", supervisor::ASIDE_MS),
        ("supervisor::STALE_MS", supervisor::STALE_MS),
        ("control::CONNECTIONS_MAX", control::CONNECTIONS_MAX as u64),
        ("control::SAY_MS", control::SAY_MS),
        ("control::WISH_BYTES_MAX", control::WISH_BYTES_MAX as u64),
        ("stats::MAX_DISPUTES", stats::MAX_DISPUTES as u64),
        ("stats::DISPUTE_BYTES", stats::DISPUTE_BYTES as u64),
        ("voter::STATS_MS", voter::STATS_MS),
        ("voter::STATS_URGENT_MS", voter::STATS_URGENT_MS),
        ("monitor::RECENT_S", report::RECENT_S.into()),
        ("monitor::LOCAL_CONNECTIONS", server::LOCAL_CONNECTIONS as u64),
        ("monitor::REMOTE_CONNECTIONS", server::REMOTE_CONNECTIONS as u64),
        ("monitor::CONNECTION_MS", server::CONNECTION_MS),
        ("monitor::HEAD_BYTES_MAX", http::HEAD_BYTES_MAX as u64),
        ("monitor::RESPONSE_BYTES_MAX", server::RESPONSE_BYTES_MAX as u64),
        ("serial::LOOK_MS", serial::LOOK_MS),
        ("serial::TURN_BYTES", serial::TURN_BYTES as u64),
        ("serial::LINE_BYTES_MAX", serial::LINE_BYTES_MAX as u64),
        ("serial::DISPUTES_AT_ONCE", serial::DISPUTES_AT_ONCE as u64),
        ("system::DOMAINS_MAX", system::DOMAINS_MAX as u64),
        ("system::ID_MAX", system::ID_MAX.into()),
        ("upstream::RECEIVE_BYTES", upstream::RECEIVE_BYTES as u64),
        ("upstream::SEND_BYTES", upstream::SEND_BYTES as u64),
        ("upstream::SPARE", upstream::SPARE as u64),
        ("upstream::LINGER_MS", upstream::LINGER_MS),
        ("upstream::DATAGRAM_ROOM_BYTES", upstream::DATAGRAM_ROOM_BYTES as u64),
    ];
    assert_eq!(published(), built);
}
