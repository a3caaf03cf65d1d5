//! Frames by filters of `clsact`, where the kernel has no links to interfaces.

use std::{mem::forget, process::id, thread::sleep, time::Duration};

use anyhow::{Context, Result};
use chaos_engine::{
    arm::collect_filters,
    cgroup::{CgroupRoot, Owner},
    kernel::{FrameGroup, Link, Naming, Programs, Room},
};
use chaos_plan::{Hook, KernelFeatures, Position, Support};
use chaos_tests::{
    job::{UdpSend, UdpSink},
    machine::{Claim, Quiet},
    process::Place,
    require,
    residue::Snapshot,
    victim::Victim,
};

use crate::{
    agent::{Agent, features, has},
    pair::Pair,
};

const DATAGRAMS: u64 = 2_000;

/// What this kernel could do before 6.6.
fn without_tcx(claim: &impl Claim) -> Result<KernelFeatures> {
    let missing = || Support::Missing { reason: "not here".into(), remedy: String::new() };
    let features = features(claim)?.clone();
    Ok(features.with(Hook::TcxEgress, missing()).with(Hook::TcxIngress, missing()))
}

/// Sends datagrams with the client armed: its ledger is what arrived changed, both ways.
fn corrupt(pair: &Pair<Quiet>, agent: &Agent) -> Result<()> {
    let [there, back] = [pair.server_end.socket_v4(0), ([10, 200, 0, 1], 0).into()];
    for (fault, bind, [from, to]) in
        [(0, there, [pair.client(), pair.server()]), (1, back, [pair.server(), pair.client()])]
    {
        let sink = Victim::start(UdpSink { bind }, to)?;
        let sent = Victim::run(UdpSend::new(sink.address(), DATAGRAMS), from)?.total();
        let sunk = sink.stop()?;
        let counts = agent.counts(&pair.client_cgroup, fault)?;
        assert_eq!((sent.ok, sunk.received), (DATAGRAMS, DATAGRAMS), "{counts:?}");
        assert_eq!((counts.matched, counts.injected), (DATAGRAMS, sunk.corrupted));
        assert!((1..DATAGRAMS).contains(&counts.injected), "{counts:?}");
    }
    Ok(())
}

#[test]
fn filters_corrupt_frames_and_go_away() -> Result<()> {
    let pair = Pair::with(Quiet::acquire()?)?;
    require!("clsact", since 4, 5; has(&pair.claim, Hook::ClsactEgress));
    let namespaces = [&pair.client_netns, &pair.server_netns];
    // Somebody else's clsact, with nothing in it, on one of the two interfaces.
    tc(&pair, "qdisc add dev lo clsact".split(' '))?;
    let before = Snapshot::take(&pair.claim, &namespaces)?;
    let mut agent = Agent::with_features(without_tcx(&pair.claim)?)?;
    let faults = "corrupt 30% silent egress udp; corrupt 30% silent ingress udp";
    let plan = agent.arm(&pair.client_cgroup, faults)?;
    assert!(plan.hooks().contains(&Hook::ClsactEgress), "{:?}", plan.hooks());
    assert!(!before.diff(&Snapshot::take(&pair.claim, &namespaces)?).is_empty());
    corrupt(&pair, &agent)?;
    // A second target on the same interfaces comes and goes.
    let second = chaos_tests::cgroup::TestCgroup::new(&pair.claim, "second")?;
    let place = Place::here().cgroup(&second).netns(&pair.client_netns);
    let idle = crate::pair::idle(place)?;
    let mut other = Agent::with_features(without_tcx(&pair.claim)?)?;
    other.arm(&second, "corrupt egress udp")?;
    drop((agent, idle));
    drop(other);
    drop(second);
    before.settle(&pair.claim, &namespaces)?.assert_empty();
    Ok(())
}

/// The name of a filter that was left behind with its queueing discipline: by the process with our
/// pid that started at another time.
fn gone(root: &CgroupRoot) -> Result<String> {
    let own = Owner::current(root)?.name("chaos-agent-filter-", 1);
    Ok(own.replacen(&format!("-{}-", id()), &format!("-{}-1", id()), 1))
}

