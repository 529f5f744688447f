//! `cargo xtask test`: the suites, and what came of them.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use resh_tests::harness::project_root;

use crate::aarch64::{TARGET, Toolchain};
use crate::command::{cargo, lines, succeeds, target_dir};
use crate::image;
use crate::packages;
use crate::problems::{Failure, Problems};

/// A set of tests that is run and counted together.
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    run: fn(&Options) -> io::Result<Tally>,
}

/// All suites, in the order in which they run.
pub(crate) const SUITES: &[Suite] = &[
    Suite { name: "unit", about: "formatting, lints, unit and property tests, loom", run: unit },
    Suite { name: "fuzz", about: "property tests with many cases", run: fuzz },
    Suite {
        name: "linux",
        about: "the whole system on Linux, with real clients and servers",
        run: linux,
    },
    Suite {
        name: "sel4",
        about: "the whole system on seL4, in QEMU, with the Microkit SDK",
        run: sel4,
    },
];

/// Property tests that are worth many more cases than the suite `unit` gives them: package, test program, and
/// cases of each test in it, which take some 30 s together.
const FUZZ: &[(&str, &str, u64)] = &[
    ("pd-voter", "vote_model", 300_000),
    ("pd-voter", "world", 200),
    ("gateway", "http1_properties", 20_000),
    ("gateway", "http1_servers", 3_000),
    ("gateway", "dns_properties", 100_000),
    ("gateway", "dns_servers", 20_000),
    ("guest-vmm", "virtio_oracle", 1_000_000),
    ("guest-vmm", "virtio_hostile_driver", 20_000),
];

/// What the command line says beside the names of suites.
#[derive(Default)]
pub(crate) struct Options {
    write: bool,
    filters: Vec<String>,
}

/// How many tests ended how.
#[derive(Clone, Copy, Default)]
struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Tally {
    fn count(&mut self, what: &str, passed: bool) {
        println!("{what} ... {}", if passed { "ok" } else { "FAILED" });
        match passed {
            true => self.passed += 1,
            false => self.failed += 1,
        }
    }

    fn skip(&mut self, what: &str, why: &str) {
        println!("{what} ... not run: {why}");
        self.skipped += 1;
    }

    fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Reads `12 passed`, `0 failed`, `1 skipped` and the like wherever they stand in a line.
    fn from_words(line: &str) -> Tally {
        let words: Vec<&str> = line.split([' ', ';', ',', '.']).filter(|w| !w.is_empty()).collect();
        let number = |names: &[&str]| {
            let found = words.windows(2).find(|pair| names.contains(&pair[1]));
            found.and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
        };
        Tally {
            passed: number(&["passed"]),
            failed: number(&["failed"]),
            skipped: number(&["skipped", "ignored"]),
        }
    }
}

/// Runs the suites that `arguments` name, or all; false if a test failed.
pub(crate) fn test(arguments: &[String]) -> Result<bool, String> {
    let mut options = Options::default();
    let mut chosen = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--write" => options.write = true,
            "--" => options.filters.extend(arguments.by_ref().cloned()),
            name => chosen.push(
                SUITES
                    .iter()
                    .find(|suite| suite.name == name)
                    .ok_or_else(|| format!("there is no suite {name}"))?,
            ),
        }
    }
    if chosen.is_empty() {
        chosen.extend(SUITES);
    }
    packages::install_missing();
    if chosen.iter().any(|suite| suite.name == "sel4") {
        packages::install_missing_for_sel4();
    }
    let mut all_passed = true;
    let mut summary = String::new();
    for suite in chosen {
        println!("\n=== {}: {}", suite.name, suite.about);
        let started = Instant::now();
        let tally = (suite.run)(&options).map_err(|error| format!("{}: {error}", suite.name))?;
        println!("{} took {} s", suite.name, started.elapsed().as_secs());
        let Tally { passed, failed, skipped } = tally;
        println!("{}: {passed} passed, {failed} failed, {skipped} skipped", suite.name);
        summary +=
            &format!("{}: {passed} passed, {failed} failed, {skipped} skipped\n", suite.name);
        // A suite in which nothing ran has shown nothing; but not everybody has an SDK.
        all_passed &= failed == 0 && (passed > 0 || suite.name == "sel4" && skipped > 0);
    }
    if summary.lines().count() > 1 {
        print!("\n{summary}");
    }
    Ok(all_passed)
}

