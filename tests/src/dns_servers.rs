//! Real name servers that serve the same zones, each near its default configuration, on ports and in directories of
//! their own.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::harness::CaseResult;
use crate::net;
use crate::process::{self, Process};

const START_LIMIT: Duration = Duration::from_secs(15);

/// The zone that all serve.
pub const ZONE: &str = "shop.example";
/// The same, signed; only if `dnssec-signzone` is there.
pub const SIGNED_ZONE: &str = "signed.example";
/// How many names `host0`, `host1`, ... the zone has.
pub const HOSTS: usize = 1000;

/// How many records `big` has, which only TCP can carry.
pub const BIG_RECORDS: usize = 90;

/// A name server that is ready; dropped, it stops.
pub struct NameServer {
    /// Its name, as `resh.toml` and `resh status` have it.
    pub name: &'static str,
    /// Where it listens, over UDP and TCP.
    pub address: SocketAddr,
    /// The process, to be stopped or signalled.
    pub process: Process,
}

/// The address of `host<number>`.
pub fn host_address(number: usize) -> String {
    format!("10.{}.{}.{}", number / 65_536 % 256, number / 256 % 256, number % 256)
}

/// A zone with all that servers treat differently: wildcards, aliases, delegations with glue and without, empty
/// names between, answers too long for UDP.
pub fn zone_text() -> String {
    let mut text = "\
$TTL 3600
@ IN SOA ns1 Hostmaster 2024010101 7200 900 1209600 300
@ NS ns1
@ NS ns2
@ NS ns.elsewhere.example.
@ MX 10 mail
@ MX 20 Mail2
@ MX 30 mail.elsewhere.example.
@ TXT \"v=spf1 mx -all\"
@ TXT \"second\" \"in two strings\"
@ CAA 0 issue \"ca.example\"
ns1 A 192.0.2.1
ns1 AAAA 2001:db8::1
ns2 A 192.0.2.2
mail A 192.0.2.25
Mail2 A 192.0.2.26
mail2 AAAA 2001:db8::26
www A 192.0.2.80
www A 192.0.2.81
www A 192.0.2.82
www AAAA 2001:db8::80
alias CNAME www
alias2 CNAME Alias
alias3 CNAME alias2
dangling CNAME nothing.here
outside CNAME www.elsewhere.example.
to-wild CNAME any.wild
to-sub CNAME host.sub
loop-a CNAME loop-b
loop-b CNAME loop-a
*.wild A 192.0.2.99
*.wild MX 5 mail
below.wild TXT \"not a wildcard\"
*.alias-wild CNAME www
deep.empty.between A 192.0.2.5
sub NS ns1.sub
sub NS ns2.sub
sub NS ns1
ns1.sub A 192.0.2.31
ns2.sub A 192.0.2.32
ns2.sub AAAA 2001:db8::32
glueless NS ns.elsewhere.example.
glueless NS ns2
sibling NS ns1.sub
sibling NS ns.sibling
ns.sibling A 192.0.2.33
secure NS ns.secure
ns.secure A 192.0.2.34
secure DS 12345 13 2 3CC0D7C6BC0B7E7D6D7BBD4B6EE3C9A1C42AAF8E6F2B5D0C4D2F4E0C3B7A6958
moved DNAME sub-tree
host.sub-tree A 192.0.2.7
_sip._tcp SRV 10 60 5060 Mail
_sip._tcp SRV 10 40 5060 ns1
naptr NAPTR 100 10 \"S\" \"SIP+D2U\" \"\" _sip._tcp
svc HTTPS 1 . alpn=\"h2\" ipv4hint=192.0.2.80
alias-svc HTTPS 0 www
loc LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m
sshfp SSHFP 4 2 123456789ABCDEF67890123456789ABCDEF67890123456789ABCDEF123456789
tlsa TLSA 3 1 1 D2ABDE240D7CD3EE6B4B28C54DF034B97983A1D16E8A410E4561CB106618E971
ptr PTR WWW
rp RP admin.people info
info TXT \"a person\"
mixed.CASE.Name A 192.0.2.8
hinfo HINFO \"a\" \"b\"
unknown TYPE65280 \\# 4 0A000001
"
    .to_owned();
    for number in 0..HOSTS {
        let _ = writeln!(text, "host{number} A {}", host_address(number));
    }
    // Near what fits into 512 bytes, into 1,232, and beyond.
    for (name, count, length) in
        [("txt4", 4, 100), ("txt5", 5, 90), ("txt10", 10, 100), ("txt12", 12, 90)]
    {
        for number in 0..count {
            let _ = writeln!(text, "{name} TXT \"{number:04}{}\"", "x".repeat(length - 4));
        }
    }
    // 45 KB. BIND takes no more than 100 records of one name and type.
    for number in 0..BIG_RECORDS {
        let long = "y".repeat(240);
        let _ = writeln!(text, "big TXT \"{number:04}\" \"{long}\" \"{long}\"");
    }
    for number in 0..40 {
        let _ = writeln!(text, "many A 198.51.100.{number}\nmany-mx MX {number} host{number}");
    }
    for number in 0..24 {
        let _ = writeln!(text, "wide NS ns{number}.wide\nns{number}.wide A 203.0.113.{number}");
        let _ = writeln!(text, "ns{number}.wide AAAA 2001:db8:0:1::{number}");
    }
    // Last, because Unbound takes a time to live for what follows too.
    text + "short 5 A 192.0.2.9\nlong 604800 A 192.0.2.10\n"
}

