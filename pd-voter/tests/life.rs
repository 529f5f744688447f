//! The life of a replica as a state machine: the code against its drawing, and random schedules of events.

#[path = "common/random.rs"]
mod random;

use std::collections::{BTreeMap, BTreeSet};

use pd_voter::life::{Duty, Event, Life, State, next};
use random::{Random, for_each_seed};
use resh_channel::config::Recovery;
use resh_channel::stats::{Condemnation, ReplicaState};

const DRAWING: &str = include_str!("../../docs/life.md");

/// The arrows of the drawing: from, event, to.
fn drawn() -> BTreeSet<(String, String, String)> {
    let arrow = |line: &'static str| {
        let (from, rest) = line.trim().split_once(" --> ")?;
        let (to, event) = rest.split_once(" : ")?;
        Some((from, event, to))
    };
    let mut arrows = BTreeSet::new();
    for (from, event, to) in DRAWING.lines().filter_map(arrow) {
        let all = State::ALL.map(|state| format!("{state:?}"));
        let from = if from == "Any" { all.to_vec() } else { vec![from.to_owned()] };
        for from in from {
            assert!(arrows.insert((from, event.to_owned(), to.to_owned())), "drawn twice");
        }
    }
    arrows
}

#[test]
fn every_transition_is_drawn_and_no_other() {
    let mut built = BTreeSet::new();
    for from in State::ALL {
        for event in Event::ALL {
            if let Some((to, _)) = next(from, event) {
                built.insert((format!("{from:?}"), format!("{event:?}"), format!("{to:?}")));
            }
        }
    }
    assert_eq!(built, drawn());
}

#[test]
fn the_tables_name_every_state_and_event_and_the_limits_as_they_are() {
    let rows: BTreeMap<&str, &str> =
        DRAWING.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | ")).collect();
    for state in State::ALL {
        let shown = rows.get(format!("{state:?}").as_str()).and_then(|row| row.split(" | ").next());
        assert_eq!(shown, Some(format!("{:?}", state.shown()).as_str()));
    }
    let events: String = rows.keys().flat_map(|key| [key, ", "]).collect();
    for event in Event::ALL {
        assert!(events.contains(&format!("{event:?}")), "{event:?}");
    }
    use pd_voter::limits as l;
    let limits = [
        ("`BOOT_LOOK_MS`", l::BOOT_LOOK_MS),
        ("`HELLO_LOOK_MS`", l::HELLO_LOOK_MS),
        ("`JOIN_MS`", l::JOIN_MS),
        ("`PROBE_WAIT_MS`", l::PROBE_WAIT_MS),
        ("`PROBE_WAIT_MAX_MS`", l::PROBE_WAIT_MAX_MS),
        ("`PROBE_LAG_MIN_MS`", l::PROBE_LAG_MIN_MS),
        ("`STALL_MIN_MS`", l::STALL_MIN_MS),
        ("`STANDSTILL_MS`", l::STANDSTILL_MS),
        ("`ASIDE_LOOK_MS`", l::ASIDE_LOOK_MS),
    ];
    for (name, ms) in limits {
        let text = if ms % 1000 == 0 { format!("{} s", ms / 1000) } else { format!("{ms} ms") };
        assert!(rows[name].starts_with(&text), "{name}: {text}, {}", rows[name]);
    }
    assert!(DRAWING.contains(&format!("`LATE_PROBES` ({})", l::LATE_PROBES)));
    assert!(DRAWING.contains(&format!("the last {} for each replica", l::LOSSES)));
}

#[test]
fn what_is_to_be_done_fits_the_transition() {
    for from in State::ALL {
        for event in Event::ALL {
            let Some((to, duty)) = next(from, event) else { continue };
            // Who is in, and then is not, is taken out of the sessions; and nobody else.
            let leaves = matches!(duty, Duty::Leave | Duty::Renew);
            assert_eq!(leaves, !to.is_in(), "{from:?} {event:?}");
            // Who comes to vote takes part, and who must be probed is.
            assert_eq!(duty == Duty::Count, to == State::Voting && from == State::CatchingUp);
            let probed = matches!(to, State::CatchingUp | State::Suspect);
            assert_eq!(duty == Duty::Probe, probed, "{from:?} {event:?}");
        }
    }
    let convict = |reason| Event::of(reason) == Event::Convicted;
    assert!(convict(Condemnation::Diverged) && convict(Condemnation::Probe));
    assert!(!convict(Condemnation::WrongOffset));
}

fn random_event(random: &mut Random) -> Event {
    random.pick(&Event::ALL)
}

/// Whatever happens in whatever order.
fn schedule(seed: u64) {
    let mut random = Random::new(seed);
    let mut life = Life::default();
    let recovery = Recovery { boot_ms: 500, back_off_max_ms: 300, ..Recovery::default() };
    let arrows = drawn();
    let mut now_ms = 0;
    // The events since the last generation, as a model of what makes a vote.
    let mut came: Vec<Event> = Vec::new();
    let mut voted_until = None;
    for _ in 0..200 {
        now_ms += random.below(100) as u64;
        let (before, generation) = (life.state(), life.generation());
        let event = random_event(&mut random);
        let duty = if event == Event::Began {
            let noted = generation.saturating_sub(1) + random.below(4) as u64;
            let duty = life.begin(noted, now_ms);
            assert_eq!(duty.is_some(), noted > generation, "a generation that is not later");
            assert_eq!(life.generation(), generation.max(noted));
            duty
        } else {
            life.on(event, now_ms)
        };
        let after = life.state();
        if duty.is_some() {
            let arrow = (format!("{before:?}"), format!("{event:?}"), format!("{after:?}"));
            assert!(arrows.contains(&arrow), "{arrow:?}");
            if event == Event::Began {
                came.clear();
            }
            came.push(event);
        } else {
            assert_eq!(before, after);
        }
        // It votes only if in this very life it said hello twice and gave a right answer.
        if after.votes() {
            assert!(
                [Event::Began, Event::Hello, Event::LetIn, Event::Ready]
                    .iter()
                    .all(|needed| came.contains(needed))
            );
            assert_eq!(after.shown(), ReplicaState::Voting);
        } else {
            assert_ne!(after.shown(), ReplicaState::Voting);
        }
        assert!(life.generation() > 0 || after == State::Absent);
        if before.votes() && !after.votes() {
            voted_until = Some(now_ms);
        }
        if duty == Some(Duty::Count) {
            let outage_ms = life.take_outage_ms(now_ms);
            assert_eq!(outage_ms, voted_until.take().map(|at_ms| now_ms - at_ms));
        }
        // Who boots has a time-out ahead, nobody else has one.
        assert_eq!(life.boot_due_ms(&recovery).is_some(), after.boots());
        if duty == Some(Duty::LetIn) || duty == Some(Duty::Renew) {
            let most_ms = if after == State::Booting { 800 } else { 500 };
            assert_eq!(life.boot_due_ms(&recovery), Some(now_ms + most_ms));
        }
    }
    // From wherever it is, one that behaves comes to vote.
    assert!(life.begin(life.generation() + 1, now_ms).is_some());
    for (event, duty) in
        [(Event::Hello, Duty::LetIn), (Event::LetIn, Duty::Probe), (Event::Ready, Duty::Count)]
    {
        assert_eq!(life.on(event, now_ms), Some(duty));
    }
    assert_eq!(life.state(), State::Voting);
}

#[test]
fn whatever_happens_is_in_the_drawing() {
    for_each_seed(5_000, schedule);
}
