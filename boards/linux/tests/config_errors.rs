//! Wrong configurations. Each file in `wrong/` says itself what is to be found: behind the line it is about,
//! `# wrong: key path | words of the message | more words`. Nothing else may be found.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use resh::config::{self, Board, Checked};
use resh::diagnostic::Diagnostic;
use resh::system::{System, overlay};
use resh_channel::config::{Appliance, Network, OnMismatch, Order, Protocol, State, Transport};

/// The only name there is.
fn resolve(host: &str) -> Option<IpAddr> {
    (host == "server.example").then_some("192.0.2.10".parse().unwrap())
}

fn check(text: &str) -> Result<Checked, Vec<Diagnostic>> {
    config::check(text, "resh.toml", &resolve)
}

fn listing(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(|d| format!("    {d}\n")).collect()
}

struct Expected<'a> {
    line: usize,
    path: &'a str,
    words: Vec<&'a str>,
}

fn expected(text: &str) -> Vec<Expected<'_>> {
    let mut all = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for note in line.split("# wrong: ").skip(1) {
            let mut parts = note.split('|').map(str::trim);
            let path = parts.next().unwrap();
            all.push(Expected { line: number + 1, path, words: parts.collect() });
        }
    }
    all
}

fn fulfils(found: &Diagnostic, expected: &Expected<'_>) -> bool {
    let message = found.to_string();
    let position = found.position.unwrap();
    position.line as usize == expected.line
        && position.column >= 1
        && found.place == expected.path
        && !found.hint.is_empty()
        && message.starts_with(&format!("resh.toml:{}:{}:", position.line, position.column))
        && expected.words.iter().all(|word| message.contains(word))
}

/// Checks every file in the folder, and returns how many there are.
fn refused(folder: &str, check: impl Fn(&str) -> Result<Checked, Vec<Diagnostic>>) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    files.sort();
    let mut failures = String::new();
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        let expected = expected(&text);
        let found = check(&text).err().unwrap_or_default();
        let all = expected.iter().all(|e| found.iter().any(|d| fulfils(d, e)));
        if expected.is_empty() || !all || found.len() != expected.len() {
            let name = file.file_name().unwrap().display();
            failures.push_str(&format!("{name}: found\n{}", listing(&found)));
        }
        assert!(found.is_sorted_by_key(|d| d.position));
    }
    assert!(failures.is_empty(), "\n{failures}");
    files.len()
}

#[test]
fn every_wrong_file_is_refused_for_its_reason_and_no_other() {
    let files = refused("wrong", check);
    assert!(files >= 30, "{files} wrong files");
}

fn check_with_guests(text: &str) -> Result<Checked, Vec<Diagnostic>> {
    config::check_for(Board::WithGuests, text, "resh.toml", &|_| None)
}

#[test]
fn every_wrong_file_for_a_board_with_guests_is_refused_for_its_reason_and_no_other() {
    let files = refused("wrong_with_guests", check_with_guests);
    assert!(files >= 20, "{files} wrong files");
}

const WITH_GUESTS: &str = r#"
[network]
stack = "smoltcp"
address = "10.0.2.15/24"
[[service]]
name = "web"
listen = "10.0.2.15:80"
protocol = "http1"
[[service.replica]]
name = "nginx"
address = "10.77.0.2:80"
[[service.replica]]
name = "lighttpd"
address = "10.77.0.4:80"
[[guest]]
name = "nginx"
kernel = "guests/Image"
initramfs = "/nonexistent/initramfs"
software = "nginx 1.22.1, Linux 6.1.0-50-arm64"
command_line = "quiet"
[[guest]]
name = "lighttpd"
kernel = "guests/Image"
initramfs = "guests/lighttpd.cpio"
"#;

#[test]
fn guests_and_what_they_start_from() {
    let found =
        config::check_for(Board::WithGuests, WITH_GUESTS, "/somewhere/resh.toml", &|_| None);
    let checked = found.map_err(|d| listing(&d)).unwrap();
    let appliance = &checked.appliance;
    assert_eq!(appliance.guests.len(), 2);
    assert_eq!(appliance.guests[0].software, "nginx 1.22.1, Linux 6.1.0-50-arm64");
    assert_eq!(appliance.guests[0].command_line, "quiet");
    assert_eq!(appliance.guests[1].command_line, "");
    assert_eq!(appliance.guest_address(1), Some("10.77.0.4".parse().unwrap()));
    assert!(matches!(&appliance.network, Network::Smoltcp(s) if s.tap.is_none()));
    let files: Vec<_> = checked
        .guest_files
        .iter()
        .flat_map(|guest| [&guest.kernel, &guest.initramfs])
        .map(|file| file.path.to_str().unwrap())
        .collect();
    assert_eq!(
        files,
        [
            "/somewhere/guests/Image",
            "/nonexistent/initramfs",
            "/somewhere/guests/Image",
            "/somewhere/guests/lighttpd.cpio"
        ]
    );
    let missing = checked.demand_guest_files().unwrap_err();
    assert_eq!(missing.len(), 4);
    assert_eq!(missing[1].place, "guest[0].initramfs");
    let message = missing[1].to_string();
    assert!(message.starts_with("/somewhere/resh.toml:18:13:"), "{message}");
    assert!(message.contains("/nonexistent/initramfs: No such file"), "{message}");
    // What domains decode is what was checked.
    let mut bytes = [0; resh_channel::config::ENCODED_BYTES_MAX];
    appliance.encode(&mut bytes).unwrap();
    assert_eq!(Appliance::decode(&bytes).as_ref(), Ok(appliance));
}

