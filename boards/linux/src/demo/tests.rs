//! The built-in servers, seen by a small client.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::kind::{Current, Fault, Kind};
use super::replica::{SLOW_DELAY, serve_in_background};
use super::site::pattern;

struct Server {
    address: SocketAddr,
    fault: Arc<Current>,
}

impl Server {
    fn start(kind: Kind) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { address: listener.local_addr().unwrap(), fault: Arc::default() };
        serve_in_background(kind, listener, &server.fault);
        server
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    /// The body of an answer to an HTTP/1.0 request, which ends with the connection.
    fn get(&self, path: &str) -> Vec<u8> {
        let mut stream = self.connect();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        answer.split_off(end + 4)
    }
}

fn right(len: u64) -> Vec<u8> {
    (0..len).map(pattern).collect()
}

#[test]
fn all_serve_the_same_bytes() {
    for kind in Kind::ALL {
        let server = Server::start(kind);
        assert!(server.get("/").starts_with(b"<!doctype html>"), "{kind:?}");
        for len in [0, 1, 16 << 10, (16 << 10) + 1, 3_000_000] {
            assert!(server.get(&format!("/bytes/{len}")) == right(len), "{kind:?} {len}");
        }
    }
}

#[test]
fn a_connection_takes_many_requests_and_a_client_may_send_them_at_once() {
    for kind in Kind::ALL {
        let server = Server::start(kind);
        let mut stream = server.connect();
        let ask = "GET /hello.txt HTTP/1.1\r\nHost: x\r\n\r\n";
        let echo =
            "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nConnection: close\r\n\r\necho";
        stream.write_all(format!("{ask}{ask}{ask}{echo}").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer.matches(" 200 ").count(), 4, "{kind:?} {answer}");
        assert_eq!(answer.matches("Hello from a quorum.\n").count(), 3, "{answer}");
        assert_eq!(answer.matches("echo").count(), 1, "{answer}");
    }
}

#[test]
fn a_large_upload_comes_back() {
    for kind in Kind::ALL {
        let server = Server::start(kind);
        let body = right(2_000_000);
        let mut stream = server.connect();
        write!(stream, "POST /echo HTTP/1.0\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
        stream.write_all(&body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.ends_with(&body), "{kind:?}: {} bytes", answer.len());
    }
}

#[test]
fn corrupt_then_clear() {
    for kind in Kind::ALL {
        let server = Server::start(kind);
        server.fault.set(Fault::Corrupt);
        let wrong = server.get("/bytes/1000");
        assert!(wrong.len() == 1000 && wrong != right(1000), "{kind:?}");
        server.fault.set(Fault::Clear);
        assert!(server.get("/bytes/1000") == right(1000), "{kind:?}");
    }
}

#[test]
fn slow_is_slow_and_right() {
    for kind in Kind::ALL {
        let server = Server::start(kind);
        server.fault.set(Fault::Slow);
        let began = Instant::now();
        assert!(server.get("/bytes/10240") == right(10_240), "{kind:?}");
        let took = began.elapsed();
        assert!(took >= SLOW_DELAY + Duration::from_millis(90), "{kind:?} {took:?}");
    }
}

#[test]
fn hang_takes_requests_and_never_answers_them_but_serves_others_once_cleared() {
    for kind in Kind::ALL {
        let server = Server::start(kind);
        server.fault.set(Fault::Hang);
        let mut hung = server.connect();
        hung.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        hung.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        assert!(hung.read(&mut [0]).is_err(), "{kind:?} answered");
        server.fault.set(Fault::Clear);
        assert!(server.get("/bytes/10") == right(10), "{kind:?}");
        let mut rest = Vec::new();
        hung.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let _ = hung.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{kind:?} answered late");
    }
}

#[test]
fn many_connections_at_once() {
    for kind in Kind::ALL {
        let server = Server::start(kind);
        let mut streams: Vec<_> = (0..200).map(|_| server.connect()).collect();
        for stream in &mut streams {
            stream.write_all(b"GET /bytes/100 HTTP/1.0\r\n\r\n").unwrap();
        }
        for stream in &mut streams {
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            assert!(answer.ends_with(&right(100)), "{kind:?}");
        }
    }
}

#[test]
fn the_configuration_of_a_demo_is_one() {
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let replicas: Vec<_> = Kind::ALL
        .into_iter()
        .zip(9001..)
        .map(|(kind, port)| (kind.name(), address(port)))
        .collect();
    for count in 1..=replicas.len() {
        for metrics in [None, Some(address(9464))] {
            let text = super::config_text(
                "demo-81",
                address(81),
                metrics,
                &replicas[..count],
                &["/a \"b\"/resh", "__demo-restart"],
            );
            let checked = crate::config::check(&text, "resh.toml", &|_| None).unwrap();
            assert_eq!(checked.appliance.metrics, metrics);
            assert_eq!(checked.appliance.services[0].replicas.len(), count);
            let restart = checked.restarts[0][count - 1].as_ref().unwrap();
            assert_eq!(restart.program.to_str(), Some("/a \"b\"/resh"));
            assert_eq!(restart.arguments, ["__demo-restart", replicas[count - 1].0]);
        }
    }
}
