//! The monitor's answers, from published statistics to the bytes a client gets.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use resh_channel::memory::AtomicU64;
use resh_channel::snapshot::Publisher;
use resh_channel::stats::OrderStats;
use resh_status::model;
use resh_status::sample::{appliance, fullest, healthy};
use sel4_microkit::linux::{Grants, run};

use super::*;

fn region_of(words: usize) -> &'static Words {
    Vec::leak((0..words).map(|_| AtomicU64::new(0)).collect())
}

fn text_of(content: &mut View, resource: Resource) -> String {
    let mut body = Vec::with_capacity(server::RESPONSE_BYTES_MAX);
    let capacity = body.capacity();
    assert_eq!(content.body(resource, &mut body), Status::Ok, "{resource:?}");
    assert_eq!(body.capacity(), capacity, "nothing may be allocated");
    String::from_utf8(body).unwrap()
}

/// Starts the monitor as a domain of this test process, with what `publish` says.
fn view(appliance: Appliance, voter: &VoterStats, network: &NetworkStats) -> View {
    // Only the first test of this process becomes the domain; the clock is all the others need.
    let _ = sel4_microkit::linux::start(Grants { name: "monitor".into(), ..Grants::default() });
    let (voter_region, network_region) = (region_of(8192), region_of(512));
    let mut scratch = vec![0; 65536];
    Publisher::new(voter_region).publish(voter, &mut scratch).unwrap();
    Publisher::new(network_region).publish(network, &mut scratch).unwrap();
    View::new(appliance, voter_region, network_region, region_of(12))
}

#[test]
fn the_fullest_status_fits_and_reads_back() {
    let (appliance, voter, network) = fullest();
    let mut view = view(appliance, &voter, &network);
    let json = text_of(&mut view, Resource::Status);
    let status: model::Status = serde_json::from_str(&json).unwrap();
    assert_eq!(status.services.len(), 16);
    assert_eq!(status.disputes.len(), 32);
    assert_eq!(status.disputes[0].expected.0, voter.disputes[0].expected);
    assert_eq!(serde_json::to_string(&status).unwrap(), json);
    check_exposition(&text_of(&mut view, Resource::Metrics));
    for body in [&json, &text_of(&mut view, Resource::Metrics)] {
        let mut response = Vec::with_capacity(server::RESPONSE_BYTES_MAX);
        http::respond(&mut response, Status::Ok, "text/plain", body.as_bytes());
        assert!(response.starts_with(b"HTTP/1.1 200 "), "{} bytes", body.len());
    }
}

#[test]
fn json_has_the_documented_shape() {
    let mut voter = healthy(3);
    voter.services[0].order = Some(OrderStats::default());
    let mut view = view(appliance(3), &voter, &NetworkStats::default());
    let json: serde_json::Value =
        serde_json::from_str(&text_of(&mut view, Resource::Status)).unwrap();
    let documented = include_str!("../../../../docs/operating.md");
    let mut names = std::collections::BTreeSet::new();
    collect_names(&json, &mut names);
    for name in names {
        assert!(documented.contains(&format!("`{name}`")), "docs/operating.md lacks `{name}`");
    }
    assert_eq!(json["schema"], 2);
    assert_eq!(json["health"], "healthy");
    assert_eq!(json["services"][0]["state"], "serving");
    assert_eq!(json["services"][0]["listen"], "127.0.0.1:8080");
    assert_eq!(json["replicas"][2]["reason"], serde_json::Value::Null);
}

fn collect_names(value: &serde_json::Value, names: &mut std::collections::BTreeSet<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                names.insert(name.clone());
                collect_names(value, names);
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(|v| collect_names(v, names)),
        _ => {}
    }
}

#[test]
fn metrics_are_documented_and_well_formed() {
    let mut view = view(appliance(3), &healthy(3), &NetworkStats::default());
    let text = text_of(&mut view, Resource::Metrics);
    check_exposition(&text);
    let documented = include_str!("../../../../docs/operating.md");
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        assert!(documented.contains(&format!("`{name}`")), "docs/operating.md lacks `{name}`");
    }
    assert!(text.contains("\nresh_service_up{service=\"web\"} 1\n"), "{text}");
    assert!(text.contains("\nresh_replica_state{replica=\"2\",state=\"voting\"} 1\n"));
}

#[test]
fn the_checker_of_the_exposition_format_can_fail() {
    for wrong in [
        "resh_x 1\n",
        "# HELP a b\n# TYPE a gauge\na 1",
        "# HELP a b\n# TYPE a gauge\na{x=\"1} 1\n",
        "# HELP a b\n# TYPE a gauge\na one\n",
        "# HELP a b\n# TYPE a gauge\na 1\na 2\n",
        "# HELP a b\n# TYPE a gauge\nb 1\n",
        "# HELP a b\n# TYPE a counter\na 1\n",
    ] {
        assert!(std::panic::catch_unwind(|| check_exposition(wrong)).is_err(), "{wrong}");
    }
}

