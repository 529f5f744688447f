//! Login sessions: a small web application (`login/notebook.py`), three times, each with session cookies of its own and
//! everything in memory. One replica is killed and recovered; then another, so that the first is needed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use resh_tests::appliance::{Appliance, Config, Service};
use resh_tests::harness::{CaseResult, Context, Halt, project_root};
use resh_tests::{ensure, net, process};
use rustix::process::Signal;

const USERS: usize = 5;
const NOTES: usize = 4;
const NAMES: [&str; 3] = ["a", "b", "c"];
const START_LIMIT: Duration = Duration::from_secs(20);
const RECOVERY_LIMIT: Duration = Duration::from_secs(40);

/// The three servers. Ends them when it goes.
struct Notebooks {
    dir: PathBuf,
    restart: Vec<String>,
    addresses: Vec<SocketAddr>,
}

impl Notebooks {
    fn start(dir: &Path) -> CaseResult<Self> {
        let python = process::python_with("flask").ok_or_else(|| {
            Halt::Skip("no Python has flask (Debian package python3-flask)".into())
        })?;
        let files = project_root().join("tests/src/login");
        let path = |path: PathBuf| path.display().to_string();
        let restart = vec![
            "/bin/sh".to_owned(),
            path(files.join("restart.sh")),
            path(dir.to_owned()),
            path(python),
            path(files.join("notebook.py")),
        ];
        let addresses =
            NAMES.iter().map(|_| net::free_address()).collect::<std::io::Result<Vec<_>>>()?;
        let notebooks = Self { dir: dir.to_owned(), restart, addresses };
        for address in &notebooks.addresses {
            let words = notebooks.command(*address);
            process::output(Command::new(&words[0]).args(&words[1..]))?;
        }
        for address in &notebooks.addresses {
            let up = process::wait_until(START_LIMIT, || net::accepts(*address).then_some(()));
            ensure!(up.is_some(), "no notebook at {address}");
        }
        Ok(notebooks)
    }

    /// What starts the one at `address` anew.
    fn command(&self, address: SocketAddr) -> Vec<String> {
        let mut words = self.restart.clone();
        words.push(address.port().to_string());
        words
    }

    fn pid(&self, number: usize) -> Option<u32> {
        let file = self.dir.join(format!("{}.pid", self.addresses[number].port()));
        std::fs::read_to_string(file).ok()?.trim().parse().ok()
    }

    fn kill(&self, number: usize) -> CaseResult {
        let pid = self.pid(number).ok_or_else(|| Halt::Fail("no process id".into()))?;
        process::signal_pid(pid, Signal::KILL);
        Ok(())
    }

    /// The service before them: their cookie is private, and who begins anew executes all requests again.
    fn service(&self) -> CaseResult<Service> {
        use std::fmt::Write as _;
        let mut service = Service::new("notebook", "http1", [])?;
        service.more = "order = \"total\"\nstate = \"replay\"\n\
                        [service.http1]\nprivate_cookies = [\"notebook\"]\n"
            .to_owned();
        for (name, address) in NAMES.iter().zip(&self.addresses) {
            let words = self.command(*address);
            let _ = write!(
                service.more,
                "[[service.replica]]\nname = \"{name}\"\naddress = \"{address}\"\nrestart = {words:?}\n"
            );
        }
        Ok(service)
    }
}

impl Drop for Notebooks {
    fn drop(&mut self) {
        for pid in (0..NAMES.len()).filter_map(|number| self.pid(number)) {
            process::signal_pid(pid, Signal::KILL);
        }
    }
}

/// Someone with a browser, and what they noted.
struct User {
    name: String,
    jar: PathBuf,
    notes: Vec<String>,
}

impl User {
    fn log_in(curl: &Curl, number: usize, dir: &Path) -> CaseResult<Self> {
        let name = format!("user{number}");
        let user = User { jar: dir.join(format!("{name}.jar")), name, notes: Vec::new() };
        let page =
            curl.say(&user, &["--location", "--data", &format!("user={}", user.name)], "login")?;
        ensure!(page.is_empty(), "{} begins with {page:?}", user.name);
        Ok(user)
    }

    fn note(&mut self, curl: &Curl) -> CaseResult {
        let note = format!("{}-{}", self.name, self.notes.len());
        let count = curl.say(self, &["--data", &format!("note={note}")], "notes")?;
        self.notes.push(note);
        ensure!(count.trim() == self.notes.len().to_string(), "{}: {count:?} notes", self.name);
        let page = curl.say(self, &[], "notes")?;
        let wanted: String = self.notes.iter().map(|note| format!("{note}\n")).collect();
        ensure!(page == wanted, "{} reads {page:?} and not {wanted:?}", self.name);
        Ok(())
    }
}

struct Curl {
    program: PathBuf,
    address: SocketAddr,
}

impl Curl {
    fn say(&self, user: &User, arguments: &[&str], path: &str) -> CaseResult<String> {
        let mut command = Command::new(&self.program);
        command.args(["--silent", "--show-error", "--fail", "--max-time", "20", "--cookie"]);
        command.arg(&user.jar).arg("--cookie-jar").arg(&user.jar).args(arguments);
        process::output(command.arg(format!("http://{}/{path}", self.address)))
    }
}

/// Waits until all vote again, and says how long that took.
fn recovered(appliance: &Appliance, name: &str) -> CaseResult {
    let since = Instant::now();
    appliance.wait_status(RECOVERY_LIMIT, "all to vote again", |status| {
        status.all_voting() && status.counter(name, "recovered") > 0
    })?;
    println!("  replica {name} votes again after {:.1} s", since.elapsed().as_secs_f64());
    Ok(())
}

pub(crate) fn sessions_survive_a_recovery(context: &Context) -> CaseResult {
    let program = process::need_program("curl", "curl")?;
    let notebooks = Notebooks::start(&context.dir)?;
    let appliance = Appliance::run(&context.dir, &Config::of(notebooks.service()?))?;
    let curl = Curl { program, address: appliance.address };
    let mut users = (0..USERS)
        .map(|number| User::log_in(&curl, number, &context.dir))
        .collect::<CaseResult<Vec<_>>>()?;
    let note = |users: &mut Vec<User>| {
        for _ in 0..NOTES {
            users.iter_mut().try_for_each(|user| user.note(&curl))?;
        }
        CaseResult::Ok(())
    };
    note(&mut users)?;
    // The client has a surrogate, and not what any of the replicas made.
    let jar = std::fs::read_to_string(&users[0].jar)?;
    let cookie =
        jar.lines().last().and_then(|line| line.split('\t').next_back()).unwrap_or_default();
    let surrogate = cookie.len() == 32 && cookie.bytes().all(|byte| byte.is_ascii_hexdigit());
    ensure!(surrogate, "the client got the cookie {cookie:?}");

    notebooks.kill(1)?;
    note(&mut users)?;
    users.push(User::log_in(&curl, USERS, &context.dir)?);
    note(&mut users)?;
    recovered(&appliance, NAMES[1])?;
    let before = appliance.settled()?.counter(NAMES[1], "divergences");
    note(&mut users)?;
    let after = appliance.settled()?.counter(NAMES[1], "divergences");
    ensure!(after == before, "the recovered replica differs: {after} and not {before} times");

    // Now the recovered one is needed.
    notebooks.kill(0)?;
    note(&mut users)?;
    recovered(&appliance, NAMES[0])?;
    note(&mut users)
}