/// Writes the zone files into `dir`, the signed one too if it can be had, and returns the names of the zones.
///
/// # Errors
/// If a file cannot be written, or the signer fails.
pub fn write_zones(dir: &Path) -> CaseResult<Vec<&'static str>> {
    fs::create_dir_all(dir)?;
    fs::write(dir.join(ZONE), zone_text())?;
    let programs = ["dnssec-keygen", "dnssec-signzone"].map(process::find_program);
    let [Some(keygen), Some(signzone)] = programs else { return Ok(vec![ZONE]) };
    fs::write(dir.join("unsigned"), zone_text())?;
    let keys = ["-q", "-a", "ECDSAP256SHA256", "-f", "KSK", SIGNED_ZONE];
    process::output(Command::new(&keygen).args(keys).current_dir(dir))?;
    process::output(
        Command::new(&keygen).args(["-q", "-a", "ECDSAP256SHA256", SIGNED_ZONE]).current_dir(dir),
    )?;
    let arguments = ["-S", "-P", "-o", SIGNED_ZONE, "-f", SIGNED_ZONE, "unsigned"];
    process::output(Command::new(signzone).args(arguments).current_dir(dir))?;
    Ok(vec![ZONE, SIGNED_ZONE])
}

/// BIND 9, authoritative only.
///
/// # Errors
/// [`Halt::Skip`](crate::harness::Halt::Skip) if it is not installed, a failure if it does not start.
pub fn bind9(dir: &Path, zone_dir: &Path, zones: &[&str]) -> CaseResult<NameServer> {
    let program = process::need_program("named", "bind9")?;
    let (dir, address) = (home(dir, "bind9")?, net::free_address()?);
    let mut config = format!(
        "options {{
    directory \"{d}\";
    pid-file \"{d}/named.pid\";
    session-keyfile \"{d}/session.key\";
    listen-on port {port} {{ {ip}; }};
    listen-on-v6 {{ none; }};
    recursion no;
    dnssec-validation no;
}};
controls {{ }};
",
        d = dir.display(),
        ip = address.ip(),
        port = address.port(),
    );
    for zone in zones {
        let file = zone_dir.join(zone);
        let _ = writeln!(
            config,
            "zone \"{zone}\" {{ type primary; file \"{}\"; check-names ignore; }};",
            file.display()
        );
    }
    let config = write_config(&dir, &config)?;
    start(Command::new(program).arg("-g").arg("-c").arg(config), "bind9", &dir, address)
}

/// Knot DNS.
///
/// # Errors
/// As [`bind9`].
pub fn knot(dir: &Path, zone_dir: &Path, zones: &[&str]) -> CaseResult<NameServer> {
    let program = process::need_program("knotd", "knot")?;
    let (dir, address) = (home(dir, "knot")?, net::free_address()?);
    let mut config = format!(
        "server:
    listen: {ip}@{port}
    rundir: {d}
    udp-workers: 1
    tcp-workers: 2
    background-workers: 1
log:
  - target: stderr
    any: warning
database:
    storage: {d}
zone:
",
        d = dir.display(),
        ip = address.ip(),
        port = address.port(),
    );
    for zone in zones {
        let file = zone_dir.join(zone);
        let _ = writeln!(
            config,
            "  - domain: {zone}\n    file: {}\n    zonefile-sync: -1",
            file.display()
        );
    }
    let config = write_config(&dir, &config)?;
    start(Command::new(program).arg("-c").arg(config), "knot", &dir, address)
}