/// Puts a program on what leaves the client, by a filter of this name.
fn attach(pair: &Pair<Quiet>, programs: &FrameGroup, name: &str) -> Result<Link> {
    pair.client_netns.run(|| {
        let index = nix::net::if_::if_nametoindex("eth0").context("find eth0")?;
        let naming = Naming { write: &|_| name.to_owned(), read: &|_| None };
        let at = (Hook::ClsactEgress, Position::First);
        Ok(programs.attach_interface(at, (index, "eth0"), &naming)?)
    })?
}

#[test]
fn filters_of_killed_agents_do_nothing_and_are_collected() -> Result<()> {
    let pair = Pair::with(Quiet::acquire()?)?;
    require!("clsact", since 4, 5; has(&pair.claim, Hook::ClsactEgress));
    let root = CgroupRoot::discover()?;
    let namespaces = [&pair.client_netns, &pair.server_netns];
    let before = Snapshot::take(&pair.claim, &namespaces)?;
    let own = Owner::current(&root)?.name("chaos-agent-filter-", 1);
    for (name, is_left) in [(gone(&root)?, true), (own, false), ("tcx_egress".to_owned(), false)] {
        let programs = Programs::load(Room::default())?.frame_group()?;
        let link = attach(&pair, &programs, &name)?;
        assert_eq!(collect_filters(&root)?, usize::from(is_left), "{name}");
        if is_left {
            // What a killed process leaves is not taken away by it.
            forget(link);
        }
    }
    sleep(Duration::from_millis(50));
    before.settle(&pair.claim, &namespaces)?.assert_empty();
    Ok(())
}

/// Puts filters that are not ours on what leaves the client: of all kinds that this kernel has.
fn add_foreign(pair: &Pair<Quiet>) -> Result<()> {
    let add = |kind: &[&str]| {
        let filter = "filter add dev eth0 egress protocol ip".split(' ');
        // Without an action, which is a module of its own: frames go on.
        tc(pair, filter.chain(kind.iter().copied()).chain(["flowid", "1:1"]))
    };
    add(&["bpf", "bytecode", "1,6 0 0 0,"])?;
    for kind in ["matchall", "flower ip_proto tcp", "u32 match u32 0 0", "basic"] {
        let words: Vec<&str> = kind.split(' ').collect();
        println!("{kind}: {}", if add(&words).is_ok() { "added" } else { "not here" });
    }
    Ok(())
}

#[test]
fn filters_of_others_stay_and_so_does_what_they_came_to_use() -> Result<()> {
    let pair = Pair::with(Quiet::acquire()?)?;
    require!("clsact", since 4, 5; has(&pair.claim, Hook::ClsactEgress));
    let root = CgroupRoot::discover()?;
    let namespaces = [&pair.client_netns];
    let gone = gone(&root)?;
    let programs = Programs::load(Room::default())?.frame_group()?;
    forget(attach(&pair, &programs, &gone)?);
    let ours = Snapshot::take(&pair.claim, &namespaces)?;
    add_foreign(&pair)?;
    let both = Snapshot::take(&pair.claim, &namespaces)?;
    assert_eq!(collect_filters(&root)?, 1);
    let theirs = Snapshot::take(&pair.claim, &namespaces)?;
    let (came, went) = (ours.diff(&both), both.diff(&theirs));
    assert!(!came.appeared.is_empty(), "{came}");
    assert!(came.appeared.iter().all(|thing| !went.vanished.contains(thing)), "{went}");
    assert!(went.vanished.iter().all(|thing| thing.contains("filter")), "{went}");
    assert!(went.vanished.iter().any(|thing| thing.contains(&gone)), "{went}");
    Ok(())
}

fn tc<'a>(pair: &Pair<Quiet>, words: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let output = pair.client_netns.command("tc").args(words).output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "tc: {}", complaint.trim());
    Ok(())
}
