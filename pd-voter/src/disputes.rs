//! The record of disputes, for the operator.

use resh_channel::message::SessionId;
use resh_channel::stats::{Dispute, DisputeKind, VoterStats};

use crate::vote::Finding;

/// Adds a finding to the record, drops the oldest one if that is full, and returns its number.
pub fn record(
    stats: &mut VoterStats,
    finding: Finding,
    service: u8,
    session: SessionId,
    clock_s: u32,
) -> u64 {
    let Finding { replica, kind, outvoted, offset, expected, found } = finding;
    if let Some(replica) = stats.replicas.get_mut(replica) {
        use DisputeKind::*;
        match kind {
            Bytes | EarlyFin | LateData if outvoted => replica.divergences += 1,
            Laggard => replica.evictions += 1,
            _ => {}
        }
    }
    stats.disputes_total += 1;
    let number = stats.disputes_total;
    if stats.disputes.is_full() {
        stats.disputes.remove(0);
    }
    let dispute = Dispute {
        number,
        clock_s,
        service,
        session: (session.index, session.generation),
        replica: replica as u8,
        kind,
        offset,
        expected,
        found,
    };
    // There is room: the oldest one was just removed.
    let _ = stats.disputes.push(dispute);
    number
}
