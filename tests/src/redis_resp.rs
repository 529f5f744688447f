//! `resp`: Redis with the clients that people use, unmodified, in front of three servers that keep what has no order in
//! orders of their own.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use resh_tests::appliance::{Appliance, Config, Service};
use resh_tests::harness::{CaseResult, Context, Halt};
use resh_tests::servers::{self, Server};
use resh_tests::{ensure, process};

use crate::redis_client::{Client, PATIENT, Reply};

struct Cache {
    appliance: Appliance,
    servers: Vec<Server>,
}

impl Cache {
    fn open(context: &Context, order: &str) -> CaseResult<Self> {
        let servers = ["redis-a", "redis-b", "redis-c"]
            .into_iter()
            .map(|name| servers::redis(&context.dir, name))
            .collect::<CaseResult<Vec<_>>>()?;
        let replicas = servers.iter().map(|server| (server.name, server.address));
        let mut service = Service::new("cache", "resp", replicas)?;
        service.more = format!("order = \"{order}\"\nprobe = \"PING\"\n");
        let config = Config { preamble: PATIENT.to_owned(), ..Config::of(service) };
        let appliance = Appliance::run(&context.dir, &config)?;
        Ok(Self { appliance, servers })
    }

    /// All replicas vote, agreed all the time, and hold the same data.
    fn nobody_differed(&self) -> CaseResult {
        let status = self.appliance.settled()?;
        ensure!(status.all_voting(), "a replica lost its vote: {:#}", status.0);
        ensure!(status.total("divergences") == 0, "replicas differed: {:#}", status.0);
        ensure!(status.service()["no_quorum"] == 0, "no quorum: {:#}", status.0);
        let held = |server: &Server| Client::open(server.address)?.ask(&["DEBUG", "DIGEST"]);
        let digests = self.servers.iter().map(held).collect::<CaseResult<Vec<_>>>()?;
        ensure!(digests.iter().all(|digest| *digest == digests[0]), "data differ: {digests:?}");
        Ok(())
    }

    /// Runs a program with the appliance's port as its last argument, and checks that it found all right.
    fn finds_all_right(&self, command: &mut Command) -> CaseResult {
        let said = process::output(command.arg(self.appliance.address.port().to_string()))?;
        ensure!(said.trim() == "all right", "it said: {said}");
        Ok(())
    }
}

pub(crate) fn cli(context: &Context) -> CaseResult {
    let program = process::need_program("redis-cli", "redis-tools")?;
    let cache = Cache::open(context, "session")?;
    let port = cache.appliance.address.port().to_string();
    let cli = |words: &[&str]| {
        let mut command = Command::new(&program);
        command.args(["-h", "127.0.0.1", "-p", &port]);
        process::output(command.args(words))
    };
    let dialogue: &[(&[&str], &str)] = &[
        (&["PING"], "PONG\n"),
        (&["-3", "PING"], "NOPROTO unsupported protocol version\n\nPONG\n"),
        (&["-n", "3", "SET", "other", "database"], "OK\n"),
        (&["SET", "name", "resh", "EX", "1000"], "OK\n"),
        (&["TTL", "name"], "1000\n"),
        (&["SADD", "set", "c", "a", "b"], "3\n"),
        (&["SMEMBERS", "set"], "a\nb\nc\n"),
        (&["HSET", "hash", "y", "1", "x", "2"], "2\n"),
        (&["HGETALL", "hash"], "x\n2\ny\n1\n"),
        (&["KEYS", "*"], "hash\nname\nset\n"),
        (&["DBSIZE"], "3\n"),
        (&["--scan", "--pattern", "*a*"], "hash\nname\n"),
        (&["SPOP", "set"], "ERR 'spop' is refused here: its reply is random\n\n"),
        (&["CONFIG", "GET", "save"], "save\n\n"),
        (&["EXPIRE", "hash", "-1"], "1\n"),
        (&["EXISTS", "hash"], "0\n"),
    ];
    for (words, wanted) in dialogue {
        let said = cli(words)?;
        // What it says to RESP3 goes to its standard error.
        let wanted =
            wanted.strip_prefix("NOPROTO unsupported protocol version\n\n").unwrap_or(wanted);
        ensure!(said == *wanted, "{words:?}: {said:?} and not {wanted:?}");
    }
    cache.nobody_differed()
}

