//! What each program of RESH looks for, and nobody else gets: the symbols of its regions, and the ids of
//! its channels.

use resh_channel::config::ENCODED_BYTES_MAX;

use super::Findings;
use crate::system::model::{Domain, Map, System};

/// Memory that a domain has.
struct Grant {
    domain: String,
    symbol: String,
    region: String,
    rights: &'static str,
    /// Whether it may be missing: it is of a device, and a board adds it.
    of_board: bool,
}

/// A channel: domain and id at either end.
type Channel = ((String, u8), (String, u8));

/// The id of the channel to the voter in every other domain.
const TO_VOTER: u8 = 0;
/// The id of the channel to the timer in each of its clients.
const TO_TIMER: u8 = 61;

/// All that is granted in a system with so many gateways.
fn grants(gateways: usize) -> Vec<Grant> {
    let mut all = Vec::new();
    let mut grant = |domain: &str, symbol: &str, region: &str, rights| {
        let [domain, symbol, region] = [domain, symbol, region].map(str::to_owned);
        all.push(Grant { domain, symbol, region, rights, of_board: false });
    };
    for (domain, region, rights) in [
        ("network", "config", "r"),
        ("network", "network_stats", "rw"),
        ("network", "n2v_ring", "rw"),
        ("network", "n2v_cursor", "r"),
        ("network", "v2n_ring", "r"),
        ("network", "v2n_cursor", "rw"),
        ("network", "window", "r"),
        ("voter", "config", "r"),
        ("voter", "supervision", "r"),
        ("voter", "voter_stats", "rw"),
        ("voter", "clock", "r"),
        ("voter", "n2v_ring", "r"),
        ("voter", "n2v_cursor", "rw"),
        ("voter", "v2n_ring", "rw"),
        ("voter", "v2n_cursor", "r"),
        ("voter", "window", "rw"),
        ("voter", "order", "rw"),
        ("voter", "broadcast_ring", "rw"),
        ("resh_monitor", "config", "r"),
        ("resh_monitor", "voter_stats", "r"),
        ("resh_monitor", "supervision", "r"),
        ("resh_monitor", "network_stats", "r"),
        ("resh_monitor", "clock", "r"),
        ("supervisor", "config", "r"),
        ("supervisor", "supervision", "rw"),
        ("supervisor", "entries", "r"),
        ("supervisor", "voter_stats", "r"),
        ("supervisor", "network_stats", "r"),
        ("timer", "clock", "rw"),
    ] {
        grant(domain, region, region, rights);
    }
    for number in 0..gateways {
        let gateway = format!("gateway_{number}");
        for shared in ["config", "supervision", "broadcast_ring"] {
            grant(&gateway, shared, shared, "r");
        }
        for (symbol, gateways, voters) in [
            ("broadcast_cursor", "rw", "r"),
            ("reply_ring", "rw", "r"),
            ("reply_cursor", "r", "rw"),
        ] {
            let region = format!("{symbol}_{number}");
            grant(&gateway, symbol, &region, gateways);
            grant("voter", &region, &region, voters);
        }
        grant(&gateway, "guest_ram", &format!("guest_ram_{number}"), "rw");
        for image in IMAGES {
            grant(&gateway, image, &format!("{image}_{number}"), "r");
        }
    }
    let clients = timer_clients(gateways);
    for (id, client) in clients.iter().enumerate() {
        let region = format!("deadline_{client}");
        grant(client, "deadline", &region, "rw");
        grant("timer", &format!("deadline_{id}"), &region, "r");
        grant(client, "heap", &format!("heap_{client}"), "rw");
    }
    for domain in clients.iter().map(String::as_str).chain(["timer"]) {
        // The monitor is the one that prints.
        if domain != "resh_monitor" {
            let region = format!("log_{domain}");
            grant(domain, "log", &region, "rw");
            grant("resh_monitor", &region, &region, "r");
        }
    }
    for (domain, symbol, rights) in [
        ("network", "nic_registers", "rw"),
        ("network", "nic_dma", "rw"),
        ("resh_monitor", "uart", "rw"),
        ("timer", "rtc", "rw"),
    ] {
        let [domain, symbol, region] = [domain, symbol, symbol].map(str::to_owned);
        all.push(Grant { domain, symbol, region, rights, of_board: true });
    }
    all
}

