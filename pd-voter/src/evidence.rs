//! What is held against a replica: sessions in which it lost its voice while others were a quorum. A client must
//! not be able to stage it, so it counts from how many different addresses they came.

use alloc::boxed::Box;
use alloc::vec;
use core::net::{IpAddr, SocketAddr};

use resh_channel::config::Recovery;

use crate::limits::{LATE_PROBES, LOSSES};

/// Whom a session was for: an IPv4 address, or the /64 of an IPv6 address, of which one client can have many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Client {
    /// What the network said is no address. All of these count as one.
    #[default]
    Unknown,
    /// An IPv4 address.
    V4(u32),
    /// The first 64 bits of an IPv6 address.
    V6(u64),
}

impl Client {
    /// The client at `address`: address and port, as text.
    #[must_use]
    pub fn new(address: &[u8]) -> Self {
        let address = core::str::from_utf8(address).ok().and_then(|text| text.parse().ok());
        match address.map(|address: SocketAddr| address.ip().to_canonical()) {
            None => Self::Unknown,
            Some(IpAddr::V4(ip)) => Self::V4(ip.to_bits()),
            Some(IpAddr::V6(ip)) => Self::V6((ip.to_bits() >> 64) as u64),
        }
    }
}

/// What the evidence amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Innocent,
    /// It must pass a probe.
    Suspect,
    /// Different clients saw it: it is wrong.
    Guilty,
}

/// A session in which a replica lost its voice.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    /// When, in milliseconds.
    pub at_ms: u64,
    /// The session's service.
    pub service: u8,
    /// Whom it was for.
    pub client: Client,
    /// It was late, and a probe can tell whether it always is: whoever keeps it busy can bring that about, so it
    /// convicts nobody.
    pub excusable: bool,
}

/// What is held against one replica.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The latest, in order of time; the oldest at `first`.
    losses: Box<[Loss]>,
    first: usize,
    len: usize,
    /// Services whose probe it must pass, a bit mask.
    to_pass: u16,
    /// Probes in a row to which its answer was late.
    late: u8,
}

impl Evidence {
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        let loss = Loss { at_ms: 0, service: 0, client: Client::Unknown, excusable: false };
        Self { losses: vec![loss; LOSSES].into(), first: 0, len: 0, to_pass: 0, late: 0 }
    }

    /// It lost its voice in a session. Forgets the oldest if there is no room.
    pub fn add(&mut self, loss: Loss) {
        if self.len == LOSSES {
            self.drop_oldest();
        }
        self.losses[(self.first + self.len) % LOSSES] = loss;
        self.len += 1;
    }

    /// What it amounts to now.
    pub fn judge(&mut self, now_ms: u64, recovery: &Recovery) -> Verdict {
        let window_ms = u64::from(recovery.window_ms);
        while self.len > 0 && self.losses[self.first].at_ms + window_ms <= now_ms {
            self.drop_oldest();
        }
        let (sessions, clients) = (usize::from(recovery.sessions), usize::from(recovery.clients));
        let inexcusable = || self.losses().filter(|loss| !loss.excusable);
        if inexcusable().count() >= sessions && self.clients() >= clients {
            Verdict::Guilty
        } else if self.len >= sessions {
            Verdict::Suspect
        } else {
            Verdict::Innocent
        }
    }

    fn losses(&self) -> impl Iterator<Item = &Loss> {
        (0..self.len).map(|at| &self.losses[(self.first + at) % LOSSES])
    }

    /// Different clients among the sessions for which there is no excuse.
    fn clients(&self) -> usize {
        let client = |(at, loss): (usize, &Loss)| {
            let same = |earlier: &Loss| !earlier.excusable && earlier.client == loss.client;
            !loss.excusable && !self.losses().take(at).any(same)
        };
        self.losses().enumerate().filter(|it| client(*it)).count()
    }

    fn drop_oldest(&mut self) {
        self.first = (self.first + 1) % LOSSES;
        self.len -= 1;
    }

    /// Services in which it lost its voice, a bit mask.
    #[must_use]
    pub fn services(&self) -> u16 {
        self.losses().fold(0, |mask, loss| mask | 1 << loss.service)
    }

    /// It must pass the probes of `services`, a bit mask, besides those it must pass already.
    pub fn doubt(&mut self, services: u16) {
        self.to_pass |= services;
    }

    /// Whether it must pass the probe of `service`.
    #[must_use]
    pub fn must_pass(&self, service: usize) -> bool {
        self.to_pass & (1 << service) != 0
    }

    /// It passed the probe of `service`. True if that was the last it had to pass.
    pub fn pass(&mut self, service: usize) -> bool {
        let had_to = self.must_pass(service);
        self.to_pass &= !(1 << service);
        self.late = 0;
        had_to && self.to_pass == 0
    }

    /// It was late with its answer to a probe that it must pass. True if it was so too often.
    pub fn is_late(&mut self) -> bool {
        self.late = self.late.saturating_add(1);
        self.late >= LATE_PROBES
    }

    /// Sessions of the services for which `is` holds count no more.
    pub fn forget(&mut self, is: impl Fn(u8) -> bool) {
        let len = core::mem::take(&mut self.len);
        for at in 0..len {
            let loss = self.losses[(self.first + at) % LOSSES];
            if !is(loss.service) {
                self.add(loss);
            }
        }
    }

    /// Nothing counts any more.
    pub fn clear(&mut self) {
        (self.len, self.to_pass, self.late) = (0, 0, 0);
    }
}

