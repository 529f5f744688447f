//! `raw`, byte for byte: three Redis servers, and three echo servers of different make.

use std::io::Write;
use std::net::{Shutdown, SocketAddr};
use std::process::Command;
use std::time::Duration;

use resh_tests::appliance::{Appliance, Config, Service};
use resh_tests::harness::{CaseResult, Context, During};
use resh_tests::net::{self, End};
use resh_tests::rng::Rng;
use resh_tests::servers::{self, Server};
use resh_tests::tcp_servers::echo_servers;
use resh_tests::{ensure, process};

struct Cache {
    appliance: Appliance,
    servers: Vec<Server>,
}

impl Cache {
    fn open(context: &Context) -> CaseResult<Self> {
        let servers = ["redis-a", "redis-b", "redis-c"]
            .into_iter()
            .map(|name| servers::redis(&context.dir, name))
            .collect::<CaseResult<Vec<_>>>()?;
        let replicas = servers.iter().map(|server| (server.name, server.address));
        let config = Config::of(Service::new("cache", "raw", replicas)?);
        let appliance = Appliance::run(&context.dir, &config)?;
        Ok(Cache { appliance, servers })
    }

    /// Runs `redis-cli` with these words.
    fn cli(&self, address: SocketAddr, words: &[&str]) -> CaseResult<String> {
        let mut command = Command::new(process::need_program("redis-cli", "redis-tools")?);
        command.args(["-h", &address.ip().to_string(), "-p", &address.port().to_string()]);
        process::output(command.args(words))
    }

    /// All replicas vote, agreed all the time, and hold the same data.
    fn nobody_differed(&self) -> CaseResult {
        let status = self.appliance.settled()?;
        ensure!(status.all_voting(), "a replica lost its vote: {:#}", status.0);
        ensure!(status.total("divergences") == 0, "replicas differed: {:#}", status.0);
        let held = |server: &Server| self.cli(server.address, &["DEBUG", "DIGEST"]);
        let digests = self.servers.iter().map(held).collect::<CaseResult<Vec<_>>>()?;
        ensure!(digests.iter().all(|digest| *digest == digests[0]), "data differ: {digests:?}");
        Ok(())
    }
}

pub(crate) fn redis_cli(context: &Context) -> CaseResult {
    let cache = Cache::open(context)?;
    let dialogue: &[(&[&str], &str)] = &[
        (&["PING"], "PONG\n"),
        (&["SET", "name", "resh"], "OK\n"),
        (&["GET", "name"], "resh\n"),
        (&["APPEND", "name", "!"], "5\n"),
        (&["INCRBY", "n", "41"], "41\n"),
        (&["INCR", "n"], "42\n"),
        (&["RPUSH", "list", "a", "b", "c"], "3\n"),
        (&["LRANGE", "list", "0", "-1"], "a\nb\nc\n"),
        (&["ZADD", "z", "2", "two", "1", "one"], "2\n"),
        (&["ZRANGE", "z", "0", "-1", "WITHSCORES"], "one\n1\ntwo\n2\n"),
        (&["HSET", "h", "k", "v"], "1\n"),
        (&["HGETALL", "h"], "k\nv\n"),
        (&["GET", "nothing"], "\n"),
        (&["TYPE", "list"], "list\n"),
        (&["EVAL", "return redis.call('GET', KEYS[1])", "1", "name"], "resh!\n"),
    ];
    for (words, wanted) in dialogue {
        let said = cache.cli(cache.appliance.address, words)?;
        ensure!(said == *wanted, "{words:?}: {said:?} and not {wanted:?}");
    }
    let wrong = cache.cli(cache.appliance.address, &["INCR", "name"])?;
    ensure!(wrong.contains("not an integer"), "INCR of a word: {wrong}");
    cache.nobody_differed()
}

pub(crate) fn redis_benchmark(context: &Context) -> CaseResult {
    let program = process::need_program("redis-benchmark", "redis-tools")?;
    let cache = Cache::open(context)?;
    let address = cache.appliance.address;
    let run = |words: &[&str]| {
        let mut command = Command::new(&program);
        command.args(["-h", &address.ip().to_string(), "-p", &address.port().to_string(), "--csv"]);
        process::output(command.args(words))
    };
    // Sessions are not ordered among each other, so commands whose replies depend on what other sessions did
    // (counters, list lengths) run in one session, and the others in fifty.
    let many = run(&["-n", "20000", "-c", "50", "-t", "ping_inline,ping_mbulk,set,get,mset"])?;
    let deep = run(&["-n", "50000", "-c", "20", "-P", "16", "-t", "set,get"])?;
    let alone = run(&[
        "-n",
        "2000",
        "-c",
        "1",
        "-t",
        "incr,lpush,rpush,lpop,rpop,sadd,hset,zadd,lrange_100",
    ])?;
    for (what, text) in [("50 sessions", &many), ("pipelined", &deep), ("one session", &alone)] {
        ensure!(!text.contains("rror"), "{what}:\n{text}");
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split(',').map(|field| field.trim_matches('"')).collect();
            println!("note: {what}: {} {} requests/s", fields[0], fields.get(1).unwrap_or(&"?"));
        }
    }
    cache.nobody_differed()
}

/// Random bytes in random pieces come back whole and in order, though the echo servers cut them up
/// differently.
pub(crate) fn echo(context: &Context) -> CaseResult {
    const SESSIONS: u64 = 16;
    const BYTES: usize = 1 << 20;
    let echoes = echo_servers()?;
    let names = ["at-once", "by-seven", "gathered"];
    let replicas = names.into_iter().zip(echoes.iter().map(|echo| echo.address));
    let config = Config::of(Service::new("echo", "raw", replicas)?);
    let appliance = Appliance::run(&context.dir, &config)?;
    std::thread::scope(|scope| {
        let sessions: Vec<_> = (0..SESSIONS)
            .map(|number| {
                let seed = context.seed * SESSIONS + number;
                let address = appliance.address;
                scope.spawn(move || echo_session(address, seed, BYTES))
            })
            .collect();
        sessions.into_iter().try_for_each(|session| match session.join() {
            Ok(result) => result,
            Err(_) => Err("a client panicked".to_owned().into()),
        })
    })?;
    let status = appliance.settled()?;
    ensure!(status.all_voting(), "a replica lost its vote: {:#}", status.0);
    ensure!(status.total("divergences") == 0, "replicas differed: {:#}", status.0);
    println!("note: {SESSIONS} sessions of {BYTES} bytes came back whole");
    Ok(())
}

fn echo_session(address: SocketAddr, seed: u64, length: usize) -> CaseResult {
    let mut rng = Rng::new(seed);
    let sent = rng.bytes(length);
    let mut stream = net::connect(address, Duration::from_secs(60)).during("connecting")?;
    let mut writer = stream.try_clone()?;
    let (received, end) = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut rest = &sent[..];
            while !rest.is_empty() {
                let piece = (1 + rng.below(20_000)).min(rest.len());
                if writer.write_all(&rest[..piece]).is_err() {
                    return;
                }
                rest = &rest[piece..];
            }
            let _ = writer.shutdown(Shutdown::Write);
        });
        net::read_until(&mut stream, Duration::from_secs(60), |_| false)
    });
    ensure!(end == End::Closed, "seed {seed}: {end:?} after {} bytes", received.len());
    ensure!(received == sent, "seed {seed}: {} bytes came back, not the same", received.len());
    Ok(())
}
