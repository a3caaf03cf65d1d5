//! A real Prometheus scrapes a real agent and a real controller, and understands what the rules and the dashboard ask.

mod prometheus;
mod queries;

use std::{
    collections::BTreeSet,
    net::{SocketAddr, TcpListener},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use chaos_tests::kubelet::PodSpec;
use serde_json::{Value, json};

use self::{
    prometheus::{Prometheus, Target},
    queries::{dashboard, rules},
};
use crate::{
    cluster::{Cluster, GRACE, SHOP, Server},
    container,
    experiments::scene::{Controller, install, serve},
    features::{await_features, own},
};

/// Far longer than anything takes: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// Of what there is nothing here: no node without an agent, nothing that failed.
const EMPTY: [&str; 6] = [
    "ChaosGuardStale",
    "ChaosNoLeader",
    "ChaosAgentMissingOnNode",
    "ChaosAgentNotScraped",
    "ChaosDeviated",
    "Features that a kernel lacks",
];

/// An address that nothing listens on at this moment.
fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

#[test]
fn prometheus_understands_the_metrics_the_rules_and_the_dashboard() -> Result<()> {
    let cluster = Cluster::start()?;
    let plane = &cluster.plane;
    let kubelet = cluster.kubelet()?;
    let pod = kubelet.run(&PodSpec::new(SHOP, "web-0"))?;
    let server = Server::start(&pod)?;
    let account = install(plane)?;
    serve(plane, SHOP, &pod.name)?;
    let [of_agent, of_controller] = [free()?, free()?];
    let capabilities = container::of_manifest()?;
    let _agent = cluster.agent_with(GRACE, |command| {
        command.arg(format!("--metrics-address={of_agent}"));
        container::confine(command, &capabilities);
    })?;
    let label = ["label", "pod", &own(), "--namespace=chaos-agent"];
    plane.kubectl(&[&label[..], &["app.kubernetes.io/name=chaos-agent"]].concat())?;
    serve(plane, "chaos-agent", &own())?;
    await_features(&cluster)?;
    let metrics = format!("--metrics-address={of_controller}");
    let more = [metrics.as_str(), "--probe-networks=127.0.0.0/8"];
    let _controller = Controller::start_with(&account, "a", &more)?;
    let targets = [
        Target { job: "chaos-agent/chaos-agent", node: Some("node-a"), address: of_agent },
        Target { job: "chaos-agent/chaos-controller", node: None, address: of_controller },
    ];
    let prometheus = Prometheus::start(&targets)?;

    // The controller asks from here; it is not the pod's network.
    let asked_by_probe = TcpListener::bind("127.0.0.1:0")?;
    let address = asked_by_probe.local_addr()?.to_string();
    thread::spawn(move || asked_by_probe.incoming().for_each(drop));
    let inline = json!({
        "targets": { "any": { "pods": {} } },
        "steps": [{ "name": "refuse",
                    "fault": { "target": "any", "do": server.refuse("50%"), "for": "5m" } }],
        "probes": [{ "name": "server", "tcp": { "address": address }, "every": "1s" }],
    });
    let run = json!({ "apiVersion": "chaos-agent.dev/v1alpha1", "kind": "Run",
        "metadata": { "name": "run", "namespace": SHOP }, "spec": { "inline": inline } });
    plane.apply(&run.to_string())?;
    prometheus.await_number("sum(chaos_faults_armed)", 1.0)?;
    let seen = server.connect(&pod, "main", 400)?;
    let of_run = |outcome: &str| {
        format!(
            "sum(chaos_fault_events_total{{namespace=\"{SHOP}\",run=\"run\",fault=\"refuse\",outcome=\"{outcome}\"}})"
        )
    };
    prometheus.await_number(&of_run("injected"), seen.failed() as f64)?;
    prometheus.await_number(&of_run("spared"), seen.ok as f64)?;
    prometheus.await_number("chaos_controller_leader", 1.0)?;
    prometheus.await_number("sum(chaos_run_targets{state=\"armed\"})", 1.0)?;

    // What speaks of runs that go on, while one does; what speaks of those that have ended, afterwards.
    let asked: Vec<(String, String)> = [dashboard()?, rules()?].concat();
    let mut open: BTreeSet<String> = asked.iter().map(|(name, _)| name.clone()).collect();
    ensure!(EMPTY.iter().all(|name| open.remove(*name)), "{asked:?}");
    let mut look = |within: Duration| -> Result<BTreeSet<String>> {
        let give_up = Instant::now() + within;
        loop {
            for (name, query) in &asked {
                let found = prometheus.query(query).with_context(|| name.clone())?;
                if !found.is_empty() {
                    open.remove(name);
                }
            }
            if open.is_empty() || Instant::now() > give_up {
                return Ok(open.clone());
            }
        }
    };
    let ended = ["Verdicts and hypotheses, 30 days", "Halts by cause, 30 days"].map(str::to_owned);
    let ended = BTreeSet::from(ended);
    let give_up = Instant::now() + PATIENCE;
    let mut missing = look(Duration::ZERO)?;
    while missing != ended && Instant::now() < give_up {
        server.connect(&pod, "main", 10)?;
        missing = look(Duration::from_millis(500))?;
    }
    assert_eq!(missing, ended, "without data while a run goes on");
    prometheus.await_firing("ChaosRunActive")?;

    let halt = json!({ "spec": { "halt": true } }).to_string();
    let namespace = format!("--namespace={SHOP}");
    plane.kubectl(&["patch", "run", "run", &namespace, "--type=merge", "--patch", &halt])?;
    assert_eq!(look(PATIENCE)?, BTreeSet::new(), "without data after a run was halted");
    prometheus.await_number("sum(chaos_halts_total{cause=\"human\"})", 1.0)?;
    prometheus
        .await_number("sum(chaos_faults_armed) + count(chaos_run_active or vector(0))", 1.0)?;
    Ok(())
}

#[test]
fn promtool_finds_nothing_wrong_with_the_rules() -> Result<()> {
    let checked = prometheus::check_rules()?;
    assert!(checked.contains("SUCCESS: 6 rules found"), "{checked}");
    Ok(())
}

/// The rules, in the form of Prometheus itself: what is under `spec` of the operator's kind.
fn rules_file() -> Result<Value> {
    let path = xtask::paths::workspace().join("manifests/components/monitoring/rules.yaml");
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let rule: Value = serde_saphyr::from_str(&text)?;
    Ok(rule["spec"].clone())
}
