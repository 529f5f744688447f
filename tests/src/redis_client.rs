//! A small Redis client, Redis servers that begin anew by a command, and what one of them holds.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use resh_tests::harness::{CaseResult, During, Halt};
use resh_tests::{net, process};
use rustix::process::Signal;

/// What a `resh.toml` says first where many processes share a few processors: wait for who is late.
pub(crate) const PATIENT: &str = "[limits]\nlag_budget_ms = 10000\n";

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Status(String),
    Error(String),
    Number(i64),
    Text(Option<Vec<u8>>),
    Array(Option<Vec<Reply>>),
}

impl Reply {
    /// All strings in it, in their order.
    pub(crate) fn texts(&self) -> Vec<String> {
        match self {
            Reply::Text(Some(text)) => vec![String::from_utf8_lossy(text).into_owned()],
            Reply::Array(Some(items)) => items.iter().flat_map(Reply::texts).collect(),
            Reply::Status(text) => vec![text.clone()],
            Reply::Number(number) => vec![number.to_string()],
            _ => Vec::new(),
        }
    }
}

/// A connection to a server, or to the appliance.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// # Errors
    /// If there is no connection.
    pub(crate) fn open(address: SocketAddr) -> CaseResult<Self> {
        let stream = net::connect(address, Duration::from_secs(30)).during("connecting")?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends a command and reads the reply.
    ///
    /// # Errors
    /// If the connection ends, or says what is no reply.
    pub(crate) fn ask(&mut self, words: &[&str]) -> CaseResult<Reply> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request += &format!("${}\r\n{word}\r\n", word.len());
        }
        self.stream.get_mut().write_all(request.as_bytes()).during("sending")?;
        self.read().during(format_args!("the reply to {}", words[0]))
    }

    fn read(&mut self) -> CaseResult<Reply> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let line = line.strip_suffix("\r\n").ok_or_else(|| format!("no line: {line:?}"))?;
        let number = || line[1..].parse::<i64>().during("a number");
        Ok(match line.as_bytes().first() {
            Some(b'+') => Reply::Status(line[1..].to_owned()),
            Some(b'-') => Reply::Error(line[1..].to_owned()),
            Some(b':') => Reply::Number(number()?),
            Some(b'$') => match usize::try_from(number()?) {
                Err(_) => Reply::Text(None),
                Ok(len) => {
                    let mut text = vec![0; len + 2];
                    self.stream.read_exact(&mut text)?;
                    text.truncate(len);
                    Reply::Text(Some(text))
                }
            },
            Some(b'*') => match number()? {
                -1 => Reply::Array(None),
                count => {
                    Reply::Array(Some((0..count).map(|_| self.read()).collect::<Result<_, _>>()?))
                }
            },
            _ => return Err(Halt::Fail(format!("no reply: {line:?}"))),
        })
    }
}

/// A server in the background that its restart command starts anew, and empty; dropped, it ends.
pub(crate) struct Restartable {
    /// Its name.
    pub(crate) name: &'static str,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    dir: PathBuf,
}

impl Restartable {
    /// # Errors
    /// [`Halt::Skip`] if Redis is not installed, [`Halt::Fail`] if it does not start.
    pub(crate) fn start(dir: &Path, name: &'static str) -> CaseResult<Self> {
        let program = process::need_program("redis-server", "redis-server")?;
        let dir = dir.join(name);
        fs::create_dir_all(&dir)?;
        let address = net::free_address()?;
        let script = format!(
            "cd '{dir}' || exit 1
[ -s pid ] && kill -9 $(cat pid) 2>/dev/null
rm -rf data pid
mkdir data
exec '{program}' --bind {ip} --port {port} --save '' --appendonly no --dir data \
    --daemonize yes --pidfile '{dir}/pid' --logfile '{dir}/log'
",
            dir = dir.display(),
            program = program.display(),
            ip = address.ip(),
            port = address.port()
        );
        fs::write(dir.join("restart.sh"), script)?;
        let server = Self { name, address, dir };
        process::output(Command::new("/bin/sh").arg(server.script()))?;
        let ready = process::wait_until(Duration::from_secs(10), || {
            net::accepts(server.address).then_some(()).filter(|()| server.pid().is_some())
        });
        ready.ok_or_else(|| Halt::Fail(format!("{name} does not start")))?;
        Ok(server)
    }

