//! Who loses its voice, whether a quorum is still possible, and what is recorded of it.

use resh_channel::config::REPLICAS_MAX;
use resh_channel::stats::DisputeKind;

use super::{Finding, Findings, Member, Outcome, Vote};
use crate::slot::{Excerpt, Slot};

impl Vote {
    /// `replica` is out of the session: as `Laggard`, or as `Silence` if its domain is gone.
    pub fn remove(
        &mut self,
        replica: usize,
        kind: DisputeKind,
        slot: &mut Slot<'_>,
        findings: &mut Findings,
    ) {
        if !self.members[replica].voice {
            return;
        }
        let was_open = self.outcome == Outcome::Open;
        let (offset, expected) = (self.released, self.found_of(self.leader, slot));
        self.members[replica].voice = false;
        if self.challenger == Some(replica) {
            self.challenger = None;
        } else if self.leader == Some(replica) {
            self.leader = None;
            self.promote(slot);
        }
        self.conclude(slot, findings);
        // A domain's end is no dispute unless it costs the session its quorum.
        let costly = was_open && self.outcome == Outcome::NoQuorum;
        if kind != DisputeKind::Silence || costly {
            let found = Excerpt::new();
            note(findings, Finding { replica, kind, outvoted: !costly, offset, expected, found });
        }
    }

    /// No quorum came in time.
    pub fn give_up(&mut self, slot: &mut Slot<'_>, findings: &mut Findings) {
        if self.outcome != Outcome::Open || self.ended {
            return;
        }
        self.outcome = Outcome::NoQuorum;
        let expected = self.found_of(self.leader, slot);
        for replica in 0..REPLICAS_MAX {
            let member = self.members[replica];
            let candidate = self.leader == Some(replica) || self.challenger == Some(replica);
            let kind = match () {
                () if !member.voice => continue,
                () if candidate && self.challenger.is_none() => continue,
                () if candidate => DisputeKind::NoQuorum,
                () if member.reset => DisputeKind::Reset,
                () if self.leader.is_none() => continue,
                () => DisputeKind::Silence,
            };
            let found = self.found_of(candidate.then_some(replica), slot);
            let (offset, expected) = (self.released, expected.clone());
            note(findings, Finding { replica, kind, outvoted: false, offset, expected, found });
        }
    }

    /// The third voice agrees with neither candidate.
    pub(super) fn split(
        &mut self,
        third: usize,
        found: Excerpt,
        slot: &mut Slot<'_>,
        findings: &mut Findings,
    ) {
        self.outcome = Outcome::NoQuorum;
        let expected = self.found_of(self.leader, slot);
        for replica in 0..REPLICAS_MAX {
            if !self.members[replica].voice {
                continue;
            }
            let found =
                if replica == third { found.clone() } else { self.found_of(Some(replica), slot) };
            let (kind, offset, expected) = (DisputeKind::NoQuorum, self.released, expected.clone());
            note(findings, Finding { replica, kind, outvoted: false, offset, expected, found });
        }
    }

    /// A reset stays a vote until a quorum has gone on without it.
    pub(super) fn drop_outvoted_resets(&mut self, slot: &mut Slot<'_>, findings: &mut Findings) {
        for replica in 0..REPLICAS_MAX {
            let member = self.members[replica];
            let outvoted = member.position < self.released || (self.ended && !member.fin);
            if member.voice && member.reset && outvoted {
                let expected = slot.primary.excerpt(member.position, self.released);
                let (kind, found) = (DisputeKind::Reset, Excerpt::new());
                self.lose(replica, kind, member.position, expected, found, findings);
            }
        }
    }

    /// Looks whether a quorum is still possible.
    pub(super) fn conclude(&mut self, slot: &mut Slot<'_>, findings: &mut Findings) {
        if self.outcome != Outcome::Open || self.ended {
            return;
        }
        if self.voices() < self.quorum {
            self.outcome = Outcome::NoQuorum;
        } else if self.resets() >= self.quorum {
            self.outcome = Outcome::Aborted;
        } else if let (Some(leader), Some(challenger)) = (self.leader, self.challenger) {
            let can_decide = |(at, member): (usize, &Member)| {
                at != leader && at != challenger && member.voice && !member.reset
            };
            if self.members.iter().enumerate().any(can_decide) {
                return;
            }
            if self.voices() > 2 {
                // The third voice has reset its connection: three ways.
                return self.split(REPLICAS_MAX, Excerpt::new(), slot, findings);
            }
            self.outcome = Outcome::NoQuorum;
            let finding = Finding {
                replica: challenger,
                kind: self.how(challenger, leader),
                outvoted: false,
                offset: self.released,
                expected: self.found_of(Some(leader), slot),
                found: self.found_of(Some(challenger), slot),
            };
            note(findings, finding);
        }
    }

    /// A quorum differs from `replica`.
    pub(super) fn lose(
        &mut self,
        replica: usize,
        kind: DisputeKind,
        offset: u64,
        expected: Excerpt,
        found: Excerpt,
        findings: &mut Findings,
    ) {
        self.members[replica].voice = false;
        note(findings, Finding { replica, kind, outvoted: true, offset, expected, found });
    }

    /// How candidate `it` differs from candidate `other` at the released position.
    pub(super) fn how(&self, it: usize, other: usize) -> DisputeKind {
        match (self.ends(it), self.ends(other)) {
            (true, _) => DisputeKind::EarlyFin,
            (_, true) => DisputeKind::LateData,
            _ => DisputeKind::Bytes,
        }
    }

    /// What a candidate said from the released position on.
    pub(super) fn found_of(&self, replica: Option<usize>, slot: &Slot<'_>) -> Excerpt {
        let Some(replica) = replica else { return Excerpt::new() };
        let end = self.members[replica].position;
        match replica {
            _ if self.leader == Some(replica) => slot.primary.excerpt(self.released, end),
            _ if self.challenger == Some(replica) => slot.secondary.excerpt(self.released, end),
            _ => Excerpt::new(),
        }
    }
}

fn note(findings: &mut Findings, finding: Finding) {
    // A full list loses a record for the operator, and nothing else.
    let _ = findings.push(finding);
}
