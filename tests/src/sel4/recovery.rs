//! Replicas that fail, with the guest or with the domain that hosts it: each begins anew under load, and no
//! request fails.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use resh_tests::appliance::{Status, Watched};
use resh_tests::ensure;
use resh_tests::harness::{CaseResult, Context, Halt};
use resh_tests::machine::{self, Machine, Start};
use resh_tests::site::{Site, sha256};
use resh_tests::web::{self, Load};

use super::{GUESTS, RECOVERY_LIMIT, WITH_FAULTS, usual};

/// What happens to whom, one after the other (`xtask/src/guest/init/common.sh`). The second of two comes while the
/// first keeps the guest's processor full of interrupts.
const FAILURES: [(&str, &[&str]); 10] = [
    (GUESTS[0], &["panic"]),
    (GUESTS[1], &["corrupt"]),
    (GUESTS[2], &["reboot"]),
    (GUESTS[0], &["hang"]),
    (GUESTS[1], &["flood", "reboot"]),
    (GUESTS[2], &["unplug"]),
    (GUESTS[0], &["corrupt"]),
    (GUESTS[1], &["poweroff"]),
    (GUESTS[2], &["flood", "panic"]),
    (GUESTS[0], &["reboot"]),
];
/// For a flood to begin.
const FLOOD_TIME: Duration = Duration::from_secs(1);

/// A steady load while `work` is done; fails if an answer was not right.
fn under_load<T>(machine: &Machine, work: impl FnOnce() -> CaseResult<T>) -> CaseResult<T> {
    let load = Load { clients: 2, ..Load::of(machine.address(), "/1k.bin")? };
    let done = AtomicBool::new(false);
    let (result, report) = std::thread::scope(|scope| {
        let clients = scope.spawn(|| load.run_while(|| !done.load(Ordering::Relaxed)));
        let result = work();
        done.store(true, Ordering::Relaxed);
        (result, clients.join().unwrap_or_default())
    });
    let result = result?;
    report.all_right()?;
    println!(
        "note: {} requests right and none wrong meanwhile, the longest in {:.1} s",
        report.right,
        report.longest.as_secs_f64()
    );
    Ok(result)
}

/// What is done to the replica called `guest` ends its life; then all vote again. Says how long that took.
fn recovers(
    machine: &Machine,
    guest: &str,
    what: &str,
    fail: impl FnOnce() -> CaseResult,
) -> CaseResult {
    let life = machine.status()?.counter(guest, "generation");
    let since = Instant::now();
    fail()?;
    let again = |status: &Status| status.counter(guest, "generation") > life && status.all_voting();
    let status = machine.wait_status(RECOVERY_LIMIT, "all voting after a recovery", again)?;
    let reason = status.domain(guest)["reason"].as_str().unwrap_or("died").to_owned();
    println!(
        "note: {guest}, {what} ({reason}): all vote again after {:.1} s",
        since.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Ten guests in a row that panic, reset, end, lie, hang, lose their network and flood it; one of them in the
/// midst of 16 MiB.
pub(crate) fn recovers_guests(context: &Context) -> CaseResult {
    let machine = usual(context)?;
    let site = Site::of_guests(&context.dir)?;
    under_load(&machine, || {
        for (guest, kinds) in FAILURES {
            recovers(&machine, guest, &kinds.join(", then "), || {
                for (at, kind) in kinds.iter().enumerate() {
                    if at > 0 {
                        std::thread::sleep(FLOOD_TIME);
                    }
                    machine.fault(guest, kind)?;
                }
                Ok(())
            })?;
        }
        let lost = "list registers are lost";
        ensure!(!machine.console().contains(lost), "{lost}:\n{}", machine.end_of_console());
        Ok(())
    })?;
    recovers(&machine, GUESTS[1], "panic in the midst of 16 MiB", || download(&machine, &site))
}

/// 16 MiB, while a guest crashes.
fn download(machine: &Machine, site: &Site) -> CaseResult {
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
        std::thread::sleep(Duration::from_millis(500));
        machine.fault(GUESTS[1], "panic")?;
        crashed.store(true, Ordering::Relaxed);
        download.join().unwrap_or_else(|_| Err(Halt::Fail("a client died".to_owned())))
    })
}

/// A replica's domain that faults, one that overwrote all it may write, and one that only disturbs others: they are not
/// asked.
pub(crate) fn recovers_hostile_domain(context: &Context) -> CaseResult {
    let mut arguments = WITH_FAULTS.to_vec();
    arguments.extend(["--features", "resh-sel4/faults", "--replace", "gateway_1=faulting_gateway"]);
    let image = machine::image(&context.dir, &arguments)?;
    let machine = Machine::serving(&context.dir, &image, &Start::default())?;
    under_load(&machine, || {
        for kind in ["touch", "overwrite", "disturb", "overwrite"] {
            recovers(&machine, GUESTS[1], &format!("its domain: {kind}"), || {
                machine.fault(GUESTS[1], kind)
            })?;
        }
        Ok(())
    })?;
    let status = machine.settled()?;
    for guest in [GUESTS[0], GUESTS[2]] {
        let life = status.counter(guest, "generation");
        ensure!(life == 1, "{guest} is in life {life}: {:#}", status.0);
    }
    ensure!(status.total("divergences") == 0, "someone differed: {:#}", status.0);
    Ok(())
}

/// Each replica in its turn begins anew without having failed.
pub(crate) fn rejuvenates(context: &Context) -> CaseResult {
    let appliance = context.dir.join("resh.toml");
    let toml = machine::board_toml()?.replace("[recovery]", "[recovery]\nrejuvenate_s = 1");
    ensure!(toml.contains("rejuvenate_s"), "the board's resh.toml has no [recovery]:\n{toml}");
    std::fs::write(&appliance, toml)?;
    let image = machine::image(&context.dir, &["--appliance", &appliance.display().to_string()])?;
    let machine = Machine::start(&context.dir, &image, &Start::default())?;
    machine.wait_status(RECOVERY_LIMIT, "the first voting", |status| {
        status.service_state() == "serving"
    })?;
    let status = under_load(&machine, || {
        machine.wait_status(3 * RECOVERY_LIMIT, "all rejuvenated", |status| {
            GUESTS.iter().all(|guest| status.counter(guest, "generation") > 1)
        })
    })?;
    for guest in GUESTS {
        let condemned = status.counter(guest, "condemned");
        ensure!(condemned == 0, "{guest} was condemned {condemned} times: {:#}", status.0);
    }
    Ok(())
}
