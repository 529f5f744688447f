//! What the appliance says by itself, in the one form that every gateway gives it.

use super::out::{HEADER_BYTES, Out};
use super::scan::{Fault, Word};

/// Most bytes of one of these replies.
pub(super) const ANSWER_BYTES: usize = 1024;

/// Why a command is not forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Its reply is random.
    Random,
    /// It waits for what other sessions do.
    Blocks,
    /// It makes a server send what nobody asked for, or depends on who listens.
    Publishes,
    /// It runs a program in the server.
    Script,
    /// It tells what only one server can know.
    Private,
    /// It belongs to whoever operates the servers.
    Operation,
    /// It tells, or goes by, when a server was last asked.
    Group,
    /// It would run at once where others wait until `EXEC`.
    Transaction,
    /// It leaves the order of its result to the server.
    Unordered,
    /// What it makes would not be in a dump.
    Exported,
}

impl Refusal {
    fn text(self) -> &'static str {
        match self {
            Self::Random => "its reply is random",
            Self::Blocks => "it waits for other sessions",
            Self::Publishes => "messages between clients are not supported",
            Self::Script => "scripts are not supported",
            Self::Private => "no two servers reply the same",
            Self::Operation => "it is for the operator of the servers",
            Self::Group => "consumer groups are not supported",
            Self::Transaction => "not in a transaction",
            Self::Unordered => "its result has no order",
            Self::Exported => "not with state = \"export\"",
        }
    }
}

