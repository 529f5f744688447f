//! Many sessions, sessions that stand still, too many sessions, and sessions that come and go.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use resh_tests::appliance::{Appliance, Config, Service};
use resh_tests::ensure;
use resh_tests::harness::{CaseResult, Context, During, duration};
use resh_tests::net::{self, End};
use resh_tests::process::{tree_descriptors, tree_memory_kib};
use resh_tests::rng::Rng;
use resh_tests::servers;
use resh_tests::site::Site;
use resh_tests::tcp_servers::{TcpServer, echo_servers};
use resh_tests::web::{self, Load};

const PATIENCE: Duration = Duration::from_secs(20);

struct Echo {
    appliance: Appliance,
    _servers: [TcpServer; 3],
}

impl Echo {
    fn open(context: &Context, limits: &str) -> CaseResult<Self> {
        let servers = echo_servers()?;
        let replicas = ["a", "b", "c"].into_iter().zip(servers.iter().map(|echo| echo.address));
        let mut config = Config::of(Service::new("echo", "raw", replicas)?);
        config.preamble = format!("[limits]\n{limits}\n");
        let appliance = Appliance::run(&context.dir, &config)?;
        Ok(Echo { appliance, _servers: servers })
    }
}

/// Sends `bytes` and wants the same back.
fn echoes(stream: &mut TcpStream, bytes: &[u8]) -> CaseResult {
    stream.write_all(bytes).during("sending")?;
    let (back, end) = net::read_until(stream, PATIENCE, |back| back.len() >= bytes.len());
    ensure!(back == bytes, "{} of {} bytes came back, {end:?}", back.len(), bytes.len());
    Ok(())
}

pub(crate) fn a_thousand_at_once(context: &Context) -> CaseResult {
    const SESSIONS: usize = 1000;
    let echo = Echo::open(context, "sessions = 1024")?;
    let mut streams = Vec::new();
    for number in 0..SESSIONS {
        let stream = net::connect(echo.appliance.address, PATIENCE);
        streams.push(stream.during(format_args!("connecting {number}"))?);
    }
    for round in 0..3 {
        for (number, stream) in streams.iter_mut().enumerate() {
            let text = format!("session {number}, round {round};");
            echoes(stream, text.repeat(1 + number % 50).as_bytes())
                .during(format_args!("session {number}"))?;
        }
    }
    let status = echo.appliance.status()?;
    ensure!(status.0["sessions_open"] == SESSIONS, "open: {}", status.0["sessions_open"]);
    ensure!(status.all_voting(), "a replica lost its vote: {:#}", status.0);
    drop(streams);
    echo.appliance.settled().map(|_| ())
}

/// A client that never reads and one that sends a byte a second cost the others nothing.
pub(crate) fn standing_still(context: &Context) -> CaseResult {
    const LONGEST: Duration = Duration::from_secs(1);
    let site = Site::create(&context.dir, context.seed)?;
    let servers = servers::web_servers(&context.dir, &site)?;
    let replicas = servers.iter().map(|server| (server.name, server.address));
    let config = Config::of(Service::new("web", "http1", replicas)?);
    let appliance = Appliance::run(&context.dir, &config)?;
    let address = appliance.address;
    let load = Load::of(address, "/1k.bin")?;

    let mut never_read = Vec::new();
    for _ in 0..20 {
        let mut stream = net::connect(address, PATIENCE)?;
        stream.write_all(&web::get_request("/64m.bin"))?;
        never_read.push(stream);
    }
    let request = web::get_request("/hello.txt");
    let mut byte_a_second = net::connect(address, PATIENCE)?;
    let report = std::thread::scope(|scope| {
        let slow = scope.spawn(|| {
            for byte in &request[..5] {
                byte_a_second.write_all(&[*byte])?;
                std::thread::sleep(Duration::from_secs(1));
            }
            byte_a_second.write_all(&request[5..])
        });
        let report = load.run_for(Duration::from_secs(5));
        slow.join().map(|sent| sent.map(|()| report))
    });
    let report = match report {
        Ok(sent) => sent.during("sending a byte a second")?,
        Err(_) => return Err("the slow client panicked".to_owned().into()),
    };
    report.all_right()?;
    ensure!(report.longest < LONGEST, "a request took {:?}", report.longest);
    let (answer, _) = net::read_until(&mut byte_a_second, PATIENCE, |_| false);
    ensure!(answer.ends_with(b"hello, quorum\n"), "the slow client got {} bytes", answer.len());
    let status = appliance.status()?;
    ensure!(status.all_voting(), "a client's slowness cost a vote: {:#}", status.0);
    println!("note: {} requests beside them, the longest {:?}", report.right, report.longest);
    Ok(())
}

