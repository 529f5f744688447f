//! Small UDP servers inside the test: echo servers, good and bad.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Longest datagram there is, in bytes.
pub const BYTES_MAX: usize = 65_507;

/// How an echo server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// With what it was sent.
    Right,
    /// The same, but for its last byte.
    Wrong,
    /// Not at all.
    Never,
    /// Right, but every so many answers are lost.
    LosesOneIn(u64),
    /// Right, and then once more.
    Twice,
}

/// An echo server; dropped, it stops.
pub struct UdpServer {
    /// Where it listens.
    pub address: SocketAddr,
    stopping: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    answer: Arc<Mutex<Answer>>,
}

impl UdpServer {
    /// An echo server that answers right.
    ///
    /// # Errors
    /// If no port is free.
    pub fn start() -> io::Result<Self> {
        let socket = UdpSocket::bind(("127.0.0.1", 0))?;
        let address = socket.local_addr()?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        let (stopping, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let answer = Arc::new(Mutex::new(Answer::Right));
        let (stop, count, how) = (Arc::clone(&stopping), Arc::clone(&asked), Arc::clone(&answer));
        thread::spawn(move || {
            let mut bytes = vec![0; BYTES_MAX];
            while !stop.load(Ordering::Relaxed) {
                let Ok((len @ 1.., peer)) = socket.recv_from(&mut bytes) else { continue };
                let number = count.fetch_add(1, Ordering::Relaxed);
                let answer = *how.lock().unwrap_or_else(PoisonError::into_inner);
                let times = match answer {
                    Answer::Never => 0,
                    Answer::LosesOneIn(n) if number % n == n - 1 => 0,
                    Answer::Twice => 2,
                    _ => 1,
                };
                if answer == Answer::Wrong {
                    bytes[len - 1] ^= 1;
                }
                for _ in 0..times {
                    // Who asked may be gone, which is nothing to us.
                    let _ = socket.send_to(&bytes[..len], peer);
                }
            }
        });
        Ok(UdpServer { address, stopping, asked, answer })
    }

    /// From now on it answers so.
    pub fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }

    /// Datagrams that came.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for UdpServer {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}
