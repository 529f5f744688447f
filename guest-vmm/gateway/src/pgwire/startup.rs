//! The start of a session: what a client may wish for, and what a replica is told.

use super::answers::Out;
use super::lexer::NAME_BYTES;
use super::messages::Fields;
use super::words;

/// Parameters that every session has at every replica, whatever its client says. What takes too long, or waits for what
/// another session holds, ends with an error at all replicas, and before the voter's patience does. Plans
/// depend on neither threads nor on what else goes on; values are written in one way.
const FIXED: &str = "-c TimeZone=UTC -c DateStyle=ISO,MDY -c IntervalStyle=postgres \
    -c extra_float_digits=1 -c bytea_output=hex -c standard_conforming_strings=on \
    -c lock_timeout=500 -c statement_timeout=4000 \
    -c idle_in_transaction_session_timeout=0 -c idle_session_timeout=0 \
    -c lc_monetary=C -c lc_numeric=C -c lc_time=C -c client_min_messages=error \
    -c max_parallel_workers_per_gather=0 -c jit=off -c synchronize_seqscans=off \
    -c plan_cache_mode=force_custom_plan";

/// Most bytes that what is sent to a replica is longer than what the client sent.
pub(super) const SLACK_BYTES: usize = 1024;

/// What a server must say of itself, as the profile relies on it.
pub(super) const DEMANDED: [(&[u8], &[u8]); 4] = [
    (b"client_encoding", b"UTF8"),
    (b"integer_datetimes", b"on"),
    (b"server_encoding", b"UTF8"),
    (b"standard_conforming_strings", b"on"),
];

/// What a client is told of its server besides.
pub(super) const TOLD: [&[u8]; 6] = [
    b"DateStyle",
    b"IntervalStyle",
    b"TimeZone",
    b"application_name",
    b"is_superuser",
    b"session_authorization",
];

/// Why a session does not begin: SQLSTATE and text.
pub(super) type Refused = (&'static str, &'static str);

/// Writes what a replica is told, from what the client said.
pub(super) fn start(body: &[u8], out: &mut Out) -> Result<(), Refused> {
    let (mut user, mut database, mut len) = (None, None, 0);
    for pair in pairs(body) {
        let (name, value) = pair.ok_or(("08P01", "malformed start of a session"))?;
        match name {
            b"user" => user = Some(value),
            b"database" => database = Some(value),
            _ if passes(name, value)? => len += name.len() + value.len() + 2,
            _ => {}
        }
    }
    let user = user.filter(|user| !user.is_empty());
    let user = user.ok_or(("28000", "no PostgreSQL user name specified in startup packet"))?;
    let database = database.filter(|name| !name.is_empty()).unwrap_or(user);
    if user.len() > NAME_BYTES || database.len() > NAME_BYTES {
        return Err(("42622", "refused here: a name that is too long"));
    }
    let own = [
        (&b"user"[..], user),
        (b"database", database),
        (b"client_encoding", b"UTF8"),
        (b"options", FIXED.as_bytes()),
    ];
    let own_len = own.iter().map(|(name, value)| name.len() + value.len() + 2).sum::<usize>();
    out.put_long((8 + own_len + len + 1) as u32);
    out.put_long(3 << 16);
    let passing = pairs(body).flatten().filter(|(name, value)| {
        !matches!(*name, b"user" | b"database") && passes(name, value) == Ok(true)
    });
    for (name, value) in own.into_iter().chain(passing) {
        for text in [name, value] {
            out.put(text);
            out.put(&[0]);
        }
    }
    out.put(&[0]);
    Ok(())
}

/// The parameters of a client: `None` where they cannot be read.
fn pairs(body: &[u8]) -> impl Iterator<Item = Option<(&[u8], &[u8])>> {
    let mut fields = Fields(body);
    let mut over = false;
    core::iter::from_fn(move || {
        if over || fields.0 == [0] {
            return None;
        }
        let pair = fields.string().zip(fields.string()).filter(|(name, _)| !name.is_empty());
        over = pair.is_none();
        Some(pair)
    })
}

/// Whether a parameter is passed on; if not, it says what is so anyhow.
fn passes(name: &[u8], value: &[u8]) -> Result<bool, Refused> {
    let mut folded = [0; 32];
    let folded = folded.get_mut(..name.len()).unwrap_or_default();
    folded.copy_from_slice(name.get(..folded.len()).unwrap_or_default());
    folded.make_ascii_lowercase();
    let hides = |part: &[u8]| value.windows(part.len()).any(|window| window == part);
    match &*folded {
        b"client_encoding" => {
            let value = value.strip_prefix(b"'").unwrap_or(value);
            let value = value.strip_suffix(b"'").unwrap_or(value);
            let known = [&b"utf8"[..], b"utf-8", b"unicode"];
            match known.iter().any(|known| value.eq_ignore_ascii_case(known)) {
                true => Ok(false),
                false => Err(("0A000", "refused here: a client_encoding other than UTF8")),
            }
        }
        b"options" if value.is_empty() => Ok(false),
        b"search_path" if hides(b"pg_") || hides(b"information_schema") => {
            Err(("0A000", "refused here: this search_path"))
        }
        name if words::has(words::SETTABLE, name) && name != b"constraints" => Ok(true),
        _ => Err(("0A000", "refused here: a parameter at the start of a session")),
    }
}

/// The version that a client is told: the main one, as the minor ones of replicas may differ.
pub(super) fn main_version(version: &[u8]) -> &[u8] {
    let digits = version.iter().take_while(|byte| byte.is_ascii_digit()).count();
    &version[..digits]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    fn started(body: &str) -> Result<String, Refused> {
        let mut out = Out::new(4096);
        start(body.as_bytes(), &mut out)?;
        let said = out.front();
        assert_eq!(said[..4], (said.len() as u32).to_be_bytes());
        assert!(said.len() <= body.len() + SLACK_BYTES);
        Ok(String::from_utf8_lossy(&said[8..]).replace('\0', "|").replace(FIXED, "FIXED"))
    }

    #[test]
    fn what_a_replica_is_told() {
        let own = |database| {
            std::format!("user|a|database|{database}|client_encoding|UTF8|options|FIXED|")
        };
        for (body, wanted) in [
            ("user\0a\0\0", own("a") + "|"),
            ("database\0b\0user\0a\0client_encoding\0'utf-8'\0\0", own("b") + "|"),
            ("user\0a\0DateStyle\0ISO\0options\0\0\0", own("a") + "DateStyle|ISO||"),
        ] {
            assert_eq!(started(body), Ok(wanted));
        }
    }

    #[test]
    fn what_a_client_may_not_wish_for() {
        for (body, code) in [
            ("\0", "28000"),
            ("user\0\0\0", "28000"),
            ("user\0a\0", "08P01"),
            ("user\0a", "08P01"),
            ("user\0a\0\0x", "08P01"),
            ("user\0a\0options\0-c jit=on\0\0", "0A000"),
            ("user\0a\0replication\0database\0\0", "0A000"),
            ("user\0a\0client_encoding\0LATIN1\0\0", "0A000"),
            ("user\0a\0search_path\0pg_catalog\0\0", "0A000"),
            ("user\0a\0lock_timeout\x000\0\0", "0A000"),
        ] {
            assert_eq!(started(body).map_err(|(code, _)| code), Err(code), "{body:?}");
        }
        let long = "x".repeat(NAME_BYTES + 1);
        assert!(started(&std::format!("user\0{long}\0\0")).is_err());
        assert_eq!(main_version(b"15.18 (Debian)"), b"15");
    }
}
