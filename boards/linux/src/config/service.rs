//! `[[service]]` and its replicas.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use resh_channel::config::{
    Name, OnMismatch, Order, Probe, Protocol, REPLICAS_MAX, State, Transport,
};

use super::Board;
use super::address::Resolve;
use super::probe::{self, Target};
use super::protocol::{self, protocol};
use super::reader::{Found, Place, Reader, Table};
use super::sections::{choice, name, socket};

/// A service as the file has it, with where its parts stand.
pub(super) struct ServiceRead {
    pub(super) place: Place,
    pub(super) name: Option<Found<Name>>,
    pub(super) listen: Option<Found<SocketAddr>>,
    pub(super) protocol: Option<Protocol>,
    pub(super) on_mismatch: Option<OnMismatch>,
    pub(super) transport: Transport,
    pub(super) order: Order,
    pub(super) state: State,
    pub(super) probe: Probe,
    pub(super) replicas: Vec<ReplicaRead>,
}

/// A replica as the file has it.
pub(super) struct ReplicaRead {
    pub(super) place: Place,
    pub(super) name: Option<Found<Name>>,
    pub(super) address: Option<Found<SocketAddr>>,
    pub(super) restart: Option<Restart>,
}

/// A command that starts a replica's server anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    /// What is run: a name that is looked for in `PATH`, or a path. A relative one is taken from the folder of the
    /// configuration.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

pub(super) fn service<'a>(
    reader: &mut Reader<'a>,
    board: Board,
    table: &Table<'a>,
    resolve: Resolve<'_>,
) -> ServiceRead {
    reader.only_keys(
        table,
        &[
            "name",
            "listen",
            "protocol",
            "transport",
            "order",
            "state",
            "probe",
            "on_mismatch",
            "http1",
            "replica",
        ],
    );
    for (key, hint) in [
        ("name", "add name = \"web\" or the like"),
        ("listen", "add listen = \"127.0.0.1:8080\", where clients connect to"),
        ("protocol", "add protocol = \"http1\", or \"raw\" to compare byte for byte"),
    ] {
        if !table.has(key) {
            reader.missing(table, key, hint);
        }
    }
    let stop =
        [("stop-service", OnMismatch::StopService), ("stop-session", OnMismatch::StopSession)];
    let mut service = ServiceRead {
        place: reader.place_of(table),
        name: name(reader, table, "name"),
        listen: socket(reader, table, "listen", None),
        protocol: protocol(reader, table),
        on_mismatch: choice(reader, table, "on_mismatch", &stop),
        transport: Transport::Tcp,
        order: Order::Session,
        state: State::None,
        probe: Probe::new(),
        replicas: reader
            .tables(table, "replica")
            .iter()
            .map(|table| replica(reader, board, table, resolve))
            .collect(),
    };
    if !table.has("replica") || service.replicas.is_empty() {
        let hint = format!("add 1 to {REPLICAS_MAX} tables [[service.replica]]");
        reader.missing(table, "replica", &hint);
    }
    form(reader, table, &mut service);
    probe(reader, table, &mut service);
    if board == Board::Linux && service.state != State::None {
        for replica in service.replicas.iter().filter(|replica| replica.restart.is_none()) {
            let place = Place {
                path: format!("{}.restart", replica.place.path),
                position: replica.place.position,
            };
            let hint = "add restart = [\"program\", \"argument\"], which starts its server empty";
            reader.report(&place, "is missing, and the service has a state", hint);
        }
    }
    service
}

