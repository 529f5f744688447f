//! One session over real TCP to one server.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::network::{Record, Seen};
use gateway::canonicaliser::ConnectionWish;
use gateway::http1::Http1;

/// Runs the records through `http` against the server at `address`, until the session ends or nothing
/// has moved for `patience`.
pub(crate) fn run(
    http: &mut Http1,
    records: &[Record],
    fin: bool,
    address: SocketAddr,
    patience: Duration,
) -> Seen {
    let mut socket: Option<TcpStream> = None;
    let mut waiting: Vec<u8> = Vec::new();
    let mut closed = None;
    let (mut record, mut at, mut finished) = (0, 0, false);
    let mut seen = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut moved_at = Instant::now();
    while http.end().is_none() && moved_at.elapsed() < patience {
        let mut moved = false;
        if let Some((bytes, clock_s)) = records.get(record) {
            let taken = http.client_data(&bytes[at..], *clock_s);
            moved |= taken > 0;
            at += taken;
            if at == bytes.len() {
                (record, at) = (record + 1, 0);
            }
        } else if fin && !finished {
            http.client_fin();
            (finished, moved) = (true, true);
        }
        match (http.connection(), socket.is_some()) {
            (ConnectionWish::Open, false) => {
                (moved, closed) = (true, None);
                waiting.clear();
                match TcpStream::connect(address) {
                    Ok(stream) => {
                        stream.set_nonblocking(true).unwrap();
                        stream.set_nodelay(true).unwrap();
                        socket = Some(stream);
                        http.server_opened();
                    }
                    Err(_) => http.server_reset(),
                }
            }
            (ConnectionWish::Close, _) => {
                socket = None;
                waiting.clear();
                http.server_reset();
                moved = true;
            }
            _ => {}
        }
        if let Some(stream) = &mut socket {
            if !http.to_server().is_empty() {
                match stream.write(http.to_server()) {
                    Ok(n) => {
                        http.sent_to_server(n);
                        moved = true;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    // What it has answered can still be read.
                    Err(_) => closed = closed.or(Some(false)),
                }
            }
            if waiting.is_empty() {
                match stream.read(&mut buffer) {
                    Ok(0) => closed = closed.or(Some(true)),
                    Ok(n) => waiting.extend_from_slice(&buffer[..n]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(_) => closed = Some(false),
                }
            }
        }
        let taken = http.server_data(&waiting);
        waiting.drain(..taken);
        moved |= taken > 0;
        if let (true, Some(in_order)) = (waiting.is_empty(), closed.take_if(|_| waiting.is_empty()))
        {
            socket = None;
            moved = true;
            if in_order { http.server_fin() } else { http.server_reset() }
        }
        let n = http.to_client().len();
        if n > 0 {
            seen.extend_from_slice(http.to_client());
            http.sent_to_client(n);
            moved = true;
        }
        if moved {
            moved_at = Instant::now();
        } else {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    Seen { bytes: seen, end: http.end() }
}
