//! A gateway that frames requests and executes what is ordered, on the model's store.

use std::collections::{BTreeMap, VecDeque};

use resh_channel::message::{
    Kind, MAX_PAYLOAD_BYTES, Message, ORDERED_BYTES_MAX, OrderedHead, Request, SessionId,
};
use resh_channel::order::{FRAMED_REQUESTS, QUEUE_BYTES};
use resh_channel::window::REPLY_CREDIT_BYTES;

use super::{Heard, Store, end_of_request, flags};

/// What is wrong with a replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    #[default]
    None,
    /// It executes nothing any more.
    Mute,
    /// Its store is not that of the others.
    Wrong,
    /// It writes out another state than it has.
    Falsifies,
    /// Its framer errs.
    Misframes,
}

/// A session in which it has a voice.
struct Voiced {
    id: SessionId,
    /// What was not framed yet.
    upload: Vec<u8>,
    consumed: u64,
    framed: i64,
    fin: bool,
    /// What was not sent yet.
    reply: VecDeque<u8>,
    sent: u64,
    credit: u64,
    /// Its last request was executed, or it was exported.
    over: bool,
}

enum Task {
    Execute(Message, Vec<u8>),
    End(SessionId),
}

/// The gateway of one replica, in one life.
#[derive(Default)]
pub struct TotalGateway {
    pub fault: Fault,
    pub store: Store,
    voiced: BTreeMap<u16, Voiced>,
    ended: BTreeMap<u16, u16>,
    known: BTreeMap<u16, u16>,
    tasks: VecDeque<Task>,
    waiting_bytes: usize,
    /// What is being answered.
    answers: Option<(SessionId, u64)>,
    pub outbox: VecDeque<Heard>,
    pub executed: u64,
    pub replayed: u64,
}

impl TotalGateway {
    /// The position in its queue.
    pub fn waiting(&self) -> usize {
        self.tasks.len()
    }

    /// How many request bytes of a session in which it has a voice it has framed.
    pub fn consumed(&self, id: SessionId) -> u64 {
        self.voiced.get(&id.index).map_or(0, |voiced| voiced.consumed)
    }

    /// Whether it has a voice in that session, or had one to its end.
    pub fn takes_part(&self, id: SessionId) -> bool {
        self.has_voice(id) || self.ended.get(&id.index) == Some(&id.generation)
    }

    /// Whether it has a voice in that session.
    pub fn has_voice(&self, id: SessionId) -> bool {
        self.voiced.get(&id.index).is_some_and(|voiced| voiced.id == id)
    }

    pub fn hear(&mut self, message: Message, payload: &[u8], replica: usize) {
        let id = message.session;
        let for_us = message.to >> replica & 1 == 1;
        match message.kind {
            Kind::Open => {
                self.voiced.remove(&id.index);
                if for_us {
                    self.begin(id, 0, 0, REPLY_CREDIT_BYTES as u64);
                }
            }
            Kind::Admit if for_us => {
                let number =
                    |at: usize| u64::from_le_bytes(payload[at..at + 8].try_into().unwrap());
                self.begin(id, message.offset, number(16), number(24));
            }
            Kind::Ordered if for_us => {
                let request = Request(message.arg);
                if !request.is(Request::REPLAY)
                    && !request.is(Request::EXPORT)
                    && let Some(voiced) = self.voiced.get_mut(&id.index).filter(|v| v.id == id)
                {
                    voiced.framed -= 1;
                }
                if let Some(old) = self.known.insert(id.index, id.generation)
                    && old != id.generation
                {
                    self.tasks.push_back(Task::End(SessionId { generation: old, ..id }));
                }
                self.waiting_bytes += payload.len();
                assert!(self.waiting_bytes <= QUEUE_BYTES + ORDERED_BYTES_MAX);
                self.tasks.push_back(Task::Execute(message, payload.to_vec()));
            }
            Kind::Reset if self.has_voice(id) => {
                self.voiced.remove(&id.index);
                self.end(id);
            }
            Kind::Evict if usize::from(message.arg) == replica => {
                if self.has_voice(id) {
                    self.voiced.remove(&id.index);
                } else {
                    self.end(id);
                }
            }
            _ => {}
        }
        let Some(voiced) = self.voiced.get_mut(&id.index).filter(|voiced| voiced.id == id) else {
            return;
        };
        match message.kind {
            Kind::Data => {
                assert_eq!(message.offset, voiced.consumed + voiced.upload.len() as u64);
                voiced.upload.extend_from_slice(payload);
            }
            Kind::Fin => voiced.fin = true,
            Kind::Credit => voiced.credit = message.offset,
            _ => {}
        }
    }

