//! [`Http1`] as one of the canonicalisers.

use resh_channel::config::{Order, Protocol, Service};
use resh_channel::message::ORDERED_BYTES_MAX;

use super::client::Phase;
use super::reply::Reply;
use super::{Http1, Method, MethodSet, Profile, SharedTokens};
use crate::canonicaliser::{Canonicaliser, ConnectionWish, Context, End};
use crate::memory::Memory;

impl Profile {
    /// What `service` says.
    fn of(service: &Service, replica: usize) -> Self {
        let Protocol::Http1(settings) = service.protocol else { return Self::DEFAULT };
        let allowed = Method::ALL
            .into_iter()
            .filter(|method| settings.methods.contains(method.name().as_bytes()));
        let address = service.replicas.get(replica).map(|replica| replica.address);
        Self {
            methods: allowed.fold(MethodSet::NONE, MethodSet::with),
            max_head_bytes: settings.max_head_bytes as usize,
            replica_port: address.map_or(0, |address| address.port()),
            max_body_bytes: match service.order {
                Order::Session => Self::DEFAULT.max_body_bytes,
                Order::Total => ORDERED_BYTES_MAX as u64,
            },
            ..Self::DEFAULT
        }
    }
}

impl Http1 {
    /// One with buffers for sessions of any of these services.
    pub(crate) fn for_any<'s>(
        services: impl Iterator<Item = &'s Service>,
        replica: usize,
        memory: Memory,
    ) -> Self {
        let profiles = services.map(|service| Profile::of(service, replica));
        let largest = profiles.max_by_key(|profile| profile.max_head_bytes);
        let profile = largest.unwrap_or(Profile::DEFAULT);
        Self::new(Profile { buffer_bytes: memory.buffer_bytes, ..profile })
    }

    /// Whether nothing of a request has come that is not answered.
    fn is_between_requests(&self) -> bool {
        let read = matches!(self.phase, Phase::Head) && self.input.is_empty();
        let done = matches!(self.phase, Phase::Done);
        let answered = matches!(self.reply, Reply::Idle) && self.exchange.is_none();
        (read || done) && answered && self.to_client.is_empty()
    }
}

impl Canonicaliser for Http1 {
    fn serve(&mut self, service: &Service, replica: usize) {
        self.begins_at = (service.order == Order::Session).then_some(0);
        let buffer_bytes = self.profile.buffer_bytes;
        Self::serve(self, Profile { buffer_bytes, ..Profile::of(service, replica) });
    }

    fn remember_in(&mut self, tokens: &SharedTokens) {
        self.tokens = Some(SharedTokens::clone(tokens));
    }

    fn begin_at(&mut self, offset: u64) {
        self.begins_at = self.begins_at.map(|_| offset);
    }

    fn client_data(&mut self, bytes: &[u8], context: Context) -> usize {
        self.nonce = context.nonce;
        Self::client_data(self, bytes, (context.clock_ms / 1000) as u32)
    }

    fn client_fin(&mut self) {
        Self::client_fin(self);
    }

    fn to_client(&self) -> &[u8] {
        Self::to_client(self)
    }

    fn sent_to_client(&mut self, len: usize) {
        Self::sent_to_client(self, len);
    }

    fn end(&self) -> Option<End> {
        Self::end(self)
    }

    fn connection(&self) -> ConnectionWish {
        Self::connection(self)
    }

    fn server_opened(&mut self) {
        Self::server_opened(self);
    }

    fn to_server(&self) -> &[u8] {
        Self::to_server(self)
    }

    fn sent_to_server(&mut self, len: usize) {
        Self::sent_to_server(self, len);
    }

    fn server_data(&mut self, bytes: &[u8]) -> usize {
        Self::server_data(self, bytes)
    }

    fn server_fin(&mut self) {
        Self::server_fin(self);
    }

    fn server_reset(&mut self) {
        Self::server_reset(self);
    }

    /// A server keeps nothing of a connection between requests.
    fn at_rest(&self) -> bool {
        self.is_between_requests() && self.end.is_none() && !self.fin
    }

    fn is_answered(&self) -> bool {
        self.is_between_requests()
    }

    fn reset(&mut self) {
        Self::reset(self);
    }
}
