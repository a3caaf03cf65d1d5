//! Plans faults for a pod by what the agent of its node has said of the kernel.

use std::{collections::BTreeMap, time::Duration};

use chaos_api::{Limits, NodeFeatures};
use chaos_fault::{Fault, Verb};
use chaos_plan::{Scope, Terms, by_container, plan};

use crate::{agents::Agent, pods::PodFacts};

/// Plans the same faults for many pods, once for each node and namespace.
pub struct Planner<'a> {
    agents: &'a BTreeMap<String, Agent>,
    faults: &'a [Fault],
    /// By namespace and node.
    refusals: BTreeMap<(String, String), Option<String>>,
}

impl<'a> Planner<'a> {
    pub fn new(agents: &'a BTreeMap<String, Agent>, faults: &'a [Fault]) -> Self {
        Self { agents, faults, refusals: BTreeMap::new() }
    }

    /// Why the faults cannot be armed on a pod, if so.
    pub fn refusal(&mut self, pod: &PodFacts) -> Option<String> {
        let Some(node) = &pod.node else {
            return Some("the pod is on no node".to_owned());
        };
        let mut wanted = self.faults.iter().filter_map(|fault| fault.container.as_ref());
        if let Some(missing) = wanted.find(|name| !pod.containers.contains(name)) {
            return Some(format!(
                "the pod has no container `{missing}`; it has {}",
                pod.containers.join(", ")
            ));
        }
        let (agents, faults) = (self.agents, self.faults);
        let place = (pod.name.namespace.clone(), node.clone());
        let refusal = self.refusals.entry(place).or_insert_with(|| match agents.get(node) {
            None => Some(format!("node {node} has no agent")),
            Some(Err(why)) => Some(why.clone()),
            Some(Ok(agent)) => forbidden(node, agent, faults, &pod.name.namespace).or_else(|| {
                by_container(faults).into_iter().find_map(|(container, share)| {
                    let scope = container.map_or(Scope::Pod, Scope::Container);
                    let longest = Duration::from_secs(agent.limits.longest_seconds);
                    let terms = Terms { scope, longest, has_guard: true, ..Terms::default() };
                    // What kills containers is done by the agent, and needs nothing of programs in the kernel.
                    let (_, planned) = share.split(|fault| fault.verb == Verb::KillContainer);
                    plan(&planned.faults, &agent.kernel, &terms)
                        .refused
                        .first()
                        .map(ToString::to_string)
                })
            }),
        });
        refusal.clone()
    }
}

/// Why the operator of a node forbids the faults, if so.
fn forbidden(
    node: &str,
    agent: &NodeFeatures,
    faults: &[Fault],
    namespace: &str,
) -> Option<String> {
    let Limits { protected_namespaces, verbs, .. } = &agent.limits;
    if protected_namespaces.contains(namespace) {
        return Some(format!("pods of namespace {namespace} are never targets on node {node}"));
    }
    let fault = faults.iter().find(|fault| !verbs.admits(&fault.verb))?;
    Some(format!("node {node} does not allow `{}`; it allows {verbs}", fault.verb.words()))
}
