//! The vote against a plain model of it, over random schedules of chunks, delays, lies, FINs, resets,
//! evictions and credits.

#[path = "common/random.rs"]
mod random;

use pd_voter::slot::{Buffer, Slot};
use pd_voter::vote::{Findings, Geometry, Outcome, Vote};
use random::{Random, for_each_seed};
use resh_channel::memory::{AtomicU64, Bytes, copy_in, words_for};
use resh_channel::stats::{Condemnation, DisputeKind};

/// The model: whole streams in vectors, one symbol at a time, and nothing clever.
mod model {
    use super::{DisputeKind, Outcome};

    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(super) enum Symbol {
        Byte(u8),
        Fin,
    }

    #[derive(Clone, Default, Debug)]
    pub(super) struct Replica {
        pub(super) said: Vec<Symbol>,
        pub(super) voice: bool,
        pub(super) reset: bool,
    }

    #[derive(Debug)]
    pub(super) struct Model {
        pub(super) quorum: usize,
        pub(super) replicas: Vec<Replica>,
        pub(super) agreed: Vec<Symbol>,
        pub(super) outcome: Outcome,
        pub(super) lost: Vec<(usize, DisputeKind, usize)>,
    }

    impl Model {
        pub(super) fn new(replicas: usize) -> Self {
            let replica = Replica { voice: true, ..Replica::default() };
            Self {
                quorum: replicas / 2 + 1,
                replicas: vec![replica; replicas],
                agreed: Vec::new(),
                outcome: Outcome::Open,
                lost: Vec::new(),
            }
        }

        pub(super) fn ended(&self) -> bool {
            self.agreed.last() == Some(&Symbol::Fin)
        }

        pub(super) fn say(&mut self, from: usize, symbol: Symbol) {
            self.replicas[from].said.push(symbol);
            self.judge();
        }

        pub(super) fn reset(&mut self, from: usize) {
            self.replicas[from].reset = true;
            self.judge();
        }

        /// It begins where the others are.
        pub(super) fn admit(&mut self, replica: usize) {
            let said = self.agreed.clone();
            self.replicas[replica] = Replica { said, voice: true, reset: false };
        }

        pub(super) fn remove(&mut self, replica: usize) {
            self.replicas[replica].voice = false;
            self.judge();
        }

        fn voices(&self) -> Vec<usize> {
            (0..self.replicas.len()).filter(|at| self.replicas[*at].voice).collect()
        }

        fn judge(&mut self) {
            if self.outcome != Outcome::Open {
                return;
            }
            loop {
                let next = self.agreed.len();
                // Whoever differs from what is agreed, or gave up before it, has no voice.
                for at in self.voices() {
                    let replica = &self.replicas[at];
                    let differs = (0..next.max(replica.said.len())).find(|i| {
                        let agreed = self.agreed.get(*i);
                        let said = replica.said.get(*i);
                        match (agreed, said) {
                            (Some(agreed), Some(said)) => agreed != said,
                            (Some(_), None) => {
                                replica.reset && replica.said.last() != Some(&Symbol::Fin)
                            }
                            (None, Some(_)) => self.ended(),
                            (None, None) => false,
                        }
                    });
                    if let Some(i) = differs {
                        let kind = match (self.agreed.get(i), replica.said.get(i)) {
                            (_, None) => DisputeKind::Reset,
                            (_, Some(Symbol::Fin)) => DisputeKind::EarlyFin,
                            (Some(Symbol::Fin) | None, _) => DisputeKind::LateData,
                            _ => DisputeKind::Bytes,
                        };
                        self.lost.push((at, kind, i));
                        self.replicas[at].voice = false;
                    }
                }
                if self.ended() {
                    return;
                }
                // The next symbol is what a quorum of voices says it is.
                let says = |at: &usize| self.replicas[*at].said.get(next).copied();
                let said: Vec<Symbol> = self.voices().iter().filter_map(says).collect();
                let count = |symbol: &Symbol| said.iter().filter(|other| *other == symbol).count();
                let Some(symbol) = said.iter().find(|symbol| count(symbol) >= self.quorum) else {
                    break;
                };
                self.agreed.push(*symbol);
            }
            let voices = self.voices();
            let next = self.agreed.len();
            let waits = |at: &&usize| self.replicas[**at].said.len() <= next;
            let gave_up = |at: &&usize| {
                self.replicas[**at].reset && self.replicas[**at].said.last() != Some(&Symbol::Fin)
            };
            let mut said: Vec<Symbol> =
                voices.iter().filter_map(|at| self.replicas[*at].said.get(next).copied()).collect();
            said.dedup();
            let differ = said.iter().any(|symbol| *symbol != said[0]);
            let undecided =
                voices.iter().filter(waits).filter(|at| !self.replicas[**at].reset).count();
            if voices.len() < self.quorum {
                self.outcome = Outcome::NoQuorum;
            } else if voices.iter().filter(gave_up).count() >= self.quorum {
                self.outcome = Outcome::Aborted;
            } else if differ && undecided == 0 {
                self.outcome = Outcome::NoQuorum;
            }
        }
    }
}

