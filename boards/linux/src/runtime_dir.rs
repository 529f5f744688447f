//! The directory in which running appliances of one user are found: one Unix socket for each.
//!
//! `<dir>/<name>.sock` is the monitor of the appliance `<name>`, `<name>.control` its supervisor; a demo also has
//! `<name>.faults`.
//! Whoever can write the directory could pass for an appliance, so it must belong to the user
//! and be closed to all others.

use std::env;
use std::fs::{self, DirBuilder};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest answer to [`ask`] that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 4096;
/// Ending of the monitor's socket.
pub const STATUS: &str = "sock";
/// Ending of the supervisor's socket.
pub const CONTROL: &str = "control";
/// Ending of the socket through which a demo takes faults.
pub const FAULTS: &str = "faults";

/// Longest path of a Unix socket in bytes, less its closing zero (`sun_path`, unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// The directory used if none is named: `$XDG_RUNTIME_DIR/resh`, or `/tmp/resh-<uid>` without
/// that variable. It is made with mode 0700 if it is not there.
///
/// # Errors
/// If it cannot be made, or is not safe to use: see [`prepare`].
pub fn default_dir() -> io::Result<PathBuf> {
    let dir = default_path();
    prepare(&dir)?;
    Ok(dir)
}

fn default_path() -> PathBuf {
    match env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
        Some(base) if base.is_absolute() => base.join("resh"),
        _ => PathBuf::from(format!("/tmp/resh-{}", rustix::process::geteuid().as_raw())),
    }
}

/// `dir`, or the default one if there is none, made and checked.
///
/// # Errors
/// As [`prepare`].
pub fn resolve(dir: Option<&Path>) -> io::Result<PathBuf> {
    match dir {
        Some(dir) => prepare(dir).map(|()| dir.to_path_buf()),
        None => default_dir(),
    }
}

