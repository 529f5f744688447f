//! A table of requests, ordinary and odd, to nginx, lighttpd and apache2 behind the `http1`
//! canonicaliser: what was answered, by whom, and that every answer keeps the RFCs.

mod requests;

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use resh_tests::appliance::{Appliance, Config, Service, Status, Watched};
use resh_tests::harness::{CaseResult, Context, During, Halt, write_between_markers};
use resh_tests::http_check::{self, Asked, Response};
use resh_tests::servers;
use resh_tests::site::{Site, sha256};
use resh_tests::{ensure, net};

use requests::Row;

/// Patience for one row. 64 MiB through two busy cores takes seconds.
const ROW_LIMIT: Duration = Duration::from_secs(30);

/// Who answered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answered {
    Quorum,
    Appliance,
}

pub(crate) fn every_request_is_answered(context: &Context) -> CaseResult {
    let site = Site::create(&context.dir, context.seed)?;
    let servers = servers::web_servers(&context.dir, &site)?;
    let replicas = servers.iter().map(|server| (server.name, server.address));
    let config = Config::of(Service::new("web", "http1", replicas)?);
    let appliance = Appliance::run(&context.dir, &config)?;
    let table = check(&appliance, &site, Look::AfterEach)?;
    if context.write {
        write_between_markers("http-table.md", "table", &table)?;
    }
    Ok(())
}

/// When to look who differed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// After each request, which waits until all replicas have answered it.
    AfterEach,
    /// Only at the end, whether anybody lost its vote.
    AtEnd,
}

/// Sends all of the table to the first service, whose replicas serve `site`. Returns what came of it.
pub(crate) fn check(appliance: &impl Watched, site: &Site, look: Look) -> CaseResult<String> {
    let rows = requests::rows(site, &last_modified(appliance.address())?);
    ensure!(rows.len() >= 60, "the table has only {} rows", rows.len());
    let mut table = String::from(
        "| request | answered by | status | bytes | dissent |\n|---|---|---|---:|---|\n",
    );
    let mut wrong = Vec::new();
    for row in &rows {
        let (outcome, dissent) = match look {
            Look::AfterEach => {
                let before = appliance.status()?.disputes_total();
                let outcome = ask(appliance.address(), row);
                (outcome, dissent(&appliance.settled()?, before))
            }
            Look::AtEnd => (ask(appliance.address(), row), String::new()),
        };
        match outcome.and_then(|responses| judge(row, &responses).map(|by| (responses, by))) {
            Ok((responses, by)) => add_line(&mut table, row, &responses, by, &dissent),
            Err(halt) => {
                let _ = writeln!(table, "| {} | WRONG: {halt} | | | {dissent} |", row.name);
                wrong.push(format!("{}: {halt}", row.name));
            }
        }
    }
    println!("{table}");
    ensure!(wrong.is_empty(), "{} rows are wrong:\n{}", wrong.len(), wrong.join("\n"));
    let status = appliance.settled()?;
    ensure!(status.all_voting(), "a client's requests cost a replica its vote: {:#}", status.0);
    println!("note: {} requests, each answered as the RFCs want", rows.len());
    Ok(table)
}

/// The `Last-Modified` of `hello.txt`, as the service gives it.
fn last_modified(address: SocketAddr) -> CaseResult<String> {
    let asked = [Asked { method: "HEAD", version_1_1: true }];
    let request = b"HEAD /hello.txt HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n";
    let (bytes, end) = net::exchange(address, request, ROW_LIMIT)?;
    let responses = http_check::judge(&bytes, &asked, end == net::End::Closed)
        .during("asking for Last-Modified")?;
    match responses.first().and_then(|response| response.field("last-modified")) {
        Some(modified) => Ok(modified.to_owned()),
        None => Err(Halt::Fail("no Last-Modified with a file".to_owned())),
    }
}

