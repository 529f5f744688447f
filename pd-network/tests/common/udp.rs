//! What must hold for datagrams on every stack.

use std::net::SocketAddr;

use pd_network::{CLIENT_DATAGRAMS, DATAGRAM_MS};
use resh_channel::message::{DATAGRAM_BYTES_MAX, Reason};
use resh_channel::stats::NetworkStats;

use super::suite::{IDLE_MS, SESSIONS, SLOTS};
use super::voter::{Service, Voter};
use super::{Rng, patterns};

/// Clients, a stack with the network on it, and the voter.
pub trait UdpWorld<'m> {
    /// A new client on the host number `host`: those of one host have one address.
    fn client(&mut self, host: usize) -> usize;
    fn address(&mut self, client: usize) -> SocketAddr;
    fn send(&mut self, client: usize, bytes: &[u8]);
    /// The next datagram that came to a client.
    fn receive(&mut self, client: usize) -> Option<Vec<u8>>;
    /// The longest datagram that the network carries.
    fn most_bytes(&self) -> usize;
    /// Lets everybody do something.
    fn step(&mut self);
    /// Lets time go by, a step at a time.
    fn pass(&mut self, time_ms: u64);
    fn voter(&mut self) -> &mut Voter<'m>;
    fn stats(&mut self) -> NetworkStats;
}

/// Steps within which anything must have happened.
const STEPS: usize = 200_000;
/// Datagrams of one client in flight, with the sessions of the suite.
pub const OF_CLIENT: usize = SESSIONS as usize / 2;
const _: () = assert!(OF_CLIENT < CLIENT_DATAGRAMS);

fn until<'m, W: UdpWorld<'m> + ?Sized>(
    w: &mut W,
    what: &str,
    mut done: impl FnMut(&mut W) -> bool,
) {
    for _ in 0..STEPS {
        if done(w) {
            return;
        }
        w.step();
    }
    panic!("never: {what}; {:?}", w.stats());
}

fn all_over<'m, W: UdpWorld<'m> + ?Sized>(w: &mut W) {
    // For a while: there may be more on the way.
    let mut quiet = 0;
    until(w, "all is closed", |w| {
        quiet = if w.voter().live() == 0 { quiet + 1 } else { 0 };
        quiet > 200
    });
    assert_eq!(w.stats().open, 0);
}

/// The reply to a client, and no other one after it.
fn reply<'m, W: UdpWorld<'m> + ?Sized>(w: &mut W, client: usize) -> Vec<u8> {
    let mut reply = None;
    until(w, "the reply", |w| {
        reply = w.receive(client);
        reply.is_some()
    });
    reply.unwrap()
}

fn opened<'m, W: UdpWorld<'m> + ?Sized>(w: &mut W, count: u64) {
    until(w, "the sessions open", |w| w.voter().opened >= count);
    // And no more.
    for _ in 0..200 {
        w.step();
    }
    assert_eq!(w.voter().opened, count);
}

/// Every length arrives whole, and so does its reply.
pub fn answers<'m, W: UdpWorld<'m> + ?Sized>(w: &mut W) {
    w.voter().services = vec![Service::Echo];
    let client = w.client(0);
    let most = w.most_bytes() as u64;
    let lens = [1, 2, 7, 8, 9, 511, 512, 1_232, most / 2, most / 2 + 1, most - 1, most];
    for (stream, len) in lens.into_iter().enumerate() {
        let request = patterns(stream as u64, 0, len);
        w.send(client, &request);
        assert!(reply(w, client) == request, "{len} bytes");
        all_over(w);
        assert_eq!(w.receive(client), None);
    }
    let (stats, count) = (w.stats(), lens.len() as u64);
    assert_eq!((stats.accepted, stats.resets), (count, 0));
    assert_eq!((stats.datagrams.received, stats.datagrams.sent), (count, count));
    assert_eq!((stats.datagrams.dropped, stats.datagrams.unanswered), (0, 0));
    assert_eq!((stats.received_bytes, stats.sent_bytes), (lens.iter().sum(), lens.iter().sum()));
}

/// The same datagram again makes no second session while the first is in flight; another one does, and so does the
/// same of another client, and the same once more after the reply.
pub fn duplicates<'m, W: UdpWorld<'m> + ?Sized>(w: &mut W) {
    w.voter().services = vec![Service::Echo];
    w.voter().release_bytes = 0;
    let (one, other) = (w.client(0), w.client(0));
    for bytes in [&b"question"[..], b"question", b"question", b"questioo", b"questio"] {
        w.send(one, bytes);
    }
    opened(w, 3);
    w.send(other, b"question");
    opened(w, 4);
    assert_eq!(w.stats().datagrams.duplicates, 2);
    w.voter().release_bytes = usize::MAX;
    let mut replies: Vec<_> = (0..3).map(|_| reply(w, one)).collect();
    replies.sort();
    assert_eq!(replies, [&b"questio"[..], b"question", b"questioo"]);
    assert_eq!(reply(w, other), b"question");
    all_over(w);
    w.send(one, b"question");
    assert_eq!(reply(w, one), b"question");
    all_over(w);
    let stats = w.stats().datagrams;
    assert_eq!((stats.received, stats.sent, stats.duplicates, stats.dropped), (7, 5, 2, 0));
}

