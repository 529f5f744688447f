//! The vote on where the requests of one session end.
//!
//! A gateway's framer says the ends one after another, ahead of the order by at most [`FRAMED_REQUESTS`]. The next
//! request is what a quorum of the session's voices say it is: the same end and the same flags. Who has said
//! something else, before or after, breaks a rule: framers see the same bytes.

use resh_channel::config::REPLICAS_MAX;
use resh_channel::message::{ORDERED_BYTES_MAX, Request};
use resh_channel::order::FRAMED_REQUESTS;
use resh_channel::stats::Condemnation;

const ROOM: usize = FRAMED_REQUESTS as usize;
const FLAGS: u8 = Request::READ_ONLY | Request::STICKY | Request::TRANSIENT | Request::LAST;

/// One request: its length in bytes, and its flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Length in bytes, at most [`ORDERED_BYTES_MAX`].
    pub len: u16,
    /// [`Request`] flags.
    pub flags: u8,
}

/// What there is to be known of a session's next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Not enough has been said.
    Wait,
    /// A quorum says so.
    Agreed(Cut),
    /// There is no quorum any more.
    Split,
}

#[derive(Clone, Copy, Debug)]
struct Voice {
    /// Requests it has said the end of.
    count: u64,
    /// Where the last of them ends.
    end: u64,
    last: bool,
    /// Those that are not ordered yet, request `n` at `n % ROOM`.
    cuts: [Cut; ROOM],
}

/// The vote on the request ends of one session.
#[derive(Clone, Debug)]
pub struct Framing {
    /// Requests ordered.
    ordered: u64,
    /// Where the last of them ends.
    end: u64,
    /// The last of them, request `n` at `n % ROOM`.
    past: [Cut; ROOM],
    voices: [Voice; REPLICAS_MAX],
}

impl Framing {
    /// A stream of which nothing is known.
    pub fn new() -> Self {
        let voice = Voice { count: 0, end: 0, last: false, cuts: [Cut::default(); ROOM] };
        Self { ordered: 0, end: 0, past: [Cut::default(); ROOM], voices: [voice; REPLICAS_MAX] }
    }

    /// Where the last ordered request ends.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// What `replica` said does not count any more.
    pub fn forget(&mut self, replica: usize) {
        self.voices[replica].count = 0;
    }

    /// `replica` takes part from here on.
    pub fn admit(&mut self, replica: usize) {
        let (count, end) = (self.ordered, self.end);
        let voice = &mut self.voices[replica];
        (voice.count, voice.end, voice.last) = (count, end, false);
    }

    /// `replica` says that its next request ends at `end` and has `flags`. So far `staged` bytes of the stream
    /// have come.
    ///
    /// # Errors
    /// A rule that no gateway breaks, whatever its replica does.
    pub fn say(
        &mut self,
        replica: usize,
        end: u64,
        flags: u8,
        staged: u64,
    ) -> Result<(), Condemnation> {
        let voice = &mut self.voices[replica];
        if voice.last || flags & !FLAGS != 0 {
            return Err(Condemnation::UnexpectedRecord);
        }
        if end <= voice.end || end > staged {
            return Err(Condemnation::WrongOffset);
        }
        let len = end - voice.end;
        if len > ORDERED_BYTES_MAX as u64 || voice.count >= self.ordered + FRAMED_REQUESTS {
            return Err(Condemnation::Framing);
        }
        let cut = Cut { len: len as u16, flags };
        let at = (voice.count % FRAMED_REQUESTS) as usize;
        if voice.count >= self.ordered {
            voice.cuts[at] = cut;
        } else if self.ordered - voice.count <= FRAMED_REQUESTS && self.past[at] != cut {
            return Err(Condemnation::Framing);
        }
        voice.count += 1;
        voice.end = end;
        voice.last = flags & Request::LAST != 0;
        if voice.count == self.ordered && end != self.end {
            return Err(Condemnation::Framing);
        }
        Ok(())
    }

    /// What `replica` says the next request is.
    fn next(&self, replica: usize) -> Option<Cut> {
        let voice = &self.voices[replica];
        let at = (self.ordered % FRAMED_REQUESTS) as usize;
        (voice.count > self.ordered).then(|| voice.cuts[at])
    }

    /// What the next request is, if `quorum` of `voices`, a bit mask, say the same.
    pub fn decide(&self, voices: u8, quorum: usize) -> Decision {
        let voices = || (0..REPLICAS_MAX).filter(move |at| voices & (1 << at) != 0);
        let silent = voices().filter(|at| self.next(*at).is_none()).count();
        let support = |cut: Cut| voices().filter(|at| self.next(*at) == Some(cut)).count();
        let best = voices().filter_map(|at| self.next(at)).max_by_key(|cut| support(*cut));
        match best {
            None => Decision::Wait,
            Some(cut) if support(cut) >= quorum => Decision::Agreed(cut),
            Some(cut) if support(cut) + silent < quorum => Decision::Split,
            Some(_) => Decision::Wait,
        }
    }

