//! The `dns` canonicaliser: DNS (RFC 1035) between one client and one server, over UDP or TCP, such that all gateways
//! whose servers answer correctly give the client the same bytes.
//!
//! What servers could read in several ways is refused before they see it; the rest is written anew in one
//! form. So is every reply. `docs/dns.md` is the profile.
//!
//! [`Dns`] serves one session: over UDP one query, over TCP any number of them, which are answered one after another
//! in the order in which they came. It does no I/O, knows no time, and allocates in [`Dns::new`] only.

mod buffer;
mod message;
mod name;
mod query;
mod rdata;
mod reply;
mod wire;

use alloc::boxed::Box;
use alloc::vec;

use resh_channel::config::{Service, Transport};

use crate::canonicaliser::{Canonicaliser, ConnectionWish, Context, End};
use buffer::{Incoming, LENGTH_BYTES, Outgoing};
use message::{Message, RECORD_BYTES_MIN, is_answer};
use query::{FORWARDED_BYTES_MAX, QUERY_BYTES_MAX, Query, UDP_BYTES};
use wire::{MESSAGE_BYTES_MAX, Writer, rcode, u16_at};

/// A query that a server is asked.
struct Exchange {
    query: Query,
    /// The number by which the server's answer is known.
    id: u16,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    None,
    Wanted,
    Open,
    Closing,
}

/// One client session.
pub struct Dns {
    tcp: bool,
    nonce: [u8; 16],
    /// Queries forwarded.
    forwarded: u16,
    input: Incoming,
    /// Bytes of the client's that follow and belong to a query that was refused for its length.
    skipped: usize,
    exchange: Option<Exchange>,
    to_server: Outgoing,
    reply: Incoming,
    /// Where the records of a reply are, and those of a set.
    index: Box<[u16]>,
    set: Box<[u16]>,
    to_client: Outgoing,
    link: Link,
    /// The server has answered on this connection.
    used: bool,
    client_fin: bool,
    end: Option<End>,
}

impl Dns {
    /// Allocates the buffers of a session: about 160 KiB for TCP, where a message has up to 65,535 bytes, and
    /// 4 KiB for UDP, where those of the server have up to 1,232.
    pub fn new(transport: Transport) -> Self {
        let tcp = transport == Transport::Tcp;
        let length = if tcp { LENGTH_BYTES } else { 0 };
        let reply_bytes = if tcp { MESSAGE_BYTES_MAX } else { UDP_BYTES.into() };
        let records = reply_bytes / RECORD_BYTES_MIN;
        Self {
            tcp,
            nonce: [0; 16],
            forwarded: 0,
            // A datagram is looked at where it lies.
            input: Incoming::new(if tcp { length + QUERY_BYTES_MAX } else { 0 }),
            skipped: 0,
            exchange: None,
            to_server: Outgoing::new(FORWARDED_BYTES_MAX),
            reply: Incoming::new(if tcp { length + reply_bytes } else { 0 }),
            index: vec![0; records].into_boxed_slice(),
            set: vec![0; records].into_boxed_slice(),
            to_client: Outgoing::new(length + reply_bytes),
            link: Link::None,
            used: false,
            client_fin: false,
            end: None,
        }
    }

