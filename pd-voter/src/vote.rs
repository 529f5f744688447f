//! The vote on one session's reply stream: no rings, no time.
//!
//! The stream is a sequence of symbols: bytes, and at its end a FIN. What is *released* is the longest
//! sequence that q replicas have produced, with q = 1 of 1, 2 of 2 or 2 of 3. Replicas that have not
//! lost it have a *voice*.
//!
//! With q = 2 at most two voices can have produced something beyond the released position without
//! agreeing: the *leader*, whose bytes lie in the primary buffer after the released ones, and the
//! *challenger*, whose first symbol after the released position is another one, and whose bytes lie in
//! the secondary buffer. The third voice decides between them; one that agrees with neither leaves no
//! quorum. All other voices are at the released position or behind it, and have agreed with every
//! byte up to their own position.

mod credit;
mod verdict;

use resh_channel::config::REPLICAS_MAX;
use resh_channel::memory::Bytes;
use resh_channel::stats::{Condemnation, DisputeKind};

use crate::slot::{Excerpt, Slot, excerpt};

/// What is to be recorded of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which one.
    pub replica: usize,
    /// How it differs.
    pub kind: DisputeKind,
    /// Whether a quorum says so. If not, nobody knows who is wrong.
    pub outvoted: bool,
    /// Where in the reply stream.
    pub offset: u64,
    /// What the others said from there on. Empty: nothing, or FIN.
    pub expected: Excerpt,
    /// What it said. Empty: nothing, or FIN.
    pub found: Excerpt,
}

/// What one event brought to light. A replica loses its voice once, and a session its quorum once.
pub type Findings = heapless::Vec<Finding, { 2 * REPLICAS_MAX }>;

/// Whether a quorum is still possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is.
    Open,
    /// A quorum has reset its connection.
    Aborted,
    /// It is not.
    NoQuorum,
}

#[derive(Clone, Copy, Debug, Default)]
struct Member {
    /// Bytes it has produced. While it has a voice, all of them agree with the released ones.
    position: u64,
    /// Its word counts.
    voice: bool,
    /// It has ended its stream at `position`.
    fin: bool,
    /// It has reset its connection.
    reset: bool,
}

/// How many bytes may be under way.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    /// Length of the primary buffer.
    pub window_bytes: u64,
    /// Length of the secondary buffer, and how far replicas may be ahead of the client.
    pub ahead_bytes: u64,
    /// Credit is extended by at least this much.
    pub step_bytes: u64,
}

/// The vote on one reply stream.
#[derive(Clone, Debug)]
pub struct Vote {
    geometry: Geometry,
    quorum: usize,
    members: [Member; REPLICAS_MAX],
    leader: Option<usize>,
    challenger: Option<usize>,
    released: u64,
    ended: bool,
    taken: u64,
    credit: u64,
    outcome: Outcome,
}

impl Vote {
    /// A new stream. `members` is a bit mask of at least `quorum` replicas.
    pub fn new(members: u8, quorum: usize, geometry: Geometry) -> Self {
        Self {
            geometry,
            quorum,
            members: core::array::from_fn(|at| Member {
                voice: members & (1 << at) != 0,
                ..Member::default()
            }),
            leader: None,
            challenger: None,
            released: 0,
            ended: false,
            taken: 0,
            credit: geometry.ahead_bytes,
            outcome: Outcome::Open,
        }
    }

    /// Bytes that a quorum has produced.
    pub fn released(&self) -> u64 {
        self.released
    }

    /// Whether a quorum has ended the stream at [`Self::released`].
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Bytes that the client has taken.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Position up to which replicas may send.
    pub fn credit(&self) -> u64 {
        self.credit
    }

    /// Whether a quorum is still possible.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Whether `replica` has a voice.
    pub fn has_voice(&self, replica: usize) -> bool {
        self.members[replica].voice
    }

    /// Whether `replica` has a voice and has not reset its connection.
    pub fn is_live(&self, replica: usize) -> bool {
        self.members[replica].voice && !self.members[replica].reset
    }

    /// Whether `replica` has a voice and is not done.
    pub fn is_awaited(&self, replica: usize) -> bool {
        let member = &self.members[replica];
        member.voice && !member.fin && !member.reset
    }

    /// Whether `replica` has ended or reset its stream.
    pub fn is_done(&self, replica: usize) -> bool {
        self.members[replica].fin || self.members[replica].reset
    }

    /// Whether `replica` has reset its stream.
    pub fn is_reset(&self, replica: usize) -> bool {
        self.members[replica].reset
    }

