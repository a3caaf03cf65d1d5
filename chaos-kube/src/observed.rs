//! What the API server says of a pod, as far as faults go by it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use chaos_api::{AllowedVerbs, ContainerId, Epoch, PodUid};
use chaos_fault::PodRef;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt as _;

use super::{
    guard::Orders,
    kills::{kills, recorded},
    names::{PodName, STATUS},
    status::Status,
    texts::Text,
};

/// Set by the kubelet on the mirror of a static pod; its value names the pod's cgroup.
/// <https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-config-mirror>
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Two pods with equal facts ask for the same. The agent's own answer is no fact, but for what it has to be sure of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Observed {
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
    /// The verbs that its namespace allows; `None` where that has not the label.
    pub allows: Option<AllowedVerbs>,
    pub text: Option<Arc<Text>>,
    /// The epoch in which that was found.
    pub asked: Epoch,
    /// Of the pods that the text names, those of this node.
    pub peers: BTreeMap<PodRef, PodAddresses>,
    pub orders: Orders,
    /// The containers that the server's copy of the status says are to be killed, by sentence.
    pub recorded: BTreeMap<String, Vec<String>>,
}

/// Where a pod is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PodAddresses {
    /// It has these addresses; none before it is started.
    At(BTreeSet<IpAddr>),
    /// It has those of the node.
    OnHostNetwork,
}

/// The pods of the node that have not ended.
pub(super) type Neighbours = BTreeMap<PodRef, PodAddresses>;

impl Observed {
    /// `text` is what the pod's annotation says, found in the epoch `asked`, `orders` what the guard says of that.
    pub fn of(
        pod: &Pod,
        text: Option<Arc<Text>>,
        asked: Epoch,
        allows: Option<AllowedVerbs>,
        neighbours: &Neighbours,
        orders: Orders,
    ) -> Self {
        let mirror = pod.annotations().get(MIRROR);
        let uid = pod.uid().unwrap_or_default();
        let kills = text.as_ref().filter(|text| text.faults.iter().flatten().any(kills));
        let recorded = kills.map(|text| {
            let status = pod.annotations().get(STATUS).and_then(|text| Status::read(text));
            recorded(status.as_ref(), &text.digest)
        });
        Self {
            name: name_of(pod),
            cgroup: mirror.unwrap_or(&uid).parse().ok(),
            uid,
            is_mirror: mirror.is_some(),
            host_network: is_on_host_network(pod),
            containers: containers(pod),
            is_over: is_over(pod),
            allows,
            peers: text.iter().flat_map(|text| peers(&text.pods, neighbours)).collect(),
            text,
            asked,
            orders,
            recorded: recorded.unwrap_or_default(),
        }
    }

    pub fn running(&self) -> Vec<ContainerId> {
        self.containers.values().flatten().cloned().collect()
    }
}

fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn is_on_host_network(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false)
}

/// Where each of these pods is. One that has ended has no address any more, whatever its status says.
pub(super) fn neighbours<'a>(pods: impl IntoIterator<Item = &'a Pod>) -> Neighbours {
    let there = pods.into_iter().filter(|pod| !is_over(pod));
    there
        .map(|pod| {
            let PodName { namespace, name } = name_of(pod);
            let addresses = || {
                let status = pod.status.iter();
                let all = status.flat_map(|status| status.pod_ips.iter().flatten());
                all.filter_map(|address| address.ip.parse().ok()).collect()
            };
            let whereabouts = match is_on_host_network(pod) {
                true => PodAddresses::OnHostNetwork,
                false => PodAddresses::At(addresses()),
            };
            (PodRef { namespace, name }, whereabouts)
        })
        .collect()
}

/// Where these pods are.
fn peers(
    pods: &BTreeSet<PodRef>,
    neighbours: &Neighbours,
) -> impl Iterator<Item = (PodRef, PodAddresses)> {
    pods.iter().filter_map(|pod| Some((pod.clone(), neighbours.get(pod)?.clone())))
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
    use crate::names::FAULTS;

    fn facts_beside(pod: Value, neighbours: &Neighbours) -> Observed {
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let text = pod.annotations().get(FAULTS).map(|text| Arc::new(Text::read(text)));
        let allows = Some(AllowedVerbs::default());
        Observed::of(&pod, text, Epoch::default(), allows, neighbours, Orders::default())
    }

    fn facts(pod: Value) -> Observed {
        facts_beside(pod, &Neighbours::new())
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
    fn only_pods_that_the_text_names_are_looked_for() {
        let at = |addresses: &[&str]| {
            let ips: Vec<Value> = addresses.iter().map(|ip| json!({ "ip": ip })).collect();
            json!({ "phase": "Running", "podIPs": ips })
        };
        let pod = |name: &str, status: Value, host: bool| -> Pod {
            let metadata = json!({ "namespace": "payments", "name": name });
            let spec = json!({ "containers": [], "hostNetwork": host });
            let pod = json!({ "metadata": metadata, "spec": spec, "status": status });
            serde_json::from_value(pod).unwrap()
        };
        let over = json!({ "phase": "Succeeded", "podIPs": [{ "ip": "10.0.0.9" }] });
        let neighbours = neighbours(&[
            pod("db", at(&["10.0.0.7", "fd00::7"]), false),
            pod("cache", at(&["10.0.0.8"]), false),
            pod("new", json!({}), false),
            pod("proxy", at(&["192.0.2.7"]), true),
            pod("over", over, false),
        ]);
        let peers = |text: &str| -> Vec<(String, PodAddresses)> {
            let mut web = web();
            web["metadata"]["annotations"][FAULTS] = json!(text);
            let facts = facts_beside(web, &neighbours);
            facts.peers.into_iter().map(|(pod, at)| (pod.to_string(), at)).collect()
        };
        let text = "drop to POD payments/db; drop from pod payments/new, payments/proxy, a/b";
        let at = |addresses: &[&str]| {
            PodAddresses::At(addresses.iter().map(|ip| ip.parse().unwrap()).collect())
        };
        assert_eq!(
            peers(&text.to_lowercase()),
            [
                ("payments/db".to_owned(), at(&["10.0.0.7", "fd00::7"])),
                ("payments/new".to_owned(), at(&[])),
                ("payments/proxy".to_owned(), PodAddresses::OnHostNetwork),
            ]
        );
        assert_eq!(peers(text).len(), 3);
        assert_eq!(peers("drop to pod payments/over"), []);
        assert_eq!(peers("drop to 10.0.0.0/8"), []);
        assert_eq!(peers("drip to pod payments/db"), []);
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
