//! Verbs that the node or the namespace does not allow, and namespaces that the node protects.

use anyhow::Result;
use chaos_kube::{ALLOW_VERBS, PodPhase};
use chaos_tests::kubelet::PodSpec;

use crate::{
    cluster::{Cluster, GRACE, SHOP, Server},
    container,
};

#[test]
fn a_verb_needs_the_node_and_the_namespace() -> Result<()> {
    let cluster = Cluster::start()?;
    let kubelet = cluster.kubelet()?;
    let pod = kubelet.run(&PodSpec::new(SHOP, "web-0"))?;
    let server = Server::start(&pod)?;
    let allow = |verbs: &str| {
        let change = format!("{ALLOW_VERBS}={verbs}");
        cluster.plane.kubectl(&["annotate", "namespace", SHOP, "--overwrite", &change])
    };
    let agent = cluster.agent(GRACE)?;
    cluster.annotate(&pod, Some("kill accept 1%"))?;
    let refused = cluster.await_status(&pod, |status| status.phase == PodPhase::Refused)?;
    let says = "namespace shop does not allow `kill`; annotate it";
    assert!(refused.messages[0].contains(says), "{refused:?}");
    // From then on it is the kernel's matter.
    allow("default, kill")?;
    cluster.await_status(&pod, |status| {
        status.phase == PodPhase::Armed || !status.messages.iter().any(|text| text.contains(says))
    })?;

    cluster.arm(&pod, &server.refuse("100%"))?;
    assert_eq!(server.connect(&pod, "main", 10)?.failed(), 10);
    allow("drop, delay")?;
    let refused = cluster.await_status(&pod, |status| status.phase == PodPhase::Refused)?;
    assert!(refused.messages[0].contains("does not allow `fail`"), "{refused:?}");
    assert_eq!(server.connect(&pod, "main", 10)?.ok, 10);
    allow("fail")?;
    cluster.await_status(&pod, |status| status.phase == PodPhase::Armed)?;
    agent.stop()?;

    let capabilities = container::of_manifest()?;
    for (option, says) in [
        ("--allow-verbs=drop", "this node does not allow `fail`; it allows drop (`--allow-verbs`"),
        ("--protected-namespaces=kube-system,shop", "pods of namespace shop are never targets"),
    ] {
        let agent = cluster.agent_with(GRACE, |command| {
            command.arg(option);
            container::confine(command, &capabilities);
        })?;
        let is_said = |text: &String| text.contains(says);
        let refused = cluster.await_status(&pod, |status| status.messages.iter().any(is_said))?;
        assert_eq!(refused.phase, PodPhase::Refused, "{option}");
        assert_eq!(server.connect(&pod, "main", 10)?.ok, 10);
        agent.stop()?;
    }
    Ok(())
}
