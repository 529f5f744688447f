//! Replicas that fall ill, are caught, begin anew and vote again, while clients notice nothing: three real web servers,
//! `wrk` on kept-alive connections, and clients that check every byte.
//!
//! `RESH_REPEAT` sets how often each fault befalls one of them; from 20 on each time with 20,000 requests.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use resh_tests::appliance::{Appliance, Config, Service, Status};
use resh_tests::harness::{CaseResult, Context, Halt};
use resh_tests::revivable::{self, Fault, PATH, Revivable};
use resh_tests::tcp_servers::TcpServer;
use resh_tests::web::{self, Load, LoadReport, RunningWrk, get_request};
use resh_tests::{ensure, net};

/// A replica that fell ill votes again within this time.
const RECOVERY_LIMIT: Duration = Duration::from_secs(40);
/// Connections of `wrk`.
const CONNECTIONS: usize = 16;
/// Clients that check every byte.
const CHECKERS: usize = 2;

/// How often each fault is tried.
pub(crate) fn repetitions() -> usize {
    std::env::var("RESH_REPEAT").ok().and_then(|text| text.parse().ok()).unwrap_or(2).max(1)
}

/// Requests while one replica falls ill and recovers, at least.
fn requests_min() -> u64 {
    if repetitions() >= 20 { 20_000 } else { 4_000 }
}

pub(crate) fn corrupt(context: &Context) -> CaseResult {
    each_recovers(context, Fault::Corrupt)
}

pub(crate) fn hang(context: &Context) -> CaseResult {
    each_recovers(context, Fault::Hang)
}

pub(crate) fn crash(context: &Context) -> CaseResult {
    each_recovers(context, Fault::Crash)
}

pub(crate) fn slow(context: &Context) -> CaseResult {
    each_recovers(context, Fault::Slow)
}

/// Three web servers with restart commands, and the appliance before them.
struct Shop {
    servers: Vec<Revivable>,
    _links: Vec<TcpServer>,
    appliance: Appliance,
}

impl Shop {
    /// `recovery` is what that table of its configuration says.
    fn open(context: &Context, recovery: &str) -> CaseResult<Self> {
        Self::open_over(context, recovery, |_| Ok(None))
    }

    /// The same, with servers that are reached over links, where there is one.
    fn open_over(
        context: &Context,
        recovery: &str,
        link: impl Fn(&Revivable) -> io::Result<Option<TcpServer>>,
    ) -> CaseResult<Self> {
        let servers = revivable::web_servers(&context.dir)?;
        let links = servers.iter().map(link).collect::<io::Result<Vec<_>>>()?;
        let replicas = servers.iter().zip(&links).map(|(server, link)| {
            (server.name, link.as_ref().map_or(server.address, |link| link.address))
        });
        let mut service = Service::new("web", "http1", replicas)?;
        service.more = format!("probe = \"{PATH}\"");
        service.restart = revivable::restart_command(&context.dir)?;
        let mut config = Config::of(service);
        config.preamble = format!("[limits]\nreply_ms = 2000\n[recovery]\n{recovery}");
        let appliance = Appliance::run(&context.dir, &config)?;
        Ok(Self { servers, _links: links.into_iter().flatten().collect(), appliance })
    }
}

/// Clients that ask without end.
struct Clients<'a> {
    appliance: &'a Appliance,
    wrk: RunningWrk,
    more: Arc<AtomicBool>,
    checkers: JoinHandle<LoadReport>,
    /// What had been answered when they began, in bytes.
    released_bytes: u64,
    /// What one reply has, about.
    reply_bytes: u64,
}

impl<'a> Clients<'a> {
    fn start(context: &Context, appliance: &'a Appliance) -> CaseResult<Self> {
        let load = Load::of(appliance.address, PATH)?;
        let load = Load { clients: CHECKERS, per_connection: usize::MAX, ..load };
        let (reply, _) = net::exchange(appliance.address, &get_request(PATH), web::PATIENCE)?;
        let more = Arc::new(AtomicBool::new(true));
        let go_on = Arc::clone(&more);
        Ok(Self {
            appliance,
            wrk: RunningWrk::start(&context.dir, appliance.address, PATH, CONNECTIONS)?,
            more,
            checkers: std::thread::spawn(move || load.run_while(|| go_on.load(Ordering::Relaxed))),
            released_bytes: released(&appliance.status()?),
            reply_bytes: reply.len() as u64,
        })
    }