/// What a guest starts from. Guests with the same image may share one region of it.
const IMAGES: [&str; 2] = ["guest_kernel", "guest_initramfs"];

/// Whether the region `found` can stand for `wanted`.
fn serves(found: &str, wanted: &str) -> bool {
    let image = |name: &str| IMAGES.into_iter().find(|image| name.starts_with(image));
    found == wanted || image(found).is_some() && image(found) == image(wanted)
}

/// The domains that wait for deadlines, by their number at the timer.
fn timer_clients(gateways: usize) -> Vec<String> {
    let fixed = ["network", "voter", "resh_monitor", "supervisor"].map(str::to_owned);
    fixed.into_iter().chain((0..gateways).map(|number| format!("gateway_{number}"))).collect()
}

fn channels(gateways: usize) -> Vec<Channel> {
    let of_voter = ["network", "supervisor"].map(str::to_owned);
    let gateway = (0..gateways).map(|number| format!("gateway_{number}"));
    let peers = of_voter.into_iter().chain(gateway).zip(0..);
    let voters = peers.map(|(peer, id)| (("voter".to_owned(), id), (peer, TO_VOTER)));
    let clients = timer_clients(gateways).into_iter().zip(0..);
    let timers = clients.map(|(client, id)| (("timer".to_owned(), id), (client, TO_TIMER)));
    voters.chain(timers).collect()
}

/// Reports what is missing, what is not as the programs expect it, and what nobody is to have.
pub(super) fn check(system: &System, findings: &mut Findings<'_>) {
    let gateways = system.gateways().len();
    let grants = grants(gateways);
    for grant in &grants {
        if let Some(domain) = system.domain(&grant.domain) {
            granted(system, findings, domain, grant);
        }
    }
    for domain in &system.domains {
        for map in &domain.maps {
            nothing_else(system, findings, &grants, domain, map);
        }
    }
    let channels = channels(gateways);
    for channel in &channels {
        connected(system, findings, channel);
    }
    for domain in &system.domains {
        no_other_channel(system, findings, &channels, domain);
    }
    if let Some(config) = system.region("config").filter(|r| r.bytes < ENCODED_BYTES_MAX as u64) {
        let problem = format!("{:#x} bytes do not hold every configuration", config.bytes);
        let hint = format!("give it at least {ENCODED_BYTES_MAX:#x} bytes");
        findings.add(config.position, "<memory_region size>", problem, hint);
    }
}

fn granted(system: &System, findings: &mut Findings<'_>, domain: &Domain, grant: &Grant) {
    let Grant { symbol, region, rights, .. } = grant;
    let Some(map) = domain.map(symbol) else {
        if !grant.of_board {
            let problem = format!("{:?} has no region for its symbol {symbol:?}", domain.name);
            let hint = format!(
                "add <map mr=\"{region}\" vaddr=\"…\" perms=\"{rights}\" setvar_vaddr=\"{symbol}\" />"
            );
            findings.add(domain.position, "<protection_domain>", problem, hint);
        }
        return;
    };
    let found = &system.regions[map.region].name;
    if !serves(found, region) {
        let problem = format!("{:?} finds {found:?} under its symbol {symbol:?}", domain.name);
        findings.add(map.position, "<map mr>", problem, format!("write mr=\"{region}\""));
    } else if map.rights.spelled() != *rights {
        let problem =
            format!("{:?} has the rights {:?} to {region:?}", domain.name, map.rights.spelled());
        findings.add(map.position, "<map perms>", problem, format!("write perms=\"{rights}\""));
    }
}

