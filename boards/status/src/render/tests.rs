//! What an operator reads.

use resh_channel::config::Guest;
use resh_channel::stats::{NetworkStats, OrderStats, ReplicaState, VoterStats};
use resh_channel::supervision::Doing;

use std::string::{String, ToString};

use super::*;
use crate::report::{RECENT_S, Seen, Supervised};
use crate::sample::{THEN_S, appliance, dispute, fullest, healthy};

fn text(status: &Status) -> String {
    let mut out = String::new();
    write(&mut out, status).unwrap();
    out
}

fn status(replicas: usize, voter: &VoterStats, later_s: u32) -> Status {
    let (appliance, network) = (appliance(replicas), NetworkStats::default());
    let clock_s = THEN_S + later_s;
    Seen {
        appliance: &appliance,
        voter,
        network: &network,
        supervised: Default::default(),
        clock_s,
        uptime_s: 75,
    }
    .status()
}

fn shows(status: &Status, lines: &[&str]) {
    let text = text(status);
    for line in lines {
        assert!(text.lines().any(|l| l == *line), "no line `{line}` in\n{text}");
    }
}

#[test]
fn a_healthy_appliance() {
    let status = status(3, &healthy(3), 0);
    assert_eq!(status.health, Health::Healthy);
    shows(
        &status,
        &[
            "test: healthy, up 1 min 15 s",
            "service web (http1) at 127.0.0.1:8080: serving; quorum 2 of 3, 3 voting",
            "  sessions   12 in all, 2 open, 0 without quorum, 0 refused",
            "  bytes      1.5 KiB of requests, 33.8 KiB of agreed replies",
            "  replica 1  elm  127.0.0.1:9001         voting",
            "no dispute so far",
        ],
    );
}

#[test]
fn guests_tell_what_runs_in_them() {
    let (mut appliance, voter) = (appliance(3), healthy(3));
    let network = NetworkStats::default();
    for (name, software) in [("oak", "nginx 1.22.1, Linux 6.1.0"), ("elm", "")] {
        let software = software.try_into().unwrap();
        let (name, command_line) = (name.try_into().unwrap(), Default::default());
        appliance.guests.push(Guest { name, software, command_line }).unwrap();
    }
    let seen = Seen {
        appliance: &appliance,
        voter: &voter,
        network: &network,
        supervised: Default::default(),
        clock_s: THEN_S,
        uptime_s: 1,
    };
    shows(&seen.status(), &["guests", "  0  oak  nginx 1.22.1, Linux 6.1.0", "  1  elm  "]);
    assert!(!text(&status(3, &healthy(3), 0)).contains("guests"));
}

#[test]
fn before_any_replica_came() {
    let status = status(3, &VoterStats::default(), 0);
    assert_eq!(status.health, Health::Starting);
    shows(&status, &["  replica 0  oak  127.0.0.1:9000         absent"]);
}

#[test]
fn a_replica_that_differed_is_suspect_for_a_minute() {
    let mut voter = healthy(3);
    voter.disputes.push(dispute(1, 1, DisputeKind::Bytes)).unwrap();
    voter.disputes_total = 1;
    let soon = status(3, &voter, 5);
    assert_eq!(soon.health, Health::Degraded);
    shows(
        &soon,
        &[
            "  replica 1  elm  127.0.0.1:9001         suspect: in a dispute less than a minute ago",
            "disputes, the last 1 of 1",
            "  1. 2023-11-14T22:13:20Z (5 s ago), service web, session 7.3",
            "     replica elm (1) differs from byte 120 on",
            "     agreed  3c 21 64 6f 63 74 79 70 65 20 68 74 6d 6c 3e 0a  <!doctype html>.",
            "             3c 74 69 74 6c 65 3e                             <title>",
            "             ff                                               .",
        ],
    );
    assert_eq!(status(3, &voter, RECENT_S).health, Health::Healthy);
}

#[test]
fn a_condemned_replica_and_a_quorum_that_holds() {
    let mut voter = healthy(3);
    voter.replicas[2].state = ReplicaState::Condemned;
    voter.replicas[2].reason = Some(Condemnation::Died);
    voter.replicas[2].condemned = 1;
    let status = status(3, &voter, 0);
    assert_eq!(status.health, Health::Degraded);
    assert_eq!(status.services[0].state, ServiceState::Serving);
    shows(&status, &["  replica 2  ash  127.0.0.1:9002         condemned: its domain ended"]);
}

