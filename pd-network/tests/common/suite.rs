//! What must hold on every stack.

use std::net::SocketAddr;

use resh_channel::stats::NetworkStats;

use pd_network::LINGER_MS;

use super::voter::{Service, Voter};
use super::{Rng, patterns};

/// What a client sees of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is open, as far as one can tell.
    Open,
    /// The service ended its stream.
    End,
    /// It was reset.
    Reset,
}

/// Clients, a stack with the network on it, and the voter.
pub trait World<'m> {
    /// Connects a client to a service. It may take some steps.
    fn connect(&mut self, service: usize) -> usize;
    /// The client's own address, as the service sees it.
    fn address(&mut self, client: usize) -> SocketAddr;
    /// Sends what is taken now of `bytes` and returns how much that was.
    fn send(&mut self, client: usize, bytes: &[u8]) -> usize;
    /// Receives at most `limit` bytes to the end of `into`.
    fn receive(&mut self, client: usize, into: &mut Vec<u8>, limit: usize) -> Seen;
    /// Ends the client's stream.
    fn finish(&mut self, client: usize);
    /// Resets the connection.
    fn reset(&mut self, client: usize);
    /// Lets everybody do something.
    fn step(&mut self);
    /// Lets time go by, a step at a time.
    fn pass(&mut self, time_ms: u64);
    fn voter(&mut self) -> &mut Voter<'m>;
    fn stats(&mut self) -> NetworkStats;
}

/// What the worlds of the suite are set up with.
pub const SLOTS: usize = 24;
pub const SESSIONS: u16 = 16;
pub const IDLE_MS: u64 = 2_000;
/// Steps within which anything must have happened.
const STEPS: usize = 200_000;

fn until<'m, W: World<'m> + ?Sized>(w: &mut W, what: &str, mut done: impl FnMut(&mut W) -> bool) {
    for _ in 0..STEPS {
        if done(w) {
            return;
        }
        w.step();
    }
    panic!("never: {what}; {:?}", w.stats());
}

fn session_of<'m, W: World<'m> + ?Sized>(w: &mut W, client: usize) -> u16 {
    let mut index = None;
    until(w, "the session opens", |w| {
        let peer = w.address(client);
        index = w.voter().find(peer);
        index.is_some()
    });
    index.unwrap()
}

/// Receives until the connection is no longer open.
fn drain<'m, W: World<'m> + ?Sized>(w: &mut W, client: usize) -> (Vec<u8>, Seen) {
    let mut bytes = Vec::new();
    let mut seen = Seen::Open;
    until(w, "the reply ends", |w| {
        seen = w.receive(client, &mut bytes, usize::MAX);
        seen != Seen::Open
    });
    (bytes, seen)
}

fn all_over<'m, W: World<'m> + ?Sized>(w: &mut W) {
    until(w, "all is closed", |w| w.voter().live() == 0 && w.stats().open == 0);
}

/// Sends `len` bytes of stream `stream` and reads the echo, both in random pieces.
pub fn echo<'m, W: World<'m> + ?Sized>(w: &mut W, rng: &mut Rng, stream: u64, len: u64) {
    w.voter().services = vec![Service::Echo];
    let client = w.connect(0);
    let request = patterns(stream, 0, len);
    let (mut sent, mut reply) = (0, Vec::new());
    let mut seen = Seen::Open;
    let mut ended = false;
    until(w, "the echo is complete", |w| {
        let piece = &request[sent..];
        let most = if rng.one_in(4) { piece.len() } else { rng.below(20_000).min(piece.len()) };
        sent += w.send(client, &piece[..most]);
        if sent == request.len() && !ended {
            ended = true;
            w.finish(client);
        }
        let limit = if rng.one_in(3) { usize::MAX } else { rng.below(20_000) };
        if seen == Seen::Open {
            seen = w.receive(client, &mut reply, limit);
        }
        seen != Seen::Open
    });
    assert_eq!(seen, Seen::End);
    assert!(reply == request, "the reply differs from the request");
    all_over(w);
}

/// The service speaks first and ends first; the client ends when it has all.
pub fn download<'m, W: World<'m> + ?Sized>(w: &mut W, len: u64) {
    w.voter().services = vec![Service::Source(len)];
    let client = w.connect(0);
    let session = session_of(w, client);
    let (bytes, seen) = drain(w, client);
    assert_eq!(seen, Seen::End);
    assert!(bytes == patterns(u64::from(session), 0, len), "wrong reply");
    w.finish(client);
    all_over(w);
    assert_eq!(w.stats().resets, 0);
}

