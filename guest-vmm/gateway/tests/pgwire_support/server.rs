//! A server that knows no SQL: `SELECT n` gives n rows, in a random order unless it says `ORDER BY`; `BOOM` is an error;
//! anything else is done. What it says of itself is random.

use std::collections::BTreeMap;

use super::{Rng, message};

pub(crate) struct Server {
    pub(crate) connected: bool,
    /// Requests that came, as text.
    pub(crate) log: Vec<String>,
    rng: Rng,
    input: Vec<u8>,
    started: bool,
    status: u8,
    prepared: BTreeMap<Vec<u8>, String>,
    portal: String,
    failed: bool,
    /// Each row is longer by so many bytes.
    pub(crate) row_bytes: usize,
}

fn string(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0).expect("a string");
    (&bytes[..end], &bytes[end + 1..])
}

impl Server {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            connected: false,
            log: Vec::new(),
            rng: Rng::new(seed),
            input: Vec::new(),
            started: false,
            status: b'I',
            prepared: BTreeMap::new(),
            portal: String::new(),
            failed: false,
            row_bytes: 0,
        }
    }

    pub(crate) fn connect(&mut self) {
        self.connected = true;
        self.input.clear();
        self.prepared.clear();
        (self.started, self.status, self.failed) = (false, b'I', false);
    }

    /// Takes bytes of a client, and returns what it says.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.input.extend_from_slice(bytes);
        let mut said = Vec::new();
        loop {
            let at = usize::from(self.started);
            let Some(len) = self.input.get(at..at + 4) else { return said };
            let len = u32::from_be_bytes(len.try_into().unwrap()) as usize + at;
            if self.input.len() < len {
                return said;
            }
            let whole: Vec<u8> = self.input.drain(..len).collect();
            match self.started {
                true => self.message(whole[0], &whole[5..], &mut said),
                false => self.start(&whole[8..], &mut said),
            }
        }
    }

    fn start(&mut self, body: &[u8], said: &mut Vec<u8>) {
        self.log.push(String::from_utf8_lossy(body).replace('\0', "|"));
        self.started = true;
        said.extend(message(b'R', &[0; 4]));
        let minor = self.rng.below(20);
        let version = format!("server_version\x0015.{minor} (Debian)\0");
        let mut parameters = vec![
            version.into_bytes(),
            b"client_encoding\0UTF8\0".to_vec(),
            b"server_encoding\0UTF8\0".to_vec(),
            b"integer_datetimes\0on\0".to_vec(),
            b"standard_conforming_strings\0on\0".to_vec(),
            b"in_hot_standby\0off\0".to_vec(),
            b"TimeZone\0UTC\0".to_vec(),
        ];
        self.shuffle(&mut parameters);
        said.extend(parameters.iter().flat_map(|body| message(b'S', body)));
        let key = self.rng.next().to_be_bytes();
        said.extend(message(b'K', &key));
        said.extend(message(b'Z', b"I"));
    }

    fn shuffle<T>(&mut self, all: &mut [T]) {
        for at in (1..all.len()).rev() {
            all.swap(at, self.rng.below(at + 1));
        }
    }

    fn ready(&mut self, said: &mut Vec<u8>) {
        if self.rng.one_in(3) {
            said.extend(message(b'S', b"TimeZone\0UTC\0"));
        }
        said.extend(message(b'Z', &[self.status]));
    }

    fn error(&mut self, code: &str, said: &mut Vec<u8>) {
        let line = self.rng.below(1000);
        let body = format!("SERROR\0VERROR\0C{code}\0Msomething\0DKey {line}\0Fx.c\0L{line}\0\0");
        said.extend(message(b'E', body.as_bytes()));
        if self.status != b'I' {
            self.status = b'E';
        }
    }

    fn describe(&mut self, said: &mut Vec<u8>) {
        let own = (16_384 + self.rng.below(1000) as u32).to_be_bytes();
        let body = [&[0, 1][..], b"n\0", &own, &[0, 1], &own, &[0xff; 6], &[0, 0]].concat();
        said.extend(message(b'T', &body));
    }

    /// Executes one statement. False if it failed.
    fn run(&mut self, sql: &str, described: bool, said: &mut Vec<u8>) -> bool {
        let folded = sql.to_ascii_uppercase();
        if folded.contains("BOOM") || folded.starts_with("REFUSED") {
            self.error("42601", said);
            return false;
        }
        if self.rng.one_in(5) {
            said.extend(message(b'N', b"SNOTICE\0Mhi\0\0"));
        }
        let Some(rest) = folded.strip_prefix("SELECT ") else {
            match &folded[..] {
                "BEGIN" => self.status = b'T',
                "COMMIT" | "ROLLBACK" => self.status = b'I',
                _ => {}
            }
            said.extend(message(b'C', b"DONE\0"));
            return true;
        };
        if described {
            self.describe(said);
        }
        let count = rest.split(' ').next().and_then(|word| word.parse::<usize>().ok());
        let mut rows: Vec<usize> = (0..count.unwrap_or(3).min(3000)).collect();
        if !folded.contains("ORDER BY") {
            self.shuffle(&mut rows);
        }
        for row in &rows {
            let text = format!("{row}{}", "x".repeat(self.row_bytes));
            let len = (text.len() as u32).to_be_bytes();
            said.extend(message(b'D', &[&[0, 1][..], &len, text.as_bytes()].concat()));
        }
        said.extend(message(b'C', format!("SELECT {}\0", rows.len()).as_bytes()));
        true
    }

    fn message(&mut self, kind: u8, body: &[u8], said: &mut Vec<u8>) {
        if self.failed && kind != b'S' {
            return;
        }
        match kind {
            b'Q' => {
                let sql = String::from_utf8_lossy(string(body).0).into_owned();
                self.log.push(sql.clone());
                let parts: Vec<&str> =
                    sql.split(';').map(str::trim).filter(|part| !part.is_empty()).collect();
                if parts.is_empty() {
                    said.extend(message(b'I', b""));
                }
                for part in parts {
                    if !self.run(part, true, said) {
                        break;
                    }
                }
                self.ready(said);
            }
            b'P' => {
                let (name, rest) = string(body);
                let sql = String::from_utf8_lossy(string(rest).0).trim().to_owned();
                if sql.contains("BOOM") {
                    self.failed = true;
                    return self.error("42601", said);
                }
                self.prepared.insert(name.to_vec(), sql);
                said.extend(message(b'1', b""));
            }
            b'B' => {
                let name = string(string(body).1).0;
                match self.prepared.get(name).cloned() {
                    Some(sql) => self.portal = sql,
                    None => {
                        self.failed = true;
                        return self.error("26000", said);
                    }
                }
                said.extend(message(b'2', b""));
            }
            b'D' if body[0] == b'S' => match self.prepared.contains_key(string(&body[1..]).0) {
                true => {
                    said.extend(message(b't', &[0, 1, 0, 0, 0, 23]));
                    self.describe(said);
                }
                false => {
                    self.failed = true;
                    self.error("26000", said);
                }
            },
            b'D' => self.describe(said),
            b'E' if self.portal.is_empty() => said.extend(message(b'I', b"")),
            b'E' => {
                let sql = self.portal.clone();
                self.failed = !self.run(&sql, false, said);
            }
            b'C' => {
                self.prepared.remove(string(&body[1..]).0);
                said.extend(message(b'3', b""));
            }
            b'S' => {
                self.failed = false;
                self.ready(said);
            }
            other => panic!("a message '{}'", char::from(other)),
        }
    }
}
