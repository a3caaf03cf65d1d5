//! Rules edited while traffic flows, many rules, many targets.

use std::time::{Duration, Instant};

use anyhow::Result;
use chaos_api::{Engine, Outcome};
use chaos_engine::arm::Request;
use chaos_plan::Terms;
use chaos_tests::{
    cgroup::TestCgroup,
    clock::is_emulated,
    injector::parse,
    job::{Call, Repeat, Repeated, SocketKind, UdpSend, UdpSink},
    process::Place,
    victim::Victim,
};

use crate::{
    agent::{Agent, id, target},
    pair::Pair,
};

#[test]
fn no_datagram_meets_a_mixture_of_two_rule_sets() -> Result<()> {
    let edits = if is_emulated() { 10 } else { 1_000 };
    // Each set speaks of one address and one port, at the same bit. A mixture of the two would
    // lose what is sent to the one's address and the other's port.
    const FIRST: &str = "shadow drop egress udp ; drop to 10.200.0.2 port 1000";
    const SECOND: &str = "drop egress tcp ; drop to 10.200.0.66 port 2000 ; shadow drop egress udp";
    let pair = Pair::new()?;
    pair.server_netns.ip("address add 10.200.0.66/24 dev eth0\n")?;
    pair.client_netns
        .ip("neighbour replace 10.200.0.66 lladdr 02:00:00:00:00:02 dev eth0 nud permanent\n")?;
    let mut agent = Agent::armed(&pair.claim, &pair.client_cgroup, FIRST)?;
    let destinations = ["10.200.0.2:2000", "10.200.0.66:1000", "10.200.0.2:1000"];
    let mut running = Vec::new();
    for to in destinations {
        let sink = Victim::start(UdpSink { bind: to.parse()? }, pair.server())?;
        let send = UdpSend {
            repeat: Repeat::UntilStopped,
            interval: Duration::from_micros(20),
            ..UdpSend::new(sink.address(), 0)
        };
        running.push((to, sink, Victim::start(send, pair.client())?));
    }
    for edit in 0..edits {
        agent.arm(&pair.client_cgroup, if edit % 2 == 0 { SECOND } else { FIRST })?;
    }
    agent.arm(&pair.client_cgroup, FIRST)?;
    let mut all = 0;
    for (to, sink, sender) in running {
        let sent = sender.stop()?.total().ok;
        let received = sink.stop()?.received;
        println!("{to}: {received} of {sent} received during {edits} edits");
        if to == "10.200.0.2:1000" {
            assert!(received < sent, "the first set was never in force");
            assert!(received > 0, "the second set was never in force");
        } else {
            assert_eq!(received, sent, "{to}: no rule set speaks of it");
        }
        all += sent;
    }
    let kept = agent.counts(&pair.client_cgroup, 0)?;
    assert_eq!((kept.matched, kept.shadowed), (all, all), "after {edits} edits");
    Ok(())
}

#[test]
fn the_last_ledgers_of_replaced_faults_have_what_they_did_until_they_were_switched_off()
-> Result<()> {
    const EDITS: u64 = 10;
    // What one of them needs at interfaces takes its time to attach.
    const TEXTS: [&str; 2] =
        ["drop every 2nd egress udp", "drop every 3rd egress udp; shadow corrupt egress tcp"];
    let pair = Pair::new()?;
    let mut agent = Agent::armed(&pair.claim, &pair.client_cgroup, TEXTS[0])?;
    let sink = Victim::start(UdpSink { bind: pair.server_end.socket_v4(61) }, pair.server())?;
    let send = UdpSend {
        repeat: Repeat::UntilStopped,
        interval: Duration::from_micros(20),
        ..UdpSend::new(sink.address(), 0)
    };
    let sender = Victim::start(send, pair.client())?;
    for edit in 1..=EDITS {
        agent.arm(&pair.client_cgroup, TEXTS[(edit % 2) as usize])?;
    }
    let lost = sender.stop()?.total().ok - sink.stop()?.received;
    let last = Engine::take_replaced(&mut agent.armory);
    let last = last.iter().flat_map(|report| &report.faults).map(|fault| fault.counts.injected);
    let counted = last.sum::<u64>() + agent.counts(&pair.client_cgroup, 0)?.injected;
    println!("{lost} lost, {counted} counted during {EDITS} edits");
    // A program on another processor may be at a datagram while it is switched off.
    assert!(counted <= lost && lost - counted <= EDITS, "{counted} of {lost}");
    Ok(())
}

