//! Three PostgreSQL servers in total order, through `pgwire`: real clients, a false row, and a server that begins anew.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use resh_tests::appliance::{Appliance, Config, Service};
use resh_tests::harness::{CaseResult, Context, Halt, project_root};
use resh_tests::{ensure, net, process};

const NAMES: [&str; 3] = ["a", "b", "c"];
const RECOVERY_LIMIT: Duration = Duration::from_secs(60);

/// Where the programs of the server are.
fn programs() -> CaseResult<PathBuf> {
    let initdb = process::need_program("initdb", "postgresql-15")?;
    Ok(initdb.parent().unwrap_or(Path::new("/")).to_owned())
}

/// The three servers; dropped, they end.
struct Databases {
    dir: PathBuf,
    programs: PathBuf,
    psql: PathBuf,
    addresses: Vec<SocketAddr>,
}

impl Databases {
    fn start(dir: &Path) -> CaseResult<Self> {
        let dir = dir.join("databases");
        fs::create_dir_all(&dir)?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777))?;
        let databases = Self {
            dir,
            programs: programs()?,
            psql: process::need_program("psql", "postgresql-client-15")?,
            addresses: NAMES
                .iter()
                .map(|_| net::free_address())
                .collect::<std::io::Result<Vec<_>>>()?,
        };
        for number in 0..NAMES.len() {
            let words = databases.restart(number);
            process::output(Command::new(&words[0]).args(&words[1..]))?;
        }
        Ok(databases)
    }

    /// What starts server `number` anew, and empty.
    fn restart(&self, number: usize) -> Vec<String> {
        let script = project_root().join("tests/src/pgwire/restart.sh");
        let paths = [&script, &self.dir, &self.programs].map(|path| path.display().to_string());
        let mut words = vec!["/bin/sh".to_owned()];
        words.extend(paths);
        words.push(NAMES[number].to_owned());
        words.push(self.addresses[number].port().to_string());
        words
    }

    /// The service before them.
    fn service(&self, state: &str) -> CaseResult<Service> {
        let mut service = Service::new("database", "pgwire", [])?;
        service.more = format!("order = \"total\"\nstate = \"{state}\"\n");
        for (number, name) in NAMES.iter().enumerate() {
            let (address, words) = (self.addresses[number], self.restart(number));
            let _ = write!(
                service.more,
                "[[service.replica]]\nname = \"{name}\"\naddress = \"{address}\"\nrestart = {words:?}\n"
            );
        }
        Ok(service)
    }

    /// A command for the database at `address`.
    fn client(&self, program: &Path, address: SocketAddr) -> Command {
        let mut command = Command::new(program);
        command.args(["-h", "127.0.0.1", "-p", &address.port().to_string(), "-U", "app"]);
        command
    }

    /// What `psql` writes about these statements, sent one after another.
    fn psql(&self, address: SocketAddr, statements: &[&str]) -> CaseResult<String> {
        let mut command = self.client(&self.psql, address);
        command.args(["-X", "-A", "-q", "-t", "-v", "ON_ERROR_STOP=1"]);
        for statement in statements {
            command.args(["-c", statement]);
        }
        process::output(command.arg("app"))
    }

    /// All that server `number` holds, in one order.
    fn dump(&self, number: usize) -> CaseResult<Vec<String>> {
        let program = process::need_program("pg_dump", "postgresql-client-15")?;
        let mut command = self.client(&program, self.addresses[number]);
        let text = process::output(command.args(["--inserts", "app"]))?;
        let lines = text.lines().filter(|line| !line.starts_with(['\\', '-']));
        let mut lines: Vec<String> = lines.map(str::to_owned).collect();
        lines.sort();
        Ok(lines)
    }

    fn same_contents(&self) -> CaseResult<usize> {
        let dumps =
            (0..NAMES.len()).map(|number| self.dump(number)).collect::<CaseResult<Vec<_>>>()?;
        for (name, dump) in NAMES.iter().zip(&dumps) {
            let differs = dump.iter().zip(&dumps[0]).find(|(one, other)| one != other);
            ensure!(*dump == dumps[0], "{name} holds something else than a: {differs:?}");
        }
        Ok(dumps[0].len())
    }

    fn stop(&self, number: usize) -> CaseResult<String> {
        let mut command = Command::new("setpriv");
        if process::is_root() {
            command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
        }
        command.arg(self.programs.join("pg_ctl")).arg("-D").arg(self.dir.join(NAMES[number]));
        process::output(command.args(["-m", "immediate", "-w", "stop"]))
    }
}

