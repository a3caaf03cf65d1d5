//! Chances are kept, and kept again with the same seed.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use chaos_tests::{
    job::{Call, Repeat, Repeated, SocketKind, UdpSend, UdpSink},
    ordinals::Ordinals,
    require,
    stats::binomial_interval,
    victim::Victim,
};

use crate::{
    agent::{Agent, has_frames},
    pair::Pair,
};

const TRIALS: u64 = 100_000;
const CONFIDENCE: f64 = 0.999;

fn assert_plausible(what: &str, hits: u64, trials: u64, chance: f64) {
    let (low, high) = binomial_interval(trials, chance, CONFIDENCE);
    println!("{what}: {hits} of {trials}, expected {low} to {high}");
    assert!((low..=high).contains(&hits), "{what}: {hits} of {trials} not in {low}..={high}");
}

#[test]
fn the_same_seed_decides_the_same() -> Result<()> {
    let pair = Pair::new()?;
    let calls = |fault: &str| -> Result<Ordinals> {
        let _agent = Agent::armed(&pair.claim, &pair.client_cgroup, fault)?;
        let call = Call::new(Repeated::Socket { kind: SocketKind::Udp4 }, 5_000);
        Ok(Victim::run(call, pair.client())?.lanes.swap_remove(0).failed)
    };
    let datagrams = |fault: &str| -> Result<Ordinals> {
        let _agent = Agent::armed(&pair.claim, &pair.client_cgroup, fault)?;
        let sink = Victim::start(UdpSink { bind: pair.server_end.socket_v4(0) }, pair.server())?;
        let sent = Victim::run(UdpSend::new(sink.address(), 5_000), pair.client())?.total();
        let mut seen = sink.stop()?;
        Ok(seen.flows.remove(&0).context("nothing arrived")?.sequences.missing(sent.ok))
    };
    let seven = calls("fail socket with EMFILE 10% seed 7")?;
    assert_eq!(seven, calls("fail socket with EMFILE 10% seed 7")?);
    assert_ne!(seven, calls("fail socket with EMFILE 10% seed 8")?);
    assert_ne!(seven, calls("fail socket with EMFILE 10%")?);
    let seven = datagrams("drop 20% egress udp seed 7")?;
    assert_eq!(seven, datagrams("drop 20% egress udp seed 7")?);
    assert_ne!(seven, datagrams("drop 20% egress udp seed 8")?);
    Ok(())
}

#[test]
fn a_flow_is_hit_as_a_whole_or_not_at_all() -> Result<()> {
    const FLOWS: u64 = 1_000;
    const EACH: u64 = 10;
    let pair = Pair::new()?;
    for (bind, percent, chance) in
        [(pair.server_end.socket_v4(0), "10%", 0.1), (pair.server_end.socket_v6(0), "50%", 0.5)]
    {
        let sink = Victim::start(UdpSink { bind }, pair.server())?;
        let fault = format!("drop {percent} of flows egress udp");
        let agent = Agent::armed(&pair.claim, &pair.client_cgroup, &fault)?;
        let send = UdpSend {
            repeat: Repeat::Times(FLOWS * EACH),
            flows: FLOWS as u32,
            threads: 2,
            ..UdpSend::new(sink.address(), 0)
        };
        assert_eq!(Victim::run(send, pair.client())?.total().ok, FLOWS * EACH);
        let sunk = sink.stop()?;
        let sizes: BTreeSet<u64> = sunk.flows.values().map(|flow| flow.sequences.len()).collect();
        assert_eq!(sizes, BTreeSet::from([EACH]), "{fault}: some flows arrived in part");
        let hit = FLOWS - sunk.flows.len() as u64;
        assert_eq!(agent.counts(&pair.client_cgroup, 0)?.injected, hit * EACH, "{fault}");
        assert_plausible(&format!("{fault} ({bind})"), hit, FLOWS, chance);
    }
    Ok(())
}

/// So many flows are hit, each as a whole, however many processors see them; and what is armed beside the
/// fault does not make it count anew.
#[test]
fn a_window_of_flows_is_exact() -> Result<()> {
    const FLOWS: u64 = 300;
    const EACH: u64 = 4;
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    for (bind, window, hit) in [
        (pair.server_end.socket_v4(0), "the 3rd to the 6th", 4),
        (pair.server_end.socket_v6(0), "the first 100", 100),
        (pair.server_end.socket_v4(0), "from the 10th", FLOWS - 9),
    ] {
        for verb in ["drop", "corrupt silent"] {
            let fault = format!("{verb} {window} of flows egress udp");
            let mut agent = Agent::armed(&pair.claim, &pair.client_cgroup, &fault)?;
            let mut seen = Vec::new();
            let mut sinks = Vec::new();
            for _ in 0..2 {
                let sink = Victim::start(UdpSink { bind }, pair.server())?;
                let send = UdpSend {
                    repeat: Repeat::Times(FLOWS * EACH),
                    flows: FLOWS as u32,
                    threads: 2,
                    ..UdpSend::new(sink.address(), 0)
                };
                assert_eq!(Victim::run(send, pair.client())?.total().ok, FLOWS * EACH);
                let counts = agent.counts(&pair.client_cgroup, 0)?;
                seen.push(counts.injected);
                sinks.push(sink);
                agent.arm(&pair.client_cgroup, &format!("{fault}\ndrop udp to port 9"))?;
            }
            // Of the second round all are hit, or none.
            let later = if window.starts_with("from") { FLOWS * EACH } else { 0 };
            assert_eq!(seen, [hit * EACH, hit * EACH + later], "{fault}");
            let sunk = sinks.remove(0).stop()?;
            let received = if verb == "drop" { (FLOWS - hit) * EACH } else { FLOWS * EACH };
            let corrupted = if verb == "drop" { 0 } else { hit * EACH };
            assert_eq!((sunk.received, sunk.corrupted), (received, corrupted), "{fault}");
            if verb == "drop" {
                let sizes = sunk.flows.values().map(|flow| flow.sequences.len());
                assert_eq!(sizes.collect::<BTreeSet<u64>>(), BTreeSet::from([EACH]), "{fault}");
            }
        }
    }
    Ok(())
}

