//! What a key can hold.

use crate::resp::replies::NoAnswer;

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// There is no such key any more.
    None,
    String,
    List,
    Set,
    Hash,
    Sorted,
}

impl Kind {
    /// As `TYPE` names it. Streams are not among them.
    pub(super) fn named(name: &[u8]) -> Result<Self, NoAnswer> {
        Ok(match name {
            b"none" => Self::None,
            b"string" => Self::String,
            b"list" => Self::List,
            b"set" => Self::Set,
            b"hash" => Self::Hash,
            b"zset" => Self::Sorted,
            _ => return Err(NoAnswer),
        })
    }

    /// The request that reads it all: the words before and after the key.
    pub(super) fn read(self) -> Option<(&'static str, &'static [&'static str])> {
        Some(match self {
            Self::None => return None,
            Self::String => ("GET", &[]),
            Self::List => ("LRANGE", &["0", "-1"]),
            Self::Set => ("SMEMBERS", &[]),
            Self::Hash => ("HGETALL", &[]),
            Self::Sorted => ("ZRANGE", &["0", "-1", "WITHSCORES"]),
        })
    }

    /// The command that makes it.
    pub(super) fn made_by(self) -> &'static str {
        match self {
            Self::None | Self::String => "SET",
            Self::List => "RPUSH",
            Self::Set => "SADD",
            Self::Hash => "HSET",
            Self::Sorted => "ZADD",
        }
    }

    /// Whether its elements come in pairs.
    pub(super) fn has_pairs(self) -> bool {
        matches!(self, Self::Hash | Self::Sorted)
    }

    /// Whether its elements come in no order.
    pub(super) fn is_unordered(self) -> bool {
        matches!(self, Self::Set | Self::Hash)
    }

    /// The arguments that make one of its elements, from what was read of it.
    pub(super) fn words<'a>(self, first: &'a [u8], second: &'a [u8]) -> ([&'a [u8]; 2], usize) {
        match self {
            Self::Sorted => ([second, first], 2),
            Self::Hash => ([first, second], 2),
            _ => ([first, second], 1),
        }
    }
}
