//! The status as Prometheus metrics, text format 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>).
//!
//! Names of appliances, services and replicas are letters, digits, `-`, `_` and `.` only
//! (`config::name_is_valid`), so no label value needs escaping.

use core::fmt::{self, Display, Write};

use resh_status::model::{
    DomainStatus, Health, ReplicaStanding, ServiceState, ServiceStatus, Status,
};

/// Writes all metrics.
///
/// # Errors
/// Only those of `out`.
pub fn write(out: &mut impl Write, status: &Status) -> fmt::Result {
    appliance(out, status)?;
    services(out, &status.services)?;
    replicas(out, status)
}

fn family(out: &mut impl Write, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

fn single(
    out: &mut impl Write,
    name: &str,
    kind: &str,
    help: &str,
    value: impl Display,
) -> fmt::Result {
    family(out, name, kind, help)?;
    writeln!(out, "{name} {value}")
}

fn appliance(out: &mut impl Write, status: &Status) -> fmt::Result {
    family(out, "resh_info", "gauge", "The appliance; the value is always 1.")?;
    let version = env!("CARGO_PKG_VERSION");
    writeln!(out, "resh_info{{appliance=\"{}\",version=\"{version}\"}} 1", status.appliance)?;
    let network = &status.network;
    let health = "How the appliance is; 1 for the state that holds.";
    family(out, "resh_health", "gauge", health)?;
    for (name, health) in [
        ("healthy", Health::Healthy),
        ("degraded", Health::Degraded),
        ("starting", Health::Starting),
        ("stopped", Health::Stopped),
    ] {
        writeln!(out, "resh_health{{state=\"{name}\"}} {}", u8::from(status.health == health))?;
    }
    let rows: [(&str, &str, &str, u64); 11] = [
        ("resh_uptime_seconds", "gauge", "Time since the monitor started.", status.uptime_s),
        (
            "resh_open_sessions",
            "gauge",
            "Sessions open towards a client.",
            status.sessions_open.into(),
        ),
        (
            "resh_draining_sessions",
            "gauge",
            "Sessions that wait only for slow replicas to end.",
            status.sessions_draining.into(),
        ),
        ("resh_sessions_limit", "gauge", "Sessions there can be.", status.sessions_limit.into()),
        ("resh_disputes_total", "counter", "Disputes between replicas.", status.disputes_total),
        (
            "resh_network_connections_accepted_total",
            "counter",
            "Client connections accepted.",
            network.accepted,
        ),
        (
            "resh_network_connections_refused_total",
            "counter",
            "Client connections refused because all sessions were taken.",
            network.refused,
        ),
        (
            "resh_network_connections_reset_total",
            "counter",
            "Client connections reset by the appliance.",
            network.resets,
        ),
        ("resh_network_open_connections", "gauge", "Client connections open.", network.open.into()),
        (
            "resh_network_received_bytes_total",
            "counter",
            "Bytes received from clients.",
            network.received_bytes,
        ),
        ("resh_network_sent_bytes_total", "counter", "Bytes sent to clients.", network.sent_bytes),
    ];
    rows.into_iter().try_for_each(|(name, kind, help, value)| single(out, name, kind, help, value))
}

/// Name, type and help of a family, and where its value is found.
type Row<T> = (&'static str, &'static str, &'static str, fn(&T) -> u64);

fn services(out: &mut impl Write, services: &[ServiceStatus]) -> fmt::Result {
    let rows: [Row<ServiceStatus>; 11] = [
        (
            "resh_service_up",
            "gauge",
            "1 if a quorum of the service's replicas answers, else 0.",
            |s| u64::from(s.state == ServiceState::Serving),
        ),
        (
            "resh_service_stopped",
            "gauge",
            "1 if a dispute stopped the service until the operator starts it again.",
            |s| u64::from(s.state == ServiceState::Stopped),
        ),
        ("resh_service_quorum", "gauge", "Replicas that must agree on each byte.", |s| {
            s.quorum.into()
        }),
        ("resh_service_replicas", "gauge", "Replicas of the service.", |s| s.replicas.len() as u64),
        ("resh_service_replicas_voting", "gauge", "Replicas that vote.", |s| s.voting.into()),
        ("resh_service_open_sessions", "gauge", "Sessions open.", |s| s.sessions_open.into()),
        ("resh_service_sessions_total", "counter", "Sessions opened.", |s| s.sessions),
        (
            "resh_service_sessions_without_quorum_total",
            "counter",
            "Sessions reset because no quorum could be had.",
            |s| s.no_quorum,
        ),
        ("resh_service_sessions_refused_total", "counter", "Sessions refused.", |s| s.refused),
        (
            "resh_service_request_bytes_total",
            "counter",
            "Request bytes multicast to the replicas.",
            |s| s.request_bytes,
        ),
        (
            "resh_service_reply_bytes_total",
            "counter",
            "Agreed reply bytes released to clients.",
            |s| s.reply_bytes,
        ),
    ];
    for (name, kind, help, value) in rows {
        family(out, name, kind, help)?;
        for service in services {
            writeln!(out, "{name}{{service=\"{}\"}} {}", service.name, value(service))?;
        }
    }
    let help = "1 if the replica votes and did not differ in the last minute, else 0.";
    family(out, "resh_replica_up", "gauge", help)?;
    for service in services {
        for (index, replica) in service.replicas.iter().enumerate() {
            writeln!(
                out,
                "resh_replica_up{{service=\"{}\",replica=\"{index}\",name=\"{}\",address=\"{}\"}} {}",
                service.name,
                replica.name,
                replica.address,
                u8::from(replica.state == ReplicaStanding::Voting)
            )?;
        }
    }
    Ok(())
}

fn replicas(out: &mut impl Write, status: &Status) -> fmt::Result {
    let help = "State of a replica's domain; 1 for the state that holds.";
    family(out, "resh_replica_state", "gauge", help)?;
    for (index, domain) in status.replicas.iter().enumerate() {
        for (name, state) in [
            ("absent", ReplicaStanding::Absent),
            ("backing_off", ReplicaStanding::BackingOff),
            ("restarting", ReplicaStanding::Restarting),
            ("joining", ReplicaStanding::Joining),
            ("catching_up", ReplicaStanding::CatchingUp),
            ("voting", ReplicaStanding::Voting),
            ("aside", ReplicaStanding::Aside),
            ("excluded", ReplicaStanding::Excluded),
            ("condemned", ReplicaStanding::Condemned),
        ] {
            let holds = u8::from(domain.state == state);
            let labels = format_args!("replica=\"{index}\",state=\"{name}\"");
            writeln!(out, "resh_replica_state{{{labels}}} {holds}")?;
        }
    }
    let rows: [Row<DomainStatus>; 12] = [
        ("resh_replica_generation", "gauge", "Which life of the domain, from 1.", |d| {
            d.generation.into()
        }),
        ("resh_replica_condemned_total", "counter", "Times the domain was condemned.", |d| {
            d.condemned
        }),
        ("resh_replica_sessions_total", "counter", "Sessions it took part in.", |d| d.sessions),
        (
            "resh_replica_divergences_total",
            "counter",
            "Sessions in which it differed from the quorum.",
            |d| d.divergences,
        ),
        (
            "resh_replica_evictions_total",
            "counter",
            "Sessions from which it was evicted as a laggard.",
            |d| d.evictions,
        ),
        (
            "resh_replica_resets_total",
            "counter",
            "Sessions in which its connection was reset or refused.",
            |d| d.resets,
        ),
        ("resh_replica_reply_bytes_total", "counter", "Reply bytes that were looked at.", |d| {
            d.reply_bytes
        }),
        (
            "resh_replica_recovered_total",
            "counter",
            "Times it came to vote after it had been out.",
            |d| d.recovered,
        ),
        (
            "resh_replica_recovery_milliseconds",
            "gauge",
            "How long it was out the last time.",
            |d| d.recovery_ms,
        ),
        (
            "resh_replica_back_off_milliseconds",
            "gauge",
            "The wait before it begins anew, while it waits.",
            |d| d.back_off_ms,
        ),
        (
            "resh_replica_caught_up_requests",
            "gauge",
            "Requests it has executed, while it catches up.",
            |d| d.caught_up,
        ),
        (
            "resh_replica_catch_up_requests",
            "gauge",
            "Requests it is to execute until it has caught up.",
            |d| d.catch_up_total,
        ),
    ];
    for (name, kind, help, value) in rows {
        family(out, name, kind, help)?;
        for (index, domain) in status.replicas.iter().enumerate() {
            writeln!(out, "{name}{{replica=\"{index}\"}} {}", value(domain))?;
        }
    }
    Ok(())
}
