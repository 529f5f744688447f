//! The appliance on seL4, in QEMU: three Linux guests behind the voter.
//!
//! A machine takes a while to boot, so a case looks at several things in one.

mod cost;
mod hostile;
mod recovery;
mod repeat;

use std::time::{Duration, Instant};

use resh_tests::appliance::{Status, Watched};
use resh_tests::ensure;
use resh_tests::harness::{CaseResult, Context, Halt};
use resh_tests::machine::{self, Machine, Start};
use resh_tests::net::{self, End};
use resh_tests::process::{tree_cpu_ns, wait_until};
use resh_tests::site::Site;
use resh_tests::web::{self, Load};
use serde_json::Value;

use crate::http_table::{self, Look};

pub(crate) use cost::cost;
pub(crate) use hostile::hostile_guest;
pub(crate) use recovery::{recovers_guests, recovers_hostile_domain, rejuvenates};
pub(crate) use repeat::deterministic;

/// From QEMU's start to the first answer that a quorum gave.
const FIRST_ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// CPU time that QEMU may use while nothing is asked, in percent of a core.
const IDLE_PERCENT: u64 = 15;
/// For how long that is looked at.
const IDLE_TIME: Duration = Duration::from_secs(20);
/// A replica that begins anew votes again within this time.
const RECOVERY_LIMIT: Duration = Duration::from_secs(150);
const LOOK_LIMIT: Duration = Duration::from_secs(20);
/// The guests, by replica.
const GUESTS: [&str; 3] = ["nginx", "lighttpd", "apache2"];

/// Arguments of `cargo xtask image` that let tests ask for faults, and give guests their big file.
const WITH_FAULTS: [&str; 6] = [
    "--guest-command-line",
    "0=resh.faults=1 resh.big=16",
    "--guest-command-line",
    "1=resh.faults=1 resh.big=16",
    "--guest-command-line",
    "2=resh.faults=1 resh.big=16",
];

/// A machine with the usual guests, which can be asked for faults.
fn usual(context: &Context) -> CaseResult<Machine> {
    let image = machine::image(&context.dir, &WITH_FAULTS)?;
    Machine::serving(&context.dir, &image, &Start::default())
}

/// Boots, answers in time, shows who votes, answers all of the table of HTTP requests, and idles.
pub(crate) fn serves(context: &Context) -> CaseResult {
    let image = machine::image(&context.dir, &WITH_FAULTS)?;
    let site = Site::of_guests(&context.dir)?;
    let machine = Machine::start(&context.dir, &image, &Start::default())?;
    let first = wait_until(FIRST_ANSWER_LIMIT, || {
        let response = web::get(machine.address(), "/").ok()?;
        (response.status == 200).then_some(response)
    });
    let Some(first) = first else {
        return Err(Halt::Fail(format!("no answer in time:\n{}", machine.end_of_console())));
    };
    let seconds = machine.started.elapsed().as_secs_f64();
    println!("note: first voted answer {seconds:.1} s after QEMU's start");
    ensure!(first.body == site.bytes("index.html"), "another page: {first:?}");
    let status = machine.wait_status(RECOVERY_LIMIT, "all voting", |s| s.all_voting())?;
    ensure!(status.replica_names() == GUESTS, "other replicas: {:#}", status.0);
    let text = machine.status_text()?;
    for (guest, software) in GUESTS.into_iter().zip(["nginx ", "lighttpd ", "apache "]) {
        let shown = status.service()["replicas"].to_string() + &status.0["replicas"].to_string();
        ensure!(
            shown.contains(software) && shown.contains("Linux "),
            "nothing about {guest}'s server and kernel: {:#}",
            status.0
        );
        ensure!(text.contains(guest), "`status` does not name {guest}:\n{text}");
    }

    http_table::check(&machine, &site, Look::AtEnd)?;

    machine.settled()?;
    std::thread::sleep(Duration::from_secs(2));
    let (since, before_ns) = (Instant::now(), tree_cpu_ns(machine.pid()));
    std::thread::sleep(IDLE_TIME);
    let used_ns = tree_cpu_ns(machine.pid()) - before_ns;
    let tenths = u128::from(used_ns) * 1000 / since.elapsed().as_nanos();
    println!("note: idle, QEMU uses {}.{} % of a core", tenths / 10, tenths % 10);
    ensure!(tenths <= u128::from(IDLE_PERCENT) * 10, "idle, QEMU uses {} % of a core", tenths / 10);
    Ok(())
}

