//! The status as text for people.

use core::fmt::{self, Display, Formatter, Write};

use resh_channel::stats::{Condemnation, DisputeKind, LogState};

use crate::date::civil_date;
use crate::model::{
    DisputeStatus, Health, Protocol, ReplicaStanding, ServiceState, ServiceStatus, Status,
};

/// Disputes shown, the last first; `--json` has them all.
const DISPUTES_SHOWN: usize = 5;
/// Bytes in one line of hexadecimal.
const LINE_BYTES: usize = 16;

/// Text that is written when it is displayed.
struct Text<F>(F);

impl<F: Fn(&mut Formatter<'_>) -> fmt::Result> Display for Text<F> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        (self.0)(f)
    }
}

/// The whole picture, ending in a line feed.
///
/// # Errors
/// Only those of `out`.
pub fn write(out: &mut impl Write, status: &Status) -> fmt::Result {
    let network = &status.network;
    let up = duration(status.uptime_s);
    writeln!(out, "{}: {}, up {up}", status.appliance, health(status.health))?;
    writeln!(
        out,
        "{} of {} sessions open, {} draining; {} connections accepted, {} refused, {} reset",
        status.sessions_open,
        status.sessions_limit,
        status.sessions_draining,
        network.accepted,
        network.refused,
        network.resets
    )?;
    for service in &status.services {
        self::service(out, status, service)?;
    }
    domains(out, status)?;
    disputes(out, status)
}

fn health(health: Health) -> &'static str {
    match health {
        Health::Healthy => "healthy",
        Health::Degraded => "degraded",
        Health::Starting => "starting",
        Health::Stopped => "STOPPED",
    }
}

fn service(out: &mut impl Write, status: &Status, service: &ServiceStatus) -> fmt::Result {
    let protocol = match service.protocol {
        Protocol::Raw => "raw",
        Protocol::Http1 => "http1",
        Protocol::Dns => "dns",
        Protocol::Resp => "resp",
        Protocol::Pgwire => "pgwire",
    };
    writeln!(
        out,
        "\nservice {} ({protocol}{}) at {}: {}; quorum {} of {}, {} voting",
        service.name,
        if service.udp { " over UDP" } else { "" },
        service.listen,
        state(status, service),
        service.quorum,
        service.replicas.len(),
        service.voting
    )?;
    writeln!(
        out,
        "  sessions   {} in all, {} open, {} without quorum, {} refused",
        service.sessions, service.sessions_open, service.no_quorum, service.refused
    )?;
    let (requests, replies) = (size(service.request_bytes), size(service.reply_bytes));
    writeln!(out, "  bytes      {requests} of requests, {replies} of agreed replies")?;
    if let Some(order) = &service.order {
        let log = match order.log {
            LogState::None => "no state",
            LogState::Whole => "log whole",
            LogState::Exporting => "making a new log",
            LogState::Lost => "log LOST: a replica that goes out cannot come back",
        };
        let (used, limit) = (size(order.log_bytes), size(order.log_limit_bytes));
        write!(out, "  order      {} requests, {log}", order.requests)?;
        match order.log {
            LogState::None => writeln!(out)?,
            _ => writeln!(out, ", {used} of {limit}, {} exports", order.exports)?,
        }
    }
    let name = service.replicas.iter().map(|replica| replica.name.len()).max().unwrap_or(0);
    for (index, replica) in service.replicas.iter().enumerate() {
        let (address, standing) = (replica.address, standing(status, index, replica.state));
        writeln!(out, "  replica {index}  {:name$}  {address:21}  {standing}", replica.name)?;
    }
    Ok(())
}

/// What a service does, in words.
pub fn state(status: &Status, service: &ServiceStatus) -> impl Display {
    Text(move |f: &mut Formatter<'_>| match (service.state, service.stopped_by) {
        (ServiceState::Serving, _) => f.write_str("serving"),
        (ServiceState::Starting, _) => f.write_str("starting"),
        (ServiceState::NoQuorum, _) if service.voting < service.quorum => {
            f.write_str("no quorum: too few replicas vote")
        }
        (ServiceState::NoQuorum, _) => f.write_str("no quorum in the last session"),
        (ServiceState::Stopped, None) => f.write_str("stopped"),
        (ServiceState::Stopped, Some(number)) => {
            match status.disputes.iter().find(|dispute| dispute.number == number) {
                Some(dispute) => write!(f, "stopped: dispute {number}, {}", what(status, dispute)),
                None => write!(f, "stopped: dispute {number}, no longer on record"),
            }
        }
    })
}

