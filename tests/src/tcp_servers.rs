//! Small TCP servers inside the test: echo servers of different make, and a slow link.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// A listener whose connections are served by threads until this value is dropped.
pub struct TcpServer {
    /// Where it listens.
    pub address: SocketAddr,
    stopping: Arc<AtomicBool>,
}

impl TcpServer {
    /// Serves each connection by `serve` in a thread of its own.
    ///
    /// # Errors
    /// If no port is free.
    pub fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        // As many may come at once as there can be sessions; the standard library lets 128 wait, and
        // the kernel makes the others try again after a second, and after three.
        rustix::net::listen(&listener, 1024)?;
        let address = listener.local_addr()?;
        let stopping = Arc::new(AtomicBool::new(false));
        let (serve, stop) = (Arc::new(serve), Arc::clone(&stopping));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let serve = Arc::clone(&serve);
                let _ = thread::Builder::new().stack_size(64 * 1024).spawn(move || serve(stream));
            }
        });
        Ok(TcpServer { address, stopping })
    }
}

impl Drop for TcpServer {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        // Wakes the listener, which then sees that it is to stop.
        let _ = TcpStream::connect(self.address);
    }
}

/// Three echo servers that answer with the same bytes in different pieces: at once, byte by byte, and
/// gathered.
///
/// # Errors
/// If no port is free.
pub fn echo_servers() -> io::Result<[TcpServer; 3]> {
    Ok([
        TcpServer::start(|stream| echo(stream, 64 * 1024))?,
        TcpServer::start(|stream| echo(stream, 7))?,
        TcpServer::start(|stream| echo(stream, 1400))?,
    ])
}

/// Sends back what comes, in pieces of at most `piece` bytes, and closes when the peer does.
fn echo(mut stream: TcpStream, piece: usize) {
    let _ = stream.set_nodelay(true);
    let mut buffer = vec![0; piece];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
}

/// A link to `target` on which the target's bytes arrive at `bytes_per_s` for each connection.
///
/// # Errors
/// If no port is free.
pub fn slow_link(target: SocketAddr, bytes_per_s: usize) -> io::Result<TcpServer> {
    TcpServer::start(move |client| {
        let Ok(server) = TcpStream::connect(target) else { return };
        let (Ok(from_client), Ok(to_server)) = (client.try_clone(), server.try_clone()) else {
            return;
        };
        thread::spawn(move || copy(from_client, to_server, None));
        copy(server, client, Some(bytes_per_s));
    })
}

fn copy(mut from: TcpStream, mut to: TcpStream, bytes_per_s: Option<usize>) {
    const TICK: Duration = Duration::from_millis(10);
    let piece = bytes_per_s.map_or(64 * 1024, |rate| (rate / 100).max(1));
    let mut buffer = vec![0; piece];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
        if bytes_per_s.is_some() {
            thread::sleep(TICK);
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// A web server whose answers have no `Date` and so are the same byte for byte at all times, as a vote on raw
/// bytes needs. It knows two paths: `/1k` and `/64m`.
///
/// # Errors
/// If no port is free.
pub fn dateless_web_server() -> io::Result<TcpServer> {
    let bodies = [1 << 10, 64 << 20]
        .map(|length: usize| (0..length).map(|at| (at ^ (at >> 8)) as u8).collect::<Vec<_>>());
    TcpServer::start(move |stream| {
        let _ = serve_dateless(stream, &bodies);
    })
}

fn serve_dateless(mut stream: TcpStream, [small, large]: &[Vec<u8>; 2]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer)?;
        request.extend_from_slice(&buffer[..count]);
        while let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            let head: Vec<u8> = request.drain(..end + 4).collect();
            let body = if head.starts_with(b"GET /64m ") { large } else { small };
            let has = |word: &[u8]| head.windows(word.len()).any(|window| window == word);
            let closes = has(b"Connection: close");
            let connection = if closes { "Connection: close\r\n" } else { "" };
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{connection}\r\n");
            let (first, rest) = body.split_at(small.len());
            stream.write_all(&[head.as_bytes(), first].concat())?;
            stream.write_all(rest)?;
            if closes {
                return stream.shutdown(Shutdown::Write);
            }
        }
        if count == 0 {
            return Ok(());
        }
    }
}
