//! What the operator wishes for a replica, and what became of it.

use resh_channel::config::Appliance;
use sel4_microkit::now_ms;
use supervisor::{ASIDE_MS, Lives, Refusal, State};

use super::control::{Asker, Wish};
use super::ready::{name, replicas_needed};
use super::supervise::{Ended, Supervisor};

/// A wish whose outcome is not known yet: the replica steps aside.
pub(super) struct Pending {
    asker: Asker,
    replica: usize,
    /// Which life it was in.
    generation: u64,
}

impl Supervisor<'_> {
    /// Hears what operators wish, and tells them what became of it.
    pub(super) fn attend_operators(&mut self) -> Result<(), Ended> {
        for (asker, line) in self.control.listen(now_ms()) {
            match self.grant(asker, &line)? {
                Ok(pending) => self.pending.push(pending),
                Err(why) => self.control.answer(asker, &Err(why)),
            }
        }
        let appliance = &self.checked.config.appliance;
        let (lives, control) = (&self.lives, &mut self.control);
        self.pending.retain(|pending| match outcome(appliance, lives, pending) {
            Some(outcome) => {
                control.answer(pending.asker, &outcome);
                false
            }
            None => true,
        });
        Ok(())
    }

    /// Does what `line` says, as far as it can be done at once. Returns what is awaited, or why it is not done.
    fn grant(&mut self, asker: Asker, line: &str) -> Result<Result<Pending, String>, Ended> {
        let appliance = &self.checked.config.appliance;
        let (wish, replica) = match understood(appliance, line) {
            Ok(understood) => understood,
            Err(why) => return Ok(Err(why)),
        };
        let generation = self.lives.generation(replica);
        let granted = match wish {
            Wish::Exclude => self.lives.exclude(replica, now_ms()),
            Wish::Include => self.lives.include(replica),
            Wish::Rejuvenate => self.lives.rejuvenate(replica, now_ms()),
        };
        match granted {
            Ok(actions) => {
                self.act(actions)?;
                Ok(Ok(Pending { asker, replica, generation }))
            }
            Err(refusal) => Ok(Err(refused(appliance, replica, refusal))),
        }
    }
}

/// The wish and the replica, by number or name, that `line` says.
fn understood(appliance: &Appliance, line: &str) -> Result<(Wish, usize), String> {
    let (wish, who) = line.trim().split_once(' ').ok_or("what, and for which replica?")?;
    let needed = replicas_needed(appliance);
    let called = |replica: &usize| {
        let mut of_services = appliance.services.iter();
        let guest = appliance.guests.get(*replica).is_some_and(|guest| guest.name == who);
        guest || of_services.any(|s| s.replicas.get(*replica).is_some_and(|r| r.name == who))
    };
    let numbered = who.parse().ok().filter(|replica| *replica < needed);
    let mut named = (0..needed).filter(called);
    let replica = match (numbered, named.next(), named.next()) {
        (Some(replica), ..) | (None, Some(replica), None) => replica,
        (None, Some(_), Some(_)) => {
            return Err(format!("more than one replica is called `{who}`: use its number"));
        }
        (None, None, _) => {
            let all: Vec<_> = (0..needed).map(|replica| name(appliance, replica)).collect();
            return Err(format!("there is no replica `{who}`; there is: {}", all.join(", ")));
        }
    };
    Ok((wish.parse()?, replica))
}

fn refused(appliance: &Appliance, replica: usize, refusal: Refusal) -> String {
    let who = name(appliance, replica);
    match refusal {
        Refusal::Unused => format!("{who} has nothing to do"),
        Refusal::Needed { service } => {
            let service = appliance.services.get(service).map_or("?", |service| &*service.name);
            format!("that would leave service `{service}` without a quorum")
        }
        Refusal::Excluded => format!("{who} is excluded; include it first"),
        Refusal::NotExcluded => format!("{who} is not excluded"),
        Refusal::StepsAside { replica } => {
            format!("{} is just being taken out; try again", name(appliance, replica))
        }
    }
}

fn outcome(
    appliance: &Appliance,
    lives: &Lives,
    pending: &Pending,
) -> Option<Result<String, String>> {
    let who = name(appliance, pending.replica);
    match lives.state(pending.replica) {
        State::SteppingAside { .. } => None,
        State::Excluded => Some(Ok(format!("{who} is excluded"))),
        State::Running if lives.generation(pending.replica) > pending.generation => {
            Some(Ok(format!("{who} begins life {}", lives.generation(pending.replica))))
        }
        State::Running => Some(Err(format!(
            "{who} goes on: sessions needed it for the {ASIDE_MS} ms that it was given to leave"
        ))),
        State::BackingOff { .. } | State::Unused => Some(Err(format!("{who} failed meanwhile"))),
    }
}
