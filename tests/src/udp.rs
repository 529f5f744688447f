//! `raw` over UDP: three echo servers, one of which may be bad, and clients who take any wrong byte for a failure.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use resh_tests::appliance::{Appliance, Config, Service, Status};
use resh_tests::ensure;
use resh_tests::harness::{CaseResult, Context};
use resh_tests::net;
use resh_tests::rng::Rng;
use resh_tests::smoltcp;
use resh_tests::udp_servers::{Answer, BYTES_MAX, UdpServer};

const CLIENTS: u64 = 4;
/// Of all clients together.
const DATAGRAMS: u64 = 10_000;
/// Questions of one client that wait for their replies: all of them together stay below what one address may have.
const IN_FLIGHT: usize = 16;
/// Replies that may differ on a busy machine. These clients go as fast as two servers do, and what the third one says much
/// too late can reach who has its port by then (`docs/udp.md`).
const STRAYS: u64 = 5;
/// After so long a client asks once more.
const AGAIN: Duration = Duration::from_secs(2);
const TRIES: u32 = 5;

struct Echoes {
    appliance: Appliance,
    servers: [UdpServer; 3],
}

/// What clients saw.
#[derive(Default)]
struct Seen {
    /// Questions asked more than once.
    again: u64,
}

/// A server that is down or lies costs no client its answer. A kernel whose processes are late may still lose a
/// datagram here or there, as UDP allows.
fn few_again(seen: &Seen) -> CaseResult {
    ensure!(seen.again <= 5, "{} questions were not answered at once", seen.again);
    Ok(())
}

impl Echoes {
    /// Servers that answer so once all of them vote.
    fn open(context: &Context, answers: [Answer; 3]) -> CaseResult<Self> {
        let servers = [UdpServer::start()?, UdpServer::start()?, UdpServer::start()?];
        let replicas = ["a", "b", "c"].into_iter().zip(servers.iter().map(|s| s.address));
        let mut service = Service::new("echo", "raw", replicas)?;
        service.more = "transport = \"udp\"\nprobe = \"are you there?\"\n".to_owned();
        let appliance = Appliance::run(&context.dir, &Config::of(service))?;
        servers.iter().zip(answers).for_each(|(server, answer)| server.answers(answer));
        Ok(Echoes { appliance, servers })
    }

    /// All replicas vote, and agreed.
    fn nobody_differed(&self) -> CaseResult {
        let status = self.appliance.settled()?;
        ensure!(status.all_voting(), "a replica lost its vote: {:#}", status.0);
        ensure!(status.total("divergences") <= STRAYS, "replicas differed: {:#}", status.0);
        Ok(())
    }

    /// Sends datagrams from all clients at once; each gets its reply, whole and right.
    fn ask(&self, seed: u64, datagrams: u64) -> CaseResult<Seen> {
        let began = Instant::now();
        let seen = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|number| {
                    let address = self.appliance.address;
                    let seed = seed * CLIENTS + number;
                    scope.spawn(move || client(address, seed, datagrams / CLIENTS))
                })
                .collect();
            let mut seen = Seen::default();
            for client in clients {
                seen.again += client.join().map_err(|_| "a client panicked".to_owned())??.again;
            }
            CaseResult::Ok(seen)
        })?;
        let (took, asked) = (began.elapsed(), self.servers.each_ref().map(UdpServer::asked));
        println!(
            "note: {datagrams} datagrams in {took:.1?}, {} asked again; the servers got {asked:?}",
            seen.again
        );
        Ok(seen)
    }
}

/// A length that there is more often the shorter it is; over smoltcp none that takes more than one packet.
fn length(rng: &mut Rng) -> usize {
    let most = if smoltcp::is_asked_for() { 1472 } else { BYTES_MAX };
    match rng.below(20) {
        0 => 8 + rng.below(most - 7),
        1..4 => 8 + rng.below(1_465),
        _ => 8 + rng.below(120),
    }
}

