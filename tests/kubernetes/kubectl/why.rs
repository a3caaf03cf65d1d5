//! What is said of pods, in the situations in which people ask.

use anyhow::Result;
use chaos_kube::{FAULTS, GUARD, HALT};
use serde_json::json;

use super::plugin::User;
use crate::experiments::scene::{SHOP, Scene, one_step};

#[test]
fn pods_say_who_breaks_them_and_why_not() -> Result<()> {
    let scene = Scene::set()?;
    let Scene { plane, .. } = &scene;
    let controller = scene.controller("a")?;
    let user = User::new(plane, "ada", &["chaos-runner"], &["chaos-doctor"])?;
    let annotate = |kind: &str, name: &str, namespace: &str, change: &str| {
        plane.kubectl(&["annotate", kind, name, "--namespace", namespace, "--overwrite", change])
    };
    user.says(&["why", "pod/web-0"])?.expect(0, &["nobody asks for faults"])?;

    // A Run, which an agent has armed.
    scene.run("run", json!({ "inline": one_step(json!("all"), "5m") }))?;
    scene.await_run("run", |status| status.targets.armed == 4)?;
    user.says(&["why", "pod/web-0"])?.expect(
        0,
        &[
            "faults are in force",
            "written by  chaos-controller",
            "for Run     shop/run, which is Running",
            "matched 10  injected 4  spared by chance 6",
        ],
    )?;
    // Somebody takes the pod over by hand.
    annotate("pod", "web-1", SHOP, &format!("{FAULTS}=drop 1%"))?;
    user.says(&["why", "pod/web-1"])?
        .expect(0, &["written by  kubectl-annotate", "not in force"])?;
    let run = user.says(&["why", "pod/web-0", "-o", "json"])?.expect(0, &[])?.output;
    let run: serde_json::Value = serde_json::from_str(&run)?;
    assert_eq!((&run["state"], &run["pod"]), (&json!("armed"), &json!("shop/web-0")));

    // No agent on the node, and one that says nothing of itself.
    let agent =
        ["delete", "pod", "agent-node-b", "--namespace=chaos-agent", "--grace-period=0", "--force"];
    plane.kubectl(&agent)?;
    user.says(&["why", "pod/web-1"])?.expect(0, &["no agent runs on node node-b"])?;
    annotate("pod", "agent-node-a", "chaos-agent", "chaos-agent.dev/features-")?;
    annotate("pod", "web-2", SHOP, &format!("{FAULTS}=drop 2%"))?;
    user.says(&["why", "pod/web-2"])?.expect(0, &["the agent of node node-a is too old"])?;

    // The lever, and the label of the namespace.
    annotate("lease", GUARD, "chaos-agent", &format!("{HALT}=INC-4711"))?;
    user.says(&["why", "pod/web-2"])?.expect(0, &["the cluster is halted: INC-4711"])?;
    annotate("lease", GUARD, "chaos-agent", &format!("{HALT}-"))?;
    let doctor = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": { "name": "ada-doctor" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "chaos-doctor" },
        "subjects": [{ "kind": "ServiceAccount", "name": "ada", "namespace": SHOP }] });
    user.says(&["why", "pod/web-2"])?.expect(0, &["not looked at: you may not get namespaces"])?;
    plane.apply(&doctor.to_string())?;
    plane.kubectl(&["label", "namespace", SHOP, "chaos-agent.dev/enabled-"])?;
    user.says(&["why", "pod/web-2"])?.expect(0, &["kubectl label namespace shop"])?;

    // Guarded faults, and no controller.
    controller.kill()?;
    plane.kubectl(&["delete", "lease", GUARD, "--namespace=chaos-agent"])?;
    annotate("pod", "web-3", SHOP, &format!("{FAULTS}=drop 1% guarded"))?;
    user.says(&["why", "pod/web-3"])?.expect(0, &["there is no Lease chaos-controller"])?;
    user.says(&["why", "pod/web-9"])?.expect(1, &["there is no pod web-9 in namespace shop"])?;
    Ok(())
}
