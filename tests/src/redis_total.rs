//! `order = "total"`: many clients write at once, a replica is killed and its data wiped half-way, and afterwards all hold
//! the same, which is what the clients were told.
//!
//! `RESH_WRITES` sets the number of writes.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use resh_tests::appliance::{Appliance, Config, Service, Status};
use resh_tests::ensure;
use resh_tests::harness::{CaseResult, Context, Halt};
use resh_tests::rng::Rng;
use resh_tests::tcp_servers::TcpServer;

use crate::redis_client::{Client, PATIENT, Reply, Restartable, same_contents};

const CLIENTS: u64 = 20;
const RECOVERY_LIMIT: Duration = Duration::from_secs(60);

fn writes(default: u64) -> u64 {
    std::env::var("RESH_WRITES").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What a client wrote and was told: by key, what must be there in the end.
type Told = BTreeMap<String, Vec<String>>;

/// What all clients did.
#[derive(Default)]
struct Work {
    done: AtomicU64,
    longest_us: AtomicU64,
    /// What the one counter that all of them use replied.
    counts: Mutex<Vec<i64>>,
}

impl Work {
    /// One client's share: commands of all kinds on keys of its own, whose replies it knows beforehand, and the counter.
    fn client(
        &self,
        address: SocketAddr,
        number: u64,
        writes: u64,
        rng: &mut Rng,
    ) -> CaseResult<Told> {
        let mut client = Client::open(address)?;
        let mut told = Told::new();
        let (mut sorted, mut list, mut hash) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        let mut set = std::collections::BTreeSet::new();
        let mut counts = Vec::new();
        let key = |kind: &str| format!("{kind}:{number}");
        for write in 0..writes {
            let value = format!("value-{write}-{}", "x".repeat(rng.below(200)));
            let field = format!("field{}", rng.below(300));
            let began = Instant::now();
            let (said, wanted) = match rng.below(8) {
                0 => {
                    let key = format!("text:{number}:{}", rng.below(100));
                    let said = client.ask(&["SET", &key, &value])?;
                    told.insert(key, vec!["string".into(), "-1".into(), value]);
                    (said, Reply::Status("OK".into()))
                }
                1 => {
                    list.push(value.clone());
                    (
                        client.ask(&["RPUSH", &key("list"), &value])?,
                        Reply::Number(list.len() as i64),
                    )
                }
                2 => {
                    let is_new = hash.insert(field.clone(), value.clone()).is_none();
                    let said = client.ask(&["HSET", &key("hash"), &field, &value])?;
                    (said, Reply::Number(i64::from(is_new)))
                }
                3 => {
                    let is_new = set.insert(field.clone());
                    (client.ask(&["SADD", &key("set"), &field])?, Reply::Number(i64::from(is_new)))
                }
                4 => {
                    let said = client.ask(&["ZINCRBY", &key("sorted"), "2", &field])?;
                    let score = sorted.entry(field).or_insert(0);
                    *score += 2;
                    (said, Reply::Text(Some(score.to_string().into_bytes())))
                }
                5 => {
                    let said = client.ask(&["SETEX", &key("expires"), "100000", &value])?;
                    let read = client.ask(&["TTL", &key("expires")])?;
                    ensure!(
                        matches!(read, Reply::Number(99_990..=100_000)),
                        "TTL of {}: {read:?}",
                        key("expires")
                    );
                    (said, Reply::Status("OK".into()))
                }
                6 => {
                    let said = client.ask(&["SMEMBERS", &key("set")])?;
                    let all = set.iter().map(|text| Reply::Text(Some(text.clone().into_bytes())));
                    (said, Reply::Array(Some(all.collect())))
                }
                _ => {
                    let said = client.ask(&["INCR", "counter"])?;
                    let Reply::Number(count) = said else {
                        return Err(Halt::Fail(format!("INCR: {said:?}")));
                    };
                    counts.push(count);
                    (Reply::Number(count), Reply::Number(count))
                }
            };
            ensure!(
                said == wanted,
                "client {number}, write {write}: {said:.200?} and not {wanted:.200?}"
            );
            self.longest_us.fetch_max(began.elapsed().as_micros() as u64, Ordering::Relaxed);
            self.done.fetch_add(1, Ordering::Relaxed);
        }
        let head = |kind: &str| vec![kind.to_owned(), "-1".to_owned()];
        let mut keep = |kind: &str, name: &str, texts: Vec<String>| {
            if !texts.is_empty() {
                told.insert(format!("{name}:{number}"), [head(kind), texts].concat());
            }
        };
        keep("list", "list", list);
        keep("set", "set", set.into_iter().collect());
        let mut pairs: Vec<_> =
            hash.iter().map(|(field, value)| format!("{field}={value}")).collect();
        pairs.sort();
        keep("hash", "hash", pairs);
        let mut scores: Vec<_> = sorted.into_iter().map(|(field, score)| (score, field)).collect();
        scores.sort();
        let scores = scores.into_iter().flat_map(|(score, field)| [field, score.to_string()]);
        keep("zset", "sorted", scores.collect());
        self.counts.lock().map_err(|_| "a client panicked".to_owned())?.extend(counts);
        Ok(told)
    }
}

struct Store {
    appliance: Appliance,
    servers: Vec<Restartable>,
    liar: Option<Liar>,
}

impl Store {
    /// Three servers. With `liar` the second is reached through a proxy that falsifies what an export reads.
    fn open(context: &Context, state: &str, liar: bool) -> CaseResult<Self> {
        let servers = ["redis-a", "redis-b", "redis-c"]
            .into_iter()
            .map(|name| Restartable::start(&context.dir, name))
            .collect::<CaseResult<Vec<_>>>()?;
        let liar = liar.then(|| Liar::before(servers[1].address)).transpose()?;
        let mut service = Service::new("store", "resp", [])?;
        service.more = format!("order = \"total\"\nstate = \"{state}\"\nprobe = \"PING\"\n");
        for (at, server) in servers.iter().enumerate() {
            let address = match &liar {
                Some(liar) if at == 1 => liar.server.address,
                _ => server.address,
            };
            service.more += &server.toml(address);
        }
        let config = Config { preamble: PATIENT.to_owned(), ..Config::of(service) };
        let appliance = Appliance::run(&context.dir, &config)?;
        appliance.wait_status(Duration::from_secs(20), "all three voting", Status::all_voting)?;
        Ok(Self { appliance, servers, liar })
    }

    /// All clients write; when half is done, `half_way` is called.
    fn write(
        &self,
        context: &Context,
        writes: u64,
        half_way: impl FnOnce(&Self) -> CaseResult,
    ) -> CaseResult<(Work, Told)> {
        let work = Work::default();
        let address = self.appliance.address;
        let mut told = Told::new();
        thread::scope(|scope| -> CaseResult {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|number| {
                    let (work, seed) = (&work, context.seed * CLIENTS + number);
                    scope.spawn(move || {
                        work.client(address, number, writes / CLIENTS, &mut Rng::new(seed))
                    })
                })
                .collect();
            let running = || clients.iter().any(|client| !client.is_finished());
            while work.done.load(Ordering::Relaxed) < writes / 2 && running() {
                thread::sleep(Duration::from_millis(1));
            }
            half_way(self)?;
            for client in clients {
                told.extend(client.join().map_err(|_| "a client panicked".to_owned())??);
            }
            Ok(())
        })?;
        Ok((work, told))
    }

    /// The replicas hold the same, which is what the clients were told.
    fn holds(&self, work: &Work, told: &Told) -> CaseResult {
        let mut contents = same_contents(&self.servers)?;
        let mut counts = work.counts.lock().map_err(|_| "a client panicked".to_owned())?.clone();
        counts.sort_unstable();
        let wanted: Vec<i64> = (1..=counts.len() as i64).collect();
        ensure!(counts == wanted, "the counter was told twice, or not in turn");
        let counter = contents.remove(&(0, "counter".to_owned())).unwrap_or_default();
        ensure!(
            counter.last().map(String::as_str) == Some(&counts.len().to_string()),
            "the counter is {counter:?} and not {}",
            counts.len()
        );
        contents.retain(|(_, key), _| !key.starts_with("expires:"));
        let held: Told = contents.into_iter().map(|((_, key), held)| (key, held)).collect();
        for (key, wanted) in told {
            let held = held.get(key);
            ensure!(held == Some(wanted), "{key}: {held:.200?} and not {wanted:.200?}");
        }
        ensure!(held.len() == told.len(), "{} keys and not {}", held.len(), told.len());
        Ok(())
    }
}