    /// Waits until so many requests have been answered, and a few more.
    fn wait_for(&self, requests: u64) -> CaseResult<Status> {
        let bytes = self.released_bytes + (requests + requests / 10) * self.reply_bytes;
        let limit = Duration::from_secs(120);
        self.appliance
            .wait_status(limit, "enough requests answered", |status| released(status) >= bytes)
    }

    /// How many requests had been answered by then, about.
    fn answered(&self, status: &Status) -> u64 {
        released(status).saturating_sub(self.released_bytes) / self.reply_bytes
    }

    /// Ends them. Returns how many requests there were, all of which must have been answered rightly.
    fn finish(self) -> CaseResult<u64> {
        self.more.store(false, Ordering::Relaxed);
        let checked = self.checkers.join().map_err(|_| Halt::Fail("a client ended".into()))?;
        let report = self.wrk.finish()?;
        checked.all_right()?;
        ensure!(report.errors.is_empty(), "{} requests, and {:?}", report.requests, report.errors);
        Ok(report.requests + checked.right)
    }
}

fn released(status: &Status) -> u64 {
    status.service()["reply_bytes"].as_u64().unwrap_or(0)
}

/// One after another falls ill and is found out, begins anew, and votes again: in new sessions, and in those that there
/// were before.
fn each_recovers(context: &Context, fault: Fault) -> CaseResult {
    // Who was well for so long waits no longer than the first time.
    let shop = Shop::open_over(context, "back_off_max_ms = 1000\n", |server| {
        (fault == Fault::Slow).then(|| server.link()).transpose()
    })?;
    let appliance = &shop.appliance;
    let (mut times, mut requests, mut fewest) = (Vec::new(), 0, u64::MAX);
    for round in 0..repetitions() {
        let victim = &shop.servers[round % shop.servers.len()];
        let clients = Clients::start(context, appliance)?;
        clients.wait_for(requests_min() / 10)?;
        let before = appliance.status()?;
        let fell_ill = Instant::now();
        victim.suffer(fault)?;
        let name = victim.name;
        let well = appliance.wait_status(RECOVERY_LIMIT, "all voting again", |status| {
            status.counter(name, "recovered") > before.counter(name, "recovered")
                && status.all_voting()
        })?;
        times.push(fell_ill.elapsed());
        clients.wait_for(requests_min())?;
        let later = clients.wait_for(clients.answered(&well) + requests_min() / 10)?;
        let speaks = later.counter(name, "reply_bytes") > well.counter(name, "reply_bytes");
        let asked = clients.finish()?;
        ensure!(speaks, "{name} has no part in the sessions that there were: {:#}", later.0);
        for other in shop.servers.iter().filter(|other| other.name != name) {
            let (was, is) = (before.domain(other.name), later.domain(other.name));
            ensure!(
                was["generation"] == is["generation"] && is["state"] == "voting",
                "{} suffered for {name}: {:#}",
                other.name,
                later.0
            );
        }
        (requests, fewest) = (requests + asked, fewest.min(asked));
    }
    times.sort();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    println!(
        "note: {fault:?}, {} times: full redundancy after {:.2} s (median), {:.2} s (worst)",
        times.len(),
        median.as_secs_f64(),
        worst.as_secs_f64()
    );
    println!("note: {requests} requests, at least {fewest} each time, none failed");
    ensure!(fewest >= requests_min(), "only {fewest} requests in a round");
    Ok(())
}

/// All begin anew on schedule, one after another, without anybody's noticing.
pub(crate) fn rejuvenation(context: &Context) -> CaseResult {
    let shop = Shop::open(context, "rejuvenate_s = 1\n")?;
    let clients = Clients::start(context, &shop.appliance)?;
    let lives = |status: &Status| {
        shop.servers.iter().map(|server| status.counter(server.name, "generation")).min()
    };
    let twice = 2 + u64::from(repetitions() >= 20);
    let limit = Duration::from_secs(60);
    let mut out_at_most = 0;
    let status = shop.appliance.wait_status(limit, "rejuvenated all, one at a time", |status| {
        let votes = |server: &&Revivable| status.domain(server.name)["state"] == "voting";
        let voting = shop.servers.iter().filter(votes).count();
        out_at_most = out_at_most.max(shop.servers.len() - voting);
        lives(status) >= Some(twice) && status.all_voting()
    })?;
    let requests = clients.finish()?;
    ensure!(out_at_most == 1, "{out_at_most} were out at once");
    ensure!(status.disputes_total() == 0, "somebody noticed: {:#}", status.0);
    ensure!(status.total("condemned") == 0, "somebody was condemned: {:#}", status.0);
    println!("note: all three began anew {} times, {requests} requests, none failed", twice - 1);
    Ok(())
}