/// A region of the table is mapped where the table says, and any other in one domain only.
fn nothing_else(
    system: &System,
    findings: &mut Findings<'_>,
    grants: &[Grant],
    domain: &Domain,
    map: &Map,
) {
    let region = &system.regions[map.region];
    let mut theirs: Vec<_> =
        grants.iter().filter(|grant| serves(&region.name, &grant.region)).collect();
    if theirs.is_empty() {
        let others = super::users(system, region).filter(|(user, _)| user.name != domain.name);
        for (other, _) in others.take(1) {
            let problem =
                format!("{:?} shares region {:?} with {:?}", domain.name, region.name, other.name);
            let hint = "remove this map: what is shared must be known to the rules of authority";
            findings.add(map.position, "<map mr>", problem, hint);
        }
        return;
    }
    theirs.retain(|grant| grant.domain == domain.name);
    if theirs.iter().any(|grant| map.symbol.as_deref() == Some(&grant.symbol)) {
        return;
    }
    if theirs.is_empty() {
        let writer = super::users(system, region)
            .find(|(user, map)| user.name != domain.name && map.rights.write);
        let whose =
            writer.map_or(String::new(), |(user, _)| format!(", which {:?} writes", user.name));
        let problem = format!("{:?} sees region {:?}{whose}", domain.name, region.name);
        let mut known: Vec<_> = grants
            .iter()
            .filter(|grant| grant.region == region.name)
            .map(|grant| format!("{:?}", grant.domain))
            .collect();
        known.dedup();
        let hint = format!("remove this map: only {} may see it", known.join(" and "));
        findings.add(map.position, "<map mr>", problem, hint);
    } else {
        let problem = format!("{:?} has region {:?} a second time", domain.name, region.name);
        let hint = format!("remove this map: its program uses the symbol {:?}", theirs[0].symbol);
        findings.add(map.position, "<map mr>", problem, hint);
    }
}

fn connected(system: &System, findings: &mut Findings<'_>, channel: &Channel) {
    let ((from, from_id), (to, to_id)) = channel;
    let (Some(domain), Some(to_at)) = (system.domain(from), system.domain_index(to)) else {
        return;
    };
    let hint = format!(
        "give it <end pd=\"{from}\" id=\"{from_id}\" /> and <end pd=\"{to}\" id=\"{to_id}\" />"
    );
    let Some(end) = domain.channels.iter().find(|end| end.peer_domain == to_at) else {
        let problem = format!("there is no channel between {from:?} and {to:?}");
        findings.add(domain.position, "<channel>", problem, hint);
        return;
    };
    if (end.id, end.peer_id) != (*from_id, *to_id) {
        let problem = format!(
            "the channel between {from:?} and {to:?} has the ids {} and {}",
            end.id, end.peer_id
        );
        findings.add(end.position, "<end id>", problem, hint);
    } else if !end.may_notify {
        let problem = format!("{from:?} may not notify {to:?}");
        findings.add(end.position, "<end notify>", problem, "write notify=\"true\"");
    }
    let back = system.domains[to_at].channels.iter().find(|end| end.id == *to_id);
    if let Some(back) = back.filter(|back| !back.may_notify) {
        let problem = format!("{to:?} may not notify {from:?}");
        findings.add(back.position, "<end notify>", problem, "write notify=\"true\"");
    }
}

fn no_other_channel(
    system: &System,
    findings: &mut Findings<'_>,
    channels: &[Channel],
    domain: &Domain,
) {
    let mut peers = Vec::new();
    for end in &domain.channels {
        let peer = &system.domains[end.peer_domain].name;
        if end.may_call {
            let problem = format!("{:?} may call {peer:?}", domain.name);
            let hint = "remove pp: domains of RESH notify, and nobody waits for another";
            findings.add(end.position, "<end pp>", problem, hint);
        }
        let known = channels.iter().any(|((a, _), (b, _))| {
            (a, b) == (&domain.name, peer) || (b, a) == (&domain.name, peer)
        });
        if !known {
            let problem = format!("{:?} has a channel to {peer:?}", domain.name);
            let hint = "remove this channel: the rules of authority do not know it";
            findings.add(end.position, "<end pd>", problem, hint);
        } else if peers.contains(&peer) {
            let problem = format!("{:?} has a second channel to {peer:?}", domain.name);
            findings.add(end.position, "<end pd>", problem, "remove this channel");
        }
        peers.push(peer);
    }
}
