//! The lives of replicas' domains: rule by rule, and over random schedules.

mod random;

use random::{Random, for_each_seed};
use resh_channel::config::{REPLICAS_MAX, Recovery};
use resh_channel::stats::ReplicaState::{self, Aside, CatchingUp, Condemned, Voting};
use resh_channel::stats::{ReplicaStats, VoterStats};
use resh_channel::supervision::{ASIDE, DIRECTIVE, DOING, Doing, GENERATION, TAKE_PART, WAIT_MS};
use supervisor::{ASIDE_MS, Actions, Lives, Purpose, Refusal, STALE_MS, State};

const RECOVERY: Recovery = Recovery {
    sessions: 3,
    clients: 2,
    window_ms: 60_000,
    boot_ms: 60_000,
    back_off_ms: 100,
    back_off_max_ms: 1_000,
    rejuvenate_s: 0,
};

fn lives(replicas: usize) -> Lives {
    Lives::begin([replicas], &RECOVERY, 0)
}

fn stats(seen: &[(ReplicaState, u64)]) -> VoterStats {
    let one = |&(state, generation): &(ReplicaState, u64)| ReplicaStats {
        state,
        generation: generation as u32,
        ..ReplicaStats::default()
    };
    VoterStats { replicas: seen.iter().map(one).collect(), ..VoterStats::default() }
}

fn generations(lives: &Lives) -> [u64; REPLICAS_MAX] {
    core::array::from_fn(|replica| lives.words()[GENERATION + replica])
}

const NOTHING: Actions = Actions { stop: 0, announce: false, start: 0 };

fn start(replica: usize) -> Actions {
    Actions { start: 1 << replica, announce: true, ..NOTHING }
}

fn stop(replica: usize) -> Actions {
    Actions { stop: 1 << replica, announce: true, start: 0 }
}

#[test]
fn only_what_a_service_needs_begins() {
    let lives = Lives::begin([1, 2], &RECOVERY, 0);
    assert_eq!(generations(&lives), [1, 1, 0]);
    assert_eq!(lives.state(2), State::Unused);
    assert_eq!(lives.state(9), State::Unused);
    assert_eq!(lives.first(), Actions { stop: 0b100, announce: true, start: 0 });
    assert_eq!(lives.next_ms(), None);
}

#[test]
fn a_death_is_announced_at_once_and_the_next_life_waits() {
    let mut lives = lives(3);
    assert_eq!(lives.died(1, 50), stop(1));
    assert_eq!(generations(&lives), [1, 2, 1]);
    assert_eq!(lives.next_ms(), Some(150));
    assert_eq!(lives.pass(149), NOTHING);
    assert!(!lives.died(1, 149).announce, "dead already");
    assert_eq!(lives.pass(150), start(1));
    assert_eq!(generations(&lives), [1, 2, 1]);
    assert_eq!((lives.state(1), lives.next_ms()), (State::Running, None));
    assert_eq!(lives.died(3, 150), NOTHING, "there is no such replica");
}

#[test]
fn the_condemned_begin_anew_once() {
    let mut lives = lives(3);
    let seen = stats(&[(Condemned, 1), (Voting, 1), (Voting, 1)]);
    assert_eq!(lives.observe(&seen, 0), stop(0));
    assert_eq!(lives.observe(&seen, 1), NOTHING, "that was the life before");
    assert_eq!(lives.observe(&seen, 100), start(0));
    assert_eq!(lives.observe(&seen, 101), NOTHING);
    assert_eq!(generations(&lives), [2, 1, 1]);
}

#[test]
fn a_verdict_on_another_life_ends_nothing() {
    let mut lives = lives(2);
    let seen = stats(&[(Condemned, 0), (Condemned, 2), (Condemned, 0)]);
    assert_eq!(lives.observe(&seen, 0), NOTHING);
}

