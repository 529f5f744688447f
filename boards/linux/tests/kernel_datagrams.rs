//! The suite of `pd-network` for datagrams, over the sockets of this host's kernel on loopback.

mod network_world;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use network_world::common::udp::{self, UdpWorld};
use network_world::common::voter::Service;
use network_world::common::{Rng, patterns};
use network_world::datagrams::UdpHost;
use network_world::{appliance, case_of};
use resh::listener::Listener;
use resh_channel::config::{Network, Transport};
use resh_channel::message::DATAGRAM_BYTES_MAX;

/// A free port at `ip`.
fn free(ip: &str) -> Option<SocketAddr> {
    UdpSocket::bind((ip, 0)).and_then(|held| held.local_addr()).ok()
}

/// A domain with services over UDP at these addresses, where the host has such. Clients are at 127.0.0.1 and the
/// addresses after it.
fn start(ips: &[&str]) -> Result<UdpHost, String> {
    let listen = ips.iter().filter_map(|ip| free(ip)).collect();
    let bind = |appliance: &_| Listener::bind(appliance).expect("addresses on loopback");
    let host = |host| Ipv4Addr::new(127, 0, 0, 1 + host as u8).into();
    Ok(UdpHost::start(listen, Network::Kernel, DATAGRAM_BYTES_MAX, host, bind))
}

fn case(test: fn(&mut UdpHost)) {
    case_of(|| start(&["127.0.0.1"]), test);
}

udp::cases!(case);

#[test]
fn churn() {
    case(|w| udp::churn(w, &mut Rng::new(1), 2_000));
}

/// Asks the service number `service` at `to` from `socket`, and returns the reply and where it came from.
fn ask(w: &mut UdpHost, socket: &UdpSocket, to: SocketAddr, bytes: &[u8]) -> SocketAddr {
    socket.set_nonblocking(true).unwrap();
    socket.send_to(bytes, to).unwrap();
    let mut reply = vec![0; DATAGRAM_BYTES_MAX];
    for _ in 0..100_000 {
        w.step();
        if let Ok((len, from)) = socket.recv_from(&mut reply) {
            assert!(reply[..len] == *bytes, "another reply");
            return from;
        }
    }
    panic!("no reply from {to}");
}

/// A service that listens at every address answers from the one that was asked.
#[test]
fn answers_from_the_address_asked() {
    case_of(
        || start(&["0.0.0.0", "::"]),
        |w| {
            w.voter().services = vec![Service::Echo; 2];
            let ports: Vec<u16> = w.host.listen.iter().map(SocketAddr::port).collect();
            let v4 = UdpSocket::bind("127.0.0.9:0").unwrap();
            let mut asked: Vec<SocketAddr> = Vec::new();
            for last in [1, 7, 42] {
                for port in &ports {
                    asked.push(SocketAddr::new([127, 0, 0, last].into(), *port));
                }
            }
            for to in &asked {
                assert_eq!(ask(w, &v4, *to, b"question"), *to);
                // It is known by its IPv4 address, whichever socket it came to.
                let peer = v4.local_addr().unwrap();
                assert!(w.voter().find(peer).is_some());
            }
            let Ok(v6) = UdpSocket::bind("[::1]:0") else { return };
            let to = SocketAddr::new(IpAddr::from(std::net::Ipv6Addr::LOCALHOST), ports[1]);
            assert_eq!(ask(w, &v6, to, &patterns(1, 0, 60_000)), to);
        },
    );
}

/// What was sent to all hosts is not answered.
#[test]
fn no_reply_to_a_broadcast() {
    case_of(
        || start(&["0.0.0.0"]),
        |w| {
            let socket = UdpSocket::bind("127.0.0.9:0").unwrap();
            socket.set_broadcast(true).unwrap();
            let port = w.host.listen[0].port();
            let everybody = SocketAddr::new([127, 255, 255, 255].into(), port);
            if let Err(error) = socket.send_to(b"question", everybody) {
                eprintln!("no_reply_to_a_broadcast: not run: {error}");
                return;
            }
            for _ in 0..100 {
                w.pass(10);
                if w.stats().datagrams.dropped > 0 {
                    break;
                }
            }
            let stats = w.stats();
            assert_eq!((stats.datagrams.received, stats.datagrams.dropped), (1, 1));
            assert_eq!(w.voter().opened, 0);
        },
    );
}

/// Clients that are gone when their reply comes do no harm.
#[test]
fn replies_to_nobody() {
    case(|w| {
        w.voter().services = vec![Service::Echo];
        w.voter().release_bytes = 0;
        for host in 1..6 {
            let gone = w.client(host);
            w.send(gone, b"question");
        }
        while w.voter().opened < 5 {
            w.step();
        }
        w.clients.clear();
        w.voter().release_bytes = usize::MAX;
        while w.voter().live() > 0 {
            w.step();
        }
        let client = w.client(0);
        w.send(client, b"still there?");
        let mut reply = None;
        while reply.is_none() {
            w.step();
            reply = w.receive(client);
        }
        assert_eq!(reply, Some(b"still there?".to_vec()));
        let stats = w.stats().datagrams;
        assert_eq!(stats.sent + stats.lost, 6);
    });
}

#[test]
fn taken_address() {
    case(|_| {
        let holder = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut appliance = appliance(&[holder.local_addr().unwrap()], Network::Kernel);
        appliance.services[0].transport = Transport::Udp;
        let error = Listener::bind(&appliance).err().expect("it is taken").to_string();
        assert!(error.contains("`ss -lunp` shows which"), "{error}");
    });
}
