//! Datagrams to the guest's servers, and what they answer: one port of ours for each session.
//!
//! No stack is needed: a datagram is a frame. Of the answers to a session one is kept until it is taken; others that come
//! meanwhile are lost.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use gateway::SLOTS;
use gateway::queue::Queue;
use gateway::upstream::{Event, Opening, Received, Refused, Sent};

use super::Frames;
use super::ports::Ports;
use super::wire::{DATAGRAM_ROOM_BYTES, Wire};

type Seat = u16;
const NONE: Seat = Seat::MAX;

/// What stands for a connection.
#[derive(Clone, Copy)]
struct Flow {
    session: u16,
    /// Our port, and the server's.
    port: u16,
    server: u16,
    /// Bytes of the answer that waits.
    waiting: Option<usize>,
    /// The guest says that nobody listens there.
    refused: bool,
}

/// All of them.
pub(super) struct Udp {
    ports: Ports,
    flows: Box<[Flow]>,
    free: Vec<Seat>,
    /// By session.
    of_session: Box<[Seat]>,
    /// An answer for each flow.
    answers: Box<[u8]>,
    /// Flows in which something happened.
    woken: Queue,
}

impl Udp {
    /// For so many sessions at once; none if no service is over UDP.
    pub(super) fn new(sessions: usize, seed: u64) -> Self {
        let sessions = sessions.min(usize::from(NONE));
        let flow = Flow { session: 0, port: 0, server: 0, waiting: None, refused: false };
        Self {
            ports: Ports::new(seed.rotate_left(32)),
            flows: vec![flow; sessions].into_boxed_slice(),
            free: (0..sessions as Seat).rev().collect(),
            of_session: vec![NONE; SLOTS].into_boxed_slice(),
            answers: vec![0; sessions * DATAGRAM_ROOM_BYTES].into_boxed_slice(),
            woken: Queue::new(sessions),
        }
    }

    /// Flows of sessions.
    pub(super) fn len(&self) -> usize {
        self.flows.len() - self.free.len()
    }

    /// Whether something happened that was not told yet.
    pub(super) fn is_woken(&self) -> bool {
        !self.woken.is_empty()
    }

    /// Whether `session` has a flow.
    pub(super) fn has(&self, session: usize) -> bool {
        self.seat(session).is_some()
    }

    fn seat(&self, session: usize) -> Option<usize> {
        let seat = *self.of_session.get(session)?;
        (seat != NONE).then_some(usize::from(seat))
    }

    /// Gives `session` a flow to port `server` of the guest.
    pub(super) fn open(&mut self, session: usize, server: u16) -> Result<Opening, Refused> {
        if self.of_session.get(session) != Some(&NONE) {
            return Err(Refused);
        }
        let seat = self.free.pop().ok_or(Refused)?;
        // There are more ports than flows.
        let port = self.ports.take(seat).unwrap_or_default();
        let flow = Flow { session: session as u16, port, server, waiting: None, refused: false };
        self.flows[usize::from(seat)] = flow;
        self.of_session[session] = seat;
        Ok(Opening::Open)
    }

    /// `session` has no flow any more.
    pub(super) fn close(&mut self, session: usize) {
        let Some(seat) = self.seat(session) else { return };
        self.of_session[session] = NONE;
        self.ports.release(self.flows[seat].port);
        self.woken.remove(seat);
        self.free.push(seat as Seat);
    }

    /// The flow to which `port` of ours belongs, with `server` at the other end.
    fn flow(&mut self, port: u16, server: u16) -> Option<(usize, &mut Flow)> {
        let seat = usize::from(self.ports.seat(port)?);
        let flow = self.flows.get_mut(seat).filter(|flow| flow.server == server)?;
        Some((seat, flow))
    }

    /// A datagram has come from the guest.
    pub(super) fn arrived(&mut self, port: u16, server: u16, bytes: &[u8]) {
        let Some((seat, flow)) = self.flow(port, server) else { return };
        // An empty one is no answer.
        if flow.waiting.is_some() || !(1..=DATAGRAM_ROOM_BYTES).contains(&bytes.len()) {
            return;
        }
        flow.waiting = Some(bytes.len());
        let start = seat * DATAGRAM_ROOM_BYTES;
        self.answers[start..start + bytes.len()].copy_from_slice(bytes);
        self.woken.push(seat);
    }

    /// The guest says that nobody listens at `server`.
    pub(super) fn unreachable(&mut self, port: u16, server: u16) {
        let Some((seat, flow)) = self.flow(port, server) else { return };
        flow.refused = true;
        self.woken.push(seat);
    }

    /// The guest starts anew: nobody will answer.
    pub(super) fn guest_restarted(&mut self) {
        for session in 0..self.of_session.len() {
            if let Some(seat) = self.seat(session) {
                (self.flows[seat].waiting, self.flows[seat].refused) = (None, true);
                self.woken.push(seat);
            }
        }
    }

    pub(super) fn next_event(&mut self) -> Option<Event> {
        let session = self.flows[self.woken.pop()?].session.into();
        Some(Event::Ready { session, readable: true, writable: false })
    }

    /// Sends a datagram of `len` bytes that `fill` writes.
    pub(super) fn send<F: Frames>(
        &self,
        session: usize,
        wire: &mut Wire<F>,
        len: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Sent {
        let Some(seat) = self.seat(session) else { return Sent::Gone };
        let Flow { port, server, .. } = self.flows[seat];
        if len > DATAGRAM_ROOM_BYTES {
            // It never can be.
            return Sent::Gone;
        }
        if !wire.can_send() {
            return Sent::WouldBlock;
        }
        wire.send_datagram(port, server, len, fill);
        Sent::Some(len)
    }

    /// Takes the answer that waits, by `take`, if it has at most `limit` bytes.
    pub(super) fn receive(
        &mut self,
        session: usize,
        limit: usize,
        take: impl FnOnce(&[u8]),
    ) -> Received {
        let Some(seat) = self.seat(session) else { return Received::Gone };
        let flow = &mut self.flows[seat];
        match flow.waiting.take() {
            Some(len) if len <= limit => {
                let start = seat * DATAGRAM_ROOM_BYTES;
                take(&self.answers[start..start + len]);
                Received::Some(len)
            }
            _ if core::mem::take(&mut flow.refused) => Received::Gone,
            _ => Received::WouldBlock,
        }
    }
}
