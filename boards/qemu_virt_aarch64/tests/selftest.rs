//! The selftest's client against the network domain's stack, in simulated time.

use std::fmt::Write;

use pd_network::smoltcp_stack::SmoltcpStack;
use pd_network::smoltcp_stack::smoltcp::wire::{IpAddress, IpCidr};
use pd_network::stack::{Received, Sent, Stack};
use qemu_virt_aarch64::selftest::{Client, Fetch, Link, Port, Progress};
use resh_channel::config::{self, Network};
use resh_channel::memory::{AtomicU64, Bytes, copy_in};
use resh_status::sample;

/// What the server does to the requests it gets, in this order; the last goes for all that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Right,
    Wrong,
    Status503,
    Nothing,
    Close,
    Nonsense,
}

const PLAN: &[Fetch] = &[Fetch { path: "/a", requests: 1 }, Fetch { path: "/b", requests: 20 }];

fn words(bytes: usize) -> Vec<AtomicU64> {
    (0..bytes / 8).map(|_| AtomicU64::new(0)).collect()
}

struct Server {
    stack: SmoltcpStack<Port>,
    answers: Vec<Answer>,
    requests: usize,
    open: bool,
}

impl Server {
    fn turn(&mut self, now_ms: u64) {
        self.stack.poll(now_ms);
        while self.stack.next_event().is_some() {}
        if !self.open {
            self.open = self.stack.accept(0).is_some();
        }
        if self.open {
            self.serve();
        }
        self.stack.flush(now_ms);
    }

    fn serve(&mut self) {
        let into = words(4096);
        match self.stack.receive(0, &into, 4096) {
            Received::Bytes { len, .. } => {
                let mut request = vec![0; len];
                Bytes::new(&into, len).copy_to(&mut request);
                assert!(request.ends_with(b"\r\n\r\n"), "requests are small");
                let answer = *self.answers.get(self.requests).unwrap_or(&Answer::Right);
                self.requests += 1;
                self.answer(&String::from_utf8(request).unwrap(), answer);
            }
            Received::Nothing => {}
            Received::End | Received::Gone => self.close(false),
        }
    }

    fn answer(&mut self, request: &str, answer: Answer) {
        let path = request.split(' ').nth(1).unwrap();
        let mut body = path.repeat(3000);
        if answer == Answer::Wrong {
            body.replace_range(70..71, "!");
        }
        let mut text = String::new();
        let status = if answer == Answer::Status503 { 503 } else { 200 };
        write!(text, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            .unwrap();
        match answer {
            Answer::Nothing => return,
            Answer::Close => return self.close(false),
            Answer::Nonsense => text = "nonsense\r\n\r\n".to_owned(),
            _ => {}
        }
        let bytes = words(text.len().next_multiple_of(8));
        copy_in(&bytes, text.as_bytes());
        assert_eq!(self.stack.send(0, Bytes::new(&bytes, text.len())), Sent::Bytes(text.len()));
    }

    fn close(&mut self, abort: bool) {
        self.stack.close(0, abort);
        self.open = false;
    }
}

/// What the client tells, and after how many milliseconds it was through.
fn run(answers: &[Answer]) -> (Vec<Progress>, u64) {
    let (mut appliance, address) = (sample::appliance(1), [10, 0, 2, 15]);
    appliance.services[0].listen = (address, 80).into();
    let settings = config::Smoltcp {
        tap: None,
        address: address.into(),
        prefix_bits: 24,
        gateway: None,
        mac: [0x52, 0x54, 0, 0x12, 0x34, 0x56],
    };
    appliance.network = Network::Smoltcp(settings.clone());
    let (link, [port, client_port]) = Link::new();
    let stack = SmoltcpStack::new(port, &settings, &appliance, 1).unwrap();
    let mut server = Server { stack, answers: answers.to_vec(), requests: 0, open: false };
    let own = IpCidr::new(IpAddress::v4(10, 0, 2, 14), 24);
    let mut client = Client::new(client_port, own, [2; 6], (address, 80).into(), PLAN);
    let mut told = Vec::new();
    let mut now_ms = 0;
    while told.last() != Some(&Progress::Finished) {
        server.turn(now_ms);
        if let Some(progress) = client.poll(now_ms) {
            told.push(progress);
        } else if !link.is_busy() {
            let client_ms = client.deadline_ms(now_ms);
            let next = [server.stack.deadline_ms(), client_ms].into_iter().flatten().min();
            now_ms = next.expect("something to wait for").max(now_ms + 1);
        }
        assert!(now_ms < 200_000, "no end: {told:?}");
    }
    (told, now_ms)
}

/// Of each fetch: how many were right.
fn right(told: &[Progress]) -> Vec<u32> {
    let right = |progress: &Progress| match progress {
        Progress::Done { right, .. } => Some(*right),
        Progress::Finished => None,
    };
    told.iter().filter_map(right).collect()
}

#[test]
fn everything_is_fetched_and_hashed() {
    let (told, took_ms) = run(&[]);
    assert_eq!(right(&told), [1, 20]);
    assert!(took_ms < 1000, "{took_ms} ms");
    // `printf '/a%.0s' $(seq 3000) | sha256sum`
    assert_eq!(
        told[0].to_string(),
        "GET /a: 1 of 1 right in 0 ms, 6000 bytes, sha256 \
         a6209a1fb656371461d8b548fc7c49d1af5059a8099b7e3865e3dd3fa37ee5e5"
    );
    assert_eq!(run(&[]), (told, took_ms), "another time it is the same");
}

#[test]
fn it_waits_for_the_service() {
    let (told, took_ms) = run(&[Answer::Status503, Answer::Close, Answer::Nonsense, Answer::Right]);
    assert_eq!(right(&told), [1, 20]);
    assert!((1500..3000).contains(&took_ms), "{took_ms} ms");
}

#[test]
fn what_is_wrong_is_not_counted_as_right() {
    use Answer::{Close, Nothing, Right, Wrong};
    let (told, _) = run(&[Right, Right, Wrong, Right, Close, Nothing, Right]);
    assert_eq!(right(&told), [1, 17]);
}
