//! The commands of Redis 7.0, and what becomes of each: the one table.

use super::answers::{Answer, Refusal};

/// A unit of time in which a command counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Milliseconds,
}

/// What becomes of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// It is forwarded as it is, and so is its reply.
    Pass,
    /// It is forwarded. The reply has no order by contract: it is sorted.
    Sort,
    /// The same, and every second element belongs to the one before.
    SortPairs,
    /// `HVALS`: the values in the order of their fields.
    Values,
    /// A walk in steps, whose positions are the server's own: all of it in one step, sorted.
    Scan {
        /// Which argument the position is.
        cursor: usize,
        /// Whether every second element belongs to the one before.
        pairs: bool,
    },
    /// `DBSIZE`: servers count keys that have expired until they come across them, so `KEYS` is counted.
    Count,
    /// `SORT`, unless its result has no order.
    Arrange,
    /// `TTL`, `PTTL`: from the time of expiry and the request clock.
    Left(Unit),
    /// `EXPIRE`, `PEXPIRE`: a point in time by the request clock.
    Expire(Unit),
    /// `EXPIREAT`, in milliseconds.
    ExpireAt,
    /// `SETEX`, `PSETEX`: `SET` with a point in time by the request clock.
    SetExpiring(Unit),
    /// `SET`, `GETEX`: times of expiry become points in time.
    Set {
        /// From which argument on there are options.
        options: usize,
    },
    /// `XADD`: the new entry's time is the request clock's.
    AddToStream,
    /// `XTRIM`: to the very entry.
    TrimStream,
    /// `XREAD`, unless it waits.
    ReadStream,
    /// Changes the state of the connection.
    Select,
    /// The same.
    Multi,
    /// The same.
    Exec,
    /// The same.
    Discard,
    /// The same.
    Watch,
    /// The same.
    Unwatch,
    /// The same.
    Reset,
    /// Ends the session.
    Quit,
    /// Answered here, as the word that follows has it.
    Auth,
    /// The same.
    Hello,
    /// The same.
    Client,
    /// The same.
    Config,
    /// The same.
    Command,
    /// Answered here.
    Answer(Answer),
    /// Refused here.
    Refuse(Refusal),
}

/// One command.
pub(super) struct Command {
    /// Its name, in lower case.
    pub(super) name: &'static str,
    /// How many arguments it takes, its name included. Negative: at least so many.
    arity: i8,
    /// It changes no state of the service.
    pub(super) reads: bool,
    /// What becomes of it.
    pub(super) action: Action,
}

impl Command {
    /// Whether it may have so many arguments, its name included.
    pub(super) fn takes(&self, argc: usize) -> bool {
        let arity = usize::from(self.arity.unsigned_abs());
        if self.arity < 0 { argc >= arity } else { argc == arity }
    }
}

/// The command of that name, in lower case.
pub(super) fn find(name: &[u8]) -> Option<&'static Command> {
    let at = COMMANDS.binary_search_by(|command| command.name.as_bytes().cmp(name));
    at.ok().and_then(|at| COMMANDS.get(at))
}

const fn reads(name: &'static str, arity: i8, action: Action) -> Command {
    Command { name, arity, reads: true, action }
}

const fn writes(name: &'static str, arity: i8, action: Action) -> Command {
    Command { name, arity, reads: false, action }
}

use Action::*;

