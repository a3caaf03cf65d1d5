//! A target on the network of its host: others have sockets in the same namespace, and send through the
//! same interfaces.

use std::{
    net::{IpAddr, SocketAddr},
    thread::sleep,
    time::Duration,
};

use anyhow::Result;
use chaos_tests::{
    cgroup::TestCgroup,
    job::{Sunk, UdpSend, UdpSink},
    process::Place,
    require,
    victim::Victim,
};

use crate::{
    agent::{Agent, has_frames, has_line},
    pair::Pair,
};

const DATAGRAMS: u64 = 500;

/// The verbs, and how many arrive of those that are hit.
const VERBS: [(&str, u64); 5] =
    [("drop", 0), ("corrupt", 0), ("corrupt silent", 1), ("duplicate", 2), ("delay 50ms", 1)];

/// Sends from one place to another.
fn send([from, to]: [Place<'_>; 2], bind: SocketAddr, held: Duration) -> Result<Sunk> {
    let sink = Victim::start(UdpSink { bind }, to)?;
    let sent = Victim::run(UdpSend::new(sink.address(), DATAGRAMS), from)?.total();
    assert_eq!((sent.ok, sent.failed()), (DATAGRAMS, 0), "{:?}", sent.errors);
    sleep(held);
    sink.stop()
}

#[test]
fn only_its_own_packets_are_met() -> Result<()> {
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    require!("a delay line", since 5, 10; has_line(&pair.claim));
    let neighbour = TestCgroup::new(&pair.claim, "neighbour")?;
    let neighbour = Place::here().cgroup(&neighbour).netns(&pair.client_netns);
    let (target, server) = (pair.client(), pair.server());
    let [there, _] = pair.addresses();
    let here = SocketAddr::new(IpAddr::from([10, 200, 0, 1]), 0);
    let loopback = SocketAddr::new(IpAddr::from([127, 0, 0, 1]), 0);
    for (verb, times) in VERBS {
        // Who sends to whom, where, and whether that is the target's.
        for (direction, own, other) in [
            ("egress", [target, server], [neighbour, server]),
            ("ingress", [server, target], [server, neighbour]),
        ] {
            let fault = format!("{verb} {direction} udp");
            let agent = Agent::armed(&pair.claim, &pair.client_cgroup, &fault)?;
            let bind = if direction == "egress" { there } else { here };
            // On loopback, what the target sends to another arrives at that one.
            let on_loopback = if direction == "egress" {
                [([target, neighbour], true), ([neighbour, target], false)]
            } else {
                [([neighbour, target], true), ([target, neighbour], false)]
            };
            let held = if verb.starts_with("delay") { 150 } else { 0 };
            let held = Duration::from_millis(held);
            let mut met = 0;
            for (places, bind, is_own) in [(own, bind, true), (other, bind, false)]
                .into_iter()
                .chain(on_loopback.map(|(places, is_own)| (places, loopback, is_own)))
                .chain([([neighbour, neighbour], loopback, false)])
            {
                let received = send(places, bind, held)?;
                met += if is_own { DATAGRAMS } else { 0 };
                let counts = agent.counts(&pair.client_cgroup, 0)?;
                let what = format!(
                    "{fault}, to {bind}, {}: {counts:?}",
                    if is_own { "its own" } else { "others'" }
                );
                println!("{what}: {}", received.received);
                assert_eq!((counts.matched, counts.injected), (met, met), "{what}");
                let expected = if is_own { DATAGRAMS * times } else { DATAGRAMS };
                assert_eq!(received.received, expected, "{what}");
                let damaged = if is_own && verb == "corrupt silent" { DATAGRAMS } else { 0 };
                assert_eq!(received.corrupted, damaged, "{what}");
            }
        }
    }
    Ok(())
}