fn client(address: SocketAddr, seed: u64, count: u64) -> CaseResult<Seen> {
    struct Question {
        bytes: Vec<u8>,
        since: Instant,
        tries: u32,
    }
    let mut rng = Rng::new(seed);
    let socket = UdpSocket::bind((if address.is_ipv4() { "0.0.0.0" } else { "::" }, 0))?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let mut waiting: HashMap<u64, Question> = HashMap::new();
    let (mut begun, mut seen) = (0, Seen::default());
    let mut buffer = vec![0; BYTES_MAX];
    let mut looked = Instant::now();
    while begun < count || !waiting.is_empty() {
        while begun < count && waiting.len() < IN_FLIGHT {
            let mut bytes = vec![0; length(&mut rng)];
            let noise = rng.bytes(bytes.len() - 8);
            bytes[..8].copy_from_slice(&begun.to_le_bytes());
            bytes[8..].copy_from_slice(&noise);
            socket.send(&bytes)?;
            waiting.insert(begun, Question { bytes, since: Instant::now(), tries: 1 });
            begun += 1;
        }
        match socket.recv(&mut buffer) {
            Ok(len) => {
                ensure!(len >= 8, "seed {seed}: a reply of {len} bytes");
                let number = u64::from_le_bytes(buffer[..8].try_into().expect("eight bytes"));
                // One that was asked again may be answered twice.
                let Some(question) = waiting.remove(&number) else {
                    ensure!(number < begun, "seed {seed}: a reply to nothing");
                    continue;
                };
                let right = buffer[..len] == question.bytes;
                ensure!(right, "seed {seed}: a wrong reply of {len} bytes to question {number}");
            }
            Err(error) if net::is_timeout(&error) => {}
            Err(error) => return Err(error.into()),
        }
        if looked.elapsed() < AGAIN / 10 {
            continue;
        }
        looked = Instant::now();
        for (number, question) in &mut waiting {
            if question.since.elapsed() < AGAIN {
                continue;
            }
            ensure!(question.tries < TRIES, "seed {seed}: no reply to question {number}");
            socket.send(&question.bytes)?;
            question.tries += 1;
            question.since = Instant::now();
            seen.again += 1;
        }
    }
    Ok(seen)
}

/// What the network domain says of datagrams.
fn counted(status: &Status, what: &str) -> u64 {
    status.0["network"]["datagrams"][what].as_u64().unwrap_or(0)
}

pub(crate) fn echo(context: &Context) -> CaseResult {
    let echoes = Echoes::open(context, [Answer::Right; 3])?;
    echoes.ask(context.seed, DATAGRAMS)?;
    echoes.nobody_differed()?;
    // The network domain publishes its figures from time to time.
    let all = |status: &Status| {
        ["received", "sent"].iter().all(|what| counted(status, what) >= DATAGRAMS)
    };
    echoes.appliance.wait_status(Duration::from_secs(5), "all datagrams counted", all).map(drop)
}

/// Answers that come twice are one answer.
pub(crate) fn answers_twice(context: &Context) -> CaseResult {
    let echoes = Echoes::open(context, [Answer::Right, Answer::Twice, Answer::Twice])?;
    echoes.ask(context.seed, DATAGRAMS / 2)?;
    echoes.nobody_differed()
}

/// One server lies in every answer: it is outvoted in every reply.
pub(crate) fn a_lying_server(context: &Context) -> CaseResult {
    let echoes = Echoes::open(context, [Answer::Right, Answer::Wrong, Answer::Right])?;
    let seen = echoes.ask(context.seed, DATAGRAMS)?;
    few_again(&seen)?;
    let status = echoes.appliance.settled()?;
    ensure!(status.domain("b")["state"] != "voting", "it still votes: {:#}", status.0);
    Ok(())
}

/// One server never answers: nobody waits for it.
pub(crate) fn a_silent_server(context: &Context) -> CaseResult {
    let echoes = Echoes::open(context, [Answer::Right, Answer::Right, Answer::Never])?;
    let seen = echoes.ask(context.seed, DATAGRAMS)?;
    few_again(&seen)?;
    let status = echoes.appliance.settled()?;
    ensure!(status.domain("c")["state"] != "voting", "it still votes: {:#}", status.0);
    Ok(())
}

/// Answers of one server get lost on their way: it is asked again, and the clients notice nothing.
pub(crate) fn a_lossy_server(context: &Context) -> CaseResult {
    let answers = [Answer::LosesOneIn(100), Answer::Right, Answer::Right];
    let echoes = Echoes::open(context, answers)?;
    let seen = echoes.ask(context.seed, DATAGRAMS)?;
    few_again(&seen)?;
    echoes.nobody_differed()
}

/// All servers lose answers: they are asked again, so every client gets its reply in the end.
pub(crate) fn lossy_servers(context: &Context) -> CaseResult {
    let echoes = Echoes::open(context, [7, 9, 11].map(Answer::LosesOneIn))?;
    echoes.ask(context.seed, DATAGRAMS / 20)?;
    echoes.nobody_differed()?;
    let status = echoes.appliance.status()?;
    println!("note: {} datagrams without reply", counted(&status, "unanswered"));
    Ok(())
}
