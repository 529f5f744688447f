//! Our ports, and whose they are.

use alloc::boxed::Box;
use alloc::vec;

/// The first of our ports; the last is 65,535.
const FIRST: u16 = 16_384;
const NOBODY: u16 = u16::MAX;

/// Which seat uses which of our ports. They are given out in turn, so that one is used again only
/// after all the others: a server keeps the pair of ports of a connection it ended for a minute
/// (TIME-WAIT, RFC 9293 section 3.3.2).
pub(super) struct Ports {
    seats: Box<[u16]>,
    next: usize,
}

impl Ports {
    /// None is in use. `seed` decides which comes first.
    pub(super) fn new(seed: u64) -> Self {
        let seats = vec![NOBODY; usize::from(u16::MAX - FIRST) + 1].into_boxed_slice();
        let next = (seed >> 32) as usize % seats.len();
        Self { seats, next }
    }

    /// A port for `seat`. There are more ports than seats.
    pub(super) fn take(&mut self, seat: u16) -> Option<u16> {
        for _ in 0..self.seats.len() {
            let at = self.next;
            self.next = (at + 1) % self.seats.len();
            if self.seats[at] == NOBODY {
                self.seats[at] = seat;
                return Some(FIRST + at as u16);
            }
        }
        None
    }

    /// The seat that uses `port`.
    pub(super) fn seat(&self, port: u16) -> Option<u16> {
        let seat = *self.seats.get(usize::from(port.checked_sub(FIRST)?))?;
        (seat != NOBODY).then_some(seat)
    }

    /// Nobody uses `port` any more.
    pub(super) fn release(&mut self, port: u16) {
        if let Some(at) = port.checked_sub(FIRST) {
            self.seats[usize::from(at)] = NOBODY;
        }
    }
}
