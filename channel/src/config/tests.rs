use core::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;

/// Runs a property with a fixed seed, so that a failure can be had again.
fn runner(cases: u32) -> TestRunner {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, rng)
}

fn name() -> impl Strategy<Value = Name> {
    "[a-zA-Z0-9][a-zA-Z0-9._-]{0,31}".prop_map(|name| Name::try_from(name.as_str()).unwrap())
}

fn ip() -> impl Strategy<Value = IpAddr> {
    // None of them unspecified.
    prop_oneof![
        (1..=u32::MAX).prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
        (1..=u128::MAX).prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
    ]
}

fn socket() -> impl Strategy<Value = SocketAddr> {
    (ip(), 1..=u16::MAX).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![
        Just(Protocol::Raw),
        (1..=Methods::ALL.0, HEAD_BYTES_MIN..=HEAD_BYTES_MAX).prop_map(|(bits, max_head_bytes)| {
            Protocol::Http1(Http1 {
                methods: Methods(bits),
                max_head_bytes,
                private_cookies: cookies(bits),
            })
        }),
    ]
}

fn network() -> impl Strategy<Value = Network> {
    let smoltcp = ("[a-z0-9]{1,15}", ip(), 1..=32u8, any::<bool>(), any::<[u8; 6]>());
    prop_oneof![
        Just(Network::Kernel),
        smoltcp.prop_map(|(tap, address, prefix_bits, gateway, mac)| {
            Network::Smoltcp(Smoltcp {
                tap: String::try_from(tap.as_str()).ok(),
                address,
                prefix_bits,
                gateway: gateway.then_some(address),
                mac: [mac[0] & !1 | 2, mac[1], mac[2], mac[3], mac[4], mac[5]],
            })
        }),
    ]
}

fn service() -> impl Strategy<Value = Service> {
    let replica = (name(), socket()).prop_map(|(name, address)| Replica { name, address });
    let replicas = proptest::collection::vec(replica, 1..=REPLICAS_MAX);
    (name(), socket(), protocol(), any::<bool>(), replicas).prop_map(
        |(name, listen, protocol, stop_service, replicas)| Service {
            name,
            listen,
            protocol,
            transport: core::default::Default::default(),
            order: core::default::Default::default(),
            state: core::default::Default::default(),
            probe: core::default::Default::default(),
            on_mismatch: match stop_service {
                true => OnMismatch::StopService,
                false => OnMismatch::StopSession,
            },
            replicas: replicas.into_iter().collect(),
        },
    )
}

fn appliance() -> impl Strategy<Value = Appliance> {
    let time = || 1..=TIME_MS_MAX;
    let limits = (1..=SESSIONS_MAX, time(), 0..=TIME_MS_MAX, time(), time()).prop_map(
        |(sessions, reply_ms, lag_budget_ms, idle_ms, connect_ms)| Limits {
            sessions,
            reply_ms,
            lag_budget_ms,
            idle_ms,
            connect_ms,
        },
    );
    let services = proptest::collection::vec(service(), 1..=SERVICES_MAX);
    let guests = proptest::collection::vec(guest(), REPLICAS_MAX);
    let hosts = proptest::option::of((proptest::collection::vec(ip(), REPLICAS_MAX), guests));
    (name(), proptest::option::of(socket()), limits, network(), services, hosts).prop_map(
        |(name, metrics, limits, network, mut services, hosts)| {
            let most = services.iter().map(|service| service.replicas.len()).max().unwrap_or(0);
            let (addresses, mut guests) = hosts.unwrap_or_default();
            for service in &mut services {
                for (replica, ip) in service.replicas.iter_mut().zip(&addresses) {
                    replica.address.set_ip(*ip);
                }
            }
            guests.truncate(most);
            Appliance {
                name,
                metrics,
                recovery: core::default::Default::default(),
                seed: core::default::Default::default(),
                limits,
                network,
                services: services.into_iter().collect(),
                guests: guests.into_iter().collect(),
            }
        },
    )
}

fn guest() -> impl Strategy<Value = Guest> {
    (name(), "[ -~]{0,96}", "[ -~]{0,256}").prop_map(|(name, software, command_line)| Guest {
        name,
        software: String::try_from(software.as_str()).unwrap(),
        command_line: String::try_from(command_line.as_str()).unwrap(),
    })
}

/// The largest there is: every name full, every address the longest.
/// As many cookies as `bits` has of its lowest four, with the longest names.
fn cookies(bits: u8) -> CookieNames {
    let mut cookies = CookieNames::default();
    for at in (0..COOKIES_MAX).filter(|at| bits >> at & 1 != 0) {
        assert!(cookies.insert(&std::format!("{at:x>COOKIE_NAME_BYTES_MAX$}")));
    }
    cookies
}

