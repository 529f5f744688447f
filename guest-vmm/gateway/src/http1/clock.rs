//! The request clock of each byte that waits.

/// Most different clock values among the bytes that wait.
const MAX_MARKS: usize = 16;

/// Which record's clock belongs to which position of the client's stream.
pub(super) struct Clocks {
    /// End position and clock of stretches in the order of the stream.
    marks: [(u64, u32); MAX_MARKS],
    count: usize,
}

impl Clocks {
    pub(super) const fn new() -> Self {
        Self { marks: [(0, 0); MAX_MARKS], count: 0 }
    }

    /// Whether bytes with this clock can be noted.
    pub(super) fn has_room(&self, clock_s: u32) -> bool {
        self.count < MAX_MARKS || self.latest() == clock_s
    }

    /// Bytes up to `end` have this clock.
    pub(super) fn note(&mut self, end: u64, clock_s: u32) {
        if self.count > 0 && self.latest() == clock_s {
            self.marks[self.count - 1].0 = end;
        } else if let Some(mark) = self.marks.get_mut(self.count) {
            *mark = (end, clock_s);
            self.count += 1;
        }
    }

    /// The clock of the byte at `position`; of the last byte, if there is none at `position`.
    pub(super) fn at(&self, position: u64) -> u32 {
        let marks = &self.marks[..self.count];
        marks.iter().find(|(end, _)| *end > position).map_or(self.latest(), |(_, clock)| *clock)
    }

    /// Bytes before `position` are of no more interest.
    pub(super) fn forget(&mut self, position: u64) {
        let gone = self.marks[..self.count].iter().take_while(|(end, _)| *end <= position).count();
        // The last mark says what time it is.
        let gone = gone.min(self.count.saturating_sub(1));
        self.marks.copy_within(gone..self.count, 0);
        self.count -= gone;
    }

    fn latest(&self) -> u32 {
        self.count.checked_sub(1).map_or(0, |last| self.marks[last].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_has_the_clock_of_its_record() {
        let mut clocks = Clocks::new();
        assert_eq!(clocks.at(0), 0);
        for (end, clock_s) in [(3, 7), (5, 7), (6, 9)] {
            assert!(clocks.has_room(clock_s));
            clocks.note(end, clock_s);
        }
        assert_eq!([clocks.at(0), clocks.at(4), clocks.at(5), clocks.at(6)], [7, 7, 9, 9]);
        clocks.forget(6);
        assert_eq!(clocks.at(9), 9);
        for clock_s in 10..10 + MAX_MARKS as u32 - 1 {
            clocks.note(u64::from(clock_s), clock_s);
        }
        assert!(!clocks.has_room(0));
        assert!(clocks.has_room(24));
    }
}
