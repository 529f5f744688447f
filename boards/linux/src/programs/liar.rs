//! A replica that lies: connections on which some of the received bytes are changed.

use gateway::upstream::{Event, Opening, Received, Refused, Sent, Upstream};
use resh_channel::memory::{AtomicU64, Bytes, Ordering, WORD_BYTES, Words};

use super::hostile::Random;

/// One of how many replies is a lie. 0: none.
static ONE_IN: AtomicU64 = AtomicU64::new(0);

/// From now on one of `replies` received pieces is a lie. 0: none.
pub(super) fn lie_in_one_of(replies: u64) {
    ONE_IN.store(replies, Ordering::Relaxed);
}

/// Passes everything on to `inner`, and lies as [`lie_in_one_of`] says.
pub(super) struct Liar<U> {
    pub(super) inner: U,
    pub(super) random: Random,
}

impl<U> Liar<U> {
    /// Where to change a byte of the `len` that came, if at all.
    fn place(&mut self, len: usize) -> Option<usize> {
        let one_in = ONE_IN.load(Ordering::Relaxed);
        let lies = one_in > 0 && self.random.below(one_in) == 0;
        lies.then(|| self.random.below(len as u64) as usize)
    }
}

impl<U: Upstream> Upstream for Liar<U> {
    fn open(&mut self, session: usize, service: usize) -> Result<Opening, Refused> {
        self.inner.open(session, service)
    }

    fn next_event(&mut self) -> Option<Event> {
        self.inner.next_event()
    }

    fn send(&mut self, session: usize, bytes: Bytes<'_>) -> Sent {
        self.inner.send(session, bytes)
    }

    fn send_private(&mut self, session: usize, bytes: &[u8]) -> Sent {
        self.inner.send_private(session, bytes)
    }

    fn recv(&mut self, session: usize, into: &Words, limit_bytes: usize) -> Received {
        let received = self.inner.recv(session, into, limit_bytes);
        if let Received::Some(len) = received
            && let Some(at) = self.place(len)
        {
            into[at / WORD_BYTES].fetch_xor(1 << (at % WORD_BYTES * 8), Ordering::Relaxed);
        }
        received
    }

    fn recv_private(&mut self, session: usize, into: &mut [u8]) -> Received {
        let received = self.inner.recv_private(session, into);
        if let Received::Some(len) = received
            && let Some(at) = self.place(len)
        {
            into[at] ^= 1;
        }
        received
    }

    fn finish(&mut self, session: usize) {
        self.inner.finish(session);
    }

    fn close(&mut self, session: usize, abort: bool) {
        self.inner.close(session, abort);
    }

    fn poll(&mut self, now_ms: u64) -> Option<u64> {
        self.inner.poll(now_ms)
    }
}
