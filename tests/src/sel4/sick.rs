//! Guests and monitors that misbehave, one at a time: the service goes on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use resh_tests::appliance::{Status, Watched};
use resh_tests::ensure;
use resh_tests::harness::{CaseResult, Context, Halt};
use resh_tests::machine::{self, Machine, Start};
use resh_tests::process::wait_until;
use resh_tests::site::{Site, sha256};
use resh_tests::web::{self, Load};

use super::{GUESTS, LOOK_LIMIT, RECOVERY_LIMIT, usual};

const REQUESTS: u64 = 1_000;
/// How long a fault lasts that ends by itself, and a little more (`xtask/src/guest/init/common.sh`).
const SICK_TIME: Duration = Duration::from_secs(10);

/// One after the other: a link that is down, a flood, a loop, a crash in the middle of much to do.
pub(crate) fn sick_guests(context: &Context) -> CaseResult {
    let machine = usual(context)?;
    let site = Site::of_guests(&context.dir)?;
    let load = Load::of(machine.address(), "/1k.bin")?;
    for (kind, guest) in ["nic", "flood", "loop"].into_iter().zip(GUESTS) {
        machine.fault(guest, kind)?;
        let report = load.run_for(SICK_TIME);
        report.all_right()?;
        println!(
            "note: {} requests right with {guest} in `{kind}`, the longest in {:.1} s",
            report.right,
            report.longest.as_secs_f64()
        );
        all_answer(&machine)?;
    }
    crash(&machine, &site)
}

/// Waits until all three take part again: each has answered whatever was asked.
fn all_answer(machine: &Machine) -> CaseResult {
    let load = Load { clients: 1, ..Load::of(machine.address(), "/1k.bin")? };
    let requests = 20;
    let recovered = wait_until(RECOVERY_LIMIT, || {
        let before = machine.settled().ok()?;
        load.run(requests).all_right().ok()?;
        let after = machine.settled().ok()?;
        let answers = |guest: &&str| {
            let bytes = |status: &Status| status.counter(guest, "reply_bytes");
            bytes(&after) - bytes(&before) >= requests * 1024
        };
        (after.all_voting() && GUESTS.iter().all(answers)).then_some(())
    });
    recovered
        .ok_or_else(|| Halt::Fail(format!("never all three again:\n{}", machine.end_of_console())))
}

/// 1,000 requests and 16 MiB at once, while a guest crashes.
fn crash(machine: &Machine, site: &Site) -> CaseResult {
    let load = Load::of(machine.address(), "/1k.bin")?;
    let big = format!("/{}", site.big_name());
    let sum = sha256(&site.bytes(&site.big_name()));
    let crashed = AtomicBool::new(false);
    std::thread::scope(|scope| -> CaseResult {
        let download = scope.spawn(|| -> CaseResult {
            let response = web::get(machine.address(), &big)?;
            ensure!(crashed.load(Ordering::Relaxed), "16 MiB were there before the crash");
            ensure!(sha256(&response.body) == sum, "16 MiB came with another SHA-256");
            Ok(())
        });
        let crash = scope.spawn(|| -> CaseResult {
            std::thread::sleep(Duration::from_millis(500));
            machine.fault(GUESTS[0], "panic")?;
            crashed.store(true, Ordering::Relaxed);
            Ok(())
        });
        let report = load.run(REQUESTS);
        let all = [crash.join(), download.join()];
        for result in all {
            result.unwrap_or_else(|_| Err("a client died".to_owned().into()))?;
        }
        report.all_right()
    })?;
    println!("note: {REQUESTS} requests and 16 MiB right while {} crashed", GUESTS[0]);
    all_answer(machine)
}

/// A guest whose kernel attacks its monitor: the service goes on, and nobody else is condemned.
pub(crate) fn hostile_guest(context: &Context) -> CaseResult {
    let kernel = std::env::var("RESH_HOSTILE_GUEST").map_err(|_| {
        Halt::Skip("it needs the hostile kernel (`cargo xtask test sel4`)".to_owned())
    })?;
    let appliance = context.dir.join("resh.toml");
    let honest = machine::board_toml()?;
    let toml: Vec<&str> = honest
        .lines()
        .filter(|line| !(line.starts_with("kernel = ") && line.contains(GUESTS[2])))
        .collect();
    let toml = toml.join("\n").replace(
        &format!("[[guest]]\nname = \"{}\"", GUESTS[2]),
        &format!("[[guest]]\nname = \"{}\"\nkernel = \"{kernel}\"", GUESTS[2]),
    );
    ensure!(toml.contains(&kernel), "the configuration has no guest {}:\n{toml}", GUESTS[2]);
    std::fs::write(&appliance, toml)?;
    let appliance = appliance.display().to_string();
    let seed = format!("2=hostile.seed={}", context.seed);
    let arguments = ["--appliance", &appliance, "--guest-command-line", &seed];
    let image = machine::image(&context.dir, &arguments)?;
    let machine = Machine::start(&context.dir, &image, &Start::default())?;
    honest_ones_vote(&machine)?;
    machine.wait_console(0, "hostile: ", RECOVERY_LIMIT)?;
    let load = Load::of(machine.address(), "/1k.bin")?;
    let report = load.run_for(Duration::from_secs(20));
    report.all_right()?;
    println!("note: {} requests right beside a hostile guest", report.right);
    machine.wait_console(0, "hostile: all done", RECOVERY_LIMIT)?;
    load.run(200).all_right()?;
    let status = machine.status()?;
    ensure!(status.total("divergences") == 0, "an honest guest differed: {:#}", status.0);
    honest_ones_vote(&machine)
}

fn honest_ones_vote(machine: &Machine) -> CaseResult {
    let two =
        |status: &Status| GUESTS[..2].iter().all(|guest| status.domain(guest)["state"] == "voting");
    machine.wait_status(RECOVERY_LIMIT, "both honest guests voting", two).map(drop)
}

/// A replica's domain whose own program faults: it is out, and nothing else happens.
pub(crate) fn faulting_monitor(context: &Context) -> CaseResult {
    let image = machine::image(
        &context.dir,
        &["--features", "resh-sel4/faults", "--replace", "gateway_1=faulting_gateway"],
    )?;
    let machine = Machine::serving(&context.dir, &image, &Start::default())?;
    let load = Load::of(machine.address(), "/1k.bin")?;
    let mut requests = 0;
    while machine.status()?.domain(GUESTS[1])["state"] == "voting" {
        ensure!(requests < 2_000, "no fault:\n{}", machine.end_of_console());
        load.run(50).all_right()?;
        requests += 50;
    }
    machine.wait_console(0, "gateway_1 died", LOOK_LIMIT)?;
    load.run(500).all_right()?;
    let status = machine.settled()?;
    ensure!(status.domain(GUESTS[1])["state"] != "voting", "it votes again: {:#}", status.0);
    for guest in [GUESTS[0], GUESTS[2]] {
        ensure!(status.domain(guest)["state"] == "voting", "{guest} is out: {:#}", status.0);
    }
    ensure!(status.total("divergences") == 0, "someone differed: {:#}", status.0);
    println!("note: 500 requests right after a domain died in the midst of {requests}");
    Ok(())
}