/// Beyond the limit a client is told so at once, and can come back when there is room.
pub(crate) fn beyond_the_limit(context: &Context) -> CaseResult {
    const LIMIT: usize = 16;
    let echo = Echo::open(context, &format!("sessions = {LIMIT}"))?;
    let address = echo.appliance.address;
    let mut streams = Vec::new();
    for _ in 0..LIMIT {
        let mut stream = net::connect(address, PATIENCE)?;
        echoes(&mut stream, b"mine")?;
        streams.push(stream);
    }
    for _ in 0..50 {
        let started = Instant::now();
        if let Ok(mut refused) = net::connect(address, PATIENCE) {
            let _ = refused.write_all(b"may I?");
            let (said, end) = net::read_until(&mut refused, PATIENCE, |_| false);
            ensure!(end != End::Open, "a client beyond the limit was left waiting");
            ensure!(said.is_empty(), "a client beyond the limit was told {said:?}");
        }
        ensure!(
            started.elapsed() < Duration::from_secs(2),
            "refused after {:?}",
            started.elapsed()
        );
    }
    echo.appliance.wait_status(Duration::from_secs(5), "counting 50 refusals", |status| {
        status.0["network"]["refused"].as_u64() >= Some(50)
    })?;
    for stream in &mut streams {
        echoes(stream, b"still mine")?;
    }
    drop(streams);
    echo.appliance.settled()?;
    echoes(&mut net::connect(address, PATIENCE)?, b"my turn")
}

/// After a minute of clients that come and go, also in bad manners, nothing of them is left.
pub(crate) fn churn(context: &Context) -> CaseResult {
    const CLIENTS: u64 = 8;
    const GROWTH_KIB: u64 = 8 * 1024;
    let echo = Echo::open(context, "sessions = 256")?;
    let address = echo.appliance.address;
    let pid = echo.appliance.process.pid();
    // A first round, in which every session index and buffer is used once.
    churn_for(address, context.seed, CLIENTS, duration(60) / 6)?;
    echo.appliance.settled()?;
    let before = (tree_descriptors(pid), tree_memory_kib(pid));
    let sessions = churn_for(address, context.seed + 1, CLIENTS, duration(60))?;
    echo.appliance.settled()?;
    let descriptors = resh_tests::process::wait_until(PATIENCE, || {
        let now = tree_descriptors(pid);
        (now <= before.0).then_some(now)
    });
    ensure!(
        descriptors.is_some(),
        "{} descriptors before, {} after",
        before.0,
        tree_descriptors(pid)
    );
    let memory_kib = tree_memory_kib(pid);
    ensure!(
        memory_kib <= before.1 + GROWTH_KIB,
        "memory grew from {} KiB to {memory_kib} KiB",
        before.1
    );
    let status = echo.appliance.status()?;
    ensure!(status.all_voting(), "a replica lost its vote: {:#}", status.0);
    println!(
        "note: {sessions} sessions; {} descriptors before and after; {} KiB before, {memory_kib} KiB after",
        before.0, before.1
    );
    Ok(())
}

fn churn_for(address: SocketAddr, seed: u64, clients: u64, length: Duration) -> CaseResult<u64> {
    let end = Instant::now() + length;
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..clients)
            .map(|number| {
                scope.spawn(move || -> CaseResult<u64> {
                    let mut rng = Rng::new(seed * 1000 + number);
                    let mut sessions = 0;
                    while Instant::now() < end {
                        one_visit(address, &mut rng)?;
                        sessions += 1;
                    }
                    Ok(sessions)
                })
            })
            .collect();
        let mut total = 0;
        for client in clients {
            match client.join() {
                Ok(sessions) => total += sessions?,
                Err(_) => return Err("a client panicked".to_owned().into()),
            }
        }
        Ok(total)
    })
}

/// One session that ends in one of the ways in which sessions end.
fn one_visit(address: SocketAddr, rng: &mut Rng) -> CaseResult {
    let mut stream = net::connect(address, PATIENCE).during("connecting")?;
    let length = 1 + rng.below(5000);
    let bytes = rng.bytes(length);
    match rng.below(6) {
        0 => {}
        1 => stream.write_all(&bytes).during("sending")?,
        2 => {
            // With bytes unread in the socket, closing it sends a reset.
            stream.write_all(&bytes).during("sending")?;
            net::read_until(&mut stream, PATIENCE, |back| !back.is_empty());
        }
        3 => {
            stream.shutdown(Shutdown::Write)?;
            let (back, end) = net::read_until(&mut stream, PATIENCE, |_| false);
            ensure!(back.is_empty() && end == End::Closed, "{} bytes, {end:?}", back.len());
        }
        4 => {
            stream.write_all(&bytes).during("sending")?;
            stream.shutdown(Shutdown::Write)?;
            let (back, end) = net::read_until(&mut stream, PATIENCE, |_| false);
            ensure!(back == bytes && end == End::Closed, "{} bytes, {end:?}", back.len());
        }
        _ => echoes(&mut stream, &bytes)?,
    }
    Ok(())
}