impl Drop for Databases {
    fn drop(&mut self) {
        for number in 0..NAMES.len() {
            let _ = self.stop(number);
        }
    }
}

fn nobody_differed(appliance: &Appliance) -> CaseResult {
    let status = appliance.settled()?;
    ensure!(status.all_voting(), "a replica lost its vote: {:#}", status.0);
    ensure!(status.total("divergences") == 0, "replicas differed: {:#}", status.0);
    Ok(())
}

/// `psql`, and then a false row. The servers hold the same in another order, and know it by other OIDs.
pub(crate) fn psql(context: &Context) -> CaseResult {
    let databases = Databases::start(&context.dir)?;
    let fruits = ["('apple', 3)", "('pear', 4)", "('cherry', 12)", "('plum', 7)"];
    for (number, address) in databases.addresses.iter().enumerate() {
        for times in 0..number {
            let sql = format!("CREATE TABLE gone{times} (a int)");
            databases.psql(*address, &[&sql, &format!("DROP TABLE gone{times}")])?;
        }
        databases.psql(*address, &["CREATE TABLE fruit (name text PRIMARY KEY, price int)"])?;
        for at in 0..fruits.len() {
            let fruit = fruits[(at + number) % fruits.len()];
            databases.psql(*address, &[&format!("INSERT INTO fruit VALUES {fruit}")])?;
        }
    }
    let appliance = Appliance::run(&context.dir, &Config::of(databases.service("none")?))?;
    let ask = |statements: &[&str]| databases.psql(appliance.address, statements);
    let dialogue: &[(&str, &str)] = &[
        ("SELECT * FROM fruit", "pear|4\nplum|7\napple|3\ncherry|12\n"),
        ("SELECT * FROM fruit ORDER BY price", "apple|3\npear|4\nplum|7\ncherry|12\n"),
        ("SELECT sum(price) FROM fruit; SELECT 'two'", "26\ntwo\n"),
        ("DELETE FROM fruit WHERE price > 3 AND price < 10 RETURNING name", "pear\nplum\n"),
        ("INSERT INTO fruit VALUES ('fig', 1), ('date', 2) RETURNING name", "fig\ndate\n"),
        ("SHOW TimeZone", "UTC\n"),
        (
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'",
            "fruit\n",
        ),
    ];
    for (sql, wanted) in dialogue {
        let said = ask(&[sql])?;
        ensure!(said == *wanted, "{sql}: {said:?} and not {wanted:?}");
    }
    let wrong = ask(&["SELECT clock_timestamp()"]);
    ensure!(
        wrong.as_ref().is_err_and(|error| error.to_string().contains("refused here")),
        "{wrong:?}"
    );
    nobody_differed(&appliance)?;

    databases
        .psql(databases.addresses[1], &["UPDATE fruit SET price = 99 WHERE name = 'apple'"])?;
    for _ in 0..3 {
        let said = ask(&["SELECT price FROM fruit WHERE name = 'apple'"])?;
        ensure!(said == "3\n", "the false row came out: {said:?}");
    }
    let status = appliance.settled()?;
    ensure!(status.counter("b", "divergences") > 0, "b lied unseen: {:#}", status.0);
    let others = status.counter("a", "divergences") + status.counter("c", "divergences");
    ensure!(others == 0, "others were blamed: {:#}", status.0);
    println!("note: rows in three orders are one result, and a false one is outvoted");
    Ok(())
}