pub(crate) fn benchmark(context: &Context) -> CaseResult {
    let program = process::need_program("redis-benchmark", "redis-tools")?;
    const COMMANDS: &str = "ping,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,zadd,lrange_100,mset";
    // What other sessions do changes what a command replies, so this needs one order for all.
    let cache = Cache::open(context, "total")?;
    let address = cache.appliance.address;
    for (what, words) in [
        ("20 sessions", &["-n", "1000", "-c", "20", "-r", "1000"][..]),
        ("pipelined", &["-n", "5000", "-c", "5", "-P", "16"]),
    ] {
        let mut command = Command::new(&program);
        command.args(["-h", &address.ip().to_string(), "-p", &address.port().to_string(), "--csv"]);
        let text = process::output(command.args(["-t", COMMANDS]).args(words))?;
        ensure!(!text.contains("rror"), "{what}:\n{text}");
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split(',').map(|field| field.trim_matches('"')).collect();
            println!("note: {what}: {} {} requests/s", fields[0], fields.get(1).unwrap_or(&"?"));
        }
    }
    cache.nobody_differed()
}

pub(crate) fn python(context: &Context) -> CaseResult {
    let python = process::python_with("redis").ok_or_else(|| {
        Halt::Skip("no Python with redis (Debian package python3-redis)".to_owned())
    })?;
    let cache = Cache::open(context, "session")?;
    cache.finds_all_right(Command::new(python).args(["-c", PYTHON]))?;
    cache.nobody_differed()
}

const PYTHON: &str = r#"
import sys, redis
r = redis.Redis(port=int(sys.argv[1]), decode_responses=True, client_name="test")
assert r.ping() and r.info()["redis_mode"] == "standalone" and r.time()[0] > 1_600_000_000
assert r.set("text", "value", ex=100) and 98 <= r.ttl("text") <= 100 and 0 < r.pttl("text") <= 100_000
assert r.setex("short", 50, "x") and r.get("short") == "x" and r.getset("short", "y") == "x"
members = {f"member:{n}" for n in range(500)}
assert r.sadd("set", *members) == 500 and r.smembers("set") == members
assert r.sinter("set", "set") == members and set(r.sscan_iter("set", count=7)) == members
fields = {f"field:{n}": str(n) for n in range(600)}
assert r.hset("hash", mapping=fields) == 600 and r.hgetall("hash") == fields
assert dict(zip(r.hkeys("hash"), r.hvals("hash"))) == fields and dict(r.hscan_iter("hash")) == fields
assert r.zadd("sorted", {"b": 2, "a": 1.5}) == 2
assert r.zrange("sorted", 0, -1, withscores=True) == [("a", 1.5), ("b", 2.0)]
assert r.rpush("list", *range(100)) == 100 and r.lrange("list", 98, -1) == ["98", "99"]
assert set(r.scan_iter("*s*t*")) == {"set", "sorted", "short", "list"}
big = "x" * 50_000
assert r.set("big", big) and r.get("big") == big and r.append("big", "y") == 50_001
with r.pipeline() as pipe:
    assert pipe.incr("n").incr("n").smembers("set").ttl("none").execute() == [1, 2, members, -2]
with r.pipeline() as pipe:
    pipe.watch("n")
    assert pipe.get("n") == "2"
    pipe.multi()
    assert pipe.set("n", "7").get("n").execute() == [True, "7"]
with r.pipeline(transaction=False) as pipe:
    for n in range(1000):
        pipe.set(f"many:{n}", n)
    assert all(pipe.execute())
entry = r.xadd("stream", {"f": "v"}, maxlen=1000)
assert r.xrange("stream") == [(entry, {"f": "v"})] and r.xlen("stream") == 1
for refused in (lambda: r.spop("set"), lambda: r.eval("return 1", 0), lambda: r.config_set("save", "1 1")):
    try:
        refused()
        assert False, "not refused"
    except redis.ResponseError as error:
        assert "is refused here" in str(error), error
try:
    r.incr("text")
    assert False, "no error"
except redis.ResponseError as error:
    assert "not an integer" in str(error)