fn unit(_: &Options) -> io::Result<Tally> {
    let mut tally = Tally::default();
    let has_clippy = has_cargo_command("clippy");
    if has_cargo_command("fmt") {
        tally.count("formatting", succeeds(&mut cargo(&["fmt", "--all", "--check"]))?);
    } else {
        tally.skip("formatting", "rustfmt is not installed");
    }
    if has_clippy {
        let mut clippy =
            cargo(&["clippy", "--workspace", "--all-targets", "--all-features", "--quiet"]);
        tally.count("lints", succeeds(clippy.args(["--", "--deny", "warnings"]))?);
    } else {
        tally.skip("lints", "clippy is not installed");
    }
    programs_for_sel4(&mut tally, has_clippy)?;
    tally.add(cargo_tests(&mut cargo(&["test", "--workspace", "--no-fail-fast"]))?);
    let mut loom = cargo(&["test", "--release", "--package", "resh-channel", "--test", "loom"]);
    loom.env("RUSTFLAGS", "--cfg loom").env("CARGO_TARGET_DIR", target_dir().join("loom"));
    tally.add(cargo_tests(&mut loom)?);
    Ok(tally)
}

/// The programs of the domains, linted and built for seL4, which takes a compiler but no SDK.
fn programs_for_sel4(tally: &mut Tally, has_clippy: bool) -> io::Result<()> {
    const BUILD: &str = "programs for seL4";
    const LINTS: &str = "lints of the programs for seL4";
    let mut problems = Problems::default();
    let Some(toolchain) = Toolchain::find(&mut problems) else {
        tally.skip(BUILD, &problems.to_string());
        tally.skip(LINTS, "as before");
        return Ok(());
    };
    let packages = image::packages().map_err(io::Error::other)?;
    let command = |command| {
        let mut command = toolchain.cargo(&[command, "--release", "--quiet"]);
        command.args(packages.iter().flat_map(|package| ["--package", package]));
        command
    };
    tally.count(BUILD, succeeds(&mut command("build"))?);
    match (&toolchain, has_clippy) {
        (_, false) => tally.skip(LINTS, "clippy is not installed"),
        (Toolchain::FromSource { .. }, _) => {
            tally.skip(LINTS, "the compiler for seL4 is not the one that clippy is of");
        }
        (Toolchain::Rustup, true) => {
            let mut clippy = command("clippy");
            tally.count(LINTS, succeeds(clippy.args(["--", "--deny", "warnings"]))?);
        }
    }
    Ok(())
}

/// `RESH_FUZZ_FACTOR` times as many cases as [`FUZZ`] says, from the seed `RESH_SEED` on.
fn fuzz(_: &Options) -> io::Result<Tally> {
    let factor = std::env::var("RESH_FUZZ_FACTOR").ok().and_then(|text| text.parse().ok());
    let factor: u64 = factor.unwrap_or(1);
    let mut tally = Tally::default();
    for (package, test, cases) in FUZZ {
        let cases = (cases * factor).to_string();
        println!("{package} {test}: {cases} cases");
        let mut command = cargo(&["test", "--release", "--package", package, "--test", test]);
        // The name depends on whose test it is.
        command.env("RESH_CASES", &cases).env("RESH_FUZZ_CASES", &cases);
        tally.add(cargo_tests(&mut command)?);
    }
    Ok(tally)
}

fn linux(options: &Options) -> io::Result<Tally> {
    let mut tally = Tally::default();
    let release = target_dir().join("release");
    let faults = target_dir().join("resh-with-faults");
    // The one with the hostile domains first, so that the shipped one stays at its usual place.
    let mut build = cargo(&["build", "--release", "--package", "resh", "--features", "faults"]);
    let built = succeeds(&mut build)? && fs::copy(release.join("resh"), &faults).is_ok();
    let mut build = cargo(&["build", "--release", "--package", "resh", "--package", "resh-tests"]);
    if !succeeds(&mut build)? || !built {
        tally.count("building", false);
        return Ok(tally);
    }
    let mut command = Command::new(release.join("system-tests"));
    command.env("RESH_BIN", release.join("resh")).env("RESH_FAULTS_BIN", faults);
    command.args(["--except", "sel4."]).args(&options.filters);
    if options.write {
        command.arg("--write");
    }
    tally.add(system_tests(&mut command)?);
    Ok(tally)
}

