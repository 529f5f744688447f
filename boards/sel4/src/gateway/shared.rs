//! What two sides of this domain use in turns: the machine, and the connections over its network link.

use core::cell::RefCell;

use gateway::upstream::{Event, Opening, Received, Refused, Sent, Upstream};
use guest_vmm::machine::Machine;
use guest_vmm::upstream::{Frames, Tcp};
use resh_channel::memory::{Bytes, Words};

use super::cpu::Cpu;

/// The machine, for the exits of its virtual CPU and for the other end of its network link.
pub(super) type SharedMachine = &'static RefCell<Machine<'static, Cpu>>;
/// The connections, for the gateway and for the question whether the guest serves.
pub(super) type SharedTcp = &'static RefCell<Tcp<Wire>>;

/// Our end of the wire to the guest.
pub(super) struct Wire(pub(super) SharedMachine);

impl Frames for Wire {
    fn receive(&mut self, into: &mut [u8]) -> Option<usize> {
        self.0.borrow_mut().link().receive(into)
    }

    fn send(&mut self, frame: &[u8]) -> bool {
        self.0.borrow_mut().link().send(frame)
    }

    fn can_send(&self) -> bool {
        self.0.borrow_mut().link().can_send()
    }
}

/// The gateway's hold on the connections.
pub(super) struct Connections(pub(super) SharedTcp);

impl Upstream for Connections {
    fn begin(&mut self, now_ms: u64) {
        self.0.borrow_mut().begin(now_ms);
    }

    fn open(&mut self, session: usize, service: usize) -> Result<Opening, Refused> {
        self.0.borrow_mut().open(session, service)
    }

    fn next_event(&mut self) -> Option<Event> {
        self.0.borrow_mut().next_event()
    }

    fn send(&mut self, session: usize, bytes: Bytes<'_>) -> Sent {
        self.0.borrow_mut().send(session, bytes)
    }

    fn send_private(&mut self, session: usize, bytes: &[u8]) -> Sent {
        self.0.borrow_mut().send_private(session, bytes)
    }

    fn recv(&mut self, session: usize, into: &Words, limit_bytes: usize) -> Received {
        self.0.borrow_mut().recv(session, into, limit_bytes)
    }

    fn recv_private(&mut self, session: usize, into: &mut [u8]) -> Received {
        self.0.borrow_mut().recv_private(session, into)
    }

    fn finish(&mut self, session: usize) {
        self.0.borrow_mut().finish(session);
    }

    fn close(&mut self, session: usize, abort: bool) {
        self.0.borrow_mut().close(session, abort);
    }

    fn poll(&mut self, now_ms: u64) -> Option<u64> {
        self.0.borrow_mut().poll(now_ms)
    }
}
