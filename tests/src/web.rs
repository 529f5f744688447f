//! Ordinary web clients: one that checks every byte, and `wrk`.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::ensure;
use crate::harness::{CaseResult, During, Halt};
use crate::http_check::{self, Asked, Response};
use crate::net::{self, End};
use crate::process::{self, Process};
use crate::site::sha256;

/// How long one ordinary request may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

const GET: Asked<'_> = Asked { method: "GET", version_1_1: true };

/// The bytes of a GET on a connection of its own.
pub fn get_request(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n").into_bytes()
}

/// One GET on a connection of its own; the answer must keep the RFCs.
///
/// # Errors
/// If there is no right answer.
pub fn get(address: SocketAddr, path: &str) -> CaseResult<Response> {
    one(address, &get_request(path), GET)
}

/// One POST on a connection of its own; the answer must keep the RFCs.
///
/// # Errors
/// If there is no right answer.
pub fn post(address: SocketAddr, path: &str, body: &[u8]) -> CaseResult<Response> {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    one(address, &request, Asked { method: "POST", version_1_1: true })
}

fn one(address: SocketAddr, request: &[u8], asked: Asked<'_>) -> CaseResult<Response> {
    let mut stream = net::connect(address, PATIENCE).during("connecting")?;
    let mut writer = stream.try_clone()?;
    let (bytes, end) = std::thread::scope(|scope| {
        scope.spawn(move || writer.write_all(request));
        net::read_until(&mut stream, LONG_PATIENCE, |_| false)
    });
    ensure!(end == End::Closed, "after {} bytes the connection was {end:?}", bytes.len());
    let mut responses =
        http_check::judge(&bytes, &[asked], true).map_err(|violation| violation.to_string())?;
    responses.pop().ok_or_else(|| Halt::Fail("no response".to_owned()))
}

/// One GET on a connection of its own of which only the length is kept: what a client costs that does
/// nothing with what it gets.
///
/// # Errors
/// If the connection does not end in order.
pub fn download(address: SocketAddr, path: &str) -> CaseResult<u64> {
    let mut stream = net::connect(address, PATIENCE).during("connecting")?;
    stream.write_all(&get_request(path))?;
    std::io::copy(&mut stream, &mut std::io::sink()).during("downloading")
}

/// For transfers of any size.
const LONG_PATIENCE: Duration = Duration::from_secs(90);

/// GETs of one path, many at once, every answer compared.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where to.
    pub address: SocketAddr,
    /// What for.
    pub path: String,
    /// The one right content, as SHA-256.
    pub right_sha256: String,
    /// Clients at once.
    pub clients: usize,
    /// Requests on one connection.
    pub per_connection: usize,
}

/// What came of a [`Load`].
#[derive(Debug, Default)]
pub struct LoadReport {
    /// Right answers.
    pub right: u64,
    /// Everything else, and how often.
    pub wrong: BTreeMap<String, u64>,
    /// Longest time from request to whole answer.
    pub longest: Duration,
}

impl LoadReport {
    /// Fails unless there were right answers and nothing else.
    ///
    /// # Errors
    /// What else there was.
    pub fn all_right(&self) -> CaseResult {
        ensure!(self.wrong.is_empty(), "{} right, and wrong: {:#?}", self.right, self.wrong);
        ensure!(self.right > 0, "nothing was asked");
        Ok(())
    }
}

impl Load {
    /// GETs of `path` whose right content is what the service answers now.
    ///
    /// # Errors
    /// If it does not answer 200.
    pub fn of(address: SocketAddr, path: &str) -> CaseResult<Self> {
        let response = get(address, path)?;
        ensure!(response.status == 200, "{path}: {}", response.status);
        let right_sha256 = sha256(&response.body);
        Ok(Load { address, path: path.to_owned(), right_sha256, clients: 4, per_connection: 10 })
    }

    /// Sends `count` requests.
    pub fn run(&self, count: u64) -> LoadReport {
        let left = AtomicU64::new(count);
        self.run_while(|| {
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                .is_ok()
        })
    }

    /// Sends requests for so long.
    pub fn run_for(&self, duration: Duration) -> LoadReport {
        let end = Instant::now() + duration;
        self.run_while(|| Instant::now() < end)
    }

    /// Sends requests while `more` says so.
    pub fn run_while(&self, more: impl Fn() -> bool + Sync) -> LoadReport {
        let mut total = LoadReport::default();
        let reports: Vec<LoadReport> = std::thread::scope(|scope| {
            let clients: Vec<_> =
                (0..self.clients).map(|_| scope.spawn(|| self.one_client(&more))).collect();
            clients.into_iter().map(|client| client.join().unwrap_or_default()).collect()
        });
        for report in reports {
            total.right += report.right;
            total.longest = total.longest.max(report.longest);
            for (what, count) in report.wrong {
                *total.wrong.entry(what).or_default() += count;
            }
        }
        total
    }