/// A reply that no replica is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// `OK`.
    Ok,
    /// A string that is not there.
    Nil,
    /// A number.
    Number(i64),
    /// No elements.
    Empty,
    /// What a server says of itself.
    Info,
    /// `HELLO`.
    Hello,
    /// `ROLE`.
    Role,
    /// `TIME`, by the request clock.
    Time,
    /// `CONFIG GET`: bit `i` stands for entry `i` of [`SETTINGS`].
    Settings(u8),
    /// A command that the service does not know.
    Unknown(Word),
    /// A command with too few arguments, or too many.
    Arity(&'static str),
    /// A command that the service knows and does not do.
    Refused(&'static str, Refusal),
    /// A time of expiry that is none.
    ExpireTime(&'static str),
    /// Another error.
    Error(&'static str),
    /// What the client sends cannot be read.
    Fault(Fault),
}

/// Settings that clients ask for, and what they are told.
pub(super) const SETTINGS: [(&str, &str); 6] = [
    ("appendonly", "no"),
    ("databases", "16"),
    ("maxmemory", "0"),
    ("maxmemory-policy", "noeviction"),
    ("save", ""),
    ("timeout", "0"),
];

pub(super) const NOT_A_NUMBER: Answer =
    Answer::Error("ERR value is not an integer or out of range");
pub(super) const SYNTAX: Answer = Answer::Error("ERR syntax error");
/// The reply to `EXEC` after an error in the transaction.
pub(super) const ABORTED: Answer =
    Answer::Error("EXECABORT Transaction discarded because of previous errors.");

const INFO: &str = "# Server\r\nredis_version:7.0.0\r\nredis_mode:standalone\r\n\r\n\
    # Persistence\r\nloading:0\r\n\r\n\
    # Replication\r\nrole:master\r\nconnected_slaves:0\r\n";

impl Answer {
    /// Whether it is an error.
    pub(super) fn is_error(self) -> bool {
        matches!(
            self,
            Self::Unknown(_)
                | Self::Arity(_)
                | Self::Refused(..)
                | Self::ExpireTime(_)
                | Self::Error(_)
                | Self::Fault(_)
        )
    }

    /// Writes it, at most [`ANSWER_BYTES`].
    pub(super) fn write(self, clock_ms: u64, out: &mut Out) {
        match self {
            Self::Ok => out.put(b"+OK\r\n"),
            Self::Nil => out.put(b"$-1\r\n"),
            Self::Number(value) => out.put_header(b':', value),
            Self::Empty => out.put_array(0),
            Self::Info => out.put_bulk(INFO.as_bytes()),
            Self::Hello => {
                out.put_array(14);
                for word in ["server", "redis", "version", "7.0.0", "proto"] {
                    out.put_bulk(word.as_bytes());
                }
                out.put_header(b':', 2);
                out.put_bulk(b"id");
                out.put_header(b':', 1);
                for word in ["mode", "standalone", "role", "master", "modules"] {
                    out.put_bulk(word.as_bytes());
                }
                out.put_array(0);
            }
            Self::Role => {
                out.put_array(3);
                out.put_bulk(b"master");
                out.put_header(b':', 0);
                out.put_array(0);
            }
            Self::Time => {
                out.put_array(2);
                out.put_bulk_number((clock_ms / 1000) as i64);
                out.put_bulk_number((clock_ms % 1000 * 1000) as i64);
            }
            Self::Settings(which) => {
                let chosen = || (0..SETTINGS.len()).filter(|bit| which & (1 << bit) != 0);
                out.put_array(2 * chosen().count());
                for at in chosen() {
                    out.put_bulk(SETTINGS[at].0.as_bytes());
                    out.put_bulk(SETTINGS[at].1.as_bytes());
                }
            }
            Self::Unknown(word) => {
                out.put(b"-ERR unknown command '");
                for byte in word.bytes() {
                    out.put(&[if byte.is_ascii_graphic() { *byte } else { b'?' }]);
                }
                out.put(if word.is_whole() { b"'\r\n" } else { b"...'\r\n" });
            }
            Self::Arity(name) => {
                put_all(out, &["-ERR wrong number of arguments for '", name, "' command\r\n"]);
            }
            Self::Refused(name, why) => {
                put_all(out, &["-ERR '", name, "' is refused here: ", why.text(), "\r\n"]);
            }
            Self::ExpireTime(name) => {
                put_all(out, &["-ERR invalid expire time in '", name, "' command\r\n"]);
            }
            Self::Error(text) => put_all(out, &["-", text, "\r\n"]),
            Self::Fault(fault) => put_all(out, &["-ERR Protocol error: ", text(fault), "\r\n"]),
        }
    }
}

fn put_all(out: &mut Out, texts: &[&str]) {
    for text in texts {
        out.put(text.as_bytes());
    }
}

fn text(fault: Fault) -> &'static str {
    match fault {
        Fault::Count => "invalid multibulk length",
        Fault::Length => "invalid bulk length",
        Fault::NoBulk => "expected '$'",
        Fault::Inline => "unbalanced quotes in request",
        Fault::Foreign => "not a request of this protocol",
        Fault::TooLong => "request too long",
    }
}

/// What `HELLO` is answered, by the words that follow it.
pub(super) fn hello<'a>(mut words: impl Iterator<Item = &'a [u8]>) -> Answer {
    match words.next() {
        None => return Answer::Hello,
        Some(b"2") => {}
        Some(_) => return Answer::Error("NOPROTO unsupported protocol version"),
    }
    while let Some(word) = words.next() {
        if word.eq_ignore_ascii_case(b"auth") {
            return auth(2);
        }
        if !word.eq_ignore_ascii_case(b"setname") || words.next().is_none() {
            return SYNTAX;
        }
    }
    Answer::Hello
}

/// What `AUTH` is answered with so many words after it: as by a server without passwords.
pub(super) fn auth(words: usize) -> Answer {
    match words {
        1 => Answer::Error(
            "ERR AUTH <password> called without any password configured for the default user. \
             Are you sure your configuration is correct?",
        ),
        2 => Answer::Error("WRONGPASS invalid username-password pair or user is disabled."),
        _ => SYNTAX,
    }
}

/// What `CLIENT` is answered, by the word that follows it, in lower case.
pub(super) fn client(word: &[u8]) -> Answer {
    match word {
        b"setname" | b"setinfo" | b"no-evict" => Answer::Ok,
        b"getname" => Answer::Nil,
        b"id" => Answer::Number(1),
        _ => Answer::Refused("client", Refusal::Private),
    }
}

/// What `COMMAND` is answered, by the word that follows it, in lower case.
pub(super) fn command(word: &[u8]) -> Answer {
    match word {
        b"count" => Answer::Number(super::commands::COMMANDS.len() as i64),
        b"" | b"docs" | b"info" | b"list" => Answer::Empty,
        _ => Answer::Refused("command", Refusal::Private),
    }
}

/// What `CONFIG` is answered, by the words that follow it.
pub(super) fn config<'a>(mut words: impl Iterator<Item = &'a [u8]>) -> Answer {
    if !words.next().is_some_and(|word| word.eq_ignore_ascii_case(b"get")) {
        return Answer::Refused("config", Refusal::Operation);
    }
    let mut which = 0;
    for word in words {
        for (bit, (name, _)) in SETTINGS.iter().enumerate() {
            if word == b"*" || word.eq_ignore_ascii_case(name.as_bytes()) {
                which |= 1 << bit;
            }
        }
    }
    Answer::Settings(which)
}

