//! The pool of kernel sockets against a server on loopback: sockets that are used again and again, ends
//! of every kind, and what the server sees of them.

use std::cell::Cell;
use std::convert::Infallible;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use gateway::SLOTS;
use gateway::upstream::{Event, Opening, Received, Refused, Sent, Upstream};
use resh::upstream::Sockets;
use resh_channel::config::Transport;
use sel4_microkit::linux::{self, Grants};
use sel4_microkit::{ChannelSet, Handler};

/// A request is one of these bytes and a number; the answer is the number.
const SERVER_FINISHES: u8 = b's';
const CLIENT_FINISHES: u8 = b'c';
const SERVER_RESETS: u8 = b'r';
const CLIENT_ABORTS: u8 = b'a';
const REQUEST_BYTES: usize = 9;

#[derive(Default)]
struct Seen {
    fins: AtomicUsize,
    resets: AtomicUsize,
    ports: Mutex<std::collections::HashSet<u16>>,
}

fn serve(mut stream: TcpStream, seen: &Seen) {
    seen.ports.lock().unwrap().insert(stream.peer_addr().unwrap().port());
    let mut request = [0; REQUEST_BYTES];
    if stream.read_exact(&mut request).is_err() {
        return;
    }
    stream.write_all(&request[1..]).unwrap();
    match request[0] {
        SERVER_FINISHES => stream.shutdown(std::net::Shutdown::Write).unwrap(),
        SERVER_RESETS => {
            let linger = libc::linger { l_onoff: 1, l_linger: 0 };
            // SAFETY: the kernel reads `linger`.
            unsafe {
                libc::setsockopt(
                    stream.as_raw_fd(),
                    libc::SOL_SOCKET,
                    libc::SO_LINGER,
                    (&raw const linger).cast(),
                    size_of_val(&linger) as libc::socklen_t,
                );
            }
            return;
        }
        _ => {}
    }
    match stream.read(&mut [0; 1]) {
        Ok(0) => seen.fins.fetch_add(1, Ordering::SeqCst),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {
            seen.resets.fetch_add(1, Ordering::SeqCst)
        }
        other => panic!("the server read {other:?}"),
    };
}

fn start_server(threads: usize) -> (SocketAddr, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, seen) = (listener.local_addr().unwrap(), Arc::new(Seen::default()));
    for _ in 0..threads {
        let (listener, seen) = (listener.try_clone().unwrap(), Arc::clone(&seen));
        thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), &seen);
            }
        });
    }
    (address, seen)
}

#[derive(Clone, Copy)]
struct Session {
    number: u64,
    kind: u8,
    connected: bool,
    asked: bool,
    answered: usize,
}

/// Opens one connection after the other, so many at a time.
struct Client<'a> {
    sockets: Sockets,
    sessions: Vec<Option<Session>>,
    begun: u64,
    total: u64,
    done: u64,
    kinds: &'static [u8],
    opened_at_once: &'a Cell<u64>,
}

