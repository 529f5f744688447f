//! From inside each domain, behind its own filter, everything that it was not granted is tried, and fails.

use std::process::Command;
use std::time::Duration;

use resh_tests::appliance::{Config, Service, resh_with_faults};
use resh_tests::harness::{CaseResult, Context};
use resh_tests::process::{Process, wait_until};
use resh_tests::tcp_servers::echo_servers;
use resh_tests::{ensure, net};

const DOMAINS: &[&str] =
    &["network", "voter", "resh_monitor", "gateway_0", "gateway_1", "gateway_2"];
const PROBE_LIMIT: Duration = Duration::from_secs(20);
/// Fewer attempts than these, and the probe itself is broken.
const ATTEMPTS_MIN: usize = 30;

pub(crate) fn nothing_but_what_is_granted(context: &Context) -> CaseResult {
    let program = resh_with_faults()?;
    let echoes = echo_servers()?;
    let mut total = 0;
    for domain in DOMAINS {
        let replicas = ["a", "b", "c"].into_iter().zip(echoes.iter().map(|echo| echo.address));
        let mut config = Config::of(Service::new("echo", "raw", replicas)?);
        config.preamble = format!("metrics = \"{}\"", net::free_address()?);
        let dir = context.dir.join(domain);
        std::fs::create_dir_all(&dir)?;
        let file = dir.join("resh.toml");
        std::fs::write(&file, config.to_toml())?;
        let mut command = Command::new(&program);
        command.arg("run").arg(&file).args(["--replace", &format!("{domain}=probe")]);
        command.arg("--runtime-dir").arg(dir.join("run"));
        let appliance = Process::spawn(&mut command, "resh", &dir)?;
        let prefix = format!("probe {domain} ");
        let last = format!("{prefix}last: ");
        let done = wait_until(PROBE_LIMIT, || appliance.log().contains(&last).then_some(()));
        ensure!(done.is_some(), "the probe in {domain} did not get through:\n{}", appliance.log());
        // The last attempt must have ended the domain before it could say more.
        std::thread::sleep(Duration::from_millis(300));
        let log = appliance.log();
        // A domain that is started again is probed again; the first life is enough.
        let attempts: Vec<&str> =
            log.lines().filter_map(|line| line.strip_prefix(&prefix)).collect();
        for attempt in &attempts {
            let denied = attempt.contains(": denied (");
            ensure!(denied || attempt.starts_with("last: "), "in {domain}: {attempt}");
            println!("{prefix}{attempt}");
        }
        let first_life = attempts.iter().position(|attempt| attempt.starts_with("last: "));
        let count = first_life.unwrap_or(0);
        ensure!(count >= ATTEMPTS_MIN, "only {count} attempts in {domain}:\n{log}");
        total += count;
    }
    println!("note: {total} attempts in {} domains, all denied", DOMAINS.len());
    Ok(())
}
