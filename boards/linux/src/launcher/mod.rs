//! `resh run`: checks everything, starts every domain of the system description, and is their
//! supervisor until it is told to stop.

pub mod control;
mod listeners;
mod memory;
mod process;
mod ready;
mod restart;
mod signals;
pub mod spawn;
mod supervise;
mod wishes;

use std::path::PathBuf;
use std::process::ExitCode;

use resh_channel::config::Appliance;
use sel4_microkit::linux;

use crate::config;
use crate::diagnostic::Diagnostic;
use crate::runtime_dir;
use crate::system::{System, authority};
pub use control::Wish;

/// The system description that is built in.
pub const SYSTEM_XML: &str = include_str!("../../../../microkit-system.xml");

/// How to run an appliance.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Another system description than the built-in one.
    pub system: Option<PathBuf>,
    /// Where the control socket goes; see [`runtime_dir::resolve`].
    pub runtime_dir: Option<PathBuf>,
    /// Other programs for some domains: domain, program.
    pub replace: Vec<(String, String)>,
    /// Printed once the appliance answers.
    pub greeting: Option<String>,
}

/// Everything that must hold before a domain is started.
pub struct Checked {
    /// The configuration.
    pub config: config::Checked,
    /// What there is on Linux of the system description.
    pub system: System,
}

/// Reads and checks the configuration and the system description.
pub fn check(config_path: &std::path::Path, options: &Options) -> Result<Checked, Vec<Diagnostic>> {
    let config = config::load(config_path);
    let system = match &options.system {
        Some(path) => System::load(path),
        None => System::parse(SYSTEM_XML).and_then(|system| {
            let faults = authority::check(&system);
            if faults.is_empty() { Ok(system) } else { Err(faults) }
        }),
    };
    match (config, system) {
        (Ok(config), Ok(system)) => {
            config.fits(&system)?;
            Ok(Checked { config, system: system.on_linux() })
        }
        (config, system) => {
            let faults = [config.err(), system.err()];
            Err(faults.into_iter().flatten().flatten().collect())
        }
    }
}

/// Runs the appliance of `checked` until it is told to stop or cannot go on.
pub fn run(checked: &Checked, options: &Options) -> Result<ExitCode, String> {
    let appliance = &checked.config.appliance;
    let system = &checked.system;
    raise_file_limit();
    let runtime_dir =
        runtime_dir::resolve(options.runtime_dir.as_deref()).map_err(|error| error.to_string())?;
    let parts = spawn::Parts::new(system).map_err(|error| format!("cannot start: {error}"))?;
    let mut encoded = [0; resh_channel::config::ENCODED_BYTES_MAX];
    let seed = config::fresh_seed().map_err(|error| format!("no random numbers: {error}"))?;
    let fresh = Appliance { seed, ..appliance.clone() };
    let len = fresh.encode(&mut encoded).map_err(|error| error.to_string())?;
    let config_memory = parts.memory("config").ok_or("the system description has no `config`")?;
    config_memory.prefill(&encoded[..len]).map_err(|error| error.to_string())?;
    let listeners = listeners::Listeners::open(appliance, &runtime_dir)?;
    let control = control::Control::open(&runtime_dir, &appliance.name);
    let control = control.map_err(|error| error.to_string())?;

    let own = system
        .domains
        .iter()
        .position(|domain| domain.name == supervise::SUPERVISOR)
        .ok_or("the system description has no domain `supervisor`")?;
    let mut grants = parts.grants(own);
    own_descriptors(&mut grants).map_err(|error| error.to_string())?;
    linux::start(grants).map_err(|error| error.to_string())?;
    let supervisor = supervise::Supervisor::start(checked, &parts, &listeners, control, options)?;
    supervisor.run()
}

/// The supervisor's own end of the parts: its mappings close their descriptors, so they get copies.
fn own_descriptors(grants: &mut linux::Grants) -> std::io::Result<()> {
    for region in &mut grants.regions {
        // SAFETY: no pointer is passed, and the descriptor is one of ours.
        region.fd = unsafe { libc::fcntl(region.fd, libc::F_DUPFD_CLOEXEC, 0) };
        if region.fd < 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Every session is a descriptor in several domains: take as many as this user may have.
fn raise_file_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for the calls. If they fail, the domains say what they lack.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}