impl Client<'_> {
    fn begin(&mut self, index: usize) -> Result<(), String> {
        let kind = self.kinds[self.begun as usize % self.kinds.len()];
        let session =
            Session { number: self.begun, kind, connected: false, asked: false, answered: 0 };
        self.begun += 1;
        self.sessions[index] = Some(session);
        match self.sockets.open(index, 0) {
            Ok(Opening::Open) => {
                self.opened_at_once.set(self.opened_at_once.get() + 1);
                self.connected(index)
            }
            Ok(Opening::Pending) => Ok(()),
            Err(_) => Err(format!("connection {} was refused", session.number)),
        }
    }

    fn connected(&mut self, index: usize) -> Result<(), String> {
        if let Some(session) = &mut self.sessions[index] {
            session.connected = true;
        }
        self.pump(index)
    }

    fn pump(&mut self, index: usize) -> Result<(), String> {
        let Some(session) = self.sessions[index].as_mut().filter(|session| session.connected)
        else {
            return Ok(());
        };
        let number = session.number.to_le_bytes();
        if !session.asked {
            let request: Vec<u8> = [&[session.kind], &number[..]].concat();
            match self.sockets.send_private(index, &request) {
                Sent::Some(REQUEST_BYTES) => session.asked = true,
                other => return Err(format!("connection {}: sent {other:?}", session.number)),
            }
        }
        let end = loop {
            let mut answer = [0; 16];
            match self.sockets.recv_private(index, &mut answer) {
                Received::WouldBlock => return Ok(()),
                Received::Some(n) => {
                    let expected = &number[session.answered..];
                    if expected.get(..n) != Some(&answer[..n]) {
                        return Err(format!("connection {}: wrong bytes", session.number));
                    }
                    session.answered += n;
                    if session.answered == number.len() && session.kind == CLIENT_FINISHES {
                        self.sockets.finish(index);
                    }
                    if session.answered == number.len() && session.kind == CLIENT_ABORTS {
                        break Received::WouldBlock;
                    }
                }
                end => break end,
            }
        };
        let expected = match session.kind {
            CLIENT_ABORTS => Received::WouldBlock,
            SERVER_RESETS => Received::Gone,
            _ => Received::Fin,
        };
        if end != expected || session.answered != number.len() {
            return Err(format!(
                "connection {} of kind {}: ended with {end:?} after {} bytes",
                session.number, session.kind as char, session.answered
            ));
        }
        self.sockets.close(index, session.kind == CLIENT_ABORTS);
        self.sessions[index] = None;
        self.done += 1;
        Ok(())
    }

    fn turn(&mut self) -> Result<bool, String> {
        while let Some(event) = self.sockets.next_event() {
            match event {
                Event::Opened(index) => self.connected(index)?,
                Event::Ready { session, .. } => self.pump(session)?,
                Event::Refused(index) => return Err(format!("session {index} was refused")),
            }
        }
        for index in 0..self.sessions.len() {
            if self.sessions[index].is_none() && self.begun < self.total {
                self.begin(index)?;
            }
        }
        let now_ms = sel4_microkit::now_ms();
        let resting = self.sockets.poll(now_ms);
        let vacant = self.begun < self.total && self.sessions.iter().any(Option::is_none);
        sel4_microkit::set_deadline(if vacant { Some(now_ms) } else { resting });
        Ok(self.done == self.total)
    }
}

impl Handler for Client<'_> {
    type Error = String;

    fn notified(&mut self, _: ChannelSet) -> Result<(), String> {
        if self.turn()? { Err(String::new()) } else { Ok(()) }
    }
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(10), "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A port where nobody listens, and a service without this replica.
fn refused_at_once() {
    let nobody = TcpListener::bind("[::1]:0").unwrap().local_addr().unwrap();
    let mut sockets = Sockets::with_targets(&[Some((Transport::Tcp, nobody)), None]).unwrap();
    for session in 0..SLOTS {
        assert_eq!(sockets.open(session, 0), Err(Refused));
        assert_eq!(sockets.open(session, 1), Err(Refused));
    }
    // One address, and the one that takes a connection away.
    assert_eq!(sockets.connect_targets().len(), 2);
}

/// One test, for a process is one domain only.
#[test]
fn sockets_are_used_again() {
    linux::start(Grants { name: "gateway_0".to_owned(), ..Grants::default() }).unwrap();
    let (address, seen) = start_server(64);
    refused_at_once();
    let opened_at_once = Cell::new(0);
    let client = Client {
        sockets: Sockets::with_targets(&[Some((Transport::Tcp, address))]).unwrap(),
        sessions: vec![None; 32],
        begun: 0,
        total: 20_000,
        done: 0,
        kinds: &[SERVER_FINISHES, CLIENT_FINISHES, SERVER_RESETS, CLIENT_ABORTS],
        opened_at_once: &opened_at_once,
    };
    let began = Instant::now();
    // The run ends with an error that says what was wrong: nothing.
    let ended: Result<Infallible, String> = linux::run(client);
    assert_eq!(ended, Err(String::new()));
    let ports = seen.ports.lock().unwrap().len();
    println!(
        "20,000 connections in {:?}, {} stood at once, {ports} source ports",
        began.elapsed(),
        opened_at_once.get()
    );
    // Our aborts, and only those, look like aborts to the server.
    let count = |of: &AtomicUsize| of.load(Ordering::SeqCst);
    eventually("10,000 orderly ends and 5,000 aborts", || {
        (count(&seen.fins), count(&seen.resets)) == (10_000, 5_000)
    });
    assert!(ports > 5_000, "source ports are spread: {ports}");
}