/// The cases whose names begin with `sel4.`. Each builds the image it needs, and says what it lacks.
fn sel4(options: &Options) -> io::Result<Tally> {
    let mut tally = Tally::default();
    let mut build = cargo(&["build", "--release", "--package", "resh-tests"]);
    if !succeeds(build.args(["--package", "instruction-count"]))? {
        tally.count("building", false);
        return Ok(tally);
    }
    // So that the time to build it counts for no case. If something is missing, each case says so.
    if let Err(Failure::Failed(why)) = image::image(&image::Options::default()) {
        println!("{why}");
        tally.count("building the image", false);
        return Ok(tally);
    }
    let release = target_dir().join("release");
    let mut command = Command::new(release.join("system-tests"));
    command.env("RESH_XTASK", std::env::current_exe()?);
    command.env("RESH_INSTRUCTION_COUNT", release.join("libinstruction_count.so"));
    if let Some(kernel) = hostile_kernel()? {
        command.env("RESH_HOSTILE_GUEST", kernel);
    }
    match &options.filters[..] {
        [] => command.arg("sel4."),
        filters => command.args(filters),
    };
    if options.write {
        command.arg("--write");
    }
    tally.add(system_tests(&mut command)?);
    Ok(tally)
}

/// Builds the kernel of the hostile guest, and makes the file of it that boots. None if there is no
/// compiler for it.
fn hostile_kernel() -> io::Result<Option<PathBuf>> {
    let Some(toolchain) = Toolchain::find(&mut Problems::default()) else { return Ok(None) };
    let package = ["--release", "--quiet", "--package", "hostile-guest"];
    let mut build = toolchain.cargo(&["build"]);
    if !succeeds(build.args(package))? {
        return Err(io::Error::other("the hostile guest does not build"));
    }
    let elf = target_dir().join("sel4").join(TARGET).join("release/hostile-guest");
    let image = target_dir().join("hostile-guest.img");
    let mut make = cargo(&["run"]);
    if !succeeds(make.args(package).arg("--").arg(elf).arg(&image))? {
        return Err(io::Error::other("no image of the hostile guest"));
    }
    Ok(Some(image))
}

/// Runs the program of the whole-system tests, and counts its cases.
fn system_tests(command: &mut Command) -> io::Result<Tally> {
    let mut last = String::new();
    let succeeded = lines(command, |line| {
        if !last.is_empty() {
            println!("{last}");
        }
        line.clone_into(&mut last);
    })?;
    let mut cases = Tally::from_words(&last);
    if !succeeded && cases.failed == 0 {
        println!("{last}");
        cases.count("the program of the tests", false);
    }
    Ok(cases)
}

/// Runs `cargo test` and adds up what its programs say. A test that says `<name>: not run: <why>` has
/// passed for `cargo`, and is counted as skipped here.
fn cargo_tests(command: &mut Command) -> io::Result<Tally> {
    let mut tally = Tally::default();
    let mut not_run = 0;
    let succeeded = lines(command, |line| {
        println!("{line}");
        not_run += u64::from(line.contains(": not run: "));
        if line.starts_with("test result:") {
            tally.add(Tally::from_words(line));
        }
    })?;
    tally.passed -= not_run.min(tally.passed);
    tally.skipped += not_run;
    if !succeeded && tally.failed == 0 {
        tally.count("building the tests", false);
    }
    Ok(tally)
}

fn has_cargo_command(name: &str) -> bool {
    Command::new("cargo")
        .args([name, "--version"])
        .current_dir(project_root())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn tallies_are_read_from_both_forms() {
        let line =
            "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 9 filtered out";
        let tally = Tally::from_words(line);
        assert_eq!((tally.passed, tally.failed, tally.skipped), (12, 3, 1));
        let tally = Tally::from_words("7 passed, 0 failed, 2 skipped");
        assert_eq!((tally.passed, tally.failed, tally.skipped), (7, 0, 2));
    }
}
