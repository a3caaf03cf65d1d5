//! Every verb that the agent has, on a pod of a Deployment: what its containers see, what its
//! status says, and that its neighbour sees nothing.

use std::{
    net::SocketAddr,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use chaos_kube::{PodPhase, digest};
use chaos_tests::{
    job::{Calls, Delays, Repeated, SocketKind, UdpDelays, UdpSend, UdpSink, UdpStamps},
    node::Pod,
    requirements::Release,
};
use libtest_mimic::Completion;
use serde_json::Value;

use crate::{
    Test,
    scene::{MAIN, SIDE, Scene, TCP, any, injected},
};

pub const TESTS: &[(&str, Test)] = &[
    ("faults::datagrams_are_dropped", datagrams_are_dropped),
    ("faults::datagrams_are_corrupted", datagrams_are_corrupted),
    ("faults::datagrams_are_copied", datagrams_are_copied),
    ("faults::datagrams_are_held", datagrams_are_held),
    ("faults::calls_fail", calls_fail),
    ("faults::datagrams_can_not_be_sent", datagrams_can_not_be_sent),
    ("faults::a_call_kills_its_caller", a_call_kills_its_caller),
    ("faults::a_container_is_killed_once", a_container_is_killed_once),
    ("faults::a_shadow_counts_and_does_nothing", a_shadow_counts_and_does_nothing),
    ("faults::one_container_is_broken_alone", one_container_is_broken_alone),
    ("faults::a_container_is_named_by_its_pod", a_container_is_named_by_its_pod),
    ("faults::a_fault_that_makes_no_sense_is_refused", a_fault_that_makes_no_sense_is_refused),
    ("faults::a_namespace_without_the_label_is_refused", a_namespace_without_the_label_is_refused),
];

/// The port that datagrams are sent to in these tests.
const SINK: u16 = 9100;

const DATAGRAMS: u64 = 200;
/// The exit code of kubectl for a command that SIGKILL ended.
const KILLED: i32 = 137;

/// How often each call has to fail, at least.
const ENOUGH: u64 = 20;

/// How long the kubelet may take to start a container again, under emulation.
const RESTART: Duration = Duration::from_secs(120);

/// What came of [`DATAGRAMS`] sent to the store.
struct Delivery {
    sent: u64,
    failed: u64,
    received: u64,
    corrupted: u64,
}

fn send(scene: &Scene, pod: &Pod) -> Result<Delivery> {
    let sink = scene.store.start(MAIN, UdpSink { bind: any(SINK) })?;
    let interval = Duration::from_millis(2);
    let send = UdpSend { interval, ..UdpSend::new(scene.store(SINK), DATAGRAMS) };
    let sent = pod.run(MAIN, send)?.total();
    let sunk = sink.stop()?;
    Ok(Delivery {
        sent: sent.ok,
        failed: sent.failed(),
        received: sunk.received,
        corrupted: sunk.corrupted,
    })
}

/// Waits until the pod's status has as many injections as its containers saw, and no more.
fn agrees(pod: &Pod, seen: u64) -> Result<()> {
    let status = pod.await_status(|status| injected(status) >= seen)?;
    ensure!(injected(&status) == seen, "{seen} were seen: {status:#?}");
    Ok(())
}

fn datagrams_are_dropped(scene: &Scene) -> Result<Completion> {
    let status = scene.break_till(&format!("drop every 4th egress udp port {SINK}"))?;
    ensure!(status.phase == PodPhase::Armed, "{status:#?}");
    let Delivery { sent, failed, received, corrupted } = send(scene, &scene.till)?;
    ensure!((sent, failed, corrupted) == (DATAGRAMS, 0, 0), "sent {sent}, failed {failed}");
    ensure!(received == DATAGRAMS - DATAGRAMS / 4, "{received} arrived");
    agrees(&scene.till, DATAGRAMS / 4)?;
    let neighbours = send(scene, &scene.neighbour)?;
    ensure!(neighbours.received == DATAGRAMS, "{} of the neighbour's", neighbours.received);
    scene.heal_till()?;
    ensure!(send(scene, &scene.till)?.received == DATAGRAMS, "not healed");
    Ok(Completion::Completed)
}

fn datagrams_are_corrupted(scene: &Scene) -> Result<Completion> {
    let status = scene.break_till(&format!("corrupt every 4th silent egress udp port {SINK}"))?;
    if status.phase == PodPhase::Refused {
        return scene.excuse(Release::new(6, 6), &status);
    }
    let Delivery { received, corrupted, .. } = send(scene, &scene.till)?;
    ensure!((received, corrupted) == (DATAGRAMS, DATAGRAMS / 4), "{received}, {corrupted} wrong");
    agrees(&scene.till, DATAGRAMS / 4)?;

    let status = scene.break_till(&format!("corrupt every 5th egress udp port {SINK}"))?;
    ensure!(status.phase == PodPhase::Armed, "{status:#?}");
    let Delivery { received, corrupted, .. } = send(scene, &scene.till)?;
    let expected = DATAGRAMS - DATAGRAMS / 5;
    ensure!((received, corrupted) == (expected, 0), "{received}, {corrupted} wrong");
    agrees(&scene.till, DATAGRAMS / 5)?;
    let neighbours = send(scene, &scene.neighbour)?;
    ensure!(
        (neighbours.received, neighbours.corrupted) == (DATAGRAMS, 0),
        "{} of the neighbour's",
        neighbours.received
    );
    scene.heal_till()?;
    Ok(Completion::Completed)
}

fn datagrams_are_copied(scene: &Scene) -> Result<Completion> {
    let status = scene.break_till(&format!("duplicate every 4th egress udp port {SINK}"))?;
    ensure!(status.phase == PodPhase::Armed, "{status:#?}");
    let received = send(scene, &scene.till)?.received;
    ensure!(received == DATAGRAMS + DATAGRAMS / 4, "{received} arrived");
    agrees(&scene.till, DATAGRAMS / 4)?;
    let neighbours = send(scene, &scene.neighbour)?.received;
    ensure!(neighbours == DATAGRAMS, "{neighbours} of the neighbour's");
    scene.heal_till()?;
    Ok(Completion::Completed)
}

/// How long datagrams are held, in milliseconds; a machine that does nothing else holds them for a
/// fraction of one.
const HELD: f64 = 400.0;

fn datagrams_are_held(scene: &Scene) -> Result<Completion> {
    let status = scene.break_till(&format!("delay {HELD}ms egress udp port {SINK}"))?;
    ensure!(status.phase == PodPhase::Armed, "{status:#?}");
    let held = measure(scene, &scene.till)?;
    ensure!(held.count() == DATAGRAMS, "{} arrived", held.count());
    ensure!(held.milliseconds()[0] >= HELD, "{held:?}");
    agrees(&scene.till, DATAGRAMS)?;
    let neighbours = measure(scene, &scene.neighbour)?;
    ensure!(neighbours.count() == DATAGRAMS, "{} of the neighbour's", neighbours.count());
    ensure!(neighbours.median() < HELD / 2.0, "{neighbours:?}");
    scene.heal_till()?;
    let healed = measure(scene, &scene.till)?;
    ensure!(healed.median() < HELD / 2.0, "not healed: {healed:?}");
    eprintln!("held for {:.1} ms, the neighbour's {:.1}", held.median(), neighbours.median());
    Ok(Completion::Completed)
}

/// How long [`DATAGRAMS`] are on their way to the store.
fn measure(scene: &Scene, pod: &Pod) -> Result<Delays> {
    let sink = scene.store.start(MAIN, UdpDelays { bind: any(SINK) })?;
    let interval = Duration::from_millis(2);
    let stamps = UdpStamps { to: scene.store(SINK), count: DATAGRAMS, flows: 1, interval };
    pod.run(MAIN, stamps)?;
    sleep(2 * Duration::from_secs_f64(HELD / 1000.0));
    sink.stop()
}

/// Faults with an errno each that no other has, and calls that meet them.
fn calls(store: SocketAddr) -> ([(String, &'static str); 8], Vec<Repeated>) {
    let fault = |text: &str, errno| (format!("fail {text} with {errno}"), errno);
    let faults = [
        fault(&format!("connect every 2nd tcp port {TCP}"), "ECONNREFUSED"),
        fault("bind every 2nd", "EADDRINUSE"),
        fault("socket every 2nd udp", "EMFILE"),
        fault("setsockopt every 3rd", "ENOPROTOOPT"),
        fault("getsockopt every 2nd", "EINVAL"),
        fault("open 50%", "EIO"),
        fault("pread64 every 5th", "ESTALE"),
        fault("mkdir every 2nd", "EACCES"),
    ];
    let calls = vec![
        Repeated::Connect { to: store, nonblocking: false, timeout: Duration::from_secs(20) },
        Repeated::Bind { kind: SocketKind::Tcp4, address: any(0) },
        Repeated::Socket { kind: SocketKind::Udp4 },
        Repeated::SetSockopt,
        Repeated::GetSockopt,
        Repeated::Open,
        Repeated::Pread,
        Repeated::Mkdir,
    ];
    (faults, calls)
}

fn calls_fail(scene: &Scene) -> Result<Completion> {
    let (faults, what) = calls(scene.store(TCP));
    let calls = Calls { what, interval: Duration::from_millis(5) };
    // Begun before the faults, which whoever enters the pod would meet, too.
    let (till, neighbour) =
        (scene.till.start(MAIN, calls.clone())?, scene.neighbour.start(MAIN, calls)?);
    let text: Vec<&str> = faults.iter().map(|(fault, _)| fault.as_str()).collect();
    let status = scene.break_till(&text.join("; "))?;
    ensure!(status.phase == PodPhase::Armed, "{status:#?}");
    scene
        .till
        .await_status(|status| status.faults.iter().all(|fault| fault.counts.injected >= ENOUGH))?;
    let ended = scene.heal_till()?;
    let seen = till.stop()?.total();
    for ((fault, errno), told) in faults.iter().zip(&ended.faults) {
        let (seen, told) = (seen.failed_with(errno), told.counts.injected);
        eprintln!("{fault}: {seen}");
        ensure!(seen == told, "{fault}: {seen} were seen, the status says {told}");
    }
    ensure!(seen.failed() == injected(&ended), "more fails than that: {seen:?}");
    let neighbour = neighbour.stop()?.total();
    ensure!(neighbour.ok > 0 && neighbour.failed() == 0, "the neighbour saw {neighbour:?}");
    Ok(Completion::Completed)
}

fn datagrams_can_not_be_sent(scene: &Scene) -> Result<Completion> {
    let status = scene.break_till(&format!("fail sendto with ENOBUFS every 2nd port {SINK}"))?;
    ensure!(status.phase == PodPhase::Armed, "{status:#?}");
    let send = UdpSend { connected: false, ..UdpSend::new(scene.store(SINK), DATAGRAMS) };
    let seen = scene.till.run(MAIN, send)?.total();
    ensure!(seen.failed_with("ENOBUFS") == DATAGRAMS / 2, "{seen:?}");
    agrees(&scene.till, DATAGRAMS / 2)?;
    scene.heal_till()?;
    Ok(Completion::Completed)
}

fn a_call_kills_its_caller(scene: &Scene) -> Result<Completion> {
    let calls = Calls { what: vec![Repeated::Mkdir], interval: Duration::from_millis(5) };
    let (till, neighbour) =
        (scene.till.start(MAIN, calls.clone())?, scene.neighbour.start(MAIN, calls)?);
    let status = scene.break_till("kill mkdir every 2nd")?;
    ensure!(status.phase == PodPhase::Armed, "{status:#?}");
    ensure!(till.exit_code()? == Some(KILLED), "it was not killed");
    agrees(&scene.till, 1)?;
    scene.heal_till()?;
    let neighbour = neighbour.stop()?.total();
    ensure!(neighbour.ok > 0 && neighbour.failed() == 0, "the neighbour saw {neighbour:?}");
    Ok(Completion::Completed)
}

/// The kubelet starts it again, and then it stays.
fn a_container_is_killed_once(scene: &Scene) -> Result<Completion> {
    let restarts = |container: &str| -> Result<u64> {
        let path = format!(
            "jsonpath={{.status.containerStatuses[?(@.name==\"{container}\")].restartCount}}"
        );
        let name = &scene.till.name;
        let counted =
            scene.node.kubectl(&format!("get pod {name} --namespace shop --output={path}"))?;
        counted.trim().parse().with_context(|| format!("restarts of {container}: {counted:?}"))
    };
    let before = [restarts(MAIN)?, restarts(SIDE)?];
    let fault = format!("kill container in container {SIDE}");
    scene.till.annotate(Some(&fault))?;
    let observed = digest(&fault);
    let status = scene.till.await_status(|status| {
        status.observed.as_ref() == Some(&observed) && status.phase == PodPhase::Ended
    })?;
    if injected(&status) == 0 {
        return scene.excuse(Release::new(5, 14), &status);
    }
    ensure!(injected(&status) == 1, "{status:#?}");
    let give_up = Instant::now() + RESTART;
    while restarts(SIDE)? == before[1] {
        ensure!(Instant::now() < give_up, "the kubelet has not started it again: {status:#?}");
        sleep(Duration::from_secs(1));
    }
    // A shell in it runs, so it has not been killed again.
    scene.till.run(SIDE, UdpSend::new(scene.store(SINK), 1))?;
    ensure!([restarts(MAIN)?, restarts(SIDE)?] == [before[0], before[1] + 1], "{status:#?}");
    scene.heal_till()?;
    Ok(Completion::Completed)
}

fn a_shadow_counts_and_does_nothing(scene: &Scene) -> Result<Completion> {
    let status = scene.break_till(&format!("shadow drop every 4th egress udp port {SINK}"))?;
    ensure!(status.phase == PodPhase::Armed, "{status:#?}");
    let received = send(scene, &scene.till)?.received;
    ensure!(received == DATAGRAMS, "{received} arrived");
    let ended = scene.heal_till()?;
    let shadowed = ended.faults.iter().map(|fault| fault.counts.shadowed).sum();
    ensure!((injected(&ended), shadowed) == (0, DATAGRAMS / 4), "{ended:#?}");
    Ok(Completion::Completed)
}

fn one_container_is_broken_alone(scene: &Scene) -> Result<Completion> {
    let fault = format!("drop egress udp port {SINK} in container {SIDE}");
    let status = scene.break_till(&fault)?;
    ensure!(status.phase == PodPhase::Armed, "{status:#?}");
    for (container, arrives) in [(MAIN, DATAGRAMS), (SIDE, 0)] {
        let sink = scene.store.start(MAIN, UdpSink { bind: any(SINK) })?;
        scene.till.run(container, UdpSend::new(scene.store(SINK), DATAGRAMS))?;
        let received = sink.stop()?.received;
        ensure!(received == arrives, "{received} arrived from {container}");
    }
    agrees(&scene.till, DATAGRAMS)?;
    scene.heal_till()?;
    Ok(Completion::Completed)
}

/// On the agent's socket, by the names that the kubelet notes.
fn a_container_is_named_by_its_pod(scene: &Scene) -> Result<Completion> {
    let agent = |arguments: &[&str]| {
        let pod = ["--namespace", "chaos-agent", "daemonset/chaos-agent"];
        let exec = [&["exec"], &pod[..], &["--", "/chaos-agent"]].concat();
        scene.node.plane().kubectl(&[&exec[..], arguments].concat())
    };
    let fault = format!("drop egress udp port {SINK} for 10m");
    let target = format!("{}/{SIDE}", scene.till.name);
    let named = agent(&["arm", "--container", &format!("shop/{target}"), "--fault", &fault])?;
    for (container, arrives) in [(MAIN, DATAGRAMS), (SIDE, 0)] {
        let sink = scene.store.start(MAIN, UdpSink { bind: any(SINK) })?;
        scene.till.run(container, UdpSend::new(scene.store(SINK), DATAGRAMS))?;
        let received = sink.stop()?.received;
        ensure!(received == arrives, "{received} arrived from {container}");
    }
    let ledger = agent(&["disarm", named.trim(), "--output", "json"])?;
    let ledger: Value = serde_json::from_str(&ledger).with_context(|| ledger.clone())?;
    let injected = &ledger["report"]["faults"][0]["counts"]["injected"];
    ensure!(*injected == DATAGRAMS, "{ledger:#}");
    // The only pod of that name, and one that is not there.
    let named = agent(&["arm", "--container", &target, "--fault", &fault, "--follow"])?;
    agent(&["disarm", named.trim()])?;
    let refused = agent(&["arm", "--container", "till/side", "--fault", &fault]);
    let refused = format!("{:?}", refused.err().context("there is no such pod")?);
    ensure!(refused.contains("no running container till/side"), "{refused}");
    Ok(Completion::Completed)
}

fn a_fault_that_makes_no_sense_is_refused(scene: &Scene) -> Result<Completion> {
    let status = scene.break_till("drop 10% egres udp")?;
    ensure!(status.phase == PodPhase::Refused, "{status:#?}");
    ensure!(status.messages.iter().any(|text| text.contains("egress")), "{status:#?}");
    scene.heal_till()?;
    Ok(Completion::Completed)
}

fn a_namespace_without_the_label_is_refused(scene: &Scene) -> Result<Completion> {
    let label = chaos_kube::ENABLED;
    scene.node.kubectl(&format!("label namespace shop {label}-"))?;
    let status = scene.break_till(&format!("drop egress udp port {SINK}"))?;
    ensure!(status.phase == PodPhase::Refused, "{status:#?}");
    let received = send(scene, &scene.till)?.received;
    ensure!(received == DATAGRAMS, "{received} arrived");
    scene.node.kubectl(&format!("label namespace shop {label}=true"))?;
    let armed = scene.till.await_status(|status| status.phase == PodPhase::Armed)?;
    ensure!(armed.faults.len() == 1, "{armed:#?}");
    scene.heal_till()?;
    Ok(Completion::Completed)
}