#[test]
fn who_fails_again_and_again_waits_longer_until_it_was_well() {
    let mut lives = lives(3);
    let mut now_ms = 0;
    for wait_ms in [100, 200, 400, 800, 1000, 1000] {
        let _ = lives.died(0, now_ms);
        assert_eq!(lives.next_ms(), Some(now_ms + wait_ms));
        now_ms += wait_ms;
        assert_eq!(lives.pass(now_ms), start(0));
    }
    let mut vote = |lives: &mut Lives, for_ms| {
        let seen = stats(&[(Voting, lives.generation(0)), (Voting, 1), (Voting, 1)]);
        let _ = lives.observe(&seen, now_ms);
        now_ms += for_ms;
        let _ = lives.died(0, now_ms);
        let wait_ms = lives.next_ms().unwrap() - now_ms;
        now_ms += wait_ms;
        let _ = lives.pass(now_ms);
        wait_ms
    };
    assert_eq!(vote(&mut lives, 999), 1000);
    assert_eq!(vote(&mut lives, 1000), 100);
    assert_eq!(vote(&mut lives, 0), 200, "it counts from then on");
}

#[test]
fn a_life_that_begins_long_after_it_was_announced_is_announced_anew() {
    let mut lives = lives(3);
    let _ = lives.died(2, 0);
    assert_eq!(lives.pass(STALE_MS), start(2), "not so late");
    let _ = lives.died(2, 5000);
    assert_eq!(lives.pass(5001 + STALE_MS), start(2));
    assert_eq!(generations(&lives), [1, 1, 4]);
}

#[test]
fn time_without_a_voice_does_not_make_well() {
    let mut lives = lives(3);
    let _ = lives.died(0, 0);
    let _ = lives.pass(100);
    let seen = |state| stats(&[(state, 2), (Voting, 1), (Voting, 1)]);
    let _ = lives.observe(&seen(Voting), 200);
    let _ = lives.observe(&seen(CatchingUp), 800);
    let _ = lives.observe(&seen(Voting), 900);
    let _ = lives.died(0, 1800);
    assert_eq!(lives.next_ms(), Some(2000));
}

/// Three replicas of one service, of which one is to be rejuvenated each second.
fn rejuvenating() -> (Lives, VoterStats) {
    let lives = Lives::begin([3], &Recovery { rejuvenate_s: 1, ..RECOVERY }, 0);
    (lives, stats(&[(Voting, 1), (Voting, 1), (Voting, 1)]))
}

#[test]
fn one_after_the_other_stands_aside_and_begins_anew_at_once() {
    let (mut lives, mut seen) = rejuvenating();
    assert_eq!(lives.observe(&seen, 10), NOTHING);
    for (replica, now_ms) in [(0, 1000), (1, 2001), (2, 3002), (0, 4003)] {
        let before = generations(&lives);
        assert_eq!(lives.pass(now_ms - 1), NOTHING);
        assert_eq!(lives.pass(now_ms), Actions { announce: true, ..NOTHING });
        assert_eq!(lives.words()[DIRECTIVE + replica], ASIDE);
        assert_eq!(generations(&lives), before, "its life goes on");
        assert_eq!(lives.observe(&seen, now_ms), NOTHING, "it still votes");
        seen.replicas[replica].state = Aside;
        let mask = 1 << replica;
        let anew = Actions { stop: mask, announce: true, start: mask };
        assert_eq!(lives.observe(&seen, now_ms + 1), anew);
        assert_eq!(lives.words()[DIRECTIVE + replica], TAKE_PART);
        assert_eq!(lives.generation(replica), before[replica] + 1);
        seen.replicas[replica].state = Voting;
        seen.replicas[replica].generation += 1;
        assert_eq!(lives.observe(&seen, now_ms + 2), NOTHING);
    }
}

#[test]
fn nobody_is_rejuvenated_while_another_does_not_vote() {
    let (mut lives, mut seen) = rejuvenating();
    seen.replicas[2].state = CatchingUp;
    assert_eq!(lives.observe(&seen, 1000), NOTHING);
    assert_eq!(lives.observe(&seen, 9000), NOTHING);
    assert_eq!(lives.next_ms(), None, "that is no matter of time");
    seen.replicas[2].state = Voting;
    assert!(lives.observe(&seen, 9001).announce);
    assert_eq!(lives.words()[DIRECTIVE..DIRECTIVE + 3], [ASIDE, 0, 0]);
}

