//! `cargo xtask bench`: what a request costs, interleaved with HAProxy in TCP mode before the same server.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use resh_tests::appliance::{Appliance, Config, Service};
use resh_tests::ensure;
use resh_tests::harness::{CaseResult, write_between_markers};
use resh_tests::process::tree_cpu_ns;
use resh_tests::servers::{self, Server};
use resh_tests::site::Site;
use resh_tests::tcp_servers::dateless_web_server;
use resh_tests::web;

use crate::command::{cargo, succeeds, target_dir};

/// Fewer rounds than these give no median worth printing.
const ROUNDS_MIN: usize = 5;
const RUN: Duration = Duration::from_secs(2);
const CLOSE: &str = "Connection: close";

/// Something between client and server.
struct Subject {
    name: &'static str,
    address: SocketAddr,
    pid: u32,
    /// What it serves: 1 KiB, and 64 MiB.
    paths: [&'static str; 2],
    /// Index of the subject it is compared with.
    reference: usize,
    _alive: Alive,
}

enum Alive {
    Appliance { _it: Appliance },
    Server { _it: Server },
}

/// What is asked of it.
struct Work {
    name: &'static str,
    unit: &'static str,
    run: fn(&Subject) -> CaseResult<f64>,
}

const WORKS: &[Work] = &[
    Work {
        name: "1 KiB, keep-alive, 64 clients",
        unit: "CPU µs/request",
        run: |s| requests(s, 64, None),
    },
    Work {
        name: "1 KiB, keep-alive, 1 client",
        unit: "CPU µs/request",
        run: |s| requests(s, 1, None),
    },
    Work {
        name: "1 KiB, close, 64 clients",
        unit: "CPU µs/request",
        run: |s| requests(s, 64, Some(CLOSE)),
    },
    Work { name: "64 MiB download", unit: "CPU ms", run: download },
];

/// Measures and prints; with `--write` the table goes to `docs/measurements.md`.
pub(crate) fn bench(arguments: &[String]) -> Result<bool, String> {
    let mut rounds = ROUNDS_MIN;
    let mut write = false;
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--write" => write = true,
            "--rounds" => {
                let number = arguments.next().and_then(|text| text.parse().ok());
                rounds = number
                    .filter(|&n| n >= ROUNDS_MIN)
                    .ok_or_else(|| format!("--rounds needs a number of at least {ROUNDS_MIN}"))?;
            }
            other => return Err(format!("unknown option {other}")),
        }
    }
    crate::packages::install_missing();
    let mut build = cargo(&["build", "--release", "--package", "resh"]);
    if !succeeds(&mut build).map_err(|error| error.to_string())? {
        return Ok(false);
    }
    let dir = std::env::temp_dir().join(format!("resh-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
    let measured = measure(&dir, rounds);
    let _ = std::fs::remove_dir_all(&dir);
    let table = measured.map_err(|halt| halt.to_string())?;
    println!("{table}");
    if write {
        write_between_markers("measurements.md", "bench", &table).map_err(|e| e.to_string())?;
    }
    Ok(true)
}

fn measure(dir: &Path, rounds: usize) -> CaseResult<String> {
    let plain = [dateless_web_server()?, dateless_web_server()?, dateless_web_server()?];
    let site = Site::create(dir, 1)?;
    let web = servers::web_servers(dir, &site)?;
    let plain: Vec<_> = ["a", "b", "c"].into_iter().zip(plain.iter().map(|s| s.address)).collect();
    let web: Vec<_> = web.iter().map(|server| (server.name, server.address)).collect();
    let plain_paths = ["/1k", "/64m"];
    let web_paths = ["/1k.bin", "/64m.bin"];
    let subjects = [
        haproxy(dir, "HAProxy, TCP mode", &plain, plain_paths, 0)?,
        appliance(dir, "RESH raw, N=1", "raw", &plain[..1], plain_paths, 0)?,
        appliance(dir, "RESH raw, N=3", "raw", &plain, plain_paths, 0)?,
        haproxy(dir, "HAProxy, TCP mode, nginx", &web, web_paths, 3)?,
        appliance(dir, "RESH http1, N=1, nginx", "http1", &web[..1], web_paths, 3)?,
        appliance(dir, "RESH http1, N=3, nginx lighttpd apache2", "http1", &web, web_paths, 3)?,
    ];
    // samples[work][subject]
    let mut samples = vec![vec![Vec::new(); subjects.len()]; WORKS.len()];
    for round in 0..rounds {
        for (work, samples) in WORKS.iter().zip(&mut samples) {
            for (subject, samples) in subjects.iter().zip(samples) {
                let cost = (work.run)(subject)?;
                println!("round {round}: {}: {}: {cost:.1} {}", work.name, subject.name, work.unit);
                samples.push(cost);
            }
        }
    }
    let mut table = String::new();
    for (work, samples) in WORKS.iter().zip(&mut samples) {
        let medians: Vec<f64> = samples.iter_mut().map(|samples| median(samples)).collect();
        let _ = writeln!(table, "\n{}, median of {rounds} rounds:\n", work.name);
        let _ = writeln!(table, "| | {} | of HAProxy |\n|---|---:|---:|", work.unit);
        for (index, subject) in subjects.iter().enumerate() {
            let ratio = medians[index] / medians[subject.reference];
            let _ = writeln!(table, "| {} | {:.1} | {ratio:.2} |", subject.name, medians[index]);
        }
    }
    Ok(table)
}

fn haproxy(
    dir: &Path,
    name: &'static str,
    replicas: &[(&str, SocketAddr)],
    paths: [&'static str; 2],
    reference: usize,
) -> CaseResult<Subject> {
    let dir = subject_dir(dir, name)?;
    let server = servers::haproxy(&dir, replicas[0].1)?;
    let (address, pid) = (server.address, server.process.pid());
    Ok(Subject { name, address, pid, paths, reference, _alive: Alive::Server { _it: server } })
}

fn appliance(
    dir: &Path,
    name: &'static str,
    protocol: &'static str,
    replicas: &[(&str, SocketAddr)],
    paths: [&'static str; 2],
    reference: usize,
) -> CaseResult<Subject> {
    let dir = subject_dir(dir, name)?;
    let config = Config::of(Service::new("web", protocol, replicas.iter().copied())?);
    let program = target_dir().join("release/resh");
    let appliance = Appliance::run_program(&program, &dir, &config, &[])?;
    let (address, pid) = (appliance.address, appliance.process.pid());
    Ok(Subject {
        name,
        address,
        pid,
        paths,
        reference,
        _alive: Alive::Appliance { _it: appliance },
    })
}

fn subject_dir(dir: &Path, name: &str) -> CaseResult<std::path::PathBuf> {
    let dir = dir.join(name.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// CPU time per request, in microseconds, of the whole process tree.
fn requests(subject: &Subject, clients: usize, header: Option<&str>) -> CaseResult<f64> {
    let before_ns = tree_cpu_ns(subject.pid);
    let report = web::wrk(subject.address, subject.paths[0], clients, RUN, header)?;
    let spent_ns = tree_cpu_ns(subject.pid) - before_ns;
    ensure!(report.errors.is_empty(), "{}: {:?}", subject.name, report.errors);
    Ok(spent_ns as f64 / 1e3 / report.requests as f64)
}

/// CPU time of one download of 64 MiB, in milliseconds.
fn download(subject: &Subject) -> CaseResult<f64> {
    let before_ns = tree_cpu_ns(subject.pid);
    let length = web::download(subject.address, subject.paths[1])?;
    // A laggard goes on for a moment after the client has all.
    std::thread::sleep(Duration::from_millis(300));
    let spent_ns = tree_cpu_ns(subject.pid) - before_ns;
    ensure!(length >= 64 << 20, "{}: {length} bytes", subject.name);
    Ok(spent_ns as f64 / 1e6)
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    let middle = samples.len() / 2;
    if samples.len() % 2 == 1 {
        return samples[middle];
    }
    (samples[middle - 1] + samples[middle]) / 2.0
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(&mut [3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&mut [4.0, 1.0, 2.0, 9.0]) - 3.0).abs() < 1e-9);
    }
}
