//! The control plane itself, as the other tests rely on it.

use std::path::Path;

use anyhow::Result;
use chaos_tests::control_plane::ControlPlane;
use nix::unistd::Pid;

const SHOP: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
apiVersion: v1
kind: Node
metadata: { name: node-a }
---
apiVersion: v1
kind: Pod
metadata: { name: till, namespace: shop }
spec:
  nodeName: node-a
  containers: [{ name: main, image: none }]
"#;

#[test]
fn a_pod_is_bound_to_a_node_and_found_there() -> Result<()> {
    let plane = ControlPlane::start()?;
    plane.apply(SHOP)?;
    let found = plane.kubectl(&[
        "get",
        "pods",
        "--all-namespaces",
        "--field-selector=spec.nodeName=node-a",
        "--output=jsonpath={.items[*].metadata.name}",
    ])?;
    assert_eq!(found, "till");
    Ok(())
}

#[test]
fn the_agent_may_do_only_what_rbac_grants_it() -> Result<()> {
    let plane = ControlPlane::start()?;
    plane.kubectl(&["create", "namespace", "chaos-agent"])?;
    plane.kubectl(&["create", "serviceaccount", "chaos-agent", "--namespace=chaos-agent"])?;
    let agent = plane.agent_on("node-a")?;
    let list = || plane.kubectl_with(&agent, &["get", "nodes", "--output=name"], "");
    let refusal = list().expect_err("nothing is granted yet").to_string();
    assert!(refusal.contains("system:serviceaccount:chaos-agent:chaos-agent"), "{refusal}");

    plane.kubectl(&["create", "clusterrole", "looks", "--verb=list", "--resource=nodes"])?;
    let account = "--serviceaccount=chaos-agent:chaos-agent";
    plane.kubectl(&["create", "clusterrolebinding", "looks", "--clusterrole=looks", account])?;
    assert_eq!(list()?, "");
    Ok(())
}

#[test]
fn nothing_is_left_of_a_dropped_control_plane() -> Result<()> {
    let plane = ControlPlane::start()?;
    let pids = plane.pids();
    let dir = plane.ca_certificate().parent().expect("it is in a directory").to_owned();
    let is_alive = |pid: &Pid| Path::new("/proc").join(pid.to_string()).exists();
    assert!(pids.iter().all(is_alive) && dir.exists());
    drop(plane);
    assert!(!pids.iter().any(is_alive));
    assert!(!dir.exists());
    Ok(())
}