/// A client that ends only its own stream still gets its reply.
pub fn half_close<'m, W: World<'m> + ?Sized>(w: &mut W) {
    w.voter().services = vec![Service::Sink];
    let client = w.connect(0);
    let mut sent = 0;
    until(w, "the request is sent", |w| {
        sent += w.send(client, &patterns(5, sent as u64, 1_000));
        sent == 1_000
    });
    w.finish(client);
    let session = session_of(w, client);
    let (bytes, seen) = drain(w, client);
    assert_eq!((bytes.len(), seen), (0, Seen::End));
    assert!(w.voter().session(session).request == patterns(5, 0, 1_000));
    all_over(w);
}

/// The voter is through with a session whose client has not yet read all: it still gets it, and the id
/// comes back.
pub fn closed_early<'m, W: World<'m> + ?Sized>(w: &mut W) {
    w.voter().services = vec![Service::Source(200_000)];
    for _ in 0..SLOTS + 2 {
        let client = w.connect(0);
        let session = session_of(w, client);
        w.finish(client);
        until(w, "the voter closes the session", |w| w.voter().live() == 0);
        let (bytes, seen) = drain(w, client);
        assert_eq!(seen, Seen::End);
        assert!(bytes == patterns(u64::from(session), 0, 200_000), "wrong reply");
    }
    all_over(w);
    let stats = w.stats();
    assert_eq!((stats.refused, stats.resets), (0, 0));
}

/// A client that does not read holds only its own window, and nobody else.
pub fn slow_reader<'m, W: World<'m> + ?Sized>(w: &mut W) {
    w.voter().services = vec![Service::Source(8 << 20)];
    let slow = w.connect(0);
    let session = session_of(w, slow);
    let mut before = u64::MAX;
    until(w, "the slow reader's window is full", |w| {
        let released = w.voter().session(session).released;
        let still = released > 0 && released == before;
        before = released;
        for _ in 0..50 {
            w.step();
        }
        still
    });
    assert!(before < 8 << 20, "all of it went into buffers: the test shows nothing");
    let mut rng = Rng::new(1);
    for stream in 0..4 {
        let other = w.voter().live();
        assert_eq!(other, 1);
        w.voter().services = vec![Service::Echo];
        let client = w.connect(0);
        let mut reply = Vec::new();
        let request = patterns(stream, 0, 100_000);
        let mut sent = 0;
        until(w, "the other client's echo", |w| {
            sent += w.send(client, &request[sent..]);
            let limit = rng.below(10_000);
            assert_ne!(w.receive(client, &mut reply, limit), Seen::Reset);
            reply.len() == request.len()
        });
        assert!(reply == request);
        w.finish(client);
        until(w, "only the slow reader is left", |w| w.voter().live() == 1);
    }
    let (bytes, seen) = drain(w, slow);
    assert_eq!(seen, Seen::End);
    assert!(bytes == patterns(u64::from(session), 0, 8 << 20), "wrong reply");
    w.finish(slow);
    all_over(w);
}

/// A session without credit stops its client, and goes on with credit.
pub fn no_credit<'m, W: World<'m> + ?Sized>(w: &mut W) {
    w.voter().services = vec![Service::Mute];
    let client = w.connect(0);
    let session = session_of(w, client);
    let len = 16 << 20;
    let mut sent = 0;
    let mut stuck = 0;
    until(w, "the client is held back", |w| {
        let to = (sent as u64 + 64 * 1024).min(len);
        let taken = w.send(client, &patterns(9, sent as u64, to));
        sent += taken;
        stuck = if taken == 0 { stuck + 1 } else { 0 };
        let session = w.voter().session(session);
        stuck > 200 && session.request.len() as u64 >= session.credit
    });
    assert!((sent as u64) < len, "all of it went into buffers: the test shows nothing");
    let session = w.voter().session_mut(session);
    assert_eq!(session.request.len() as u64, session.credit);
    session.service = Service::Sink;
    until(w, "the rest is sent", |w| {
        let to = (sent as u64 + 64 * 1024).min(len);
        sent += w.send(client, &patterns(9, sent as u64, to));
        sent as u64 == len
    });
    w.finish(client);
    let index = session_of(w, client);
    until(w, "all of it arrives", |w| w.voter().session(index).request_fin);
    assert!(w.voter().session(index).request == patterns(9, 0, len), "wrong request");
    let (_, seen) = drain(w, client);
    assert_eq!(seen, Seen::End);
    all_over(w);
}