/// How the replica domain `index` stands, in words.
pub fn standing(status: &Status, index: usize, standing: ReplicaStanding) -> impl Display {
    Text(move |f: &mut Formatter<'_>| match standing {
        ReplicaStanding::Absent => f.write_str("absent"),
        ReplicaStanding::Joining => f.write_str("joining"),
        ReplicaStanding::BackingOff => match status.replicas.get(index) {
            Some(domain) => {
                write!(f, "out: begins anew after {} ms", domain.back_off_ms)?;
                domain.reason.map_or(Ok(()), |why| write!(f, " ({})", reason(why)))
            }
            None => f.write_str("out: about to begin anew"),
        },
        ReplicaStanding::Restarting => f.write_str("restarting: its servers are started anew"),
        ReplicaStanding::CatchingUp => match status.replicas.get(index) {
            Some(domain) if domain.catch_up_total > 0 => {
                let (done, total) = (domain.caught_up, domain.catch_up_total);
                write!(f, "catching up: {done} of {total} requests")
            }
            _ => f.write_str("catching up"),
        },
        ReplicaStanding::Aside => f.write_str("aside, about to begin anew"),
        ReplicaStanding::Excluded => f.write_str("excluded by the operator"),
        ReplicaStanding::Voting => f.write_str("voting"),
        ReplicaStanding::Suspect => f.write_str("suspect: in a dispute less than a minute ago"),
        ReplicaStanding::Condemned => {
            let why = status.replicas.get(index).and_then(|domain| domain.reason);
            write!(f, "condemned: {}", why.map_or("no reason given", reason))
        }
    })
}

/// Why a replica was condemned, in words.
#[must_use]
pub fn reason(reason: Condemnation) -> &'static str {
    match reason {
        Condemnation::RingPosition => "its ring claimed an impossible position",
        Condemnation::RingHeader => "its ring held an impossible header",
        Condemnation::RingLength => "its ring held an impossible length",
        Condemnation::UnexpectedRecord => "it sent a record that no gateway sends",
        Condemnation::CreditExceeded => "it sent more than it was allowed to",
        Condemnation::WrongOffset => "it sent bytes with a gap or an overlap",
        Condemnation::Silent => "it did not read requests for too long",
        Condemnation::Died => "its domain ended",
        Condemnation::Diverged => "it diverged in too many sessions",
        Condemnation::Probe => "it failed a probe",
        Condemnation::BootTimeOut => "it did not vote in time after its start",
        Condemnation::Behind => "it fell too far behind in the total order",
        Condemnation::Framing => "it said that a request ends where it does not",
    }
}

fn domains(out: &mut impl Write, status: &Status) -> fmt::Result {
    writeln!(
        out,
        "\nreplica domains\n  #  {:10}  {:>4}  {:>9}  {:>11}  {:>9}  {:>9}  {:>9}  {:>10}  {:>9}  {:>8}",
        "state",
        "life",
        "sessions",
        "divergences",
        "evictions",
        "resets",
        "condemned",
        "replies",
        "recovered",
        "in"
    )?;
    for (index, domain) in status.replicas.iter().enumerate() {
        let state = match domain.state {
            ReplicaStanding::Absent => "absent",
            ReplicaStanding::Joining => "joining",
            ReplicaStanding::BackingOff => "waiting",
            ReplicaStanding::Restarting => "restarting",
            ReplicaStanding::CatchingUp => "catching",
            ReplicaStanding::Aside => "aside",
            ReplicaStanding::Excluded => "excluded",
            ReplicaStanding::Voting | ReplicaStanding::Suspect => "voting",
            ReplicaStanding::Condemned => "condemned",
        };
        writeln!(
            out,
            "  {index}  {state:10}  {:4}  {:9}  {:11}  {:9}  {:9}  {:9}  {:>10}  {:9}  {:>8}",
            domain.generation,
            domain.sessions,
            domain.divergences,
            domain.evictions,
            domain.resets,
            domain.condemned,
            size(domain.reply_bytes),
            domain.recovered,
            Text(|f: &mut Formatter<'_>| match domain.recovered {
                0 => f.pad("-"),
                _ => milliseconds(f, domain.recovery_ms),
            })
        )?;
    }
    guests(out, status)
}

fn guests(out: &mut impl Write, status: &Status) -> fmt::Result {
    if status.replicas.iter().all(|domain| domain.software.is_empty()) {
        return Ok(());
    }
    writeln!(out, "\nguests")?;
    let name = status.replicas.iter().map(|domain| domain.name.len()).max().unwrap_or(0);
    for (index, domain) in status.replicas.iter().enumerate() {
        writeln!(out, "  {index}  {:name$}  {}", domain.name, domain.software)?;
    }
    Ok(())
}

fn disputes(out: &mut impl Write, status: &Status) -> fmt::Result {
    if status.disputes.is_empty() {
        return writeln!(out, "\nno dispute so far");
    }
    let shown = status.disputes.len().min(DISPUTES_SHOWN);
    writeln!(out, "\ndisputes, the last {shown} of {}", status.disputes_total)?;
    for dispute in status.disputes.iter().rev().take(shown) {
        let age = duration(status.time_s.saturating_sub(dispute.time_s).into());
        writeln!(
            out,
            "  {}. {} ({age} ago), service {}, session {}.{}\n     {}",
            dispute.number,
            utc(dispute.time_s),
            dispute.service,
            dispute.session,
            dispute.session_generation,
            what(status, dispute)
        )?;
        let sides: &[_] = match (dispute.kind, other_of_two(status, dispute)) {
            // There is a record for each side.
            (DisputeKind::NoQuorum, _) => &[("said", &dispute.found)],
            (_, Some(other)) => {
                &[(other, &dispute.expected), (&*dispute.replica_name, &dispute.found)]
            }
            (_, None) => &[("agreed", &dispute.expected), ("found", &dispute.found)],
        };
        let width = sides.iter().map(|(side, _)| side.len()).max().unwrap_or(0);
        // A laggard that is evicted between two messages says nothing, and neither does anybody else.
        if sides.iter().any(|(_, shown)| !shown.0.is_empty()) {
            for (side, shown) in sides {
                hex(out, side, width, &shown.0)?;
            }
        }
    }
    Ok(())
}