    /// The next request, `cut`, is ordered. Returns those who say that it is another one, a bit mask.
    pub fn order(&mut self, cut: Cut) -> u8 {
        let differs = |at: &usize| self.next(*at).is_some_and(|said| said != cut);
        let liars = (0..REPLICAS_MAX).filter(differs).fold(0, |mask, at| mask | 1 << at);
        self.past[(self.ordered % FRAMED_REQUESTS) as usize] = cut;
        self.ordered += 1;
        self.end += u64::from(cut.len);
        liars
    }
}

impl Default for Framing {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u8 = 0b111;

    fn agreed(len: u16, flags: u8) -> Decision {
        Decision::Agreed(Cut { len, flags })
    }

    #[test]
    fn two_of_three_decide_and_the_third_is_wrong_before_and_after() {
        let mut framing = Framing::new();
        assert_eq!(framing.decide(ALL, 2), Decision::Wait);
        assert_eq!(framing.say(0, 10, 0, 100), Ok(()));
        assert_eq!(framing.say(1, 11, 0, 100), Ok(()));
        assert_eq!(framing.decide(ALL, 2), Decision::Wait);
        assert_eq!(framing.decide(0b011, 2), Decision::Split);
        assert_eq!(framing.say(2, 11, 0, 100), Ok(()));
        assert_eq!(framing.decide(ALL, 2), agreed(11, 0));
        assert_eq!(framing.order(Cut { len: 11, flags: 0 }), 0b001);
        // Two agree before the third says anything.
        let mut framing = Framing::new();
        assert_eq!(framing.say(0, 10, Request::STICKY, 100), Ok(()));
        assert_eq!(framing.say(2, 10, Request::STICKY, 100), Ok(()));
        assert_eq!(framing.decide(ALL, 2), agreed(10, Request::STICKY));
        assert_eq!(framing.order(Cut { len: 10, flags: Request::STICKY }), 0);
        assert_eq!(framing.say(1, 10, 0, 100), Err(Condemnation::Framing));
    }

    #[test]
    fn three_ways_are_no_quorum() {
        let mut framing = Framing::new();
        for replica in 0..3 {
            assert_ne!(framing.decide(ALL, 2), Decision::Split);
            assert_eq!(framing.say(replica, 10 + replica as u64, 0, 100), Ok(()));
        }
        assert_eq!(framing.decide(ALL, 2), Decision::Split);
    }

    #[test]
    fn what_no_gateway_says() {
        let mut framing = Framing::new();
        assert_eq!(framing.say(0, 0, 0, 100), Err(Condemnation::WrongOffset));
        assert_eq!(framing.say(0, 101, 0, 100), Err(Condemnation::WrongOffset));
        let unexpected = Err(Condemnation::UnexpectedRecord);
        assert_eq!(framing.say(0, 5, Request::EXPORT, 100), unexpected);
        let long = ORDERED_BYTES_MAX as u64;
        assert_eq!(framing.say(0, long + 1, 0, 1 << 20), Err(Condemnation::Framing));
        assert_eq!(framing.say(0, long, Request::LAST, 1 << 20), Ok(()));
        assert_eq!(framing.say(0, long + 1, 0, 1 << 20), unexpected);
        for request in 1..=FRAMED_REQUESTS {
            assert_eq!(framing.say(1, request, 0, 1 << 20), Ok(()));
        }
        let ahead = framing.say(1, FRAMED_REQUESTS + 1, 0, 1 << 20);
        assert_eq!(ahead, Err(Condemnation::Framing));
    }

    #[test]
    fn who_is_far_behind_must_still_come_to_the_same_place() {
        let mut framing = Framing::new();
        let rounds = 3 * FRAMED_REQUESTS;
        for request in 1..=rounds {
            assert_eq!(framing.say(0, 2 * request, 0, 1 << 20), Ok(()));
            framing.order(Cut { len: 2, flags: 0 });
        }
        // What is forgotten is not compared, what is retained is.
        let mut late = framing.clone();
        let forgotten = rounds - FRAMED_REQUESTS;
        for request in 1..=forgotten {
            assert_eq!(late.say(1, 2 * request - 1, 0, 1 << 20), Ok(()));
        }
        assert_eq!(late.say(1, 2 * forgotten + 2, 0, 1 << 20), Err(Condemnation::Framing));
        // One that shifted its ends by what is forgotten is found where it arrives.
        for request in forgotten + 1..rounds {
            assert_eq!(late.say(1, 2 * request - 1, 0, 1 << 20), Ok(()));
        }
        assert_eq!(late.say(1, 2 * rounds - 1, 0, 1 << 20), Err(Condemnation::Framing));
    }

    #[test]
    fn who_is_admitted_begins_where_the_order_stands() {
        let mut framing = Framing::new();
        framing.say(0, 4, 0, 10).unwrap();
        framing.order(Cut { len: 4, flags: 0 });
        framing.admit(2);
        assert_eq!(framing.say(2, 5, 0, 10), Ok(()));
        assert_eq!(framing.decide(0b100, 1), agreed(1, 0));
    }
}
