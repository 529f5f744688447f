//! `system-tests [--list] [--write] [part of a name]...`: runs the whole-system tests.
#![forbid(unsafe_code)]

mod clients;
mod faults;
mod http_table;

use std::process::ExitCode;

use resh_tests::harness::{self, Case, CaseResult, Context};

const fn case(name: &'static str, limit_s: u64, run: fn(&Context) -> CaseResult) -> Case {
    Case { name, limit_s, run }
}

/// All cases, in the order in which they run: the quick and basic ones first.
const CASES: &[Case] = &[
    case("faults.one_corrupted", 120, faults::one_corrupted),
    case("faults.one_hung", 120, faults::one_hung),
    case("faults.one_slow", 120, faults::one_slow),
    case("faults.one_killed", 120, faults::one_killed),
    case("faults.two_corrupted", 120, faults::two_corrupted),
    case("faults.one_of_two_corrupted", 60, faults::one_of_two_corrupted),
    case("http_table.every_request_is_answered", 180, http_table::every_request_is_answered),
    case("clients.curl", 60, clients::curl),
    case("clients.wget", 60, clients::wget),
    case("clients.python_requests", 60, clients::python_requests),
    case("clients.wrk", 60, clients::wrk),
    case("clients.chromium", 180, clients::chromium),
];

fn main() -> ExitCode {
    harness::main(CASES)
}
