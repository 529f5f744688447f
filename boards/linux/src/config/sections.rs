//! The sections of `resh.toml`, each by itself.

use std::net::{IpAddr, SocketAddr};

use resh_channel::config::{
    INTERFACE_BYTES_MAX, Limits, NAME_BYTES_MAX, Name, Network, SESSIONS_MAX, Smoltcp, TIME_MS_MAX,
    name_is_valid,
};

use super::Board;
use super::address::{self, Resolve};
use super::reader::{Found, Reader, Table};
use crate::diagnostic::suggest;

/// The hardware address on the TAP interface, if the file does not say: a locally administered one.
const MAC: [u8; 6] = [0x02, b'R', b'E', b'S', b'H', 0x01];

pub(super) fn name<'a>(
    reader: &mut Reader<'a>,
    table: &Table<'a>,
    key: &str,
) -> Option<Found<Name>> {
    let found = reader.string(table, key)?;
    let valid = Some(found.value).filter(|name| name_is_valid(name));
    if let Some(value) = valid.and_then(|name| Name::try_from(name).ok()) {
        return Some(Found { value, place: found.place });
    }
    let hint =
        format!("use 1 to {NAME_BYTES_MAX} letters, digits, -, _ and ., a letter or a digit first");
    reader.report(&found.place, format!("{:?} cannot be a name", found.value), hint);
    None
}

pub(super) fn socket<'a>(
    reader: &mut Reader<'a>,
    table: &Table<'a>,
    key: &str,
    resolve: Option<Resolve<'_>>,
) -> Option<Found<SocketAddr>> {
    let found = reader.string(table, key)?;
    match address::socket(found.value, resolve) {
        Ok(value) => Some(Found { value, place: found.place }),
        Err(wrong) => {
            reader.report(&found.place, wrong.problem, wrong.hint);
            None
        }
    }
}

/// One of the words in `choices`.
pub(super) fn choice<'a, T: Copy>(
    reader: &mut Reader<'a>,
    table: &Table<'a>,
    key: &str,
    choices: &[(&str, T)],
) -> Option<T> {
    let found = reader.string(table, key)?;
    let chosen = choices.iter().find(|(word, _)| *word == found.value);
    if chosen.is_none() {
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        let problem = format!("there is no {:?}", found.value);
        reader.report(&found.place, problem, suggest(found.value, &words));
    }
    chosen.map(|(_, value)| *value)
}

pub(super) fn limits<'a>(reader: &mut Reader<'a>, root: &Table<'a>) -> Limits {
    let default = Limits::default();
    let Some(table) = reader.table(root, "limits") else { return default };
    reader.only_keys(&table, &["sessions", "reply_ms", "lag_budget_ms", "idle_ms", "connect_ms"]);
    let sessions = reader.integer(&table, "sessions", 1..=SESSIONS_MAX.into(), "sessions");
    let mut time = |key, least| reader.integer(&table, key, least..=TIME_MS_MAX, "milliseconds");
    Limits {
        sessions: sessions.and_then(|n| u16::try_from(n).ok()).unwrap_or(default.sessions),
        reply_ms: time("reply_ms", 1).unwrap_or(default.reply_ms),
        lag_budget_ms: time("lag_budget_ms", 0).unwrap_or(default.lag_budget_ms),
        idle_ms: time("idle_ms", 1).unwrap_or(default.idle_ms),
        connect_ms: time("connect_ms", 1).unwrap_or(default.connect_ms),
    }
}

pub(super) fn network<'a>(reader: &mut Reader<'a>, board: Board, root: &Table<'a>) -> Network {
    let Some(table) = reader.table(root, "network") else { return Network::Kernel };
    let of_smoltcp = ["tap", "address", "gateway", "mac"];
    reader.only_keys(&table, &[&["stack"], &of_smoltcp[..]].concat());
    let stack = choice(reader, &table, "stack", &[("kernel", false), ("smoltcp", true)]);
    if table.has("stack") && stack.is_none() {
        return Network::Kernel;
    }
    if stack != Some(true) {
        for key in of_smoltcp.into_iter().filter(|key| table.has(key)) {
            let place = reader.place_of_key(&table, key);
            let hint = "add stack = \"smoltcp\", or remove this key";
            reader.report(&place, "has no meaning with the stack of the kernel", hint);
        }
        return Network::Kernel;
    }
    smoltcp(reader, board, &table).map_or(Network::Kernel, Network::Smoltcp)
}

fn smoltcp<'a>(reader: &mut Reader<'a>, board: Board, table: &Table<'a>) -> Option<Smoltcp> {
    match board {
        Board::Linux if !table.has("tap") => {
            reader.missing(table, "tap", "add tap = \"resh0\", the name of a TAP interface");
        }
        Board::WithGuests if table.has("tap") => {
            let place = reader.place_of_key(table, "tap");
            let hint = "remove this key: the network domain drives the network device";
            reader.report(&place, "has no meaning on this board", hint);
        }
        _ => {}
    }
    if !table.has("address") {
        let hint = "add address = \"192.0.2.1/24\", the address of the appliance on it";
        reader.missing(table, "address", hint);
    }
    let tap = reader.string(table, "tap").and_then(|found| {
        let fits = !found.value.is_empty()
            && !matches!(found.value, "." | "..")
            && !found.value.contains(|c: char| c == '/' || c == ':' || c.is_whitespace());
        let tap = heapless::String::try_from(found.value).ok().filter(|_| fits);
        if tap.is_none() {
            let problem = format!("{:?} cannot be the name of an interface", found.value);
            let hint = format!("use 1 to {INTERFACE_BYTES_MAX} bytes without /, : and blanks");
            reader.report(&found.place, problem, hint);
        }
        tap
    });
    let interface = reader.string(table, "address").and_then(|found| {
        address::interface(found.value)
            .map_err(|wrong| reader.report(&found.place, wrong.problem, wrong.hint))
            .ok()
    });
    let mac = reader.string(table, "mac").map_or(Some(MAC), |found| {
        address::hardware(found.value)
            .map_err(|wrong| reader.report(&found.place, wrong.problem, wrong.hint))
            .ok()
    });
    let gateway = gateway(reader, table, interface);
    let (address, prefix_bits) = interface?;
    if board == Board::Linux && tap.is_none() {
        return None;
    }
    Some(Smoltcp { tap, address, prefix_bits, gateway, mac: mac? })
}

fn gateway<'a>(
    reader: &mut Reader<'a>,
    table: &Table<'a>,
    interface: Option<(IpAddr, u8)>,
) -> Option<IpAddr> {
    let found = reader.string(table, "gateway")?;
    let Ok(gateway) = found.value.parse::<IpAddr>() else {
        let problem = format!("{:?} is not an IP address", found.value);
        reader.report(&found.place, problem, "write the address of a router, such as 192.0.2.254");
        return None;
    };
    let (address, bits) = interface?;
    let link_local = matches!(gateway, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let near = link_local && address.is_ipv6() || address::same_network(gateway, address, bits);
    if !near || gateway == address {
        let problem = format!("the router {gateway} is not a neighbour of {address}/{bits}");
        reader.report(&found.place, problem, "use another address of that network");
        return None;
    }
    Some(gateway)
}
