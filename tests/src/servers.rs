//! Real servers, each near its Debian default configuration, on ports and in directories of their own.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::harness::{CaseResult, Halt};
use crate::net;
use crate::process::{self, Process};
use crate::server_config::{self, Place};
use crate::site::Site;

const START_LIMIT: Duration = Duration::from_secs(15);

/// A server that is ready for connections; dropped, it stops.
pub struct Server {
    /// Its name, as `resh.toml` and `resh status` have it.
    pub name: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    /// The process, to be stopped or signalled.
    pub process: Process,
    _helpers: Vec<Process>,
}

/// Starts nginx, lighttpd and apache2 on the same tree.
///
/// # Errors
/// [`Halt::Skip`] if one is not installed, [`Halt::Fail`] if one does not start.
pub fn web_servers(dir: &Path, site: &Site) -> CaseResult<Vec<Server>> {
    Ok(vec![nginx(dir, site)?, lighttpd(dir, site)?, apache(dir, site)?])
}

/// nginx, with fcgiwrap for `cgi-bin/`.
///
/// # Errors
/// As [`web_servers`].
pub fn nginx(dir: &Path, site: &Site) -> CaseResult<Server> {
    let program = process::need_program("nginx", "nginx-light")?;
    let fcgiwrap = process::need_program("fcgiwrap", "fcgiwrap")?;
    let dir = home(dir, "nginx")?;
    let address = net::free_address()?;
    let socket = dir.join("fcgiwrap.socket");
    let mut wrapper = Process::spawn(
        Command::new(fcgiwrap).args(["-c", "4", "-s"]).arg(format!("unix:{}", socket.display())),
        "fcgiwrap",
        &dir,
    )?;
    wrapper.wait_ready(START_LIMIT, || socket.exists())?;
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o777))?;
    let config = server_config::nginx(place(&dir, site, address), &socket);
    let config = write_config(&dir, &config)?;
    let process = start(Command::new(program).arg("-c").arg(config), "nginx", &dir, address)?;
    Ok(Server { name: "nginx", address, process, _helpers: vec![wrapper] })
}

/// lighttpd, with `mod_cgi`.
///
/// # Errors
/// As [`web_servers`].
pub fn lighttpd(dir: &Path, site: &Site) -> CaseResult<Server> {
    let program = process::need_program("lighttpd", "lighttpd")?;
    let dir = home(dir, "lighttpd")?;
    let address = net::free_address()?;
    let mime_types = "include_shell \"/usr/share/lighttpd/create-mime.conf.pl\"";
    let config = server_config::lighttpd(place(&dir, site, address), mime_types);
    let config = write_config(&dir, &config)?;
    let process =
        start(Command::new(program).arg("-D").arg("-f").arg(config), "lighttpd", &dir, address)?;
    Ok(Server { name: "lighttpd", address, process, _helpers: Vec::new() })
}

/// apache2, with `mod_cgid`.
///
/// # Errors
/// As [`web_servers`].
pub fn apache(dir: &Path, site: &Site) -> CaseResult<Server> {
    let program = process::need_program("apache2", "apache2")?;
    let dir = home(dir, "apache2")?;
    let address = net::free_address()?;
    let config = server_config::apache(place(&dir, site, address));
    let config = write_config(&dir, &config)?;
    let mut command = Command::new(program);
    command.arg("-DFOREGROUND").arg("-f").arg(config);
    for (name, value) in [("RUN_DIR", &dir), ("LOCK_DIR", &dir), ("LOG_DIR", &dir)] {
        command.env(format!("APACHE_{name}"), value);
    }
    let process = start(&mut command, "apache2", &dir, address)?;
    Ok(Server { name: "apache2", address, process, _helpers: Vec::new() })
}

/// A Redis server without persistence.
///
/// # Errors
/// As [`web_servers`].
pub fn redis(dir: &Path, name: &'static str) -> CaseResult<Server> {
    let program = process::need_program("redis-server", "redis-server")?;
    let dir = home(dir, name)?;
    let address = net::free_address()?;
    let mut command = Command::new(program);
    command
        .args(["--bind", &address.ip().to_string(), "--port", &address.port().to_string()])
        .args(["--save", "", "--appendonly", "no", "--daemonize", "no", "--dir"])
        .arg(&dir);
    let process = start(&mut command, name, &dir, address)?;
    Ok(Server { name, address, process, _helpers: Vec::new() })
}

/// HAProxy in TCP mode in front of one server, as the reference that RESH is measured against.
///
/// # Errors
/// As [`web_servers`].
pub fn haproxy(dir: &Path, behind: SocketAddr) -> CaseResult<Server> {
    let program = process::need_program("haproxy", "haproxy")?;
    let dir = home(dir, "haproxy")?;
    let address = net::free_address()?;
    let config = format!(
        "global
    maxconn 4096
    nbthread 1
defaults
    mode tcp
    timeout connect 5s
    timeout client 50s
    timeout server 50s
frontend front
    bind {address}
    default_backend back
backend back
    server only {behind}
"
    );
    let config = write_config(&dir, &config)?;
    let process =
        start(Command::new(program).arg("-db").arg("-f").arg(config), "haproxy", &dir, address)?;
    Ok(Server { name: "haproxy", address, process, _helpers: Vec::new() })
}

fn place<'a>(dir: &'a Path, site: &'a Site, address: SocketAddr) -> Place<'a> {
    let user = process::is_root().then_some("www-data");
    Place { dir, root: &site.root, address, user, fault_log: None }
}

/// A directory of the server's own that it may write to after it gave up root's rights.
fn home(dir: &Path, name: &str) -> io::Result<PathBuf> {
    let home = dir.join(name);
    fs::create_dir_all(&home)?;
    fs::set_permissions(&home, fs::Permissions::from_mode(0o777))?;
    Ok(home)
}

fn write_config(dir: &Path, text: &str) -> io::Result<PathBuf> {
    let path = dir.join("server.conf");
    fs::write(&path, text)?;
    Ok(path)
}

fn start(
    command: &mut Command,
    name: &str,
    dir: &Path,
    address: SocketAddr,
) -> CaseResult<Process> {
    let mut process = Process::spawn(command, name, dir)?;
    process.wait_ready(START_LIMIT, || net::accepts(address)).map_err(|halt| {
        let log = fs::read_to_string(dir.join("error.log")).unwrap_or_default();
        Halt::Fail(format!("{halt}\n{log}"))
    })?;
    Ok(process)
}
