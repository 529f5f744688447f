//! What only the whole file shows: names used twice, and addresses that meet.

use std::net::SocketAddr;

use resh_channel::config::{Network, REPLICAS_MAX, SERVICES_MAX, Transport, listen_clash};

use super::reader::{Found, Reader};
use super::service::ServiceRead;

/// Reports what is wrong between the sections.
pub(super) fn check(
    reader: &mut Reader<'_>,
    metrics: Option<&Found<SocketAddr>>,
    network: &Network,
    services: &[ServiceRead],
) {
    if let Some(extra) = services.get(SERVICES_MAX) {
        let problem = format!("{} services", services.len());
        reader.report(&extra.place, problem, format!("use at most {SERVICES_MAX}"));
    }
    for (at, service) in services.iter().enumerate() {
        names(reader, service, &services[..at]);
        listening(reader, service, metrics, network, &services[..at]);
        replicas(reader, service, services);
    }
}

fn names(reader: &mut Reader<'_>, service: &ServiceRead, earlier: &[ServiceRead]) {
    let Some(name) = &service.name else { return };
    let other = earlier.iter().filter_map(|other| other.name.as_ref());
    if let Some(first) = other.into_iter().find(|other| other.value == name.value) {
        let problem = format!("a second service {:?}", name.value);
        let hint = format!("choose another name: line {} has this one", first.place.position.line);
        reader.report(&name.place, problem, hint);
    }
}

fn listening(
    reader: &mut Reader<'_>,
    service: &ServiceRead,
    metrics: Option<&Found<SocketAddr>>,
    network: &Network,
    earlier: &[ServiceRead],
) {
    let Some(listen) = &service.listen else { return };
    let others = earlier.iter().filter(|other| other.transport == service.transport);
    let others = others.filter_map(|other| other.listen.as_ref());
    // The monitor is behind the sockets of the kernel, whatever the services use, and it uses TCP.
    let tcp = service.transport == Transport::Tcp;
    let metrics = metrics.filter(|_| *network == Network::Kernel && tcp);
    for other in others.chain(metrics) {
        if listen_clash(listen.value, other.value) {
            let problem = format!("{} is taken by {}", listen.value, other.place.path);
            let hint =
                format!("use another port: line {} has {}", other.place.position.line, other.value);
            reader.report(&listen.place, problem, hint);
        }
    }
    if let Network::Smoltcp(smoltcp) = network {
        let ip = listen.value.ip();
        let any = ip.is_unspecified() && ip.is_ipv4() == smoltcp.address.is_ipv4();
        if ip != smoltcp.address && !any {
            let interface = smoltcp.tap.as_deref().unwrap_or("the interface");
            let problem = format!("{ip} is not the address of {interface}");
            let port = listen.value.port();
            let right = SocketAddr::new(smoltcp.address, port);
            reader.report(
                &listen.place,
                problem,
                format!("use {right}, or change network.address"),
            );
        }
    }
}

fn replicas(reader: &mut Reader<'_>, service: &ServiceRead, services: &[ServiceRead]) {
    if let Some(extra) = service.replicas.get(REPLICAS_MAX) {
        let problem = format!("{} replicas", service.replicas.len());
        let hint = format!("use at most {REPLICAS_MAX}: 2 stop when they differ, 3 go on");
        reader.report(&extra.place, problem, hint);
    }
    for (at, replica) in service.replicas.iter().enumerate() {
        let earlier = &service.replicas[..at];
        if let Some(name) = &replica.name {
            let names = earlier.iter().filter_map(|other| other.name.as_ref());
            if names.into_iter().any(|other| other.value == name.value) {
                let problem = format!("a second replica {:?} of this service", name.value);
                reader.report(&name.place, problem, "give each replica a name of its own");
            }
        }
        let Some(address) = &replica.address else { continue };
        let addresses = earlier.iter().filter_map(|other| other.address.as_ref());
        if let Some(same) = addresses.into_iter().find(|other| other.value == address.value) {
            let problem = format!("{} is {} already", address.value, same.place.path);
            let hint = "use another server: one server asked twice always agrees with itself";
            reader.report(&address.place, problem, hint);
        }
        let listens = services.iter().filter(|other| other.transport == service.transport);
        let mut listens = listens.filter_map(|service| service.listen.as_ref());
        if let Some(own) = listens.find(|own| reaches(address.value, own.value)) {
            let problem = format!("{} is this appliance itself: {}", address.value, own.place.path);
            let hint = "write the address of the server behind it, or listen at another port";
            reader.report(&address.place, problem, hint);
        }
    }
}

/// Whether who connects to `address` comes to who listens at `listen`, as far as the addresses tell.
fn reaches(address: SocketAddr, listen: SocketAddr) -> bool {
    let all = listen.ip().is_unspecified()
        && address.ip().is_loopback()
        && (listen.is_ipv6() || address.is_ipv4());
    address == listen || all && address.port() == listen.port()
}