#[test]
fn the_configuration_of_every_board_is_right_for_its_description() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let board = root.join("boards/qemu_virt_aarch64");
    let merged = overlay::load(&root.join("microkit-system.xml"), &board.join("board.xml"));
    let (system, _) = merged.map_err(|d| listing(&d)).unwrap();
    let checked = config::load_with_guests(&board.join("resh.toml")).map_err(|d| listing(&d));
    let checked = checked.unwrap();
    checked.fits(&system).map_err(|d| listing(&d)).unwrap();
    assert_eq!(checked.appliance.guests.len(), 3);
}

#[test]
fn an_empty_file_lacks_a_service() {
    let found = check("").unwrap_err();
    assert_eq!(
        listing(&found).trim(),
        "resh.toml:1:1: service: is missing; add a table [[service]]"
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let found = config::load(Path::new("/nonexistent/resh.toml")).unwrap_err();
    assert!(
        found[0].to_string().starts_with("/nonexistent/resh.toml: cannot be read"),
        "{}",
        found[0]
    );
}

const SMALLEST: &str = r#"
[[service]]
name = "echo"
listen = "127.0.0.1:7000"
protocol = "raw"
[[service.replica]]
name = "a"
address = "server.example:7"
"#;

#[test]
fn what_the_file_leaves_out_has_a_default() {
    let appliance = check(SMALLEST).map_err(|d| listing(&d)).unwrap().appliance;
    assert_eq!(appliance.name, "resh");
    assert_eq!(appliance.metrics, None);
    assert_eq!(appliance.network, Network::Kernel);
    assert_eq!(appliance.limits.sessions, 1024);
    assert_eq!(appliance.limits.reply_ms, 5000);
    assert_eq!(appliance.limits.lag_budget_ms, 200);
    assert_eq!(appliance.limits.idle_ms, 60_000);
    assert_eq!(appliance.limits.connect_ms, 2000);
    let service = &appliance.services[0];
    assert_eq!(service.protocol, Protocol::Raw);
    assert_eq!((service.quorum(), service.on_mismatch), (1, OnMismatch::StopSession));
    assert_eq!(service.replicas[0].address, "192.0.2.10:7".parse().unwrap());
}

#[test]
fn two_replicas_stop_the_service_unless_the_file_says_otherwise() {
    let pair = format!("{SMALLEST}[[service.replica]]\nname = \"b\"\naddress = \"[::1]:7\"\n");
    let service = &check(&pair).unwrap().appliance.services[0];
    assert_eq!((service.quorum(), service.on_mismatch), (2, OnMismatch::StopService));
    let told = pair.replace("protocol", "on_mismatch = \"stop-session\"\nprotocol");
    assert_eq!(check(&told).unwrap().appliance.services[0].on_mismatch, OnMismatch::StopSession);
}

#[test]
fn how_a_service_is_ordered_probed_and_recovered() {
    let text = r#"
        [recovery]
        sessions = 5
        back_off_ms = 50
        rejuvenate_s = 3600
        [[service]]
        name = "cache"
        listen = "127.0.0.1:7000"
        protocol = "resp"
        order = "total"
        state = "export"
        probe = "PING"
        [[service.replica]]
        name = "a"
        address = "127.0.0.1:7001"
        restart = ["bin/begin-anew", "a b"]
        [[service]]
        name = "names"
        listen = "127.0.0.1:7000"
        transport = "udp"
        protocol = "dns"
        [[service.replica]]
        name = "a"
        address = "127.0.0.1:7002"  # that is where "raw" listens, but over TCP
        [[service]]
        name = "raw"
        listen = "127.0.0.1:7002"
        protocol = "raw"
        probe = 'who\x00\r\n'
        [[service.replica]]
        name = "a"
        address = "127.0.0.1:7003"
        restart = ["systemctl"]
    "#;
    let checked = config::check(text, "/etc/resh/resh.toml", &|_| None);
    let checked = checked.map_err(|d| listing(&d)).unwrap();
    let recovery = checked.appliance.recovery;
    assert_eq!((recovery.sessions, recovery.clients, recovery.back_off_ms), (5, 2, 50));
    assert_eq!((recovery.rejuvenate_s, recovery.boot_ms), (3600, 60_000));
    let [cache, names, raw] = &checked.appliance.services[..] else { panic!("three") };
    assert_eq!((cache.order, cache.state), (Order::Total, State::Export));
    assert_eq!(cache.probe, b"*1\r\n$4\r\nPING\r\n");
    assert_eq!((names.transport, names.order), (Transport::Udp, Order::Session));
    assert!(names.probe.is_empty());
    assert_eq!(raw.probe, b"who\0\r\n");
    let restart = checked.restarts[0][0].as_ref().unwrap();
    assert_eq!(restart.program, Path::new("/etc/resh/bin/begin-anew"));
    assert_eq!(restart.arguments, ["a b"]);
    assert_eq!(checked.restarts[1], [None]);
    assert_eq!(checked.restarts[2][0].as_ref().unwrap().program, Path::new("systemctl"));
    assert_eq!(checked.appliance.seed, [0; config::SEED_BYTES]);
}

#[test]
fn a_seed_is_taken_from_the_file_or_the_kernel() {
    let seed = "seed = \"".to_owned() + &"0123456789abcdef".repeat(4) + "\"\n" + WITH_GUESTS;
    let checked = config::check_for(Board::WithGuests, &seed, "resh.toml", &|_| None);
    let checked = checked.map_err(|d| listing(&d)).unwrap();
    assert_eq!(checked.appliance.seed[..4], [0x01, 0x23, 0x45, 0x67]);
    let board = Path::new(env!("CARGO_MANIFEST_DIR")).join("../qemu_virt_aarch64/resh.toml");
    let seeds = [(); 2].map(|()| config::load_with_guests(&board).unwrap().appliance.seed);
    assert_ne!(seeds[0], seeds[1]);
}

#[test]
fn an_interface_of_its_own() {
    let text = r#"
        [network]
        stack = "smoltcp"
        tap = "resh0"
        address = "2001:db8::2/64"
        gateway = "fe80::1"
        mac = "02-00-5E-10-00-01"
    "#;
    let text = format!("{text}{}", SMALLEST.replace("127.0.0.1:7000", "[2001:db8::2]:7000"));
    let appliance = check(&text).map_err(|d| listing(&d)).unwrap().appliance;
    let Network::Smoltcp(smoltcp) = appliance.network else { panic!("{:?}", appliance.network) };
    assert_eq!(smoltcp.mac, [2, 0, 0x5e, 0x10, 0, 1]);
    assert_eq!(smoltcp.prefix_bits, 64);
}

#[test]
fn the_examples_load_fit_and_survive_compilation() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let system = System::parse(include_str!("../../../microkit-system.xml")).unwrap();
    let checked = config::load(&docs.join("example.toml")).map_err(|d| listing(&d)).unwrap();
    checked.fits(&system).map_err(|d| listing(&d)).unwrap();
    let appliance = checked.appliance;
    assert_eq!(appliance.services.len(), 4);
    assert_eq!(appliance.services.iter().map(|s| s.quorum()).collect::<Vec<_>>(), [2, 2, 2, 1]);
    let mut bytes = [0; resh_channel::config::ENCODED_BYTES_MAX];
    appliance.encode(&mut bytes).unwrap();
    assert_eq!(Appliance::decode(&bytes), Ok(appliance));
}

#[test]
fn a_replica_needs_a_domain() {
    let text = include_str!("../../../microkit-system.xml");
    let mut system = System::parse(text).unwrap();
    system.domains.retain(|domain| domain.name != "gateway_2");
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let checked = config::load(&docs.join("example.toml")).unwrap();
    let found = checked.fits(&system).unwrap_err();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].place, "service[0].replica[2]");
    assert_eq!(found[1].place, "service[1].replica[2]");
    assert!(found[0].hint.contains("at most 2 replicas"), "{}", found[0]);
}

#[test]
fn a_session_needs_its_share_of_the_window() {
    let text = include_str!("../../../microkit-system.xml");
    let small = text.replacen("0xF000000", "0x300000", 1);
    let system = System::parse(&small).unwrap();
    let found = check(SMALLEST).unwrap().fits(&system).unwrap_err();
    assert_eq!(
        listing(&found).trim(),
        "resh.toml:1:1: limits: microkit-system.xml has room for 12 sessions; set limits.sessions to \
         at most 12, or enlarge \"window\" there"
    );
    let few = format!("[limits]\nsessions = 12\n{SMALLEST}");
    assert_eq!(check(&few).unwrap().fits(&system), Ok(()));
}