fn largest() -> Appliance {
    let name = |at: usize| {
        let mut name = Name::try_from("abcdefghijklmnopqrstuvwxyz-abc").unwrap();
        name.push((b'a' + (at / 26) as u8) as char).unwrap();
        name.push((b'a' + (at % 26) as u8) as char).unwrap();
        name
    };
    let address = |at: usize| {
        let ip = Ipv6Addr::from_bits(u128::MAX - at as u128);
        SocketAddr::new(ip.into(), u16::MAX)
    };
    let replica = |at| Replica { name: name(at), address: address(at) };
    let service = |at: usize| Service {
        name: name(at),
        listen: address(at),
        protocol: Protocol::Http1(Http1 {
            methods: Methods::ALL,
            max_head_bytes: HEAD_BYTES_MAX,
            private_cookies: cookies(0x7f),
        }),
        transport: core::default::Default::default(),
        order: core::default::Default::default(),
        state: core::default::Default::default(),
        probe: core::default::Default::default(),
        on_mismatch: OnMismatch::StopSession,
        replicas: (100..100 + REPLICAS_MAX).map(replica).collect(),
    };
    let guest = |at: usize| Guest {
        name: name(at),
        software: String::try_from("s".repeat(SOFTWARE_BYTES_MAX).as_str()).unwrap(),
        command_line: String::try_from("c".repeat(COMMAND_LINE_BYTES_MAX).as_str()).unwrap(),
    };
    let all_ones = IpAddr::V6(Ipv6Addr::from_bits(u128::MAX));
    let (sessions, ms) = (SESSIONS_MAX, TIME_MS_MAX);
    Appliance {
        name: name(0),
        metrics: Some(address(0)),
        recovery: core::default::Default::default(),
        seed: core::default::Default::default(),
        limits: Limits { sessions, reply_ms: ms, lag_budget_ms: ms, idle_ms: ms, connect_ms: ms },
        network: Network::Smoltcp(Smoltcp {
            tap: String::try_from("123456789012345").ok(),
            address: all_ones,
            prefix_bits: 128,
            gateway: Some(all_ones),
            mac: [0xfe; 6],
        }),
        services: (0..SERVICES_MAX).map(service).collect(),
        guests: (200..200 + REPLICAS_MAX).map(guest).collect(),
    }
}

#[test]
fn the_largest_configuration_fits() {
    let mut bytes = [0; ENCODED_BYTES_MAX];
    let appliance = largest();
    let length = appliance.encode(&mut bytes).unwrap();
    assert!(length > ENCODED_BYTES_MAX / 2, "{length}: the limit is too generous");
    assert!(Appliance::decode(&bytes) == Ok(appliance));
}

#[test]
fn what_was_encoded_is_decoded() {
    let check = |appliance: Appliance| {
        let mut bytes = [0xa5; ENCODED_BYTES_MAX];
        match appliance.encode(&mut bytes) {
            Ok(length) => {
                prop_assert_eq!(Appliance::decode(&bytes), Ok(appliance.clone()));
                prop_assert_eq!(Appliance::decode(&bytes[..length]), Ok(appliance.clone()));
                prop_assert_eq!(
                    Appliance::decode(&bytes[..length - 1]),
                    Err(ConfigError::Malformed)
                );
                let mut small = [0; ENCODED_BYTES_MAX];
                let small = &mut small[..length - 1];
                prop_assert_eq!(appliance.encode(small), Err(ConfigError::NoRoom));
            }
            // Two of the names or addresses came out the same.
            Err(error) => prop_assert!(matches!(error, ConfigError::OutOfLimits(_))),
        }
        Ok(())
    };
    runner(2_000).run(&appliance(), check).unwrap();
}

