//! What comes of the evidence against replicas: suspicion, probes, conviction. Nobody is convicted for differing
//! who is needed for a quorum: of a pair nobody knows which one is wrong.

use resh_channel::stats::Condemnation;

use super::{Service, Voter};
use crate::evidence::{Client, Loss, Verdict};
use crate::life::{Event, State};

impl Voter<'_> {
    /// `replica` lost its voice in a session while others were a quorum. `late`: by lagging behind.
    pub(super) fn hold_against(&mut self, replica: usize, service: u8, client: Client, late: bool) {
        if self.replicas[replica].life.state().takes_part() {
            let excusable = late && is_telling(&self.services, service);
            let loss = Loss { at_ms: self.now_ms, service, client, excusable };
            self.evidence[replica].add(loss);
            self.weigh(replica);
        }
    }

    /// The server of `replica` dropped a connection where others went on. If the service has a state, the server may
    /// have lost it, or missed a request: nothing but starting anew gives it back.
    pub(super) fn fear_for_state(&mut self, replica: usize, service: u8) {
        let has_state = self.services.get(usize::from(service)).is_some_and(|s| s.has_state);
        if has_state && self.replicas[replica].life.state().takes_part() && self.is_spared(replica)
        {
            self.accused[replica].get_or_insert(Condemnation::Diverged);
        }
    }

    /// It passed the probes it had to: where they tell something of its answers, what was before is forgotten.
    pub(super) fn absolve(&mut self, replica: usize) {
        let services = &self.services;
        self.evidence[replica].forget(|service| is_telling(services, service));
    }

    /// Weighs what is held against `replica`.
    fn weigh(&mut self, replica: usize) {
        match self.evidence[replica].judge(self.now_ms, &self.recovery) {
            Verdict::Innocent => {}
            Verdict::Guilty if self.is_spared(replica) => {
                self.accused[replica].get_or_insert(Condemnation::Diverged);
            }
            Verdict::Guilty | Verdict::Suspect => {
                if self.replicas[replica].life.state() == State::Voting {
                    let services = self.evidence[replica].services();
                    self.doubt(replica, services);
                }
            }
        }
    }

    /// `replica` must pass the probes of `services`, a bit mask.
    pub(super) fn doubt(&mut self, replica: usize, services: u16) {
        self.evidence[replica].doubt(services);
        if !self.happens(replica, Event::Doubted, None) {
            self.request_probes(replica);
        }
    }

    /// A replica has become ready, so that others may be needed less.
    pub(super) fn weigh_all(&mut self) {
        for replica in 0..self.replicas.len() {
            if self.replicas[replica].life.state().votes() {
                self.weigh(replica);
            }
        }
    }

    /// Whether every service in which `replica` takes part keeps a quorum without it.
    pub(super) fn is_spared(&self, replica: usize) -> bool {
        let bit = 1 << replica;
        self.services.iter().all(|service| {
            let others = (service.ready & !bit).count_ones() as usize;
            service.ready & bit == 0 || others >= service.quorum
        })
    }
}

/// Whether the probe of service `number` tells something of a replica's answers, and not only that its server
/// accepts connections.
fn is_telling(services: &[Service], number: u8) -> bool {
    services.get(usize::from(number)).is_some_and(|service| service.probing.is_telling())
}
