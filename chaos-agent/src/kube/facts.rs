//! What the API server says of a pod, as far as faults go by it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt as _;

use super::names::{FAULTS, PodName};
use crate::target::{ContainerId, PodUid};

/// Set by the kubelet on the mirror of a static pod; its value names the pod's cgroup.
/// <https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-config-mirror>
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Two pods with equal facts ask for the same. The agent's own answer is no fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    pub name: PodName,
    /// Of the API object. Another pod of the same name has another one.
    pub uid: String,
    /// As its cgroup is named.
    pub cgroup: Option<PodUid>,
    /// The object mirrors a static pod: what names its cgroup is an annotation, which whoever
    /// made the object could have written.
    pub is_mirror: bool,
    pub host_network: bool,
    /// Every container of the spec, with the id of the one that runs.
    pub containers: BTreeMap<String, Option<ContainerId>>,
    /// All of its containers have ended for good.
    pub is_over: bool,
    /// Whether its namespace has the label.
    pub is_enabled: bool,
    pub text: Option<String>,
}

impl Facts {
    pub fn of(pod: &Pod, is_enabled: bool) -> Self {
        let mirror = pod.annotations().get(MIRROR);
        let uid = pod.uid().unwrap_or_default();
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        Self {
            name: name_of(pod),
            cgroup: mirror.unwrap_or(&uid).parse().ok(),
            uid,
            is_mirror: mirror.is_some(),
            host_network: pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false),
            containers: containers(pod),
            is_over: matches!(phase, Some("Succeeded" | "Failed")),
            is_enabled,
            text: pod.annotations().get(FAULTS).cloned(),
        }
    }

    pub fn running(&self) -> Vec<ContainerId> {
        self.containers.values().flatten().cloned().collect()
    }
}

pub(super) fn name_of(pod: &Pod) -> PodName {
    PodName { namespace: pod.namespace().unwrap_or_default(), name: pod.name_any() }
}

fn containers(pod: &Pod) -> BTreeMap<String, Option<ContainerId>> {
    let mut containers = BTreeMap::new();
    if let Some(spec) = &pod.spec {
        let ephemeral = spec.ephemeral_containers.iter().flatten().map(|container| &container.name);
        let plain = spec.init_containers.iter().flatten().chain(&spec.containers);
        let names = plain.map(|container| &container.name).chain(ephemeral);
        containers.extend(names.map(|name| (name.clone(), None)));
    }
    if let Some(status) = &pod.status {
        let all = [
            &status.init_container_statuses,
            &status.container_statuses,
            &status.ephemeral_container_statuses,
        ];
        for container in all.into_iter().flatten().flatten() {
            containers.insert(container.name.clone(), running_id(container));
        }
    }
    containers
}

/// The id of a container that runs now. Those of ended ones stay in the status, without a cgroup.
fn running_id(container: &ContainerStatus) -> Option<ContainerId> {
    container.state.as_ref()?.running.as_ref()?;
    container.container_id.as_ref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::kube::names::STATUS;

    fn facts(pod: Value) -> Facts {
        Facts::of(&serde_json::from_value(pod).unwrap(), true)
    }

    fn web() -> Value {
        json!({
            "metadata": { "namespace": "shop", "name": "web-0", "uid": "0f-1",
                          "annotations": { FAULTS: "drop egress" } },
            "spec": { "initContainers": [{ "name": "init" }],
                      "containers": [{ "name": "main" }, { "name": "side" }] },
            "status": { "phase": "Running", "containerStatuses": [
                { "name": "main", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                  "containerID": format!("containerd://{}", "a".repeat(64)),
                  "state": { "running": {} } },
                { "name": "side", "image": "", "imageID": "", "ready": false, "restartCount": 1,
                  "containerID": format!("containerd://{}", "b".repeat(64)),
                  "state": { "terminated": { "exitCode": 1 } } },
            ] },
        })
    }

    #[test]
    fn only_containers_that_run_have_an_id() {
        let facts = facts(web());
        let ids: Vec<_> = facts
            .containers
            .iter()
            .map(|(name, id)| (name.as_str(), id.as_ref().map(ContainerId::short)))
            .collect();
        assert_eq!(ids, [("init", None), ("main", Some("aaaaaaaaaaaa")), ("side", None)]);
        assert_eq!(facts.name.to_string(), "shop/web-0");
        assert!(!facts.is_over && !facts.host_network && !facts.is_mirror);
    }

    #[test]
    fn the_agents_answer_and_readiness_change_nothing() {
        let mut answered = web();
        answered["metadata"]["annotations"][STATUS] = json!("{}");
        answered["metadata"]["resourceVersion"] = json!("2");
        answered["status"]["containerStatuses"][0]["ready"] = json!(false);
        assert_eq!(facts(answered), facts(web()));
        let mut edited = web();
        edited["metadata"]["annotations"][FAULTS] = json!("drop ingress");
        assert_ne!(facts(edited), facts(web()));
    }

    #[test]
    fn a_mirror_is_known_by_the_uid_of_its_static_pod() {
        let mut mirror = web();
        mirror["metadata"]["annotations"][MIRROR] = json!("beef");
        let mirror = facts(mirror);
        assert_eq!(mirror.cgroup, Some("beef".parse().unwrap()));
        assert!(mirror.is_mirror);
        assert_eq!(mirror.uid, "0f-1");
    }
}