fn library(appliance: &Appliance) -> CaseResult {
    let python = process::python_with("psycopg2").ok_or_else(|| {
        Halt::Skip("no Python has psycopg2 (Debian package python3-psycopg2)".to_owned())
    })?;
    let mut command = Command::new(python);
    command.arg(project_root().join("tests/src/pgwire/library.py"));
    process::output(command.arg(appliance.address.port().to_string())).map(|_| ())
}

/// A library in the simple protocol, and `pgbench` in both others with several sessions at once; then all hold the same.
pub(crate) fn libraries(context: &Context) -> CaseResult {
    let databases = Databases::start(&context.dir)?;
    let appliance = Appliance::run(&context.dir, &Config::of(databases.service("none")?))?;
    library(&appliance)?;
    for mode in ["extended", "prepared"] {
        let rate = pgbench(&databases, &appliance, mode, 100)?;
        println!("note: pgbench {mode}, 5 sessions: {rate} transactions/s");
    }
    nobody_differed(&appliance)?;
    let lines = databases.same_contents()?;
    println!("note: the three dumps are equal, {lines} lines");
    Ok(())
}

/// Five sessions that add to accounts, each in transactions of its own. Returns transactions per second, as it says.
fn pgbench(
    databases: &Databases,
    appliance: &Appliance,
    mode: &str,
    transactions: u32,
) -> CaseResult<String> {
    let address = appliance.address;
    databases.psql(
        address,
        &["CREATE TABLE IF NOT EXISTS account (id int PRIMARY KEY, sum int NOT NULL)",
          "CREATE TABLE IF NOT EXISTS history (id serial, account int, change int)",
          "INSERT INTO account SELECT i, 0 FROM generate_series(1, 10) AS n (i) ORDER BY i ON CONFLICT DO NOTHING"],
    )?;
    let script = databases.dir.join("script.sql");
    fs::write(
        &script,
        "\\set account :client_id + 1\n\\set change random(-100, 100)\nBEGIN;\n\
         UPDATE account SET sum = sum + :change WHERE id = :account;\n\
         INSERT INTO history (account, change) VALUES (:account, :change);\n\
         SELECT id, sum FROM account;\nEND;\n\
         SELECT count(*) FROM history WHERE account = :account;\n",
    )?;
    let program = process::need_program("pgbench", "postgresql-15")?;
    let mut command = databases.client(&program, address);
    command.args(["-n", "-c", "5", "-M", mode, "-t", &transactions.to_string(), "-f"]);
    let said = process::output(command.arg(script).arg("app"))?;
    let right = "SELECT count(*) FROM account WHERE sum <> (SELECT coalesce(sum(change), 0) FROM \
                 history WHERE account = account.id)";
    let wrong = databases.psql(address, &[right])?;
    ensure!(wrong == "0\n", "{wrong} accounts are wrong");
    let rate = said.lines().find_map(|line| line.strip_prefix("tps = "));
    Ok(rate.and_then(|rate| rate.split('.').next()).unwrap_or("?").to_owned())
}

/// A server ends, and begins anew with nothing; it executes what was executed since the start. Meanwhile clients
/// notice nothing, and afterwards all hold the same.
pub(crate) fn one_begins_anew(context: &Context) -> CaseResult {
    let databases = Databases::start(&context.dir)?;
    let appliance = Appliance::run(&context.dir, &Config::of(databases.service("replay")?))?;
    library(&appliance)?;
    pgbench(&databases, &appliance, "prepared", 20)?;
    databases.stop(1)?;
    let since = Instant::now();
    pgbench(&databases, &appliance, "extended", 20)?;
    appliance.wait_status(RECOVERY_LIMIT, "all to vote again", |status| {
        status.all_voting() && status.counter("b", "recovered") > 0
    })?;
    println!("note: b votes again after {:.1} s", since.elapsed().as_secs_f64());
    let before = appliance.settled()?.counter("b", "divergences");
    pgbench(&databases, &appliance, "prepared", 20)?;
    let after = appliance.settled()?.counter("b", "divergences");
    ensure!(after == before, "the recovered replica differs: {after} and not {before} times");
    let lines = databases.same_contents()?;
    println!("note: the three dumps are equal, {lines} lines");
    Ok(())
}