#[test]
fn bytes_of_any_kind_are_refused_or_within_the_limits() {
    let any = proptest::collection::vec(any::<u8>(), 0..512);
    runner(20_000)
        .run(&any, |mut bytes| {
            prop_assert!(Appliance::decode(&bytes).is_err());
            // With a header that is right, the rest is looked at.
            if let Some(length) = bytes.len().checked_sub(HEADER_BYTES) {
                bytes[..4].copy_from_slice(&MAGIC);
                bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
                bytes[6..8].copy_from_slice(&(length as u16).to_le_bytes());
                if let Ok(appliance) = Appliance::decode(&bytes) {
                    prop_assert_eq!(appliance.validate(), Ok(()));
                }
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn damage_is_refused_or_leaves_the_limits_kept() {
    let damage = (appliance(), any::<prop::sample::Index>(), 1..=255u8);
    let mut survived = 0;
    runner(5_000)
        .run(&damage, |(appliance, at, flip)| {
            let mut bytes = [0; ENCODED_BYTES_MAX];
            let Ok(length) = appliance.encode(&mut bytes) else { return Ok(()) };
            bytes[at.index(length)] ^= flip;
            if let Ok(read) = Appliance::decode(&bytes) {
                prop_assert_eq!(read.validate(), Ok(()));
                prop_assert_ne!(read, appliance);
            }
            Ok(())
        })
        .unwrap();
    // The control: most bytes are of addresses, where any value is a value.
    let appliance = largest();
    let mut bytes = [0; ENCODED_BYTES_MAX];
    let length = appliance.encode(&mut bytes).unwrap();
    for at in 0..length {
        let mut damaged = bytes;
        damaged[at] ^= 1;
        survived += usize::from(Appliance::decode(&damaged).is_ok());
    }
    assert!((1..length).contains(&survived), "{survived} of {length}");
}

fn smallest() -> Appliance {
    let address: SocketAddr = "127.0.0.1:9001".parse().unwrap();
    let name = Name::try_from("a").unwrap();
    let replica = Replica { name: name.clone(), address };
    let service = Service {
        name: name.clone(),
        listen: "127.0.0.1:8080".parse().unwrap(),
        protocol: Protocol::Raw,
        transport: core::default::Default::default(),
        order: core::default::Default::default(),
        state: core::default::Default::default(),
        probe: core::default::Default::default(),
        on_mismatch: OnMismatch::StopSession,
        replicas: Vec::from_array([replica]),
    };
    Appliance {
        name,
        metrics: None,
        recovery: core::default::Default::default(),
        seed: core::default::Default::default(),
        limits: Limits::default(),
        network: Network::Kernel,
        services: Vec::from_array([service]),
        guests: Vec::new(),
    }
}

#[test]
fn every_limit_is_kept() {
    type Break = fn(&mut Appliance);
    let smoltcp = |change: fn(&mut Smoltcp)| {
        let mut smoltcp = Smoltcp {
            tap: String::try_from("resh0").ok(),
            address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
            prefix_bits: 24,
            gateway: None,
            mac: [2, 0, 0, 0, 0, 1],
        };
        assert_eq!(smoltcp.validate(), Ok(()));
        change(&mut smoltcp);
        smoltcp.validate()
    };
    let breaks: [(Break, &str); 20] = [
        (|a| a.name.clear(), "name of the appliance"),
        (|a| a.metrics = Some("127.0.0.1:0".parse().unwrap()), "port of metrics"),
        (|a| a.limits.sessions = 0, "sessions"),
        (|a| a.limits.sessions = SESSIONS_MAX + 1, "sessions"),
        (|a| a.limits.reply_ms = 0, "reply_ms"),
        (|a| a.limits.lag_budget_ms = TIME_MS_MAX + 1, "lag_budget_ms"),
        (|a| a.limits.idle_ms = 0, "idle_ms"),
        (|a| a.limits.connect_ms = 0, "connect_ms"),
        (|a| a.services.clear(), "no service"),
        (|a| a.services.push(a.services[0].clone()).unwrap(), "service named twice"),
        (
            |a| {
                let mut other = a.services[0].clone();
                other.name.push('b').unwrap();
                a.services.push(other).unwrap();
            },
            "two services listen at one address",
        ),
        (|a| a.services[0].name.clear(), "name of a service"),
        (|a| a.services[0].listen.set_port(0), "port of a service"),
        (|a| a.services[0].replicas.clear(), "service without a replica"),
        (|a| a.services[0].replicas[0].name.clear(), "name of a replica"),
        (|a| a.services[0].replicas[0].address.set_port(0), "port of a replica"),
        (
            |a| a.services[0].replicas[0].address.set_ip(Ipv4Addr::UNSPECIFIED.into()),
            "address of a replica",
        ),
        (
            |a| {
                let same = a.services[0].replicas[0].clone();
                a.services[0].replicas.push(same).unwrap();
            },
            "replica named twice",
        ),
        (
            |a| {
                let mut same = a.services[0].replicas[0].clone();
                same.name.push('b').unwrap();
                a.services[0].replicas.push(same).unwrap();
            },
            "replica given twice",
        ),
        (
            |a| {
                let methods = Methods::NONE;
                a.services[0].protocol =
                    Protocol::Http1(Http1 { methods, max_head_bytes: 4096, ..Http1::default() });
            },
            "no method",
        ),
    ];
    assert_eq!(smallest().validate(), Ok(()));
    for (change, what) in breaks {
        let mut appliance = smallest();
        change(&mut appliance);
        assert_eq!(appliance.validate(), Err(ConfigError::OutOfLimits(what)));
        let refused = appliance.encode(&mut [0; ENCODED_BYTES_MAX]);
        assert_eq!(refused, Err(ConfigError::OutOfLimits(what)));
    }
    assert!(smoltcp(|s| s.prefix_bits = 33).is_err());
    assert!(smoltcp(|s| s.prefix_bits = 0).is_err());
    assert!(smoltcp(|s| s.tap = Some(String::new())).is_err());
    assert!(smoltcp(|s| s.tap = None).is_ok());
    assert!(smoltcp(|s| s.mac[0] = 1).is_err());
    assert!(smoltcp(|s| s.gateway = Some(Ipv6Addr::LOCALHOST.into())).is_err());
}

#[test]
fn guests_hold_one_replica_of_every_service_each() {
    type Break = fn(&mut Appliance);
    let guest = |name| Guest {
        name: Name::try_from(name).unwrap(),
        software: String::try_from("nginx 1.22.1, Linux 6.1").unwrap(),
        command_line: String::new(),
    };
    let with_guests = || {
        let mut appliance = smallest();
        let mut other = appliance.services[0].replicas[0].clone();
        other.name = Name::try_from("b").unwrap();
        other.address.set_ip(Ipv4Addr::new(127, 0, 0, 2).into());
        appliance.services[0].replicas.push(other).unwrap();
        // A second service, of the first guest alone.
        let mut second = appliance.services[0].clone();
        second.name = Name::try_from("second").unwrap();
        second.listen.set_port(81);
        second.replicas.truncate(1);
        second.replicas[0].address.set_port(9002);
        appliance.services.push(second).unwrap();
        appliance.guests = Vec::from_slice(&[guest("one"), guest("two")]).unwrap();
        appliance
    };
    let right = with_guests();
    assert_eq!(right.validate(), Ok(()));
    let last: IpAddr = Ipv4Addr::new(127, 0, 0, 2).into();
    assert_eq!(right.guest_address(1), Some(last));
    assert_eq!(right.guest_address(2), None);
    assert_eq!(smallest().guest_address(0), None);
    let breaks: [(Break, &str); 8] = [
        (|a| a.guests[1].name.clear(), "name of a guest"),
        (|a| a.guests[1].name = a.guests[0].name.clone(), "guest named twice"),
        (|a| a.guests[1].software.push('\n').unwrap(), "software of a guest"),
        (|a| a.guests[1].command_line.push('ä').unwrap(), "command line of a guest"),
        (|a| a.guests.truncate(1), "replica without a guest"),
        (|a| a.services[0].replicas.truncate(1), "guest without a service"),
        (
            |a| a.services[0].replicas[1].address = "127.0.0.1:99".parse().unwrap(),
            "two guests at one address",
        ),
        (
            |a| a.services[1].replicas[0].address.set_ip(Ipv4Addr::new(127, 0, 0, 7).into()),
            "replica at another address than its guest",
        ),
    ];
    for (change, what) in breaks {
        let mut appliance = with_guests();
        change(&mut appliance);
        assert_eq!(appliance.validate(), Err(ConfigError::OutOfLimits(what)));
    }
}

#[test]
fn quorums() {
    let mut service = smallest().services[0].clone();
    let mut quorums = [0; REPLICAS_MAX];
    for quorum in &mut quorums {
        *quorum = service.quorum();
        let _ = service.replicas.push(service.replicas[0].clone());
    }
    assert_eq!(quorums, [1, 2, 2]);
    assert_eq!([1, 2, 3].map(OnMismatch::default_for), {
        use OnMismatch::{StopService, StopSession};
        [StopSession, StopService, StopSession]
    });
}

#[test]
fn methods_are_a_set_of_known_names() {
    let mut methods = Methods::NONE;
    assert!(methods.insert("GET"));
    assert!(!methods.insert("GET"));
    assert!(!methods.insert("get"));
    assert!(!methods.insert("CONNECT"));
    assert!(methods.insert("PATCH"));
    assert!(methods.contains(b"PATCH") && !methods.contains(b"HEAD") && !methods.contains(b""));
    assert!(methods.names().eq(["GET", "PATCH"]));
    assert!(Methods::ALL.names().eq(Methods::NAMES));
}

#[test]
fn addresses_that_clash() {
    let clash = |a: &str, b: &str| {
        let (a, b) = (a.parse().unwrap(), b.parse().unwrap());
        assert_eq!(listen_clash(a, b), listen_clash(b, a));
        listen_clash(a, b)
    };
    assert!(clash("127.0.0.1:80", "127.0.0.1:80"));
    assert!(clash("0.0.0.0:80", "127.0.0.1:80"));
    assert!(clash("[::]:80", "127.0.0.1:80"));
    assert!(clash("[::]:80", "[::1]:80"));
    assert!(clash("[::]:80", "0.0.0.0:80"));
    assert!(!clash("0.0.0.0:80", "[::1]:80"));
    assert!(!clash("127.0.0.1:80", "127.0.0.1:81"));
    assert!(!clash("127.0.0.1:80", "127.0.0.2:80"));
}