    /// For sessions of any of `services`.
    pub(crate) fn for_any<'s>(mut services: impl Iterator<Item = &'s Service>) -> Self {
        let tcp = services.any(|service| service.transport == Transport::Tcp);
        Self::new(if tcp { Transport::Tcp } else { Transport::Udp })
    }

    /// Whether the next query may be read.
    fn is_ready(&self) -> bool {
        self.exchange.is_none() && self.to_client.is_empty() && self.end.is_none()
    }

    /// A query of `len` bytes has come, of which `bytes` are here.
    fn ask(&mut self, bytes: &[u8], len: usize) {
        match Query::read(bytes, len) {
            // Not a query; whoever answers replies is part of a loop.
            None if self.tcp => self.finish(End::Fin),
            None => self.finish(End::Reset),
            Some((query, rcode::NOERROR)) => {
                self.exchange = Some(Exchange { query, id: self.next_id() });
                self.send_query();
            }
            Some((query, code)) => {
                self.to_client.write(self.tcp, |out| {
                    let mut writer = Writer::new(out);
                    query.reply_empty(0, code, &mut writer);
                    writer.len()
                });
                self.answered();
            }
        }
    }

    /// The number of the next query: one that only those know who know the session's.
    fn next_id(&mut self) -> u16 {
        self.forwarded = self.forwarded.wrapping_add(1);
        let pair = usize::from(self.forwarded % 8) * 2;
        let random = u16_at(&self.nonce, pair).unwrap_or(0);
        random.wrapping_add(self.forwarded / 8)
    }

    /// Puts the query that is asked in place for the server.
    fn send_query(&mut self) {
        let Some(exchange) = &self.exchange else { return };
        self.to_server.write(self.tcp, |out| {
            let mut writer = Writer::new(out);
            exchange.query.forward(exchange.id, &mut writer);
            writer.len()
        });
        if self.link == Link::None {
            self.link = Link::Wanted;
        }
    }

    /// A whole message of the server has come. Returns whether it was the answer.
    fn answer(&mut self, bytes: &[u8]) -> bool {
        let Some(Exchange { query, id }) = &self.exchange else { return false };
        let Some(question) = query.question() else { return false };
        if !is_answer(bytes, *id, &question.name, question.rtype) {
            return false;
        }
        let (tcp, set) = (self.tcp, &mut self.set);
        // A server was told not to send more over UDP.
        let message = Some(bytes)
            .filter(|bytes| tcp || bytes.len() <= UDP_BYTES.into())
            .and_then(|bytes| Message::read(bytes, &mut self.index));
        self.to_client
            .write(tcp, |out| reply::canonical(query, question, message.as_ref(), tcp, set, out));
        self.exchange = None;
        self.to_server.clear();
        self.used = true;
        self.answered();
        true
    }

    /// A reply is on its way to the client. Over UDP there is no other.
    fn answered(&mut self) {
        if !self.tcp || self.client_fin {
            self.finish(End::Fin);
        }
    }

    /// Takes bytes of a stream up to the end of the server's message.
    fn server_stream(&mut self, bytes: &[u8]) -> usize {
        let taken = self.reply.take(bytes);
        if let Some(len) = self.reply.whole() {
            let message = core::mem::take(&mut self.reply.bytes);
            self.answer(message.get(LENGTH_BYTES..len).unwrap_or(&[]));
            self.reply.bytes = message;
            self.reply.len = 0;
        }
        taken
    }

    /// Takes bytes of a stream up to the end of the client's query.
    fn client_stream(&mut self, bytes: &[u8]) -> usize {
        if self.skipped > 0 {
            let skipped = bytes.len().min(self.skipped);
            self.skipped -= skipped;
            return skipped;
        }
        let (taken, len) = self.input.take_query(bytes);
        if let Some(len) = len {
            let query = core::mem::take(&mut self.input.bytes);
            let here = self.input.len;
            self.ask(query.get(LENGTH_BYTES..here).unwrap_or(&[]), len);
            self.input.bytes = query;
            self.input.len = 0;
            self.skipped = (LENGTH_BYTES + len).saturating_sub(here);
        }
        taken
    }

    /// The connection is gone. A question that was put on one that had served before is put again on
    /// a new one: servers close what is idle.
    fn server_gone(&mut self) {
        let closed = self.link == Link::Closing;
        let again = self.used && self.tcp;
        (self.link, self.used, self.reply.len) = (Link::None, false, 0);
        if closed || self.exchange.is_none() {
            return;
        }
        if again {
            self.send_query();
        } else {
            self.finish(End::Reset);
        }
    }

    fn finish(&mut self, end: End) {
        self.end = Some(end);
        self.exchange = None;
        self.to_server.clear();
        if self.link != Link::None {
            self.link = Link::Closing;
        }
    }
}

impl Canonicaliser for Dns {
    fn serve(&mut self, service: &Service, _replica: usize) {
        self.tcp = service.transport == Transport::Tcp;
    }

    fn client_data(&mut self, bytes: &[u8], context: Context) -> usize {
        self.nonce = context.nonce;
        if self.end.is_some() {
            return bytes.len();
        }
        if !self.tcp {
            if self.is_ready() {
                self.ask(bytes, bytes.len());
            }
            return bytes.len();
        }
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            if self.end.is_some() {
                return bytes.len();
            }
            if !self.is_ready() {
                break;
            }
            taken += self.client_stream(rest);
        }
        taken
    }

    fn client_fin(&mut self) {
        self.client_fin = true;
        if self.end.is_none() && self.exchange.is_none() {
            self.finish(if self.tcp { End::Fin } else { End::Reset });
        }
    }

    fn to_client(&self) -> &[u8] {
        self.to_client.data()
    }

    fn sent_to_client(&mut self, len: usize) {
        self.to_client.consume(len);
    }

    fn end(&self) -> Option<End> {
        self.end.filter(|_| self.to_client.is_empty())
    }

    fn connection(&self) -> ConnectionWish {
        match self.link {
            Link::None => ConnectionWish::None,
            Link::Wanted | Link::Open => ConnectionWish::Open,
            Link::Closing => ConnectionWish::Close,
        }
    }

    fn server_opened(&mut self) {
        if self.link == Link::Wanted {
            self.link = Link::Open;
        }
    }

    fn to_server(&self) -> &[u8] {
        if self.link == Link::Open { self.to_server.data() } else { &[] }
    }

    fn sent_to_server(&mut self, len: usize) {
        self.to_server.consume(len);
    }

    fn server_data(&mut self, bytes: &[u8]) -> usize {
        if !self.tcp {
            self.answer(bytes);
            return bytes.len();
        }
        let mut taken = 0;
        // Nothing is to come but the answer, and what comes without a question is none.
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            taken += self.server_stream(rest);
        }
        taken
    }

    fn server_fin(&mut self) {
        self.server_gone();
    }

    fn server_reset(&mut self) {
        self.server_gone();
    }

    fn at_rest(&self) -> bool {
        self.is_ready() && self.input.len == 0 && self.skipped == 0
    }

    fn is_answered(&self) -> bool {
        self.exchange.is_none()
    }

    fn reset(&mut self) {
        self.nonce = [0; 16];
        self.forwarded = 0;
        self.input.len = 0;
        self.skipped = 0;
        self.exchange = None;
        self.to_server.clear();
        self.reply.len = 0;
        self.to_client.clear();
        self.link = Link::None;
        self.used = false;
        self.client_fin = false;
        self.end = None;
    }
}
