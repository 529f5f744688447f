//! Runs named cases, each in a process of its own, with a time limit.
//!
//! A case is a function. The runner executes this very program again with `--case NAME`, so that a case
//! that hangs or panics ends alone, and adopts and ends whatever processes a case leaves behind.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use crate::process;

/// Exit status by which the process of a case says that the case was skipped.
pub const SKIPPED: u8 = 77;
/// How much of a failed case's log is shown.
const SHOWN_LOG_BYTES: usize = 12_000;

/// Why a case ended without passing.
#[derive(Debug)]
pub enum Halt {
    /// What the case needs is not here; the text says what.
    Skip(String),
    /// The system under test did something wrong; the text says what.
    Fail(String),
}

/// What a case returns.
pub type CaseResult<T = ()> = Result<T, Halt>;

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Halt::Skip(why) => write!(f, "not run: {why}"),
            Halt::Fail(why) => f.write_str(why),
        }
    }
}

impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Self {
        Halt::Fail(error.to_string())
    }
}

impl From<serde_json::Error> for Halt {
    fn from(error: serde_json::Error) -> Self {
        Halt::Fail(format!("JSON: {error}"))
    }
}

impl From<String> for Halt {
    fn from(why: String) -> Self {
        Halt::Fail(why)
    }
}

/// Fails the case with a formatted text unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::harness::Halt::Fail(format!($($text)+)));
        }
    };
}

/// Adds to an error what was being done.
pub trait During<T> {
    /// Turns any error into a failure that begins with `what`.
    fn during(self, what: impl fmt::Display) -> CaseResult<T>;
}

impl<T, E: fmt::Display> During<T> for Result<T, E> {
    fn during(self, what: impl fmt::Display) -> CaseResult<T> {
        self.map_err(|error| Halt::Fail(format!("{what}: {error}")))
    }
}

/// One named case.
pub struct Case {
    /// `theme.what_it_shows`.
    pub name: &'static str,
    /// After this many seconds the case counts as failed and is ended.
    pub limit_s: u64,
    /// Seconds for which the case goes on with what it does, beyond `limit_s`; `RESH_TEST_SECONDS` takes
    /// their place. 0 if the case ends by itself.
    pub lasts_s: u64,
    /// The case itself.
    pub run: fn(&Context) -> CaseResult,
}

/// What a case gets.
pub struct Context {
    /// An empty directory of the case's own, removed after the case unless it failed.
    pub dir: PathBuf,
    /// Seed of everything random in the case.
    pub seed: u64,
    /// Whether results may be written to `docs/`.
    pub write: bool,
}

/// Seconds that a case should last: `default_s`, unless the environment variable `RESH_TEST_SECONDS`
/// asks for less (a quick run) or more (a soak).
pub fn duration(default_s: u64) -> Duration {
    let asked = std::env::var("RESH_TEST_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(asked.unwrap_or(default_s))
}

impl Case {
    fn limit(&self) -> Duration {
        let lasts = if self.lasts_s > 0 { duration(self.lasts_s) } else { Duration::ZERO };
        Duration::from_secs(self.limit_s) + lasts
    }
}

/// The root of the source tree.
pub fn project_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").to_path_buf()
}

/// Replaces what stands in `docs/<file>` between the markers `<!-- <marker> -->` and `<!-- end -->`.
///
/// # Errors
/// If the file has no such markers, or cannot be read or written.
pub fn write_between_markers(file: &str, marker: &str, text: &str) -> io::Result<()> {
    let path = project_root().join("docs").join(file);
    let old = fs::read_to_string(&path)?;
    let missing = || io::Error::other(format!("{file} has no markers for {marker}"));
    let opening = format!("<!-- {marker} -->\n");
    let start = old.find(&opening).ok_or_else(missing)? + opening.len();
    let end = start + old[start..].find("<!-- end -->").ok_or_else(missing)?;
    fs::write(&path, format!("{}{text}{}", &old[..start], &old[end..]))
}

struct Options {
    filters: Vec<String>,
    except: Option<String>,
    case: Option<String>,
    dir: Option<PathBuf>,
    list: bool,
    write: bool,
}

impl Options {
    fn from_args() -> Result<Self, String> {
        let mut options = Options {
            filters: Vec::new(),
            except: None,
            case: None,
            dir: None,
            list: false,
            write: false,
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--list" => options.list = true,
                "--write" => options.write = true,
                "--except" => options.except = args.next(),
                "--case" => options.case = args.next(),
                "--dir" => options.dir = args.next().map(PathBuf::from),
                text if text.starts_with('-') => return Err(format!("unknown option {text}")),
                text => options.filters.push(text.to_owned()),
            }
        }
        Ok(options)
    }
}