#[test]
fn what_the_supervisor_does_is_told() {
    let mut voter = healthy(3);
    voter.replicas[0].state = ReplicaState::Absent;
    voter.replicas[0].reason = Some(Condemnation::Probe);
    voter.replicas[1].state = ReplicaState::CatchingUp;
    voter.replicas[1].progress = (512, 10_000);
    voter.replicas[2].recovered = 2;
    voter.replicas[2].recovery_ms = 1_234;
    let (appliance, network) = (appliance(3), NetworkStats::default());
    let mut seen = Seen {
        appliance: &appliance,
        voter: &voter,
        network: &network,
        supervised: [Supervised { doing: Doing::BacksOff, wait_ms: 400 }; 3],
        clock_s: THEN_S,
        uptime_s: 1,
    };
    let waits = seen.status();
    shows(
        &waits,
        &[
            "  replica 0  oak  127.0.0.1:9000         out: begins anew after 400 ms (it failed a probe)",
            "  replica 1  elm  127.0.0.1:9001         catching up: 512 of 10000 requests",
            "  replica 2  ash  127.0.0.1:9002         voting",
        ],
    );
    assert!(text(&waits).contains("          2   1.234 s\n"), "{}", text(&waits));
    seen.supervised[0].doing = Doing::Restarts;
    seen.supervised[2].doing = Doing::Excluded;
    shows(
        &seen.status(),
        &[
            "  replica 0  oak  127.0.0.1:9000         restarting: its servers are started anew",
            "  replica 2  ash  127.0.0.1:9002         excluded by the operator",
        ],
    );
}

#[test]
fn the_order_of_a_service_and_its_log() {
    let mut voter = healthy(3);
    let mut order = OrderStats {
        requests: 7,
        log: LogState::Whole,
        log_bytes: (1 << 20, 64 << 20),
        exports: 1,
    };
    voter.services[0].order = Some(order);
    shows(
        &status(3, &voter, 0),
        &["  order      7 requests, log whole, 1.0 MiB of 64.0 MiB, 1 exports"],
    );
    order.log = LogState::None;
    voter.services[0].order = Some(order);
    shows(&status(3, &voter, 0), &["  order      7 requests, no state"]);
    order.log = LogState::Lost;
    voter.services[0].order = Some(order);
    assert!(text(&status(3, &voter, 0)).contains("cannot come back"));
}

#[test]
fn no_quorum_because_too_few_vote_or_none_agreed() {
    let mut voter = healthy(3);
    for replica in &mut voter.replicas[1..] {
        replica.state = ReplicaState::Condemned;
        replica.condemned = 1;
    }
    let few = status(3, &voter, 0);
    assert_eq!(few.health, Health::Stopped);
    assert!(text(&few).contains(": no quorum: too few replicas vote; quorum 2 of 3, 1 voting\n"));

    let mut voter = healthy(3);
    voter.services[0].no_quorum = 1;
    voter.services[0].has_quorum = false;
    let split = status(3, &voter, 0);
    assert_eq!(split.health, Health::Stopped);
    assert!(text(&split).contains(": no quorum in the last session; "));
}

#[test]
fn a_stopped_service_says_why() {
    let mut voter = healthy(2);
    voter.services[0].stopped_by = Some(4);
    let unknown = status(2, &voter, 0);
    assert_eq!(unknown.health, Health::Stopped);
    assert!(text(&unknown).contains(": stopped: dispute 4, no longer on record; "));
    voter.disputes.push(dispute(4, 0, DisputeKind::NoQuorum)).unwrap();
    assert!(text(&status(2, &voter, 0)).contains(
        ": stopped: dispute 4, no quorum at byte 120; replica oak (0) is one of the sides; "
    ));
}

#[test]
fn of_two_that_differ_neither_is_called_wrong() {
    let mut voter = healthy(2);
    voter.services[0].stopped_by = Some(1);
    voter.disputes.push(dispute(1, 0, DisputeKind::Bytes)).unwrap();
    let status = status(2, &voter, 0);
    shows(
        &status,
        &[
            "     elm and oak differ from byte 120 on: nobody can say which is wrong",
            "     elm  3c 21 64 6f 63 74 79 70 65 20 68 74 6d 6c 3e 0a  <!doctype html>.",
            "     oak  3d 21 64 6f 63 74 79 70 65 20 68 74 6d 6c 3e 0a  =!doctype html>.",
        ],
    );
    let suspect = |replica: &crate::model::ReplicaStatus| replica.state == ReplicaStanding::Suspect;
    assert!(status.services[0].replicas.iter().all(suspect));
}

#[test]
fn the_fullest_status_is_readable() {
    let (appliance, voter, network) = fullest();
    let seen = Seen {
        appliance: &appliance,
        voter: &voter,
        network: &network,
        supervised: Default::default(),
        clock_s: u32::MAX,
        uptime_s: u64::MAX,
    };
    let text = text(&seen.status());
    assert!(text.contains("disputes, the last 5 of "), "{text}");
    assert!(text.contains(" 2106-02-07T06:28:15Z "), "{text}");
    assert!(text.contains("\n     said  d0 d1 "), "{text}");
}

#[test]
fn dates() {
    for (seconds, date) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_399, "2000-02-28T23:59:59Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (951_868_800, "2000-03-01T00:00:00Z"),
        (1_735_689_599, "2024-12-31T23:59:59Z"),
        (1_740_787_200, "2025-03-01T00:00:00Z"),
    ] {
        assert_eq!(utc(seconds).to_string(), date);
    }
}

#[test]
fn sizes_and_times() {
    assert_eq!(
        [0, 1023, 1024, 64 << 20].map(|bytes| size(bytes).to_string()).join(" "),
        "0 B 1023 B 1.0 KiB 64.0 MiB"
    );
    assert_eq!(
        [59, 3_661, 90_000].map(|seconds| duration(seconds).to_string()).join(", "),
        "59 s, 1 h 1 min, 1 d 1 h"
    );
}
