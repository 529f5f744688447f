//! Clients that people really use, unmodified, in front of nginx, lighttpd and apache2.

use std::fs;
use std::process::Command;
use std::time::Duration;

use resh_tests::appliance::{Appliance, Config, Service};
use resh_tests::harness::{CaseResult, Context, Halt};
use resh_tests::servers::{self, Server};
use resh_tests::site::{PAGE_ASSETS, Site, sha256};
use resh_tests::{ensure, process, web};

struct Shop {
    site: Site,
    appliance: Appliance,
    _servers: Vec<Server>,
}

impl Shop {
    fn open(context: &Context) -> CaseResult<Self> {
        let site = Site::create(&context.dir, context.seed)?;
        let servers = servers::web_servers(&context.dir, &site)?;
        let replicas = servers.iter().map(|server| (server.name, server.address));
        let config = Config::of(Service::new("web", "http1", replicas)?);
        let appliance = Appliance::run(&context.dir, &config)?;
        Ok(Shop { site, appliance, _servers: servers })
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.appliance.address)
    }

    /// Afterwards all replicas vote, and none was out of step.
    fn nobody_differed(&self) -> CaseResult {
        let status = self.appliance.settled()?;
        ensure!(status.all_voting(), "a replica lost its vote: {:#}", status.0);
        ensure!(status.total("divergences") == 0, "replicas differed: {:#}", status.0);
        Ok(())
    }
}

pub(crate) fn curl(context: &Context) -> CaseResult {
    let program = process::need_program("curl", "curl")?;
    let shop = Shop::open(context)?;
    let curl = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        process::output(command.args(["--silent", "--show-error", "--fail"]).args(arguments))
    };
    let page = curl(&[&shop.url("")])?;
    ensure!(page.as_bytes() == shop.site.bytes("index.html"), "another page: {page}");
    let compressed = curl(&["--compressed", &shop.url("")])?;
    ensure!(compressed == page, "another page with --compressed: {compressed}");
    let old = curl(&["--http1.0", &shop.url("hello.txt")])?;
    ensure!(old == "hello, quorum\n", "with HTTP/1.0: {old}");
    let posted = curl(&["--data", "a=1&b=2", &shop.url("cgi-bin/echo")])?;
    ensure!(posted == "a=1&b=2", "posted: {posted}");
    let followed = curl(&["--location", &shop.url("cgi-bin/redirect")])?;
    ensure!(followed == page, "after a redirection: {followed}");

    let file = shop.site.root.join("1m.bin").display().to_string();
    let sum = sha256(&shop.site.bytes("1m.bin"));
    let chunked = ["--header", "Transfer-Encoding: chunked", "--header", "Expect: 100-continue"];
    let upload = ["--request", "POST", "--upload-file", &file, &shop.url("cgi-bin/sha256")];
    let answer = curl(&[&chunked[..], &upload[..]].concat())?;
    ensure!(answer.trim() == sum, "1 MiB posted in chunks: {answer}");
    let part = shop.site.bytes("1m.bin")[100..=999].to_vec();
    let out = context.dir.join("part").display().to_string();
    curl(&["--range", "100-999", "--output", &out, &shop.url("1m.bin")])?;
    ensure!(fs::read(&out)? == part, "another range");
    curl(&["--continue-at", "900", "--output", &out, &shop.url("1m.bin")])?;
    ensure!(fs::read(&out)?[900..] == shop.site.bytes("1m.bin")[900..], "not resumed rightly");
    shop.nobody_differed()
}

pub(crate) fn wget(context: &Context) -> CaseResult {
    let program = process::need_program("wget", "wget")?;
    let shop = Shop::open(context)?;
    let out = context.dir.join("mirror");
    let mut command = Command::new(program);
    command.args(["--quiet", "--recursive", "--page-requisites", "--no-host-directories"]);
    command.args(["--execute", "robots=off", "--directory-prefix"]).arg(&out);
    process::output(command.arg(shop.url("page/index.html")))?;
    for n in 0..PAGE_ASSETS {
        let path = format!("page/{n}.{}", ["svg", "js", "css"][n % 3]);
        ensure!(fs::read(out.join(&path))? == shop.site.bytes(&path), "{path} differs");
    }
    shop.nobody_differed()
}

