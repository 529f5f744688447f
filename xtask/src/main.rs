//! `cargo xtask`: the project's build, test and measuring commands.
#![forbid(unsafe_code)]

mod aarch64;
mod bench;
mod command;
mod packages;
mod problems;
mod sdk;
mod sizes;
mod suites;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <command>

  test [suite...] [--write] [-- filter...]
          run these suites, or all; --write renews the tables in docs/ that come from tests;
          filters choose the cases of the suite linux
  bench [--write] [--rounds N]
          measure against HAProxy; --write renews docs/measurements.md
  sizes   count the lines of code of each part

Environment: RESH_SEED, RESH_TEST_SECONDS (length of the long cases), RESH_FUZZ_FACTOR.
Suites:";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = arguments.split_first().map_or(("", &[][..]), |(c, r)| (c.as_str(), r));
    let done = match command {
        "test" => suites::test(rest),
        "bench" => bench::bench(rest),
        "sizes" => sizes::sizes(),
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
            ExitCode::FAILURE
        }
    }
}
