//! What the plugin says where rights or kinds are missing, and what `doctor` finds.

use anyhow::Result;
use chaos_tests::control_plane::ControlPlane;
use serde_json::json;

use super::plugin::User;
use crate::experiments::scene::{SHOP, Scene};

#[test]
fn missing_kinds_are_one_clear_line() -> Result<()> {
    let plane = ControlPlane::start()?;
    plane.kubectl(&["create", "namespace", SHOP])?;
    plane.kubectl(&["create", "namespace", "chaos-agent"])?;
    let user = User::new(&plane, "eve", &["view", "cluster-admin"], &[])?;
    for arguments in [&["list"][..], &["watch", "x"], &["run", "-l", "app=web", "drop for 1m"]] {
        let said = user.says(arguments)?;
        let said = said.expect(1, &["the kinds of chaos-agent are not installed"])?;
        assert_eq!(said.errors.lines().count(), 1, "{}", said.errors);
    }
    user.says(&["doctor"])?.expect(1, &["experiments and runs are not installed"])?;
    Ok(())
}

#[test]
fn missing_rights_are_named_with_the_role_and_doctor_sees_them() -> Result<()> {
    let scene = Scene::set()?;
    let nobody = User::new(&scene.plane, "eve", &[], &[])?;
    for (arguments, verb, role) in [
        (&["list"][..], "list", "chaos-viewer"),
        (&["run", "-l", "app=web", "drop for 1m"], "create", "chaos-runner"),
        (&["halt", "x"], "patch", "chaos-runner"),
        (&["halt", "--cluster", "--reason", "x"], "patch", "chaos-lever"),
        (&["why", "web-0"], "get", "view"),
    ] {
        let right = format!("the right `{verb}` on");
        nobody.says(arguments)?.expect(1, &["you may not", &right, role])?;
    }
    nobody.says(&["doctor"])?.expect(1, &["you may not create runs", "chaos-runner"])?;

    let user = User::new(&scene.plane, "ada", &["chaos-runner"], &["chaos-lever", "chaos-doctor"])?;
    let bind = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": { "name": "ada-doctor" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "chaos-doctor" },
        "subjects": [{ "kind": "ServiceAccount", "name": "ada", "namespace": SHOP }] });
    scene.plane.apply(&bind.to_string())?;
    let broken = user.says(&["doctor"])?;
    broken.expect(1, &["there is no Lease chaos-controller", "none in namespace chaos-agent"])?;

    // With a controller that leads, and its pods, nothing is wrong.
    let _controller = scene.controller("a")?;
    for name in ["controller-a", "controller-b"] {
        let pod = json!({ "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": "chaos-agent",
                          "labels": { "app.kubernetes.io/name": "chaos-controller" } },
            "spec": { "nodeName": "node-a", "containers": [{ "name": "main", "image": "none" }] } });
        scene.plane.apply(&pod.to_string())?;
        crate::experiments::scene::serve(&scene.plane, "chaos-agent", name)?;
    }
    let healthy = scene.await_that("doctor", || {
        let said = user.says(&["doctor"])?;
        Ok(if said.code == 0 { Ok(said) } else { Err(said.output) })
    })?;
    healthy.expect(
        0,
        &[
            "2 of 2 agents ready",
            "node-b",
            "version 0.1.0",
            "all are there",
            "the cluster is not halted",
        ],
    )?;
    let pods =
        ["delete", "pod", "agent-node-b", "--namespace=chaos-agent", "--grace-period=0", "--force"];
    scene.plane.kubectl(&pods)?;
    scene.plane.kubectl(&["label", "namespace", SHOP, "chaos-agent.dev/enabled-"])?;
    let broken = user.says(&["doctor"])?;
    broken.expect(1, &["no agent; Runs refuse its pods", "kubectl label namespace shop"])?;
    Ok(())
}