    fn one_client(&self, more: &(impl Fn() -> bool + Sync)) -> LoadReport {
        let mut report = LoadReport::default();
        while more() {
            let mut wrong = |what: String| *report.wrong.entry(what).or_default() += 1;
            let mut stream = match net::connect(self.address, PATIENCE) {
                Ok(stream) => stream,
                Err(error) => {
                    wrong(format!("connecting: {error}"));
                    continue;
                }
            };
            for number in 1..=self.per_connection {
                let started = Instant::now();
                let last = number == self.per_connection;
                match self.one_request(&mut stream, last) {
                    Ok(()) => report.right += 1,
                    Err(halt) => {
                        wrong(halt.to_string());
                        break;
                    }
                }
                report.longest = report.longest.max(started.elapsed());
                if last || !more() {
                    break;
                }
            }
        }
        report
    }

    fn one_request(&self, stream: &mut std::net::TcpStream, last: bool) -> CaseResult {
        let close = if last { "Connection: close\r\n" } else { "" };
        let path = &self.path;
        let request = format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\n{close}\r\n");
        stream.write_all(request.as_bytes()).during("sending")?;
        let (bytes, end) =
            net::read_until(stream, PATIENCE, |bytes| http_check::is_complete(bytes, &[GET]));
        ensure!(end != End::Reset, "reset after {} bytes", bytes.len());
        let responses = http_check::judge(&bytes, &[GET], end == End::Closed)
            .map_err(|violation| violation.to_string())?;
        let Some(response) = responses.first() else {
            return Err(Halt::Fail(format!("no answer, {end:?}")));
        };
        ensure!(response.status == 200, "status {}", response.status);
        ensure!(sha256(&response.body) == self.right_sha256, "a wrong byte");
        Ok(())
    }
}

/// What `wrk` said.
#[derive(Debug)]
pub struct WrkReport {
    /// Answers.
    pub requests: u64,
    /// Lines about errors; none if all went well.
    pub errors: Vec<String>,
}

/// Runs `wrk` with so many connections for so long.
///
/// # Errors
/// [`Halt::Skip`] if it is not installed; [`Halt::Fail`] if what it prints is not understood.
pub fn wrk(
    address: SocketAddr,
    path: &str,
    connections: usize,
    duration: Duration,
    header: Option<&str>,
) -> CaseResult<WrkReport> {
    let program = process::need_program("wrk", "wrk")?;
    let mut command = Command::new(program);
    command.args(["--threads", "1", "--timeout", "20"]);
    command.args(["--connections", &connections.to_string()]);
    command.args(["--duration", &format!("{}s", duration.as_secs().max(1))]);
    if let Some(header) = header {
        command.args(["--header", header]);
    }
    understood(&process::output(command.arg(format!("http://{address}{path}")))?)
}

/// `wrk` in the background, its connections kept alive.
pub struct RunningWrk(Process);

impl RunningWrk {
    /// Starts it; what it prints goes to a file in `dir`.
    ///
    /// # Errors
    /// [`Halt::Skip`] if it is not installed.
    pub fn start(
        dir: &Path,
        address: SocketAddr,
        path: &str,
        connections: usize,
    ) -> CaseResult<Self> {
        let mut command = Command::new(process::need_program("wrk", "wrk")?);
        command.args(["--threads", "1", "--timeout", "20", "--duration", "3600s"]);
        command.args(["--connections", &connections.to_string()]);
        command.arg(format!("http://{address}{path}"));
        Ok(Self(Process::spawn(&mut command, "wrk", dir)?))
    }

    /// Ends it, and says what it found.
    ///
    /// # Errors
    /// If it does not end, or what it prints is not understood.
    pub fn finish(mut self) -> CaseResult<WrkReport> {
        self.0.signal(Signal::INT);
        ensure!(self.0.wait(PATIENCE).is_some(), "wrk does not end");
        understood(&self.0.log())
    }
}

/// What `wrk` printed.
fn understood(text: &str) -> CaseResult<WrkReport> {
    let requests = text
        .lines()
        .find(|line| line.contains(" requests in "))
        .and_then(|line| line.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| Halt::Fail(format!("wrk printed:\n{text}")))?;
    let errors = text
        .lines()
        .filter(|line| line.contains("Socket errors") || line.contains("Non-2xx"))
        .map(|line| line.trim().to_owned())
        .collect();
    Ok(WrkReport { requests, errors })
}
