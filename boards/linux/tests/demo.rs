//! The replicas of a demo and the commands that reach them, without an appliance in front.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const RESH: &str = env!("CARGO_BIN_EXE_resh");

/// A runtime directory of the test's own, gone afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("resh-demo-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        resh::runtime_dir::prepare(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn resh(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(RESH).args(arguments).arg("--runtime-dir").arg(dir).output().unwrap()
}

fn keeper(dir: &Path, replicas: usize) -> (Child, Vec<SocketAddr>) {
    let mut keeper = Command::new(RESH)
        .arg("__demo-keeper")
        .arg(dir.join("test.faults"))
        .arg(replicas.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let addresses = line.strip_prefix("ready ").unwrap().split_whitespace();
    (keeper, addresses.map(|address| address.parse().unwrap()).collect())
}

fn get(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET /hello.txt HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn is_right(address: SocketAddr) -> bool {
    get(address).is_ok_and(|answer| answer.ends_with("\r\n\r\nHello from a quorum.\n"))
}

#[test]
fn faults_reach_the_replica_they_are_for_and_all_end_with_the_demo() {
    let scratch = Scratch::new("faults");
    let dir = &scratch.0;
    let began = Instant::now();
    let (mut keeper, addresses) = keeper(dir, 3);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(addresses.iter().copied().all(is_right));
    let fault = |replica, fault| {
        let output = resh(dir, &["fault", replica, fault]);
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };

    assert_eq!(fault("chunks", "corrupt"), (Some(0), "replica chunks (1): corrupt\n".into()));
    assert_eq!(addresses.iter().map(|a| is_right(*a)).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(fault("1", "clear").0, Some(0));
    assert!(is_right(addresses[1]));

    assert_eq!(fault("2", "kill").0, Some(0));
    assert!(get(addresses[2]).is_err());
    let (code, text) = fault("2", "slow");
    assert!(code == Some(1) && text.contains("`resh fault events clear` starts it"), "{text}");
    assert_eq!(fault("events", "clear").0, Some(0));
    assert!(is_right(addresses[2]), "it is back at its address");

    let (code, text) = fault("nobody", "kill");
    assert!(code == Some(1) && text.contains("there is: threads, chunks, events"), "{text}");
    let (code, text) = fault("0", "melt");
    assert!(code == Some(1) && text.contains("no fault is called `melt`"), "{text}");

    drop(keeper.stdin.take());
    assert!(keeper.wait().unwrap().success());
    assert!(addresses.iter().all(|address| get(*address).is_err()));
    assert!(!dir.join("test.faults").exists());
}

#[test]
fn what_does_not_run_is_said_so() {
    let scratch = Scratch::new("nothing");
    for arguments in [&["status"][..], &["status", "web", "--json"], &["fault", "0", "kill"]] {
        let output = resh(&scratch.0, arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(text.contains("runs here") && output.stdout.is_empty(), "{text}");
    }
}