/// How requests travel, in which order they are executed, and what is known of the state.
fn form<'a>(reader: &mut Reader<'a>, table: &Table<'a>, service: &mut ServiceRead) {
    let transports = [("tcp", Transport::Tcp), ("udp", Transport::Udp)];
    let orders = [("session", Order::Session), ("total", Order::Total)];
    let states = [("none", State::None), ("replay", State::Replay), ("export", State::Export)];
    let transport = choice(reader, table, "transport", &transports);
    let order = choice(reader, table, "order", &orders);
    let state = choice(reader, table, "state", &states);
    // What is not understood is not compared with the rest.
    let misspelled = [("transport", transport.is_none()), ("order", order.is_none())]
        .into_iter()
        .any(|(key, nothing)| nothing && table.has(key));
    service.transport = transport.unwrap_or_default();
    service.order = order.unwrap_or_default();
    service.state = state.unwrap_or_default();
    let Some(protocol) = service.protocol.as_ref().filter(|_| !misspelled) else { return };
    let called = protocol::name(protocol);
    let mut refuse = |key, problem: String, hint: &str| {
        let place = reader.place_of_key(table, key);
        reader.report(&place, problem, hint);
    };
    let whole_messages = matches!(protocol, Protocol::Raw | Protocol::Dns);
    if service.transport == Transport::Udp && !whole_messages {
        let problem = format!("protocol = \"{called}\" is not carried by UDP");
        refuse("transport", problem, "use transport = \"tcp\", or protocol \"dns\" or \"raw\"");
    }
    if service.order == Order::Total && whole_messages {
        let problem = format!("protocol = \"{called}\" does not tell where requests end");
        refuse(
            "order",
            problem,
            "use order = \"session\", or protocol \"http1\", \"resp\" or \"pgwire\"",
        );
    }
    if *protocol == Protocol::Pgwire && service.order != Order::Total {
        let problem = "the sessions of a database depend on each other".to_owned();
        refuse("protocol", problem, "add order = \"total\"");
    }
    if service.state != State::None && service.order != Order::Total {
        let problem = "a state can only be made anew from requests in one order".to_owned();
        refuse("state", problem, "add order = \"total\", or use state = \"none\"");
    } else if service.state == State::Export && *protocol != Protocol::Resp {
        let problem = format!("protocol = \"{called}\" has no way to write out a state");
        refuse("state", problem, "use state = \"replay\"");
    }
}

fn probe<'a>(reader: &mut Reader<'a>, table: &Table<'a>, service: &mut ServiceRead) {
    let Some(found) = reader.string(table, "probe") else { return };
    let Some((protocol, listen)) = service.protocol.as_ref().zip(service.listen.as_ref()) else {
        return;
    };
    let target = Target { protocol, transport: service.transport, listen: listen.value };
    match probe::compile(found.value, &target) {
        Ok(probe) => service.probe = probe,
        Err(wrong) => reader.report(&found.place, wrong.problem, wrong.hint),
    }
}

fn replica<'a>(
    reader: &mut Reader<'a>,
    board: Board,
    table: &Table<'a>,
    resolve: Resolve<'_>,
) -> ReplicaRead {
    reader.only_keys(table, &["name", "address", "restart"]);
    for (key, hint) in [
        ("name", "add name = \"nginx\" or the like"),
        ("address", "add address = \"127.0.0.1:9001\", where its server listens"),
    ] {
        if !table.has(key) {
            reader.missing(table, key, hint);
        }
    }
    let address = socket(reader, table, "address", Some(resolve)).filter(|found| {
        let somewhere = !found.value.ip().is_unspecified() && !found.value.ip().is_multicast();
        if !somewhere {
            let problem = format!("{} is not the address of one server", found.value.ip());
            let hint = "write where the server listens, such as 127.0.0.1:9001";
            reader.report(&found.place, problem, hint);
        }
        somewhere
    });
    if board == Board::WithGuests && table.has("restart") {
        let place = reader.place_of_key(table, "restart");
        let hint = "remove this key: its guest is started anew";
        reader.report(&place, "has no meaning on this board", hint);
    }
    ReplicaRead {
        place: reader.place_of(table),
        name: name(reader, table, "name"),
        address,
        restart: restart(reader, table).filter(|_| board == Board::Linux),
    }
}

fn restart<'a>(reader: &mut Reader<'a>, table: &Table<'a>) -> Option<Restart> {
    let listed = reader.strings(table, "restart")?;
    let mut words = listed.value.iter();
    let program = words.next().map(|program| program.value).unwrap_or_default();
    if program.is_empty() || listed.value.iter().any(|word| word.value.contains('\0')) {
        let hint = "write the program and its arguments, [\"systemctl\", \"restart\", \"nginx\"]";
        reader.report(&listed.place, "is no command", hint);
        return None;
    }
    let folder = Path::new(reader.file).parent().unwrap_or(Path::new(""));
    let program = if program.contains('/') { folder.join(program) } else { PathBuf::from(program) };
    Some(Restart { program, arguments: words.map(|word| word.value.to_owned()).collect() })
}
