//! Puts together what the domains publish and what the configuration names.

use resh_channel::config::{self, Appliance, REPLICAS_MAX, Transport};
use resh_channel::memory::{Ordering, Words};
use resh_channel::stats::{
    Dispute, DisputeKind, NetworkStats, OrderStats, ReplicaState, ReplicaStats, ServiceStats,
    VoterStats,
};
use resh_channel::supervision::{DOING, Doing, WAIT_MS};

use crate::model::{
    DisputeStatus, DomainStatus, Health, OrderStatus, Protocol, ReplicaStanding, ReplicaStatus,
    SCHEMA, ServiceState, ServiceStatus, Shown, Status,
};

/// How long a dispute makes a replica suspect and the appliance degraded, in seconds.
pub const RECENT_S: u32 = 60;

/// What the supervisor does with a replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Supervised {
    /// What it does.
    pub doing: Doing,
    /// The wait, while it waits, in milliseconds.
    pub wait_ms: u64,
}

/// What the supervisor does with the replicas, by its region `supervision`.
#[must_use]
pub fn supervised(region: &Words) -> [Supervised; REPLICAS_MAX] {
    let word = |at: usize| region.get(at).map_or(0, |word| word.load(Ordering::Acquire));
    core::array::from_fn(|replica| Supervised {
        doing: Doing::from_word(word(DOING + replica)),
        wait_ms: word(WAIT_MS + replica),
    })
}

/// What the monitor sees of the appliance at one moment.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// The configuration.
    pub appliance: &'a Appliance,
    /// What the voter last published.
    pub voter: &'a VoterStats,
    /// What the network domain last published.
    pub network: &'a NetworkStats,
    /// What the supervisor does with each replica.
    pub supervised: [Supervised; REPLICAS_MAX],
    /// Seconds since 1970-01-01 UTC.
    pub clock_s: u32,
    /// How long the monitor has been running, in seconds.
    pub uptime_s: u64,
}

