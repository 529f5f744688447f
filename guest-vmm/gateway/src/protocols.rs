//! The one place that knows which protocol is brought to one form by what.

use alloc::boxed::Box;
use alloc::vec::Vec;

use resh_channel::config::{Order, Protocol, Service, State, Transport};

use crate::canonicaliser::{Canonicaliser, Framer};
use crate::datagram::Datagram;
use crate::dns::Dns;
use crate::http1::{self, Http1, SharedTokens, Tokens};
use crate::memory::Memory;
use crate::pgwire::{Pgwire, PgwireFramer};
use crate::resp::{Resp, RespFramer, SharedExporter};

/// Kinds of protocol with a canonicaliser.
const KINDS: usize = 5;

/// The number of the protocol's kind. `None`: its bytes stay as they are.
fn kind(service: &Service) -> Option<usize> {
    match service.protocol {
        Protocol::Raw if service.transport == Transport::Udp => Some(4),
        Protocol::Raw => None,
        Protocol::Http1(_) => Some(0),
        Protocol::Dns => Some(1),
        Protocol::Resp => Some(2),
        Protocol::Pgwire => Some(3),
    }
}

/// A canonicaliser for sessions of any of `services`, which are all of the kind of `service`.
fn canonicaliser<'s>(
    service: &Service,
    services: impl Iterator<Item = &'s Service>,
    replica: usize,
    memory: Memory,
    exporter: Option<&SharedExporter>,
) -> Option<Box<dyn Canonicaliser>> {
    Some(match service.protocol {
        Protocol::Raw => Box::new(Datagram::new()),
        Protocol::Http1(_) => Box::new(Http1::for_any(services, replica, memory)),
        Protocol::Dns => Box::new(Dns::for_any(services)),
        Protocol::Resp => Box::new(Resp::new(memory, exporter.cloned())),
        Protocol::Pgwire => Box::new(Pgwire::new(memory)),
    })
}

/// What the sessions of `service` share: values that stand for private ones of the replica.
fn tokens(service: &Service) -> Option<SharedTokens> {
    let Protocol::Http1(settings) = service.protocol else { return None };
    let names: Vec<_> = settings.private_cookies.names().collect();
    (!names.is_empty()).then(|| SharedTokens::new(Tokens::new(&names).into()))
}

/// What finds the ends of requests of that protocol. `None` if nothing can.
fn framer(protocol: Protocol) -> Option<Box<dyn Framer>> {
    match protocol {
        Protocol::Raw | Protocol::Dns => None,
        Protocol::Http1(_) => Some(Box::new(http1::Framer::new())),
        Protocol::Resp => Some(Box::new(RespFramer::new())),
        Protocol::Pgwire => Some(Box::new(PgwireFramer::new())),
    }
}

/// What a session needs beside its buffers, if its bytes are not to stay as they are.
pub(crate) struct Form {
    /// What brings them to one form.
    pub(crate) canonicaliser: Box<dyn Canonicaliser>,
    /// What finds the ends of its requests, for total order.
    pub(crate) framer: Option<Box<dyn Framer>>,
}

/// What is to be had for a session.
pub(crate) enum Supply {
    /// This, or nothing is needed: its bytes stay as they are.
    Form(Option<Form>),
    /// Nothing, although it is needed: all is in use, or there is no such service, or not at this replica.
    Exhausted,
}

/// Canonicalisers and framers of one kind of protocol that no session uses now.
#[derive(Default)]
struct Spares {
    canonicalisers: Vec<Box<dyn Canonicaliser>>,
    framers: Vec<Box<dyn Framer>>,
}

/// The services that this replica has, and what no session uses now.
pub(crate) struct Protocols {
    replica: usize,
    services: Vec<Service>,
    /// By service: what stands for the private values of this replica.
    tokens: Vec<Option<SharedTokens>>,
    spares: [Spares; KINDS],
}

impl Protocols {
    /// Makes as many canonicalisers, and framers, of each kind of protocol among `services` as there can be
    /// sessions.
    pub(crate) fn new(services: &[Service], replica: usize, memory: Memory) -> Self {
        let mut spares: [Spares; KINDS] = Default::default();
        let served = || services.iter().filter(|service| replica < service.replicas.len());
        let is_exported = |service: &Service| service.state == State::Export;
        let exporter = served().any(is_exported).then(SharedExporter::new);
        for service in served() {
            let Some(kind) = kind(service) else { continue };
            let alike = || served().filter(|other| self::kind(other) == Some(kind));
            let spares = &mut spares[kind];
            if spares.canonicalisers.is_empty() {
                let make = |_| canonicaliser(service, alike(), replica, memory, exporter.as_ref());
                spares.canonicalisers = (0..memory.sessions).map_while(make).collect();
            }
            if spares.framers.is_empty() && service.order == Order::Total {
                let make = |_| framer(service.protocol);
                spares.framers = (0..memory.sessions).map_while(make).collect();
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
        self.spares.iter().any(|spares| !spares.canonicalisers.is_empty())
    }

    /// What a session of service `number` needs.
    pub(crate) fn take(&mut self, number: usize) -> Supply {
        let Some(service) = self.services.get(number) else { return Supply::Exhausted };
        if self.replica >= service.replicas.len() {
            return Supply::Exhausted;
        }
        let Some(kind) = kind(service) else { return Supply::Form(None) };
        let spares = &mut self.spares[kind];
        let total = service.order == Order::Total;
        if total && spares.framers.is_empty() {
            return Supply::Exhausted;
        }
        let Some(mut canonicaliser) = spares.canonicalisers.pop() else {
            return Supply::Exhausted;
        };
        canonicaliser.serve(service, self.replica);
        if let Some(Some(tokens)) = self.tokens.get(number) {
            canonicaliser.remember_in(tokens);
        }
        let mut framer = if total { spares.framers.pop() } else { None };
        if let Some(framer) = &mut framer {
            framer.serve(service);
        }
        Supply::Form(Some(Form { canonicaliser, framer }))
    }

    /// Gives back what a session of service `number` had.
    pub(crate) fn give_back(&mut self, number: usize, form: Form) {
        let Some(kind) = self.services.get(number).and_then(kind) else {
            return;
        };
        let Form { mut canonicaliser, framer } = form;
        canonicaliser.reset();
        self.spares[kind].canonicalisers.push(canonicaliser);
        if let Some(mut framer) = framer {
            framer.reset();
            self.spares[kind].framers.push(framer);
        }
    }
}
