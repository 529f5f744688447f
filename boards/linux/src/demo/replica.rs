//! The process of one replica: a server of one kind that takes its faults from standard input.

use std::io::{self, BufRead, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::kind::{Current, Fault, Kind};
use super::reply::{Form, Reply};
use super::request::{Bad, Reader};
use super::site::{self, Answer};
use super::{events, threads};

/// Body bytes in one part of a reply.
pub(super) const PART_BYTES: u64 = 16 << 10;
/// What a slow replica waits before it answers.
pub(super) const SLOW_DELAY: Duration = Duration::from_millis(300);
/// What a slow replica waits before each part.
pub(super) const SLOW_PAUSE: Duration = Duration::from_millis(10);
/// Body bytes in one part of a slow replica's reply.
pub(super) const SLOW_PART_BYTES: u64 = 1 << 10;

/// The command `resh __demo-replica <kind> <address>`. Says `listening <address>` on standard output,
/// then `ok` to each fault, a line each, from standard input, and ends with that.
pub(super) fn main(kind: &str, address: &str) -> ExitCode {
    let run = || -> Result<(), String> {
        let kind: Kind = kind.parse()?;
        let address: SocketAddr = address.parse().map_err(|_| format!("`{address}`?"))?;
        run(kind, address).map_err(|error| format!("{}: {error}", kind.name()))
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("demo replica: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(kind: Kind, address: SocketAddr) -> io::Result<()> {
    allow_many_descriptors();
    let listener = TcpListener::bind(address)?;
    println!("listening {}", listener.local_addr()?);
    let fault = Arc::new(Current::default());
    serve_in_background(kind, listener, &fault);
    for line in io::stdin().lock().lines() {
        match line?.parse() {
            Ok(Fault::Kill) => return Ok(()),
            Ok(new) => fault.set(new),
            Err(why) => return Err(io::Error::other(why)),
        }
        println!("ok");
        io::stdout().flush()?;
    }
    // Whoever started this has gone.
    Ok(())
}

/// Serves in a thread of its own.
pub(super) fn serve_in_background(kind: Kind, listener: TcpListener, fault: &Arc<Current>) {
    let fault = Arc::clone(fault);
    thread::spawn(move || match kind {
        Kind::Threads | Kind::Chunks => threads::serve(kind, &listener, &fault),
        Kind::Events => {
            if let Err(error) = events::serve(&listener, &fault) {
                eprintln!("demo replica: {error}");
                std::process::exit(1);
            }
        }
    });
}

/// One for each connection: as many as this user may have.
fn allow_many_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // If it fails there will be fewer connections.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// The reply to the next request that has arrived, if one has.
pub(super) fn reply_to(kind: Kind, reader: &mut Reader, fault: &Current) -> Option<Reply> {
    let corrupt = fault.get() == Fault::Corrupt;
    match reader.next() {
        Ok(None) => None,
        Ok(Some(request)) => {
            let head_only = request.method == "HEAD";
            let form = Form { head_only, is_old: request.is_old, close: request.close, corrupt };
            let answer = site::answer(&request.method, &request.path, request.body);
            Some(Reply::new(kind, answer, form))
        }
        Err(Bad(status)) => {
            let form = Form { head_only: false, is_old: true, close: true, corrupt };
            Some(Reply::new(kind, Answer::error(status, None), form))
        }
    }
}