/// The whole of `main`: runs the cases that the arguments choose.
pub fn main(cases: &[Case]) -> ExitCode {
    let options = match Options::from_args() {
        Ok(options) => options,
        Err(why) => {
            eprintln!(
                "{why}\nusage: system-tests [--list] [--write] [--except PREFIX] [part of a name]..."
            );
            return ExitCode::from(2);
        }
    };
    if let Some(name) = &options.case {
        return run_here(cases, name, &options);
    }
    let chosen: Vec<&Case> = cases
        .iter()
        .filter(|case| {
            options.filters.is_empty() || options.filters.iter().any(|f| case.name.contains(&**f))
        })
        .filter(|case| {
            options.except.as_ref().is_none_or(|prefix| !case.name.starts_with(&**prefix))
        })
        .collect();
    if options.list {
        for case in &chosen {
            println!("{} (at most {} s)", case.name, case.limit().as_secs());
        }
        return ExitCode::SUCCESS;
    }
    run_all(&chosen, options.write)
}

/// Runs one case in this process, and says by the exit status how it ended.
fn run_here(cases: &[Case], name: &str, options: &Options) -> ExitCode {
    let Some(case) = cases.iter().find(|case| case.name == name) else {
        eprintln!("no case is called {name}");
        return ExitCode::from(2);
    };
    let context = Context {
        dir: options.dir.clone().unwrap_or_else(std::env::temp_dir),
        seed: crate::rng::seed(),
        write: options.write,
    };
    match (case.run)(&context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Halt::Skip(why)) => {
            println!("{why}");
            ExitCode::from(SKIPPED)
        }
        Err(Halt::Fail(why)) => {
            println!("FAILED: {why}");
            ExitCode::FAILURE
        }
    }
}

enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

fn run_all(cases: &[&Case], write: bool) -> ExitCode {
    process::adopt_orphans();
    let base = std::env::temp_dir().join(format!("resh-tests-{}", std::process::id()));
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    println!("seed {} (RESH_SEED sets another)", crate::rng::seed());
    for case in cases {
        print!("{} ... ", case.name);
        let _ = io::stdout().flush();
        let started = Instant::now();
        let dir = base.join(case.name);
        let outcome =
            run_apart(case, &dir, write).unwrap_or_else(|e| Outcome::Failed(e.to_string()));
        process::end_orphans();
        let seconds = started.elapsed().as_secs_f64();
        match outcome {
            Outcome::Passed => {
                passed += 1;
                println!("ok ({seconds:.1} s)");
                print!("{}", notes(&dir));
                let _ = fs::remove_dir_all(&dir);
            }
            Outcome::Skipped(why) => {
                skipped += 1;
                println!("not run: {why}");
                let _ = fs::remove_dir_all(&dir);
            }
            Outcome::Failed(log) => {
                failed += 1;
                println!("FAILED ({seconds:.1} s); its files are in {}", dir.display());
                println!("{}", indent(&log));
            }
        }
    }
    let _ = fs::remove_dir(&base);
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    ExitCode::from(u8::from(failed > 0))
}

/// Runs one case in a process of its own.
fn run_apart(case: &Case, dir: &Path, write: bool) -> io::Result<Outcome> {
    fs::create_dir_all(dir)?;
    let log_path = dir.join("case.log");
    let log = File::create(&log_path)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--case", case.name, "--dir"]).arg(dir);
    if write {
        command.arg("--write");
    }
    let mut child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
    let deadline = Instant::now() + case.limit();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let log = String::from_utf8_lossy(&fs::read(&log_path)?).into_owned();
    Ok(match status.map(|status| status.code()) {
        Some(Some(0)) => Outcome::Passed,
        Some(Some(code)) if code == i32::from(SKIPPED) => {
            Outcome::Skipped(log.lines().last().unwrap_or("no reason given").to_owned())
        }
        Some(_) => Outcome::Failed(tail(&log)),
        None => {
            Outcome::Failed(format!("{}\nno end after {} s", tail(&log), case.limit().as_secs()))
        }
    })
}

/// The lines of a passed case that are worth showing: those that begin with `note: `.
fn notes(dir: &Path) -> String {
    let log = fs::read(dir.join("case.log")).unwrap_or_default();
    String::from_utf8_lossy(&log)
        .lines()
        .filter_map(|line| line.strip_prefix("note: "))
        .map(|line| format!("    {line}\n"))
        .collect()
}

fn tail(log: &str) -> String {
    let start = log.len().saturating_sub(SHOWN_LOG_BYTES);
    let start = (start..=log.len()).find(|&at| log.is_char_boundary(at)).unwrap_or(0);
    log[start..].to_owned()
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    | {line}")).collect::<Vec<_>>().join("\n")
}