/// What rules that are gone have numbered takes no room from later ones.
#[test]
fn windows_of_flows_that_follow_each_other_are_exact() -> Result<()> {
    const FLOWS: u64 = 950;
    let pair = Pair::new()?;
    let mut agent = Agent::new(&pair.claim)?;
    for _ in 0..6 {
        let bind = pair.server_end.socket_v4(0);
        let sink = Victim::start(UdpSink { bind }, pair.server())?;
        let port = sink.address().port();
        let fault = format!("drop the first 900 of flows egress udp to port {port}");
        agent.arm(&pair.client_cgroup, &fault)?;
        let (repeat, flows) = (Repeat::Times(2 * FLOWS), FLOWS as u32);
        let send = UdpSend { repeat, flows, ..UdpSend::new(sink.address(), 0) };
        assert_eq!(Victim::run(send, pair.client())?.total().ok, 2 * FLOWS);
        let counts = agent.counts(&pair.client_cgroup, 0)?;
        assert_eq!((counts.injected, sink.stop()?.received), (1_800, 100), "{counts:?}");
    }
    Ok(())
}

#[test]
fn packets_are_lost_in_bursts() -> Result<()> {
    const DATAGRAMS: u64 = 50_000;
    let pair = Pair::new()?;
    let sink = Victim::start(UdpSink { bind: pair.server_end.socket_v4(0) }, pair.server())?;
    let fault = "drop 5% in bursts of 10 egress udp";
    let agent = Agent::armed(&pair.claim, &pair.client_cgroup, fault)?;
    let sent = Victim::run(UdpSend::new(sink.address(), DATAGRAMS), pair.client())?.total();
    let mut seen = sink.stop()?;
    let counts = agent.counts(&pair.client_cgroup, 0)?;
    let lost = seen.flows.remove(&0).context("nothing arrived")?.sequences.missing(sent.ok);
    assert_eq!((counts.matched, counts.injected), (DATAGRAMS, lost.len()), "{counts:?}");
    let bursts = lost.iter().filter(|number| *number == 0 || !lost.contains(number - 1)).count();
    // The dice are those of seed 0, so this is the same in each run: 250 bursts are expected, as
    // exact as the length of 250 geometric runs.
    let (length, share) = (lost.len() as f64 / bursts as f64, lost.len() as f64 / DATAGRAMS as f64);
    println!("{bursts} bursts of {length:.2}, {share:.4} in all");
    assert!((8.0..12.0).contains(&length), "{length}");
    assert!((0.035..0.065).contains(&share), "{share}");
    Ok(())
}

/// 100,000 times each.
mod repeated {
    use super::*;

    #[test]
    fn shares_of_datagrams_from_two_cpus() -> Result<()> {
        let pair = Pair::new()?;
        for (percent, chance) in [("1%", 0.01), ("10%", 0.1), ("50%", 0.5)] {
            let fault = format!("drop {percent} egress udp");
            let agent = Agent::armed(&pair.claim, &pair.client_cgroup, &fault)?;
            let sink =
                Victim::start(UdpSink { bind: pair.server_end.socket_v4(0) }, pair.server())?;
            let send = UdpSend { flows: 2, threads: 2, ..UdpSend::new(sink.address(), TRIALS) };
            assert_eq!(Victim::run(send, pair.client())?.total().ok, TRIALS);
            let lost = TRIALS - sink.stop()?.received;
            let counts = agent.counts(&pair.client_cgroup, 0)?;
            assert_eq!((counts.matched, counts.injected), (TRIALS, lost), "{fault}");
            assert_plausible(&fault, lost, TRIALS, chance);
        }
        Ok(())
    }

    #[test]
    fn shares_of_calls_from_two_cpus() -> Result<()> {
        let pair = Pair::new()?;
        for (percent, chance) in [("1%", 0.01), ("10%", 0.1), ("50%", 0.5)] {
            let fault = format!("fail setsockopt with ENOMEM {percent}");
            let agent = Agent::armed(&pair.claim, &pair.client_cgroup, &fault)?;
            let call = Call { threads: 2, ..Call::new(Repeated::SetSockopt, TRIALS) };
            let failed = Victim::run(call, pair.client())?.total().failed_with("ENOMEM");
            let counts = agent.counts(&pair.client_cgroup, 0)?;
            assert_eq!((counts.matched, counts.injected), (TRIALS, failed), "{fault}");
            assert_plausible(&fault, failed, TRIALS, chance);
        }
        Ok(())
    }
}
