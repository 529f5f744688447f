//! A server with one loop for all connections.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::kind::{Current, Fault, Kind};
use super::replica::{PART_BYTES, SLOW_DELAY, SLOW_PART_BYTES, SLOW_PAUSE, reply_to};
use super::reply::Reply;
use super::request::Reader;

const KIND: Kind = Kind::Events;
/// How often the loop looks at the time and the fault while something waits for them.
const LOOK: Duration = Duration::from_millis(10);

struct Connection {
    stream: TcpStream,
    reader: Reader,
    reply: Option<Reply>,
    /// The part of the reply on its way, and how much of it is gone.
    part: Vec<u8>,
    sent: usize,
    /// Not before this time goes on the reply (slow).
    not_before: Option<Instant>,
    /// It says nothing any more.
    hangs: bool,
    /// All was sent; the client is to close.
    ends: bool,
}

/// Serves until the process ends.
pub(super) fn serve(listener: &TcpListener, fault: &Current) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut connections: Vec<Connection> = Vec::new();
    loop {
        wait(listener, &connections)?;
        while let Ok((stream, _)) = listener.accept() {
            if stream.set_nonblocking(true).is_ok() {
                let _ = stream.set_nodelay(true);
                connections.push(Connection::new(stream));
            }
        }
        connections.retain_mut(|connection| connection.advance(fault));
    }
}

fn wait(listener: &TcpListener, connections: &[Connection]) -> io::Result<()> {
    let mut watched = Vec::with_capacity(connections.len() + 1);
    watched.push(PollFd::new(listener, PollFlags::IN));
    for connection in connections {
        watched.push(PollFd::new(&connection.stream, connection.waits_for()));
    }
    let must_look = connections.iter().any(|c| c.hangs || c.not_before.is_some());
    let timeout = Timespec { tv_sec: 0, tv_nsec: LOOK.subsec_nanos().into() };
    match poll(&mut watched, must_look.then_some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            reader: Reader::default(),
            reply: None,
            part: Vec::new(),
            sent: 0,
            not_before: None,
            hangs: false,
            ends: false,
        }
    }

    fn is_sending(&self) -> bool {
        self.sent < self.part.len()
    }

    fn waits_for(&self) -> PollFlags {
        if self.hangs || self.not_before.is_some() {
            PollFlags::RDHUP
        } else if self.is_sending() {
            PollFlags::OUT
        } else {
            PollFlags::IN
        }
    }

    /// Goes on as far as possible. False if the connection is to be closed.
    fn advance(&mut self, fault: &Current) -> bool {
        self.try_advance(fault).unwrap_or(false)
    }

    fn try_advance(&mut self, fault: &Current) -> io::Result<bool> {
        loop {
            if self.hangs {
                return Ok(fault.get() == Fault::Hang && !self.client_left());
            }
            if self.not_before.is_some_and(|at| at > Instant::now()) {
                return Ok(!self.client_left());
            }
            self.not_before = None;
            while self.is_sending() {
                match self.stream.write(&self.part[self.sent..]) {
                    Ok(0) => return Ok(false),
                    Ok(len) => self.sent += len,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            if self.reply.is_some() {
                self.next_part(fault);
            } else if self.ends {
                // The reply's end is the end of the stream; then it is for the client to close.
                let _ = self.stream.shutdown(Shutdown::Write);
                return self.receive();
            } else if let Some(reply) = reply_to(KIND, &mut self.reader, fault) {
                self.begin(reply, fault);
            } else if !self.receive()? {
                return Ok(false);
            } else if let Some(reply) = reply_to(KIND, &mut self.reader, fault) {
                self.begin(reply, fault);
            } else {
                return Ok(true);
            }
        }
    }

    fn begin(&mut self, reply: Reply, fault: &Current) {
        self.reply = Some(reply);
        if fault.get() == Fault::Slow {
            self.not_before = Some(Instant::now() + SLOW_DELAY);
        }
    }

    fn next_part(&mut self, fault: &Current) {
        let mut limit = PART_BYTES;
        match fault.get() {
            Fault::Hang => {
                self.hangs = true;
                return;
            }
            Fault::Slow => {
                self.not_before = Some(Instant::now() + SLOW_PAUSE);
                limit = SLOW_PART_BYTES;
            }
            _ => {}
        }
        let Some(reply) = &mut self.reply else { return };
        self.part.clear();
        self.sent = 0;
        if !reply.next_part(&mut self.part, limit) {
            self.ends = reply.close;
            self.reply = None;
        }
    }

    /// Reads what has come. False if the client ended its stream.
    fn receive(&mut self) -> io::Result<bool> {
        let mut piece = [0; 16 << 10];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return Ok(false),
                Ok(len) if !self.ends => {
                    self.reader.push(&piece[..len]);
                    return Ok(true);
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the client closed, as far as a look without reading shows.
    fn client_left(&self) -> bool {
        match self.stream.peek(&mut [0]) {
            Ok(len) => len == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        }
    }
}
