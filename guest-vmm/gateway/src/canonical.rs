//! A session whose bytes pass through a canonicaliser, here [`Http1`]: both streams are brought to one
//! form on their way, and the canonicaliser says when it wants a connection to the replica.

use alloc::boxed::Box;
use alloc::vec::Vec;

use resh_channel::config::{Appliance, Protocol};
use resh_channel::memory::{Bytes, copy_in};
use resh_channel::message::Reason;

use crate::http1::{self, ConnectionWish, Http1, Method, MethodSet, Profile};
use crate::memory::Memory;
use crate::replies::{Replies, Stop};
use crate::session::{End, Link, Session, Turn};
use crate::upstream::{Received, Sent, Upstream};

/// Canonicalisers that no session uses now.
pub(crate) type Spares = Vec<Box<Http1>>;

/// How each service is brought to one form by this replica's canonicalisers, by service number. `None`
/// if it is not, or has no such replica.
pub(crate) fn profiles(
    appliance: &Appliance,
    replica: usize,
    memory: Memory,
) -> Vec<Option<Profile>> {
    let of_service = |service: &resh_channel::config::Service| {
        let (Protocol::Http1(settings), Some(replica)) =
            (service.protocol, service.replicas.get(replica))
        else {
            return None;
        };
        let allowed = Method::ALL
            .into_iter()
            .filter(|method| settings.methods.contains(method.name().as_bytes()));
        Some(Profile {
            methods: allowed.fold(MethodSet::NONE, MethodSet::with),
            max_head_bytes: settings.max_head_bytes as usize,
            replica_port: replica.address.port(),
            buffer_bytes: memory.buffer_bytes,
            ..Profile::DEFAULT
        })
    };
    appliance.services.iter().map(of_service).collect()
}

/// A canonicaliser for each session there can be, with room for the largest of `profiles`.
pub(crate) fn spares(profiles: &[Option<Profile>], memory: Memory) -> Spares {
    let largest = profiles.iter().flatten().max_by_key(|profile| profile.max_head_bytes);
    let Some(profile) = largest else { return Spares::new() };
    (0..memory.sessions).map(|_| Box::new(Http1::new(*profile))).collect()
}

/// Request bytes have come: as much as the canonicaliser takes goes on, the rest waits.
pub(crate) fn data(session: &mut Session, bytes: Bytes<'_>, clock_s: u32, scratch: &mut [u8]) {
    let result = match &mut session.http {
        Some(http) if session.upload.is_empty() => {
            let len = bytes.copy_to(scratch);
            let taken = http.client_data(&scratch[..len], clock_s);
            session.consumed += taken as u64;
            session.upload.push_private(&scratch[taken..len], clock_s)
        }
        _ => session.upload.push(bytes, clock_s),
    };
    if result.is_err() {
        session.end_with(End::Reset(Reason::Limit));
    }
}

/// The connection could not be made.
pub(crate) fn refused(session: &mut Session) {
    if let Some(http) = &mut session.http {
        http.server_reset();
    }
}

/// The connection stands.
pub(crate) fn opened(session: &mut Session) {
    if let Some(http) = &mut session.http {
        http.server_opened();
    }
}

/// What a session needs to get on.
struct Turning<'t, 'm, U> {
    session: &'t mut Session,
    http: &'t mut Http1,
    upstream: &'t mut U,
    replies: &'t mut Replies<'m>,
    /// Something happened, so more may.
    moved: bool,
}

/// Does what can be done now, in each direction about as much as fits into `scratch`.
pub(crate) fn pump<U: Upstream>(
    session: &mut Session,
    upstream: &mut U,
    replies: &mut Replies<'_>,
    scratch: &mut [u8],
) -> Result<Turn, Stop> {
    let Some(mut http) = session.http.take() else { return Ok(Turn::Over) };
    let mut turning =
        Turning { session: &mut *session, http: &mut http, upstream, replies, moved: false };
    let result = turning.turn(scratch);
    session.http = Some(http);
    result
}

