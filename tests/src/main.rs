//! `system-tests [--list] [--write] [--except PREFIX] [part of a name]...`: runs the whole-system tests.
#![forbid(unsafe_code)]

mod bulk;
mod check;
mod clients;
mod dns;
mod faults;
mod framing;
mod hostile;
mod http_table;
mod isolation;
mod login;
mod pgwire;
mod recovery;
mod recovery_pair;
mod redis;
mod redis_client;
mod redis_resp;
mod redis_total;
mod sel4;
mod sessions;
mod udp;

use std::process::ExitCode;

use resh_tests::harness::{self, Case, CaseResult, Context};
use resh_tests::{revivable, smoltcp};

const fn case(name: &'static str, limit_s: u64, run: fn(&Context) -> CaseResult) -> Case {
    Case { name, limit_s, lasts_s: 0, run }
}

/// A case that does the same for a minute.
const fn minute(name: &'static str, limit_s: u64, run: fn(&Context) -> CaseResult) -> Case {
    Case { lasts_s: 60, ..case(name, limit_s, run) }
}

/// All cases, in the order in which they run: the quick and basic ones first.
const CASES: &[Case] = &[
    case("check.right_file", 10, check::right_file),
    case("check.wrong_files", 30, check::wrong_files),
    case("check.wrong_descriptions", 30, check::wrong_descriptions),
    case("faults.one_corrupted", 120, faults::one_corrupted),
    case("faults.one_hung", 120, faults::one_hung),
    case("faults.one_slow", 120, faults::one_slow),
    case("faults.one_killed", 120, faults::one_killed),
    case("faults.two_corrupted", 120, faults::two_corrupted),
    case("faults.one_of_two_corrupted", 60, faults::one_of_two_corrupted),
    case("recovery.corrupt", 900, recovery::corrupt),
    case("recovery.hang", 900, recovery::hang),
    case("recovery.crash", 900, recovery::crash),
    case("recovery.slow", 900, recovery::slow),
    case("recovery.rejuvenation", 90, recovery::rejuvenation),
    case("recovery.operator", 60, recovery::operator),
    case("recovery.back_off", 90, recovery::back_off),
    case("recovery.pair_of_two", 60, recovery_pair::of_two),
    case("recovery.pair_left_of_three", 60, recovery_pair::left_of_three),
    case("http_table.every_request_is_answered", 180, http_table::every_request_is_answered),
    case("clients.curl", 60, clients::curl),
    case("clients.wget", 60, clients::wget),
    case("clients.python_requests", 60, clients::python_requests),
    case("clients.wrk", 60, clients::wrk),
    case("clients.chromium", 180, clients::chromium),
    case("login.sessions_survive_a_recovery", 180, login::sessions_survive_a_recovery),
    case("redis.redis_cli", 60, redis::redis_cli),
    case("redis.redis_benchmark", 120, redis::redis_benchmark),
    case("redis.echo", 120, redis::echo),
    case("redis.resp_cli", 60, redis_resp::cli),
    case("redis.resp_benchmark", 180, redis_resp::benchmark),
    case("redis.resp_python", 60, redis_resp::python),
    case("redis.resp_perl", 60, redis_resp::perl),
    case("redis.resp_without_order", 60, redis_resp::without_order),
    case("redis.total_replayed", 300, redis_total::replayed),
    case("redis.total_exported", 300, redis_total::exported),
    case("redis.total_falsified", 300, redis_total::falsified),
    case("redis.total_transaction", 120, redis_total::transaction),
    case("pgwire.psql", 60, pgwire::psql),
    case("pgwire.libraries", 120, pgwire::libraries),
    case("pgwire.one_begins_anew", 180, pgwire::one_begins_anew),
    case("dns.ten_thousand_queries", 60, dns::ten_thousand_queries),
    case("dns.dnsperf", 60, dns::dnsperf),
    case("dns.dig", 60, dns::dig),
    case("dns.big_answers", 60, dns::big_answers),
    case("dns.a_false_record", 120, dns::a_false_record),
    case("dns.nobody_is_framed", 120, dns::nobody_is_framed),
    case("udp.echo", 60, udp::echo),
    case("udp.answers_twice", 60, udp::answers_twice),
    case("udp.a_lying_server", 60, udp::a_lying_server),
    case("udp.a_silent_server", 60, udp::a_silent_server),
    case("udp.a_lossy_server", 60, udp::a_lossy_server),
    case("udp.lossy_servers", 60, udp::lossy_servers),
    case("bulk.down_and_up", 240, bulk::down_and_up),
    case("sessions.a_thousand_at_once", 60, sessions::a_thousand_at_once),
    case("sessions.standing_still", 60, sessions::standing_still),
    case("sessions.beyond_the_limit", 60, sessions::beyond_the_limit),
    minute("sessions.churn", 90, sessions::churn),
    case("isolation.nothing_but_what_is_granted", 120, isolation::nothing_but_what_is_granted),
    case("smoltcp.http_table", 180, |context| {
        smoltcp::run_case(context, "http_table.every_request_is_answered")
    }),
    case("smoltcp.curl", 60, |context| smoltcp::run_case(context, "clients.curl")),
    case("smoltcp.wrk", 60, |context| smoltcp::run_case(context, "clients.wrk")),
    case("smoltcp.redis_cli", 60, |context| smoltcp::run_case(context, "redis.redis_cli")),
    case("smoltcp.echo", 120, |context| smoltcp::run_case(context, "redis.echo")),
    case("smoltcp.dns", 60, |context| smoltcp::run_case(context, "dns.ten_thousand_queries")),
    case("smoltcp.dnsperf", 60, |context| smoltcp::run_case(context, "dns.dnsperf")),
    case("smoltcp.dns_big", 60, |context| smoltcp::run_case(context, "dns.big_answers")),
    case("smoltcp.udp", 60, |context| smoltcp::run_case(context, "udp.echo")),
    case("smoltcp.a_lying_server", 60, |context| smoltcp::run_case(context, "udp.a_lying_server")),
    case("smoltcp.bulk", 240, |context| smoltcp::run_case(context, "bulk.down_and_up")),
    case("smoltcp.a_thousand_at_once", 60, |context| {
        smoltcp::run_case(context, "sessions.a_thousand_at_once")
    }),
    case("smoltcp.standing_still", 60, |context| {
        smoltcp::run_case(context, "sessions.standing_still")
    }),
    case("smoltcp.beyond_the_limit", 60, |context| {
        smoltcp::run_case(context, "sessions.beyond_the_limit")
    }),
    minute("hostile.a_hostile_domain", 90, hostile::a_hostile_domain),
    minute("framing.nobody_is_framed", 60, framing::nobody_is_framed),
    case("sel4.serves", 500, sel4::serves),
    case("sel4.wrong_guests", 450, sel4::wrong_guests),
    case("sel4.recovers_guests", 900, sel4::recovers_guests),
    case("sel4.recovers_hostile_domain", 600, sel4::recovers_hostile_domain),
    case("sel4.rejuvenates", 450, sel4::rejuvenates),
    case("sel4.hostile_guest", 450, sel4::hostile_guest),
    case("sel4.deterministic", 600, sel4::deterministic),
    case("sel4.cost", 450, sel4::cost),
];

fn main() -> ExitCode {
    revivable::command().unwrap_or_else(|| harness::main(CASES))
}
