//! Web servers in the background that a restart command starts anew from pristine files, and what may befall them.
//!
//! The restart command is this test program itself: `system-tests --begin-anew DIRECTORY`. Each server has a process group
//! of its own and a document root of its own; of the one file that is asked for a pristine copy is kept.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::harness::{CaseResult, Halt};
use crate::server_config::{self, Place};
use crate::site::Site;
use crate::tcp_servers::TcpServer;
use crate::{net, process};

/// The argument that makes the test program a restart command.
pub const COMMAND: &str = "--begin-anew";
/// The file that clients ask for.
pub const PATH: &str = "/1k.bin";
/// How long a server may take to end, and to start.
const LIMIT: Duration = Duration::from_secs(10);
/// How much later each piece of a slow server's replies comes.
const SLOW: Duration = Duration::from_millis(400);
/// All files are as old as this, so that no server sees by its age which one it has.
const AGE: Duration = Duration::from_secs(1_700_000_000);

/// How a server is started.
#[derive(Serialize, Deserialize)]
struct Recipe {
    address: SocketAddr,
    words: Vec<String>,
    environment: Vec<(String, String)>,
    /// The file that is asked for, in its document root.
    file: PathBuf,
}

/// A server; dropped, it ends.
pub struct Revivable {
    /// Its name, as `resh.toml` and `resh status` have it.
    pub name: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    dir: PathBuf,
    /// The process group that is slow. 0: none.
    slow: Arc<AtomicU32>,
}

/// What befalls a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A byte of its file is another one.
    Corrupt,
    /// It stands still.
    Hang,
    /// It ends.
    Crash,
    /// Each of its replies takes long. Only over its [link](Revivable::link).
    Slow,
}

/// nginx, lighttpd and apache2, each in a directory below `dir`, which also is what the restart command of
/// each is given.
///
/// # Errors
/// [`Halt::Skip`] if one is not installed, [`Halt::Fail`] if one does not start.
pub fn web_servers(dir: &Path) -> CaseResult<Vec<Revivable>> {
    ["nginx", "lighttpd", "apache2"].into_iter().map(|name| Revivable::start(dir, name)).collect()
}

/// The words of the restart command of the servers in `dir`, but for the name of the server.
///
/// # Errors
/// If this program does not know where it is.
pub fn restart_command(dir: &Path) -> io::Result<Vec<String>> {
    let program = std::env::current_exe()?.display().to_string();
    Ok(vec![program, COMMAND.to_owned(), dir.display().to_string()])
}

/// If this process is a restart command, does its work.
pub fn command() -> Option<ExitCode> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let [COMMAND, dir, name] = words.iter().map(|word| &**word).collect::<Vec<_>>()[..] else {
        return None;
    };
    Some(match begin_anew(&Path::new(dir).join(name)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name} does not begin anew: {error}");
            ExitCode::FAILURE
        }
    })
}

impl Revivable {
    fn start(dir: &Path, name: &'static str) -> CaseResult<Self> {
        let program = process::need_program(name, name)?;
        let dir = dir.join(name);
        fs::create_dir_all(&dir)?;
        let site = Site::of_guests(&dir)?;
        open_to_all(&dir)?;
        let address = net::free_address()?;
        let user = process::is_root().then_some("www-data");
        let place = Place { dir: &dir, root: &site.root, address, user, fault_log: None };
        let config = match name {
            "nginx" => server_config::nginx(place, &dir.join("nobody.socket")),
            "lighttpd" => server_config::lighttpd(
                place,
                "include_shell \"/usr/share/lighttpd/create-mime.conf.pl\"",
            ),
            _ => server_config::apache(place),
        };
        let file = dir.join("server.conf");
        fs::write(&file, config)?;
        let arguments: &[&str] = match name {
            "nginx" => &["-c"],
            "lighttpd" => &["-D", "-f"],
            _ => &["-DFOREGROUND", "-f"],
        };
        let words = [program.display().to_string()]
            .into_iter()
            .chain(arguments.iter().map(ToString::to_string))
            .chain([file.display().to_string()]);
        let environment = ["RUN_DIR", "LOCK_DIR", "LOG_DIR"]
            .map(|name| (format!("APACHE_{name}"), dir.display().to_string()));
        let recipe = Recipe {
            address,
            words: words.collect(),
            environment: environment.to_vec(),
            file: site.root.join(PATH.trim_start_matches('/')),
        };
        fs::write(dir.join("recipe.json"), serde_json::to_string(&recipe)?)?;
        fs::copy(&recipe.file, dir.join("pristine"))?;
        let server = Self { name, address, dir, slow: Arc::default() };
        begin_anew(&server.dir)
            .map_err(|error| Halt::Fail(format!("{name} does not start: {error}")))?;
        Ok(server)
    }

    /// Its process group.
    fn group(&self) -> Option<u32> {
        group_in(&self.dir)
    }