#[test]
fn who_does_not_stand_aside_in_time_takes_part_again() {
    let (mut lives, seen) = rejuvenating();
    let _ = lives.observe(&seen, 1000);
    assert_eq!(lives.next_ms(), Some(1000 + ASIDE_MS));
    assert!(lives.pass(1000 + ASIDE_MS).announce);
    assert_eq!(lives.words()[DIRECTIVE..DIRECTIVE + 3], [TAKE_PART; 3]);
    assert_eq!(lives.next_ms(), Some(2000 + ASIDE_MS), "it is tried again");
}

#[test]
fn a_failure_of_another_calls_it_back() {
    let (mut lives, seen) = rejuvenating();
    let _ = lives.observe(&seen, 1000);
    assert_eq!(lives.died(2, 1001), stop(2));
    assert_eq!(lives.words()[DIRECTIVE..DIRECTIVE + 3], [TAKE_PART; 3]);
    assert_eq!(lives.state(0), State::Running);
}

/// Three replicas that all vote, in their first life.
fn voting() -> (Lives, VoterStats) {
    let mut lives = lives(3);
    let seen = stats(&[(Voting, 1); 3]);
    assert_eq!(lives.observe(&seen, 0), NOTHING);
    (lives, seen)
}

#[test]
fn the_operator_takes_one_out_and_lets_it_in_again() {
    let (mut lives, mut seen) = voting();
    assert_eq!(lives.include(1), Err(Refusal::NotExcluded));
    assert_eq!(lives.exclude(3, 0), Err(Refusal::Unused));
    assert_eq!(lives.exclude(1, 0), Ok(Actions { announce: true, ..NOTHING }));
    assert_eq!(lives.words()[DOING + 1], Doing::StepsAside as u64);
    assert_eq!(lives.exclude(1, 1), Err(Refusal::StepsAside { replica: 1 }));
    assert_eq!(lives.exclude(0, 1), Err(Refusal::StepsAside { replica: 1 }));
    seen.replicas[1].state = Aside;
    assert_eq!(lives.observe(&seen, 2), stop(1));
    assert_eq!(lives.state(1), State::Excluded);
    assert_eq!(lives.words()[DOING + 1], Doing::Excluded as u64);
    assert_eq!(lives.words()[DIRECTIVE + 1], ASIDE);
    seen.replicas[1].state = Condemned;
    assert_eq!(lives.observe(&seen, 99_999), NOTHING, "it is out, whatever is said of it");
    assert_eq!(lives.exclude(1, 99_999), Err(Refusal::Excluded));
    assert_eq!(lives.rejuvenate(1, 99_999), Err(Refusal::Excluded));
    assert_eq!(lives.exclude(0, 99_999), Err(Refusal::Needed { service: 0 }));
    assert_eq!(lives.include(1), Ok(Actions { stop: 2, announce: true, start: 2 }));
    assert_eq!((lives.state(1), lives.generation(1)), (State::Running, 2));
    assert_eq!(lives.words()[DIRECTIVE + 1], TAKE_PART);
}

#[test]
fn who_is_in_no_session_is_taken_out_at_once() {
    let (mut lives, mut seen) = voting();
    let _ = lives.died(0, 10);
    assert_eq!(lives.words()[DOING], Doing::BacksOff as u64);
    assert_eq!(lives.words()[WAIT_MS], 100);
    assert_eq!(lives.exclude(0, 20), Ok(stop(0)));
    assert_eq!(lives.pass(1000), NOTHING, "no wait ends any more");
    assert!(lives.include(0).is_ok());
    assert_eq!(lives.generation(0), 3);
    // Its domain runs, and the voter has not seen it yet.
    assert_eq!(lives.observe(&seen, 1001), NOTHING);
    assert_eq!(lives.exclude(0, 1002), Ok(stop(0)));
    assert!(lives.include(0).is_ok());
    seen.replicas[0] =
        ReplicaStats { state: CatchingUp, generation: 5, ..seen.replicas[0].clone() };
    assert_eq!(lives.observe(&seen, 1003), NOTHING);
    assert!(lives.exclude(0, 1004).is_ok());
    assert!(matches!(lives.state(0), State::SteppingAside { purpose: Purpose::Exclusion, .. }));
}

