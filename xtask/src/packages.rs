//! What the suites need from the operating system, and getting it when that is allowed.

use std::process::{Command, Stdio};

use resh_tests::process::{find_program, is_root, python_with};

use crate::aarch64::Toolchain;
use crate::problems::Problems;
use crate::sdk::Sdk;

/// A program and the Debian package that has it.
const PROGRAMS: &[(&str, &str)] = &[
    ("nginx", "nginx-light"),
    ("fcgiwrap", "fcgiwrap"),
    ("lighttpd", "lighttpd"),
    ("apache2", "apache2"),
    ("redis-server", "redis-server"),
    ("redis-benchmark", "redis-tools"),
    ("initdb", "postgresql-15"),
    ("psql", "postgresql-client-15"),
    ("named", "bind9"),
    ("dnssec-signzone", "bind9-utils"),
    ("dig", "bind9-dnsutils"),
    ("knotd", "knot"),
    ("nsd", "nsd"),
    ("unbound", "unbound"),
    ("dnsperf", "dnsperf"),
    ("wrk", "wrk"),
    ("haproxy", "haproxy"),
    ("curl", "curl"),
    ("wget", "wget"),
    ("chromium", "chromium"),
    ("python3", "python3"),
    ("perl", "perl"),
    ("ip", "iproute2"),
    ("strace", "strace"),
];

/// A module that some Python must be able to import, and the Debian package that has it.
const PYTHON_MODULES: &[(&str, &str)] = &[
    ("requests", "python3-requests"),
    ("flask", "python3-flask"),
    ("redis", "python3-redis"),
    ("psycopg2", "python3-psycopg2"),
];

/// What seL4 in QEMU needs besides.
const PROGRAMS_FOR_SEL4: &[(&str, &str)] =
    &[("qemu-system-aarch64", "qemu-system-arm"), ("dpkg-deb", "dpkg")];

/// Installs what is missing, if this is root on a system with apt. Never fails: the cases that then lack
/// something say so by name.
pub(crate) fn install_missing() {
    let mut missing = missing_of(PROGRAMS);
    let lacking = PYTHON_MODULES.iter().filter(|(module, _)| python_with(module).is_none());
    missing.extend(lacking.map(|&(_, package)| package));
    if !perl_has("Redis") {
        missing.push("libredis-perl");
    }
    install(&missing);
}

/// Installs what images for seL4 and their tests need, if there is a Microkit SDK, which no package has.
pub(crate) fn install_missing_for_sel4() {
    if Sdk::is_anywhere() {
        let mut missing = missing_of(PROGRAMS_FOR_SEL4);
        if Toolchain::find(&mut Problems::default()).is_none() {
            missing.extend(["rustc-web", "rust-web-src", "lld-16"]);
        }
        install(&missing);
    }
}

/// Whether Perl has that module.
fn perl_has(module: &str) -> bool {
    let mut perl = Command::new("perl");
    perl.arg(format!("-M{module}")).args(["-e", "1"]).stdin(Stdio::null()).stderr(Stdio::null());
    perl.status().is_ok_and(|status| status.success())
}

fn missing_of(programs: &[(&str, &'static str)]) -> Vec<&'static str> {
    let missing = programs.iter().filter(|(program, _)| find_program(program).is_none());
    missing.map(|&(_, package)| package).collect()
}

fn install(missing: &[&str]) {
    if missing.is_empty() {
        return;
    }
    if !is_root() || find_program("apt-get").is_none() {
        println!("not installed (needs root and apt-get): {}", missing.join(" "));
        return;
    }
    println!("installing {}", missing.join(" "));
    // The lists may be missing or old, so a first failure is tried again with new ones. Then one by one,
    // so that one package that is not to be had does not cost the others.
    if apt(&["install"], missing) || (apt(&["update"], &[]) && apt(&["install"], missing)) {
        return;
    }
    for package in missing {
        if !apt(&["install"], &[package]) {
            println!("could not install {package}");
        }
    }
}

fn apt(action: &[&str], packages: &[&str]) -> bool {
    let mut command = Command::new("apt-get");
    command
        .args(["--quiet", "--yes", "-o", "Dpkg::Use-Pty=0"])
        .args(action)
        .args(if packages.is_empty() { &[][..] } else { &["--no-install-recommends"][..] })
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        // Servers are started by the tests that need them, and by nothing else.
        .env("RUNLEVEL", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
