//! Running programs.

use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// `cargo` in the root of the source tree. What `cargo run` told this program is kept from it.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(resh_tests::harness::project_root());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => resh_tests::harness::project_root().join("target"),
    }
}

/// Runs a command to its end and says whether it succeeded.
///
/// # Errors
/// If it cannot be executed.
pub(crate) fn succeeds(command: &mut Command) -> io::Result<bool> {
    println!("$ {}", shown(command));
    Ok(command.stdin(Stdio::null()).status()?.success())
}

/// Runs a command, hands each line of its standard output to `each`, and says whether it succeeded.
///
/// # Errors
/// If it cannot be executed.
pub(crate) fn lines(command: &mut Command, mut each: impl FnMut(&str)) -> io::Result<bool> {
    println!("$ {}", shown(command));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            each(&String::from_utf8_lossy(&line?));
            io::stdout().flush()?;
        }
    }
    Ok(child.wait()?.success())
}

fn shown(command: &Command) -> String {
    let program = PathBuf::from(command.get_program());
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy());
    std::iter::once(name.into()).chain(arguments).collect::<Vec<_>>().join(" ")
}