/// One host cannot have all sessions, however many ports it has.
pub fn flood<'m, W: UdpWorld<'m> + ?Sized>(w: &mut W) {
    w.voter().services = vec![Service::Echo];
    w.voter().release_bytes = 0;
    let flooders: Vec<usize> = (0..3).map(|_| w.client(0)).collect();
    for number in 0..200u32 {
        w.send(flooders[number as usize % 3], &number.to_le_bytes());
    }
    opened(w, OF_CLIENT as u64);
    let stats = w.stats();
    assert_eq!((stats.open, stats.refused), (OF_CLIENT as u32, 0));
    assert_eq!(stats.datagrams.dropped, 200 - OF_CLIENT as u64);
    let other = w.client(1);
    w.send(other, b"still there?");
    opened(w, OF_CLIENT as u64 + 1);
    w.voter().release_bytes = usize::MAX;
    assert_eq!(reply(w, other), b"still there?");
    all_over(w);
    for flooder in flooders {
        while w.receive(flooder).is_some() {}
        w.send(flooder, b"again");
        assert_eq!(reply(w, flooder), b"again");
    }
    all_over(w);
}

/// Datagrams beyond all sessions are dropped, and then there is room again.
pub fn limit<'m, W: UdpWorld<'m> + ?Sized>(w: &mut W) {
    w.voter().services = vec![Service::Echo];
    w.voter().release_bytes = 0;
    let clients: Vec<usize> = (0..usize::from(SESSIONS)).map(|host| w.client(host)).collect();
    for &client in &clients {
        w.send(client, b"x");
    }
    opened(w, SESSIONS.into());
    let beyond = w.client(SESSIONS.into());
    for number in 0..3u8 {
        w.send(beyond, &[number]);
    }
    until(w, "they are dropped", |w| w.stats().datagrams.dropped == 3);
    opened(w, SESSIONS.into());
    assert_eq!(w.stats().refused, 3);
    w.voter().release_bytes = usize::MAX;
    for client in clients {
        assert_eq!(reply(w, client), b"x");
    }
    w.send(beyond, b"y");
    assert_eq!(reply(w, beyond), b"y");
    all_over(w);
}

/// Ids that the voter has not freed are not used again: with all of them in use a datagram is dropped.
pub fn ids_are_held<'m, W: UdpWorld<'m> + ?Sized>(w: &mut W) {
    w.voter().services = vec![Service::Refuse];
    w.voter().hold_closed = true;
    let client = w.client(0);
    for number in 0..SLOTS as u64 {
        w.send(client, &number.to_le_bytes());
        until(w, "it is refused", |w| {
            let sessions = w.voter().sessions.iter().flatten();
            sessions.filter(|session| session.reset_by_us).count() as u64 == number + 1
        });
    }
    opened(w, SLOTS as u64);
    w.send(client, b"beyond");
    until(w, "it is dropped", |w| w.stats().datagrams.dropped == 1);
    w.voter().hold_closed = false;
    all_over(w);
    w.voter().services = vec![Service::Echo];
    w.send(client, b"beyond");
    assert_eq!(reply(w, client), b"beyond");
    all_over(w);
}

/// Nothing is sent where there is no reply, and that is counted.
pub fn unanswered<'m, W: UdpWorld<'m> + ?Sized>(w: &mut W) {
    let client = w.client(0);
    // Reset by the voter, or with an empty reply.
    for (count, service) in [(1, Service::Refuse), (2, Service::Sink)] {
        w.voter().services = vec![service];
        w.send(client, b"question");
        opened(w, count);
        all_over(w);
        assert_eq!(w.stats().datagrams.unanswered, count);
    }
    // No answer in time.
    w.voter().services = vec![Service::Mute];
    w.voter().hold_closed = true;
    w.send(client, b"question");
    opened(w, 3);
    let peer = w.address(client);
    let limit_ms = DATAGRAM_MS.min(IDLE_MS);
    w.pass(limit_ms / 2);
    let index = w.voter().find(peer).expect("a session");
    assert_eq!(w.voter().session(index).reset, None);
    w.pass(limit_ms + limit_ms / 4);
    assert_eq!(w.voter().session(index).reset, Some(Reason::TimeOut));
    w.voter().hold_closed = false;
    all_over(w);
    assert_eq!(w.receive(client), None);
    let stats = w.stats();
    assert_eq!((stats.datagrams.unanswered, stats.datagrams.sent, stats.resets), (3, 0, 0));
}