#[test]
fn a_fault_that_stays_keeps_its_clock_and_its_place_among_the_dice() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent =
        Agent::armed(&pair.claim, &pair.client_cgroup, "fail socket with EMFILE every 4th for 1m")?;
    let began = |agent: &Agent, fault: usize| -> Result<u64> {
        Ok(agent.report(&pair.client_cgroup)?.faults[fault].began)
    };
    let call = Call::new(Repeated::Socket { kind: SocketKind::Tcp4 }, 6);
    let first = Victim::run(call.clone(), pair.client())?;
    let before = began(&agent, 0)?;
    agent.arm(
        &pair.client_cgroup,
        "fail connect with ECONNREFUSED\nfail socket with EMFILE every 4th for 1m",
    )?;
    let second = Victim::run(call, pair.client())?;
    assert_eq!(first.lanes[0].failed, [3].into_iter().collect());
    assert_eq!(second.lanes[0].failed, [1, 5].into_iter().collect());
    assert_eq!(began(&agent, 1)?, before);
    assert!(began(&agent, 0)? > before);
    assert_eq!(agent.counts(&pair.client_cgroup, 1)?.injected, 3);
    Ok(())
}

#[test]
fn sixty_four_rules_work_and_one_more_is_refused() -> Result<()> {
    let pair = Pair::new()?;
    let mut faults: Vec<String> =
        (0..63).map(|port| format!("shadow drop egress udp to port {}", 1 + port * 2)).collect();
    faults[31] = "shadow drop egress udp".to_owned();
    faults.push("drop every 2nd egress udp".to_owned());
    let mut agent = Agent::armed(&pair.claim, &pair.client_cgroup, &faults.join("\n"))?;
    let bind = pair.server_end.socket_v4(61);
    let sink = Victim::start(UdpSink { bind }, pair.server())?;
    Victim::run(UdpSend::new(bind, 1_000), pair.client())?;
    for (fault, sentence) in faults.iter().enumerate() {
        let counts = agent.counts(&pair.client_cgroup, fault)?;
        let matched = if matches!(fault, 30 | 31 | 63) { 1_000 } else { 0 };
        assert_eq!(counts.matched, matched, "{sentence}");
    }

    let all = vec!["shadow drop egress udp from 10.200.0.1"; 64].join("\n");
    agent.arm(&pair.client_cgroup, &all)?;
    Victim::run(UdpSend::new(bind, 1_000), pair.client())?;
    assert_eq!(sink.stop()?.received, 500 + 1_000);
    for fault in 0..64 {
        assert_eq!(agent.counts(&pair.client_cgroup, fault)?.shadowed, 1_000, "rule {fault}");
    }

    let request = Request {
        id: id(&pair.client_cgroup),
        target: target(&pair.client_cgroup)?,
        faults: &parse(&format!("{all}\ndrop egress"))?,
        terms: Terms::default(),
        clock: &|_| None,
    };
    let Outcome::Refused(plan) = agent.armory.arm(request)? else {
        panic!("65 rules were armed");
    };
    assert!(plan.refused[0].reason.contains("at most 64 rules"), "{}", plan.refused[0]);
    assert_eq!(agent.report(&pair.client_cgroup)?.faults.len(), 64, "what was armed stays");
    Ok(())
}

/// 50 targets.
mod repeated {
    use super::*;

    #[test]
    fn many_targets_are_armed_and_disarmed_quickly() -> Result<()> {
        const TARGETS: usize = 50;
        let pair = Pair::new()?;
        let targets = (0..TARGETS)
            .map(|number| TestCgroup::new(&pair.claim, &format!("target-{number}")))
            .collect::<Result<Vec<_>>>()?;
        let mut agent = Agent::new(&pair.claim)?;
        let started = Instant::now();
        for target in &targets {
            agent.arm(target, "fail socket with EMFILE every 2nd\ndrop 50% egress")?;
        }
        let armed = started.elapsed();
        let call = Call::new(Repeated::Socket { kind: SocketKind::Tcp4 }, 10);
        for target in targets.iter().step_by(7) {
            let total = Victim::run(call.clone(), Place::here().cgroup(target))?.total();
            assert_eq!(total.failed_with("EMFILE"), 5);
            assert_eq!(agent.counts(target, 0)?.matched, 10);
        }
        let started = Instant::now();
        let ended = agent.armory.halt("the test is over");
        println!("{TARGETS} targets: armed in {armed:?}, disarmed in {:?}", started.elapsed());
        assert_eq!(ended.len(), TARGETS);
        assert!(agent.armory.is_empty());
        for target in targets.iter().step_by(7) {
            assert_eq!(Victim::run(call.clone(), Place::here().cgroup(target))?.total().ok, 10);
        }
        Ok(())
    }
}
