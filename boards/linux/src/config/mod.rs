//! `resh.toml`: read, checked whole, and compiled to the form the domains share.
//!
//! Every mistake is reported at once, with line and column, the path of the key, and what would be right.
//! `docs/configuration.md` describes the keys.

mod across;
mod address;
mod guest;
mod probe;
mod protocol;
mod reader;
mod recovery;
mod sections;
mod seed;
mod service;

use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;

use resh_channel::config::{Appliance, Name, Network, OnMismatch, Replica, Service};
use resh_channel::window;
use toml::de::DeTable;

use crate::diagnostic::{Diagnostic, read_file};
use crate::system::System;
pub use address::Resolve;
use guest::GuestRead;
pub use guest::{GuestFile, GuestFiles};
use reader::{Place, Reader, Table};
pub use seed::{SEED_BYTES, fresh_seed};
pub use service::Restart;
use service::ServiceRead;

/// What a configuration is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Board {
    /// Linux: replicas are servers that the host can reach.
    Linux,
    /// A board that holds the replicas itself, each in a guest, and drives its network device.
    WithGuests,
}

/// A configuration without a mistake in it.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What it says.
    pub appliance: Appliance,
    /// What the guests start from, in the order of [`Appliance::guests`].
    pub guest_files: Vec<GuestFiles>,
    /// What starts the server of each replica of each service anew, on Linux, where it is known.
    pub restarts: Vec<Vec<Option<Restart>>>,
    file: String,
    limits: Place,
    /// Where each replica of each service stands in the file.
    replicas: Vec<Vec<Place>>,
}

/// Reads the file at `path` and checks it, for Linux. Names of hosts are resolved once, here.
///
/// # Errors
/// Every mistake found, in the order of the file.
pub fn load(path: &Path) -> Result<Checked, Vec<Diagnostic>> {
    check(&read_file(path)?, &path.display().to_string(), &resolve)
}

/// Reads the file at `path` and checks it, for a board with guests. Whether the guests' files are there
/// is for [`Checked::demand_guest_files`]. Where the file sets no seed, each call takes another one.
///
/// # Errors
/// Every mistake found, in the order of the file.
pub fn load_with_guests(path: &Path) -> Result<Checked, Vec<Diagnostic>> {
    let file = path.display().to_string();
    // A guest has an address, and nobody else can be asked for it.
    let mut checked = check_for(Board::WithGuests, &read_file(path)?, &file, &|_| None)?;
    if checked.appliance.seed == [0; SEED_BYTES] {
        checked.appliance.seed = fresh_seed().map_err(|error| {
            let problem = format!("no random numbers for a seed: {error}");
            let hint = "add seed = \"…\", 64 hexadecimal digits".to_owned();
            vec![checked.report(&Place::default(), problem, hint)]
        })?;
    }
    Ok(checked)
}

/// The first address that the host's resolver has for `host`.
fn resolve(host: &str) -> Option<IpAddr> {
    (host, 0).to_socket_addrs().ok()?.next().map(|address| address.ip())
}

/// Checks the text of a configuration for Linux. Messages call it `file`; `resolve` finds the address of a
/// host by its name.
///
/// # Errors
/// Every mistake found, in the order of the file.
pub fn check(text: &str, file: &str, resolve: Resolve<'_>) -> Result<Checked, Vec<Diagnostic>> {
    check_for(Board::Linux, text, file, resolve)
}

/// The same for any kind of board. Relative paths in it are taken from the folder of `file`.
///
/// # Errors
/// Every mistake found, in the order of the file.
pub fn check_for(
    board: Board,
    text: &str,
    file: &str,
    resolve: Resolve<'_>,
) -> Result<Checked, Vec<Diagnostic>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader::new(file, text);
    for error in &errors {
        reader.report_syntax(error);
    }
    let checked = appliance(&mut reader, board, &Table::root(document.get_ref()), resolve);
    let mut diagnostics = reader.diagnostics;
    if !errors.is_empty() {
        // What else was found may only be a consequence.
        diagnostics.truncate(errors.len());
    }
    diagnostics.sort_by_key(|diagnostic| diagnostic.position);
    match checked {
        Some(checked) if diagnostics.is_empty() => Ok(checked),
        _ => Err(diagnostics),
    }
}

fn appliance<'a>(
    reader: &mut Reader<'a>,
    board: Board,
    root: &Table<'a>,
    resolve: Resolve<'_>,
) -> Option<Checked> {
    reader.only_keys(
        root,
        &["name", "metrics", "seed", "limits", "recovery", "network", "service", "guest"],
    );
    let name = sections::name(reader, root, "name").map(|found| found.value);
    let metrics = sections::socket(reader, root, "metrics", None);
    let seed = seed::seed(reader, board, root);
    let limits = sections::limits(reader, root);
    let recovery = recovery::recovery(reader, root);
    let network = network(reader, board, root);
    if !root.has("service") {
        reader.missing(root, "service", "add a table [[service]]");
    }
    let services: Vec<_> = reader
        .tables(root, "service")
        .iter()
        .map(|table| service::service(reader, board, table, resolve))
        .collect();
    across::check(reader, metrics.as_ref(), &network, &services);
    let guests = guests(reader, board, root, &services);

    let file = reader.file.to_owned();
    let replicas =
        services.iter().map(|s| s.replicas.iter().map(|r| r.place.clone()).collect()).collect();
    let restarts =
        services.iter().map(|s| s.replicas.iter().map(|r| r.restart.clone()).collect()).collect();
    let compiled: Vec<_> = services.into_iter().map(compiled).collect::<Option<_>>()?;
    let (guests, guest_files): (Vec<_>, Vec<_>) = guests
        .into_iter()
        .map(GuestRead::compiled)
        .collect::<Option<Vec<_>>>()?
        .into_iter()
        .unzip();
    let appliance = Appliance {
        name: name.or_else(|| Name::try_from("resh").ok())?,
        metrics: metrics.map(|found| found.value),
        limits,
        recovery,
        seed: seed.unwrap_or_default(),
        network,
        services: heapless::Vec::from_slice(&compiled).ok()?,
        guests: heapless::Vec::from_slice(&guests).ok()?,
    };
    let limits = reader.place_of_key(root, "limits");
    Some(Checked { appliance, guest_files, restarts, file, limits, replicas })
}

