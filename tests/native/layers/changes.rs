//! Interfaces that get others on top of them while faults are armed, and those whose frames are somebody
//! else's.

use std::net::SocketAddr;

use anyhow::Result;
use chaos_tests::{
    job::{UdpSend, UdpSink},
    process::Place,
    require,
    victim::Victim,
};

use super::scene::{Kind, Scene};
use crate::agent::{Agent, has_frames};

const DATAGRAMS: u64 = 100;

/// How many of the datagrams between two places arrive.
fn arrived(from: Place<'_>, to: Place<'_>, bind: SocketAddr) -> Result<u64> {
    let sink = Victim::start(UdpSink { bind }, to)?;
    let sent = Victim::run(UdpSend::new(sink.address(), DATAGRAMS), from)?.total();
    assert_eq!((sent.ok, sent.failed()), (DATAGRAMS, 0), "{:?}", sent.errors);
    Ok(sink.stop()?.received)
}

/// The same interface, first by itself, then as the port of a bridge, then by itself.
#[test]
fn an_interface_becomes_a_port_and_none_again() -> Result<()> {
    let scene = Scene::new(Kind::Plain)?;
    require!("frames", since 4, 5; has_frames(&scene.claim));
    let into_bridge = "link add br0 address 02:00:00:00:00:01 type bridge\n\
                       link set br0 up\n\
                       address flush dev eth0\n\
                       link set eth0 master br0\n\
                       address add 10.200.0.1/24 dev br0\n\
                       neighbour replace 10.200.0.2 lladdr 02:00:00:00:00:02 dev br0 nud permanent\n";
    let out_of_bridge = "link del br0\n\
                         address add 10.200.0.1/24 dev eth0\n\
                         neighbour replace 10.200.0.2 lladdr 02:00:00:00:00:02 dev eth0 nud permanent\n";
    for (direction, from, to) in [("egress", 0, 1), ("ingress", 1, 0)] {
        let fault = format!("duplicate {direction} udp");
        let mut agent = Agent::armed(&scene.claim, &scene.target, &fault)?;
        let bind = SocketAddr::new(scene.eth0(to)[0], 0);
        for (turn, commands) in (1..).zip(["", into_bridge, out_of_bridge]) {
            scene.netns[0].ip(commands)?;
            agent.look()?;
            let arrived = arrived(scene.place(from), scene.place(to), bind)?;
            let counts = agent.counts(&scene.target, 0)?;
            let expected = (2 * DATAGRAMS, turn * DATAGRAMS);
            assert_eq!((arrived, counts.matched), expected, "{direction}, {turn}: {counts:?}");
        }
    }
    Ok(())
}

/// A process that is not the target, with a macvlan in a namespace of its own, over the target's interface:
/// its frames come by that, and are nobody's there.
#[test]
fn what_is_on_top_may_be_in_another_namespace() -> Result<()> {
    require!("a macvlan"; Kind::Macvlan.can_be_made());
    let scene = Scene::new(Kind::Macvlan)?;
    require!("frames", since 4, 5; has_frames(&scene.claim));
    let other = chaos_tests::netns::TestNetns::new()?;
    scene.netns[0].ip(&format!(
        "link add link eth0 name eth9 address 02:00:00:00:00:09 type macvlan mode bridge\n\
         link set eth9 netns {}\n",
        other.path().display(),
    ))?;
    let link = "02:00:00:00:00";
    other.ip(&format!(
        "link set eth9 up\n\
         address add 10.200.0.9/24 dev eth9\n\
         neighbour replace 10.200.0.2 lladdr {link}:02 dev eth9 nud permanent\n"
    ))?;
    scene.netns[1]
        .ip(&format!("neighbour replace 10.200.0.9 lladdr {link}:09 dev eth0 nud permanent\n"))?;
    let elsewhere = Place::here().netns(&other);
    let [server, _] = scene.eth0(1);
    let here = SocketAddr::from(([10, 200, 0, 9], 0));
    for (direction, from, to) in [("egress", 0, 1), ("ingress", 1, 0)] {
        let agent =
            Agent::armed(&scene.claim, &scene.target, &format!("duplicate {direction} udp"))?;
        let others = match from {
            0 => arrived(elsewhere, scene.place(1), SocketAddr::new(server, 0))?,
            _ => arrived(scene.place(1), elsewhere, here)?,
        };
        assert_eq!(
            (others, agent.counts(&scene.target, 0)?.matched),
            (DATAGRAMS, 0),
            "{direction}"
        );
        let bind = SocketAddr::new(scene.eth0(to)[0], 0);
        let own = arrived(scene.place(from), scene.place(to), bind)?;
        let matched = agent.counts(&scene.target, 0)?.matched;
        assert_eq!((own, matched), (2 * DATAGRAMS, DATAGRAMS), "{direction}");
    }
    Ok(())
}