#[test]
fn the_operator_rejuvenates_without_a_schedule() {
    let (mut lives, mut seen) = voting();
    assert_eq!(lives.rejuvenate(2, 0), Ok(Actions { announce: true, ..NOTHING }));
    seen.replicas[2].state = Aside;
    assert_eq!(lives.observe(&seen, 1), Actions { stop: 4, announce: true, start: 4 });
    assert_eq!(lives.next_ms(), None, "and there is none afterwards");
    seen.replicas[2].state = Voting;
    seen.replicas[2].generation = 2;
    assert_eq!(lives.observe(&seen, 2), NOTHING);
    // Who waits need not wait any longer.
    let _ = lives.died(2, 10);
    assert_eq!(lives.rejuvenate(2, 11), Ok(Actions { stop: 4, announce: true, start: 4 }));
    assert_eq!(lives.state(2), State::Running);
}

#[test]
fn two_of_two_are_needed() {
    let mut lives = Lives::begin([1, 2], &RECOVERY, 0);
    let seen = stats(&[(Voting, 1), (Voting, 1)]);
    let _ = lives.observe(&seen, 0);
    assert_eq!(lives.exclude(0, 0), Err(Refusal::Needed { service: 0 }));
    assert_eq!(lives.rejuvenate(1, 0), Err(Refusal::Needed { service: 1 }));
    let _ = lives.died(0, 1);
    assert!(lives.exclude(1, 2).is_ok(), "there is no quorum to lose");
}

/// What the voter would know of a domain.
#[derive(Clone, Copy, Debug)]
struct Seen {
    state: ReplicaState,
    generation: u64,
}

/// One random world: domains that fail as they like, a voter that answers when it likes.
struct World {
    lives: Lives,
    services: Vec<usize>,
    recovery: Recovery,
    runs: [bool; REPLICAS_MAX],
    announced: [u64; REPLICAS_MAX],
    ended_ms: [u64; REPLICAS_MAX],
    seen: [Seen; REPLICAS_MAX],
    now_ms: u64,
    /// Whether an operator interferes.
    operated: bool,
}

impl World {
    fn new(random: &mut Random) -> Self {
        let services: Vec<usize> = (0..1 + random.below(3)).map(|_| 1 + random.below(3)).collect();
        let recovery = Recovery {
            back_off_ms: 1 + random.below(50) as u32,
            back_off_max_ms: 50 + random.below(1000) as u32,
            rejuvenate_s: random.below(3) as u32,
            ..RECOVERY
        };
        let lives = Lives::begin(services.iter().copied(), &recovery, 0);
        let used = |replica| lives.state(replica) != State::Unused;
        let mut world = Self {
            runs: [true; REPLICAS_MAX],
            announced: [0; REPLICAS_MAX],
            ended_ms: [0; REPLICAS_MAX],
            seen: core::array::from_fn(|replica| Seen {
                state: ReplicaState::Absent,
                generation: u64::from(used(replica)),
            }),
            lives,
            services,
            recovery,
            now_ms: 0,
            operated: false,
        };
        let first = world.lives.first();
        assert!(first.announce && first.start == 0);
        world.announced = generations(&world.lives);
        for replica in 0..REPLICAS_MAX {
            world.runs[replica] = first.stop & 1 << replica == 0;
            assert_eq!(world.runs[replica], world.announced[replica] == 1);
        }
        world
    }

