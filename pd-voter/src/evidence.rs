//! What is held against a replica: sessions in which it lost its voice while others were a quorum. A client must
//! not be able to stage it, so it counts from how many different addresses they came.

use core::net::{IpAddr, SocketAddr};

use resh_channel::config::Recovery;

/// Sessions that are remembered of a replica, at most: as many as `recovery.sessions` can ask for.
pub const LOSSES: usize = 100;

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

#[derive(Clone, Copy, Debug)]
struct Loss {
    at_ms: u64,
    service: u8,
    client: Client,
}

/// What is held against one replica.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// In order of time, the oldest at `first`.
    losses: [Loss; LOSSES],
    first: usize,
    len: usize,
    /// Services whose probe it must pass, a bit mask.
    to_pass: u16,
}

impl Evidence {
    /// Nothing.
    #[must_use]
    pub const fn new() -> Self {
        let loss = Loss { at_ms: 0, service: 0, client: Client::Unknown };
        Self { losses: [loss; LOSSES], first: 0, len: 0, to_pass: 0 }
    }

    /// It lost its voice in a session. Forgets the oldest if there is no room.
    pub fn add(&mut self, now_ms: u64, service: u8, client: Client) {
        if self.len == LOSSES {
            self.drop_oldest();
        }
        self.losses[(self.first + self.len) % LOSSES] = Loss { at_ms: now_ms, service, client };
        self.len += 1;
    }

    /// What it amounts to now.
    pub fn judge(&mut self, now_ms: u64, recovery: &Recovery) -> Verdict {
        let window_ms = u64::from(recovery.window_ms);
        while self.len > 0 && self.losses[self.first].at_ms + window_ms <= now_ms {
            self.drop_oldest();
        }
        if self.len < usize::from(recovery.sessions) {
            return Verdict::Innocent;
        }
        match self.clients() >= usize::from(recovery.clients) {
            true => Verdict::Guilty,
            false => Verdict::Suspect,
        }
    }

    /// Different clients among the sessions.
    fn clients(&self) -> usize {
        let client = |at: usize| self.losses[(self.first + at) % LOSSES].client;
        let is_new = |at: &usize| (0..*at).all(|earlier| client(earlier) != client(*at));
        (0..self.len).filter(is_new).count()
    }

    fn drop_oldest(&mut self) {
        self.first = (self.first + 1) % LOSSES;
        self.len -= 1;
    }

    /// Services in which it lost its voice, a bit mask.
    #[must_use]
    pub fn services(&self) -> u16 {
        let service = |at: usize| 1 << self.losses[(self.first + at) % LOSSES].service;
        (0..self.len).fold(0, |mask, at| mask | service(at))
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
        had_to && self.to_pass == 0
    }

    /// Nothing of it counts any more.
    pub fn forget(&mut self) {
        (self.len, self.to_pass) = (0, 0);
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

    #[test]
    fn it_takes_several_sessions_of_several_clients() {
        let mut evidence = Evidence::new();
        for at in 0..2 {
            evidence.add(at, 0, Client::V4(1));
            assert_eq!(evidence.judge(at, &RECOVERY()), Verdict::Innocent);
        }
        evidence.add(2, 3, Client::V4(1));
        assert_eq!(evidence.judge(2, &RECOVERY()), Verdict::Suspect);
        assert_eq!(evidence.services(), 0b1001);
        evidence.add(3, 0, Client::V4(2));
        assert_eq!(evidence.judge(999, &RECOVERY()), Verdict::Guilty);
        // Two are left within the second.
        assert_eq!(evidence.judge(1_001, &RECOVERY()), Verdict::Innocent);
        evidence.add(1_001, 0, Client::V4(1));
        assert_eq!(evidence.judge(1_001, &RECOVERY()), Verdict::Guilty);
        evidence.forget();
        assert_eq!(evidence.judge(1_001, &RECOVERY()), Verdict::Innocent);
    }

    #[test]
    fn memory_is_bounded_and_the_latest_counts() {
        let mut evidence = Evidence::new();
        evidence.add(0, 0, Client::V4(9));
        for at in 0..3 * LOSSES as u64 {
            evidence.add(at, 0, Client::V4(1));
        }
        assert_eq!((evidence.len, evidence.clients()), (LOSSES, 1));
        assert_eq!(evidence.judge(300, &RECOVERY()), Verdict::Suspect);
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