impl Seen<'_> {
    /// The whole status. Allocates nothing.
    #[must_use]
    pub fn status(&self) -> Status {
        let services = self
            .appliance
            .services
            .iter()
            .enumerate()
            .map(|(at, service)| self.service(at, service));
        let mut status = Status {
            schema: SCHEMA,
            appliance: self.appliance.name.clone(),
            time_s: self.clock_s,
            uptime_s: self.uptime_s,
            health: Health::Healthy,
            sessions_open: self.voter.sessions_open,
            sessions_draining: self.voter.sessions_draining,
            sessions_limit: self.appliance.limits.sessions,
            network: self.network.clone(),
            services: services.collect(),
            replicas: (0..self.domains()).map(|index| self.domain(index)).collect(),
            disputes_total: self.voter.disputes_total,
            disputes: self.voter.disputes.iter().map(|dispute| self.dispute(dispute)).collect(),
        };
        status.health = self.health(&status);
        status
    }

    /// Replica domains that have something to do: as many as the service with the most replicas has.
    fn domains(&self) -> usize {
        self.appliance.services.iter().map(|service| service.replicas.len()).max().unwrap_or(0)
    }

    fn replica(&self, index: usize) -> ReplicaStats {
        self.voter.replicas.get(index).cloned().unwrap_or_default()
    }

    fn domain(&self, index: usize) -> DomainStatus {
        let stats = self.replica(index);
        let guest = self.appliance.guests.get(index);
        let mut replicas = self.appliance.services.iter().filter_map(|s| s.replicas.get(index));
        let replica = replicas.next().map(|replica| &replica.name);
        DomainStatus {
            name: guest.map(|guest| &guest.name).or(replica).cloned().unwrap_or_default(),
            software: guest.map(|guest| guest.software.clone()).unwrap_or_default(),
            state: self.domain_standing(index),
            reason: stats.reason,
            generation: stats.generation,
            condemned: stats.condemned,
            sessions: stats.sessions,
            divergences: stats.divergences,
            evictions: stats.evictions,
            resets: stats.resets,
            reply_bytes: stats.reply_bytes,
            recovered: stats.recovered,
            recovery_ms: stats.recovery_ms,
            back_off_ms: self.supervised.get(index).map_or(0, |supervised| supervised.wait_ms),
            caught_up: stats.progress.0,
            catch_up_total: stats.progress.1,
        }
    }

    /// How a replica's domain stands, by the voter and, where it knows nothing, the supervisor.
    fn domain_standing(&self, index: usize) -> ReplicaStanding {
        let doing = self.supervised.get(index).map(|supervised| supervised.doing);
        match (standing(self.replica(index).state), doing.unwrap_or_default()) {
            (_, Doing::Excluded) => ReplicaStanding::Excluded,
            (ReplicaStanding::Absent, Doing::BacksOff) => ReplicaStanding::BackingOff,
            (ReplicaStanding::Absent, Doing::Restarts) => ReplicaStanding::Restarting,
            (standing, _) => standing,
        }
    }

    fn service(&self, at: usize, service: &config::Service) -> ServiceStatus {
        let stats = self.voter.services.get(at).cloned().unwrap_or_default();
        let voting = (0..service.replicas.len())
            .filter(|&index| self.replica(index).state == ReplicaState::Voting)
            .count();
        let replicas = service.replicas.iter().enumerate().map(|(index, replica)| ReplicaStatus {
            name: replica.name.clone(),
            address: replica.address,
            state: self.standing(at, index),
        });
        ServiceStatus {
            name: service.name.clone(),
            listen: service.listen,
            protocol: match service.protocol {
                config::Protocol::Raw => Protocol::Raw,
                config::Protocol::Http1(_) => Protocol::Http1,
                config::Protocol::Dns => Protocol::Dns,
                config::Protocol::Resp => Protocol::Resp,
                config::Protocol::Pgwire => Protocol::Pgwire,
            },
            udp: service.transport == Transport::Udp,
            state: self.service_state(service, &stats, voting),
            stopped_by: stats.stopped_by,
            has_quorum: stats.has_quorum,
            // At most REPLICAS_MAX, which is 3.
            quorum: service.quorum() as u8,
            voting: voting as u8,
            sessions_open: stats.open,
            sessions: stats.sessions,
            no_quorum: stats.no_quorum,
            refused: stats.refused,
            request_bytes: stats.request_bytes,
            reply_bytes: stats.reply_bytes,
            order: stats.order.map(order),
            replicas: replicas.collect(),
        }
    }

    fn service_state(
        &self,
        service: &config::Service,
        stats: &ServiceStats,
        voting: usize,
    ) -> ServiceState {
        let fresh = |index| {
            let replica = self.replica(index);
            let out = [ReplicaStanding::Condemned, ReplicaStanding::Excluded];
            !out.contains(&self.domain_standing(index)) && replica.condemned == 0
        };
        if stats.stopped_by.is_some() {
            ServiceState::Stopped
        } else if voting < service.quorum() {
            let all_fresh = (0..service.replicas.len()).all(fresh);
            if all_fresh { ServiceState::Starting } else { ServiceState::NoQuorum }
        } else if stats.no_quorum > 0 && !stats.has_quorum {
            ServiceState::NoQuorum
        } else {
            ServiceState::Serving
        }
    }

    fn standing(&self, service: usize, replica: usize) -> ReplicaStanding {
        // Of two that differ nobody can say which is wrong.
        let of_two = self.appliance.services[service].replicas.len() == 2;
        let suspect = |dispute: &Dispute| {
            usize::from(dispute.service) == service
                && (usize::from(dispute.replica) == replica || of_two)
                && dispute.kind != DisputeKind::NoQuorum
                && self.is_recent(dispute)
        };
        match self.domain_standing(replica) {
            ReplicaStanding::Voting if self.voter.disputes.iter().any(suspect) => {
                ReplicaStanding::Suspect
            }
            standing => standing,
        }
    }

    fn is_recent(&self, dispute: &Dispute) -> bool {
        self.clock_s.saturating_sub(dispute.clock_s) < RECENT_S
    }

    fn dispute(&self, dispute: &Dispute) -> DisputeStatus {
        let service = self.appliance.services.get(usize::from(dispute.service));
        let replica = service.and_then(|s| s.replicas.get(usize::from(dispute.replica)));
        DisputeStatus {
            number: dispute.number,
            time_s: dispute.clock_s,
            service: service.map(|service| service.name.clone()).unwrap_or_default(),
            session: dispute.session.0,
            session_generation: dispute.session.1,
            replica: dispute.replica,
            replica_name: replica.map(|replica| replica.name.clone()).unwrap_or_default(),
            kind: dispute.kind,
            offset: dispute.offset,
            expected: Shown(dispute.expected.clone()),
            found: Shown(dispute.found.clone()),
        }
    }

    fn health(&self, status: &Status) -> Health {
        let of_service = |service: &ServiceStatus| match service.state {
            ServiceState::Serving if usize::from(service.voting) < service.replicas.len() => {
                Health::Degraded
            }
            ServiceState::Serving => Health::Healthy,
            ServiceState::Starting => Health::Starting,
            ServiceState::NoQuorum | ServiceState::Stopped => Health::Stopped,
        };
        let disputed = self.voter.disputes.iter().any(|dispute| self.is_recent(dispute));
        let least = if disputed { Health::Degraded } else { Health::Healthy };
        status.services.iter().map(of_service).max().unwrap_or(Health::Stopped).max(least)
    }
}

fn order(stats: OrderStats) -> OrderStatus {
    OrderStatus {
        requests: stats.requests,
        log: stats.log,
        log_bytes: stats.log_bytes.0,
        log_limit_bytes: stats.log_bytes.1,
        exports: stats.exports,
    }
}

fn standing(state: ReplicaState) -> ReplicaStanding {
    match state {
        ReplicaState::Absent => ReplicaStanding::Absent,
        ReplicaState::Joining => ReplicaStanding::Joining,
        ReplicaState::CatchingUp => ReplicaStanding::CatchingUp,
        ReplicaState::Aside => ReplicaStanding::Aside,
        ReplicaState::Voting => ReplicaStanding::Voting,
        ReplicaState::Condemned => ReplicaStanding::Condemned,
    }
}
