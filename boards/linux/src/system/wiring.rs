//! What each program of RESH looks for: the symbols of its regions, and the ids of its channels.
//!
//! A `#` stands for the number of a gateway.

use resh_channel::config::ENCODED_BYTES_MAX;

use super::authority::Findings;
use super::model::{Domain, System};

/// A region that a domain needs.
struct Need {
    domain: &'static str,
    symbol: &'static str,
    region: &'static str,
    rights: &'static str,
}

const fn need(
    domain: &'static str,
    symbol: &'static str,
    region: &'static str,
    rights: &'static str,
) -> Need {
    Need { domain, symbol, region, rights }
}

const REGIONS: &[Need] = &[
    need("network", "config", "config", "r"),
    need("network", "network_stats", "network_stats", "rw"),
    need("network", "n2v_ring", "n2v_ring", "rw"),
    need("network", "n2v_cursor", "n2v_cursor", "r"),
    need("network", "v2n_ring", "v2n_ring", "r"),
    need("network", "v2n_cursor", "v2n_cursor", "rw"),
    need("network", "window", "window", "r"),
    need("voter", "config", "config", "r"),
    need("voter", "supervision", "supervision", "r"),
    need("voter", "voter_stats", "voter_stats", "rw"),
    need("voter", "n2v_ring", "n2v_ring", "r"),
    need("voter", "n2v_cursor", "n2v_cursor", "rw"),
    need("voter", "v2n_ring", "v2n_ring", "rw"),
    need("voter", "v2n_cursor", "v2n_cursor", "r"),
    need("voter", "window", "window", "rw"),
    need("voter", "broadcast_ring", "broadcast_ring", "rw"),
    need("voter", "broadcast_cursor_#", "broadcast_cursor_#", "r"),
    need("voter", "reply_ring_#", "reply_ring_#", "r"),
    need("voter", "reply_cursor_#", "reply_cursor_#", "rw"),
    need("gateway_#", "config", "config", "r"),
    need("gateway_#", "supervision", "supervision", "r"),
    need("gateway_#", "broadcast_ring", "broadcast_ring", "r"),
    need("gateway_#", "broadcast_cursor", "broadcast_cursor_#", "rw"),
    need("gateway_#", "reply_ring", "reply_ring_#", "rw"),
    need("gateway_#", "reply_cursor", "reply_cursor_#", "r"),
    need("resh_monitor", "config", "config", "r"),
    need("resh_monitor", "voter_stats", "voter_stats", "r"),
    need("resh_monitor", "network_stats", "network_stats", "r"),
    need("supervisor", "config", "config", "r"),
    need("supervisor", "supervision", "supervision", "rw"),
    need("supervisor", "voter_stats", "voter_stats", "r"),
    need("supervisor", "network_stats", "network_stats", "r"),
];

/// Who is at the other end of the voter's channels, by id. After them: the gateways.
const VOTER_CHANNELS: [&str; 2] = ["network", "supervisor"];
/// The id of the channel to the voter in every other domain.
const CHANNEL_TO_VOTER: u8 = 0;

/// Reports what is missing, or not as the programs expect it.
pub(super) fn check(system: &System, findings: &mut Findings<'_>) {
    let gateways = system.gateways().len();
    for need in REGIONS {
        let numbered = [need.domain, need.symbol, need.region].iter().any(|s| s.contains('#'));
        for number in 0..if numbered { gateways } else { 1 } {
            let name = |pattern: &str| pattern.replace('#', &number.to_string());
            if let Some(domain) = system.domain(&name(need.domain)) {
                let (symbol, region) = (name(need.symbol), name(need.region));
                region_of(system, findings, domain, &symbol, &region, need.rights);
            }
        }
    }
    let gateways = (0..gateways).map(|number| format!("gateway_{number}"));
    let peers = VOTER_CHANNELS.iter().map(|name| (*name).to_owned()).chain(gateways);
    for (id, peer) in peers.enumerate() {
        channel_to(system, findings, id, &peer);
    }
    if let Some(config) = system.region("config").filter(|r| r.bytes < ENCODED_BYTES_MAX as u64) {
        let problem = format!("{:#x} bytes do not hold every configuration", config.bytes);
        let hint = format!("give it at least {ENCODED_BYTES_MAX:#x} bytes");
        findings.add(config.position, "<memory_region size>", problem, hint);
    }
}

fn region_of(
    system: &System,
    findings: &mut Findings<'_>,
    domain: &Domain,
    symbol: &str,
    region: &str,
    rights: &str,
) {
    let Some(map) = domain.map(symbol) else {
        let problem = format!("{:?} has no region for its symbol {symbol:?}", domain.name);
        let hint = format!(
            "add <map mr=\"{region}\" vaddr=\"…\" perms=\"{rights}\" setvar_vaddr=\"{symbol}\" />"
        );
        findings.add(domain.position, "<protection_domain>", problem, hint);
        return;
    };
    let found = &system.regions[map.region].name;
    if found != region {
        let problem = format!("{:?} finds {found:?} under its symbol {symbol:?}", domain.name);
        findings.add(map.position, "<map mr>", problem, format!("write mr=\"{region}\""));
    } else if map.rights.spelled() != rights {
        let problem =
            format!("{:?} has the rights {:?} to {region:?}", domain.name, map.rights.spelled());
        findings.add(map.position, "<map perms>", problem, format!("write perms=\"{rights}\""));
    }
}

fn channel_to(system: &System, findings: &mut Findings<'_>, voter_id: usize, peer: &str) {
    let (Some(voter), Some(peer_at)) = (system.domain("voter"), system.domain_index(peer)) else {
        return;
    };
    let hint = format!(
        "give it <end pd=\"voter\" id=\"{voter_id}\" /> and <end pd=\"{peer}\" id=\"{CHANNEL_TO_VOTER}\" />"
    );
    let Some(end) = voter.channels.iter().find(|end| end.peer_domain == peer_at) else {
        let problem = format!("there is no channel between \"voter\" and {peer:?}");
        findings.add(voter.position, "<channel>", problem, hint);
        return;
    };
    if usize::from(end.id) != voter_id || end.peer_id != CHANNEL_TO_VOTER {
        let problem = format!(
            "the channel between \"voter\" and {peer:?} has the ids {} and {}",
            end.id, end.peer_id
        );
        findings.add(end.position, "<end id>", problem, hint);
    } else if !end.may_notify {
        let problem = format!("\"voter\" may not notify {peer:?}");
        findings.add(end.position, "<end notify>", problem, "write notify=\"true\"");
    }
    let back = system.domains[peer_at].channels.iter().find(|end| end.id == CHANNEL_TO_VOTER);
    if let Some(back) = back.filter(|back| !back.may_notify) {
        let problem = format!("{peer:?} may not notify \"voter\"");
        findings.add(back.position, "<end notify>", problem, "write notify=\"true\"");
    }
}
