//! Sessions without a client.

use crate::support::voter::Voter;
use crate::support::{CONNECT_MS, ELSEWHERE, HTTP, Memory, RAW, id};
use resh_channel::message::{CONNECTED, Reason};

#[test]
fn a_probe_is_answered_when_the_server_accepts() {
    let memory = Memory::new();
    let mut voter = Voter::joined(memory.rings());
    for (index, service) in [(1272, RAW), (1273, HTTP), (1274, HTTP), (1275, RAW)] {
        assert!(voter.probe(id(index, 2), service));
    }
    assert!(voter.probe(id(1276, 2), ELSEWHERE));
    voter.run();
    voter.hear();
    assert!(voter.sessions.values().all(|known| !known.fin && known.reset.is_none()));
    voter.servers().settle(1272, true);
    voter.servers().settle(1273, true);
    voter.servers().settle(1274, false);
    voter.run();
    voter.now_ms += u64::from(CONNECT_MS);
    voter.run();
    voter.hear();
    for index in [1272, 1273] {
        let known = &voter.sessions[&index];
        assert_eq!((&known.replied[..], known.fin), (CONNECTED, true));
    }
    for index in [1274, 1275] {
        let known = &voter.sessions[&index];
        assert_eq!((known.replied.len(), known.reset), (0, Some(Reason::Refused as u8)));
    }
    let known = &voter.sessions[&1276];
    assert!(!known.fin && known.reset.is_none(), "an answer for another replica");
    assert_eq!((voter.gateway.sessions(), voter.servers().of_session.len()), (0, 0));
}
