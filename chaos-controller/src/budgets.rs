//! Reads PodDisruptionBudgets: how many of the pods of each may be unavailable besides those that are.

use std::sync::Arc;

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::{
    ResourceExt as _,
    core::{Selector, SelectorExt as _},
};

use crate::pods::PodFacts;

/// One PodDisruptionBudget.
#[derive(Debug, Clone)]
pub struct Budget {
    pub namespace: String,
    pub name: String,
    /// How many more pods may become unavailable, as its status says. None, as long as the status is of an earlier
    /// generation, or there is no status.
    pub allowed: usize,
    /// Missing where it selects no pod, or cannot be read.
    selector: Option<Selector>,
}

impl Budget {
    /// Reads an object.
    pub fn of(object: &Arc<PodDisruptionBudget>) -> Self {
        let status = object.status.as_ref();
        let status =
            status.filter(|status| status.observed_generation >= object.metadata.generation);
        let allowed = status.map_or(0, |status| status.disruptions_allowed);
        let selector = object.spec.as_ref().and_then(|spec| spec.selector.clone());
        Self {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            allowed: usize::try_from(allowed).unwrap_or(0),
            selector: selector.and_then(|selector| selector.try_into().ok()),
        }
    }

    /// Whether it is about a pod.
    pub fn is_about(&self, pod: &PodFacts) -> bool {
        self.namespace == pod.name.namespace
            && self.selector.as_ref().is_some_and(|selector| selector.matches(&pod.labels))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn budget(selector: Value, generation: i64, allowed: i32) -> Budget {
        let object = json!({ "metadata": { "namespace": "shop", "name": "web", "generation": generation },
            "spec": { "selector": selector },
            "status": { "observedGeneration": 2, "disruptionsAllowed": allowed, "currentHealthy": 0,
                        "desiredHealthy": 0, "expectedPods": 0 } });
        Budget::of(&Arc::new(serde_json::from_value(object).unwrap()))
    }

    #[test]
    fn budgets_are_about_the_pods_that_they_select() {
        let pod =
            json!({ "metadata": { "namespace": "shop", "name": "a", "labels": { "app": "web" } } });
        let pod = PodFacts::of(&Arc::new(serde_json::from_value(pod).unwrap()));
        let is_about = |selector: Value| budget(selector, 2, 1).is_about(&pod);
        assert!(is_about(json!({ "matchLabels": { "app": "web" } })) && is_about(json!({})));
        assert!(!is_about(json!({ "matchLabels": { "app": "db" } })) && !is_about(Value::Null));
        let elsewhere = Budget { namespace: "bank".into(), ..budget(json!({}), 2, 1) };
        assert!(!elsewhere.is_about(&pod));
    }

    #[test]
    fn what_a_stale_status_allows_is_nothing() {
        for (generation, allowed, expected) in [(2, 3, 3), (3, 3, 0), (2, 0, 0), (2, -1, 0)] {
            assert_eq!(budget(json!({}), generation, allowed).allowed, expected);
        }
        let new = json!({ "metadata": { "generation": 1 }, "spec": {} });
        assert_eq!(Budget::of(&Arc::new(serde_json::from_value(new).unwrap())).allowed, 0);
    }
}