    /// Bytes that `replica` has sent.
    pub fn position(&self, replica: usize) -> u64 {
        self.members[replica].position
    }

    /// Number of voices that have not reset their connection.
    fn live(&self) -> usize {
        (0..REPLICAS_MAX).filter(|at| self.is_live(*at)).count()
    }

    /// Whether a quorum is still possible without one of the live voices. While two candidates differ
    /// it is not: the third voice decides between them.
    pub fn can_spare_one(&self) -> bool {
        self.live() > self.quorum && self.challenger.is_none()
    }

    /// Whether a quorum is still possible without `replica`.
    pub fn can_spare(&self, replica: usize) -> bool {
        let rest = self.live() - usize::from(self.is_live(replica));
        let needed = self.outcome == Outcome::Open && !self.ended && self.members[replica].voice;
        !needed || (rest >= self.quorum && self.challenger.is_none())
    }

    /// Whether all that anybody has said beyond what he was late with is released, and more may come.
    pub fn is_settled(&self) -> bool {
        self.outcome == Outcome::Open && !self.ended && self.leader.is_none()
    }

    /// `replica` takes part from the released position on. The stream must be
    /// [settled](Self::is_settled), and it must have no voice.
    pub fn admit(&mut self, replica: usize) {
        let position = self.released;
        self.members[replica] = Member { position, voice: true, fin: false, reset: false };
    }

    fn voices(&self) -> usize {
        self.members.iter().filter(|member| member.voice).count()
    }

    fn resets(&self) -> usize {
        self.members.iter().filter(|member| member.voice && member.reset && !member.fin).count()
    }

    /// Whether a voice waits for others to agree with what it did.
    pub fn is_pending(&self) -> bool {
        let waits = self.leader.is_some() || (self.resets() > 0 && self.live() < self.quorum);
        self.outcome == Outcome::Open && !self.ended && waits
    }

