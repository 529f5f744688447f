//! The one place that knows which protocol is brought to one form by what.

use alloc::boxed::Box;
use alloc::vec::Vec;

use resh_channel::config::{Protocol, Service};

use crate::canonicaliser::Canonicaliser;
use crate::dns::Dns;
use crate::http1::{Http1, SharedTokens, Tokens};
use crate::memory::Memory;

/// Kinds of protocol with a canonicaliser.
const KINDS: usize = 4;

/// The number of the protocol's kind. `None`: its bytes stay as they are.
fn kind(protocol: Protocol) -> Option<usize> {
    match protocol {
        Protocol::Raw => None,
        Protocol::Http1(_) => Some(0),
        Protocol::Dns => Some(1),
        Protocol::Resp => Some(2),
        Protocol::Pgwire => Some(3),
    }
}

/// A canonicaliser for sessions of any of `services`, which are all of the kind of `protocol`.
fn canonicaliser<'s>(
    protocol: Protocol,
    services: impl Iterator<Item = &'s Service>,
    replica: usize,
    memory: Memory,
) -> Option<Box<dyn Canonicaliser>> {
    Some(match protocol {
        Protocol::Raw => return None,
        Protocol::Http1(_) => Box::new(Http1::for_any(services, replica, memory)),
        Protocol::Dns => Box::new(Dns::for_any(services)),
        Protocol::Resp | Protocol::Pgwire => return None,
    })
}

/// What the sessions of `service` share: values that stand for private ones of the replica.
fn tokens(service: &Service) -> Option<SharedTokens> {
    let Protocol::Http1(settings) = service.protocol else { return None };
    let names: Vec<_> = settings.private_cookies.names().collect();
    (!names.is_empty()).then(|| SharedTokens::new(Tokens::new(&names).into()))
}

/// What a session of some service needs beside its buffers.
pub(crate) enum Form {
    /// Nothing: its bytes stay as they are.
    Raw,
    /// This.
    Canonical(Box<dyn Canonicaliser>),
}

/// The services that this replica has, and the canonicalisers that no session uses now.
pub(crate) struct Protocols {
    replica: usize,
    services: Vec<Service>,
    /// By service: what stands for the private values of this replica.
    tokens: Vec<Option<SharedTokens>>,
    spares: [Vec<Box<dyn Canonicaliser>>; KINDS],
}

impl Protocols {
    /// Makes as many canonicalisers of each kind of protocol among `services` as there can be sessions.
    pub(crate) fn new(services: &[Service], replica: usize, memory: Memory) -> Self {
        let mut spares: [Vec<Box<dyn Canonicaliser>>; KINDS] = Default::default();
        let served = || services.iter().filter(|service| replica < service.replicas.len());
        for service in served() {
            let Some(kind) = kind(service.protocol) else { continue };
            let alike = || served().filter(|other| self::kind(other.protocol) == Some(kind));
            if spares[kind].is_empty() {
                let make = |_| canonicaliser(service.protocol, alike(), replica, memory);
                spares[kind] = (0..memory.sessions).map_while(make).collect();
            }
        }
        let tokens = services.iter().map(tokens).collect();
        Self { replica, services: services.to_vec(), tokens, spares }
    }

    /// The service of that number, if this replica has it.
    pub(crate) fn service(&self, number: usize) -> Option<&Service> {
        self.services.get(number).filter(|service| self.replica < service.replicas.len())
    }

    /// Whether there are canonicalisers at all.
    pub(crate) fn is_canonical(&self) -> bool {
        self.spares.iter().any(|spares| !spares.is_empty())
    }

    /// What a session of service `number` needs. `None` if it cannot be had.
    pub(crate) fn take(&mut self, number: usize) -> Option<Form> {
        let service = self.services.get(number)?;
        if self.replica >= service.replicas.len() {
            return None;
        }
        let Some(kind) = kind(service.protocol) else { return Some(Form::Raw) };
        let mut canonicaliser = self.spares[kind].pop()?;
        canonicaliser.serve(service, self.replica);
        if let Some(Some(tokens)) = self.tokens.get(number) {
            canonicaliser.remember_in(tokens);
        }
        Some(Form::Canonical(canonicaliser))
    }

    /// Gives back what a session of service `number` had.
    pub(crate) fn give_back(&mut self, number: usize, mut canonicaliser: Box<dyn Canonicaliser>) {
        let kind = self.services.get(number).and_then(|service| kind(service.protocol));
        if let Some(kind) = kind {
            canonicaliser.reset();
            self.spares[kind].push(canonicaliser);
        }
    }
}
