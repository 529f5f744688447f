//! `system-tests [--list] [--write] [part of a name]...`: runs the whole-system tests.
#![forbid(unsafe_code)]

mod http_table;

use std::process::ExitCode;

use resh_tests::harness::{self, Case, CaseResult, Context};

const fn case(name: &'static str, limit_s: u64, run: fn(&Context) -> CaseResult) -> Case {
    Case { name, limit_s, run }
}

/// All cases, in the order in which they run: the quick and basic ones first.
const CASES: &[Case] =
    &[case("http_table.every_request_is_answered", 180, http_table::every_request_is_answered)];

fn main() -> ExitCode {
    harness::main(CASES)
}
