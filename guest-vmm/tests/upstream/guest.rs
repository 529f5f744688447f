//! A guest: an Ethernet station with address resolution, and servers that send back what they get, each
//! byte inverted.

use std::cell::RefCell;
use std::rc::Rc;

use guest_vmm::upstream::SPARE;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium};
use smoltcp::phy::{RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpCidr};

use crate::cable::Cable;
use crate::world::{PORTS, SESSIONS, settings};

pub(crate) struct Guest {
    interface: Interface,
    device: Nic,
    pub(crate) sockets: SocketSet<'static>,
    handles: Vec<(SocketHandle, u16)>,
    /// The servers answer.
    pub(crate) answers: bool,
    /// Bytes all servers received.
    pub(crate) received: usize,
}

impl Guest {
    pub(crate) fn new(cable: Rc<RefCell<Cable>>, seed: u64) -> Self {
        let settings = settings(seed);
        let mut device = Nic(cable);
        let mut config = Config::new(EthernetAddress(settings.guest_mac).into());
        config.random_seed = !seed;
        let mut interface = Interface::new(config, &mut device, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(settings.guest.into(), 31)).unwrap();
        });
        let mut sockets = SocketSet::new(Vec::new());
        let mut handles = Vec::new();
        for port in PORTS[..2].iter().flatten() {
            for _ in 0..SPARE + 4 * SESSIONS {
                let buffer = |bytes| SocketBuffer::new(vec![0; bytes]);
                let handle = sockets.add(Socket::new(buffer(4096), buffer(8192)));
                handles.push((handle, *port));
            }
        }
        Self { interface, device, sockets, handles, answers: true, received: 0 }
    }

    /// When it wants to be looked at.
    pub(crate) fn due_ms(&mut self, now_ms: u64) -> Option<u64> {
        let now = Instant::from_millis(now_ms as i64);
        self.interface.poll_at(now, &self.sockets).map(|at| at.total_millis() as u64)
    }

    pub(crate) fn round(&mut self, now_ms: u64) {
        let now = Instant::from_millis(now_ms as i64);
        self.interface.poll(now, &mut self.device, &mut self.sockets);
        for &(handle, port) in &self.handles {
            let socket = self.sockets.get_mut::<Socket<'_>>(handle);
            if !socket.is_open() {
                socket.listen(port).unwrap();
            }
            while self.answers && socket.can_recv() && socket.can_send() {
                let room = socket.send_capacity() - socket.send_queue();
                let bytes = socket.recv(|bytes| {
                    let len = bytes.len().min(room);
                    (len, bytes[..len].to_vec())
                });
                let inverted: Vec<u8> = bytes.unwrap().iter().map(|byte| !byte).collect();
                self.received += inverted.len();
                assert_eq!(socket.send_slice(&inverted), Ok(inverted.len()));
            }
            if self.answers && socket.state() == State::CloseWait && !socket.can_recv() {
                socket.close();
            }
        }
        self.interface.poll(now, &mut self.device, &mut self.sockets);
    }

    /// Sockets with a connection.
    pub(crate) fn connections(&self) -> usize {
        let sockets =
            self.handles.iter().map(|&(handle, _)| self.sockets.get::<Socket<'_>>(handle));
        sockets.filter(|socket| socket.is_active() && socket.state() != State::TimeWait).count()
    }
}

struct Nic(Rc<RefCell<Cable>>);

impl Device for Nic {
    type RxToken<'a> = Frame;
    type TxToken<'a> = Line<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Frame, Line<'_>)> {
        let frame = self.0.borrow_mut().to_guest.pop_front()?;
        Some((Frame(frame), Line(&self.0)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Line<'_>> {
        Some(Line(&self.0))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        // As Linux with a device that has VIRTIO_NET_F_GUEST_CSUM and VIRTIO_NET_F_CSUM.
        let mut checksum = ChecksumCapabilities::ignored();
        checksum.ipv4 = Checksum::Both;
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities.checksum = checksum;
        capabilities
    }
}

struct Frame(Vec<u8>);

impl RxToken for Frame {
    fn consume<R, T: FnOnce(&[u8]) -> R>(self, take: T) -> R {
        take(&self.0)
    }
}

struct Line<'c>(&'c Rc<RefCell<Cable>>);

impl TxToken for Line<'_> {
    fn consume<R, T: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: T) -> R {
        let mut frame = vec![0; len];
        let result = fill(&mut frame);
        self.0.borrow_mut().send_from_guest(&frame);
        result
    }
}
