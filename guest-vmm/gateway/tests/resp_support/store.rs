//! A small Redis server whose sets, hashes and keys come in an order that its seed decides.

use std::collections::BTreeMap;

use super::{Rng, reply_len};

#[derive(Clone, Debug)]
pub(crate) enum Held {
    Text(Vec<u8>),
    List(Vec<Vec<u8>>),
    Set(Vec<Vec<u8>>),
    Hash(Vec<(Vec<u8>, Vec<u8>)>),
    Sorted(BTreeMap<Vec<u8>, i64>),
}

#[derive(Clone, Debug)]
struct Entry {
    held: Held,
    expires_ms: i64,
}

type Words = Vec<Vec<u8>>;

/// One server with one connection.
pub(crate) struct Server {
    pub(crate) connected: bool,
    /// What the next requests are answered instead of what is right.
    pub(crate) instead: Option<&'static [u8]>,
    /// Requests that it was sent.
    pub(crate) log: Vec<String>,
    databases: [BTreeMap<Vec<u8>, Entry>; 16],
    rng: Rng,
    database: usize,
    input: Vec<u8>,
    queue: Option<Vec<Words>>,
}

fn bulk(bytes: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

fn array(items: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let items: Vec<_> = items.into_iter().collect();
    [format!("*{}\r\n", items.len()).into_bytes(), items.concat()].concat()
}

fn integer(value: usize) -> Vec<u8> {
    format!(":{value}\r\n").into_bytes()
}

fn parse(word: &[u8]) -> Option<i64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

const OK: &[u8] = b"+OK\r\n";
const WRONG_TYPE: &[u8] = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";

impl Server {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            connected: false,
            instead: None,
            log: Vec::new(),
            databases: Default::default(),
            rng: Rng::new(seed),
            database: 0,
            input: Vec::new(),
            queue: None,
        }
    }

    pub(crate) fn connect(&mut self) {
        self.connected = true;
        self.database = 0;
        self.input.clear();
        self.queue = None;
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.rng.below(at + 1));
        }
    }

    /// Takes bytes of requests and returns replies.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.input.extend_from_slice(bytes);
        let mut said = Vec::new();
        while let Some(len) = Some(&self.input).filter(|i| !i.is_empty()).and_then(|i| reply_len(i))
        {
            let request: Vec<u8> = self.input.drain(..len).collect();
            let mut words = Vec::new();
            let mut rest = &request[request.iter().position(|b| *b == b'\n').unwrap() + 1..];
            while let Some(len) = Some(rest).filter(|rest| !rest.is_empty()).and_then(reply_len) {
                let start = rest.iter().position(|b| *b == b'\n').unwrap() + 1;
                words.push(rest[start..len - 2].to_vec());
                rest = &rest[len..];
            }
            let text: Vec<_> = words.iter().map(|w| String::from_utf8_lossy(w)).collect();
            self.log.push(text.join(" "));
            said.extend(self.queued(words));
        }
        said
    }

    fn queued(&mut self, words: Words) -> Vec<u8> {
        if let Some(instead) = self.instead {
            return instead.to_vec();
        }
        let name = words[0].to_ascii_uppercase();
        match (&name[..], &mut self.queue) {
            (b"MULTI", _) => {
                self.queue = Some(Vec::new());
                OK.to_vec()
            }
            (b"DISCARD", queue) => {
                *queue = None;
                OK.to_vec()
            }
            (b"EXEC", queue) => {
                let queue = queue.take().expect("a transaction");
                let replies: Vec<_> = queue.into_iter().map(|words| self.execute(words)).collect();
                array(replies)
            }
            (b"RESET", _) => {
                self.connect();
                b"+RESET\r\n".to_vec()
            }
            (_, Some(queue)) => {
                queue.push(words);
                b"+QUEUED\r\n".to_vec()
            }
            _ => self.execute(words),
        }
    }

    fn execute(&mut self, words: Words) -> Vec<u8> {
        let name = String::from_utf8(words[0].to_ascii_uppercase()).unwrap();
        let word = |at: usize| words.get(at).cloned().unwrap_or_default();
        match &name[..] {
            "PING" if words.len() == 1 => return b"+PONG\r\n".to_vec(),
            "PING" | "ECHO" => return bulk(&word(1)),
            "SELECT" => {
                self.database = parse(&word(1)).unwrap() as usize;
                return OK.to_vec();
            }
            "DBSIZE" => return integer(self.databases[self.database].len()),
            "KEYS" => {
                let mut keys: Vec<_> = self.databases[self.database].keys().cloned().collect();
                self.shuffle(&mut keys);
                return array(keys.iter().map(|key| bulk(key)));
            }
            "WATCH" | "UNWATCH" => return OK.to_vec(),
            _ => {}
        }
        self.on_key(&name, &words)
    }

    fn on_key(&mut self, name: &str, words: &Words) -> Vec<u8> {
        let (key, args) = (words[1].clone(), &words[2..]);
        let data = &mut self.databases[self.database];
        let empty = match name {
            "RPUSH" => Some(Held::List(Vec::new())),
            "SADD" => Some(Held::Set(Vec::new())),
            "HSET" => Some(Held::Hash(Vec::new())),
            "ZADD" => Some(Held::Sorted(BTreeMap::new())),
            "APPEND" | "INCR" => Some(Held::Text(Vec::new())),
            _ => None,
        };
        if name == "SET" {
            let at = args.iter().position(|word| word.eq_ignore_ascii_case(b"PXAT"));
            let expires_ms = at.map_or(-1, |at| parse(&args[at + 1]).unwrap());
            data.insert(key, Entry { held: Held::Text(args[0].clone()), expires_ms });
            return OK.to_vec();
        }
        if let Some(held) = empty {
            data.entry(key.clone()).or_insert(Entry { held, expires_ms: -1 });
        }
        let Some(entry) = data.get_mut(&key) else {
            return match name {
                "TYPE" => b"+none\r\n".to_vec(),
                "PEXPIRETIME" => b":-2\r\n".to_vec(),
                "GET" => b"$-1\r\n".to_vec(),
                "SMEMBERS" | "HGETALL" | "LRANGE" | "ZRANGE" | "HKEYS" => array([]),
                "SSCAN" | "HSCAN" => array([bulk(b"0"), array([])]),
                _ => integer(0),
            };
        };
        let said = match (name, &mut entry.held) {
            ("DEL", _) => {
                data.remove(&key);
                integer(1)
            }
            ("TYPE", held) => {
                let kind = match held {
                    Held::Text(_) => "string",
                    Held::List(_) => "list",
                    Held::Set(_) => "set",
                    Held::Hash(_) => "hash",
                    Held::Sorted(_) => "zset",
                };
                format!("+{kind}\r\n").into_bytes()
            }
            ("PEXPIRETIME", _) => format!(":{}\r\n", entry.expires_ms).into_bytes(),
            ("PEXPIREAT", _) => {
                entry.expires_ms = parse(&args[0]).unwrap();
                integer(1)
            }
            ("GET", Held::Text(text)) => bulk(text),
            ("APPEND", Held::Text(text)) => {
                text.extend_from_slice(&args[0]);
                integer(text.len())
            }
            ("INCR", Held::Text(text)) => {
                let Some(value) = parse(if text.is_empty() { b"0" } else { text }) else {
                    return b"-ERR value is not an integer or out of range\r\n".to_vec();
                };
                *text = (value + 1).to_string().into_bytes();
                format!(":{}\r\n", value + 1).into_bytes()
            }
            ("RPUSH", Held::List(list)) => {
                list.extend_from_slice(args);
                integer(list.len())
            }
            ("LRANGE", Held::List(list)) => array(list.iter().map(|item| bulk(item))),
            ("SADD", Held::Set(set)) => {
                let before = set.len();
                args.iter().for_each(|word| {
                    if !set.contains(word) {
                        set.push(word.clone());
                    }
                });
                integer(set.len() - before)
            }
            ("HSET", Held::Hash(hash)) => {
                let before = hash.len();
                for pair in args.chunks(2) {
                    match hash.iter_mut().find(|(field, _)| *field == pair[0]) {
                        Some((_, value)) => *value = pair[1].clone(),
                        None => hash.push((pair[0].clone(), pair[1].clone())),
                    }
                }
                integer(hash.len() - before)
            }
            ("ZADD", Held::Sorted(sorted)) => {
                let before = sorted.len();
                for pair in args.chunks(2) {
                    sorted.insert(pair[1].clone(), parse(&pair[0]).unwrap());
                }
                integer(sorted.len() - before)
            }
            ("ZRANGE", Held::Sorted(sorted)) => {
                let mut items: Vec<_> = sorted.iter().map(|(item, score)| (*score, item)).collect();
                items.sort();
                let pair = |(score, item): &(i64, &Vec<u8>)| {
                    [bulk(item), bulk(score.to_string().as_bytes())]
                };
                array(items.iter().flat_map(pair))
            }
            ("SMEMBERS" | "SSCAN", Held::Set(set)) => {
                let mut items = set.clone();
                self.shuffle(&mut items);
                let items = array(items.iter().map(|item| bulk(item)));
                if name == "SSCAN" { array([bulk(b"0"), items]) } else { items }
            }
            ("HGETALL" | "HSCAN" | "HKEYS", Held::Hash(hash)) => {
                let mut items = hash.clone();
                self.shuffle(&mut items);
                let items = match name {
                    "HKEYS" => array(items.iter().map(|(field, _)| bulk(field))),
                    _ => array(items.iter().flat_map(|(field, value)| [bulk(field), bulk(value)])),
                };
                if name == "HSCAN" { array([bulk(b"0"), items]) } else { items }
            }
            _ => WRONG_TYPE.to_vec(),
        };
        if let Some(entry) = self.databases[self.database].get(&key)
            && matches!(&entry.held, Held::Text(text) if text.is_empty() && name == "INCR")
        {
            self.databases[self.database].remove(&key);
        }
        said
    }
}
