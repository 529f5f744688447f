//! A pair: two replicas, or what is left of three. Whatever two differ in, and wherever, the client gets what both said
//! and nothing beyond, and no end that looks like one.
//!
//! The servers are small ones that say the same bytes to everybody, and one of them goes wrong as the client
//! asks it to. `RESH_REPEAT` times 50 connections, at least 100.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use resh_tests::appliance::{Appliance, Config, Service};
use resh_tests::ensure;
use resh_tests::harness::{CaseResult, Context, Halt};
use resh_tests::net::{self, End};
use resh_tests::rng::Rng;
use resh_tests::tcp_servers::TcpServer;

use crate::recovery::repetitions;

/// Clients at once.
const CLIENTS: usize = 8;
/// How long replicas wait for each other, in milliseconds.
const REPLY_MS: u64 = 300;
/// How long a client waits for the end.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a request.
const REQUEST_BYTES: usize = 64;
/// Longest reply, in bytes: more than is retained of it, so that some replies are cut while they are being read.
const REPLY_BYTES_MAX: usize = 300_000;

/// What one of them does at the point where it goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// It says another byte, and goes on as the other.
    Bytes,
    /// It ends its stream.
    EarlyFin,
    /// It resets its connection.
    Reset,
    /// It says nothing more.
    Silence,
    /// It goes on where the other ends its stream.
    Extra,
}

const KINDS: [Kind; 5] = [Kind::Bytes, Kind::EarlyFin, Kind::Reset, Kind::Silence, Kind::Extra];

/// What a client asks for: who is to go wrong, how, and where.
#[derive(Clone, Copy, Debug)]
struct Wrong {
    replica: usize,
    kind: Kind,
    /// The point of disagreement: up to there both say the same.
    at: usize,
    /// Bytes of the whole reply.
    len: usize,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind as usize;
        write!(f, "{} {kind} {} {} ", self.replica, self.at, self.len)
    }
}

impl Wrong {
    fn random(rng: &mut Rng, replicas: &[usize]) -> Self {
        let kind = *rng.pick(&KINDS);
        let most = *rng.pick(&[20, 2_000, REPLY_BYTES_MAX]);
        let len = 1 + rng.below(most);
        let at = if kind == Kind::Extra { len } else { rng.below(len) };
        Self { replica: *rng.pick(replicas), kind, at, len }
    }

    fn parse(request: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(request).ok()?;
        let numbers: Vec<usize> = text.split(' ').map_while(|word| word.parse().ok()).collect();
        let [replica, kind, at, len] = numbers[..] else { return None };
        Some(Self { replica, kind: *KINDS.get(kind)?, at, len })
    }
}

/// Byte `at` of every reply. Neither the one before nor the one 128 KiB before is like it.
fn right(at: usize) -> u8 {
    (at ^ at >> 8 ^ at >> 16) as u8
}

fn serve(mut stream: TcpStream, own: usize) -> io::Result<()> {
    let mut request = [0; REQUEST_BYTES];
    stream.read_exact(&mut request)?;
    let wrong = Wrong::parse(&request).ok_or_else(|| io::Error::other("no request"))?;
    let whole: Vec<u8> = (0..wrong.len).map(right).collect();
    if wrong.replica != own {
        stream.write_all(&whole)?;
        return stream.shutdown(Shutdown::Write);
    }
    let (before, after) = whole.split_at(wrong.at);
    stream.write_all(before)?;
    match wrong.kind {
        Kind::Bytes => {
            stream.write_all(&[!after[0]])?;
            stream.write_all(&after[1..])?;
        }
        Kind::EarlyFin => {}
        Kind::Reset => {
            // What was said must have arrived: a reset takes with it what lies in its way.
            std::thread::sleep(Duration::from_millis(20));
            return rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))
                .map_err(Into::into);
        }
        Kind::Silence => {
            // Until the appliance closes the connection.
            let _ = stream.read(&mut request);
            return Ok(());
        }
        Kind::Extra => stream.write_all(b"and one thing more")?,
    }
    stream.shutdown(Shutdown::Write)
}

/// Two replicas.
pub(crate) fn of_two(context: &Context) -> CaseResult {
    pair(context, 2, |_| Ok(()))
}

/// Three, of which the operator has taken one out.
pub(crate) fn left_of_three(context: &Context) -> CaseResult {
    pair(context, 3, |appliance| {
        let done = appliance.replica("exclude", "c")?;
        ensure!(done.is_ok(), "{done:?}");
        Ok(())
    })
}

fn pair(
    context: &Context,
    replicas: usize,
    prepare: impl Fn(&Appliance) -> CaseResult,
) -> CaseResult {
    let servers = (0..replicas)
        .map(|own| TcpServer::start(move |stream| drop(serve(stream, own))))
        .collect::<io::Result<Vec<_>>>()?;
    let replicas = ["a", "b", "c"].into_iter().zip(servers.iter().map(|server| server.address));
    let mut service = Service::new("pair", "raw", replicas)?;
    service.more = "on_mismatch = \"stop-session\"".to_owned();
    let mut config = Config::of(service);
    config.preamble = format!("[limits]\nreply_ms = {REPLY_MS}\n");
    let appliance = Appliance::run(&context.dir, &config)?;
    prepare(&appliance)?;

    let count = (50 * repetitions()).max(100);
    let mut rng = Rng::new(context.seed);
    let all: Vec<Wrong> = (0..count).map(|_| Wrong::random(&mut rng, &[0, 1])).collect();
    let next = AtomicUsize::new(0);
    let asked = || -> CaseResult<usize> {
        let mut released = 0;
        while let Some(wrong) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            released += ask(&appliance, wrong).map_err(|why| format!("{wrong:?}: {why}"))?;
        }
        Ok(released)
    };
    let released = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(asked)).collect();
        clients.into_iter().try_fold(0, |sum, client| {
            Ok::<_, Halt>(sum + client.join().map_err(|_| Halt::Fail("a client ended".into()))??)
        })
    })?;
    // Neither of them is condemned for what nobody can decide.
    let status = appliance.settled()?;
    for name in ["a", "b"] {
        let domain = status.domain(name);
        ensure!(domain["state"] == "voting" && domain["condemned"] == 0, "{name}: {domain:#}");
    }
    let mut kinds: BTreeMap<Kind, usize> = BTreeMap::new();
    all.iter().for_each(|wrong| *kinds.entry(wrong.kind).or_default() += 1);
    println!(
        "note: {count} mismatches: {kinds:?}; {released} bytes agreed before them, and none after"
    );
    Ok(())
}

/// Asks for a reply in which the two part, and returns how much of it came.
fn ask(appliance: &Appliance, wrong: &Wrong) -> CaseResult<usize> {
    let mut request = wrong.to_string().into_bytes();
    request.resize(REQUEST_BYTES, b'.');
    let (bytes, end) = net::exchange(appliance.address, &request, PATIENCE)?;
    ensure!(
        bytes.len() <= wrong.at,
        "{} bytes beyond the point of disagreement",
        bytes.len() - wrong.at
    );
    let differs = bytes.iter().enumerate().find(|(at, byte)| **byte != right(*at));
    ensure!(differs.is_none(), "a wrong byte: {differs:?}");
    ensure!(end == End::Reset, "{} bytes, and then {end:?}", bytes.len());
    Ok(bytes.len())
}
