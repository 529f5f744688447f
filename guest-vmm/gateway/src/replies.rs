//! The ring on which a gateway tells the voter what its replica answered.

use resh_channel::memory::Words;
use resh_channel::message::{Kind, MAX_PAYLOAD_BYTES, Message, SessionId};
use resh_channel::ring::{Producer, Violation};

use crate::Broken;

/// The ring has no room now; the voter is asked for a signal when it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// There is no room.
    Full,
    /// The voter's position makes no sense.
    Broken(Violation),
}

impl From<(usize, Violation)> for Stop {
    fn from((_, violation): (usize, Violation)) -> Self {
        Self::Broken(violation)
    }
}

impl From<Stop> for Broken {
    /// Where there must be room, as in an empty ring.
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Full => Self::Regions,
            Stop::Broken(violation) => Self::Replies(violation),
        }
    }
}

/// The writing end of the reply ring.
pub(crate) struct Replies<'m> {
    producer: Producer<'m>,
}

impl<'m> Replies<'m> {
    /// Goes on where the voter stands, whatever an earlier life of this domain wrote.
    pub(crate) fn new(ring: &'m Words, cursor: &'m Words) -> Result<Self, Broken> {
        let start = resh_channel::ring::Consumer::position_in(cursor);
        let mut producer = Producer::new(ring, start).map_err(|_| Broken::Regions)?;
        producer.add_reader(0, cursor).map_err(|_| Broken::Regions)?;
        Ok(Self { producer })
    }

    /// Writes a record without payload.
    pub(crate) fn say(&mut self, message: &Message) -> Result<(), Stop> {
        if self.producer.push(message, &[])? { Ok(()) } else { Err(Stop::Full) }
    }

    /// Room for a `Data` record of up to `limit` bytes, at most [`MAX_PAYLOAD_BYTES`]. Follow with
    /// [`commit`](Self::commit), or not.
    pub(crate) fn reserve(&mut self, limit: u64) -> Result<&'m Words, Stop> {
        let len = limit.min(MAX_PAYLOAD_BYTES as u64) as usize;
        self.producer.reserve(len)?.ok_or(Stop::Full)
    }

    /// Ends the `Data` record: its first `len` bytes lie at `offset` of the reply stream.
    pub(crate) fn commit(&mut self, session: SessionId, offset: u64, len: usize) {
        self.producer.commit(&Message::new(Kind::Data, session).at(offset), len);
    }

    /// Shows the voter what was written. True if it sleeps and needs a signal.
    pub(crate) fn publish(&mut self) -> bool {
        self.producer.publish() != 0
    }

    /// Asks for a signal when there is room for the largest record. True if there is none now.
    pub(crate) fn arm(&mut self) -> Result<bool, Violation> {
        self.producer.arm(MAX_PAYLOAD_BYTES).map_err(|(_, violation)| violation)
    }
}