/// NSD, with its limit on the rate of answers to one address off: all clients of an appliance share one.
///
/// # Errors
/// As [`bind9`].
pub fn nsd(dir: &Path, zone_dir: &Path, zones: &[&str]) -> CaseResult<NameServer> {
    let program = process::need_program("nsd", "nsd")?;
    let (dir, address) = (home(dir, "nsd")?, net::free_address()?);
    let mut config = format!(
        "server:
    ip-address: {ip}@{port}
    server-count: 1
    tcp-count: 1000
    database: \"\"
    username: \"\"
    zonesdir: \"{d}\"
    pidfile: \"{d}/nsd.pid\"
    xfrdfile: \"{d}/xfrd.state\"
    xfrdir: \"{d}\"
    zonelistfile: \"{d}/zone.list\"
    rrl-ratelimit: 0
remote-control:
    control-enable: no
",
        d = dir.display(),
        ip = address.ip(),
        port = address.port(),
    );
    for zone in zones {
        let file = zone_dir.join(zone);
        let _ = writeln!(config, "zone:\n    name: {zone}\n    zonefile: \"{}\"", file.display());
    }
    let config = write_config(&dir, &config)?;
    start(Command::new(program).arg("-d").arg("-c").arg(config), "nsd", &dir, address)
}

/// Unbound, a resolver, which has the zones by heart and asks nobody.
///
/// # Errors
/// As [`bind9`].
pub fn unbound(dir: &Path, zone_dir: &Path, zones: &[&str]) -> CaseResult<NameServer> {
    let program = process::need_program("unbound", "unbound")?;
    let (dir, address) = (home(dir, "unbound")?, net::free_address()?);
    let mut config = format!(
        "server:
    interface: {ip}@{port}
    port: {port}
    chroot: \"\"
    username: \"\"
    directory: \"{d}\"
    pidfile: \"{d}/unbound.pid\"
    use-syslog: no
    do-daemonize: no
    module-config: \"iterator\"
    access-control: 127.0.0.0/8 refuse_non_local
remote-control:
    control-enable: no
",
        d = dir.display(),
        ip = address.ip(),
        port = address.port(),
    );
    for zone in zones {
        let file = zone_dir.join(zone);
        let _ = writeln!(
            config,
            "auth-zone:\n    name: {zone}\n    zonefile: \"{}\"\n    for-downstream: yes\n    for-upstream: yes",
            file.display()
        );
    }
    let config = write_config(&dir, &config)?;
    start(Command::new(program).arg("-d").arg("-c").arg(config), "unbound", &dir, address)
}

fn home(dir: &Path, name: &str) -> io::Result<PathBuf> {
    let home = dir.join(name);
    fs::create_dir_all(&home)?;
    Ok(home)
}

fn write_config(dir: &Path, text: &str) -> io::Result<PathBuf> {
    let path = dir.join("server.conf");
    fs::write(&path, text)?;
    Ok(path)
}

fn start(
    command: &mut Command,
    name: &'static str,
    dir: &Path,
    address: SocketAddr,
) -> CaseResult<NameServer> {
    let mut process = Process::spawn(command, name, dir)?;
    process.wait_ready(START_LIMIT, || serves(address))?;
    Ok(NameServer { name, address, process })
}

/// Whether a server says that it has the zone.
fn serves(address: SocketAddr) -> bool {
    let mut query = vec![0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in ZONE.split('.') {
        query.push(label.len() as u8);
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 0, 6, 0, 1]);
    let framed = [&(query.len() as u16).to_be_bytes()[..], &query].concat();
    let Ok(mut stream) = net::connect(address, Duration::from_secs(1)) else { return false };
    let sent = io::Write::write_all(&mut stream, &framed);
    let whole = |bytes: &[u8]| bytes.len() >= 2 + 12;
    let (reply, _) = net::read_until(&mut stream, Duration::from_secs(1), whole);
    // An answer, with authority, and an error in none.
    sent.is_ok() && reply.len() > 14 && reply[5] & 15 == 0 && reply[9] > 0
}