/// A reset of the client reaches the voter, whether or not we were reading.
pub fn client_resets<'m, W: World<'m> + ?Sized>(w: &mut W) {
    use resh_channel::message::Reason;
    for service in [Service::Echo, Service::Mute, Service::Source(8 << 20)] {
        w.voter().services = vec![service];
        let client = w.connect(0);
        let session = session_of(w, client);
        w.voter().hold_closed = true;
        let (mut stuck, mut tries) = (0, 0);
        until(w, "the client has sent what it can", |w| {
            stuck = if w.send(client, &[7; 60_000]) == 0 { stuck + 1 } else { 0 };
            tries += 1;
            stuck > 20 || (service != Service::Mute && tries > 100)
        });
        w.reset(client);
        until(w, "the voter hears of it", |w| w.voter().session(session).reset.is_some());
        assert_eq!(w.voter().session(session).reset, Some(Reason::Peer));
        w.voter().hold_closed = false;
        all_over(w);
    }
}

/// A reset of the voter reaches the client.
pub fn voter_resets<'m, W: World<'m> + ?Sized>(w: &mut W) {
    w.voter().services = vec![Service::Refuse];
    let client = w.connect(0);
    let (bytes, seen) = drain(w, client);
    assert_eq!((bytes.len(), seen), (0, Seen::Reset));
    all_over(w);
    assert_eq!(w.stats().resets, 1);
}

/// Clients beyond the limit are turned away at once; the others go on, and then there is room again.
pub fn limit<'m, W: World<'m> + ?Sized>(w: &mut W) {
    w.voter().services = vec![Service::Echo];
    let clients: Vec<usize> = (0..SESSIONS).map(|_| w.connect(0)).collect();
    until(w, "all are in", |w| w.stats().open == u32::from(SESSIONS));
    for _ in 0..3 {
        let beyond = w.connect(0);
        let (bytes, seen) = drain(w, beyond);
        assert_eq!((bytes.len(), seen), (0, Seen::Reset));
    }
    assert_eq!(w.stats().refused, 3);
    until(w, "the voter knows them all", |w| w.voter().live() == usize::from(SESSIONS));
    for (stream, &client) in clients.iter().enumerate() {
        let request = patterns(stream as u64, 0, 100);
        assert_eq!(w.send(client, &request), 100);
        w.finish(client);
        let (bytes, seen) = drain(w, client);
        assert_eq!(seen, Seen::End);
        assert!(bytes == request);
    }
    all_over(w);
    echo(w, &mut Rng::new(2), 3, 1_000);
}

/// Ids that the voter has not freed are not used again: with all of them in use a client is refused.
pub fn ids_are_held<'m, W: World<'m> + ?Sized>(w: &mut W) {
    w.voter().services = vec![Service::Refuse];
    w.voter().hold_closed = true;
    for _ in 0..SLOTS {
        let client = w.connect(0);
        assert_eq!(drain(w, client).1, Seen::Reset);
    }
    assert_eq!((w.voter().live(), w.stats().refused), (SLOTS, 0));
    let client = w.connect(0);
    assert_eq!(drain(w, client).1, Seen::Reset);
    assert_eq!(w.stats().refused, 1);
    w.voter().hold_closed = false;
    all_over(w);
    // `Voter::record` checks indices and generations.
    echo(w, &mut Rng::new(3), 3, 1_000);
}

/// A session without traffic is reset, one with traffic is not.
pub fn idle<'m, W: World<'m> + ?Sized>(w: &mut W) {
    use resh_channel::message::Reason;
    w.voter().services = vec![Service::Echo];
    let (quiet, busy) = (w.connect(0), w.connect(0));
    let (quiet_session, busy_session) = (session_of(w, quiet), session_of(w, busy));
    w.voter().hold_closed = true;
    let mut reply = Vec::new();
    for round in 1..=6 {
        assert_eq!(w.send(busy, b"x"), 1);
        w.pass(IDLE_MS / 4);
        assert_eq!(w.receive(busy, &mut reply, 10), Seen::Open);
        assert_eq!(reply.len(), round);
    }
    assert_eq!(w.voter().session(quiet_session).reset, Some(Reason::TimeOut));
    assert_eq!(w.voter().session(busy_session).reset, None);
    assert_eq!(drain(w, quiet).1, Seen::Reset);
    w.voter().hold_closed = false;
    w.finish(busy);
    all_over(w);
}

/// A client that leaves its stream open after the reply's end is reset after a while.
pub fn linger<'m, W: World<'m> + ?Sized>(w: &mut W) {
    w.voter().services = vec![Service::Source(10)];
    let client = w.connect(0);
    let (bytes, seen) = drain(w, client);
    assert_eq!((bytes.len(), seen), (10, Seen::End));
    assert_eq!(w.stats().open, 1);
    w.pass(3 * IDLE_MS.min(LINGER_MS));
    all_over(w);
    assert_eq!(w.stats().resets, 1);
}

