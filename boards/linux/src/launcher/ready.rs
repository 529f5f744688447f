//! What the supervisor reads from the statistics of others.

use resh_channel::config::Appliance;
use resh_channel::memory::Words;
use resh_channel::snapshot;
use resh_channel::stats::{NetworkStats, ReplicaState, VoterStats};

/// The voter's statistics, once there are any.
pub(super) fn voter_stats(region: &Words) -> Option<VoterStats> {
    let mut scratch = vec![0; size_of_val(region)];
    snapshot::read(region, &mut scratch).ok()
}

/// Whether the network domain runs, and so listens: it publishes its statistics from then on.
pub(super) fn network_runs(region: &Words) -> bool {
    let mut scratch = vec![0; size_of_val(region)];
    snapshot::read::<NetworkStats>(region, &mut scratch).is_ok()
}

/// Number of replica domains that the services of `appliance` need.
pub(super) fn replicas_needed(appliance: &Appliance) -> usize {
    appliance.services.iter().map(|service| service.replicas.len()).max().unwrap_or(0)
}

/// What the log and the operator call a replica: by its guest's name, or that in the first service that has it.
pub(super) fn name(appliance: &Appliance, replica: usize) -> String {
    let guest = appliance.guests.get(replica).map(|guest| &guest.name);
    let mut named = appliance.services.iter().filter_map(|service| service.replicas.get(replica));
    let name = guest.or_else(|| named.next().map(|replica| &replica.name));
    format!("replica {} ({replica})", name.map_or("?", |name| name))
}

/// Whether all replica domains that are needed vote.
pub(super) fn all_vote(appliance: &Appliance, stats: &VoterStats) -> bool {
    let needed = replicas_needed(appliance);
    let voting = stats.replicas.iter().take(needed);
    voting.filter(|replica| replica.state == ReplicaState::Voting).count() == needed
}
