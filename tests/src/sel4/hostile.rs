//! A guest whose kernel attacks its monitor.

use std::time::Duration;

use resh_tests::appliance::{Status, Watched};
use resh_tests::ensure;
use resh_tests::harness::{CaseResult, Context, Halt};
use resh_tests::machine::{self, Machine, Start};
use resh_tests::web::Load;

use super::{GUESTS, RECOVERY_LIMIT};

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