use model::{Model, Symbol};

const GEOMETRY: Geometry = Geometry { window_bytes: 32, ahead_bytes: 16, step_bytes: 4 };

/// What a replica is going to do.
struct Script {
    stream: Vec<u8>,
    /// Ends so: FIN, reset, or not at all.
    end: End,
    /// Where it began.
    from: usize,
    sent: usize,
    done: bool,
}

impl Script {
    /// Whether it has said `byte` at that position.
    fn said(&self, at: usize, byte: u8) -> bool {
        (self.from..self.sent).contains(&at) && self.stream[at] == byte
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Fin,
    Reset,
    Silence,
}

fn script(random: &mut Random, honest: &[u8], lies: bool) -> Script {
    let mut stream = honest.to_vec();
    let mut end = End::Fin;
    if lies {
        match random.below(6) {
            0 if !stream.is_empty() => {
                let at = random.below(stream.len());
                stream[at] ^= 1;
            }
            1 => stream.truncate(random.below(stream.len() + 1)),
            2 => stream.extend((0..=random.below(20)).map(|_| b'a')),
            3 => {
                stream.truncate(random.below(stream.len() + 1));
                end = End::Reset;
            }
            4 => {
                stream.truncate(random.below(stream.len() + 1));
                end = End::Silence;
            }
            _ => stream = (0..random.below(40)).map(|_| b'a' + random.below(2) as u8).collect(),
        }
    }
    Script { stream, end, from: 0, sent: 0, done: false }
}

struct Run {
    vote: Vote,
    model: Model,
    scripts: Vec<Script>,
    /// Those of lives that ended.
    past: Vec<Script>,
    primary: Vec<u8>,
    secondary: Vec<u8>,
    lost: Vec<(usize, DisputeKind, usize)>,
    taken: usize,
}

impl Run {
    fn step(
        &mut self,
        act: impl FnOnce(&mut Vote, &mut Slot<'_>, &mut Findings) -> Result<(), Condemnation>,
    ) {
        let mut findings = Findings::new();
        let mut slot =
            Slot { primary: Buffer(&mut self.primary), secondary: Buffer(&mut self.secondary) };
        assert_eq!(act(&mut self.vote, &mut slot, &mut findings), Ok(()));
        let outvoted = findings.iter().filter(|finding| {
            finding.outvoted && !matches!(finding.kind, DisputeKind::Laggard | DisputeKind::Silence)
        });
        self.lost.extend(outvoted.map(|f| (f.replica, f.kind, f.offset as usize)));
    }

    fn data(&mut self, from: usize, len: usize, shift: usize) {
        let script = &mut self.scripts[from];
        let bytes = script.stream[script.sent..script.sent + len].to_vec();
        let offset = script.sent as u64;
        script.sent += len;
        // Shared memory at any alignment.
        let words: Vec<AtomicU64> =
            (0..words_for(len + shift)).map(|_| AtomicU64::new(0)).collect();
        let shifted: Vec<u8> = std::iter::repeat_n(0, shift).chain(bytes.iter().copied()).collect();
        copy_in(&words, &shifted);
        let shared = Bytes::new(&words, len + shift).skip(shift);
        self.step(|vote, slot, findings| vote.data(from, offset, shared, slot, findings));
        for byte in bytes {
            self.model.say(from, Symbol::Byte(byte));
        }
    }

    fn end(&mut self, from: usize) {
        self.scripts[from].done = true;
        let offset = self.scripts[from].sent as u64;
        match self.scripts[from].end {
            End::Fin => {
                self.step(|vote, slot, findings| vote.fin(from, offset, slot, findings));
                self.model.say(from, Symbol::Fin);
            }
            End::Reset => {
                self.step(|vote, slot, findings| vote.reset(from, slot, findings));
                self.model.reset(from);
            }
            End::Silence => {}
        }
    }

    fn remove(&mut self, replica: usize) {
        self.scripts[replica].done = true;
        self.step(|vote, slot, findings| {
            vote.remove(replica, DisputeKind::Laggard, slot, findings);
            Ok(())
        });
        self.model.remove(replica);
    }

    /// `replica`, which has no voice, begins anew, with what `script` says from here on.
    fn admit(&mut self, replica: usize, script: Script) {
        assert!(self.vote.is_settled());
        self.vote.admit(replica);
        self.model.admit(replica);
        self.past.push(core::mem::replace(&mut self.scripts[replica], script));
    }

    /// Whoever can be spared can be taken out without harm or record.
    fn spare(&mut self, replica: usize) {
        if self.vote.outcome() == Outcome::Open && self.vote.can_spare(replica) {
            let mut vote = self.vote.clone();
            let mut findings = Findings::new();
            let (mut primary, mut secondary) = (self.primary.clone(), self.secondary.clone());
            let mut slot =
                Slot { primary: Buffer(&mut primary), secondary: Buffer(&mut secondary) };
            vote.remove(replica, DisputeKind::Silence, &mut slot, &mut findings);
            assert_eq!((vote.outcome(), findings.len()), (Outcome::Open, 0));
        }
    }

    /// What was agreed on there.
    fn said_at(&self, at: usize) -> u8 {
        match self.model.agreed[at] {
            Symbol::Byte(byte) => byte,
            Symbol::Fin => unreachable!("nobody begins after the end"),
        }
    }

    fn check(&mut self) {
        assert_eq!(self.vote.outcome(), self.model.outcome);
        if self.model.outcome != Outcome::Open {
            return;
        }
        let released = self.vote.released() as usize;
        let agreed: Vec<u8> = self
            .model
            .agreed
            .iter()
            .filter_map(|symbol| match symbol {
                Symbol::Byte(byte) => Some(*byte),
                Symbol::Fin => None,
            })
            .collect();
        assert_eq!(released, agreed.len());
        assert_eq!(self.vote.ended(), self.model.ended());
        // What the client has not taken lies in the window, unharmed.
        for (at, byte) in agreed.iter().enumerate().skip(self.taken) {
            assert_eq!(self.primary[at % self.primary.len()], *byte, "byte {at}");
        }
        for (at, replica) in self.model.replicas.iter().enumerate() {
            assert_eq!(self.vote.has_voice(at), replica.voice, "voice of {at}");
            assert_eq!(self.vote.position(at), self.scripts[at].sent as u64);
        }
        self.lost.sort_by_key(|(at, ..)| *at);
        self.model.lost.sort_by_key(|(at, ..)| *at);
        assert_eq!(self.lost, self.model.lost);
        // No byte without a quorum, counted over what was really sent.
        for (at, byte) in agreed.iter().enumerate() {
            let all = self.scripts.iter().chain(&self.past);
            assert!(all.filter(|script| script.said(at, *byte)).count() >= self.model.quorum);
        }
        // Somebody waits for the others exactly if he is beyond what is agreed, or has given up and too
        // few are left.
        let voices = || self.model.replicas.iter().filter(|replica| replica.voice);
        let ahead = voices().any(|replica| replica.said.len() > self.model.agreed.len());
        let live = voices().filter(|replica| !replica.reset).count();
        let given_up =
            voices().any(|replica| replica.reset && replica.said.last() != Some(&Symbol::Fin));
        let pending = !self.model.ended() && (ahead || (given_up && live < self.model.quorum));
        assert_eq!(self.vote.is_pending(), pending);
    }
}

fn case(seed: u64) {
    let mut random = Random::new(seed);
    let replicas = 1 + random.below(3);
    let honest: Vec<u8> =
        (0..random.pick(&[0, 3, 20, 90])).map(|_| b'a' + random.below(2) as u8).collect();
    let liars = random.pick(&[0, 0, 1, 1, 1, 2, 3]).min(replicas);
    let first_liar = random.below(replicas);
    let lies = |at: usize| (at + replicas - first_liar) % replicas < liars;
    let scripts: Vec<Script> =
        (0..replicas).map(|at| script(&mut random, &honest, lies(at))).collect();
    let quorum = replicas / 2 + 1;
    let tolerated = replicas - quorum;
    let evicts = liars == 0 && replicas == 3 && random.once_in(4);
    let admits = random.once_in(2);
    let mut run = Run {
        vote: Vote::new((1 << replicas) - 1, quorum, GEOMETRY),
        model: Model::new(replicas),
        scripts,
        past: Vec::new(),
        primary: vec![0; GEOMETRY.window_bytes as usize],
        secondary: vec![0; GEOMETRY.ahead_bytes as usize],
        lost: Vec::new(),
        taken: 0,
    };
    let mut idle = 0;
    let mut evicted = false;
    // Until nothing has happened for so long that nothing can.
    while idle < 400 && run.model.outcome == Outcome::Open {
        idle += 1;
        let from = random.below(replicas + 1);
        if from == replicas {
            let released = run.vote.released() as usize;
            // Nobody can have taken what was not released.
            run.vote.take(released as u64 + 1);
            assert_eq!(run.vote.taken(), run.taken as u64);
            if released > run.taken {
                run.taken += 1 + random.below(released - run.taken);
                run.vote.take(run.taken as u64);
                idle = 0;
            }
            let before = run.vote.credit();
            if run.vote.extend_credit() {
                idle = 0;
                assert!(run.vote.credit() >= before + GEOMETRY.step_bytes);
                assert!(run.vote.credit() <= run.taken as u64 + GEOMETRY.ahead_bytes);
            }
            if let Some(laggard) = run.vote.held_back_by() {
                assert!(run.vote.has_voice(laggard));
                assert!(run.vote.position(laggard) < run.vote.released());
                // It holds back the session, so out of it, it does not.
                if run.vote.can_spare_one() && idle > 40 {
                    run.remove(laggard);
                    assert_eq!(run.vote.outcome(), Outcome::Open);
                    assert_eq!(run.vote.held_back_by(), None);
                    idle = 0;
                }
            }
        } else if !run.scripts[from].done {
            let script = &run.scripts[from];
            let room = (run.vote.credit() as usize).saturating_sub(script.sent);
            let rest = script.stream.len() - script.sent;
            if rest == 0 {
                run.end(from);
                idle = 0;
            } else if room > 0 {
                let len = random.below(rest.min(room).min(10) + 1);
                run.data(from, len, random.below(8));
                idle = if len > 0 { 0 } else { idle };
            }
        }
        if evicts && !evicted && random.once_in(30) {
            evicted = true;
            run.remove(random.below(replicas));
            idle = 0;
        }
        let out = random.below(replicas);
        if random.once_in(20) {
            run.spare(out);
        }
        // Whoever is out may begin anew where all that was said is agreed.
        let settled = run.vote.is_settled() && run.vote.outcome() == Outcome::Open;
        if admits && settled && !run.vote.has_voice(out) && random.once_in(8) {
            let released = run.vote.released() as usize;
            let mut stream: Vec<u8> = (0..released).map(|at| run.said_at(at)).collect();
            stream.extend(honest.iter().skip(released));
            let mut next = script(&mut random, &stream[released..], lies(out));
            stream.truncate(released);
            stream.append(&mut next.stream);
            run.admit(out, Script { stream, from: released, sent: released, ..next });
            idle = 0;
        }
        run.check();
    }
    if liars <= tolerated {
        // A liar, or a laggard, costs nobody anything.
        let released: Vec<Symbol> = run.model.agreed.clone();
        let expected: Vec<Symbol> =
            honest.iter().map(|byte| Symbol::Byte(*byte)).chain([Symbol::Fin]).collect();
        assert_eq!(released, expected);
        assert!(run.vote.ended());
        for at in (0..replicas).filter(|at| !lies(*at) && !evicted) {
            assert!(run.lost.iter().all(|(lost, ..)| *lost != at), "honest {at} was framed");
        }
    }
    // Giving up ends what is still open, and names nobody as outvoted.
    let released = run.vote.released();
    let pending = run.vote.is_pending();
    run.step(|vote, slot, findings| {
        let open = vote.outcome() == Outcome::Open && !vote.ended();
        vote.give_up(slot, findings);
        assert!(!open || vote.outcome() == Outcome::NoQuorum);
        assert!(findings.iter().all(|finding| !finding.outvoted));
        assert!(!open || !pending || !findings.is_empty());
        Ok(())
    });
    // After that, nothing leaves.
    for from in 0..replicas {
        let rest = run.scripts[from].stream.len() - run.scripts[from].sent;
        let room = (run.vote.credit() as usize).saturating_sub(run.scripts[from].sent);
        if !run.scripts[from].done {
            run.data(from, rest.min(room), 0);
        }
    }
    if run.vote.outcome() == Outcome::NoQuorum {
        assert_eq!(run.vote.released(), released);
    }
}

#[test]
fn the_vote_does_what_its_model_does() {
    for_each_seed(15_000, case);
}

/// The check can fail: a vote with a quorum of one lets a lie out.
#[test]
#[should_panic]
fn a_wrong_quorum_is_noticed() {
    for_each_seed(100, |seed| {
        let mut random = Random::new(seed);
        let honest = vec![b'a'; 20];
        let scripts = vec![
            script(&mut random, &honest, false),
            script(&mut random, &honest, true),
            script(&mut random, &honest, false),
        ];
        let mut run = Run {
            vote: Vote::new(0b111, 1, GEOMETRY),
            model: Model::new(3),
            scripts,
            past: Vec::new(),
            primary: vec![0; GEOMETRY.window_bytes as usize],
            secondary: vec![0; GEOMETRY.ahead_bytes as usize],
            lost: Vec::new(),
            taken: 0,
        };
        for from in 0..3 {
            run.data(from, run.scripts[from].stream.len().min(16), 0);
            run.check();
        }
    });
}
