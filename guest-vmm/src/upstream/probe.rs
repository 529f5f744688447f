//! Whether a guest that starts serves already.

use super::Frames;
use super::tcp::{Seat, Tcp};
use gateway::upstream::Upstream;
use resh_channel::config::Transport;

/// How long a server may take to accept a connection, in milliseconds.
const ACCEPT_MS: u64 = 1_000;
/// How long we wait after it did not, in milliseconds.
const AGAIN_MS: u64 = 200;

/// What is known of a guest's servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// Each of them that is over TCP has accepted a connection.
    Yes,
    /// One has not yet.
    NotYet {
        /// When to ask again, at the latest, in milliseconds. Frames of the guest are a reason, too.
        again_at_ms: u64,
    },
}

/// How far the question went.
#[derive(Default)]
pub(super) struct Probe {
    /// Services before this one accept connections.
    service: usize,
    /// The connection that is being made to it, and since when.
    connection: Option<(Seat, u64)>,
    /// When to try the next one.
    try_at_ms: u64,
}

impl<F: Frames> Tcp<F> {
    /// Goes on with finding out whether the server of each service accepts connections, one after the other.
    /// Once all do they are not asked again, but after [`guest_restarted`](Self::guest_restarted).
    ///
    /// For the time before the gateway runs over these connections: it takes in what the guest
    /// sent, and sends.
    pub fn probe(&mut self, now_ms: u64) -> Serving {
        self.begin(now_ms);
        while self.next_event().is_some() {}
        while self.advance(now_ms) {}
        let sent_at_ms = self.poll(now_ms).unwrap_or(u64::MAX);
        if self.probe.service >= self.settings.ports.len() {
            return Serving::Yes;
        }
        let looked_at_ms = match self.probe.connection {
            Some((_, since_ms)) => since_ms + ACCEPT_MS,
            None => self.probe.try_at_ms,
        };
        Serving::NotYet { again_at_ms: looked_at_ms.min(sent_at_ms) }
    }

    /// One step. True if the next one may follow at once.
    fn advance(&mut self, now_ms: u64) -> bool {
        let service = self.probe.service;
        match self.settings.ports.get(service) {
            None => return false,
            // Over UDP only an answer would tell, to a request of the service.
            Some(None | Some((Transport::Udp, _))) => {
                self.probe.service += 1;
                return true;
            }
            Some(Some((Transport::Tcp, _))) => {}
        }
        let Some((seat, since_ms)) = self.probe.connection else {
            if now_ms >= self.probe.try_at_ms {
                self.probe.try_at_ms = now_ms + AGAIN_MS;
                self.probe.connection = self.begin_probe(service).map(|seat| (seat, now_ms));
            }
            return false;
        };
        let stands = match self.probed(seat) {
            Some(stands) => stands,
            None if now_ms < since_ms + ACCEPT_MS => return false,
            None => false,
        };
        self.end_probe(seat, stands);
        self.probe.connection = None;
        if stands {
            self.probe.service += 1;
            self.probe.try_at_ms = now_ms;
        } else {
            self.probe.try_at_ms = now_ms + AGAIN_MS;
        }
        true
    }
}
