//! A guest with servers, and a link to it that can be bad.

use std::cell::RefCell;
use std::rc::Rc;

use gateway::upstream::{Event, Upstream};
use guest_vmm::upstream::{Settings, Tcp};
use resh_channel::config::Transport;

use crate::cable::{Cable, End, Weather};
use crate::guest::Guest;

/// Where the guest's servers listen: service 0, 1. Nobody listens for service 2, and the replica has no
/// part in service 3.
pub(crate) const PORTS: [Option<u16>; 4] = [Some(80), Some(6379), Some(81), None];
/// Services over UDP: at the first port the guest's server listens, at the second nobody.
pub(crate) const UDP: [usize; 2] = [4, 5];
pub(crate) const UDP_PORTS: [u16; 2] = [53, 54];
pub(crate) const SESSIONS: usize = 16;

pub(crate) fn settings(seed: u64) -> Settings {
    Settings {
        guest: [10, 77, 0, 2].into(),
        guest_mac: [2, 0x52, 0x45, 0x53, 0x48, 0x10],
        our_mac: [2, 0x52, 0x45, 0x53, 0x48, 0],
        ports: PORTS
            .iter()
            .map(|port| port.map(|port| (Transport::Tcp, port)))
            .chain(UDP_PORTS.map(|port| Some((Transport::Udp, port))))
            .collect(),
        sessions: SESSIONS,
        seed,
    }
}

/// Both ends of a link, and the time.
pub(crate) struct World {
    pub(crate) now_ms: u64,
    pub(crate) cable: Rc<RefCell<Cable>>,
    pub(crate) tcp: Tcp<End>,
    pub(crate) guest: Option<Guest>,
    /// When our end wants to be looked at.
    pub(crate) wake_at_ms: Option<u64>,
}

impl World {
    pub(crate) fn new(seed: u64, weather: Weather) -> Self {
        let cable = Rc::new(RefCell::new(Cable::new(seed, weather)));
        let tcp = Tcp::new(End(cable.clone()), settings(seed));
        let guest = Some(Guest::new(cable.clone(), seed));
        Self { now_ms: 1_000, cable, tcp, guest, wake_at_ms: None }
    }

    /// One look of each end, and the events of ours.
    pub(crate) fn round(&mut self) -> Vec<Event> {
        self.tcp.begin(self.now_ms);
        let events = std::iter::from_fn(|| self.tcp.next_event()).collect();
        self.end_round();
        events
    }

    /// The second half of it, for a caller who does something between.
    pub(crate) fn end_round(&mut self) {
        self.wake_at_ms = self.tcp.poll(self.now_ms);
        if let Some(guest) = &mut self.guest {
            guest.round(self.now_ms);
        }
    }

    /// Lets time pass until something is due.
    pub(crate) fn sleep(&mut self) {
        if self.cable.borrow().is_busy() {
            self.now_ms += 1;
            return;
        }
        let guest_at_ms = self.guest.as_mut().and_then(|guest| guest.due_ms(self.now_ms));
        let next_ms = self.wake_at_ms.into_iter().chain(guest_at_ms).min();
        self.now_ms = next_ms.unwrap_or(u64::MAX).clamp(self.now_ms + 1, self.now_ms + 5_000);
    }

    /// Rounds until there is an event for which `found` gives something. Panics after a minute.
    pub(crate) fn until<T>(
        &mut self,
        mut found: impl FnMut(&mut Self, &[Event]) -> Option<T>,
    ) -> T {
        let end_ms = self.now_ms + 60_000;
        while self.now_ms < end_ms {
            let events = self.round();
            if let Some(found) = found(self, &events) {
                return found;
            }
            self.sleep();
        }
        panic!("nothing within a minute");
    }

    /// Opens connections of `sessions` to service 0, and waits until they stand.
    pub(crate) fn open(&mut self, sessions: std::ops::Range<usize>) {
        for session in sessions.clone() {
            self.tcp.open(session, 0).unwrap();
        }
        let mut left = sessions.len();
        self.until(|_, events| {
            left -= events.iter().filter(|event| matches!(event, Event::Opened(_))).count();
            (left == 0).then_some(())
        });
    }

    /// Rounds until no connection is left on our side.
    pub(crate) fn drain(&mut self) {
        self.until(|world, _| (world.tcp.connections() == 0).then_some(()));
    }
}
