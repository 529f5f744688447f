//! The network domain with services over UDP, and clients on the host's own sockets.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use pd_network::stack::{Datagrams, Stack};
use resh_channel::config::{Appliance, Network, Transport};
use resh_channel::message::DATAGRAM_BYTES_MAX;
use resh_channel::stats::NetworkStats;

use super::common::suite::World;
use super::common::udp::UdpWorld;
use super::common::voter::Voter;
use super::{Host, appliance};

pub struct UdpHost {
    pub host: Host,
    pub clients: Vec<UdpSocket>,
    most_bytes: usize,
    address_of_host: fn(usize) -> IpAddr,
    buffer: Vec<u8>,
}

impl UdpHost {
    /// Starts the domain with services at addresses `listen`, on the stack that `stack` makes, over which datagrams
    /// have at most `most_bytes`. Client hosts have the addresses that `address_of_host` tells.
    pub fn start<S: Stack + Datagrams + 'static>(
        listen: Vec<SocketAddr>,
        network: Network,
        most_bytes: usize,
        address_of_host: fn(usize) -> IpAddr,
        stack: impl FnOnce(&Appliance) -> S + Send + 'static,
    ) -> Self {
        let mut appliance = appliance(&listen, network);
        for service in &mut appliance.services {
            service.transport = Transport::Udp;
        }
        let host = Host::start(appliance, stack);
        let buffer = vec![0; DATAGRAM_BYTES_MAX + 1];
        Self { host, clients: Vec::new(), most_bytes, address_of_host, buffer }
    }
}

impl UdpWorld<'static> for UdpHost {
    fn client(&mut self, host: usize) -> usize {
        let socket = UdpSocket::bind(((self.address_of_host)(host), 0)).expect("an address");
        // A reply from anywhere else would not be let in.
        socket.connect(self.host.listen[0]).expect("connected");
        socket.set_nonblocking(true).expect("a socket");
        self.clients.push(socket);
        self.clients.len() - 1
    }

    fn address(&mut self, client: usize) -> SocketAddr {
        self.clients[client].local_addr().expect("an address")
    }

    fn send(&mut self, client: usize, bytes: &[u8]) {
        assert_eq!(self.clients[client].send(bytes).expect("sent"), bytes.len());
    }

    fn receive(&mut self, client: usize) -> Option<Vec<u8>> {
        match self.clients[client].recv(&mut self.buffer) {
            Ok(len) => Some(self.buffer[..len].to_vec()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn most_bytes(&self) -> usize {
        self.most_bytes
    }

    fn step(&mut self) {
        self.host.step();
    }

    fn pass(&mut self, time_ms: u64) {
        self.host.pass(time_ms);
    }

    fn voter(&mut self) -> &mut Voter<'static> {
        self.host.voter()
    }

    fn stats(&mut self) -> NetworkStats {
        self.host.stats()
    }
}