fn exports(status: &Status) -> u64 {
    status.service()["order"]["exports"].as_u64().unwrap_or(0)
}

/// Kills a replica, wipes its data, and returns how long it took until all voted again.
fn kill_and_wipe(store: &Store, victim: &Restartable) -> CaseResult<Duration> {
    let generation = |status: &Status| status.counter(victim.name, "generation");
    let before = generation(&store.appliance.status()?);
    let since = Instant::now();
    let pid = victim.kill_and_wipe()?;
    store.appliance.wait_status(RECOVERY_LIMIT, "all three voting again", |status| {
        status.all_voting() && generation(status) > before
    })?;
    ensure!(victim.pid() != Some(pid), "{} was not started anew", victim.name);
    Ok(since.elapsed())
}

/// All write, one replica is killed and wiped half-way, and afterwards all hold what the clients were told.
fn write_and_recover(context: &Context, store: &Store, writes: u64) -> CaseResult {
    let victim = &store.servers[2];
    let mut recovery = Duration::ZERO;
    let (work, told) = store.write(context, writes, |store| {
        recovery = kill_and_wipe(store, victim)?;
        Ok(())
    })?;
    // Another one may have fallen behind on a busy machine, and be on its way back.
    store.appliance.wait_status(
        RECOVERY_LIMIT,
        "all three voting in the end",
        Status::all_voting,
    )?;
    // Once no session is left everybody has executed everything.
    let status = store.appliance.settled()?;
    store.holds(&work, &told)?;
    ensure!(status.service()["no_quorum"] == 0, "no quorum: {:#}", status.0);
    println!(
        "note: {} writes by {CLIENTS} clients, {} killed and wiped: redundant again after {:.3} s, longest wait \
         for a reply {:.3} s, {} exports",
        work.done.load(Ordering::Relaxed),
        victim.name,
        recovery.as_secs_f64(),
        Duration::from_micros(work.longest_us.load(Ordering::Relaxed)).as_secs_f64(),
        exports(&status)
    );
    Ok(())
}