fn network<'a>(reader: &mut Reader<'a>, board: Board, root: &Table<'a>) -> Network {
    let before = reader.diagnostics.len();
    let network = sections::network(reader, board, root);
    let is_right = reader.diagnostics.len() == before;
    if board == Board::WithGuests {
        if is_right && network == Network::Kernel {
            let place = reader.place_of_key(root, "network");
            let hint = "write stack = \"smoltcp\" and an address below [network]";
            reader.report(&place, "this board has no kernel with sockets", hint);
        }
        if root.has("metrics") {
            let place = reader.place_of_key(root, "metrics");
            let hint = "remove this key: the monitor prints on the serial line";
            reader.report(&place, "has no meaning on this board", hint);
        }
    }
    network
}

fn guests<'a>(
    reader: &mut Reader<'a>,
    board: Board,
    root: &Table<'a>,
    services: &[ServiceRead],
) -> Vec<GuestRead> {
    let tables = reader.tables(root, "guest");
    match (board, &tables[..]) {
        (Board::Linux, [first, ..]) => {
            let place = reader.place_of(first);
            let hint =
                "remove it: on Linux replicas are servers, at the addresses of [[service.replica]]";
            reader.report(&place, "there are no guests on Linux", hint);
            return Vec::new();
        }
        (Board::WithGuests, []) if !root.has("guest") => {
            reader.missing(root, "guest", "add a table [[guest]] for each replica");
            return Vec::new();
        }
        _ => {}
    }
    let guests: Vec<_> = tables.iter().map(|table| guest::guest(reader, table)).collect();
    if board == Board::WithGuests {
        guest::check(reader, &guests, services);
    }
    guests
}

fn compiled(read: ServiceRead) -> Option<Service> {
    let default = OnMismatch::default_for(read.replicas.len());
    let replicas = read.replicas.into_iter().map(|replica| {
        Some(Replica { name: replica.name?.value, address: replica.address?.value })
    });
    let replicas: Vec<_> = replicas.collect::<Option<_>>()?;
    Some(Service {
        name: read.name?.value,
        listen: read.listen?.value,
        protocol: read.protocol?,
        transport: read.transport,
        order: read.order,
        state: read.state,
        probe: read.probe,
        on_mismatch: read.on_mismatch.unwrap_or(default),
        replicas: heapless::Vec::from_slice(&replicas).ok()?,
    })
}

impl Checked {
    /// Checks that the files which the guests start from are there.
    ///
    /// # Errors
    /// A diagnostic for each that cannot be opened.
    pub fn demand_guest_files(&self) -> Result<(), Vec<Diagnostic>> {
        let files = self.guest_files.iter().flat_map(|guest| [&guest.kernel, &guest.initramfs]);
        let missing = files.filter_map(|file| {
            let error = match std::fs::metadata(&file.path) {
                Ok(found) if found.is_file() && found.len() > 0 => return None,
                Ok(_) => "not a file, or empty".to_owned(),
                Err(error) => error.to_string(),
            };
            let problem = format!("{}: {error}", file.path.display());
            let hint = "`cargo xtask guest` makes the guests' files; or name one of your own";
            Some(self.report(&file.place, problem, hint.to_owned()))
        });
        let missing: Vec<_> = missing.collect();
        if missing.is_empty() { Ok(()) } else { Err(missing) }
    }

    fn report(&self, place: &Place, problem: String, hint: String) -> Diagnostic {
        Diagnostic {
            file: self.file.clone(),
            position: Some(place.position),
            place: place.path.clone(),
            problem,
            hint,
        }
    }

    /// Checks that the system has a replica domain for every replica, and room for every session.
    ///
    /// # Errors
    /// A diagnostic for each replica too many, and one if there are too many sessions.
    pub fn fits(&self, system: &System) -> Result<(), Vec<Diagnostic>> {
        let gateways = system.gateways().len();
        let extra = self.replicas.iter().flat_map(|service| service.iter().skip(gateways));
        let mut diagnostics: Vec<_> = extra
            .map(|place| {
                let problem = format!("there is no replica domain for it in {}", system.file);
                let hint = format!("use at most {gateways} replicas, or add a gateway there");
                self.report(place, problem, hint)
            })
            .collect();
        let window_bytes = system.region("window").map_or(0, |region| region.bytes);
        let room = window::client_slots(usize::try_from(window_bytes).unwrap_or(usize::MAX));
        let sessions = self.appliance.limits.sessions;
        if usize::from(sessions) > room {
            let problem = format!("{} has room for {room} sessions", system.file);
            let hint =
                format!("set limits.sessions to at most {room}, or enlarge \"window\" there");
            diagnostics.insert(0, self.report(&self.limits, problem, hint));
        }
        if diagnostics.is_empty() { Ok(()) } else { Err(diagnostics) }
    }
}
