//! What a domain tells the timer domain, which wakes it when its deadline has passed.
//!
//! The domain writes one word, in ticks of CNTPCT_EL0, and notifies the timer only when it must come
//! earlier than it was asked to. A deadline that moves away is not told: when the earlier one has passed,
//! the domain wakes, finds nothing due, and tells the next. So a time limit that is set and taken back for
//! each request costs one wake in its whole length, and the timer never comes late.
//!
//! What the timer owes in return: notified, it looks at the page again; when what it found there has
//! passed, it notifies the domain once, and then needs to be told again.

/// No deadline, in the page that the timer reads.
pub(crate) const NONE: u64 = u64::MAX;

/// What to do before the domain waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// Wait.
    Wait,
    /// Write this into the page and notify the timer, then wait.
    Tell(u64),
    /// Do not wait: the deadline has passed.
    Due,
}

/// One domain's deadline: what it wants, and what the timer knows.
#[derive(Debug)]
pub(crate) struct Deadline {
    /// What the domain wants, in ticks.
    wanted: u64,
    /// What the page says. Nothing passes it silently: see [`Self::before_wait`].
    told: u64,
}

impl Deadline {
    pub(crate) const fn new() -> Self {
        Self { wanted: NONE, told: NONE }
    }

    /// Asks for a wake at `ticks`, or for none with [`NONE`].
    pub(crate) fn set(&mut self, ticks: u64) {
        self.wanted = ticks;
    }

    /// True, and no longer wanted, if the deadline has passed.
    pub(crate) fn take_due(&mut self, now: u64) -> bool {
        let due = self.wanted <= now;
        if due {
            self.wanted = NONE;
        }
        due
    }

    /// To be asked, and obeyed, before each wait.
    pub(crate) fn before_wait(&mut self, now: u64) -> Before {
        if self.wanted <= now {
            return Before::Due;
        }
        // What has passed is spent: the timer looks at it once, then waits to be told.
        let spent = self.told <= now;
        if self.wanted < self.told || (spent && self.wanted != NONE) {
            self.told = self.wanted;
            return Before::Tell(self.wanted);
        }
        Before::Wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A timer that does as the timer domain does: programs the page when told, wakes its client once
    /// when that has passed.
    struct World {
        now: u64,
        deadline: Deadline,
        page: u64,
        armed: u64,
        told: u32,
        wakes: u32,
    }

    impl World {
        fn new() -> Self {
            Self { now: 1, deadline: Deadline::new(), page: NONE, armed: NONE, told: 0, wakes: 0 }
        }

        /// Sets the deadline and waits, at most until `until`. True if it came.
        fn wait(&mut self, wanted: u64, until: u64) -> bool {
            self.deadline.set(wanted);
            self.wait_on(until)
        }

        fn wait_on(&mut self, until: u64) -> bool {
            loop {
                match self.deadline.before_wait(self.now) {
                    Before::Due => assert!(self.deadline.take_due(self.now)),
                    Before::Tell(at) => {
                        (self.page, self.armed) = (at, at);
                        self.told += 1;
                        continue;
                    }
                    Before::Wait if self.armed <= until => {
                        self.now = self.now.max(self.armed);
                        self.armed = NONE;
                        self.wakes += 1;
                        if !self.deadline.take_due(self.now) {
                            continue;
                        }
                    }
                    Before::Wait => {
                        self.now = until;
                        return false;
                    }
                }
                return true;
            }
        }
    }

    #[test]
    fn a_deadline_taken_back_each_time_is_told_once() {
        let mut world = World::new();
        for _ in 0..100 {
            let now = world.now;
            assert!(!world.wait(now + 1000, now + 1));
            assert!(!world.wait(NONE, now + 2));
        }
        assert_eq!((world.told, world.wakes), (1, 0));
    }

    #[test]
    fn an_earlier_deadline_is_told() {
        let mut world = World::new();
        assert!(!world.wait(1000, 10));
        assert!(world.wait(100, 500));
        assert_eq!((world.now, world.told), (100, 2));
    }

    #[test]
    fn what_has_passed_is_due_without_the_timer() {
        let mut world = World::new();
        world.now = 50;
        assert!(world.wait(50, 50));
        assert_eq!((world.told, world.wakes), (0, 0));
        assert!(!world.wait_on(60), "it comes once");
    }

    /// Whatever is set when, a deadline that the domain waits for comes, and at its time.
    #[test]
    fn no_deadline_is_missed() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let (mut came, mut not) = (0, 0);
        let mut world = World::new();
        for _ in 0..100_000 {
            let wanted = match random(4) {
                0 => NONE,
                _ => world.now + random(100),
            };
            let until = world.now + random(60);
            let began = world.now;
            let due = world.wait(wanted, until);
            assert_eq!(due, wanted <= until);
            if due {
                assert_eq!(world.now, wanted.max(began));
                came += 1;
            } else {
                not += 1;
            }
        }
        assert!(came > 10_000 && not > 10_000, "{came} {not}");
    }
}
