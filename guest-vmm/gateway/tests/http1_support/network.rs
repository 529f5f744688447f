//! One session between a client's records and a replica, with a network whose timing and pieces come
//! from a seed.

use super::Rng;
use gateway::canonicaliser::{ConnectionWish, End};
use gateway::http1::Http1;

/// A record of the client's stream.
pub(crate) type Record = (Vec<u8>, u32);

/// What a replica does with one connection's bytes.
pub(crate) trait Replica {
    /// A connection is made; `false` refuses it.
    fn connect(&mut self) -> bool {
        true
    }
    /// Bytes came; what the replica sends goes to `out`.
    fn receive(&mut self, bytes: &[u8], out: &mut Wire);
    /// Nothing has come for a while.
    fn idle(&mut self, _out: &mut Wire) {}
}

/// What a replica has sent and not yet been read.
#[derive(Default)]
pub(crate) struct Wire {
    pub(crate) bytes: Vec<u8>,
    /// It closes behind that: `true` in order, `false` by reset.
    pub(crate) close: Option<bool>,
}

/// What the client saw.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(crate) struct Seen {
    pub(crate) bytes: Vec<u8>,
    /// `None`: the session waits for the client or the replica.
    pub(crate) end: Option<End>,
}

/// Runs a session until nothing moves. The seed decides pieces and order of all that happens.
pub(crate) fn run(
    http: &mut Http1,
    records: &[Record],
    fin: bool,
    replica: &mut dyn Replica,
    seed: u64,
) -> Seen {
    let mut rng = Rng::new(seed);
    // Some runs move in large pieces and some byte by byte, for as long as that does not take ages.
    let smallest = [1, 7, 100, 3000, 1 << 20][rng.below(5)];
    let mut moved: usize = 0;
    let (mut record, mut at, mut finished) = (0, 0, false);
    let mut wire: Option<Wire> = None;
    let mut seen = Vec::new();
    let mut idle = 0;
    // Enough for all that may wait for a buffer to empty.
    while idle < 200 {
        moved += 1;
        let most = smallest.max(moved / 20);
        let piece =
            |rng: &mut Rng, len: usize| if len == 0 { 0 } else { 1 + rng.below(len.min(most)) };
        idle += 1;
        match rng.below(6) {
            0 => {
                if let Some((bytes, clock_s)) = records.get(record) {
                    let n = piece(&mut rng, bytes.len() - at);
                    let taken = http.client_data(&bytes[at..at + n], *clock_s);
                    assert!(taken <= n);
                    at += taken;
                    if at == bytes.len() {
                        (record, at) = (record + 1, 0);
                        idle = 0;
                    }
                    if taken > 0 {
                        idle = 0;
                    }
                } else if fin && !finished {
                    http.client_fin();
                    finished = true;
                    idle = 0;
                }
            }
            1 => match (http.connection(), wire.is_some()) {
                (ConnectionWish::Open, false) => {
                    idle = 0;
                    if replica.connect() {
                        wire = Some(Wire::default());
                        http.server_opened();
                    } else {
                        http.server_reset();
                    }
                }
                (ConnectionWish::Close, _) => {
                    idle = 0;
                    wire = None;
                    http.server_reset();
                    assert_ne!(http.connection(), ConnectionWish::Close);
                }
                _ => {}
            },
            2 => {
                let n = piece(&mut rng, http.to_server().len());
                if n > 0 {
                    idle = 0;
                    let wire = wire.as_mut().expect("bytes for the server without a connection");
                    let bytes = http.to_server()[..n].to_vec();
                    if wire.close.is_none() {
                        replica.receive(&bytes, wire);
                    }
                    http.sent_to_server(n);
                }
            }
            3 => {
                if let Some(waiting) = &mut wire
                    && http.connection() != ConnectionWish::Close
                {
                    let n = piece(&mut rng, waiting.bytes.len());
                    let taken = http.server_data(&waiting.bytes[..n]);
                    assert!(taken <= n);
                    waiting.bytes.drain(..taken);
                    if taken > 0 {
                        idle = 0;
                    }
                }
            }
            4 => {
                let n = piece(&mut rng, http.to_client().len());
                if n > 0 {
                    idle = 0;
                    seen.extend_from_slice(&http.to_client()[..n]);
                    http.sent_to_client(n);
                }
            }
            _ => {
                if let Some(waiting) = &mut wire {
                    replica.idle(waiting);
                    if let (true, Some(in_order)) = (waiting.bytes.is_empty(), waiting.close) {
                        idle = 0;
                        wire = None;
                        if in_order { http.server_fin() } else { http.server_reset() }
                    }
                }
            }
        }
        if http.end().is_some() && http.connection() == ConnectionWish::None {
            break;
        }
    }
    Seen { bytes: seen, end: http.end() }
}
