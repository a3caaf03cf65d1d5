//! Faults end by a moment of the wall clock, with the guard of the cluster, and when a Run or the cluster is halted.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use chaos_kube::{GUARD, GUARD_PATIENCE, HALT, HALTED_RUNS, PodPhase};
use chaos_tests::kubelet::PodSpec;
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::{Timestamp, Unit},
};
use serde_json::{Value, json};

use crate::cluster::{Cluster, GRACE, SHOP, Server};

/// What an operator may wait for after a halt.
const SOON: Duration = Duration::from_secs(2);

/// The guard's Lease, as the controller writes it.
struct Guard<'c>(&'c Cluster);

impl<'c> Guard<'c> {
    fn create(cluster: &'c Cluster) -> Result<Self> {
        let guard = Self(cluster);
        guard.create_anew()?;
        Ok(guard)
    }

    fn create_anew(&self) -> Result<()> {
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": { "name": GUARD, "namespace": "chaos-agent" },
            "spec": { "holderIdentity": "controller-0", "leaseDurationSeconds": 15 },
        });
        self.0.plane.apply(&lease.to_string())?;
        Ok(())
    }

    fn patch(&self, change: &Value) -> Result<()> {
        let change = change.to_string();
        let lease = ["patch", "lease", GUARD, "--namespace=chaos-agent", "--type=merge"];
        self.0.plane.kubectl(&[&lease[..], &["--patch", &change]].concat())?;
        Ok(())
    }

    fn renew(&self) -> Result<()> {
        self.patch(&json!({ "spec": { "renewTime": MicroTime(Timestamp::now()) } }))
    }

    fn annotate(&self, key: &str, value: Option<&str>) -> Result<()> {
        self.patch(&json!({ "metadata": { "annotations": { key: value } } }))
    }

    fn delete(&self) -> Result<()> {
        let lease = ["delete", "lease", GUARD, "--namespace=chaos-agent"];
        self.0.plane.kubectl(&lease)?;
        Ok(())
    }
}

#[test]
fn a_moment_ends_a_fault_and_one_that_has_passed_arms_none() -> Result<()> {
    let cluster = Cluster::start()?;
    let kubelet = cluster.kubelet()?;
    let pod = kubelet.run(&PodSpec::new(SHOP, "web-0"))?;
    let server = Server::start(&pod)?;
    let agent = cluster.agent(GRACE)?;
    let until = (Timestamp::now() + Duration::from_secs(20)).round(Unit::Second)?;
    let text = format!("{} for 10m until {until} as run/slow", server.refuse("100%"));
    let armed = cluster.arm(&pod, &text)?;
    assert_eq!(armed.faults[0].fault, text.replace(" 100%", ""));
    assert_eq!(server.connect(&pod, "main", 10)?.failed(), 10);
    let noted = armed.until.map(|noted| noted.0.duration_since(until).abs().as_millis());
    // The clocks of wall and boot are read one after the other.
    assert!(noted.is_some_and(|off| off < 1_000), "{noted:?}");
    agent.kill()?;
    let _agent = cluster.agent(GRACE)?;
    let resumed = cluster.await_status(&pod, |status| status.faults[0].counted_since.is_some())?;
    assert_eq!(resumed.faults[0].ends, armed.faults[0].ends);
    cluster.await_status(&pod, |status| status.phase == PodPhase::Ended)?;
    let late = Timestamp::now().duration_since(until);
    assert!(!late.is_negative() && late.as_secs() < 5, "{late:?}");
    assert_eq!(server.connect(&pod, "main", 10)?.ok, 10);

    // The same sentence under another name is another fault, and over before it began.
    cluster.annotate(&pod, Some(&text.replace("run/slow", "run/again")))?;
    let over = |status: &chaos_kube::Status| {
        status.phase == PodPhase::Ended
            && status.faults.iter().any(|fault| fault.fault.ends_with("run/again"))
    };
    let status = cluster.await_status(&pod, over)?;
    assert!(status.messages[0].ends_with("its `until` has passed"), "{status:?}");
    assert!(status.faults[0].since.is_none(), "{status:?}");
    assert_eq!(server.connect(&pod, "main", 10)?.ok, 10);
    Ok(())
}

