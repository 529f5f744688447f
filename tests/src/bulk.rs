//! 64 MiB down and up through one slow replica, at constant memory.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use resh_tests::appliance::{Appliance, Config, Service};
use resh_tests::harness::{CaseResult, Context};
use resh_tests::process::tree_memory_kib;
use resh_tests::servers;
use resh_tests::site::{BIG_BYTES, Site, sha256};
use resh_tests::tcp_servers::slow_link;
use resh_tests::{ensure, web};

/// One replica's link, in bytes per second each way; the others do a hundred times as much and more.
const SLOW_BYTES_PER_S: usize = 1 << 20;
/// 64 MiB over the slow link alone would take 64 s.
const LONGEST: Duration = Duration::from_secs(30);
/// Growth that is allowed once the rings are in use: the windows of a few more sessions.
const GROWTH_KIB: u64 = 8 * 1024;

pub(crate) fn down_and_up(context: &Context) -> CaseResult {
    let site = Site::create(&context.dir, context.seed)?;
    let servers = servers::web_servers(&context.dir, &site)?;
    let link = slow_link(servers[1].address, SLOW_BYTES_PER_S)?;
    let replicas = servers.iter().enumerate().map(|(index, server)| {
        (server.name, if index == 1 { link.address } else { server.address })
    });
    let config = Config::of(Service::new("web", "http1", replicas)?);
    let appliance = Appliance::run(&context.dir, &config)?;
    let big = site.bytes("64m.bin");
    let sum = sha256(&big);

    let down = || -> CaseResult<Duration> {
        let started = Instant::now();
        let response = web::get(appliance.address, "/64m.bin")?;
        ensure!(response.body.len() == BIG_BYTES, "{} bytes", response.body.len());
        ensure!(sha256(&response.body) == sum, "64 MiB came down with another SHA-256");
        Ok(started.elapsed())
    };
    let up = || -> CaseResult<Duration> {
        let started = Instant::now();
        let response = web::post(appliance.address, "/cgi-bin/sha256", &big)?;
        let said = String::from_utf8_lossy(&response.body).trim().to_owned();
        ensure!(said == sum, "64 MiB went up and SHA-256 is said to be {said}");
        Ok(started.elapsed())
    };
    // Once each way, so that what is counted is what grows after all buffers have been in use.
    down()?;
    up()?;
    let before_kib = tree_memory_kib(appliance.process.pid());
    let peak_kib = AtomicU64::new(before_kib);
    let done = AtomicBool::new(false);
    let mut times = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                peak_kib.fetch_max(tree_memory_kib(appliance.process.pid()), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let result = (0..3).try_for_each(|_| -> CaseResult {
            times.push(("down", down()?));
            times.push(("up", up()?));
            Ok(())
        });
        done.store(true, Ordering::Relaxed);
        result
    })?;
    let peak_kib = peak_kib.into_inner();
    ensure!(
        peak_kib <= before_kib + GROWTH_KIB,
        "memory grew from {before_kib} KiB to {peak_kib} KiB"
    );
    for (way, time) in &times {
        ensure!(
            *time < LONGEST,
            "64 MiB {way} took {time:?}: the slow replica holds back the others"
        );
        println!("note: 64 MiB {way} in {:.1} s", time.as_secs_f64());
    }
    println!("note: memory of all domains {before_kib} KiB, at most {peak_kib} KiB");
    let status = appliance.status()?;
    ensure!(status.all_voting(), "slowness cost a replica its vote for good: {:#}", status.0);
    Ok(())
}
