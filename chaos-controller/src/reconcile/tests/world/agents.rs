//! Plays the agents of nodes: what they arm, and what they say of it.

use std::{collections::BTreeMap, sync::Arc};

use chaos_api::{NodeFeatures, Policy};
use chaos_kube::{FEATURES, digest};
use chaos_plan::KernelFeatures;
use serde_json::{Value, json};

use super::{Agent, World};
use crate::{names::AGENT_LABEL, pods::PodFacts};

impl World {
    pub fn agent(&mut self, node: &str, agent: Agent) {
        self.agents.insert(node.to_owned(), agent);
    }

    /// Agents arm what pods ask for, and end it when its time is over.
    pub fn answer(&mut self) {
        for pod in self.pods.values_mut().filter(|_| self.answers) {
            let Some((text, _)) = &pod.faults else {
                if let Some(status) = &mut pod.status {
                    status["phase"] = json!("Ended");
                    status.as_object_mut().unwrap().remove("observed");
                }
                continue;
            };
            let read = chaos_fault::parse(text).unwrap();
            let is_over =
                read.iter().any(|one| one.fault.until.is_some_and(|until| until <= self.now));
            let phase = if is_over { "Ended" } else { "Armed" };
            let observed = json!(digest(text));
            if let Some(status) =
                pod.status.as_mut().filter(|status| status["observed"] == observed)
            {
                status["phase"] = json!(phase);
                continue;
            }
            let faults: Vec<Value> = read
                .iter()
                .map(|one| {
                    json!({ "fault": one.fault.to_string(), "phase": "active", "matched": 0,
                            "injected": 0, "shadowed": 0, "spared": {} })
                })
                .collect();
            pod.status = Some(json!({ "phase": phase, "observed": observed, "faults": faults }));
        }
    }

    /// Lets the faults of a pod be over, whatever they ask for. From then on agents say nothing else.
    pub fn end(&mut self, pod: &str) {
        self.answers = false;
        let status = self.pods.get_mut(pod).unwrap().status.as_mut().unwrap();
        status["phase"] = json!("Ended");
    }

    /// Lets the agent of a pod have counted.
    pub fn count(&mut self, pod: &str, matched: u64, injected: u64) {
        let status = self.pods.get_mut(pod).unwrap().status.as_mut().unwrap();
        status["faults"][0]["matched"] = json!(matched);
        status["faults"][0]["injected"] = json!(injected);
        status["faults"][0]["spared"] = json!({ "chance": matched - injected });
    }
}

impl Agent {
    pub(super) fn pod(self, node: &str) -> Option<PodFacts> {
        let kernel = match self {
            Self::Missing => return None,
            Self::Fit | Self::Silent | Self::Strict => Some(KernelFeatures::everything("6.12")),
            Self::Weak => Some(KernelFeatures::nothing("4.9")),
            Self::Old => None,
        };
        let policy = match self {
            Self::Strict => Policy::default().allowing("delay".parse().unwrap()),
            Self::Fit | Self::Missing | Self::Old | Self::Silent | Self::Weak => Policy::default(),
        };
        let said = kernel
            .map(|kernel| NodeFeatures::new("0.1.0", &policy, kernel).to_annotation().unwrap());
        let annotations: BTreeMap<&str, String> =
            said.map(|said| (FEATURES, said)).into_iter().collect();
        let (key, value) = AGENT_LABEL;
        let ready = if self == Self::Silent { "False" } else { "True" };
        let pod = json!({
            "metadata": { "namespace": "chaos-agent", "name": node, "uid": node,
                          "labels": { key: value }, "annotations": annotations },
            "spec": { "nodeName": node, "containers": [] },
            "status": { "conditions": [{ "type": "Ready", "status": ready }] },
        });
        Some(PodFacts::of(&Arc::new(serde_json::from_value(pod).unwrap())))
    }
}