    fn script(&self) -> PathBuf {
        self.dir.join("restart.sh")
    }

    /// The lines of `resh.toml` for it, reached at `address`.
    pub(crate) fn toml(&self, address: SocketAddr) -> String {
        format!(
            "[[service.replica]]\nname = \"{}\"\naddress = \"{address}\"\nrestart = [\"/bin/sh\", \"{}\"]\n",
            self.name,
            self.script().display()
        )
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Option<u32> {
        fs::read_to_string(self.dir.join("pid")).ok()?.trim().parse().ok()
    }

    /// Ends it at once and wipes its data.
    ///
    /// # Errors
    /// If it does not run.
    pub(crate) fn kill_and_wipe(&self) -> CaseResult<u32> {
        let pid = self.pid().ok_or_else(|| format!("{} has no process", self.name))?;
        process::signal_pid(pid, Signal::KILL);
        fs::remove_dir_all(self.dir.join("data"))?;
        Ok(pid)
    }

    /// All it holds, brought to one form: by database and key, its kind, when it expires, and what is in it.
    ///
    /// # Errors
    /// If it does not answer.
    pub(crate) fn contents(&self) -> CaseResult<BTreeMap<(usize, String), Vec<String>>> {
        let mut client = Client::open(self.address)?;
        let mut contents = BTreeMap::new();
        for database in 0..16 {
            client.ask(&["SELECT", &database.to_string()])?;
            for key in client.ask(&["KEYS", "*"])?.texts() {
                let kind = client.ask(&["TYPE", &key])?.texts().remove(0);
                let mut held = vec![kind.clone()];
                held.extend(client.ask(&["PEXPIRETIME", &key])?.texts());
                let read: &[&str] = match &kind[..] {
                    "string" => &["GET", &key],
                    "list" => &["LRANGE", &key, "0", "-1"],
                    "set" => &["SMEMBERS", &key],
                    "hash" => &["HGETALL", &key],
                    "zset" => &["ZRANGE", &key, "0", "-1", "WITHSCORES"],
                    _ => return Err(Halt::Fail(format!("{key} is a {kind}"))),
                };
                let mut texts = client.ask(read)?.texts();
                match &kind[..] {
                    "set" => texts.sort(),
                    "hash" => {
                        let mut pairs: Vec<_> =
                            texts.chunks(2).map(|pair| pair.join("=")).collect();
                        pairs.sort();
                        texts = pairs;
                    }
                    _ => {}
                }
                held.extend(texts);
                contents.insert((database, key), held);
            }
        }
        Ok(contents)
    }
}

impl Drop for Restartable {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            process::signal_pid(pid, Signal::KILL);
        }
    }
}

/// Fails unless all servers hold the same, and returns it.
///
/// # Errors
/// If they do not, or one does not answer.
pub(crate) fn same_contents(
    servers: &[Restartable],
) -> CaseResult<BTreeMap<(usize, String), Vec<String>>> {
    let mut first: Option<BTreeMap<_, _>> = None;
    for server in servers {
        let contents = server.contents()?;
        let Some(first) = &first else {
            first = Some(contents);
            continue;
        };
        let mut keys: Vec<_> = first.keys().chain(contents.keys()).collect();
        keys.sort();
        keys.dedup();
        let different: Vec<_> =
            keys.into_iter().filter(|key| first.get(*key) != contents.get(*key)).collect();
        let Some(key) = different.first() else { continue };
        let shown = |contents: &BTreeMap<_, Vec<String>>| {
            let text = contents.get(*key).map_or_else(String::new, |held| held.join(" "));
            text.chars().take(1000).collect::<String>()
        };
        return Err(Halt::Fail(format!(
            "{} and {} differ in {} keys, first in {key:?}:\n{}\n{}",
            servers[0].name,
            server.name,
            different.len(),
            shown(first),
            shown(&contents)
        )));
    }
    Ok(first.unwrap_or_default())
}
