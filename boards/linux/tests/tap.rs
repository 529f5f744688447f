//! The suite of `pd-network`, over smoltcp on a TAP interface, with the host's kernel as client. It needs
//! to be root, and makes a network name space for each case.

mod network_world;

use std::net::SocketAddr;

use network_world::Host;
use network_world::common::suite::{self, World};
use network_world::common::voter::Service;
use network_world::common::{Rng, patterns};
use network_world::tap::{interface, set_offload_off};
use resh::tap;
use resh_channel::config::Network;

/// The appliance at `appliance`, and clients at `client`, in a network name space of this process.
fn on_tap(appliance: &str, client: &str) -> Result<Host, String> {
    let settings = interface(appliance, &[client])?;
    let network = Network::Smoltcp(settings.clone());
    let listen = vec![SocketAddr::new(settings.address, 80)];
    Ok(Host::new(listen, network, move |appliance| {
        tap::stack(&settings, appliance).expect("the interface")
    }))
}

fn v4() -> Result<Host, String> {
    on_tap("192.0.2.1", "192.0.2.2/24")
}

fn v6() -> Result<Host, String> {
    // Without a search for other owners of the address, which takes seconds.
    on_tap("2001:db8::1", "2001:db8::2/64 nodad")
}

fn case(test: fn(&mut Host)) {
    network_world::case(v4, test);
}

/// Both streams of 16 MiB at once, in whatever pieces, come over whole.
fn bulk(w: &mut Host) {
    suite::download(w, 16 << 20);
    suite::echo(w, &mut Rng::new(7), 7, 8 << 20);
}

#[test]
fn bulk_v4() {
    case(bulk);
}

#[test]
fn bulk_v6() {
    network_world::case(v6, bulk);
}

/// With clients whose segments come in single frames, with checksums that we verify.
#[test]
fn without_offload() {
    case(|w| {
        set_offload_off();
        bulk(w);
    });
}

/// A request in one segment is answered in one.
#[test]
fn request_and_reply() {
    case(|w| {
        w.voter().services = vec![Service::Echo];
        let client = w.connect(0);
        for round in 0..200 {
            let request = patterns(round, 0, 700);
            assert_eq!(w.send(client, &request), 700);
            let mut reply = Vec::new();
            while reply.len() < request.len() {
                w.receive(client, &mut reply, 1_000);
                w.step();
            }
            assert_eq!(reply, request);
        }
    });
}

suite::cases!(case);

#[test]
fn churn() {
    case(|w| suite::churn(w, &mut Rng::new(1), 500));
}