pub(crate) fn replayed(context: &Context) -> CaseResult {
    let store = Store::open(context, "replay", false)?;
    write_and_recover(context, &store, writes(10_000))
}

pub(crate) fn exported(context: &Context) -> CaseResult {
    let store = Store::open(context, "export", false)?;
    fill_until_exported(&store)?;
    write_and_recover(context, &store, writes(10_000))
}

/// Three replicas write out their state, and one of them another than it holds: it is outvoted, and who is killed later
/// begins with what the others wrote.
pub(crate) fn falsified(context: &Context) -> CaseResult {
    let store = Store::open(context, "export", true)?;
    let liar = store.liar.as_ref().ok_or("there is no liar".to_owned())?;
    liar.lies.store(true, Ordering::Relaxed);
    fill_until_exported(&store)?;
    ensure!(liar.lied.load(Ordering::Relaxed) > 0, "there was no occasion to lie");
    liar.lies.store(false, Ordering::Relaxed);
    let status =
        store.appliance.wait_status(RECOVERY_LIMIT, "all three voting", Status::all_voting)?;
    ensure!(status.disputes_total() > 0, "no dispute tells of it: {:#}", status.0);
    let named = |dispute: &serde_json::Value| dispute["replica_name"] == store.servers[1].name;
    ensure!(status.disputes().iter().all(named), "somebody else was disputed: {:#}", status.0);
    println!(
        "note: {} lies, {} disputes",
        liar.lied.load(Ordering::Relaxed),
        status.disputes_total()
    );
    write_and_recover(context, &store, writes(10_000))
}

