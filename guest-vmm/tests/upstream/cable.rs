//! The link.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use guest_vmm::upstream::{FRAME_BYTES_MAX, Frames};

/// xorshift64*.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }

    pub(crate) fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }
}

/// What happens to frames, in percent.
#[derive(Clone, Copy, Default)]
pub(crate) struct Weather {
    pub(crate) lost: usize,
    pub(crate) doubled: usize,
    pub(crate) overtaken: usize,
    /// Of the guest's frames: a damaged copy comes along.
    pub(crate) damaged: usize,
}

pub(crate) struct Cable {
    pub(crate) rng: Rng,
    pub(crate) weather: Weather,
    pub(crate) to_guest: VecDeque<Vec<u8>>,
    pub(crate) from_guest: VecDeque<Vec<u8>>,
    /// Frames that `to_guest` has room for.
    pub(crate) room: usize,
    /// Frames of ours that were dropped for want of it.
    pub(crate) dropped: usize,
    /// All frames of ours so far.
    pub(crate) sent: Vec<Vec<u8>>,
}

impl Cable {
    pub(crate) fn new(seed: u64, weather: Weather) -> Self {
        Self {
            rng: Rng::new(seed),
            weather,
            to_guest: VecDeque::new(),
            from_guest: VecDeque::new(),
            room: 256,
            dropped: 0,
            sent: Vec::new(),
        }
    }

    pub(crate) fn is_busy(&self) -> bool {
        !self.to_guest.is_empty() || !self.from_guest.is_empty()
    }

    fn carry(&mut self, frame: &[u8], to_guest: bool) {
        let Self { rng, weather, .. } = self;
        if rng.percent(weather.lost) {
            return;
        }
        let copies = if rng.percent(weather.doubled) { 2 } else { 1 };
        let damaged = (!to_guest && rng.percent(weather.damaged)).then(|| damage(rng, frame));
        let line = if to_guest { &mut self.to_guest } else { &mut self.from_guest };
        for _ in 0..copies {
            line.push_back(frame.to_vec());
            let last = line.len() - 1;
            if last > 0 && rng.percent(weather.overtaken) {
                line.swap(last, last - 1);
            }
        }
        line.extend(damaged);
    }

    pub(crate) fn send_from_guest(&mut self, frame: &[u8]) {
        self.carry(frame, false);
    }
}

/// A frame that no stack sends. As checksums are off, what it says about a stream must not be believed
/// by accident: it is cut short, or for another address, protocol or port.
fn damage(rng: &mut Rng, frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    match rng.below(4) {
        0 => frame.truncate(rng.below(34)),
        1 => frame[12 + rng.below(2)] ^= 1 << rng.below(8),
        2 => frame.iter_mut().skip(23).take(1).for_each(|protocol| *protocol ^= 0x40),
        _ => frame.iter_mut().skip(26).take(8).for_each(|address| *address ^= 0x80),
    }
    frame
}

/// Our end.
#[derive(Clone)]
pub(crate) struct End(pub(crate) Rc<RefCell<Cable>>);

impl Frames for End {
    fn receive(&mut self, into: &mut [u8]) -> Option<usize> {
        loop {
            let frame = self.0.borrow_mut().from_guest.pop_front()?;
            if frame.len() <= into.len() {
                into[..frame.len()].copy_from_slice(&frame);
                return Some(frame.len());
            }
        }
    }

    fn send(&mut self, frame: &[u8]) -> bool {
        assert!(frame.len() <= FRAME_BYTES_MAX);
        let mut cable = self.0.borrow_mut();
        if cable.to_guest.len() >= cable.room {
            cable.dropped += 1;
            return false;
        }
        cable.sent.push(frame.to_vec());
        cable.carry(frame, true);
        true
    }

    fn can_send(&self) -> bool {
        let cable = self.0.borrow();
        cable.to_guest.len() < cable.room
    }
}