    /// Does what is to be done, as the domain does, and holds it against the rules.
    fn act(&mut self, actions: Actions) {
        for replica in 0..REPLICAS_MAX {
            let mask = 1 << replica;
            if actions.stop & mask != 0 && self.runs[replica] {
                self.runs[replica] = false;
                self.ended_ms[replica] = self.now_ms;
                assert!(actions.announce, "an end is announced at once");
                // Who stands aside is in no session: its end is of no interest.
                if self.lives.state(replica) != State::Excluded || self.seen[replica].state != Aside
                {
                    assert_eq!(self.lives.generation(replica), self.announced[replica] + 1);
                }
            } else if self.lives.generation(replica) != self.announced[replica] {
                assert!(!self.runs[replica], "a new life of a domain that was not stopped");
                assert!(actions.announce && actions.start & mask != 0);
                assert!(self.operated || self.now_ms - self.ended_ms[replica] > STALE_MS);
                assert_eq!(self.lives.generation(replica), self.announced[replica] + 1);
            }
        }
        if actions.announce {
            self.announced = generations(&self.lives);
            for (replica, seen) in self.seen.iter_mut().enumerate() {
                if seen.generation != self.announced[replica] {
                    *seen =
                        Seen { state: ReplicaState::Absent, generation: self.announced[replica] };
                }
            }
        }
        for replica in 0..REPLICAS_MAX {
            if actions.start & 1 << replica != 0 {
                assert!(!self.runs[replica], "started twice");
                self.runs[replica] = true;
                let waited_ms = self.now_ms - self.ended_ms[replica];
                let rejuvenated = self.operated || actions.stop & 1 << replica != 0;
                assert!(rejuvenated || waited_ms >= u64::from(self.recovery.back_off_ms));
            }
        }
        self.rules();
    }

    fn rules(&self) {
        let words = self.lives.words();
        let asked = |replica: &usize| words[DOING + replica] == Doing::StepsAside as u64;
        let aside: Vec<usize> = (0..REPLICAS_MAX).filter(asked).collect();
        assert!(aside.len() <= 1, "one at a time");
        for replica in aside {
            assert_eq!(words[DIRECTIVE + replica], ASIDE);
            if self.operated {
                break;
            }
            for other in (0..REPLICAS_MAX).filter(|other| self.announced[*other] != 0) {
                assert!(self.runs[other], "replica {replica} is to leave while {other} is out");
            }
            for service in self.services.iter().filter(|service| replica < **service) {
                assert!(service - 1 > service / 2, "without {replica} there is no quorum");
            }
        }
        for replica in 0..REPLICAS_MAX {
            let runs = match self.lives.state(replica) {
                State::Unused | State::BackingOff { .. } | State::Excluded => false,
                State::Running | State::SteppingAside { .. } => true,
            };
            assert_eq!(runs, self.runs[replica], "replica {replica}");
            if let State::BackingOff { until_ms, .. } = self.lives.state(replica) {
                let longest_ms = u64::from(self.recovery.back_off_max_ms);
                assert!(until_ms - self.ended_ms[replica] <= longest_ms);
            }
        }
    }

    fn observe(&mut self) {
        let all: Vec<_> = self.seen.iter().map(|seen| (seen.state, seen.generation)).collect();
        let actions = self.lives.observe(&stats(&all), self.now_ms);
        let next_ms = self.lives.next_ms();
        assert!(next_ms.is_none_or(|at_ms| at_ms > self.now_ms), "it would look again for ever");
        self.act(actions);
    }

    /// The voter takes in who runs, and lets go who is to stand aside.
    fn vote(&mut self, replica: usize) {
        let seen = &mut self.seen[replica];
        let asked = self.lives.words()[DIRECTIVE + replica] == ASIDE;
        seen.state = match seen.state {
            Condemned => Condemned,
            Voting if asked => Aside,
            _ if self.runs[replica] => Voting,
            state => state,
        };
    }
}

