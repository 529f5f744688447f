//! A service with state, its replicas and its clients, against which the order is tried.
//!
//! Requests are lines: `S<key>=<value>` sets a key of the session's database, `G<key>` reads it, `D<database>` chooses
//! the database of the session, as Redis' `SELECT` does.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

pub mod gateway;

use std::collections::{BTreeMap, VecDeque};

use resh_channel::message::{Kind, Message, OrderedHead, Request, SessionId};

/// What one replica knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Store {
    pub keys: BTreeMap<(u8, Vec<u8>), Vec<u8>>,
    pub databases: BTreeMap<(u16, u16), u8>,
}

impl Store {
    pub fn execute(&mut self, session: SessionId, request: &[u8]) {
        let id = (session.index, session.generation);
        let line = &request[1..request.len() - 1];
        match request[0] {
            b'D' => {
                self.databases.insert(id, line[0]);
            }
            b'S' => {
                let at = line.iter().position(|byte| *byte == b'=').expect("well formed");
                let database = self.databases.get(&id).copied().unwrap_or(b'0');
                // What it sets depends on what is there: executing it twice, or in another order, shows.
                let value = self.keys.entry((database, line[..at].to_vec())).or_default();
                let sum = value.iter().fold(7u8, |sum, byte| sum.wrapping_mul(31) ^ byte);
                value.truncate(64);
                value.insert(0, b'a' + sum % 26);
                value.extend_from_slice(&line[at + 1..]);
            }
            b'W' => {
                let at = line.iter().position(|byte| *byte == b'=').expect("well formed");
                let database = self.databases.get(&id).copied().unwrap_or(b'0');
                self.keys.insert((database, line[..at].to_vec()), line[at + 1..].to_vec());
            }
            _ => {}
        }
    }

    /// What a client is told of a request, when it is to be executed.
    pub fn reply(&self, session: SessionId, request: &[u8]) -> Vec<u8> {
        let id = (session.index, session.generation);
        let database = self.databases.get(&id).copied().unwrap_or(b'0');
        let key = request[1..].split(|byte| b"=\n".contains(byte)).next().unwrap_or_default();
        let value = self.keys.get(&(database, key.to_vec())).cloned().unwrap_or_default();
        match request[0] {
            b'G' => [b"=", &value[..], b"\n"].concat(),
            b'S' => [b"+", &value[..value.len().min(5)], b"\n"].concat(),
            _ => b"+\n".to_vec(),
        }
    }

    pub fn end(&mut self, session: SessionId) {
        self.databases.remove(&(session.index, session.generation));
    }

    /// Requests that make it anew, each after its length.
    pub fn dump(&self) -> Vec<u8> {
        let mut dump = Vec::new();
        for ((database, key), value) in &self.keys {
            let set = [b"W", &key[..], b"=", value, b"\n"].concat();
            for request in [vec![b'D', *database, b'\n'], set] {
                dump.extend_from_slice(&(request.len() as u32).to_le_bytes());
                dump.extend_from_slice(&request);
            }
        }
        dump
    }
}

/// Flags of a request, as a framer says them.
pub fn flags(request: &[u8]) -> u8 {
    match request[0] {
        b'G' => Request::READ_ONLY,
        b'D' => Request::READ_ONLY | Request::STICKY,
        _ => 0,
    }
}

/// Where the first request in `bytes` ends.
pub fn end_of_request(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1)
}

/// One record as it lies in the broadcast ring.
pub type Heard = (Message, Vec<u8>);

/// The executor of one replica.
#[derive(Default)]
pub struct Executor {
    pub up: bool,
    pub lies: bool,
    pub waiting: VecDeque<Heard>,
    pub waiting_bytes: usize,
    pub store: Store,
    /// Numbers executed in this life.
    pub executed: Vec<u64>,
    /// The dump of the last export, and its session.
    pub dump: Option<(SessionId, Vec<u8>)>,
}

impl Executor {
    pub fn begin(&mut self) {
        *self = Self { up: true, ..Self::default() };
    }

    pub fn hear(&mut self, message: Message, payload: &[u8]) {
        self.waiting_bytes += payload.len();
        self.waiting.push_back((message, payload.to_vec()));
    }

    /// Executes the next record. Returns the number it answers.
    pub fn execute(&mut self) -> Option<Option<u64>> {
        let (message, payload) = self.waiting.pop_front()?;
        self.waiting_bytes -= payload.len();
        if message.kind == Kind::Evict {
            self.store.end(message.session);
            return Some(None);
        }
        assert_eq!(message.kind, Kind::Ordered);
        assert!(self.executed.last().is_none_or(|last| *last <= message.offset), "order");
        self.executed.push(message.offset);
        let request = &payload[size_of::<OrderedHead>()..];
        if Request(message.arg).is(Request::EXPORT) {
            let mut dump = self.store.dump();
            if self.lies
                && let Some(byte) = dump.last_mut()
            {
                *byte ^= 1;
            }
            self.dump = Some((message.session, dump));
        } else {
            self.store.execute(message.session, request);
        }
        Some(Some(message.offset))
    }
}
