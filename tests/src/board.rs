//! The boards on which RESH runs on seL4: what building an image needs to know, and the emulator's command line.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::harness::{CaseResult, During, project_root};
use crate::process::need_program;

/// What `boards/<name>/board.toml` says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// Its name, which is also that of its directory, and that of the SDK for it.
    #[serde(skip)]
    pub name: String,
    /// The packages whose programs the domains run.
    pub packages: Vec<String>,
    /// Where the image lies in memory when it starts.
    pub load_address: u64,
    /// How QEMU emulates it.
    pub qemu: Qemu,
}

/// How QEMU emulates a board.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Qemu {
    /// The emulator.
    pub program: String,
    /// The Debian package that has it.
    pub debian_package: String,
    /// The argument of `-machine`.
    pub machine: String,
    /// The argument of `-cpu`.
    pub cpu: String,
    /// The argument of `-m`.
    pub memory: String,
    /// The arguments that add the network card, whose other end is `net0`.
    pub network: Vec<String>,
}

/// One run of an image.
#[derive(Clone, Debug)]
pub struct Boot<'a> {
    /// The image.
    pub image: &'a Path,
    /// Where the serial console is.
    pub console: Console,
    /// From a port of this machine, on 127.0.0.1, to an address of the appliance.
    pub forward: Vec<(u16, SocketAddr)>,
    /// Whether time is counted in instructions instead of seconds, so that a run can be repeated exactly.
    pub icount: bool,
    /// Further arguments.
    pub extra: &'a [String],
}

/// Where the serial console of a machine is.
#[derive(Clone, Debug)]
pub enum Console {
    /// The terminal; ctrl-a x ends QEMU.
    Terminal,
    /// Standard input and output, byte for byte.
    Stdio,
    /// A file; nothing can be typed.
    File(PathBuf),
}

impl Board {
    /// The directory of the board called `name`.
    pub fn dir_of(name: &str) -> PathBuf {
        project_root().join("boards").join(name)
    }

    /// Reads the description of the board called `name`.
    ///
    /// # Errors
    /// If there is no such board, or its file is wrong.
    pub fn load(name: &str) -> CaseResult<Self> {
        let path = Self::dir_of(name).join("board.toml");
        let text = std::fs::read_to_string(&path).during(path.display())?;
        let mut board: Self = toml::from_str(&text).during(path.display())?;
        name.clone_into(&mut board.name);
        Ok(board)
    }

    /// The directory of this board.
    pub fn dir(&self) -> PathBuf {
        Self::dir_of(&self.name)
    }

    /// QEMU, about to run an image.
    ///
    /// # Errors
    /// [`Halt::Skip`](crate::harness::Halt::Skip) if QEMU is not installed.
    pub fn qemu(&self, boot: &Boot<'_>) -> CaseResult<Command> {
        let qemu = &self.qemu;
        let mut command = Command::new(need_program(&qemu.program, &qemu.debian_package)?);
        command.args(["-machine", &qemu.machine, "-cpu", &qemu.cpu, "-m", &qemu.memory]);
        match &boot.console {
            Console::Terminal => command.arg("-nographic"),
            Console::Stdio => {
                command.args(["-display", "none", "-monitor", "none"]).args(["-serial", "stdio"])
            }
            Console::File(path) => command
                .args(["-display", "none", "-monitor", "none", "-serial"])
                .arg(format!("file:{}", path.display())),
        };
        let image = boot.image.display();
        let loader = format!("loader,file={image},addr={:#x},cpu-num=0", self.load_address);
        command.args(["-device", &loader]);
        let mut network = String::from("user,id=net0");
        for (port, address) in &boot.forward {
            network +=
                &format!(",hostfwd=tcp:127.0.0.1:{port}-{}:{}", address.ip(), address.port());
        }
        command.args(["-netdev", &network]).args(&qemu.network);
        if boot.icount {
            command.args(["-icount", "shift=3,sleep=off"]);
            // The time of day would differ from run to run.
            command.args(["-rtc", "base=2026-01-01T00:00:00,clock=vm"]);
        }
        command.args(boot.extra);
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command_line(boot: &Boot<'_>) -> Option<String> {
        let mut board = Board::load("qemu_virt_aarch64").expect("the board's file is right");
        // Any program that is there will do.
        board.qemu.program = "sh".to_owned();
        let command = board.qemu(boot).ok()?;
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        Some(words.join(" "))
    }

    #[test]
    fn ports_are_forwarded_on_the_loopback_only() {
        let mut boot = Boot {
            image: Path::new("/i/loader.img"),
            console: Console::Terminal,
            forward: vec![(8080, ([10, 0, 2, 15], 80).into())],
            icount: false,
            extra: &["-S".to_owned()],
        };
        let line = command_line(&boot).expect("sh is installed");
        assert!(line.contains("loader,file=/i/loader.img,addr=0x70000000,cpu-num=0"), "{line}");
        assert!(line.contains("user,id=net0,hostfwd=tcp:127.0.0.1:8080-10.0.2.15:80 "), "{line}");
        assert!(line.ends_with(" -S") && !line.contains("-icount"), "{line}");
        boot.icount = true;
        assert!(
            command_line(&boot).expect("sh is installed").contains("-icount shift=3,sleep=off")
        );
    }

    #[test]
    fn a_board_that_does_not_exist_is_an_error() {
        assert!(Board::load("no_such_board").is_err());
    }
}