impl<U: Upstream> Turning<'_, '_, U> {
    fn turn(&mut self, scratch: &mut [u8]) -> Result<Turn, Stop> {
        self.feed();
        self.connect();
        self.send();
        self.receive(scratch);
        self.reply()?;
        self.connect();
        if let Some(end) = self.http.end() {
            self.session.end_with(match end {
                http1::End::Fin => End::Fin,
                http1::End::Reset => End::Reset(Reason::Protocol),
            });
        }
        self.session.tell_taken(self.replies)?;
        self.session.tell_end(self.replies)?;
        Ok(match self.session.end {
            Some(End::Reset(_)) => Turn::Over,
            Some(End::Fin) if self.session.finished => Turn::Over,
            _ if self.moved => Turn::Again,
            _ => Turn::Idle,
        })
    }

    fn index(&self) -> usize {
        self.session.id.index.into()
    }

    /// What waits of the client's stream, and its end.
    fn feed(&mut self) {
        let session = &mut *self.session;
        while let Some((piece, clock_s)) = session.upload.front() {
            let taken = self.http.client_data(piece, clock_s);
            if taken == 0 {
                return;
            }
            session.upload.consume(taken);
            session.consume(taken);
            self.moved = true;
        }
        if session.client_fin && !session.finished {
            self.http.client_fin();
            session.finished = true;
            self.moved = true;
        }
    }

    /// Sees to the connection that is wished for.
    fn connect(&mut self) {
        match (self.http.connection(), self.session.link) {
            (ConnectionWish::Open, Link::None) => {
                self.session.link = Link::Wanted;
                self.moved = true;
            }
            (ConnectionWish::Close, _) => {
                self.close(false);
                self.http.server_reset();
            }
            _ => {}
        }
    }

    fn close(&mut self, abort: bool) {
        if matches!(self.session.link, Link::Connecting | Link::Open) {
            self.upstream.close(self.index(), abort);
        }
        self.session.link = Link::None;
        self.session.unlink();
        self.session.download.clear();
        self.moved = true;
    }

    fn send(&mut self) {
        while self.session.link == Link::Open && self.session.writable && !self.session.deaf {
            let bytes = self.http.to_server();
            if bytes.is_empty() {
                return;
            }
            match self.upstream.send_private(self.index(), bytes) {
                Sent::Some(n) => {
                    self.http.sent_to_server(n);
                    self.moved = true;
                }
                Sent::WouldBlock => self.session.writable = false,
                // What the replica answered before still counts.
                Sent::Gone => (self.session.deaf, self.session.readable) = (true, true),
            }
        }
    }

    fn receive(&mut self, scratch: &mut [u8]) {
        if self.session.link != Link::Open {
            return;
        }
        let waiting = &mut self.session.download;
        if !waiting.is_empty() {
            let taken = self.http.server_data(waiting.front());
            waiting.consume(taken);
            self.moved |= taken > 0;
        }
        if !waiting.is_empty() || !self.session.readable {
            return;
        }
        match self.upstream.recv_private(self.index(), scratch) {
            Received::Some(n) => {
                let taken = self.http.server_data(&scratch[..n]);
                // It was empty, and is as large as the scratch memory.
                let _ = self.session.download.push_private(&scratch[taken..n]);
                self.moved = true;
            }
            Received::WouldBlock => self.session.readable = false,
            // A reset that a send has met looks like a stream's end to the receiver.
            Received::Fin if !self.session.deaf => {
                self.close(false);
                self.http.server_fin();
            }
            Received::Fin | Received::Gone => {
                self.close(true);
                self.http.server_reset();
            }
        }
    }

    /// The canonical stream, as far as credit and room go.
    fn reply(&mut self) -> Result<(), Stop> {
        loop {
            let bytes = self.http.to_client();
            let len = self.session.credit_left().min(bytes.len() as u64);
            if len == 0 {
                return Ok(());
            }
            let room = self.replies.reserve(len)?;
            let len = copy_in(room, &bytes[..len as usize]);
            self.replies.commit(self.session.id, self.session.sent, len);
            self.session.sent += len as u64;
            self.http.sent_to_client(len);
            self.moved = true;
        }
    }
}