/// What cannot be a request, or a reply.
pub fn unfit<'m, W: UdpWorld<'m> + ?Sized>(w: &mut W) {
    w.voter().services = vec![Service::Echo];
    let client = w.client(0);
    w.send(client, &[]);
    until(w, "it is dropped", |w| w.stats().datagrams.dropped == 1);
    assert_eq!(w.voter().opened, 0);
    // The session of a reply that is too long ends, and its bytes are taken.
    let too_long = w.most_bytes() as u64 + 1;
    assert!(too_long <= DATAGRAM_BYTES_MAX as u64 + 1);
    w.voter().services = vec![Service::Source(too_long)];
    w.send(client, b"more");
    opened(w, 1);
    all_over(w);
    assert_eq!(w.receive(client), None);
    let stats = w.stats().datagrams;
    assert_eq!((stats.lost, stats.sent, stats.unanswered), (1, 0, 0));
}

/// Nothing that was accepted is lost while the voter does not read.
pub fn full_ring<'m, W: UdpWorld<'m> + ?Sized>(w: &mut W) {
    w.voter().services = vec![Service::Echo];
    w.voter().appetite = 0;
    let len = w.most_bytes().min(20_000) as u64;
    let clients: Vec<usize> = (0..8).map(|host| w.client(host)).collect();
    for &client in &clients {
        w.send(client, &patterns(client as u64, 0, len));
    }
    for _ in 0..2_000 {
        w.step();
    }
    w.voter().appetite = 1;
    for client in clients {
        assert!(reply(w, client) == patterns(client as u64, 0, len));
    }
    all_over(w);
    assert_eq!(w.stats().datagrams.sent, 8);
}

/// Many clients of some hosts, who ask, repeat themselves and go away, while the voter answers as it likes.
pub fn churn<'m, W: UdpWorld<'m> + ?Sized>(w: &mut W, rng: &mut Rng, questions: u64) {
    w.voter().services = vec![Service::Echo];
    let clients: Vec<usize> = (0..12).map(|at| w.client(at % 5)).collect();
    // What each has asked, and how many replies came to that.
    let mut asked: Vec<Vec<(Vec<u8>, u64)>> = vec![Vec::new(); clients.len()];
    let (mut begun, mut sent, mut replies) = (0, 0, 0);
    let most = w.most_bytes();
    while begun < questions {
        if rng.one_in(3) {
            let at = rng.below(clients.len());
            let len =
                if rng.one_in(10) { 1 + rng.below(most) } else { 8 + rng.below(500.min(most)) };
            let mut bytes = patterns(begun, 0, len as u64);
            let number = begun.to_le_bytes();
            let head = len.min(8);
            bytes[..head].copy_from_slice(&number[..head]);
            for _ in 0..if rng.one_in(4) { 2 } else { 1 } {
                w.send(clients[at], &bytes);
                sent += 1;
            }
            asked[at].push((bytes, 0));
            begun += 1;
        }
        if rng.one_in(50) {
            w.voter().release_bytes = if rng.one_in(2) { rng.below(2_000) } else { usize::MAX };
        }
        w.step();
        for (at, client) in clients.iter().enumerate() {
            let Some(bytes) = w.receive(*client) else { continue };
            let mine = asked[at].iter_mut().find(|(question, _)| *question == bytes);
            mine.expect("the echo of a question of this client, whole").1 += 1;
            replies += 1;
        }
    }
    w.voter().release_bytes = usize::MAX;
    all_over(w);
    for (at, client) in clients.iter().enumerate() {
        while let Some(bytes) = w.receive(*client) {
            let mine = asked[at].iter_mut().find(|(question, _)| *question == bytes);
            mine.expect("the echo of a question of this client, whole").1 += 1;
            replies += 1;
        }
    }
    let (stats, opened) = (w.stats(), w.voter().opened);
    let counts = stats.datagrams;
    // Every datagram is accounted for.
    assert_eq!(stats.accepted, opened);
    assert_eq!(counts.received, opened + counts.dropped + counts.duplicates, "{stats:?}");
    assert_eq!(opened, counts.sent + counts.lost + counts.unanswered, "{stats:?}");
    // The network may double them.
    assert!(counts.received <= 2 * sent && replies <= counts.sent, "{stats:?}");
    assert!(counts.duplicates > 0 && counts.sent > questions / 4, "{stats:?}: shows little");
}

/// The cases above that need nothing but a world, each as a test that `$run` runs.
macro_rules! cases {
    ($run:path) => {
        udp::cases!(
            $run: answers duplicates flood limit ids_are_held unanswered unfit full_ring
        );
    };
    ($run:path: $($case:ident)+) => {
        $(
            #[test]
            fn $case() {
                $run(|w| udp::$case(w));
            }
        )+
    };
}
pub(crate) use cases;