pub(crate) fn python_requests(context: &Context) -> CaseResult {
    let Some(python) = process::python_with("requests") else {
        return Err(Halt::Skip(
            "Python has no `requests` (Debian package python3-requests)".into(),
        ));
    };
    let shop = Shop::open(context)?;
    let script = context.dir.join("client.py");
    fs::write(&script, PYTHON)?;
    let mut command = Command::new(python);
    let sum = sha256(&shop.site.bytes("1m.bin"));
    let printed = process::output(command.arg(script).arg(shop.url("")).arg(sum))?;
    ensure!(printed == "all right\n", "the script printed: {printed}");
    shop.nobody_differed()
}

const PYTHON: &str = r#"
import hashlib, sys, requests
base, sum = sys.argv[1:]
session = requests.Session()
session.trust_env = False
page = session.get(base)
assert page.status_code == 200 and "quorum" in page.text, page.text
assert session.get(base + "data.json").json() == {"agreed": True}
for _ in range(20):
    whole = session.get(base + "1m.bin").content
    assert hashlib.sha256(whole).hexdigest() == sum
def pieces():
    for at in range(0, len(whole), 9999):
        yield whole[at:at + 9999]
assert session.post(base + "cgi-bin/sha256", data=pieces()).text.strip() == sum
assert session.post(base + "cgi-bin/echo", data={"a": "1"}).text == "a=1"
assert session.put(base + "cgi-bin/method").text == "PUT \n"
assert session.get(base + "no-such-file").status_code == 404
assert session.get(base + "forbidden.txt").status_code == 403
assert session.get(base + "cgi-bin/redirect").url == base + "index.html"
session.get(base + "cgi-bin/cookie")
assert session.get(base + "cgi-bin/cookie").text == "basket=7\n"
fresh = session.get(base + "hello.txt", headers={"If-Modified-Since": page.headers["Date"]})
assert fresh.status_code in (200, 304), fresh.status_code
print("all right")
"#;

pub(crate) fn wrk(context: &Context) -> CaseResult {
    let shop = Shop::open(context)?;
    for (connections, header) in [(64, None), (64, Some("Connection: close")), (1, None)] {
        let address = shop.appliance.address;
        let report = web::wrk(address, "/1k.bin", connections, Duration::from_secs(3), header)?;
        let errors = &report.errors;
        ensure!(errors.is_empty(), "{connections} connections, {header:?}: {errors:?}");
        ensure!(report.requests > 100, "only {} requests", report.requests);
        println!(
            "note: {} requests in 3 s, {connections} connections, {header:?}",
            report.requests
        );
    }
    shop.nobody_differed()
}

pub(crate) fn chromium(context: &Context) -> CaseResult {
    let program = process::need_program("chromium", "chromium")?;
    let shop = Shop::open(context)?;
    for round in 0..3 {
        let mut command = Command::new(&program);
        command
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"])
            .args(["--no-first-run", "--disable-background-networking"])
            .args(["--disable-component-update", "--disable-sync", "--disable-extensions"])
            .args(["--disable-dev-shm-usage", "--no-proxy-server", "--timeout=30000"])
            .arg(format!(
                "--user-data-dir={}",
                context.dir.join(format!("profile{round}")).display()
            ))
            .env("HOME", &context.dir)
            .args(["--dump-dom", &shop.url("page/index.html")]);
        let dom = process::output(&mut command)?;
        let wanted = format!("{PAGE_ASSETS} assets whole");
        ensure!(dom.contains(&wanted), "the page shows not `{wanted}` but:\n{dom}");
    }
    shop.nobody_differed()
}
