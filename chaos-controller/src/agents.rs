//! Reads what the agents of nodes say of themselves on their own pods: what can be planned for the node.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chaos_api::NodeFeatures;
use chaos_kube::FEATURES;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use crate::{names::AGENT_LABEL, pods::PodFacts};

/// What the agent of a node says; or why there can be no plan.
pub type Agent = Result<Arc<NodeFeatures>, String>;

/// The agents of all nodes; reads what each publishes once.
#[derive(Default)]
pub struct Agents {
    /// By the UID of the agent's pod, with the annotation that was read.
    read: BTreeMap<String, (String, Agent)>,
}

impl Agents {
    /// The agents by node, of those pods that are in the agents' namespace.
    pub fn by_node<'a>(
        &mut self,
        pods: impl IntoIterator<Item = &'a PodFacts>,
        namespace: &str,
    ) -> BTreeMap<String, Agent> {
        let mut found: BTreeMap<String, Agent> = BTreeMap::new();
        let mut there = BTreeSet::new();
        for pod in pods {
            let (key, value) = AGENT_LABEL;
            let is_agent = pod.name.namespace == namespace
                && pod.labels.get(key).is_some_and(|name| name == value);
            let Some(node) = pod.node.as_ref().filter(|_| is_agent && !pod.is_going) else {
                continue;
            };
            there.insert(pod.uid.clone());
            let agent = if pod.is_ready {
                self.read(&pod.uid, &pod.object)
            } else {
                Err(format!("the agent of node {node} is not ready"))
            };
            // While one replaces another, the one that answers counts.
            if found.get(node).is_none_or(Result::is_err) {
                found.insert(node.clone(), agent);
            }
        }
        self.read.retain(|uid, _| there.contains(uid));
        found
    }

    fn read(&mut self, uid: &str, pod: &Pod) -> Agent {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
        let Some(text) = pod.annotations().get(FEATURES) else {
            return Err(format!(
                "the agent of node {node} does not say what its kernel can do; update it"
            ));
        };
        if let Some((before, agent)) = self.read.get(uid)
            && before == text
        {
            return agent.clone();
        }
        let agent = NodeFeatures::read(text).map(Arc::new).ok_or_else(|| {
            format!(
                "what the agent of node {node} says of its kernel cannot be read; use the same version of agents and \
                 controller"
            )
        });
        self.read.insert(uid.to_owned(), (text.clone(), agent.clone()));
        agent
    }
}

#[cfg(test)]
mod tests {
    use chaos_api::Policy;
    use chaos_plan::KernelFeatures;
    use serde_json::json;

    use super::*;

    fn agent(uid: &str, node: &str, ready: bool, annotations: serde_json::Value) -> PodFacts {
        let (key, value) = AGENT_LABEL;
        let status = if ready { "True" } else { "False" };
        let pod = json!({
            "metadata": { "namespace": "chaos-agent", "name": uid, "uid": uid,
                          "labels": { key: value }, "annotations": annotations },
            "spec": { "nodeName": node, "containers": [] },
            "status": { "conditions": [{ "type": "Ready", "status": status }] },
        });
        PodFacts::of(&Arc::new(serde_json::from_value(pod).unwrap()))
    }

    #[test]
    fn agents_that_are_silent_or_old_are_told_apart() {
        let kernel = KernelFeatures::everything("6.12");
        let said = NodeFeatures::new("0.1.0", &Policy::default(), kernel.clone());
        let said = json!({ FEATURES: said.to_annotation().unwrap() });
        let pods = [
            agent("1", "a", true, said.clone()),
            agent("2", "b", true, json!({})),
            agent("3", "c", false, said.clone()),
            agent("4", "d", true, json!({ FEATURES: "{}" })),
            // A rolling update: the one before is not ready any more.
            agent("5", "a", false, said),
        ];
        let mut agents = Agents::default();
        let found = agents.by_node(&pods, "chaos-agent");
        assert_eq!(found["a"].as_ref().unwrap().kernel, kernel);
        let refusal = |node: &str| found[node].as_ref().unwrap_err().as_str();
        assert!(refusal("b").contains("update it"));
        assert_eq!(refusal("c"), "the agent of node c is not ready");
        assert!(refusal("d").contains("cannot be read"));
        assert_eq!(agents.by_node(&pods, "elsewhere").len(), 0);
        assert_eq!(agents.read.len(), 0);
    }
}
