//! The suite of `pd-network`, over the sockets of this host's kernel on loopback.

mod network_world;

use std::net::{SocketAddr, TcpListener};

use network_world::common::suite::{self, World};
use network_world::common::{Rng, voter};
use network_world::{Host, appliance};
use resh::listener::Listener;
use resh_channel::config::Network;

/// Addresses on loopback where nobody listens.
fn free_addresses() -> Vec<SocketAddr> {
    let held = ["127.0.0.1:0", "[::1]:0"].map(TcpListener::bind);
    held.iter().flatten().map(|held| held.local_addr().expect("an address")).collect()
}

fn loopback() -> Result<Host, String> {
    let bind = |appliance: &_| Listener::bind(appliance).expect("addresses on loopback");
    Ok(Host::new(free_addresses(), Network::Kernel, bind))
}

fn case(test: fn(&mut Host)) {
    network_world::case(loopback, test);
}

#[test]
fn downloads() {
    case(|w| {
        suite::download(w, 0);
        suite::download(w, 1);
        suite::download(w, 4 << 20);
    });
}

#[test]
fn echoes() {
    case(|w| {
        for seed in 1..10 {
            suite::echo(w, &mut Rng::new(seed), seed, 1 << (2 * seed));
        }
    });
}

suite::cases!(case);

#[test]
fn churn() {
    case(|w| {
        suite::churn(w, &mut Rng::new(1), 500);
        w.clients.clear();
        let open = std::fs::read_dir("/proc/self/fd").expect("descriptors").count();
        assert!(open < 20, "{open} descriptors are left");
    });
}

#[test]
fn ipv6() {
    case(|w| {
        if w.listen.len() < 2 {
            eprintln!("ipv6: not run: this host has no IPv6 loopback address");
            return;
        }
        let client = w.connect(1);
        let address = w.address(client);
        w.voter().services = vec![voter::Service::Refuse; 2];
        while w.voter().find(address).is_none() {
            w.step();
        }
    });
}

#[test]
fn taken_address() {
    case(|_| {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = holder.local_addr().unwrap();
        let error =
            Listener::bind(&appliance(&[address], Network::Kernel)).err().expect("it is taken");
        let text = error.to_string();
        assert!(text.starts_with(&format!("service `service-0` cannot listen at {address}")));
        assert!(text.contains("another program listens there"), "{text}");
    });
}
