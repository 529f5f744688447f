//! The appliance under test on seL4: an image that `cargo xtask image` builds, in QEMU.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::appliance::{Status, Watched};
use crate::board::{Board, Boot, Console};
use crate::harness::{CaseResult, During, Halt, SKIPPED, project_root};
use crate::{net, process};

/// The board.
pub const BOARD: &str = "qemu_virt_aarch64";
/// From QEMU's start to three replicas that vote, on a machine that is busy with other things.
const START_LIMIT: Duration = Duration::from_secs(180);
/// How long the monitor may take to answer on the serial console.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// The services' addresses inside the appliance (`resh.toml` of the board), and of those that tests add.
const SERVICES: [SocketAddr; 2] = [address(80), address(81)];

const fn address(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 2, 15)), port)
}

/// Builds an image into `dir` by `cargo xtask image` with these further arguments.
///
/// # Errors
/// [`Halt::Skip`] if something that it needs is not on this machine, [`Halt::Fail`] if it cannot be built.
pub fn image(dir: &Path, arguments: &[&str]) -> CaseResult<PathBuf> {
    let Some(xtask) = std::env::var_os("RESH_XTASK") else {
        return Err(Halt::Skip("it builds images (`cargo xtask test sel4`)".to_owned()));
    };
    let out = dir.join("image");
    let mut command = Command::new(xtask);
    command.arg("image").arg("--out").arg(&out).args(arguments);
    let done = command.current_dir(project_root()).stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    match done.status.code() {
        Some(0) => Ok(out.join("loader.img")),
        Some(code) if code == i32::from(SKIPPED) => Err(Halt::Skip(said.trim().replace('\n', " "))),
        _ => Err(Halt::Fail(format!("{command:?} ended with {}:\n{said}", done.status))),
    }
}

/// The board's own `resh.toml`, with paths that hold anywhere.
///
/// # Errors
/// If it cannot be read.
pub fn board_toml() -> CaseResult<String> {
    let path = Board::dir_of(BOARD).join("resh.toml");
    let text = fs::read_to_string(&path).during(path.display())?;
    let root = project_root().display().to_string();
    Ok(text.replace("\"../../", &format!("\"{root}/")))
}

/// How a machine is started, where it is not as usual.
#[derive(Default)]
pub struct Start {
    /// Further arguments of QEMU.
    pub arguments: Vec<String>,
    /// Time is counted in instructions.
    pub icount: bool,
}

/// A running machine; dropped, it ends.
pub struct Machine {
    /// Where its services listen on this machine: the first, and the second if there is one.
    pub addresses: [SocketAddr; 2],
    /// When it was started.
    pub started: Instant,
    child: Child,
    keyboard: Mutex<ChildStdin>,
    console: Arc<Mutex<Vec<u8>>>,
}

impl Machine {
    /// Starts QEMU with `image`. What comes on the serial console goes to `dir/console.log`, too.
    ///
    /// # Errors
    /// [`Halt::Skip`] if QEMU is not installed.
    pub fn start(dir: &Path, image: &Path, start: &Start) -> CaseResult<Self> {
        let addresses = [net::free_address()?, net::free_address()?];
        let forward = addresses.iter().zip(SERVICES).map(|(here, there)| (here.port(), there));
        let mut command = Board::load(BOARD)?.qemu(&Boot {
            image,
            console: Console::Stdio,
            forward: forward.collect(),
            icount: start.icount,
            extra: &start.arguments,
        })?;
        let errors = File::create(dir.join("qemu.log"))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let started = Instant::now();
        let mut child = command.spawn().during("starting QEMU")?;
        let (Some(keyboard), Some(screen)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Halt::Fail("QEMU has no console".to_owned()));
        };
        let console = Arc::new(Mutex::new(Vec::new()));
        let log = File::create(dir.join("console.log"))?;
        std::thread::spawn({
            let console = console.clone();
            move || record(screen, log, &console)
        });
        Ok(Machine { addresses, started, child, keyboard: keyboard.into(), console })
    }

    /// As [`start`](Self::start), and waits until all three replicas vote.
    ///
    /// # Errors
    /// If they do not; the text has the end of the console.
    pub fn serving(dir: &Path, image: &Path, start: &Start) -> CaseResult<Self> {
        let machine = Self::start(dir, image, start)?;
        machine.wait_status(START_LIMIT, "all voting", Status::all_voting)?;
        Ok(machine)
    }

    /// The process id of QEMU.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What came on the serial console so far.
    pub fn console(&self) -> String {
        let bytes = self.console.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last lines of it.
    pub fn end_of_console(&self) -> String {
        let console = self.console();
        let lines: Vec<&str> = console.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    /// Waits until `text` comes on the console behind the first `from` bytes.
    ///
    /// # Errors
    /// If it does not within `limit`.
    pub fn wait_console(&self, from: usize, text: &str, limit: Duration) -> CaseResult {
        process::wait_until(limit, || self.console().get(from..)?.contains(text).then_some(()))
            .ok_or_else(|| {
                Halt::Fail(format!("no {text:?} on the console:\n{}", self.end_of_console()))
            })
    }

    /// Types a line to the monitor and waits for an answer in which `understood` finds something.
    fn ask<T>(&self, line: &str, understood: impl Fn(&str) -> Option<T>) -> CaseResult<T> {
        let before = self.console().len();
        let typed = format!("{line}\n");
        let mut keyboard = self.keyboard.lock().unwrap_or_else(PoisonError::into_inner);
        keyboard.write_all(typed.as_bytes()).and_then(|()| keyboard.flush()).during("typing")?;
        drop(keyboard);
        process::wait_until(ANSWER_LIMIT, || understood(self.console().get(before..)?))
            .ok_or_else(|| Halt::Fail(format!("no answer to `{line}`:\n{}", self.end_of_console())))
    }

    /// What `status` says to a human, and what else was printed meanwhile.
    ///
    /// # Errors
    /// If the monitor does not answer.
    pub fn status_text(&self) -> CaseResult<String> {
        let before = self.console().len();
        self.ask("status", |answer| answer.contains("sessions").then_some(()))?;
        // The rest of it.
        std::thread::sleep(Duration::from_secs(1));
        Ok(self.console().get(before..).unwrap_or_default().to_owned())
    }

    /// Asks the guests' watchers of their logs for a fault: see `xtask/src/guest/init/common.sh`.
    ///
    /// # Errors
    /// If the request is not answered.
    pub fn fault(&self, guest: &str, kind: &str) -> CaseResult {
        let path = format!("/fault/{guest}/{kind}");
        let response = crate::web::get(self.address(), &path)?;
        crate::ensure!(response.status == 404, "{path}: {}", response.status);
        Ok(())
    }
}

impl Watched for Machine {
    fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Each look costs the machine some time, as all of it goes over the serial line.
    fn pause(&self) -> Duration {
        Duration::from_millis(200)
    }

    fn status(&self) -> CaseResult<Status> {
        self.ask("status json", |answer| {
            let mut objects = answer.lines().filter_map(|line| line.get(line.find("{\"")?..));
            objects.find_map(|text| serde_json::from_str::<Value>(text).ok()).map(Status)
        })
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn record(mut screen: impl Read, mut log: File, console: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = screen.read(&mut buffer) {
        let _ = log.write_all(&buffer[..count]);
        console.lock().unwrap_or_else(PoisonError::into_inner).extend(&buffer[..count]);
    }
}
