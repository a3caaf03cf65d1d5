//! Each capability of the DaemonSet is needed: without it something can't be done that can be done
//! with all of them.

use anyhow::{Context, Result, ensure};
use chaos_kube::PodPhase;
use chaos_tests::requirements::Release;
use libtest_mimic::Completion;
use serde_json::{Value, json};

use crate::{
    Test,
    scene::{Scene, try_break},
};

pub const TESTS: &[(&str, Test)] = &[("capabilities::each_one_is_needed", each_one_is_needed)];

/// A capability, and a fault that can't be armed without it.
const NEEDED: [(&str, &str); 3] = [
    ("NET_ADMIN", "drop egress udp port 9100"),
    ("SYS_ADMIN", "drop egress udp port 9100"),
    ("SYS_PTRACE", "corrupt egress udp port 9100"),
];

/// From here on SYS_ADMIN is taken for NET_ADMIN.
const IMPLIED_SINCE: Release = Release::new(6, 9);

const PATH: &str = "/spec/template/spec/containers/0/securityContext/capabilities/add";

fn each_one_is_needed(scene: &Scene) -> Result<Completion> {
    let granted = granted(scene)?;
    let named: Vec<&str> = NEEDED.iter().map(|&(capability, _)| capability).collect();
    ensure!(granted == named, "the DaemonSet has {granted:?}, this test knows {named:?}");
    let release = scene.node.release()?;
    let mut tried = Vec::new();
    for (capability, fault) in NEEDED {
        if capability == "NET_ADMIN" && release >= IMPLIED_SINCE {
            eprintln!("{capability}: not tried, as {release} takes SYS_ADMIN for it");
        } else if scene.break_till(fault)?.phase == PodPhase::Armed {
            tried.push((capability, fault));
            scene.heal_till()?;
        } else {
            eprintln!("{capability}: not tried, as {release} can't {fault}");
            scene.heal_till()?;
        }
    }
    ensure!(!tried.is_empty(), "the agent can do nothing on {release}");
    for (capability, fault) in tried {
        let others: Vec<&String> = granted.iter().filter(|&other| other != capability).collect();
        grant(scene, &json!(others))?;
        let without = try_break(&scene.till, fault)?;
        ensure!(without.phase != PodPhase::Armed, "not without {capability}: {without:#?}");
        eprintln!("without {capability}: {}", without.messages.join(" "));
        scene.heal_till()?;
    }
    scene.node.deploy_agent()?;
    Ok(Completion::Completed)
}

/// What the DaemonSet adds.
fn granted(scene: &Scene) -> Result<Vec<String>> {
    let text =
        scene.node.kubectl("get daemonset chaos-agent --namespace chaos-agent --output json")?;
    let daemon_set: Value = serde_json::from_str(&text).context("a DaemonSet")?;
    let list = daemon_set.pointer(PATH).context("capabilities")?;
    serde_json::from_value(list.clone()).context("a list of capabilities")
}

/// Changes what the DaemonSet adds, and waits for the new agent.
fn grant(scene: &Scene, capabilities: &Value) -> Result<()> {
    let patch = json!([{ "op": "replace", "path": PATH, "value": capabilities }]);
    scene.node.plane().kubectl(&[
        "patch",
        "daemonset",
        "chaos-agent",
        "--namespace=chaos-agent",
        "--type=json",
        "--patch",
        &patch.to_string(),
    ])?;
    scene.node.await_agent()
}
