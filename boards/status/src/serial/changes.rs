//! A line for each thing that changed.

use core::fmt::{self, Write};

use heapless::Vec;
use resh_channel::config::{REPLICAS_MAX, SERVICES_MAX};
use resh_channel::stats::DisputeKind;

use crate::model::{DisputeStatus, ReplicaStanding, ServiceState, Shown, Status};
use crate::render;

/// Disputes told at once. The others are counted: a client that makes many is not to fill the line.
pub const DISPUTES_AT_ONCE: usize = 4;
/// Bytes shown of each side of a dispute; the status shows more.
const SIDE_BYTES: usize = 24;

/// What was told last.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    replicas: Vec<(ReplicaStanding, u32), REPLICAS_MAX>,
    services: Vec<ServiceState, SERVICES_MAX>,
    /// Number of the last dispute.
    dispute: u64,
}

impl Changes {
    /// Writes what is new in `status`.
    ///
    /// # Errors
    /// Only those of `out`.
    pub fn write(&mut self, out: &mut impl Write, status: &Status) -> fmt::Result {
        self.replicas(out, status)?;
        self.disputes(out, status)?;
        self.services(out, status)
    }

    fn replicas(&mut self, out: &mut impl Write, status: &Status) -> fmt::Result {
        for (index, domain) in status.replicas.iter().enumerate() {
            let now = (domain.state, domain.generation);
            // As many as there are of either: the types say so.
            let Some(told) = entry(&mut self.replicas, index, (ReplicaStanding::Absent, 0)) else {
                return Ok(());
            };
            // That a domain begins another life shows when it is let in.
            let is_in = matches!(now.0, ReplicaStanding::Joining | ReplicaStanding::Voting);
            if told.0 == now.0 && (told.1 == now.1 || !is_in) {
                continue;
            }
            *told = now;
            let standing = render::standing(status, index, domain.state);
            write!(out, "replica {} ({index}): {standing}", domain.name)?;
            match domain.generation > 1 && is_in {
                true => writeln!(out, " (life {})", domain.generation)?,
                false => writeln!(out)?,
            }
        }
        Ok(())
    }

    fn services(&mut self, out: &mut impl Write, status: &Status) -> fmt::Result {
        for (index, service) in status.services.iter().enumerate() {
            let Some(told) = entry(&mut self.services, index, ServiceState::Starting) else {
                return Ok(());
            };
            if core::mem::replace(told, service.state) != service.state {
                writeln!(out, "service {}: {}", service.name, render::state(status, service))?;
            }
        }
        Ok(())
    }

    fn disputes(&mut self, out: &mut impl Write, status: &Status) -> fmt::Result {
        let told = self.dispute;
        let new = || status.disputes.iter().filter(|dispute| dispute.number > told);
        for dispute in new().take(DISPUTES_AT_ONCE) {
            line(out, status, dispute)?;
            self.dispute = dispute.number;
        }
        if let Some(last) = new().next_back()
            && last.number > self.dispute
        {
            let more = last.number - self.dispute;
            writeln!(out, "and {more} more disputes: `status` shows the last")?;
            self.dispute = last.number;
        }
        Ok(())
    }
}

/// The entry at `index`, made if it is the next.
fn entry<T, const N: usize>(all: &mut Vec<T, N>, index: usize, new: T) -> Option<&mut T> {
    if index == all.len() {
        let _ = all.push(new);
    }
    all.get_mut(index)
}

fn line(out: &mut impl Write, status: &Status, dispute: &DisputeStatus) -> fmt::Result {
    let what = render::what(status, dispute);
    write!(out, "dispute {}: service {}, {what}", dispute.number, dispute.service)?;
    let (agreed, said) = (start(&dispute.expected), start(&dispute.found));
    match dispute.kind {
        _ if dispute.expected.0.is_empty() && dispute.found.0.is_empty() => {}
        // There is a record for each side.
        DisputeKind::NoQuorum => write!(out, "; said \"{said}\"")?,
        _ => write!(out, "; agreed \"{agreed}\", found \"{said}\"")?,
    }
    writeln!(out)
}

/// The first bytes of a side, as text.
fn start(side: &Shown) -> impl fmt::Display {
    side.0[..side.0.len().min(SIDE_BYTES)].escape_ascii()
}

#[cfg(test)]
mod tests {
    use std::string::String;

    use resh_channel::stats::{Condemnation, DisputeKind, NetworkStats, ReplicaState, VoterStats};

    use super::*;
    use crate::report::Seen;
    use crate::sample::{THEN_S, appliance, dispute, healthy};

    fn told(changes: &mut Changes, voter: &VoterStats) -> String {
        let (appliance, network) = (appliance(3), NetworkStats::default());
        let (clock_s, uptime_s) = (THEN_S, 1);
        let seen = Seen {
            appliance: &appliance,
            voter,
            network: &network,
            supervised: Default::default(),
            clock_s,
            uptime_s,
        };
        let mut out = String::new();
        changes.write(&mut out, &seen.status()).unwrap();
        out
    }

    #[test]
    fn each_change_is_told_once() {
        let mut changes = Changes::default();
        assert_eq!(told(&mut changes, &VoterStats::default()), "");
        let mut voter = healthy(3);
        voter.replicas.iter_mut().for_each(|replica| replica.state = ReplicaState::Absent);
        assert_eq!(told(&mut changes, &voter), "");
        let mut voter = healthy(3);
        voter.replicas[2].state = ReplicaState::Joining;
        assert_eq!(
            told(&mut changes, &voter),
            "replica oak (0): voting\nreplica elm (1): voting\nreplica ash (2): joining\n\
             service web: serving\n"
        );
        assert_eq!(told(&mut changes, &voter), "");
        voter.replicas[2].state = ReplicaState::Condemned;
        voter.replicas[2].reason = Some(Condemnation::Died);
        assert_eq!(told(&mut changes, &voter), "replica ash (2): condemned: its domain ended\n");
        voter.replicas[2].generation = 2;
        assert_eq!(told(&mut changes, &voter), "");
        voter.replicas[2].state = ReplicaState::Voting;
        assert_eq!(told(&mut changes, &voter), "replica ash (2): voting (life 2)\n");
        // A life that began and ended between two looks.
        voter.replicas[2].generation = 3;
        assert_eq!(told(&mut changes, &voter), "replica ash (2): voting (life 3)\n");
    }

    #[test]
    fn a_service_without_quorum_is_told() {
        let mut changes = Changes::default();
        told(&mut changes, &healthy(3));
        let mut voter = healthy(3);
        voter.services[0].no_quorum = 1;
        voter.services[0].has_quorum = false;
        assert_eq!(told(&mut changes, &voter), "service web: no quorum in the last session\n");
    }

    #[test]
    fn disputes_are_told_with_both_sides_and_counted_if_they_are_many() {
        let mut changes = Changes::default();
        let mut voter = healthy(3);
        told(&mut changes, &voter);
        voter.disputes.push(dispute(1, 1, DisputeKind::Bytes)).unwrap();
        assert_eq!(
            told(&mut changes, &voter),
            "dispute 1: service web, replica elm (1) differs from byte 120 on; \
             agreed \"<!doctype html>\\n<title>\", found \"=!doctype html>\\n\\xff\"\n"
        );
        for number in 2..12 {
            voter.disputes.push(dispute(number, 1, DisputeKind::EarlyFin)).unwrap();
        }
        let text = told(&mut changes, &voter);
        assert_eq!(text.lines().count(), 5, "{text}");
        assert!(text.ends_with("and 6 more disputes: `status` shows the last\n"), "{text}");
        assert_eq!(told(&mut changes, &voter), "");
    }
}