/// What an operator can do, and what he is refused.
pub(crate) fn operator(context: &Context) -> CaseResult {
    let shop = Shop::open(context, "")?;
    let appliance = &shop.appliance;
    let clients = Clients::start(context, appliance)?;
    let does = |wish, replica, words: &str| {
        let done = appliance.replica(wish, replica)?;
        ensure!(done.as_ref().is_ok_and(|done| done.contains(words)), "{wish} {replica}: {done:?}");
        Ok(())
    };
    let refuses = |wish, replica, words: &str| {
        let done = appliance.replica(wish, replica)?;
        ensure!(done.as_ref().is_err_and(|why| why.contains(words)), "{wish} {replica}: {done:?}");
        Ok::<_, Halt>(())
    };
    let votes_again = || appliance.wait_status(RECOVERY_LIMIT, "all voting", Status::all_voting);

    refuses("include", "nginx", "is not excluded")?;
    refuses("exclude", "hiawatha", "there is: replica nginx (0), replica lighttpd (1)")?;
    refuses("expel", "nginx", "none of exclude, include, rejuvenate")?;
    does("exclude", "lighttpd", "replica lighttpd (1) is excluded")?;
    let status = appliance.status()?;
    ensure!(status.domain("lighttpd")["state"] == "excluded", "{:#}", status.0);
    refuses("exclude", "lighttpd", "is excluded")?;
    refuses("exclude", "nginx", "would leave service `web` without a quorum")?;
    refuses("rejuvenate", "2", "would leave service `web` without a quorum")?;
    // What is out stays out, and what it does is nobody's business.
    shop.servers[1].suffer(Fault::Crash)?;
    clients.wait_for(1_000)?;
    let status = appliance.status()?;
    ensure!(status.domain("lighttpd")["state"] == "excluded", "{:#}", status.0);
    does("include", "1", "replica lighttpd (1) begins life 2")?;
    votes_again()?;
    does("rejuvenate", "apache2", "replica apache2 (2) begins life 2")?;
    let status = votes_again()?;
    ensure!(status.counter("nginx", "generation") == 1, "{:#}", status.0);
    ensure!(status.total("condemned") == 0, "somebody was condemned: {:#}", status.0);
    let requests = clients.finish()?;
    println!("note: {requests} requests beside all that, none failed");
    Ok(())
}

/// One that is wrong whenever it begins anew, or does not begin at all, waits longer each time, and recovers when the
/// cause is gone.
pub(crate) fn back_off(context: &Context) -> CaseResult {
    let recovery = "boot_ms = 1000\nback_off_ms = 100\nback_off_max_ms = 400\n";
    let shop = Shop::open(context, recovery)?;
    let appliance = &shop.appliance;
    let clients = Clients::start(context, appliance)?;
    let victim = &shop.servers[2];
    victim.falsify_pristine(true)?;
    victim.suffer(Fault::Crash)?;
    let lives = |lives| {
        appliance.wait_status(RECOVERY_LIMIT, "out again and again", |status| {
            status.counter(victim.name, "generation") >= lives
        })
    };
    let status = lives(4)?;
    let reason = &status.domain(victim.name)["reason"];
    ensure!(reason == "boot_time_out", "condemned for {reason}");
    victim.hide_pristine(true)?;
    lives(6)?;
    let waits = waits(&appliance.process.log());
    ensure!(waits.starts_with(&[100, 200, 400, 400, 400]), "it waited {waits:?} ms");
    let failed = "the restart command";
    ensure!(appliance.process.log().contains(failed), "{}", appliance.process.log());
    victim.hide_pristine(false)?;
    victim.falsify_pristine(false)?;
    appliance.wait_status(RECOVERY_LIMIT, "all voting again", Status::all_voting)?;
    let requests = clients.finish()?;
    println!("note: waits of {waits:?} ms; {requests} requests, none failed");
    Ok(())
}

/// The waits before next lives that the log tells of, in milliseconds.
fn waits(log: &str) -> Vec<u64> {
    let waits = log.lines().filter_map(|line| {
        line.rsplit_once(" begins in ")?.1.trim().trim_end_matches(" ms").parse().ok()
    });
    waits.collect()
}