/// Holds `text` against the text format 0.0.4, and its names against Prometheus's conventions.
fn check_exposition(text: &str) {
    assert!(text.ends_with('\n'), "the last line must end");
    let mut families = std::collections::BTreeSet::new();
    let mut samples = std::collections::BTreeSet::new();
    let mut family = ("", "");
    let mut help = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').expect("a help text").0;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split_once(' ').expect("a type");
            assert_eq!(help, family.0, "HELP and TYPE are of one family");
            assert!(matches!(family.1, "counter" | "gauge"), "{line}");
            assert_eq!(family.1 == "counter", family.0.ends_with("_total"), "{line}");
            assert!(families.insert(family.0), "one family twice: {line}");
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            value.parse::<f64>().expect("a number");
            assert!(samples.insert(series), "one sample twice: {line}");
            let name = series.split('{').next().unwrap();
            assert_eq!(name, family.0, "a sample outside of its family");
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{line}");
            if let Some(labels) = series.strip_prefix(name).filter(|labels| !labels.is_empty()) {
                let labels = labels.strip_prefix('{').and_then(|l| l.strip_suffix('}')).unwrap();
                for label in labels.split(',') {
                    let (name, value) = label.split_once('=').expect("a label");
                    assert!(name.chars().all(|c| c.is_ascii_lowercase()), "{line}");
                    let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
                    assert!(!value.expect("quotes").contains(['"', '\\', '\n']), "{line}");
                }
            }
        }
    }
}

fn get(mut stream: impl Read + Write, request: &[u8]) -> String {
    // The monitor may have answered and closed before all of a hostile request was written.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// One domain in one process: so all that needs the runtime's loop is in one test.
#[test]
fn the_server_answers_whatever_clients_do() {
    let dir = std::env::temp_dir().join(format!("resh-monitor-{}", std::process::id()));
    crate::runtime_dir::prepare(&dir).unwrap();
    let path = dir.join("m.sock");
    let unix = UnixListener::bind(&path).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let view = view(appliance(3), &healthy(3), &NetworkStats::default());
    std::thread::spawn(move || {
        let server = Server::new(Some(unix), Some(tcp)).unwrap();
        run(Monitor { server, view })
    });
    let local = || {
        let stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream
    };
    let remote = || {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream
    };

    let page = get(remote(), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(
        page.starts_with("HTTP/1.1 200 OK\r\n") && page.contains("default-src 'none'"),
        "{page}"
    );
    let health = get(local(), b"GET /healthz HTTP/1.0\r\n\r\n");
    assert!(health.ends_with("\r\n\r\nhealthy\n"), "{health}");

    // Clients that connect and say nothing shut out nobody, and a request in pieces is a request.
    let mut slow = local();
    slow.write_all(b"GET /healthz HT").unwrap();
    let _idle: Vec<_> = (0..100).map(|_| remote()).collect();
    let _local_idle: Vec<_> = (0..server::LOCAL_CONNECTIONS - 1).map(|_| local()).collect();
    assert!(get(remote(), b"GET /metrics HTTP/1.1\r\n\r\n").contains("resh_health"));
    assert!(get(slow, b"TP/1.1\r\n\r\n").ends_with("healthy\n"));
    assert!(get(local(), b"GET /status.json HTTP/1.1\r\n\r\n").contains("\"appliance\":\"test\""));

    // A client that ends its stream early is dropped, one that does so after its request is answered.
    let half = local();
    half.shutdown(Shutdown::Write).unwrap();
    assert_eq!(get(half, b""), "");

    let bytes = proptest::collection::vec(any::<u8>(), 0..9000);
    let lines = "(GET|PUT|get)?[ ]?/?[a-z./]{0,12}[ ]?HTTP/[0-9.]{1,3}\r\n(\r\n)?"
        .prop_map(String::into_bytes);
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::with_cases(300), rng);
    runner
        .run(&prop_oneof![bytes, lines], |request| {
            let stream = remote();
            let mut end = stream.try_clone().unwrap();
            // Half of the clients end their stream, the others just go away.
            if request.len() % 2 == 0 {
                let _ = end.write_all(&request);
                let _ = end.shutdown(Shutdown::Write);
                let answer = get(stream, b"");
                prop_assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 "), "{answer}");
            } else {
                let _ = end.write_all(&request);
            }
            Ok(())
        })
        .unwrap();
    assert!(get(local(), b"GET /healthz HTTP/1.1\r\n\r\n").ends_with("healthy\n"));
    std::fs::remove_dir_all(dir).unwrap();
}
