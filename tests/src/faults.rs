//! `resh demo` with faulty replicas: what a newcomer tries first.

use std::time::Duration;

use resh_tests::appliance::Appliance;
use resh_tests::ensure;
use resh_tests::harness::{CaseResult, Context};
use resh_tests::net::{self, End};
use resh_tests::process;
use resh_tests::web::{self, Load, get_request};

const REQUESTS: u64 = 1_000;
/// A replica whose fault is gone, or whose server was started again, votes again within this time.
const RECOVERY_LIMIT: Duration = Duration::from_secs(30);
const LOOK_LIMIT: Duration = Duration::from_secs(10);

pub(crate) fn one_corrupted(context: &Context) -> CaseResult {
    one_faulty(context, "corrupt")
}

pub(crate) fn one_hung(context: &Context) -> CaseResult {
    one_faulty(context, "hang")
}

pub(crate) fn one_slow(context: &Context) -> CaseResult {
    one_faulty(context, "slow")
}

pub(crate) fn one_killed(context: &Context) -> CaseResult {
    one_faulty(context, "kill")
}

/// Each replica in turn has the fault; all requests come back right, and afterwards all vote again.
fn one_faulty(context: &Context, fault: &str) -> CaseResult {
    let appliance = Appliance::demo(&context.dir, 3)?;
    let load = Load::of(appliance.address, "/")?;
    let status = appliance.status()?;
    for replica in status.replica_names() {
        appliance.fault(replica, fault)?;
        load.run(REQUESTS).all_right()?;
        let program = process::find_program("wrk");
        if program.is_some() {
            let report = web::wrk(appliance.address, "/", 16, Duration::from_secs(2), None)?;
            ensure!(report.errors.is_empty(), "wrk with {replica} {fault}: {:?}", report.errors);
        }
        if fault == "corrupt" {
            let status = appliance.status()?;
            let lies = status.counter(replica, "divergences");
            ensure!(lies > 0, "{replica} lied unseen: {:#}", status.0);
        }
        appliance.fault(replica, "clear")?;
        appliance.wait_status(RECOVERY_LIMIT, "all voting again", |s| s.all_voting())?;
        load.run(50).all_right()?;
    }
    println!("note: {REQUESTS} requests right with each of 3 replicas {fault}");
    Ok(())
}

/// With two of three wrong, each in its own way, nothing wrong comes out.
pub(crate) fn two_corrupted(context: &Context) -> CaseResult {
    let appliance = Appliance::demo(&context.dir, 3)?;
    let right = right_answer(&appliance)?;
    let status = appliance.status()?;
    let names = status.replica_names();
    for pair in [[0, 1], [1, 2], [0, 2]] {
        for index in pair {
            appliance.fault(names[index], "corrupt")?;
        }
        for _ in 0..200 {
            no_wrong_byte(&appliance, &right)?;
        }
        appliance.wait_status(LOOK_LIMIT, "without quorum", |status| {
            status.service_state() == "no_quorum"
        })?;
        let text = appliance.status_text()?;
        ensure!(text.contains("no quorum"), "`resh status` does not say so:\n{text}");
        for index in pair {
            appliance.fault(names[index], "clear")?;
        }
        appliance.wait_status(RECOVERY_LIMIT, "all voting again", |s| s.all_voting())?;
        Load::of(appliance.address, "/")?.run(50).all_right()?;
    }
    Ok(())
}

/// With one of two wrong the service stops, says why, and stays stopped.
pub(crate) fn one_of_two_corrupted(context: &Context) -> CaseResult {
    let appliance = Appliance::demo(&context.dir, 2)?;
    let right = right_answer(&appliance)?;
    let status = appliance.status()?;
    let name = status.replica_names()[1];
    appliance.fault(name, "corrupt")?;
    for _ in 0..20 {
        no_wrong_byte(&appliance, &right)?;
    }
    let stopped = |what: &str| {
        appliance.wait_status(LOOK_LIMIT, what, |status| status.service_state() == "stopped")
    };
    let status = stopped("stopped")?;
    let number = &status.service()["stopped_by"];
    ensure!(
        status.disputes().iter().any(|dispute| &dispute["number"] == number),
        "no dispute {number} says why: {:#}",
        status.0
    );
    let text = appliance.status_text()?;
    ensure!(text.contains("stopped"), "`resh status` does not say so:\n{text}");
    // The cause is gone, but nobody can say which of the two is right: only an operator may go on.
    appliance.fault(name, "clear")?;
    std::thread::sleep(Duration::from_secs(3));
    for _ in 0..20 {
        no_wrong_byte(&appliance, &right)?;
    }
    stopped("still stopped")?;
    Ok(())
}

fn right_answer(appliance: &Appliance) -> CaseResult<Vec<u8>> {
    let (bytes, end) = net::exchange(appliance.address, &get_request("/"), web::PATIENCE)?;
    ensure!(end == End::Closed && bytes.len() > 100, "{} bytes, {end:?}", bytes.len());
    Ok(without_date(bytes))
}

/// Asks once: what comes, if anything does, is the beginning of the right answer, and the connection ends
/// before the answer does.
fn no_wrong_byte(appliance: &Appliance, right: &[u8]) -> CaseResult {
    let Ok((bytes, end)) = net::exchange(appliance.address, &get_request("/"), web::PATIENCE)
    else {
        return Ok(()); // refused or reset before anything was said
    };
    ensure!(end != End::Open, "the client was left waiting");
    let bytes = without_date(bytes);
    ensure!(
        right.starts_with(&bytes),
        "a wrong byte came out: {:?}",
        String::from_utf8_lossy(&bytes)
    );
    ensure!(bytes.len() < right.len(), "a whole answer came out without a quorum");
    ensure!(end == End::Reset || bytes.is_empty(), "a cut answer was ended as if it were whole");
    Ok(())
}

/// The answer with every letter of its `Date`, as far as it is there, the same.
fn without_date(mut bytes: Vec<u8>) -> Vec<u8> {
    let name = b"\r\nDate: ";
    if let Some(at) = bytes.windows(name.len()).position(|window| window == name) {
        let value = at + name.len();
        for byte in bytes[value..].iter_mut().take_while(|byte| **byte != b'\r') {
            *byte = b'#';
        }
    }
    bytes
}