/// What happened, in words.
pub fn what(status: &Status, dispute: &DisputeStatus) -> impl Display {
    Text(move |f: &mut Formatter<'_>| {
        let (name, index, offset) = (&dispute.replica_name, dispute.replica, dispute.offset);
        if let Some(other) = other_of_two(status, dispute) {
            return write!(
                f,
                "{other} and {name} differ from byte {offset} on: nobody can say which is wrong"
            );
        }
        if dispute.kind == DisputeKind::NoQuorum {
            write!(f, "no quorum at byte {offset}; ")?;
        }
        write!(f, "replica {name} ({index}) ")?;
        match dispute.kind {
            DisputeKind::Bytes => write!(f, "differs from byte {offset} on"),
            DisputeKind::EarlyFin => write!(f, "ended its reply at byte {offset}, others went on"),
            DisputeKind::LateData => write!(f, "went on at byte {offset}, where others ended"),
            DisputeKind::Reset => write!(f, "reset or refused its connection, at byte {offset}"),
            DisputeKind::Silence => write!(f, "did not answer in time, at byte {offset}"),
            DisputeKind::Laggard => write!(f, "was too far behind, at byte {offset}"),
            DisputeKind::NoQuorum => write!(f, "is one of the sides"),
        }
    })
}

/// If two replicas differ in what they say, the name of the one the dispute is not recorded for.
fn other_of_two<'a>(status: &'a Status, dispute: &DisputeStatus) -> Option<&'a str> {
    let differ = [DisputeKind::Bytes, DisputeKind::EarlyFin, DisputeKind::LateData];
    let service = status.services.iter().find(|service| service.name == dispute.service)?;
    let other = service.replicas.iter().find(|replica| replica.name != dispute.replica_name)?;
    (service.replicas.len() == 2 && differ.contains(&dispute.kind)).then_some(&*other.name)
}

fn hex(out: &mut impl Write, side: &str, width: usize, bytes: &[u8]) -> fmt::Result {
    if bytes.is_empty() {
        return writeln!(out, "     {side:width$}  (nothing)");
    }
    for (line, bytes) in bytes.chunks(LINE_BYTES).enumerate() {
        let side = if line == 0 { side } else { "" };
        write!(out, "     {side:width$}  ")?;
        bytes.iter().try_for_each(|byte| write!(out, "{byte:02x} "))?;
        write!(out, "{:1$} ", "", 3 * (LINE_BYTES - bytes.len()))?;
        let letter = |&byte: &u8| match byte {
            0x20..=0x7e => char::from(byte),
            _ => '.',
        };
        bytes.iter().map(letter).try_for_each(|letter| out.write_char(letter))?;
        writeln!(out)?;
    }
    Ok(())
}

fn size(bytes: u64) -> impl Display {
    let mut unit = 0;
    let mut value = bytes as f64;
    while value >= 1024.0 && unit < 4 {
        value /= 1024.0;
        unit += 1;
    }
    let name = ["B", "KiB", "MiB", "GiB", "TiB"][unit];
    Text(move |f: &mut Formatter<'_>| {
        let decimals = usize::from(unit > 0);
        let width = f.width().unwrap_or(0).saturating_sub(name.len() + 1);
        write!(f, "{value:width$.decimals$} {name}")
    })
}

/// Seconds with three decimals, padded like any text.
fn milliseconds(f: &mut Formatter<'_>, milliseconds: u64) -> fmt::Result {
    let width = f.width().unwrap_or(0).saturating_sub(6);
    write!(f, "{:width$}.{:03} s", milliseconds / 1000, milliseconds % 1000)
}

fn duration(seconds: u64) -> impl Display {
    Text(move |f: &mut Formatter<'_>| match seconds {
        0..60 => write!(f, "{seconds} s"),
        60..3600 => write!(f, "{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => write!(f, "{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => write!(f, "{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    })
}

/// RFC 3339, in UTC.
fn utc(seconds: u32) -> impl Display {
    let (year, month, day) = civil_date(u64::from(seconds / 86_400));
    let second = seconds % 86_400;
    let (hour, minute, second) = (second / 3600, second % 3600 / 60, second % 60);
    Text(move |f: &mut Formatter<'_>| {
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    })
}

#[cfg(test)]
mod tests;