#[test]
fn whatever_happens_the_rules_hold_and_all_run_in_the_end() {
    for_each_seed(2_000, |seed| {
        let mut random = Random::new(seed);
        let mut world = World::new(&mut random);
        for _ in 0..200 {
            world.now_ms += random.below(300) as u64;
            let replica = random.below(REPLICAS_MAX);
            match random.below(8) {
                0 => {
                    let actions = world.lives.died(replica, world.now_ms);
                    world.act(actions);
                }
                // Verdicts may be on any life, and only those on this one count.
                1 if world.announced[replica] != 0 => {
                    let before = world.seen[replica];
                    let old = random.once_in(2);
                    world.seen[replica].state = Condemned;
                    world.seen[replica].generation -= u64::from(old);
                    let ran = world.runs[replica];
                    world.observe();
                    if old {
                        assert!(world.runs[replica] || !ran, "an old verdict counted");
                        if world.announced[replica] == before.generation {
                            world.seen[replica] = before;
                        }
                    } else {
                        assert!(!(ran && world.runs[replica]), "a verdict did not count");
                    }
                }
                2 | 3 => {
                    let actions = world.lives.pass(world.now_ms);
                    world.act(actions);
                }
                4 => world.observe(),
                _ => world.vote(replica),
            }
        }
        // Quiet: every wait comes to its end, and no longer than the longest.
        for _ in 0..60 {
            (0..REPLICAS_MAX).for_each(|replica| world.vote(replica));
            world.now_ms += 100;
            world.observe();
        }
        for replica in 0..REPLICAS_MAX {
            let used = world.announced[replica] != 0;
            assert_eq!(world.runs[replica], used, "replica {replica}: {:?}", world.lives);
        }
    });
}

#[test]
fn an_operator_never_costs_a_quorum_and_what_he_includes_runs() {
    for_each_seed(2_000, |seed| {
        let mut random = Random::new(seed);
        let mut world = World::new(&mut random);
        world.operated = true;
        for _ in 0..200 {
            world.now_ms += random.below(300) as u64;
            let replica = random.below(REPLICAS_MAX);
            let votes = |world: &World, at: usize| {
                world.seen[at].state == Voting && world.seen[at].generation == world.announced[at]
            };
            let granted = match random.below(8) {
                0 => Ok(world.lives.died(replica, world.now_ms)),
                1 => world.lives.include(replica),
                which @ (2 | 3) => {
                    world.observe();
                    let wish = match which {
                        2 => world.lives.exclude(replica, world.now_ms),
                        _ => world.lives.rejuvenate(replica, world.now_ms),
                    };
                    for service in world.services.iter().filter(|service| replica < **service) {
                        let others = (0..*service).filter(|at| *at != replica);
                        let others = others.filter(|at| votes(&world, *at)).count();
                        let costs = votes(&world, replica) && others == *service / 2;
                        assert!(wish.is_err() || !costs, "{which} {replica}: no quorum left");
                    }
                    wish
                }
                4 | 5 => {
                    world.observe();
                    Ok(world.lives.pass(world.now_ms))
                }
                _ => {
                    world.vote(replica);
                    Ok(NOTHING)
                }
            };
            match granted {
                Ok(actions) => world.act(actions),
                Err(_) => world.rules(),
            }
        }
        world.now_ms += ASIDE_MS;
        let actions = world.lives.pass(world.now_ms);
        world.act(actions);
        for replica in 0..REPLICAS_MAX {
            if let Ok(actions) = world.lives.include(replica) {
                world.act(actions);
            }
        }
        for _ in 0..60 {
            (0..REPLICAS_MAX).for_each(|replica| world.vote(replica));
            world.now_ms += 100;
            world.observe();
        }
        for replica in 0..REPLICAS_MAX {
            let used = world.announced[replica] != 0;
            assert_eq!(world.runs[replica], used, "replica {replica}: {:?}", world.lives);
        }
    });
}

#[test]
fn all_are_rejuvenated_in_turn_while_nothing_fails() {
    for_each_seed(200, |seed| {
        let mut random = Random::new(seed);
        let recovery = Recovery { rejuvenate_s: 1, ..RECOVERY };
        let mut world = World {
            lives: Lives::begin([3], &recovery, 0),
            services: vec![3],
            recovery,
            runs: [true; 3],
            announced: [1; 3],
            ended_ms: [0; 3],
            seen: [Seen { state: ReplicaState::Absent, generation: 1 }; 3],
            now_ms: 0,
            operated: false,
        };
        while world.now_ms < 12_000 {
            world.now_ms += random.below(50) as u64;
            world.vote(random.below(3));
            world.observe();
        }
        let lives = generations(&world.lives);
        assert!(lives.iter().all(|lives| *lives >= 3), "{lives:?}");
        assert!(lives.iter().max().unwrap() - lives.iter().min().unwrap() <= 1, "{lives:?}");
    });
}
