//! `resh.toml`: read, checked whole, and compiled to the form the domains share.
//!
//! Every mistake is reported at once, with line and column, the path of the key, and what would be right.
//! `docs/configuration.md` describes the keys.

mod across;
mod address;
mod reader;
mod sections;

use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;

use resh_channel::config::{Appliance, Name, OnMismatch, Replica, Service};
use resh_channel::window;
use toml::de::DeTable;

use crate::diagnostic::{Diagnostic, read_file};
use crate::system::System;
pub use address::Resolve;
use reader::{Place, Reader, Table};
use sections::ServiceRead;

/// A configuration without a mistake in it.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What it says.
    pub appliance: Appliance,
    file: String,
    limits: Place,
    /// Where each replica of each service stands in the file.
    replicas: Vec<Vec<Place>>,
}

/// Reads the file at `path` and checks it. Names of hosts are resolved once, here.
///
/// # Errors
/// Every mistake found, in the order of the file.
pub fn load(path: &Path) -> Result<Checked, Vec<Diagnostic>> {
    check(&read_file(path)?, &path.display().to_string(), &resolve)
}

/// The first address that the host's resolver has for `host`.
fn resolve(host: &str) -> Option<IpAddr> {
    (host, 0).to_socket_addrs().ok()?.next().map(|address| address.ip())
}

/// Checks the text of a configuration. Messages call it `file`; `resolve` finds the address of a host by
/// its name.
///
/// # Errors
/// Every mistake found, in the order of the file.
pub fn check(text: &str, file: &str, resolve: Resolve<'_>) -> Result<Checked, Vec<Diagnostic>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader::new(file, text);
    for error in &errors {
        reader.report_syntax(error);
    }
    let checked = appliance(&mut reader, &Table::root(document.get_ref()), resolve);
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
    root: &Table<'a>,
    resolve: Resolve<'_>,
) -> Option<Checked> {
    reader.only_keys(root, &["name", "metrics", "limits", "network", "service"]);
    let name = sections::name(reader, root, "name").map(|found| found.value);
    let metrics = sections::socket(reader, root, "metrics", None);
    let limits = sections::limits(reader, root);
    let network = sections::network(reader, root);
    if !root.has("service") {
        reader.missing(root, "service", "add a table [[service]]");
    }
    let services: Vec<_> = reader
        .tables(root, "service")
        .iter()
        .map(|table| sections::service(reader, table, resolve))
        .collect();
    across::check(reader, metrics.as_ref(), &network, &services);

    let file = reader.file.to_owned();
    let replicas =
        services.iter().map(|s| s.replicas.iter().map(|r| r.place.clone()).collect()).collect();
    let compiled: Vec<_> = services.into_iter().map(service).collect::<Option<_>>()?;
    let appliance = Appliance {
        name: name.or_else(|| Name::try_from("resh").ok())?,
        metrics: metrics.map(|found| found.value),
        limits,
        network,
        services: heapless::Vec::from_slice(&compiled).ok()?,
    };
    let limits = reader.place_of_key(root, "limits");
    Some(Checked { appliance, file, limits, replicas })
}

fn service(read: ServiceRead) -> Option<Service> {
    let default = OnMismatch::default_for(read.replicas.len());
    let replicas = read.replicas.into_iter().map(|replica| {
        Some(Replica { name: replica.name?.value, address: replica.address?.value })
    });
    let replicas: Vec<_> = replicas.collect::<Option<_>>()?;
    Some(Service {
        name: read.name?.value,
        listen: read.listen?.value,
        protocol: read.protocol?,
        on_mismatch: read.on_mismatch.unwrap_or(default),
        replicas: heapless::Vec::from_slice(&replicas).ok()?,
    })
}

impl Checked {
    /// Checks that the system has a replica domain for every replica, and room for every session.
    ///
    /// # Errors
    /// A diagnostic for each replica too many, and one if there are too many sessions.
    pub fn fits(&self, system: &System) -> Result<(), Vec<Diagnostic>> {
        let report = |place: &Place, problem, hint| Diagnostic {
            file: self.file.clone(),
            position: Some(place.position),
            place: place.path.clone(),
            problem,
            hint,
        };
        let gateways = system.gateways().len();
        let extra = self.replicas.iter().flat_map(|service| service.iter().skip(gateways));
        let mut diagnostics: Vec<_> = extra
            .map(|place| {
                let problem = format!("there is no replica domain for it in {}", system.file);
                let hint = format!("use at most {gateways} replicas, or add a gateway there");
                report(place, problem, hint)
            })
            .collect();
        let window_bytes = system.region("window").map_or(0, |region| region.bytes);
        let room = window::slots(usize::try_from(window_bytes).unwrap_or(usize::MAX));
        let sessions = self.appliance.limits.sessions;
        if usize::from(sessions) > room {
            let problem = format!("{} has room for {room} sessions", system.file);
            let hint =
                format!("set limits.sessions to at most {room}, or enlarge \"window\" there");
            diagnostics.insert(0, report(&self.limits, problem, hint));
        }
        if diagnostics.is_empty() { Ok(()) } else { Err(diagnostics) }
    }
}