/// An error of a server is one of this server alone, about its own condition, and no answer.
///
/// The first word of an error is its kind (`createSharedObjects` in `server.c` of Redis 7.0). What a server does not
/// know though the table of commands has it, it lacks or was told to hide.
pub(super) fn is_private_error(line: &[u8]) -> bool {
    const KINDS: &[&[u8]] = &[
        b"LOADING",
        b"BUSY",
        b"MASTERDOWN",
        b"MISCONF",
        b"READONLY",
        b"NOREPLICAS",
        b"OOM",
        b"NOAUTH",
        b"NOPERM",
        b"DENIED",
        b"CLUSTERDOWN",
        b"MOVED",
        b"ASK",
        b"TRYAGAIN",
        b"UNBLOCKED",
        b"NOTBUSY",
    ];
    const TEXTS: &[&[u8]] = &[b"ERR max number of clients", b"ERR unknown command"];
    let kind = line.split(|byte| *byte == b' ').next().unwrap_or(line);
    KINDS.contains(&kind) || TEXTS.iter().any(|text| line.starts_with(text))
}

/// Room to write one of these, and the header of an array.
pub(super) const ROOM_BYTES: usize = ANSWER_BYTES + HEADER_BYTES;

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    fn text_of(answer: Answer) -> String {
        let mut out = Out::new(ANSWER_BYTES);
        answer.write(1_700_000_000_123, &mut out);
        assert!(!out.overflowed());
        String::from_utf8(out.front().to_vec()).unwrap()
    }

    #[test]
    fn answers_are_replies() {
        assert_eq!(text_of(Answer::Time), "*2\r\n$10\r\n1700000000\r\n$6\r\n123000\r\n");
        assert_eq!(
            text_of(Answer::Settings(0b10001)),
            "*4\r\n$10\r\nappendonly\r\n$2\r\nno\r\n$4\r\nsave\r\n$0\r\n\r\n"
        );
        let refused = Answer::Refused("spop", Refusal::Random);
        assert_eq!(text_of(refused), "-ERR 'spop' is refused here: its reply is random\r\n");
        assert_eq!(text_of(Answer::Unknown(Word::default())), "-ERR unknown command ''\r\n");
        assert!(text_of(Answer::Hello).starts_with("*14\r\n"));
        assert!(text_of(Answer::Info).ends_with("connected_slaves:0\r\n\r\n"));
    }

    #[test]
    fn hello_speaks_one_version() {
        let hello = |words: &[&'static [u8]]| hello(words.iter().copied());
        assert_eq!(hello(&[]), Answer::Hello);
        assert_eq!(hello(&[b"2", b"SETNAME", b"me"]), Answer::Hello);
        assert!(text_of(hello(&[b"3"])).starts_with("-NOPROTO "));
        assert!(text_of(hello(&[b"2", b"AUTH", b"a", b"b"])).starts_with("-WRONGPASS "));
        assert_eq!(hello(&[b"2", b"SETNAME"]), SYNTAX);
    }

    #[test]
    fn a_server_that_is_not_ready_has_not_answered() {
        for line in
            ["LOADING Redis is loading the dataset in memory", "BUSY Redis is busy", "OOM x"]
        {
            assert!(is_private_error(line.as_bytes()));
        }
        for line in ["ERR syntax error", "WRONGTYPE Operation against a key", "BUSYGROUP x", ""] {
            assert!(!is_private_error(line.as_bytes()));
        }
    }
}
