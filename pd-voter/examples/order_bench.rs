//! What a request costs the voter: its own processor time for one request and reply of 64 bytes with three replicas, in total
//! order (with and without a log) and without, for 1 and for 20 clients at once. Median of seven.
//!
//! `cargo run --release -p pd-voter --example order_bench`

#[path = "../tests/common/mod.rs"]
mod common;

use common::{Memory, World, appliance, id};
use pd_voter::order::limits::SHARE_BYTES;
use resh_channel::config::{OnMismatch, Order, Protocol, State};
use resh_channel::message::{Kind, Message, Request};
use resh_channel::window::{SLOT_BYTES, VOTER_SLOTS};
use rustix::time::{ClockId, clock_gettime};

const REQUESTS: usize = 20_000;
const BYTES: usize = 64;
const ROUNDS: usize = 7;
const SLOTS: usize = 32;

fn cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Lets the voter do what there is to do, timed.
fn step(world: &mut World<'_>) -> f64 {
    let start = cpu_s();
    world.run();
    cpu_s() - start
}

/// Processor time of the voter for one request, in nanoseconds, with so many clients at once.
fn request_ns(order: Option<State>, clients: u16) -> f64 {
    let mut appliance = appliance(3, OnMismatch::StopSession);
    appliance.limits.sessions = SLOTS as u16;
    if let Some(state) = order {
        appliance.services[0].protocol = Protocol::Resp;
        (appliance.services[0].order, appliance.services[0].state) = (Order::Total, state);
    }
    let memory = Memory::with_rings(64 * 1024);
    let mut window = vec![0; SLOT_BYTES * (SLOTS + VOTER_SLOTS)];
    let mut region = vec![0; (SLOTS + VOTER_SLOTS) * SHARE_BYTES + (32 << 20)];
    let mut world = World::with_order(&memory, &mut window, &mut region, &appliance);
    world.start(3);
    (0..clients).for_each(|client| world.open(id(client, 1)));
    world.run();
    world.gateways.iter_mut().for_each(|gateway| drop(gateway.hear()));
    let (mut spent_s, mut offset) = (0.0, 0);
    for _ in 0..REQUESTS / usize::from(clients) {
        let end = offset + BYTES as u64;
        for client in 0..clients {
            world.say(Message::new(Kind::Data, id(client, 1)).at(offset), &[7; BYTES]);
        }
        spent_s += step(&mut world);
        for gateway in &mut world.gateways {
            for (message, _) in gateway.hear() {
                let session = message.session;
                match message.kind {
                    Kind::Data if order.is_some() => {
                        gateway.say(Message::new(Kind::Framed, session).at(end), &[]);
                    }
                    Kind::Data => gateway.data(session, offset, &[8; BYTES]),
                    _ => {}
                }
                gateway.say(Message::new(Kind::Taken, session).at(end), &[]);
            }
        }
        spent_s += step(&mut world);
        for gateway in &mut world.gateways {
            for (message, _) in gateway.hear() {
                if message.kind == Kind::Ordered {
                    assert!(!Request(message.arg).is(Request::REPLAY));
                    gateway.data(message.session, offset, &[8; BYTES]);
                    gateway
                        .say(Message::new(Kind::Answered, message.session).at(message.offset), &[]);
                }
            }
        }
        spent_s += step(&mut world);
        let released = world.hear().iter().filter(|message| message.kind == Kind::Release).count();
        assert_eq!(released, usize::from(clients));
        for client in 0..clients {
            world.say(Message::new(Kind::Taken, id(client, 1)).at(end), &[]);
        }
        offset = end;
    }
    spent_s / REQUESTS as f64 * 1e9
}

fn main() {
    let kinds = [
        ("by session", None),
        ("total, no state", Some(State::None)),
        ("total, replay", Some(State::Replay)),
    ];
    println!("processor time of the voter for one request, in ns");
    println!("{:18} {:>10} {:>10}", "order", "1 client", "20 clients");
    for (name, order) in kinds {
        let median = |clients| {
            let mut all: Vec<f64> = (0..ROUNDS).map(|_| request_ns(order, clients)).collect();
            all.sort_by(f64::total_cmp);
            all[ROUNDS / 2]
        };
        println!("{name:18} {:10.0} {:10.0}", median(1), median(20));
    }
}