/// One wrong guest is outvoted, reported with its name and where it differed, and begins anew; two release
/// nothing.
pub(crate) fn wrong_guests(context: &Context) -> CaseResult {
    let machine = usual(context)?;
    let site = Site::of_guests(&context.dir)?;
    let right = |path: &str| -> CaseResult<Vec<u8>> {
        let (bytes, end) =
            net::exchange(machine.address(), &web::get_request(path), web::PATIENCE)?;
        ensure!(end == End::Closed, "{path}: {} bytes, {end:?}", bytes.len());
        Ok(bytes)
    };
    let answer = right("/1k.bin")?;
    let body = site.bytes("1k.bin");
    ensure!(answer.ends_with(&body), "another /1k.bin from the right guests");
    let head_bytes = answer.len() - body.len();
    for guest in GUESTS {
        let status = machine.status()?;
        let (before, life) = (status.disputes_total(), status.counter(guest, "generation"));
        machine.fault(guest, "corrupt")?;
        let reported = wait_until(LOOK_LIMIT, || {
            let bytes = right("/1k.bin").ok()?;
            let status = machine.status().ok()?;
            // In the file's time, while it is changed, or in the byte that is.
            let mut disputes = status.disputes_after(before);
            let places = 1..=head_bytes as u64 + 100;
            let it_is = |dispute: &&Value| {
                let place = dispute["offset"].as_u64();
                dispute["replica_name"] == guest
                    && dispute["kind"] == "bytes"
                    && place.is_some_and(|place| places.contains(&place))
            };
            disputes.find(it_is).is_some().then_some(bytes)
        });
        let Some(bytes) = reported else {
            return Err(Halt::Fail(format!("{guest} lied unseen:\n{}", machine.end_of_console())));
        };
        ensure!(bytes.ends_with(&body), "a wrong byte came out with {guest} wrong");
        for _ in 0..20 {
            ensure!(right("/1k.bin")?.ends_with(&body), "a wrong byte came out with {guest} wrong");
        }
        let anew = |s: &Status| s.counter(guest, "generation") > life && s.all_voting();
        machine.wait_status(RECOVERY_LIMIT, "all voting again", anew)?;
    }

    let before = machine.status()?;
    // One of them may have begun anew before the other one lied: then two agree again.
    let is_back = |status: &Status| {
        let anew = |guest: &&str| {
            let life = |status: &Status| status.counter(guest, "generation");
            life(status) > life(&before) && status.domain(guest)["state"] == "voting"
        };
        GUESTS[..2].iter().any(anew)
    };
    for guest in &GUESTS[..2] {
        machine.fault(guest, "corrupt")?;
    }
    // Until both have.
    std::thread::sleep(Duration::from_secs(2));
    for _ in 0..10 {
        let Ok((bytes, end)) =
            net::exchange(machine.address(), &web::get_request("/1k.bin"), web::PATIENCE)
        else {
            continue;
        };
        let sent = bytes.get(head_bytes..).unwrap_or_default();
        ensure!(end != End::Open, "the client was left waiting");
        ensure!(body.starts_with(sent), "a wrong byte came out");
        if sent.len() > 100 {
            ensure!(is_back(&machine.status()?), "a byte came out on which no two agreed");
            break;
        }
    }
    for guest in &GUESTS[..2] {
        machine.fault(guest, "restore")?;
    }
    machine.wait_status(RECOVERY_LIMIT, "all voting again", |s| s.all_voting())?;
    std::thread::sleep(Duration::from_secs(1));
    Load::of(machine.address(), "/1k.bin")?.run(50).all_right()?;
    println!("note: each of 3 wrong guests outvoted and reported; two wrong ones released nothing");
    Ok(())
}