impl Default for Evidence {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const RECOVERY: fn() -> Recovery =
        || Recovery { sessions: 3, clients: 2, window_ms: 1_000, ..Recovery::default() };

    #[test]
    fn one_client_has_one_address() {
        let client = |text: &str| Client::new(text.as_bytes());
        assert_eq!(client("10.0.0.1:80"), client("10.0.0.1:8080"));
        assert_ne!(client("10.0.0.1:80"), client("10.0.0.2:80"));
        assert_eq!(client("[2001:db8::1]:80"), client("[2001:db8::2:3]:81"));
        assert_ne!(client("[2001:db8::1]:80"), client("[2001:db8:0:1::1]:80"));
        assert_eq!(client("[::ffff:10.0.0.1]:80"), client("10.0.0.1:80"));
        assert_ne!(client("[fe80::1%2]:80"), Client::Unknown);
        assert_eq!(client("somebody"), Client::Unknown);
        assert_eq!(Client::new(&[0xff; 8]), Client::Unknown);
    }

    fn loss(at_ms: u64, service: u8, client: u32) -> Loss {
        Loss { at_ms, service, client: Client::V4(client), excusable: false }
    }

    #[test]
    fn it_takes_several_sessions_of_several_clients() {
        let mut evidence = Evidence::new();
        for at in 0..2 {
            evidence.add(loss(at, 0, 1));
            assert_eq!(evidence.judge(at, &RECOVERY()), Verdict::Innocent);
        }
        evidence.add(loss(2, 3, 1));
        assert_eq!(evidence.judge(2, &RECOVERY()), Verdict::Suspect);
        assert_eq!(evidence.services(), 0b1001);
        evidence.add(loss(3, 0, 2));
        assert_eq!(evidence.judge(999, &RECOVERY()), Verdict::Guilty);
        // Two are left within the second.
        assert_eq!(evidence.judge(1_001, &RECOVERY()), Verdict::Innocent);
        evidence.add(loss(1_001, 0, 1));
        assert_eq!(evidence.judge(1_001, &RECOVERY()), Verdict::Guilty);
        evidence.forget(|service| service == 3);
        assert_eq!((evidence.len, evidence.services()), (2, 1));
        evidence.clear();
        assert_eq!(evidence.judge(1_001, &RECOVERY()), Verdict::Innocent);
    }

    #[test]
    fn who_is_late_is_suspect_and_no_more() {
        let mut evidence = Evidence::new();
        for client in 0..50 {
            evidence.add(Loss { excusable: true, ..loss(0, 0, client) });
        }
        assert_eq!(evidence.judge(0, &RECOVERY()), Verdict::Suspect);
        for client in [7, 7, 8] {
            assert_eq!(evidence.judge(0, &RECOVERY()), Verdict::Suspect);
            evidence.add(loss(0, 0, client));
        }
        assert_eq!(evidence.judge(0, &RECOVERY()), Verdict::Guilty);
        let late: Vec<bool> = (0..LATE_PROBES).map(|_| evidence.is_late()).collect();
        assert!(late.ends_with(&[false, true]));
        evidence.pass(0);
        assert!(!evidence.is_late());
    }

    #[test]
    fn memory_is_bounded_and_the_latest_counts() {
        let mut evidence = Evidence::new();
        evidence.add(loss(0, 0, 9));
        for at in 0..3 * LOSSES as u64 {
            evidence.add(loss(at, 0, 1));
        }
        assert_eq!((evidence.len, evidence.clients()), (LOSSES, 1));
        assert_eq!(evidence.judge(300, &RECOVERY()), Verdict::Suspect);
        evidence.forget(|_| false);
        assert_eq!((evidence.len, evidence.clients()), (LOSSES, 1));
    }

    #[test]
    fn a_suspect_must_pass_the_probes_of_all_services_in_doubt() {
        let mut evidence = Evidence::new();
        evidence.doubt(0b101);
        assert!(evidence.must_pass(0) && !evidence.must_pass(1) && evidence.must_pass(2));
        assert!(!evidence.pass(1) && !evidence.pass(2) && evidence.pass(0));
        assert!(!evidence.pass(0));
    }
}