other = redis.Redis(port=int(sys.argv[1]), db=5, decode_responses=True)
assert other.get("text") is None and other.set("text", "five") and r.get("text") == "value"
assert other.flushdb() and other.dbsize() == 0 and r.delete("text") == 1
print("all right")
"#;

pub(crate) fn perl(context: &Context) -> CaseResult {
    let perl = process::need_program("perl", "perl")?;
    if process::output(Command::new(&perl).args(["-MRedis", "-e", "1"])).is_err() {
        return Err(Halt::Skip("no Perl with Redis (Debian package libredis-perl)".to_owned()));
    }
    let cache = Cache::open(context, "session")?;
    let script = context.dir.join("client.pl");
    fs::write(&script, PERL)?;
    cache.finds_all_right(Command::new(perl).arg(script))?;
    cache.nobody_differed()
}

const PERL: &str = r#"
use strict; use warnings; use Redis;
my $r = Redis->new(server => "127.0.0.1:$ARGV[0]", name => "test");
sub is { my ($got, $wanted, $what) = @_; die "$what: $got and not $wanted\n" unless $got eq $wanted }
is($r->ping, "PONG", "ping");
is($r->set("text", "value"), "OK", "set"); is($r->get("text"), "value", "get");
my @members = map { "member:$_" } 0..400;
is($r->sadd("set", @members), 401, "sadd");
is(join(" ", sort $r->smembers("set")), join(" ", sort @members), "smembers");
$r->hset("hash", "k$_", $_) for 1..200;
my %hash = $r->hgetall("hash"); is(scalar(keys %hash), 200, "hgetall"); is($hash{k17}, 17, "field");
is($r->rpush("list", 1..50), 50, "rpush"); is(join(",", $r->lrange("list", 0, 3)), "1,2,3,4", "lrange");
is($r->expire("text", 100), 1, "expire"); my $ttl = $r->ttl("text"); die "ttl $ttl" if $ttl < 98 || $ttl > 100;
my ($cursor, $found) = $r->scan(0, "MATCH", "*t"); is($cursor, 0, "cursor");
is(join(" ", sort @$found), "list set text", "scan");
$r->multi; $r->incr("n"); $r->smembers("set"); my @done = $r->exec; is($done[0], 1, "exec");
my @answers; $r->incr("n", sub { push @answers, $_[0] }) for 1..100; $r->wait_all_responses;
is($answers[99], 101, "pipelined");
eval { $r->spop("set") }; die "not refused: $@" unless $@ =~ /is refused here/;
is($r->info->{redis_mode}, "standalone", "info");
$r->quit; print "all right\n";
"#;

/// Three servers give the members of one set in three orders, which is what makes this test one.
pub(crate) fn without_order(context: &Context) -> CaseResult {
    let cache = Cache::open(context, "session")?;
    let mut client = Client::open(cache.appliance.address)?;
    let members: BTreeSet<String> = (0..1000).map(|n| format!("member:{n}")).collect();
    for member in &members {
        client.ask(&["SADD", "set", member])?;
        client.ask(&["HSET", "hash", member, "x"])?;
    }
    let asked: [&[&str]; 6] = [
        &["SMEMBERS", "set"],
        &["SSCAN", "set", "0", "COUNT", "10"],
        &["HKEYS", "hash"],
        &["HGETALL", "hash"],
        &["SUNION", "set", "none"],
        &["SDIFF", "set", "none"],
    ];
    let mut split = 0;
    for words in asked {
        let own = |server: &Server| Client::open(server.address)?.ask(words);
        let orders = cache.servers.iter().map(own).collect::<CaseResult<Vec<_>>>()?;
        split += usize::from(orders[0] != orders[1] && orders[1] != orders[2]);
        let reply = client.ask(words)?;
        let texts: Vec<_> = reply.texts();
        let found: BTreeSet<_> = texts.iter().filter(|text| text.len() > 1).cloned().collect();
        ensure!(found == members, "{words:?}: {} and not all members", found.len());
        ensure!(matches!(reply, Reply::Array(Some(_))), "{words:?}: no array");
    }
    drop(client);
    ensure!(split == asked.len(), "only {split} replies came in several orders");
    cache.nobody_differed()
}
