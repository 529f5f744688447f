//! `cargo xtask`: the project's build, test and measuring commands.
#![forbid(unsafe_code)]

mod aarch64;
mod bench;
mod command;
mod guest;
mod image;
mod packages;
mod problems;
mod qemu;
mod sdk;
mod sizes;
mod suites;

use std::process::ExitCode;

use clap::{Args, Command};
use problems::Failure;
use resh_tests::harness::SKIPPED;

const USAGE: &str = "\
usage: cargo xtask <command>

  test [suite...] [--write] [-- filter...]
          run these suites, or all; --write renews the tables in docs/ that come from tests;
          filters choose the cases of the suite linux
  bench [--write] [--rounds N]
          measure against HAProxy; --write renews docs/measurements.md
  sizes   count lines of code, and the bytes of an image that was built
  guest [nginx|lighttpd|apache2|busybox...] [--site DIRECTORY] [--fresh] ...
          make guests of Debian's packages for arm64; --help says more
  image [--board B] [--config release|debug] [--appliance RESH.TOML] ...
          build everything for seL4 into one file that boots; --help says more
  qemu [--port N] [--image LOADER.IMG] ... [-- ARGUMENTS OF QEMU]
          build an image and boot it; --help says more

Environment: MICROKIT_SDK (for seL4), RESH_SEED, RESH_TEST_SECONDS (length of the long cases),
RESH_FUZZ_FACTOR. The status is 77 if nothing is wrong but something is not installed.
Suites:";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = arguments.split_first().map_or(("", &[][..]), |(c, r)| (c.as_str(), r));
    let done = match command {
        "test" => suites::test(rest).map_err(Failure::from),
        "bench" => bench::bench(rest).map_err(Failure::from),
        "sizes" => sizes::sizes().map_err(Failure::from),
        "guest" => guest::guest(&options("cargo xtask guest", rest)).map(|()| true),
        "image" => image::image(&options("cargo xtask image", rest)).map(|_| true),
        "qemu" => qemu::qemu(&options("cargo xtask qemu", rest)),
        _ => {
            eprintln!("{USAGE}");
            for suite in suites::SUITES {
                eprintln!("  {:8}{}", suite.name, suite.about);
            }
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("cargo xtask {command}: {why}");
            match why {
                Failure::Missing(_) => ExitCode::from(SKIPPED),
                Failure::Failed(_) => ExitCode::FAILURE,
            }
        }
    }
}

/// What a command line says. If it is wrong, or asks for help, this does not return.
fn options<T: Args>(command: &'static str, arguments: &[String]) -> T {
    let parser = T::augment_args(Command::new(command).no_binary_name(true));
    let matches = parser.get_matches_from(arguments);
    T::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}