/// By name.
pub(super) const COMMANDS: &[Command] = &[
    reads("acl", -1, Refuse(Refusal::Operation)),
    writes("append", 3, Pass),
    reads("asking", -1, Refuse(Refusal::Operation)),
    reads("auth", -2, Auth),
    reads("bgrewriteaof", -1, Refuse(Refusal::Operation)),
    reads("bgsave", -1, Refuse(Refusal::Operation)),
    reads("bitcount", -2, Pass),
    writes("bitfield", -2, Pass),
    reads("bitfield_ro", -2, Pass),
    writes("bitop", -4, Pass),
    reads("bitpos", -3, Pass),
    reads("blmove", -1, Refuse(Refusal::Blocks)),
    reads("blmpop", -1, Refuse(Refusal::Blocks)),
    reads("blpop", -1, Refuse(Refusal::Blocks)),
    reads("brpop", -1, Refuse(Refusal::Blocks)),
    reads("brpoplpush", -1, Refuse(Refusal::Blocks)),
    reads("bzmpop", -1, Refuse(Refusal::Blocks)),
    reads("bzpopmax", -1, Refuse(Refusal::Blocks)),
    reads("bzpopmin", -1, Refuse(Refusal::Blocks)),
    reads("client", -2, Client),
    reads("cluster", -1, Refuse(Refusal::Operation)),
    reads("command", -1, Command),
    reads("config", -2, Config),
    writes("copy", -3, Pass),
    reads("dbsize", 1, Count),
    reads("debug", -1, Refuse(Refusal::Private)),
    writes("decr", 2, Pass),
    writes("decrby", 3, Pass),
    writes("del", -2, Pass),
    writes("discard", 1, Discard),
    reads("dump", -1, Refuse(Refusal::Private)),
    reads("echo", 2, Pass),
    reads("eval", -1, Refuse(Refusal::Script)),
    reads("eval_ro", -1, Refuse(Refusal::Script)),
    reads("evalsha", -1, Refuse(Refusal::Script)),
    reads("evalsha_ro", -1, Refuse(Refusal::Script)),
    writes("exec", 1, Exec),
    reads("exists", -2, Pass),
    writes("expire", -3, Expire(Unit::Seconds)),
    writes("expireat", -3, ExpireAt),
    reads("expiretime", 2, Pass),
    reads("failover", -1, Refuse(Refusal::Operation)),
    reads("fcall", -1, Refuse(Refusal::Script)),
    reads("fcall_ro", -1, Refuse(Refusal::Script)),
    writes("flushall", -1, Pass),
    writes("flushdb", -1, Pass),
    reads("function", -1, Refuse(Refusal::Script)),
    writes("geoadd", -5, Pass),
    reads("geodist", -4, Pass),
    reads("geohash", -2, Pass),
    reads("geopos", -2, Pass),
    writes("georadius", -6, Pass),
    reads("georadius_ro", -6, Pass),
    writes("georadiusbymember", -5, Pass),
    reads("georadiusbymember_ro", -5, Pass),
    reads("geosearch", -7, Pass),
    writes("geosearchstore", -8, Pass),
    reads("get", 2, Pass),
    reads("getbit", 3, Pass),
    writes("getdel", 2, Pass),
    writes("getex", -2, Set { options: 2 }),
    reads("getrange", 4, Pass),
    writes("getset", 3, Pass),
    writes("hdel", -3, Pass),
    reads("hello", -1, Hello),
    reads("hexists", 3, Pass),
    reads("hget", 3, Pass),
    reads("hgetall", 2, SortPairs),
    writes("hincrby", 4, Pass),
    writes("hincrbyfloat", 4, Pass),
    reads("hkeys", 2, Sort),
    reads("hlen", 2, Pass),
    reads("hmget", -3, Pass),
    writes("hmset", -4, Pass),
    reads("hrandfield", -1, Refuse(Refusal::Random)),
    reads("hscan", -3, Scan { cursor: 2, pairs: true }),
    writes("hset", -4, Pass),
    writes("hsetnx", 4, Pass),
    reads("hstrlen", 3, Pass),
    reads("hvals", 2, Values),
    writes("incr", 2, Pass),
    writes("incrby", 3, Pass),
    writes("incrbyfloat", 3, Pass),
    reads("info", -1, Answer(Answer::Info)),
    reads("keys", 2, Sort),
    reads("lastsave", -1, Refuse(Refusal::Private)),
    reads("latency", -1, Refuse(Refusal::Private)),
    reads("lcs", -3, Pass),
    reads("lindex", 3, Pass),
    writes("linsert", 5, Pass),
    reads("llen", 2, Pass),
    writes("lmove", 5, Pass),
    writes("lmpop", -4, Pass),
    reads("lolwut", -1, Refuse(Refusal::Random)),
    writes("lpop", -2, Pass),
    reads("lpos", -3, Pass),
    writes("lpush", -3, Pass),
    writes("lpushx", -3, Pass),
    reads("lrange", 4, Pass),
    writes("lrem", 4, Pass),
    writes("lset", 4, Pass),
    writes("ltrim", 4, Pass),
    reads("memory", -1, Refuse(Refusal::Private)),
    reads("mget", -2, Pass),
    reads("migrate", -1, Refuse(Refusal::Operation)),
    reads("module", -1, Refuse(Refusal::Operation)),
    reads("monitor", -1, Refuse(Refusal::Publishes)),
    writes("move", 3, Pass),
    writes("mset", -3, Pass),
    writes("msetnx", -3, Pass),
    writes("multi", 1, Multi),
    reads("object", -1, Refuse(Refusal::Private)),
    writes("persist", 2, Pass),
    writes("pexpire", -3, Expire(Unit::Milliseconds)),
    writes("pexpireat", -3, Pass),
    reads("pexpiretime", 2, Pass),
    writes("pfadd", -2, Pass),
    writes("pfcount", -2, Pass),
    reads("pfdebug", -1, Refuse(Refusal::Private)),
    writes("pfmerge", -2, Pass),
    reads("pfselftest", -1, Refuse(Refusal::Private)),
    reads("ping", -1, Pass),
    writes("psetex", 4, SetExpiring(Unit::Milliseconds)),
    reads("psubscribe", -1, Refuse(Refusal::Publishes)),
    reads("psync", -1, Refuse(Refusal::Operation)),
    reads("pttl", 2, Left(Unit::Milliseconds)),
    reads("publish", -1, Refuse(Refusal::Publishes)),
    reads("pubsub", -1, Refuse(Refusal::Publishes)),
    reads("punsubscribe", -1, Refuse(Refusal::Publishes)),
    reads("quit", -1, Quit),
    reads("randomkey", -1, Refuse(Refusal::Random)),
    reads("readonly", -1, Refuse(Refusal::Operation)),
    reads("readwrite", -1, Refuse(Refusal::Operation)),
    writes("rename", 3, Pass),
    writes("renamenx", 3, Pass),
    reads("replconf", -1, Refuse(Refusal::Operation)),
    reads("replicaof", -1, Refuse(Refusal::Operation)),
    writes("reset", 1, Reset),
    reads("restore", -1, Refuse(Refusal::Operation)),
    reads("restore-asking", -1, Refuse(Refusal::Operation)),
    reads("role", 1, Answer(Answer::Role)),
    writes("rpop", -2, Pass),
    writes("rpoplpush", 3, Pass),
    writes("rpush", -3, Pass),
    writes("rpushx", -3, Pass),
    writes("sadd", -3, Pass),
    reads("save", -1, Refuse(Refusal::Operation)),
    reads("scan", -2, Scan { cursor: 1, pairs: false }),
    reads("scard", 2, Pass),
    reads("script", -1, Refuse(Refusal::Script)),
    reads("sdiff", -2, Sort),
    writes("sdiffstore", -3, Pass),
    writes("select", 2, Select),
    writes("set", -3, Set { options: 3 }),
    writes("setbit", 4, Pass),
    writes("setex", 4, SetExpiring(Unit::Seconds)),
    writes("setnx", 3, Pass),
    writes("setrange", 4, Pass),
    reads("shutdown", -1, Refuse(Refusal::Operation)),
    reads("sinter", -2, Sort),
    reads("sintercard", -3, Pass),
    writes("sinterstore", -3, Pass),
    reads("sismember", 3, Pass),
    reads("slaveof", -1, Refuse(Refusal::Operation)),
    reads("slowlog", -1, Refuse(Refusal::Private)),
    reads("smembers", 2, Sort),
    reads("smismember", -3, Pass),
    writes("smove", 4, Pass),
    writes("sort", -2, Arrange),
    reads("sort_ro", -2, Arrange),
    reads("spop", -1, Refuse(Refusal::Random)),
    reads("spublish", -1, Refuse(Refusal::Publishes)),
    reads("srandmember", -1, Refuse(Refusal::Random)),
    writes("srem", -3, Pass),
    reads("sscan", -3, Scan { cursor: 2, pairs: false }),
    reads("ssubscribe", -1, Refuse(Refusal::Publishes)),
    reads("strlen", 2, Pass),
    reads("subscribe", -1, Refuse(Refusal::Publishes)),
    reads("substr", 4, Pass),
    reads("sunion", -2, Sort),
    writes("sunionstore", -3, Pass),
    reads("sunsubscribe", -1, Refuse(Refusal::Publishes)),
    writes("swapdb", 3, Pass),
    reads("sync", -1, Refuse(Refusal::Operation)),
    reads("time", 1, Answer(Answer::Time)),
    reads("touch", -2, Pass),
    reads("ttl", 2, Left(Unit::Seconds)),
    reads("type", 2, Pass),
    writes("unlink", -2, Pass),
    reads("unsubscribe", -1, Refuse(Refusal::Publishes)),
    writes("unwatch", 1, Unwatch),
    reads("wait", 3, Answer(Answer::Number(0))),
    writes("watch", -2, Watch),
    reads("xack", -1, Refuse(Refusal::Group)),
    writes("xadd", -5, AddToStream),
    reads("xautoclaim", -1, Refuse(Refusal::Group)),
    reads("xclaim", -1, Refuse(Refusal::Group)),
    writes("xdel", -3, Pass),
    reads("xgroup", -1, Refuse(Refusal::Group)),
    reads("xinfo", -1, Refuse(Refusal::Group)),
    reads("xlen", 2, Pass),
    reads("xpending", -1, Refuse(Refusal::Group)),
    reads("xrange", -4, Pass),
    reads("xread", -4, ReadStream),
    reads("xreadgroup", -1, Refuse(Refusal::Group)),
    reads("xrevrange", -4, Pass),
    writes("xsetid", -3, Pass),
    writes("xtrim", -4, TrimStream),
    writes("zadd", -4, Pass),
    reads("zcard", 2, Pass),
    reads("zcount", 4, Pass),
    reads("zdiff", -3, Pass),
    writes("zdiffstore", -4, Pass),
    writes("zincrby", 4, Pass),
    reads("zinter", -3, Pass),
    reads("zintercard", -3, Pass),
    writes("zinterstore", -4, Pass),
    reads("zlexcount", 4, Pass),
    writes("zmpop", -4, Pass),
    reads("zmscore", -3, Pass),
    writes("zpopmax", -2, Pass),
    writes("zpopmin", -2, Pass),
    reads("zrandmember", -1, Refuse(Refusal::Random)),
    reads("zrange", -4, Pass),
    reads("zrangebylex", -4, Pass),
    reads("zrangebyscore", -4, Pass),
    writes("zrangestore", -5, Pass),
    reads("zrank", 3, Pass),
    writes("zrem", -3, Pass),
    writes("zremrangebylex", 4, Pass),
    writes("zremrangebyrank", 4, Pass),
    writes("zremrangebyscore", 4, Pass),
    reads("zrevrange", -4, Pass),
    reads("zrevrangebylex", -4, Pass),
    reads("zrevrangebyscore", -4, Pass),
    reads("zrevrank", 3, Pass),
    reads("zscan", -3, Scan { cursor: 2, pairs: true }),
    reads("zscore", 3, Pass),
    reads("zunion", -3, Pass),
    writes("zunionstore", -4, Pass),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found() {
        for command in COMMANDS {
            assert!(find(command.name.as_bytes()).is_some_and(|found| found.name == command.name));
        }
        assert!(find(b"nothing").is_none() && find(b"").is_none());
    }

    #[test]
    fn arguments_are_counted() {
        let get = find(b"get").unwrap();
        assert!(get.takes(2) && !get.takes(1) && !get.takes(3));
        let mget = find(b"mget").unwrap();
        assert!(mget.takes(2) && mget.takes(9) && !mget.takes(1));
    }
}