    /// `from` sent `bytes`, the first of them at `offset`.
    ///
    /// # Errors
    /// A rule that no gateway breaks, whatever its replica does.
    pub fn data(
        &mut self,
        from: usize,
        offset: u64,
        bytes: Bytes<'_>,
        slot: &mut Slot<'_>,
        findings: &mut Findings,
    ) -> Result<(), Condemnation> {
        self.check(from, offset)?;
        let end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= self.credit);
        let end = end.ok_or(Condemnation::CreditExceeded)?;
        let mut rest = bytes;
        while self.is_heard(from) && !rest.is_empty() {
            let done = self.advance(from, rest, slot, findings);
            rest = rest.skip(done);
        }
        // Without a voice, bytes only count.
        self.members[from].position = end;
        self.conclude(slot, findings);
        Ok(())
    }

    /// `from` ended its stream at `offset`.
    ///
    /// # Errors
    /// A rule that no gateway breaks, whatever its replica does.
    pub fn fin(
        &mut self,
        from: usize,
        offset: u64,
        slot: &mut Slot<'_>,
        findings: &mut Findings,
    ) -> Result<(), Condemnation> {
        self.check(from, offset)?;
        self.members[from].fin = true;
        if !self.is_heard(from) || (self.ended && offset == self.released) {
            return Ok(());
        }
        if offset < self.released {
            let expected = slot.primary.excerpt(offset, self.released);
            self.lose(from, DisputeKind::EarlyFin, offset, expected, Excerpt::new(), findings);
        } else if self.quorum == 1 {
            self.ended = true;
        } else {
            match (self.leader, self.challenger) {
                (None, _) => self.leader = Some(from),
                (Some(leader), _) if leader == from => {}
                (_, Some(challenger)) if challenger == from => {}
                (Some(leader), _) if self.ends(leader) => self.confirm(from, 0, slot, findings),
                (_, Some(challenger)) if self.ends(challenger) => {
                    self.overturn(slot, findings);
                    self.confirm(from, 0, slot, findings);
                }
                (_, None) => self.challenger = Some(from),
                (_, Some(_)) => self.split(from, Excerpt::new(), slot, findings),
            }
        }
        self.conclude(slot, findings);
        Ok(())
    }

    /// `from` reset its connection: its vote to abort.
    ///
    /// # Errors
    /// A rule that no gateway breaks, whatever its replica does.
    pub fn reset(
        &mut self,
        from: usize,
        slot: &mut Slot<'_>,
        findings: &mut Findings,
    ) -> Result<(), Condemnation> {
        if self.members[from].reset {
            return Err(Condemnation::UnexpectedRecord);
        }
        self.members[from].reset = true;
        self.drop_outvoted_resets(slot, findings);
        self.conclude(slot, findings);
        Ok(())
    }

    fn check(&self, from: usize, offset: u64) -> Result<(), Condemnation> {
        let member = &self.members[from];
        if member.fin || member.reset {
            return Err(Condemnation::UnexpectedRecord);
        }
        if offset != member.position {
            return Err(Condemnation::WrongOffset);
        }
        Ok(())
    }

    fn is_heard(&self, from: usize) -> bool {
        self.members[from].voice && self.outcome == Outcome::Open
    }

    /// Whether the next symbol of a candidate is FIN.
    fn ends(&self, candidate: usize) -> bool {
        let member = &self.members[candidate];
        member.fin && member.position == self.released
    }

    /// Takes in what can be judged at once of what a voice says next, and returns how much that was.
    fn advance(
        &mut self,
        from: usize,
        bytes: Bytes<'_>,
        slot: &mut Slot<'_>,
        findings: &mut Findings,
    ) -> usize {
        let position = self.members[from].position;
        if position < self.released {
            // Behind: compare with what is released.
            let due = bytes.take((self.released - position) as usize);
            let same = slot.primary.common_prefix(position, self.released, due);
            let at = position + same as u64;
            self.members[from].position = at;
            if same < due.len() {
                let expected = slot.primary.excerpt(at, self.released);
                let found = excerpt(bytes.skip(same));
                self.lose(from, DisputeKind::Bytes, at, expected, found, findings);
            }
            return same;
        }
        if self.ended {
            let found = excerpt(bytes);
            self.lose(from, DisputeKind::LateData, position, Excerpt::new(), found, findings);
            return 0;
        }
        let Some(leader) = self.leader.filter(|leader| *leader != from) else {
            // First here: become, or go on as, the leader.
            slot.primary.write(position, bytes);
            self.members[from].position += bytes.len() as u64;
            if self.quorum == 1 {
                self.released = self.members[from].position;
            } else {
                self.leader = Some(from);
            }
            return bytes.len();
        };
        if self.challenger == Some(from) {
            slot.secondary.write(position, bytes);
            self.members[from].position += bytes.len() as u64;
            return bytes.len();
        }
        let same = slot.primary.common_prefix(position, self.position(leader), bytes);
        if same > 0 {
            self.confirm(from, same, slot, findings);
            return same;
        }
        let Some(challenger) = self.challenger else {
            self.challenger = Some(from);
            return 0;
        };
        let same = slot.secondary.common_prefix(position, self.position(challenger), bytes);
        if same > 0 {
            self.overturn(slot, findings);
            self.confirm(from, same, slot, findings);
            return same;
        }
        self.split(from, excerpt(bytes), slot, findings);
        0
    }

    /// `from`, which is at the released position, agrees with the leader's next `len` bytes, or with its
    /// FIN if `len` is 0.
    fn confirm(&mut self, from: usize, len: usize, slot: &mut Slot<'_>, findings: &mut Findings) {
        let Some(leader) = self.leader else { return };
        if let Some(challenger) = self.challenger.take() {
            let kind = self.how(challenger, leader);
            let expected = self.found_of(Some(leader), slot);
            let found = slot.secondary.excerpt(self.released, self.members[challenger].position);
            self.lose(challenger, kind, self.released, expected, found, findings);
        }
        self.released += len as u64;
        self.members[from].position = self.released;
        self.ended = len == 0;
        let ahead = self.members[leader].position > self.released || self.ends(leader);
        if self.ended || !ahead {
            self.leader = None;
        }
        self.drop_outvoted_resets(slot, findings);
    }

    /// The challenger takes the place of the leader, which loses its voice.
    fn overturn(&mut self, slot: &mut Slot<'_>, findings: &mut Findings) {
        let (Some(leader), Some(challenger)) = (self.leader, self.challenger) else { return };
        let kind = self.how(leader, challenger);
        let expected = slot.secondary.excerpt(self.released, self.position(challenger));
        let found = slot.primary.excerpt(self.released, self.position(leader));
        self.lose(leader, kind, self.released, expected, found, findings);
        self.promote(slot);
    }

    /// The challenger, if there is one, becomes the leader.
    fn promote(&mut self, slot: &mut Slot<'_>) {
        self.leader = self.challenger.take();
        if let Some(leader) = self.leader {
            let end = self.members[leader].position;
            slot.primary.copy_from(&slot.secondary, self.released, end);
        }
    }
}
