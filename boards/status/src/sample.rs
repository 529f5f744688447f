//! Appliances for tests.
#![allow(clippy::missing_panics_doc)]

use std::format;

use resh_channel::config::{
    Appliance, Http1, Limits, Name, Network, OnMismatch, Protocol, Replica, Service,
};
use resh_channel::stats::{
    DatagramStats, Dispute, DisputeKind, LogState, NetworkStats, OrderStats, ReplicaState,
    ReplicaStats, ServiceStats, VoterStats,
};

/// When the disputes of these samples were, in seconds since 1970-01-01 UTC.
pub const THEN_S: u32 = 1_700_000_000;

fn name(text: &str) -> Name {
    Name::try_from(text).unwrap()
}

fn service(called: &str, port: u16, replicas: usize) -> Service {
    let replica = |index: usize| Replica {
        name: name(["oak", "elm", "ash"][index]),
        address: ([127, 0, 0, 1], 9000 + index as u16).into(),
    };
    Service {
        name: name(called),
        listen: ([127, 0, 0, 1], port).into(),
        protocol: Protocol::Http1(Http1::default()),
        transport: core::default::Default::default(),
        order: core::default::Default::default(),
        state: core::default::Default::default(),
        probe: core::default::Default::default(),
        on_mismatch: OnMismatch::default_for(replicas),
        replicas: (0..replicas).map(replica).collect(),
    }
}

/// One service `web` with so many replicas.
pub fn appliance(replicas: usize) -> Appliance {
    Appliance {
        name: name("test"),
        metrics: None,
        recovery: core::default::Default::default(),
        seed: core::default::Default::default(),
        limits: Limits::default(),
        network: Network::default(),
        guests: [].into_iter().collect(),
        services: [service("web", 8080, replicas)].into_iter().collect(),
    }
}

/// All replicas vote.
pub fn healthy(replicas: usize) -> VoterStats {
    let replica = ReplicaStats {
        state: ReplicaState::Voting,
        generation: 1,
        sessions: 12,
        reply_bytes: 34_567,
        ..ReplicaStats::default()
    };
    let service = ServiceStats {
        sessions: 12,
        open: 2,
        request_bytes: 1_500,
        reply_bytes: 34_567,
        has_quorum: true,
        ..ServiceStats::default()
    };
    VoterStats {
        replicas: (0..replicas).map(|_| replica.clone()).collect(),
        services: [service].into_iter().collect(),
        sessions_open: 2,
        ..VoterStats::default()
    }
}

/// Replica `replica` of service 0 differed.
pub fn dispute(number: u64, replica: u8, kind: DisputeKind) -> Dispute {
    Dispute {
        number,
        clock_s: THEN_S,
        service: 0,
        session: (7, 3),
        replica,
        kind,
        offset: 120,
        expected: b"<!doctype html>\n<title>".iter().copied().collect(),
        found: b"=!doctype html>\n\xff".iter().copied().collect(),
    }
}

/// Everything as large as it can be.
pub fn fullest() -> (Appliance, VoterStats, NetworkStats) {
    let long = |at: usize| name(&format!("{at:02}{}", "x".repeat(30)));
    let mut appliance = appliance(3);
    appliance.name = long(0);
    appliance.services.clear();
    let address = |port| ([0xffff, 0, 0xffff, 0xeeee, 0xdddd, 0xcccc, 0xbbbb, 0xaaaa], port).into();
    for at in 0..appliance.services.capacity() {
        let mut service = service("x", 0, 3);
        service.name = long(at);
        service.listen = address(10_000 + at as u16);
        for (index, replica) in service.replicas.iter_mut().enumerate() {
            replica.name = long(index);
            replica.address = address(20_000 + index as u16);
        }
        appliance.services.push(service).unwrap();
    }
    let replica = ReplicaStats {
        state: ReplicaState::Condemned,
        reason: Some(resh_channel::stats::Condemnation::UnexpectedRecord),
        generation: u32::MAX,
        condemned: u64::MAX,
        sessions: u64::MAX,
        divergences: u64::MAX,
        evictions: u64::MAX,
        resets: u64::MAX,
        reply_bytes: u64::MAX,
        recovered: u64::MAX,
        recovery_ms: u64::MAX,
        progress: (u64::MAX, u64::MAX),
    };
    let service = ServiceStats {
        sessions: u64::MAX,
        open: u32::MAX,
        no_quorum: u64::MAX,
        refused: u64::MAX,
        request_bytes: u64::MAX,
        reply_bytes: u64::MAX,
        stopped_by: Some(u64::MAX),
        has_quorum: false,
        order: Some(OrderStats {
            requests: u64::MAX,
            log: LogState::Lost,
            log_bytes: (u64::MAX, u64::MAX),
            exports: u64::MAX,
        }),
    };
    let mut dispute = dispute(u64::MAX, 2, DisputeKind::NoQuorum);
    dispute.clock_s = u32::MAX;
    dispute.service = 15;
    dispute.session = (u16::MAX, u16::MAX);
    dispute.offset = u64::MAX;
    dispute.expected = (0..48).map(|byte| 0xd0 + byte % 32).collect();
    dispute.found = dispute.expected.clone();
    let voter = VoterStats {
        replicas: (0..3).map(|_| replica.clone()).collect(),
        services: (0..16).map(|_| service.clone()).collect(),
        disputes: (0..32).map(|_| dispute.clone()).collect(),
        disputes_total: u64::MAX,
        sessions_open: u32::MAX,
        sessions_draining: u32::MAX,
    };
    let network = NetworkStats {
        accepted: u64::MAX,
        refused: u64::MAX,
        open: u32::MAX,
        received_bytes: u64::MAX,
        sent_bytes: u64::MAX,
        resets: u64::MAX,
        datagrams: DatagramStats {
            received: u64::MAX,
            sent: u64::MAX,
            dropped: u64::MAX,
            duplicates: u64::MAX,
            unanswered: u64::MAX,
            lost: u64::MAX,
        },
    };
    (appliance, voter, network)
}
