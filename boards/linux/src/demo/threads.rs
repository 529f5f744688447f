//! A server with a thread for each connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::kind::{Current, Fault, Kind};
use super::replica::{PART_BYTES, SLOW_DELAY, SLOW_PART_BYTES, SLOW_PAUSE, reply_to};
use super::reply::Reply;
use super::request::Reader;

/// What a thread needs here, in bytes: little, and there is one for each connection.
const STACK_BYTES: usize = 256 << 10;
/// How often a thread that hangs looks whether it still must.
const HANG_LOOK: Duration = Duration::from_millis(50);

/// Serves until the process ends.
pub(super) fn serve(kind: Kind, listener: &TcpListener, fault: &Arc<Current>) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            // Out of descriptors, most likely: let some connections end.
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        let fault = Arc::clone(fault);
        let thread = thread::Builder::new().stack_size(STACK_BYTES);
        // If there can be no more threads, the client sees its connection closed.
        let _ = thread.spawn(move || converse(kind, stream, &fault));
    }
}

/// Answers one client until it goes away. An error is the end of this connection, and no more.
fn converse(kind: Kind, mut stream: TcpStream, fault: &Current) {
    let _ = stream.set_nodelay(true);
    let mut reader = Reader::default();
    let mut piece = vec![0; 16 << 10];
    loop {
        while let Some(reply) = reply_to(kind, &mut reader, fault) {
            let close = reply.close;
            if !send(&mut stream, reply, fault) {
                return;
            }
            if close {
                let _ = stream.shutdown(Shutdown::Write);
                // What the client still sends must not turn into a reset that overtakes the reply.
                let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
                while stream.read(&mut piece).is_ok_and(|len| len > 0) {}
                return;
            }
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(len) => reader.push(&piece[..len]),
        }
    }
}

/// Sends a whole reply. False if the connection is no longer of use.
fn send(stream: &mut TcpStream, mut reply: Reply, fault: &Current) -> bool {
    if fault.get() == Fault::Slow {
        thread::sleep(SLOW_DELAY);
    }
    let mut part = Vec::with_capacity(PART_BYTES as usize + 1024);
    let mut more = true;
    while more {
        let mut limit = PART_BYTES;
        match fault.get() {
            Fault::Hang => return hang(stream, fault),
            Fault::Slow => {
                thread::sleep(SLOW_PAUSE);
                limit = SLOW_PART_BYTES;
            }
            _ => {}
        }
        part.clear();
        more = reply.next_part(&mut part, limit);
        if stream.write_all(&part).is_err() {
            return false;
        }
    }
    true
}

/// Says nothing more on this connection. It is closed when the client does so, or the fault has gone.
fn hang(stream: &mut TcpStream, fault: &Current) -> bool {
    let _ = stream.set_read_timeout(Some(HANG_LOOK));
    let mut ignored = [0; 4096];
    while fault.get() == Fault::Hang {
        match stream.read(&mut ignored) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    false
}
