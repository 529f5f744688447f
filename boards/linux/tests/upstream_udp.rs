//! The pool of kernel sockets against a UDP server on loopback: one question and its answer for each session, over
//! sockets that are used again and again.

use std::collections::HashSet;
use std::convert::Infallible;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use gateway::SLOTS;
use gateway::upstream::{Event, Opening, Received, Sent, Upstream};
use resh::upstream::Sockets;
use resh_channel::config::Transport;
use resh_channel::message::DATAGRAM_BYTES_MAX;
use sel4_microkit::linux::{self, Grants};
use sel4_microkit::{ChannelSet, Handler};

/// The first byte of a question says how it is answered.
const ONCE: u8 = 0;
/// Twice: the second answer comes when nobody waits for it any more, or somebody else does.
const TWICE: u8 = 1;
/// After an empty datagram.
const EMPTY_FIRST: u8 = 2;
const KINDS: [u8; 3] = [ONCE, TWICE, EMPTY_FIRST];

type Ports = Arc<Mutex<HashSet<u16>>>;

fn start_server() -> (SocketAddr, Ports) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (address, ports) = (socket.local_addr().unwrap(), Ports::default());
    for _ in 0..4 {
        let (socket, ports) = (socket.try_clone().unwrap(), Arc::clone(&ports));
        thread::spawn(move || {
            let mut bytes = vec![0; DATAGRAM_BYTES_MAX];
            loop {
                let (len, peer) = socket.recv_from(&mut bytes).unwrap();
                ports.lock().unwrap().insert(peer.port());
                if bytes[0] == EMPTY_FIRST {
                    socket.send_to(&[], peer).unwrap();
                }
                for _ in 0..if bytes[0] == TWICE { 2 } else { 1 } {
                    socket.send_to(&bytes[..len], peer).unwrap();
                }
            }
        });
    }
    (address, ports)
}

/// The question number `number`.
fn question(number: u64) -> Vec<u8> {
    let mut bytes = vec![KINDS[number as usize % KINDS.len()]];
    bytes.extend(number.to_le_bytes());
    bytes.resize(9 + number as usize % 2_000, number as u8);
    bytes
}

/// Asks one question after the other, so many at a time.
struct Client {
    sockets: Sockets,
    asked: Vec<Option<(u64, Instant)>>,
    begun: u64,
    total: u64,
    done: u64,
}

impl Client {
    fn ask(&mut self, session: usize) {
        if self.begun == self.total {
            return;
        }
        assert_eq!(self.sockets.open(session, 0), Ok(Opening::Open));
        self.asked[session] = Some((self.begun, Instant::now()));
        let bytes = question(self.begun);
        assert_eq!(self.sockets.send_private(session, &bytes), Sent::Some(bytes.len()));
        self.begun += 1;
    }

    /// Reads an answer, if it is there, and goes on with the next question.
    fn read(&mut self, session: usize) {
        let Some((number, since)) = self.asked[session] else { return };
        let mut bytes = [0; 4096];
        match self.sockets.recv_private(session, &mut bytes) {
            Received::Some(len) => {
                assert!(bytes[..len] == question(number), "the answer to another question");
                self.asked[session] = None;
                self.sockets.close(session, session.is_multiple_of(2));
                self.done += 1;
                self.ask(session);
            }
            Received::WouldBlock => {
                assert!(since.elapsed() < Duration::from_secs(5), "no answer to {number}");
            }
            other => panic!("{other:?}"),
        }
    }
}

impl Handler for Client {
    type Error = &'static str;

    fn notified(&mut self, _: ChannelSet) -> Result<(), &'static str> {
        if self.begun == 0 {
            (0..self.asked.len()).for_each(|session| self.ask(session));
        }
        while let Some(event) = self.sockets.next_event() {
            if let Event::Ready { session, readable: true, .. } = event {
                self.read(session);
            }
        }
        if self.done == self.total { Err("done") } else { Ok(()) }
    }
}

fn eventually(sockets: &mut Sockets, session: usize, into: &mut [u8]) -> Received {
    for _ in 0..1_000 {
        match sockets.recv_private(session, into) {
            Received::WouldBlock => thread::sleep(Duration::from_millis(1)),
            received => return received,
        }
    }
    Received::WouldBlock
}

/// One test, for a process is one domain only.
#[test]
fn sockets_are_used_again() {
    linux::start(Grants { name: "gateway_0".to_owned(), ..Grants::default() }).unwrap();
    let (address, ports) = start_server();
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let targets = [Some((Transport::Udp, address)), Some((Transport::Udp, nobody))];
    let mut sockets = Sockets::with_targets(&targets).unwrap();
    let mut bytes = vec![0; DATAGRAM_BYTES_MAX];

    // The longest there is, and one that there is no room for.
    assert_eq!(sockets.open(7, 0), Ok(Opening::Open));
    let longest = vec![ONCE; DATAGRAM_BYTES_MAX];
    assert_eq!(sockets.send_private(7, &longest), Sent::Some(longest.len()));
    assert_eq!(eventually(&mut sockets, 7, &mut bytes), Received::Some(DATAGRAM_BYTES_MAX));
    assert_eq!(sockets.send_private(7, &[ONCE; 200]), Sent::Some(200));
    assert_eq!(sockets.send_private(7, &[ONCE; 100]), Sent::Some(100));
    assert_eq!(eventually(&mut sockets, 7, &mut bytes[..100]), Received::Some(100));
    // It can be used again after an end that TCP alone has.
    sockets.finish(7);
    sockets.close(7, false);
    assert_eq!(sockets.recv_private(7, &mut bytes), Received::Gone);

    // A host says that nobody listens, and the socket forgets that with its session.
    for _ in 0..2 * SLOTS {
        assert_eq!(sockets.open(7, 1), Ok(Opening::Open));
        assert_eq!(sockets.send_private(7, &[1]), Sent::Some(1));
        sockets.close(7, true);
    }
    assert_eq!(sockets.open(7, 1), Ok(Opening::Open));
    assert_eq!(sockets.send_private(7, &[1]), Sent::Some(1));
    assert_eq!(eventually(&mut sockets, 7, &mut bytes), Received::Gone);
    sockets.close(7, true);

    // The sockets are there for each session there can be.
    for session in 0..SLOTS {
        assert_eq!(sockets.open(session, 0), Ok(Opening::Open));
    }
    (0..SLOTS).for_each(|session| sockets.close(session, true));

    let asked = vec![None; 32];
    let client = Client { sockets, asked, begun: 0, total: 20_000, done: 0 };
    let began = Instant::now();
    let ended: Result<Infallible, &str> = linux::run(client);
    assert_eq!(ended, Err("done"));
    let ports = ports.lock().unwrap().len();
    println!("20,000 questions in {:?}, from {ports} ports", began.elapsed());
    assert!(ports > 5_000, "source ports are spread: {ports}");
}