/// Makes `dir` with mode 0700 if it is not there, and checks that it belongs to this user and nobody
/// else may do anything in it.
///
/// # Errors
/// If it cannot be made, is no directory (a symbolic link is none), or is not safe.
pub fn prepare(dir: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(named(dir, &error));
        }
        _ => {}
    }
    let is = fs::symlink_metadata(dir).map_err(|error| named(dir, &error))?;
    let unsafe_because = |why: String| {
        let why = format!("runtime directory {}: {why}", dir.display());
        Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
    };
    if !is.is_dir() {
        return unsafe_because("is not a directory".to_owned());
    }
    let user = rustix::process::geteuid().as_raw();
    if is.uid() != user {
        return unsafe_because(format!("belongs to user {}, not to {user}", is.uid()));
    }
    if is.mode() & 0o077 != 0 {
        let mode = is.mode() & 0o777;
        return unsafe_because(format!("has mode {mode:04o}; it must be 0700"));
    }
    Ok(())
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The path of a socket of the appliance `name`: `ending` is [`STATUS`], [`CONTROL`] or [`FAULTS`].
///
/// # Errors
/// If the path would be too long for a Unix socket.
pub fn socket_path(dir: &Path, name: &str, ending: &str) -> io::Result<PathBuf> {
    let path = dir.join(format!("{name}.{ending}"));
    let len = path.as_os_str().len();
    if len > SOCKET_PATH_BYTES_MAX {
        let why = format!(
            "{}: {len} bytes are too long for a Unix socket, which takes {SOCKET_PATH_BYTES_MAX}; \
             choose a shorter --runtime-dir",
            path.display()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    Ok(path)
}

/// Listens at `path`. A socket that a dead process left there is replaced.
///
/// # Errors
/// [`io::ErrorKind::AddrInUse`] if a living process listens there.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    match UnixStream::connect(path) {
        Ok(_) => {
            let why = format!("{}: an appliance of this name runs already", path.display());
            return Err(io::Error::new(io::ErrorKind::AddrInUse, why));
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
        Err(_) => {}
    }
    UnixListener::bind(path).map_err(|error| named(path, &error))
}

/// The names of all appliances in `dir` that have a socket with this ending and answer there, sorted.
///
/// # Errors
/// If the directory cannot be read.
pub fn running(dir: &Path, ending: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(|error| named(dir, &error))? {
        let entry = entry?;
        let path = entry.path();
        if !entry.file_type()?.is_socket() || path.extension().is_none_or(|e| e != ending) {
            continue;
        }
        let Some(name) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
        if UnixStream::connect(&path).is_ok() {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// The socket of the appliance `name`, or of the only one there is.
///
/// # Errors
/// A text for the operator: none runs, not this one, or more than one and no name given.
pub fn find(dir: &Path, name: Option<&str>, ending: &str) -> Result<PathBuf, String> {
    let running = running(dir, ending).map_err(|error| error.to_string())?;
    let what = if ending == FAULTS { "demo" } else { "appliance" };
    let place = dir.display();
    let path = |name: &str| socket_path(dir, name, ending).map_err(|error| error.to_string());
    match (name, &running[..]) {
        (Some(name), all) if all.iter().any(|a| a == name) => path(name),
        (Some(name), []) => Err(format!("no {what} `{name}` runs here ({place} has none)")),
        (Some(name), all) => {
            Err(format!("no {what} `{name}` runs here; there is: {}", all.join(", ")))
        }
        (None, []) => Err(format!("no {what} runs here ({place} has none)")),
        (None, [only]) => path(only),
        (None, all) => Err(format!("more than one {what} runs here; name one: {}", all.join(", "))),
    }
}

/// Says a line with these words to who listens at `socket`, and returns what he did.
///
/// # Errors
/// A text for the operator: why he did not, or that he does not answer within `timeout`.
pub fn ask(socket: &Path, words: &[&str], timeout: Duration) -> Result<String, String> {
    let exchange = || -> io::Result<String> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        let words: Vec<_> =
            words.iter().map(|word| word.replace(char::is_whitespace, "?")).collect();
        writeln!(stream, "{}", words.join(" "))?;
        let mut answer = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = exchange().map_err(|error| format!("{}: {error}", socket.display()))?;
    match answer.trim_end().split_once(' ') {
        Some(("ok", done)) => Ok(done.to_owned()),
        Some(("error", why)) => Err(why.to_owned()),
        _ => Err(format!("{}: no answer", socket.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A directory of the test's own, gone afterwards.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let dir = env::temp_dir().join(format!("resh-rt-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&dir);
            prepare(&dir).unwrap();
            Self(dir)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_directory_is_made_closed_to_others() {
        let scratch = Scratch::new("made");
        let dir = scratch.0.join("inner");
        prepare(&dir).unwrap();
        prepare(&dir).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_directory_open_to_others_is_refused() {
        let scratch = Scratch::new("open");
        let dir = scratch.0.join("inner");
        prepare(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o750)).unwrap();
        let error = prepare(&dir).unwrap_err();
        assert!(error.to_string().contains("has mode 0750"), "{error}");
    }

    #[test]
    fn a_link_or_a_file_is_refused() {
        let scratch = Scratch::new("link");
        fs::write(scratch.0.join("file"), "").unwrap();
        symlink(&scratch.0, scratch.0.join("link")).unwrap();
        for name in ["file", "link"] {
            let error = prepare(&scratch.0.join(name)).unwrap_err();
            assert!(error.to_string().contains("is not a directory"), "{error}");
        }
        assert!(prepare(&scratch.0.join("absent/inner")).is_err());
    }

    #[test]
    fn sockets_are_found_and_stale_ones_replaced() {
        let scratch = Scratch::new("find");
        let dir = &scratch.0;
        assert!(find(dir, None, STATUS).unwrap_err().contains("no appliance runs here"));
        let a = socket_path(dir, "a.b", STATUS).unwrap();
        drop(listen(&a).unwrap());
        assert!(find(dir, None, STATUS).is_err(), "nobody listens any more");
        let _a = listen(&a).unwrap();
        assert_eq!(listen(&a).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(find(dir, None, STATUS).unwrap(), a);
        let b = socket_path(dir, "b", STATUS).unwrap();
        let _b = listen(&b).unwrap();
        assert!(find(dir, None, STATUS).unwrap_err().ends_with("name one: a.b, b"));
        assert_eq!(find(dir, Some("b"), STATUS).unwrap(), b);
        assert!(find(dir, Some("c"), STATUS).unwrap_err().ends_with("there is: a.b, b"));
        assert!(find(dir, None, FAULTS).unwrap_err().contains("no demo runs here"));
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_an_error() {
        let dir = PathBuf::from("/tmp").join("x".repeat(100));
        assert!(socket_path(&dir, "demo", STATUS).unwrap_err().to_string().contains("too long"));
    }
}