#[test]
fn guarded_faults_last_as_long_as_their_guard_moves() -> Result<()> {
    let cluster = Cluster::start()?;
    let kubelet = cluster.kubelet()?;
    let [web, db] = ["web-0", "db-0"].map(|name| kubelet.run(&PodSpec::new(SHOP, name)));
    let (web, db) = (web?, db?);
    let (server, other) = (Server::start(&web)?, Server::start(&db)?);
    let _agent = cluster.agent(GRACE)?;
    let guard = Guard::create(&cluster)?;
    let guarded = format!("{} for 10m as run/slow guarded", server.refuse("100%"));
    cluster.annotate(&web, Some(&guarded))?;
    let waiting = cluster.await_status(&web, |status| status.phase == PodPhase::Waiting)?;
    assert!(waiting.messages[0].contains("the guard has not moved"), "{waiting:?}");
    cluster.arm(&db, &format!("{} for 10m", other.refuse("100%")))?;
    assert_eq!(server.connect(&web, "main", 10)?.ok, 10);
    guard.renew()?;
    cluster.await_status(&web, |status| status.phase == PodPhase::Armed)?;
    assert_eq!(server.connect(&web, "main", 10)?.failed(), 10);

    thread::sleep(Duration::from_secs(5));
    guard.renew()?;
    let renewed = Instant::now();
    server.await_healthy(&web, "main", GUARD_PATIENCE + GUARD_PATIENCE)?;
    let lasted = renewed.elapsed();
    println!("healed {lasted:?} after the guard moved last");
    assert!(lasted > GUARD_PATIENCE - Duration::from_secs(2), "{lasted:?}");
    assert!(lasted < GUARD_PATIENCE + Duration::from_secs(5), "{lasted:?}");
    let ended = cluster.await_status(&web, |status| status.phase == PodPhase::Ended)?;
    assert!(ended.messages[0].ends_with("its guard stands still or is gone"), "{ended:?}");
    assert_eq!(other.connect(&db, "main", 10)?.failed(), 10, "it is not guarded");

    // It does not come back with the guard. What is asked for anew ends with the Lease.
    guard.renew()?;
    let anew = format!("{} for 9m as run/slow guarded", server.refuse("100%"));
    assert_eq!(server.connect(&web, "main", 10)?.ok, 10);
    cluster.arm(&web, &anew)?;
    guard.delete()?;
    let deleted = Instant::now();
    server.await_healthy(&web, "main", SOON)?;
    println!("healed {:?} after the Lease was deleted", deleted.elapsed());
    Ok(())
}

#[test]
fn halted_runs_and_a_halted_cluster_are_healed_at_once() -> Result<()> {
    const PODS: usize = 6;
    let cluster = Cluster::start()?;
    let kubelet = cluster.kubelet()?;
    let pods: Result<Vec<_>> = (0..PODS)
        .map(|number| kubelet.run(&PodSpec::new(SHOP, &format!("web-{number}"))))
        .collect();
    let pods = pods?;
    let servers: Result<Vec<_>> = pods.iter().map(Server::start).collect();
    let servers = servers?;
    let _agent = cluster.agent(GRACE)?;
    let guard = Guard::create(&cluster)?;
    for (number, (pod, server)) in pods.iter().zip(&servers).enumerate() {
        let run = if number % 2 == 0 { "even" } else { "odd" };
        cluster.arm(pod, &format!("{} for 10m as {run}/slow", server.refuse("100%")))?;
        assert_eq!(server.connect(pod, "main", 10)?.failed(), 10);
    }
    let heal = |is_meant: &dyn Fn(usize) -> bool, what: &str| -> Result<()> {
        let halted = Instant::now();
        for (number, (pod, server)) in pods.iter().zip(&servers).enumerate() {
            if is_meant(number) {
                server.await_healthy(pod, "main", SOON.saturating_sub(halted.elapsed()))?;
            }
        }
        println!("{what}: {:?}", halted.elapsed());
        Ok(())
    };
    guard.annotate(HALTED_RUNS, Some("elsewhere/odd,shop/even"))?;
    heal(&|number| number % 2 == 0, "a Run is halted")?;
    assert_eq!(servers[1].connect(&pods[1], "main", 10)?.failed(), 10);
    let ended = cluster.await_status(&pods[0], |status| status.phase == PodPhase::Ended)?;
    assert!(ended.messages[0].ends_with("its Run is halted"), "{ended:?}");
    assert_eq!(ended.faults[0].counts.imbalance(), 0);
    assert!(ended.faults[0].counts.injected >= 10, "{ended:?}");

    guard.annotate(HALT, Some("INC-4711"))?;
    heal(&|_| true, "the cluster is halted")?;
    let ended = cluster.await_status(&pods[1], |status| status.phase == PodPhase::Ended)?;
    assert!(ended.messages[0].starts_with("the cluster is halted: INC-4711"), "{ended:?}");
    // Nothing new is armed, whatever becomes of the Lease.
    guard.delete()?;
    guard.create_anew()?;
    guard.renew()?;
    let anew =
        |number: usize, lasting: &str| format!("{} for {lasting}", servers[number].refuse("100%"));
    cluster.annotate(&pods[2], Some(&anew(2, "9m")))?;
    let digest = chaos_kube::digest(&anew(2, "9m"));
    let refused =
        cluster.await_status(&pods[2], |status| status.observed.as_ref() == Some(&digest))?;
    ensure!(refused.phase == PodPhase::Ended && refused.faults.is_empty(), "{refused:?}");
    assert_eq!(servers[2].connect(&pods[2], "main", 10)?.ok, 10);

    guard.annotate(HALT, Some(""))?;
    cluster.arm(&pods[3], &anew(3, "8m"))?;
    for number in [0, 1, 2] {
        assert_eq!(servers[number].connect(&pods[number], "main", 10)?.ok, 10, "it stays over");
    }
    Ok(())
}