/// Nothing is lost while the voter does not read, and clients are held back.
pub fn full_ring<'m, W: World<'m> + ?Sized>(w: &mut W) {
    w.voter().services = vec![Service::Echo];
    let clients: Vec<usize> = (0..4).map(|_| w.connect(0)).collect();
    until(w, "all are in", |w| w.stats().open == 4);
    w.voter().appetite = 0;
    let request = patterns(4, 0, 60_000);
    let mut sent = [0; 4];
    for _ in 0..2_000 {
        for (sent, &client) in sent.iter_mut().zip(&clients) {
            *sent += w.send(client, &request[*sent..]);
        }
        w.step();
    }
    // The ring holds 64 KiB and a bit, and the clients have more.
    let received = w.stats().received_bytes;
    assert!(received <= 70_000, "{received}");
    w.voter().appetite = 1;
    let mut replies = vec![Vec::new(); 4];
    until(w, "all echoes", |w| {
        for (at, &client) in clients.iter().enumerate() {
            sent[at] += w.send(client, &request[sent[at]..]);
            w.receive(client, &mut replies[at], usize::MAX);
        }
        replies.iter().all(|reply| reply.len() == request.len())
    });
    assert!(replies.iter().all(|reply| *reply == request));
    // A reset with the ring full is told later.
    w.voter().appetite = 0;
    for _ in 0..200 {
        w.send(clients[0], &[1; 30_000]);
        w.step();
    }
    w.reset(clients[1]);
    w.finish(clients[2]);
    for _ in 0..200 {
        w.step();
    }
    w.voter().appetite = usize::MAX;
    w.finish(clients[3]);
    until(w, "three are over", |w| w.voter().live() == 1);
    w.reset(clients[0]);
    all_over(w);
}

/// Many clients one after the other and side by side, doing all sorts of things.
pub fn churn<'m, W: World<'m> + ?Sized>(w: &mut W, rng: &mut Rng, clients: u64) {
    w.voter().services = vec![Service::Echo];
    struct Client {
        number: usize,
        stream: u64,
        len: u64,
        sent: u64,
        ended: bool,
        resets: bool,
        reply: Vec<u8>,
    }
    let mut live: Vec<Client> = Vec::new();
    let (mut started, mut resets) = (0, 0);
    until(w, "all clients are through", |w| {
        if started < clients && live.len() < usize::from(SESSIONS) && rng.one_in(3) {
            let number = w.connect(0);
            let len = if rng.one_in(5) { rng.below(400_000) } else { rng.below(3_000) } as u64;
            let (stream, resets) = (started, rng.one_in(6));
            live.push(Client {
                number,
                stream,
                len,
                sent: 0,
                ended: false,
                resets,
                reply: Vec::new(),
            });
            started += 1;
        }
        live.retain_mut(|client| {
            let most = 1 + rng.below(30_000) as u64;
            let to = client.len.min(client.sent + most);
            let piece = patterns(client.stream, client.sent, to);
            client.sent += w.send(client.number, &piece) as u64;
            let old = client.reply.len() as u64;
            let seen = w.receive(client.number, &mut client.reply, rng.below(30_000));
            let new = &client.reply[old as usize..];
            assert!(new == patterns(client.stream, old, client.reply.len() as u64), "wrong echo");
            if client.resets && client.sent == client.len {
                w.reset(client.number);
                resets += 1;
                return false;
            }
            if client.sent == client.len && !client.ended {
                client.ended = true;
                w.finish(client.number);
            }
            match seen {
                Seen::Open => true,
                Seen::End => {
                    assert_eq!(client.reply.len() as u64, client.len, "echo cut short");
                    false
                }
                // Refused: sessions whose id is not yet free count against the table.
                Seen::Reset => {
                    assert!(client.reply.is_empty() && w.stats().refused > 0, "reset");
                    false
                }
            }
        });
        started == clients && live.is_empty()
    });
    all_over(w);
    let stats = w.stats();
    // A client that resets its connection at once may never be seen.
    let seen = stats.accepted + stats.refused;
    assert!((clients - resets..=clients).contains(&seen), "{stats:?}");
    assert_eq!(w.voter().opened, stats.accepted);
    assert_eq!(w.voter().closed, stats.accepted);
}

/// The cases above that need nothing but a world, each as a test that `$run` runs.
macro_rules! cases {
    ($run:path) => {
        suite::cases!(
            $run: half_close closed_early slow_reader no_credit client_resets voter_resets limit
            ids_are_held idle linger full_ring
        );
    };
    ($run:path: $($case:ident)+) => {
        $(
            #[test]
            fn $case() {
                $run(|w| suite::$case(w));
            }
        )+
    };
}
pub(crate) use cases;