/// Sends a row's requests on one connection and reads what comes back.
fn ask(address: SocketAddr, row: &Row) -> CaseResult<Vec<Response>> {
    let asked: Vec<Asked<'_>> =
        row.asked.iter().map(|&(method, version_1_1)| Asked { method, version_1_1 }).collect();
    let mut stream = net::connect(address, ROW_LIMIT)?;
    let mut bytes = Vec::new();
    let mut end = net::End::Open;
    for (number, part) in row.parts.iter().enumerate() {
        let last = number + 1 == row.parts.len();
        let mut writer = stream.try_clone()?;
        let (more, ended) = std::thread::scope(|scope| {
            // Written beside reading: a server may echo before it has seen all. It may also refuse and
            // close, and what it said then counts, so that a failing write is no failure.
            scope.spawn(move || writer.write_all(part));
            net::read_until(&mut stream, ROW_LIMIT, |more| match last {
                // Rows with large answers ask for the connection to be closed: no need to look inside.
                true => more.len() < 64 * 1024 && http_check::is_complete(more, &asked),
                false => more.ends_with(b"\r\n\r\n"),
            })
        });
        bytes.extend_from_slice(&more);
        end = ended;
    }
    ensure!(end != net::End::Reset, "the connection was reset after {} bytes", bytes.len());
    http_check::judge(&bytes, &asked, end == net::End::Closed).map_err(|violation| {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(400)]).into_owned();
        Halt::Fail(format!("{violation}; the answer begins {shown:?}"))
    })
}

/// Compares what came with what the row expects, and says who answered.
fn judge(row: &Row, responses: &[Response]) -> CaseResult<Answered> {
    ensure!(!responses.is_empty(), "no response");
    let by_appliance = responses.iter().any(is_the_appliances_own);
    let by = if by_appliance { Answered::Appliance } else { Answered::Quorum };
    ensure!(
        row.may_refuse || by == Answered::Quorum,
        "the appliance refused it: {:?}",
        responses[0]
    );
    ensure!(
        by == Answered::Appliance || responses.len() == row.asked.len(),
        "{} responses to {} requests",
        responses.len(),
        row.asked.len()
    );
    for response in responses {
        ensure!(
            row.statuses.contains(&response.status),
            "status {} is none of {:?}; {:?}",
            response.status,
            row.statuses,
            String::from_utf8_lossy(&response.body[..response.body.len().min(200)])
        );
        if let (Some(body), false) = (&row.body, is_the_appliances_own(response)) {
            ensure!(
                sha256(&response.body) == sha256(body),
                "{} bytes with SHA-256 {} and not {} bytes with {}",
                response.body.len(),
                sha256(&response.body),
                body.len(),
                sha256(body)
            );
        }
    }
    Ok(by)
}

/// Whether the gateways answered, each alike, in place of their replicas. They then say after the reason
/// phrase why, in the body: `400 Bad Request: two Host fields`.
fn is_the_appliances_own(response: &Response) -> bool {
    let body = String::from_utf8_lossy(&response.body);
    response.status >= 400
        && body.starts_with(&format!("{} ", response.status))
        && body.lines().next().is_some_and(|line| line.contains(": "))
}

/// The replicas that differed in a dispute since there were `before`.
fn dissent(status: &Status, before: u64) -> String {
    let mut names = Vec::new();
    for dispute in status.disputes_after(before) {
        println!("{dispute}");
        names.extend(dispute["replica_name"].as_str());
    }
    names.dedup();
    names.join(", ")
}

fn add_line(table: &mut String, row: &Row, responses: &[Response], by: Answered, dissent: &str) {
    let by = match by {
        Answered::Quorum => "quorum",
        Answered::Appliance => "appliance error",
    };
    let statuses: Vec<String> = responses.iter().map(|r| r.status.to_string()).collect();
    let status = match (statuses.len(), statuses.iter().all(|status| *status == statuses[0])) {
        (1, _) | (_, false) => statuses.join(" "),
        (count, true) => format!("{count} × {}", statuses[0]),
    };
    let bytes: usize = responses.iter().map(|response| response.body.len()).sum();
    let _ = writeln!(table, "| {} | {by} | {status} | {bytes} | {dissent} |", row.name);
}
