//! A link in memory between two network stacks of one program.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use pd_network::smoltcp_stack::Frames;
use pd_network::smoltcp_stack::smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use pd_network::smoltcp_stack::smoltcp::time::Instant;

/// Longest frame: 1,500 bytes of IP after an Ethernet header.
const FRAME_BYTES_MAX: usize = 1514;
/// Frames on their way in one direction. More are lost.
const FRAMES: usize = 128;

/// One direction: a queue of frames.
struct Way {
    frames: Vec<[u8; FRAME_BYTES_MAX]>,
    lens: [usize; FRAMES],
    first: usize,
    count: usize,
}

impl Way {
    fn new() -> Rc<RefCell<Self>> {
        let frames = vec![[0; FRAME_BYTES_MAX]; FRAMES];
        Rc::new(RefCell::new(Self { frames, lens: [0; FRAMES], first: 0, count: 0 }))
    }

    /// Room for a frame of `len` bytes at the end.
    fn push(&mut self, len: usize) -> Option<&mut [u8]> {
        let at = (self.first + self.count) % FRAMES;
        if self.count == FRAMES {
            return None;
        }
        self.count += 1;
        self.lens[at] = len;
        Some(&mut self.frames[at][..len])
    }

    /// Copies the first frame to `into` and returns its length.
    fn pop(&mut self, into: &mut [u8; FRAME_BYTES_MAX]) -> Option<usize> {
        let at = self.first;
        self.count = self.count.checked_sub(1)?;
        self.first = (at + 1) % FRAMES;
        let len = self.lens[at];
        into[..len].copy_from_slice(&self.frames[at][..len]);
        Some(len)
    }
}

/// Both ends of a link.
pub struct Link {
    ways: [Rc<RefCell<Way>>; 2],
}

impl Link {
    /// A link, and a port at each end of it.
    pub fn new() -> (Self, [Port; 2]) {
        let ways = [Way::new(), Way::new()];
        let port = |incoming: usize| Port {
            incoming: ways[incoming].clone(),
            outgoing: ways[1 - incoming].clone(),
            frame: Box::new([0; FRAME_BYTES_MAX]),
            len: None,
            lost: Box::new([0; FRAME_BYTES_MAX]),
        };
        let ports = [port(0), port(1)];
        (Self { ways }, ports)
    }

    /// Whether a frame is on its way.
    pub fn is_busy(&self) -> bool {
        self.ways.iter().any(|way| way.borrow().count > 0)
    }
}

/// One end of a link.
pub struct Port {
    incoming: Rc<RefCell<Way>>,
    outgoing: Rc<RefCell<Way>>,
    /// The frame that came last, and its length until it is handed over.
    frame: Box<[u8; FRAME_BYTES_MAX]>,
    len: Option<usize>,
    /// What is written of frames that are lost.
    lost: Box<[u8; FRAME_BYTES_MAX]>,
}

impl Port {
    fn load(&mut self) {
        if self.len.is_none() {
            self.len = self.incoming.borrow_mut().pop(&mut self.frame);
        }
    }
}

/// A frame received.
pub struct Incoming<'a>(&'a [u8]);

impl phy::RxToken for Incoming<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// Room for a frame to send.
pub struct Outgoing<'a> {
    way: &'a RefCell<Way>,
    lost: &'a mut [u8; FRAME_BYTES_MAX],
}

impl phy::TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        match self.way.borrow_mut().push(len) {
            Some(frame) => f(frame),
            None => f(&mut self.lost[..len]),
        }
    }
}

impl Device for Port {
    type RxToken<'a> = Incoming<'a>;
    type TxToken<'a> = Outgoing<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Incoming<'_>, Outgoing<'_>)> {
        self.load();
        let len = self.len.take()?;
        let outgoing = Outgoing { way: &self.outgoing, lost: &mut self.lost };
        Some((Incoming(&self.frame[..len]), outgoing))
    }

    fn transmit(&mut self, _: Instant) -> Option<Outgoing<'_>> {
        let room = self.outgoing.borrow().count < FRAMES;
        room.then_some(Outgoing { way: &self.outgoing, lost: &mut self.lost })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME_BYTES_MAX;
        capabilities
    }
}

impl Frames for Port {
    fn peek(&mut self) -> Option<&[u8]> {
        self.load();
        self.len.map(|len| &self.frame[..len])
    }
}
