//! The request stream of one session, as far as the order is concerned.

use resh_channel::config::REPLICAS_MAX;
use resh_channel::message::SessionId;

use super::framing::{Cut, Framing};

/// The request stream of one session.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its session.
    pub id: SessionId,
    /// Its service.
    pub service: u8,
    /// Bytes that have come.
    pub staged: u64,
    /// The vote on where its requests end.
    pub framing: Framing,
    /// Its next request, which waits for its turn.
    pub agreed: Option<Cut>,
    /// Somebody waits for others to agree where the next request ends: since when.
    pub pending_ms: Option<u64>,
    /// Number of its last request. 0: there is none.
    pub number: u64,
    /// It takes no more requests.
    pub last: bool,
    /// The log has requests of it.
    pub logged: bool,
    /// It had requests on which later ones depend.
    pub sticky: bool,
    /// The first of its last requests that are all `TRANSIENT`.
    pub transient: Option<u64>,
    /// It is over.
    pub ended: bool,
}

impl Line {
    /// A new stream.
    pub fn new(id: SessionId, service: u8) -> Self {
        Self {
            id,
            service,
            staged: 0,
            framing: Framing::new(),
            agreed: None,
            pending_ms: None,
            number: 0,
            last: false,
            logged: false,
            sticky: false,
            transient: None,
            ended: false,
        }
    }

    /// Position up to which its bytes are ordered, or thrown away.
    pub fn ordered(&self) -> u64 {
        if self.last { self.staged } else { self.framing.end() }
    }

    /// `replicas`, a bit mask, take part from here on.
    pub fn admit(&mut self, replicas: u8) {
        for replica in (0..REPLICAS_MAX).filter(|at| replicas & (1 << at) != 0) {
            self.framing.admit(replica);
        }
    }
}