/// A transaction that is open while the state is written out and a replica begins anew is executed once by all, and one
/// that was over before not again.
pub(crate) fn transaction(context: &Context) -> CaseResult {
    let store = Store::open(context, "export", false)?;
    let mut client = Client::open(store.appliance.address)?;
    let mut asks = |dialogue: &[(&[&str], Reply)]| -> CaseResult {
        for (words, wanted) in dialogue {
            let said = client.ask(words)?;
            ensure!(said == *wanted, "{words:?}: {said:?} and not {wanted:?}");
        }
        Ok(())
    };
    let status = |text: &str| Reply::Status(text.to_owned());
    let done = |count| Reply::Array(Some(vec![Reply::Number(count)]));
    asks(&[
        (&["SELECT", "3"], status("OK")),
        (&["MULTI"], status("OK")),
        (&["INCR", "n"], status("QUEUED")),
        (&["EXEC"], done(1)),
        (&["MULTI"], status("OK")),
        (&["INCR", "n"], status("QUEUED")),
    ])?;
    fill_until_exported(&store)?;
    // Who is dead is noticed by those who ask, and three sessions are needed.
    let recovered = AtomicBool::new(false);
    let ask = |key: &str| -> CaseResult {
        let mut client = Client::open(store.appliance.address)?;
        while !recovered.load(Ordering::Relaxed) {
            let said = client.ask(&["INCR", key])?;
            ensure!(matches!(said, Reply::Number(_)), "INCR: {said:?}");
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    };
    thread::scope(|scope| -> CaseResult {
        let asking = ["a", "b", "c", "d"].map(|key| {
            let ask = &ask;
            scope.spawn(move || ask(key))
        });
        let result = kill_and_wipe(&store, &store.servers[2]);
        recovered.store(true, Ordering::Relaxed);
        for one in asking {
            one.join().map_err(|_| "a client panicked".to_owned())??;
        }
        result.map(|_| ())
    })?;
    asks(&[(&["EXEC"], done(2)), (&["INCR", "n"], Reply::Number(3))])?;
    drop(client);
    let status = store.appliance.settled()?;
    ensure!(status.service()["no_quorum"] == 0, "no quorum: {:#}", status.0);
    let contents = same_contents(&store.servers)?;
    let held = contents.get(&(3, "n".to_owned())).and_then(|held| held.last());
    ensure!(held.map(String::as_str) == Some("3"), "it is {held:?} and not 3");
    Ok(())
}

/// Writes the same few long values again and again, until the log is full enough for an export.
fn fill_until_exported(store: &Store) -> CaseResult {
    let mut client = Client::open(store.appliance.address)?;
    for round in 0..100 {
        for at in 0..40 {
            let key = format!("fill:{}", at % 8);
            let value = format!("value-{round}-{at}-{}", "x".repeat(10_000));
            let said = client.ask(&["SET", &key, &value])?;
            ensure!(said == Reply::Status("OK".into()), "SET: {said:?}");
        }
        if exports(&store.appliance.status()?) > 0 {
            for at in 0..8 {
                client.ask(&["DEL", &format!("fill:{at}")])?;
            }
            return Ok(());
        }
    }
    Err(Halt::Fail(format!("no export: {:#}", store.appliance.status()?.0)))
}

/// A proxy before a server that changes what it answers to who reads all keys.
struct Liar {
    server: TcpServer,
    lies: Arc<AtomicBool>,
    lied: Arc<AtomicU64>,
}

impl Liar {
    fn before(target: SocketAddr) -> CaseResult<Self> {
        let (lies, lied) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (may, count) = (Arc::clone(&lies), Arc::clone(&lied));
        let server = TcpServer::start(move |client| {
            let Ok(server) = TcpStream::connect(target) else { return };
            let (Ok(from_client), Ok(to_server)) = (client.try_clone(), server.try_clone()) else {
                return;
            };
            let exports = Arc::new(AtomicBool::new(false));
            let (seen, may) = (Arc::clone(&exports), Arc::clone(&may));
            thread::spawn(move || {
                copy(from_client, to_server, |bytes| {
                    let reads_all = bytes.windows(6).any(|six| six == b"KEYS\r\n");
                    seen.fetch_or(reads_all && may.load(Ordering::Relaxed), Ordering::Relaxed);
                });
            });
            copy(server, client, |bytes| {
                if exports.load(Ordering::Relaxed)
                    && let Some(at) = bytes.windows(6).position(|six| six == b"value-")
                {
                    bytes[at] = b'V';
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        })?;
        Ok(Self { server, lies, lied })
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, mut look: impl FnMut(&mut [u8])) {
    let _ = to.set_nodelay(true);
    let mut buffer = vec![0; 32 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        look(&mut buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
