//! One gateway's process is replaced by a program that does to its memory and channel what no gateway does.
//! The service goes on with the other two, and the status names the replica and the reason.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use resh_tests::appliance::{Appliance, Config, Service, resh_with_faults};
use resh_tests::ensure;
use resh_tests::harness::{CaseResult, Context, duration};
use resh_tests::servers;
use resh_tests::site::Site;
use resh_tests::web::Load;

/// Reasons that the voter may give (`docs/operating.md`).
const REASONS: &[&str] = &[
    "ring_position",
    "ring_header",
    "ring_length",
    "unexpected_record",
    "credit_exceeded",
    "wrong_offset",
    "silent",
    "died",
];
/// Misdeeds in a minute, at least.
const ROUNDS_MIN: u64 = 10_000;
/// How long one appliance has to do with one seed.
const ONE_SEED: Duration = Duration::from_millis(2500);

pub(crate) fn a_hostile_domain(context: &Context) -> CaseResult {
    let program = resh_with_faults()?;
    let site = Site::create(&context.dir, context.seed)?;
    let servers = servers::web_servers(&context.dir, &site)?;
    let length = duration(60);
    let end = Instant::now() + length;
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    let (mut seed, mut requests, mut rounds) = (context.seed * 1000, 0, 0);
    while Instant::now() < end {
        seed += 1;
        println!("seed {seed}");
        let dir = context.dir.join(format!("seed{seed}"));
        std::fs::create_dir_all(&dir)?;
        let replicas = servers.iter().map(|server| (server.name, server.address));
        let config = Config::of(Service::new("web", "http1", replicas)?);
        let replace = format!("gateway_1=hostile:{seed}");
        let appliance = Appliance::run_program(&program, &dir, &config, &["--replace", &replace])?;
        let load = Load { clients: 3, ..Load::of(appliance.address, "/1k.bin")? };
        let report = load.run_for(ONE_SEED);
        let status = appliance.status()?;
        report.all_right().map_err(|halt| format!("seed {seed}: {halt}"))?;
        requests += report.right;
        for honest in [0, 2] {
            let name = servers[honest].name;
            ensure!(
                status.domain(name)["state"] == "voting" && status.counter(name, "condemned") == 0,
                "seed {seed}: {name} suffered for its neighbour: {:#}",
                status.0
            );
        }
        let hostile = servers[1].name;
        let reason = status.domain(hostile)["reason"].as_str();
        if let Some(reason) = reason {
            ensure!(REASONS.contains(&reason), "seed {seed}: condemned for {reason}");
            *reasons.entry(reason.to_owned()).or_default() += 1;
        }
        let suspicious = ["divergences", "evictions", "resets"];
        ensure!(
            reason.is_some() || suspicious.iter().any(|c| status.counter(hostile, c) > 0),
            "seed {seed}: the status says nothing about {hostile}: {:#}",
            status.0
        );
        for line in appliance.process.log().lines() {
            if let Some((_, count)) = line.split_once("hostile rounds ") {
                rounds += count.trim().parse::<u64>().unwrap_or(0);
            } else {
                println!("{line}");
                if let Some((_, misdeed)) = line.split_once("hostile life ") {
                    let misdeed = misdeed.split(": ").nth(1).unwrap_or(misdeed);
                    *seen.entry(misdeed.to_owned()).or_default() += 1;
                }
            }
        }
    }
    ensure!(!seen.is_empty(), "no hostile domain ever lived");
    ensure!(!reasons.is_empty(), "no hostile domain was ever condemned; lives: {seen:?}");
    let rounds_min = ROUNDS_MIN * length.as_secs().min(60) / 60;
    ensure!(rounds >= rounds_min, "only {rounds} misdeeds, and not {rounds_min}");
    println!("note: {} lives, {rounds} misdeeds: {seen:?}", seen.values().sum::<u64>());
    println!("note: {requests} requests beside them, all right; condemned for {reasons:?}");
    Ok(())
}