    fn begin(&mut self, id: SessionId, consumed: u64, sent: u64, credit: u64) {
        let voiced = Voiced {
            id,
            upload: Vec::new(),
            consumed,
            framed: 0,
            fin: false,
            reply: VecDeque::new(),
            sent,
            credit,
            over: false,
        };
        self.voiced.insert(id.index, voiced);
    }

    fn end(&mut self, id: SessionId) {
        if self.known.get(&id.index) == Some(&id.generation) {
            self.known.remove(&id.index);
            self.tasks.push_back(Task::End(id));
        }
    }

    /// Frames, executes one request if it may, and sends what it may. `cut` says how much to send at once.
    pub fn act(&mut self, cut: usize) {
        if self.fault != Fault::Mute {
            self.frame();
            self.execute();
        }
        let mut over = Vec::new();
        for voiced in self.voiced.values_mut() {
            let room = (voiced.credit - voiced.sent).min(cut as u64) as usize;
            let len = voiced.reply.len().min(room).min(MAX_PAYLOAD_BYTES);
            if len > 0 {
                let bytes: Vec<u8> = voiced.reply.drain(..len).collect();
                let data = Message::new(Kind::Data, voiced.id).at(voiced.sent);
                self.outbox.push_back((data, bytes));
                voiced.sent += len as u64;
            }
            let id = voiced.id;
            let is_its = |task: &Task| matches!(task, Task::Execute(m, _) if m.session == id);
            let drained = voiced.upload.is_empty()
                && voiced.framed <= 0
                && !self.tasks.iter().any(is_its)
                && self.answers.is_none_or(|(session, _)| session != id);
            if voiced.reply.is_empty() && (voiced.over || (voiced.fin && drained)) {
                self.outbox.push_back((Message::new(Kind::Fin, id).at(voiced.sent), Vec::new()));
                over.push(id);
            }
        }
        if let Some((id, number)) = self.answers {
            let said = |voiced: &Voiced| voiced.id != id || voiced.reply.is_empty();
            if self.voiced.get(&id.index).is_none_or(said) {
                let answered = Message::new(Kind::Answered, id).at(number);
                self.outbox.push_back((answered, Vec::new()));
                self.answers = None;
            }
        }
        for id in over {
            self.voiced.remove(&id.index);
            self.ended.insert(id.index, id.generation);
            self.end(id);
        }
    }

    fn frame(&mut self) {
        for voiced in self.voiced.values_mut() {
            while voiced.framed < FRAMED_REQUESTS as i64
                && let Some(len) = end_of_request(&voiced.upload)
            {
                let mut flags = flags(&voiced.upload);
                if self.fault == Fault::Misframes {
                    flags ^= Request::STICKY;
                }
                voiced.upload.drain(..len);
                voiced.consumed += len as u64;
                voiced.framed += 1;
                let framed = Message::new(Kind::Framed, voiced.id).arg(flags).at(voiced.consumed);
                self.outbox.push_back((framed, Vec::new()));
                let taken = Message::new(Kind::Taken, voiced.id).at(voiced.consumed);
                self.outbox.push_back((taken, Vec::new()));
            }
        }
    }

    fn execute(&mut self) {
        while self.answers.is_none()
            && let Some(task) = self.tasks.pop_front()
        {
            let (message, payload) = match task {
                Task::End(id) => {
                    self.store.end(id);
                    continue;
                }
                Task::Execute(message, payload) => (message, payload),
            };
            self.waiting_bytes -= payload.len();
            let (id, request) = (message.session, &payload[size_of::<OrderedHead>()..]);
            let mut reply = match Request(message.arg).is(Request::EXPORT) {
                true => self.store.dump(),
                false => self.store.reply(id, request),
            };
            let falsifies =
                self.fault == Fault::Falsifies && Request(message.arg).is(Request::EXPORT);
            if (self.fault == Fault::Wrong || falsifies)
                && let Some(byte) = reply.first_mut()
            {
                *byte ^= 1;
            }
            if !request.is_empty() {
                self.store.execute(id, request);
            }
            self.executed += 1;
            let replay = Request(message.arg).is(Request::REPLAY);
            self.replayed += u64::from(replay);
            if let Some(voiced) = self.voiced.get_mut(&id.index).filter(|v| v.id == id && !replay) {
                voiced.reply.extend(reply);
                voiced.over = Request(message.arg).is(Request::EXPORT);
            }
            self.answers = Some((id, message.offset));
            return;
        }
    }
}