    /// Something happens to it. It lasts until its restart command has run.
    ///
    /// # Errors
    /// If it does not run, or has no file.
    pub fn suffer(&self, fault: Fault) -> CaseResult {
        let group = self.group().ok_or_else(|| format!("{} does not run", self.name))?;
        let signal = |signal| {
            process::group(group).iter().for_each(|member| process::signal_pid(*member, signal));
        };
        match fault {
            Fault::Corrupt => falsify(&recipe(&self.dir)?.file)?,
            Fault::Hang => signal(Signal::STOP),
            Fault::Crash => signal(Signal::KILL),
            Fault::Slow => self.slow.store(group, Ordering::Relaxed),
        }
        Ok(())
    }

    /// A link to it, on which its replies are slow when it is.
    ///
    /// # Errors
    /// If no port is free.
    pub fn link(&self) -> io::Result<TcpServer> {
        let (dir, address, slow) = (self.dir.clone(), self.address, Arc::clone(&self.slow));
        TcpServer::start(move |mut client| {
            let Ok(mut server) = TcpStream::connect(address) else { return };
            let (Ok(mut from_client), Ok(mut to_server)) = (client.try_clone(), server.try_clone())
            else {
                return;
            };
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            thread::spawn(move || {
                let _ = io::copy(&mut from_client, &mut to_server);
                let _ = to_server.shutdown(Shutdown::Write);
            });
            let mut piece = [0; 16 << 10];
            while let Ok(len @ 1..) = server.read(&mut piece) {
                let group = slow.load(Ordering::Relaxed);
                if group != 0 && group_in(&dir) == Some(group) {
                    thread::sleep(SLOW);
                }
                if client.write_all(&piece[..len]).is_err() {
                    break;
                }
            }
            let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
        })
    }

    /// Its pristine file is falsified, too: whenever it begins anew, it is wrong again. Or it is right from the
    /// next time on.
    ///
    /// # Errors
    /// If it has none.
    pub fn falsify_pristine(&self, wrong: bool) -> CaseResult {
        let pristine = self.dir.join("pristine");
        if wrong {
            falsify(&pristine)?;
        } else {
            let right = Site::of_guests(&self.dir.join("again"))?;
            fs::copy(right.root.join(PATH.trim_start_matches('/')), pristine)?;
        }
        Ok(())
    }

    /// Its pristine file is gone, so that it cannot begin anew, or back.
    ///
    /// # Errors
    /// If it is not where it was.
    pub fn hide_pristine(&self, hide: bool) -> io::Result<()> {
        let (here, hidden) = (self.dir.join("pristine"), self.dir.join("pristine.hidden"));
        if hide { fs::rename(here, hidden) } else { fs::rename(hidden, here) }
    }
}

impl Drop for Revivable {
    fn drop(&mut self) {
        for member in self.group().into_iter().flat_map(process::group) {
            process::signal_pid(member, Signal::KILL);
        }
    }
}

/// The server's process, started by root, gives up root's rights and still is to write here.
fn open_to_all(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o777))
}

/// Changes a byte in the middle.
fn falsify(file: &Path) -> io::Result<()> {
    let file = File::options().read(true).write(true).open(file)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, 512)?;
    file.write_all_at(&[byte[0] ^ 0x20], 512)?;
    file.set_modified(SystemTime::UNIX_EPOCH + AGE)
}

fn recipe(dir: &Path) -> io::Result<Recipe> {
    Ok(serde_json::from_slice(&fs::read(dir.join("recipe.json"))?)?)
}

fn group_in(dir: &Path) -> Option<u32> {
    fs::read_to_string(dir.join("pid")).ok()?.parse().ok()
}

/// Ends the server in `dir`, whatever it does, and starts it from pristine files.
fn begin_anew(dir: &Path) -> io::Result<()> {
    let recipe = recipe(dir)?;
    if let Some(group) = group_in(dir) {
        let gone = process::wait_until(LIMIT, || {
            let members = process::group(group);
            members.iter().for_each(|member| process::signal_pid(*member, Signal::KILL));
            members.is_empty().then_some(())
        });
        gone.ok_or_else(|| io::Error::other("the old one does not end"))?;
    }
    // Dead as it is, apache2 would take its own process for another one's.
    let _ = fs::remove_file(dir.join("apache2.pid"));
    fs::copy(dir.join("pristine"), &recipe.file)?;
    File::options().write(true).open(&recipe.file)?.set_modified(SystemTime::UNIX_EPOCH + AGE)?;
    let log = File::options().create(true).append(true).open(dir.join("log"))?;
    let mut command = Command::new(&recipe.words[0]);
    command.args(&recipe.words[1..]).envs(recipe.environment.iter().cloned());
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
    let mut child = command.spawn()?;
    fs::write(dir.join("pid"), child.id().to_string())?;
    let up = process::wait_until(LIMIT, || {
        let ended = !matches!(child.try_wait(), Ok(None));
        (ended || net::accepts(recipe.address)).then_some(!ended)
    });
    if up == Some(true) {
        return Ok(());
    }
    let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
    let errors = fs::read_to_string(dir.join("error.log")).unwrap_or_default();
    Err(io::Error::other(format!("it does not accept connections\n{log}{errors}")))
}
