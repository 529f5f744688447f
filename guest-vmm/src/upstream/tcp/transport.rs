//! The connections as the gateway's transport.

use gateway::upstream::{Event, Opening, Received, Refused, Sent, Upstream};
use resh_channel::config::Transport;
use resh_channel::memory::{Bytes, WORD_BYTES, Words, copy_in};

use super::{NONE, Seat, Tcp, Use};
use crate::upstream::Frames;

impl<F: Frames> Upstream for Tcp<F> {
    fn begin(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.take_in();
    }

    fn open(&mut self, session: usize, service: usize) -> Result<Opening, Refused> {
        if self.of_session.get(session) != Some(&NONE) {
            return Err(Refused);
        }
        if let Some(port) = self.settings.port(service, Transport::Udp) {
            return self.udp.open(session, port);
        }
        let seat = self.connect(service, Use::Connecting(session as u16)).ok_or(Refused)?;
        self.of_session[session] = seat;
        Ok(Opening::Pending)
    }

    fn next_event(&mut self) -> Option<Event> {
        while let Some(seat) = self.woken.pop() {
            if let Some(event) = self.look(seat as Seat) {
                return Some(event);
            }
        }
        self.udp.next_event()
    }

    fn send(&mut self, session: usize, bytes: Bytes<'_>) -> Sent {
        if self.udp.has(session) {
            return self.udp.send(session, &mut self.wire, bytes.len(), |room| {
                bytes.copy_to(room);
            });
        }
        self.transmit(session, |sent, room| bytes.skip(sent).copy_to(room))
    }

    fn send_private(&mut self, session: usize, bytes: &[u8]) -> Sent {
        if self.udp.has(session) {
            return self.udp.send(session, &mut self.wire, bytes.len(), |room| {
                room.copy_from_slice(bytes);
            });
        }
        self.transmit(session, |sent, room| {
            let rest = &bytes[sent..];
            let len = rest.len().min(room.len());
            room[..len].copy_from_slice(&rest[..len]);
            len
        })
    }

    fn recv(&mut self, session: usize, into: &Words, limit_bytes: usize) -> Received {
        if self.udp.has(session) {
            let limit = limit_bytes.min(into.len() * WORD_BYTES);
            return self.udp.receive(session, limit, |bytes| {
                copy_in(into, bytes);
            });
        }
        self.receive(session, |bytes| copy_in(into, &bytes[..bytes.len().min(limit_bytes)]))
    }

    fn recv_private(&mut self, session: usize, into: &mut [u8]) -> Received {
        if self.udp.has(session) {
            return self.udp.receive(session, into.len(), |bytes| {
                into[..bytes.len()].copy_from_slice(bytes);
            });
        }
        self.receive(session, |bytes| {
            let len = bytes.len().min(into.len());
            into[..len].copy_from_slice(&bytes[..len]);
            len
        })
    }

    fn finish(&mut self, session: usize) {
        if let Some((seat, place)) = self.place(session) {
            place.socket().close();
            self.dirty.push(seat.into());
        }
    }

    fn close(&mut self, session: usize, abort: bool) {
        self.udp.close(session);
        let Some(entry) = self.of_session.get_mut(session) else { return };
        let seat = core::mem::replace(entry, NONE);
        let Some(place) = self.seats.get(usize::from(seat)) else { return };
        if abort || !matches!(place.usage, Use::Open(_)) {
            self.cut(seat);
        } else {
            self.rest(seat);
        }
    }

    fn poll(&mut self, now_ms: u64) -> Option<u64> {
        self.now_ms = now_ms;
        while let Some(seat) = self.resting.first() {
            if self.seats[seat].rests_until_ms > now_ms {
                break;
            }
            self.cut(seat as Seat);
        }
        if self.due_ms <= now_ms {
            self.due_ms = u64::MAX;
            for (seat, place) in self.seats.iter().enumerate() {
                if place.due_ms <= now_ms {
                    self.dirty.push(seat);
                } else {
                    self.due_ms = self.due_ms.min(place.due_ms);
                }
            }
        }
        while let Some(seat) = self.dirty.first() {
            if !self.flush(seat as Seat) {
                break;
            }
            self.dirty.remove(seat);
        }
        if self.more || !self.woken.is_empty() || self.udp.is_woken() {
            return Some(now_ms);
        }
        let rested_ms =
            self.resting.first().map_or(u64::MAX, |seat| self.seats[seat].rests_until_ms);
        // What is due is to send something: while that cannot be, time has no say.
        let due_ms = if self.dirty.is_empty() { self.due_ms } else { u64::MAX };
        let next_ms = due_ms.min(rested_ms);
        (next_ms != u64::MAX).then_some(next_ms)
    }
}
