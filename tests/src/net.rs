//! Sockets on the loopback interface.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// An address that nothing listens on: bound once to port 0, and let go.
///
/// # Errors
/// If no port is free.
pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0))?.local_addr()
}

/// Whether something accepts connections there.
pub fn accepts(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_millis(300)).is_ok()
}

/// A connection on which no single read or write blocks longer than `timeout`.
///
/// # Errors
/// If there is no connection.
pub fn connect(address: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// How a connection ended for the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer closed it in order.
    Closed,
    /// The peer reset it.
    Reset,
    /// It was still open when the reader stopped.
    Open,
}

/// Reads until the peer ends the connection, `enough` holds of all that was read, or `limit` passes.
pub fn read_until(
    stream: &mut TcpStream,
    limit: Duration,
    mut enough: impl FnMut(&[u8]) -> bool,
) -> (Vec<u8>, End) {
    let deadline = Instant::now() + limit;
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if enough(&bytes) {
            return (bytes, End::Open);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return (bytes, End::Open);
        }
        match stream.read(&mut buffer) {
            Ok(0) => return (bytes, End::Closed),
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if is_timeout(&error) => return (bytes, End::Open),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return (bytes, End::Reset),
        }
    }
}

/// Whether a read or write ended because its time was up.
pub fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Sends `request` on a new connection and reads all that comes until the peer ends it or `limit` passes.
///
/// # Errors
/// If there is no connection, or it does not take the request.
pub fn exchange(
    address: SocketAddr,
    request: &[u8],
    limit: Duration,
) -> io::Result<(Vec<u8>, End)> {
    let mut stream = connect(address, limit)?;
    stream.write_all(request)?;
    Ok(read_until(&mut stream, limit, |_| false))
}
